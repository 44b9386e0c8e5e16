package main

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/cli"
)

// stopsAfter makes r ask its questions at the given times and stop after d.
func (r *rig) stopsAfter(d time.Duration, questions ...time.Duration) {
	r.notify = func(c chan<- os.Signal) func() {
		time.AfterFunc(d, func() { c <- syscall.SIGTERM })
		return func() {}
	}
	r.notifyQuestions = func(c chan<- os.Signal) func() {
		for _, q := range questions {
			time.AfterFunc(q, func() { c <- syscall.SIGUSR1 })
		}
		return func() {}
	}
}

const someCounters = "slim_datapath::message_processing: 0: counters sockets=0 connections=0 names=2 stalled=0 blocked=0 spilled=0 late_loops=0 " +
	"waiting=0 waiting_bytes=0 held_bytes=0 unfinished_bytes=0 negotiated=0 received=3 " +
	"delivered=0 bytes=0 queued=0 panics=1 goroutines=7\n"

func TestCountersAreToldWhenAskedFor(t *testing.T) {
	for _, level := range []string{"info", "off"} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig()
			r.stopsAfter(time.Hour, time.Second, time.Minute)
			if code := r.program.run(context.Background(), []string{"--log-level", level, "--config", "testdata/two.yaml"}); code != cli.ExitOK {
				t.Errorf("exit %d", code)
			}
			log := sourceLine.ReplaceAllString(r.out.String(), "${1}0: ")
			if n := strings.Count(log, someCounters); n != 4 {
				t.Errorf("at %s: counters of two services told %d times, want twice for each\n%s", level, n, log)
			}
		})
	}
}

// Until there is a place to scrape, whoever debugs finds the counters in the log.
func TestCountersAreToldEveryMinuteAtDebug(t *testing.T) {
	for level, want := range map[string]int{"debug": 3, "info": 0} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig()
			r.stopsAfter(3*time.Minute + time.Second)
			r.program.run(context.Background(), []string{"--log-level", level})
			log := sourceLine.ReplaceAllString(r.out.String(), "${1}0: ")
			if n := strings.Count(log, someCounters); n != want {
				t.Errorf("at %s: counters told %d times, want %d\n%s", level, n, want, log)
			}
		})
	}
}

func TestSIGUSR1AsksForCounters(t *testing.T) {
	p := spawn(t)
	if err := p.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	p.line(t, "counters sockets=0 ")
	if code := p.stop(t); code != cli.ExitOK {
		t.Errorf("exit %d", code)
	}
}

package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/table"
)

// nobody answers.
func nobody(context.Context) (net.Conn, error) { return nil, errors.New("connection refused") }

// A link that is given up is still told of, with its last failure and since when, until it is closed.
func TestLinksThatAreGivenUpAreStillTold(t *testing.T) {
	n := start(t, Options{})
	d := dialLink(t, n, "far:1", func(l *Link) {
		l.Connect = nobody
		l.ID, l.Kind = "the-link", table.Remote
		l.Backoff = func(failed int) (time.Duration, bool) { return time.Millisecond, failed < 3 }
	})
	began := time.Now()
	<-d.Done()
	links := n.Links()
	if len(links) != 1 {
		t.Fatalf("links %+v", links)
	}
	l := links[0]
	if l.State != LinkOver || l.Attempts != 3 || l.Endpoint != "far:1" || l.ID != "the-link" || l.Kind != table.Remote {
		t.Errorf("%+v", l)
	}
	if !strings.Contains(l.Failure, "connection refused") || l.Failed.Before(began.Add(-hang)) || l.Since.Before(l.Failed) {
		t.Errorf("why and since when: %+v", l)
	}
	d.Close()
	if links := n.Links(); len(links) != 0 {
		t.Errorf("after Close: %+v", links)
	}
}

// One that the other end does not want is told of likewise. Rules: P-dial-4.
func TestLinksThatAreOverAreStillTold(t *testing.T) {
	t.Parallel() // beside those that wait
	j := newJournal(slog.LevelInfo)
	n := start(t, Options{NodeID: "one", Log: j.log()})
	d := dialLink(t, n, n.Addrs()[0].String(), nil) // itself, as a peer
	<-d.Done()
	if l := n.Links(); len(l) != 1 || l[0].State != LinkOver || l[0].Failure == "" || l[0].Failed.IsZero() {
		t.Errorf("%+v", l)
	}
	matches(t, j.wait(t, "link is over"), " why=")
}

// A link that is down says why, and since when, across its attempts; one that is up says how it was lost before.
func TestLinksSayWhyTheyDoNotOpen(t *testing.T) {
	n := start(t, Options{})
	d := dialLink(t, n, "far:1", func(l *Link) { l.Connect = nobody })
	until(t, "it was tried some times", func() bool { return d.Status().Attempts > 5 })
	s := d.Status()
	if !strings.Contains(s.Failure, "connection refused") || s.Failed.Before(s.Since) {
		t.Errorf("%+v", s)
	}
	if again := d.Status().Since; !again.Equal(s.Since) {
		t.Errorf("down since %v, and then since %v", s.Since, again)
	}
	d.Close()
	<-d.Done()
	until(t, "a link that is closed is not told of", func() bool { return len(n.Links()) == 0 })

	two := start(t, Options{})
	up := dialLink(t, n, two.Addrs()[0].String(), nil)
	up.await(LinkUp)
	was := up.Status()
	if was.Failure != "" || was.Since.IsZero() {
		t.Errorf("up for the first time: %+v", was)
	}
	if err := two.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	up.await(LinkWaiting)
	if s := up.Status(); s.Failure == "" || !s.Since.After(was.Since) {
		t.Errorf("lost: %+v", s)
	}
}

func TestLinksAreToldInTheOrderOfDial(t *testing.T) {
	n := start(t, Options{})
	for i := range 20 {
		dialLink(t, n, fmt.Sprint(i), func(l *Link) { l.Connect = nobody })
	}
	for range 5 {
		for i, l := range n.Links() {
			if l.Endpoint != fmt.Sprint(i) {
				t.Fatalf("link %d is the one to %s", i, l.Endpoint)
			}
		}
	}
}

// What is told of a loss is told of at once, to whoever looks just then.
func TestALossIsToldOfAtOnce(t *testing.T) {
	for range 100 {
		var s dialStatus
		s.becomes(LinkUp, time.Now())
		go s.lost("the cable was cut", time.Now())
		x := s.read()
		for ; x.Losses == 0; x = s.read() {
			runtime.Gosched()
		}
		if x.Failure != "the cable was cut" || x.State != LinkOpening || x.Since != x.Failed {
			t.Fatalf("%+v", x)
		}
	}
}

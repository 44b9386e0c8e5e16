package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const countersEvery = time.Minute // at debug

func notifyQuestions(c chan<- os.Signal) func() {
	signal.Notify(c, syscall.SIGUSR1)
	return func() { signal.Stop(c) }
}

// tellCounters logs what the services have done: for every question, whatever the log shows otherwise, and at debug from time
// to time. It returns when ctx ends.
func (p *program) tellCounters(ctx context.Context, services []*service, questions <-chan os.Signal) {
	due := time.NewTicker(countersEvery)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-questions:
			for _, s := range services {
				p.tellCountersOf(ctx, s, s.answers, slog.LevelInfo)
			}
		case <-due.C:
			if !services[0].log.Enabled(ctx, slog.LevelDebug) { // which may change
				continue
			}
			for _, s := range services {
				p.tellCountersOf(ctx, s, s.datapath, slog.LevelDebug)
			}
		}
	}
}

// tellCountersOf logs the counters of one service, and how many goroutines the process has: what a leak shows in first.
func (p *program) tellCountersOf(ctx context.Context, s *service, log *slog.Logger, level slog.Level) {
	stats := s.node.Stats()
	log.Log(ctx, level, "counters", append(stats.Attrs(), slog.Int("goroutines", p.goroutines()))...)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// lateLimit is how long a node that has missed its deadline may take to say what it has done.
const lateLimit = time.Second

// sameRequest is how long after the first signal another one is taken for the same: timeout(1), and what stops containers,
// signal a process and then its group.
const sameRequest = 500 * time.Millisecond

// notifySignals has c told of the signals that stop the node. A terminal that is closed sends SIGHUP, too: sortHangups.
func notifySignals(c chan<- os.Signal) func() {
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM)
	return func() { signal.Stop(c) }
}

func signalName(s os.Signal) string {
	switch s {
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGINT:
		return "SIGINT"
	case syscall.SIGHUP:
		return "SIGHUP"
	}
	return s.String()
}

// secondSignal is the cause of an end that is not waited for.
type secondSignal struct{ os.Signal }

func (s secondSignal) Error() string {
	return "a second " + signalName(s.Signal) + " ended the node at once; what it still held is lost"
}

// stopAll stops all services together, each within the timeout; another signal, but for one that comes with the
// first, ends them at once. Rules: P-end-4.
func (p *program) stopAll(services []*service, drain time.Duration, signals <-chan os.Signal) error {
	ctx, end := context.WithCancelCause(context.Background())
	defer end(nil)
	begun := time.Now()
	go func() {
		for {
			select {
			case s := <-signals:
				if time.Since(begun) >= sameRequest {
					end(secondSignal{s})
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	results := make(chan error, len(services))
	for _, s := range services {
		s.stop(ctx, drain, results)
	}
	var failed error
	for range services {
		if err := <-results; failed == nil {
			failed = err
		}
	}
	var second secondSignal
	switch {
	case failed == nil:
		return nil
	case errors.As(context.Cause(ctx), &second):
		p.hurry = true
		return &failure{context: []string{second.Error()}}
	case errors.Is(failed, context.DeadlineExceeded):
		return &failure{context: []string{fmt.Sprintf("Service shutdown timed out after %s", shortDuration(drain))}}
	}
	return &failure{context: []string{"failed to stop service"}, cause: failed}
}

// stop begins to end one service: no more connections, what is on its way may arrive within the timeout. The outcome
// goes to result.
func (s *service) stop(ctx context.Context, drain time.Duration, result chan<- error) {
	if s.runner != nil {
		s.runner.Info("stopping service", "service", s.ID)
	}
	for _, e := range s.endpoints {
		s.log.Info("stopping server", "endpoint", e)
	}
	deadline, cancel := context.WithTimeout(ctx, drain)
	done := make(chan error, 1)
	go func() {
		s.controller.stop(deadline)
		done <- s.node.Shutdown(deadline)
	}()
	go func() {
		defer cancel()
		// The node is told the deadline, but the process must not depend on its obedience.
		late := time.NewTimer(min(drain, math.MaxInt64-lateLimit) + lateLimit)
		defer late.Stop()
		select {
		case err := <-done:
			result <- err
		case <-late.C:
			result <- context.DeadlineExceeded
		case <-ctx.Done():
			result <- ctx.Err()
		}
	}()
}

// shortDuration prints 90s as 1m30s and 10m as 10m, not 10m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	for _, tail := range []string{"m0s", "h0m"} {
		if len(s) > len(tail) && s[len(s)-len(tail):] == tail {
			s = s[:len(s)-2]
		}
	}
	return s
}

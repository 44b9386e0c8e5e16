package rpc_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// Who is cut off from its node for so long that what it has said is given up hears so, and fails, as does who waits for it: also calls without
// a deadline, whichever end it is, and whether requests, replies or ends of streams were under way (P-rpc-8).
func TestCutOffEnds(t *testing.T) {
	t.Parallel()
	shapes := map[rpc.Method]func(ctx context.Context, c rpc.Caller) error{
		unary: func(ctx context.Context, c rpc.Caller) error { _, err := call(ctx, c, unary, "x"); return err },
		down: func(ctx context.Context, c rpc.Caller) error {
			s, err := rpc.CallServerStream[rpc.Raw, rpc.Raw](ctx, c, down, raw("20"))
			for err == nil {
				_, err = s.Receive()
			}
			return err
		},
		bidi: func(ctx context.Context, c rpc.Caller) error {
			s, err := rpc.CallBidi[rpc.Raw, rpc.Raw](ctx, c, bidi)
			if err != nil {
				return err
			}
			defer s.Close()
			for range 3 {
				if err := s.Send(raw("x")); err != nil && err != io.EOF {
					return err
				}
				if _, err := s.Receive(); err != nil {
					return err
				}
				time.Sleep(2 * time.Millisecond)
			}
			return nil
		},
	}
	courses := 5
	if leftOut(1) {
		courses = 3
	}
	for i, plain := range []bool{true, false} {
		for j, who := range [][]string{{"client"}, {"server"}, {"client", "server"}} {
			for k, away := range []time.Duration{5 * time.Second, 14 * time.Second, 25 * time.Second, 70 * time.Second} {
				if leftOut(i + j + k) {
					continue
				}
				inWorld(t, func(t *testing.T, w *world) {
					what := fmt.Sprintf("plain=%v, %v cut off for %v", plain, who, away)
					mustCall(t, w.client)
					var calls sync.WaitGroup
					stop := make(chan struct{})
					for m, ask := range shapes {
						for i := range courses { // each in another moment of its course
							calls.Go(func() {
								time.Sleep(time.Duration(i) * 3 * time.Millisecond)
								for {
									began := time.Now()
									ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
									err := ask(ctx, w.client)
									cancel()
									if took := time.Since(began); err != nil && err != io.EOF && rpc.CodeOf(err) != rpc.Unavailable || took > away+time.Minute {
										t.Errorf("%s: %s took %v: %v", what, m.Name, took, err)
									}
									select {
									case <-stop:
										return
									case <-time.After(17 * time.Millisecond):
									}
								}
							})
						}
					}
					time.Sleep(200 * time.Millisecond)
					for _, name := range who {
						w.net.Disconnect("org/ns/" + name)
					}
					time.Sleep(away)
					for _, name := range who {
						w.net.Reconnect("org/ns/" + name)
					}
					close(stop)
					calls.Wait()
					mustCall(t, w.client)
				}, func(_ *rpc.ServerOptions, co *rpc.CallOptions) { co.Session.Plain, co.Timeout = plain, -1 })
			}
		}
	}
}

// The same of a group: members that are not cut off have answered, and the next call has all.
func TestCutOffFromAGroup(t *testing.T) {
	t.Parallel()
	for i, plain := range []bool{true, false} {
		for j, who := range []string{"org/ns/client", appName(1)} {
			for k, away := range []time.Duration{5 * time.Second, 14 * time.Second, 70 * time.Second} {
				if leftOut(i + j + k) {
					continue
				}
				inCrowd(t, 3, func(t *testing.T, w *crowd) {
					what := fmt.Sprintf("plain=%v, %s cut off for %v", plain, who, away)
					all := []string{"server0: echo:a", "server1: echo:a", "server2: echo:a"}
					wantTexts(t, what+": before", w.ask(t.Context(), unary, "a"), all...)
					var calls sync.WaitGroup
					for i := range 8 {
						calls.Go(func() {
							time.Sleep(time.Duration(i) * 2 * time.Millisecond)
							began := time.Now()
							ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
							defer cancel()
							got := w.ask(ctx, unary, "a")
							if took := time.Since(began); took > away+time.Minute || len(got) != 3 || who != "org/ns/client" && (got[0] != all[0] || got[2] != all[2]) {
								t.Errorf("%s: after %v: %q", what, took, got)
							}
						})
					}
					time.Sleep(7 * time.Millisecond)
					w.net.Disconnect(who)
					time.Sleep(away)
					w.net.Reconnect(who)
					calls.Wait()
					time.Sleep(time.Minute)
					wantTexts(t, what+": after that", w.ask(t.Context(), unary, "a"), all...)
				}, func(o *rpc.GroupOptions) { o.Session.Plain = plain })
			}
		}
	}
}

// leftOut is whether a short run goes without a course whose three conditions have numbers of this sum: it has any two conditions
// together, but not all three.
func leftOut(sum int) bool { return os.Getenv("SLIMGO_TEST_LONG") == "" && sum%2 != 0 }

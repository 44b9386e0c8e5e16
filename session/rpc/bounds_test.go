package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

var flood = rpc.Method{Service: "acme.Echo", Name: "Flood", ServerStreams: true}

// flooding serves n replies of that size, and then waits.
func flooding(r rpc.Registrar, n, size int) {
	rpc.HandleServerStream(r, flood, func(ctx context.Context, _ *rpc.Raw, s *rpc.Sender[rpc.Raw]) error {
		for range n {
			if err := s.Send(raw(strings.Repeat("x", size))); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return ctx.Err()
	})
}

// begin makes so many calls whose replies nobody receives.
func begin(t *testing.T, ctx context.Context, c rpc.Caller, n int) []*rpc.Replies[rpc.Raw] {
	t.Helper()
	calls := make([]*rpc.Replies[rpc.Raw], n)
	for i := range calls {
		r, err := rpc.CallServerStream[rpc.Raw, rpc.Raw](ctx, c, flood, new(rpc.Raw))
		if err != nil {
			t.Fatal(err)
		}
		calls[i] = r
	}
	return calls
}

// failures counts the calls that end by too many replies.
func failures(t *testing.T, calls []*rpc.Replies[rpc.Raw], option string) (n int) {
	t.Helper()
	for _, r := range calls {
		for err := error(nil); err == nil; {
			if _, err = r.Receive(); err != nil && errors.Is(err, rpc.ResourceExhausted) {
				if !strings.Contains(err.Error(), "raise CallOptions."+option) {
					t.Errorf("%v, want it to name %s", err, option)
				}
				n++
			}
		}
	}
	return n
}

// All calls of a client together keep no more than its bound and a little each, and whatever ends them makes room again: their context, Close,
// and Receive (P-rpc-10).
func TestCallsOfAClientAreBounded(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		flooding(w.server, 30, 6_000)
		for _, how := range []string{"context", "Close", "Receive"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			calls := begin(t, ctx, w.client, 2) // some 210,000 bytes each
			synctest.Wait()
			time.Sleep(time.Second) // else all ten may come to their bounds together
			calls = append(calls, begin(t, ctx, w.client, 8)...)
			synctest.Wait()
			time.Sleep(time.Second)
			mustCall(t, w.client)
			switch how {
			case "context":
				cancel()
			case "Close":
				for _, r := range calls {
					r.Close()
				}
			case "Receive":
				time.AfterFunc(time.Second, cancel)
				if n := failures(t, calls, "TotalBuffer"); n != 8 {
					t.Errorf("%d of 10 calls have failed, want all but the two that were before the others", n)
				}
			}
			cancel()
			synctest.Wait()
			one, cancel := context.WithTimeout(t.Context(), time.Minute)
			alone := begin(t, one, w.client, 2)
			time.Sleep(time.Second)
			cancel()
			if n := failures(t, alone, "TotalBuffer"); n > 0 {
				t.Errorf("%d of two calls have failed after %s had ended the ten, want none", n, how)
			}
		}
	}, func(_ *rpc.ServerOptions, co *rpc.CallOptions) { co.Buffer, co.TotalBuffer = 250_000, 500_000 })
}

// A call that has too many replies by itself names its own bound.
func TestRepliesOfACallAreBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		flooding(w.server, 3, 80_000)
		calls := begin(t, t.Context(), w.client, 2)
		time.Sleep(time.Second)
		if n := failures(t, calls, "Buffer"); n != 2 {
			t.Errorf("%d of two calls have failed", n)
		}
		mustCall(t, w.client)
	}, func(_ *rpc.ServerOptions, co *rpc.CallOptions) { co.Buffer = 100_000 })
}

// All sessions of a server together keep no more than its bound: those that have much are refused, and those that have little go on (P-rpc-10).
func TestSessionsTogetherAreBounded(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		const loud = 10
		failed := 0
		var sessions []*session.Session
		for i := range loud {
			s, err := w.net.App(fmt.Sprint("org/ns/loud", i)).Open(t.Context(), serverName, session.SessionOptions{Plain: true})
			if err != nil {
				t.Fatal(err)
			}
			sessions = append(sessions, s)
			publish(t, s, first("Wait", ""))
			publish(t, s, of(strings.Repeat("d", 90_000)))
			for _, text := range answers(t, s) {
				failed++
				if !strings.HasPrefix(text, "8 ") || !strings.HasSuffix(text, "raise ServerOptions.TotalBuffer") {
					t.Errorf("answer %q, want code 8 and the option", text)
				}
			}
		}
		if failed < 7 || failed == loud {
			t.Errorf("%d of %d sessions' calls have failed, want 7 at least, and not all", failed, loud)
		}
		if _, err := call(t.Context(), w.client, unary, strings.Repeat("s", 50_000)); err != nil {
			t.Errorf("a call of another session, with 50 KB where 64 KiB are its own: %v", err)
		}
		for _, s := range sessions {
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		s, err := w.net.App("org/ns/late").Open(t.Context(), serverName, session.SessionOptions{Plain: true})
		if err != nil {
			t.Fatal(err)
		}
		publish(t, s, first("Wait", ""))
		publish(t, s, of(strings.Repeat("d", 90_000)))
		if got := answers(t, s); len(got) > 0 {
			t.Errorf("after the loud ones have gone: %q, want nothing", got)
		}
	}, func(so *rpc.ServerOptions, _ *rpc.CallOptions) { so.TotalBuffer = 300_000 })
}

// A server has so many sessions at a time: who comes later is told so, and is served when one has gone.
func TestSessionsOfAServerAreBounded(t *testing.T) {
	accepted := 0
	inWorld(t, func(t *testing.T, w *world) {
		mustCall(t, w.client)
		second := rpc.NewClient(w.net.App("org/ns/second"), serverName, rpc.CallOptions{})
		mustCall(t, second)
		third := rpc.NewClient(w.net.App("org/ns/third"), serverName, rpc.CallOptions{})
		defer third.Close(context.Background())
		_, err := rpc.CallUnary[rpc.Raw, rpc.Raw](t.Context(), third, unary, raw("x"))
		if !errors.Is(err, rpc.Unavailable) || !errors.Is(err, session.ErrDeclined) || !strings.Contains(err.Error(), "ServerOptions.Sessions") {
			t.Errorf("the third caller: %v, want Unavailable and the option", err)
		}
		if accepted != 2 {
			t.Errorf("Accept was asked %d times, want twice", accepted)
		}
		if err := second.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		mustCall(t, third)
	}, func(so *rpc.ServerOptions, _ *rpc.CallOptions) {
		so.Sessions = 2
		so.Accept = func(*session.Invitation) error { accepted++; return nil }
	})
}

// Sessions that come together, or are given to a server, are bounded, too.
func TestSessionsThatComeTogether(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		const callers = 20
		good := make(chan bool, callers)
		for i := range callers {
			c := rpc.NewClient(w.net.App(fmt.Sprint("org/ns/caller", i)), serverName, rpc.CallOptions{Session: session.SessionOptions{Plain: true}})
			defer c.Close(context.Background())
			go func() {
				_, err := rpc.CallUnary[rpc.Raw, rpc.Raw](t.Context(), c, unary, raw("x"))
				if err != nil && !errors.Is(err, rpc.Unavailable) {
					t.Errorf("%v, want Unavailable", err)
				}
				good <- err == nil
			}()
		}
		served := 0
		for range callers {
			if <-good {
				served++
			}
		}
		if served != 3 {
			t.Errorf("%d of %d callers were served, want 3", served, callers)
		}
	}, func(so *rpc.ServerOptions, _ *rpc.CallOptions) { so.Sessions = 3 })
}

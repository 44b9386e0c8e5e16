package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// These are what upstream's tests check and ours beside this file do not, and what is asked for there (docs/rpc-upstream.md).

// lazy registers methods of all shapes that do not look at their contexts, and end when they may.
func lazy(t *testing.T, r rpc.Registrar) {
	t.Helper()
	may := make(chan struct{})
	t.Cleanup(func() { close(may) })
	rpc.HandleUnary(r, unary, func(context.Context, *rpc.Raw) (*rpc.Raw, error) {
		<-may
		return new(rpc.Raw), nil
	})
	rpc.HandleServerStream(r, down, func(_ context.Context, _ *rpc.Raw, s *rpc.Sender[rpc.Raw]) error {
		err := s.Send(raw("first"))
		<-may
		return err
	})
	rpc.HandleClientStream(r, up, func(context.Context, *rpc.Receiver[rpc.Raw]) (*rpc.Raw, error) {
		<-may
		return new(rpc.Raw), nil
	})
	rpc.HandleBidi(r, bidi, func(_ context.Context, s *rpc.BidiStream[rpc.Raw, rpc.Raw]) error {
		_, err := s.Receive()
		<-may
		return err
	})
}

// last is how a call of a method with one request ends.
func last(ctx context.Context, t *testing.T, c rpc.Caller, m rpc.Method) error {
	t.Helper()
	s, err := c.NewStream(ctx, m)
	if err != nil {
		return err
	}
	if err := errors.Join(s.Send(raw("1")), s.CloseSend()); err != nil {
		t.Fatal(err)
	}
	for {
		if err := s.Receive(new(rpc.Raw)); err != nil {
			return err
		}
	}
}

// A server ends calls of all shapes at their deadline, and at its own, even if handlers go on (P-rpc-3).
func TestServerEnforcesDeadlines(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		lazy(t, w.server)
		for _, m := range []rpc.Method{unary, down, up, bidi} {
			began := time.Now()
			err := last(t.Context(), t, w.client, m)
			var e *rpc.Error
			if !errors.As(err, &e) || e.Code != rpc.DeadlineExceeded || !e.Remote {
				t.Errorf("%v: %v, want DEADLINE_EXCEEDED of the server", m, err)
			}
			if took := time.Since(began); took < 3*time.Second || took > 4*time.Second {
				t.Errorf("%v: it took %v, want the 3s of ServerOptions.MaxTime", m, took)
			}
		}
	}, func(so *rpc.ServerOptions, _ *rpc.CallOptions) { so.MaxTime = 3 * time.Second })
}

// A call for which nobody sets a deadline ends after ten hours, as at upstream's servers, unless the server is told otherwise (P-rpc-3).
func TestCallsOfDays(t *testing.T) {
	t.Parallel()
	wants := map[time.Duration]rpc.Code{0: rpc.DeadlineExceeded}
	if os.Getenv("SLIMGO_TEST_LONG") != "" { // the heartbeats of a day take a second
		wants[-1] = rpc.OK
	}
	for most, want := range wants {
		inWorld(t, func(t *testing.T, w *world) {
			rpc.HandleUnary(w.server, unary, func(ctx context.Context, _ *rpc.Raw) (*rpc.Raw, error) {
				select {
				case <-time.After(11 * time.Hour):
					return raw("done"), nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			})
			began := time.Now()
			_, err := call(t.Context(), w.client, unary, "")
			if took := time.Since(began); rpc.CodeOf(err) != want || took < rpc.DefaultMaxTime || took > 11*time.Hour+time.Minute {
				t.Errorf("MaxTime %d: %v after %v, want %v", most, err, took, want)
			}
		}, func(so *rpc.ServerOptions, co *rpc.CallOptions) { so.MaxTime, co.Timeout = most, -1 })
	}
}

// And a client ends calls of all shapes whose server says nothing.
func TestClientEnforcesDeadlines(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		lazy(t, w.server)
		mustCallEmpty(t, w.client)
		for _, m := range []rpc.Method{unary, down, up, bidi} {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			w.net.Hold("org/ns/client") // of what comes: the server's word, too
			err := last(ctx, t, w.client, m)
			w.net.Release("org/ns/client")
			cancel()
			if rpc.CodeOf(err) != rpc.DeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v: %v, want a context.DeadlineExceeded", m, err)
			}
		}
	})
}

func mustCallEmpty(t *testing.T, c rpc.Caller) {
	t.Helper()
	if _, err := call(t.Context(), c, empty, ""); err != nil {
		t.Fatal(err)
	}
}

// Handlers have the deadline of the caller, and hand it on to the calls that they make.
func TestDeadlineIsHandedOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var seen []time.Time
		inner, outer := rpc.Method{Service: "acme.Echo", Name: "Inner"}, rpc.Method{Service: "acme.Echo", Name: "Outer"}
		note := func(ctx context.Context) {
			at, _ := ctx.Deadline()
			seen = append(seen, at)
		}
		rpc.HandleUnary(w.server, inner, func(ctx context.Context, req *rpc.Raw) (*rpc.Raw, error) {
			note(ctx)
			return req, nil
		})
		rpc.HandleUnary(w.server, outer, func(ctx context.Context, req *rpc.Raw) (*rpc.Raw, error) {
			note(ctx)
			_, err := call(ctx, w.client, inner, "")
			return req, err
		})
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		if _, err := call(ctx, w.client, outer, ""); err != nil {
			t.Fatal(err)
		}
		want, _ := ctx.Deadline()
		for i, at := range seen {
			if at.Sub(want).Abs() > time.Millisecond {
				t.Errorf("handler %d has the deadline %v, want %v", i, at, want)
			}
		}
		if len(seen) != 2 {
			t.Errorf("%d handlers, want 2", len(seen))
		}
	})
}

// Clocks that do not agree: a caller's that is behind has no time, unless the server gives it some (P-rpc-3).
func TestClocksThatDoNotAgree(t *testing.T) {
	for _, c := range []struct {
		skew, behind time.Duration
		want         string
	}{
		{0, 5 * time.Second, "4 the deadline was over before the call came, for 5s by the server's clock"},
		{6 * time.Second, 5 * time.Second, "echo:a"},
		{4 * time.Second, 5 * time.Second, "4 the deadline was over before the call came, for 1s by the server's clock"},
		{0, -5 * time.Second, "echo:a"},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			s, err := w.net.App("org/ns/peer").Open(t.Context(), serverName, session.SessionOptions{Plain: true})
			if err != nil {
				t.Fatal(err)
			}
			deadline := fmt.Sprint(time.Now().Add(-c.behind).Unix())
			if _, err := s.Publish(t.Context(), session.Content{Data: []byte("a"), Metadata: first("Unary", "", "slimrpc-timeout", deadline).md}); err != nil {
				t.Fatal(err)
			}
			if got := answers(t, s); len(got) == 0 || got[0] != c.want {
				t.Errorf("%v behind, skew %v: %q, want %q", c.behind, c.skew, got, c.want)
			}
		}, func(so *rpc.ServerOptions, _ *rpc.CallOptions) { so.Skew = c.skew })
	}
}

// What cannot be decoded is an InvalidArgument of the caller, and an Internal of the server.
func TestMessagesThatCannotBeDecoded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		typed := rpc.Method{Service: "acme.Echo", Name: "Typed"}
		rpc.HandleUnary(w.server, typed, func(_ context.Context, req *wrapperspb.StringValue) (*wrapperspb.StringValue, error) { return req, nil })
		_, err := call(t.Context(), w.client, typed, "\xff")
		wantCode(t, "a request that is no message", err, rpc.InvalidArgument)
		_, err = rpc.CallUnary[rpc.Raw, wrapperspb.StringValue](t.Context(), w.client, unary, raw("\xff")) // echo:\xff is none
		wantCode(t, "a reply that is no message", err, rpc.Internal)
		mustCall(t, w.client)
	})
}

// A client that is closed without a session has nothing to do, and one that was closed goes on with another session.
func TestCloseAndGoOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for range 2 {
			if err := w.client.Close(t.Context()); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		mustCall(t, w.client)
		if err := w.client.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		mustCall(t, w.client)
	})
	inCrowd(t, 2, func(t *testing.T, w *crowd) {
		for range 2 {
			if err := w.group.Close(t.Context()); err != nil {
				t.Errorf("Close of a group: %v", err)
			}
			wantTexts(t, "after Close", w.ask(t.Context(), unary, "a"), "server0: echo:a", "server1: echo:a")
		}
	})
}

// A client that wants another subject than the server has gets no session, and a group has no such member.
func TestPins(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		app := w.net.App("org/ns/caller")
		for pin, want := range map[string]rpc.Code{"somebody else": rpc.Unavailable, "": rpc.OK} {
			o := rpc.CallOptions{Session: session.SessionOptions{Pin: pin}}
			c := rpc.NewClient(app, serverName, o)
			if _, err := call(t.Context(), c, unary, ""); rpc.CodeOf(err) != want {
				t.Errorf("pin %q: %v, want %v", pin, err, want)
			}
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
			for _, name := range []session.Name{serverName, session.MustName(serverName.String() + "/00000000-0000-4000-8000-000000000001")} { // whose id says nothing
				g := rpc.NewGroup(app, []session.Name{name}, rpc.GroupOptions{Pins: map[session.Name]string{name: pin}})
				for _, err := range rpc.Ask[rpc.Raw, rpc.Raw](t.Context(), g, unary, raw("")) {
					if rpc.CodeOf(err) != want {
						t.Errorf("a group, pin %q of %v: %v, want %v", pin, name, err, want)
					}
				}
				if err := g.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
		}
		both := map[session.Name]string{serverName: "a", session.MustName(serverName.String() + "/00000000-0000-4000-8000-000000000001"): "b"}
		_, err := call(t.Context(), rpc.NewGroup(app, []session.Name{serverName}, rpc.GroupOptions{Pins: both}), unary, "")
		if wantCode(t, "two pins of a name", err, rpc.InvalidArgument); err == nil || !strings.Contains(err.Error(), `to "a" and to "b"`) {
			t.Errorf("two pins of a name: %v", err)
		}
	})
}

// Errors of several members come with who has sent them, of streams after what came before, and a fresh group for each call does as well.
func TestErrorsOfMembers(t *testing.T) {
	t.Parallel()
	inCrowd(t, 3, func(t *testing.T, w *crowd) {
		for i, s := range w.servers[1:] {
			rpc.HandleServerStream(s, down, func(_ context.Context, _ *rpc.Raw, out *rpc.Sender[rpc.Raw]) error {
				return errors.Join(out.Send(raw("item 0")), rpc.NewError(rpc.Code(5+i), "no more"))
			})
		}
		want := []string{"server0: item 0", "server1: NOT_FOUND", "server1: item 0", "server2: ALREADY_EXISTS", "server2: item 0"}
		wantTexts(t, "a stream of which two fail", w.ask(t.Context(), down, "1"), want...)
		for range 3 {
			fresh := crowd{group: rpc.NewGroup(w.net.App("org/ns/fresh"), w.names, rpc.GroupOptions{CallOptions: plain})}
			wantTexts(t, "a fresh group", fresh.ask(t.Context(), down, "1"), want...)
			if err := fresh.group.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

var plain = rpc.CallOptions{Session: session.SessionOptions{Plain: true}}

// Messages as long as a session lets them go both ways, and one byte more fails before anything is sent.
func TestLongestMessages(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		same := rpc.Method{Service: "acme.Echo", Name: "Same"}
		rpc.HandleUnary(w.server, same, func(_ context.Context, req *rpc.Raw) (*rpc.Raw, error) { return req, nil })
		text := strings.Repeat("x", session.MaxContent-1000) // the rest is metadata
		if got, err := call(t.Context(), w.client, same, text); err != nil || got != text {
			t.Errorf("%d bytes: %d, %v", len(text), len(got), err)
		}
		_, err := call(t.Context(), w.client, same, strings.Repeat("x", session.MaxContent+1))
		wantCode(t, "a message beyond that", err, rpc.ResourceExhausted)
		_, err = call(t.Context(), w.client, same, strings.Repeat("x", session.MaxContent))
		wantCode(t, "one that leaves no room for metadata", err, rpc.ResourceExhausted)
		mustCall(t, w.client)
	})
}

// Thousands of calls at once share a session, and all get their own answers: ten thousand with SLIMGO_TEST_LONG.
func TestThousandsOfCalls(t *testing.T) {
	t.Parallel()
	calls := 1000
	if os.Getenv("SLIMGO_TEST_LONG") != "" {
		calls = 10_000
	}
	inWorld(t, func(t *testing.T, w *world) {
		gate := make(chan struct{})
		held := rpc.Method{Service: "acme.Echo", Name: "Held"}
		var served sync.WaitGroup
		served.Add(calls)
		rpc.HandleUnary(w.server, held, func(_ context.Context, req *rpc.Raw) (*rpc.Raw, error) {
			served.Done()
			<-gate // all are there at the same time
			return req, nil
		})
		var all sync.WaitGroup
		for i := range calls {
			all.Go(func() {
				text := fmt.Sprint(i)
				if got, err := call(t.Context(), w.client, held, text); err != nil || got != text {
					t.Errorf("call %d: %q, %v", i, got, err)
				}
			})
		}
		served.Wait()
		close(gate)
		all.Wait()
	}, func(so *rpc.ServerOptions, co *rpc.CallOptions) {
		so.Calls, so.SessionCalls = calls, calls
		co.Timeout = 10 * time.Minute
	})
}

// A network that is away for a while in the middle of a call delays it, and nothing is served twice.
func TestNetworkIsAwayForAWhile(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		mustCall(t, w.client)
		slow := rpc.Method{Service: "acme.Echo", Name: "Slow"}
		n := 0
		rpc.HandleUnary(w.server, slow, func(context.Context, *rpc.Raw) (*rpc.Raw, error) {
			n++
			time.Sleep(2 * time.Second)
			return raw("done"), nil
		})
		time.AfterFunc(time.Second, func() { w.net.Partition("org/ns/server") })
		time.AfterFunc(5*time.Second, w.net.Heal)
		if got, err := call(t.Context(), w.client, slow, ""); err != nil || got != "done" || n != 1 {
			t.Errorf("%q, %v, served %d times", got, err, n)
		}
	})
}

// Two servers of one app do not steal calls from each other: the second says so.
func TestTwoServersOfOneApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := sessiontest.New(t, sessiontest.Options{Quiet: true}).App("org/ns/server")
		s := serve(t, app, rpc.ServerOptions{}, nil)
		if err := rpc.NewServer(app, rpc.ServerOptions{}).Serve(t.Context()); !errors.Is(err, session.ErrListening) {
			t.Errorf("a second server: %v, want session.ErrListening", err)
		}
		if err := s.Serve(t.Context()); !errors.Is(err, rpc.ErrServing) {
			t.Errorf("the same again: %v, want rpc.ErrServing", err)
		}
		if got := s.Methods(); len(got) != 8 || !slices.Contains(got, down) {
			t.Errorf("methods %v", got)
		}
	})
}

// A call whose requests are none has its deadline and its metadata, too, which upstream's leave out (P-rpc-1).
func TestEmptyStreamHasDeadlineAndMetadata(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		about := rpc.Method{Service: "acme.Echo", Name: "About", ClientStreams: true}
		rpc.HandleClientStream(w.server, about, func(ctx context.Context, in *rpc.Receiver[rpc.Raw]) (*rpc.Raw, error) {
			if _, err := in.Receive(); err != io.EOF {
				return nil, fmt.Errorf("not empty: %w", err)
			}
			at, _ := ctx.Deadline()
			return raw(fmt.Sprint(time.Until(at).Round(time.Second), " ", rpc.InfoOf(ctx).Metadata["k"])), nil
		})
		ctx, cancel := context.WithTimeout(rpc.WithMetadata(t.Context(), map[string]string{"k": "v"}), 9*time.Second)
		defer cancel()
		u, err := rpc.CallClientStream[rpc.Raw, rpc.Raw](ctx, w.client, about)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := u.CloseAndReceive(); err != nil || string(*res) != "9s v" {
			t.Errorf("%v, %v", res, err)
		}
	})
}

// Of callers of a group each gets what was said to it, and a session that is over is over in good time.
func TestTwoCallersOfTheSameServers(t *testing.T) {
	inCrowd(t, 3, func(t *testing.T, w *crowd) {
		other := &crowd{group: rpc.NewGroup(w.net.App("org/ns/other"), w.names, rpc.GroupOptions{CallOptions: plain})}
		var all sync.WaitGroup
		for i, c := range []*crowd{w, other} {
			text := fmt.Sprint(i)
			all.Go(func() {
				for range 20 {
					wantTexts(t, "caller "+text, c.ask(t.Context(), unary, text), "server0: echo:"+text, "server1: echo:"+text, "server2: echo:"+text)
				}
			})
		}
		all.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := other.group.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

package rpc_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// What has come before the end of a call's context is received, the end of the replies too.
func TestWhatCameBeforeTheEndIsReceived(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := rpc.CallServerStream[rpc.Raw, rpc.Raw](ctx, w.client, down, raw("3"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		cancel()
		synctest.Wait()
		for i := range 3 {
			if r, err := s.Receive(); err != nil || string(*r) != fmt.Sprint("item ", i) {
				t.Fatalf("reply %d: %v", i, err)
			}
		}
		if _, err := s.Receive(); err != io.EOF {
			t.Errorf("the end: %v, want io.EOF", err)
		}
	})
}

// After CloseSend a request is an error, and is not sent; the call goes on.
func TestRequestsAfterCloseSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := sessiontest.New(t, sessiontest.Options{Quiet: true})
		r := record(t, net.App("org/ns/server"))
		b, err := rpc.CallBidi[rpc.Raw, rpc.Raw](t.Context(), dial(t, net.App("org/ns/client"), rpc.CallOptions{}), bidi)
		if err != nil {
			t.Fatal(err)
		}
		if err := cmp.Or(b.Send(raw("one")), b.CloseSend(), b.CloseSend()); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "a request after CloseSend", b.Send(raw("two")), rpc.Internal)
		time.Sleep(time.Second)
		if got, want := r.said(), []string{"one", "0"}; !slices.Equal(got, want) {
			t.Errorf("the server was sent %q, want %q", got, want)
		}
		b.Close()
	})
}

// A request that no session takes, for its metadata, is the end of its call and of no other, and leaves nothing.
func TestMetadataBeyondASession(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		mustCall(t, w.client)
		ctx := rpc.WithMetadata(t.Context(), map[string]string{"note": strings.Repeat("n", session.MaxContent)})
		_, err := call(ctx, w.client, unary, "hi")
		wantCode(t, "metadata of 16 MiB", err, rpc.ResourceExhausted)
		if n := w.client.Left(); n != 0 {
			t.Errorf("%d calls are left", n)
		}
		mustCall(t, w.client)
	})
}

// Close of a call whose one reply was received gives nothing up: what the handler does after that goes on.
func TestCloseAfterTheReply(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ended := make(chan error, 1)
		m := rpc.Method{Service: "acme.Echo", Name: "After"}
		w.server.Handle(m, func(ctx context.Context, s rpc.ServerStream) error {
			if err := cmp.Or(s.Receive(new(rpc.Raw)), s.Send(raw("reply"))); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			ended <- ctx.Err()
			return nil
		})
		if got, err := call(t.Context(), w.client, m, "hi"); err != nil || got != "reply" {
			t.Fatalf("%q, %v", got, err)
		}
		if err := <-ended; err != nil {
			t.Errorf("the handler's context after its reply: %v", err)
		}
	})
}

// What is no method is an error of the call, before anything is sent.
func TestMethodsThatAreNone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, m := range []rpc.Method{{Service: "acme.Echo"}, {Name: "Unary"}, {}} {
			_, err := call(t.Context(), w.client, m, "hi")
			wantCode(t, fmt.Sprintf("method %+v", m), err, rpc.InvalidArgument)
		}
	})
}

// Members hear that a call of a group was cancelled, also if nobody receives what they say.
func TestMembersHearOfTheEnd(t *testing.T) {
	inCrowd(t, 3, func(t *testing.T, w *crowd) {
		ended := make(chan error, 3)
		for _, s := range w.servers {
			rpc.HandleUnary(s, waits, func(ctx context.Context, _ *rpc.Raw) (*rpc.Raw, error) {
				<-ctx.Done()
				ended <- context.Cause(ctx)
				return nil, ctx.Err()
			})
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if _, err := rpc.CallServerStream[rpc.Raw, rpc.Raw](ctx, w.group, waits, new(rpc.Raw)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		cancel()
		for range 3 {
			wantCode(t, "a handler", <-ended, rpc.Canceled)
		}
	})
}

// A member whose replies are of no use has failed once, and hears of the end when the others have answered.
func TestRepliesOfAMemberThatAreOfNoUse(t *testing.T) {
	inCrowd(t, 3, func(t *testing.T, w *crowd) {
		endless := rpc.Method{Service: "acme.Echo", Name: "Endless", ServerStreams: true}
		ended := make(chan error, 3)
		for i, s := range w.servers {
			rpc.HandleServerStream(s, endless, func(ctx context.Context, _ *rpc.Raw, to *rpc.Sender[rpc.Raw]) error {
				if i > 0 {
					return to.Send(raw("short"))
				}
				var err error
				for err == nil {
					select {
					case <-time.After(time.Second):
						err = to.Send(raw("a reply that is too long"))
					case <-ctx.Done():
						err = context.Cause(ctx)
					}
				}
				ended <- err
				return err
			})
		}
		good, bad := 0, 0
		for _, err := range rpc.Ask[rpc.Raw, rpc.Raw](t.Context(), w.group, endless, new(rpc.Raw)) {
			if err == nil {
				good++
				continue
			}
			wantCode(t, "the member", err, rpc.ResourceExhausted)
			bad++
		}
		if good != 2 || bad != 1 {
			t.Errorf("%d replies and %d errors, want 2 and 1", good, bad)
		}
		select {
		case err := <-ended:
			wantCode(t, "its handler", err, rpc.Canceled)
		case <-time.After(time.Minute):
			t.Error("its handler goes on")
			w.servers[0].Stop()
		}
	}, func(o *rpc.GroupOptions) { o.MaxMessage = 20 })
}

// A server whose replies are of no use to a caller hears of it, whatever the reason, and works for it no longer (P-rpc-7).
func TestHandlersOfCallsThatAreGivenUpEnd(t *testing.T) {
	endless := rpc.Method{Service: "acme.Echo", Name: "Endless", ServerStreams: true}
	for _, c := range []struct {
		name   string
		method rpc.Method
		size   int
		want   rpc.Code
	}{
		{"more replies than wait", endless, 30_000, rpc.ResourceExhausted},
		{"a reply that is too long", endless, 60_000, rpc.ResourceExhausted},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				ended := make(chan error, 1)
				rpc.HandleServerStream(w.server, c.method, func(ctx context.Context, _ *rpc.Raw, s *rpc.Sender[rpc.Raw]) error {
					var err error
					for tick := time.NewTicker(time.Second); err == nil; {
						select {
						case <-tick.C:
							err = s.Send(raw(strings.Repeat("x", c.size)))
						case <-ctx.Done():
							err = context.Cause(ctx)
						}
					}
					ended <- err
					return err
				})
				s, err := rpc.CallServerStream[rpc.Raw, rpc.Raw](t.Context(), w.client, c.method, new(rpc.Raw))
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				if c.size < 50_000 && len(ended) == 0 {
					t.Error("the handler goes on while nobody receives")
				}
				for err == nil {
					_, err = s.Receive()
				}
				wantCode(t, c.name, err, c.want)
				select {
				case err := <-ended:
					wantCode(t, "the handler", err, rpc.Canceled)
				case <-time.After(10 * time.Second):
					t.Error("the handler goes on")
					w.server.Stop()
				}
				if n := w.client.Left(); n != 0 {
					t.Errorf("%d calls are left at the client", n)
				}
			}, func(_ *rpc.ServerOptions, co *rpc.CallOptions) { co.Buffer, co.MaxMessage = 100_000, 50_000 })
		})
	}
}

// A session that is given to a server that has stopped is closed, and nothing in it is served.
func TestSessionsOfAStoppedServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := sessiontest.New(t, sessiontest.Options{Quiet: true})
		app := net.App("org/ns/server")
		l, err := app.Listen(session.ListenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		server := rpc.NewServer(app, rpc.ServerOptions{})
		echo(server, nil)
		server.Stop()
		done := make(chan struct{})
		go func() {
			defer close(done)
			if s, err := l.Accept(t.Context()); err == nil {
				server.ServeSession(t.Context(), s)
			}
		}()
		s, err := net.App("org/ns/client").Open(t.Context(), serverName, session.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		<-done
		time.Sleep(time.Second)
		if s.Err() == nil {
			t.Error("the caller's session goes on")
		}
		if n := len(app.Sessions()); n > 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
}

package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// A code that is none for an error never goes out as the end of a stream, or as data.
func TestHandlersWithoutAGoodCode(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want rpc.Code
	}{
		"OK":              {rpc.OK, rpc.Internal},
		"an error of OK":  {&rpc.Error{Message: "fine"}, rpc.Internal},
		"one of them":     {fmt.Errorf("wrapped: %w", &rpc.Error{Message: "fine"}), rpc.Internal},
		"beyond the last": {&rpc.Error{Code: 99, Message: "what"}, rpc.Internal},
		"a bare code":     {rpc.NotFound, rpc.NotFound},
		"no code":         {rpc.Code(99), rpc.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				rpc.HandleUnary(w.server, unary, func(context.Context, *rpc.Raw) (*rpc.Raw, error) { return nil, c.err })
				_, err := call(t.Context(), w.client, unary, "")
				wantCode(t, name, err, c.want)
			})
		})
	}
}

// nothing is an error whose methods need a value that a nil pointer does not have.
type nothing struct{ text string }

func (n *nothing) Error() string { return n.text }

// old is an error of gRPC, wrapped or beside another, and broken.
type old struct{ s *status.Status }

func (old) Error() string                { return "old" }
func (o old) GRPCStatus() *status.Status { return o.s }

// A handler that was moved from gRPC may go on to return its statuses.
func TestStatusesOfGRPC(t *testing.T) {
	t.Parallel()
	gone := status.Error(codes.NotFound, "gone")
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"bare":          {gone, "NOT_FOUND: gone"},
		"wrapped":       {fmt.Errorf("wrapped: %w", gone), "NOT_FOUND: gone"},
		"joined":        {errors.Join(errors.New("other"), old{status.New(codes.Aborted, "again")}), "ABORTED: again"},
		"unknown code":  {status.Error(99, "what"), "UNKNOWN: what"},
		"no status":     {old{}, "INTERNAL: the handler returned an error with code OK: "},
		"of no package": {errors.Join(errors.New("a"), fmt.Errorf("b: %w", errors.New("c"))), "UNKNOWN: a\nb: c"},
		"one of ours":   {fmt.Errorf("%w: %w", rpc.NewError(rpc.Aborted, "ours"), gone), "ABORTED: ours"},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			rpc.HandleUnary(w.server, unary, func(context.Context, *rpc.Raw) (*rpc.Raw, error) { return nil, c.err })
			_, err := call(t.Context(), w.client, unary, "")
			if _, text, _ := strings.Cut(fmt.Sprint(err), ": "); text != c.want {
				t.Errorf("%s: %v, want %s", name, err, c.want)
			}
		})
	}
}

// An error that is a nil pointer, which handlers return by mistake, is the handler's panic, and not the server's.
func TestErrorsThatPanic(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		rpc.HandleUnary(w.server, unary, func(context.Context, *rpc.Raw) (*rpc.Raw, error) { return nil, (*nothing)(nil) })
		for range 2 {
			_, err := call(t.Context(), w.client, unary, "")
			wantCode(t, "an error that is nil", err, rpc.Internal)
		}
	})
}

// What a handler keeps when it has returned is of no use: its context is over, and its stream neither sends nor receives.
func TestStreamsThatAreKept(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		kept := make(chan rpc.ServerStream, 1)
		w.server.Handle(bidi, func(_ context.Context, s rpc.ServerStream) error {
			time.Sleep(time.Second) // until there is something to receive
			kept <- s
			return nil
		})
		peer, err := w.net.App("org/ns/peer").Open(t.Context(), serverName, session.SessionOptions{Plain: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range []frame{first("Bidi", "a"), of("b")} {
			if _, err := peer.Publish(t.Context(), session.Content{Data: []byte(f.text), Metadata: f.md}); err != nil {
				t.Fatal(err)
			}
		}
		s := <-kept
		time.Sleep(time.Second)
		if cause := context.Cause(s.Context()); rpc.CodeOf(cause) != rpc.Canceled || !strings.Contains(cause.Error(), "the handler has returned") {
			t.Errorf("the context ends by %v", cause)
		}
		wantCode(t, "Receive", s.Receive(new(rpc.Raw)), rpc.Canceled)
		wantCode(t, "Send", s.Send(raw("late")), rpc.Canceled)
		if got, want := answers(t, peer), []string{"0"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// While a session waits for a handler that does not look at its context nothing new begins in it.
func TestCallsWhileASessionEnds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		app := w.net.App("org/ns/own")
		l, err := app.Listen(session.ListenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		server := rpc.NewServer(app, rpc.ServerOptions{})
		served := 0
		rpc.HandleUnary(server, unary, func(context.Context, *rpc.Raw) (*rpc.Raw, error) {
			served++
			time.Sleep(5 * time.Second)
			return raw("late"), nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		over := make(chan struct{})
		go func() {
			defer close(over)
			s, err := l.Accept(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			server.ServeSession(ctx, s)
		}()
		c := rpc.NewClient(w.net.App("org/ns/caller"), app.Name().Any(), rpc.CallOptions{Session: session.SessionOptions{Plain: true}})
		results := make(chan error, 2)
		for _, wait := range []time.Duration{time.Second, 2 * time.Second} {
			go func() {
				_, err := call(t.Context(), c, unary, "")
				results <- err
			}()
			time.Sleep(wait)
			cancel()
		}
		for range 2 {
			wantCode(t, "a call of a session that ends", <-results, rpc.Canceled)
		}
		<-over
		if served != 1 {
			t.Errorf("%d calls were served, want one", served)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

package rpc_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// Calls of a server that says nothing any more are over at their deadlines, although what tells it so finds no room in the session, and
// Close of the client is, too.
func TestDeadlinesWithoutRoom(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		mustCall(t, w.client)
		w.net.Partition("org/ns/server")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		var all sync.WaitGroup
		for range 2000 {
			all.Go(func() {
				_, err := call(ctx, w.client, unary, "x")
				wantCode(t, "a call without an answer", err, rpc.DeadlineExceeded)
			})
		}
		all.Wait()
		if took := time.Since(began); took > time.Second {
			t.Errorf("calls of a second took %v", took)
		}
		began = time.Now()
		ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := w.client.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v, want %v", err, context.DeadlineExceeded)
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("Close of 100 ms took %v", took)
		}
		w.net.Heal()
	})
}

// Send after a call is over does not wait for what tells the server so.
func TestSendAfterTheEndDoesNotWait(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		mustCall(t, w.client)
		w.net.Partition("org/ns/server")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		u, err := rpc.CallClientStream[rpc.Raw, rpc.Raw](ctx, w.client, up)
		for err == nil {
			err = u.Send(raw("x"))
		}
		began := time.Now()
		for range 3 {
			if err := u.Send(raw("x")); err != io.EOF {
				t.Errorf("Send after the deadline: %v, want %v", err, io.EOF)
			}
		}
		_, err = u.CloseAndReceive()
		wantCode(t, "CloseAndReceive after the deadline", err, rpc.DeadlineExceeded)
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v", took)
		}
		w.net.Heal()
	})
}

// A client may be closed while others call, which then open another session.
func TestCloseBesideCalls(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 100 {
					if _, err := call(t.Context(), w.client, unary, "x"); err != nil && !errors.Is(err, rpc.Canceled) {
						t.Errorf("a call beside Close: %v, want an answer or %v", err, rpc.Canceled)
					}
				}
			})
		}
		for range 4 {
			all.Go(func() {
				for range 100 {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					_ = w.client.Close(ctx)
					cancel()
				}
			})
		}
		all.Wait()
		mustCall(t, w.client)
	})
}

// A server may be stopped while it is started again.
func TestServeBesideStop(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		w.server.Stop()
		over := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				if err := w.server.Serve(t.Context()); err != nil && !errors.Is(err, session.ErrListening) {
					t.Error(err)
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
		for range 3 {
			all.Go(func() {
				for {
					select {
					case <-over:
						w.server.Stop()
						return
					case <-time.After(7 * time.Millisecond):
						w.server.Stop()
					}
				}
			})
		}
		for range 200 {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			_, _ = call(ctx, w.client, unary, "x")
			cancel()
		}
		close(over)
		time.Sleep(time.Second)
		w.server.Stop()
		all.Wait()
	})
}

package session

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// Close delivers what was published before it.
func TestCloseDelivers(t *testing.T) {
	t.Parallel()
	for _, o := range shapes {
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				alice, _, a, b := h.pair(o)
				texts := numbered("text", 300)
				for _, text := range texts {
					if _, err := a.Publish(t.Context(), Text(text)); err != nil {
						t.Fatal(err)
					}
				}
				if err := a.Close(t.Context()); err != nil {
					t.Error(err)
				}
				receives(t, b, alice, texts...)
				if _, err := b.Receive(t.Context()); err != ErrClosed {
					t.Errorf("afterwards: %v", err)
				}
				if err := a.Close(t.Context()); err != nil {
					t.Errorf("again: %v", err)
				}
			})
		})
	}
}

// A context that ends makes Close end everything at once: who waits is told, and nobody else waits either.
func TestCloseThatIsCutShort(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice, _, a, _ := h.pair(SessionOptions{Retries: 1000})
		h.mu.Lock()
		h.cut = func(_, _ *hubLink, _ *message.Message) bool { return true }
		h.mu.Unlock()
		d, err := a.Publish(t.Context(), Text("never"))
		if err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		if err := a.Close(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("closed: %v", err)
		}
		if d := time.Since(begin); d != 5*time.Second {
			t.Errorf("after %v", d)
		}
		if err := d.Wait(t.Context()); !errors.Is(err, ErrNotDelivered) {
			t.Errorf("delivered: %v", err)
		}
		_ = alice
		h.mu.Lock()
		h.cut = nil
		h.mu.Unlock()
	})
}

// Whoever waits for something of an app that is closed gets to know, and nothing of it goes on.
func TestAppThatIsClosed(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob, a, b := h.pair(SessionOptions{})
		g, err := bob.OpenGroup(t.Context(), MustName("org/ns/channel"), SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		results := make(chan error, 8)
		l := bob.listener
		for _, wait := range []func() error{
			func() error { _, err := l.Accept(t.Context()); return err },
			func() error { _, err := b.Receive(t.Context()); return err },
			func() error { _, err := b.NextEvent(t.Context()); return skip(b, err) },
			func() error { return g.Invite(t.Context(), MustName("org/ns/nobody")) },
			func() error { _, err := g.Receive(t.Context()); return err },
		} {
			go func() { results <- wait() }()
		}
		synctest.Wait()
		if err := bob.Close(t.Context()); err != nil {
			t.Error(err)
		}
		for range 5 {
			if err := <-results; !errors.Is(err, ErrClosed) && !errors.Is(err, ErrTimeout) {
				t.Errorf("got %v", err)
			}
		}
		<-a.Done()
		for what, err := range map[string]error{
			"publish": second(b.Publish(t.Context(), Text("x"))), "open": second(bob.Open(t.Context(), alice.Name(), SessionOptions{})),
			"group": second(bob.OpenGroup(t.Context(), alice.Name(), SessionOptions{})), "listen": second(bob.Listen(ListenOptions{})),
			"subscribe": bob.Subscribe(t.Context(), alice.Name()),
		} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

// skip passes over the events that there are.
func skip(s *Session, err error) error {
	for err == nil {
		_, err = s.NextEvent(context.Background())
	}
	return err
}

// Sessions cost no goroutines.
func TestSessionsShareGoroutines(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob := h.app("alice"), h.app("bob")
		l := listen(t, bob)
		synctest.Wait()
		g0 := runtime.NumGoroutine()
		var all []*Session
		for range 50 {
			s, err := alice.Open(t.Context(), bob.Name(), SessionOptions{})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s, accept(t, l))
		}
		synctest.Wait()
		if n := runtime.NumGoroutine(); n > g0 { // what earlier tests have left may end meanwhile
			t.Errorf("%d goroutines, were %d", n, g0)
		}
		if s := alice.Stats(); s.Sessions != 50 {
			t.Errorf("%+v", s)
		}
		for _, s := range all {
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute)
		if n := alice.Stats().Sessions + bob.Stats().Sessions; n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
}

package session

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Subscribe returns when the node has taken the name, also where another call has asked for it; and where that one has failed, it asks
// itself.
func TestSubscribeTogether(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		bob := h.app("bob")
		name := MustName("org/ns/other")
		taken := func() bool { return h.has(bob, name) }
		first, cancel := context.WithCancel(t.Context())
		results := make(chan error, 2)
		go func() { results <- bob.Subscribe(first, name) }()
		synctest.Wait()
		go func() { results <- bob.Subscribe(t.Context(), name) }()
		go func() { // one that does not wait for the others
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := bob.Subscribe(ctx, name); !errors.Is(err, context.Canceled) {
				t.Errorf("with a context that is over: %v", err)
			}
		}()
		synctest.Wait()
		cancel()
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("the first one: %v", err)
		}
		if err := <-results; err != nil || !taken() {
			t.Errorf("the second one: %v; the node has taken it: %v", err, taken())
		}
		if err := bob.Unsubscribe(t.Context(), name); err != nil || taken() {
			t.Errorf("given up: %v; the node has it: %v", err, taken())
		}

		go func() { results <- bob.Subscribe(t.Context(), name) }()
		synctest.Wait()
		if err := bob.Subscribe(t.Context(), name); err != nil || !taken() {
			t.Errorf("beside another one: %v; the node has taken it: %v", err, taken())
		}
		if err := <-results; err != nil {
			t.Error(err)
		}
		if err := bob.Subscribe(t.Context(), Name{}); !errors.Is(err, ErrConfig) {
			t.Errorf("no name: %v", err)
		}
	})
}

// A name without an id is that of the one member that has it, this app included; of two, it is the other one's.
func TestToWhomWithoutID(t *testing.T) {
	t.Parallel()
	for _, o := range shapes {
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				alice, bob := h.app("alice"), h.app("bob")
				twin := h.app("alice")
				lb, lt := listen(t, bob), listen(t, twin)
				g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), o)
				if err != nil {
					t.Fatal(err)
				}
				if err := g.Invite(t.Context(), bob.Name().Any()); err != nil {
					t.Fatal(err)
				}
				p, err := alice.Open(t.Context(), twin.Name(), o)
				if err != nil {
					t.Fatal(err)
				}
				theirs := accept(t, lt)
				for _, c := range []struct {
					what     string
					by, gets *Session
					to       *App
				}{
					{"a member", g, accept(t, lb), bob}, {"this app", g, g, alice}, {"another instance", p, theirs, twin}, {"who has opened it", theirs, p, alice},
				} {
					d, err := c.by.PublishTo(t.Context(), c.to.Name().Any(), Text(c.what))
					if err == nil {
						err = d.Wait(t.Context())
					}
					if err != nil {
						t.Errorf("%s: %v", c.what, err)
						continue
					}
					receives(t, c.gets, c.by.app, c.what)
				}
			})
		})
	}
}

// has reports whether the node has a name of this service for the app.
func (h *hub) has(a *App, name Name) bool {
	link := h.linkOf(a)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range link.names {
		if n.C == name.t.Name.C {
			return true
		}
	}
	return false
}

// Sessions under a name that is given up go on, both ways: the node has it until the last of them is over, and nobody is invited by it.
func TestSessionsUnderANameThatIsGivenUp(t *testing.T) {
	t.Parallel()
	for _, o := range shapes {
		for _, name := range []Name{MustName("org/other/robert"), MustName("org/ns/bob")} {
			t.Run(o.name()+" "+name.String(), func(t *testing.T) {
				bubble(t, func(t *testing.T, h *hub) {
					o.Interval, o.Retries = 100*time.Millisecond, 3
					alice, bob := h.app("alice"), h.app("bob")
					l := listen(t, bob)
					if err := bob.Subscribe(t.Context(), name); err != nil {
						t.Fatal(err)
					}
					a, err := alice.Open(t.Context(), name, o)
					if err != nil {
						t.Fatal(err)
					}
					b := accept(t, l)
					g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), o)
					if err != nil {
						t.Fatal(err)
					}
					if err := g.Invite(t.Context(), name); err != nil {
						t.Fatal(err)
					}
					gb := accept(t, l)
					if err := bob.Unsubscribe(t.Context(), name); err != nil {
						t.Fatal(err)
					}
					if err := bob.Unsubscribe(t.Context(), name); !errors.Is(err, ErrNoName) {
						t.Errorf("given up again: %v", err)
					}
					if _, err := alice.Open(t.Context(), name, o); !errors.Is(err, ErrTimeout) {
						t.Errorf("invited: %v", err)
					}
					time.Sleep(5 * time.Minute) // heartbeats
					publish(t, a, "to bob")
					receives(t, b, alice, "to bob")
					publish(t, b, "to alice")
					if m, err := a.Receive(t.Context()); err != nil || m.From != b.Self() {
						t.Errorf("%v, %v", m, err)
					}
					d, err := g.PublishTo(t.Context(), gb.Self(), Text("psst"))
					if err == nil {
						err = d.Wait(t.Context())
					}
					if err != nil {
						t.Errorf("to bob alone: %v", err)
					}
					receives(t, gb, alice, "psst")
					if err := b.Close(t.Context()); err != nil {
						t.Error(err)
					}
					time.Sleep(2 * time.Minute) // in which it could be asked for a last answer
					if !h.has(bob, name) {
						t.Error("the node has it no more, and there is a session")
					}
					if err := bob.Subscribe(t.Context(), name); err != nil {
						t.Error(err)
					}
					if _, err := alice.Open(t.Context(), name, o); err != nil {
						t.Errorf("subscribed to again: %v", err)
					}
					b = accept(t, l)
					if err := bob.Unsubscribe(t.Context(), name); err != nil {
						t.Error(err)
					}
					for _, s := range []*Session{b, gb} {
						if err := s.Close(t.Context()); err != nil {
							t.Error(err)
						}
					}
					time.Sleep(2 * time.Minute)
					if h.has(bob, name) {
						t.Error("the node still has it")
					}
					_, err = bob.OpenGroup(t.Context(), MustName("org/ns/other"), o)
					if own := name.Same(bob.Name()); own != errors.Is(err, ErrNoName) || !own && err != nil {
						t.Errorf("opened by it: %v", err)
					}
				})
			})
		}
	}
}

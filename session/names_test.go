package session

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// Subscribe returns when the node has taken the name, also where another call has asked for it; and where that one has failed, it asks
// itself.
func TestSubscribeTogether(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		bob := h.app("bob")
		link, name := h.linkOf(bob), MustName("org/ns/other")
		taken := func() (taken bool) {
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, n := range link.names {
				taken = taken || n.C == name.t.Name.C
			}
			return taken
		}
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
				for _, c := range []struct {
					what     string
					by, gets *Session
					to       *App
				}{
					{"a member", g, accept(t, lb), bob}, {"this app", g, g, alice}, {"another instance", p, accept(t, lt), twin},
				} {
					d, err := c.by.PublishTo(t.Context(), c.to.Name().Any(), Text(c.what))
					if err == nil {
						err = d.Wait(t.Context())
					}
					if err != nil {
						t.Errorf("%s: %v", c.what, err)
						continue
					}
					receives(t, c.gets, alice, c.what)
				}
			})
		})
	}
}

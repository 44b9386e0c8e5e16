package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// life connects an app that has this store.
func (h *hub) life(name string, s Store, change ...func(*Options)) *App {
	h.t.Helper()
	return h.app(name, append(change, func(o *Options) { o.Store, o.StoreKey = s, storeKey })...)
}

// stop ends an app, which is to be started again.
func (h *hub) stop(a *App) {
	h.t.Helper()
	if err := a.Stop(h.t.Context()); err != nil {
		h.t.Errorf("%v: stop: %v", a.Name(), err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.links = slices.DeleteFunc(h.links, func(l *hubLink) bool { return l == h.linkOf(a) })
}

// only returns the one session of an app.
func only(t *testing.T, a *App) *Session {
	t.Helper()
	list := a.Sessions()
	if len(list) != 1 {
		t.Fatalf("%v has %d sessions", a.Name(), len(list))
	}
	return list[0]
}

// Sessions of all shapes go on in apps that are stopped and started again, one or the other or both, and what is said meanwhile comes.
func TestStoppedAndStarted(t *testing.T) {
	t.Parallel()
	for _, o := range shapes {
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				stores := map[string]*MemoryStore{"alice": {}, "bob": {}}
				alice, bob := h.life("alice", stores["alice"]), h.life("bob", stores["bob"])
				ids := []Name{alice.Name(), bob.Name()}
				l := listen(t, bob)
				o.Metadata = map[string]string{"subject": "tests"}
				a, err := alice.Open(t.Context(), MustName("org/ns/bob"), o)
				if err != nil {
					t.Fatal(err)
				}
				b := accept(t, l)
				id, dest := a.ID(), a.Dest()
				for turn := range 3 {
					publish(t, a, fmt.Sprint("there ", turn))
					receives(t, b, alice, fmt.Sprint("there ", turn))
					publish(t, b, fmt.Sprint("back ", turn))
					receives(t, a, bob, fmt.Sprint("back ", turn))
					if turn != 1 {
						h.stop(alice)
						if _, err := a.Publish(t.Context(), Text("late")); !errors.Is(err, ErrClosed) {
							t.Errorf("published by an app that is stopped: %v", err)
						}
						if err := a.Err(); err != ErrStopped || !errors.Is(err, ErrClosed) {
							t.Errorf("a session that is stopped: %v", err)
						}
						if a.Reliable() {
							d, err := b.Publish(t.Context(), Text("meanwhile"))
							if err != nil {
								t.Fatal(err)
							}
							time.Sleep(3 * time.Second)
							alice = h.life("alice", stores["alice"])
							a = only(t, alice)
							if err := d.Wait(t.Context()); err != nil {
								t.Error(err)
							}
							receives(t, a, bob, "meanwhile")
						} else {
							alice = h.life("alice", stores["alice"])
							a = only(t, alice)
						}
					}
					if turn != 0 {
						h.stop(bob)
						bob = h.life("bob", stores["bob"])
						b = accept(t, listen(t, bob))
						if b != only(t, bob) {
							t.Error("another session is accepted than is listed")
						}
					}
					if alice.Name() != ids[0] || bob.Name() != ids[1] {
						t.Fatal("ids are others")
					}
				}
				if a.ID() != id || a.Kind() != PointToPoint || a.Dest() != dest || !a.IsModerator() || b.IsModerator() ||
					a.Metadata()["subject"] != "tests" || b.Metadata()["subject"] != "tests" || a.Encrypted() == o.Plain || b.Reliable() == o.Unreliable {
					t.Errorf("%v %v: %+v", a, b, a.Metadata())
				}
				if err := a.Close(t.Context()); err != nil {
					t.Error(err)
				}
				<-b.Done()
				wantNoSessions(t, stores["alice"])
				wantNoSessions(t, stores["bob"])
			})
		})
	}
}

// What was published and not acknowledged comes after a restart, once, in order and under its ids; what nobody takes is told.
func TestUnderWayGoesOn(t *testing.T) {
	for _, group := range []bool{false, true} {
		t.Run(fmt.Sprint("group ", group), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				kept := new(MemoryStore)
				alice, bob := h.life("alice", kept), h.app("bob")
				l := listen(t, bob)
				var a *Session
				var err error
				if group {
					if a, err = alice.OpenGroup(t.Context(), MustName("org/ns/channel"), SessionOptions{}); err == nil {
						err = a.Invite(t.Context(), bob.Name())
					}
				} else {
					a, err = alice.Open(t.Context(), bob.Name(), SessionOptions{})
				}
				if err != nil {
					t.Fatal(err)
				}
				b := accept(t, l)
				publish(t, a, "one")
				receives(t, b, alice, "one")
				h.drops(func(m *message.Message) bool { return m.Type == message.Msg })
				var late []*Delivery
				for _, text := range []string{"two", "three", "four"} {
					d, err := a.Publish(t.Context(), Text(text))
					if err != nil {
						t.Fatal(err)
					}
					late = append(late, d)
				}
				if group {
					d, err := a.PublishTo(t.Context(), bob.Name(), Text("for bob"))
					if err != nil {
						t.Fatal(err)
					}
					late = append(late, d)
				}
				time.Sleep(time.Second)
				h.stop(alice)
				for _, d := range late {
					if err := d.Wait(t.Context()); !errors.Is(err, ErrStopped) {
						t.Errorf("delivered: %v", err)
					}
				}
				alice = h.life("alice", kept)
				a = only(t, alice)
				h.drops(nil)
				publish(t, a, "five")
				ids := map[string]uint32{}
				for range 4 + len(late) - 3 {
					m, err := b.Receive(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if m.From != alice.Name() || m.Direct != (string(m.Data) == "for bob") || ids[string(m.Data)] != 0 {
						t.Errorf("%+v", m)
					}
					ids[string(m.Data)] = m.ID
				}
				if ids["two"] != 2 || ids["three"] != 3 || ids["four"] != 4 || ids["five"] != 5 || group != (ids["for bob"] > 1<<31) {
					t.Errorf("ids: %v", ids)
				}
				// And once more, when nobody takes it.
				h.drops(func(m *message.Message) bool { return m.Type == message.Msg })
				if _, err := a.Publish(t.Context(), Text("six")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				h.stop(alice)
				alice = h.life("alice", kept)
				a = only(t, alice)
				for {
					e, err := a.NextEvent(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if u, ok := e.(Undelivered); ok {
						if u.ID != 6 || !errors.Is(u.Err, ErrNotDelivered) {
							t.Errorf("%+v", u)
						}
						break
					}
				}
				h.drops(nil)
			})
		})
	}
}

// drops has messages not come through; nil: all do.
func (h *hub) drops(cut func(m *message.Message) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cut = nil; cut != nil {
		h.cut = func(_, _ *hubLink, m *message.Message) bool { return cut(m) }
	}
}

// A member that was not there when the membership changed is let in anew when it is back, without an invitation.
func TestMembershipChangesMeanwhile(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprint("plain ", plain), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				kept := new(MemoryStore)
				alice, bob, carol, dave := h.app("alice"), h.life("bob", kept), h.app("carol"), h.app("dave")
				lb, lc, ld := listen(t, bob), listen(t, carol), listen(t, dave)
				g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), SessionOptions{Plain: plain})
				if err != nil {
					t.Fatal(err)
				}
				for _, other := range []*App{bob, carol} {
					if err := g.Invite(t.Context(), other.Name()); err != nil {
						t.Fatal(err)
					}
				}
				accept(t, lb)
				accept(t, lc)
				h.stop(bob)
				if err := g.Remove(t.Context(), carol.Name()); err != nil {
					t.Error(err)
				}
				if err := g.Invite(t.Context(), dave.Name()); err != nil {
					t.Error(err)
				}
				d := accept(t, ld)
				bob = h.life("bob", kept)
				b := accept(t, listen(t, bob))
				time.Sleep(time.Minute)
				if !plain { // else nobody tells it who has come: it is told by who speaks
					everybodyTalks(t, []*App{alice, bob, dave}, []*Session{g, b, d})
				}
				h.mu.Lock()
				defer h.mu.Unlock()
				if n := len(slices.DeleteFunc(h.trace, func(s string) bool { return s != "alice -> bob: join_request" })); n != 1 {
					t.Errorf("bob was invited %d times", n)
				}
			})
		})
	}
}

// What came and was not received survives the end of its session, until it is received, or the app closes the session.
func TestUnreceivedOfASessionThatIsOver(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		kept := new(MemoryStore)
		alice, bob := h.app("alice"), h.life("bob", kept)
		l := listen(t, bob)
		var ends []*Session
		for range 2 {
			a, err := alice.Open(t.Context(), bob.Name(), SessionOptions{})
			if err != nil {
				t.Fatal(err)
			}
			accept(t, l)
			publish(t, a, "one", "two", "three")
			if err := a.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			ends = append(ends, a)
		}
		time.Sleep(time.Minute)
		h.stop(bob)
		bob = h.life("bob", kept)
		if n := len(bob.Sessions()); n != 2 {
			t.Fatalf("%d sessions", n)
		}
		l = listen(t, bob)
		first, second := accept(t, l), accept(t, l)
		if first.ID() == ends[1].ID() {
			first, second = second, first
		}
		if first.ID() != ends[0].ID() || !errors.Is(first.Err(), ErrClosed) || !first.Encrypted() || first.Moderator() != alice.Name() {
			t.Errorf("%v %v %v", first.ID(), first.Err(), first.Moderator())
		}
		receives(t, first, alice, "one", "two")
		h.stop(bob)
		bob = h.life("bob", kept)
		for _, s := range bob.Sessions() {
			if s.ID() == first.ID() {
				first = s
			} else {
				second = s
			}
		}
		receives(t, first, alice, "three")
		if _, err := first.Receive(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("afterwards: %v", err)
		}
		if n := len(bob.Sessions()); n != 1 {
			t.Errorf("%d sessions", n)
		}
		if err := second.Close(t.Context()); err != nil {
			t.Error(err)
		}
		wantNoSessions(t, kept)
	})
}

// What is not received in one life of an app comes in a later one, in order, together with what has come meanwhile.
func TestUnreceivedOfSeveralLives(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		kept := new(MemoryStore)
		alice, bob := h.app("alice"), h.life("bob", kept)
		l := listen(t, bob)
		a, err := alice.Open(t.Context(), bob.Name(), SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		accept(t, l)
		for _, texts := range [][]string{{"one", "two"}, {"three"}, {"four", "five"}} {
			publish(t, a, texts...)
			time.Sleep(time.Minute)
			h.stop(bob)
			bob = h.life("bob", kept)
		}
		receives(t, only(t, bob), alice, "one", "two", "three", "four", "five")
	})
}

// An app that is started again has the names by which its sessions of all kinds are written to.
func TestRestoredUnderAFurtherName(t *testing.T) {
	t.Parallel()
	for _, o := range shapes {
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				kept, robert := new(MemoryStore), MustName("org/other/robert")
				alice, bob := h.app("alice"), h.life("bob", kept)
				l := listen(t, bob)
				if err := bob.Subscribe(t.Context(), robert); err != nil {
					t.Fatal(err)
				}
				g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), o)
				if err != nil {
					t.Fatal(err)
				}
				if err := g.Invite(t.Context(), robert); err != nil {
					t.Fatal(err)
				}
				accept(t, l)
				h.stop(bob)
				bob = h.life("bob", kept)
				b := only(t, bob)
				time.Sleep(time.Minute)
				publish(t, b, "back")
				if m, err := g.Receive(t.Context()); err != nil || m.From != b.Self() {
					t.Errorf("%v, %v", m, err)
				}
				d, err := g.PublishTo(t.Context(), b.Self(), Text("psst"))
				if err == nil {
					err = d.Wait(t.Context())
				}
				if err != nil {
					t.Errorf("to it alone: %v", err)
				}
				receives(t, b, alice, "psst")
				if err := g.Remove(t.Context(), robert); err != nil {
					t.Error(err)
				}
				<-b.Done()
			})
		})
	}
}

// A member that has missed its removal can be invited again.
func TestInvitedAgainAfterAMissedRemoval(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		kept := new(MemoryStore)
		alice, bob := h.app("alice"), h.life("bob", kept)
		g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		l := listen(t, bob)
		if err := g.Invite(t.Context(), bob.Name()); err != nil {
			t.Fatal(err)
		}
		accept(t, l)
		h.stop(bob)
		if err := g.Remove(t.Context(), bob.Name()); err != nil {
			t.Fatal(err)
		}
		bob = h.life("bob", kept)
		l = listen(t, bob)
		old := accept(t, l)
		if err := g.Invite(t.Context(), bob.Name()); err != nil {
			t.Fatal(err)
		}
		b := accept(t, l)
		if err := old.Err(); !errors.Is(err, ErrRemoved) {
			t.Errorf("the old session: %v", err)
		}
		publish(t, g, "hello")
		receives(t, b, alice, "hello")
	})
}

// AtLeastOnce gives what was not handled again, and nothing else.
func TestAtLeastOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		kept := new(MemoryStore)
		atLeast := func(o *Options) { o.AtLeastOnce = true }
		alice, bob := h.app("alice"), h.life("bob", kept, atLeast)
		l := listen(t, bob)
		a, err := alice.Open(t.Context(), bob.Name(), SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b := accept(t, l)
		publish(t, a, numbered("text", 6)...)
		n := 0
		for m, err := range b.Messages(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 3 { // what it breaks off at is not handled
				if m.ID != 3 {
					t.Errorf("%+v", m)
				}
				break
			}
		}
		m, err := b.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m.Handled()
		m.Handled()
		time.Sleep(time.Second)
		h.stop(bob)
		bob = h.life("bob", kept, atLeast)
		b = accept(t, listen(t, bob))
		receives(t, b, alice, "text 2", "text 4", "text 5")
		// Who does not say so gets no more, and its peers wait.
		go func() {
			for i := range mostInbox + 1 {
				if _, err := a.Publish(t.Context(), Text(fmt.Sprint(i))); err != nil {
					return
				}
			}
		}()
		var got []*Message
		for range mostInbox - 3 {
			m, err := b.Receive(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m)
		}
		short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if m, err := b.Receive(short); err == nil {
			t.Errorf("one more: %v", m)
		}
		for _, m := range got {
			m.Handled()
		}
		if _, err := b.Receive(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

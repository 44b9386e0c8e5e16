package session

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// An app talks to itself, under each of its names: both ends say and hear, in order, and what one end closes is over for the other one.
func TestSessionWithItself(t *testing.T) {
	t.Parallel()
	for _, o := range shapes {
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				bob := h.app("bob") // with a store
				l := listen(t, bob)
				robert := MustName("org/other/robert")
				if err := bob.Subscribe(t.Context(), robert); err != nil {
					t.Fatal(err)
				}
				for _, name := range []Name{bob.Name(), bob.Name().Any(), robert} {
					o.Metadata = map[string]string{"subject": "tests"}
					a, err := bob.Open(t.Context(), name, o)
					if err != nil {
						t.Fatal(err)
					}
					b := accept(t, l)
					if !a.Dest().Same(name) || !b.Self().Same(name) || b.Dest() != bob.Name() || a.Encrypted() == o.Plain || b.Reliable() == o.Unreliable ||
						b.Metadata()["subject"] != "tests" || a.Kind() != PointToPoint {
						t.Errorf("%v and %v: %+v", a.Dest(), b.Self(), b)
					}
					publish(t, a, numbered("there", 300)...)
					for i, text := range numbered("there", 300) {
						m, err := b.Receive(t.Context())
						if err != nil || string(m.Data) != text || m.From != bob.Name() || m.ID != uint32(i+1) || m.Subject != map[bool]string{false: bob.Subject()}[o.Plain] {
							t.Fatalf("%+v, %v, want %q", m, err, text)
						}
						if d, err := m.Reply(t.Context(), m.Content); err != nil || d.Wait(t.Context()) != nil {
							t.Fatal(err, d.Err())
						}
						if m, err = a.Receive(t.Context()); err != nil || string(m.Data) != text {
							t.Fatalf("%+v, %v, want %q", m, err, text)
						}
					}
					for _, err := range []error{
						a.Invite(t.Context(), robert), a.Remove(t.Context(), robert), b.Suspend(t.Context()), b.Resume(t.Context()),
					} {
						if err != ErrPointToPoint {
							t.Errorf("got %v", err)
						}
					}
					if d, err := a.PublishTo(t.Context(), MustName("org/ns/carol"), Text("x")); err != nil || d.Wait(t.Context()) != ErrNotMember {
						t.Errorf("to another one: %v, %v", err, d.Err())
					}
					if name == robert {
						a, b = b, a
					}
					if err := a.Close(t.Context()); err != nil {
						t.Error(err)
					}
					<-b.Done()
					if _, err := b.Publish(t.Context(), Text("late")); err != ErrClosed {
						t.Errorf("afterwards: %v", err)
					}
					if err := b.Close(t.Context()); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(time.Minute)
				if s := bob.Stats(); s != (Stats{}) {
					t.Errorf("%+v", s)
				}
				if n := len(h.trace); n != 0 {
					t.Errorf("%d messages have left: %v", n, h.trace)
				}
			})
		})
	}
}

// Who listens decides here, too, and without a listener nobody answers; a pin is that of the app itself.
func TestSessionWithItselfIsNotTaken(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice := h.app("alice")
		begin := time.Now()
		if _, err := alice.Open(t.Context(), alice.Name(), SessionOptions{}); !errors.Is(err, ErrTimeout) {
			t.Errorf("nobody listens: %v", err)
		}
		l, err := alice.Listen(ListenOptions{Backlog: 1, Accept: func(i *Invitation) error {
			if i.From != alice.Name() || i.To != alice.Name() || !i.Encrypted || i.Subject != alice.Subject() {
				t.Errorf("%+v", i)
			}
			if i.Metadata["want"] != "yes" {
				return errors.New("not today")
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := alice.Open(t.Context(), alice.Name(), SessionOptions{}); !errors.Is(err, ErrDeclined) {
			t.Errorf("declined: %v", err)
		}
		yes := SessionOptions{Metadata: map[string]string{"want": "yes"}, Pin: "another"}
		if _, err := alice.Open(t.Context(), alice.Name(), yes); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("with a pin: %v", err)
		}
		yes.Pin, yes.ID = alice.Subject(), 77
		a, err := alice.Open(t.Context(), alice.Name(), yes)
		if err != nil || a.ID() != 77 {
			t.Fatal(a, err)
		}
		if _, err := alice.Open(t.Context(), alice.Name(), yes); !errors.Is(err, ErrTimeout) {
			t.Errorf("with a full backlog: %v", err)
		}
		accept(t, l)
		if _, err := alice.Open(t.Context(), alice.Name(), yes); !errors.Is(err, ErrConfig) || l.places() != 0 {
			t.Errorf("with an id that is taken: %v, %d places", err, l.places())
		}
		if _, err := alice.Open(t.Context(), Name{}, yes); !errors.Is(err, ErrConfig) {
			t.Errorf("without a name: %v", err)
		}
		if took := time.Since(begin); took > 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// An app that does not take what it says to itself holds itself up, and is told in the end; what it takes in time comes.
func TestSessionWithItselfUnderPressure(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice := h.app("alice")
		l := listen(t, alice)
		a, err := alice.Open(t.Context(), alice.Name(), SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b := accept(t, l)
		texts := numbered("text", mostInbox+300)
		var all []*Delivery
		for _, text := range texts {
			d, err := a.Publish(t.Context(), Text(text))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, d)
		}
		time.Sleep(5 * time.Second)
		receives(t, b, alice, texts...)
		for i, d := range all {
			if err := d.Wait(t.Context()); err != nil {
				t.Errorf("%s: %v", texts[i], err)
			}
		}
		for range mostInbox + 1 {
			d, err := a.Publish(t.Context(), Text("never taken"))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, d)
		}
		begin := time.Now()
		if err := all[len(all)-1].Wait(t.Context()); !errors.Is(err, ErrNotDelivered) {
			t.Errorf("delivered: %v", err)
		}
		if d := time.Since(begin); d != 10*time.Second {
			t.Errorf("after %v", d)
		}
		if alice.Stats().Overflow == 0 {
			t.Errorf("%+v", alice.Stats())
		}
		d, err := a.Publish(t.Context(), Text("held"))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ended, end := context.WithCancel(t.Context())
		end()
		if err := b.Close(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("closed: %v", err)
		}
		if err := d.Wait(t.Context()); !errors.Is(err, ErrNotDelivered) {
			t.Errorf("delivered to who is over: %v", err)
		}
		<-a.Done()
	})
}

// What the network says to such a session is refused, and an app ends with it whatever is under way.
func TestSessionWithItselfIsNobodyElses(t *testing.T) {
	for what, end := range map[string]func(*App, context.Context) error{"close": (*App).Close, "stop": (*App).Stop} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				alice, bob, ab, _ := h.pair(SessionOptions{Plain: true})
				r := h.records(bob)
				l := listen(t, alice)
				a, err := alice.Open(t.Context(), alice.Name(), SessionOptions{Plain: true})
				if err != nil {
					t.Fatal(err)
				}
				b := accept(t, l)
				publish(t, ab, "hello")
				time.Sleep(20 * time.Second)
				for _, kind := range []message.Type{message.MsgAck, message.Heartbeat} {
					m, err := message.Decode(r.of(kind))
					if err != nil {
						t.Fatal(kind, err)
					}
					m.Session = a.ID()
					h.inject(alice, m.Append(nil))
				}
				if n := alice.Stats().Refused; n != 2 {
					t.Errorf("%d were refused", n)
				}
				for range 500 {
					if _, err := b.Publish(t.Context(), Text("under way")); err != nil {
						t.Fatal(err)
					}
				}
				if err := end(alice, t.Context()); err != nil {
					t.Error(err)
				}
				<-a.Done()
				<-b.Done()
				h.cuts(nil)
			})
		})
	}
}

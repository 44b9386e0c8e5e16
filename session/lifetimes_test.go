package session

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// Whoever closes an app that is being closed waits as long as the own context says, and then what is left ends for both.
func TestAppIsClosedByTwo(t *testing.T) {
	for what, end := range map[string]func(a *App, ctx context.Context) error{"close": (*App).Close, "stop": (*App).Stop} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				_, bob, _, b := h.pair(SessionOptions{Interval: 10 * time.Second})
				h.cuts(func(_, _ *hubLink, _ *message.Message) bool { return true })
				if _, err := b.Publish(t.Context(), Text("for nobody")); err != nil {
					t.Fatal(err)
				}
				first := make(chan error, 1)
				go func() { first <- bob.Close(context.Background()) }()
				synctest.Wait()
				begin := time.Now()
				short, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := end(bob, short); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the second: %v", err)
				}
				<-first
				if took := time.Since(begin); took != time.Second {
					t.Errorf("it took %v", took)
				}
				if err := end(bob, short); errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("once more: %v", err)
				}
				h.cuts(nil)
			})
		})
	}
}

// A context that is over opens nothing.
func TestNothingIsOpenedInVain(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice := h.app("alice")
		ended, end := context.WithCancel(t.Context())
		end()
		if _, err := alice.OpenGroup(ended, MustName("org/ns/channel"), SessionOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("opened a group: %v", err)
		}
		if _, err := alice.Open(ended, MustName("org/ns/bob"), SessionOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("opened: %v", err)
		}
		synctest.Wait()
		if n := alice.Stats().Sessions; n != 0 {
			t.Errorf("%d sessions", n)
		}
	})
}

// A session of two ends when the other one has been gone for as long as the app waits, with MLS and without, for who has opened it and who
// was invited. What this app is without a connection does not count, nor what the other one is away for less.
func TestPeerThatIsGone(t *testing.T) {
	t.Parallel()
	if d := new(Options).patience(); d != DefaultPeerTimeout {
		t.Errorf("by default %v", d)
	}
	for _, o := range []SessionOptions{{}, {Plain: true}} {
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				const short, long = 2 * time.Minute, 5 * time.Minute
				waits := func(d time.Duration) func(*Options) { return func(o *Options) { o.PeerTimeout = d } }
				alice, bob, carol := h.app("alice", waits(short)), h.app("bob", waits(short)), h.app("carol", waits(long))
				lb, lc := listen(t, bob), listen(t, carol)
				a, err := alice.Open(t.Context(), bob.Name(), o)
				if err != nil {
					t.Fatal(err)
				}
				b := accept(t, lb)
				ac, err := alice.Open(t.Context(), carol.Name(), o)
				if err != nil {
					t.Fatal(err)
				}
				c := accept(t, lc)

				h.linkOf(carol).breaks(true)
				time.Sleep(short) // to which comes half a minute until she is offline
				h.linkOf(carol).breaks(false)
				time.Sleep(time.Minute)
				if ac.Err() != nil || c.Err() != nil {
					t.Fatalf("she was away for a while: %v, %v", ac.Err(), c.Err())
				}
				h.linkOf(carol).breaks(true)
				got := make(chan error, 1)
				go func() { _, err := ac.Receive(t.Context()); got <- err }()
				begin := time.Now()
				if err := <-got; !errors.Is(err, ErrPeerGone) || !errors.Is(err, ErrClosed) {
					t.Errorf("instead of a message: %v", err)
				}
				if d := time.Since(begin); d < short || d > short+time.Minute {
					t.Errorf("after %v", d)
				}
				time.Sleep(2 * long)
				if err := c.Err(); err != nil {
					t.Errorf("who has no connection: %v", err)
				}
				h.linkOf(carol).breaks(false)
				time.Sleep(long + time.Minute)
				if err := c.Err(); err != ErrPeerGone {
					t.Errorf("who has a connection again: %v", err)
				}

				if a.Err() != nil || b.Err() != nil {
					t.Errorf("others: %v, %v", a.Err(), b.Err())
				}
				h.linkOf(alice).breaks(true)
				<-b.Done()
				if err := b.Err(); err != ErrPeerGone {
					t.Errorf("who was invited: %v", err)
				}
				h.linkOf(alice).breaks(false)
				time.Sleep(short + time.Minute)
				for _, app := range []*App{alice, bob, carol} {
					if n := app.Stats().Sessions; n != 0 {
						t.Errorf("%v has %d sessions", app.Name(), n)
					}
				}
			})
		})
	}
}

// Apps that wait for ever do.
func TestPeerThatIsWaitedFor(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob := h.app("alice", func(o *Options) { o.PeerTimeout = -1 }), h.app("bob", func(o *Options) { o.PeerTimeout = -1 })
		l := listen(t, bob)
		a, err := alice.Open(t.Context(), bob.Name(), SessionOptions{Plain: true})
		if err != nil {
			t.Fatal(err)
		}
		b := accept(t, l)
		h.linkOf(bob).breaks(true)
		time.Sleep(3 * DefaultPeerTimeout)
		h.linkOf(bob).breaks(false)
		time.Sleep(time.Minute)
		publish(t, a, "still here")
		receives(t, b, alice, "still here")
	})
}

// Names that nobody can use are found where they are made, or where they are first of use, with what is wrong about them.
func TestNamesThatCannotBe(t *testing.T) {
	bad, long := "a\xff", strings.Repeat("x", MaxName)
	for what, err := range map[string]error{
		"UTF-8":             second(ParseName("org/" + bad + "/app")),
		"bytes":             second(ParseName("org/ns/" + long)),
		"empty":             second(NewName("org", "", "app")),
		"slash":             second(NewName("org", "n/s", "app")),
		"UTF-8 ":            second(NewName("org", "ns", bad)),
		"bytes, ":           second(NewName("org", "ns", long)),
		"org/namespace/app": second(ParseName("org/app")),
		"UUID":              second(ParseName("org/ns/app/7")),
		"colon":             second(Connect(t.Context(), Options{Name: MustName("a:b/c/d"), Secret: secret})),
		"a space":           second(Connect(t.Context(), Options{Name: MustName("a b/c/d"), Secret: secret})),
	} {
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), strings.TrimSpace(what)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n, err := ParseName(" org / ns / ünï code:1 "); err != nil || n.Parts() != [3]string{"org", "ns", "ünï code:1"} {
		t.Errorf("%v, %v", n, err)
	}
}

// Who is found under a name and is not of the subject that is pinned is not let in, and the error says both.
func TestPinOfAnother(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob := h.app("alice"), h.app("bob")
		listen(t, bob)
		o := quick
		o.Pin = "org/ns/robert"
		_, err := alice.Open(t.Context(), bob.Name(), o)
		wantPin := func(err error) {
			t.Helper()
			if !errors.Is(err, ErrTimeout) || !errors.Is(err, ErrUnauthorized) {
				t.Errorf("opened: %v", err)
				return
			}
			for _, part := range []string{`"org/ns/robert"`, `"` + bob.Subject() + `"`, "pin"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v says nothing of %s", err, part)
				}
			}
		}
		wantPin(err)
		g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), quick)
		if err != nil {
			t.Fatal(err)
		}
		wantPin(g.InvitePinned(t.Context(), bob.Name(), "org/ns/robert"))
		if err := g.InvitePinned(t.Context(), bob.Name(), bob.Subject()); err != nil {
			t.Error(err)
		}
	})
}

// A session that is over before it was accepted, and of which there is nothing to receive, is not accepted and holds no place.
func TestOverBeforeItIsAccepted(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob := h.app("alice"), h.app("bob")
		l, err := bob.Listen(ListenOptions{Backlog: 2})
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			s, err := alice.Open(t.Context(), bob.Name(), quick)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		if n := l.places(); n != 0 {
			t.Errorf("%d places are taken", n)
		}
		said, err := alice.Open(t.Context(), bob.Name(), quick)
		if err != nil {
			t.Fatal(err)
		}
		publish(t, said, "hello, and goodbye")
		if err := said.Close(t.Context()); err != nil {
			t.Error(err)
		}
		receives(t, accept(t, l), alice, "hello, and goodbye")
		s, err := alice.Open(t.Context(), bob.Name(), quick)
		if err != nil {
			t.Fatal(err)
		}
		if b := accept(t, l); b.ID() != s.ID() || l.places() != 0 {
			t.Errorf("%d is accepted, want %d; %d places are taken", b.ID(), s.ID(), l.places())
		}
	})
}

// A session that nobody can accept any more, as the listener was closed while it was opened, is left, and its opener hears of that. One that
// was restored waits for the next listener.
func TestListenerIsClosedMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		kept := new(MemoryStore)
		alice, bob := h.app("alice"), h.life("bob", kept)
		l := listen(t, bob)
		h.cuts(func(_, _ *hubLink, m *message.Message) bool {
			if m.Type == message.GroupWelcome {
				l.Close()
			}
			return false
		})
		a, err := alice.Open(t.Context(), bob.Name(), quick)
		if err != nil {
			t.Fatal(err)
		}
		<-a.Done()
		h.cuts(nil)
		time.Sleep(time.Minute)
		if n := bob.Stats().Sessions; n != 0 || l.places() != 0 {
			t.Errorf("%d sessions, %d places", n, l.places())
		}

		l = listen(t, bob)
		if a, err = alice.Open(t.Context(), bob.Name(), quick); err != nil {
			t.Fatal(err)
		}
		accept(t, l)
		h.stop(bob)
		bob = h.life("bob", kept)
		listen(t, bob).Close()
		b := accept(t, listen(t, bob))
		publish(t, a, "hello")
		receives(t, b, alice, "hello")
	})
}

package session

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// Who is invited may decline, and the moderator gets to know why, at once.
func TestDeclined(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob := h.app("alice"), h.app("bob")
		var seen Invitation
		l, err := bob.Listen(ListenOptions{Accept: func(i *Invitation) error {
			seen = *i
			return errors.New("not on Sundays")
		}})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		_, err = alice.Open(t.Context(), MustName("org/ns/bob"), SessionOptions{Metadata: map[string]string{"why": "test"}})
		var declined *Declined
		if !errors.Is(err, ErrDeclined) || !errors.As(err, &declined) || declined.Reason != "not on Sundays" {
			t.Errorf("opened: %v", err)
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("after %v", d)
		}
		if seen.From != alice.Name() || seen.Subject != alice.Subject() || seen.To != bob.Name() || seen.Kind != PointToPoint || !seen.Encrypted ||
			!seen.Reliable || len(seen.Metadata) != 1 || seen.Metadata["why"] != "test" || !seen.Channel.IsZero() {
			t.Errorf("%+v", seen)
		}
		g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), SessionOptions{Plain: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Invite(t.Context(), MustName("org/ns/bob")); !errors.Is(err, ErrDeclined) {
			t.Errorf("invited: %v", err)
		}
		if seen.Channel != MustName("org/ns/channel") || seen.Encrypted {
			t.Errorf("%+v", seen)
		}
		time.Sleep(time.Minute)
		if s := bob.Stats(); s.Sessions != 0 || l.places() != 0 {
			t.Errorf("%+v, %d reserved", s, l.places())
		}
	})
}

// While too many sessions wait for Accept, and without a listener, an app is not found; another one of its name is.
func TestBacklog(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob, other := h.app("alice"), h.app("bob"), h.app("bob")
		o := SessionOptions{Plain: true, Interval: 100 * time.Millisecond, Retries: 3}
		if _, err := alice.Open(t.Context(), bob.Name(), o); !errors.Is(err, ErrTimeout) {
			t.Errorf("without a listener: %v", err)
		}
		l, err := bob.Listen(ListenOptions{Backlog: 2, PerInviter: 2})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bob.Listen(ListenOptions{}); err != ErrListening {
			t.Errorf("another listener: %v", err)
		}
		for range 2 {
			if _, err := alice.Open(t.Context(), bob.Name(), o); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := alice.Open(t.Context(), bob.Name(), o); !errors.Is(err, ErrTimeout) {
			t.Errorf("with a full backlog: %v", err)
		}
		lo := listen(t, other)
		s, err := alice.Open(t.Context(), MustName("org/ns/bob"), o)
		if err != nil {
			t.Fatal(err)
		}
		if got := accept(t, lo); got.ID() != s.ID() {
			t.Errorf("session %d, want %d", got.ID(), s.ID())
		}
		first := accept(t, l)
		if _, err := alice.Open(t.Context(), bob.Name(), o); err != nil {
			t.Errorf("with room again: %v", err)
		}
		l.Close()
		l.Close()
		if _, err := l.Accept(t.Context()); err != ErrClosed {
			t.Errorf("accepted afterwards: %v", err)
		}
		for range l.Sessions(t.Context()) {
			t.Error("a session")
		}
		time.Sleep(time.Minute)
		if s := bob.Stats(); s.Sessions != 1 {
			t.Errorf("%+v, want the one session that was accepted", s)
		}
		if err := first.Close(t.Context()); err != nil {
			t.Error(err)
		}
		listen(t, bob)
	})
}

// What a context ends is taken back: who comes late is not a member of what was given up.
func TestInvitationThatIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice := h.app("alice")
		g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if err := g.Invite(short, MustName("org/ns/bob")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("invited: %v", err)
		}
		short, cancel = context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if _, err := alice.Open(short, MustName("org/ns/bob"), SessionOptions{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("opened: %v", err)
		}
		bob := h.app("bob")
		l := listen(t, bob)
		time.Sleep(time.Minute)
		if s := bob.Stats(); s.Sessions != 0 || l.waits() != 0 {
			t.Errorf("%+v", s)
		}
		if s := alice.Stats(); s.Sessions != 1 {
			t.Errorf("%+v", s)
		}
		if err := g.Invite(t.Context(), MustName("org/ns/bob")); err != nil {
			t.Error(err)
		}
		if err := g.Invite(t.Context(), MustName("org/ns/bob")); err != ErrMember {
			t.Errorf("invited twice: %v", err)
		}
	})
}

// A request that finds this app is answered once, also where it was repeated before it was looked at, and not any more when the invitation
// has followed. It is answered again where the answer seems to be lost.
func TestDiscoveryIsAnsweredOnce(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob := h.app("alice"), h.app("bob")
		l := listen(t, bob)
		var request []byte
		var again, replies, lose atomic.Int64
		h.cuts(func(_, _ *hubLink, m *message.Message) bool {
			switch m.Type {
			case message.DiscoveryRequest:
				if again.Add(1) == 1 {
					request = m.Append(nil)
				}
			case message.DiscoveryReply:
				return replies.Add(1) <= lose.Load()
			}
			return false
		})
		repeat := func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.linkOf(bob).queue <- arrival{time.Now().Add(h.delay), request}
		}
		lose.Store(1)
		opened := make(chan error, 1)
		go func() { opened <- second(alice.Open(t.Context(), bob.Name().Any(), SessionOptions{Plain: true})) }()
		time.Sleep(time.Millisecond)
		repeat()
		repeat()
		time.Sleep(500 * time.Millisecond)
		if replies.Load() != 1 {
			t.Errorf("%d answers to three requests at once", replies.Load())
		}
		if err := <-opened; err != nil {
			t.Error(err)
		}
		if replies.Load() != 2 {
			t.Errorf("%d answers, of which one was lost", replies.Load())
		}
		accept(t, l)
		repeat()
		time.Sleep(time.Second)
		if replies.Load() != 2 {
			t.Errorf("%d answers, the last of which to one who has invited", replies.Load())
		}
		h.cuts(nil)
	})
}

// Only who has opened a group changes it, and a session of two is not changed.
func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob, a, b := h.pair(SessionOptions{})
		carol := MustName("org/ns/carol")
		for _, c := range []struct {
			what      string
			got, want error
		}{
			{"inviting to a session of two", a.Invite(t.Context(), carol), ErrPointToPoint},
			{"removing from it", a.Remove(t.Context(), bob.Name()), ErrPointToPoint},
			{"inviting as a participant", b.Invite(t.Context(), carol), ErrNotModerator},
			{"removing as a participant", b.Remove(t.Context(), alice.Name()), ErrNotModerator},
			{"suspending a session of two", b.Suspend(t.Context()), ErrPointToPoint},
			{"resuming it", b.Resume(t.Context()), ErrPointToPoint},
			{"inviting nobody", a.Invite(t.Context(), Name{}), ErrConfig},
		} {
			if !errors.Is(c.got, c.want) {
				t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
			}
		}
		for _, o := range []SessionOptions{{ID: MaxID}, {ID: a.ID()}, {Metadata: map[string]string{"PUBLISH_TO": ""}}} {
			if _, err := alice.Open(t.Context(), bob.Name(), o); !errors.Is(err, ErrConfig) {
				t.Errorf("%+v: %v", o, err)
			}
		}
		if _, err := alice.Open(t.Context(), bob.Name(), SessionOptions{Pin: "somebody else", Interval: 100 * time.Millisecond, Retries: 3}); !errors.Is(err, ErrTimeout) {
			t.Errorf("with a wrong pin: %v", err)
		}
		if _, err := alice.Open(t.Context(), bob.Name(), SessionOptions{Pin: bob.Subject()}); err != nil {
			t.Errorf("with a pin: %v", err)
		}
		if _, err := a.Publish(t.Context(), Content{Data: make([]byte, MaxContent)}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("too large: %v", err)
		}
		publish(t, a, strings.Repeat("x", MaxContent-len(DefaultType)))
	})
}

// Further names are as good as the first one.
func TestFurtherNames(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob := h.app("alice"), h.app("bob")
		l := listen(t, bob)
		robert := MustName("org/other/robert")
		o := SessionOptions{Interval: 100 * time.Millisecond, Retries: 3}
		if _, err := alice.Open(t.Context(), robert, o); !errors.Is(err, ErrTimeout) {
			t.Errorf("before: %v", err)
		}
		for range 2 {
			if err := bob.Subscribe(t.Context(), robert); err != nil {
				t.Fatal(err)
			}
		}
		a, err := alice.Open(t.Context(), robert, o)
		if err != nil {
			t.Fatal(err)
		}
		b := accept(t, l)
		if b.Self() == bob.Name() || !b.Self().Same(robert) || b.Self().ID() != bob.Name().ID() {
			t.Errorf("it is %v %s", b.Self(), b.Self().ID())
		}
		publish(t, a, "hello")
		publish(t, b, "hi")
		if err := bob.Unsubscribe(t.Context(), robert); err != nil {
			t.Error(err)
		}
		if err := bob.Unsubscribe(t.Context(), robert); !errors.Is(err, ErrNoName) || errors.Is(err, ErrNotMember) {
			t.Errorf("again: %v", err)
		}
		if _, err := alice.Open(t.Context(), robert, o); !errors.Is(err, ErrTimeout) {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// places is how many are taken.
func (l *Listener) places() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reserved
}

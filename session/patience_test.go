package session

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// slow are times of a moderator that others must not wait by.
var slow = SessionOptions{Plain: true, Interval: maxInterval, Retries: maxRetries}

// An invitation without a welcome holds its place for a minute or so, whatever times the moderator has set.
func TestInvitationsWithoutWelcome(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		mallory, bob := h.app("mallory"), h.app("bob")
		l, err := bob.Listen(ListenOptions{PerInviter: DefaultBacklog})
		if err != nil {
			t.Fatal(err)
		}
		h.cuts(func(_, _ *hubLink, m *message.Message) bool { return m.Type == message.GroupWelcome })
		for range DefaultBacklog {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			if _, err := mallory.Open(ctx, bob.Name(), slow); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("opened: %v", err)
			}
			cancel()
		}
		h.linkOf(mallory).breaks(true)
		h.cuts(nil)
		time.Sleep(90 * time.Second)
		if places, sessions := l.places(), bob.Stats().Sessions; places != 0 || sessions != 0 {
			t.Errorf("%d places are taken, of %d sessions", places, sessions)
		}
		if _, err := h.app("alice").Open(t.Context(), bob.Name(), quick); err != nil {
			t.Errorf("opened by another one: %v", err)
		}
		h.linkOf(mallory).breaks(false)
	})
}

// A session that is over is kept for a minute at most, and it takes no longer to close one.
func TestOverByTimesOfOthers(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		mallory, bob := h.app("mallory"), h.app("bob")
		l := listen(t, bob)
		for range 20 {
			s, err := mallory.Open(t.Context(), bob.Name(), slow)
			if err != nil {
				t.Fatal(err)
			}
			b := accept(t, l)
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
			<-b.Done()
		}
		time.Sleep(time.Minute)
		if n := bob.Stats().Sessions; n != 0 {
			t.Errorf("%d sessions that are over are kept", n)
		}
	})
}

// Close ends by itself, where the moderator is gone that has set the times, too: after two minutes at most.
func TestCloseWithoutModerator(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		bubble(t, func(t *testing.T, h *hub) {
			mallory, bob := h.app("mallory"), h.app("bob")
			l := listen(t, bob)
			o := slow
			o.Plain = !encrypted
			if _, err := mallory.Open(t.Context(), bob.Name(), o); err != nil {
				t.Fatal(err)
			}
			b := accept(t, l)
			h.linkOf(mallory).breaks(true)
			if _, err := b.Publish(t.Context(), Text("for nobody")); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			if err := within(t, 3*time.Minute, func() error { return bob.Close(context.Background()) }); err != nil {
				t.Error(err)
			}
			if d := time.Since(begin); d > 2*time.Minute+20*time.Second {
				t.Errorf("after %v", d)
			}
			h.linkOf(mallory).breaks(false)
		})
	}
}

// A member that is out leaves by itself when the moderator does not tell it so, which may take as long as it likes.
func TestOutWithoutWord(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		apps, members := h.group(slow, "mallory", "bob", "carol")
		h.cuts(func(_, _ *hubLink, m *message.Message) bool { return m.Type == message.LeaveRequest })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = members[0].Remove(ctx, apps[1].Name())
		if err := within(t, 3*time.Minute, func() error { <-members[1].Done(); return members[1].Err() }); err != ErrRemoved {
			t.Errorf("over: %v", err)
		}
		h.cuts(nil)
	})
}

// Times that are long, and honest, are those of data still; and what is lost meanwhile comes again.
func TestLongIntervals(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob := h.app("alice"), h.app("bob")
		l := listen(t, bob)
		lost := map[message.Type]bool{}
		h.cuts(func(_, _ *hubLink, m *message.Message) bool { // each type once
			cut := m.Type != message.Heartbeat && !lost[m.Type]
			lost[m.Type] = true
			return cut
		})
		a, err := alice.Open(t.Context(), bob.Name(), SessionOptions{Interval: 30 * time.Second, Retries: 10})
		if err != nil {
			t.Fatal(err)
		}
		b := accept(t, l)
		publish(t, a, "one", "two")
		publish(t, b, "three")
		receives(t, b, alice, "one", "two")
		receives(t, a, bob, "three")
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// within returns what f does; it has to come back in that time.
func within(t *testing.T, d time.Duration, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(d):
		t.Fatalf("not within %v", d)
		return nil
	}
}

// No more than so many sessions that are over are kept, the last ones; those that go on are not counted.
func TestMostEnded(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob := h.app("alice"), h.app("bob")
		bob.ended.most = 8
		l := listen(t, bob)
		live, err := alice.Open(t.Context(), bob.Name(), SessionOptions{Plain: true})
		if err != nil {
			t.Fatal(err)
		}
		b := accept(t, l)
		var last uint32
		for range 20 {
			s, err := alice.Open(t.Context(), bob.Name(), SessionOptions{Plain: true})
			if err != nil {
				t.Fatal(err)
			}
			last = s.ID()
			b := accept(t, l)
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
			<-b.Done()
		}
		synctest.Wait()
		if n := bob.Stats().Sessions; n != 9 || bob.sessions.find(last) == nil {
			t.Errorf("%d sessions, the last one among them: %v", n, bob.sessions.find(last) != nil)
		}
		publish(t, live, "text")
		receives(t, b, alice, "text")
		time.Sleep(time.Minute)
		bob.ended.mu.Lock()
		defer bob.ended.mu.Unlock()
		if n := bob.Stats().Sessions; n != 1 || bob.ended.list.Len() != 0 {
			t.Errorf("%d sessions, %d of them over", n, bob.ended.list.Len())
		}
	})
}

// Close ends by itself where the node is gone, too, and something waits for a connection.
func TestCloseWithoutNode(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		_, bob, _, b := h.pair(SessionOptions{Plain: true, Unreliable: true})
		h.linkOf(bob).breaks(true)
		for range 10 {
			if _, err := b.Publish(t.Context(), Text("for nobody")); err != nil {
				t.Fatal(err)
			}
		}
		if err := within(t, time.Minute, func() error { return bob.Close(context.Background()) }); err != nil {
			t.Error(err)
		}
	})
}

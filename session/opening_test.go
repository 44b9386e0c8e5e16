package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// Who opens many more sessions at once than a Listener has places for one inviter waits for turns, and none is declined.
func TestManyAreOpenedAtOnce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob := h.app("alice"), h.app("bob", func(o *Options) { o.Store = nil })
		l := listen(t, bob)
		const many = 300
		var under, most int
		var failed atomic.Int64
		h.cuts(func(_, _ *hubLink, m *message.Message) bool { // with h.mu held
			switch m.Type {
			case message.JoinRequest:
				under++
				most = max(most, under)
			case message.GroupAck:
				under--
			}
			return false
		})
		go func() {
			for _, err := range l.Sessions(t.Context()) {
				if err != nil {
					return
				}
			}
		}()
		var all sync.WaitGroup
		for range many {
			all.Go(func() {
				if _, err := alice.Open(t.Context(), bob.Name(), SessionOptions{Plain: true}); err != nil {
					failed.Add(1)
				}
			})
		}
		all.Wait()
		h.cuts(nil)
		if n := failed.Load(); n > 0 {
			t.Errorf("%d of %d were not opened", n, many)
		}
		if most > mostOpening || most < mostOpening/2 {
			t.Errorf("%d invitations were under way at a time", most)
		}
		if n := len(alice.openings.to); n != 0 {
			t.Errorf("%d names are left", n)
		}
	})
}

// Where nobody answers, those that wait for their turn do not wait for the time-outs of all others; and they end with their contexts.
func TestManyAreOpenedWithNobody(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		alice, nobody := h.app("alice"), MustName("org/ns/nobody")
		o := SessionOptions{Plain: true, Interval: time.Second, Retries: 4}
		begin := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		var timeouts, canceled atomic.Int64
		for i := range 10 * mostOpening {
			within := t.Context()
			if i%3 == 0 && i >= mostOpening {
				within = ctx
			}
			all.Go(func() {
				switch _, err := alice.Open(within, nobody, o); {
				case errors.Is(err, ErrTimeout):
					timeouts.Add(1)
				case errors.Is(err, context.Canceled):
					canceled.Add(1)
				default:
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		time.Sleep(2 * time.Second)
		cancel()
		synctest.Wait()
		const waited = 3 * mostOpening
		if n := canceled.Load(); n != waited {
			t.Errorf("%d were cancelled, want %d", n, waited)
		}
		all.Wait()
		if n := timeouts.Load(); n != 10*mostOpening-waited {
			t.Errorf("%d were not answered", n)
		}
		if d := time.Since(begin); d > 11*time.Second { // two of five seconds
			t.Errorf("it has taken %v", d)
		}
		if n := len(alice.openings.to); n != 0 {
			t.Errorf("%d names are left", n)
		}
	})
}

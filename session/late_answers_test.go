package session

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// Where a worker has much else to do, an acknowledgement that waits for it is looked at before the message is repeated: else there would be
// more to do the less time there is.
func TestAnswersGoBeforeTimers(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice, _, a, _ := h.pair(SessionOptions{})
		var said atomic.Int64
		h.cuts(func(from, _ *hubLink, m *message.Message) bool {
			if m.Type == message.Msg && from == h.linkOf(alice) {
				said.Add(1)
			}
			return false
		})
		d, err := a.Publish(t.Context(), Text("hello"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond) // it is on its way
		for range alice.pool.Workers() {
			alice.pool.Do(func() { time.Sleep(10 * time.Second) })
		}
		if err := d.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		h.cuts(nil)
		if n := said.Load(); n != 1 {
			t.Errorf("it was said %d times", n)
		}
	})
}

package session

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// A link that moves at the very moment at which it is taken for stalled does not count as such: what is sent after that leaves.
func TestLinkThatMovesWhenItsTimeIsOver(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice, _, a, b := h.pair(SessionOptions{})
		o := &alice.out // as its drain and the timer that watches it do
		o.mu.Lock()
		o.empty = make(chan struct{})
		o.busy.Store(true)
		o.mu.Unlock()
		o.moves()
		o.stall()
		if !o.finish() {
			t.Fatal("something waits")
		}
		large := strings.Repeat("large", mostOnLink)
		begin := time.Now()
		publish(t, a, large)
		receives(t, b, alice, large)
		if d := time.Since(begin); d > time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

// Messages of one sender that wait for several tokens all come to their turn, the one first that was looked at first: a message may be found to
// wait when later ones do.
func TestDoubtsAboutOneSender(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		o := newOffice()
		alice := h.app("alice", o.of("alice"))
		o.slows(func(_, subject string) time.Duration { return time.Duration(len(subject)) * time.Second })
		d := doubts{app: alice, slot: alice.front.slot, most: 2}
		from := wire.NameText{Name: wire.Name{Hi: 1}}
		entryOf := func(id uint32) *entry { return &entry{m: &message.Message{Source: from, ID: id}} }
		later, first := entryOf(2), entryOf(1)
		ok, got := make(chan bool, 1), make(chan []uint32, 1)
		d.slot.Post(letter{first: func() {
			ok <- d.park(later, []string{"a"}) && d.behind(entryOf(3)) && d.park(first, []string{"bb"}) && d.behind(entryOf(4))
		}})
		if !<-ok {
			t.Fatal("refused")
		}
		time.Sleep(time.Minute)
		d.slot.Post(letter{first: func() {
			var ids []uint32
			for d.ready.Len() > 0 {
				ids = append(ids, d.ready.Pop().m.ID)
			}
			got <- ids
		}})
		if ids := <-got; fmt.Sprint(ids) != "[1 2 3 4]" || len(d.waiting) > 0 {
			t.Errorf("%d, and %d senders wait", ids, len(d.waiting))
		}
	})
}

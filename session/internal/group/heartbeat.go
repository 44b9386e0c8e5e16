package group

import (
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

const (
	beatInterval = 10 * time.Second
	beatMisses   = 3 // intervals of silence after which a member is offline
)

// heartbeat says that this member is there, and finds out who is not.
type heartbeat struct {
	next   time.Time // zero: it has not begun
	to     wire.NameText
	said   time.Time // when something went to that name last
	put    bool      // something that may wait for long is to go there since the last tick
	forced bool      // the next one is due whatever was said
	waits  bool      // the last one has not left
	tried  bool      // something was to be sent since the last tick, to anybody
	left   bool      // and something has left
	silent map[wire.Name]int
}

// start begins to beat, towards a name.
func (h *heartbeat) start(to wire.NameText, now time.Time) {
	h.to = to
	if h.next.IsZero() {
		h.next = now.Add(beatInterval)
	}
}

// pause stops the beats until start.
func (h *heartbeat) pause() { h.next = time.Time{} }

func (h *heartbeat) deadline() time.Time { return h.next }

func (h *heartbeat) track(n wire.NameText) {
	if h.silent == nil {
		h.silent = map[wire.Name]int{}
	}
	h.silent[n.Name] = 0
}

func (h *heartbeat) forget(n *wire.NameText) { delete(h.silent, n.Name) }

// heard notes that a member has said something.
func (h *heartbeat) heard(n *wire.NameText) {
	if h.silent[n.Name] > 0 {
		h.silent[n.Name] = 0
	}
}

// spoke notes that this member says something to a name, and whether Sent will tell when that has left.
func (h *heartbeat) spoke(to *wire.NameText, told bool, now time.Time) {
	switch {
	case !same(to, &h.to):
	case told:
		h.put = true
	default:
		h.said = now
	}
}

// departed notes that something has left.
func (h *heartbeat) departed(now time.Time) {
	if h.left = true; h.put {
		h.said = now
	}
}

// beatNow sends what is due, and finds out who has been silent for too long.
func (c *core) beatNow() {
	h := &c.beat
	if h.next.IsZero() || h.next.After(c.now) {
		return
	}
	h.next = c.now.Add(beatInterval)
	c.mls.expire(c.now)
	unheard := h.tried && !h.left // nobody has a reason to answer
	// Others take this member for offline when three of their ticks have passed, which may be after little more than two intervals.
	heard := c.leaving == 0 && c.now.Sub(h.said) <= beatInterval/2
	h.tried, h.left = c.leaving > 0, false
	online := false
	for i := range c.roster {
		p := &c.roster[i]
		misses, tracked := h.silent[p.Name.Name]
		if !tracked || p.Offline {
			continue
		}
		if unheard {
			online = true
			continue
		}
		if misses++; misses >= beatMisses {
			c.present(&p.Name, false)
			continue
		}
		h.silent[p.Name.Name] = misses
		online = true
	}
	if (!heard || h.forced || !online) && !h.waits {
		m := c.message(message.Heartbeat, h.to, &message.Beat{Epoch: c.mls.epoch()})
		if c.o.Kind == message.Group {
			m.Fanout = fanoutAll
			m.Metadata = map[string]string{keyStream: formatTag(c.tag)}
		}
		m.ID = c.newID()
		h.waits = c.putFor(&m, h)
	}
	h.put, h.forced = false, false
}

// beaten takes the heartbeat of a member. ahead says that it is in a later epoch.
func (c *core) beaten(m *message.Message) (ahead bool) {
	p := c.roster.find(&m.Source)
	if p == nil {
		c.refuse(m, errStranger)
		return false
	}
	if c.send.Is(p.Name, parseTag(m.Metadata[keyStream]), c.now) {
		c.headChanged()
	}
	epoch := m.Command.(*message.Beat).Epoch
	ahead = c.mls != nil && epoch > c.mls.epoch() && epoch != message.NoEpoch
	if !p.Offline {
		return ahead
	}
	c.beat.forced = true
	if c.mls.isIn(epoch) {
		c.beat.silent[m.Source.Name] = 0
		c.present(&m.Source, true)
	}
	return ahead
}

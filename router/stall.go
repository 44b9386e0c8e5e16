package router

import (
	"log/slog"
	"time"
)

// stall watches whether a full receiver drains: a deficit grows with the floor and shrinks with what leaves.
type stall struct {
	stalled bool          // its messages die until the queue is empty
	deficit float64       // bytes it has drained less than the floor demands; never below that of two looks
	mark    uint64        // bytes that had left at the last look
	look    time.Duration // since the last look
	lost    uint64        // messages that died at its queue since it stalled, or in all under the policy drop
}

// stallLook is how often the drain of a full receiver is compared with the floor. A step of the clock counts at
// most twice that: while the node itself does not run, no receiver is blamed.
const stallLook = 25 * time.Millisecond

// clockStalls lets dt pass for every connection with a queue, and forgets those without.
func (l *loop) clockStalls(dt time.Duration) {
	dt = min(dt, 2*stallLook)
	for i := 0; i < len(l.waiting); {
		c := l.waiting[i]
		if c.q.n == 0 || c.state == gone {
			c.q.waiting = false
			last := len(l.waiting) - 1
			l.waiting[i], l.waiting[last] = l.waiting[last], nil
			l.waiting = l.waiting[:last]
			continue
		}
		c.clockStall(dt)
		c.pump()
		i++
	}
}

// clockStall decides whether a receiver is stalled: full (somebody waits for it) and behind the floor by what
// StallRate demands in StallTimeout. Having been faster before buys two looks, no more.
func (c *Conn) clockStall(dt time.Duration) {
	q, o := &c.q, &c.loop.node.opt
	if q.stalled || o.SlowConsumer == Block || o.SlowConsumer == Drop {
		return
	}
	if q.look += dt; q.look < stallLook {
		return
	}
	left := c.drained()
	floor := float64(o.StallRate)
	q.deficit += floor*q.look.Seconds() - float64(left) + float64(q.mark)
	if q.charged == 0 {
		q.deficit = 0
	}
	q.deficit = max(q.deficit, -2*floor*stallLook.Seconds())
	q.mark, q.look = left, 0
	if q.deficit >= floor*o.StallTimeout.Seconds() {
		c.declareStalled()
	}
}

// drained is how many bytes for c its peer has taken since the start, at least.
func (c *Conn) drained() uint64 {
	p := c.stream.Progress()
	return p.Given - min(p.Given, uint64(p.Unacked))
}

// declareStalled ends all waiting for c: charged senders get their credit back and what is queued beyond the
// bound dies, newest first.
func (c *Conn) declareStalled() {
	l, q := c.loop, &c.q
	q.stalled, q.deficit = true, 0
	q.lost = 0
	l.n.stalls++
	c.sift(ReasonStalled, func(i int, it *item) bool { return !it.charged || i == 0 })
	if first := q.at(0); first.charged {
		first.charged = false
		p := first.buf.Aux.(*parcel)
		q.charged -= p.cost
		l.credit(p.src, p.cost)
	}
	if l.node.opt.SlowConsumer == Disconnect {
		c.because(ReasonStalled.String())
		c.say(slog.LevelWarn, logTopic(ReasonStalled), "receiver does not drain: disconnected", "reason", ReasonStalled.String(), "queued_bytes", q.bytes)
		c.stream.Silence()
		return
	}
	c.say(slog.LevelWarn, logTopic(ReasonStalled), "receiver does not drain: its messages are dropped until it has caught up",
		"reason", ReasonStalled.String(), "queued_bytes", q.bytes)
}

// caughtUp is called when the queue is empty.
func (c *Conn) caughtUp() {
	q := &c.q
	if q.stalled {
		q.stalled = false
		c.loop.n.stalls--
		c.say(slog.LevelInfo, logTopic(ReasonStalled), "receiver has caught up", "reason", ReasonStalled.String(), "dropped", q.lost)
	}
	q.deficit = 0
}

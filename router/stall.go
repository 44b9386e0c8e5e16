package router

import (
	"log/slog"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/transport"
)

// stall is the watch over a receiver that senders wait for. Owned by the loop of its connection.
type stall struct {
	stalled bool   // its messages die until the queue is empty
	lost    uint64 // messages that died at its queue since it stalled, or in all under the policy drop

	watched bool  // somebody waits: watch and holding have been started
	seen    int64 // tick of the loop at the last look
	watch   transport.Watch
	holding holding
	inquiry inquiry

	moved  uint64 // bytes that had left the queue at the last look
	left   uint64 // bytes that have left it since the start
	little bool   // nothing has left it for a look: a little room is used, too
	isBusy bool   // Conn.busy
}

// stallLook is how often a receiver that senders wait for is looked at.
const stallLook = transport.Look

// A step of the clock counts at most maxStep: while the node does not run, or a busy machine runs it late, its receivers
// are late as well.
const maxStep = stallLook * 6 / 5

// clockStalls lets dt pass for every connection with a queue, and forgets those without.
func (l *loop) clockStalls(dt time.Duration) {
	dt = min(dt, maxStep)
	for i := 0; i < len(l.waiting); {
		c := l.waiting[i]
		if c.q.n == 0 || c.state == gone {
			c.q.waiting, c.q.little = false, false
			c.unwatch()
			last := len(l.waiting) - 1
			l.waiting[i], l.waiting[last] = l.waiting[last], nil
			l.waiting = l.waiting[:last]
			continue
		}
		c.look(dt)
		c.pump()
		i++
	}
}

// look decides whether a receiver that senders wait for is stalled.
func (c *Conn) look(dt time.Duration) {
	l, q, o := c.loop, &c.q, &c.loop.node.opt
	q.little = q.left == q.moved
	q.moved = q.left
	if q.charged == 0 || q.stalled || o.SlowConsumer == Block || o.SlowConsumer == Drop {
		c.unwatch()
		return
	}
	p := c.stream.Progress()
	asked := q.inquiry.ask()
	idle := time.Duration(l.ticks-q.seen) * slowTick
	q.seen = l.ticks
	if !q.watched {
		q.watched = true
		q.watch.Start(&p)
		q.holding.start(idle, o.StallRate)
		return
	}
	n, stalled := q.watch.Look(dt, &p, &transport.Floor{Rate: o.StallRate, Timeout: o.StallTimeout})
	holds := q.holding.look(dt, n, asked, o.StallRate, o.HoldTimeout)
	switch {
	case stalled:
		c.declareStalled(&p, "receiver takes too little")
	case holds:
		c.declareStalled(&p, "receiver is too slow for others that wait for it")
	}
}

// unwatch ends the watch: nobody waits.
func (c *Conn) unwatch() {
	c.q.watched = false
	c.q.inquiry = inquiry{}
}

// declareStalled ends all waiting for c: charged senders get their credit back and what is queued beyond the
// bound dies, newest first.
func (c *Conn) declareStalled(p *transport.Progress, why string) {
	l, q := c.loop, &c.q
	q.stalled = true
	q.lost = 0
	l.n.stalled++
	c.unwatch()
	c.sift(ReasonStalled, func(i int, it *item) bool { return !it.charged || i == 0 })
	if first := q.at(0); first.charged {
		first.charged = false
		p := first.buf.Aux.(*parcel)
		q.charged -= p.cost
		l.credit(p.src, p.cost)
	}
	then := ": its messages are dropped until it has caught up"
	if l.node.opt.SlowConsumer == Disconnect {
		then = ": disconnected"
	}
	c.say(slog.LevelWarn, logTopic(ReasonStalled), why+then, "reason", ReasonStalled.String(), "queued_bytes", q.bytes,
		"unacknowledged_bytes", p.Pending, "window_closed", p.Limit == transport.LimitWindow)
	if l.node.opt.SlowConsumer == Disconnect {
		c.because(ReasonStalled.String())
		c.stream.Silence()
	}
}

// caughtUp is called when the queue is empty.
func (c *Conn) caughtUp() {
	if c.q.stalled {
		c.revive()
		c.say(slog.LevelInfo, logTopic(ReasonStalled), "receiver has caught up", "reason", ReasonStalled.String(), "dropped", c.q.lost)
	}
}

// revive ends a stall, because the queue is empty or because the connection ends.
func (c *Conn) revive() {
	if c.q.stalled {
		c.q.stalled = false
		c.loop.n.stalled--
		c.updateBusy()
	}
}

// updateBusy tells all loops when c becomes stalled or its queue half full, and when it has a quarter left.
func (c *Conn) updateBusy() {
	q, limit := &c.q, c.loop.node.opt.ConnBuffer/2
	if q.isBusy {
		limit /= 2
	}
	if busy := q.stalled || q.bytes > limit; busy != q.isBusy {
		q.isBusy = busy
		c.busy.Store(busy)
	}
}

// unfit reports whether an anycast message had better go to another receiver than c. Safe for all loops.
func unfit(c *Conn) bool { return c.busy.Load() || c.dead.Load() }

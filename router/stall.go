package router

import (
	"log/slog"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/router/transport"
)

// stall is the watch over a receiver that senders wait for. Owned by the loop of its connection.
type stall struct {
	lost uint64 // messages that died at its queue since it stalled, or in all under the policy drop

	stalled bool   // its messages die until the queue is empty
	watched bool   // somebody waits: watch and holding have been started
	little  bool   // nothing has left the queue for a look: a little room is used, too
	isBusy  bool   // Conn.busy
	seen    int64  // tick of the loop at the last look
	moved   uint64 // bytes that had left the queue at the last look
	left    uint64 // bytes that have left it since the start

	*watching // nil before a sender has waited for it
}

// watching is what is known of a receiver for which senders wait.
type watching struct {
	watch   transport.Watch
	holding holding
	inquiry inquiry
}

// stallLook is how often a receiver that senders wait for is looked at.
const stallLook = transport.Look

// A step of the clock counts at most maxStep: while the node does not run, or a busy machine runs it late, its
// receivers are late as well.
const maxStep = stallLook * 6 / 5

// stallClock has receivers looked at while there is something to decide: senders wait for them, or a little room is not
// used. There is no clock while there are none, however many are blocked. Owned by its loop.
type stallClock struct {
	timer   *netloop.Timer
	armed   bool      // timer is set, or looks are under way
	last    time.Time // when the looks before these began; zero: there were none
	waiting []*Conn   // to be looked at

	looking bool          // looks are under way: a budget's worth in each turn
	at      int           // in waiting, who comes next
	dt      time.Duration // since the last looks
}

// arm sets the timer unless it is set.
func (k *stallClock) arm() {
	if !k.armed {
		k.armed = true
		k.timer.Reset(stallLook)
		if k.last.IsZero() {
			k.last = time.Now()
		}
	}
}

// begin begins with looks, since the timer has fired.
func (k *stallClock) begin() {
	now := time.Now()
	k.pass(now.Sub(k.last))
	k.last = now
}

// pass has everybody looked at after dt.
func (k *stallClock) pass(dt time.Duration) {
	k.looking, k.at, k.dt = true, 0, min(dt, maxStep)
}

// await has c looked at until nothing is to be decided any more.
func (c *Conn) await() {
	if k := &c.loop.clock; !c.q.waiting && c.undecided() {
		c.q.waiting = true
		c.q.left++ // the first look says nothing
		k.waiting = append(k.waiting, c)
	}
}

// undecided reports whether c has to be looked at: somebody waits for it, or it has room that is too little to be used
// at once.
func (c *Conn) undecided() bool {
	q := &c.q
	if q.len() == 0 || c.state == gone {
		return false
	}
	return c.isWatched() || c.stream.Room() > 0
}

// isWatched reports whether c, for which somebody waits, may turn out to be stalled.
func (c *Conn) isWatched() bool {
	p := c.loop.rules.SlowConsumer
	return c.q.charged > 0 && !c.q.stalled && (p == Adaptive || p == Disconnect)
}

// stepsOfALook is what a look costs: it takes system calls.
const stepsOfALook = 16 * deliverSteps

// look goes on with the looks that are under way, until the budget is spent.
func (l *loop) look() {
	k := &l.clock
	for k.looking && !l.budget.spent {
		if k.at >= len(k.waiting) {
			k.looking, k.armed = false, false
			if len(k.waiting) == 0 {
				k.last = time.Time{}
			}
			return
		}
		c := k.waiting[k.at]
		k.at++ // first: a panic costs this look only
		l.lookAt(c)
		l.budget.step(stepsOfALook)
	}
}

// lookAt looks at one receiver, and forgets it if it need not be looked at again.
func (l *loop) lookAt(c *Conn) {
	defer c.guard()
	if c.q.len() > 0 && c.state != gone {
		c.look(l.clock.dt)
		c.pump()
	}
	if c.undecided() {
		return
	}
	c.q.waiting, c.q.little = false, false
	c.unwatch()
	k := &l.clock
	last := len(k.waiting) - 1
	k.at--
	k.waiting[k.at], k.waiting[last] = k.waiting[last], nil
	k.waiting = k.waiting[:last]
}

// look decides whether a receiver that senders wait for is stalled.
func (c *Conn) look(dt time.Duration) {
	l, q, o := c.loop, &c.q, &c.loop.node.opt
	q.little = q.left == q.moved
	q.moved = q.left
	if !c.isWatched() {
		c.unwatch()
		return
	}
	p := c.stream.Progress()
	asked := q.inquiry.ask()
	idle := time.Duration(l.ticks-q.seen) * slowTick
	q.seen = l.ticks
	if !q.watched {
		q.watched, q.advance = true, advance{}
		q.watch.Start(&p)
		q.holding.start(idle, o.StallRate)
		return
	}
	n, stalled := q.watch.Look(dt, &p, &transport.Floor{Rate: o.StallRate, Timeout: o.StallTimeout})
	if p.Limit == transport.LimitShared {
		asked = othersQueue // it is not c for which they wait
	}
	holds := q.holding.look(dt, n, asked, o.StallRate, o.HoldTimeout)
	switch {
	case stalled:
		c.declareStalled(&p, "receiver takes too little")
	case holds:
		c.declareStalled(&p, "receiver is too slow for others that wait for it")
	case q.watch.HeldUp(&p, &transport.Floor{Rate: o.StallRate, Timeout: o.HoldTimeout}):
		c.unblock(&p)
	default:
		c.goOn()
	}
}

// unblock ends the connection that keeps the window closed which c shares with it. If that is c itself, c is stalled.
func (c *Conn) unblock(p *transport.Progress) {
	if s, ok := c.stream.(transport.Sharer); ok && s.Unblock() {
		c.q.watch.Start(p)
		return
	}
	c.declareStalled(p, "receiver takes too little of a socket that it shares")
}

// unwatch ends the watch: nobody waits.
func (c *Conn) unwatch() {
	c.q.watched = false
	if c.q.watching != nil {
		c.q.inquiry = inquiry{}
	}
}

// declareStalled ends all waiting for c: charged senders get their credit back and what is queued beyond the
// bound dies, newest first.
func (c *Conn) declareStalled(p *transport.Progress, why string) {
	l, q := c.loop, &c.q
	q.stalled = true
	q.lost = 0
	c.missing().stalledAt = time.Since(l.node.made)
	l.n.stalled++
	c.endWaiting(ReasonStalled)
	then := ": its messages are dropped until it has caught up"
	if l.rules.SlowConsumer == Disconnect {
		then = ": disconnected"
	}
	c.say(slog.LevelWarn, logTopic(ReasonStalled), why+then, "reason", ReasonStalled.String(), "queued_bytes", q.bytes,
		"unacknowledged_bytes", p.Pending, "window_closed", p.Limit == transport.LimitWindow)
	if l.rules.SlowConsumer == Disconnect {
		c.because(ReasonStalled.String())
		c.stream.Silence()
	}
}

// endWaiting has nobody wait for c any more: what senders wait for dies, newest first, for that reason.
func (c *Conn) endWaiting(r Reason) {
	q := &c.q
	c.unwatch()
	c.sift(r, func(i int, it *item) bool { return !it.charged || i == 0 })
	if first := q.at(0); first.charged {
		first.charged = false
		p := first.buf.Aux.(*parcel)
		q.charged -= p.cost
		c.loop.credit(p.src, p.cost)
	}
}

// caughtUp is called when the queue is empty.
func (c *Conn) caughtUp() {
	if c.q.stalled {
		c.revive()
		c.say(slog.LevelInfo, logTopic(ReasonStalled), "receiver has caught up", "reason", ReasonStalled.String(),
			"dropped", c.q.lost)
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

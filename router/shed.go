package router

import (
	"log/slog"

	"github.com/seed31b3bfd0/slimgo/pool"
)

// What waits for all receivers of the node is bounded by Options.MaxQueued. Up to there a sender waits for nobody but
// receivers that have more than Options.ConnBuffer; beyond it each sender waits whose message does, so that what comes
// on top is one HTTP/2 window of messages for each sender, which had that window before. Where the windows of very many
// senders are too much, whoever holds most pays, and not the one for whom the next message is. Rules: P-lim-10.
//
// To read no more from the sockets would not do: the updates of HTTP/2 windows that let queues drain come on these.

// chargesFrom is by how much the node's queues may exceed Options.MaxQueued, in bytes, before every sender is charged
// whose message waits. Under the policy block, where nothing is to be lost, that is early: so more windows fit.
func (l *loop) chargesFrom() int64 {
	if l.rules.SlowConsumer == Block {
		return -l.node.queued.Limit() / 2
	}
	return 0
}

// mostQueued is by how much they may exceed it at all, but for a moment: then the largest is cut.
func (n *Node) mostQueued() int64 { return n.queued.Limit() / 4 }

// makesRoom reports whether n bytes more may wait for c, when there are too many already. While there are, the queue
// that holds most is cut. If that is of another loop, c may go on for the moment that it takes.
func (l *loop) makesRoom(c *Conn, n int) bool {
	most := l.node.mostQueued()
	for l.queued.Over(n) > most {
		h, elsewhere := l.queued.Larger(c.q.bytes + n)
		switch {
		case elsewhere:
			return l.queued.Over(n) <= 2*most
		case h == nil:
			return false
		}
		l.cut(h)
	}
	return true
}

// relieve cuts the largest queue of the node, which another loop has found here.
func (l *loop) relieve() {
	l.queued.Asked()
	for l.queued.Over(0) > l.node.mostQueued() {
		h, _ := l.queued.Larger(0)
		if h == nil {
			return
		}
		l.cut(h)
	}
}

// cut cuts a queue, or leaves it alone until the next tick if nothing can be taken from it.
func (l *loop) cut(h *pool.Holder) {
	if !h.Owner.(*Conn).cut() {
		l.queued.Rank(h, 0)
		l.spared = append(l.spared, h)
	}
}

// endSparing lets queues be cut again that were left alone.
func (l *loop) endSparing() {
	for _, h := range l.spared {
		l.queued.Rank(h, h.Owner.(*Conn).q.bytes)
	}
	l.spared = nil
}

// stuckTicks is for how many ticks nothing may leave a queue of which nothing can be taken before its connection is
// given up.
const stuckTicks = 5

// cut gives up what waits for c, the newer half of senders' messages, and reports whether that has helped. If nothing
// is left but one message half out, or what c has asked for and does not read, c is ended. Nothing is sent meanwhile:
// loop.out is in use.
func (c *Conn) cut() bool {
	q, before := &c.q, c.q.bytes
	defer c.guard()
	if q.control > q.bytes/2 && q.control > leastControl {
		c.giveUp(ReasonBacklog)
		c.discard(ReasonGone)
		return true
	}
	kept := q.n / 2
	c.sift(ReasonQueued, func(i int, it *item) bool {
		return i < kept || i == 0 && q.halfOut() || parcelOf(it.buf) == nil
	})
	switch {
	case q.bytes < before:
		c.say(slog.LevelWarn, logTopic(ReasonQueued), "too much waits in the node, and most for this receiver: messages are dropped",
			"reason", ReasonQueued.String(), "queued_bytes", before)
	case c.loop.ticks-q.since >= stuckTicks:
		c.giveUp(ReasonQueued)
		c.discard(ReasonQueued)
	}
	if q.len() == 0 {
		c.postFor(c.pump) // it may be waiting for that
	}
	return q.bytes < before
}

// giveUp ends everything that c's socket would still be sent.
func (c *Conn) giveUp(r Reason) {
	c.note(r, nil)
	c.because(r.String())
	c.stream.Silence()
	c.muted = true
}

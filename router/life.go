package router

import (
	"fmt"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/table"
)

// awaitSetup has c end unless it negotiates in time. Streams that end at once are forgotten whenever the list would
// grow: a flood of them must not fill it for the whole of that time.
func (l *loop) awaitSetup(c *Conn) {
	if len(l.setup) == cap(l.setup) {
		l.setup = slices.DeleteFunc(l.setup, func(c *Conn) bool { return c.state != accepted })
		l.setup = slices.Grow(l.setup, len(l.setup)+16) // before it is full again, as many come as there are
	}
	l.setup = append(l.setup, c)
}

// expireSetups ends negotiations that did not come in time.
func (l *loop) expireSetups(now time.Time) {
	if len(l.setup) == 0 {
		return
	}
	n := 0
	oldest := now.Sub(l.node.made) - l.rules.NegotiationTimeout
	for n < len(l.setup) && (l.setup[n].state > claimed || l.setup[n].opened < oldest) {
		if c := l.setup[n]; c.state <= claimed {
			c.expire()
		}
		n++
	}
	m := copy(l.setup, l.setup[n:])
	clear(l.setup[m:])
	l.setup = l.setup[:m]
}

// expire ends a connection that has not negotiated in time.
func (c *Conn) expire() {
	defer c.guard()
	c.note(ReasonTimeout, nil)
	text := fmt.Sprintf("no negotiation within %v", c.loop.rules.NegotiationTimeout)
	if c.dialed != nil {
		c.because("the peer has accepted the call, but then there was " + text + ": it may be no SLIM node")
	}
	c.because(ReasonTimeout.String())
	c.end(statusOK, text)
}

// finish ends a connection whose peer sends nothing more, or is not to: it leaves the table, what is queued for it goes out,
// then our side ends with status 0. What the other end of a link publishes until it has read that goes its way, unless the node stops
// (P-end-7): who has called may end its own side and listen, while who was called ends both.
func (c *Conn) finish() {
	if c.finished = c.asked != nil; c.finished {
		return // answer comes back to it
	}
	if c.state >= ending {
		return
	}
	c.hears = c.dialed != nil && c.state == active && !c.loop.group.Finishing()
	if c.q.stalled { // it does not take what waits for it: nobody waits for it either
		c.end(statusOK, "")
		return
	}
	c.leaveTable()
	c.state = ending
	c.pump()
}

// end is finish without the queue: messages for c die, the node's own go out. Nothing goes its way any more, unless finish has said that it
// does.
func (c *Conn) end(status int, msg string) {
	if c.state >= ending {
		c.hears = false
		return
	}
	c.leaveTable()
	c.revive() // it has not caught up: what waits for it dies
	c.state, c.status, c.message = ending, uint8(status), msg
	c.dropParcels()
	c.pump()
}

// dropParcels lets what senders have queued die, but for an item that is half out.
func (c *Conn) dropParcels() {
	c.sift(ReasonGone, func(i int, it *item) bool {
		return parcelOf(it.buf) == nil || i == 0 && c.q.halfOut()
	})
}

// leave is the end of a stream, orderly or not: nothing more can be sent on it.
func (c *Conn) leave() {
	if c.state == gone {
		return
	}
	defer c.toldOver()
	defer c.forget() // even if a panic has broken the table's side of c: others wait for their credit
	c.leaveTable()
	c.logClosed()
}

// forget gives back what c holds and owes.
func (c *Conn) forget() {
	c.state = gone
	if t := c.twin.Load(); t != nil {
		t.leave(time.Since(c.loop.node.made)) // now, as nothing comes over c any more
	}
	c.loop.delist(c)
	c.loop.node.open.Add(-1)
	c.forgetAsked()
	c.discard(ReasonGone)
	c.loop.queued.Rank(&c.q.holder, 0)
	c.loop.n.held -= int64(c.held)
	c.held = 0
	c.revive()
	c.unwatch()
	c.link.Close()
	c.forgetClaim()
	c.releaseGrant()
}

// leaveTable takes c out of every match: when it returns (or, with very many subscriptions, soon after) nobody
// finds c any more, and whoever found it before sees it dead.
func (c *Conn) leaveTable() {
	if c.dead.Swap(true) {
		return
	}
	l := c.loop
	l.n.conns--
	c.names = uint32(c.heldNames())
	if c.state != active {
		return
	}
	c.releaseGrant()
	c.reportDown()
	if c.kind == table.Peer {
		c.leavePeers()
		return
	}
	n := l.node
	r := n.names.RemoveConn(c)
	n.chores.begin(func() bool {
		lost, more := r.Step()
		if m := n.peerMesh(); m != nil {
			m.Lost(lost)
		}
		n.control.namesLost(c.kind, lost)
		return more
	})
}

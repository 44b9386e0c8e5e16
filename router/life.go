package router

import (
	"time"

	"github.com/seed31b3bfd0/slimgo/router/hop"
	"github.com/seed31b3bfd0/slimgo/router/table"
)

// negotiate takes the first message of a connection (P-neg-1).
func (c *Conn) negotiate(b []byte) {
	l := c.loop
	out, err := c.machine.Step(l.small[:0], b)
	if err != nil {
		c.note(ReasonNegotiation, err)
		c.end(statusOK, "")
		return
	}
	l.small = out
	res := c.machine.Result()
	c.machine = nil
	c.sendOwn(out)
	if res.Refusal != "" {
		c.note(ReasonPeer, nil)
		c.end(statusPermissionDenied, res.Refusal)
		return
	}
	g, err := l.node.claims.admit(claim{kind: res.Kind, socket: l.peersOn[c.stream.Peer()]})
	if err != nil {
		clear(res.Key)
		c.note(ReasonClaim, err)
		c.end(statusPermissionDenied, err.Error())
		return
	}
	c.kind, c.filter = g.kind, g.reach
	c.link.Open(l.hops, hop.Rules{Signed: c.kind == table.Edge || c.kind == table.Remote, Strict: !l.node.opt.AllowUnsigned,
		Local: c.kind == table.Local}, res.LinkID, res.Key)
	clear(res.Key)
	c.state, c.negotiated = active, true
	c.stream.Established()
	l.n.negotiated++
	c.logOpened(&res)
	if c.kind == table.Peer && !c.muted {
		c.joinPeers(res.RemoteNode)
	}
}

// expireSetups ends negotiations that did not come in time.
func (l *loop) expireSetups(now time.Time) {
	if len(l.setup) == 0 {
		return
	}
	n := 0
	for n < len(l.setup) && (l.setup[n].state != accepted || now.After(l.setup[n].expires)) {
		if c := l.setup[n]; c.state == accepted {
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
	c.end(statusOK, "")
}

// finish ends a connection whose peer sends nothing more: it leaves the table, what is queued for it goes out,
// then the stream ends with status 0.
func (c *Conn) finish() {
	if c.state >= ending {
		return
	}
	if c.q.stalled { // it does not take what waits for it: nobody waits for it either
		c.end(statusOK, "")
		return
	}
	c.leaveTable()
	c.state = ending
	c.pump()
}

// end is finish without the queue: messages for c die, the node's own go out.
func (c *Conn) end(status int, msg string) {
	if c.state >= ending {
		return
	}
	c.leaveTable()
	c.revive() // it has not caught up: what waits for it dies
	c.state, c.status, c.message = ending, status, msg
	c.dropParcels()
	c.pump()
}

// dropParcels lets what senders have queued die, but for an item that is half out.
func (c *Conn) dropParcels() {
	c.sift(ReasonGone, func(i int, it *item) bool {
		return parcelOf(it.buf) == nil || i == 0 && c.q.sent > 0
	})
}

// leave is the end of a stream, orderly or not: nothing more can be sent on it.
func (c *Conn) leave() {
	if c.state == gone {
		return
	}
	defer c.forget() // even if a panic has broken the table's side of c: others wait for their credit
	c.leaveTable()
	c.logClosed()
}

// forget gives back what c holds and owes.
func (c *Conn) forget() {
	c.state = gone
	c.loop.node.open.Add(-1)
	c.discard(ReasonGone)
	c.loop.n.held -= int64(c.held)
	c.held = 0
	c.revive()
	c.unwatch()
	c.link.Close()
}

// leaveTable takes c out of every match: when it returns (or, with very many subscriptions, soon after) nobody
// finds c any more, and whoever found it before sees it dead.
func (c *Conn) leaveTable() {
	if c.dead.Swap(true) {
		return
	}
	l := c.loop
	l.n.conns--
	c.names = c.heldNames()
	if c.state != active {
		return
	}
	l.node.claims.release(c.kind)
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
		return more
	})
}

// drain announces the end to every socket of the loop; messages that are read from now on still go their way.
func (l *loop) drain() { l.group.Drain() }

// finishAll ends all connections after what is queued for them. No other loop has messages under way.
func (l *loop) finishAll() { l.group.Finish() }

package router

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// sweepLimit is the number of subscriptions above which a connection is removed from the table by a goroutine of
// its own instead of holding its loop up.
const sweepLimit = 512

// lingerTicks is how many slow ticks a drained socket waits for its peer to close, so that the peer reads the
// end of its streams before a reset can overtake it; and how many it may take nothing of what is still to be sent.
const lingerTicks = 2

// negotiate takes the first message of a connection (dataplane.md section 4.2).
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
	c.linkID = res.LinkID
	c.filter = table.All
	switch res.Kind {
	case wire.LinkEdge:
		c.kind = table.Edge
	case wire.LinkPeer:
		c.kind = table.Peer
		if !l.node.opt.RelayPeerPublishes {
			c.filter = table.All.Without(table.Peer)
		}
	default:
		c.kind = table.Remote
	}
	if res.Key != nil && c.kind != table.Peer {
		c.mac = mac.New(res.Key, res.LinkID)
	}
	clear(res.Key)
	c.state = active
	l.n.negotiated++
	l.node.log.Info("received link negotiation", c.attrs("link_id", res.LinkID, "remote_version", res.RemoteVersion,
		"is_reply", false, "is_client", false, "kind", c.kind.String())...)
	l.node.log.Info("new connection received from remote", c.attrs()...)
	if c.kind == table.Peer && !c.sock.mute {
		c.joinPeers()
	}
}

// expireSetups ends negotiations that did not come in time.
func (l *loop) expireSetups() {
	if len(l.setup) == 0 {
		return
	}
	now := time.Now()
	n := 0
	for n < len(l.setup) && (l.setup[n].state != accepted || now.After(l.setup[n].expires)) {
		if c := l.setup[n]; c.state == accepted {
			c.note(ReasonTimeout, nil)
			c.end(statusOK, "")
		}
		n++
	}
	m := copy(l.setup, l.setup[n:])
	clear(l.setup[m:])
	l.setup = l.setup[:m]
}

// keepAlive pings a silent peer and closes one that does not answer. A socket that never opened a stream is
// closed after the same silence.
func (k *socket) keepAlive() {
	l, o := k.loop, &k.loop.node.opt
	if k.mute {
		return // its end is about to be read
	}
	if k.deaf {
		limit := ticks(o.KeepaliveTimeout)
		if l.finishing {
			limit = lingerTicks
		}
		k.watchOutput(limit)
		return
	}
	if l.finishing {
		if k.drained && l.tick-k.began > lingerTicks && k.unacked() == 0 {
			k.doom()
			return
		}
		k.watchOutput(lingerTicks)
		return
	}
	if len(k.conns) == 0 && l.tick-k.heard > ticks(setupLimit) {
		k.note(ReasonTimeout, nil)
		k.h2.GoAwayNow(h2.NoError, "no stream was opened", false)
		k.markDirty()
		k.doom()
		return
	}
	if o.KeepaliveTime < 0 {
		return
	}
	switch {
	case k.pings != 0 && k.heard >= k.pings:
		k.pings = 0 // any byte shows life
	case k.pings != 0 && l.tick-k.pings > ticks(o.KeepaliveTimeout):
		k.note(ReasonKeepalive, nil, "timeout", o.KeepaliveTimeout)
		k.silence()
	case k.pings == 0 && l.tick-k.heard >= ticks(o.KeepaliveTime):
		k.pings = l.tick
		k.h2.Ping()
		k.markDirty()
	}
}

// watchOutput gives up a socket that has taken nothing for limit slow ticks of what is still to be sent to it, when
// nothing but that keeps it.
func (k *socket) watchOutput(limit int64) {
	if done := k.taken(); done != k.mark {
		k.mark, k.idle = done, 0
		return
	}
	if k.drained && k.unacked() == 0 {
		return
	}
	k.idle++
	if k.idle >= limit {
		k.note(ReasonStalled, nil, "while", "it was about to be closed")
		k.silence()
	}
}

// setupLimit is how long a socket may live without any stream.
const setupLimit = 30 * time.Second

// ticks converts a duration into slow ticks, at least one.
func ticks(d time.Duration) int64 { return max(1, int64((d+slowTick-1)/slowTick)) }

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

// sendTrailers ends our side of the stream.
func (c *Conn) sendTrailers() {
	if c.trailed {
		return
	}
	c.trailed = true
	x := c.sock.outbox()
	x.b = c.sock.h2.Trailers(x.b, c.stream, c.status, c.message)
	c.sock.markDirty()
}

// leave is the end of a stream, orderly or not: nothing more can be sent on it.
func (c *Conn) leave() {
	if c.state == gone {
		return
	}
	defer c.forget() // even if a panic has left the table's side of c broken: others wait for their credit
	c.leaveTable()
}

// forget gives back what c holds and owes.
func (c *Conn) forget() {
	c.state = gone
	c.discard(ReasonGone)
	if c.q.stalled {
		c.q.stalled = false
		c.loop.n.stalls--
	}
	if c.gather != nil {
		c.gather.Release()
		c.gather = nil
	}
	if c.mac != nil {
		c.mac.Close()
		c.mac = nil
	}
	c.in, c.outm = inMemory{}, outMemory{}
}

// leaveTable takes c out of every match: when it returns (or, with very many subscriptions, soon after) nobody
// finds c any more, and whoever found it before sees it dead.
func (c *Conn) leaveTable() {
	if c.dead.Swap(true) {
		return
	}
	l := c.loop
	l.n.conns--
	if c.state != active {
		return
	}
	if c.kind == table.Peer {
		c.leavePeers()
		return
	}
	n := l.node
	n.atLeisure(n.names.Count(c), func() {
		lost := n.names.RemoveConn(c)
		if m := n.peerMesh(); m != nil {
			m.Lost(lost)
		}
	})
}

// drain announces the end to every socket of the loop; messages that are read from now on still go their way.
func (l *loop) drain() {
	l.ending = true
	for k := range l.live {
		k.drain()
	}
}

func (k *socket) drain() {
	k.h2.GoAwayNow(h2.NoError, "node is shutting down", true)
	k.markDirty()
}

// finishAll ends all connections behind what is queued for them. No other loop has messages under way.
func (l *loop) finishAll() {
	l.finishing = true
	for k := range l.live {
		k.h2.GoAwayNow(h2.NoError, "node is shutting down", false)
		k.markDirty()
		for _, c := range k.conns {
			c.finish()
		}
		k.checkDrained()
	}
	if len(l.live) == 0 {
		l.finishDrain()
	}
}

// checkDrained half-closes a socket whose streams have all ended on our side with everything sent.
func (k *socket) checkDrained() {
	if !k.loop.finishing || k.drained || k.gone || k.blocked || k.box != nil || k.dirty {
		return
	}
	for _, c := range k.conns {
		if !c.trailed && c.state != gone {
			return
		}
	}
	k.drained = true
	k.began = k.loop.tick
	_ = unix.Shutdown(k.fd, unix.SHUT_WR)
}

// finishDrain tells Shutdown that no socket of the loop is left.
func (l *loop) finishDrain() {
	if l.finishing && !l.reported {
		l.reported = true
		close(l.drained)
	}
}

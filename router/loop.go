package router

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/hop"
	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/router/transport"
	"github.com/seed31b3bfd0/slimgo/wire"
)

const (
	slowTick = time.Second
	ringSize = 4096 // events between two loops

	// turnBudget is how long a loop serves others before sockets have their turn again.
	turnBudget = time.Millisecond
	// lookEvery is how many receivers are served without a look at the clock.
	lookEvery = 64
)

// loop is the forwarding state of one event loop. Everything but its first lines is owned by it.
type loop struct {
	// Immutable after startLoops.
	node    *Node
	index   int
	net     *netloop.Loop
	port    *pool.Port[event]
	group   *transport.Group
	queued  *pool.Share // memory of what waits in queues
	hops    *hop.Scratch
	drained chan struct{} // closed when a finishing loop has no socket left

	rules   Rules                   // that hold now
	stamp   uint32                  // of rules.Authorization: counts the changes of it, from 1
	audits  audits                  // of what it decides
	live    []*Conn                 // whose stream is not over, see enlist
	trouble trouble                 // what operators are told of
	peersOn map[*transport.Peer]int // peer links of a socket, if any
	setup   []*Conn                 // negotiating, by deadline (one timeout for all, so appended in order)
	clock   stallClock              // of receivers that are to be looked at
	news    news                    // for peers
	targets []*Conn                 // scratch of match
	fanouts fanouts                 // fan-outs, and what waits behind them
	bundles bundles                 // for other loops
	asking  asking                  // negotiations that wait
	budget  budget                  // of this callback
	spared  []*pool.Holder          // queues that are not cut until the next tick
	events  [256]event              // taken from rings: [at:end] are not served yet
	at, end int
	batch   uint64 // counts what was taken from rings into events

	markedBatch uint64 // of markEvents
	left        bool   // something may be left in rings
	more        bool   // the group has more to do
	odd         bool   // who has the first turn
	ticks       int64  // slow ticks since the start
	n           counters

	// Scratch.
	msg      wire.Message      // of receive
	out      transport.Message // of put
	delivery delivery          // of publish
	small    []byte            // a message of the node's own
}

// event is what one loop tells another. One of:
//
//	to, buf    a message for one connection; one reference is handed over
//	buf        a message for everybody on the loop who matches; likewise
//	to         credit for a sender
//	bundle     messages for one connection each; it is handed over
type event struct {
	to     *Conn
	buf    *pool.Buf
	bundle *bundle
}

func (n *Node) startLoops() error {
	x := pool.NewExchange[event](ringSize)
	e, err := netloop.Start(netloop.Options{Loops: n.opt.Loops, ReadBuffer: n.opt.ReadBuffer, Tick: slowTick},
		func(nl *netloop.Loop) netloop.Owner { return n.addLoop(nl, x) })
	if err != nil {
		return fmt.Errorf("router: %w", err)
	}
	n.engine = e
	return nil
}

// addLoop makes the forwarding state of an event loop.
func (n *Node) addLoop(nl *netloop.Loop, x *pool.Exchange[event]) *loop {
	l := &loop{node: n, index: nl.Index(), net: nl, rules: n.opt.rules(), stamp: 1, drained: make(chan struct{}), peersOn: map[*transport.Peer]int{}}
	l.port = x.Join(nl.Station())
	l.bundles.to = make([]packing, n.opt.Loops)
	l.queued = n.queued.Join(func() { l.post(l.relieve) })
	l.group = transport.NewGroup(nl, n.transportOptions(), l)
	l.hops = hop.NewScratch(n.opt.hops(nl.Index()))
	l.clock.timer = nl.NewTimer()
	l.budget.now = time.Now
	n.loops = append(n.loops, l)
	return l
}

// post runs f on the loop. For cold work only.
func (l *loop) post(f func()) { l.net.Station().Post(f) }

// postFor runs f, which is done for c, on its loop.
func (c *Conn) postFor(f func()) {
	c.loop.post(func() {
		defer c.guard()
		f()
	})
}

// guard, deferred around what is done for c, is the boundary of its faults: a panic costs c its socket, and others
// nothing.
func (c *Conn) guard() {
	if r := recover(); r != nil {
		c.fault(r)
	}
}

// fault ends c, at whose fault something has panicked with r.
func (c *Conn) fault(r any) {
	c.loop.panicked(c.stream.Peer().Remote, r, debug.Stack())
	c.because("an internal error")
	c.stream.Abort()
}

// misdelivered settles the delivery of a message to c that has panicked with r. buf is the reference that was being
// handed over, nil if none was. It reports whether c's queue has not charged the sender.
func (c *Conn) misdelivered(r any, buf *pool.Buf) (settled bool) {
	c.fault(r)
	d := &c.loop.delivery
	if d.queued { // the reference is, or was, the queue's
		d.queued = false
		return !d.charged
	}
	if buf != nil {
		buf.Release()
	}
	c.loop.n.drop(ReasonGone)
	return true
}

// Turn implements netloop.Owner: what other loops have left, and what this one has left for later.
func (l *loop) Turn() {
	if l.clock.timer.Fired() {
		l.clock.begin()
	}
	l.look()
	l.answerSome()
	l.more = l.group.Turn()
	if l.odd = !l.odd; l.odd { // whoever comes first may use up the budget
		l.runLines()
		l.serveRings()
	} else {
		l.serveRings()
		l.runLines()
	}
}

// Batch implements netloop.Owner.
func (l *loop) Batch() {
	l.shipAll()
	l.port.Flush()
	l.group.Flush()
	l.show()
	l.budget.renew()
	l.asking.done = 0
	if l.asking.conns.len() > 0 || l.left || l.more || l.at < l.end || !l.fanouts.idle() || l.clock.looking {
		l.net.Station().Wake()
	}
	if len(l.clock.waiting) > 0 {
		l.clock.arm()
	}
}

// Tick implements netloop.Owner.
func (l *loop) Tick(now time.Time) {
	l.n.shown.ran.Store(int64(now.Sub(l.node.made)))
	l.ticks++
	l.trouble.tick()
	l.audits.tick()
	l.endSparing()
	l.bundles.tidy()
	l.net.Stock().Tick()
	l.expireSetups(now)
	if l.index == 0 {
		l.node.peerLog.limit.turn(now, l.node.log)
		l.node.guarded(l.node.tickPeers)
		l.node.relieve()
	}
	l.group.Tick(now)
	l.hops.Tick()
}

// Panicked implements netloop.Owner.
func (l *loop) Panicked(k *netloop.Socket, value any, stack []byte) {
	remote := "unknown"
	if k != nil {
		remote = k.Remote()
	}
	l.panicked(remote, value, stack)
}

// Idle implements transport.Acceptor.
func (l *loop) Idle() { close(l.drained) }

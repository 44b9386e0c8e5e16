package router

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire"
)

const (
	slowTick = time.Second          // keepalive, negotiation deadlines, flood budgets
	fastTick = 2 * time.Millisecond // while a queue of the loop is not empty

	ringSize   = 4096 // events between two loops; what does not fit spills and is charged
	floodRelax = 1000 // flood tokens given back to each socket a second
)

// loop is one event loop: a gnet client engine of a single loop, and all state of the sockets it serves.
type loop struct {
	gnet.BuiltinEventEngine

	// Immutable after startLoops.
	node   *Node
	index  int
	client *gnet.Client

	// Safe for all.
	sockets  atomic.Int64                       // enrolled or about to be
	signal   atomic.Bool                        // a wake byte is under way
	fastDue  atomic.Bool                        // the fast timer has fired
	slowDue  atomic.Bool                        // a second has passed
	waker    *waker                             // immutable after startLoops
	inbound  []atomic.Pointer[pool.Ring[event]] // by producing loop; made by the producer on first use
	drained  chan struct{}
	postedMu sync.Mutex
	posted   []task    // cold work for this loop; guarded by postedMu
	writable []*socket // blocked, and the kernel takes output again; guarded by postedMu

	// Owned by the loop.
	wakeConn  gnet.Conn
	stock     *pool.Local // buffers; any loop may release them
	live      map[*socket]struct{}
	setup     []*Conn      // negotiating, by deadline (one timeout for all, so appended in order)
	dirty     []*socket    // with output of this batch
	busy      bool         // inside a callback that ends with endBatch
	serving   *socket      // whom a panic is to be blamed on, in work that serves many
	fallen    []*socket    // closed by gnet, to be cleaned up at the end of the batch
	owned     int          // outboxes made with memory of their own
	doomed    []*socket    // to be closed at the end of the batch
	silenced  []*socket    // whose output has ended, to be settled at the end of the batch
	large     sent         // scratch: a header too long to be remembered
	boxes     []*outbox    // not in use
	waiting   []*Conn      // with a queue
	out       []outbound   // by target loop
	targets   []*Conn      // scratch of match
	msg       wire.Message // scratch of receive
	rest      []byte       // scratch: second part of a MAC preimage
	rest2     []byte       // scratch: that of a second one
	small     []byte       // scratch: envelope, opening, header of a message in pieces
	tag, tag2 [32]byte     // scratch: header MACs
	iov       []unix.Iovec
	events    [256]event // scratch of popping
	headerID  uint64     // last id given to a header or a pair of names; unique to the node by its low part
	tick      int64      // slow ticks since start
	lastFast  time.Time
	fast      *time.Timer // made by startLoops
	fastOn    bool
	ending    bool // GOAWAY is sent to every socket
	finishing bool // every connection ends behind its queue
	reported  bool // drained is closed
	n         counters
}

// outbound is the producer's side towards one other loop.
type outbound struct {
	ring  *pool.Ring[event]
	spill []event // what the ring had no room for, in order
	dirty bool    // pushed since the last wake
}

// event is what one loop tells another. Exactly one of its uses:
// a message for a connection (to, buf: one reference handed over), or credit for a sender (to alone).
type event struct {
	to  *Conn
	buf *pool.Buf
}

func (n *Node) startLoops() (err error) {
	if n.ready, err = openReadiness(); err != nil {
		return fmt.Errorf("router: %w", err)
	}
	n.watches.Go(func() { n.shielded("watching blocked sockets", n.ready.run) })
	for i := range n.opt.Loops {
		l := &loop{node: n, index: i, drained: make(chan struct{}), stock: pool.NewLocal(), live: map[*socket]struct{}{},
			inbound: make([]atomic.Pointer[pool.Ring[event]], n.opt.Loops),
			out:     make([]outbound, n.opt.Loops), headerID: uint64(i)}
		l.fast = time.AfterFunc(time.Hour, func() { l.fastDue.Store(true); l.wake() }) // cannot panic
		l.fast.Stop()
		cli, err := gnet.NewClient(l, gnet.WithNumEventLoop(1), gnet.WithReadBufferCap(n.opt.ReadBuffer),
			gnet.WithTCPNoDelay(gnet.TCPNoDelay), gnet.WithLogger(quietLogger{}))
		if err != nil {
			return fmt.Errorf("router: event loop %d: %w", i, err)
		}
		l.client = cli
		if err := cli.Start(); err != nil {
			return fmt.Errorf("router: event loop %d: %w", i, err)
		}
		n.loops = append(n.loops, l)
		if err := l.openWake(); err != nil {
			return fmt.Errorf("router: wake pipe of event loop %d: %w", i, err)
		}
	}
	return nil
}

func (n *Node) stopLoops() {
	for _, l := range n.loops {
		_ = l.client.Stop()
		l.closeDeaf()
		if l.waker != nil {
			l.waker.close()
		}
		l.fast.Stop()
	}
	if n.ready != nil {
		n.ready.stop()
		n.watches.Wait()
		n.ready.close()
	}
}

// closeDeaf closes the sockets that gnet does not have any more. The loop has stopped.
func (l *loop) closeDeaf() {
	for k := range l.live {
		if k.deaf {
			k.doom()
		}
	}
	l.endBatch()
}

// openWake makes the socket pair whose one end is a connection of the loop: a byte written to the other end
// runs wakeUp on the loop, without the allocations of gnet's own wake.
func (l *loop) openWake() error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fds[0]), "wake")
	c, err := net.FileConn(f)
	_ = f.Close()
	l.waker = &waker{fd: fds[1]}
	if err == nil {
		_, err = l.client.EnrollContext(c, nil)
	}
	return err
}

// wake makes the loop run wakeUp soon. Safe for all goroutines; one byte is under way at most.
func (l *loop) wake() {
	if !l.signal.Swap(true) {
		l.waker.wake()
	}
}

// post runs f on the loop. For cold work only.
func (l *loop) post(f func()) { l.postFor(nil, f) }

// post runs f, which serves c, on c's loop.
func (c *Conn) post(f func()) { c.loop.postFor(c.sock, f) }

func (l *loop) postFor(k *socket, f func()) {
	l.postedMu.Lock()
	l.posted = append(l.posted, task{k, f})
	l.postedMu.Unlock()
	l.wake()
}

// OnOpen implements gnet.EventHandler.
func (l *loop) OnOpen(gc gnet.Conn) ([]byte, gnet.Action) {
	k, ok := gc.Context().(*socket)
	if !ok {
		l.wakeConn = gc
		return nil, gnet.None
	}
	l.open(k, gc)
	if !l.busy {
		l.endBatch()
	}
	return nil, gnet.None
}

func (l *loop) open(k *socket, gc gnet.Conn) {
	defer l.boundary(k)
	k.open(gc)
}

// OnTraffic implements gnet.EventHandler: step 1 of the journey.
func (l *loop) OnTraffic(gc gnet.Conn) gnet.Action {
	p, _ := gc.Next(-1)
	k, ok := gc.Context().(*socket)
	if !ok {
		if gc == l.wakeConn {
			l.wakeUp()
		}
		return gnet.None
	}
	l.busy = true
	l.read(k, p)
	l.endBatch()
	l.busy = false
	if k.gone {
		return gnet.None
	}
	if k.closing {
		return gnet.Close
	}
	if len(p) < quickAckBelow && !k.prompt && !k.mute {
		_ = unix.SetsockoptInt(k.fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	}
	return gnet.None
}

// read gives a socket's engine what was read.
func (l *loop) read(k *socket, p []byte) {
	defer l.boundary(k)
	k.heard = l.tick
	if err := k.h2.Feed(p, k); err != nil {
		k.fail(err)
	}
	if len(k.h2.Control()) > 0 {
		k.markDirty()
	}
}

// quickAckBelow: a read shorter than this re-arms TCP_QUICKACK. Rust peers leave Nagle's algorithm on, so their
// next small write waits for our acknowledgement (dataplane.md section 9); in bulk the kernel acknowledges
// every second segment by itself, and the call would only cost. It costs a peer that is prompt a seventh of the CPU of a
// small exchange, for an acknowledgement that would have ridden on the answer.
const quickAckBelow = 8 << 10

// promptAgents begin the user agents of clients that turn Nagle's algorithm off.
var promptAgents = []string{"grpc-go/", "slimgo/", "slim-bench/"}

// prompt reports whether a client with this user agent sends what it has without waiting for an acknowledgement. Others may,
// too: a client that is not known to is acknowledged at once.
func prompt(userAgent string) bool {
	return slices.ContainsFunc(promptAgents, func(p string) bool { return strings.HasPrefix(userAgent, p) })
}

// OnClose implements gnet.EventHandler.
func (l *loop) OnClose(gc gnet.Conn, err error) gnet.Action {
	if k, ok := gc.Context().(*socket); ok {
		l.lost(k, err)
		if !l.busy {
			l.endBatch()
		}
	}
	return gnet.None
}

// lost ends a socket that gnet is about to close, if it has nothing left to say.
func (l *loop) lost(k *socket, err error) {
	over := true
	defer func() {
		if over {
			k.closed()
		}
	}()
	defer l.boundary(k)
	over = !k.outlive(err)
}

// wakeUp runs what others left for the loop: posted work, ring events, ticks.
func (l *loop) wakeUp() {
	l.busy = true
	l.signal.Store(false)
	l.postedMu.Lock()
	work, writable := l.posted, l.writable
	l.posted, l.writable = nil, nil
	l.postedMu.Unlock()
	for i := range work {
		l.run(&work[i])
	}
	if l.fastDue.Swap(false) {
		l.step((*loop).onFast)
	}
	if l.slowDue.Swap(false) {
		l.step((*loop).onSlow)
	}
	l.step((*loop).popRings)
	for _, k := range writable {
		l.resume(k)
	}
	l.endBatch()
	l.busy, l.serving = false, nil
}

// endBatch ends every callback of the loop: what was staged goes out, other loops learn of their events.
func (l *loop) endBatch() {
	for len(l.dirty)+len(l.silenced)+len(l.doomed)+len(l.fallen) > 0 {
		l.step((*loop).settleSockets)
	}
	l.step((*loop).tellLoops)
	if !l.fastOn && (len(l.waiting) > 0 || l.spilled()) {
		l.fastOn = true
		l.lastFast = time.Now()
		l.fast.Reset(fastTick)
	}
}

// tellLoops wakes the loops that have got events.
func (l *loop) tellLoops() {
	for i := range l.out {
		o := &l.out[i]
		if len(o.spill) > 0 {
			l.pushSpill(o)
		}
		if o.dirty {
			o.dirty = false
			l.node.loops[i].wake()
		}
	}
}

// settleSockets writes what is staged, closes what is doomed and ends what gnet has closed; each may lead to more.
// A socket is taken off its list before it is served, so that a panic leaves only the others there.
func (l *loop) settleSockets() {
	for len(l.dirty) > 0 {
		k := l.dirty[len(l.dirty)-1]
		l.dirty = l.dirty[:len(l.dirty)-1]
		k.dirty = false
		l.serving = k
		k.flush()
		if l.finishing {
			k.checkDrained()
		}
		k.afterwards()
	}
	for len(l.silenced) > 0 {
		k := l.silenced[len(l.silenced)-1]
		l.silenced = l.silenced[:len(l.silenced)-1]
		if l.serving = k; !k.gone {
			k.hush()
		}
	}
	for len(l.doomed) > 0 {
		k := l.doomed[len(l.doomed)-1]
		l.doomed = l.doomed[:len(l.doomed)-1]
		if l.serving = k; !k.gone {
			k.shut()
		}
	}
	for len(l.fallen) > 0 {
		k := l.fallen[len(l.fallen)-1]
		l.fallen = l.fallen[:len(l.fallen)-1]
		l.serving = k
		k.cleanUp()
	}
}

// underWay reports whether other loops have yet to take what this one gave them.
func (l *loop) underWay() bool {
	for i := range l.out {
		if r := l.out[i].ring; r != nil && r.Len() > 0 {
			return true
		}
	}
	return l.spilled()
}

func (l *loop) spilled() bool {
	for i := range l.out {
		if len(l.out[i].spill) > 0 {
			return true
		}
	}
	return false
}

// onFast is the fast tick: stall clocks run and full rings are looked at again.
func (l *loop) onFast() {
	l.fastOn = false
	now := time.Now()
	l.clockStalls(now.Sub(l.lastFast))
}

// onSlow is the tick of every second: deadlines of negotiation, keepalive, flood budgets.
func (l *loop) onSlow() {
	l.tick++
	l.step((*loop).expireSetups)
	if l.index == 0 {
		l.step(func(l *loop) { l.node.tickPeers() })
	}
	for k := range l.live {
		l.second(k)
	}
}

// second is the slow tick of one socket.
func (l *loop) second(k *socket) {
	defer l.boundary(k)
	k.h2.Relax(floodRelax)
	k.keepAlive()
}

// runTicks wakes every loop once a second until the node is done.
func (n *Node) runTicks() {
	t := time.NewTicker(slowTick)
	defer t.Stop()
	for {
		select {
		case <-n.done:
			return
		case <-t.C:
			for _, l := range n.loops {
				l.slowDue.Store(true)
				l.wake()
			}
		}
	}
}

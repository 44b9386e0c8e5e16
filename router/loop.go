package router

import (
	"fmt"
	"net"
	"os"
	"runtime/debug"
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
	fastTick = 2 * time.Millisecond // while a socket of the loop is blocked or a queue is not empty

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
	wakeFD   atomic.Int64                       // writing end of the wake socket pair; -1 when closed
	inbound  []atomic.Pointer[pool.Ring[event]] // by producing loop; made by the producer on first use
	drained  chan struct{}
	postedMu sync.Mutex
	posted   []func() // cold work for this loop; guarded by postedMu

	// Owned by the loop.
	wakeConn  gnet.Conn
	stock     *pool.Local // buffers; any loop may release them
	live      map[*socket]struct{}
	setup     []*Conn      // negotiating, by deadline (one timeout for all, so appended in order)
	dirty     []*socket    // with output of this batch
	busy      bool         // inside a callback that ends with endBatch
	serving   *socket      // whose output is being moved
	fallen    []*socket    // closed by gnet, to be cleaned up at the end of the batch
	owned     int          // outboxes made with memory of their own
	doomed    []*socket    // to be closed at the end of the batch
	large     sent         // scratch: a header too long to be remembered
	boxes     []*outbox    // not in use
	blocked   []*socket    // gnet holds output the kernel did not take
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

func (n *Node) startLoops() error {
	for i := range n.opt.Loops {
		l := &loop{node: n, index: i, drained: make(chan struct{}), stock: pool.NewLocal(), live: map[*socket]struct{}{},
			inbound: make([]atomic.Pointer[pool.Ring[event]], n.opt.Loops),
			out:     make([]outbound, n.opt.Loops), headerID: uint64(i)}
		l.wakeFD.Store(-1)
		l.fast = time.AfterFunc(time.Hour, func() { l.fastDue.Store(true); l.wake() })
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
		if fd := l.wakeFD.Swap(-1); fd >= 0 {
			_ = unix.Close(int(fd))
		}
		l.fast.Stop()
	}
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
	if err == nil {
		_, err = l.client.EnrollContext(c, nil)
	}
	if err != nil {
		_ = unix.Close(fds[1])
		return err
	}
	l.wakeFD.Store(int64(fds[1]))
	return nil
}

var wakeByte = []byte{1}

// wake makes the loop run wakeUp soon. Safe for all goroutines; one byte is under way at most.
func (l *loop) wake() {
	if l.signal.Swap(true) {
		return
	}
	if fd := l.wakeFD.Load(); fd >= 0 {
		_, _ = unix.Write(int(fd), wakeByte)
	}
}

// post runs f on the loop. For cold work only.
func (l *loop) post(f func()) {
	l.postedMu.Lock()
	l.posted = append(l.posted, f)
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
	k.open(gc)
	if !l.busy {
		l.endBatch()
	}
	return nil, gnet.None
}

// OnTraffic implements gnet.EventHandler: step 1 of the journey.
func (l *loop) OnTraffic(gc gnet.Conn) (action gnet.Action) {
	p, _ := gc.Next(-1)
	k, ok := gc.Context().(*socket)
	if !ok {
		if gc == l.wakeConn {
			l.wakeUp()
		}
		return gnet.None
	}
	l.busy = true
	defer func() {
		if r := recover(); r != nil {
			l.panicked(r, k)
			action = gnet.Close
		}
		l.busy = false
	}()
	k.heard = l.tick
	if err := k.h2.Feed(p, k); err != nil {
		k.fail(err)
	}
	if len(k.h2.Control()) > 0 {
		k.markDirty()
	}
	if n := len(l.blocked); n > 0 && n <= 4 {
		l.pollWaiting()
	}
	l.endBatch()
	if k.gone {
		return gnet.None
	}
	if k.closing {
		return gnet.Close
	}
	if len(p) < quickAckBelow && !k.prompt {
		_ = unix.SetsockoptInt(k.fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	}
	return gnet.None
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
func (l *loop) OnClose(gc gnet.Conn, _ error) gnet.Action {
	if k, ok := gc.Context().(*socket); ok {
		k.closed()
		if !l.busy {
			l.endBatch()
		}
	}
	return gnet.None
}

// panicked closes the socket whose processing broke an invariant, nil if it is not known; the node and its other
// sockets live on. What is staged goes out now: it may lie in memory that is borrowed from the current read.
func (l *loop) panicked(r any, k *socket) {
	l.n.panics++
	remote := "unknown"
	if k != nil {
		remote = k.remote()
		k.closing, k.mute = true, true
		k.dropOutbox()
		l.doomed = append(l.doomed, k)
	}
	l.node.log.Error("internal error while processing a connection: it is closed, please report this",
		"target", targetProcessing, "remote", remote, "error", fmt.Sprint(r), "stack", string(debug.Stack()))
	defer func() {
		if recover() == nil {
			return
		}
		for _, k := range l.dirty { // what cannot be written is given up
			k.dirty = false
			k.dropOutbox()
		}
		l.dirty = l.dirty[:0]
	}()
	l.endBatch()
}

// wakeUp runs what others left for the loop: posted work, ring events, ticks.
func (l *loop) wakeUp() {
	l.busy = true
	defer func() {
		if r := recover(); r != nil {
			l.panicked(r, l.serving)
		}
		l.busy, l.serving = false, nil
	}()
	l.signal.Store(false)
	l.postedMu.Lock()
	work := l.posted
	l.posted = nil
	l.postedMu.Unlock()
	for _, f := range work {
		f()
	}
	if l.fastDue.Swap(false) {
		l.onFast()
	}
	if l.slowDue.Swap(false) {
		l.onSlow()
	}
	l.popRings()
	l.pollWaiting()
	l.endBatch()
}

// endBatch ends every callback of the loop: what was staged goes out, other loops learn of their events.
func (l *loop) endBatch() {
	for len(l.dirty)+len(l.doomed)+len(l.fallen) > 0 {
		l.settleSockets()
	}
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
	if !l.fastOn && (len(l.blocked) > 0 || len(l.waiting) > 0 || l.spilled()) {
		l.fastOn = true
		l.lastFast = time.Now()
		l.fast.Reset(fastTick)
	}
}

// settleSockets writes what is staged, closes what is doomed and ends what gnet has closed; each may lead to more.
func (l *loop) settleSockets() {
	for len(l.dirty) > 0 {
		k := l.dirty[len(l.dirty)-1]
		l.dirty = l.dirty[:len(l.dirty)-1]
		k.dirty = false
		k.flush()
		if l.finishing {
			k.checkDrained()
		}
	}
	for len(l.doomed) > 0 {
		k := l.doomed[len(l.doomed)-1]
		l.doomed = l.doomed[:len(l.doomed)-1]
		if !k.gone {
			_ = k.gc.EventLoop().Close(k.gc)
		}
	}
	for len(l.fallen) > 0 {
		k := l.fallen[len(l.fallen)-1]
		l.fallen = l.fallen[:len(l.fallen)-1]
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

// pollWaiting serves sockets that can take output again. gnet tells nobody when a socket becomes writable, so
// the loop looks whenever it runs for another reason, and every fastTick while there is something to look at.
func (l *loop) pollWaiting() {
	for i := 0; i < len(l.blocked); {
		k := l.blocked[i]
		if k.gone || k.gc.OutboundBuffered() == 0 {
			k.blocked = false
			last := len(l.blocked) - 1
			l.blocked[i], l.blocked[last] = l.blocked[last], nil
			l.blocked = l.blocked[:last]
			if !k.gone {
				k.pump()
				if k.box != nil || len(k.h2.Control()) > 0 || l.finishing {
					k.markDirty()
				}
			}
			continue
		}
		i++
	}
}

// onFast is the fast tick: stall clocks run, blocked sockets and full rings are looked at again.
func (l *loop) onFast() {
	l.fastOn = false
	now := time.Now()
	l.clockStalls(now.Sub(l.lastFast))
}

// onSlow is the tick of every second: deadlines of negotiation, keepalive, flood budgets.
func (l *loop) onSlow() {
	l.tick++
	l.expireSetups()
	if l.index == 0 {
		l.node.tickPeers()
	}
	for k := range l.live {
		k.h2.Tick(l.tick)
		k.h2.Relax(floodRelax)
		k.keepAlive()
	}
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

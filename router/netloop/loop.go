package netloop

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/pool"
)

// Loop is one event loop.
type Loop struct {
	gnet.BuiltinEventEngine

	// Immutable after Start.
	engine  *Engine
	index   int
	manual  bool // no clock: timers never fire
	owner   Owner
	client  *gnet.Client
	station *pool.Station

	// Safe for all.
	sockets atomic.Int64 // live or about to be
	tickDue atomic.Bool
	waker   atomic.Pointer[waker] // nil before the start
	readyMu sync.Mutex
	ready   []*Socket // can be written again; guarded by readyMu

	// Owned by the loop.
	stock    *pool.Local
	wakeConn gnet.Conn
	live     map[*Socket]struct{}
	dirty    []*Socket // to be flushed at the end of the batch
	silenced []*Socket // whose output has ended: Handler.Muted is due at the end of the batch
	toClose  []*Socket // to be closed at the end of the batch
	closed   []*Socket // gnet has closed them: Handler.Closed is due at the end of the batch
	running  []*Socket // scratch of serveReady
	readable []*Socket // of these, those that we read ourselves
	buffer   []byte    // of these reads; nil before the first
	early    []*Socket // with TLS, to be read once at the start: their handshakes may have read too much
	plain    []byte    // what TLS has opened, lent to a handler; nil before the first
	sealed   []byte    // scratch of flushSealed: records, empty
	record   []byte    // scratch of flushSealed: what becomes one record, empty
	boxes    []*Outbox // not in use
	owned    int       // outboxes made with memory of their own
	blocked  int       // sockets that wait for the kernel
	marked   []*Socket // had unread input at the last MarkInput, and may have some of it still
	iov      []unix.Iovec
	inside   bool    // in a callback that ends with a batch
	serving  *Socket // to be closed if a panic comes
}

func (e *Engine) startLoop(i int, owner func(*Loop) Owner) (*Loop, error) {
	l := &Loop{engine: e, index: i, stock: pool.NewLocal(), live: map[*Socket]struct{}{}}
	l.station = pool.NewStation(l.wake)
	l.owner = owner(l)
	cli, err := gnet.NewClient(l, gnet.WithNumEventLoop(1), gnet.WithReadBufferCap(e.opt.ReadBuffer),
		gnet.WithTCPNoDelay(gnet.TCPNoDelay), gnet.WithLogger(quietLogger{}))
	if err != nil {
		return nil, err
	}
	l.client = cli
	if err := cli.Start(); err != nil {
		return nil, err
	}
	if err := l.openWake(); err != nil {
		return l, fmt.Errorf("wake pipe: %w", err)
	}
	return l, nil
}

// stop ends the loop: gnet closes its sockets, and with them OnClose runs for each.
func (l *Loop) stop() {
	_ = l.client.Stop()
	for k := range l.live { // those that outlive gnet's; the loop's goroutine is gone, all is ours
		k.Close()
	}
	l.inside = true
	for !l.endBatch() {
	}
	if w := l.waker.Load(); w != nil {
		w.close()
	}
}

// Index is the loop's place in Engine.Loops.
func (l *Loop) Index() int { return l.index }

// Station is how others reach the loop: Wake and Post.
func (l *Loop) Station() *pool.Station { return l.station }

// Stock is where the loop takes buffers from. Owned by the loop; what comes from it may be released by anyone.
func (l *Loop) Stock() *pool.Local { return l.stock }

// Sockets returns how many sockets the loop has or is about to have. Safe for all.
func (l *Loop) Sockets() int { return int(l.sockets.Load()) }

// Blocked returns how many sockets wait for the kernel to take what it did not. On the loop only.
func (l *Loop) Blocked() int { return l.blocked }

// Each calls f for every live socket. On the loop only; f may close sockets.
func (l *Loop) Each(f func(*Socket)) {
	for k := range l.live {
		f(k)
	}
}

// Serve says that what follows is done for k: a panic costs k. nil: for the socket whose callback runs, if any.
func (l *Loop) Serve(k *Socket) { l.serving = k }

// Serving returns what Serve was told last in this callback.
func (l *Loop) Serving() *Socket { return l.serving }

// OnOpen implements gnet.EventHandler.
func (l *Loop) OnOpen(gc gnet.Conn) ([]byte, gnet.Action) {
	k, ok := gc.Context().(*Socket)
	if !ok {
		l.wakeConn = gc
		return nil, gnet.None
	}
	nested := l.enter(k)
	defer l.leave(k, nested)
	k.gc, k.fd = gc, gc.Fd()
	if isUnix(k.fd) {
		k.backlog = new(backlog)
		k.remote = peerOf(k.fd)
	} else if a := gc.RemoteAddr(); a != nil {
		k.remote = a.String() // now: gnet uses the memory of a zone again
	}
	l.live[k] = struct{}{}
	k.handler.Opened(k)
	if k.tls != nil { // on a turn, since it takes several batches
		l.early = append(l.early, k)
		l.station.Wake()
	}
	return nil, gnet.None
}

// OnTraffic implements gnet.EventHandler. What gnet lends is good until it returns.
func (l *Loop) OnTraffic(gc gnet.Conn) gnet.Action {
	p, _ := gc.Next(-1)
	k, ok := gc.Context().(*Socket)
	if !ok {
		if gc == l.wakeConn {
			l.turn()
		}
		return gnet.None
	}
	l.read(k, p)
	if k.closing && !k.closedByGnet {
		return gnet.Close
	}
	return gnet.None
}

func (l *Loop) read(k *Socket, p []byte) {
	if k.tls != nil && len(p) > 0 && !k.dead {
		k.tls.take(p)
	}
	if k.tls != nil {
		for l.unseal(k) {
		}
		k.tls.in = nil
	}
	nested := l.enter(k)
	defer l.leave(k, nested)
	k.got += uint64(len(p))
	if !k.closing && k.tls == nil {
		k.handler.Read(p)
	}
	if len(p) < quickAckBelow && k.QuickAck && !k.muted && k.backlog == nil {
		_ = unix.SetsockoptInt(k.fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	}
}

// quickAckBelow: a read shorter than this re-arms TCP_QUICKACK where Socket.QuickAck asks for it. In bulk the kernel
// acknowledges every second segment by itself, and the call would only cost.
const quickAckBelow = 8 << 10

// OnClose implements gnet.EventHandler: the descriptor is about to be closed. A peer that has only ended its own
// direction may still read; then a duplicate of the descriptor carries on.
func (l *Loop) OnClose(gc gnet.Conn, err error) gnet.Action {
	k, ok := gc.Context().(*Socket)
	if ok && !k.closedByGnet {
		k.closedByGnet = true
		l.inputEnds(k, err)
	}
	return gnet.None
}

func (l *Loop) hangup(k *Socket, err error) {
	nested := l.enter(k)
	defer l.leave(k, nested)
	k.closedByGnet = true
	lives := false
	defer func() {
		if !lives { // a panic included: gnet closes the descriptor anyway
			k.die(err)
		}
	}()
	if errors.Is(err, io.EOF) && !k.closing && !k.muted && k.handler.Ended() {
		k.Flush() // most have little to say: they need no descriptor of their own for it
		lives = !k.closing && !k.muted && k.outlive()
	}
	if !lives {
		k.sayLast(err)
	}
}

// enter begins a callback for k. It reports whether another callback is running: gnet closes sockets inside writes.
func (l *Loop) enter(k *Socket) (nested bool) {
	nested = l.inside
	l.inside = true
	if !nested {
		l.serving = k
	}
	return nested
}

// leave ends a callback of k: its panic, if there is one, costs the socket that was served; then the batch ends.
func (l *Loop) leave(k *Socket, nested bool) {
	if r := recover(); r != nil {
		l.panicked(k, r)
	}
	if nested {
		return
	}
	for !l.endBatch() {
	}
	l.inside, l.serving = false, nil
}

// Guard, deferred around what is done for k, is the boundary of its faults: a panic costs k, and nobody else. k may be
// nil.
func (l *Loop) Guard(k *Socket) {
	r := recover()
	if r == nil {
		return
	}
	stack := debug.Stack()
	if k != nil {
		k.abort()
	}
	l.owner.Panicked(k, r, stack)
}

// panicked closes whom the panic r belongs to. k is the socket whose callback runs: its engine stopped midway.
func (l *Loop) panicked(k *Socket, r any) {
	stack := debug.Stack()
	if s := l.serving; s != nil && s != k {
		s.abort()
	}
	if k != nil {
		k.abort()
	}
	l.owner.Panicked(k, r, stack)
}

// turn runs what others left for the loop: posted work, the sockets that are ready, the tick, and the owner's rings.
func (l *Loop) turn() {
	l.beginTurn()
	l.readReady() // each read is a batch of its own, since what it lends is good until the next
	l.readEarly()
}

func (l *Loop) beginTurn() {
	l.inside, l.serving = true, nil
	defer l.leave(nil, false)
	defer l.owner.Turn()
	defer l.tick()
	defer l.writeReady()
	l.station.Begin()
}

func (l *Loop) tick() {
	if l.tickDue.Swap(false) {
		l.owner.Tick(time.Now())
	}
}

// endBatch writes what is staged, closes what is to be closed, and tells handlers of the closed; each may lead to
// more. It reports false if the panic of a socket interrupted it: call it again.
func (l *Loop) endBatch() (done bool) {
	defer func() {
		if r := recover(); r != nil {
			done = l.serving == nil // it was the owner's: again would be for ever
			l.panicked(l.serving, r)
		}
	}()
	for len(l.dirty)+len(l.silenced)+len(l.toClose)+len(l.closed) > 0 {
		l.settle()
	}
	l.serving = nil
	l.owner.Batch()
	return true
}

func (l *Loop) settle() {
	for len(l.dirty) > 0 {
		k := pop(&l.dirty)
		l.serving = k
		k.flush(true)
	}
	for len(l.silenced) > 0 {
		k := pop(&l.silenced)
		l.serving = k
		k.hush()
	}
	for len(l.toClose) > 0 {
		k := pop(&l.toClose)
		l.serving = k
		k.shut()
	}
	for len(l.closed) > 0 {
		k := pop(&l.closed)
		l.serving = k
		k.bury()
	}
}

func pop(list *[]*Socket) *Socket {
	n := len(*list) - 1
	k := (*list)[n]
	(*list)[n] = nil
	*list = (*list)[:n]
	return k
}

// openWake makes the socket pair whose one end is a connection of the loop: a byte written to the other end runs turn
// on the loop, without the allocations of gnet's own wake.
func (l *Loop) openWake() error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	c, err := fileConn(fds[0], "wake")
	if err == nil {
		_, err = l.client.EnrollContext(c, nil)
	}
	if err != nil {
		_ = unix.Close(fds[1])
		return err
	}
	l.waker.Store(&waker{fd: fds[1]})
	return nil
}

// wake makes the loop turn. After the loop has stopped it does nothing.
func (l *Loop) wake() { l.waker.Load().wake() }

// Enrol gives the loop a connected socket; c is closed, since gnet works on a duplicate. h hears Opened on the loop. An
// error leaves nothing behind. Safe for all but the loop itself.
func (l *Loop) Enrol(c net.Conn, h Handler) error { return l.enrol(c, &Socket{loop: l, handler: h}) }

func (l *Loop) enrol(c net.Conn, k *Socket) error {
	if !l.engine.begin() {
		_ = c.Close()
		return net.ErrClosed
	}
	defer l.engine.workers.Done()
	l.sockets.Add(1)
	_, err := l.client.EnrollContext(c, k)
	if err == nil && k.gc == nil {
		err = errNotWatched
	}
	if err != nil {
		l.sockets.Add(-1)
	}
	return err
}

package uplink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// LocalNode is a node in the same process: a *router.Node.
type LocalNode interface {
	// Attach connects an app, which operators see under this name, to the other end of end. An error that is a net.ErrClosed means
	// that the node takes nobody any more, and never will.
	Attach(ctx context.Context, app string, end *pool.Duplex) error
	// Loops is how many event loops the node has.
	Loops() int
}

// LocalOptions are those of a connection to a node in the same process.
type LocalOptions struct {
	// App is what the node's operators see.
	App string
	// Handle takes the messages that have come, as Options.Handle does; not nil.
	Handle func(msgs [][]byte)
}

// Local is a connection to a node in the same process: pipes of counted buffers take the place of a socket, and nothing is
// negotiated or signed. All methods are safe for all.
//
//	app ──Send──▶ pipe ──▶ node's loop ──▶ pipe ──▶ reader ──▶ Handle
//
// It has one goroutine, the reader.
type Local struct {
	o    LocalOptions
	end  *pool.Duplex
	done chan struct{}
	some chan struct{} // wakes the reader
	room chan struct{} // wakes one of those who wait in Send
	n    counters

	// The reader's.
	bufs   [localBatch]*pool.Buf
	handed [][]byte

	sending sync.Mutex // guards end.Out, of which one at a time is the putter

	closing atomic.Bool // Close or Abort was called, or it is over: nothing more is accepted. Set with mu held

	mu       sync.Mutex
	err      error
	clean    bool // it is over because Close was called, and the node has taken everything
	requests requests
	waiting  int // calls of Send that wait for room
}

// What may be under way is as much as for other connections: a node's window, and ours.
const (
	upBufs     = 1024 // messages
	upWindow   = 1 << 20
	downBufs   = 2048
	downWindow = streamWindow
	localBatch = 64 // messages that go to Handle at once
	localAddr  = "in process"
)

// Attach connects to a node in the same process and returns when messages may be sent. ctx bounds that, and nothing after. An *Error
// that is an ErrOver is the same every time.
func Attach(ctx context.Context, n LocalNode, o *LocalOptions) (*Local, error) {
	c := &Local{o: *o, done: make(chan struct{}), some: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	c.end = &pool.Duplex{In: pool.NewPipe(downBufs, downWindow), Out: pool.NewPipe(upBufs, upWindow)}
	c.end.OnWake(func() { wake(c.some) }, func() { wake(c.room) })
	if err := n.Attach(ctx, o.App, c.end.Other()); err != nil {
		c.end.In.Shut() // should it attach after all
		c.end.Out.End(0, "")
		if errors.Is(err, net.ErrClosed) {
			err = ErrOver
		}
		return nil, &Error{Fault: Node, Doing: connecting, Addr: localAddr, Err: err}
	}
	go c.read()
	return c, nil
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// TrySend queues a message and returns when it is accepted: Close will not lose it, nor the end of the node. msg is borrowed until
// return. Errors: ErrFull; ErrTooLarge; ErrClosed; ErrDown, while the node stops; why the connection has ended. Nothing was sent
// then. It may be called from Handle.
func (c *Local) TrySend(msg []byte) error {
	if len(msg) > MaxMessage {
		return ErrTooLarge
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.closing.Load() {
		return c.over()
	}
	out, err := c.end.Out, ErrFull
	open := out.Enter()
	if open && out.Room() > 0 {
		b := pool.Get(len(msg))
		b.B = append(b.B, msg...)
		out.Put(b)
		err = nil
	}
	open = out.Leave() && open
	switch {
	case err == nil:
		out.Signal()
	case !open:
		return ErrDown
	}
	return err
}

// over returns why nothing is accepted any more.
func (c *Local) over() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return c.err
	case c.closing.Load():
		return ErrClosed
	}
	return nil
}

// Send is TrySend, but waits where that says ErrFull.
func (c *Local) Send(ctx context.Context, msg []byte) error {
	return c.whileFull(ctx, func() error { return c.TrySend(msg) })
}

// Await waits until TrySend takes a message. What it has taken is the node's: it lies in memory that the two share, and the node reads it
// as fast as it can.
func (c *Local) Await(ctx context.Context, _ int) error { return c.whileFull(ctx, c.tryRoom) }

// tryRoom reports whether TrySend would take a message.
func (c *Local) tryRoom() error {
	c.sending.Lock()
	defer c.sending.Unlock()
	switch out := c.end.Out; {
	case c.closing.Load():
		return c.over()
	case out.IsShut():
		return ErrDown
	case out.Room() == 0:
		return ErrFull
	}
	return nil
}

// whileFull tries until the error is not ErrFull.
func (c *Local) whileFull(ctx context.Context, try func() error) error {
	err := try()
	if err != ErrFull {
		return err
	}
	c.mu.Lock()
	c.waiting++
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.waiting--
		others := c.waiting > 0
		c.mu.Unlock()
		if others { // one was woken for all
			wake(c.room)
		}
	}()
	for ; err == ErrFull; err = try() {
		select {
		case <-c.room:
		case <-c.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// Request is that of a Conn.
func (c *Local) Request(ctx context.Context, k wire.Kind, h *wire.PublishHeader, id uint64) (*Request, error) {
	return request(ctx, c, k, h, id)
}

// Subscribe is that of a Conn.
func (c *Local) Subscribe(ctx context.Context, h *wire.PublishHeader) (id uint64, err error) {
	return askFor(ctx, c, h)
}

// Unsubscribe is that of a Conn.
func (c *Local) Unsubscribe(ctx context.Context, h *wire.PublishHeader, id uint64) error {
	return giveUp(ctx, c, h, id)
}

// expect implements requester.
func (c *Local) expect(r *Request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return c.err
	case c.closing.Load():
		return ErrClosed
	}
	return c.requests.add(r)
}

// forget implements requester.
func (c *Local) forget(r *Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests.remove(r)
}

// Done is closed when the connection has ended and nothing of it runs any more.
func (c *Local) Done() <-chan struct{} { return c.done }

// Err returns why the connection has ended: ErrClosed after Close and Abort, else an *Error. nil while it lives.
func (c *Local) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Stats returns the counts. Safe at any time.
func (c *Local) Stats() Stats { return c.n.stats() }

// Close ends the connection in order: it accepts nothing more, and waits until the node has taken what was accepted. nil means
// just that; else the error wraps ErrUnsent, and what ended the connection. When ctx ends, so does the connection. Messages
// that arrive meanwhile are dropped and counted. Not from Handle.
func (c *Local) Close(ctx context.Context) error {
	c.stop()
	select {
	case <-c.done:
	case <-ctx.Done():
		c.Abort()
		<-c.done
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clean {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnsent, c.err)
}

// stop accepts nothing more, and tells the node so.
func (c *Local) stop() {
	c.mu.Lock()
	c.closing.Store(true)
	c.mu.Unlock()
	c.sending.Lock()
	defer c.sending.Unlock()
	c.end.Out.End(0, "")
}

// Abort ends the connection at once, and does not wait: Done tells when nothing runs any more.
func (c *Local) Abort() {
	c.end.In.Shut()
	c.stop()
}

// read is the reader.
func (c *Local) read() {
	in := c.end.In
	for {
		n := in.Take(c.bufs[:], in.Window()/8)
		switch {
		case n > 0:
			c.deliver(c.bufs[:n])
		case in.Drained():
			if _, _, over := in.Ended(); over {
				c.finish()
				return
			}
			fallthrough // after Abort: the node has yet to see it
		default:
			if in.Rest() {
				<-c.some
			}
		}
	}
}

// deliver hands on the messages of a batch, and lets the node put as much again.
func (c *Local) deliver(bufs []*pool.Buf) {
	taken, bytes := 0, 0
	discard := c.closing.Load()
	for _, b := range bufs {
		taken += len(b.B)
		var m wire.Message
		switch {
		case wire.Scan(b.B, &m) != nil:
			c.n.invalid.Add(1)
		case m.Kind == wire.KindAck:
			c.ack(b.B, &m)
		case m.Kind != wire.KindPublish:
			c.n.ignored.Add(1)
		case discard:
			c.n.discarded.Add(1)
		default:
			bytes += len(b.B)
			c.handed = append(c.handed, b.B)
		}
	}
	if n := len(c.handed); n > 0 {
		c.n.received(n, bytes)
		c.o.Handle(c.handed)
		clear(c.handed)
		c.handed = c.handed[:0]
	}
	for i, b := range bufs {
		bufs[i] = nil
		b.Release()
	}
	c.end.In.Return(taken)
}

// ack takes a SubscriptionAck.
func (c *Local) ack(msg []byte, m *wire.Message) {
	id, ok, reason, err := wire.ParseAck(msg, m)
	if err != nil {
		c.n.invalid.Add(1)
		return
	}
	c.mu.Lock()
	r := c.requests.take(id)
	c.mu.Unlock()
	if r == nil {
		c.n.ignored.Add(1)
		return
	}
	r.answer(ok, reason)
}

// finish is the end of the connection: the node has ended its side.
func (c *Local) finish() {
	status, text, _ := c.end.In.Ended()
	c.mu.Lock()
	switch {
	case c.closing.Load():
		c.err, c.clean = ErrClosed, status == 0
	case status == 0:
		c.err = &Error{Fault: Node, Doing: "reading", Addr: localAddr, Err: ErrEnded}
	default:
		c.err = &Error{Fault: Node, Doing: "reading", Addr: localAddr, Err: &StatusError{HTTP: 200, GRPC: status, Message: cut(text)}}
	}
	c.closing.Store(true)
	c.requests.fail(c.err)
	c.mu.Unlock()
	c.end.In.Shut()
	c.stop()
	close(c.done)
}

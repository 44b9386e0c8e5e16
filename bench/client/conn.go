package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
	"github.com/seed31b3bfd0/slimgo/wire/link"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

const (
	prefixLen  = 5         // gRPC: flag, big-endian length
	maxWaiting = 512 << 10 // bytes that may wait while another goroutine writes
)

// Conn is one connection: one stream on one socket.
//
// mu guards the engine and what is to be written; whoever finds something to write and nobody writing, writes it, without
// holding mu. Bytes leave in the order in which the engine made them.
type Conn struct {
	nc       *load.Socket
	sink     load.Sink
	throttle *load.Throttle
	linkID   string
	stream   *h2.Stream

	ready  chan struct{} // closed when the link is negotiated; key is set before
	closed chan struct{} // closed after err is set
	gone   chan struct{} // closed when the reading goroutine has ended
	key    []byte

	// Reading goroutine.
	in       []byte
	gathered []byte // a message that spans reads
	verifier *mac.MAC
	verified bool // the first publish had a good MAC
	machine  *link.Machine
	greeting []byte // what the peer said first; others read it when the goroutine has ended
	opened   bool   // the channel was

	mu      sync.Mutex
	changed sync.Cond // window, out, acks or err
	h2      h2.Conn
	out     []byte
	spare   []byte
	writing bool
	err     error
	waited  int64 // for the node's window, ns
	acks    acks

	answers int // requests that have come back; of blind connections
}

// Err implements load.Conn.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close implements load.Conn: abrupt, as of an app that dies.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail(net.ErrClosed)
	return nil
}

// Pace implements load.Conn.
func (c *Conn) Pace(bytesPerSecond int) { c.throttle.Set(bytesPerSecond) }

// fail ends the connection. mu is held.
func (c *Conn) fail(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	close(c.closed)
	_ = c.nc.Close()
	c.changed.Broadcast()
}

// takeControl moves what the engine wants written behind what is already there. mu is held.
func (c *Conn) takeControl() {
	if ctl := c.h2.Control(); len(ctl) > 0 {
		c.h2.Cut()
		c.out = append(c.out, ctl...)
		c.h2.ControlDone()
	}
}

// flush writes until nothing is left, unless another goroutine is at it. mu is held, and given up while writing.
func (c *Conn) flush() {
	if c.writing {
		return
	}
	c.writing = true
	for len(c.out) > 0 && c.err == nil {
		b := c.out
		c.out, c.spare = c.spare[:0], nil
		c.h2.Cut()
		c.mu.Unlock()
		_, err := c.nc.Write(b)
		c.mu.Lock()
		c.spare = b[:0]
		if err != nil {
			c.fail(err)
		}
		c.changed.Broadcast()
	}
	c.writing = false
}

// send puts gRPC-framed messages onto the stream as its window allows and returns when they are written or, while
// another goroutine writes, queued.
func (c *Conn) send(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(b) > 0 && c.err == nil {
		var k int
		c.out, k = c.h2.Data(c.out, c.stream, len(b))
		if k > 0 {
			c.out = append(c.out, b[:k]...)
			b = b[k:]
			continue
		}
		if c.flush(); c.stream.Window() == 0 && c.err == nil {
			c.standBy()
		}
	}
	c.flush()
	for c.writing && len(c.out) > maxWaiting && c.err == nil {
		c.standBy()
	}
	return c.err
}

// standBy waits until something has changed, and counts the time. mu is held, and given up while waiting.
func (c *Conn) standBy() {
	at := load.Now()
	c.changed.Wait()
	c.waited += load.Now() - at
}

// Waited returns how long sending has waited for windows and sockets, in nanoseconds.
func (c *Conn) Waited() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waited + c.nc.Waited()
}

// read runs until the connection ends.
func (c *Conn) read() {
	defer close(c.gone)
	for {
		n := c.throttle.Allow(len(c.in), c.closed)
		if n == 0 {
			return
		}
		n, err := c.nc.Read(c.in[:n])
		if n > 0 {
			c.hear(c.in[:n])
			c.feed(c.in[:n])
		}
		if err != nil {
			c.mu.Lock()
			c.fail(fmt.Errorf("node closed the socket: %w", err))
			c.h2.Close((*events)(c))
			c.mu.Unlock()
			return
		}
	}
}

// feed gives the engine what one read brought.
func (c *Conn) feed(b []byte) {
	if c.sink != nil {
		c.sink.Begin(load.Now())
	}
	c.mu.Lock()
	err := c.h2.Feed(b, (*events)(c))
	c.takeControl()
	if len(c.out) > 0 {
		c.flush()
	}
	if err != nil {
		c.fail(err)
	}
	c.mu.Unlock()
	if c.sink != nil {
		c.sink.Flush()
	}
}

// events is the engine's view of Conn. All methods run inside Feed, so mu is held.
type events Conn

func (e *events) Request(*h2.Stream, *h2.Request) {}
func (e *events) Pong()                           {}
func (e *events) Closed(*h2.Stream)               {}

func (e *events) Response(_ *h2.Stream, r *h2.Response) {
	c := (*Conn)(e)
	if r.Status != 200 || r.EndStream {
		c.fail(refusal(r))
		return
	}
	c.opened = true
	if c.machine == nil { // a blind connection
		close(c.ready)
		return
	}
	b, err := c.machine.Start(make([]byte, prefixLen))
	if err != nil {
		c.fail(err)
		return
	}
	putPrefix(b)
	for len(b) > 0 {
		var k int
		if c.out, k = c.h2.Data(c.out, c.stream, len(b)); k == 0 {
			c.fail(errors.New("node's window is too small to negotiate"))
			return
		}
		c.out = append(c.out, b[:k]...)
		b = b[k:]
	}
}

const (
	tagPublish = 3<<3 | 2 // Message.publish
	tagAck     = 6<<3 | 2 // Message.subscription_ack
)

func (e *events) Message(_ *h2.Stream, msg []byte, _ bool) {
	c := (*Conn)(e)
	switch {
	case c.machine != nil:
		c.negotiated(msg)
	case len(msg) > 0 && msg[0] == tagPublish:
		if !c.verified {
			c.verify(msg)
		}
		if c.sink != nil {
			c.sink.Deliver(msg)
		}
	case len(msg) > 0 && msg[0] == tagAck:
		c.ack(msg)
	case c.verifier == nil:
		c.answers++
		c.changed.Broadcast()
	}
}

func (e *events) Grow(_ *h2.Stream, have []byte, n int) []byte {
	if cap(e.gathered) < n {
		e.gathered = make([]byte, 0, n)
	}
	return append(e.gathered[:0], have...)
}

func (e *events) Ended(_ *h2.Stream, end *h2.End) {
	(*Conn)(e).fail(fmt.Errorf("node ended the channel: %v, %v, gRPC %d %s", end.Kind, end.Code, end.GRPCStatus, end.Message))
}

func (e *events) Writable(*h2.Stream) { e.changed.Broadcast() }

func (e *events) GoAway(_ uint32, code h2.ErrCode, debug []byte) {
	(*Conn)(e).fail(fmt.Errorf("node said goodbye: %v %s", code, debug))
}

// verify checks the header MAC of the first message that arrives: a node that signs wrongly is no result.
func (c *Conn) verify(msg []byte) {
	var m wire.Message
	var h wire.Header
	if err := wire.Scan(msg, &m); err != nil {
		c.fail(err)
		return
	}
	head := m.Header.Of(msg)
	if err := wire.ParseHeader(head, &h); err != nil {
		c.fail(err)
		return
	}
	var names mac.Names
	c.verifier.Names(&names, mac.AppendNames(nil, c.linkID, head, &h))
	if !h.HasMAC || !c.verifier.Verify(h.MAC.Of(head), &names, mac.AppendRest(nil, head, &h, h.TTL, false)) {
		c.fail(errors.New("node sent a header with a wrong MAC"))
		return
	}
	c.verified = true
}

// putPrefix fills the first five bytes of b for the message behind them.
func putPrefix(b []byte) {
	b[0] = 0
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-prefixLen))
}

// wait blocks until cond is true, the connection ends or ctx does. mu is held, and given up while waiting.
func (c *Conn) wait(ctx context.Context, cond func() bool) error {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})
	defer stop()
	for !cond() {
		if c.err != nil {
			return c.err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		c.changed.Wait()
	}
	return nil
}

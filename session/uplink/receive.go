package uplink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// ackTag begins a SubscriptionAck that nothing precedes: Message.subscription_ack.
const ackTag = 6<<3 | 2

// Receive returns the next message, borrowed until the next call. One goroutine at a time calls it, on a connection
// without Options.Handle. When the connection has ended, what came before is returned first, then Err.
func (c *Conn) Receive(ctx context.Context) ([]byte, error) {
	for {
		msg, taken := c.inbox.pop(c.o.Window / 8)
		if taken > 0 {
			c.give(taken)
		}
		if msg != nil {
			return msg, nil
		}
		select {
		case <-c.inbox.some:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.done:
			if msg, _ := c.inbox.pop(0); msg != nil {
				return msg, nil
			}
			return nil, c.Err()
		}
	}
}

// give lets the node send n more bytes of messages.
func (c *Conn) give(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.f.taken(n)
		c.less.Signal()
		c.tell()
	}
}

// tell has the writer write what the framing wants said. mu is held.
func (c *Conn) tell() {
	if c.answer(); len(c.out) > 0 {
		c.work.Signal()
	}
}

const mostAnswers = 256 << 10 // bytes of control that may wait for a write

var errUnread = errors.New("the node asks for answers and does not read them")

// answer moves to out what the framing wants said. mu is held.
func (c *Conn) answer() {
	if c.err != nil {
		return
	}
	before := len(c.out)
	c.out = c.f.control(c.out)
	if c.unwell != nil {
		c.out = c.out[:0] // nobody hears it
		return
	}
	if c.answers += len(c.out) - before; c.answers > mostAnswers {
		c.fail(Node, errUnread)
	}
}

// read is the reader.
func (c *Conn) read() {
	defer c.leave()
	buf := make([]byte, c.o.ReadBuffer)
	for {
		if c.web {
			c.awaitRoom()
		}
		n, err := c.nc.Read(buf)
		if room := saidSize - len(c.said); room > 0 {
			c.said = append(c.said, buf[:min(n, room)]...)
		}
		if n > 0 && !c.take(buf[:n]) {
			break
		}
		if err != nil {
			c.mu.Lock()
			c.lost(err)
			c.mu.Unlock()
			break
		}
	}
}

// awaitRoom holds a node without windows until the app has taken messages.
func (c *Conn) awaitRoom() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.f.full() && !c.closing && c.err == nil {
		c.less.Wait()
	}
	c.beats.heard = true // what it has said meanwhile was not read
}

// take takes what one read brought; false: the connection is over.
func (c *Conn) take(p []byte) bool {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return false
	}
	c.beats.heard = true
	c.in.reset()
	broken := c.f.feed(p, &c.in)
	c.tell()
	if c.in.room && c.sent < len(c.pending) {
		c.work.Signal()
	}
	if c.unwell != nil {
		_ = c.nc.SetReadDeadline(time.Now().Add(lastRead))
	}
	closing := c.closing
	c.mu.Unlock()

	if c.in.opened {
		c.opened()
	}
	fault, err := c.deliver(closing)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.fail(fault, err)
	case broken != nil:
		c.fail(Node, broken)
	case c.in.ended:
		c.nodeEnded()
	}
	return c.err == nil
}

// nodeEnded is the end of the node's messages. mu is held.
func (c *Conn) nodeEnded() {
	switch {
	case c.in.end != nil:
		c.fail(Node, c.in.end)
	case c.finished && len(c.out) == 0:
		c.clean = true
		c.end(ErrClosed)
	default:
		c.fail(Node, ErrEnded)
	}
}

// deliver hands on the messages of a read. An error ends the connection. Reader.
func (c *Conn) deliver(closing bool) (fault Fault, err error) {
	taken := 0 // bytes that nobody has to wait for
	handed := 0
	c.handed = c.handed[:0]
	for i := range c.in.msgs {
		a := &c.in.msgs[i]
		size := len(a.b) + prefixLen
		var msg []byte
		if err == nil {
			msg, fault, err = c.sort(a.b)
		}
		switch {
		case msg == nil:
			taken += size
		case closing:
			c.n.discarded.Add(1)
			taken += size
		case c.o.Handle != nil:
			handed += len(msg)
			c.handed = append(c.handed, msg)
			taken += size
		default:
			c.n.received(1, len(msg))
			c.inbox.push(msg, a, size)
		}
	}
	if n := len(c.handed); n > 0 {
		c.n.received(n, handed)
		c.o.Handle(c.handed)
		clear(c.handed)
	}
	for i := range c.in.msgs {
		if b := c.in.msgs[i].buf; b != nil {
			b.Release()
		}
	}
	clear(c.in.msgs)
	if cap(c.in.msgs) > keptMessages {
		c.in.msgs, c.handed = nil, nil
	}
	if taken > 0 {
		c.give(taken)
	}
	return fault, err
}

const keptMessages = 4096 // of one read; the memory for more does not stay

// sort returns what the app gets of msg: msg, or it in its usual form, or nil. An error ends the connection. Reader.
func (c *Conn) sort(msg []byte) (out []byte, fault Fault, err error) {
	switch {
	case c.o.NoLink:
		return msg, 0, nil
	case c.machine != nil:
		fault, err = c.negotiate(msg)
		return nil, fault, err
	case c.o.Verify == VerifyFirst && c.verified && (len(msg) == 0 || msg[0] != ackTag):
		return msg, 0, nil
	}
	var m wire.Message
	out, hd, err := c.verifier.scan(msg, &m, maxOdd)
	switch {
	case err != nil && c.o.Verify == VerifyFirst:
		return nil, Node, fmt.Errorf("the node sent what is no message: %w", err)
	case err != nil:
		// Upstream ends the connection. But it was another app that wrote the message, and a node that passed it on:
		// that one app cannot read it is no reason to take everything else from it.
		c.n.invalid.Add(1)
	case m.Kind == wire.KindAck:
		c.ack(out, &m)
	case m.Kind == wire.KindLink: // again: P-neg-9
		c.n.ignored.Add(1)
	case hd == nil || m.Invalid(hd) != wire.ReasonNone: // P-msg-2
		c.n.invalid.Add(1)
	case c.authentic(m.Header.Of(out), hd, m.Kind):
		return out, 0, nil
	case c.o.Verify == VerifyFirst:
		return nil, Node, errMAC
	default: // P-mac-7
		c.n.unauthentic.Add(1)
	}
	return nil, 0, nil
}

const maxOdd = 8 << 10 // bytes of a message in which something occurs twice: P-lim-6

var errMAC = errors.New("the node sent a header with a wrong MAC")

// authentic reports whether a header is signed as the link demands (P-mac-6).
func (c *Conn) authentic(h []byte, hd *wire.Header, k wire.Kind) bool {
	tagged := hd.HasMAC && hd.MAC.Len() > 0
	switch {
	case c.link.Kind == Peer: // P-mac-8
	case c.verifier.mac == nil: // and so unsigned messages are allowed
		if k == wire.KindPublish && tagged {
			return false
		}
	case !tagged && k != wire.KindPublish && c.o.AllowUnsigned:
	case !tagged, !mac.Equal(hd.MAC.Of(h), c.verifier.tag(h, false)):
		return false
	}
	c.verified = true
	return true
}

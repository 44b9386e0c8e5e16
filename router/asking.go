package router

import "encoding/binary"

// To answer a negotiation takes some 60 µs of X25519, for whoever asks, and a hundred streams may ask in one read. A
// callback answers a few; who comes later waits for a turn of the loop, so that other sockets have theirs in between.
// Rules: P-lim-15.
//
//	Link ──▶ at once, or Conn.asked ──▶ asking of the loop ──turn──▶ negotiate, then what came after it, then its end

const (
	// asksPerTurn is how many negotiations a callback answers.
	asksPerTurn = 8
	// maxAsked bounds what a connection may have waiting, in bytes: with more it is answered at once, since to send that
	// much costs its peer something, too.
	maxAsked = 8 << 10
	// askedPrefix precedes each message of Conn.asked: its length, big-endian.
	askedPrefix = 4
)

// asking are the negotiations of a loop that wait. Owned by it.
type asking struct {
	conns  fifo[*Conn] // with asked, unless they have ended
	done   int         // in this callback
	marked int         // of conns, the first ones that were there at mark
}

// ask takes a message of c, which has not negotiated; b is borrowed.
func (c *Conn) ask(b []byte) {
	a := &c.loop.asking
	if c.asked == nil && a.done < asksPerTurn {
		a.done++
		c.negotiate(b)
		return
	}
	if c.asked == nil {
		c.asked = c.loop.net.Stock().Get(askedPrefix + len(b))
		a.conns.push(c)
	}
	m := c.asked
	m.B = append(binary.BigEndian.AppendUint32(m.B, uint32(len(b))), b...)
	if len(m.B) > maxAsked {
		c.answer()
	}
}

// answer takes what waits of c, if it has not ended.
func (c *Conn) answer() {
	asked := c.asked
	if asked == nil {
		return
	}
	c.asked = nil
	defer asked.Release()
	for rest, first := asked.B, true; len(rest) > 0; first = false {
		end := askedPrefix + int(binary.BigEndian.Uint32(rest))
		b := rest[askedPrefix:end]
		rest = rest[end:]
		switch {
		case !first && c.state != gone:
			c.receive(b, nil)
		case first && c.state == accepted:
			c.loop.asking.done++
			c.negotiate(b)
		}
	}
	if c.finished {
		c.finish()
	}
}

// forgetAsked gives up what waits of c, which has ended.
func (c *Conn) forgetAsked() {
	if c.asked != nil {
		c.asked.Release()
		c.asked = nil
	}
}

// Waits implements transport.Waiter.
func (c *Conn) Waits() bool { return c.asked != nil }

// answerSome answers a turn's worth of those who wait.
func (l *loop) answerSome() {
	for a := &l.asking; a.conns.len() > 0 && a.done < asksPerTurn; {
		a.marked = max(0, a.marked-1)
		l.answerOne(a.conns.pop())
	}
}

func (l *loop) answerOne(c *Conn) {
	defer c.guard()
	c.answer()
}

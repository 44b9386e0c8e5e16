package router

import "github.com/seed31b3bfd0/slimgo/pool"

// To answer a negotiation takes some 60 µs of X25519, for whoever asks, and a hundred streams may ask in one read. A
// callback answers a few; who comes later waits for a turn of the loop, so that other sockets have theirs in between.
// Rules: P-lim-15.
//
//	Link ──▶ at once, or Conn.asked ──▶ asking of the loop ──turn──▶ negotiate, then what came after it

const (
	// asksPerTurn is how many negotiations a callback answers.
	asksPerTurn = 8
	// maxAsked bounds what a connection may have waiting, in bytes of memory: with more it is answered at once, since
	// that much costs its peer something, too.
	maxAsked = 8 << 10
)

// asking are the negotiations of a loop that wait. Owned by it.
type asking struct {
	conns fifo[*Conn] // with asked, unless they have ended
	done  int         // in this callback
}

// ask takes a message of c, which has not negotiated; b is borrowed.
func (c *Conn) ask(b []byte) {
	a := &c.loop.asking
	if len(c.asked) == 0 && a.done < asksPerTurn {
		a.done++
		c.negotiate(b)
		return
	}
	m := c.loop.net.Stock().Get(len(b))
	m.B = append(m.B, b...)
	if c.asked = append(c.asked, m); len(c.asked) == 1 {
		a.conns.push(c)
	}
	kept := 0
	for _, m := range c.asked {
		kept += m.Footprint()
	}
	if kept > maxAsked {
		c.answer()
	}
}

// answer takes what waits of c, if it has not ended.
func (c *Conn) answer() {
	asked := c.asked
	c.asked = nil
	defer releaseAll(asked)
	for i, m := range asked {
		switch {
		case i > 0 && c.state != gone:
			c.receive(m.B, m)
		case i == 0 && c.state == accepted:
			c.loop.asking.done++
			c.negotiate(m.B)
		}
	}
}

func releaseAll(bufs []*pool.Buf) {
	for _, b := range bufs {
		b.Release()
	}
}

// answerSome answers a turn's worth of those who wait.
func (l *loop) answerSome() {
	for a := &l.asking; a.conns.len() > 0 && a.done < asksPerTurn; {
		l.answerOne(a.conns.pop())
	}
}

func (l *loop) answerOne(c *Conn) {
	defer c.guard()
	c.answer()
}

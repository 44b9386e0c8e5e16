package uplink

import (
	"fmt"
	"time"
)

// beats are the regular looks at a connection. Guarded by Conn.mu.
type beats struct {
	heard  bool          // something came since the last look
	asked  bool          // a PING was sent at the last look
	quiet  time.Duration // how long nothing has come, as of the last look
	minute time.Duration // since framing.minute was told
	next   time.Duration // from the last look to the next
}

// startBeats begins the looks. mu is held.
func (c *Conn) startBeats() {
	if c.err == nil {
		c.beats.next = c.beatEvery()
		c.timer = time.AfterFunc(c.beats.next, c.beat)
	}
}

// beatEvery is the time to the next look without a PING on its way.
func (c *Conn) beatEvery() time.Duration {
	if c.o.Keepalive > 0 {
		return min(c.o.Keepalive, time.Minute)
	}
	return time.Minute
}

// beat is a look: it asks a silent node for a sign of life, and ends the connection to one that gave none.
func (c *Conn) beat() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	b := &c.beats
	if b.minute += b.next; b.minute >= time.Minute {
		b.minute = 0
		c.f.minute()
	}
	b.quiet += b.next
	if b.heard || c.f.full() {
		b.quiet, b.asked = 0, false
	}
	if b.asked {
		c.doing = "waiting for a sign of life"
		c.fail(Network, fmt.Errorf("nothing came for %v, and no answer to a PING for %v", b.quiet, c.o.Pong))
		return
	}
	b.heard, b.next = false, c.beatEvery()
	if c.o.Keepalive > 0 && b.quiet >= c.o.Keepalive {
		b.asked, b.next = true, c.o.Pong
		c.f.ping()
		c.tell()
	}
	c.timer.Reset(b.next)
}

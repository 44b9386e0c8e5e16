package router

import (
	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/hop"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Targets of log records: upstream's module names, by which its filters select.
const (
	targetProcessing = "slim_datapath::message_processing"
	targetService    = "slim_service::service"
)

// receive is steps 3 and 4 of the journey for one message b. buf owns b's memory, or is nil when b is borrowed
// from the read; the caller releases it.
func (c *Conn) receive(b []byte, buf *pool.Buf) {
	l := c.loop
	if c.state != active && !c.untimely(b) {
		return
	}
	if len(b) > partsFrom && !wire.FewParts(b, maxParts) {
		l.n.received++
		c.drop(ReasonInvalid)
		return
	}
	m := &l.msg
	if wire.Scan(b, m) != nil {
		c.undecodable()
		return
	}
	if m.Odd {
		c.receiveOdd(b)
		return
	}
	if m.Kind != wire.KindPublish {
		switch {
		case c.state == ending:
			l.n.received++
			l.n.drop(ReasonEnded)
		case !c.muted: // else nothing can come of it: the answer cannot be sent
			c.receiveCold(b)
		}
		return
	}
	l.n.received++
	handicap()
	switch k, v := c.link.Receive(b, m); v {
	case hop.OK:
		if p := c.permit; p == nil || p.permits(k) || c.permitPublish(k) {
			c.publish(b, buf, k)
		}
	case hop.Undecodable:
		c.undecodable()
	case hop.Odd:
		c.receiveOdd(b)
	default:
		r := verdictReasons[v]
		c.drop(r)
		if k != nil {
			c.logDeath(r, k.Raw(), &k.Header.Header)
		}
	}
}

// untimely takes a message of a connection that is not active, and reports whether it goes its way if it is a publish.
func (c *Conn) untimely(b []byte) bool {
	switch c.state {
	case accepted:
		if c.dialed != nil {
			c.answered(b)
		} else {
			c.ask(b)
		}
	case claimed:
		c.note(ReasonNegotiation, errEarly)
		c.end(statusOK, "negotiation: "+errEarly.Error())
	case ending: // its peer goes on until the end of our side has reached it
		if c.hears {
			return true
		}
		c.loop.n.received++
		c.loop.n.drop(ReasonEnded)
	}
	return false
}

// A message of more than partsFrom bytes has at most maxParts fields (P-lim-14): each takes some time before it is
// known who has sent the message, and a message may have millions. A group of ten thousand members fits.
const (
	partsFrom = 64 << 10
	maxParts  = 128 << 10
)

// maxOdd bounds the messages that are written anew before their MAC is checked, in bytes (P-lim-6). No known sender
// makes any.
const maxOdd = 8 << 10

// receiveOdd handles a message in which a field that protobuf merges occurs more than once: it is brought into
// its usual form and processed again.
func (c *Conn) receiveOdd(b []byte) {
	if len(b) > maxOdd {
		c.loop.n.received++
		c.drop(ReasonInvalid)
		return
	}
	p, err := wire.Normalise(b)
	var m wire.Message
	var h wire.Header
	if err != nil || wire.Scan(p, &m) != nil || m.HasHeader && wire.ParseHeader(m.Header.Of(p), &h) != nil {
		c.undecodable()
		return
	}
	if m.Odd || h.Odd { // cannot be, and must not go round in circles
		c.drop(ReasonInvalid)
		return
	}
	c.receive(p, nil)
}

// undecodable ends the stream with status 0, as upstream does.
func (c *Conn) undecodable() {
	c.note(ReasonUndecodable, nil)
	c.because(ReasonUndecodable.String())
	c.end(statusOK, "")
}

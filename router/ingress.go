package router

import (
	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
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
	if c.state != active {
		if c.state == accepted {
			c.negotiate(b)
		}
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
		if !c.muted { // else nothing can come of it: the answer cannot be sent
			c.receiveCold(b)
		}
		return
	}
	l.n.received++
	handicap()
	if !m.HasHeader || !m.HasSession {
		c.drop(ReasonInvalid)
		return
	}
	if int(m.Header.End) > l.node.opt.MaxHeader { // P-lim-7
		c.drop(ReasonHeader)
		return
	}
	h := m.Header.Of(b)
	s, same := c.in.find(h)
	if !same {
		if len(h) > maxRemembered {
			s = new(seen)
		}
		if s = c.learn(h, s); s == nil {
			c.undecodable()
			return
		}
	}
	if s.ok != reasonNone {
		if s.hd.Odd {
			c.receiveOdd(b)
			return
		}
		c.drop(s.ok)
		c.logDeath(s.ok, s.raw, &s.hd)
		return
	}
	c.publish(b, buf, s)
}

// learn parses and verifies header h of a publish and remembers it, in s if that has the same names, else in a slot
// that gives up another. nil: h does not decode.
func (c *Conn) learn(h []byte, s *seen) *seen {
	l := c.loop
	if s == nil {
		s = c.in.victim()
	}
	if s.hd.Names > 0 && !s.hd.Odd {
		s.raw = append(s.raw[:s.hd.Names], h[s.hd.Names:]...)
		if wire.ParseRest(s.raw, &s.hd) != nil {
			s.forget()
			return nil
		}
	} else {
		*s = seen{raw: append(s.raw[:0], h...), nid: l.newID()}
		if wire.ParseHeader(s.raw, &s.hd) != nil {
			s.forget()
			return nil
		}
	}
	s.id = l.newID()
	s.ok = c.judge(s, wire.KindPublish)
	return s
}

// newID gives a number that no other header of the node has.
func (l *loop) newID() uint64 {
	l.headerID += MaxLoops
	return l.headerID
}

// judge applies P-msg-2, P-mac-6 and P-ttl-1 to a parsed header and sets the TTL it goes
// on with.
func (c *Conn) judge(s *seen, kind wire.Kind) Reason {
	if s.hd.Odd {
		return ReasonInvalid
	}
	if c.kind == table.Edge || c.kind == table.Remote {
		if r := c.verify(s, kind); r != reasonNone {
			return r
		}
	}
	if !s.hd.Source.HasName || !s.hd.Dest.HasName {
		return ReasonInvalid
	}
	s.ttl = s.hd.TTL
	if c.kind != table.Local && s.ttl > 0 {
		s.ttl--
	}
	if s.ttl == 0 {
		return ReasonTTL
	}
	return reasonNone
}

// verify checks the header MAC (P-mac-6).
func (c *Conn) verify(s *seen, kind wire.Kind) Reason {
	tagged := s.hd.HasMAC && s.hd.MAC.Len() > 0
	strict := !c.loop.node.opt.AllowUnsigned
	if !tagged && kind != wire.KindPublish {
		if strict {
			return ReasonUnsigned
		}
		return reasonNone
	}
	if c.mac == nil {
		if strict {
			return ReasonUnsigned
		}
		if tagged && kind == wire.KindPublish {
			return ReasonMAC
		}
		return reasonNone
	}
	if !tagged {
		return ReasonUnsigned
	}
	l := c.loop
	if !s.hashed {
		l.rest = mac.AppendNames(l.rest[:0], c.linkID, s.raw, &s.hd)
		c.mac.Names(&s.nst, l.rest)
		s.hashed = s.hd.Names > 0
	}
	if !c.verifyAndSign(s) {
		return ReasonMAC
	}
	return reasonNone
}

// maxOdd bounds the messages that are written anew before their MAC is checked, in bytes (P-lim-6). No known sender makes any.
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

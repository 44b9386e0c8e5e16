package router

import (
	"encoding/binary"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// Two header MACs cost little more than one when they are computed side by side (mac.Tag2). So a new header is
// verified together with its signature for the receiver that its names had last time, and the signatures of a fan-out
// are made in pairs.

// signs reports whether headers for c are signed on loop l.
func (c *Conn) signs(l *loop) bool { return c.loop == l && c.mac != nil && c.state == active }

// signing returns the place of header s in c's memory, with the hash state behind its names ready; nil if the signed
// header is there already.
func (c *Conn) signing(s *seen) *sent {
	if len(s.raw) > maxRemembered {
		return nil
	}
	o := c.outm.slot(s.nid)
	if o.id == s.id {
		return nil
	}
	if !o.hashed {
		l := c.loop
		l.rest = mac.AppendNames(l.rest[:0], c.linkID, s.raw, &s.hd)
		c.mac.Names(&o.nst, l.rest)
		o.hashed = true
	}
	return o
}

// verifyAndSign checks the tag of header s of c, whose names are hashed, and signs it for the receiver it will
// probably go to.
func (c *Conn) verifyAndSign(s *seen) bool {
	l, t := c.loop, s.next
	if t != nil && s.hd.TTL >= 2 {
		if !t.signs(l) {
			s.next = nil // gone, or of another loop: do not keep it from being collected
		} else if ok, done := c.verifyBeside(t, s); done {
			return ok
		}
	}
	l.rest = mac.AppendRest(l.rest[:0], s.raw, &s.hd, s.hd.TTL, false)
	return c.mac.Verify(s.hd.MAC.Of(s.raw), &s.nst, l.rest)
}

// verifyBeside is verifyAndSign for receiver t; not done: the signature is there already, or making it panicked. Whoever
// is to blame for that shows when it is needed.
func (c *Conn) verifyBeside(t *Conn, s *seen) (ok, done bool) {
	defer func() {
		if recover() != nil {
			ok, done = false, false
		}
	}()
	l := c.loop
	o := t.signing(s)
	if o == nil {
		return false, false
	}
	l.rest = mac.AppendRest(l.rest[:0], s.raw, &s.hd, s.hd.TTL, false)
	l.rest2 = c.hopRest(s)
	mac.Tag2(&l.tag, c.mac, &s.nst, l.rest, &l.tag2, t.mac, &o.nst, l.rest2)
	if !mac.Equal(s.hd.MAC.Of(s.raw), &l.tag) {
		return false, true
	}
	o.keep(s, s.hd.TTL-1, l.tag2[:])
	return true, true
}

// hopRest is the second part of the preimage that header s has one hop further, made of loop.rest, which holds the
// part as it came: they differ in the TTL, four bytes at the end, unless s has what only applications set.
func (c *Conn) hopRest(s *seen) []byte {
	l := c.loop
	if s.hd.HasRecvFrom || s.hd.HasForwardTo {
		return mac.AppendRest(l.rest2[:0], s.raw, &s.hd, s.hd.TTL-1, true)
	}
	b := append(l.rest2[:0], l.rest...)
	binary.LittleEndian.PutUint32(b[len(b)-4:], s.hd.TTL-1)
	return b
}

// keep remembers header s as it leaves.
func (o *sent) keep(s *seen, ttl uint32, tag []byte) {
	o.raw = wire.AppendHeader(o.raw[:0], s.raw, &s.hd, ttl, tag)
	o.id = s.id
}

// make rewrites header h for c and signs it.
func (o *sent) make(c *Conn, h []byte, hd *wire.Header, ttl uint32) {
	var tag []byte
	if c.mac != nil {
		l := c.loop
		if !o.hashed {
			l.rest = mac.AppendNames(l.rest[:0], c.linkID, h, hd)
			c.mac.Names(&o.nst, l.rest)
			o.hashed = true
		}
		l.rest = mac.AppendRest(l.rest[:0], h, hd, ttl, true)
		c.mac.Tag(&l.tag, &o.nst, l.rest)
		tag = l.tag[:]
	}
	o.raw = wire.AppendHeader(o.raw[:0], h, hd, ttl, tag)
}

// signPairs signs a header that is new to the receivers of a fan-out, two at a time; one left over is for header.
//
// It is work ahead: whose signing panics is found out when its own header is made.
func (l *loop) signPairs(ts []*Conn, s *seen) {
	defer func() { _ = recover() }()
	var t *Conn
	var o *sent
	for _, u := range ts {
		if !u.signs(l) || u.q.stalled {
			continue
		}
		p := u.signing(s)
		if p == nil {
			continue
		}
		if t == nil {
			t, o = u, p
			continue
		}
		l.rest = mac.AppendRest(l.rest[:0], s.raw, &s.hd, s.ttl, true)
		mac.Tag2(&l.tag, t.mac, &o.nst, l.rest, &l.tag2, u.mac, &p.nst, l.rest)
		o.keep(s, s.ttl, l.tag[:])
		p.keep(s, s.ttl, l.tag2[:])
		t = nil
	}
}

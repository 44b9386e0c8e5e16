package hop

import (
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// Rules is what the kind of a connection, and the node's own will, make of headers.
type Rules struct {
	// Signed: headers are verified on their way in and signed on their way out, as on edge and remote connections
	// (P-mac-5, P-mac-6); else tags are neither looked at nor sent (P-mac-8).
	Signed bool
	// Strict: what is not signed is refused, where headers are verified.
	Strict bool
	// Local: to come this way is no hop (P-ttl-1).
	Local bool
}

// Link is a connection as headers see it. The zero Link is closed: nothing may be received from it or sent to it.
type Link struct {
	s     *Scratch
	mac   *mac.MAC // nil: no key, or none is used
	id    string
	rules Rules
	in    inMemory
	out   outMemory

	// Of the budget.
	held int    // bytes
	at   int    // place among its links, if held > 0
	used uint32 // tick of the last use
}

// Open begins the life of a link. key is nil or the link's MAC key of 32 bytes, id its link_id; key is not kept.
func (l *Link) Open(s *Scratch, r Rules, id string, key []byte) {
	*l = Link{s: s, id: id, rules: r}
	if r.Signed && key != nil {
		l.mac = mac.New(key, id)
	}
}

// Close ends it: what it remembers is forgotten, its key wiped. To close it again does nothing.
func (l *Link) Close() {
	if l.s == nil {
		return
	}
	l.forget()
	if l.s.inOf == l {
		l.s.in.clear()
		l.s.inOf = nil
	}
	if l.s.outOf == l {
		l.s.out.clear()
		l.s.outOf = nil
	}
	if l.mac != nil {
		l.mac.Close()
	}
	*l = Link{}
}

// forget gives the memory of the link back.
func (l *Link) forget() {
	l.in.clear()
	l.out.clear()
	l.s.budget.drop(l)
}

// signs reports whether what goes to l is signed on the event loop of s.
func (l *Link) signs(s *Scratch) bool { return l.s == s && l.mac != nil }

// room makes the capacity of p at least n bytes, what it holds may be lost, and reports whether the budget allows it.
func (l *Link) room(p *[]byte, n int) bool {
	if cap(*p) >= n {
		return true
	}
	n = (n + n/8 + 63) &^ 63 // identities differ in length by little
	if !l.s.budget.take(l, n-cap(*p)) {
		return false
	}
	*p = make([]byte, 0, n)
	return true
}

// Check is Receive for a Subscribe or an Unsubscribe with header h: it remembers nothing. hd is overwritten; ttl is
// what is left of it after this hop.
func (l *Link) Check(h []byte, hd *wire.Header) (ttl uint32, v Verdict) {
	k := Known{raw: h}
	if wire.ParseHeader(h, &k.Header.Header) != nil {
		return 0, Undecodable
	}
	v = l.judge(&k, false)
	*hd = k.Header.Header
	return k.ttl, v
}

// judge applies P-msg-2, P-mac-6 and P-ttl-1 to a parsed header and sets the TTL it goes on with.
func (l *Link) judge(k *Known, publish bool) Verdict {
	if k.Header.Odd {
		return Odd
	}
	if l.rules.Signed {
		if v := l.verify(k, publish); v != OK {
			return v
		}
	}
	if !k.Source.HasName || !k.Dest.HasName {
		return Invalid
	}
	k.ttl = k.TTL
	if !l.rules.Local && k.ttl > 0 {
		k.ttl--
	}
	if k.ttl == 0 {
		return Expired
	}
	return OK
}

// verify checks the header MAC (P-mac-6).
func (l *Link) verify(k *Known, publish bool) Verdict {
	tagged := k.HasMAC && k.MAC.Len() > 0
	if !tagged && !publish {
		if l.rules.Strict {
			return Unsigned
		}
		return OK
	}
	if l.mac == nil {
		switch {
		case l.rules.Strict:
			return Unsigned
		case tagged && publish:
			return BadMAC
		}
		return OK
	}
	if !tagged {
		return Unsigned
	}
	if !k.hashed {
		l.hashNames(&k.state, k.raw, &k.Header)
		k.hashed = true
	}
	if !l.verifyAndSign(k) {
		return BadMAC
	}
	return OK
}

// hashNames hashes the names of header h into n.
func (l *Link) hashNames(n *mac.Names, h []byte, hd *Header) {
	s := l.s
	s.rest = mac.AppendNames(s.rest[:0], l.id, h, &hd.Header)
	l.mac.Names(n, s.rest)
}

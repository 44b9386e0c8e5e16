package hop

import (
	"encoding/binary"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// inAdvance returns the slot in which k is to be signed for l, with the state after the names; nil: it is signed there
// already, or cannot be remembered.
func (l *Link) inAdvance(k *Known) *sent {
	l.used = l.s.budget.now
	if o := l.out.at(k.pair); o != nil && o.id == k.id {
		return nil
	}
	o := l.place(k.raw, &k.Header)
	if o != nil {
		l.hashOnce(o, k.raw, &k.Header)
	}
	return o
}

// verifyAndSign checks the tag of k, whose names are hashed, and signs it for the link that it will probably go to.
func (l *Link) verifyAndSign(k *Known) bool {
	s := l.s
	if t := k.next; t != nil && k.TTL >= 2 && !l.rules.Local {
		if !t.signs(s) {
			k.next = nil // gone: do not keep it from being collected
		} else if ok, done := l.verifyBeside(t, k); done {
			return ok
		}
	}
	s.rest = mac.AppendRest(s.rest[:0], k.raw, &k.Header.Header, k.TTL, false)
	return l.mac.Verify(k.MAC.Of(k.raw), &k.state, s.rest)
}

// verifyBeside is verifyAndSign for the link t, which signs. Not done: the signature is there already, cannot be kept,
// or making it has panicked. Whoever is to blame for that shows when it is needed.
func (l *Link) verifyBeside(t *Link, k *Known) (ok, done bool) {
	defer func() {
		if recover() != nil {
			ok, done = false, false
		}
	}()
	s := l.s
	k.ttl = k.TTL - 1
	o := t.inAdvance(k)
	if o == nil {
		return false, false
	}
	s.rest = mac.AppendRest(s.rest[:0], k.raw, &k.Header.Header, k.TTL, false) // inAdvance has used it
	s.rest2 = s.hopRest(k)
	mac.Tag2(&s.tag, l.mac, &k.state, s.rest, &s.tag2, t.mac, &o.state, s.rest2)
	if !mac.Equal(k.MAC.Of(k.raw), &s.tag) {
		return false, true
	}
	o.keep(k.raw, &k.Header, k.ttl, s.tag2[:])
	return true, true
}

// hopRest is the second part of the preimage that k has one hop further, made of the part as it came, in s.rest: they
// differ in the TTL, four bytes at the end, unless k has what only applications set.
func (s *Scratch) hopRest(k *Known) []byte {
	if k.HasRecvFrom || k.HasForwardTo {
		return mac.AppendRest(s.rest2[:0], k.raw, &k.Header.Header, k.ttl, true)
	}
	b := append(s.rest2[:0], s.rest...)
	binary.LittleEndian.PutUint32(b[len(b)-4:], k.ttl)
	return b
}

// Pairs signs a header that is new to the receivers of a fan-out, two at a time, before Header is called for each. It
// is work in advance: to leave a link out, or all, changes nothing but the cost.
type Pairs struct {
	s *Scratch
	k *Known
	l *Link // waits for another
	o *sent // its slot
}

// Sign begins a fan-out of k, which came from a link of s.
func (s *Scratch) Sign(k *Known) Pairs { return Pairs{s: s, k: k} }

// Add signs the header for l and for the link that waits, or lets l wait. Links of other event loops are passed over.
// One that waits in the end is left to Header.
func (p *Pairs) Add(l *Link) {
	s, k := p.s, p.k
	if !l.signs(s) {
		return
	}
	o := l.inAdvance(k)
	if o == nil {
		return
	}
	if p.l == nil {
		p.l, p.o = l, o
		return
	}
	s.rest = mac.AppendRest(s.rest[:0], k.raw, &k.Header.Header, k.ttl, true)
	mac.Tag2(&s.tag, p.l.mac, &p.o.state, s.rest, &s.tag2, l.mac, &o.state, s.rest)
	p.o.keep(k.raw, &k.Header, k.ttl, s.tag[:])
	o.keep(k.raw, &k.Header, k.ttl, s.tag2[:])
	p.l = nil
}

// Own returns the MAC of a message that begins its journey on l, with header h, which has none yet (P-mac-5); nil: l has no key. It is
// good until the next call on any link of the Scratch, and remembers nothing.
func (l *Link) Own(h []byte) []byte {
	var hd Header
	if l.mac == nil || wire.ParseHeader(h, &hd.Header) != nil {
		return nil
	}
	s := l.s
	var names mac.Names
	l.hashNames(&names, h, &hd)
	s.rest = mac.AppendRest(s.rest[:0], h, &hd.Header, hd.TTL, true)
	l.mac.Tag(&s.tag, &names, s.rest)
	return s.tag[:]
}

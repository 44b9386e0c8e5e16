package hop

import (
	"reflect"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// outSlots is the most pairs of names remembered of what goes to one receiver.
const outSlots = 64

// growth bounds what a header has more when it leaves, in bytes: a TTL and a tag.
const growth = 1 + 5 + 2 + wire.MACSize

// sent is one remembered header of what went to a receiver.
type sent struct {
	id, pair uint64    // of the header and its names; 0: empty
	raw      []byte    // header as it leaves
	state    mac.Names // of the link's hash after the names, as secret as its key
	hashed   bool      // state is set
}

var sentSize = int(reflect.TypeFor[sent]().Size())

// clear forgets everything but the memory.
func (o *sent) clear() { *o = sent{raw: o.raw[:0]} }

// outMemory is direct mapped by names; it grows while different senders push each other out.
type outMemory struct {
	slots     []sent // a power of two of them, or none
	evictions int
}

func (m *outMemory) clear() {
	for i := range m.slots {
		m.slots[i].state = mac.Names{}
	}
	*m = outMemory{}
}

// at returns the slot of a pair of names; nil: there are no slots.
func (m *outMemory) at(pair uint64) *sent {
	n := len(m.slots)
	if n == 0 {
		return nil
	}
	return &m.slots[spread(pair)&uint64(n-1)]
}

// spread mixes an id, whose low part is the Scratch's number.
func spread(x uint64) uint64 { return x * 0x9e3779b97f4a7c15 >> 40 }

// Header returns a header as it leaves on l: remembered, or rewritten and signed anew (P-mac-5, P-msg-8). A tag of an
// earlier hop never goes on. h are the bytes that hd was made for, or a copy. The result is good until the next call on
// any link of the Scratch.
func (l *Link) Header(h []byte, hd *Header) []byte {
	l.used = l.s.budget.now
	if o := l.out.at(hd.pair); o != nil && o.id == hd.id {
		return o.raw
	}
	o := l.place(h, hd)
	if o == nil {
		if o = l.latest(hd); o.id == hd.id {
			return o.raw
		}
	}
	var tag []byte
	if s := l.s; l.mac != nil {
		l.hashOnce(o, h, hd)
		s.rest = mac.AppendRest(s.rest[:0], h, &hd.Header, hd.ttl, true)
		l.mac.Tag(&s.tag, &o.state, s.rest)
		tag = s.tag[:]
	}
	o.keep(h, hd, hd.ttl, tag)
	return o.raw
}

// place returns the slot for header h, with room for it; nil: it cannot be remembered.
func (l *Link) place(h []byte, hd *Header) *sent {
	if len(h) > maxRemembered {
		return nil
	}
	m := &l.out
	o := m.at(hd.pair)
	if o == nil || o.pair != hd.pair {
		if o = l.evict(o, hd.pair); o == nil {
			return nil
		}
	}
	if !l.room(&o.raw, len(h)+growth) {
		return nil
	}
	return o
}

// evict makes o, which is nil or has other names, the slot of a pair of names. The memory doubles if that happens
// often.
func (l *Link) evict(o *sent, pair uint64) *sent {
	m := &l.out
	switch n := len(m.slots); {
	case n == 0:
		l.grow(1)
	case o.pair != 0 && n < outSlots:
		if m.evictions++; m.evictions > 2*n {
			l.grow(2 * n)
		}
	}
	if o = m.at(pair); o != nil {
		o.clear()
		o.pair = pair
	}
	return o
}

// grow replaces the slots by n empty ones, if the budget has room for them.
func (l *Link) grow(n int) {
	m := &l.out
	held := 0
	for i := range m.slots {
		held += sentSize + cap(m.slots[i].raw)
	}
	m.evictions = 0
	if !l.s.budget.take(l, n*sentSize-held) {
		return
	}
	m.clear()
	m.slots = make([]sent, n)
}

// latest returns the place for a header that cannot be remembered: it stays there until another comes.
func (l *Link) latest(hd *Header) *sent {
	s := l.s
	s.outUse = true
	o := &s.out
	if s.outOf != l || o.pair != hd.pair {
		s.outOf = l
		o.clear()
		o.pair = hd.pair
	}
	return o
}

// hashOnce hashes the names of header h into o unless that is done.
func (l *Link) hashOnce(o *sent, h []byte, hd *Header) {
	if !o.hashed {
		l.hashNames(&o.state, h, hd)
		o.hashed = true
	}
}

// keep makes o header h as it leaves with this TTL and tag.
func (o *sent) keep(h []byte, hd *Header, ttl uint32, tag []byte) {
	o.raw = wire.AppendHeader(o.raw[:0], h, &hd.Header, ttl, tag)
	o.id = hd.id
}

package hop

import (
	"bytes"
	"reflect"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// Header is a header that goes on: what it says and which one it is. It has no pointers, so that it can travel with a
// copy of the bytes, to another event loop, too.
type Header struct {
	wire.Header        // offsets into the bytes
	id          uint64 // of these very bytes
	pair        uint64 // of the two names
	ttl         uint32 // it goes on with
}

// Same reports whether hd is the header of k, in the same bytes.
func (hd *Header) Same(k *Known) bool { return hd.id == k.id }

// Known is a header that came from a link, with what was found out about it. It is good until the next call of Receive
// on a link of the same Scratch.
type Known struct {
	Header
	raw     []byte    // as it came; raw[:Names] are the names
	verdict Verdict   // why messages with it die
	state   mac.Names // of the link's hash after the names, as secret as its key
	hashed  bool      // state is set
	again   bool      // it came like this before
	next    *Link     // where the latest message with these names went; nil: not known

	// Memo and Found are what the caller has found out about the two names, 0 and nil at first. They are kept while the names are.
	Memo  uint32
	Found any
}

var knownSize = int(reflect.TypeFor[Known]().Size())

// Raw is the header as it came, good as long as k.
func (k *Known) Raw() []byte { return k.raw }

// Again reports whether it came before: then it has probably been signed for those it goes to.
func (k *Known) Again() bool { return k.again }

// Expect says where the message goes, or the first of those it goes to: the next header with these names is signed for
// it in advance. A link of another Scratch belongs to another event loop: then l is nil.
func (k *Known) Expect(l *Link) { k.next = l }

// clear forgets everything but the memory.
func (k *Known) clear() { *k = Known{raw: k.raw[:0], verdict: Undecodable} }

func (k *Known) beginsWith(h []byte) bool {
	n := int(k.Header.Names)
	return n > 0 && len(h) > n && bytes.Equal(k.raw[:n], h[:n])
}

// inSlots is how many pairs of names a sender may use in turn.
const inSlots = 4

// inMemory holds the latest headers of a sender, one for each pair of names.
type inMemory struct {
	slots [inSlots]*Known
	last  int // slot of the latest hit
	next  int // victim
}

// find returns the slot that remembers h byte for byte (same), or else one whose names begin h, or nil.
func (m *inMemory) find(h []byte) (k *Known, same bool) {
	if k = m.slots[m.last]; k != nil && k.beginsWith(h) {
		return k, bytes.Equal(k.raw[k.Header.Names:], h[k.Header.Names:])
	}
	return m.search(h)
}

// search is find after the latest slot.
func (m *inMemory) search(h []byte) (*Known, bool) {
	for i, k := range m.slots {
		if k == nil {
			continue
		}
		if k.beginsWith(h) {
			m.last = i
			return k, bytes.Equal(k.raw[k.Header.Names:], h[k.Header.Names:])
		}
		if k.Header.Names == 0 && k.id != 0 && bytes.Equal(k.raw, h) { // fields in an order that no known sender uses
			m.last = i
			return k, true
		}
	}
	return nil, false
}

// victim returns the place of a slot to fill anew.
func (m *inMemory) victim() **Known {
	m.next = (m.next + 1) % inSlots
	m.last = m.next
	return &m.slots[m.next]
}

func (m *inMemory) clear() {
	for _, k := range m.slots {
		if k != nil {
			k.state = mac.Names{}
		}
	}
	*m = inMemory{}
}

// Receive judges the header of a publish that came from l: message b, which is borrowed until return, with its parts m,
// which must not be odd. With a verdict other than OK k may be nil.
func (l *Link) Receive(b []byte, m *wire.Message) (k *Known, v Verdict) {
	if !m.HasHeader || !m.HasSession {
		return nil, Invalid
	}
	if int(m.Header.End) > l.s.maxHeader {
		return nil, TooLong
	}
	l.used = l.s.budget.now
	h := m.Header.Of(b)
	k, same := l.in.find(h)
	if !same {
		k = l.learn(k, h)
		return k, k.verdict
	}
	k.again = true
	return k, k.verdict
}

// learn parses and verifies header h and remembers it: in k if that has the same names, else in a slot that gives up
// another.
func (l *Link) learn(k *Known, h []byte) *Known {
	s := l.s
	switch {
	case len(h) > maxRemembered:
		k = nil
	case k == nil:
		k = l.slot(len(h))
	case cap(k.raw) < len(h):
		names := k.raw[:k.Header.Names]
		if !l.room(&k.raw, len(h)) {
			k = nil
		} else {
			k.raw = append(k.raw, names...)
		}
	}
	if k == nil {
		s.inUse = true
		if k = &s.in; s.inOf == l && k.id != 0 && bytes.Equal(k.raw, h) {
			k.again = true
			return k
		}
		s.inOf = l
		k.clear()
	}
	if n := k.Header.Names; n > 0 && !k.Odd {
		k.raw = append(k.raw[:n], h[n:]...)
		if wire.ParseRest(k.raw, &k.Header.Header) != nil {
			k.clear()
			return k
		}
	} else {
		*k = Known{raw: append(k.raw[:0], h...)}
		k.pair = s.newID()
		if wire.ParseHeader(k.raw, &k.Header.Header) != nil {
			k.clear()
			return k
		}
	}
	k.id, k.again = s.newID(), false
	k.verdict = l.judge(k, true)
	return k
}

// slot returns a slot with room for a header of n bytes to fill anew; nil: the budget has no room.
func (l *Link) slot(n int) *Known {
	at := l.in.victim()
	if *at == nil {
		if !l.s.budget.take(l, knownSize) {
			return nil
		}
		*at = new(Known)
	}
	(*at).clear()
	if !l.room(&(*at).raw, n) {
		return nil
	}
	return *at
}

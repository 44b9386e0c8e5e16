package router

import (
	"bytes"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// A header MAC is a pure function of the header and the link. So a connection remembers the headers it saw
// last: one that comes again byte for byte needs neither parsing nor hashing, and one that leaves again on a link
// leaves with the bytes and the tag of before. An application that makes a new identity for each message repeats
// at least the names; for those the hash state behind them is kept.

const (
	// maxRemembered is the longest header that is remembered, in bytes; longer ones are worked out each time.
	maxRemembered = 4 << 10

	inSlots  = 4  // pairs of names a sender uses in turn
	outSlots = 64 // most pairs of names remembered of what goes to one receiver
)

// seen is one remembered header of a sender.
type seen struct {
	raw []byte      // the header as it came; raw[:hd.Names] are the names
	hd  wire.Header // offsets into raw
	id  uint64      // of these very bytes
	nid uint64      // of the names
	nst mac.Names   // hash state of this link behind the names; set if hashed
	ttl uint32      // as it goes on
	ok  Reason      // reasonNone: verified and valid; else why messages with it die

	hashed bool
	next   *Conn // receiver of the latest message with these names, or the first of several
}

// inMemory holds the latest headers of a sender, one for each pair of names.
type inMemory struct {
	slots [inSlots]*seen
	last  int // slot of the latest hit
	next  int // victim
}

// find returns the slot that remembers h byte for byte (same), or else one whose names begin h, or nil.
func (m *inMemory) find(h []byte) (s *seen, same bool) {
	if s = m.slots[m.last]; s != nil && s.beginsWith(h) {
		return s, bytes.Equal(s.raw[s.hd.Names:], h[s.hd.Names:])
	}
	return m.search(h)
}

// search is find behind the latest slot.
func (m *inMemory) search(h []byte) (*seen, bool) {
	for i, s := range m.slots {
		if s == nil {
			continue
		}
		if s.beginsWith(h) {
			m.last = i
			return s, bytes.Equal(s.raw[s.hd.Names:], h[s.hd.Names:])
		}
		if s.hd.Names == 0 && bytes.Equal(s.raw, h) { // fields in an order nobody uses
			m.last = i
			return s, true
		}
	}
	return nil, false
}

// forget empties a slot whose header does not decode.
func (s *seen) forget() { *s = seen{raw: s.raw[:0], ok: ReasonUndecodable} }

func (s *seen) beginsWith(h []byte) bool {
	n := int(s.hd.Names)
	return n > 0 && len(h) > n && bytes.Equal(s.raw[:n], h[:n])
}

// victim returns a slot to fill anew.
func (m *inMemory) victim() *seen {
	m.next = (m.next + 1) % inSlots
	m.last = m.next
	s := m.slots[m.next]
	if s == nil || cap(s.raw) > 2*maxRemembered {
		s = new(seen)
		m.slots[m.next] = s
	}
	*s = seen{raw: s.raw[:0]}
	return s
}

// sent is one remembered header of what went to a receiver.
type sent struct {
	id, nid uint64 // of the sender's header and names; 0: empty
	raw     []byte // header as it leaves
	nst     mac.Names
	hashed  bool
}

// outMemory is direct mapped by names; it grows while different senders push each other out.
type outMemory struct {
	slots     []sent
	evictions int
}

// slot returns the place for a pair of names; the caller compares its ids.
func (m *outMemory) slot(nid uint64) *sent {
	if m.slots == nil {
		m.slots = make([]sent, 1)
	}
	s := &m.slots[spread(nid)&uint64(len(m.slots)-1)]
	if s.nid != nid {
		if s.nid != 0 && len(m.slots) < outSlots {
			if m.evictions++; m.evictions > 2*len(m.slots) {
				m.slots = make([]sent, 2*len(m.slots))
				m.evictions = 0
				s = &m.slots[spread(nid)&uint64(len(m.slots)-1)]
			}
		}
		s.nid, s.id, s.hashed = nid, 0, false
	}
	return s
}

// spread mixes an id, whose low part is the loop's number.
func spread(x uint64) uint64 { return x * 0x9e3779b97f4a7c15 >> 40 }

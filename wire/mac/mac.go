package mac

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
)

// MAC makes and checks header_mac of one link: HMAC-SHA256 (RFC 2104) over the preimage of P-mac-1.
//
// The key is hashed once, by New. From then on there are only states of the hash: after the key and link_id, after
// the key and the names (Names), and after the key of the outer hash. So a header costs the blocks of its own bytes
// and one more, and nothing allocates. The blocks are hashed by instructions for that where the CPU has them, else by
// crypto/sha256.
//
// A MAC belongs to the loop of its connection: one call at a time.
type MAC struct {
	inner state // after key XOR ipad and items 1 and 2
	outer state // after key XOR opad
	skip  int   // bytes of items 1 and 2
	soft  *soft // nil: SHA instructions

	// Larger than the rest together, and of no use to a link without messages: nil before the first tag.
	pieces *flats      // of tags made flat
	work   *[2]scratch // of the first and the second lane of Tag2, which may be of one MAC
}

// Names is the state of the hash after items 1 to 4 of a preimage: label, link_id, source, destination. It is a plain
// value without pointers, good only with the MAC that made it, as secret as the key, and does not print. The zero Names
// is none: Tag and Verify panic at it.
type Names struct {
	_ [0]func() // secrets are not compared with ==
	s state
}

// New keys a MAC. key has 32 bytes and is not kept; New panics at another length, which no Result has. linkID is
// the link_id of the Result: item 2 of every preimage of the link.
func New(key []byte, linkID string) *MAC {
	if hasSHA {
		return newMAC(key, linkID, nil)
	}
	return newMAC(key, linkID, newSoft())
}

// newMAC is New with the hash f, nil for SHA instructions.
func newMAC(key []byte, linkID string, f *soft) *MAC {
	if len(key) != sha256.Size {
		panic(fmt.Sprintf("mac: MAC key of %d bytes", len(key)))
	}
	m := &MAC{skip: len(macLabel) + 4 + len(linkID), soft: f}
	m.begin(&m.outer, key, 0x5c)
	m.begin(&m.inner, key, 0x36)
	head := append(make([]byte, 0, m.skip), macLabel...)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(linkID)))
	m.write(&m.inner, append(head, linkID...))
	return m
}

// begin sets s after key, filled up to a block with zeros, XOR b.
func (m *MAC) begin(s *state, key []byte, b byte) {
	var pad [blockSize]byte
	copy(pad[:], key)
	for i := range pad {
		pad[i] ^= b
	}
	s.h = initial
	m.write(s, pad[:])
	clear(pad[:])
}

func (m *MAC) write(s *state, p []byte) {
	if m.soft != nil {
		m.soft.write(s, p)
		return
	}
	s.write(p)
}

// Names hashes the names of a header into n. preimageNames is what AppendNames yields with this link's link_id,
// borrowed until return.
func (m *MAC) Names(n *Names, preimageNames []byte) {
	n.s = m.inner
	m.write(&n.s, preimageNames[m.skip:])
}

// Tag writes the HMAC over n's bytes and rest, which is what AppendRest yields, to dst. rest is borrowed until
// return.
func (m *MAC) Tag(dst *[sha256.Size]byte, n *Names, rest []byte) {
	m.check(n)
	if m.soft != nil {
		m.soft.tag(dst, &m.outer, &n.s, rest)
		return
	}
	var l lane
	l.start(m, m.scratch(0), n, rest)
	l.finish(dst, l.next())
}

// Verify reports whether tag is the HMAC over n's bytes and rest, in time independent of where they differ. A tag of
// another length than 32 bytes is not.
func (m *MAC) Verify(tag []byte, n *Names, rest []byte) bool {
	var want [sha256.Size]byte
	m.Tag(&want, n, rest)
	return Equal(tag, &want)
}

// Equal compares a tag that came with the one it has to be. It is subtle.ConstantTimeCompare a word at a time: bytes
// take it a tenth of a tag. Only the length of tag and the result decide how long it takes.
func Equal(tag []byte, want *[sha256.Size]byte) bool {
	if len(tag) != len(want) {
		return false
	}
	var diff uint64
	for i := 0; i < len(want); i += 8 {
		diff |= binary.LittleEndian.Uint64(tag[i:]) ^ binary.LittleEndian.Uint64(want[i:])
	}
	return diff == 0
}

// Close wipes the keyed states. The MAC and its Names must not be used afterwards: Tag and Verify panic.
func (m *MAC) Close() {
	if m.pieces != nil {
		clear(m.pieces[0][:])
		clear(m.pieces[1][:])
	}
	if m.work != nil {
		*m.work = [2]scratch{}
	}
	m.inner, m.outer, m.work, m.pieces = state{}, state{}, nil, nil
	if m.soft != nil {
		m.soft.wipe()
	}
}

// check panics where a tag would be one of no key at all, which anybody can make.
func (m *MAC) check(n *Names) {
	if n.s.n == 0 || m.outer.n == 0 {
		panic("mac: MAC closed, or no Names")
	}
}

// String returns "[redacted]".
func (MAC) String() string { return redacted }

// GoString returns "[redacted]".
func (MAC) GoString() string { return redacted }

// Format writes "[redacted]" for every verb.
func (MAC) Format(s fmt.State, _ rune) { redact(s) }

// String returns "[redacted]".
func (Names) String() string { return redacted }

// GoString returns "[redacted]".
func (Names) GoString() string { return redacted }

// Format writes "[redacted]" for every verb.
func (Names) Format(s fmt.State, _ rune) { redact(s) }

const redacted = "[redacted]"

func redact(s fmt.State) { _, _ = io.WriteString(s, redacted) }

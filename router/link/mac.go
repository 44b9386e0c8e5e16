package link

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding"
	"encoding/binary"
	"fmt"
	"hash"
)

const (
	// A marshaled SHA-256 state: 4 bytes of magic, chaining value, pending bytes of a block, count of bytes (big-endian).
	chainAt   = 4
	countAt   = chainAt + sha256.Size + sha256.BlockSize
	stateSize = countAt + 8

	maxPadding = sha256.BlockSize + 8 // of SHA-256: 1 bit, zeros, length (FIPS 180-4 section 5.1.1)

	macLabel = "SLIM-DP-HDR-v1\x00" // item 1 of the MAC input
)

// state is a marshaled SHA-256 state which the key has gone into: as secret as the key.
type state [stateSize]byte

// digest is what crypto/sha256 promises of its hashes beyond hash.Hash.
type digest interface {
	hash.Hash
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

// MAC makes and checks header_mac of one link: HMAC-SHA256 (RFC 2104) over the preimage of dataplane.md section 4.5.
//
// The key is hashed once, by NewMAC. From then on there are only states of the hash: behind the key and link_id, behind
// the key and the names (Names), and behind the key of the outer hash. So a header costs the blocks of its own bytes and
// one more, and nothing allocates. The hash's padding is made here and its result read from its state, which is a tenth
// cheaper than hash.Hash.Sum: that copies the whole state first.
//
// A MAC belongs to the loop of its connection: one call at a time.
type MAC struct {
	d     digest
	inner state // behind key XOR ipad and items 1 and 2
	outer state // behind key XOR opad
	skip  int   // bytes of items 1 and 2

	// Scratch. It is here because what is passed to d escapes.
	work state
	buf  [maxPadding]byte
}

// Names is the state of the hash behind items 1 to 4 of a preimage: label, link_id, source, destination. It is a plain
// value without pointers, good only with the MAC that made it, as secret as the key, and does not print. The zero Names
// is none, and of no use to Tag.
type Names struct {
	_ [0]func() // secrets are not compared with ==
	s state
}

// NewMAC keys a MAC. key has 32 bytes and is not kept; NewMAC panics at another length, which no Result has. linkID is
// the link_id of the Result: item 2 of every preimage of the link.
func NewMAC(key []byte, linkID string) *MAC {
	if len(key) != sha256.Size {
		panic(fmt.Sprintf("link: MAC key of %d bytes", len(key)))
	}
	m := &MAC{d: sha256.New().(digest), skip: len(macLabel) + 4 + len(linkID)}
	m.begin(key, 0x5c)
	m.save()
	m.outer = m.work

	m.begin(key, 0x36)
	head := append(make([]byte, 0, m.skip), macLabel...)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(linkID)))
	m.d.Write(append(head, linkID...))
	m.save()
	m.inner = m.work
	return m
}

// begin starts the hash anew with key, filled up to a block with zeros, XOR b.
func (m *MAC) begin(key []byte, b byte) {
	pad := m.buf[:sha256.BlockSize]
	clear(pad)
	copy(pad, key)
	for i := range pad {
		pad[i] ^= b
	}
	m.d.Reset()
	m.d.Write(pad)
	clear(pad)
}

// Names hashes the names of a header into n. preimageNames is what wire.AppendMACNames yields with this link's link_id,
// borrowed until return.
func (m *MAC) Names(n *Names, preimageNames []byte) {
	m.restore(&m.inner)
	m.d.Write(preimageNames[m.skip:])
	m.save()
	n.s = m.work
}

// Tag writes the HMAC over n's bytes and rest, which is what wire.AppendMACRest yields, to dst. rest is borrowed until
// return.
func (m *MAC) Tag(dst *[sha256.Size]byte, n *Names, rest []byte) {
	m.work = n.s // n does not escape
	m.restore(&m.work)
	m.d.Write(rest)
	m.finish(binary.BigEndian.Uint64(n.s[countAt:]) + uint64(len(rest)))

	inner := m.buf[:sha256.Size]
	copy(inner, m.work[chainAt:])
	m.restore(&m.outer)
	m.d.Write(inner)
	m.finish(sha256.BlockSize + sha256.Size)
	copy(dst[:], m.work[chainAt:])
}

// Verify reports whether tag is the HMAC over n's bytes and rest, in time independent of where they differ. A tag of
// another length than 32 bytes is not.
func (m *MAC) Verify(tag []byte, n *Names, rest []byte) bool {
	var want [sha256.Size]byte
	m.Tag(&want, n, rest)
	return subtle.ConstantTimeCompare(tag, want[:]) == 1
}

// Close wipes the keyed states. The MAC and its Names must not be used afterwards.
func (m *MAC) Close() {
	m.d.Reset()
	clear(m.inner[:])
	clear(m.outer[:])
	clear(m.work[:])
	clear(m.buf[:])
}

// finish pads a message of n bytes to whole blocks and leaves the state, whose chaining value is now the hash, in work.
func (m *MAC) finish(n uint64) {
	zeros := (2*sha256.BlockSize - 9 - n%sha256.BlockSize) % sha256.BlockSize
	pad := m.buf[:1+zeros+8]
	clear(pad)
	pad[0] = 0x80
	binary.BigEndian.PutUint64(pad[1+zeros:], 8*n)
	m.d.Write(pad)
	m.save()
}

// restore sets the hash to s, which is m's own. A failure is no peer's doing: a zero Names, or another crypto/sha256.
func (m *MAC) restore(s *state) {
	if err := m.d.UnmarshalBinary(s[:]); err != nil {
		panic("link: " + err.Error())
	}
}

// save leaves the state of the hash in work.
func (m *MAC) save() {
	b, err := m.d.AppendBinary(m.work[:0])
	if err != nil || len(b) != stateSize {
		panic("link: crypto/sha256 does not save its state as it used to")
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

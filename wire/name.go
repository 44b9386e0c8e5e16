package wire

import (
	"math"

	"github.com/cespare/xxhash/v2"
	"github.com/zeebo/xxh3"
)

// Null is each half of the null id, 2^128-1: "any instance".
const Null = math.MaxUint64

// reservedLow begins the 51 reserved ids: they have all bits of the high half set and a low half of at least this.
const reservedLow = math.MaxUint64 - 50

// Name is the encoded part of a name as routing compares it: three hashed components and a 128-bit id, Hi:Lo. A missing
// name_id matches like the null id. Comparable, usable as a map key. The zero Name has id zero, an ordinary id.
// Rules: P-name-4.
type Name struct {
	C      [3]uint64
	Hi, Lo uint64
}

// NewName hashes three components, which may be anything, into a name with the null id.
func NewName(a, b, c string) Name {
	return Name{C: [3]uint64{Hash(a), Hash(b), Hash(c)}, Hi: Null, Lo: Null}
}

// IsNull reports whether the id is the null id.
func (n Name) IsNull() bool { return n.Hi&n.Lo == Null }

// WithID returns the name with another id.
func (n Name) WithID(hi, lo uint64) Name {
	n.Hi, n.Lo = hi, lo
	return n
}

// String is the core's text form without strings: the hashes in decimal, a slash, the id.
func (n Name) String() string { return string(n.appendTo(nil)) }

// Hash is the encoded form of one component: XXH64 with seed 0 over its bytes and one byte 0xFF (with which Rust ends
// every hashed string). Any bytes will do, also none. Rules: P-name-1.
func Hash(s string) uint64 { return hash(s) }

func hash[T string | []byte](s T) uint64 {
	var buf [128]byte
	if len(s) < len(buf) {
		n := copy(buf[:], s)
		buf[n] = 0xff
		return xxhash.Sum64(buf[:n+1])
	}
	return hashLong([]byte(s))
}

func hashLong(s []byte) uint64 {
	var d xxhash.Digest
	d.Reset()
	d.Write(s)
	d.Write([]byte{0xff})
	return d.Sum64()
}

// HashID is the id of an app with this identity id: XXH3-128 with seed 0, moved out of the reserved range.
func HashID(identity string) (hi, lo uint64) {
	h := xxh3.HashString128(identity)
	return unreserved(h.Hi, h.Lo)
}

// HashChannel is the id of a channel of this text, "subject/a/b/c/data" or "…/control": XXH3-128 with the seed salt, moved
// out of the reserved range, and not as HashID moves.
func HashChannel(text string, salt uint64) (hi, lo uint64) {
	h := xxh3.HashString128Seed(text, salt)
	if h.Hi == math.MaxUint64 && h.Lo >= reservedLow {
		return 0, h.Lo - (reservedLow - 1) + 1
	}
	return h.Hi, h.Lo
}

// unreserved is the 128-bit number modulo the first reserved id.
func unreserved(hi, lo uint64) (uint64, uint64) {
	if hi == math.MaxUint64 && lo >= reservedLow {
		return 0, lo - reservedLow
	}
	return hi, lo
}

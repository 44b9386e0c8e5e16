package edwards

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"math/bits"
	"slices"
	"sync"

	"filippo.io/edwards25519"

	"github.com/seed31b3bfd0/slimgo/mls/internal/recent"
)

// PublicKey is a public key that signatures are checked with. Safe for concurrent use.
type PublicKey struct {
	bytes [ed25519.PublicKeySize]byte
	uses  recent.Uses
}

var errLength = errors.New("edwards: public key is not of 32 bytes")

// NewPublicKey takes a key of 32 bytes. Whether it is a point is said by the checks.
func NewPublicKey(b []byte) (*PublicKey, error) {
	if len(b) != ed25519.PublicKeySize {
		return nil, errLength
	}
	return &PublicKey{bytes: [ed25519.PublicKeySize]byte(b)}, nil
}

// Verify reports whether sig is a signature of text. It says what crypto/ed25519 says.
func (k *PublicKey) Verify(text, sig []byte) bool {
	t := tables.Find(&k.bytes, &k.uses)
	if t == nil || len(t.entries) == 0 {
		return ed25519.Verify(k.bytes[:], text, sig)
	}
	return t.verify(&k.bytes, text, sig)
}

// tables are made at the third check of a key; that of the generator not in the same check.
var tables = recent.New(func() { generator() }, newTable)

// table is that of the negative of a key; empty if the key is no point.
type table struct{ entries []entry }

func newTable(b *[ed25519.PublicKeySize]byte) *table {
	p, err := new(edwards25519.Point).SetBytes(b[:])
	if err != nil {
		return &table{}
	}
	return &table{multiples(p.Negate(p))}
}

var generator = sync.OnceValue(func() []entry { return multiples(edwards25519.NewGeneratorPoint()) })

// A scalar is cut up as in package p256: into digits of one bit that are 1 or -1, of which those that are columns apart choose an entry, in a
// table for each block.
const (
	teeth   = 8
	columns = 32
	blocks  = 2
	depth   = columns / blocks
	size    = 1 << (teeth - 1) // of a block's table
	itself  = blocks * size    // is the point
)

// multiples makes the tables of p: entry i of block b is the sum of 2^(s·columns + b·depth) times p for each tooth s, or minus that where bit s
// of i is not set; the last tooth is never negative. After them comes p itself.
func multiples(p *edwards25519.Point) []entry {
	var r point
	x, y, z, t := p.ExtendedCoordinates()
	r.x, r.y, r.z, r.t = *x, *y, *z, *t
	first := make([]point, 2*teeth*blocks) // one block of teeth after the other, and then the doubles of all
	for i := range teeth * blocks {
		s, b := i/blocks, i%blocks
		first[b*teeth+s] = r
		r.double()
		first[(blocks+b)*teeth+s] = r
		for range depth - 1 {
			r.double()
		}
	}
	bases := entries(first)
	all := make([]point, blocks*size)
	for b := range blocks {
		block := all[b*size:][:size]
		block[0] = first[b*teeth+teeth-1]
		for s := range teeth - 1 {
			block[0].add(&bases[b*teeth+s], true)
		}
		for i := 1; i < size; i++ {
			block[i] = block[i&(i-1)]
			block[i].add(&bases[(blocks+b)*teeth+bits.TrailingZeros(uint(i))], false)
		}
	}
	return append(entries(all), bases[0])
}

// digits are those of a scalar, by teeth: bit i is 1 for a digit of 1 and 0 for one of -1. even says that they are those of the scalar and 1.
type digits struct {
	teeth [teeth]uint32
	even  bool
}

// split cuts up 32 bytes, little-endian, below 2^255. Of an odd scalar k the half of k + 2^256 - 1 says which digits are 1.
func (d *digits) split(k []byte) {
	d.even = k[0]&1 == 0
	for s := range d.teeth {
		d.teeth[s] = binary.LittleEndian.Uint32(k[4*s:])
	}
	d.teeth[0] |= 1
	for s := range teeth - 1 {
		d.teeth[s] = d.teeth[s]>>1 | d.teeth[s+1]<<31
	}
	d.teeth[teeth-1] = d.teeth[teeth-1]>>1 | 1<<31
}

// addColumn adds to r the entries that the digits choose in column i of each block.
func (d *digits) addColumn(r *point, table []entry, i int) {
	for b := range blocks {
		at := b*depth + i
		var chosen uint32
		for s := range teeth {
			chosen |= (d.teeth[s] >> at & 1) << s
		}
		minus := chosen < size
		if minus {
			chosen = ^chosen
		}
		r.add(&table[b*size+int(chosen%size)], minus)
	}
}

// sum is u times the generator and v times the point of t.
func (t *table) sum(u, v []byte) (r point) {
	var us, vs digits
	us.split(u)
	vs.split(v)
	base := generator()
	r.identity()
	for i := depth - 1; i >= 0; i-- {
		if i < depth-1 {
			r.double()
		}
		us.addColumn(&r, base, i)
		vs.addColumn(&r, t.entries, i)
	}
	// Not l less, where that is odd: keys may have a part whose order divides 8.
	if us.even {
		r.add(&base[itself], true)
	}
	if vs.even {
		r.add(&t.entries[itself], true)
	}
	return r
}

// spare is room for what is hashed.
var spare = sync.Pool{New: func() any { return new([]byte) }}

const maxSpare = 64 << 10

// verify is RFC 8032, section 5.1.7, without the cofactor.
func (t *table) verify(of *[ed25519.PublicKeySize]byte, text, sig []byte) bool {
	if len(sig) != ed25519.SignatureSize {
		return false
	}
	var s, k edwards25519.Scalar
	if _, err := s.SetCanonicalBytes(sig[32:]); err != nil {
		return false
	}
	room := spare.Get().(*[]byte)
	*room = append(slices.Grow((*room)[:0], 64+len(text)), sig[:32]...)
	*room = append(append(*room, of[:]...), text...)
	digest := sha512.Sum512(*room)
	clear(*room) // it may be the plaintext of a private message
	if cap(*room) <= maxSpare {
		spare.Put(room)
	}
	if _, err := k.SetUniformBytes(digest[:]); err != nil {
		panic("edwards: a digest is not of 64 bytes")
	}
	sum := t.sum(s.Bytes(), k.Bytes())
	var x, y element
	sum.z.Invert(&sum.z)
	x.Multiply(&sum.x, &sum.z)
	y.Multiply(&sum.y, &sum.z)
	got := y.Bytes()
	got[31] |= byte(x.IsNegative() << 7)
	return bytes.Equal(got, sig[:32])
}

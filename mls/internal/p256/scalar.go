package p256

import (
	"encoding/binary"
	"math/bits"
)

// scalar is an integer modulo n, the order of the curve, below n: four limbs, the least significant first. Products are Montgomery's, with
// R = 2^256: mul(a, b) is abR⁻¹, so that "in the domain" means multiplied by R.
type scalar [4]uint64

// n, the order of the curve, by limbs.
const (
	n0 = 0xf3b9cac2fc632551
	n1 = 0xbce6faada7179e84
	n2 = 0xffffffffffffffff
	n3 = 0xffffffff00000000
)

// square is R² mod n: mul by it brings into the domain.
var square = scalar{0x83244c95be79eea2, 0x4699799c49bd6fa6, 0x2845b2392b6bec59, 0x66e12d94f3d95620}

// negInverse is -n⁻¹ mod 2^64.
const negInverse = 0xccd1c8aaee00bc4f

// set takes 32 bytes, big-endian, and reports whether they were below n. Those that were not are reduced.
func (z *scalar) set(b *[32]byte) (below bool) {
	for i := range z {
		z[i] = binary.BigEndian.Uint64(b[24-8*i:])
	}
	return z.reduce(0) == 0
}

func (z *scalar) bytes(b *[32]byte) {
	for i := range z {
		binary.BigEndian.PutUint64(b[24-8*i:], z[i])
	}
}

// reduce subtracts n once from z + carry·2^256, which is below 2n, if it is not below n; and tells whether it was not: 1.
func (z *scalar) reduce(carry uint64) uint64 {
	var d scalar
	var b uint64
	d[0], b = bits.Sub64(z[0], n0, 0)
	d[1], b = bits.Sub64(z[1], n1, b)
	d[2], b = bits.Sub64(z[2], n2, b)
	d[3], b = bits.Sub64(z[3], n3, b)
	_, b = bits.Sub64(carry, 0, b)
	keep := -b // all ones: it was below n
	z[0] = d[0] ^ (d[0]^z[0])&keep
	z[1] = d[1] ^ (d[1]^z[1])&keep
	z[2] = d[2] ^ (d[2]^z[2])&keep
	z[3] = d[3] ^ (d[3]^z[3])&keep
	return 1 - b
}

// add sets z to a+b.
func (z *scalar) add(a, b *scalar) {
	var c uint64
	z[0], c = bits.Add64(a[0], b[0], 0)
	z[1], c = bits.Add64(a[1], b[1], c)
	z[2], c = bits.Add64(a[2], b[2], c)
	z[3], c = bits.Add64(a[3], b[3], c)
	z.reduce(c)
}

// mulAdd is x·y + a + c, which fits in two words.
func mulAdd(x, y, a, c uint64) (hi, lo uint64) {
	hi, lo = bits.Mul64(x, y)
	var carry uint64
	lo, carry = bits.Add64(lo, a, 0)
	hi += carry
	lo, carry = bits.Add64(lo, c, 0)
	return hi + carry, lo
}

// mul sets z to abR⁻¹. The three may be the same. Before each round t is below 2n.
func (z *scalar) mul(a, b *scalar) {
	var t0, t1, t2, t3, t4 uint64
	for i := range b {
		var c, carry, t5 uint64
		y := b[i]
		c, t0 = mulAdd(a[0], y, t0, 0)
		c, t1 = mulAdd(a[1], y, t1, c)
		c, t2 = mulAdd(a[2], y, t2, c)
		c, t3 = mulAdd(a[3], y, t3, c)
		t4, t5 = bits.Add64(t4, c, 0)

		m := t0 * negInverse
		c, _ = mulAdd(m, n0, t0, 0)
		c, t0 = mulAdd(m, n1, t1, c)
		c, t1 = mulAdd(m, n2, t2, c)
		c, t2 = mulAdd(m, n3, t3, c)
		t3, carry = bits.Add64(t4, c, 0)
		t4 = t5 + carry
	}
	*z = scalar{t0, t1, t2, t3}
	z.reduce(t4)
}

// zero reports whether it is 0.
func (z *scalar) zero() bool { return z[0]|z[1]|z[2]|z[3] == 0 }

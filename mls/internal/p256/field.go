package p256

import (
	"encoding/binary"
	"math/bits"
)

// field is an integer modulo p, the prime of the curve's field, below p: four limbs, the least significant first, in Montgomery's domain
// with R = 2^256. Its arithmetic is for what everybody may know: it takes time that depends on the values.
type field [4]uint64

// p = 2^256 - 2^224 + 2^192 + 2^96 - 1, by limbs.
const (
	p0 = 0xffffffffffffffff
	p1 = 0x00000000ffffffff
	p2 = 0
	p3 = 0xffffffff00000001
)

var (
	// fieldOne is R mod p: 1 in the domain.
	fieldOne = field{1, 0xffffffff00000000, 0xffffffffffffffff, 0x00000000fffffffe}
	// fieldSquare is R² mod p: mul by it brings into the domain.
	fieldSquare = field{3, 0xfffffffbffffffff, 0xfffffffffffffffe, 0x00000004fffffffd}
)

// set takes 32 bytes, big-endian, which are below p.
func (z *field) set(b []byte) {
	_ = b[31]
	for i := range z {
		z[i] = binary.BigEndian.Uint64(b[24-8*i:])
	}
	z.mul(z, &fieldSquare)
}

// reduce sets z to t + carry·2^256, which is below 2p, or to p less if that is not below p.
func (z *field) reduce(t0, t1, t2, t3, carry uint64) {
	s0, b := bits.Sub64(t0, p0, 0)
	s1, b := bits.Sub64(t1, p1, b)
	s2, b := bits.Sub64(t2, p2, b)
	s3, b := bits.Sub64(t3, p3, b)
	if _, b = bits.Sub64(carry, 0, b); b == 0 {
		t0, t1, t2, t3 = s0, s1, s2, s3
	}
	z[0], z[1], z[2], z[3] = t0, t1, t2, t3
}

// mul sets z to xyR⁻¹. The three may be the same.
//
// One limb of y after the other is multiplied with x and added, and the lowest limb m of the sum is taken away by adding m·p, for -p⁻¹ is 1
// modulo 2^64. Of m·p the limbs p0 and p1 together are m·2^96 - m: what is left of them is m·2^32 in the next limb. The first
// round stands by itself, and reduce is written out: that is a seventh faster.
func (z *field) mul(x, y *field) {
	x0, x1, x2, x3 := x[0], x[1], x[2], x[3]
	h0, t0 := bits.Mul64(x0, y[0])
	h1, t1 := bits.Mul64(x1, y[0])
	h2, t2 := bits.Mul64(x2, y[0])
	t4, t3 := bits.Mul64(x3, y[0])
	t1, c := bits.Add64(t1, h0, 0)
	t2, c = bits.Add64(t2, h1, c)
	t3, c = bits.Add64(t3, h2, c)
	t4 += c
	hi, lo := bits.Mul64(t0, p3)
	t1, c = bits.Add64(t1, t0<<32, 0)
	t2, c = bits.Add64(t2, t0>>32, c)
	t3, c = bits.Add64(t3, lo, c)
	t4, c = bits.Add64(t4, hi, c)
	t0, t1, t2, t3, t4 = t1, t2, t3, t4, c
	for i := 1; i < 4; i++ {
		v := y[i]
		h0, l0 := bits.Mul64(x0, v)
		h1, l1 := bits.Mul64(x1, v)
		h2, l2 := bits.Mul64(x2, v)
		h3, l3 := bits.Mul64(x3, v)
		l1, c = bits.Add64(l1, h0, 0)
		l2, c = bits.Add64(l2, h1, c)
		l3, c = bits.Add64(l3, h2, c)
		h3 += c
		t0, c = bits.Add64(t0, l0, 0)
		t1, c = bits.Add64(t1, l1, c)
		t2, c = bits.Add64(t2, l2, c)
		t3, c = bits.Add64(t3, l3, c)
		t4, c = bits.Add64(t4, h3, c)
		t5 := c
		hi, lo := bits.Mul64(t0, p3)
		t1, c = bits.Add64(t1, t0<<32, 0)
		t2, c = bits.Add64(t2, t0>>32, c)
		t3, c = bits.Add64(t3, lo, c)
		t4, c = bits.Add64(t4, hi, c)
		t0, t1, t2, t3, t4 = t1, t2, t3, t4, t5+c
	}
	s0, b := bits.Sub64(t0, p0, 0)
	s1, b := bits.Sub64(t1, p1, b)
	s2, b := bits.Sub64(t2, p2, b)
	s3, b := bits.Sub64(t3, p3, b)
	if _, b = bits.Sub64(t4, 0, b); b == 0 {
		t0, t1, t2, t3 = s0, s1, s2, s3
	}
	z[0], z[1], z[2], z[3] = t0, t1, t2, t3
}

// square sets z to x²R⁻¹. They may be the same.
func (z *field) square(x *field) {
	x0, x1, x2, x3 := x[0], x[1], x[2], x[3]
	// The products of different limbs, twice.
	h1, t1 := bits.Mul64(x0, x1)
	h2, l2 := bits.Mul64(x0, x2)
	h3, l3 := bits.Mul64(x0, x3)
	h4, l4 := bits.Mul64(x1, x3)
	h5, l5 := bits.Mul64(x2, x3)
	t2, c := bits.Add64(h1, l2, 0)
	t3, c := bits.Add64(l3, h2, c)
	t4, c := bits.Add64(h3, l4, c)
	t5, c := bits.Add64(l5, h4, c)
	t6 := h5 + c
	h, l := bits.Mul64(x1, x2)
	t3, c = bits.Add64(t3, l, 0)
	t4, c = bits.Add64(t4, h, c)
	t5, c = bits.Add64(t5, 0, c)
	t6 += c
	t7 := t6 >> 63
	t6 = t6<<1 | t5>>63
	t5 = t5<<1 | t4>>63
	t4 = t4<<1 | t3>>63
	t3 = t3<<1 | t2>>63
	t2 = t2<<1 | t1>>63
	t1 <<= 1
	// The squares of the limbs.
	h, t0 := bits.Mul64(x0, x0)
	t1, c = bits.Add64(t1, h, 0)
	h, l = bits.Mul64(x1, x1)
	t2, c = bits.Add64(t2, l, c)
	t3, c = bits.Add64(t3, h, c)
	h, l = bits.Mul64(x2, x2)
	t4, c = bits.Add64(t4, l, c)
	t5, c = bits.Add64(t5, h, c)
	h, l = bits.Mul64(x3, x3)
	t6, c = bits.Add64(t6, l, c)
	t7, _ = bits.Add64(t7, h, c)
	// The lower four limbs are taken away as in mul.
	h, l = bits.Mul64(t0, p3)
	t1, c = bits.Add64(t1, t0<<32, 0)
	t2, c = bits.Add64(t2, t0>>32, c)
	t3, c = bits.Add64(t3, l, c)
	t0 = h + c
	h, l = bits.Mul64(t1, p3)
	t2, c = bits.Add64(t2, t1<<32, 0)
	t3, c = bits.Add64(t3, t1>>32, c)
	t0, c = bits.Add64(t0, l, c)
	t1 = h + c
	h, l = bits.Mul64(t2, p3)
	t3, c = bits.Add64(t3, t2<<32, 0)
	t0, c = bits.Add64(t0, t2>>32, c)
	t1, c = bits.Add64(t1, l, c)
	t2 = h + c
	h, l = bits.Mul64(t3, p3)
	t0, c = bits.Add64(t0, t3<<32, 0)
	t1, c = bits.Add64(t1, t3>>32, c)
	t2, c = bits.Add64(t2, l, c)
	t3 = h + c
	t0, c = bits.Add64(t0, t4, 0)
	t1, c = bits.Add64(t1, t5, c)
	t2, c = bits.Add64(t2, t6, c)
	t3, c = bits.Add64(t3, t7, c)
	z.reduce(t0, t1, t2, t3, c)
}

// add sets z to x+y.
func (z *field) add(x, y *field) {
	t0, c := bits.Add64(x[0], y[0], 0)
	t1, c := bits.Add64(x[1], y[1], c)
	t2, c := bits.Add64(x[2], y[2], c)
	t3, c := bits.Add64(x[3], y[3], c)
	z.reduce(t0, t1, t2, t3, c)
}

// sub sets z to x-y.
func (z *field) sub(x, y *field) {
	t0, b := bits.Sub64(x[0], y[0], 0)
	t1, b := bits.Sub64(x[1], y[1], b)
	t2, b := bits.Sub64(x[2], y[2], b)
	t3, b := bits.Sub64(x[3], y[3], b)
	t0, c := bits.Add64(t0, -b, 0)
	t1, c = bits.Add64(t1, -b&p1, c)
	t2, c = bits.Add64(t2, 0, c)
	t3, _ = bits.Add64(t3, -b&p3, c)
	z[0], z[1], z[2], z[3] = t0, t1, t2, t3
}

func (z *field) zero() bool { return z[0]|z[1]|z[2]|z[3] == 0 }

// invert sets z to the inverse of x, both in the domain: x to the power of p-2. The inverse of 0 is 0.
func (z *field) invert(x *field) {
	r, a := fieldOne, *x
	for _, limb := range [4]uint64{p0 - 2, p1, p2, p3} {
		for i := range 64 {
			if limb>>i&1 == 1 {
				r.mul(&r, &a)
			}
			a.square(&a)
		}
	}
	*z = r
}

// addOrder adds the order of the curve to a value that is not in the domain, and reports whether the sum is still below p.
func (z *field) addOrder() bool {
	var c uint64
	z[0], c = bits.Add64(z[0], n0, 0)
	z[1], c = bits.Add64(z[1], n1, c)
	z[2], c = bits.Add64(z[2], n2, c)
	z[3], c = bits.Add64(z[3], n3, c)
	_, b := bits.Sub64(z[0], p0, 0)
	_, b = bits.Sub64(z[1], p1, b)
	_, b = bits.Sub64(z[2], p2, b)
	_, b = bits.Sub64(z[3], p3, b)
	return c == 0 && b == 1
}

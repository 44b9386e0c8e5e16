package p256

import "math/bits"

// batch is how many steps of division are done with the lowest limbs alone, until all limbs follow.
const batch = 62

// fours is 4^i·R² mod n by i, the number of batches: 741 steps are enough for 256 bits (Bernstein and Yang, "Fast constant-time
// gcd computation and modular inversion", section 11).
var fours = func() (f [(741+batch-1)/batch + 1]scalar) {
	f[0] = square
	for i := 1; i < len(f); i++ {
		f[i].add(&f[i-1], &f[i-1])
		f[i].add(&f[i], &f[i])
	}
	return f
}()

// invertPublic sets z to the inverse of a, which is not 0 and not in the domain; z is in it. It takes time that depends on a: only for
// what everybody may know.
//
// It is the greatest common divisor of n and a by divisions from the lowest bit on, as the paper above describes them:
// f and g become n's and a's common divisor, 1 or -1, and 0. Meanwhile, for some i, the number of batches,
//
//	f = d·a·4^i  and  g = e·a·4^i  modulo n
//
// since a batch divides f and g by 2^62, and d and e by 2^64, which is the step of a Montgomery product.
func (z *scalar) invertPublic(a *scalar) {
	f, g := wide{n0, n1, n2, n3}, wide{a[0], a[1], a[2], a[3]}
	var d scalar
	e := scalar{1}
	eta := -1
	i := 0
	for ; g != (wide{}); i++ {
		var m transition
		eta = m.steps(eta, f[0], g[0])
		f, g = f.combine(m.u, &g, m.v), f.combine(m.q, &g, m.r)
		d, e = d.combine(m.u, &e, m.v), d.combine(m.q, &e, m.r)
	}
	if f[4]>>63 == 1 { // -1
		d.negate()
	}
	z.mul(&d, &fours[i])
}

// transition says what a batch makes of f and g: (u·f + v·g) / 2^62 and (q·f + r·g) / 2^62. |u| + |v| and |q| + |r| are 2^62 at most.
type transition struct{ u, v, q, r int64 }

// steps finds what a batch of divisions does to f and g, of which the lowest limbs tell. f is odd. eta decides which of them is to be made
// smaller, and is returned as it is afterwards.
func (m *transition) steps(eta int, f, g uint64) int {
	u, v, q, r := int64(1), int64(0), int64(0), int64(1)
	left := batch
	for {
		zeros := bits.TrailingZeros64(g | 1<<left)
		g >>= zeros
		u, v = u<<zeros, v<<zeros
		eta -= zeros
		if left -= zeros; left == 0 {
			*m = transition{u, v, q, r}
			return eta
		}
		if eta < 0 {
			eta = -eta
			f, g = g, -f
			u, q = q, -u
			v, r = r, -v
		}
		// So many multiples of f as make the next bits of g zero, up to six, but not beyond the step at which the two change places.
		w := f * (f*f - 2) * g & (1<<min(left, eta+1, 6) - 1) // f(f²-2) is -1/f modulo 64
		g += f * w
		q += u * int64(w)
		r += v * int64(w)
	}
}

// wide is a signed integer of 320 bits in two's complement, the least significant limb first.
type wide [5]uint64

// combine is (u·f + v·g) / 2^62. f and g are below 2^257 in magnitude.
func (f *wide) combine(u int64, g *wide, v int64) (z wide) {
	var t wide
	z.mul(f, u)
	t.mul(g, v)
	var c uint64
	for i := range z {
		z[i], c = bits.Add64(z[i], t[i], c)
	}
	for i := range 4 {
		z[i] = z[i]>>batch | z[i+1]<<(64-batch)
	}
	z[4] = uint64(int64(z[4]) >> batch)
	return z
}

// mul sets z to u·f modulo 2^320.
func (z *wide) mul(f *wide, u int64) {
	var c uint64
	for i := range z {
		h, l := bits.Mul64(f[i], uint64(u))
		z[i], c = bits.Add64(l, c, 0)
		c += h
	}
	if u < 0 { // it was taken for 2^64 more
		var b uint64
		for i := range 4 {
			z[i+1], b = bits.Sub64(z[i+1], f[i], b)
		}
	}
}

// combine is (u·d + v·e) / 2^64 modulo n. |u| + |v| is 2^62 at most.
func (z *scalar) combine(u int64, e *scalar, v int64) scalar {
	x, y := *z, *e
	if u < 0 {
		x.negate()
		u = -u
	}
	if v < 0 {
		y.negate()
		v = -v
	}
	var t [5]uint64
	var c uint64
	for i := range x {
		c, t[i] = mulAdd(x[i], uint64(u), c, 0)
	}
	t[4] = c
	c = 0
	for i := range y {
		c, t[i] = mulAdd(y[i], uint64(v), t[i], c)
	}
	t[4] += c
	m := t[0] * negInverse
	c, _ = mulAdd(m, n0, t[0], 0)
	c, t[0] = mulAdd(m, n1, t[1], c)
	c, t[1] = mulAdd(m, n2, t[2], c)
	c, t[2] = mulAdd(m, n3, t[3], c)
	r := scalar{t[0], t[1], t[2]}
	var carry uint64
	r[3], carry = bits.Add64(t[4], c, 0)
	r.reduce(carry)
	return r
}

// negate sets z to n-z: n for 0.
func (z *scalar) negate() {
	var b uint64
	z[0], b = bits.Sub64(n0, z[0], 0)
	z[1], b = bits.Sub64(n1, z[1], b)
	z[2], b = bits.Sub64(n2, z[2], b)
	z[3], _ = bits.Sub64(n3, z[3], b)
}

package edwards

import "filippo.io/edwards25519/field"

type element = field.Element

// entry is an affine point of a table, as additions want it.
type entry struct{ sum, difference, product element } // y+x, y-x, 2dxy

// point is a point in extended coordinates: x = X/Z, y = Y/Z, xy = T/Z (Hisil, Wong, Carter, Dawson, "Twisted Edwards Curves Revisited").
// What is added and doubled here holds for all points of the curve: there are no exceptions.
type point struct{ x, y, z, t element }

// twoD is twice the d of the curve, -121665/121666.
var twoD = func() (d element) {
	var n, m, one element
	one.One()
	n.Mult32(&one, 121665)
	m.Mult32(&one, 121666)
	d.Multiply(n.Negate(&n), m.Invert(&m))
	d.Add(&d, &d)
	return d
}()

// identity is the neutral point.
func (r *point) identity() {
	r.x.Zero()
	r.y.One()
	r.z.One()
	r.t.Zero()
}

// add adds q, or its negative.
func (r *point) add(q *entry, minus bool) {
	var a, b, c, d, e, f, g, h element
	sum, difference := &q.sum, &q.difference
	if minus {
		sum, difference = difference, sum
	}
	a.Subtract(&r.y, &r.x)
	a.Multiply(&a, difference)
	b.Add(&r.y, &r.x)
	b.Multiply(&b, sum)
	c.Multiply(&r.t, &q.product)
	d.Add(&r.z, &r.z)
	e.Subtract(&b, &a)
	h.Add(&b, &a)
	f.Subtract(&d, &c)
	g.Add(&d, &c)
	if minus {
		f, g = g, f
	}
	r.x.Multiply(&e, &f)
	r.y.Multiply(&g, &h)
	r.t.Multiply(&e, &h)
	r.z.Multiply(&f, &g)
}

// double adds r to itself.
func (r *point) double() {
	var a, b, c, e, f, g, h element
	a.Square(&r.x)
	b.Square(&r.y)
	c.Square(&r.z)
	c.Add(&c, &c)
	e.Add(&r.x, &r.y)
	e.Square(&e)
	h.Add(&a, &b) // of opposite sign, as g, so that nothing is negated
	e.Subtract(&h, &e)
	g.Subtract(&a, &b)
	f.Add(&c, &g)
	r.x.Multiply(&e, &f)
	r.y.Multiply(&g, &h)
	r.t.Multiply(&e, &h)
	r.z.Multiply(&f, &g)
}

// entries makes entries of points. It inverts once for all of them.
func entries(points []point) []entry {
	out := make([]entry, len(points))
	before := make([]element, len(points)) // products of all Z before each
	var product element
	product.One()
	for i := range points {
		before[i] = product
		product.Multiply(&product, &points[i].z)
	}
	product.Invert(&product) // of all Z up to i
	for i := len(points) - 1; i >= 0; i-- {
		p, q := &points[i], &out[i]
		var inverse, x, y element
		inverse.Multiply(&product, &before[i])
		product.Multiply(&product, &p.z)
		x.Multiply(&p.x, &inverse)
		y.Multiply(&p.y, &inverse)
		q.sum.Add(&y, &x)
		q.difference.Subtract(&y, &x)
		q.product.Multiply(&x, &y)
		q.product.Multiply(&q.product, &twoD)
	}
	return out
}

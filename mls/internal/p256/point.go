package p256

// affine is a point of the curve by its coordinates. The point at infinity has none.
type affine struct{ x, y field }

// point is a point of the curve: x = X/ZZ and y = Y/ZZZ with ZZ³ = ZZZ². The point at infinity has a ZZ of 0, and is the zero value. Adding
// to such points what is affine takes ten multiplications and no case is an exception to what add and double do. They take time
// that depends on the points, and are for public ones only.
type point struct{ x, y, zz, zzz field }

func (r *point) infinite() bool { return r.zz.zero() }

func (r *point) set(q *affine) { *r = point{q.x, q.y, fieldOne, fieldOne} }

// add adds q.
func (r *point) add(q *affine) {
	if r.infinite() {
		r.set(q)
		return
	}
	var dx, dy, t, v field
	dx.mul(&q.x, &r.zz)
	dx.sub(&dx, &r.x)
	dy.mul(&q.y, &r.zzz)
	dy.sub(&dy, &r.y)
	if dx.zero() {
		if dy.zero() {
			r.double()
		} else { // the one is the other's negative
			*r = point{}
		}
		return
	}
	t.square(&dx)
	r.zz.mul(&r.zz, &t)
	v.mul(&r.x, &t)
	t.mul(&t, &dx)
	r.zzz.mul(&r.zzz, &t)
	r.y.mul(&r.y, &t)
	r.x.square(&dy)
	r.x.sub(&r.x, &t)
	r.x.sub(&r.x, &v)
	r.x.sub(&r.x, &v)
	v.sub(&v, &r.x)
	v.mul(&v, &dy)
	r.y.sub(&v, &r.y)
}

// double adds r to itself: the slope is (3x² - 3) / 2y, and y is not 0, for the order of the curve is odd.
func (r *point) double() {
	if r.infinite() {
		return
	}
	var u, v, w, s, m, t field
	u.add(&r.y, &r.y)
	v.square(&u)
	w.mul(&u, &v)
	s.mul(&r.x, &v)
	t.add(&r.x, &r.zz)
	m.sub(&r.x, &r.zz)
	m.mul(&m, &t)
	t.add(&m, &m)
	m.add(&m, &t)
	r.zz.mul(&r.zz, &v)
	r.zzz.mul(&r.zzz, &w)
	r.y.mul(&r.y, &w)
	r.x.square(&m)
	r.x.sub(&r.x, &s)
	r.x.sub(&r.x, &s)
	s.sub(&s, &r.x)
	s.mul(&s, &m)
	r.y.sub(&s, &r.y)
}

// toAffine sets out to the points, none of which is at infinity. It inverts once for all of them.
func toAffine(out []affine, points []point) {
	before := make([]field, len(points)) // products of all ZZZ before each
	product := fieldOne
	for i := range points {
		before[i] = product
		product.mul(&product, &points[i].zzz)
	}
	product.invert(&product) // of all ZZZ up to i
	for i := len(points) - 1; i >= 0; i-- {
		p := &points[i]
		var inverse field // of ZZZ
		inverse.mul(&product, &before[i])
		product.mul(&product, &p.zzz)
		out[i].y.mul(&p.y, &inverse)
		inverse.mul(&inverse, &p.zz) // 1/Z
		inverse.square(&inverse)
		out[i].x.mul(&p.x, &inverse)
	}
}

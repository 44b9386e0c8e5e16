package table

import "slices"

// vector is an immutable sequence of connections: a tree of fan-out 32 whose leaves are full but for the last. A
// change copies the nodes from the root to one leaf. The zero vector is empty.
type vector[C any] struct {
	root   *chunk[C]
	n      int
	height int // levels of chunks below the root
}

const (
	fanBits = 5
	fan     = 1 << fanBits
)

// chunk has kids or, at the bottom, conns.
type chunk[C any] struct {
	kids  []*chunk[C]
	conns []*C
}

// at returns element i, 0 <= i < n.
func (v *vector[C]) at(i int) *C {
	c := v.root
	for h := v.height; h > 0; h-- {
		c = c.kids[i>>(h*fanBits)&(fan-1)]
	}
	return c.conns[i&(fan-1)]
}

// each calls yield for the leaves' slices in order.
func (v *vector[C]) each(yield func([]*C)) {
	if v.n > 0 {
		v.root.each(yield)
	}
}

func (c *chunk[C]) each(yield func([]*C)) {
	for _, k := range c.kids {
		k.each(yield)
	}
	if c.conns != nil {
		yield(c.conns)
	}
}

// push returns v with c at the end.
func (v vector[C]) push(c *C) vector[C] {
	if v.root == nil {
		v.root = &chunk[C]{}
	}
	if v.n == fan<<(v.height*fanBits) {
		v.root = &chunk[C]{kids: []*chunk[C]{v.root}}
		v.height++
	}
	v.root = v.root.put(v.n, v.height, c)
	v.n++
	return v
}

// set returns v with c at i, 0 <= i < n.
func (v vector[C]) set(i int, c *C) vector[C] {
	v.root = v.root.put(i, v.height, c)
	return v
}

// put returns a copy of the way to element i with c there; i may be one past the end.
func (k *chunk[C]) put(i, height int, c *C) *chunk[C] {
	if height == 0 {
		return &chunk[C]{conns: putAt(k.conns, i&(fan-1), c)}
	}
	slot := i >> (height * fanBits) & (fan - 1)
	kid := &chunk[C]{}
	if slot < len(k.kids) {
		kid = k.kids[slot]
	}
	return &chunk[C]{kids: putAt(k.kids, slot, kid.put(i, height-1, c))}
}

func putAt[E any](s []E, i int, e E) []E {
	t := make([]E, max(len(s), i+1))
	copy(t, s)
	t[i] = e
	return t
}

// pop returns v without its last element; n > 0.
func (v vector[C]) pop() vector[C] {
	v.n--
	if v.n == 0 {
		return vector[C]{}
	}
	v.root = v.root.pop(v.height)
	if v.height > 0 && len(v.root.kids) == 1 {
		v.root = v.root.kids[0]
		v.height--
	}
	return v
}

// pop returns nil when nothing is left.
func (k *chunk[C]) pop(height int) *chunk[C] {
	if height == 0 {
		if len(k.conns) == 1 {
			return nil
		}
		return &chunk[C]{conns: slices.Clone(k.conns[:len(k.conns)-1])}
	}
	last := len(k.kids) - 1
	kid := k.kids[last].pop(height - 1)
	if kid != nil {
		return &chunk[C]{kids: putAt(k.kids, last, kid)}
	}
	if last == 0 {
		return nil
	}
	return &chunk[C]{kids: slices.Clone(k.kids[:last])}
}

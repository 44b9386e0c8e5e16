package table

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/seed31b3bfd0/slimgo/internal/invariant"
)

// members are distinct connections, an ordered list for each kind: joined at the end, and when one leaves, the last
// of its list takes its place. Immutable; the zero members are empty. Up to flatMax they are one slice, beyond that a
// big.
type members[C any] struct {
	flat []*C         // the lists one after the other; nil if big
	ends [kinds]uint8 // flat[ends[k-1]:ends[k]] is the list of kind k
	big  *big[C]
}

const (
	flatMax = 64
	flatMin = 32 // a big this small becomes flat again
)

type big[C any] struct {
	list [kinds]vector[C]
	// place is the index of each connection in its list. It belongs to the writer, is changed in place and true only
	// of the newest big that shares it: matches leave it alone.
	place map[*C]int
}

// part is the list of kind k of flat members.
func (m *members[C]) part(k Kind) []*C {
	start := uint8(0)
	if k > 0 {
		start = m.ends[k-1]
	}
	return m.flat[start:m.ends[k]]
}

func (m *members[C]) count(k Kind) int {
	if m.big != nil {
		return m.big.list[k].n
	}
	return len(m.part(k))
}

// loneKind is the kind of the only one: the first whose list does not end at 0.
func (m *members[C]) loneKind() Kind {
	return Kind(bits.TrailingZeros32(binary.LittleEndian.Uint32(m.ends[:])) / 8)
}

func (m *members[C]) total() int {
	if m.big == nil {
		return len(m.flat)
	}
	n := 0
	for k := range m.big.list {
		n += m.big.list[k].n
	}
	return n
}

// at returns element i of the list of kind k, 0 <= i < count(k).
func (m *members[C]) at(k Kind, i int) *C {
	if m.big != nil {
		return m.big.list[k].at(i)
	}
	return m.part(k)[i]
}

// appendTo appends the lists of the kinds in f, without skip.
func (m *members[C]) appendTo(dst []*C, skip *C, f Filter) []*C {
	if m.big != nil {
		return m.big.appendTo(dst, skip, f)
	}
	if f&All == All {
		return appendBut(dst, m.flat, skip)
	}
	for k := range Kind(kinds) {
		if f.Has(k) {
			dst = appendBut(dst, m.part(k), skip)
		}
	}
	return dst
}

func (b *big[C]) appendTo(dst []*C, skip *C, f Filter) []*C {
	for k := range b.list {
		if f.Has(Kind(k)) {
			b.list[k].each(func(cs []*C) { dst = appendBut(dst, cs, skip) })
		}
	}
	return dst
}

// appendBut appends cs, which are distinct, without skip.
func appendBut[C any](dst, cs []*C, skip *C) []*C {
	i := -1
	if skip != nil {
		i = slices.Index(cs, skip)
	}
	if i < 0 {
		return append(dst, cs...)
	}
	dst = append(dst, cs[:i]...)
	return append(dst, cs[i+1:]...)
}

// The rest is for the writer.

func (m *members[C]) contains(c *C, k Kind) bool {
	if m.big != nil {
		_, ok := m.big.place[c]
		return ok
	}
	return slices.Contains(m.part(k), c)
}

// join returns m with c, which must not be in it, at the end of the list of kind k.
func (m *members[C]) join(c *C, k Kind) members[C] {
	if invariant.On && m.contains(c, k) {
		invariant.Failf("table: connection joins a list twice")
	}
	if m.big != nil {
		return members[C]{big: m.big.join(c, k)}
	}
	if len(m.flat) == flatMax {
		return members[C]{big: m.grown().join(c, k)}
	}
	n := members[C]{flat: make([]*C, len(m.flat)+1), ends: m.ends}
	i := m.ends[k]
	copy(n.flat, m.flat[:i])
	n.flat[i] = c
	copy(n.flat[i+1:], m.flat[i:])
	for j := k; j < kinds; j++ {
		n.ends[j]++
	}
	return n
}

func (b *big[C]) join(c *C, k Kind) *big[C] {
	n := *b
	n.place[c] = n.list[k].n
	n.list[k] = n.list[k].push(c)
	return &n
}

// leave returns m without c, which must be in its list of kind k.
func (m *members[C]) leave(c *C, k Kind) members[C] {
	if m.big != nil {
		b := m.big.leave(c, k)
		if r := (members[C]{big: b}); r.total() > flatMin {
			return r
		}
		return b.shrunk()
	}
	i := slices.Index(m.part(k), c)
	if k > 0 {
		i += int(m.ends[k-1])
	}
	last := int(m.ends[k]) - 1
	n := members[C]{flat: make([]*C, len(m.flat)-1), ends: m.ends}
	copy(n.flat, m.flat[:last])
	copy(n.flat[last:], m.flat[last+1:])
	if i < last {
		n.flat[i] = m.flat[last]
	}
	for j := k; j < kinds; j++ {
		n.ends[j]--
	}
	return n
}

func (b *big[C]) leave(c *C, k Kind) *big[C] {
	n := *b
	i := n.place[c]
	delete(n.place, c)
	last := n.list[k].at(n.list[k].n - 1)
	n.list[k] = n.list[k].pop()
	if last != c {
		n.list[k] = n.list[k].set(i, last)
		n.place[last] = i
	}
	return &n
}

// grown is m as a big of its own.
func (m *members[C]) grown() *big[C] {
	b := &big[C]{place: make(map[*C]int, 2*flatMax)}
	for k := range Kind(kinds) {
		for _, c := range m.part(k) {
			b = b.join(c, k)
		}
	}
	return b
}

// shrunk is b as flat members.
func (b *big[C]) shrunk() members[C] {
	var m members[C]
	for k := range b.list {
		b.list[k].each(func(cs []*C) { m.flat = append(m.flat, cs...) })
		m.ends[k] = uint8(len(m.flat))
	}
	return m
}

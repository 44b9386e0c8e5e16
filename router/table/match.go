package table

import (
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Place is where the table has a prefix, for callers with many messages for one: the zero Place is nowhere. It is one pointer, and keeps
// of a prefix that has gone nothing but the memory of its components.
type Place[C any] struct{ leaf *leaf[prefix[C]] }

// Place returns where n's prefix is now: at the place where it was, unless it has gone from there, or nowhere. was is zero or a result
// for the same prefix of the same table. n is borrowed. Safe for all; no lock, no allocation.
func (t *Table[C]) Place(n *wire.Name, was Place[C]) Place[C] {
	if was.leaf != nil && was.leaf.v.state.Load() != t.gone {
		return was
	}
	k := prefixKey(n)
	return Place[C]{t.prefixes.root.Load().find(&k)}
}

// MatchOne returns one connection that holds n and is neither skip nor of a kind outside f; nil if there is none. A
// specific id is held by its own subscribers only, the null id by every subscriber of the prefix.
//
// Of the kinds Local, Remote, Peer, Edge the first that has such a connection wins; within it, in turns:
//   - specific id: each list has a cursor, which moves only while the list has two or more, once for each
//     connection looked at
//   - null id: the prefix has one cursor, which moves once for each non-empty list looked at; from there the first
//     that is not skip
//
// as upstream; TestRotation has the sequences observed there. n is borrowed. Safe for all; no lock, no allocation.
// Rules: P-any.
func (t *Table[C]) MatchOne(n *wire.Name, skip *C, f Filter) *C {
	return t.Place(n, Place[C]{}).MatchOne(n, skip, f)
}

// MatchOne is that of the table, for a name under this prefix.
func (at Place[C]) MatchOne(n *wire.Name, skip *C, f Filter) *C {
	if at.leaf == nil {
		return nil
	}
	p := &at.leaf.v
	s := p.state.Load()
	if n.Hi&n.Lo == wire.Null {
		return s.union.pickWild(&p.wild, skip, f)
	}
	e := s.find(n.Hi, n.Lo)
	if e == nil {
		return nil
	}
	if len(e.flat) == 1 {
		if c := e.flat[0]; c != skip && f.Has(e.loneKind()) {
			return c
		}
		return nil
	}
	return e.pick(skip, f)
}

// MatchFree is for a caller to whom MatchOne gave a connection that cannot take a message now. It returns another
// that holds n and is neither skip nor of a kind outside f nor busy: of the kinds in their order the first that has
// one, in turns, so that those who are not busy share what the busy ones miss. It looks at maxLooks connections at
// most; nil: it found none, and MatchOne's choice stands. Cursors move once for each connection looked at, save that
// of a specific id's list of one.
//
// busy is called on the caller's goroutine, while others may change what it reads. Safe for all; no lock, no
// allocation.
func (t *Table[C]) MatchFree(n *wire.Name, skip *C, f Filter, busy func(*C) bool) *C {
	p, s := t.at(n)
	if p == nil {
		return nil
	}
	if n.Hi&n.Lo == wire.Null {
		return s.union.pickFree(nil, &p.wild, skip, f, busy)
	}
	if e := s.find(n.Hi, n.Lo); e != nil {
		return e.pickFree(e.turns, nil, skip, f, busy)
	}
	return nil
}

// MatchAll appends to dst every connection that holds n and is neither skip nor of a kind outside f: the kinds in the
// order of MatchOne, within a kind in the order of subscribing, save that the last takes the place of one that left.
// No connection comes twice. n is borrowed; dst grows as with append. Safe for all; no lock, no allocation if dst has
// room. Rules: P-mul-1.
func (t *Table[C]) MatchAll(n *wire.Name, skip *C, f Filter, dst []*C) []*C {
	return t.Place(n, Place[C]{}).MatchAll(n, skip, f, dst)
}

// MatchAll is that of the table, for a name under this prefix.
func (at Place[C]) MatchAll(n *wire.Name, skip *C, f Filter, dst []*C) []*C {
	if at.leaf == nil {
		return dst
	}
	s := at.leaf.v.state.Load()
	if n.Hi&n.Lo == wire.Null {
		return s.union.appendTo(dst, skip, f)
	}
	if e := s.find(n.Hi, n.Lo); e != nil {
		return e.appendTo(dst, skip, f)
	}
	return dst
}

// at returns n's prefix and its state now, or nil, nil.
func (t *Table[C]) at(n *wire.Name) (*prefix[C], *state[C]) {
	at := t.Place(n, Place[C]{})
	if at.leaf == nil {
		return nil, nil
	}
	return &at.leaf.v, at.leaf.v.state.Load()
}

// pick is MatchOne for a specific id.
func (e *entry[C]) pick(skip *C, f Filter) *C {
	for k := range Kind(kinds) {
		n := e.count(k)
		if n == 0 || !f.Has(k) {
			continue
		}
		if n == 1 {
			if c := e.at(k, 0); c != skip {
				return c
			}
			continue
		}
		return e.turn(k, n, &e.turns[k], skip)
	}
	return nil
}

// turn takes the next of the n > 1 connections of kind k, and the one after if that is skip.
func (e *entry[C]) turn(k Kind, n int, cursor *atomic.Uint64, skip *C) *C {
	i := next(cursor, n)
	if c := e.at(k, i); c != skip {
		return c
	}
	if c := e.at(k, next(cursor, n)); c != skip {
		return c
	}
	// Others moved the cursor in between, full circle. They are distinct: the neighbour is not skip.
	return e.at(k, (i+1)%n)
}

// pickWild is MatchOne for the null id.
func (m *members[C]) pickWild(cursor *atomic.Uint64, skip *C, f Filter) *C {
	for k := range Kind(kinds) {
		n := m.count(k)
		if n == 0 || !f.Has(k) {
			continue
		}
		i := next(cursor, n)
		if c := m.at(k, i); c != skip {
			return c
		}
		if n > 1 {
			return m.at(k, (i+1)%n)
		}
	}
	return nil
}

// maxLooks bounds what MatchFree costs where very many are busy.
const maxLooks = 32

// pickFree is MatchFree. The cursor is wild or, if that is nil, the kind's of turns, which is set where a list has two.
func (m *members[C]) pickFree(turns *[kinds]atomic.Uint64, wild *atomic.Uint64, skip *C, f Filter,
	busy func(*C) bool) *C {
	left := maxLooks
	for k := range Kind(kinds) {
		n := m.count(k)
		if !f.Has(k) {
			continue
		}
		looks := min(n, left)
		left -= looks
		for range looks {
			i := 0
			switch {
			case wild != nil:
				i = next(wild, n)
			case n > 1:
				i = next(&turns[k], n)
			}
			if c := m.at(k, i); c != skip && !busy(c) {
				return c
			}
		}
	}
	return nil
}

// next returns the cursor modulo n and moves it on.
func next(cursor *atomic.Uint64, n int) int {
	return int((cursor.Add(1) - 1) % uint64(n))
}

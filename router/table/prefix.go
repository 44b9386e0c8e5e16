package table

import (
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// prefix is what the table knows about three components; the leaf of the table's trie. It stays while anybody holds a
// name under it.
type prefix[C any] struct {
	state atomic.Pointer[state[C]] // never nil once published; stored by the writer
	wild  atomic.Uint64            // rotation of null-id matches
	text  atomic.Pointer[Text]     // strings of the first subscriber that had any; nil: none, as when nobody holds a name any more

	// The writer's:

	// holds counts, for each connection, the ids under this prefix it holds. nil while both ids and connections are
	// few, so that it is made of few; the rest of its life it is kept up.
	//
	//	holds != nil  <=>  state.many != nil || state.union.big != nil
	holds map[*C]int
	n     int // ids
}

// state is a prefix at one moment. Immutable.
type state[C any] struct {
	few   []id[C]          // all ids, or none if many is set
	many  *node[*entry[C]] // all ids, if there are more than fewMax (and until there are fewMin)
	union *members[C]      // everybody who holds an id, in the order of the first. Shared with a lone entry while flat
	one   [1]id[C]         // where a lone few lies: one cache line with the rest
}

const (
	fewMax = 16
	fewMin = 8
)

type id[C any] struct {
	hi, lo uint64
	entry  *entry[C]
}

// entry is the holders of one exact name at one moment. Immutable, but for the rotation behind turns.
type entry[C any] struct {
	members[C]
	turns *[kinds]atomic.Uint64 // outlives this entry; nil until a list has had two connections
	one   [1]*C                 // where a lone flat lies
}

// prefixKey and idKey put first what differs most between neighbours.
func prefixKey(n *wire.Name) key { return key{n.C[2], n.C[1], n.C[0]} }

func idKey(hi, lo uint64) key { return key{lo, hi, 0} }

// find returns the entry of an id, or nil.
func (s *state[C]) find(hi, lo uint64) *entry[C] {
	for i := range s.few {
		if e := &s.few[i]; e.lo == lo && e.hi == hi {
			return e.entry
		}
	}
	if s.many == nil {
		return nil
	}
	k := idKey(hi, lo)
	if l := s.many.find(&k); l != nil {
		return l.v
	}
	return nil
}

// The rest is for the writer.

// joinedInto makes n, which is new, e with c; e is nil if nobody held the name.
func (e *entry[C]) joinedInto(n *entry[C], c *C, k Kind) {
	if e == nil {
		n.one[0] = c
		n.flat = n.one[:]
		for j := k; j < kinds; j++ {
			n.ends[j] = 1
		}
		return
	}
	n.members, n.turns = e.join(c, k), e.turns
	if n.turns == nil && n.count(k) > 1 {
		n.turns = new([kinds]atomic.Uint64)
	}
}

// left returns e without c, or nil if nobody is left.
func (e *entry[C]) left(c *C, k Kind) *entry[C] {
	switch n := (&entry[C]{members: e.leave(c, k), turns: e.turns}); n.total() {
	case 0:
		return nil
	case 1:
		n.one[0] = n.flat[0]
		n.flat = n.one[:]
		return n
	default:
		return n
	}
}

// lone is the state of a prefix with one id, as most are, in one piece of memory with its entry. Other states refer to
// older ones' parts, and would keep all of them.
type lone[C any] struct {
	state[C]
	entry entry[C]
}

// newState returns a state and an entry to be filled.
func newState[C any](isLone bool) (*state[C], *entry[C]) {
	if isLone {
		x := new(lone[C])
		return &x.state, &x.entry
	}
	return new(state[C]), new(entry[C])
}

// add puts c on the list of an id it does not hold yet and tells whether that list was empty.
func (p *prefix[C]) add(hi, lo uint64, c *C, k Kind) (first bool) {
	old := p.state.Load()
	if old == nil {
		old = new(state[C])
	}
	was := old.find(hi, lo)
	s, now := newState[C](p.n == 0)
	s.few, s.many = old.few, old.many
	was.joinedInto(now, c, k)
	switch {
	case p.n == 0 || p.n == 1 && was != nil && old.union == &was.members:
		s.union = &now.members
		if now.big != nil {
			u := members[C]{big: old.union.grown().join(c, k)} // a big has one writer's map: not to be shared
			s.union = &u
		}
	case old.union.contains(c, k):
		s.union = old.union
	default:
		u := old.union.join(c, k)
		s.union = &u
	}
	if p.holds == nil && (s.union.big != nil || was == nil && p.n == fewMax) {
		p.countHolds(old)
	}
	p.setID(s, hi, lo, now, was == nil)
	if p.holds != nil {
		p.holds[c]++
	}
	p.state.Store(s)
	return was == nil || was.count(k) == 0
}

// drop takes c off the list of an id it holds, and tells whether that list is empty now and whether nobody holds the
// id any more. When the last id goes the state stays: the caller takes the prefix out of the table, and its state is the table's gone from then on.
func (p *prefix[C]) drop(hi, lo uint64, c *C, k Kind) (last, gone bool) {
	old := p.state.Load()
	was := old.find(hi, lo)
	now := was.left(c, k)
	last, gone = now == nil || now.count(k) == 0, now == nil
	if gone && p.n == 1 {
		p.n = 0
		return last, gone
	}
	s := &state[C]{few: old.few, many: old.many, union: old.union}
	switch {
	case p.n == 1 && old.union == &was.members:
		s.union = &now.members
	case !p.holdsOther(old, hi, lo, c, k):
		u := old.union.leave(c, k)
		s.union = &u
	}
	if gone {
		p.dropID(s, hi, lo)
	} else {
		p.setID(s, hi, lo, now, false)
	}
	switch n := p.holds[c]; {
	case s.many == nil && s.union.big == nil:
		p.holds = nil
	case n > 1:
		p.holds[c] = n - 1
	default:
		delete(p.holds, c)
	}
	p.state.Store(s)
	return last, gone
}

// holdsOther tells whether c, which holds this id, holds another under the prefix.
func (p *prefix[C]) holdsOther(s *state[C], hi, lo uint64, c *C, k Kind) bool {
	if p.holds != nil {
		return p.holds[c] > 1
	}
	for i := range s.few {
		if o := &s.few[i]; (o.hi != hi || o.lo != lo) && o.entry.contains(c, k) {
			return true
		}
	}
	return false
}

// setID makes e the entry of an id in the unpublished s.
func (p *prefix[C]) setID(s *state[C], hi, lo uint64, e *entry[C], isNew bool) {
	if isNew {
		p.n++
	}
	if s.many == nil && p.n > fewMax {
		p.spread(s)
	}
	if s.many != nil {
		s.many = plus(s.many, &leaf[*entry[C]]{key: idKey(hi, lo), v: e})
		return
	}
	few := s.one[:]
	if p.n > 1 {
		few = make([]id[C], p.n)
	}
	copy(few, s.few)
	at := p.n - 1
	for i := range s.few {
		if s.few[i].hi == hi && s.few[i].lo == lo {
			at = i
		}
	}
	few[at] = id[C]{hi, lo, e}
	s.few = few
}

// dropID removes an id from the unpublished s; another one remains.
func (p *prefix[C]) dropID(s *state[C], hi, lo uint64) {
	p.n--
	if s.many != nil {
		k := idKey(hi, lo)
		s.many = minus(s.many, &k)
		if p.n <= fewMin {
			p.gather(s)
		}
		return
	}
	few := s.one[:0]
	if p.n > 1 {
		few = make([]id[C], 0, p.n)
	}
	for _, o := range s.few {
		if o.hi != hi || o.lo != lo {
			few = append(few, o)
		}
	}
	s.few = few
}

// countHolds begins holds with s, the state before the change at hand: fewMax ids of flatMax connections at most.
func (p *prefix[C]) countHolds(s *state[C]) {
	p.holds = make(map[*C]int)
	for _, o := range s.few {
		for _, c := range o.entry.flat {
			p.holds[c]++
		}
	}
}

// spread moves the ids of s from the slice into a trie.
func (p *prefix[C]) spread(s *state[C]) {
	for _, o := range s.few {
		s.many = plus(s.many, &leaf[*entry[C]]{key: idKey(o.hi, o.lo), v: o.entry})
	}
	s.few = nil
}

// gather moves the ids of s from the trie into a slice.
func (p *prefix[C]) gather(s *state[C]) {
	s.few = make([]id[C], 0, p.n)
	s.many.all(func(l *leaf[*entry[C]]) bool {
		s.few = append(s.few, id[C]{l.key[1], l.key[0], l.v})
		return true
	})
	s.many = nil
}

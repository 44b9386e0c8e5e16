package table

import "github.com/seed31b3bfd0/slimgo/wire"

// Strings returns the strings of a prefix as its first subscriber gave them; false if nobody holds a name under it or
// nobody gave any. Safe for all; no lock.
func (t *Table[C]) Strings(prefix [3]uint64) ([3]string, bool) {
	if x := t.Text(prefix); x != nil {
		return x.Parts(), true
	}
	return [3]string{}, false
}

// Held is an exact name that some connection holds.
type Held struct {
	Name   wire.Name
	Str    [3]string // if HasStr
	HasStr bool
	Kinds  Filter // of those who hold it; never empty
}

// Range calls yield for every exact name held by a connection of a kind in f, once each, in no order, until yield
// returns false. It takes no lock and keeps nobody waiting: a name that comes or goes meanwhile is yielded or not,
// one that stays is. Safe for all; yield may call the table.
func (t *Table[C]) Range(f Filter, yield func(Held) bool) {
	t.prefixes.root.Load().all(func(l *leaf[prefix[C]]) bool {
		h := held(l)
		return l.v.state.Load().all(func(hi, lo uint64, e *entry[C]) bool {
			h.Name.Hi, h.Name.Lo = hi, lo
			h.Kinds = e.kindSet()
			return h.Kinds&f == 0 || yield(h)
		})
	})
}

// all calls yield for every id until it returns false, and reports whether it never did.
func (s *state[C]) all(yield func(hi, lo uint64, e *entry[C]) bool) bool {
	for _, o := range s.few {
		if !yield(o.hi, o.lo, o.entry) {
			return false
		}
	}
	return s.many.all(func(l *leaf[*entry[C]]) bool { return yield(l.key[1], l.key[0], l.v) })
}

// kindSet is the kinds of which m has any.
func (m *members[C]) kindSet() Filter {
	var f Filter
	for k := range Kind(kinds) {
		if m.count(k) > 0 {
			f |= Only(k)
		}
	}
	return f
}

// Kinds returns the kinds of those who hold exactly n, the zero Filter if nobody does. Safe for all; no lock.
func (t *Table[C]) Kinds(n *wire.Name) Filter {
	k := prefixKey(n)
	if l := t.prefixes.root.Load().find(&k); l != nil {
		if e := l.v.state.Load().find(n.Hi, n.Lo); e != nil {
			return e.kindSet()
		}
	}
	return 0
}

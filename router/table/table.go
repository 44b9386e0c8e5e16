package table

import (
	"sync"
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Table maps names to connections of type C, which it knows by address only and never looks into. The zero Table is
// not ready: use New.
//
// Concurrency: every method is safe for all. For one connection the caller orders its own calls: no Add may come
// between its RemoveConn and the last Step (and Leave), and one that follows begins anew.
//
// No method holds the writers' mutex for longer than a bounded number of steps, however many names and connections
// there are.
type Table[C any] struct {
	prefixes trie[prefix[C]] // changed under mu, read without
	gone     *state[C]       // of every prefix that nobody holds a name under any more; no id, nobody. Immutable
	_        [112]byte       // matches read the line above, subscribers write the ones below

	records atomic.Int64 // sum of holdings.records

	budget *Budget // immutable after Limit

	mu    sync.Mutex
	conns map[*C]*holdings // guarded by mu
}

// New returns an empty table without limits.
func New[C any]() *Table[C] {
	return &Table[C]{conns: make(map[*C]*holdings), gone: &state[C]{union: new(members[C])}}
}

// Limit makes b the bounds of the table, before its first use. b may have other users.
func (t *Table[C]) Limit(b *Budget) { t.budget = b }

// Add subscribes c, which is of this kind, to k under the subscription id sid, 0 for none, and reports whether the
// list of (prefix, id, kind) was empty before. The same (c, sid, k) again changes nothing. c holds the name as long
// as one record is left. A connection has one kind: another one than at its first Add is ignored.
//
// Errors: ErrKind, *Full; then nothing has changed. What peers hold is not counted here, but by those who take their
// offers (router/mesh): it is never refused.
//
// The strings of a prefix's first subscriber that has any (hasStr) are kept; str is copied, its memory only borrowed.
// Whether they hash to the components is the caller's affair (wire.HashesMatch).
func (t *Table[C]) Add(c *C, kind Kind, k Key, sid uint64, str [3]string, hasStr bool) (first bool, err error) {
	if kind >= kinds {
		return false, ErrKind
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.add(c, kind, k, sid, str, hasStr)
}

// add is Add under mu.
func (t *Table[C]) add(c *C, kind Kind, k Key, sid uint64, str [3]string, hasStr bool) (first bool, err error) {
	h := t.conns[c]
	if h == nil {
		h = &holdings{kind: kind}
		t.conns[c] = h
	}
	r := record{sid: sid, hasID: k.HasID}
	have, holds := h.names.get(k.Name)
	if holds && have.has(r) {
		return false, nil
	}
	key := prefixKey(&k.Name)
	l := t.prefixes.root.Load().find(&key)
	size := 0
	keep := hasStr && (l == nil || l.v.text.Load() == nil)
	if keep {
		size = len(str[0]) + len(str[1]) + len(str[2])
	}
	if err := t.take(h, size); err != nil {
		t.tidy(c, h)
		return false, err
	}
	h.records++
	defer t.records.Add(1) // when readers find it
	isNew := l == nil
	if isNew {
		l = &leaf[prefix[C]]{key: key}
	}
	if keep {
		l.v.text.Store(NewText(str))
	}
	if holds {
		have.add(r)
		h.names.put(k.Name, have)
		return false, nil
	}
	h.names.put(k.Name, holding{one: r})
	if h.entered > 0 && !isNew && l.v.heldBy(&k.Name, c, h.kind) {
		h.share(k.Name)
		return false, nil
	}
	first = l.v.add(k.Name.Hi, k.Name.Lo, c, h.kind)
	if isNew {
		t.prefixes.insert(l) // complete: a match finds all of it or nothing
	}
	return first, nil
}

// tidy forgets a connection of which nothing is left to know.
func (t *Table[C]) tidy(c *C, h *holdings) {
	if h.records == 0 && h.entered == 0 && len(h.revoked) == 0 {
		delete(t.conns, c)
	}
}

// take counts one more subscription, with that many bytes of strings, of the connection with h.
func (t *Table[C]) take(h *holdings, bytes int) error {
	if h.kind == Peer {
		t.budget.Count(0, bytes)
		return nil
	}
	return t.budget.Take(h.records, 1, bytes)
}

// give counts n subscriptions of a connection of that kind less.
func (t *Table[C]) give(kind Kind, n int) {
	if kind != Peer {
		t.budget.Count(-n, 0)
	}
}

// Remove takes back what Add did with the same c, k and sid, and reports whether the list of (prefix, id, kind) is
// empty now. A sid that c never used for k removes the record with sid 0 instead, if c has that: after a reconnect,
// upstream's applications subscribe again with sid 0 but unsubscribe with the ids of old. What Revoke has taken is not given back by
// Restore any more.
//
// Errors, in this order: ErrNoPrefix, ErrNoID, ErrNoRecord; then nothing has changed.
func (t *Table[C]) Remove(c *C, k Key, sid uint64) (last bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.conns[c]
	if h != nil && h.forget(k, sid) {
		t.tidy(c, h)
		return false, nil
	}
	p, s := t.at(&k.Name)
	if p == nil {
		return false, ErrNoPrefix
	}
	if s.find(k.Name.Hi, k.Name.Lo) == nil {
		return false, &noID{k.Name}
	}
	if h == nil {
		return false, &noRecord{sid}
	}
	have, ok := h.names.get(k.Name)
	if !ok {
		return false, &noRecord{sid}
	}
	was, final := have.remove(record{sid, k.HasID})
	if !was {
		was, final = have.remove(record{0, k.HasID})
	}
	if !was {
		return false, &noRecord{sid}
	}
	h.records--
	t.records.Add(-1)
	t.give(h.kind, 1)
	if !final {
		h.names.put(k.Name, have)
		return false, nil
	}
	h.names.delete(k.Name)
	t.tidy(c, h)
	last, _ = t.release(c, h, &k.Name)
	return last, nil
}

// leave makes c no holder of n any more, which it is.
func (t *Table[C]) leave(c *C, kind Kind, n *wire.Name) (last, gone bool) {
	k := prefixKey(n)
	p := &t.prefixes.root.Load().find(&k).v
	last, gone = p.drop(n.Hi, n.Lo, c, kind)
	if p.n == 0 {
		t.prefixes.remove(&k)
		p.state.Store(t.gone)
		t.budget.Count(0, -p.text.Swap(nil).Len()) // whoever keeps the place keeps no strings that nobody counts
	}
	return last, gone
}

// Count returns the number of subscriptions of c: records, so several ids for one name count severally.
func (t *Table[C]) Count(c *C) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.conns[c]; h != nil && !h.removed {
		return h.records + h.entered
	}
	return 0
}

// Len returns the number of subscriptions of all connections; no lock.
func (t *Table[C]) Len() int { return int(t.records.Load()) }

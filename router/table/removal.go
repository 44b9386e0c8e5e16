package table

import "github.com/seed31b3bfd0/slimgo/wire"

// removeStep is how many names one Step takes away: what another writer may have to wait for.
const removeStep = 64

// Lost is a name that a removed connection held.
type Lost struct {
	Name wire.Name
	Last bool // the list of (prefix, id, kind) became empty: what Remove returns
	Gone bool // nobody, of any kind, holds the exact name any more
}

// Removal takes the names of a connection away in steps, between which others change the table. One goroutine at a
// time.
type Removal[C any] struct {
	t     *Table[C]
	c     *C
	h     *holdings // of this Removal alone
	names []wire.Name
	lost  []Lost
}

// RemoveConn takes away all subscriptions of c: Count and Len know of them no more when it returns, and the caller
// calls Step until there is no more to do; what was entered stays until Leave. The budget has them until then, since their memory is in use.
func (t *Table[C]) RemoveConn(c *C) *Removal[C] {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &Removal[C]{t: t, c: c, h: t.conns[c]}
	if r.h == nil {
		r.h = &holdings{}
		return r
	}
	t.records.Add(int64(-r.h.records - r.h.entered))
	r.h.records, r.h.revoked, r.h.removed = 0, nil, true
	t.tidy(c, r.h)
	return r
}

// Step takes up to removeStep names away and returns them, in no particular order, valid until the next Step. While
// more is true others see c hold the rest; no match that begins after the last Step yields c. Gone was true at the
// moment the name was taken away.
func (r *Removal[C]) Step() (lost []Lost, more bool) {
	names, records := r.h.names.take(r.names[:0], removeStep) // without the lock: nobody else has h
	r.names, r.lost = names, r.lost[:0]
	if len(names) > 0 {
		r.t.removeNames(r)
		r.t.give(r.h.kind, records)
	}
	return r.lost, r.h.names.n() > 0
}

func (t *Table[C]) removeNames(r *Removal[C]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range r.names {
		last, gone := t.release(r.c, r.h, &r.names[i])
		r.lost = append(r.lost, Lost{Name: r.names[i], Last: last, Gone: gone})
	}
}

// maxRevoked is how many names of a connection are kept for Restore, with up to revokedStrings bytes of strings each.
const maxRevoked, revokedStrings = 1024, 256

// Revoke takes all subscriptions of c to n away, as Remove does with each, until Restore. It returns the subscription ids of up to most
// of them, none if c does not hold n, and reports whether the list of (prefix, id, kind) is empty now.
func (t *Table[C]) Revoke(c *C, n wire.Name, most int) (ids []uint64, last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.conns[c]
	if h == nil {
		return nil, false
	}
	have, ok := h.names.get(n)
	if !ok {
		return nil, false
	}
	ids = have.ids(most)
	records := have.n()
	h.records -= records
	t.records.Add(int64(-records))
	t.give(h.kind, records)
	h.names.delete(n)
	x := revoked{holding: have}
	x.str, x.hasStr = t.Strings(n.C)
	if len(x.str[0])+len(x.str[1])+len(x.str[2]) > revokedStrings {
		x.str, x.hasStr = [3]string{}, false
	}
	h.revoke(n, x)
	t.tidy(c, h)
	last, _ = t.release(c, h, &n)
	return ids, last
}

// Revoked appends the names to dst of which Revoke has taken subscriptions of c that Restore could give back, 1,024 at most.
func (t *Table[C]) Revoked(c *C, dst []wire.Name) []wire.Name {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.conns[c]; h != nil {
		for n := range h.revoked {
			dst = append(dst, n)
		}
	}
	return dst
}

// Restore gives c back what Revoke has taken of n, as Add does with each. It returns the subscription ids of up to most
// of them, and reports whether the list of (prefix, id, kind) was empty before. Its error is a *Full: the rest stays as it is.
func (t *Table[C]) Restore(c *C, n wire.Name, most int) (ids []uint64, first bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.conns[c]
	if h == nil {
		return nil, false, nil
	}
	have, ok := h.revoked[n]
	if !ok {
		return nil, false, nil
	}
	for _, r := range have.all() {
		was, err := t.add(c, h.kind, Key{n, r.hasID}, r.sid, have.str, have.hasStr)
		if err != nil {
			return ids, first, err
		}
		if first = first || was; len(ids) < most {
			ids = append(ids, r.sid)
		}
		h.drop(n, r)
	}
	return ids, first, nil
}

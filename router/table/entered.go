package table

import "github.com/seed31b3bfd0/slimgo/wire"

// Enter makes c, which is of this kind, one of those who hold n, until Leave: for callers that remember themselves what they have
// entered, as package mesh does, so that the table need not. What is entered several times, or subscribed, too, is held until the
// last of that is taken back. No limits apply. x is kept if the prefix has no strings yet; nil: none.
func (t *Table[C]) Enter(c *C, kind Kind, n wire.Name, x *Text) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.conns[c]
	if h == nil {
		h = &holdings{kind: kind}
		t.conns[c] = h
	}
	h.entered++
	defer t.records.Add(1) // when readers find it
	key := prefixKey(&n)
	l := t.prefixes.root.Load().find(&key)
	isNew := l == nil
	if isNew {
		l = &leaf[prefix[C]]{key: key}
	}
	if x != nil && l.v.text.Load() == nil {
		t.budget.Count(0, x.Len())
		l.v.text.Store(x)
	}
	if !isNew && l.v.heldBy(&n, c, h.kind) {
		h.share(n)
		return
	}
	l.v.add(n.Hi, n.Lo, c, h.kind)
	if isNew {
		t.prefixes.insert(l) // complete: a match finds all of it or nothing
	}
}

// Leave takes back what one Enter of c and n did, of which there must be one. It may come after RemoveConn, which leaves to those
// who have entered names to take them back.
func (t *Table[C]) Leave(c *C, n wire.Name) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.conns[c]
	if h == nil || h.entered == 0 {
		return
	}
	h.entered--
	if !h.removed {
		t.records.Add(-1)
	}
	t.release(c, h, &n)
	t.tidy(c, h)
}

// heldBy reports whether c holds n.
func (p *prefix[C]) heldBy(n *wire.Name, c *C, kind Kind) bool {
	e := p.state.Load().find(n.Hi, n.Lo)
	return e != nil && e.contains(c, kind)
}

// share notes that a name that the connection holds is held once more.
func (h *holdings) share(n wire.Name) {
	if h.shared == nil {
		h.shared = map[wire.Name]int{}
	}
	h.shared[n]++
}

// release is leave, unless c holds n once more.
func (t *Table[C]) release(c *C, h *holdings, n *wire.Name) (last, gone bool) {
	switch more := h.shared[*n]; more {
	case 0:
		return t.leave(c, h.kind, n)
	case 1:
		delete(h.shared, *n)
	default:
		h.shared[*n]--
	}
	return false, false
}

package table

// edit is one change of a trie: the way down to a key, the node to replace and what replaces it.
type edit[V any] struct {
	key  *key
	way  [maxDepth]*node[V]
	n    int      // nodes on the way
	at   int      // way[at] is replaced ...
	with *node[V] // ... by this; nil: the trie becomes empty
}

// descend walks towards k and returns the leaf at the end of the way, which may be another key's, or nil.
func (e *edit[V]) descend(root *node[V], k *key) *leaf[V] {
	e.key = k
	for n := root; ; {
		e.way[e.n] = n
		e.n++
		bit := n.bit(k)
		switch {
		case n.leafMap&bit != 0:
			return n.leaves[rank(n.leafMap, bit)]
		case n.kidMap&bit == 0:
			return nil
		}
		n = n.kids[rank(n.kidMap, bit)].Load()
	}
}

// put prepares the insertion of l, or its taking the place of the leaf with the same key.
func (e *edit[V]) put(root *node[V], l *leaf[V]) {
	end := e.descend(root, &l.key)
	last := e.way[e.n-1]
	if end != nil && end.key == l.key {
		e.at, e.with = e.n-1, last.withLeaf(l)
		return
	}
	near := end
	if near == nil {
		near = last.some()
	}
	if root.lone() { // it must not end up below another: only the root holds a single leaf
		e.at, e.with = 0, split(near, l, nil)
		return
	}
	word, shift := difference(&near.key, &l.key)
	for e.at = 0; e.at < e.n; e.at++ {
		n := e.way[e.at]
		switch chunk := int(word)<<8 | int(shift); {
		case n.pos() == chunk: // l shares all before this chunk, and its place here is free
			e.with = n.withLeaf(l)
			return
		case n.pos() > chunk: // all below n differ from l in a chunk that had no node yet
			e.with = split(near, l, n)
			return
		}
	}
	// Only the leaf at the end differs, behind the last node's chunk.
	e.at = e.n - 1
	bit := last.bit(&l.key)
	e.with = last.withoutLeaf(bit).withKid(bit, split(near, l, nil))
}

// cut prepares the removal of k's leaf, which must be there.
func (e *edit[V]) cut(root *node[V], k *key) {
	e.descend(root, k)
	e.at = e.n - 1
	n := e.way[e.at]
	n = n.withoutLeaf(n.bit(k))
	switch left := len(n.leaves) + len(n.kids); {
	case left == 0: // only a root holds a single leaf
		n = nil
	case left == 1 && len(n.kids) == 1:
		n = n.kids[0].Load()
	case left == 1 && e.at > 0: // the sibling moves up
		e.at--
		up := e.way[e.at]
		n = up.withoutKid(up.bit(k)).withLeaf(n.leaves[0])
	}
	e.with = n
}

// publish carries the change out in place: one store.
func (e *edit[V]) publish(t *trie[V]) {
	if e.at == 0 {
		t.root.Store(e.with)
		return
	}
	up := e.way[e.at-1]
	up.kids[rank(up.kidMap, up.bit(e.key))].Store(e.with)
}

// rebuilt carries the change out on a copy of the nodes above and returns the new root; the old trie stays as it is.
func (e *edit[V]) rebuilt() *node[V] {
	n := e.with
	for i := e.at - 1; i >= 0; i-- {
		up := e.way[i]
		n = up.withKid(up.bit(e.key), n)
	}
	return n
}

// insert adds l, whose key must not be in t, for all to see.
func (t *trie[V]) insert(l *leaf[V]) {
	root := t.root.Load()
	if root == nil {
		t.root.Store(single(l))
		return
	}
	var e edit[V]
	e.put(root, l)
	e.publish(t)
}

// remove takes the leaf of k, which must be in t, out.
func (t *trie[V]) remove(k *key) {
	var e edit[V]
	e.cut(t.root.Load(), k)
	e.publish(t)
}

// plus returns a trie that is root with l added or put in the place of the leaf with its key.
func plus[V any](root *node[V], l *leaf[V]) *node[V] {
	if root == nil {
		return single(l)
	}
	var e edit[V]
	e.put(root, l)
	return e.rebuilt()
}

// minus returns a trie that is root without the leaf of k, which must be there.
func minus[V any](root *node[V], k *key) *node[V] {
	var e edit[V]
	e.cut(root, k)
	return e.rebuilt()
}

// single is a root of one leaf.
func single[V any](l *leaf[V]) *node[V] { return new(node[V]).withLeaf(l) }

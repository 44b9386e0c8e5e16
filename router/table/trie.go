package table

import (
	"math/bits"
	"slices"
	"sync/atomic"
)

// A trie finds a leaf by 192 bits in steps of 6. Each word of the key has eleven chunks, ten of 6 bits from the low
// end and one of 4. Only chunks in which keys below a node differ have a node (path compression): a lookup skips the
// others and compares the whole key at the leaf. So 10^6 names under one org and ns cost four steps, and made-up keys
// at most 33.
//
//	node{word 0, shift 6}   leafMap 0b…0100 ──> leaves[0]   the key ends here
//	                        kidMap  0b…1001 ──> kids[0], kids[1]
//	the slot of bit b is the number of ones below b; a chunk is in at most one of the two maps
//
// A published node changes in one way only: a kid pointer is stored. Everything else makes a new node.
type trie[V any] struct {
	root atomic.Pointer[node[V]] // nil: empty
}

const (
	chunkBits  = 6
	wordChunks = 11
	maxDepth   = 3 * wordChunks
)

// key is what a trie branches on; the word that differs most comes first.
type key [3]uint64

type leaf[V any] struct {
	key key
	v   V
}

// node holds two or more leaves and kids; the root may hold a single leaf.
type node[V any] struct {
	leafMap, kidMap uint64 // disjoint
	leaves          []*leaf[V]
	kids            []atomic.Pointer[node[V]] // each at a later chunk than this node's
	word, shift     uint8                     // the chunk: bits shift … shift+5 of key[word]
}

// find returns the leaf of k below n, or nil. Safe for all; n may be nil.
func (n *node[V]) find(k *key) *leaf[V] {
	for n != nil {
		bit := n.bit(k)
		if n.leafMap&bit != 0 {
			l := n.leaves[rank(n.leafMap, bit)]
			if l.key[0] == k[0] && l.key[1] == k[1] && l.key[2] == k[2] {
				return l
			}
			return nil
		}
		if n.kidMap&bit == 0 {
			return nil
		}
		n = n.kids[rank(n.kidMap, bit)].Load()
	}
	return nil
}

// bit is k's place in n's maps.
func (n *node[V]) bit(k *key) uint64 { return 1 << (k[n.word] >> (n.shift & 63) & 63) }

// rank is the slot of bit in a map.
func rank(m, bit uint64) int { return bits.OnesCount64(m & (bit - 1)) }

// pos orders chunks.
func (n *node[V]) pos() int { return int(n.word)<<8 | int(n.shift) }

// all calls yield for each leaf below n until it returns false, and reports whether it never did. Leaves that come or
// go meanwhile may be seen or not. Safe for all; n may be nil.
func (n *node[V]) all(yield func(*leaf[V]) bool) bool {
	if n == nil {
		return true
	}
	for _, l := range n.leaves {
		if !yield(l) {
			return false
		}
	}
	for i := range n.kids {
		if !n.kids[i].Load().all(yield) {
			return false
		}
	}
	return true
}

// The rest is for the writer.

// lone reports whether n holds a single leaf and nothing else.
func (n *node[V]) lone() bool { return len(n.leaves) == 1 && len(n.kids) == 0 }

// some returns any leaf below n: all of them agree on the chunks before n's.
func (n *node[V]) some() *leaf[V] {
	for len(n.leaves) == 0 {
		n = n.kids[0].Load()
	}
	return n.leaves[0]
}

// split returns a node at the first chunk in which the keys of a and b differ, holding b and, as a leaf or as a kid, a.
func split[V any](a, b *leaf[V], below *node[V]) *node[V] {
	n := new(node[V])
	n.word, n.shift = difference(&a.key, &b.key)
	n.leaves = []*leaf[V]{b}
	n.leafMap = n.bit(&b.key)
	if below == nil {
		return n.withLeaf(a)
	}
	n.kidMap = n.bit(&a.key)
	n.kids = make([]atomic.Pointer[node[V]], 1)
	n.kids[0].Store(below)
	return n
}

// difference is the first chunk in which two different keys differ.
func difference(a, b *key) (word, shift uint8) {
	for a[word] == b[word] {
		word++
	}
	return word, uint8(bits.TrailingZeros64(a[word]^b[word]) / chunkBits * chunkBits)
}

// withLeaf returns a copy of n with l in the place of its key: added, or instead of the leaf there.
func (n *node[V]) withLeaf(l *leaf[V]) *node[V] {
	c, bit := *n, n.bit(&l.key)
	i := rank(n.leafMap, bit)
	if n.leafMap&bit != 0 {
		c.leaves = slices.Clone(n.leaves)
		c.leaves[i] = l
		return &c
	}
	c.leafMap |= bit
	c.leaves = make([]*leaf[V], len(n.leaves)+1)
	copy(c.leaves, n.leaves[:i])
	c.leaves[i] = l
	copy(c.leaves[i+1:], n.leaves[i:])
	return &c
}

// withoutLeaf returns a copy of n without the leaf at bit.
func (n *node[V]) withoutLeaf(bit uint64) *node[V] {
	c, i := *n, rank(n.leafMap, bit)
	c.leafMap &^= bit
	c.leaves = make([]*leaf[V], len(n.leaves)-1)
	copy(c.leaves, n.leaves[:i])
	copy(c.leaves[i:], n.leaves[i+1:])
	return &c
}

// withKid returns a copy of n with kid at bit: added, or instead of the kid there.
func (n *node[V]) withKid(bit uint64, kid *node[V]) *node[V] {
	c, i := *n, rank(n.kidMap, bit)
	grow := 1
	if n.kidMap&bit != 0 {
		grow = 0
	}
	c.kidMap |= bit
	c.kids = make([]atomic.Pointer[node[V]], len(n.kids)+grow)
	// Copied plainly: only the writer stores kids, and nobody else has c yet.
	copy(c.kids, n.kids[:i])
	copy(c.kids[i+grow:], n.kids[i:])
	c.kids[i].Store(kid)
	return &c
}

// withoutKid returns a copy of n without the kid at bit.
func (n *node[V]) withoutKid(bit uint64) *node[V] {
	c, i := *n, rank(n.kidMap, bit)
	c.kidMap &^= bit
	c.kids = make([]atomic.Pointer[node[V]], len(n.kids)-1)
	copy(c.kids, n.kids[:i])
	copy(c.kids[i:], n.kids[i+1:])
	return &c
}

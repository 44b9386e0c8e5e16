// Package treemath is the arithmetic of ratchet trees kept as arrays (RFC 9420, section 4.1 and appendix C): nodes are
// numbered from the left, leaves have even numbers. Trees are full: their number of leaves is a power of two. Nothing here allocates.
package treemath

import (
	"iter"
	"math/bits"
)

// MaxLeaves bounds trees: nodes of larger ones would not have 32-bit numbers.
const MaxLeaves = 1 << 31

// MaxDepth is the number of nodes above a leaf in a tree of MaxLeaves.
const MaxDepth = 31

// Leaf is the index of a leaf, from 0.
type Leaf uint32

// Node is the index of a node in the array.
type Node uint32

// Node is where the leaf stands in the array.
func (l Leaf) Node() Node { return Node(l) << 1 }

// Leaf is the leaf at n, and whether n is one.
func (n Node) Leaf() (Leaf, bool) { return Leaf(n >> 1), n&1 == 0 }

// IsLeaf reports whether n is a leaf.
func (n Node) IsLeaf() bool { return n&1 == 0 }

// Level is the height of n above the leaves.
func (n Node) Level() int { return bits.TrailingZeros32(^uint32(n)) }

// Left is the left child of n, a parent.
func (n Node) Left() Node { return n ^ 1<<(n.Level()-1) }

// Right is the right child of n, a parent.
func (n Node) Right() Node { return n ^ 3<<(n.Level()-1) }

// Parent is the parent of n in a tree large enough to have one.
func (n Node) Parent() Node {
	k := n.Level()
	return (n | 1<<k) &^ (2 << k)
}

// Sibling is the other child of n's parent.
func (n Node) Sibling() Node { return n ^ 2<<n.Level() }

// Contains reports whether m is n or below it.
func (n Node) Contains(m Node) bool {
	k := n.Level()
	return m.Level() <= k && m>>(k+1) == n>>(k+1)
}

// Leaves are the leaves below n, or n itself: from first to last.
func (n Node) Leaves() (first, last Leaf) {
	k := n.Level()
	first = Leaf(n>>(k+1)) << k
	return first, first + 1<<k - 1
}

// Child is the child of n, a parent, that contains m, a node below n.
func (n Node) Child(m Node) Node {
	if m < n {
		return n.Left()
	}
	return n.Right()
}

// Width is the number of nodes of a tree.
func Width(leaves uint32) uint32 {
	if leaves == 0 {
		return 0
	}
	return 2*leaves - 1
}

// Root is the root of a tree of so many leaves, a power of two.
func Root(leaves uint32) Node { return Node(leaves - 1) }

// Full is the number of leaves of the smallest full tree that has at least n, 1 to MaxLeaves.
func Full(n uint32) uint32 {
	if n <= 1 {
		return 1
	}
	return 1 << bits.Len32(n-1)
}

// DirectPath are the ancestors of n up to the root, from the bottom (section 4.1.2); none for the root.
func DirectPath(n Node, leaves uint32) iter.Seq[Node] {
	root := Root(leaves)
	return func(yield func(Node) bool) {
		for n != root {
			n = n.Parent()
			if !yield(n) {
				return
			}
		}
	}
}

// CommonAncestor is the lowest node that contains a and b.
func CommonAncestor(a, b Node) Node {
	for !a.Contains(b) {
		a = a.Parent()
	}
	return a
}

package treemath

import (
	"slices"
	"testing"

	"github.com/seed31b3bfd0/slimgo/mls/internal/vectors"
)

// The file of the working group.
func TestVectors(t *testing.T) {
	var cases []struct {
		Leaves  uint32  `json:"n_leaves"`
		Nodes   uint32  `json:"n_nodes"`
		Root    Node    `json:"root"`
		Left    []*Node `json:"left"`
		Right   []*Node `json:"right"`
		Parent  []*Node `json:"parent"`
		Sibling []*Node `json:"sibling"`
	}
	vectors.Read(t, "tree-math.json", &cases)
	for _, c := range cases {
		if Width(c.Leaves) != c.Nodes || Root(c.Leaves) != c.Root {
			t.Fatalf("%d leaves: width %d, root %d; want %d, %d", c.Leaves, Width(c.Leaves), Root(c.Leaves), c.Nodes, c.Root)
		}
		for i := range c.Nodes {
			n := Node(i)
			if (c.Left[i] == nil) != n.IsLeaf() || (c.Parent[i] == nil) != (n == c.Root) {
				t.Fatalf("%d leaves: node %d is of the wrong kind", c.Leaves, n)
			}
			if c.Left[i] != nil && (n.Left() != *c.Left[i] || n.Right() != *c.Right[i]) {
				t.Errorf("children of %d: %d, %d; want %d, %d", n, n.Left(), n.Right(), *c.Left[i], *c.Right[i])
			}
			if c.Parent[i] != nil && (n.Parent() != *c.Parent[i] || n.Sibling() != *c.Sibling[i]) {
				t.Errorf("parent and sibling of %d: %d, %d; want %d, %d", n, n.Parent(), n.Sibling(), *c.Parent[i], *c.Sibling[i])
			}
		}
	}
}

// What is computed with shifts is what one finds by walking.
func TestArithmeticIsWhatWalkingFinds(t *testing.T) {
	const leaves = 64
	below := func(n, m Node) bool {
		for m != n {
			if m == Root(leaves) {
				return false
			}
			m = m.Parent()
		}
		return true
	}
	for a := range Node(Width(leaves)) {
		var under []Leaf
		for b := range Node(Width(leaves)) {
			if a.Contains(b) != below(a, b) {
				t.Fatalf("%d contains %d: %v", a, b, a.Contains(b))
			}
			if l, ok := b.Leaf(); ok && below(a, b) {
				under = append(under, l)
			}
			if a != b && below(a, b) && !below(a.Child(b), b) {
				t.Fatalf("child of %d towards %d: %d", a, b, a.Child(b))
			}
			path := append([]Node{a}, slices.Collect(DirectPath(a, leaves))...)
			i := slices.IndexFunc(path, func(n Node) bool { return below(n, b) })
			if got := CommonAncestor(a, b); got != path[i] {
				t.Fatalf("common ancestor of %d and %d: %d, want %d", a, b, got, path[i])
			}
		}
		if first, last := a.Leaves(); first != under[0] || last != under[len(under)-1] {
			t.Fatalf("leaves of %d: %d to %d, want %v", a, first, last, under)
		}
	}
}

func TestFullIsTheSmallestPowerOfTwo(t *testing.T) {
	for n, want := range map[uint32]uint32{0: 1, 1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 1000: 1024, 1 << 31: 1 << 31} {
		if got := Full(n); got != want {
			t.Errorf("Full(%d) = %d, want %d", n, got, want)
		}
	}
}

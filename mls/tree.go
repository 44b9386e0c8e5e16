package mls

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
	"github.com/seed31b3bfd0/slimgo/mls/internal/treemath"
)

// tree is the public part of a ratchet tree (RFC 9420, section 4): a full tree as an array. What its nodes point at
// never changes, so that copying the array gives a tree that can be changed while the old one stays.
type tree struct {
	suite *suite.Suite
	nodes []treeNode
	free  LeafIndex // all leaves before it are taken
}

// treeNode is a node: a leaf, a parent, or blank.
type treeNode struct {
	leaf   *LeafNode
	parent *parentNode
	hash   []byte // its tree hash; nil: it is not known, and that of no node above
}

// parentNode is ParentNode (section 7.1). Never changed once it is in a tree.
type parentNode struct {
	encryptionKey []byte
	parentHash    []byte
	unmerged      []LeafIndex // ascending
}

func (p *parentNode) append(dst []byte) []byte {
	dst = codec.AppendOpaque(dst, p.encryptionKey)
	dst = codec.AppendOpaque(dst, p.parentHash)
	dst = codec.AppendVarint(dst, 4*len(p.unmerged))
	for _, l := range p.unmerged {
		dst = binary.BigEndian.AppendUint32(dst, uint32(l))
	}
	return dst
}

func readParentNode(r *codec.Reader) *parentNode {
	p := &parentNode{encryptionKey: r.Opaque(), parentHash: r.Opaque()}
	r.Vector(codec.MaxVector, func(r *codec.Reader) { p.unmerged = append(p.unmerged, LeafIndex(r.Uint32())) })
	return p
}

// newTree is a tree of one leaf.
func newTree(s *suite.Suite, l *LeafNode) *tree {
	return &tree{suite: s, nodes: []treeNode{{leaf: l}}, free: 1}
}

// clone is a copy that can be changed. Only the array is copied.
func (t *tree) clone() *tree {
	return &tree{suite: t.suite, nodes: slices.Clone(t.nodes), free: t.free}
}

// only is a tree of the same size without all others than i.
func (t *tree) only(i LeafIndex) *tree {
	n := &tree{suite: t.suite, nodes: make([]treeNode, len(t.nodes))}
	n.nodes[i.Node()].leaf = t.leaf(i)
	return n
}

// size is the number of leaves, blank ones included: a power of two.
func (t *tree) size() uint32 { return uint32(len(t.nodes)+1) / 2 }

func (t *tree) root() treemath.Node { return treemath.Root(t.size()) }

// leaf is the member at i; nil if there is none.
func (t *tree) leaf(i LeafIndex) *LeafNode {
	if uint64(i) >= uint64(t.size()) {
		return nil
	}
	return t.nodes[i.Node()].leaf
}

// members calls f for all members in the order of their leaves.
func (t *tree) members(f func(LeafIndex, *LeafNode) bool) {
	for i := 0; i < len(t.nodes); i += 2 {
		if l := t.nodes[i].leaf; l != nil && !f(LeafIndex(i/2), l) {
			return
		}
	}
}

func (t *tree) count() int {
	n := 0
	t.members(func(LeafIndex, *LeafNode) bool { n++; return true })
	return n
}

func (n *treeNode) blank() bool { return n.leaf == nil && n.parent == nil }

// encryptionKey is the public key of a node; nil if it is blank.
func (n *treeNode) encryptionKey() []byte {
	switch {
	case n.leaf != nil:
		return n.leaf.EncryptionKey
	case n.parent != nil:
		return n.parent.encryptionKey
	}
	return nil
}

// touch forgets the hashes of n and of all nodes above it.
func (t *tree) touch(n treemath.Node) {
	t.nodes[n].hash = nil
	for a := range treemath.DirectPath(n, t.size()) {
		if t.nodes[a].hash == nil {
			return
		}
		t.nodes[a].hash = nil
	}
}

// setLeaf puts l at i; nil blanks it.
func (t *tree) setLeaf(i LeafIndex, l *LeafNode) {
	t.nodes[i.Node()].leaf = l
	t.touch(i.Node())
	if l == nil && i < t.free {
		t.free = i
	}
}

// blankPath blanks all parents above leaf i.
func (t *tree) blankPath(i LeafIndex) {
	for n := range treemath.DirectPath(i.Node(), t.size()) {
		t.nodes[n].parent = nil
	}
	t.touch(i.Node())
}

// vacant is the leftmost blank leaf. The tree grows if there is none (section 7.7).
func (t *tree) vacant() LeafIndex {
	for t.free < LeafIndex(t.size()) && t.nodes[t.free.Node()].leaf != nil {
		t.free++
	}
	if t.free == LeafIndex(t.size()) {
		t.nodes = append(t.nodes, make([]treeNode, len(t.nodes)+1)...)
	}
	return t.free
}

// add puts a new member at the leftmost blank leaf (section 12.1.1).
func (t *tree) add(l *LeafNode) LeafIndex {
	i := t.vacant()
	for n := range treemath.DirectPath(i.Node(), t.size()) {
		if p := t.nodes[n].parent; p != nil {
			at, _ := slices.BinarySearch(p.unmerged, i)
			t.nodes[n].parent = &parentNode{p.encryptionKey, p.parentHash, slices.Insert(slices.Clone(p.unmerged), at, i)}
		}
	}
	t.setLeaf(i, l)
	return i
}

// update replaces a member's leaf (section 12.1.2).
func (t *tree) update(i LeafIndex, l *LeafNode) {
	t.setLeaf(i, l)
	t.blankPath(i)
}

// remove takes a member out (section 12.1.3). The tree shrinks with shrink, when all removals are done.
func (t *tree) remove(i LeafIndex) {
	t.setLeaf(i, nil)
	t.blankPath(i)
}

// checkDepth refuses a tree that has become too deep.
func (t *tree) checkDepth(limits Limits) error {
	if t.size() > 1<<limits.Depth {
		return refuse(Limit, "", "ratchet tree of %d leaves, at most %d are allowed", t.size(), 1<<limits.Depth)
	}
	return nil
}

// shrink halves the tree while its right half is blank (section 7.7).
func (t *tree) shrink() {
	for len(t.nodes) > 1 {
		right := t.nodes[len(t.nodes)/2+1:]
		if slices.ContainsFunc(right, func(n treeNode) bool { return !n.blank() }) {
			return
		}
		t.nodes = t.nodes[:len(t.nodes)/2]
		t.free = min(t.free, LeafIndex(t.size()))
	}
}

// resolution calls f for the nodes of n's resolution, from the left (section 4.1.1), until f returns false. It reports
// whether f always returned true.
func (t *tree) resolution(n treemath.Node, f func(treemath.Node) bool) bool {
	node := &t.nodes[n]
	switch {
	case node.leaf != nil:
		return f(n)
	case node.parent != nil:
		if !f(n) {
			return false
		}
		for _, l := range node.parent.unmerged {
			if !f(l.Node()) {
				return false
			}
		}
		return true
	case n.IsLeaf():
		return true
	}
	return t.resolution(n.Left(), f) && t.resolution(n.Right(), f)
}

// empty reports whether n's resolution is empty: nobody is below it.
func (t *tree) empty(n treemath.Node) bool {
	return t.resolution(n, func(treemath.Node) bool { return false })
}

// step is one node of a filtered direct path with its child on the copath.
type step struct{ node, copath treemath.Node }

// filteredPath is the direct path of leaf i without the nodes whose copath child has nobody below it (section 4.1.2).
func (t *tree) filteredPath(i LeafIndex) []step {
	var path []step
	below := i.Node()
	for n := range treemath.DirectPath(i.Node(), t.size()) {
		if c := below.Sibling(); !t.empty(c) {
			path = append(path, step{n, c})
		}
		below = n
	}
	return path
}

var (
	errTreeEnd  = errors.New("last node is blank")
	errTreeEven = errors.New("number of nodes is even")
	errTreeKind = errors.New("leaf in the place of a parent, or the reverse")
	errTreeNone = errors.New("no nodes")
)

// append serialises the ratchet_tree extension (section 12.4.3.3).
func (t *tree) append(dst []byte) []byte {
	end := len(t.nodes)
	for end > 0 && t.nodes[end-1].blank() {
		end--
	}
	return codec.AppendVector(dst, func(dst []byte) []byte {
		for i := range t.nodes[:end] {
			switch n := &t.nodes[i]; {
			case n.leaf != nil:
				dst = n.leaf.append(append(dst, 1, 1))
			case n.parent != nil:
				dst = n.parent.append(append(dst, 1, 2))
			default:
				dst = append(dst, 0)
			}
		}
		return dst
	})
}

// readTree reads that extension, within limits. Nothing is verified yet.
func readTree(s *suite.Suite, b []byte, limits Limits) (*tree, error) {
	t := &tree{suite: s}
	members := 0
	r := codec.NewReader(b)
	r.Vector(2<<limits.Depth-1, func(r *codec.Reader) {
		var n treeNode
		if r.Optional() {
			switch kind, leaf := r.Uint8(), len(t.nodes)%2 == 0; {
			case kind == 1 && leaf:
				n.leaf = readLeafNode(r)
				if members++; members > limits.Members {
					r.Fail(refuse(Limit, "", "ratchet tree of more than %d members", limits.Members))
				}
			case kind == 2 && !leaf:
				n.parent = readParentNode(r)
			default:
				r.Fail(errTreeKind)
			}
		}
		t.nodes = append(t.nodes, n)
	})
	switch {
	case r.Err() != nil:
	case len(t.nodes) == 0:
		r.Fail(errTreeNone)
	case t.nodes[len(t.nodes)-1].blank():
		r.Fail(errTreeEnd)
	case len(t.nodes)%2 == 0:
		r.Fail(errTreeEven)
	}
	if err := r.Finish(); err != nil {
		return nil, malformed(err, "ratchet tree")
	}
	full := treemath.Width(treemath.Full(uint32(len(t.nodes)/2 + 1)))
	t.nodes = append(t.nodes, make([]treeNode, int(full)-len(t.nodes))...)
	return t, nil
}

package mls

import (
	"encoding/binary"
	"hash"
	"slices"
	"sync"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/treemath"
)

// parallelHash is the number of leaves below a node from which its two halves are hashed at once.
const parallelHash = 256

// hash is the tree hash of the whole tree (RFC 9420, section 7.8). Hashes of nodes are kept until something below them
// changes.
func (t *tree) hash() []byte { return t.hashOf(t.root()) }

// hashOf is the tree hash of n.
func (t *tree) hashOf(n treemath.Node) []byte {
	if t.nodes[n].hash == nil {
		t.rehash(n, newTreeHasher(t))
	}
	return t.nodes[n].hash
}

// rehash computes the hash of n and of all below it that are not known. Hashers are for one goroutine; goroutines work
// below different nodes.
func (t *tree) rehash(n treemath.Node, h *treeHasher) {
	if n.IsLeaf() {
		t.nodes[n].hash = h.leaf(n, t.nodes[n].leaf)
		return
	}
	left, right := n.Left(), n.Right()
	unknownL, unknownR := t.nodes[left].hash == nil, t.nodes[right].hash == nil
	switch {
	case unknownL && unknownR && 1<<n.Level() >= parallelHash:
		var both sync.WaitGroup
		both.Go(func() { t.rehash(left, newTreeHasher(t)) })
		t.rehash(right, h)
		both.Wait()
	default:
		if unknownL {
			t.rehash(left, h)
		}
		if unknownR {
			t.rehash(right, h)
		}
	}
	t.nodes[n].hash = h.parent(t.nodes[n].parent, t.nodes[left].hash, t.nodes[right].hash)
}

// treeHasher is what hashing nodes needs, for one goroutine.
type treeHasher struct {
	h     hash.Hash
	text  []byte
	arena []byte // room for hashes
}

func newTreeHasher(t *tree) *treeHasher { return &treeHasher{h: t.suite.NewHash()} }

const hashesInArena = 64

func (h *treeHasher) sum() []byte {
	size := h.h.Size()
	if cap(h.arena)-len(h.arena) < size {
		h.arena = make([]byte, 0, hashesInArena*size)
	}
	h.h.Reset()
	h.h.Write(h.text)
	start := len(h.arena)
	h.arena = h.h.Sum(h.arena)
	return h.arena[start:len(h.arena):len(h.arena)]
}

// leaf hashes TreeHashInput of a leaf; nil is a blank one.
func (h *treeHasher) leaf(n treemath.Node, l *LeafNode) []byte {
	i, _ := n.Leaf()
	h.text = binary.BigEndian.AppendUint32(append(h.text[:0], 1), uint32(i))
	h.text = codec.AppendOptional(h.text, l != nil)
	if l != nil {
		h.text = l.append(h.text)
	}
	return h.sum()
}

// parent hashes TreeHashInput of a parent; nil is a blank one.
func (h *treeHasher) parent(p *parentNode, left, right []byte) []byte {
	h.text = codec.AppendOptional(append(h.text[:0], 2), p != nil)
	if p != nil {
		h.text = p.append(h.text)
	}
	h.text = codec.AppendOpaque(codec.AppendOpaque(h.text, left), right)
	return h.sum()
}

// hashWithout is the tree hash of n as if the leaves in gone, ascending, were blank and unmerged nowhere (section 7.9).
func (t *tree) hashWithout(n treemath.Node, gone []LeafIndex, h *treeHasher) []byte {
	first, last := n.Leaves()
	from, _ := slices.BinarySearch(gone, first)
	to, found := slices.BinarySearch(gone, last)
	if found {
		to++
	}
	if gone = gone[from:to]; len(gone) == 0 {
		if t.nodes[n].hash == nil {
			t.rehash(n, h)
		}
		return t.nodes[n].hash
	}
	if n.IsLeaf() {
		return h.leaf(n, nil)
	}
	left, right := t.hashWithout(n.Left(), gone, h), t.hashWithout(n.Right(), gone, h)
	p := t.nodes[n].parent
	if p != nil {
		p = &parentNode{p.encryptionKey, p.parentHash, slices.DeleteFunc(slices.Clone(p.unmerged), func(l LeafIndex) bool {
			_, is := slices.BinarySearch(gone, l)
			return is
		})}
	}
	return h.parent(p, left, right)
}

// parentHash is the parent hash of p towards a child whose sibling had the tree hash sibling when p was made (section
// 7.9).
func (t *tree) parentHash(p *parentNode, sibling []byte) []byte {
	text := codec.AppendOpaque(nil, p.encryptionKey)
	text = codec.AppendOpaque(text, p.parentHash)
	return t.suite.Hash(nil, codec.AppendOpaque(text, sibling))
}

// checkParentHashes verifies that every parent was made by a member below it (section 7.9.2).
func (t *tree) checkParentHashes() error {
	t.hash()
	h := newTreeHasher(t)
	for i := 1; i < len(t.nodes); i += 2 {
		if p := t.nodes[i].parent; p != nil {
			n := treemath.Node(i)
			valid := 0
			for _, c := range []treemath.Node{n.Left(), n.Right()} {
				if t.chained(n, c, p, h) {
					valid++
				}
			}
			if valid != 1 {
				return refuse(Invalid, "7.9.2", "parent node %d is not parent-hash valid", i)
			}
		}
	}
	return nil
}

// chained reports whether a node in the resolution of c, a child of n, has the parent hash of p, which stands at n, and
// all others there are unmerged in p: whether both were set by one commit.
func (t *tree) chained(n, c treemath.Node, p *parentNode, h *treeHasher) bool {
	first, last := c.Leaves()
	unmerged := 0 // of p, below c
	for _, l := range p.unmerged {
		if l >= first && l <= last {
			unmerged++
		}
	}
	var d *treeNode
	seen := 0
	t.resolution(c, func(m treemath.Node) bool {
		if l, ok := m.Leaf(); ok {
			if _, is := slices.BinarySearch(p.unmerged, l); is {
				seen++
				return true
			}
		}
		if d != nil {
			d = nil
			seen = -1
			return false
		}
		d = &t.nodes[m]
		return true
	})
	if d == nil || seen != unmerged {
		return false
	}
	var have []byte
	if d.leaf != nil {
		have = d.leaf.ParentHash
	} else {
		have = d.parent.parentHash
	}
	if len(have) == 0 {
		return false
	}
	s := c.Sibling()
	return string(have) == string(t.parentHash(p, t.hashWithout(s, p.unmerged, h)))
}

package table

import (
	"math/rand/v2"
	"testing"
)

// adversarial makes keys that share long runs of bits, so that every depth of the trie is reached.
func adversarial(rnd *rand.Rand) key {
	var k key
	for i := range k {
		switch rnd.IntN(4) {
		case 0:
			k[i] = uint64(rnd.IntN(3))
		case 1:
			k[i] = 1 << rnd.IntN(64)
		case 2:
			k[i] = ^uint64(0) << rnd.IntN(64)
		case 3:
			k[i] = rnd.Uint64()
		}
	}
	return k
}

// Both ways of changing a trie, in place and on a copy, against a map; old copies stay what they were.
func TestTrieAgreesWithAMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 1))
	var inPlace trie[int]
	var root *node[int]
	twin := map[key]int{}
	var keys []key
	type snapshot struct {
		root *node[int]
		twin map[key]int
	}
	var old []snapshot
	for step := range 12_000 {
		if grow := step%6000 < 3500; grow == (rnd.IntN(4) > 0) || len(keys) == 0 {
			k := adversarial(rnd)
			_, have := twin[k]
			root = plus(root, &leaf[int]{k, step})
			if have {
				inPlace.remove(&k)
			} else {
				keys = append(keys, k)
			}
			inPlace.insert(&leaf[int]{k, step})
			twin[k] = step
		} else {
			i := rnd.IntN(len(keys))
			k := keys[i]
			keys[i] = keys[len(keys)-1]
			keys = keys[:len(keys)-1]
			root = minus(root, &k)
			inPlace.remove(&k)
			delete(twin, k)
		}
		for range 3 {
			k := adversarial(rnd)
			if len(keys) > 0 && rnd.IntN(2) == 0 {
				k = keys[rnd.IntN(len(keys))]
			}
			v, have := twin[k]
			for _, l := range []*leaf[int]{inPlace.root.Load().find(&k), root.find(&k)} {
				if (l != nil) != have || have && l.v != v {
					t.Fatalf("step %d: find(%x) = %v, want %d, %v", step, k, l, v, have)
				}
			}
		}
		if step%3000 == 0 {
			s := snapshot{root, map[key]int{}}
			for k, v := range twin {
				s.twin[k] = v
			}
			old = append(old, s)
			sameLeaves(t, inPlace.root.Load(), twin)
			checkShape(t, inPlace.root.Load(), -1, true)
			checkShape(t, root, -1, true)
		}
	}
	for _, s := range old {
		sameLeaves(t, s.root, s.twin)
	}
	for _, k := range keys {
		inPlace.remove(&k)
		root = minus(root, &k)
	}
	if inPlace.root.Load() != nil || root != nil {
		t.Error("not empty in the end")
	}
}

func sameLeaves(t *testing.T, n *node[int], want map[key]int) {
	t.Helper()
	got := 0
	n.all(func(l *leaf[int]) bool {
		got++
		if v, ok := want[l.key]; !ok || v != l.v {
			t.Errorf("leaf %x = %d, want %d, %v", l.key, l.v, v, ok)
		}
		return true
	})
	if got != len(want) {
		t.Errorf("%d leaves, want %d", got, len(want))
	}
}

// checkShape verifies what the comments on node promise.
func checkShape[V any](t *testing.T, n *node[V], above int, root bool) {
	t.Helper()
	if n == nil {
		return
	}
	if n.pos() <= above {
		t.Errorf("node at chunk %x below one at %x", n.pos(), above)
	}
	if size := len(n.leaves) + len(n.kids); size < 2 && !(root && size == 1 && len(n.leaves) == 1) {
		t.Errorf("node of %d children", size)
	}
	if n.leafMap&n.kidMap != 0 {
		t.Error("a chunk is both leaf and kid")
	}
	for i := range n.kids {
		checkShape(t, n.kids[i].Load(), n.pos(), false)
	}
}

func depth[V any](n *node[V]) int {
	d := 0
	for i := range n.kids {
		d = max(d, depth(n.kids[i].Load()))
	}
	return d + 1
}

func TestTrieDepthIsBoundedForMadeUpKeys(t *testing.T) {
	var tr trie[int]
	keys := []key{{}}
	for w := range 3 {
		for b := range 64 {
			var k key
			k[w] = 1 << b
			keys = append(keys, k)
		}
	}
	for i, k := range keys {
		tr.insert(&leaf[int]{k, i})
	}
	if got := depth(tr.root.Load()); got != maxDepth {
		t.Errorf("depth %d, want %d: one node for each chunk", got, maxDepth)
	}
	for i, k := range keys {
		if l := tr.root.Load().find(&k); l == nil || l.v != i {
			t.Errorf("key %d lost", i)
		}
	}
}

func TestTrieIsShallowForHashedKeys(t *testing.T) {
	rnd := rand.New(rand.NewPCG(4, 4))
	var tr trie[struct{}]
	for range 100_000 {
		tr.insert(&leaf[struct{}]{key: key{rnd.Uint64(), 1, 2}})
	}
	if got := depth(tr.root.Load()); got > 6 {
		t.Errorf("depth %d for 100000 hashed keys under two equal words, want at most 6", got)
	}
}

// A root that holds a single leaf never ends up below another node, where taking the leaf out would leave nothing.
func TestLoneRootStaysAbove(t *testing.T) {
	a, b, c := key{0, 0, 1}, key{0, 0, 2}, key{1, 0, 1}
	var x trie[int]
	put := func(k key) { x.insert(&leaf[int]{key: k}) }
	put(a)
	put(c)
	put(b)
	x.remove(&c)
	x.remove(&b) // the root is left at the last word, with a
	put(c)       // differs in the first
	x.remove(&a)
	put(a)
	for _, k := range []key{a, c} {
		if x.root.Load().find(&k) == nil {
			t.Errorf("%v is not found", k)
		}
	}
	if x.root.Load().find(&b) != nil {
		t.Errorf("%v is found", b)
	}
}

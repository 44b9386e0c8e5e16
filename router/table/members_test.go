package table

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Random joins and leaves over the sizes at which the form changes, against four slices; old members stay what they
// were.
func TestMembersAgreeWithSlices(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 5))
	var pool []*peer
	for i := range 3000 {
		pool = append(pool, &peer{kind: Kind(i % kinds)})
	}
	var m members[peer]
	var lists [kinds][]*peer
	in := map[*peer]bool{}
	type snapshot struct {
		m    members[peer]
		want []*peer
	}
	var old []snapshot
	target := 0
	for step := range 20_000 {
		if step%1000 == 0 {
			target = []int{0, 30, 40, 66, 150, 2500}[rnd.IntN(6)]
		}
		c := pool[rnd.IntN(len(pool))]
		k := c.kind
		if grow := len(in) < target; grow && !in[c] {
			m = m.join(c, k)
			lists[k] = append(lists[k], c)
			in[c] = true
		} else if !grow && len(in) > 0 {
			for len(lists[k]) == 0 {
				k = (k + 1) % kinds
			}
			i := rnd.IntN(len(lists[k]))
			c = lists[k][i]
			m = m.leave(c, k)
			last := len(lists[k]) - 1
			lists[k][i] = lists[k][last]
			lists[k] = lists[k][:last]
			delete(in, c)
		}
		if m.total() != len(in) || m.contains(c, c.kind) != in[c] {
			t.Fatalf("step %d: total %d of %d, contains %v", step, m.total(), len(in), m.contains(c, c.kind))
		}
		for k := range Kind(kinds) {
			if m.count(k) != len(lists[k]) {
				t.Fatalf("step %d: %d of kind %v, want %d", step, m.count(k), k, len(lists[k]))
			}
			if n := len(lists[k]); n > 0 {
				if i := rnd.IntN(n); m.at(k, i) != lists[k][i] {
					t.Fatalf("step %d: element %d of kind %v is wrong", step, i, k)
				}
			}
		}
		if m.big != nil {
			for k := range m.big.list {
				checkVector(t, &m.big.list[k])
			}
		}
		if step%100 == 0 {
			want := slices.Concat(lists[:]...)
			if !slices.Equal(m.appendTo(nil, nil, All), want) {
				t.Fatalf("step %d: lists differ", step)
			}
			f := Only(Remote) | Only(Edge)
			if !slices.Equal(m.appendTo(nil, nil, f), slices.Concat(lists[Remote], lists[Edge])) {
				t.Fatalf("step %d: filtered lists differ", step)
			}
			if len(want) > 0 {
				skip := want[rnd.IntN(len(want))]
				rest := slices.DeleteFunc(slices.Clone(want), func(c *peer) bool { return c == skip })
				if !slices.Equal(m.appendTo(nil, skip, All), rest) {
					t.Fatalf("step %d: lists without one differ", step)
				}
			}
			old = append(old, snapshot{m, want})
		}
	}
	for i, s := range old {
		if !slices.Equal(s.m.appendTo(nil, nil, All), s.want) {
			t.Fatalf("snapshot %d changed afterwards", i)
		}
	}
}

// checkVector verifies that a vector is as flat as its length allows and has no empty chunks.
func checkVector(t *testing.T, v *vector[peer]) {
	t.Helper()
	want := 0
	for v.n > fan<<(want*fanBits) {
		want++
	}
	if v.height != want {
		t.Fatalf("%d elements in %d levels, want %d", v.n, v.height, want)
	}
	n := 0
	v.each(func(cs []*peer) {
		if n%fan != 0 || len(cs) == 0 {
			t.Fatalf("a chunk of %d at %d", len(cs), n)
		}
		n += len(cs)
	})
	if n != v.n {
		t.Fatalf("%d elements, counted %d", n, v.n)
	}
}

func TestVectorKeepsItsShapeThroughAllLevels(t *testing.T) {
	const most = fan*fan + 2*fan + 1 // three levels
	var v vector[peer]
	var cs []*peer
	for len(cs) < most {
		cs = append(cs, &peer{})
		v = v.push(cs[len(cs)-1])
		checkVector(t, &v)
	}
	for v.n > 0 {
		for _, i := range []int{0, v.n / 2, v.n - 1} {
			if v.at(i) != cs[i] {
				t.Fatalf("element %d of %d is wrong", i, v.n)
			}
		}
		x := &peer{}
		if w := v.set(v.n/3, x); w.at(v.n/3) != x || v.at(v.n/3) != cs[v.n/3] {
			t.Fatalf("set of element %d of %d", v.n/3, v.n)
		}
		v = v.pop()
		checkVector(t, &v)
	}
}

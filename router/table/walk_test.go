package table

import (
	"fmt"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// A walk meets every name once, with all who hold it counted and the first of them, few or many.
func TestWalkTellsNamesAndHolders(t *testing.T) {
	tb := New[peer]()
	edges, remotes := conns(Edge, string(make([]byte, 100))), conns(Remote, "xy")
	want := map[wire.Name][kinds]int{}
	hold := func(c *peer, n wire.Name) {
		if _, err := tb.Add(c, c.kind, Key{Name: n, HasID: true}, 1, [3]string{"org", "ns", "app"}, true); err != nil {
			t.Fatal(err)
		}
		count := want[n]
		count[c.kind]++
		want[n] = count
	}
	for id := range uint64(3 * fewMax) { // in a trie
		hold(edges[0], base.WithID(0, id))
	}
	for i := range 5 {
		hold(edges[1], wire.NewName("org", "ns", fmt.Sprint(i)).WithID(0, 7))
	}
	for _, c := range append(edges, remotes...) { // beyond flatMax
		if c != edges[0] {
			hold(c, base.WithID(0, 1))
		}
	}
	seen := map[wire.Name]bool{}
	tb.Walk(3, func(e *Entry[peer]) bool {
		if seen[e.Name] {
			t.Errorf("%v twice", e.Name)
		}
		seen[e.Name] = true
		if e.Count != want[e.Name] {
			t.Errorf("%v: holders %v, want %v", e.Name, e.Count, want[e.Name])
		}
		if e.Name == base.WithID(0, 1) && (len(e.Some) != 3 || e.Some[0] != remotes[0] || e.Some[1] != remotes[1] || e.Some[2].kind != Edge) {
			t.Errorf("some are %v, want both remotes, then an edge", e.Some)
		}
		if e.Str != [3]string{"org", "ns", "app"} {
			t.Errorf("%v: strings %q", e.Name, e.Str)
		}
		return true
	})
	if len(seen) != len(want) {
		t.Errorf("%d names, want %d", len(seen), len(want))
	}
	calls := 0
	tb.Walk(1, func(*Entry[peer]) bool { calls++; return calls < 4 })
	if calls != 4 {
		t.Errorf("%d calls, want the walk to end with the fourth", calls)
	}
}

// Names of a connection are told if they are few; of many, only their number.
func TestNamesOf(t *testing.T) {
	for _, tt := range []struct{ names, told int }{{0, 0}, {1, 1}, {fewNames, fewNames}, {fewNames + 1, 0}} {
		tb, c := New[peer](), &peer{kind: Edge}
		for id := range uint64(tt.names) {
			_, _ = tb.Add(c, Edge, withID(id), 1, noText, false)
			_, _ = tb.Add(c, Edge, withID(id), 2, noText, false)
		}
		names, records, complete := tb.NamesOf(c, nil)
		if len(names) != tt.told || records != 2*tt.names || complete != (tt.told == tt.names) {
			t.Errorf("of %d names in two records each: %d names, %d records, complete %t", tt.names, len(names), records, complete)
		}
	}
}

package sessiontest

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// The model of a node has the same apps for a name as our node, and passes messages for one of them round.
func TestModelIsLikeANode(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var model routes
	node := table.New[link]()
	links := make([]link, 6)
	names := []wire.Name{}
	for _, part := range []string{"x", "y"} {
		for id := range uint64(3) {
			names = append(names, wire.NewName("a", "b", part).WithID(id, id))
		}
		names = append(names, wire.NewName("a", "b", part)) // any of them
	}
	type held struct {
		by   *link
		name wire.Name
		id   uint64
	}
	var all []held
	for range 3000 {
		by, name := &links[r.IntN(len(links))], names[r.IntN(len(names))]
		switch {
		case r.IntN(3) == 0 && len(all) > 0:
			i := r.IntN(len(all))
			h := all[i]
			all = slices.Delete(all, i, i+1)
			model.remove(func(s *subscription) bool { return s.id == h.id })
			if _, err := node.Remove(h.by, table.Key{Name: h.name, HasID: true}, h.id); err != nil {
				t.Fatal(err)
			}
		case len(all) < 12 && !name.IsNull():
			h := held{by, name, model.add(by, name)}
			all = append(all, h)
			if _, err := node.Add(by, table.Edge, table.Key{Name: name, HasID: true}, h.id, [3]string{}, false); err != nil {
				t.Fatal(err)
			}
		}
		from := &links[r.IntN(len(links))]
		to := names[r.IntN(len(names))]
		got, want := model.match(to, true, from), node.MatchAll(&to, from, table.All, nil)
		if len(got) != len(want) || slices.ContainsFunc(want, func(l *link) bool { return !slices.Contains(got, l) }) {
			t.Fatalf("%v from %p is for %v, want %v", to, from, got, want)
		}
		counts := map[*link]int{}
		for range 2 * len(want) {
			one := model.match(to, false, from)
			if len(one) != 1 {
				t.Fatalf("%v is for %v", to, one)
			}
			counts[one[0]]++
		}
		for _, l := range want {
			if counts[l] != 2 {
				t.Errorf("one of %d has got %d of %d", len(want), counts[l], 2*len(want))
			}
		}
	}
}

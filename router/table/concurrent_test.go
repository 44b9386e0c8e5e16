package table

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// guest holds one name once in its life. Times are ticks of a clock that the writers move; 0 is not yet.
type guest struct {
	name                      wire.Name
	joining, leaving, removed atomic.Int64 // before Add; before and after the removal
	permanent                 bool
}

// stage is a table with permanent guests on every name, and writers that add and remove others.
type stage struct {
	tb    *Table[guest]
	clock atomic.Int64
	names []wire.Name
	stay  [][]*guest // permanent guests of each name
	all   []*guest   // permanent guests of the prefix: all names are under one
}

func newStage(names, permanent int) *stage {
	s := &stage{tb: New[guest]()}
	base := wire.NewName("org", "ns", "busy")
	for i := range names {
		n := base.WithID(0, uint64(i))
		s.names = append(s.names, n)
		s.stay = append(s.stay, nil)
		for j := range permanent {
			g := &guest{name: n, permanent: true}
			g.joining.Store(s.clock.Add(1))
			s.tb.Add(g, Kind(j%kinds), Key{n, true}, 1, noText, false)
			s.stay[i] = append(s.stay[i], g)
			s.all = append(s.all, g)
		}
	}
	return s
}

// write lets guests come and go; others works on other prefixes too, so that the trie above changes under the readers.
func (s *stage) write(seed uint64, steps int) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var in []*guest
	for range steps {
		if target := 10 + rnd.IntN(150); len(in) < target {
			g := &guest{name: s.names[rnd.IntN(len(s.names))]}
			kind := Kind(rnd.IntN(kinds))
			g.joining.Store(s.clock.Add(1))
			s.tb.Add(g, kind, Key{g.name, true}, 1, noText, false)
			in = append(in, g)
		} else {
			i := rnd.IntN(len(in))
			g := in[i]
			in[i] = in[len(in)-1]
			in = in[:len(in)-1]
			g.leaving.Store(s.clock.Add(1))
			if rnd.IntN(2) == 0 {
				removeConn(s.tb, g)
			} else if _, err := s.tb.Remove(g, Key{g.name, true}, 1); err != nil {
				panic(err)
			}
			g.removed.Store(s.clock.Add(1))
		}
		other := s.names[0]
		other.C[2] ^= 1 << rnd.IntN(64)
		g := &guest{name: other}
		s.tb.Add(g, Edge, Key{other, true}, 1, noText, false)
		if rnd.IntN(2) == 0 {
			removeConn(s.tb, g)
		}
	}
}

// plausible checks one result against the times: begin was read before the match.
func (s *stage) plausible(t *testing.T, g *guest, name *wire.Name, begin int64) {
	if name.IsNull() {
		name = &wire.Name{C: name.C, Hi: g.name.Hi, Lo: g.name.Lo}
	}
	if g.name != *name {
		t.Errorf("match of %v yields a holder of %v", name, g.name)
	}
	end := s.clock.Load()
	if j := g.joining.Load(); j == 0 || j > end {
		t.Errorf("joined at %d, yielded before %d", j, end)
	}
	if r := g.removed.Load(); r != 0 && r <= begin {
		t.Errorf("removed at %d, yielded by a match begun at %d", r, begin)
	}
}

func (s *stage) read(t *testing.T, seed uint64, steps int) {
	rnd := rand.New(rand.NewPCG(seed, 2))
	var dst []*guest
	seen := map[*guest]bool{}
	matchAll := func(n *wire.Name, must []*guest) {
		begin := s.clock.Load()
		dst = s.tb.MatchAll(n, nil, All, dst[:0])
		clear(seen)
		for _, g := range dst {
			if seen[g] {
				t.Errorf("one connection twice in a result")
			}
			seen[g] = true
			s.plausible(t, g, n, begin)
		}
		for _, g := range must {
			if !seen[g] && g.leaving.Load() == 0 {
				t.Errorf("a connection that holds %v is missing from %d results", n, len(dst))
			}
		}
	}
	var last []*guest
	for range steps {
		i := rnd.IntN(len(s.names))
		name := s.names[i]
		matchAll(&name, s.stay[i])
		last = append(last[:0], dst...)
		wild := name.WithID(wire.Null, wire.Null)
		// Whoever an exact match has shown, a null match that follows shows as well: both come from one state.
		matchAll(&wild, append(last, s.all...))
		for _, n := range []*wire.Name{&name, &wild} {
			begin := s.clock.Load()
			g := s.tb.MatchOne(n, s.stay[i][0], All)
			if g == nil || g == s.stay[i][0] {
				t.Errorf("MatchOne found nobody, or the source, among permanent holders")
				continue
			}
			s.plausible(t, g, n, begin)
			busy := func(g *guest) bool { return !g.permanent }
			if g = s.tb.MatchFree(n, s.stay[i][0], All, busy); g == nil {
				continue // too many are busy
			} else if busy(g) || g == s.stay[i][0] {
				t.Errorf("MatchFree found somebody busy, or the source")
			}
			s.plausible(t, g, n, begin)
		}
	}
}

func TestReadersSeeNoHalfChanges(t *testing.T) {
	for _, tc := range []struct {
		shape            string
		names, permanent int
	}{
		{"one name, small lists", 1, 2},
		{"one name, lists around the threshold", 1, 30},
		{"few ids", 5, 2},
		{"ids around the threshold", 60, 2},
	} {
		t.Run(tc.shape, func(t *testing.T) {
			s := newStage(tc.names, tc.permanent)
			var wg sync.WaitGroup
			for i := range uint64(2) {
				wg.Go(func() { s.write(i, 1000) })
				wg.Go(func() { s.read(t, i, 500) })
			}
			wg.Wait()
		})
	}
}

// Prefixes, not ids, come and go: names appear and vanish whole, and those that stay are always found.
func TestReadersFindWhatStaysWhileTheTrieChanges(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	name := func() wire.Name {
		k := adversarial(rnd)
		return wire.Name{C: k, Lo: 5}
	}
	tb := New[guest]()
	var stay []*guest
	fixed := map[wire.Name]bool{}
	for range 200 {
		g := &guest{name: name()}
		if !fixed[g.name] {
			fixed[g.name] = true
			tb.Add(g, Edge, Key{g.name, true}, 1, noText, false)
			stay = append(stay, g)
		}
	}
	var passing []wire.Name
	for len(passing) < 400 {
		if n := name(); !fixed[n] {
			passing = append(passing, n)
		}
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for i := range uint64(2) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(i, 8))
			for !stop.Load() {
				g := stay[rnd.IntN(len(stay))]
				if got := tb.MatchOne(&g.name, nil, All); got != g {
					t.Errorf("%v: found %v", g.name, got)
				}
				if rnd.IntN(500) == 0 {
					n := 0
					tb.Range(All, func(h Held) bool {
						if fixed[h.Name] {
							n++
						}
						return true
					})
					if n != len(stay) {
						t.Errorf("Range found %d of %d that stay", n, len(stay))
					}
				}
			}
		})
	}
	for range 12 {
		g := &guest{}
		for i, n := range passing {
			tb.Add(g, Local, Key{n, true}, uint64(i), noText, false)
		}
		if lost := removeConn(tb, g); len(lost) == 0 {
			t.Error("nothing lost")
		}
		for _, n := range passing {
			if got := tb.MatchOne(&n, nil, All); got != nil {
				t.Errorf("%v is still held after RemoveConn", n)
			}
		}
	}
	stop.Store(true)
	wg.Wait()
}

// What Len counts is found: who has seen the count need not wait any longer.
func TestWhatIsCountedIsFound(t *testing.T) {
	const count = 20_000
	name := func(i int) wire.Name { return wire.Name{C: [3]uint64{uint64(i), 1, 2}, Lo: 5} }
	tb, g := New[guest](), &guest{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range count {
			if i%2 == 0 {
				tb.Add(g, Edge, Key{name(i), true}, 1, noText, false)
			} else {
				tb.Enter(g, Edge, name(i), nil)
			}
		}
	})
	wg.Go(func() {
		for n := 0; n < count; {
			if n = tb.Len(); n > 0 {
				last := name(n - 1)
				if tb.MatchOne(&last, nil, All) == nil {
					t.Errorf("name %d of %d is not found", n, n)
					return
				}
			}
		}
	})
	wg.Wait()
}

// A place that is kept shows whoever has come to a prefix that had gone, as soon as Add has returned.
func TestPlacesBesideComingAndGoing(t *testing.T) {
	tb := New[guest]()
	n := wire.NewName("org", "ns", "seldom").WithID(0, 1)
	var there atomic.Pointer[guest] // holds n for as long as it stands here
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20_000 {
			g := &guest{name: n}
			tb.Add(g, Edge, Key{n, true}, 1, noText, false)
			there.Store(g)
			there.Store(nil)
			tb.Remove(g, Key{n, true}, 1)
		}
	}()
	var at Place[guest]
	for {
		select {
		case <-done:
			if at = tb.Place(&n, at); at != (Place[guest]{}) {
				t.Error("a prefix that has gone has a place")
			}
			return
		default:
		}
		want := there.Load()
		at = tb.Place(&n, at)
		got := at.MatchOne(&n, nil, All)
		if want != nil && there.Load() == want && got != want {
			t.Fatalf("found %p, want %p", got, want)
		}
	}
}

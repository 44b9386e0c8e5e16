package table

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"weak"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// stays are how a connection comes to hold a name, and loses it.
var stays = []struct {
	way        string
	rounds     int
	come, goes func(*Table[guest], *guest)
}{
	{"Add and Remove", 2000,
		func(tb *Table[guest], g *guest) { tb.Add(g, Edge, Key{g.name, true}, 1, noText, false) },
		func(tb *Table[guest], g *guest) { tb.Remove(g, Key{g.name, true}, 1) }},
	{"Add and RemoveConn", 2000,
		func(tb *Table[guest], g *guest) { tb.Add(g, Local, Key{g.name, true}, 1, noText, false) },
		func(tb *Table[guest], g *guest) { removeConn(tb, g) }},
	{"Enter and Leave", 2000,
		func(tb *Table[guest], g *guest) { tb.Enter(g, Peer, g.name, nil) },
		func(tb *Table[guest], g *guest) { tb.Leave(g, g.name) }},
	{"Restore and Revoke", 2000,
		func(tb *Table[guest], g *guest) {
			tb.Add(g, Remote, Key{g.name, true}, 1, noText, false)
			tb.Revoke(g, g.name, 1)
			tb.Restore(g, g.name, 1)
		},
		func(tb *Table[guest], g *guest) { tb.Revoke(g, g.name, 1) }},
	{"Add, and RemoveConn of one who holds many", 50,
		func(tb *Table[guest], g *guest) {
			tb.Add(g, Edge, Key{g.name, true}, 1, noText, false)
			for i := range uint64(2 * removeStep) {
				tb.Add(g, Edge, Key{g.name.WithID(1, i), true}, 1, noText, false)
			}
		},
		func(tb *Table[guest], g *guest) { removeConn(tb, g) }},
}

// Whatever way those take who hold names under a prefix: who looks at the place where the prefix was last finds everybody who had come
// before, and nobody who had gone.
func TestPlacesFollowEveryWay(t *testing.T) {
	for _, tc := range stays {
		t.Run(tc.way, func(t *testing.T) {
			tb := New[guest]()
			base := wire.NewName("org", "ns", "seldom")
			const prefixes = 3
			var clock atomic.Int64
			var here [prefixes]atomic.Pointer[guest] // the latest who has come, gone or not
			var wg sync.WaitGroup
			var done atomic.Bool
			for i := range prefixes {
				n := base.WithID(0, uint64(i))
				n.C[2] += uint64(i)
				wg.Go(func() {
					for r := range tc.rounds {
						g := &guest{name: n}
						tc.come(tb, g)
						g.joining.Store(clock.Add(1))
						here[i].Store(g)
						if r%2 == 0 {
							runtime.Gosched()
						}
						g.leaving.Store(clock.Add(1))
						tc.goes(tb, g)
						g.removed.Store(clock.Add(1))
					}
				})
			}
			var readers sync.WaitGroup
			for seed := range uint64(2) {
				readers.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, 5))
					var at [prefixes]Place[guest]
					var dst []*guest
					for ; !done.Load(); runtime.Gosched() {
						i := rnd.IntN(prefixes)
						g := here[i].Load()
						if g == nil {
							continue
						}
						n := g.name
						if rnd.IntN(2) == 0 {
							n = n.WithID(wire.Null, wire.Null)
						}
						gone := g.removed.Load() != 0
						at[i] = tb.Place(&n, at[i])
						if dst = at[i].MatchAll(&n, nil, All, dst[:0]); rnd.IntN(2) == 0 {
							dst = append(dst[:0], at[i].MatchOne(&n, nil, All))
						}
						found := slices.Contains(dst, g)
						if gone && found {
							t.Errorf("%v has gone, and is found", n)
						}
						if !found && g.leaving.Load() == 0 {
							t.Errorf("%v has come, and is not found", n)
						}
					}
				})
			}
			wg.Wait()
			done.Store(true)
			readers.Wait()
			if tb.Len() != 0 || tb.prefixes.root.Load() != nil {
				t.Errorf("%d subscriptions are left", tb.Len())
			}
		})
	}
}

// Who has kept the place of a prefix that has gone keeps no strings of it: nobody counts them any more.
func TestPlaceOfAGonePrefixKeepsNoStrings(t *testing.T) {
	for _, tc := range stays {
		t.Run(tc.way, func(t *testing.T) {
			tb := New[guest]()
			g := &guest{name: wire.NewName("org", "ns", "gone").WithID(0, 1)}
			tc.come(tb, g)
			other := &guest{name: g.name.WithID(0, 2)}
			tb.Add(other, Edge, Key{other.name, true}, 1, [3]string{"org", "ns", strings.Repeat("x", 10_000)}, true)
			text := weak.Make(tb.Text(g.name.C))
			at := tb.Place(&g.name, Place[guest]{})
			tb.Remove(other, Key{other.name, true}, 1)
			if text.Value() == nil {
				t.Error("strings of a prefix that is held have gone")
			}
			tc.goes(tb, g)
			removeConn(tb, g) // what is revoked has the strings until then
			runtime.GC()
			if text.Value() != nil {
				t.Error("the strings are still there")
			}
			if got := tb.Place(&g.name, at); got != (Place[guest]{}) {
				t.Error("the prefix is still there")
			}
		})
	}
}

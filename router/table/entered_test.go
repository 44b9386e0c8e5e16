package table

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
)

// What is entered and subscribed by the same connections, in any order, is held as long as something is left of it: a thousand
// changes beside a model that counts.
func TestEnteredNamesAreHeldUntilTheLastOfThemLeaves(t *testing.T) {
	type claim struct{ c, id int }
	seeds := uint64(15)
	if os.Getenv("SLIMGO_TEST_LONG") != "" {
		seeds = 50
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 1))
		tb, b := New[peer](), &Budget{}
		tb.Limit(b)
		cs := []*peer{{"a", Peer}, {"b", Peer}, {"c", Peer}}
		entered, subscribed, left := map[claim]int{}, map[claim]bool{}, 0
		text := NewText([3]string{"org", "ns", "app"})
		for range 1000 {
			x := claim{rng.IntN(len(cs)), rng.IntN(24)} // more ids than few
			c, k := cs[x.c], withID(uint64(x.id))
			switch rng.IntN(40) {
			case 0: // c goes, and another comes in its place
				r := tb.RemoveConn(c)
				if got := tb.Count(c); got != 0 {
					t.Fatalf("seed %d: %d subscriptions of one that was removed", seed, got)
				}
				for more := true; more; {
					_, more = r.Step()
				}
				for y, n := range entered {
					if y.c != x.c {
						continue
					}
					for range n {
						if name := withID(uint64(y.id)).Name; tb.Kinds(&name) == 0 {
							t.Fatalf("seed %d: a name that was entered went with its connection", seed)
						}
						tb.Leave(c, withID(uint64(y.id)).Name)
					}
					delete(entered, y)
				}
				for y := range subscribed {
					if y.c == x.c {
						delete(subscribed, y)
					}
				}
				if tb.conns[c] != nil {
					t.Fatalf("seed %d: a connection of which nothing is left is known", seed)
				}
				left++
				cs[x.c] = &peer{fmt.Sprint("new-", left), Peer}
			case 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12:
				tb.Enter(c, Peer, k.Name, text)
				entered[x]++
			case 13, 14, 15, 16, 17, 18, 19, 20:
				add(t, tb, c, k, 7)
				subscribed[x] = true
			case 21, 22, 23, 24, 25, 26:
				if _, err := tb.Remove(c, k, 7); (err == nil) != subscribed[x] {
					t.Fatalf("seed %d: Remove: %v, subscribed %v", seed, err, subscribed[x])
				}
				delete(subscribed, x)
			default:
				if entered[x] > 0 {
					tb.Leave(c, k.Name)
					entered[x]--
				}
			}
			total := 0
			for i, c := range cs {
				n := 0
				for id := range 24 {
					y := claim{i, id}
					want := entered[y]
					if subscribed[y] {
						want++
					}
					n += want
					got, name := 0, withID(uint64(id)).Name
					for _, h := range tb.MatchAll(&name, nil, Only(Peer), nil) {
						if h == c {
							got++
						}
					}
					if got != min(want, 1) {
						t.Fatalf("seed %d: %s is found %d times for a name that it holds %d times", seed, c.label, got, want)
					}
				}
				if got := tb.Count(c); got != n {
					t.Fatalf("seed %d: Count = %d, want %d", seed, got, n)
				}
				total += n
			}
			if got := tb.Len(); got != total {
				t.Fatalf("seed %d: Len = %d, want %d", seed, got, total)
			}
		}
		for i, c := range cs {
			for id := range 24 {
				_, _ = tb.Remove(c, withID(uint64(id)), 7)
				for range entered[claim{i, id}] {
					tb.Leave(c, withID(uint64(id)).Name)
				}
			}
		}
		if names, bytes := b.Used(); tb.prefixes.root.Load() != nil || len(tb.conns) != 0 || tb.Len() != 0 || names+bytes != 0 {
			t.Fatalf("seed %d: something is left: %d connections, %d names, %d and %d of the budget", seed, len(tb.conns), tb.Len(), names, bytes)
		}
	}
}

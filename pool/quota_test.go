package pool

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
)

func TestSharesAddUp(t *testing.T) {
	const limit, owners = 10 << 20, 4
	q := NewQuota(limit)
	var wg sync.WaitGroup
	shares := make([]*Share, owners)
	for i := range shares {
		shares[i] = q.Join(nil)
		wg.Go(func() {
			s := shares[i]
			rnd := rand.New(rand.NewPCG(1, uint64(i)))
			for range 10_000 {
				s.Add(rnd.IntN(100_000) - int(min(s.Held(), 50_000)))
				if s.Held() < 0 {
					t.Error("a share is negative")
				}
			}
		})
	}
	wg.Wait()
	sum := int64(0)
	for i := range shares {
		sum += shares[i].Held()
	}
	for i := range shares {
		if off := shares[i].Over(1000) - (sum + 1000 - limit); off > owners*shareStep || off < -owners*shareStep {
			t.Errorf("share %d sees a sum that is off by %d bytes", i, off)
		}
	}
	for i := range shares {
		shares[i].Add(-int(shares[i].Held()))
	}
	if n := q.used.Load(); n > owners*shareStep || n < -owners*shareStep {
		t.Errorf("%d bytes left when all have none", n)
	}
}

func TestRanksAreAQuarterApart(t *testing.T) {
	last := int32(0)
	for n := 0; n < 64<<20; n += 1 + n/100 {
		r := rankOf(n)
		if r < last || r > last+1 {
			t.Fatalf("%d bytes have rank %d after rank %d", n, r, last)
		}
		if r > 0 && rankOf(n+n/4+1) == r {
			t.Fatalf("%d and %d bytes have the same rank", n, n+n/4+1)
		}
		last = r
	}
	for _, n := range []int{-1, 0, 4<<10 - 1, 4 << 10, math.MaxInt} {
		if r := rankOf(n); r < 0 || r >= numRanks || (r == 0) != (n < 4<<10) {
			t.Errorf("%d bytes have rank %d", n, r)
		}
	}
}

// A list of all holders, searched from end to end, is the twin of the ranks.
func TestTheLargestHolderIsFound(t *testing.T) {
	asked := make([]int, 3)
	q := NewQuota(1)
	shares := make([]*Share, len(asked))
	for i := range shares {
		shares[i] = q.Join(func() { asked[i]++ })
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	holders := make([]Holder, 60) // of share i%3
	held := make([]int, len(holders))
	for i := range holders {
		holders[i].Owner = i
	}
	for range 20_000 {
		i := rnd.IntN(len(holders))
		held[i] = rnd.IntN(1 << rnd.IntN(24))
		shares[i%3].Rank(&holders[i], held[i])

		at, n := rnd.IntN(3), rnd.IntN(1<<rnd.IntN(24))
		best := [3]int32{}
		for j, m := range held {
			best[j%3] = max(best[j%3], rankOf(m))
		}
		others := max(best[(at+1)%3], best[(at+2)%3])
		h, elsewhere := shares[at].Larger(n)
		switch {
		case others > max(best[at], rankOf(n)):
			if h != nil || !elsewhere {
				t.Fatalf("found %v, %v: another share has the largest", h, elsewhere)
			}
			if asked[at] > 0 || asked[(at+1)%3]+asked[(at+2)%3] > 1 {
				t.Fatalf("asked %v", asked)
			}
			for k := range asked {
				if asked[k] > 0 {
					if best[k] != others {
						t.Fatalf("share %d was asked, which has not the largest", k)
					}
					asked[k] = 0
					shares[k].Asked()
				}
			}
		case best[at] > rankOf(n):
			if elsewhere || h == nil || rankOf(held[h.Owner.(int)]) != best[at] || h.Owner.(int)%3 != at {
				t.Fatalf("found %v, %v, want the largest of this share", h, elsewhere)
			}
		case h != nil || elsewhere:
			t.Fatalf("found %v, %v: nobody has more than %d", h, elsewhere, n)
		}
	}
}

func TestAShareIsAskedOnceAtATime(t *testing.T) {
	q, asked := NewQuota(1), 0
	a, b := q.Join(nil), q.Join(func() { asked++ })
	var h Holder
	b.Rank(&h, 1<<20)
	for range 3 {
		if _, elsewhere := a.Larger(100); !elsewhere {
			t.Fatal("the largest holder is not found")
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times, want once", asked)
	}
	b.Asked()
	if a.Larger(100); asked != 2 {
		t.Errorf("asked %d times, want once more", asked)
	}
}

func TestRankingDoesNotAllocate(t *testing.T) {
	s := NewQuota(1).Join(nil)
	hs := make([]Holder, 100)
	n := 0
	if got := testing.AllocsPerRun(100, func() {
		for i := range hs {
			n += 5000
			s.Rank(&hs[i], n%(1<<20))
		}
		s.Larger(0)
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkRank(b *testing.B) {
	s := NewQuota(1).Join(nil)
	hs := make([]Holder, 1000)
	n := 0
	for b.Loop() {
		n++
		s.Rank(&hs[n%1000], n*800%(1<<20))
	}
}

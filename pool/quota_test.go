package pool

import (
	"math/rand/v2"
	"sync"
	"testing"
)

func TestSharesAddUp(t *testing.T) {
	const limit, owners = 10 << 20, 4
	q := NewQuota(limit)
	var wg sync.WaitGroup
	shares := make([]Share, owners)
	for i := range shares {
		shares[i] = q.Join()
		wg.Go(func() {
			s := &shares[i]
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

package pool

import (
	"runtime"
	"sync"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/invariant"
)

func TestLocalHandsOutTheLastReleasedFirst(t *testing.T) {
	l := NewLocal()
	a, b := l.Get(1000), l.Get(1000)
	a.Release()
	b.Release()
	if got := l.Get(1000); got != b {
		t.Errorf("the Buf released last did not come first")
	}
	if got := l.Get(1000); got != a {
		t.Errorf("the Buf released before did not come second")
	}
}

func TestLocalBufsHaveTheClassOfTheSize(t *testing.T) {
	l := NewLocal()
	for _, n := range []int{0, 256, 257, 1000, 64 << 10, 64<<10 + 1, MaxSize + 1} {
		b := l.Get(n)
		if len(b.B) != 0 || cap(b.B) < n {
			t.Errorf("Get(%d): len %d cap %d", n, len(b.B), cap(b.B))
		}
		if home := b.home != nil; home != (n <= 64<<10) {
			t.Errorf("Get(%d) belongs to the stock: %v", n, home)
		}
		b.Release()
	}
}

// More Bufs than a shelf keeps: the surplus leaves for the shared pool and forgets its home, and nothing is lost or doubled.
func TestLocalKeepsABoundedStock(t *testing.T) {
	l := NewLocal()
	s := &l.shelf[class(64<<10)]
	held := make([]*Buf, 5*s.depth)
	for i := range held {
		held[i] = l.Get(64 << 10)
	}
	for i, b := range held {
		b.Release()
		if i%3 == 0 {
			s.collect()
		}
	}
	s.collect()
	if len(s.stack) != s.depth {
		t.Errorf("stock of %d, want the bound %d", len(s.stack), s.depth)
	}
	seen := map[*Buf]bool{}
	for range s.depth {
		b := l.Get(64 << 10)
		if seen[b] {
			t.Fatal("one Buf handed out twice")
		}
		seen[b] = true
	}
}

// Two owners, each releasing what the other took, and a shared Buf released by both.
func TestLocalTakesBackFromOtherThreads(t *testing.T) {
	const rounds = 20_000
	before := Live()
	rings := [2]*Ring[*Buf]{NewRing[*Buf](32), NewRing[*Buf](32)}
	var wg sync.WaitGroup
	for me := range 2 {
		wg.Go(func() {
			l := NewLocal()
			mine, theirs := rings[me], rings[1-me]
			for sent, got := 0, 0; sent < rounds || got < rounds; {
				progress := false
				if sent < rounds {
					b := l.Get(300)
					b.B = append(b.B, byte(me), byte(sent))
					b.Retain()
					if mine.Push(b) {
						sent++
						progress = true
					} else {
						b.Release()
					}
					b.Release()
				}
				if b, ok := theirs.Pop(); ok {
					if b.B[0] != byte(1-me) || b.B[1] != byte(got) {
						t.Errorf("Buf %d holds %v", got, b.B)
					}
					b.Release()
					got++
					progress = true
				}
				if !progress {
					runtime.Gosched()
				}
			}
		})
	}
	wg.Wait()
	if got := Live(); got != before {
		t.Errorf("%d Bufs left", got-before)
	}
}

func TestLocalDoesNotAllocate(t *testing.T) {
	if invariant.On || raceEnabled {
		t.Log("measured in plain builds")
		return
	}
	l := NewLocal()
	got := testing.AllocsPerRun(1000, func() {
		a, b := l.Get(100), l.Get(60_000)
		a.Release()
		b.Release()
	})
	if got != 0 {
		t.Errorf("%v allocations per round, want 0", got)
	}
}

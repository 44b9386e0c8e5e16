package pool

import (
	"runtime"
	"sync"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/invariant"
)

func TestClassesHoldWhatWasAskedFor(t *testing.T) {
	for _, n := range []int{0, 1, 255, 256, 257, 384, 385, 512, 513, 768, 769, 1024, 4 << 20, 4<<20 + 1, MaxSize - 1, MaxSize} {
		i := class(n)
		if i >= classes {
			t.Fatalf("class(%d) = %d, want below %d", n, i, classes)
		}
		if classSize(i) < n {
			t.Errorf("class of %d holds only %d", n, classSize(i))
		}
		if i > 0 && classSize(i-1) >= n {
			t.Errorf("%d would fit into %d, has %d", n, classSize(i-1), classSize(i))
		}
	}
	for i := 1; i < classes; i++ {
		if lo, hi := classSize(i-1), classSize(i); hi <= lo || 2*hi > 3*lo {
			t.Errorf("class %d of %d bytes follows one of %d: want at most half as much again", i, hi, lo)
		}
	}
	if class(MaxSize+1) < classes {
		t.Errorf("class(MaxSize+1) is a recycled class")
	}
}

func TestGetGivesEmptyMemoryOfEnoughCapacity(t *testing.T) {
	for _, n := range []int{0, 1, 256, 1000, 70_000, MaxSize, MaxSize + 1} {
		b := Get(n)
		if len(b.B) != 0 || cap(b.B) < n {
			t.Errorf("Get(%d): len %d cap %d", n, len(b.B), cap(b.B))
		}
		b.Release()
	}
	mustPanic(t, "Get of a negative size", func() { Get(-1) })
}

func TestAuxStaysWithTheMemory(t *testing.T) {
	// The pool may drop a Buf at any time (a collection, the race detector's dice), so try until the memory comes back.
	for range 1000 {
		b := Get(3000)
		if s, ok := b.Aux.(*[4]int); ok {
			if s[2] != 7 {
				t.Fatalf("Aux came back as %v", s)
			}
			b.Release()
			return
		}
		b.Aux = &[4]int{2: 7}
		b.Release()
	}
	t.Fatal("no Buf came back with its Aux in 1000 tries")
}

func TestAppendingBeyondTheClassLeavesItIntact(t *testing.T) {
	for range 100 {
		b := Get(256)
		b.B = append(b.B, make([]byte, 5000)...)
		b.Release()
		c := Get(256)
		if cap(c.B) != 256 {
			t.Fatalf("cap %d after recycling, want the class's 256", cap(c.B))
		}
		c.Release()
	}
}

func TestReferenceCountIsChecked(t *testing.T) {
	t.Run("one Release per holder", func(t *testing.T) {
		b := Get(10)
		b.Retain()
		b.B = append(b.B, "held"...)
		b.Release()
		if string(b.B) != "held" {
			t.Errorf("B = %q with a holder left", b.B)
		}
		b.Release()
		if b.B != nil {
			t.Errorf("B still there after the last Release")
		}
	})
	t.Run("Release below zero panics", func(t *testing.T) {
		b := outsize(MaxSize + 1) // never recycled, so no other test can revive it
		b.Release()
		mustPanic(t, "second Release", b.Release)
	})
	t.Run("Retain after the last Release panics", func(t *testing.T) {
		b := outsize(MaxSize + 1)
		b.Release()
		mustPanic(t, "Retain", b.Retain)
	})
}

func TestHoldersOnManyThreadsReleaseOnce(t *testing.T) {
	before := Live()
	var wg sync.WaitGroup
	for range 200 {
		b := Get(512)
		b.B = append(b.B, 1, 2, 3)
		for range 8 {
			b.Retain()
			wg.Go(func() {
				if b.B[2] != 3 {
					t.Errorf("shared bytes changed")
				}
				b.Release()
			})
		}
		b.Release()
	}
	wg.Wait()
	if got := Live(); got != before {
		t.Errorf("%d Bufs left", got-before)
	}
}

func TestInvariantBuildsPoisonAndCount(t *testing.T) {
	b := outsize(MaxSize + 1)
	mem := append(b.B, "secret"...)
	n := Live()
	b.Release()
	if !invariant.On {
		if Live() != 0 {
			t.Errorf("Live() = %d without the tag", Live())
		}
		return
	}
	if Live() != n-1 {
		t.Errorf("Live went from %d to %d, want one less", n, Live())
	}
	for i, c := range mem {
		if c != invariant.PoisonByte {
			t.Fatalf("byte %d is %#x after the last Release", i, c)
		}
	}
	w := fresh(0)
	w.own[9] = 1
	mustPanic(t, "writing into a free Buf", func() { taken(w) })
	live.Add(-1)
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	if raceEnabled || invariant.On {
		t.Log("sync.Pool drops values at random under the race detector; measured in plain builds")
		return
	}
	r := NewRing[*Buf](8)
	got := testing.AllocsPerRun(1000, func() {
		for _, n := range [...]int{100, 1000, 70_000, 1 << 20} {
			b := Get(n)
			b.Retain()
			r.Push(b)
			c, _ := r.Pop()
			c.Release()
			b.Release()
		}
	})
	if got != 0 {
		t.Errorf("%v allocations per round, want 0", got)
	}
}

func TestGatherIsEmptyWhenTaken(t *testing.T) {
	for range 100 {
		g := Bytes()
		if len(g.B) != 0 {
			t.Fatalf("Bytes() holds %d bytes", len(g.B))
		}
		g.B = append(g.B, make([]byte, 3000)...)
		FreeBytes(g)
	}
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s did not panic", what)
		}
	}()
	f()
}

func BenchmarkBufSameThread(b *testing.B) {
	b.Run("shared", func(b *testing.B) {
		for b.Loop() {
			Get(1000).Release()
		}
	})
	b.Run("local", func(b *testing.B) {
		l := NewLocal()
		for b.Loop() {
			l.Get(1000).Release()
		}
	})
}

// One goroutine takes and fills, another releases, batches through a Ring: what a pair of loops does.
func BenchmarkBufAcrossThreads(b *testing.B) {
	b.Run("shared", func(b *testing.B) { acrossThreads(b, Get) })
	b.Run("local", func(b *testing.B) { acrossThreads(b, NewLocal().Get) })
}

func acrossThreads(b *testing.B, get func(int) *Buf) {
	r := NewRing[*Buf](256)
	done := make(chan struct{})
	n := b.N
	go func() {
		defer close(done)
		var got [64]*Buf
		for left := n; left > 0; {
			k := r.PopN(got[:])
			if k == 0 {
				runtime.Gosched()
			}
			for _, x := range got[:k] {
				x.Release()
			}
			left -= k
		}
	}()
	b.ReportAllocs()
	var out [64]*Buf
	for left := n; left > 0; {
		k := min(left, len(out))
		for i := range out[:k] {
			out[i] = get(1000)
		}
		for sent := 0; sent < k; {
			m := r.PushN(out[sent:k])
			if m == 0 {
				runtime.Gosched()
			}
			sent += m
		}
		left -= k
	}
	<-done
}

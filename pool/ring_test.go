package pool

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"unsafe"
)

func TestRingCapacityIsRoundedUp(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 2, 3: 4, 8: 8, 9: 16, 1000: 1024} {
		if got := NewRing[int](n).Cap(); got != want {
			t.Errorf("NewRing(%d).Cap() = %d, want %d", n, got, want)
		}
	}
	mustPanic(t, "NewRing(0)", func() { NewRing[int](0) })
}

// A slice is the twin: random pushes and pops, single and in batches, must agree with it at every step.
func TestRingAgreesWithASlice(t *testing.T) {
	for _, size := range []int{1, 2, 4, 16} {
		r := NewRing[int](size)
		rnd := rand.New(rand.NewPCG(1, uint64(size)))
		var twin []int
		next := 0
		for step := range 20_000 {
			switch rnd.IntN(4) {
			case 0:
				ok := r.Push(next)
				if ok != (len(twin) < size) {
					t.Fatalf("size %d step %d: Push = %v with %d inside", size, step, ok, len(twin))
				}
				if ok {
					twin = append(twin, next)
					next++
				}
			case 1:
				vs := make([]int, rnd.IntN(size+3))
				for i := range vs {
					vs[i] = next + i
				}
				k := r.PushN(vs)
				if want := min(len(vs), size-len(twin)); k != want {
					t.Fatalf("size %d step %d: PushN = %d, want %d", size, step, k, want)
				}
				twin = append(twin, vs[:k]...)
				next += k
			case 2:
				v, ok := r.Pop()
				if ok != (len(twin) > 0) || ok && v != twin[0] {
					t.Fatalf("size %d step %d: Pop = %d, %v; twin %v", size, step, v, ok, twin)
				}
				if ok {
					twin = twin[1:]
				}
			case 3:
				dst := make([]int, rnd.IntN(size+3))
				k := r.PopN(dst)
				if want := min(len(dst), len(twin)); k != want || !slices.Equal(dst[:k], twin[:k]) {
					t.Fatalf("size %d step %d: PopN = %v, twin %v", size, step, dst[:k], twin)
				}
				twin = twin[k:]
			}
			if r.Len() != len(twin) {
				t.Fatalf("size %d step %d: Len = %d, want %d", size, step, r.Len(), len(twin))
			}
		}
	}
}

func TestRingRetainsNothingPopped(t *testing.T) {
	r := NewRing[*int](4)
	for range 3 {
		r.PushN([]*int{new(int), new(int), new(int)})
		r.Pop()
		r.PopN(make([]*int, 4))
	}
	for i, p := range r.slots {
		if p != nil {
			t.Errorf("slot %d still holds its value", i)
		}
	}
}

func TestRingKeepsSidesOnSeparateLines(t *testing.T) {
	var r Ring[int]
	tail, head := unsafe.Offsetof(r.tail), unsafe.Offsetof(r.head)
	if tail-unsafe.Offsetof(r.mask) < 128 || head-unsafe.Offsetof(r.headSeen) < 128 || unsafe.Sizeof(r)-unsafe.Offsetof(r.tailSeen) < 128 {
		t.Errorf("mask %d, tail %d, head %d of %d bytes: too near", unsafe.Offsetof(r.mask), tail, head, unsafe.Sizeof(r))
	}
}

// Two goroutines, every way of moving values; under -race this also proves that the stores publish the slots.
func TestRingMovesAllInOrderBetweenGoroutines(t *testing.T) {
	const total = 200_000
	type item struct{ n, check int }
	r := NewRing[item](64)
	go func() {
		rnd := rand.New(rand.NewPCG(2, 2))
		var vs [20]item
		for n := 0; n < total; {
			k := min(1+rnd.IntN(len(vs)), total-n)
			for i := range vs[:k] {
				vs[i] = item{n + i, ^(n + i)}
			}
			sent := 0
			if k == 1 {
				if r.Push(vs[0]) {
					sent = 1
				}
			} else {
				sent = r.PushN(vs[:k])
			}
			if sent == 0 {
				runtime.Gosched()
			}
			n += sent
		}
	}()
	rnd := rand.New(rand.NewPCG(3, 3))
	var dst [20]item
	for n := 0; n < total; {
		k := 0
		if rnd.IntN(2) == 0 {
			if v, ok := r.Pop(); ok {
				dst[0], k = v, 1
			}
		} else {
			k = r.PopN(dst[:1+rnd.IntN(len(dst))])
		}
		if l := r.Len(); l < 0 || l > r.Cap() {
			t.Fatalf("Len = %d", l)
		}
		if k == 0 {
			runtime.Gosched()
		}
		for _, v := range dst[:k] {
			if v.n != n || v.check != ^n {
				t.Fatalf("got %v, want %d", v, n)
			}
			n++
		}
	}
}

func BenchmarkRingSameThread(b *testing.B) {
	r := NewRing[*int](64)
	v := new(int)
	for b.Loop() {
		r.Push(v)
		r.Pop()
	}
}

func BenchmarkRingAcrossThreads(b *testing.B) {
	for _, batch := range []int{1, 32} {
		b.Run(map[int]string{1: "single", 32: "batch32"}[batch], func(b *testing.B) {
			r := NewRing[uint64](1024)
			done := make(chan struct{})
			n := b.N
			go func() {
				defer close(done)
				dst := make([]uint64, batch)
				for left := n; left > 0; {
					k := r.PopN(dst)
					if k == 0 {
						runtime.Gosched()
					}
					left -= k
				}
			}()
			vs := make([]uint64, batch)
			for left := n; left > 0; {
				k := r.PushN(vs[:min(left, batch)])
				if k == 0 {
					runtime.Gosched()
				}
				left -= k
			}
			<-done
		})
	}
}

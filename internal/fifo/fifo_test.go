package fifo

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A queue does what a slice does that is cut at its front.
func TestQueueBesideASlice(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var q Queue[int]
	var twin []int
	for i := range 100_000 {
		switch r.IntN(5) {
		case 0, 1:
			if i%10_000 < 5_000 { // it grows, and then shrinks
				q.Push(i)
				twin = append(twin, i)
			}
		case 2:
			if len(twin) > 0 {
				if got := q.Pop(); got != twin[0] {
					t.Fatalf("popped %d, want %d", got, twin[0])
				}
				twin = twin[1:]
			}
		case 3:
			if len(twin) > 0 {
				v := q.Pop()
				if q.Unpop(v); q.Front() != twin[0] {
					t.Fatalf("%d comes back, want %d", q.Front(), twin[0])
				}
			}
		}
		if n := len(twin); n > 0 {
			at := r.IntN(n)
			if got := q.At(at); got != twin[at] {
				t.Fatalf("item %d of %d is %d, want %d", at, n, got, twin[at])
			}
			q.Set(at, -i)
			twin[at] = -i
		}
		if q.Len() != len(twin) {
			t.Fatalf("%d items, want %d", q.Len(), len(twin))
		}
	}
	if got := slices.Collect(q.All()); !slices.Equal(got, twin) {
		t.Errorf("%d are left, want %d", got, twin)
	}
}

// An empty queue holds little memory, however much it has held.
func TestEmptyQueueHoldsLittle(t *testing.T) {
	for _, keep := range []int{0, 100} {
		q := &Queue[int]{Keep: keep}
		for range 2 {
			for i := range 1000 {
				q.Push(i)
			}
			for q.Len() > 0 {
				q.Pop()
			}
			if n := cap(q.items); n > max(keep, some) {
				t.Errorf("room for %d, and %d is to be kept", n, keep)
			}
		}
		q.Push(1)
		q.Pop()
		if cap(q.items) == 0 {
			t.Error("no memory is kept")
		}
	}
	if n := (*Queue[int])(nil).Len(); n != 0 {
		t.Errorf("%d in none", n)
	}
}

// A queue that is never empty holds no more than a few times what it has at a time.
func TestQueueThatIsNeverEmpty(t *testing.T) {
	var q Queue[int]
	for i := range 100_000 {
		if q.Push(i); i >= 10 {
			q.Pop()
		}
	}
	if n := cap(q.items); n > 256 {
		t.Errorf("room for %d", n)
	}
}

package pool

import (
	"math/bits"
	"sync/atomic"
)

// Ring is a bounded first-in first-out queue between exactly one producer and one consumer.
//
//	      head (consumer's)          tail (producer's)
//	        v                          v
//	. . . . x x x x x x x x x x x x x x . . . . . .      0 <= tail-head <= Cap
//
// The indexes count for ever and are masked on use; each side keeps a copy of the other's and looks again only when the copy
// says full or empty, so in steady state a side touches the other's cache line once a batch. The store to tail publishes the
// slots before it; the store to head gives back slots that were cleared, so the ring retains nothing that was popped.
//
// Concurrency: Push and PushN belong to the producer, Pop and PopN to the consumer; the two may overlap. Len and Cap are safe
// for all.
type Ring[T any] struct {
	slots []T // power of two; fixed after NewRing
	mask  uint64
	_     pad

	// producer
	tail     atomic.Uint64 // next slot to fill
	headSeen uint64        // <= head
	_        pad

	// consumer
	head     atomic.Uint64 // next slot to empty
	tailSeen uint64        // <= tail
	_        pad
}

// pad keeps what stands on its two sides on different pairs of cache lines: processors fetch neighbouring lines together.
type pad [128]byte

// NewRing returns a ring for at least n values, n > 0; the capacity is n rounded up to a power of two.
func NewRing[T any](n int) *Ring[T] {
	if n <= 0 {
		panic("pool: NewRing of no capacity")
	}
	size := uint64(1) << bits.Len(uint(n-1))
	return &Ring[T]{slots: make([]T, size), mask: size - 1}
}

// Push adds v and tells whether there was room. Producer only.
func (r *Ring[T]) Push(v T) bool {
	tail := r.tail.Load()
	if tail-r.headSeen > r.mask {
		r.headSeen = r.head.Load()
		if tail-r.headSeen > r.mask {
			return false
		}
	}
	r.slots[tail&r.mask] = v
	r.tail.Store(tail + 1)
	return true
}

// full reports whether there is no room. Producer only.
func (r *Ring[T]) full() bool {
	tail := r.tail.Load()
	if tail-r.headSeen > r.mask {
		r.headSeen = r.head.Load()
	}
	return tail-r.headSeen > r.mask
}

// PushN adds the first k of vs, as many as there is room for, in one publication, and returns k. Producer only.
func (r *Ring[T]) PushN(vs []T) int {
	tail := r.tail.Load()
	room := r.mask + 1 - (tail - r.headSeen)
	if room < uint64(len(vs)) {
		r.headSeen = r.head.Load()
		room = r.mask + 1 - (tail - r.headSeen)
	}
	k := min(uint64(len(vs)), room)
	if k == 0 {
		return 0
	}
	at := tail & r.mask
	n := copy(r.slots[at:], vs[:k])
	copy(r.slots, vs[n:k])
	r.tail.Store(tail + k)
	return int(k)
}

// Pop takes the oldest value; false: the ring is empty. Consumer only.
func (r *Ring[T]) Pop() (v T, ok bool) {
	head := r.head.Load()
	if head == r.tailSeen {
		r.tailSeen = r.tail.Load()
		if head == r.tailSeen {
			return v, false
		}
	}
	var zero T
	s := &r.slots[head&r.mask]
	v, *s = *s, zero
	r.head.Store(head + 1)
	return v, true
}

// PopN moves up to len(dst) of the oldest values into dst and returns how many. Consumer only.
func (r *Ring[T]) PopN(dst []T) int {
	head := r.head.Load()
	have := r.tailSeen - head
	if have < uint64(len(dst)) {
		r.tailSeen = r.tail.Load()
		have = r.tailSeen - head
	}
	k := min(uint64(len(dst)), have)
	if k == 0 {
		return 0
	}
	at := head & r.mask
	first := r.slots[at:min(at+k, r.mask+1)]
	n := copy(dst, first)
	clear(first)
	rest := r.slots[:k-uint64(n)]
	copy(dst[n:], rest)
	clear(rest)
	r.head.Store(head + k)
	return int(k)
}

// Len returns the number of values inside; while the other side works it is a moment's truth.
func (r *Ring[T]) Len() int {
	// head first: it never passes a tail read later. The producer may have gone on meanwhile, hence the bound.
	head := r.head.Load()
	return int(min(r.tail.Load()-head, r.mask+1))
}

// Cap returns the number of values the ring can hold.
func (r *Ring[T]) Cap() int { return int(r.mask + 1) }

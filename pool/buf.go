package pool

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/internal/invariant"
)

// Size classes are 256 B, 384 B, 512 B, 768 B … 4 MiB, 6 MiB: class i even is 256<<(i/2), odd is 384<<(i/2). At most a third
// of a Buf is unused. Six MiB hold the largest gRPC message (4 MiB) with its prefix and a rewritten header; what is larger
// (a WebSocket message may have 64 MiB) is allocated for once and left to the collector.
const (
	minShift = 8
	classes  = 30
	MaxSize  = 384 << ((classes - 1) / 2) // largest capacity that is recycled, bytes
)

var free [classes]sync.Pool // of *Buf

// Buf is bytes with a count of holders: the only form in which message memory crosses a loop.
//
// Concurrency: Retain and Release are safe for all. B and Aux belong to the single holder; once the Buf is shared, B's bytes
// are read-only for everybody and B itself must not be assigned.
type Buf struct {
	refs  atomic.Int32
	class int8     // index into free; -1: larger than any class
	home  *returns // of the stock that it belongs to; nil: the shared pool's

	// B is the memory. Get hands it out with length 0. The holder may extend it within its capacity, or append beyond it:
	// then the larger memory is dropped at the last Release and the Buf's own comes back.
	B []byte

	own []byte // the memory of this Buf's class, full length

	// Aux is the holder's scratch. It stays with the memory over recycling, so the next holder, whoever that is, may reuse what
	// it finds there after a type check. Nil in a new Buf.
	Aux any

	_ [48]byte // 128 bytes in all: what Get and Release touch is one cache line, nobody else's
}

// Get returns a Buf from the shared pool with one reference, len(B) == 0 and cap(B) >= n. The caller releases it. B's bytes up to its capacity are
// undefined. Negative n panics.
func Get(n int) *Buf {
	i := class(n)
	if i >= classes {
		return outsize(n)
	}
	b, _ := free[i].Get().(*Buf)
	if b == nil {
		b = fresh(i)
	}
	b.B = b.own[:0]
	b.refs.Store(1)
	if invariant.On {
		taken(b)
	}
	return b
}

// class returns the index of the smallest class that holds n bytes; classes or more if none does.
func class(n int) int {
	if n <= 1<<minShift {
		if n < 0 {
			panic("pool: Get of a negative size")
		}
		return 0
	}
	k := bits.Len(uint(n - 1)) // 1<<(k-1) < n <= 1<<k
	i := 2 * (k - minShift)
	if n <= 3<<(k-2) {
		i--
	}
	return i
}

// classSize is the capacity of class i in bytes.
func classSize(i int) int {
	if i%2 == 1 {
		return 384 << (i / 2)
	}
	return 256 << (i / 2)
}

func fresh(i int) *Buf {
	b := &Buf{own: make([]byte, classSize(i)), class: int8(i)}
	if invariant.On {
		invariant.Poison(b.own)
	}
	return b
}

func outsize(n int) *Buf {
	b := &Buf{own: make([]byte, n), class: -1}
	b.B = b.own[:0]
	b.refs.Store(1)
	if invariant.On {
		invariant.Poison(b.own)
		taken(b)
	}
	return b
}

// Footprint returns the memory that b takes while it is held, in bytes: its own and what was appended beyond that, and its
// bookkeeping, but not Aux. Any holder may ask.
func (b *Buf) Footprint() int {
	n := bookkeeping + len(b.own)
	if c := cap(b.B); c > len(b.own) {
		n += c
	}
	return n
}

// bookkeeping is the size of a Buf without its memory.
const bookkeeping = 128

// Footprint returns that of the Buf that Get(n) returns.
func Footprint(n int) int {
	if i := class(n); i < classes {
		n = classSize(i)
	}
	return bookkeeping + n
}

// Retain adds a holder. The caller must be one. It panics if the Buf has been released by all.
func (b *Buf) Retain() {
	if b.refs.Add(1) <= 1 {
		panic("pool: Retain after the last Release")
	}
}

// Release gives up the caller's reference; the last one recycles the memory, and neither b nor B may be touched again. It
// panics if there was no reference left.
func (b *Buf) Release() {
	n := b.refs.Add(-1)
	if n > 0 {
		return
	}
	if n < 0 {
		panic("pool: Release without a reference")
	}
	if invariant.On {
		gone(b)
	}
	b.B = nil // a holder that forgot it is none fails at once, not later with foreign bytes
	if b.home != nil && b.home.give(b) {
		return
	}
	b.home = nil
	if b.class >= 0 {
		free[b.class].Put(b)
	}
}

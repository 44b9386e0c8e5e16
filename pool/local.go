package pool

import (
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/internal/invariant"
)

// A Local keeps Bufs of up to 64 KiB, at most localBytes of each class; beyond that, and for larger ones, it leans on the
// shared pool, which the collector may empty.
const (
	localClasses = 17 // classes 256 B … 64 KiB
	localBytes   = 512 << 10
	localMax     = 1024 // Bufs of one class
)

// Local is one loop's stock of Bufs. Memory taken from it comes back to it from whichever loop releases it last, so a loop that
// takes and another that releases do not meet in sync.Pool, which Get uses and which costs almost three times as much there
// (BenchmarkBufAcrossThreads).
//
//	Release, any loop ──> back (ring, many producers) ──> Get, owner ──> stack (last in first out) ──> caller
//
// Concurrency: all methods belong to the owner. Releasing a Buf that came from a Local is safe for all, as ever.
type Local struct {
	shelf    [localClasses]shelf
	crossing [localClasses]*rotation // nil before the first use
	rotating int                     // bytes of all rotations
}

// shelf is the stock of one class.
type shelf struct {
	returns
	depth int    // most that stack holds; fixed
	stack []*Buf // the warmest on top
	_     pad
}

// returns is where Bufs come back to their owner, first in first out. Its parts lie on lines of their own by who writes
// them.
type returns struct {
	slots []slot // ring; power of two. Fixed
	_     pad

	taken uint64 // position of the next Buf to take; the owner's
	_     pad

	given atomic.Uint64 // position of the next Buf to give
	_     pad
}

// slot is one place of the ring. turn says whose it is: the position itself means free for the producer that wins that
// position, one more means filled, and the owner adds the ring's size when it has taken the Buf.
type slot struct {
	turn atomic.Uint64
	b    *Buf
}

// NewLocal returns an empty stock. It has some 130 KiB of bookkeeping: one per loop, not per connection.
func NewLocal() *Local {
	l := new(Local)
	for i := range l.shelf {
		s := &l.shelf[i]
		s.depth = min(localMax, floorPow2(localBytes/classSize(i)))
		s.stack = make([]*Buf, 0, s.depth)
		s.returns.init(s.depth)
	}
	return l
}

// init makes a ring of n slots, a power of two.
func (r *returns) init(n int) {
	r.slots = make([]slot, n)
	for i := range r.slots {
		r.slots[i].turn.Store(uint64(i))
	}
}

func floorPow2(n int) int {
	p := 1
	for 2*p <= n {
		p *= 2
	}
	return p
}

// Get is the package's Get for the owner of l.
func (l *Local) Get(n int) *Buf {
	i := class(n)
	if i >= localClasses {
		return Get(n)
	}
	s := &l.shelf[i]
	if len(s.stack) == 0 {
		s.collect() // seldom and much at a time: looking each time would fetch the line others are just writing
	}
	var b *Buf
	if top := len(s.stack) - 1; top >= 0 {
		b = s.stack[top]
		s.stack[top] = nil
		s.stack = s.stack[:top]
	} else {
		b, _ = free[i].Get().(*Buf)
		if b == nil {
			b = fresh(i)
		}
		b.home = &s.returns
	}
	b.B = b.own[:0]
	b.refs.Store(1)
	if invariant.On {
		taken(b)
	}
	return b
}

// collect moves what came back to the stack; what does not fit goes to the shared pool. Owner only.
func (s *shelf) collect() {
	for b := s.take(); b != nil; b = s.take() {
		if len(s.stack) < s.depth {
			s.stack = append(s.stack, b)
		} else {
			b.home = nil
			free[b.class].Put(b)
		}
	}
}

// take returns the Buf that came back first; nil: none has. Owner only.
func (r *returns) take() *Buf {
	c := &r.slots[r.taken&uint64(len(r.slots)-1)]
	if c.turn.Load() != r.taken+1 {
		return nil
	}
	b := c.b
	c.b = nil
	c.turn.Store(r.taken + uint64(len(r.slots)))
	r.taken++
	return b
}

// give offers a Buf that nobody holds to the owner; false: the ring is full. Safe for all.
func (r *returns) give(b *Buf) bool {
	for {
		pos := r.given.Load()
		c := &r.slots[pos&uint64(len(r.slots)-1)]
		switch turn := c.turn.Load(); {
		case turn == pos:
			if r.given.CompareAndSwap(pos, pos+1) {
				c.b = b
				c.turn.Store(pos + 1)
				return true
			}
		case turn < pos:
			return false
		}
	}
}

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
// Concurrency: Get belongs to the owner. Releasing a Buf that came from a Local is safe for all, as ever.
type Local struct {
	shelf [localClasses]shelf
}

// shelf is the stock of one class. Its parts lie on lines of their own by who writes them.
type shelf struct {
	back  []slot // ring; power of two. Fixed, as is depth
	depth int    // most that stack holds
	_     pad

	// the owner's
	stack []*Buf // the warmest on top
	taken uint64 // position in back of the next Buf to take
	_     pad

	given atomic.Uint64 // position in back of the next Buf to give
	_     pad
}

// slot is one place of a shelf's ring. turn says whose it is: the position itself means free for the producer that wins that
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
		s.back = make([]slot, s.depth)
		for j := range s.back {
			s.back[j].turn.Store(uint64(j))
		}
	}
	return l
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
		b.home = l
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
	for {
		c := &s.back[s.taken&uint64(len(s.back)-1)]
		if c.turn.Load() != s.taken+1 {
			return
		}
		b := c.b
		c.b = nil
		c.turn.Store(s.taken + uint64(len(s.back)))
		s.taken++
		if len(s.stack) < s.depth {
			s.stack = append(s.stack, b)
		} else {
			b.home = nil
			free[b.class].Put(b)
		}
	}
}

// giveBack offers a Buf that nobody holds to the owner; false: the ring is full. Safe for all.
func (s *shelf) giveBack(b *Buf) bool {
	for {
		pos := s.given.Load()
		c := &s.back[pos&uint64(len(s.back)-1)]
		switch turn := c.turn.Load(); {
		case turn == pos:
			if s.given.CompareAndSwap(pos, pos+1) {
				c.b = b
				c.turn.Store(pos + 1)
				return true
			}
		case turn < pos:
			return false
		}
	}
}

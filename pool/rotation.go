package pool

import (
	"math/bits"

	"github.com/seed31b3bfd0/slimgo/internal/invariant"
)

// Writing into memory that another processor has read since costs several times more than anything else that is done
// with a message: each line has to be taken from the other's cache, and stores wait for each other. Memory that has not
// been used for as long as it takes to fill a cache costs little more than memory of one's own, if it is written in a
// row, so that the processor sees what comes. So long Bufs that another loop will read come by turns from a stock
// larger than a second-level cache. For short ones, which lie anywhere, that does not pay.
const (
	rotationBytes = 2 << 20 // of one class: second-level caches have 1 MiB or so
	rotationsMost = 4 << 20 // of all classes of a Local
	rotationIdle  = 8       // ticks after which a class that is not used gives its memory up
)

// rotation is the Bufs of one class that others read. It grows while its Bufs are used more than once a tick.
type rotation struct {
	returns
	made   int // Bufs that belong to it, wherever they are
	most   int
	wanted int // by GetCrossing since the last tick
	idle   int // ticks without any
}

// GetCrossing is Get for memory that another processor will read, some 16 KiB or more: the owner gets what has been out
// of use for longest.
func (l *Local) GetCrossing(n int) *Buf {
	i := class(n)
	if i >= localClasses {
		return Get(n)
	}
	r := l.crossing[i]
	if r == nil {
		r = newRotation(i)
		l.crossing[i] = r
	}
	r.wanted++
	var b *Buf
	if size := Footprint(n); r.made < r.most && r.wanted > r.made && l.rotating+size <= rotationsMost {
		r.made++
		l.rotating += size
		b = fresh(i)
		b.home = &r.returns
	} else if b = r.take(); b == nil { // all are under way
		return l.Get(n)
	}
	b.B = b.own[:0]
	b.refs.Store(1)
	if invariant.On {
		taken(b)
	}
	return b
}

func newRotation(class int) *rotation {
	r := &rotation{most: rotationBytes / (classSize(class) + bookkeeping)}
	r.returns.init(1 << bits.Len(uint(r.most-1)))
	return r
}

// Tick lets time go by, some second: what has not been used for a while is given back. Owner only.
func (l *Local) Tick() {
	for i, r := range l.crossing {
		if r == nil {
			continue
		}
		if r.wanted > 0 {
			r.wanted, r.idle = 0, 0
			continue
		}
		if r.idle++; r.idle < rotationIdle {
			continue
		}
		for b := r.take(); b != nil; b = r.take() {
			r.made--
			l.rotating -= b.Footprint()
			b.home = nil
		}
		if r.made == 0 {
			l.crossing[i] = nil
		}
	}
}

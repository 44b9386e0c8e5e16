package rpc

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/internal/fifo"
	"github.com/seed31b3bfd0/slimgo/session"
)

// inbox is what has come for a call and was not received yet. Who puts never waits, since it serves all calls of a session: what is
// beyond the bound ends the call instead (P-rpc-10). Safe for all, but one goroutine takes at a time.
type inbox struct {
	most bound

	mu    sync.Mutex
	all   *purse           // guarded by mu: of all calls; nil: there is no such bound, or what is left here does not count any more
	queue fifo.Queue[item] // guarded by mu
	bytes int              // guarded by mu: in queue, with what an item costs
	err   error            // guarded by mu: what comes after the queue, for ever; nil: the call goes on
	wake  chan struct{}    // of one place
}

// item is a message, or, in a group, the failure of a member.
type item struct {
	m   *session.Message
	err *Error
}

// itemCost is what a message takes beside its data and metadata, in bytes.
const itemCost = 1 << 10

// mostKept is for how many items an empty inbox keeps memory.
const mostKept = 256

// size is what an item takes, in bytes. Metadata is there twice: decoded, and in the message as it came.
func (it *item) size() int {
	if it.m == nil {
		return itemCost
	}
	return itemCost + len(it.m.Data) + 2*sizeOf(it.m.Metadata)
}

// sizeOf is that of metadata, in bytes.
func sizeOf(md map[string]string) (n int) {
	for k, v := range md {
		n += len(k) + len(v)
	}
	return n
}

// bound is how many bytes may be kept, and by which option.
type bound struct {
	most   int
	option string
}

// purse is how many bytes may be kept together: by all calls of a session, of a Client or Group, or of a server. Safe for all.
type purse struct {
	bound
	spare int    // bytes that each of those who share it may keep beyond that, so that small ones go on beside large ones
	all   *purse // of which it takes a part; nil: none
	held  atomic.Int64
}

// take has n bytes kept by somebody who keeps so many already, if there is room, or nothing is kept yet; else it returns the bound.
func (p *purse) take(n, already int) *bound {
	if p == nil {
		return nil
	}
	held := int(p.held.Add(int64(n)))
	if held > p.most && held > n && already+n > p.spare {
		p.held.Add(-int64(n))
		return &p.bound
	}
	if full := p.all.take(n, held-n); full != nil {
		p.held.Add(-int64(n))
		return full
	}
	return nil
}

func (p *purse) put(n int) {
	for ; p != nil; p = p.all {
		p.held.Add(-int64(n))
	}
}

func newInbox(most bound, all *purse) inbox {
	return inbox{most: most, all: all, wake: make(chan struct{}, 1), queue: fifo.Queue[item]{Keep: mostKept}}
}

// put adds an item; what it returns has no room for it. What comes after the end is dropped.
func (x *inbox) put(it item) *bound {
	size := it.size()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		return nil
	}
	if it.m != nil && x.bytes+size > x.most.most && x.queue.Len() > 0 {
		return &x.most
	}
	if full := x.all.take(size, x.bytes); full != nil {
		return full
	}
	x.queue.Push(it)
	x.bytes += size
	x.signal()
	return nil
}

// release has what waits not count any more among what all calls keep: nobody may ever take it.
func (x *inbox) release() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.all.put(x.bytes)
	x.all = nil
}

// end is the last word, after what has come before; the first one counts, and is reported.
func (x *inbox) end(err error) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		return false
	}
	x.err = err
	x.signal()
	return true
}

// drop ends it, and what waits is not received any more, so that it does not look as if it had been received to the end.
func (x *inbox) drop(err error) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	first := x.err == nil
	if first || x.queue.Len() > 0 {
		x.err = err
	}
	x.all.put(x.bytes)
	x.queue, x.bytes = fifo.Queue[item]{Keep: mostKept}, 0
	x.signal()
	return first
}

// clear forgets what waits.
func (x *inbox) clear() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.all.put(x.bytes)
	x.queue, x.bytes = fifo.Queue[item]{Keep: mostKept}, 0
}

// ended is the last word, which may not have been taken yet; nil: there is none.
func (x *inbox) ended() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

// signal is called with mu held.
func (x *inbox) signal() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// take returns the next item, or the last word, or nothing and nil when ctx is over.
func (x *inbox) take(ctx context.Context) (item, error) {
	for {
		x.mu.Lock()
		if x.queue.Len() > 0 {
			it := x.queue.Pop()
			size := it.size()
			x.bytes -= size
			x.all.put(size)
			x.mu.Unlock()
			return it, nil
		}
		err := x.err
		x.mu.Unlock()
		if err != nil {
			return item{}, err
		}
		select {
		case <-x.wake:
		case <-ctx.Done():
			return item{}, nil
		}
	}
}

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
	most int    // bytes
	all  *purse // of all calls of the session; nil: there is no such bound

	mu    sync.Mutex
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

// purse is how many bytes all calls of a session may keep. Safe for all.
type purse struct {
	most int64
	held atomic.Int64
}

// take has n bytes kept, if there is room, or nothing is kept yet; false: there is none.
func (p *purse) take(n int) bool {
	if p == nil {
		return true
	}
	if held := p.held.Add(int64(n)); held > p.most && held > int64(n) {
		p.held.Add(-int64(n))
		return false
	}
	return true
}

func (p *purse) put(n int) {
	if p != nil {
		p.held.Add(-int64(n))
	}
}

func newInbox(most int, all *purse) inbox {
	return inbox{most: most, all: all, wake: make(chan struct{}, 1), queue: fifo.Queue[item]{Keep: mostKept}}
}

// put adds an item; false: there is no room. What comes after the end is dropped.
func (x *inbox) put(it item) bool {
	size := it.size()
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.err != nil:
		return true
	case it.m != nil && x.bytes+size > x.most && x.queue.Len() > 0:
		return false
	case !x.all.take(size):
		return false
	}
	x.queue.Push(it)
	x.bytes += size
	x.signal()
	return true
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

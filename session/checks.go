package session

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/fifo"
	"github.com/seed31b3bfd0/slimgo/session/internal/workers"
)

// check is the verification of one signature, by whoever has time for it first: the worker whose it is, or another one.
//
//	open ── claimed by one ──▶ running ──▶ done
type check struct {
	verify func()
	wake   func() // the owner is to look again

	state  atomic.Uint32
	wanted atomic.Bool // the owner has nothing else to do
}

const (
	checkOpen uint32 = iota
	checkRunning
	checkDone
)

// run verifies, unless another one does or did.
func (c *check) run() bool {
	if !c.state.CompareAndSwap(checkOpen, checkRunning) {
		return false
	}
	c.verify()
	c.state.Store(checkDone)
	return true
}

// help is for others than the owner.
func (c *check) help() {
	if c.run() && c.wanted.Load() {
		c.wake()
	}
}

// done reports whether it is verified; false: wake follows.
func (c *check) done() bool {
	if c.state.Load() == checkDone {
		return true
	}
	c.wanted.Store(true)
	return c.state.Load() == checkDone // looked at once more after saying so
}

// helpers are the other workers, as far as they have time: each verifies one signature after the other, for a slice, as long as there are
// some. Safe for all.
type helpers struct {
	pool *workers.Pool[letter]

	mu   sync.Mutex
	open fifo.Queue[*check] // guarded by mu; some were run meanwhile
	busy int                // guarded by mu: of the workers
}

// offer lets them have c.
func (h *helpers) offer(c *check) {
	h.mu.Lock()
	h.open.Push(c)
	start := h.busy < h.pool.Workers()-1
	if start {
		h.busy++
	}
	h.mu.Unlock()
	if start {
		h.pool.Do(h.run)
	}
}

func (h *helpers) run() {
	for begin := time.Now(); time.Since(begin) < workers.Slice; {
		h.mu.Lock()
		if h.open.Len() == 0 {
			h.busy--
			h.mu.Unlock()
			return
		}
		c := h.open.Pop()
		h.mu.Unlock()
		c.help()
	}
	h.pool.Do(h.run)
}

// mostAhead is how many messages of a session are decrypted before their turn, and aheadStep how many of them in one step.
const (
	mostAhead = 32
	aheadStep = 4
)

// ahead are messages of data that have their turn, in order, while their signatures are verified: each by who has time for it. There is
// something in it only where several wait, and there are several workers.
type ahead struct{ fifo.Queue[*entry] }

// verified has the first one's signature verified; false: another worker is about to, and has the owner woken then. Meanwhile some other one's
// was, if that is so: progress.
func (q *ahead) verified() (ok, progress bool) {
	c := q.At(0).check
	if c == nil || c.run() || c.state.Load() == checkDone {
		return true, true
	}
	for i := 1; i < q.Len(); i++ {
		if c := q.At(i).check; c != nil && c.run() {
			return false, true
		}
	}
	return c.done(), false
}

package session

import (
	"context"
	"sync"

	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
)

// credit bounds what a session's publishers have under way: as much as its sender keeps for repeats. Who finds no room waits
// its turn. Safe for all.
type credit struct {
	mu      sync.Mutex
	n       int // messages under way
	bytes   int
	over    bool
	waiting []*applicant
	idle    chan struct{} // closed when nothing is under way; nil: nobody waits for that
}

// applicant waits for room.
type applicant struct {
	size    int
	granted chan struct{} // closed when it may go on
	refused bool          // set before that: the session is over
}

// room reports whether a message of this size may be under way, too. One at a time may, whatever its size. mu is held.
func (c *credit) room(size int) bool {
	return c.n == 0 || c.n < reliable.Window && c.bytes+size <= reliable.WindowBytes
}

// take returns when there is room. Errors are ErrClosed, and that of ctx.
func (c *credit) take(ctx context.Context, size int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return ErrClosed
	}
	if len(c.waiting) == 0 && c.room(size) {
		c.n++
		c.bytes += size
		c.mu.Unlock()
		return nil
	}
	a := &applicant{size: size, granted: make(chan struct{})}
	c.waiting = append(c.waiting, a)
	c.mu.Unlock()
	select {
	case <-a.granted:
	case <-ctx.Done():
		if c.withdraw(a) {
			return ctx.Err()
		}
		<-a.granted // it was, at the same time
	}
	if a.refused {
		return ErrClosed
	}
	return nil
}

func (c *credit) withdraw(a *applicant) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, other := range c.waiting {
		if other == a {
			c.waiting = append(c.waiting[:i:i], c.waiting[i+1:]...)
			c.grant() // the next may be smaller
			return true
		}
	}
	return false
}

// grant lets go on who has room, in their order. mu is held.
func (c *credit) grant() {
	for len(c.waiting) > 0 && (c.over || c.room(c.waiting[0].size)) {
		a := c.waiting[0]
		c.waiting = c.waiting[1:]
		if a.refused = c.over; !c.over {
			c.n++
			c.bytes += a.size
		}
		close(a.granted)
	}
	if len(c.waiting) == 0 {
		c.waiting = nil
	}
}

// give returns the room of a message whose fate is known.
func (c *credit) give(size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	c.bytes -= size
	c.grant()
	if c.n == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

// end lets nobody take any more: whoever waits gets ErrClosed.
func (c *credit) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.grant()
}

// settled is closed when nothing is under way.
func (c *credit) settled() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == 0 {
		return closedChan
	}
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	return c.idle
}

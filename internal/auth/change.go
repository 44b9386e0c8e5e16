package auth

import "sync"

// Change tells all who listen that something is otherwise than before. Its zero is ready. Safe for all.
type Change struct {
	mu   sync.Mutex
	next chan struct{} // guarded by mu; nil: nobody has asked since the last
}

// Next returns a channel that is closed with the next Tell; who asks before it looks misses nothing.
func (c *Change) Next() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = make(chan struct{})
	}
	return c.next
}

// Tell says that it is otherwise now.
func (c *Change) Tell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next != nil {
		close(c.next)
		c.next = nil
	}
}

// Follow tells of what others tell, whose Next is changed, until done is closed. first is what changed has returned before anything was
// decided by what they say.
func (c *Change) Follow(done <-chan struct{}, first <-chan struct{}, changed func() <-chan struct{}) {
	for {
		select {
		case <-first:
		case <-done:
			return
		}
		first = changed() // before it is told: no change falls between
		c.Tell()
	}
}

package router

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
)

// chore is work that grows with the names of the node, one bounded step at a time. more: it is to be called again.
type chore func() (more bool)

// chores are done beside the loops by one goroutine, which gives each a step in turn and lives while there are any.
// So whoever needs a lock that a step takes waits for one step, however many connections with however many names
// leave at once. Safe for all.
type chores struct {
	failed func(cause, stack string) // told when a chore panics, which ends that chore. Immutable

	mu      sync.Mutex
	come    []chore // not yet begun by the goroutine
	running bool    // the goroutine lives
	stopped bool
	living  int       // goroutines
	ended   sync.Cond // none lives
}

// begin does the first step of f here, which ends most chores, and leaves the rest to the goroutine.
func (c *chores) begin(f chore) {
	if f() {
		c.add(f)
	}
}

func (c *chores) add(f chore) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	c.come = append(c.come, f)
	if !c.running {
		c.running = true
		c.start(c.run)
	}
}

// aside runs f, which has pauses of its own, on a goroutine of its own.
func (c *chores) aside(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		c.start(func() { c.step(func() bool { f(); return false }) })
	}
}

// stop ends the goroutine after a round of steps; what is left of the chores, and what comes later, is not done.
func (c *chores) stop() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.wait()
}

// start begins a goroutine. mu is held.
func (c *chores) start(f func()) {
	c.living++
	go func() {
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.living--; c.living == 0 {
				c.ended.Broadcast()
			}
		}()
		f()
	}()
}

// wait returns when no goroutine lives. Unlike with a WaitGroup, others may begin meanwhile.
func (c *chores) wait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended.L == nil {
		c.ended.L = &c.mu
	}
	for c.living > 0 {
		c.ended.Wait()
	}
}

func (c *chores) run() {
	for todo := c.take(nil); len(todo) > 0; todo = c.take(todo) {
		kept := todo[:0]
		for _, f := range todo {
			if c.step(f) {
				kept = append(kept, f)
			}
			runtime.Gosched() // whoever waits for a lock of that step goes first
		}
		clear(todo[len(kept):])
		todo = kept
	}
}

// take adds to todo what has come. The goroutine ends when it returns nothing.
func (c *chores) take(todo []chore) []chore {
	c.mu.Lock()
	defer c.mu.Unlock()
	todo = append(todo, c.come...)
	c.come = nil
	if c.stopped {
		todo = nil
	}
	c.running = len(todo) > 0
	return todo
}

// step reports whether f has more to do.
func (c *chores) step(f chore) (more bool) {
	defer func() {
		if r := recover(); r != nil {
			c.failed(fmt.Sprint(r), string(debug.Stack()))
		}
	}()
	return f()
}

package rpc

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// tasks are goroutines that can be waited for while others begin, which a sync.WaitGroup forbids: a client is closed and used, a server
// stopped and started again. The zero value is ready. Safe for all.
type tasks struct {
	mu      sync.Mutex
	running map[chan struct{}]struct{} // guarded by mu: each closed when it has ended
}

// begin counts one in, until end is called, once.
func (t *tasks) begin() (end func()) {
	done := make(chan struct{})
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running == nil {
		t.running = map[chan struct{}]struct{}{}
	}
	t.running[done] = struct{}{}
	return func() {
		t.mu.Lock()
		delete(t.running, done)
		t.mu.Unlock()
		close(done)
	}
}

// run is begin of f, on a goroutine of its own.
func (t *tasks) run(f func()) {
	end := t.begin()
	go func() {
		defer end()
		f()
	}()
}

// wait waits for those that run now. The error is that of ctx.
func (t *tasks) wait(ctx context.Context) error {
	t.mu.Lock()
	running := slices.Collect(maps.Keys(t.running))
	t.mu.Unlock()
	for _, done := range running {
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

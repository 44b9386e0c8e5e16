package spire

import (
	"context"
	"sync"
)

// watched is what a stream of the API gave last. Safe for all.
type watched[T any] struct {
	mu      sync.Mutex
	value   *T            // guarded by mu; nil: nothing yet
	fault   error         // guarded by mu; why the stream gives nothing now; nil: it does, or nothing is known yet
	changed chan struct{} // guarded by mu; closed and replaced with each new value
	known   chan struct{} // closed once there is a value or a fault
	once    sync.Once     // closes known
}

func newWatched[T any]() *watched[T] {
	return &watched[T]{changed: make(chan struct{}), known: make(chan struct{})}
}

// set takes a value that differs from the last.
func (w *watched[T]) set(v *T) {
	w.mu.Lock()
	w.value = v
	close(w.changed)
	w.changed = make(chan struct{})
	w.mu.Unlock()
	w.once.Do(func() { close(w.known) })
}

// report notes why the stream gives nothing, or with nil that it does.
func (w *watched[T]) report(err error) {
	w.mu.Lock()
	w.fault = err
	w.mu.Unlock()
	if err != nil {
		w.once.Do(func() { close(w.known) })
	}
}

func (w *watched[T]) get() (*T, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.value, w.fault
}

func (w *watched[T]) change() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

// await returns once there is a value or a fault, or ctx has ended.
func (w *watched[T]) await(ctx context.Context) {
	select {
	case <-w.known:
	case <-ctx.Done():
	}
}

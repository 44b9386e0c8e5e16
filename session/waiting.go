package session

import (
	"context"
	"sync"
)

// waiting is who waits for something that a mutex guards. The same mutex guards it. The zero value is nobody.
type waiting struct {
	changed chan struct{} // closed when there is something to look at; nil: nobody waits
}

// wake lets those who wait look anew.
func (w *waiting) wake() {
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}

// await calls take with mu held, at once and after each wake, until it has something or an error, or ctx is over.
func await[T any](ctx context.Context, mu *sync.Mutex, w *waiting, take func() (v T, ok bool, err error)) (T, error) {
	for {
		mu.Lock()
		v, ok, err := take()
		if ok || err != nil {
			mu.Unlock()
			return v, err
		}
		if w.changed == nil {
			w.changed = make(chan struct{})
		}
		changed := w.changed
		mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return v, ctx.Err()
		}
	}
}

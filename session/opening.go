package session

import (
	"container/list"
	"context"
	"errors"
	"sync"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// mostOpening is how many invitations of Open are under way to one name at a time. It is a quarter of the places that a Listener has, of which
// one inviter gets half, so that who opens thousands of sessions at once waits for its turn and is not declined.
const mostOpening = DefaultBacklog / 4

// openings have invitations to the same name wait for those before them. The zero value has none.
//
//	begin ── fewer than mostOpening, or nobody answers there ──▶ under way ── end ──▶ the first that waits
//	  └── else: waits ── its turn ──▶ under way
//	                      └── ctx is over ──▶ none
type openings struct {
	mu sync.Mutex
	to map[wire.Name]*opening // guarded by mu; that have some under way
}

// opening is those to one name.
type opening struct {
	under int
	// silent: one was not answered. Others would not be answered later either, and those that wait would do so for nothing.
	silent bool
	queue  list.List // of chan struct{}, closed when it is under way
}

// begin waits until one may be under way; end is to follow. An error is that of ctx.
func (o *openings) begin(ctx context.Context, name wire.Name) error {
	o.mu.Lock()
	to := o.to[name]
	if to == nil {
		if o.to == nil {
			o.to = map[wire.Name]*opening{}
		}
		to = new(opening)
		o.to[name] = to
	}
	if to.silent || to.under < mostOpening {
		to.under++
		o.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	place := to.queue.PushBack(turn)
	o.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-turn: // just now
		return nil
	default:
		to.queue.Remove(place)
		return ctx.Err()
	}
}

// end says what has become of one.
func (o *openings) end(name wire.Name, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	to := o.to[name]
	to.under--
	if err == nil || errors.Is(err, ErrTimeout) {
		to.silent = err != nil
	}
	for to.queue.Len() > 0 && (to.silent || to.under < mostOpening) {
		to.under++
		close(to.queue.Remove(to.queue.Front()).(chan struct{}))
	}
	if to.under == 0 {
		delete(o.to, name)
	}
}

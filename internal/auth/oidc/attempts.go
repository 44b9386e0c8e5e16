package oidc

import (
	"context"
	"sync"
	"time"
)

// attempts are made one at a time by a goroutine of its own, when they are due, or wanted by somebody who waits.
type attempts struct {
	// do makes one, and returns when the next is due if nobody wants one before; negative: not at all.
	do func(ctx context.Context) time.Duration

	end   context.CancelFunc
	ended chan struct{}

	mu    sync.Mutex
	round chan struct{} // closed at the end of the attempt that goes on or is wanted; nil: there is none
	kick  chan struct{} // of one element: an attempt is wanted. It is put there with round, which is nil before
	over  bool
}

// start begins; the first is due after first, negative: when it is wanted.
func (a *attempts) start(first time.Duration) {
	var ctx context.Context
	ctx, a.end = context.WithCancel(context.Background())
	a.ended, a.kick = make(chan struct{}), make(chan struct{}, 1)
	go a.run(ctx, first)
}

// stop has no more begin, and ends the context of the one that goes on. Wait for ended then.
func (a *attempts) stop() {
	a.end()
}

// going returns what is closed at the end of the attempt that goes on, nil: none does.
func (a *attempts) going() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.round
}

// want returns what is closed at the end of the attempt that goes on, or else of one that is made now.
func (a *attempts) want() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.round != nil:
		return a.round
	case a.over:
		return closed
	}
	a.round = make(chan struct{})
	a.kick <- struct{}{}
	return a.round
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (a *attempts) run(ctx context.Context, wait time.Duration) {
	defer close(a.ended)
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		if due.Stop(); wait >= 0 {
			due.Reset(wait)
		}
		select {
		case <-ctx.Done():
			a.mu.Lock()
			a.over = true
			if a.round != nil {
				close(a.round)
				a.round = nil
			}
			a.mu.Unlock()
			return
		case <-a.kick:
		case <-due.C:
			a.mu.Lock()
			if a.round == nil {
				a.round = make(chan struct{})
			} else { // somebody has wanted it at the same time
				<-a.kick
			}
			a.mu.Unlock()
		}
		wait = a.do(ctx)
		a.mu.Lock()
		close(a.round)
		a.round = nil
		a.mu.Unlock()
	}
}

// backoff is what one waits after failures.
type backoff struct{ next time.Duration }

// failed returns how long to wait now.
func (b *backoff) failed() time.Duration {
	if b.next == 0 {
		b.next = firstRetry
	}
	d := b.next
	b.next = min(2*d, lastRetry)
	return d
}

// well forgets failures, and reports whether there were any.
func (b *backoff) well() bool {
	bad := b.next != 0
	b.next = 0
	return bad
}

package rpc

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
)

// channel is the link that calls share: one at a time, made when it is needed.
type channel struct {
	open func(ctx context.Context) (*session.Session, error)

	mu      sync.Mutex
	link    *link    // guarded by mu; nil: there is none
	opening *opening // guarded by mu; nil: nobody waits for one
	tasks   tasks    // openings, and ends of links
}

// opening is a link that is about to be.
type opening struct {
	done   chan struct{}
	cancel context.CancelFunc
	wait   int // guarded by the channel's mu: calls

	link *link // set before done is closed
	err  error
}

// get returns the link, which is made if there is none, or it is over. ctx bounds how long this call waits; others that wait for
// the same link go on.
func (ch *channel) get(ctx context.Context) (*link, error) {
	ch.mu.Lock()
	if l := ch.link; l != nil {
		if l.good() {
			ch.mu.Unlock()
			return l, nil
		}
		ch.discard(l)
	}
	o := ch.opening
	if o == nil {
		background, cancel := context.WithCancel(context.WithoutCancel(ctx))
		o = &opening{done: make(chan struct{}), cancel: cancel}
		ch.opening = o
		ch.tasks.run(func() { ch.make(background, o) })
	}
	o.wait++
	ch.mu.Unlock()
	select {
	case <-o.done:
		return o.link, o.err
	case <-ctx.Done():
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if o.wait--; o.wait == 0 {
		o.cancel()
		if ch.opening == o {
			ch.opening = nil
		}
	}
	return nil, errorOf(ctx, "opening a session")
}

func (ch *channel) make(ctx context.Context, o *opening) {
	defer o.cancel()
	s, err := ch.open(ctx)
	ch.mu.Lock()
	unwanted := err == nil && ch.opening != o // nobody waits any more
	switch {
	case err != nil:
		o.err = err
	case !unwanted:
		o.link = newLink(s)
		ch.link = o.link
	}
	if ch.opening == o {
		ch.opening = nil
	}
	close(o.done)
	ch.mu.Unlock()
	if unwanted {
		closeSession(s)
	}
}

// discard forgets a link that is over. mu is held.
func (ch *channel) discard(l *link) {
	ch.link = nil
	ch.tasks.run(func() {
		ctx, cancel := context.WithTimeout(context.Background(), discardTime)
		defer cancel()
		_ = l.close(ctx)
	})
}

// discardTime is how long a session that is not needed any more may take to end: the other one may not answer.
const discardTime = 2 * time.Second

func closeSession(s *session.Session) {
	ctx, cancel := context.WithTimeout(context.Background(), discardTime)
	defer cancel()
	_ = s.Close(ctx)
}

// close ends the session. Calls that come later make another one.
func (ch *channel) close(ctx context.Context) error {
	ch.mu.Lock()
	l := ch.link
	ch.link = nil
	if o := ch.opening; o != nil {
		o.cancel()
	}
	ch.mu.Unlock()
	var err error
	if l != nil {
		err = l.close(ctx)
	}
	return cmp.Or(err, ch.tasks.wait(ctx))
}

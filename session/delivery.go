package session

import (
	"context"
	"errors"
	"sync"

	"github.com/seed31b3bfd0/slimgo/session/internal/group"
)

// Delivery is what becomes of a message. All methods are safe for all, and may be called as often as wanted.
type Delivery struct {
	s    *Session
	size int
	id   uint32 // of a message that was under way when the app was started; else 0

	event group.Publish // in which the worker finds it, until it is resolved

	mu   sync.Mutex
	done chan struct{} // nil: nobody waits
	over bool
	err  error
}

// closedChan is what Done returns when there is nothing to wait for.
var closedChan = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Done is closed when it is known what has become of the message.
func (d *Delivery) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return closedChan
	}
	if d.done == nil {
		d.done = make(chan struct{})
	}
	return d.done
}

// Err returns nil once every member that there was when it was sent has the message, or, where nothing is acknowledged,
// once it is on its way. An error that is an ErrNotDelivered says who has not; ErrClosed, that the session has ended before.
// Before Done is closed it returns nil, too.
func (d *Delivery) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// Wait waits for Done, and returns Err, or the error of ctx. The message goes on its way whatever ctx does.
func (d *Delivery) Wait(ctx context.Context) error {
	select {
	case <-d.Done():
		return d.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resolve is called once.
func (d *Delivery) resolve(err error) {
	d.event = group.Publish{}
	d.mu.Lock()
	d.over = true
	if err != nil { // which costs memory
		d.err = public(err)
	}
	if d.done != nil {
		close(d.done)
	}
	d.mu.Unlock()
	d.s.credit.give(d.size)
	if err != nil && !errors.Is(err, ErrClosed) && (d.id != 0 || errors.Is(d.err, ErrNotDelivered)) {
		d.s.tell(Undelivered{d.id, d.err})
	}
}

// call is a command whose caller waits.
type call struct{ result chan error }

func newCall() *call { return &call{make(chan error, 1)} }

func (c *call) resolve(err error) { c.result <- public(err) }

// handle is what machines know commands by.
type handle interface{ resolve(err error) }

package uplink

import (
	"context"
	"errors"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Subscribe asks the node for the messages to h.Dest and waits for its answer. id names the subscription from then
// on. An error that is no *NameError leaves open whether the node has the name, unless nothing was sent.
func (c *Conn) Subscribe(ctx context.Context, h *wire.PublishHeader) (id uint64, err error) {
	r, err := c.Request(ctx, wire.KindSubscribe, h, 0)
	if err != nil {
		return 0, err
	}
	return r.ID, r.Wait(ctx)
}

// Unsubscribe withdraws subscription id of h.Dest and waits for the node's answer: no message to it follows then.
func (c *Conn) Unsubscribe(ctx context.Context, h *wire.PublishHeader, id uint64) error {
	r, err := c.Request(ctx, wire.KindUnsubscribe, h, id)
	if err != nil {
		return err
	}
	return r.Wait(ctx)
}

// Request is a subscription, or a withdrawal, that the node has not answered, or whose answer nobody has taken.
type Request struct {
	ID uint64 // of the subscription

	c        *Conn
	answered chan error // gets one
}

var (
	errRequest = errors.New("uplink: a request is a subscribe or an unsubscribe")
	errAsked   = errors.New("uplink: this subscription has a request that was not answered")
)

// Request sends a subscribe or an unsubscribe and does not wait for the answer, so that many can be on their way. id
// is that of the subscription, 0 for one that the connection chooses. It waits while the queue is full.
func (c *Conn) Request(ctx context.Context, k wire.Kind, h *wire.PublishHeader, id uint64) (*Request, error) {
	encode := wire.AppendSubscribe
	switch k {
	case wire.KindSubscribe:
	case wire.KindUnsubscribe:
		encode = wire.AppendUnsubscribe
	default:
		return nil, errRequest
	}
	r := &Request{ID: id, c: c, answered: make(chan error, 1)}
	if err := c.expect(r); err != nil {
		return nil, err
	}
	bare := *h
	bare.MAC = nil
	if err := c.Send(ctx, encode(nil, &bare, r.ID)); err != nil {
		c.forget(r)
		return nil, err
	}
	return r, nil
}

// Wait returns the node's answer: nil, or a *NameError. Else ctx or the connection ended first. Only one call gets
// the answer.
func (r *Request) Wait(ctx context.Context) error {
	select {
	case err := <-r.answered:
		return err
	case <-ctx.Done():
		r.c.forget(r)
		return ctx.Err()
	}
}

// expect enters r among the requests that wait, under an id of its own if it has none.
func (c *Conn) expect(r *Request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.over(); err != nil {
		return err
	}
	for r.ID == 0 {
		if c.nextID++; c.requests[c.nextID] == nil {
			r.ID = c.nextID
		}
	}
	if c.requests[r.ID] != nil {
		return errAsked
	}
	if c.requests == nil {
		c.requests = map[uint64]*Request{}
	}
	c.requests[r.ID] = r
	return nil
}

func (c *Conn) forget(r *Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests[r.ID] == r {
		delete(c.requests, r.ID)
	}
}

// ack takes a SubscriptionAck. Reader.
func (c *Conn) ack(msg []byte, m *wire.Message) {
	id, ok, reason, err := wire.ParseAck(msg, m)
	if err != nil {
		c.n.invalid.Add(1)
		return
	}
	c.mu.Lock()
	r := c.requests[id]
	delete(c.requests, id)
	c.mu.Unlock()
	switch {
	case r == nil && c.o.Answer != nil:
		c.o.Answer(id, ok, cut(reason))
	case r == nil:
		c.n.ignored.Add(1)
	case ok:
		r.answered <- nil
	default:
		r.answered <- &NameError{ID: id, Reason: cut(reason)}
	}
}

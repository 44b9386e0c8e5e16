package uplink

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Subscribe asks the node for the messages to h.Dest and waits for its answer. id names the subscription from then
// on. An error that is no *NameError leaves open whether the node has the name, unless nothing was sent.
func (c *Conn) Subscribe(ctx context.Context, h *wire.PublishHeader) (id uint64, err error) {
	return askFor(ctx, c, h)
}

// Unsubscribe withdraws subscription id of h.Dest and waits for the node's answer: no message to it follows then.
func (c *Conn) Unsubscribe(ctx context.Context, h *wire.PublishHeader, id uint64) error {
	return giveUp(ctx, c, h, id)
}

// askFor is Conn.Subscribe, and giveUp Conn.Unsubscribe, of any connection.
func askFor(ctx context.Context, c requester, h *wire.PublishHeader) (id uint64, err error) {
	r, err := request(ctx, c, wire.KindSubscribe, h, 0)
	if err != nil {
		return 0, err
	}
	return r.ID, r.Wait(ctx)
}

func giveUp(ctx context.Context, c requester, h *wire.PublishHeader, id uint64) error {
	r, err := request(ctx, c, wire.KindUnsubscribe, h, id)
	if err != nil {
		return err
	}
	return r.Wait(ctx)
}

// Request is a subscription, or a withdrawal, that the node has not answered, or whose answer nobody has taken.
type Request struct {
	ID uint64 // of the subscription

	forget   func(*Request) // nobody waits any more
	answered chan error     // gets one
}

// requests are those that wait for an answer. Guarded by the mutex of their connection.
type requests struct {
	waiting map[uint64]*Request // by the subscription's id
	nextID  uint64              // 0: none was given yet; else it began at random, below 1<<61
}

// firstID is where ids of subscriptions begin: an upstream node that tells its peers of names, and is told of others under the same
// ids, takes one's acknowledgement for the other's, so that a name stays unknown (P-sub-9).
func firstID() uint64 { return rand.Uint64() >> 3 }

// add enters r, under an id of its own if it has none.
func (q *requests) add(r *Request) error {
	if q.nextID == 0 {
		q.nextID = firstID()
	}
	for r.ID == 0 {
		if q.nextID++; q.waiting[q.nextID] == nil {
			r.ID = q.nextID
		}
	}
	if q.waiting[r.ID] != nil {
		return errAsked
	}
	if q.waiting == nil {
		q.waiting = map[uint64]*Request{}
	}
	q.waiting[r.ID] = r
	return nil
}

// take removes and returns the one that has this id; nil: there is none.
func (q *requests) take(id uint64) *Request {
	r := q.waiting[id]
	delete(q.waiting, id)
	return r
}

func (q *requests) remove(r *Request) {
	if q.waiting[r.ID] == r {
		delete(q.waiting, r.ID)
	}
}

// fail answers all with err.
func (q *requests) fail(err error) {
	for id, r := range q.waiting {
		delete(q.waiting, id)
		r.answered <- err
	}
}

// answer is what the node says to r.
func (r *Request) answer(ok bool, reason string) {
	if ok {
		r.answered <- nil
		return
	}
	r.answered <- &NameError{ID: r.ID, Reason: cut(reason)}
}

var (
	errRequest = errors.New("uplink: a request is a subscribe or an unsubscribe")
	errAsked   = errors.New("uplink: this subscription has a request that was not answered")
)

// Request sends a subscribe or an unsubscribe and does not wait for the answer, so that many can be on their way. id
// is that of the subscription, 0 for one that the connection chooses. It waits while the queue is full.
func (c *Conn) Request(ctx context.Context, k wire.Kind, h *wire.PublishHeader, id uint64) (*Request, error) {
	return request(ctx, c, k, h, id)
}

// requester is a connection that requests are made on.
type requester interface {
	expect(r *Request) error // enters r among those that wait
	forget(r *Request)
	Send(ctx context.Context, msg []byte) error
}

// request is Conn.Request.
func request(ctx context.Context, c requester, k wire.Kind, h *wire.PublishHeader, id uint64) (*Request, error) {
	encode := wire.AppendSubscribe
	switch k {
	case wire.KindSubscribe:
	case wire.KindUnsubscribe:
		encode = wire.AppendUnsubscribe
	default:
		return nil, errRequest
	}
	r := &Request{ID: id, forget: c.forget, answered: make(chan error, 1)}
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
		r.forget(r)
		return ctx.Err()
	}
}

// expect implements requester.
func (c *Conn) expect(r *Request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.over(); err != nil {
		return err
	}
	return c.requests.add(r)
}

// forget implements requester.
func (c *Conn) forget(r *Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests.remove(r)
}

// ack takes a SubscriptionAck. Reader.
func (c *Conn) ack(msg []byte, m *wire.Message) {
	id, ok, reason, err := wire.ParseAck(msg, m)
	if err != nil {
		c.n.invalid.Add(1)
		return
	}
	c.mu.Lock()
	r := c.requests.take(id)
	c.mu.Unlock()
	switch {
	case r == nil && c.o.Answer != nil:
		c.o.Answer(id, ok, cut(reason))
	case r == nil:
		c.n.ignored.Add(1)
	default:
		r.answer(ok, reason)
	}
}

package otelslim

import (
	"context"
	"errors"
	"sync"

	"github.com/seed31b3bfd0/slimgo/session"
)

// mostUnder is more than what a session has under way at a time.
const mostUnder = 1024

// batch is an encoded request.
type batch struct {
	of      Signal
	request []byte
}

// outlet is a session to which batches go.
type outlet struct {
	e     *Exporter
	s     *session.Session
	of    []Signal
	wake  chan struct{}          // there is something to send, or to end
	under chan *session.Delivery // from the sender to the settler
	over  chan struct{}          // closed when both have ended

	mu      sync.Mutex
	queue   []batch // guarded by mu
	bytes   int     // guarded by mu: of queue
	closing bool    // guarded by mu: the sender ends when the queue is empty
}

// put queues a batch; false: there is no room.
func (o *outlet) put(b batch) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) >= o.e.o.Queue || len(o.queue) > 0 && o.bytes+len(b.request) > o.e.o.QueueBytes {
		return false
	}
	o.queue = append(o.queue, b)
	o.bytes += len(b.request)
	o.signal()
	return true
}

func (o *outlet) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outlet) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.queue)
}

// next waits for a batch; false: there will be none.
func (o *outlet) next() (batch, bool) {
	for {
		o.mu.Lock()
		if len(o.queue) > 0 {
			b := o.queue[0]
			o.queue[0] = batch{}
			o.queue = o.queue[1:]
			o.bytes -= len(b.request)
			o.mu.Unlock()
			return b, true
		}
		closing := o.closing
		o.mu.Unlock()
		if closing {
			return batch{}, false
		}
		select {
		case <-o.wake:
		case <-o.s.Done():
			return batch{}, false
		case <-o.e.life.Done():
			return batch{}, false
		}
	}
}

// send publishes what waits, until the session or the exporter ends.
func (o *outlet) send() {
	defer close(o.under)
	for {
		b, ok := o.next()
		if !ok {
			break
		}
		d, err := o.s.Publish(o.e.life, session.Content{Data: b.request, Metadata: map[string]string{signalKey: b.of.String()}})
		if err != nil {
			o.e.n.unsent.Add(1)
			if errors.Is(err, session.ErrClosed) || o.e.life.Err() != nil {
				break
			}
			continue
		}
		o.e.n.sent.Add(1)
		o.under <- d // there is room: the session has no more under way
	}
	o.e.remove(o) // after which nobody puts anything into the queue
	o.mu.Lock()
	defer o.mu.Unlock()
	o.e.n.unsent.Add(uint64(len(o.queue)))
	o.queue, o.bytes = nil, 0
}

// settle counts what was not delivered.
func (o *outlet) settle() {
	defer close(o.over)
	for d := range o.under {
		<-d.Done()
		if d.Err() != nil {
			o.e.n.undelivered.Add(1)
		}
	}
}

// drain drops what others say in the session, so that it does not wait for somebody.
func (o *outlet) drain() {
	for {
		m, err := o.s.Receive(o.e.life)
		if err != nil {
			return
		}
		m.Handled()
	}
}

// close sends what waits and closes the session. Where it cannot be sent before ctx ends it is dropped.
func (o *outlet) close(ctx context.Context) error {
	o.mu.Lock()
	o.closing = true
	o.mu.Unlock()
	o.signal()
	select {
	case <-o.over: // with what was sent before anybody was there to take it
	case <-ctx.Done():
	}
	err := o.s.Close(ctx) // which ends what is being published, too
	<-o.over
	return err
}

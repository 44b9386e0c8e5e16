package otelslim

import (
	"context"
	"errors"
	"sync"

	"github.com/seed31b3bfd0/slimgo/session"
)

// mostUnder is more than what a session has under way at a time.
const mostUnder = 1024

// mostUnderBytes is how much a session has under way at a time, unless one batch is more. A session would have as many as 512 batches, of which a
// receiver that is slow takes some megabytes, and the others are given up when they were repeated for ten seconds.
const mostUnderBytes = 1 << 20

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
	wake  chan struct{} // there is something to send, or to end
	under chan sent     // from the sender to the settler
	room  chan struct{} // of one place: something was settled
	over  chan struct{} // closed when both have ended

	mu      sync.Mutex
	queue   []batch // guarded by mu
	bytes   int     // guarded by mu: of queue
	way     int     // guarded by mu: bytes that are under way
	closing bool    // guarded by mu: the sender ends when the queue is empty
}

// sent is a batch that is under way.
type sent struct {
	d    *session.Delivery
	size int
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
		if !o.depart(len(b.request)) {
			o.e.n.unsent.Add(1)
			break
		}
		d, err := o.s.Publish(o.e.life, session.Content{Data: b.request, Metadata: map[string]string{signalKey: b.of.String()}})
		if err != nil {
			o.arrive(len(b.request))
			o.e.n.unsent.Add(1)
			if errors.Is(err, session.ErrClosed) || o.e.life.Err() != nil {
				break
			}
			continue
		}
		o.e.n.sent.Add(1)
		o.under <- sent{d, len(b.request)} // there is room: the session has no more under way
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
	for s := range o.under {
		<-s.d.Done()
		if s.d.Err() != nil {
			o.e.n.undelivered.Add(1)
		}
		o.arrive(s.size)
	}
}

// depart waits until so many bytes may be under way; false: the session or the exporter is over.
func (o *outlet) depart(size int) bool {
	for {
		o.mu.Lock()
		if o.way == 0 || o.way+size <= mostUnderBytes {
			o.way += size
			o.mu.Unlock()
			return true
		}
		o.mu.Unlock()
		select {
		case <-o.room:
		case <-o.s.Done():
			return false
		case <-o.e.life.Done():
			return false
		}
	}
}

// arrive is the end of that, whatever has become of them.
func (o *outlet) arrive(size int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.way -= size
	select {
	case o.room <- struct{}{}:
	default:
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

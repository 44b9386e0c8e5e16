package session

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// mostQueued bounds the bytes that wait for room on the link, of all sessions. What is beyond that is dropped and counted: what
// sessions repeat comes again, and what they do not is bounded by their credits.
const mostQueued = 64 << 20

// outlet is the way of messages from the sessions to the node. Messages of one session stay in order.
//
//	send ── room on the link ──▶ sent
//	  └── none, or others wait ──▶ queue ──▶ drain, a goroutine as long as there is a queue ──▶ sent
type outlet struct {
	app  *App
	link Link
	down atomic.Bool // there is no connection

	busy  atomic.Bool // there is a queue; set and cleared under mu
	mu    sync.Mutex
	queue []parcel // guarded by mu
	bytes int      // guarded by mu
	left  uint64   // guarded by mu: that were in the queue
	empty chan struct{}
}

// parcel is a message that waits, or what is to be done when all before it have been sent.
type parcel struct {
	b    []byte
	then func()
}

// send sends the encoded message b, which is borrowed. patient says that nobody repeats it: it waits for a connection, too.
func (o *outlet) send(b []byte, patient bool) {
	if !o.busy.Load() {
		switch err := o.link.TrySend(b); {
		case err == nil:
			return
		case errors.Is(err, uplink.ErrFull):
		case patient && errors.Is(err, uplink.ErrDown):
		default:
			o.lost(err)
			return
		}
	} else if !patient && o.down.Load() {
		o.lost(uplink.ErrDown)
		return
	}
	o.put(parcel{b: bytes.Clone(b)})
}

// lost counts a message that could not be sent.
func (o *outlet) lost(err error) {
	switch {
	case errors.Is(err, uplink.ErrTooLarge):
		o.app.n.tooLarge.Add(1)
	case errors.Is(err, uplink.ErrFull):
		o.app.n.noRoom.Add(1)
	default:
		o.app.n.down.Add(1)
	}
}

// after has f done when everything that was sent until now is on its way.
func (o *outlet) after(f func()) {
	if !o.busy.Load() {
		f()
		return
	}
	o.put(parcel{then: f})
}

func (o *outlet) put(p parcel) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if p.b != nil && o.bytes+len(p.b) > mostQueued {
		o.lost(uplink.ErrFull)
		return
	}
	o.bytes += len(p.b)
	o.queue = append(o.queue, p)
	if !o.busy.Load() {
		o.busy.Store(true)
		o.empty = make(chan struct{})
		o.app.running.Go(o.drain)
	}
}

// drain sends what waits, until nothing does.
func (o *outlet) drain() {
	for {
		o.mu.Lock()
		if len(o.queue) == 0 {
			o.queue = nil
			o.busy.Store(false)
			close(o.empty)
			o.mu.Unlock()
			return
		}
		p := o.queue[0]
		o.queue[0] = parcel{}
		o.queue = o.queue[1:]
		o.bytes -= len(p.b)
		o.left++
		o.mu.Unlock()
		if p.b != nil {
			if err := o.link.Send(o.app.life, p.b); err != nil {
				o.lost(err)
			}
		}
		if p.then != nil {
			p.then()
		}
	}
}

// flushTime is how long flush waits for one message to leave.
const flushTime = 10 * time.Second

// flush waits until nothing waits, as long as something leaves.
func (o *outlet) flush(ctx context.Context) {
	o.mu.Lock()
	empty := o.empty
	o.mu.Unlock()
	if empty != nil {
		_, _ = whileLeaving(ctx, o, empty)
	}
}

// whileLeaving waits for until, which something in the queue brings about: as long as something leaves. Its error is that of ctx.
func whileLeaving[T any](ctx context.Context, o *outlet, until <-chan T) (v T, err error) {
	look := time.NewTicker(flushTime)
	defer look.Stop()
	for left := o.hasLeft(); ; {
		select {
		case v = <-until:
			return v, nil
		case <-ctx.Done():
			return v, ctx.Err()
		case <-look.C:
		}
		now := o.hasLeft()
		if now == left {
			return v, nil
		}
		left = now
	}
}

// hasLeft counts what was in the queue, and is not any more.
func (o *outlet) hasLeft() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.left
}

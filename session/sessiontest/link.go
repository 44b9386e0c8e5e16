package sessiontest

import (
	"bytes"
	"container/heap"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// link is the connection of one app.
type link struct {
	n     *Net
	name  string // of the app
	label string // the same, and which instance, if there was one before
	from  session.Incoming

	mu      sync.Mutex
	queue   arrivals            // guarded by mu: what is under way to the app
	made    int                 // guarded by mu: arrivals so far
	last    map[*link]time.Time // guarded by mu: when the last one of each other app comes, of those in order
	down    bool                // guarded by mu: it has no connection
	held    bool                // guarded by mu: the node takes nothing
	rate    int                 // guarded by mu: bytes that leave in a second; 0: all at once
	free    time.Time           // guarded by mu: when all that was taken has left
	epoch   int                 // guarded by mu: connections that were lost
	closed  bool                // guarded by mu
	changed chan struct{}       // guarded by mu: closed when one of these three changes
	wake    chan struct{}       // the deliverer is to look anew
	done    chan struct{}       // closed when the deliverer has ended
}

var _ session.Link = (*link)(nil)

// attach connects an app.
func (n *Net) attach(name string, from session.Incoming) *link {
	l := &link{
		n: n, name: name, label: name, from: from, last: map[*link]time.Time{},
		changed: make(chan struct{}), wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	n.mu.Lock()
	n.born[name]++
	if k := n.born[name]; k > 1 {
		l.label = fmt.Sprint(name, "·", k)
	}
	n.links = append(n.links, l)
	n.mu.Unlock()
	from.Changed(nil)
	go l.deliver()
	return l
}

// TrySend implements session.Link.
func (l *link) TrySend(b []byte) error {
	b = bytes.Clone(b)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.state() != nil:
		return l.state()
	case l.rate == 0:
		l.mu.Unlock()
		defer l.mu.Lock()
		l.n.carry(l, b)
		return nil
	case l.ahead() >= linkRoom:
		return uplink.ErrFull
	}
	if now := time.Now(); l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(l.takes(len(b)))
	epoch := l.epoch
	time.AfterFunc(time.Until(l.free), func() {
		l.mu.Lock()
		gone := l.closed || l.epoch != epoch
		l.mu.Unlock()
		if !gone {
			l.n.carry(l, b)
		}
	})
	return nil
}

// linkRoom is how many bytes a slow connection takes before earlier ones have left.
const linkRoom = 32 << 10

// takes is how long so many bytes take to leave. mu is held.
func (l *link) takes(n int) time.Duration {
	return time.Duration(n) * time.Second / time.Duration(l.rate)
}

// ahead is how many bytes have been taken and have not left. mu is held.
func (l *link) ahead() int {
	if l.rate == 0 {
		return 0
	}
	return max(0, int(time.Until(l.free).Seconds()*float64(l.rate)))
}

// state says why nothing can be sent. mu is held.
func (l *link) state() error {
	switch {
	case l.closed:
		return uplink.ErrClosed
	case l.down:
		return uplink.ErrDown
	case l.held:
		return uplink.ErrFull
	}
	return nil
}

// Await implements session.Link.
func (l *link) Await(ctx context.Context, most int) error {
	for {
		l.mu.Lock()
		err, changed := l.state(), l.changed
		var leaves <-chan time.Time
		if most := min(most, linkRoom-1); err == nil && l.ahead() > most {
			err, leaves = uplink.ErrFull, time.After(time.Until(l.free)-l.takes(most))
		}
		l.mu.Unlock()
		if err != uplink.ErrFull {
			return err
		}
		select {
		case <-leaves:
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// roundTrip waits as long as a request and its acknowledgement take.
func (l *link) roundTrip(ctx context.Context) error {
	timer := time.NewTimer(2 * l.n.o.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		l.mu.Lock()
		down, closed, changed := l.down, l.closed, l.changed
		l.mu.Unlock()
		switch {
		case closed:
			return uplink.ErrClosed
		case !down:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Subscribe implements session.Link.
func (l *link) Subscribe(ctx context.Context, h *wire.PublishHeader) (uint64, error) {
	if err := l.roundTrip(ctx); err != nil {
		return 0, err
	}
	return l.n.subscribe(l, h.Dest.Name)
}

// Unsubscribe implements session.Link.
func (l *link) Unsubscribe(ctx context.Context, id uint64) error {
	if err := l.roundTrip(ctx); err != nil {
		return err
	}
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	l.n.routes.remove(func(s *subscription) bool { return s.by == l && s.id == id })
	return nil
}

// Close implements session.Link. What the app has sent is with the node already, or gets there.
func (l *link) Close(ctx context.Context) error {
	_ = l.Await(ctx, 0)
	l.end()
	select {
	case <-l.done:
	case <-ctx.Done(): // it waits for the app, which is about to end
	}
	return nil
}

// end takes the app off the node.
func (l *link) end() {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.closed = true
	l.queue = nil
	l.tell()
	l.rouse()
	l.mu.Unlock()
	l.n.mu.Lock() // never taken while a link's is held
	defer l.n.mu.Unlock()
	l.n.links = slices.DeleteFunc(l.n.links, func(other *link) bool { return other == l })
	l.n.routes.remove(func(s *subscription) bool { return s.by == l })
}

// tell has those look anew who wait for the link's state. mu is held.
func (l *link) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *link) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *link) setDown(down bool) {
	l.mu.Lock()
	if l.closed || l.down == down {
		l.mu.Unlock()
		return
	}
	l.down = down
	if down {
		l.epoch++
		l.free = time.Time{}
		l.queue = nil // it was on the connection
	}
	l.tell()
	l.mu.Unlock()
	if down {
		l.from.Changed(uplink.ErrEnded)
	} else {
		l.from.Changed(nil)
	}
}

func (l *link) setHeld(held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = held
	l.tell()
}

func (l *link) setRate(rate int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate = rate
	l.tell()
}

// arrival is a message on its way to an app.
type arrival struct {
	at    time.Time
	label string // of the sender
	seq   int
	b     []byte
}

// arrivals is a heap by time. Those of the same time come by their senders, whoever of them was faster.
type arrivals []arrival

func (a arrivals) Len() int { return len(a) }
func (a arrivals) Less(i, j int) bool {
	x, y := &a[i], &a[j]
	switch {
	case !x.at.Equal(y.at):
		return x.at.Before(y.at)
	case x.label != y.label:
		return x.label < y.label
	}
	return x.seq < y.seq
}
func (a arrivals) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *arrivals) Push(x any)   { *a = append(*a, x.(arrival)) }
func (a *arrivals) Pop() any {
	last := len(*a) - 1
	x := (*a)[last]
	(*a)[last] = arrival{}
	*a = (*a)[:last]
	return x
}

// put puts b, of another app, on its way; false: there is no connection.
func (l *link) put(from *link, after time.Duration, late bool, b []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.down {
		return false
	}
	at := time.Now().Add(after)
	if !late {
		if last := l.last[from]; at.Before(last) {
			at = last
		}
		l.last[from] = at
	}
	l.made++
	heap.Push(&l.queue, arrival{at, from.label, l.made, b})
	if l.queue[0].seq == l.made {
		l.rouse()
	}
	return true
}

// deliver hands the app what has arrived, until the link is closed.
func (l *link) deliver() {
	defer close(l.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return
		}
		now, wait := time.Now(), time.Hour
		var batch [][]byte
		for len(l.queue) > 0 && !l.queue[0].at.After(now) {
			batch = append(batch, heap.Pop(&l.queue).(arrival).b)
		}
		if len(l.queue) > 0 {
			wait = l.queue[0].at.Sub(now)
		}
		l.mu.Unlock()
		if len(batch) > 0 {
			l.from.Messages(batch)
			continue
		}
		timer.Reset(wait)
		select {
		case <-l.wake:
		case <-timer.C:
		}
	}
}

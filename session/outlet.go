package session

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/fifo"
	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// Bounds of what waits to be sent, in bytes.
const (
	// mostQueued is of all sessions, to one node. What is beyond that is dropped and counted: sessions offer it again.
	mostQueued = 64 << 20
	// mostLoose is what waits of one session that its machine does not ask about: acknowledgements, and requests for what is missing.
	// Those who lack them say so again. What the machine asks about it bounds itself, by reliable.Ahead.
	mostLoose = 1 << 20
	// mostOnLink is how much of what waits the link is given before earlier messages are with the kernel. A message of a session that
	// says little waits for no more of others' than that, and for the one that is being written.
	mostOnLink = 32 << 10
)

// A link from which nothing leaves for stallTime, and for as long as slowest takes for what it was given, takes nothing at all.
const (
	stallTime = 10 * time.Second
	slowest   = 16 << 10 // bytes a second
)

var errStalled = errors.New("nothing leaves")

// outlet is the way of messages from the sessions to a node: to that of the app, or of a route. What is for one waits for no other.
//
//	send ── short, nothing waits, room on the link ──▶ link ──▶ it has left
//	  └── else ──▶ the session's lane ──▶ drain, a goroutine as long as something waits ──▶ link ──▶ kernel: it has left
//
// Messages of one session stay in order, but for answers and heartbeats, which have a queue of their own. Queues take turns by bytes: each
// has a time at which it goes on, which its messages move by their sizes; the earliest is next, and that is what the clock shows. A queue
// that was empty goes on at that time, so it is next, whoever has much to say. (That is start-time fair queueing. Turns of so
// many bytes each, as deficit round robin gives, would have it wait for a whole round.)
type outlet struct {
	app  *App
	life context.Context // the app's, or that of a route
	end  context.CancelFunc
	link Link
	back chan struct{} // the connection is; holds one
	down atomic.Bool   // there is no connection

	busy    atomic.Bool   // drain runs; set and cleared under mu
	mu      sync.Mutex    // taken before those of workers
	turns   turns         // guarded by mu: those in which something waits
	clock   uint64        // guarded by mu
	bytes   int           // guarded by mu: that wait in lanes
	given   uint64        // guarded by mu: bytes that have waited and wait no more
	awaits  bool          // guarded by mu: drain waits for the link
	stalled bool          // guarded by mu: nothing leaves
	empty   chan struct{} // guarded by mu: closed when busy is cleared

	// The drain's.
	onLink      fifo.Queue[parcel] // given to the link, and perhaps not with the kernel
	onLinkBytes int
}

func (o *outlet) open(a *App) {
	o.app, o.back = a, make(chan struct{}, 1)
	o.life, o.end = context.WithCancel(a.life)
}

// send sends the encoded message p.b, and says what has become of it; or it waits: then its lane is told. Up to mostOnLink bytes are
// borrowed, more are the outlet's from then on.
func (o *outlet) send(p parcel) (fate reliable.Fate, waits bool) {
	p.size = len(p.b)
	switch {
	case !o.busy.Load() && p.size <= mostOnLink:
		err := o.link.TrySend(p.b)
		switch {
		case err == nil:
			return reliable.Departed, false
		case errors.Is(err, uplink.ErrFull), p.waits(err):
		default:
			return o.lost(err), false
		}
	case o.down.Load() && !p.patient:
		return o.lost(uplink.ErrDown), false
	}
	return o.put(p)
}

// lost counts a message that could not be sent.
func (o *outlet) lost(err error) reliable.Fate {
	switch {
	case errors.Is(err, uplink.ErrTooLarge):
		o.app.n.tooLarge.Add(1)
		return reliable.Rejected
	case errors.Is(err, uplink.ErrFull):
		o.app.n.noRoom.Add(1)
		return reliable.Refused
	case err == errStalled:
		o.app.n.noRoom.Add(1)
	default:
		o.app.n.down.Add(1)
	}
	return reliable.Dropped
}

// put has p wait.
func (o *outlet) put(p parcel) (fate reliable.Fate, waits bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := p.lane
	switch {
	case o.stalled && !p.patient:
		return o.lost(errStalled), false
	case o.bytes > 0 && o.bytes+p.size > mostQueued, p.of == nil && l.loose > 0 && l.loose+p.size > mostLoose:
		return o.lost(uplink.ErrFull), false
	}
	if p.size <= mostOnLink {
		p.b = bytes.Clone(p.b)
	}
	o.bytes += p.size
	if t := l.push(p); !t.listed {
		t.rest(o)
		heap.Push(&o.turns, t)
	}
	if !o.busy.Load() {
		o.busy.Store(true)
		o.empty = make(chan struct{})
		o.app.running.Go(o.drain)
	}
	return 0, true
}

// next takes the message that is next, of t; nil: none waits.
func (o *outlet) next() (p parcel, t *turn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.turns) == 0 {
		return p, nil
	}
	t = o.turns[0]
	o.clock = t.goesOn
	p = t.pop()
	o.bytes -= p.size
	o.given += uint64(p.size)
	if t.Len() == 0 {
		heap.Pop(&o.turns)
	} else {
		heap.Fix(&o.turns, 0)
	}
	return p, t
}

// unnext puts back what was taken last, of t.
func (o *outlet) unnext(p parcel, t *turn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t.unpop(p)
	o.bytes += p.size
	if t.listed {
		heap.Fix(&o.turns, t.index)
	} else {
		heap.Push(&o.turns, t)
	}
}

// drain sends what waits, until nothing does and everything has left.
func (o *outlet) drain() {
	watch := time.AfterFunc(time.Hour, o.stall)
	defer watch.Stop()
	most := mostOnLink
	for {
		o.mu.Lock()
		o.awaits = true
		o.mu.Unlock()
		watch.Reset(stallTime + time.Duration(o.onLinkBytes)*time.Second/slowest)
		err := o.link.Await(o.life, most)
		watch.Stop()
		if err != nil {
			o.haveLeft(0) // or will never
			o.awaitConnection()
		} else {
			o.haveLeft(most)
			o.moves()
		}
		most = mostOnLink
		p, t := o.next()
		switch {
		case t != nil:
			if !o.give(p, t) {
				most = 0
			}
		case o.onLink.Len() > 0:
			most = 0
		case o.finish():
			return
		}
	}
}

// give gives the link a message of t; false: it has no room.
func (o *outlet) give(p parcel, t *turn) bool {
	switch err := o.link.TrySend(p.b); {
	case err == nil:
		p.b = nil
		o.onLink.Push(p)
		o.onLinkBytes += p.size
	case errors.Is(err, uplink.ErrFull), p.waits(err) && o.life.Err() == nil:
		o.unnext(p, t)
		return false
	default:
		o.tell(p, o.lost(err))
	}
	return true
}

// haveLeft tells of what has left the link when no more than most bytes are there.
func (o *outlet) haveLeft(most int) {
	for o.onLink.Len() > 0 && o.onLinkBytes-o.onLink.Front().size >= most {
		p := o.onLink.Pop()
		o.onLinkBytes -= p.size
		o.tell(p, reliable.Departed)
	}
}

// tell says what has become of a message.
func (o *outlet) tell(p parcel, fate reliable.Fate) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told(p, fate)
}

// told is tell. mu is held.
func (o *outlet) told(p parcel, fate reliable.Fate) {
	l := p.lane
	l.of.left.Add(1)
	if p.of == nil || l.of.notify == nil {
		return
	}
	l.sent = append(l.sent, group.SentCopy{Of: p.of, Fate: fate})
	if !l.notified {
		l.notified = true
		l.of.notify()
	}
}

// takeSent returns what has become of a lane's messages, for its task. used is memory for what comes next.
func (o *outlet) takeSent(l *lane, used []group.SentCopy) []group.SentCopy {
	o.mu.Lock()
	defer o.mu.Unlock()
	sent := l.sent
	l.sent, l.notified = used, false
	return sent
}

// finished reports whether a lane of an outlet that has ended has nothing to tell any more.
func (o *outlet) finished(l *lane) bool {
	if o.life.Err() == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return l.answers.Len() == 0 && l.queue.Len() == 0 && len(l.sent) == 0
}

// purge drops what waits, but for what is patient. It reports whether such is there. mu is held.
func (o *outlet) purge(why error, patience bool) (waits bool) {
	for _, t := range o.turns {
		var stay []parcel
		for t.Len() > 0 {
			if p := t.pop(); p.patient && patience {
				stay = append(stay, p)
			} else {
				o.bytes -= p.size
				o.told(p, o.lost(why))
			}
		}
		t.goesOn = o.clock
		for _, p := range stay {
			p.lane.push(p)
		}
		waits = waits || len(stay) > 0
	}
	all := o.turns
	o.turns = nil
	for _, t := range all {
		if t.listed = false; t.Len() > 0 {
			heap.Push(&o.turns, t)
		}
	}
	return waits
}

// awaitConnection drops what need not wait for a connection, and waits for one if anything is left.
func (o *outlet) awaitConnection() {
	o.mu.Lock()
	o.awaits, o.stalled = false, false // it is more than that
	waits := o.purge(uplink.ErrDown, o.life.Err() == nil)
	o.mu.Unlock()
	if !waits {
		return
	}
	select {
	case <-o.back:
	case <-o.life.Done():
	}
}

// stall drops what need not wait for a link from which nothing leaves any more. What is sent meanwhile is dropped, too.
func (o *outlet) stall() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.awaits { // else something has left at the same time
		o.stalled = true
		o.purge(errStalled, true)
	}
}

// moves ends that: something has left. Sessions repeat what was dropped.
func (o *outlet) moves() {
	o.mu.Lock()
	was := o.stalled
	o.awaits, o.stalled = false, false
	o.mu.Unlock()
	if was {
		o.app.again()
	}
}

// finish ends the drain, unless something waits.
func (o *outlet) finish() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.turns) > 0 {
		return false
	}
	o.busy.Store(false)
	close(o.empty)
	o.empty = nil
	return true
}

// changed is told why there is no connection, and by nil that there is one again.
func (o *outlet) changed(err error) {
	if o.down.Store(err != nil); err != nil {
		return
	}
	select {
	case o.back <- struct{}{}:
	default:
	}
}

// flushTime is how long flush waits for a connection that is lost, or from which nothing leaves.
const flushTime = 10 * time.Second

// flush waits until nothing waits, as long as something leaves.
func (o *outlet) flush(ctx context.Context) {
	o.mu.Lock()
	empty := o.empty
	o.mu.Unlock()
	if empty == nil {
		return
	}
	look := time.NewTicker(flushTime)
	defer look.Stop()
	for {
		select {
		case <-empty:
			return
		case <-ctx.Done():
			return
		case <-look.C:
		}
		o.mu.Lock()
		stalled := o.stalled
		o.mu.Unlock()
		if stalled || o.down.Load() {
			return
		}
	}
}

package session

import (
	"errors"
	"maps"
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/internal/fifo"
	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// parcel is a message that waits to be sent.
type parcel struct {
	lane    *lane
	b       []byte // nil: the link has it
	size    int    // of b
	of      any    // for group.Sent; nil: nobody asks
	order   order
	patient bool // nobody repeats it: it waits for a connection, too
}

// order is where a message stands among the others of its lane.
type order uint8

const (
	inOrder    order = iota // after what has come before it
	data                    // so, too
	answer                  // with answers, which are not in order with what else is said: others wait for them
	beforeData              // with answers, unless something that is neither data nor an answer waits
)

// waits reports whether p is to wait, as there is no connection: whatever the link has said instead of taking it.
func (p *parcel) waits(err error) bool {
	return p.patient && !errors.Is(err, uplink.ErrTooLarge)
}

// lanes are those of one who sends: a session, or the front.
type lanes struct {
	notify func()            // has its task ask for what has become of messages; nil: nobody asks. Fixed
	own    lane              // for the outlet of the app's own node
	far    map[*outlet]*lane // for those of its routes. The worker's
	left   atomic.Uint64     // messages that wait no more; read by all
	by     uint32            // id of the way by which those are reached whom this is for; 0: not known. The worker's
}

func (l *lanes) open(notify func()) { l.notify, l.own.of = notify, l }

// to is the lane for an outlet of this app.
func (l *lanes) to(o *outlet) *lane {
	if o == &o.app.out {
		return &l.own
	}
	if l.far[o] == nil {
		if l.far == nil {
			l.far = map[*outlet]*lane{}
		}
		maps.DeleteFunc(l.far, func(o *outlet, l *lane) bool { return o.finished(l) })
		l.far[o] = &lane{of: l}
	}
	return l.far[o]
}

// lane is what waits for one outlet. The outlet's mu guards it, but for what is fixed. Answers have turns of their own: those of what is
// large may be minutes apart.
type lane struct {
	of *lanes // fixed

	answers, queue turn
	loose          int // bytes of those that nobody asks about
	strict         int // in queue: messages that are not data

	sent     []group.SentCopy // of which the task has not heard
	notified bool
}

// turn is a queue whose messages take turns with those of others. The outlet's mu guards it.
type turn struct {
	fifo.Queue[parcel]

	goesOn      uint64 // by outlet.clock
	rested      bool   // it was empty until then, and goes before others of the same time
	saved, seen uint64 // bytes that it may be ahead of its turn, as of this outlet.given
	index       int    // in outlet.turns
	listed      bool   // it is there
}

// turnCost is what a message moves its turn's time by apart from its size: short ones cost, too.
const turnCost = 256

// push has p wait in the turn that it returns.
func (l *lane) push(p parcel) *turn {
	if p.of == nil {
		l.loose += p.size
	}
	switch {
	case p.order == answer, p.order == beforeData && l.strict == 0:
		l.answers.Push(p)
		return &l.answers
	case p.order != data:
		l.strict++
	}
	l.queue.Push(p)
	return &l.queue
}

func (t *turn) pop() (p parcel) {
	p = t.Pop()
	p.lane.count(&p, t, -1)
	t.goesOn += uint64(p.size) + turnCost
	t.rested = false
	return p
}

// unpop puts back what was taken last.
func (t *turn) unpop(p parcel) {
	p.lane.count(&p, t, 1)
	t.goesOn -= uint64(p.size) + turnCost
	t.Unpop(p)
}

// count counts p as gone from t, or by 1 as there again.
func (l *lane) count(p *parcel, t *turn, by int) {
	if p.of == nil {
		l.loose += by * p.size
	}
	if t == &l.queue && p.order != data {
		l.strict += by
	}
}

// mostSaved bounds turn.saved.
const mostSaved = 8 << 10

// rest begins the time of a turn in which something waits again. It goes on at the clock if it was behind; and if it is ahead, by less
// than its turn, of half of its share of what was given to the link since it was: others may have had no turn since then, as their
// messages are large.
func (t *turn) rest(o *outlet) {
	t.saved = min(mostSaved, t.saved+(o.given-t.seen)/uint64(2*len(o.turns)+2))
	t.seen = o.given
	if t.goesOn <= o.clock {
		t.goesOn = o.clock
	} else {
		early := min(t.saved, t.goesOn-o.clock)
		t.saved -= early
		t.goesOn -= early
	}
	t.rested = true
}

// turns is a heap by the time at which they go on.
type turns []*turn

func (h turns) Len() int { return len(h) }
func (h turns) Less(i, j int) bool {
	a, b := h[i], h[j]
	switch {
	case a.goesOn != b.goesOn:
		return a.goesOn < b.goesOn
	case a.rested != b.rested:
		return a.rested
	}
	return a.Front().size < b.Front().size // many may begin to speak at one time, with much
}
func (h turns) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *turns) Push(x any) {
	t := x.(*turn)
	t.index, t.listed = len(*h), true
	*h = append(*h, t)
}

// Pop implements heap.Interface.
func (h *turns) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.listed = false
	return t
}

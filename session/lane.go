package session

import (
	"errors"
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
	answer  bool   // it goes before what else waits in its lane: others wait for it, and its order does not matter
	patient bool   // nobody repeats it: it waits for a connection, too
}

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
		l.far[o] = &lane{of: l}
	}
	return l.far[o]
}

// lane is what waits for one outlet. The outlet's mu guards it, but for what is fixed.
type lane struct {
	of *lanes // fixed

	answers, queue fifo.Queue[parcel]
	loose          int    // bytes of those that nobody asks about
	goesOn         uint64 // by outlet.clock
	rested         bool   // it was empty until then, and goes before others of the same time
	saved, seen    uint64 // bytes that it may be ahead of its turn, as of this outlet.given
	index          int    // in outlet.lanes
	listed         bool   // it is there

	sent     []group.SentCopy // of which the task has not heard
	notified bool
}

// turnCost is what a message moves its lane's time by apart from its size: short ones cost, too.
const turnCost = 256

func (l *lane) empty() bool { return l.answers.Len()+l.queue.Len() == 0 }

func (l *lane) push(p parcel) {
	if p.of == nil {
		l.loose += p.size
	}
	if p.answer {
		l.answers.Push(p)
	} else {
		l.queue.Push(p)
	}
}

func (l *lane) pop() (p parcel) {
	if l.answers.Len() > 0 {
		p = l.answers.Pop()
	} else {
		p = l.queue.Pop()
	}
	if p.of == nil {
		l.loose -= p.size
	}
	l.goesOn += uint64(p.size) + turnCost
	l.rested = false
	return p
}

// unpop puts back what was taken last.
func (l *lane) unpop(p parcel) {
	if p.of == nil {
		l.loose += p.size
	}
	l.goesOn -= uint64(p.size) + turnCost
	if p.answer {
		l.answers.Unpop(p)
	} else {
		l.queue.Unpop(p)
	}
}

// mostSaved bounds lane.saved.
const mostSaved = 8 << 10

// rest begins the time of a lane in which something waits again. It goes on at the clock if it was behind; and if it is ahead, by less
// than its turn, of half of its share of what was given to the link since it was: others may have had no turn since then, as their
// messages are large.
func (l *lane) rest(o *outlet) {
	l.saved = min(mostSaved, l.saved+(o.given-l.seen)/uint64(2*len(o.lanes)+2))
	l.seen = o.given
	if l.goesOn <= o.clock {
		l.goesOn = o.clock
	} else {
		early := min(l.saved, l.goesOn-o.clock)
		l.saved -= early
		l.goesOn -= early
	}
	l.rested = true
}

// turns is a heap of lanes by the time at which they go on.
type turns []*lane

func (h turns) Len() int { return len(h) }
func (h turns) Less(i, j int) bool {
	if a, b := h[i], h[j]; a.goesOn != b.goesOn {
		return a.goesOn < b.goesOn
	}
	return h[i].rested && !h[j].rested
}
func (h turns) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *turns) Push(x any) {
	l := x.(*lane)
	l.index, l.listed = len(*h), true
	*h = append(*h, l)
}

// Pop implements heap.Interface.
func (h *turns) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	l.listed = false
	return l
}

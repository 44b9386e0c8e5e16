package agent

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire/pb/controllerpb"
)

// attention finds out that a control plane has forgotten the node though their stream lives. Upstream's does so in
// two ways. When another process of the node's id says goodbye: one that has ordered something orders it again and
// again, every minute if it is not told otherwise. And when nodes come back to it at the same moment, some of which
// then get no link to another. Where nothing comes, for long or after a registration, the node registers anew. Of the
// goroutine that receives, but for cancel. Rules: P-ctl-11, P-ctl-12.
type attention struct {
	plane  *plane
	cancel func() // ends the stream

	timer *time.Timer // runs while something is ordered, or should be; nil: nothing ever was
	last  time.Time   // when the latest order came that ordered something; zero: it ordered nothing
	first atomic.Bool // the timer is that of the first order after a registration

	why atomic.Pointer[forgotten] // the timer has ended the stream; nil: it has not
}

// forgotten is why a stream was ended for want of orders.
type forgotten struct {
	first bool // after a registration
	text  string
}

func (f *forgotten) Error() string { return f.text }

// answered notes the answer to the registration, and whether it orders something.
func (w *attention) answered(orders bool) {
	p := w.plane
	switch {
	case orders:
		p.ordered = true
	case p.ordered && !p.anew:
		limit := p.opt.first()
		w.first.Store(true)
		w.timer = time.AfterFunc(limit, func() { w.miss(limit) })
	}
}

// ordered notes what has come.
func (w *attention) ordered(m *controllerpb.ControlMessage) {
	c := m.GetConfigCommand()
	if c == nil || !c.GetReconcile() {
		return
	}
	orders := len(c.GetConnectionsToCreate())+len(c.GetRoutesToSet()) > 0
	if w.first.Load() && !orders {
		return // not yet
	}
	w.first.Store(false)
	w.plane.ordered = orders
	now := time.Now()
	w.note(now)
	w.last = time.Time{}
	if orders {
		w.last = now
		limit := min(max(cmp.Or(w.plane.opt.Quiet, quietTime), 3*w.plane.longest), longestQuiet)
		w.timer = time.AfterFunc(limit, func() {
			w.finish(&forgotten{text: fmt.Sprintf("nothing was ordered for %v by a control plane that had ordered links or routes: "+
				"it may have forgotten this node, as upstream's does when another process of its node_id stops; "+
				"the node registers anew", limit)})
		})
	}
}

// first is how long the first order after a registration is waited for: not by all nodes until the same moment again.
func (o *Plane) first() time.Duration {
	limit := cmp.Or(o.First, firstTime)
	return limit + rand.N(limit/2+1)
}

func (w *attention) finish(why *forgotten) {
	w.why.Store(why)
	w.cancel()
}

// miss has the desk look whether another node was ordered to dial this one, or a peer of this one.
func (w *attention) miss(limit time.Duration) {
	w.plane.agent.desk.post(func(d *desk) {
		if w.first.Load() && !d.dialledSince(w.plane) && d.agent.node.Stats().Kinds[table.Peer] == 0 {
			w.finish(&forgotten{first: true, text: fmt.Sprintf("a control plane that had ordered links or routes orders nothing "+
				"within %v of a registration: it may have lost them, as upstream's does when nodes come back to it at the same moment; "+
				"the node registers once more", limit.Round(time.Millisecond))})
		}
	})
}

// note ends the wait for another order, which has lasted until now: the control plane may be one that seldom orders anything.
func (w *attention) note(now time.Time) {
	w.end()
	if !w.last.IsZero() {
		w.plane.longest = max(w.plane.longest, now.Sub(w.last))
	}
}

// forgotten is why the stream has ended, if that was for the lack of orders; nil: it was not.
func (w *attention) forgotten() *forgotten {
	f := w.why.Load()
	if f != nil && !f.first {
		w.note(time.Now())
	}
	return f
}

func (w *attention) end() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

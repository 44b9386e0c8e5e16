package agent

import (
	"cmp"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire/pb/controllerpb"
)

// attention finds out that a control plane has forgotten the node though their stream lives: upstream's does, when another process of its
// id says goodbye. One that has ordered something orders it again and again, every minute if it is not told otherwise. Where nothing
// comes for long, the node registers anew. Of the goroutine that receives, but for cancel. Rules: P-ctl-11.
type attention struct {
	plane  *plane
	cancel func() // ends the stream

	timer *time.Timer   // runs while something is ordered; nil: nothing ever was
	limit time.Duration // of the timer
	last  time.Time     // when the latest order came that ordered something; zero: it ordered nothing
	over  atomic.Bool   // the timer has ended the stream
}

// ordered notes what has come.
func (w *attention) ordered(m *controllerpb.ControlMessage) {
	c := m.GetConfigCommand()
	if c == nil || !c.GetReconcile() {
		return
	}
	now := time.Now()
	w.note(now)
	w.last = time.Time{}
	if len(c.GetConnectionsToCreate())+len(c.GetRoutesToSet()) > 0 {
		w.last = now
		w.limit = min(max(cmp.Or(w.plane.opt.Quiet, quietTime), 3*w.plane.longest), longestQuiet)
		w.timer = time.AfterFunc(w.limit, func() {
			w.over.Store(true)
			w.cancel()
		})
	}
}

// note ends the wait for another order, which has lasted until now: the control plane may be one that seldom orders anything.
func (w *attention) note(now time.Time) {
	w.end()
	if !w.last.IsZero() {
		w.plane.longest = max(w.plane.longest, now.Sub(w.last))
	}
}

// forgotten is why the stream has ended, if that was for the lack of orders.
func (w *attention) forgotten() error {
	if !w.over.Load() {
		return nil
	}
	w.note(time.Now())
	return fmt.Errorf("nothing was ordered for %v by a control plane that had ordered links or routes: it may have forgotten this node, "+
		"as upstream's does when another process of its node_id stops; the node registers anew", w.limit)
}

func (w *attention) end() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

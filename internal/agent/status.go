package agent

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/router"
)

// counters of an agent. Safe for all.
type counters struct {
	received, commands, invalid, news, unsent, calls, denied, badLinks, badRoutes, refusedLinks atomic.Uint64
}

// PlaneStatus is what an operator asks of a control plane.
type PlaneStatus struct {
	Endpoint      string
	State         string // waiting, connecting, registering or registered
	Since         time.Time
	Attempts      uint64 // to connect, since the start
	Registrations uint64 // that were taken

	// Failure is why it is not reached; "": it is, or was never tried. Failed is when that was.
	Failure string
	Failed  time.Time

	Told     int    // names that it knows; of the last message to it
	Compared uint64 // times that all names were compared, for too many changes
}

// LinkStatus is what an operator asks of a link that is ordered.
type LinkStatus struct {
	ID, Endpoint string
	State        string // as router.LinkState, or "faulty": it cannot be dialled
	Failure      string // ""; there was none
	Leaving      bool   // it stays only until another one has come in its place
	Routes       int
}

// Status is what an operator asks of an agent.
type Status struct {
	Planes []PlaneStatus
	Links  []LinkStatus // that are ordered, and dialled here
	// Accepted are links of other nodes with routes, by link id.
	Accepted []LinkStatus
	Routes   int // over all links

	Received, Commands, Invalid, News, Calls, Denied, Failures uint64
}

// show publishes what the desk knows. Runs on it.
func (d *desk) show(want map[string]*Wanted) {
	s := &Status{}
	links := d.byID()
	for id, w := range want {
		x := LinkStatus{ID: id, Endpoint: w.Endpoint, State: "faulty", Leaving: true}
		for _, o := range d.orders {
			if o.links[id] != nil {
				x.Leaving = false
			}
		}
		if l := d.dialled[id]; l != nil && l.dialer != nil {
			now := l.dialer.Status()
			x.State, x.Failure = now.State.String(), now.Failure
		} else if l != nil && l.fault != nil {
			x.Failure = l.fault.Error()
		}
		if up := links[id]; up != nil {
			x.Routes = len(up.routes)
		}
		s.Links = append(s.Links, x)
	}
	for _, x := range d.up {
		s.Routes += len(x.routes)
		if !x.Dials && len(x.routes) > 0 {
			s.Accepted = append(s.Accepted, LinkStatus{ID: x.LinkID, Endpoint: x.Node, State: router.LinkUp.String(), Routes: len(x.routes)})
		}
	}
	byID := func(a, b LinkStatus) int { return cmp.Compare(a.ID, b.ID) }
	slices.SortFunc(s.Links, byID)
	slices.SortFunc(s.Accepted, byID)
	d.shown.Store(s)
}

// Status returns what the agent is doing.
func (a *Agent) Status() Status {
	s := Status{}
	if x := a.desk.shown.Load(); x != nil {
		s = *x
	}
	for _, p := range a.planes {
		p.mu.Lock()
		x := p.now
		p.mu.Unlock()
		p.news.mu.Lock()
		x.Compared, x.Told = p.news.over, p.news.count
		p.news.mu.Unlock()
		s.Planes = append(s.Planes, x)
	}
	c := &a.count
	s.Received, s.Commands, s.Invalid, s.News = c.received.Load(), c.commands.Load(), c.invalid.Load(), c.news.Load()
	s.Calls, s.Denied, s.Failures = c.calls.Load(), c.denied.Load(), c.badLinks.Load()+c.badRoutes.Load()+c.refusedLinks.Load()
	return s
}

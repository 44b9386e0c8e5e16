package agent

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb/controllerpb"
)

// Bounds of what one command may ask for. Routes are bounded by the size of a message, and by the limits of the node's table.
const (
	maxLinks  = 1024
	maxLinkID = 256 // bytes
)

// grace is how long after a registration links and routes of before stay that the control plane does not name any more: in that
// time the other nodes come back to it, and their links are ordered anew (P-ctl-9). Tests lengthen it.
var grace = 15 * time.Second

// carryLimit is how long a route stays that has moved to another link without being ordered there: longer than control planes
// take from one look at everything to the next, 60 s.
const carryLimit = 90 * time.Second

// routes are those over one link.
type routes map[wire.Name]wire.NameText

// order is what one origin wants: a control plane, or whoever uses the node's own API. Owned by the desk.
type order struct {
	links  map[string]*Wanted
	routes map[string]routes // by link id

	asked time.Time // when the last registration was sent
	// since is the last registration with the control plane. Until since+grace the links of before stay that were ordered then, with
	// their routes: of either end, by link id.
	since  time.Time
	before map[string]bool
	// anew is until when the control plane may order links of before under other ids: nodes may have its orders before
	// this one has its answer.
	anew time.Time
	// stale: nothing was ordered since. When the time is over first holds, which came with the registration.
	stale bool
	first *order

	leftovers map[string]*leftover // by link id
}

// leftover is a link that is ordered no more, with its routes, and stays for a while.
type leftover struct {
	want   *Wanted // nil: this node does not dial it
	routes routes
	until  time.Time
}

func newOrder() *order {
	return &order{links: map[string]*Wanted{}, routes: map[string]routes{}, leftovers: map[string]*leftover{}}
}

// faults are what of a command cannot be obeyed, and why.
type faults struct {
	links  []*controllerpb.ConnectionAck
	routes []*controllerpb.RouteAck
	silent int // faults that cannot be told, for want of a name
}

func (f *faults) link(id, text string) {
	f.links = append(f.links, &controllerpb.ConnectionAck{LinkId: id, ErrorMsg: text})
}

func (f *faults) route(r *controllerpb.Route, text string) {
	f.routes = append(f.routes, &controllerpb.RouteAck{Route: r, ErrorMsg: text})
}

// desired reads a whole desired state (reconcile). Of links with the same id the last one counts. Rules: P-ctl-6.
func desired(links []*controllerpb.Connection, rs []*controllerpb.Route) (*order, *faults) {
	o, f := newOrder(), &faults{}
	for _, c := range links {
		id := c.GetLinkId()
		switch {
		case id == "":
			continue // as upstream
		case len(id) > maxLinkID:
			f.link(strings.ToValidUTF8(id[:maxLinkID], "?"), fmt.Sprintf("a link id has %d bytes at most", maxLinkID))
			continue
		case len(o.links) == maxLinks && o.links[id] == nil:
			f.link(id, fmt.Sprintf("too many links: %d are dialled at most", maxLinks))
			continue
		}
		w, err := parseWanted(id, c.GetConfigData())
		if err != nil {
			f.link(id, "Failed to parse config: "+err.Error())
			continue
		}
		o.links[id] = w
	}
	for _, r := range rs {
		n, err := nameOf(r)
		switch {
		case err != nil:
			f.silent++
		case r.GetLinkId() == "" || len(r.GetLinkId()) > maxLinkID:
			f.route(r, "connection not found")
		default:
			o.set(r.GetLinkId(), n)
		}
	}
	return o, f
}

func (o *order) set(link string, n wire.NameText) {
	if o.routes[link] == nil {
		o.routes[link] = routes{}
	}
	o.routes[link][n.Name] = n
}

// drop takes a link back at once, with all that is over it, and reports whether it was there.
func (o *order) drop(link string) bool {
	_, was := o.links[link]
	l, left := o.leftovers[link]
	delete(o.links, link)
	delete(o.routes, link)
	delete(o.leftovers, link)
	return was || left && l.want != nil
}

// registers notes what is ordered before a registration, and until when the control plane may order that anew.
func (o *order) registers(anew time.Time) {
	o.anew, o.before = anew, map[string]bool{}
	for id := range o.links {
		o.before[id] = true
	}
	for id := range o.routes {
		o.before[id] = true
	}
}

// registered notes that the control plane has taken the node's registration, and what it wants so far.
func (o *order) registered(first *order, now time.Time) {
	o.since, o.stale, o.first = now, true, first
	o.registers(now.Add(grace))
	if len(first.links)+len(first.routes) > 0 {
		o.become(first, now)
	}
}

// become makes next what is wanted. It keeps what the rules keep, and returns the ids of links that are wanted no more.
func (o *order) become(next *order, now time.Time) (gone []string) {
	o.stale, o.first = false, nil
	recent := now.Before(o.since.Add(grace))
	endpoints := map[string]bool{}
	for id, w := range next.links {
		endpoints[w.Endpoint] = true
		if l := o.leftovers[id]; l != nil {
			l.want = nil // it is ordered: only its routes may be left over
		}
	}
	for id, w := range o.links {
		switch {
		case next.links[id] != nil:
			continue
		case endpoints[w.Endpoint]: // until the other one is up, and in vain not for ever
			o.leave(id, w, now.Add(carryLimit))
		case recent && o.before[id]:
			o.leave(id, w, o.since.Add(grace))
		}
		gone = append(gone, id)
	}
	for id := range o.routes {
		if recent && o.before[id] && (o.links[id] == nil || next.links[id] != nil) { // of a link that this node has accepted, or one that stays
			o.leave(id, nil, o.since.Add(grace))
		}
	}
	for id, rs := range next.routes {
		if l := o.leftovers[id]; l != nil {
			for n := range rs {
				delete(l.routes, n) // from now on the order says whether there is such a route
			}
		}
	}
	o.links, o.routes = next.links, next.routes
	return gone
}

// leave keeps a link, nil: one that this node does not dial, with its routes, for a while.
func (o *order) leave(id string, w *Wanted, until time.Time) {
	l := o.leftovers[id]
	if l == nil {
		l = &leftover{routes: routes{}}
		o.leftovers[id] = l
	}
	l.want = w
	maps.Copy(l.routes, o.routes[id])
	if until.After(l.until) {
		l.until = until
	}
}

// carry moves the routes of l to another link, on which they stay until the order says whether they do.
func (o *order) carry(l *leftover, to string, now time.Time) {
	c := o.leftovers[to]
	if c == nil {
		c = &leftover{routes: routes{}}
		o.leftovers[to] = c
	}
	for n, t := range l.routes {
		if _, ordered := o.routes[to][n]; !ordered {
			c.routes[n] = t
		}
	}
	c.until = now.Add(carryLimit)
	clear(l.routes)
}

// leaving reports whether a link that this node dials only stays until another one is up.
func (o *order) leaving(id string) bool {
	l := o.leftovers[id]
	return l != nil && l.want != nil
}

// expire forgets what has had its time, and returns when the next thing has; zero: there is none.
func (o *order) expire(now time.Time) (next time.Time) {
	soonest := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if o.stale {
		if end := o.since.Add(grace); now.Before(end) {
			soonest(end)
		} else {
			o.become(o.first, now)
		}
	}
	for id, l := range o.leftovers {
		if now.Before(l.until) {
			soonest(l.until)
		} else {
			delete(o.leftovers, id)
		}
	}
	return next
}

// errStopping is what commands get when the agent ends.
var errStopping = errors.New("the node is stopping")

package agent

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/wire/pb/controllerpb"
)

// answerLimit is how long a command waits for the first outcome of the links that it names. A control plane waits 90 s.
// Tests lengthen it.
var answerLimit = 10 * time.Second

// answer is the acknowledgement of a command that is due. Owned by the desk.
type answer struct {
	stream   *stream
	id       string // of the command
	links    []string
	names    map[string]string     // what the command calls some of them
	routes   []*controllerpb.Route // with a name and a link
	known    *faults
	done     []*controllerpb.ConnectionAck // for what needs no wait
	undone   []*controllerpb.RouteAck      // routes that were taken back
	deadline time.Time
}

// outcome is what is known of a link: whether that is enough to tell, and "" or a text for the control plane.
func (d *desk) outcome(id string) (known bool, text string) {
	if d.newest(id) != nil {
		return true, ""
	}
	l := d.dialled[id]
	switch {
	case l == nil:
		return true, "the link is not wanted any more"
	case l.fault != nil:
		return true, l.fault.Error()
	case l.dialer == nil:
		return true, "Connection failed: it cannot be dialled"
	}
	s := l.dialer.Status()
	switch {
	case s.State == router.LinkUp:
		return false, "" // its end of the news is on the way
	case s.Failure != "":
		return true, "Connection failed: " + s.Failure
	}
	return false, "Connection failed: no answer yet"
}

// give sends the acknowledgement if all is known, or there is no more time, or now. It reports whether it did.
func (a *answer) give(d *desk, now time.Time, hurry bool) bool {
	hurry = hurry || !now.Before(a.deadline)
	ack := &controllerpb.ConfigurationCommandAck{OriginalMessageId: a.id, ConnectionsStatus: slices.Concat(a.done, a.known.links),
		RoutesStatus: slices.Concat(a.undone, a.known.routes)}
	for _, id := range a.links {
		known, text := d.outcome(id)
		if d.contested(a.stream.origin, id) {
			known, text = true, "another control plane has ordered the link in another way, which counts"
		}
		if !known && !hurry {
			return false
		}
		ack.ConnectionsStatus = append(ack.ConnectionsStatus, &controllerpb.ConnectionAck{LinkId: cmp.Or(a.names[id], id), Success: text == "", ErrorMsg: text})
	}
	links := d.byID()
	for _, r := range a.routes {
		out := &controllerpb.RouteAck{Route: r}
		n, _ := nameOf(r)
		switch x := links[r.GetLinkId()]; {
		case x == nil:
			out.ErrorMsg = "connection not found"
		case x.faults[n.Name] != nil:
			out.ErrorMsg = "Failed to subscribe: " + x.faults[n.Name].Error()
		default:
			_, out.Success = x.routes[n.Name]
			if !out.Success {
				out.ErrorMsg = "Failed to subscribe: " + errStopping.Error()
			}
		}
		ack.RoutesStatus = append(ack.RoutesStatus, out)
	}
	a.stream.acknowledge(ack)
	return true
}

// command is a ConfigurationCommand of an origin. Rules: P-ctl-6, P-ctl-7.
func (d *desk) command(origin any, s *stream, id string, c *controllerpb.ConfigurationCommand) {
	for _, a := range d.answers { // who asks again has what was asked before
		if a.stream == s {
			a.deadline = time.Time{}
		}
	}
	d.forget()
	a := &answer{stream: s, id: id, deadline: time.Now().Add(answerLimit)}
	if c.GetReconcile() {
		d.reconcileTo(origin, a, c)
	} else {
		d.alter(a, c)
	}
	if n := a.known.silent; n > 0 {
		d.agent.count.invalid.Add(uint64(n))
		s.once(&s.said.nameless, "a command has routes without names: they are ignored", "routes", n)
	}
	d.answers = append(d.answers, a)
}

// reconcileTo makes a command the whole of what its origin wants.
func (d *desk) reconcileTo(origin any, a *answer, c *controllerpb.ConfigurationCommand) {
	next, known := desired(c.GetConnectionsToCreate(), c.GetRoutesToSet())
	a.known = known
	now := time.Now()
	o := d.orderOf(origin)
	before := o.routes
	for _, id := range o.become(next, now) {
		a.done = append(a.done, &controllerpb.ConnectionAck{LinkId: id, Success: true})
	}
	a.links = slices.Sorted(maps.Keys(next.links))
	for _, r := range c.GetRoutesToSet() {
		if n, err := nameOf(r); err == nil && next.routes[r.GetLinkId()][n.Name] == n {
			a.routes = append(a.routes, r)
		}
	}
	links := d.byID()
	for id, rs := range before {
		x := links[id]
		if x == nil {
			continue
		}
		for n, t := range rs {
			_, set := x.routes[n]
			if _, still := next.routes[id][n]; set && !still && !t.NoStrings {
				a.undone = append(a.undone, &controllerpb.RouteAck{Route: &controllerpb.Route{Name: nameFor(t)}, Success: true})
			}
		}
	}
	// What single changes have added is no part of it.
	if origin != manual {
		m := d.orderOf(manual)
		for id, w := range m.links {
			if w.Client == nil || clientKind(w.Client) == "remote" {
				m.drop(id)
			}
		}
		clear(m.routes)
	}
}

// manual is the origin of single changes, whoever makes them.
var manual = new(byte)

// alter makes single changes, in upstream's order.
func (d *desk) alter(a *answer, c *controllerpb.ConfigurationCommand) {
	a.known = &faults{}
	o := d.orderOf(manual)
	for _, id := range c.GetConnectionsToDelete() {
		was := false
		for _, x := range d.orders {
			was = x.drop(id) || was
		}
		if x := d.newest(id); x != nil && !x.Dials {
			x.Close()
			was = true
		}
		if !was {
			a.known.link(id, "Connection with link_id "+id+" not found")
			continue
		}
		a.done = append(a.done, &controllerpb.ConnectionAck{LinkId: id, Success: true})
	}
	named := map[string]string{} // link ids of the command by those of the links
	for _, x := range c.GetConnectionsToCreate() {
		w, err := parseClient(x.GetLinkId(), x.GetConfigData())
		switch {
		case err != nil:
			a.known.link(x.GetLinkId(), "Failed to parse config: "+err.Error())
		case d.newest(w.ID) != nil || d.dialled[w.ID] != nil:
			a.done = append(a.done, &controllerpb.ConnectionAck{LinkId: x.GetLinkId(), Success: true})
		case len(o.links) >= maxLinks:
			a.known.link(x.GetLinkId(), "too many links")
		default:
			o.links[w.ID] = w
			named[w.ID] = x.GetLinkId()
			a.links = append(a.links, w.ID)
		}
	}
	a.names = named
	for _, r := range c.GetRoutesToSet() {
		n, err := nameOf(r)
		id := r.GetLinkId()
		switch {
		case err != nil:
			a.known.silent++
		case d.newest(id) == nil && d.dialled[id] == nil && o.links[id] == nil:
			a.known.route(r, "Connection with link_id "+id+" not found")
		default:
			o.set(id, n)
			a.routes = append(a.routes, r)
		}
	}
	for _, r := range c.GetRoutesToDelete() {
		n, err := nameOf(r)
		id := r.GetLinkId()
		switch {
		case err != nil:
			a.known.silent++
			continue
		case d.newest(id) == nil && d.dialled[id] == nil:
			a.known.route(r, "Connection with link_id "+id+" not found")
			continue
		}
		for _, x := range d.orders {
			delete(x.routes[id], n.Name)
			if l := x.leftovers[id]; l != nil {
				delete(l.routes, n.Name)
			}
		}
		a.undone = append(a.undone, &controllerpb.RouteAck{Route: r, Success: true})
	}
}

package agent

import (
	"context"
	"errors"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// desk makes the node match what is ordered. One goroutine owns it, but for what is said to be safe.
type desk struct {
	agent *Agent
	wake  chan struct{} // has room for one

	mu    sync.Mutex
	inbox []func(*desk) // guarded by mu; bounded by links that are up, and by commands of streams

	orders    map[any]*order // by origin: a *plane, tools, or manual
	dialled   map[string]*dialled
	up        map[*router.ActiveLink]*active
	answers   []*answer
	reminders []reminder
	shown     atomic.Pointer[Status] // for operators
}

// dialled is a link that this node dials.
type dialled struct {
	want   *Wanted
	dialer *router.Dialer // nil: it cannot be dialled
	fault  error          // why not
	failed int            // times in a row that the dialler has given up
	again  time.Time      // when it is tried again then
}

// active is a link that is up.
type active struct {
	*router.ActiveLink
	since       time.Time
	replaceable time.Time                   // until when another one may come in its place
	routes      map[wire.Name]wire.NameText // that are set
	faults      map[wire.Name]error         // that could not be set, and why; nil: none
}

func newDesk(a *Agent) *desk {
	return &desk{agent: a, wake: make(chan struct{}, 1), orders: map[any]*order{}, dialled: map[string]*dialled{}, up: map[*router.ActiveLink]*active{}}
}

// post has f run by the desk, which then looks at everything. Safe for all; it does not wait.
func (d *desk) post(f func(*desk)) {
	d.mu.Lock()
	d.inbox = append(d.inbox, f)
	d.mu.Unlock()
	d.look()
}

// look has the desk look at everything. Safe for all.
func (d *desk) look() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// idle is how long the desk waits when there is nothing to wait for: it looks at everything now and then, in case.
const idle = time.Minute

func (d *desk) run() {
	defer func() {
		for _, a := range d.answers {
			a.give(d, time.Now(), true)
		}
	}()
	for {
		d.mu.Lock()
		in := d.inbox
		d.inbox = nil
		d.mu.Unlock()
		for _, f := range in {
			d.guarded(func() { f(d) })
		}
		next := time.Now().Add(idle)
		d.guarded(func() { next = d.reconcile(time.Now()) })
		timer := time.NewTimer(idle)
		if !next.IsZero() {
			timer.Reset(max(time.Until(next), 10*time.Millisecond))
		}
		select {
		case <-d.wake:
		case <-timer.C:
		case <-d.agent.ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// guarded runs a part of the desk's work: a panic ends that part alone, and messages go on.
func (d *desk) guarded(f func()) {
	defer func() {
		if r := recover(); r != nil {
			d.agent.log.Error("internal error of the control channel: please report this", "error", r, "stack", string(debug.Stack()))
		}
	}()
	f()
}

func (d *desk) linkChanged(l *router.ActiveLink, up bool) {
	if !up {
		delete(d.up, l)
		return
	}
	if d.up[l] == nil {
		d.up[l] = &active{ActiveLink: l, since: time.Now(), routes: map[wire.Name]wire.NameText{}}
	}
}

// dialledSince reports whether a link has come up since the last registration with a control plane was sent which
// another node has dialled.
func (d *desk) dialledSince(p *plane) bool {
	since := d.orderOf(p).asked
	for l, x := range d.up {
		if l.Kind == table.Remote && !l.Dials && x.since.After(since) {
			return true
		}
	}
	return false
}

// orderOf returns the order of an origin, which may be empty.
func (d *desk) orderOf(origin any) *order {
	o := d.orders[origin]
	if o == nil {
		o = newOrder()
		d.orders[origin] = o
	}
	return o
}

// wanted are the links that this node is to dial: ordered, or left over. Of one that several order in different ways the one counts that is
// dialled, for as long as it is ordered. Rules: P-ctl-6.
func (d *desk) wanted() map[string]*Wanted {
	all, ordered := map[string]*Wanted{}, map[string]*Wanted{}
	for _, o := range d.orders {
		for id, l := range o.leftovers {
			if l.want != nil && all[id] == nil {
				all[id] = l.want
			}
		}
		for id, w := range o.links {
			if l := d.dialled[id]; ordered[id] == nil || l != nil && w.same(l.want) {
				ordered[id] = w
			}
		}
	}
	maps.Copy(all, ordered)
	return all
}

// contested reports whether a link is dialled in another way than that origin has ordered it, for another one.
func (d *desk) contested(origin any, id string) bool {
	o, l := d.orders[origin], d.dialled[id]
	return o != nil && o.links[id] != nil && l != nil && !o.links[id].same(l.want)
}

// reconcile makes the node match the orders, as far as that goes at once, and returns when to look again though nothing
// happens; zero: never.
func (d *desk) reconcile(now time.Time) (next time.Time) {
	soonest := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, o := range d.orders {
		soonest(o.expire(now))
	}
	soonest(d.carry(now))
	soonest(d.foresee(now)) // of what carry leaves over, too
	want := d.wanted()
	for id, l := range d.dialled {
		if w := want[id]; w == nil || !w.same(l.want) {
			d.close(id)
		}
	}
	for id, w := range want {
		soonest(d.dial(id, w, now))
	}
	soonest(d.remind(now)) // of links closed just now, too
	d.route()
	d.answers = slices.DeleteFunc(d.answers, func(a *answer) bool {
		done := a.give(d, now, false)
		if !done {
			soonest(a.deadline)
		}
		return done
	})
	d.show(want)
	return next
}

// close ends a link that this node has dialled: what is queued for it goes out.
func (d *desk) close(id string) {
	l := d.dialled[id]
	delete(d.dialled, id)
	if l.dialer != nil {
		d.withdrawn(id, l)
		d.agent.log.Info("desired state: removing connection", "link_id", id, "endpoint", l.want.Endpoint)
		l.dialer.Close()
	}
}

// pauses between attempts after a dialler has given up: because the other end does not want the link, or, which is no fault, it
// was lost.
const (
	firstPause = time.Second
	lastPause  = 30 * time.Second
)

// dial sees to it that a link is dialled, and returns when to look at it again; zero: when it says something.
func (d *desk) dial(id string, w *Wanted, now time.Time) time.Time {
	l := d.dialled[id]
	switch {
	case l == nil:
		l = &dialled{want: w}
		d.dialled[id] = l
	case l.dialer == nil:
		return time.Time{} // it will not be another way
	case l.dialer.Status().State != router.LinkOver:
		return time.Time{}
	case l.again.IsZero():
		s := l.dialer.Status()
		if l.failed++; s.Losses > 0 || s.Failed.IsZero() {
			l.failed = 1
		}
		l.again = now.Add(min(firstPause<<min(l.failed-1, 10), lastPause))
		return l.again
	case now.Before(l.again):
		return l.again
	default:
		l.dialer.Close()
		l.again = time.Time{}
	}
	link, err := d.agent.opt.Link(w)
	if err == nil {
		link.ID = id
		link.Changed = func(router.LinkState) { d.look() }
		l.dialer, err = d.agent.node.Dial(link)
	}
	if l.fault = err; err != nil {
		l.dialer = nil
		d.agent.count.badLinks.Add(1)
		d.agent.log.Warn("desired state: a link cannot be dialled", "link_id", id, "endpoint", w.Endpoint, "error", err)
		return time.Time{}
	}
	d.agent.log.Info("desired state: creating connection", "link_id", id, "endpoint", link.Endpoint)
	return time.Time{}
}

// registers notes that a control plane is about to get a registration, and answers within limit. It waits until that has
// been noted, or ctx ends. Safe for all.
func (d *desk) registers(ctx context.Context, origin any, limit time.Duration) {
	done := make(chan struct{})
	d.post(func(d *desk) {
		defer close(done)
		now := time.Now()
		o := d.orderOf(origin)
		o.asked = now
		o.registers(now.Add(limit + grace))
		d.foresee(now)
	})
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// foresee tells the node which links another one may come in the place of: the other end may send over both as soon as
// that is up. It returns when the first of them may no more.
func (d *desk) foresee(now time.Time) (next time.Time) {
	links := d.byID()
	mark := func(id string, until time.Time) {
		if x := links[id]; x != nil && x.replaceable.Before(until) && now.Before(until) {
			x.replaceable = until
			x.MayBeReplaced(until)
		}
	}
	for _, o := range d.orders {
		for id := range o.before {
			mark(id, o.anew)
		}
		for id, l := range o.leftovers {
			mark(id, l.until)
		}
	}
	for _, x := range d.up {
		switch {
		case x.replaceable.IsZero():
		case !now.Before(x.replaceable): // the node need remember nothing for it any more
			x.replaceable = time.Time{}
			x.MayBeReplaced(time.Time{})
		case next.IsZero() || x.replaceable.Before(next):
			next = x.replaceable
		}
	}
	return next
}

// ready is how long a link has been up to which the routes of another one move before that is closed, if no order has named routes
// over it: until then the other end may send over the old one.
const ready = 5 * time.Second

// carry finds links in whose place another one has come, and moves their routes to that. It returns when to look again.
func (d *desk) carry(now time.Time) (next time.Time) {
	for _, o := range d.orders {
		for id, l := range o.leftovers {
			to := d.successor(o, id, l.want)
			if to == nil {
				continue
			}
			if old := d.newest(id); old != nil {
				to.Replaces(old.ActiveLink) // before any route is over both
			}
			if len(l.routes) > 0 {
				o.carry(l, to.LinkID, now)
			}
			closing := to.since.Add(ready)
			if d.ordered(to.LinkID) {
				closing = to.since.Add(ready / 5)
			}
			if now.Before(closing) {
				if next.IsZero() || closing.Before(next) {
					next = closing
				}
				continue
			}
			delete(o.leftovers, id)
		}
	}
	return next
}

// ordered reports whether any order has routes over a link.
func (d *desk) ordered(link string) bool {
	for _, o := range d.orders {
		if len(o.routes[link]) > 0 {
			return true
		}
	}
	return false
}

// successor is the link that has come in the place of another one, which was wanted so (nil: by the other end): to the
// same endpoint or node, and younger; nil: none is up.
func (d *desk) successor(o *order, id string, was *Wanted) (best *active) {
	old := d.newest(id)
	for _, x := range d.up {
		if x.LinkID == id || x.LinkID == "" || x.Kind != table.Remote || o.leaving(x.LinkID) {
			continue
		}
		w := o.links[x.LinkID]
		switch {
		case old != nil && x.Conn < old.Conn:
		case old != nil && old.SameNode(x.ActiveLink),
			w != nil && was != nil && w.Endpoint == was.Endpoint:
			if best == nil || x.Conn > best.Conn {
				best = x
			}
		}
	}
	return best
}

// newest is the link that is up under an id; nil: none is.
func (d *desk) newest(id string) (best *active) {
	for _, x := range d.up {
		if x.LinkID == id && (best == nil || x.Conn > best.Conn) {
			best = x
		}
	}
	return best
}

// byID are the links that are up, the youngest under each id.
func (d *desk) byID() map[string]*active {
	all := map[string]*active{}
	for _, x := range d.up {
		if x.LinkID != "" && (all[x.LinkID] == nil || x.Conn > all[x.LinkID].Conn) {
			all[x.LinkID] = x
		}
	}
	return all
}

// routeTimeout bounds the wait for the loop of a link.
const routeTimeout = 30 * time.Second

// route makes the routes of all links what is ordered. Those that are new come first: a name that moves is always to be found.
func (d *desk) route() {
	links := d.byID()
	want := map[*active]routes{}
	add := func(id string, rs routes) {
		x := links[id]
		if x == nil || len(rs) == 0 {
			return
		}
		if want[x] == nil {
			want[x] = routes{}
		}
		maps.Copy(want[x], rs)
	}
	for _, o := range d.orders {
		for id, l := range o.leftovers {
			add(id, l.routes)
		}
		for id, rs := range o.routes {
			add(id, rs)
		}
	}
	for _, r := range d.reminders {
		add(r.link.LinkID, r.routes)
	}
	for _, x := range d.up {
		var cs []router.RouteChange
		for n, t := range want[x] {
			if _, set := x.routes[n]; !set && x.faults[n] == nil {
				cs = append(cs, router.RouteChange{Name: t})
			}
		}
		d.change(x, cs)
	}
	for _, x := range d.up {
		var cs []router.RouteChange
		for n, t := range x.routes {
			if _, wanted := want[x][n]; !wanted {
				cs = append(cs, router.RouteChange{Name: t, Gone: true})
			}
		}
		d.change(x, cs)
		maps.DeleteFunc(x.faults, func(n wire.Name, _ error) bool { _, wanted := want[x][n]; return !wanted })
	}
}

// change changes routes of a link, and notes what came of it.
func (d *desk) change(x *active, cs []router.RouteChange) {
	if len(cs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(d.agent.ctx, routeTimeout)
	defer cancel()
	if err := x.Change(ctx, cs); err != nil {
		d.agent.log.Debug("routes are not changed", "link_id", x.LinkID, "error", err)
		return // cs is not ours any more; the next look compares again
	}
	for i := range cs {
		c := &cs[i]
		switch {
		case c.Gone:
			delete(x.routes, c.Name.Name)
		case c.Err == nil:
			x.routes[c.Name.Name] = c.Name
		case errors.Is(c.Err, router.ErrLinkGone): // its end is told soon
		default:
			if x.faults == nil {
				x.faults = map[wire.Name]error{}
			}
			x.faults[c.Name.Name] = c.Err
			d.agent.count.badRoutes.Add(1)
		}
	}
	d.agent.log.Debug("desired state: routes changed", "link_id", x.LinkID, "changes", len(cs))
}

// forget has a command try again what could not be done before.
func (d *desk) forget() {
	for id, l := range d.dialled {
		if l.dialer == nil {
			delete(d.dialled, id)
			continue
		}
		if !l.again.IsZero() {
			l.again = time.Now()
		}
	}
	for _, x := range d.up {
		x.faults = nil
	}
}

package router

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// What a controller (internal/agent) is told of a running node, and what it may change of it (P-ctl):
//
//	table ──first or last of a name──▶ Watch.Name      news, without a queue: whoever is told asks Node.Held what there is now
//	negotiation, end of a link ──▶ Watch.Link          handles of links, by which routes are set
//	Node.Dial ◀── links that are wanted
//	ActiveLink.Change ◀── routes that are wanted, a few in each turn of the link's loop
//
// A route is a subscription of the connection of its link, made for the other end by this node: messages, peers and the
// end of the link treat it as one. It is told to no controller, which it comes from.

// Watch is who is told of changes. Its functions are called by loops and beside them, several at a time: they return at once
// and ask the node nothing.
type Watch struct {
	// Name says that an app here or an edge connection is the first of its kind to hold a name, or was the last.
	Name func(wire.Name)
	// Link says that a link has come up or, with up false, has left the table. The events of one ActiveLink are told in order.
	Link func(t *ActiveLink, up bool)
}

// control is a node's side of its controller. The zero value is a node without one. Safe for all.
type control struct {
	watch atomic.Pointer[Watch] // nil: there is none

	mu    sync.Mutex
	links map[*Conn]*ActiveLink // guarded by mu: links that are up
}

// ActiveLink is a link that has come up: a connection of kind remote, or one that this node has opened. Its exported fields are immutable;
// its methods are safe for all.
type ActiveLink struct {
	Conn   uint64 // Connection.ID
	LinkID string // may be empty
	Node   string // the id of the node at the other end; "": it does not say
	Domain string // which is one only within this (Options.Deployment); may be empty
	Kind   table.Kind
	Dials  bool // this node has opened it

	conn        *Conn
	replaceable time.Time // guarded by control.mu: until then a link to the same node is a twin of this one
}

// SameNode reports whether both links are to the same node, as far as it says who it is.
func (t *ActiveLink) SameNode(x *ActiveLink) bool {
	return t.Node != "" && t.Node == x.Node && t.Domain == x.Domain
}

// Watch has w told of all that changes from now on, nil: nobody, and returns the links that are up: their ends will be told.
func (n *Node) Watch(w *Watch) []*ActiveLink {
	x := &n.control
	x.mu.Lock()
	defer x.mu.Unlock()
	x.watch.Store(w)
	var all []*ActiveLink
	for _, t := range x.links {
		all = append(all, t)
	}
	return all
}

// reportUp notes that c, a link, is up. Runs on its loop.
func (c *Conn) reportUp() {
	if c.state != active || c.kind != table.Remote && c.dialed == nil {
		return
	}
	x := &c.loop.node.control
	t := &ActiveLink{Conn: c.id, LinkID: c.about.link, Node: c.about.node, Domain: c.about.domain.Value(), Kind: c.kind, Dials: c.dialed != nil, conn: c}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.links == nil {
		x.links = map[*Conn]*ActiveLink{}
	}
	x.links[c] = t
	x.join(t)
	if w := x.watch.Load(); w != nil {
		w.Link(t, true)
	}
}

// reportDown notes that c is up no more. Runs on its loop.
func (c *Conn) reportDown() {
	x := &c.loop.node.control
	x.mu.Lock()
	defer x.mu.Unlock()
	t := x.links[c]
	if t == nil {
		return
	}
	delete(x.links, c)
	if w := x.watch.Load(); w != nil {
		w.Link(t, false)
	}
}

// announced are the kinds of connections whose names a controller is told of (P-ctl-4): peers tell theirs themselves, and
// what remote links hold are routes.
const announced = table.Filter(1<<table.Local | 1<<table.Edge)

// nameChanged says that the first of a kind has come to hold n, or the last has gone.
func (x *control) nameChanged(k table.Kind, n *wire.Name) {
	if w := x.watch.Load(); w != nil && announced.Has(k) {
		w.Name(*n)
	}
}

// namesLost says which names a connection of kind k has left behind.
func (x *control) namesLost(k table.Kind, lost []table.Lost) {
	w := x.watch.Load()
	if w == nil || !announced.Has(k) {
		return
	}
	for i := range lost {
		if lost[i].Last {
			w.Name(lost[i].Name)
		}
	}
}

// Held reports whether an app here or an edge connection holds n, and its strings, as far as they are known.
func (n *Node) Held(name wire.Name) (t wire.NameText, yes bool) {
	if n.names.Kinds(&name)&announced == 0 {
		return t, false
	}
	s, known := n.names.Strings(name.C)
	return wire.NameText{Name: name, Str: s, NoStrings: !known}, true
}

// EachHeld calls f with every name that Held reports, until it returns false. It makes pauses.
func (n *Node) EachHeld(f func(wire.NameText) bool) {
	visited := 0
	n.names.Range(announced, func(h table.Held) bool {
		if visited++; visited%walkSlice == 0 {
			runtime.Gosched()
		}
		return f(wire.NameText{Name: h.Name, Str: h.Str, NoStrings: !h.HasStr})
	})
}

// Holder is a connection that holds a name.
type Holder struct {
	Conn       uint64 // Connection.ID
	Kind       table.Kind
	LinkID     string
	Node       string
	Dials      bool
	Endpoint   string // of Link, if Dials
	RemoteAddr string
}

// Route is a name with all that hold it, in the order in which messages to one of them are tried.
type Route struct {
	Name    wire.NameText
	Holders []Holder
}

// Routes calls f with every name, with up to holders of those that hold it, until f returns false. It makes pauses.
func (n *Node) Routes(holders int, f func(*Route) bool) {
	visited := 0
	n.names.Walk(holders, func(e *table.Entry[Conn]) bool {
		if visited++; visited%walkSlice == 0 {
			runtime.Gosched()
		}
		r := Route{Name: wire.NameText{Name: e.Name, Str: e.Str, NoStrings: !e.HasStr}}
		for _, c := range e.Some {
			h := Holder{Conn: c.id, Kind: c.kind, Dials: c.dialed != nil, RemoteAddr: c.stream.Peer().Remote}
			if c.dialed != nil {
				h.Endpoint = c.dialed.dialer.link.Endpoint
			}
			if a := c.about; a != nil {
				h.LinkID, h.Node = a.link, a.node
			}
			r.Holders = append(r.Holders, h)
		}
		return f(&r)
	})
}

// RouteChange is a route that is to be set, or taken back. Of two changes of one call for one name the later one holds.
type RouteChange struct {
	Name wire.NameText
	Gone bool
	// Err is why it was not made: a limit (*table.Full), or ErrLinkGone. That there is no such route to be taken back is none.
	Err error
}

// errLinkGone is what becomes of routes over a link that has ended.
type errLinkGone struct{}

func (errLinkGone) Error() string { return "router: the link has ended" }

// ErrLinkGone says that the link of a route has ended.
var ErrLinkGone error = errLinkGone{}

// routeID is the subscription id of routes, by which they are told apart from what the other end of the link subscribes to
// itself; any number will do.
const routeID = 1<<63 | 0x534c494d

// routeSlice is how many routes are changed in one turn of a loop.
const routeSlice = 64

// Change makes changes in the order in which they stand, and writes into each what has come of it. It waits for the loop of the
// link; the error is that of ctx, or that the node has stopped: then cs must not be used any more. Rules: P-ctl-5.
func (t *ActiveLink) Change(ctx context.Context, cs []RouteChange) error {
	c := t.conn
	done := make(chan struct{})
	at := 0
	var step func()
	step = func() {
		for end := min(at+routeSlice, len(cs)); at < end; at++ {
			c.changeRoute(&cs[at])
		}
		if at < len(cs) && ctx.Err() == nil {
			c.loop.post(step)
			return
		}
		close(done)
	}
	c.loop.post(step)
	select {
	case <-done:
		return ctx.Err()
	case <-c.loop.node.done:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// changeRoute makes one change. Runs on the loop of c.
func (c *Conn) changeRoute(x *RouteChange) {
	defer c.guard()
	n := c.loop.node
	if c.state != active || c.dead.Load() {
		if !x.Gone {
			x.Err = ErrLinkGone
		}
		return
	}
	k := table.Key{Name: x.Name.Name, HasID: true}
	if x.Gone {
		if last, err := n.names.Remove(c, k, routeID); err == nil && last {
			c.tellPeers(x.Name.Name, 0)
		}
		return
	}
	first, err := n.names.Add(c, c.kind, k, routeID, x.Name.Str, !x.Name.NoStrings)
	c.noteFull(err)
	if x.Err = err; first {
		c.tellPeers(x.Name.Name, 0)
	}
}

// Remind has the node at the other end, if it is one of upstream's, tell its control plane once more that it holds names, which it
// says of whatever a link subscribes to: it gets a Subscribe of each, which has no hop left, so that nothing else comes of it. What
// does not go out soon, as the other end does not read, is left out. Rules: P-def-6.
func (t *ActiveLink) Remind(names []wire.NameText) {
	c := t.conn
	var step func()
	step = func() {
		n := min(routeSlice, len(names))
		if c.remind(names[:n]) && n < len(names) {
			names = names[n:]
			c.loop.post(step)
		}
	}
	c.loop.post(step)
}

// remind is a turn of Remind, and reports whether there may be another one. Runs on the loop of c.
func (c *Conn) remind(names []wire.NameText) bool {
	defer c.guard()
	l := c.loop
	for i := range names {
		if c.state != active || c.dead.Load() || c.q.control > newsBacklog {
			return false
		}
		h := wire.PublishHeader{Source: names[i], Dest: names[i], Fanout: 1, TTL: 1, Version: l.node.opt.Version}
		l.small = wire.AppendSubscribe(l.small[:0], &h, 0)
		var m wire.Message
		if wire.Scan(l.small, &m) != nil {
			continue
		}
		h.MAC = c.link.Own(m.Header.Of(l.small))
		l.small = wire.AppendSubscribe(l.small[:0], &h, 0)
		c.sendOwn(l.small, false)
	}
	return true
}

// Close ends a link that this node has accepted: what is queued for it goes out. One that it has opened ends with its Dialer.
func (t *ActiveLink) Close() {
	t.conn.postFor(func() {
		t.conn.because("the controller does not want the link any more")
		t.conn.finish()
	})
}

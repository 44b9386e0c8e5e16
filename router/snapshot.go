package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"
	"unique"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/link"
)

// This file is what operators may ask a running node. Loops are asked by posted work, a slice of their connections in
// each turn, and the table is read without its lock: a question costs nobody's messages more than a fraction of a
// millisecond.

const (
	// MostConnections bounds what Connections returns of each loop.
	MostConnections = 1 << 14
	// snapshotSlice is how many connections a loop tells of in one turn: some tens of microseconds.
	snapshotSlice = 256
	// walkSlice is how many names are visited between two pauses.
	walkSlice = 256
)

// Connection is one connection at one moment.
type Connection struct {
	ID    uint64
	Loop  int
	Kind  table.Kind // remote until it has negotiated
	State string     // negotiating, active, ending
	Dials bool       // this node has opened it

	Transport string // grpc, websocket, or rings: to an app in the process

	// Remote is the address of the socket, or "in process". The others are what the peer says of itself, "" if it says nothing, or has
	// not negotiated.
	Remote, Agent, LinkID, Node, Version string
	// Auth is how it has proven who it is, Identity and Issuer are who that is and who says so; "": nobody has asked, or there is
	// none.
	Auth, Identity, Issuer string

	Age time.Duration
	// Messages and bytes since the opening. Received counts all kinds; DeliveredBytes is without headers.
	Received, ReceivedBytes, Delivered, DeliveredBytes uint64

	// Queued is how many messages wait for it, QueuedBytes their memory, Held what it may not send because its
	// receivers are slow, in bytes.
	Queued, QueuedBytes, Held int
	// Stalled is for how long it has been stalled; 0: it is not.
	Stalled time.Duration
	// Missed counts messages for it that died at its queue.
	Missed uint64
	// Dropped counts messages of it that died, Unmatched those among them that nobody has subscribed to, LastDrop is
	// why the latest of all these died.
	Dropped, Unmatched uint64
	LastDrop           Reason
	// Names is how many subscriptions it has, Some the first of their names, if it has a few.
	Names int
	Some  []string

	conn *Conn
}

// about is what is kept of a negotiated connection for operators alone. Most connections are idle: it is small.
type about struct {
	link, node string // in one piece of memory
	version    unique.Handle[string]
	domain     unique.Handle[string] // of the node
	losses     *losses               // nil: there were none
}

func newAbout(r *link.Result) *about {
	link := cut(r.LinkID)
	both := link + cut(r.RemoteNode)
	return &about{link: both[:len(link)], node: both[len(link):], version: unique.Make(cut(r.RemoteVersion)),
		domain: unique.Make(cut(r.RemoteDeployment))}
}

// losses are what has died of or for a connection. Made with the first.
type losses struct {
	dropped   uint64        // of its messages
	unmatched uint64        // of these, for want of a receiver
	missed    uint64        // messages that died at its queue
	stalledAt time.Duration // after the node began; while it is stalled
	last      Reason        // why the latest of its messages that died did so
}

// missing are the losses of c.
func (c *Conn) missing() *losses {
	if c.about == nil {
		c.about = new(about)
	}
	if c.about.losses == nil {
		c.about.losses = new(losses)
	}
	return c.about.losses
}

// lost notes a message of c that has died.
func (c *Conn) lost(r Reason) {
	x := c.missing()
	x.dropped++
	x.last = r
	if r == ReasonNoMatch {
		x.unmatched++
	}
}

// missed notes a message for c that has died at its queue.
func (c *Conn) missed() { c.missing().missed++ }

// enlist puts c, whose stream begins, among the connections of its loop.
//
// Whoever walks live from its end to its beginning, with pauses, meets everybody who stays: delist moves the last one,
// which was met before, to a place that may be met again.
func (l *loop) enlist(c *Conn) {
	c.place = uint32(len(l.live))
	l.live = append(l.live, c)
}

// delist takes c out again.
func (l *loop) delist(c *Conn) {
	if int(c.place) >= len(l.live) || l.live[c.place] != c {
		return
	}
	last := len(l.live) - 1
	moved := l.live[last]
	l.live[c.place], moved.place = moved, c.place
	l.live[last] = nil
	l.live = l.live[:last]
	if cap(l.live) > 64 && len(l.live) < cap(l.live)/4 {
		l.live = slices.Clone(l.live)
	}
}

// errStopped is what questions get when the node has stopped.
var errStopped = errors.New("router: the node has stopped")

// ask runs f on every loop until it returns false there, once in a turn, and waits for all. f must not touch what the
// caller does after an error.
func (n *Node) ask(ctx context.Context, f func(*loop) (more bool)) error {
	done := make(chan struct{}, len(n.loops))
	for _, l := range n.loops {
		var step func()
		step = func() {
			if ctx.Err() == nil && f(l) {
				l.post(step)
				return
			}
			done <- struct{}{}
		}
		l.post(step)
	}
	for range n.loops {
		select {
		case <-done:
		case <-n.done:
			return errStopped
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// Connections returns all connections in the order of their ids, MostConnections of each loop at most, and up to names
// of the names of each. Errors: that of ctx, and that the node has stopped.
func (n *Node) Connections(ctx context.Context, names int) ([]Connection, error) {
	parts := make([][]Connection, len(n.loops))
	at := make([]int, len(n.loops))
	for i := range at {
		at[i] = -1
	}
	err := n.ask(ctx, func(l *loop) bool {
		parts[l.index], at[l.index] = l.describe(parts[l.index], at[l.index])
		return at[l.index] > 0
	})
	if err != nil {
		return nil, err
	}
	all := slices.Concat(parts...)
	slices.SortFunc(all, func(a, b Connection) int { return cmp.Compare(a.ID, b.ID) })
	all = slices.CompactFunc(all, func(a, b Connection) bool { return a.ID == b.ID })
	var held []wire.Name
	for i := range all {
		held = n.describeNames(&all[i], held, names)
	}
	return all, nil
}

// describe appends a slice of the loop's connections, those before at; negative: the last ones.
func (l *loop) describe(dst []Connection, at int) (_ []Connection, next int) {
	if at < 0 || at > len(l.live) {
		at = len(l.live)
	}
	now := time.Since(l.node.made)
	end := max(0, at-snapshotSlice)
	for at > end && len(dst) < MostConnections {
		at--
		dst = append(dst, l.live[at].describe(now))
	}
	if len(dst) == MostConnections {
		at = 0
	}
	return dst, at
}

// describe is what c is at this moment.
func (c *Conn) describe(now time.Duration) Connection {
	p := c.stream.Peer()
	x := Connection{ID: c.id, Loop: c.loop.index, Kind: c.kind, State: c.state.String(), Dials: c.dialed != nil,
		Transport: p.Transport.String(), Remote: p.Remote, Agent: p.Agent, Age: now - c.opened, Received: c.received, ReceivedBytes: c.receivedBytes,
		Delivered:      c.delivered,
		DeliveredBytes: c.deliveredBytes, Queued: c.q.len(), QueuedBytes: c.q.bytes, Held: c.held, conn: c}
	if w := c.who(); w != nil {
		x.Auth, x.Identity, x.Issuer = w.Mechanism, cut(w.Subject), cut(w.Issuer)
	}
	if a := c.about; a != nil {
		x.LinkID, x.Node = a.link, a.node
		if a.version != (unique.Handle[string]{}) {
			x.Version = a.version.Value()
		}
		if d := a.losses; d != nil {
			x.Missed, x.Dropped, x.Unmatched, x.LastDrop = d.missed, d.dropped, d.unmatched, d.last
			if c.q.stalled {
				x.Stalled = max(1, now-d.stalledAt)
			}
		}
	}
	return x
}

// String is the word for operators.
func (s state) String() string {
	switch s {
	case accepted, claimed:
		return "negotiating"
	case active:
		return "active"
	}
	return "ending"
}

// describeNames adds the names of x. scratch is used again.
func (n *Node) describeNames(x *Connection, scratch []wire.Name, most int) []wire.Name {
	scratch, x.Names, _ = n.names.NamesOf(x.conn, scratch[:0])
	x.conn = nil
	for i := range scratch[:min(most, len(scratch))] {
		s, known := n.names.Strings(scratch[i].C)
		x.Some = append(x.Some, nameText(&scratch[i], s, known))
	}
	return scratch
}

// nameText is a name for operators. Strings that do not hash to a name are not kept (ReasonStrings).
func nameText(name *wire.Name, s [3]string, known bool) string {
	if known {
		return kept(wire.NameText{Name: *name, Str: s}.String())
	}
	return name.String()
}

// HeldName is a name with those who hold it.
type HeldName struct {
	Name    string
	Holders [numKinds]int // by table.Kind
	Some    []uint64      // ids of the first connections that hold it
}

// Names returns up to most names that wanted takes, nil for all, and up to holders of the connections that hold each.
// It visits steps names at most; complete: there are no others. Errors: that of ctx.
func (n *Node) Names(ctx context.Context, wanted func(name string, holders []uint64) bool, most, holders, steps int) (
	names []HeldName, complete bool, err error) {
	complete = true
	visited := 0
	n.names.Walk(holders, func(e *table.Entry[Conn]) bool {
		if visited++; visited%walkSlice == 0 {
			if err = ctx.Err(); err != nil {
				return false
			}
			runtime.Gosched()
		}
		if len(names) == most || visited > steps {
			complete = false
			return false
		}
		h := HeldName{Name: nameText(&e.Name, e.Str, e.HasStr), Holders: e.Count}
		for _, c := range e.Some {
			h.Some = append(h.Some, c.id)
		}
		if wanted == nil || wanted(h.Name, h.Some) {
			names = append(names, h)
		}
		return true
	})
	return names, complete && err == nil, err
}

// Trouble returns who was turned away of late, during TLS handshakes, too, and, of the time in which it is asked once a minute, messages that
// reached nobody, the latest first. Errors: that of ctx, and that the node has stopped.
func (n *Node) Trouble(ctx context.Context) (refusals []Refusal, deaths []Death, err error) {
	rs, ds := make([][]Refusal, len(n.loops)), make([][]Death, len(n.loops))
	err = n.ask(ctx, func(l *loop) bool {
		t := &l.trouble
		t.watched = watchedFor
		rs[l.index], ds[l.index] = slices.Clone(t.refusals.all), slices.Clone(t.deaths.all)
		return false
	})
	if err != nil {
		return nil, nil, err
	}
	refusals, deaths = together(slices.Concat(slices.Concat(rs...), n.strangers.list())), slices.Concat(ds...)
	slices.SortFunc(deaths, func(a, b Death) int { return b.Last.Compare(a.Last) })
	return refusals, deaths, nil
}

// Ready returns nil while the node takes connections and serves them, and otherwise why it does not: loops that do not
// run, listeners that cannot accept, the end of the node. It asks no loop.
func (n *Node) Ready() error {
	s := n.Stats()
	switch {
	case n.stopping.Load():
		return errors.New("the node is stopping")
	case s.Late > 0:
		return errors.New("event loops have not run for seconds")
	}
	now := time.Now()
	for _, l := range n.listening.list() {
		if why := l.ln.Lost(); why != "" {
			return fmt.Errorf("nobody can connect to %s: %s", l.ln.Addr(), why)
		}
		if l.ln.Failing(now) {
			return errors.New("connections to " + l.ln.Addr().String() +
				" cannot be accepted: no descriptors, or --max-sockets is reached")
		}
	}
	return nil
}

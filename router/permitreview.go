package router

import (
	"fmt"
	"log/slog"
	"math"
	"runtime"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/rules"
	"github.com/seed31b3bfd0/slimgo/router/mesh"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// review judges again what was decided under other rules. All of it goes on beside the loops, which are given a slice of
// connections in a turn, and table and mesh a few steps at a time:
//
//	loops: who is there ──▶ their new rights ──▶ loops: rights exchanged, or the connection ended
//	  ──▶ table: names that were taken back once, and may be held again ──▶ given back, and their holders told
//	  ──▶ table, mesh: names that may not be held any more ──▶ taken back, and their holders told
//
// The order has no gaps. Who comes after the loops obey the new rules has their rights. Who was there holds, once rights are
// exchanged, what it held before, which the last step looks through, and gets nothing more that is not allowed. A change of the
// rules during a review ends it, and begins another.
type review struct {
	node   *Node
	number uint64 // of Node.reviews
	set    *rules.Set
	conns  []reviewed // by loop
	ends   []int      // of each loop in conns
	rights map[*Conn]*rules.Rights
	told   []turn // that are to be told
}

// reviewed is a connection that is judged, if its kind is at all, and who it is.
type reviewed struct {
	*Conn
	who *auth.Identity
}

// turn is a name whose subscriptions were taken back, or given back.
type turn struct {
	conn  *Conn
	name  wire.NameText
	ids   []uint64 // of subscriptions
	given bool
}

const (
	// reviewSlice is how many connections of a loop are looked at in a turn.
	reviewSlice = 256
	// toldSlice is how many turns are told in one go, toldIDs of how many subscriptions of each.
	toldSlice, toldIDs = 64, 8
	// holderSlice is how many holders of names are judged between two pauses.
	holderSlice = 256
)

// review has all connections judged by set, which loops have been told to obey.
func (n *Node) review(set *rules.Set) {
	v := &review{node: n, number: n.reviews.Add(1), set: set, rights: map[*Conn]*rules.Rights{}}
	n.chores.aside(v.run)
}

// over reports whether there are newer rules, or the node stops.
func (v *review) over() bool { return v.number != v.node.reviews.Load() || v.node.ending.Err() != nil }

func (v *review) run() {
	v.node.reviewing.Lock() // one that is over ends soon
	defer v.node.reviewing.Unlock()
	if v.over() || !v.gather() {
		return
	}
	for i, c := range v.conns {
		if c.judged(v.set) {
			v.rights[c.Conn] = v.set.For(c.who)
		}
		if i%16 == 15 {
			runtime.Gosched()
		}
	}
	if !v.exchange() {
		return
	}
	v.giveBack()
	if len(v.rights) > 0 {
		v.names()
		v.offers()
	}
	v.tell()
	if !v.over() {
		v.node.log.Info("connections were judged by the new rules", "target", targetProcessing, "connections", len(v.conns))
	}
}

// gather finds all connections.
func (v *review) gather() bool {
	n := v.node
	parts := make([][]reviewed, len(n.loops))
	at := make([]int, len(n.loops))
	for i := range at {
		at[i] = -1
	}
	err := n.ask(n.ending, func(l *loop) bool {
		i := l.index
		if at[i] < 0 || at[i] > len(l.live) { // see enlist
			at[i] = len(l.live)
		}
		for end := max(0, at[i]-reviewSlice); at[i] > end; {
			at[i]--
			if c := l.live[at[i]]; (c.state == active || c.hears) && c.kind != table.Local {
				parts[i] = append(parts[i], reviewed{c, c.identity()})
			}
		}
		return at[i] > 0 && !v.over()
	})
	if err != nil {
		return false
	}
	for _, p := range parts {
		v.conns = append(v.conns, p...)
		v.ends = append(v.ends, len(v.conns))
	}
	return !v.over()
}

// exchange gives all connections their new rights.
func (v *review) exchange() bool {
	at := make([]int, len(v.ends))
	for i := range at[1:] {
		at[i+1] = v.ends[i]
	}
	err := v.node.ask(v.node.ending, func(l *loop) bool {
		i := l.index
		for end := min(v.ends[i], at[i]+reviewSlice); at[i] < end && !v.over(); at[i]++ {
			c := v.conns[at[i]]
			c.rejudge(v.rights[c.Conn])
		}
		return at[i] < v.ends[i] && !v.over()
	})
	return err == nil && !v.over()
}

// rejudge gives c, which has negotiated, other rights, or ends it if it may not be what it is.
func (c *Conn) rejudge(r *rules.Rights) {
	defer c.guard()
	if c.state != active {
		if c.hears { // what it still publishes is judged, too
			c.arm(r)
		}
		return
	}
	c.arm(r)
	if c.dialed != nil || r.MayClaim(linkKind(c.kind)) {
		return
	}
	text := fmt.Sprintf("not allowed any more to be a connection of kind %v", c.kind)
	c.decided(false, &auth.Event{Act: auth.ActClose, Reason: r.WhyClaim()})
	c.note(ReasonClaim, &denial{text})
	c.because(text)
	c.end(statusPermissionDenied, text)
}

// linkKind is the type that a connection of that kind has negotiated.
func linkKind(k table.Kind) wire.LinkKind {
	switch k {
	case table.Edge:
		return wire.LinkEdge
	case table.Peer:
		return wire.LinkPeer
	}
	return wire.LinkRemote
}

// giveBack has connections hold again what was taken back under other rules and is allowed now, as far as they have room.
func (v *review) giveBack() {
	var names []wire.Name
	for i, c := range v.conns {
		if i%16 == 15 {
			runtime.Gosched()
		}
		if v.over() {
			return
		}
		r := v.rights[c.Conn]
		names = v.node.names.Revoked(c.Conn, names[:0])
		for _, n := range names {
			if r != nil && !r.May(rules.Subscribe, &n) {
				continue
			}
			ids, first, _ := v.node.names.Restore(c.Conn, n, toldIDs)
			if m := v.node.peerMesh(); first && m != nil {
				m.Touch(n, nil, 0)
			}
			if len(ids) > 0 {
				v.turned(turn{c.Conn, wire.NameText{Name: n, NoStrings: true}, ids, true})
			}
		}
	}
}

// names takes back the names that connections hold and may not. What peers hold is offers' affair.
func (v *review) names() {
	steps := 0
	v.node.names.Walk(math.MaxInt, func(e *table.Entry[Conn]) bool {
		for _, c := range e.Some {
			if steps++; steps%holderSlice == 0 {
				runtime.Gosched()
			}
			if r := v.rights[c]; r == nil || c.kind == table.Peer || r.May(rules.Subscribe, &e.Name) {
				continue
			}
			ids, last := v.node.names.Revoke(c, e.Name, toldIDs)
			if m := v.node.peerMesh(); last && m != nil {
				m.Touch(e.Name, nil, 0)
			}
			if last {
				v.node.control.nameChanged(c.kind, &e.Name)
			}
			if len(ids) > 0 {
				v.turned(turn{c, wire.NameText{Name: e.Name, Str: e.Str, NoStrings: !e.HasStr}, ids, false})
			}
		}
		return !v.over()
	})
}

// offers takes back what peers have offered and may not.
func (v *review) offers() {
	m := v.node.peers.mesh.Load()
	if m == nil {
		return
	}
	var at mesh.Review[Conn]
	for m.ReviewStep(&at, v.mayOffer, v.tookOffer) {
		if v.over() {
			m.EndReview(&at)
			return
		}
		if len(v.told) >= toldSlice {
			v.tell()
		}
		runtime.Gosched()
	}
}

func (v *review) mayOffer(c *Conn, n *wire.Name) bool {
	r := v.rights[c]
	return r == nil || r.May(rules.Subscribe, n)
}

// tookOffer is called with the mesh's mutex held.
func (v *review) tookOffer(c *Conn, n wire.NameText, id uint64) {
	v.told = append(v.told, turn{c, n, []uint64{id}, false})
}

func (v *review) turned(t turn) {
	v.told = append(v.told, t)
	if len(v.told) >= toldSlice {
		v.tell()
	}
}

// tell has connections told of what they hold no more, or again.
func (v *review) tell() {
	for len(v.told) > 0 {
		batch := v.told[:min(len(v.told), toldSlice)]
		v.told = v.told[len(batch):]
		_ = v.node.onLoops(v.node.ending, func(l *loop) {
			for i := range batch {
				if t := &batch[i]; t.conn.loop == l {
					t.conn.turned(t)
				}
			}
		})
	}
	v.told = nil
}

// turned tells the peer of c that it is no longer subscribed to a name, or is again, as far as the protocol has a way: an acknowledgement
// of the subscription, which upstream's programs ignore (P-sub-5).
func (c *Conn) turned(t *turn) {
	defer c.guard()
	if c.state != active {
		return
	}
	l := c.loop
	name, reason := kept(t.name.String()), ""
	if t.given {
		c.decided(true, &auth.Event{Act: auth.ActSubscribe, Name: name, Reason: "it was taken back, and the rules have changed"})
	} else {
		l.n.refuse(ReasonDenied)
		err := &denial{"not allowed any more to subscribe to " + name}
		reason = err.Error()
		c.decided(false, &auth.Event{Act: auth.ActSubscribe, Name: name, Reason: "it was allowed, and the rules have changed"})
		if c.logged.first(ReasonDenied) {
			c.refused(ReasonDenied, err)
			c.say(slog.LevelWarn, logTopic(ReasonDenied), "subscription taken back", "reason", ReasonDenied.String(), "name", name)
		}
	}
	if c.kind == table.Peer {
		return // it counts acknowledgements
	}
	for _, id := range t.ids {
		if id != 0 && c.q.control < newsBacklog {
			l.small = wire.AppendAck(l.small[:0], id, t.given, reason)
			c.sendOwn(l.small, false)
		}
	}
}

package mesh

import (
	"slices"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// key identifies a route on all nodes.
type key struct {
	name wire.Name
	id   uint64
}

// route is a name under the id with which it travels.
//
//	ttl == 0  <=>  the node does not hold the route: nobody here does, and no offer is in use
//	local  =>  parent == nil: what comes back from peers is an echo
type route[C any] struct {
	key
	str    [3]string // if hasStr; without, the route is told to nobody: upstream breaks on such a name
	hasStr bool
	local  bool       // somebody here who is no peer holds the name
	ttl    uint8      // with which it is told
	near   uint8      // highest ttl since the node last knew nothing of the route; offers below may be echoes
	held   uint32     // tick until which offers below near rest; 0: they do not
	parent *peer[C]   // whose offer is in use, that is, in the table
	form   bool       // HasID of the table's entry
	offers []offer[C] // one for each peer at most
	marks  []uint8    // by slot, short if the rest is 0
	queued int        // marks with queued
}

// offer is what a peer has told.
type offer[C any] struct {
	from  *peer[C]
	ttl   uint8 // 1..7, decremented
	hasID bool
}

// A mark is the TTL with which a peer was told a route last, 0 if it was not or that was withdrawn, and flags.
const (
	toldMask = 1<<4 - 1
	again    = 1 << 6 // it is to be told once more
	queued   = 1 << 7 // the route is in the peer's queue
)

// hold is the end of a route's rest.
type hold[C any] struct {
	r   *route[C]
	due uint32
}

func (m *Mesh[C]) newRoute(n wire.Name, id uint64) *route[C] {
	r := &route[C]{key: key{n, id}}
	m.routes[r.key] = r
	m.ids[id]++
	return r
}

// forget drops a route that nobody offers and no peer has been told.
func (m *Mesh[C]) forget(r *route[C]) {
	if r.local || len(r.offers) > 0 || r.queued > 0 || r.parent != nil || m.routes[r.key] != r {
		return
	}
	for _, k := range r.marks {
		if k&toldMask != 0 {
			return
		}
	}
	delete(m.routes, r.key)
	if m.local[r.name] == r {
		delete(m.local, r.name)
	}
	if m.ids[r.id]--; m.ids[r.id] == 0 {
		delete(m.ids, r.id)
	}
}

// setText finds the strings of r's name, in the table or in str.
func (m *Mesh[C]) setText(r *route[C], str [3]string, hasStr bool) {
	if s, ok := m.names.Strings(r.name.C); ok {
		r.str, r.hasStr = s, true
	} else if hasStr {
		r.str, r.hasStr = str, true
	}
	if len(r.str[0])+len(r.str[1])+len(r.str[2]) > maxText {
		r.str, r.hasStr = [3]string{}, false
	}
}

func (r *route[C]) offerOf(p *peer[C]) *offer[C] {
	for i := range r.offers {
		if r.offers[i].from == p {
			return &r.offers[i]
		}
	}
	return nil
}

// dropOffer tells whether there was one.
func (r *route[C]) dropOffer(p *peer[C]) bool {
	n := len(r.offers)
	r.offers = slices.DeleteFunc(r.offers, func(o offer[C]) bool { return o.from == p })
	if len(r.offers) == n {
		return false
	}
	p.offers--
	if p.alias[r.name] == r.id {
		delete(p.alias, r.name)
	}
	return true
}

func (r *route[C]) told(p *peer[C]) uint8 {
	if p.slot >= len(r.marks) {
		return 0
	}
	return r.marks[p.slot] & toldMask
}

// settle draws the consequences of any change of r: the table, what peers are to be told, the end of r.
func (m *Mesh[C]) settle(r *route[C]) {
	var o *offer[C]
	switch {
	case r.local:
		r.held = 0
	default:
		o = r.nearest()
		switch {
		case o != nil:
			r.held = 0
		case r.near == 0:
		case !r.offered():
			r.near, r.held = 0, 0
		case r.held == 0:
			r.held = m.tick + holdTicks
			m.holds.push(hold[C]{r, r.held})
		}
	}
	m.use(r, o)
	for _, p := range m.slots {
		if p != nil {
			m.mark(r, p)
		}
	}
	m.forget(r)
}

// nearest returns the offer to use: the nearest of those that cannot be echoes and the one that is in use, which
// is kept if none is better.
func (r *route[C]) nearest() *offer[C] {
	var best *offer[C]
	for i := range r.offers {
		o := &r.offers[i]
		if o.from.gone || o.ttl < r.near && o.from != r.parent {
			continue
		}
		if best == nil || o.ttl > best.ttl || o.ttl == best.ttl && o.from == r.parent {
			best = o
		}
	}
	return best
}

// offered reports whether a live peer offers r.
func (r *route[C]) offered() bool {
	return slices.ContainsFunc(r.offers, func(o offer[C]) bool { return !o.from.gone })
}

// use makes o the table's entry for r, nil for none.
func (m *Mesh[C]) use(r *route[C], o *offer[C]) {
	old, form := r.parent, r.form
	r.parent, r.ttl = nil, 0
	switch {
	case r.local:
		r.ttl = m.ownTTL()
	case o != nil:
		r.parent, r.form, r.ttl = o.from, o.hasID, o.ttl
	}
	r.near = max(r.near, r.ttl)
	if r.parent == old {
		r.form = form
		return
	}
	if r.parent != nil { // first the new: no message shall find nobody
		_, _ = m.names.Add(r.parent.conn, table.Peer, table.Key{Name: r.name, HasID: r.form}, r.id, r.str, r.hasStr)
	}
	if old != nil && !old.gone {
		_, _ = m.names.Remove(old.conn, table.Key{Name: r.name, HasID: form}, r.id)
	}
}

func (m *Mesh[C]) ownTTL() uint8 {
	if m.opt.Relay {
		return relayTTL
	}
	return fullMeshTTL
}

// want is the TTL with which p should know r, 0 if it should not.
func (m *Mesh[C]) want(r *route[C], p *peer[C]) uint8 {
	switch {
	case p.gone || !r.hasStr:
		return 0
	case r.local:
		return r.ttl
	case !m.opt.Relay || r.parent == p || r.ttl < 2: // who decrements 1 drops it
		return 0
	}
	return r.ttl
}

// mark queues r for p if p should know something else than it was told.
func (m *Mesh[C]) mark(r *route[C], p *peer[C]) {
	want := m.want(r, p)
	switch {
	case p.gone:
		return
	case p.slot >= len(r.marks):
		if want == 0 {
			return
		}
		r.marks = append(r.marks, make([]uint8, p.slot+1-len(r.marks))...)
	}
	k := &r.marks[p.slot]
	if *k&queued != 0 || *k&toldMask == want && *k&again == 0 {
		return
	}
	*k |= queued
	r.queued++
	p.queue.push(r)
	if pe := p.pends[r.id]; pe != nil {
		pe.open++
	}
	if !p.poked {
		p.poked = true
		m.hooks.Poke(p.conn)
	}
}

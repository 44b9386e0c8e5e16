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
	ttl    uint8      // with which it is held
	near   uint8      // highest ttl since the node last knew nothing of the route; offers below may be echoes
	form   bool       // HasID of the table's entry
	held   uint32     // tick until which offers below near rest; 0: they do not
	own    int        // bytes of str that are kept for this route alone
	parent *peer[C]   // whose offer is in use, that is, in the table
	offers []offer[C] // one for each peer at most
	probe  *probe[C]  // nil: it is none
	marks  []uint8    // by slot, short if the rest is 0

	// What peers should know: the TTL, 0 for nothing; not told to the parent.
	news    uint8
	but     *peer[C] // the parent, if news is not 0
	fresh   bool     // a mark has again
	awaited bool     // somebody waits, or did, until peers know of it

	prev, next *route[C] // in the list of changes
}

// offer is what a peer has told.
type offer[C any] struct {
	from  *peer[C]
	ttl   uint8 // 1..7, of a probe 1..17: decremented
	hasID bool
}

// doubted is higher than any TTL: the near of a probe whose way here was lost, in whole or in part. Nodes of upstream's do not pass on
// that a way has become longer, so that an echo that comes by them would never end. So it is withdrawn from all, and nothing is an
// offer until that news has had its time. Rules: P-loop-5.
const doubted = 1<<8 - 1

// A mark is the TTL with which a peer was told a route last, 0 if it was not or that was withdrawn, and a flag.
const (
	toldMask = 1<<6 - 1
	again    = 1 << 6 // it is to be told once more
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
	m.link(r)
	return r
}

// forget drops a route that nobody offers and no peer has been told, and reports whether it did.
func (m *Mesh[C]) forget(r *route[C]) bool {
	if r.local || len(r.offers) > 0 || r.parent != nil || r.held != 0 || m.routes[r.key] != r {
		return false
	}
	for _, k := range r.marks {
		m.steps++
		if k&toldMask != 0 {
			return false
		}
	}
	if r.awaited { // of those who wait until peers know, nobody need wait any more
		for _, p := range m.slots {
			if m.steps++; p != nil {
				m.passed(p, r.id, false)
			}
		}
	}
	m.unlink(r)
	m.opt.Budget.Count(0, -r.own)
	m.textBytes -= r.own
	delete(m.routes, r.key)
	if m.local[r.name] == r {
		delete(m.local, r.name)
	}
	if m.ids[r.id]--; m.ids[r.id] == 0 {
		delete(m.ids, r.id)
	}
	return true
}

// text is the strings of a name, if they are known, and how many bytes of them the table does not hold anyway.
type text struct {
	str   [3]string
	known bool
	own   int
}

// textOf finds the strings of n, in the table or in str.
func (m *Mesh[C]) textOf(n *wire.Name, str [3]string, hasStr bool) text {
	s, ok := m.names.Strings(n.C)
	size := len(s[0]) + len(s[1]) + len(s[2])
	if ok && size <= maxText {
		return text{s, true, 0}
	}
	size = len(str[0]) + len(str[1]) + len(str[2])
	if hasStr && size <= maxText {
		return text{str, true, size}
	}
	return text{}
}

func (m *Mesh[C]) setText(r *route[C], x text) {
	if x.known && !r.hasStr {
		r.str, r.hasStr, r.own = x.str, true, x.own
	}
}

func (m *Mesh[C]) offerOf(r *route[C], p *peer[C]) *offer[C] {
	for i := range r.offers {
		if m.steps++; r.offers[i].from == p {
			return &r.offers[i]
		}
	}
	return nil
}

// dropOffer tells whether there was one.
func (m *Mesh[C]) dropOffer(r *route[C], p *peer[C]) bool {
	o := m.offerOf(r, p)
	if o == nil {
		return false
	}
	last := &r.offers[len(r.offers)-1]
	*o, *last = *last, offer[C]{}
	r.offers = r.offers[:len(r.offers)-1]
	m.opt.Budget.Count(-1, 0)
	m.offers--
	p.offers--
	if r.probe != nil {
		p.probes--
	}
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
		if r.probe != nil && r.parent != nil && (r.parent.gone || m.offerOf(r, r.parent) == nil) {
			r.near = doubted
		}
		o = m.nearest(r)
		switch {
		case o != nil:
			r.held = 0
		case r.near == 0:
		case r.near != doubted && !r.offered():
			r.near, r.held = 0, 0
		case r.held == 0:
			r.held = m.tick + holdTicks
			m.holds.push(hold[C]{r, r.held})
		}
	}
	m.use(r, o)
	if r.probe != nil {
		m.cameBack(r)
	}
	if m.forget(r) {
		return
	}
	var but *peer[C]
	news := m.news(r)
	if news != 0 {
		but = r.parent
	}
	if news != r.news || but != r.but || r.fresh {
		r.news, r.but, r.fresh = news, but, false
		m.changed(r)
	}
}

// news is the TTL with which peers should know r, 0 if they should not.
func (m *Mesh[C]) news(r *route[C]) uint8 {
	relays := m.opt.Relay || r.probe != nil              // a loop of those who relay may lead through those who do not
	if !r.hasStr || !r.local && (!relays || r.ttl < 2) { // who decrements 1 drops it
		return 0
	}
	return r.ttl
}

// nearest returns the offer to use: the nearest of those that cannot be echoes and the one that is in use, which
// is kept if none is better.
func (m *Mesh[C]) nearest(r *route[C]) *offer[C] {
	var best *offer[C]
	for i := range r.offers {
		o := &r.offers[i]
		m.steps++
		if !r.usable(o) || r.near == doubted || o.ttl < r.near && o.from != r.parent {
			continue
		}
		if best == nil || o.ttl > best.ttl || o.ttl == best.ttl && o.from.before(best.from, r.parent) {
			best = o
		}
	}
	return best
}

// before reports whether an offer of p goes before an equal one of q: of two links to one node the younger, since the
// elder may be dead, else the link to the node whose offer is in use.
func (p *peer[C]) before(q, inUse *peer[C]) bool {
	if p.sameNode(q) {
		return p.born > q.born
	}
	return inUse != nil && (p == inUse || p.sameNode(inUse))
}

func (p *peer[C]) sameNode(q *peer[C]) bool { return p.node != "" && p.node == q.node }

// usable reports whether an offer of r is one of a live peer that does not stand by.
func (r *route[C]) usable(o *offer[C]) bool {
	return !o.from.gone && (o.from.guard.open || r.probe != nil)
}

// offered reports whether there is an offer that may be used.
func (r *route[C]) offered() bool {
	return slices.ContainsFunc(r.offers, func(o offer[C]) bool { return r.usable(&o) })
}

// use makes o the table's entry for r, nil for none.
func (m *Mesh[C]) use(r *route[C], o *offer[C]) {
	old, form := r.parent, r.form
	r.parent, r.ttl = nil, 0
	switch {
	case r.local:
		r.ttl = m.ownTTL(r)
	case o != nil:
		r.parent, r.form, r.ttl = o.from, o.hasID, o.ttl
	}
	r.near = max(r.near, r.ttl)
	switch {
	case r.probe != nil: // nobody publishes to it
		return
	case r.parent == old:
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

// ownTTL is the TTL with which a node tells its own routes.
func (m *Mesh[C]) ownTTL(r *route[C]) uint8 {
	if m.opt.Relay {
		return r.mostTTL()
	}
	return fullMeshTTL
}

// mostTTL is the highest TTL with which a route is told.
func (r *route[C]) mostTTL() uint8 {
	if r.probe != nil {
		return probeTTL
	}
	return relayTTL
}

// want is the TTL with which p should know r, 0 if it should not.
func (r *route[C]) want(p *peer[C]) uint8 {
	switch {
	case p.gone || p == r.but:
		return 0
	case r.probe != nil:
		if !r.probe.goes(p) {
			return 0
		}
	case !p.guard.open:
		return 0
	}
	return r.news
}

// differs reports whether p should know something else than it was told.
func (r *route[C]) differs(p *peer[C]) bool {
	want := r.want(p)
	if p.slot >= len(r.marks) {
		return want != 0
	}
	k := r.marks[p.slot]
	return k&toldMask != want || k&again != 0 && want != 0
}

// note makes told the mark of p.
func (r *route[C]) note(p *peer[C], told uint8) {
	if p.slot >= len(r.marks) {
		if told == 0 {
			return
		}
		r.marks = append(r.marks, make([]uint8, p.slot+1-len(r.marks))...)
	}
	switch was := r.marks[p.slot] & toldMask; {
	case r.probe != nil:
	case was == 0 && told != 0:
		p.told++
	case was != 0 && told == 0:
		p.told--
	}
	r.marks[p.slot] = told
}

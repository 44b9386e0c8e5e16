package mesh

import (
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// key identifies a route on all nodes.
type key struct {
	name wire.Name
	id   uint64
}

// route is a name under the id with which it travels. It fills 96 bytes: nodes have as many as all others have names.
//
//	ttl == 0  <=>  the node does not hold the route: nobody here does, and no offer is in use
//	local  =>  parent == 0: what comes back from peers is an echo
type route[C any] struct {
	key
	text       *table.Text // nil: not known. Then the route is told to nobody: upstream breaks on such a name
	prev, next *route[C]   // in the list of changes
	more       *more[C]    // nil: nothing

	held   uint32 // tick until which offers below near rest; 0: they do not
	parent uint16 // 1 + the slot of the peer whose offer is in use, that is, in the table; 0: none
	first  offer  // of several one, and the zero offer if there is none
	ttl    uint8  // with which it is held
	near   uint8  // highest ttl since the node last knew nothing of the route; offers below may be echoes
	news   uint8  // the TTL that peers but the parent should know, 0 for nothing
	flags
	marks [4]mark // of the first slots
}

// more is what most routes do without.
type more[C any] struct {
	offers []offer   // but the first; one for each peer at most
	marks  []mark    // of the slots that have none in the route, short if the rest is 0
	probe  *probe[C] // nil: the route is none
}

// flags of a route.
type flags uint8

const (
	local   flags = 1 << iota // somebody here who is no peer holds the name
	fresh                     // a mark has again
	awaited                   // somebody waits, or did, until peers know of it
	ownText                   // text is counted: the table did not have it
)

func (f flags) is(x flags) bool { return f&x != 0 }

func (f *flags) set(x flags, on bool) {
	if *f &^= x; on {
		*f |= x
	}
}

// offer is what a peer has told.
type offer struct {
	slot uint8 // of the peer, which keeps it as long as there are offers of it
	ttl  uint8 // 1..7, of a probe 1..17: decremented; 0: there is no offer
}

// by is the peer whose offer o is.
func (m *Mesh[C]) by(o *offer) *peer[C] { return m.slots[o.slot] }

// offers is the number of offers of r.
func (r *route[C]) offers() int {
	switch {
	case r.first.ttl == 0:
		return 0
	case r.more == nil:
		return 1
	default:
		return 1 + len(r.more.offers)
	}
}

// offer is one of them, valid until there is another or one less.
func (r *route[C]) offer(i int) *offer {
	if i == 0 {
		return &r.first
	}
	return &r.more.offers[i-1]
}

// addOffer adds one of p, whose TTL is yet to be set.
func (r *route[C]) addOffer(p *peer[C]) *offer {
	o := offer{slot: uint8(p.slot), ttl: 1}
	if r.offers() == 0 {
		r.first = o
		return &r.first
	}
	x := r.extra()
	x.offers = append(x.offers, o)
	return &x.offers[len(x.offers)-1]
}

// extra is more, to be changed.
func (r *route[C]) extra() *more[C] {
	if r.more == nil {
		r.more = &more[C]{}
	}
	return r.more
}

func (r *route[C]) probe() *probe[C] {
	if r.more == nil {
		return nil
	}
	return r.more.probe
}

// str is the strings of the name, if they are known.
func (r *route[C]) str() (s [3]string) {
	if r.text != nil {
		s = r.text.Parts()
	}
	return s
}

// from reports whether the offer of p is in use.
func (r *route[C]) from(p *peer[C]) bool { return int(r.parent) == p.slot+1 }

// parentOf is the peer whose offer is in use, or nil.
func (m *Mesh[C]) parentOf(r *route[C]) *peer[C] {
	if r.parent == 0 {
		return nil
	}
	return m.slots[r.parent-1]
}

// doubted is higher than any TTL: the near of a probe whose way here was lost, in whole or in part. Nodes of upstream's do not pass on
// that a way has become longer, so that an echo that comes by them would never end. So it is withdrawn from all, and nothing is an
// offer until that news has had its time. Rules: P-loop-5.
const doubted = 1<<8 - 1

// A mark is the TTL with which a peer was told a route last, 0 if it was not or that was withdrawn, and a flag.
type mark = uint8

const (
	toldMask = 1<<6 - 1
	again    = 1 << 6 // it is to be told once more
)

// marked is the mark of the peer in a slot.
func (r *route[C]) marked(slot int) mark {
	if slot < len(r.marks) {
		return r.marks[slot]
	}
	if slot -= len(r.marks); r.more != nil && slot < len(r.more.marks) {
		return r.more.marks[slot]
	}
	return 0
}

// mark sets it.
func (r *route[C]) mark(slot int, k mark) {
	if slot < len(r.marks) {
		r.marks[slot] = k
		return
	}
	if r.marked(slot) == k {
		return
	}
	slot -= len(r.marks)
	x := r.extra()
	if missing := slot + 1 - len(x.marks); missing > 0 {
		x.marks = append(x.marks, make([]mark, missing)...)
	}
	x.marks[slot] = k
}

// hold is the end of a route's rest.
type hold[C any] struct {
	r   *route[C]
	due uint32
}

func (m *Mesh[C]) newRoute(n wire.Name, id uint64) *route[C] {
	r := &route[C]{key: key{n, id}}
	m.routes.add(r)
	m.link(r)
	return r
}

// forget drops a route that nobody offers and no peer has been told, and reports whether it did.
func (m *Mesh[C]) forget(r *route[C]) bool {
	if r.is(local) || r.offers() > 0 || r.parent != 0 || r.held != 0 || m.routes.find(r.name, r.id) != r {
		return false
	}
	for _, k := range r.marks {
		if k&toldMask != 0 {
			return false
		}
	}
	if r.more != nil {
		for _, k := range r.more.marks {
			m.steps++
			if k&toldMask != 0 {
				return false
			}
		}
	}
	if r.is(awaited) { // of those who wait until peers know, nobody need wait any more
		for _, p := range m.slots {
			if m.steps++; p != nil {
				m.passed(p, r.id, false)
			}
		}
	}
	m.unlink(r)
	own := r.own()
	m.opt.Budget.Count(0, -own)
	m.textBytes -= own
	m.routes.remove(r)
	if m.local[r.name] == r {
		delete(m.local, r.name)
	}
	return true
}

// own is how many bytes of strings are kept for r alone.
func (r *route[C]) own() int {
	if r.is(ownText) {
		return r.text.Len()
	}
	return 0
}

// text is the strings of a name, nil if they are not known, and how many bytes of them the table does not hold anyway.
type text struct {
	*table.Text
	own int
}

// textOf finds the strings of n, in the table or in str.
func (m *Mesh[C]) textOf(n *wire.Name, str [3]string, hasStr bool) text {
	if x := m.names.Text(n.C); x != nil && x.Len() <= maxText {
		return text{x, 0}
	}
	size := len(str[0]) + len(str[1]) + len(str[2])
	if hasStr && size <= maxText {
		return text{table.NewText(str), size}
	}
	return text{}
}

func (m *Mesh[C]) setText(r *route[C], x text) {
	if r.text == nil {
		r.text = x.Text
		r.set(ownText, x.own > 0)
	}
}

func (m *Mesh[C]) offerOf(r *route[C], p *peer[C]) *offer {
	for i := range r.offers() {
		if m.steps++; m.by(r.offer(i)) == p {
			return r.offer(i)
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
	last := r.offer(r.offers() - 1)
	*o, *last = *last, offer{}
	if x := r.more; x != nil && len(x.offers) > 0 {
		if x.offers = x.offers[:len(x.offers)-1]; len(x.offers) == 0 {
			x.offers = nil
		}
	}
	m.opt.Budget.Count(-1, 0)
	m.offers--
	p.offers--
	if r.probe() != nil {
		p.probes--
	}
	if p.alias[r.name] == r.id {
		delete(p.alias, r.name)
	}
	return true
}

func (r *route[C]) told(p *peer[C]) uint8 {
	return r.marked(p.slot) & toldMask
}

// settle draws the consequences of any change of r: the table, what peers are to be told, the end of r.
func (m *Mesh[C]) settle(r *route[C]) {
	var o *offer
	before := r.but()
	switch {
	case r.is(local):
		r.held = 0
	default:
		if p := m.parentOf(r); r.probe() != nil && p != nil && (p.gone || m.offerOf(r, p) == nil) {
			r.near = doubted
		}
		o = m.nearest(r)
		switch {
		case o != nil:
			r.held = 0
		case r.near == 0:
		case r.near != doubted && !m.offered(r):
			r.near, r.held = 0, 0
		case r.held == 0:
			r.held = m.tick + holdTicks
			m.holds.push(hold[C]{r, r.held})
		}
	}
	m.use(r, o)
	if r.probe() != nil {
		m.cameBack(r)
	}
	if m.forget(r) {
		return
	}
	news := m.news(r)
	changed := news != r.news || r.is(fresh)
	r.news = news
	if changed || r.but() != before {
		r.set(fresh, false)
		m.changed(r)
	}
}

// but is the parent if it is not told what peers should know, as everyone else.
func (r *route[C]) but() uint16 {
	if r.news == 0 {
		return 0
	}
	return r.parent
}

// news is the TTL with which peers should know r, 0 if they should not.
func (m *Mesh[C]) news(r *route[C]) uint8 {
	relays := m.opt.Relay || r.probe() != nil                    // a loop of those who relay may lead through those who do not
	if r.text == nil || !r.is(local) && (!relays || r.ttl < 2) { // who decrements 1 drops it
		return 0
	}
	return r.ttl
}

// nearest returns the offer to use: the nearest of those that cannot be echoes and the one that is in use, which
// is kept if none is better.
func (m *Mesh[C]) nearest(r *route[C]) *offer {
	var best *offer
	for i := range r.offers() {
		o := r.offer(i)
		m.steps++
		if !m.usable(r, o) || r.near == doubted || o.ttl < r.near && !r.from(m.by(o)) {
			continue
		}
		if best == nil || o.ttl > best.ttl || o.ttl == best.ttl && m.by(o).before(m.by(best), m.parentOf(r)) {
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
func (m *Mesh[C]) usable(r *route[C], o *offer) bool {
	p := m.by(o)
	return !p.gone && (p.guard.open || r.probe() != nil)
}

// anyOffer returns the first offer that may be used, or nil.
func (m *Mesh[C]) anyOffer(r *route[C]) *offer {
	for i := range r.offers() {
		if o := r.offer(i); m.usable(r, o) {
			return o
		}
	}
	return nil
}

// offered reports whether there is an offer that may be used.
func (m *Mesh[C]) offered(r *route[C]) bool { return m.anyOffer(r) != nil }

// use makes o the table's entry for r, nil for none.
func (m *Mesh[C]) use(r *route[C], o *offer) {
	old := m.parentOf(r)
	r.parent, r.ttl = 0, 0
	switch {
	case r.is(local):
		r.ttl = m.ownTTL(r)
	case o != nil:
		r.parent, r.ttl = uint16(o.slot)+1, o.ttl
	}
	r.near = max(r.near, r.ttl)
	now := m.parentOf(r)
	switch {
	case r.probe() != nil, now == old: // nobody publishes to a probe
		return
	}
	if now != nil { // first the new: no message shall find nobody
		m.names.Enter(now.conn, table.Peer, r.name, r.text)
	}
	if old != nil {
		m.names.Leave(old.conn, r.name)
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
	if r.probe() != nil {
		return probeTTL
	}
	return relayTTL
}

// want is the TTL with which p should know r, 0 if it should not.
func (r *route[C]) want(p *peer[C]) uint8 {
	b := r.probe()
	switch {
	case p.gone || r.from(p):
		return 0
	case b != nil:
		if !b.goes(p) {
			return 0
		}
	case !p.guard.open:
		return 0
	}
	return r.news
}

// differs reports whether p should know something else than it was told.
func (r *route[C]) differs(p *peer[C]) bool {
	want, k := r.want(p), r.marked(p.slot)
	return k&toldMask != want || k&again != 0 && want != 0
}

// note makes told the mark of p.
func (r *route[C]) note(p *peer[C], told uint8) {
	switch was := r.told(p); {
	case r.probe() != nil:
	case was == 0 && told != 0:
		p.told++
	case was != 0 && told == 0:
		p.told--
	}
	r.mark(p.slot, told)
}

package mesh

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// TTLs with which a node tells its own routes (P-peer-1), and with which it withdraws any.
const (
	relayTTL    = 8
	fullMeshTTL = 2
)

const (
	// MaxPeers bounds the peer links of a node; each costs a byte for each route it was told.
	MaxPeers = 256

	holdTicks = 2
	portion   = 64       // steps of long work, after which it lets others have the mutex
	maxText   = 16 << 10 // bytes of a name's strings that are worth telling
)

// Errors of Join and Offer.
var (
	ErrPeers = errors.New("too many peer links")
	ErrGone  = errors.New("the peer link has ended")
)

// Options say what kind of mesh a node is part of.
type Options struct {
	// Relay passes on to each peer what the others tell: links made by hand, in any shape. Without it every node is
	// linked with every other (a peers section) and tells only its own.
	Relay bool
	// Guard, with Relay, keeps links from closing a loop (P-loop).
	Guard bool
	// Budget counts and bounds what peers tell; nil: no limits.
	Budget *table.Budget
	// NodeID is the node's name among its peers; together with a name it makes the id of the node's route.
	NodeID string
}

// Hooks are called with the mesh's mutex held: they must not block and not call the mesh.
type Hooks[C any] struct {
	// Poke says that Next has something for peer p. It is not called again before Next.
	Poke func(p *C)
	// Gate says that what peer p publishes may pass from now on, if open, or may not, since its link would close a loop, which
	// goes on through the node of that id. RegateStep is to be called until there is no more. nil without Guard.
	Gate func(p *C, open bool, through string)
	// Double says that two links to one node id are open, and have been for a while. May be nil.
	Double func(p, q *C)
	// Done says that all peers know what Touch, Offer or Withdraw with this c and ack was to tell them, or that they
	// had their time. last: that was the end of a subscription.
	Done func(c *C, ack uint64, last bool)
}

// Mesh is what one node knows of its peers. Safe for all.
type Mesh[C any] struct {
	names *table.Table[C]
	opt   Options
	hooks Hooks[C]
	count atomic.Int32 // of live peers; changed under mu

	portion int    // steps of long work in one hold. Immutable
	self    uint64 // the node's number in probes. Immutable

	mu    sync.Mutex // taken with lock
	steps int        // of work in this hold
	most  int        // of work in any hold; bounded

	of         map[*C]*peer[C] // live peers
	slots      []*peer[C]      // by slot; nil: free. A peer that left keeps its slot until it is swept
	joins      uint64          // of all time
	life       uint64          // times that the first peer came
	filled     bool            // Fill has begun in this life
	full       bool            // and ended
	changes[C]                 // all routes
	entered    remains[C]      // routes of earlier lives that are in the table yet
	routes     index[C]
	local      map[wire.Name]*route[C] // those that are, or lately were, local
	offers     int                     // of all peers, counted in the budget
	textBytes  int                     // bytes of strings that routes keep for themselves, counted in the budget
	tick       uint32
	holds      fifo[hold[C]]
	waits      int // of peers by clients, in all
	newcomers  newcomers
	reviews    []*Review[C] // that have begun and not ended
}

// peer is one peer link.
type peer[C any] struct {
	conn    *C
	node    string // its node id; empty: not known
	born    uint64 // it was the born-th to join
	joined  uint32 // tick at which it did
	doubled bool   // it was said that there is another link to its node id
	slot    int
	gone    bool                 // it has left: nothing is told to it, and the table is no affair of ours
	poked   bool                 // Next will be called
	at      *route[C]            // where it, or its sweep, stands in the list of changes; nil: at the end
	offers  int                  // routes it offers, probes among them
	probes  int                  // probes it offers
	told    int                  // routes it was told and not withdrawn, without probes
	synced  time.Duration        // how old the link was when it had first been told all; 0: not yet
	alias   map[wire.Name]uint64 // route ids of names that it told with id 0
	answers answers[C]           // that it owes
	weight  weight               // of its link
	guard   guard[C]
}

// New returns a mesh without peers. Routes of peers are entered into names by the mesh alone.
func New[C any](names *table.Table[C], o Options, h Hooks[C]) *Mesh[C] {
	m := &Mesh[C]{names: names, opt: o, hooks: h, portion: portion, self: nodeNumber(o.NodeID), of: map[*C]*peer[C]{}}
	m.reset()
	return m
}

// reset forgets all routes; there is no live peer.
func (m *Mesh[C]) reset() {
	m.opt.Budget.Count(-m.offers, -m.textBytes)
	m.entered.take(&m.changes)
	m.offers, m.textBytes = 0, 0
	m.changes = changes[C]{}
	for _, v := range m.reviews {
		v.at = nil
	}
	m.routes = index[C]{}
	m.local = map[wire.Name]*route[C]{}
	m.holds = fifo[hold[C]]{}
	for _, p := range m.slots { // those that left have nothing to be swept
		if p != nil {
			p.at, p.offers, p.probes = nil, 0, 0
		}
	}
}

// lock and unlock delimit a hold of the mutex. Work adds its steps, so that a test can say that none takes many.
func (m *Mesh[C]) lock() {
	m.mu.Lock()
	m.steps = 0
}

func (m *Mesh[C]) unlock() {
	m.most = max(m.most, m.steps)
	m.mu.Unlock()
}

// Active reports whether there is a peer; without one, Touch and Lost need not be called. A name whose holder
// came or went in the table before Active was false is known to every later Fill.
func (m *Mesh[C]) Active() bool { return m.count.Load() > 0 }

// Join makes c, a link to the node of that id (empty: not known), a peer. Both ends know the link by that number; it serves
// Guard. Join must be followed by Fill, and in the end by Leave and SweepStep. If there is another live link to that node, older
// is the latest of them: it may be dead without knowing, as its node has dialled again, and c goes before it (P-peer-11). open
// is as in Hooks.Gate. The error is ErrPeers or nil.
func (m *Mesh[C]) Join(c *C, node string, link uint64) (older *C, open bool, err error) {
	m.lock()
	defer m.unlock()
	slot := 0
	for slot < len(m.slots) && m.slots[slot] != nil {
		slot++
	}
	switch {
	case slot == MaxPeers:
		return nil, false, ErrPeers
	case slot == len(m.slots):
		m.slots = append(m.slots, nil)
	}
	var born uint64
	for _, q := range m.slots {
		m.steps++
		if q != nil && !q.gone && node != "" && q.node == node && q.born > born {
			older, born = q.conn, q.born
		}
	}
	m.joins++
	p := &peer[C]{conn: c, node: node, born: m.joins, joined: m.tick, slot: slot, alias: map[wire.Name]uint64{}, weight: m.weigh(node, link)}
	p.guard = guard[C]{open: !m.guards() || len(m.of) == 0, since: m.tick, unacked: map[uint64]struct{}{}}
	p.answers.init()
	p.answers.until = m.newcomers.until
	m.slots[slot], m.of[c] = p, p
	if m.count.Add(1) == 1 {
		m.life++
		m.filled, m.full = false, false
	}
	if m.stand(p, m.first); p.at != nil || m.full { // who has nothing to be told is synced
		m.poke(p)
	}
	m.guardAll()
	return older, p.guard.open, nil
}

// Fill makes routes of the names that the table got while there was no peer; it returns at once if that is done. It
// takes time in proportion to the names of the node, without keeping others waiting; any goroutine but a loop's may
// run it.
func (m *Mesh[C]) Fill() {
	m.lock()
	life, todo := m.life, len(m.of) > 0 && !m.filled
	m.filled = true
	m.unlock()
	if !todo {
		return
	}
	names := make([]wire.Name, 0, m.portion)
	m.names.Range(table.All.Without(table.Peer), func(h table.Held) bool {
		names = append(names, h.Name)
		return len(names) < m.portion || m.fill(&names, life)
	})
	if !m.fill(&names, life) {
		return
	}
	m.lock()
	defer m.unlock()
	if m.life != life {
		return
	}
	m.full = true
	for _, p := range m.ended { // who has been told all there was did not know that this was all
		m.steps++
		m.poke(p)
	}
}

// fill touches names, in portions, and empties it. It reports whether the peers of that life are there yet.
func (m *Mesh[C]) fill(names *[]wire.Name, life uint64) bool {
	rest := *names
	for *names = rest[:0]; len(rest) > 0; runtime.Gosched() {
		m.lock()
		if m.life != life || len(m.of) == 0 {
			m.unlock()
			return false
		}
		for len(rest) > 0 && m.steps < m.portion {
			m.touch(rest[0])
			rest = rest[1:]
		}
		m.unlock()
	}
	return true
}

// Leave ends peer c: when it returns the mesh enters nothing into the table for c any more, so that the caller may
// remove c there.
func (m *Mesh[C]) Leave(c *C) {
	m.lock()
	defer m.unlock()
	p := m.of[c]
	if p == nil {
		return
	}
	m.owes(p)
	m.endReview(&p.guard.regate)
	delete(m.of, c)
	m.depart(p)
	p.gone, p.alias = true, nil
	m.endProbe(p)
	if m.count.Add(-1) == 0 {
		m.reset()
		return
	}
	m.stand(p, m.first)
	m.guardAll()
}

// SweepStep finishes Leave: after the caller has removed c from the table, nobody waits for c any more, and what c
// had told is withdrawn from the others or replaced by another peer's offer. It does a portion of that and reports
// whether there is more, in all in proportion to the routes.
func (m *Mesh[C]) SweepStep(c *C) (more bool) {
	m.lock()
	defer m.unlock()
	i := slices.IndexFunc(m.slots, func(q *peer[C]) bool { return q != nil && q.gone && q.conn == c })
	if i < 0 {
		return false
	}
	p := m.slots[i]
	m.release(p, m.portion)
	m.clear()
	for p.at != nil && m.steps < m.portion {
		r := p.at
		m.stand(p, r.next)
		m.steps++
		r.mark(p.slot, 0)
		if m.dropOffer(r, p) || r.from(p) {
			m.settle(r)
		} else {
			m.forget(r)
		}
	}
	if p.at != nil || p.answers.first != nil || m.entered.first != nil {
		return true
	}
	m.slots[i] = nil
	return false
}

// Touch is called after the table's entry of n by somebody other than a peer has changed, if Active. With ack not
// 0, the answer says whether Hooks.Done follows for c.
func (m *Mesh[C]) Touch(n wire.Name, c *C, ack uint64) (waits bool) {
	m.lock()
	defer m.unlock()
	r := m.touch(n)
	return r != nil && m.await(r, c, ack, !r.is(local))
}

// Lost is Touch for what a removed connection held. lost is borrowed.
func (m *Mesh[C]) Lost(lost []table.Lost) {
	for len(lost) > 0 && m.Active() {
		lost = m.lose(lost)
	}
}

// lose does a portion of lost and returns the rest.
func (m *Mesh[C]) lose(lost []table.Lost) []table.Lost {
	m.lock()
	defer m.unlock()
	for len(lost) > 0 && m.steps < m.portion {
		if lost[0].Last {
			m.touch(lost[0].Name)
		}
		lost = lost[1:]
	}
	return lost
}

// touch makes the local route of n what the table says. The result is nil if there is nothing to tell.
func (m *Mesh[C]) touch(n wire.Name) *route[C] {
	m.steps++
	if len(m.of) == 0 || IsProbe(&n) { // no application finds loops
		return nil
	}
	held := m.names.Kinds(&n)&^table.Only(table.Peer) != 0
	r := m.local[n]
	if r == nil {
		if !held {
			return nil
		}
		r = m.ownRoute(n)
		m.local[n] = r
	}
	r.set(local, held)
	if held && r.text == nil {
		m.setText(r, m.textOf(&n, [3]string{}, false))
	}
	m.settle(r)
	return r
}

// ownRoute makes the node's own route of n. Its id is the same in every life of the node: an upstream node that
// dials again after a restart keeps what it knew, and this is the only way to take that back.
func (m *Mesh[C]) ownRoute(n wire.Name) *route[C] {
	b := append([]byte(m.opt.NodeID), 0)
	for _, x := range [...]uint64{n.C[0], n.C[1], n.C[2], n.Hi, n.Lo} {
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	sum := sha256.Sum256(b)
	id := binary.LittleEndian.Uint64(sum[:])
	if r := m.routes.find(n, id); r != nil { // an echo of an earlier life
		return r
	}
	return m.newRoute(n, m.freeID(id))
}

// freeID returns id, or a random one if that is none or travels already.
func (m *Mesh[C]) freeID(id uint64) uint64 {
	for id == 0 || m.routes.count(id) > 0 {
		id = rand.Uint64()
	}
	return id
}

// Subscription is what a peer says in a Subscribe.
type Subscription struct {
	Key    table.Key
	ID     uint64    // subscription_id; 0: the peer wants no acknowledgement
	TTL    uint32    // as decremented here
	Str    [3]string // if HasStr; kept
	HasStr bool
}

// Offer is a Subscribe of peer c. waits says whether Hooks.Done follows for c and s.ID. Errors: *table.Full, ErrGone.
func (m *Mesh[C]) Offer(c *C, s *Subscription) (waits bool, err error) {
	m.lock()
	defer m.unlock()
	p := m.of[c]
	if p == nil {
		return false, ErrGone
	}
	n, id := s.Key.Name, s.ID
	var b *probe[C]
	if IsProbe(&n) {
		b = m.heeds(p, s)
		if b == nil {
			return false, nil
		}
	}
	if id == 0 { // replayed by upstream after a reconnect of its application: it gets an identity here
		if id = p.alias[n]; id == 0 {
			id = m.freeID(0)
		}
	}
	r := m.routes.find(n, id)
	var o *offer
	var x text
	if r != nil {
		o = m.offerOf(r, p)
	}
	if r == nil || r.text == nil {
		x = m.textOf(&n, s.Str, s.HasStr)
	}
	isNew := 0
	if o == nil {
		isNew = 1
	}
	if err := m.opt.Budget.Take(p.offers, isNew, x.own); err != nil {
		return false, err
	}
	if r == nil {
		r = m.newRoute(n, id)
		if b != nil {
			r.extra().probe = b
		}
	}
	if o == nil {
		if s.ID == 0 {
			p.alias[n] = id
		}
		p.offers++
		m.offers++
		if b != nil {
			p.probes++
		}
		o = r.addOffer(p)
	}
	o.ttl = uint8(min(max(s.TTL, 1), uint32(r.mostTTL())-1))
	m.textBytes += x.own
	m.setText(r, x)
	m.settle(r)
	return m.await(r, c, s.ID, false), nil
}

// Withdraw is an Unsubscribe of peer c. An id that c never used for the name means what c told with id 0, if it did
// (P-sub-6). found: c had told it. waits: Hooks.Done follows for c and id.
func (m *Mesh[C]) Withdraw(c *C, n wire.Name, id uint64) (found, waits bool) {
	m.lock()
	defer m.unlock()
	p := m.of[c]
	if p == nil {
		return false, false
	}
	r := m.routes.find(n, id)
	switch {
	case IsProbe(&n):
		if r == nil { // it was not heeded
			return true, false
		}
	case r == nil || m.offerOf(r, p) == nil:
		if r = m.routes.find(n, p.alias[n]); r == nil {
			return false, false
		}
	}
	m.dropOffer(r, p)
	// An upstream node that loses its way to a name forgets that others had offered it one.
	switch {
	case r.told(p) == 0:
	case r.probe() == nil || r.is(local):
		r.mark(p.slot, r.marked(p.slot)|again)
		r.set(fresh, true)
	case !p.guard.ours:
		r.near = doubted
	}
	m.settle(r)
	return true, m.await(r, c, id, true)
}

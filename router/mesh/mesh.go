package mesh

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// TTLs with which a node tells its own routes (dataplane.md section 7.1), and with which it withdraws any.
const (
	relayTTL    = 8
	fullMeshTTL = 2
)

const (
	// MaxPeers bounds the peer links of a node; each costs a byte for each route.
	MaxPeers = 256

	holdTicks = 2
	sweepStep = 256      // routes a long walk looks at before it lets others have the mutex
	maxText   = 16 << 10 // bytes of a name's strings that are worth telling
)

// Errors of Join and Offer.
var (
	ErrPeers  = errors.New("too many peer links")
	ErrOffers = errors.New("too many subscriptions on this connection")
	ErrGone   = errors.New("the peer link has ended")
)

// Options say what kind of mesh a node is part of.
type Options struct {
	// Relay passes on to each peer what the others tell: links made by hand, in any shape. Without it every node is
	// linked with every other (a peers section) and tells only its own.
	Relay bool
	// MaxOffers bounds what one peer may tell, in routes.
	MaxOffers int
	// NodeID is the node's name among its peers; together with a name it makes the id of the node's route.
	NodeID string
}

// Hooks are called with the mesh's mutex held: they must not block and not call the mesh.
type Hooks[C any] struct {
	// Poke says that Next has something for peer p. It is not called again before Next.
	Poke func(p *C)
	// Done says that all peers know what Touch, Offer or Withdraw with this c and ack was to tell them, or that they
	// had their time.
	Done func(c *C, ack uint64)
}

// Mesh is what one node knows of its peers. Safe for all.
type Mesh[C any] struct {
	names *table.Table[C]
	opt   Options
	hooks Hooks[C]
	count atomic.Int32 // of live peers; changed under mu

	mu     sync.Mutex
	of     map[*C]*peer[C] // live peers
	slots  []*peer[C]      // by slot; nil: free. A peer that left keeps its slot until it is swept
	routes map[key]*route[C]
	local  map[wire.Name]*route[C] // those that are, or lately were, local
	ids    map[uint64]int32        // number of routes with an id
	tick   uint32
	holds  fifo[hold[C]]
	waits  waitList[C]
}

// peer is one peer link.
type peer[C any] struct {
	conn   *C
	slot   int
	gone   bool // it has left: nothing is told to it, and the table is no affair of ours
	poked  bool
	queue  fifo[*route[C]]      // whose mark has queued
	offers int                  // routes it offers
	alias  map[wire.Name]uint64 // route ids of names that it told with id 0
	pends  map[uint64]*pend[C]  // by route id
}

// New returns a mesh without peers. Routes of peers are entered into names by the mesh alone.
func New[C any](names *table.Table[C], o Options, h Hooks[C]) *Mesh[C] {
	m := &Mesh[C]{names: names, opt: o, hooks: h, of: map[*C]*peer[C]{}}
	m.reset()
	return m
}

// reset forgets all routes.
func (m *Mesh[C]) reset() {
	m.routes = map[key]*route[C]{}
	m.local = map[wire.Name]*route[C]{}
	m.ids = map[uint64]int32{}
	m.holds = fifo[hold[C]]{}
}

// Active reports whether there is a peer; without one, Touch and Lost need not be called. A name whose holder
// came or went in the table before Active was false is known to every later Sync.
func (m *Mesh[C]) Active() bool { return m.count.Load() > 0 }

// Size is the number of routes, a measure for the work of Sync and Sweep.
func (m *Mesh[C]) Size() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.routes)
}

// Join makes c a peer. It must be followed by Sync, and in the end by Leave and Sweep. The error is ErrPeers or nil.
func (m *Mesh[C]) Join(c *C) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	slot := 0
	for slot < len(m.slots) && m.slots[slot] != nil {
		slot++
	}
	switch {
	case slot == MaxPeers:
		return ErrPeers
	case slot == len(m.slots):
		m.slots = append(m.slots, nil)
	}
	p := &peer[C]{conn: c, slot: slot, alias: map[wire.Name]uint64{}, pends: map[uint64]*pend[C]{}}
	m.slots[slot], m.of[c] = p, p
	m.count.Add(1)
	return nil
}

// Sync prepares all that peer c should know. It takes time in proportion to the names of the node, without keeping
// others waiting; any goroutine may run it.
func (m *Mesh[C]) Sync(c *C) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.of[c]
	if p == nil {
		return
	}
	n := 0
	for _, r := range m.routes {
		m.mark(r, p)
		if n++; n%sweepStep == 0 && m.breathe(p) {
			return
		}
	}
	// Names that nobody touched since the first peer came.
	batch := make([]wire.Name, 0, sweepStep)
	flush := func() bool {
		for i := range batch {
			m.touch(batch[i])
		}
		batch = batch[:0]
		return !m.breathe(p)
	}
	m.names.Range(table.All.Without(table.Peer), func(h table.Held) bool {
		batch = append(batch, h.Name)
		return len(batch) < sweepStep || flush()
	})
	flush()
}

// breathe lets others have the mutex, and reports whether p has left meanwhile.
func (m *Mesh[C]) breathe(p *peer[C]) bool {
	m.mu.Unlock()
	m.mu.Lock()
	return p.gone
}

// Leave ends peer c: when it returns the mesh enters nothing into the table for c any more, so that the caller may
// remove c there, and nobody waits for it.
func (m *Mesh[C]) Leave(c *C) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.of[c]
	if p == nil {
		return
	}
	delete(m.of, c)
	m.count.Add(-1)
	p.gone = true
	for _, pe := range p.pends {
		m.resolve(pe)
	}
	p.queue, p.alias = fifo[*route[C]]{}, nil
}

// Sweep finishes Leave: after the caller has removed c from the table, what c had told is withdrawn from the others
// or replaced by another peer's offer. It takes time in proportion to the routes, without keeping others waiting;
// any goroutine may run it.
func (m *Mesh[C]) Sweep(c *C) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var p *peer[C]
	for _, q := range m.slots {
		if q != nil && q.gone && q.conn == c {
			p = q
		}
	}
	if p == nil {
		return
	}
	n := 0
	for _, r := range m.routes {
		if p.slot < len(r.marks) {
			if r.marks[p.slot]&queued != 0 {
				r.queued--
			}
			r.marks[p.slot] = 0
		}
		if r.dropOffer(p) || r.parent == p {
			m.settle(r)
		} else {
			m.forget(r)
		}
		if n++; n%sweepStep == 0 {
			m.breathe(p)
		}
	}
	m.slots[p.slot] = nil
	for _, q := range m.slots {
		if q != nil {
			return
		}
	}
	m.reset()
}

// Touch is called after the table's entry of n by somebody other than a peer has changed, if Active. With ack not
// 0, the answer says whether Hooks.Done follows for c.
func (m *Mesh[C]) Touch(n wire.Name, c *C, ack uint64) (waits bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.touch(n)
	return r != nil && m.await(r, c, ack)
}

// Lost is Touch for what a removed connection held.
func (m *Mesh[C]) Lost(lost []table.Lost) {
	for len(lost) > 0 && m.Active() {
		n := min(len(lost), sweepStep)
		m.mu.Lock()
		for i := range lost[:n] {
			if lost[i].Last {
				m.touch(lost[i].Name)
			}
		}
		m.mu.Unlock()
		lost = lost[n:]
	}
}

// touch makes the local route of n what the table says. The result is nil if there is nothing to tell.
func (m *Mesh[C]) touch(n wire.Name) *route[C] {
	if len(m.of) == 0 {
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
	r.local = held
	if held && !r.hasStr {
		m.setText(r, [3]string{}, false)
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
	if r := m.routes[key{n, id}]; r != nil { // an echo of an earlier life
		return r
	}
	return m.newRoute(n, m.freeID(id))
}

// freeID returns id, or a random one if that is none or travels already.
func (m *Mesh[C]) freeID(id uint64) uint64 {
	for id == 0 || m.ids[id] > 0 {
		id = rand.Uint64()
	}
	return id
}

// Offer is a Subscribe of peer c with subscription id sid and TTL as decremented here. str is kept. With ack not 0,
// waits says whether Hooks.Done follows for c. Errors: ErrOffers, ErrGone.
func (m *Mesh[C]) Offer(c *C, k table.Key, sid uint64, ttl uint32, str [3]string, hasStr bool, ack uint64) (waits bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.of[c]
	if p == nil {
		return false, ErrGone
	}
	id := sid
	if id == 0 { // replayed by upstream after a reconnect of its application: it gets an identity here
		if id = p.alias[k.Name]; id == 0 {
			id = m.freeID(0)
		}
	}
	r := m.routes[key{k.Name, id}]
	var o *offer[C]
	if r != nil {
		o = r.offerOf(p)
	}
	if o == nil {
		if p.offers >= m.opt.MaxOffers {
			return false, ErrOffers
		}
		if r == nil {
			r = m.newRoute(k.Name, id)
		}
		if sid == 0 {
			p.alias[k.Name] = id
		}
		p.offers++
		r.offers = append(r.offers, offer[C]{from: p, hasID: k.HasID})
		o = &r.offers[len(r.offers)-1]
	}
	o.ttl = uint8(min(max(ttl, 1), relayTTL-1))
	if !r.hasStr {
		m.setText(r, str, hasStr)
	}
	m.settle(r)
	return m.await(r, c, ack), nil
}

// Withdraw is an Unsubscribe of peer c. An id that c never used for the name means what c told with id 0, if it did
// (dataplane.md section 11, 15). found: c had told it. waits as for Offer.
func (m *Mesh[C]) Withdraw(c *C, n wire.Name, sid, ack uint64) (found, waits bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.of[c]
	if p == nil {
		return false, false
	}
	r := m.routes[key{n, sid}]
	if r == nil || r.offerOf(p) == nil {
		if r = m.routes[key{n, p.alias[n]}]; r == nil {
			return false, false
		}
	}
	r.dropOffer(p)
	// An upstream node that loses its way to a name forgets that others had offered it one.
	if r.told(p) != 0 {
		r.marks[p.slot] |= again
	}
	m.settle(r)
	return true, m.await(r, c, ack)
}

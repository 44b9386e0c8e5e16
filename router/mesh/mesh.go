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

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// TTLs with which a node tells its own routes (dataplane.md section 7.1), and with which it withdraws any.
const (
	relayTTL    = 8
	fullMeshTTL = 2
)

const (
	// MaxPeers bounds the peer links of a node; each costs a byte for each route it was told.
	MaxPeers = 256

	holdTicks = 2
	portion   = 256      // steps after which long work lets others have the mutex
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
	// Budget counts and bounds what peers tell; nil: no limits.
	Budget *table.Budget
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

	mu    sync.Mutex // taken with lock
	steps int        // of work in this hold
	most  int        // of work in any hold; bounded

	of     map[*C]*peer[C] // live peers
	slots  []*peer[C]      // by slot; nil: free. A peer that left keeps its slot until it is swept
	joins  uint64          // of all time
	life   uint64          // times that the first peer came
	filled bool            // Fill has begun in this life
	changes[C]
	routes map[key]*route[C]
	local  map[wire.Name]*route[C] // those that are, or lately were, local
	ids    map[uint64]int32        // number of routes with an id
	tick   uint32
	holds  fifo[hold[C]]
	waits  int // of peers by clients, in all
}

// peer is one peer link.
type peer[C any] struct {
	conn    *C
	node    string // its node id; empty: not known
	born    uint64 // it was the born-th to join
	slot    int
	gone    bool                 // it has left: nothing is told to it, and the table is no affair of ours
	poked   bool                 // Next will be called
	at      *route[C]            // where it stands in the list of changes, nil: at the end. Once it is gone: where its sweep stands
	offers  int                  // routes it offers
	alias   map[wire.Name]uint64 // route ids of names that it told with id 0
	answers answers[C]           // that it owes
}

// New returns a mesh without peers. Routes of peers are entered into names by the mesh alone.
func New[C any](names *table.Table[C], o Options, h Hooks[C]) *Mesh[C] {
	m := &Mesh[C]{names: names, opt: o, hooks: h, of: map[*C]*peer[C]{}}
	m.reset()
	return m
}

// reset forgets all routes; there is no live peer.
func (m *Mesh[C]) reset() {
	used, text := 0, 0
	_ = used
	_ = text
	m.changes = changes[C]{}
	m.routes = map[key]*route[C]{}
	m.local = map[wire.Name]*route[C]{}
	m.ids = map[uint64]int32{}
	m.holds = fifo[hold[C]]{}
}

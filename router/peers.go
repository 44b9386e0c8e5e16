package router

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/mesh"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/router/transport"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/link"
)

// peering is a node's side of its peer links (P-peer). The zero value is a node without any.
type peering struct {
	ackDelay time.Duration // immutable after Start
	loops    bool          // links may close loops: for tests. Immutable after Start
	once     sync.Once
	mesh     atomic.Pointer[mesh.Mesh[Conn]] // nil until the first peer comes
}

// peerMesh returns the mesh, nil if no peer link is up: then nobody need be told anything.
func (n *Node) peerMesh() *mesh.Mesh[Conn] {
	if m := n.peers.mesh.Load(); m != nil && m.Active() {
		return m
	}
	return nil
}

// Peer is a peer link that is up.
type Peer struct {
	Node  string // the node id that its other end has said; "": none
	Conn  uint64 // Connection.ID
	Dials bool   // this node has opened it
	Age   time.Duration

	Learned int  // names that it tells
	Told    int  // names that it was told
	Behind  bool // there may be more to tell it
	Open    bool // what it publishes passes. Else the link stands by, or it is not known yet whether it should
	Standby bool // the link would close a loop of peers: nothing passes until that is broken elsewhere
	// Through is the node through which that loop goes on; "": not known.
	Through string
	// Synced is the age at which it had first been told all, 0 before that.
	Synced time.Duration
}

// Peers returns the peer links that are up, the oldest first.
func (n *Node) Peers() (out []Peer) {
	m := n.peerMesh()
	if m == nil {
		return nil
	}
	for _, p := range m.Peers() {
		c := p.Conn
		out = append(out, Peer{Node: kept(p.Node), Conn: c.id, Dials: c.dialed != nil, Age: c.age(),
			Learned: p.Learned, Told: p.Told, Behind: p.Behind, Synced: p.Synced,
			Open: p.Open, Standby: p.Standby, Through: kept(p.Through)})
	}
	return out
}

func (n *Node) makeMesh() {
	n.peers.mesh.Store(mesh.New(n.names,
		mesh.Options{Relay: n.opt.RelayPeerPublishes, Guard: !n.peers.loops, Budget: n.budget, NodeID: n.opt.NodeID},
		mesh.Hooks[Conn]{
			Poke:   func(c *Conn) { c.postFor(c.hasNews) },
			Gate:   func(c *Conn, open bool, through string) { c.postFor(func() { c.gate(open, through) }) },
			Double: func(c, other *Conn) { c.postFor(func() { c.logDouble(other) }) },
			Done: func(c *Conn, id uint64, last bool) {
				c.postFor(func() {
					switch {
					case c.kind == table.Peer:
						c.acknowledgePeer(id, nil, last)
					case c.state == active:
						c.acknowledge(id, nil, last)
					}
				})
			},
		}))
}

// joinPeers makes c, a peer link that was just negotiated, one of those who are told what others subscribe to.
func (c *Conn) joinPeers(r *link.Result) {
	n := c.loop.node
	n.peers.once.Do(n.makeMesh)
	m := n.peers.mesh.Load()
	c.loop.peersOn[c.stream.Peer()]++
	older, open, err := m.Join(c, r.RemoteNode, linkNumber(r))
	if err != nil { // links that have ended are not swept yet
		c.note(ReasonClaim, err)
		c.because(ReasonClaim.String())
		c.end(statusPermissionDenied, err.Error())
		return
	}
	if !open {
		c.filter = 0
	}
	if older != nil {
		older.postFor(older.probe)
	}
	n.chores.aside(m.Fill)
}

// linkNumber is what both ends call a link when they look for loops: that of its link_id, so that it stays the same when it is
// dialled again, and in the lower half of its key, since nothing keeps two links from having one link_id.
func linkNumber(r *link.Result) uint64 {
	sum := sha256.Sum256([]byte(r.LinkID))
	key := sha256.Sum256(append(sum[:], r.Key...))
	return uint64(binary.BigEndian.Uint32(sum[:]))<<32 | uint64(binary.BigEndian.Uint32(key[:]))
}

// gate lets what a peer publishes pass, or not, since its link would close a loop through that node. Rules: P-loop-4.
func (c *Conn) gate(open bool, through string) {
	if c.state != active {
		return
	}
	n := c.loop.node
	c.filter = 0
	if open {
		c.filter = n.claims.reach(c.kind)
	}
	c.logGate(open, through)
	m := n.peers.mesh.Load()
	n.chores.begin(func() bool { return m.RegateStep(c) })
}

// probe asks the peer of a link whether it is still there: its node has dialled again, so this may be what a loss of
// power has left.
func (c *Conn) probe() {
	if s, ok := c.stream.(transport.Prober); ok && c.state == active {
		s.Probe()
	}
}

// leavePeers takes a peer link out of the mesh and the table.
func (c *Conn) leavePeers() {
	n := c.loop.node
	m := n.peers.mesh.Load()
	m.Leave(c)
	if k := c.stream.Peer(); c.loop.peersOn[k] > 1 {
		c.loop.peersOn[k]--
	} else {
		delete(c.loop.peersOn, k)
	}
	r := n.names.RemoveConn(c)
	n.chores.begin(func() bool {
		if _, more := r.Step(); more {
			return true
		}
		return m.SweepStep(c)
	})
}

// tellPeers makes peers learn what c, no peer, has changed about name n with subscription id, and reports whether
// the mesh will acknowledge it.
func (c *Conn) tellPeers(n wire.Name, id uint64) bool {
	m := c.loop.node.peerMesh()
	return m != nil && m.Touch(n, c, id)
}

// offer is a Subscribe of a peer.
func (c *Conn) offer(s *mesh.Subscription) {
	waits, err := c.loop.node.peers.mesh.Load().Offer(c, s)
	c.noteFull(err)
	if !waits {
		c.acknowledgePeer(s.ID, err, false)
	}
}

// withdraw is an Unsubscribe of a peer.
func (c *Conn) withdraw(k table.Key, id uint64) {
	n := c.loop.node
	found, waits := n.peers.mesh.Load().Withdraw(c, k.Name, id)
	switch {
	case waits:
	case found:
		c.acknowledgePeer(id, nil, true)
	default: // the table knows why not
		_, err := n.names.Remove(c, k, id)
		c.acknowledgePeer(id, err, true)
	}
}

// tickPeers is a second of the mesh. Runs on the first loop.
func (n *Node) tickPeers() {
	if m := n.peers.mesh.Load(); m != nil {
		m.Tick()
		n.duePeers(m)
	}
}

func (n *Node) duePeers(m *mesh.Mesh[Conn]) {
	if m.Due() {
		n.loops[0].post(func() { n.duePeers(m) })
	}
}

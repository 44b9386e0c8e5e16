package router

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/mesh"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

const (
	tellBatch   = 64      // messages taken from the mesh at once
	tellTurn    = 1024    // messages for one peer before other sockets have their turn
	tellBacklog = 1 << 17 // bytes of the node's own messages that may wait for a peer before more are made

	// peerAckDelay is what an acknowledgement to a peer waits: an upstream node begins to listen for it only some
	// time after it has sent, loses what is faster, and then makes its application wait 5 s (P-def-4).
	peerAckDelay = 20 * time.Millisecond
)

// peering is a node's side of its peer links (P-peer). The zero value is a node without any.
type peering struct {
	ackDelay time.Duration // immutable after Start
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

func (n *Node) makeMesh() {
	n.peers.mesh.Store(mesh.New(n.names,
		mesh.Options{Relay: n.opt.RelayPeerPublishes, Budget: n.budget, NodeID: n.opt.NodeID},
		mesh.Hooks[Conn]{
			Poke: func(c *Conn) { c.postFor(c.tell) },
			Done: func(c *Conn, id uint64) {
				c.postFor(func() {
					switch {
					case c.kind == table.Peer:
						c.acknowledgePeer(id, nil)
					case c.state == active:
						c.acknowledge(id, nil)
					}
				})
			},
		}))
}

// joinPeers makes c, a peer link that was just negotiated, one of those who are told what others subscribe to.
func (c *Conn) joinPeers(node string) {
	n := c.loop.node
	n.peers.once.Do(n.makeMesh)
	m := n.peers.mesh.Load()
	if _, err := m.Join(c, node); err != nil {
		c.note(ReasonPeer, err)
		c.because(ReasonPeer.String())
		c.end(statusPermissionDenied, err.Error())
		return
	}
	n.chores.aside(m.Fill)
}

// leavePeers takes a peer link out of the mesh and the table.
func (c *Conn) leavePeers() {
	n := c.loop.node
	m := n.peers.mesh.Load()
	m.Leave(c)
	r := n.names.RemoveConn(c)
	n.chores.begin(func() bool {
		if _, more := r.Step(); more {
			return true
		}
		return m.SweepStep(c)
	})
}

// tell sends a peer what the mesh has for it, as far as the peer takes it. Runs on c's loop.
func (c *Conn) tell() {
	m := c.loop.node.peers.mesh.Load()
	c.untold = false
	var batch [tellBatch]mesh.Tell
	for range tellTurn / tellBatch {
		if c.state != active {
			return
		}
		if c.q.control > tellBacklog {
			c.untold = true // caughtUp goes on
			return
		}
		ts, more := m.Next(c, batch[:0])
		for i := range ts {
			c.sendTell(&ts[i])
		}
		if !more {
			return
		}
	}
	c.postFor(c.tell)
}

// sendTell sends one Subscribe or Unsubscribe of the node's own (P-peer-2).
func (c *Conn) sendTell(t *mesh.Tell) {
	l := c.loop
	c.logTold(t)
	h := wire.PublishHeader{Source: t.Name, Dest: t.Name, Fanout: 1, TTL: t.TTL, Version: l.node.opt.Version}
	if t.Withdraw {
		l.small = wire.AppendUnsubscribe(l.small[:0], &h, t.ID)
	} else {
		l.small = wire.AppendSubscribe(l.small[:0], &h, t.ID)
	}
	c.sendOwn(l.small)
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
		c.acknowledgePeer(s.ID, err)
	}
}

// withdraw is an Unsubscribe of a peer.
func (c *Conn) withdraw(k table.Key, id uint64) {
	n := c.loop.node
	found, waits := n.peers.mesh.Load().Withdraw(c, k.Name, id)
	switch {
	case waits:
	case found:
		c.acknowledgePeer(id, nil)
	default: // the table knows why not
		_, err := n.names.Remove(c, k, id)
		c.acknowledgePeer(id, err)
	}
}

// lateAck is an acknowledgement that waits for peerAckDelay.
type lateAck struct {
	id  uint64
	err error
	due time.Time
}

// acknowledgePeer is acknowledge, a little later.
func (c *Conn) acknowledgePeer(id uint64, err error) {
	d := c.loop.node.peers.ackDelay
	if d == 0 {
		c.acknowledge(id, err)
		return
	}
	c.late = append(c.late, lateAck{id, err, time.Now().Add(d)})
	if len(c.late) == 1 {
		c.armLate(d)
	}
}

func (c *Conn) armLate(d time.Duration) {
	time.AfterFunc(d, func() { c.postFor(c.sendLate) })
}

// sendLate sends the acknowledgements that are due.
func (c *Conn) sendLate() {
	now, n := time.Now(), 0
	for n < len(c.late) && !c.late[n].due.After(now) {
		if c.state == active {
			c.acknowledge(c.late[n].id, c.late[n].err)
		}
		n++
	}
	if c.late = c.late[:copy(c.late, c.late[n:])]; len(c.late) > 0 {
		c.armLate(c.late[0].due.Sub(now))
	} else {
		c.late = nil
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

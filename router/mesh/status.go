package mesh

import (
	"cmp"
	"slices"
	"time"
)

// PeerStatus is what an operator asks of a peer link.
type PeerStatus[C any] struct {
	Conn    *C
	Node    string        // its node id; "": not known
	Learned int           // routes that it offers
	Told    int           // routes that it was told and not withdrawn
	Behind  bool          // there may be more to tell
	Synced  time.Duration // age that the link had when it had first been told all; 0: it has not yet
	Open    bool          // what it publishes passes. Else it stands by, or is being looked at
	Standby bool          // it would close a loop
	Through string        // the node through which that goes on; "": not known
}

// Peers returns the live peer links, the oldest first.
func (m *Mesh[C]) Peers() []PeerStatus[C] {
	m.lock()
	defer m.unlock()
	var all []*peer[C]
	for _, p := range m.slots {
		if m.steps++; p != nil && !p.gone {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(p, q *peer[C]) int { return cmp.Compare(p.born, q.born) })
	var out []PeerStatus[C]
	for _, p := range all {
		out = append(out, PeerStatus[C]{p.conn, p.node, p.offers - p.probes, p.told, p.at != nil, p.synced,
			p.guard.open, p.guard.standby, p.guard.through})
	}
	return out
}

// Synced notes that peer c, whose link is that old, has been told all that Next had; only the first time counts at which its link was
// open and Fill had ended.
func (m *Mesh[C]) Synced(c *C, age time.Duration) {
	m.lock()
	defer m.unlock()
	if p := m.of[c]; p != nil && p.synced == 0 && p.guard.open && m.full {
		p.synced = age
	}
}

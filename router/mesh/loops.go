package mesh

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// A publish does not say where it has been, so a loop of peer links that relay would multiply it. Nodes of ours break each loop that
// runs through one of them (P-loop): of its links the last one, in an order that all know, stands by.
//
//	A ──c── D      A sends a probe of link c over c. D passes it on over b, which comes before c, and R, a node of
//	│       │      upstream's, over a. It is back, so c stands by at A. So does it at D, which has sent a probe of c
//	└─a─ R ─b      to A.
//
// A probe is a subscription, which nodes of upstream's pass on to all their peers. Nodes of ours pass it on over the links that come
// before the one that it is about. So it comes back exactly if there is another way of such links: the links that do not stand by
// are a minimum spanning forest. Among peers a probe is a route like any other: it lives as long as somebody offers it, and its
// way back is withdrawn when a link of it is lost.

const (
	probeWord = "slimgo.mesh" // the first part of a probe's name
	probeTTL  = 18            // a loop of more links doubles nothing: names and messages go eight at most
	maxProbes = 4096          // of one peer; further ones are not heeded (P-loop-7)

	openTicks    = 2  // a link is looked at for at least one tick, and at most two
	giveUpTicks  = 8  // then it opens, although the probe of it has not been acknowledged
	refreshTicks = 60 // a probe is replaced after that many: what other nodes have forgotten of it they learn again
)

// probeHash is what names of probes begin with. Rules: P-loop-2.
var probeHash = wire.NewName(probeWord, "", "").C[0]

// weight is the place of a link among all: the lesser and the greater number of the nodes that it connects, and its own. The zero
// weight is the least: of a link that never stands by.
type weight [3]uint64

func (w weight) compare(x weight) int {
	return cmp.Or(cmp.Compare(w[0], x[0]), cmp.Compare(w[1], x[1]), cmp.Compare(w[2], x[2]))
}

// weigh returns the weight of a link to node, which both ends give that number.
func (m *Mesh[C]) weigh(node string, link uint64) weight {
	if !m.guards() {
		return weight{}
	}
	far := nodeNumber(node)
	return weight{min(m.self, far), max(m.self, far), link}
}

// nodeNumber stands for a node id in probes.
func nodeNumber(node string) uint64 {
	sum := sha256.Sum256([]byte(node))
	return binary.LittleEndian.Uint64(sum[:])
}

// guards reports whether links of this node may stand by. A node of a full mesh relays nothing but probes.
func (m *Mesh[C]) guards() bool { return m.opt.Relay && m.opt.Guard }

// probe is what makes a route a probe.
type probe[C any] struct {
	of  weight   // of the link that it is about
	own *peer[C] // the link, if the probe is this node's and in use
}

// IsProbe reports whether n is what nodes find loops with, whatever rules for names say.
func IsProbe(n *wire.Name) bool { return n.C[0] == probeHash }

// probeName is the name of a probe. nonce makes it one that no node has heard before.
func probeName(of weight, node, nonce uint64) wire.NameText {
	return wire.Text(probeWord, fmt.Sprintf("%016x.%016x.%016x", of[0], of[1], of[2]), fmt.Sprintf("%016x.%016x", node, nonce))
}

// parseProbe reads the strings of a probe's name.
func parseProbe(s [3]string) (of weight, node uint64, ok bool) {
	words := append(strings.Split(s[1], "."), strings.Split(s[2], ".")...)
	var x [5]uint64
	if s[0] != probeWord || len(words) != len(x) {
		return of, 0, false
	}
	for i, word := range words {
		var err error
		if x[i], err = strconv.ParseUint(word, 16, 64); err != nil {
			return of, 0, false
		}
	}
	of = weight(x[:3])
	return of, x[3], probeName(of, x[3], x[4]).Str == s
}

// heeds returns what makes a route that p offers a probe. nil: it is none that matters here, and is acknowledged and forgotten.
func (m *Mesh[C]) heeds(p *peer[C], s *Subscription) *probe[C] {
	of, node, ok := parseProbe(s.Str)
	p.guard.ours = p.guard.ours || ok && of == p.weight && node == nodeNumber(p.node)
	if !ok || !s.HasStr || s.ID == 0 || p.probes >= maxProbes || of.compare(p.weight) < 0 {
		return nil
	}
	if r := m.routes.find(s.Key.Name, s.ID); r != nil && r.probe().own == p { // it has not been anywhere
		return nil
	}
	return &probe[C]{of: of}
}

// goes reports whether a peer is told of a probe.
func (b *probe[C]) goes(p *peer[C]) bool {
	if b.own != nil {
		return p == b.own
	}
	return p.weight.compare(b.of) < 0
}

// guard is a peer link's part in that. A link that is not open tells and takes probes, and nothing else.
type guard[C any] struct {
	open    bool
	back    bool      // its probe has come back
	standby bool      // likewise, that or one before, since the link was open
	through string    // the node by which it came, where standby
	probe   *route[C] // nil: the node has no other link
	since   uint32    // tick at which the probe was made
	ours    bool      // the other end has told a probe of the link, as no node of upstream's does
	unacked map[uint64]struct{}
	regate  Review[C] // of the routes that the peer offers, since open has changed
}

// ready reports whether a link that no probe has come back to may open: all that its peer has yet to say to the probes that it
// was told is said.
func (p *peer[C]) ready(tick uint32) bool {
	waited := tick - p.guard.since
	return waited >= giveUpTicks || waited >= openTicks && p.at == nil && len(p.guard.unacked) == 0
}

// said notes that the peer was told t of r.
func (g *guard[C]) said(r *route[C], t *Tell) {
	switch {
	case r.probe() == nil:
	case t.Withdraw:
		delete(g.unacked, t.ID)
	default:
		g.unacked[t.ID] = struct{}{}
	}
}

// probeAgain has a new probe of p take the place of the one there is.
func (m *Mesh[C]) probeAgain(p *peer[C]) {
	m.endProbe(p)
	id := m.freeID(0)
	nt := probeName(p.weight, m.self, id)
	r := m.newRoute(nt.Name, id)
	r.text = table.NewText(nt.Str)
	r.set(local, true)
	r.extra().probe = &probe[C]{of: p.weight, own: p}
	p.guard.probe, p.guard.since, p.guard.back = r, m.tick, false
	m.settle(r)
}

func (m *Mesh[C]) endProbe(p *peer[C]) {
	r := p.guard.probe
	if r == nil {
		return
	}
	p.guard.probe, r.probe().own = nil, nil
	r.set(local, false)
	m.settle(r)
}

// guardAll brings what follows from links that came and went, and from time.
func (m *Mesh[C]) guardAll() {
	if !m.guards() {
		return
	}
	for _, p := range m.slots {
		m.steps++
		if p == nil || p.gone {
			continue
		}
		g := &p.guard
		age := m.tick - g.since
		switch {
		case len(m.of) == 1: // no loop runs through this node
			m.endProbe(p)
			m.gate(p, true)
		case g.probe == nil, age >= refreshTicks+uint32(p.slot%16), g.back && !m.offered(g.probe):
			m.probeAgain(p)
		case !g.open && !g.back && p.ready(m.tick):
			m.gate(p, true)
		}
	}
}

// cameBack has the link of r, a probe of this node, stand by if r has come back.
func (m *Mesh[C]) cameBack(r *route[C]) {
	p := r.probe().own
	if p == nil {
		return
	}
	o := m.anyOffer(r)
	if o == nil {
		return
	}
	g := &p.guard
	g.back = true
	if !g.standby {
		g.standby, g.through = true, m.by(o).node
		m.gate(p, false)
		m.hooks.Gate(p.conn, false, g.through)
	}
}

// gate opens p, or closes it, and lets RegateStep begin.
func (m *Mesh[C]) gate(p *peer[C], open bool) {
	g := &p.guard
	if g.open == open {
		return
	}
	g.open = open
	if open {
		g.standby, g.through = false, ""
		m.hooks.Gate(p.conn, true, "")
	}
	m.endReview(&g.regate)
	g.regate.begun = false
	m.depart(p)
	if m.stand(p, m.first); p.at != nil || open {
		m.poke(p)
	}
}

// RegateStep, called after Hooks.Gate, puts the routes that c offers into the table or takes them out, a portion of them, and
// reports whether there is more.
func (m *Mesh[C]) RegateStep(c *C) (more bool) {
	m.lock()
	defer m.unlock()
	p := m.of[c]
	if p == nil {
		return false
	}
	v := &p.guard.regate
	if !v.begun {
		v.begun, v.at = true, m.first
		m.reviews = append(m.reviews, v)
	}
	for v.at != nil && m.steps < m.portion {
		r := v.at
		v.at = r.next
		m.steps++
		if m.offerOf(r, p) != nil {
			m.settle(r)
		}
	}
	if v.at != nil {
		return true
	}
	m.endReview(v)
	return false
}

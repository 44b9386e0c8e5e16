package router

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// What a connection may claim to be, and what follows from it, stands in this file (P-neg-13, P-lim-4). Without rules a
// node believes whoever negotiates, as upstream, within limits of number. With rules the claim has to be allowed to who has
// opened the connection, as its listener has proven it (P-rule-5, permit.go).
//
// That matters most for two kinds. A peer is told every name of the node and may offer any. A remote link goes before
// all edge connections in every anycast (P-any-1): whoever claims it and subscribes to the name of an application
// gets all messages to one of its holders. The order is the protocol's; a node that no other domain links to refuses
// the kind with Options.AcceptKinds, one that some link to says by rules who may.

// claim is what a connection says of itself when it has negotiated.
type claim struct {
	kind   wire.LinkKind
	node   string // its node id; may be empty
	socket int    // peer links that its socket has already
}

// grant is what a connection may do from then on.
type grant struct {
	kind  table.Kind
	reach table.Filter // kinds of connections that what it publishes may reach
}

// refusal is why a claim was not granted; its text is told to the one who made it.
type refusal struct{ text string }

func (e *refusal) Error() string { return e.text }

// claims decides about claims and counts what it has granted. Safe for all.
type claims struct {
	// Immutable.
	accept table.Filter
	// verify, if not nil, is asked whether a claim is true before it is admitted. It answers once, at once or later,
	// from any goroutine; the time for the negotiation goes on meanwhile.
	verify func(x claim, answer func(error))
	limits [numKinds]limit
	relay  bool // what peers publish may reach peers

	granted [numKinds]atomic.Int32 // connections that live, by kind
}

// limit bounds the connections of one kind; 0: no limit.
type limit struct {
	node, socket int
	option       string // by which an operator changes node
}

const numKinds = int(table.Edge) + 1

// peersPerSocket bounds the peer links of one socket: every dialer known opens a socket for each link.
const peersPerSocket = 4

func newClaims(o *Options) *claims {
	c := &claims{accept: o.AcceptKinds, relay: o.RelayPeerPublishes}
	c.limits[table.Peer] = limit{o.MaxPeers, peersPerSocket, "--max-peers"}
	c.limits[table.Remote] = limit{node: o.MaxRemotes, option: "--max-remotes"}
	return c
}

// admit decides. Each grant is to be given back with release when the connection ends; the error is a *refusal.
func (c *claims) admit(x claim) (grant, error) {
	g, n := c.own(kindOf(x.kind))
	l := &c.limits[g.kind]
	switch {
	case !c.accept.Has(g.kind):
		return grant{}, c.refuse(g, "connections of kind %v are not accepted here, only %v (--accept-kinds)",
			g.kind, c.accept)
	case l.socket > 0 && x.socket >= l.socket:
		return grant{}, c.refuse(g, "too many links of kind %v on one socket: the limit is %d", g.kind, l.socket)
	case l.node > 0 && int(n) > l.node:
		return grant{}, c.refuse(g, "too many links of kind %v at this node: the limit is %d (%s)",
			g.kind, l.node, l.option)
	}
	return g, nil
}

// own grants what a connection of this kind may do, whatever there are: it is one that the operator has asked for. n is
// how many there are now.
func (c *claims) own(k table.Kind) (g grant, n int32) {
	return grant{kind: k, reach: c.reach(k)}, c.granted[k].Add(1)
}

// reach are the kinds of connections that what one of kind k publishes may reach.
func (c *claims) reach(k table.Kind) table.Filter {
	if k == table.Peer && !c.relay {
		return table.All.Without(table.Peer)
	}
	return table.All
}

func (c *claims) refuse(g grant, format string, args ...any) error {
	c.release(g.kind)
	return &refusal{fmt.Sprintf(format, args...)}
}

// release gives a grant of that kind back.
func (c *claims) release(k table.Kind) { c.granted[k].Add(-1) }

// kindOf is what a connection of a negotiated type is to the table; what the protocol does not know is remote
// (P-neg-4).
func kindOf(k wire.LinkKind) table.Kind {
	switch k {
	case wire.LinkEdge:
		return table.Edge
	case wire.LinkPeer:
		return table.Peer
	}
	return table.Remote
}

// claimable are the kinds that a connection can claim at all.
const claimable = table.All &^ (1 << table.Local)

// ParseKinds reads the kinds that may be claimed, such as "edge,peer". Its result is for Options.AcceptKinds.
func ParseKinds(s string) (table.Filter, error) {
	var f table.Filter
	for word := range strings.SplitSeq(s, ",") {
		switch word = strings.TrimSpace(word); word {
		case table.Edge.String():
			f |= table.Only(table.Edge)
		case table.Remote.String():
			f |= table.Only(table.Remote)
		case table.Peer.String():
			f |= table.Only(table.Peer)
		default:
			return 0, fmt.Errorf("unknown kind of connection %q: want some of edge, remote and peer, with commas between", word)
		}
	}
	return f, nil
}

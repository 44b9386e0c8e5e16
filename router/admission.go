package router

import (
	"errors"
	"slices"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/router/hop"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire/link"
)

// pending is a negotiated connection about whose claim a verifier has yet to answer. It is in no table, and its answer
// to the negotiation waits, so that the dialer does (P-neg-1).
type pending struct {
	answer []byte
	res    link.Result
	claim  claim

	ranking ranking
}

var errEarly = errors.New("a message before the answer to the negotiation")

// negotiate takes the first message of a connection (P-neg-1).
func (c *Conn) negotiate(b []byte) {
	l := c.loop
	o := &l.node.opt
	m := link.New(&link.Config{Role: link.Acceptor, Version: o.Version, NodeID: o.NodeID, Deployment: o.Deployment,
		Strict: !l.rules.AllowUnsigned, EnforcePQC: l.rules.EnforcePQC})
	out, err := m.Step(l.small[:0], b)
	if err != nil {
		c.note(ReasonNegotiation, err)
		c.end(statusOK, "negotiation: "+err.Error())
		return
	}
	l.small = out
	res := m.Result()
	x := claim{kind: res.Kind, node: res.RemoteNode, socket: l.peersOn[c.stream.Peer()]}
	verify := l.node.claims.verify
	if verify == nil || res.Refusal != "" {
		c.decide(&pending{answer: out, res: res, claim: x}, nil)
		return
	}
	p := &pending{answer: slices.Clone(out), res: res, claim: x}
	c.state, c.pending = claimed, p
	verify(x, func(err error) {
		c.postFor(func() {
			if c.pending == p && c.state == claimed { // it has not ended meanwhile, and this is the first answer
				c.pending = nil
				c.decide(p, err)
			}
		})
	})
}

// decide ends a negotiation that went well: the connection becomes active unless its claim is refused. unproven is why
// the claim is not believed, nil if it is.
func (c *Conn) decide(p *pending, unproven error) {
	l, res := c.loop, &p.res
	if res.Refusal == "" && unproven == nil && !c.rank(p) {
		return // it comes back to it
	}
	defer clear(res.Key)
	c.sendOwn(p.answer, false)
	if res.Refusal != "" {
		c.note(ReasonPeer, nil)
		c.end(statusPermissionDenied, res.Refusal)
		return
	}
	g, err := grant{}, unproven
	if err == nil {
		err = c.permitKind(p)
	}
	if err == nil {
		p.claim.socket = l.peersOn[c.stream.Peer()] // others may have come meanwhile
		g, err = l.node.claims.admit(p.claim)
	}
	if err != nil {
		c.note(ReasonClaim, err)
		c.audit(&auth.Event{Act: auth.ActClaim, Kind: kindOf(p.claim.kind).String(), Reason: err.Error()})
		c.end(statusPermissionDenied, err.Error())
		return
	}
	c.activate(res, g, !l.rules.AllowUnsigned)
}

// activate makes a connection one of those that messages go through. strict: its signatures are demanded.
func (c *Conn) activate(res *link.Result, g grant, strict bool) {
	l := c.loop
	c.kind, c.filter, c.granted = g.kind, g.reach, true
	c.link.Open(l.hops, hop.Rules{Signed: c.kind == table.Edge || c.kind == table.Remote, Strict: strict,
		Local: c.kind == table.Local}, res.LinkID, res.Key)
	c.state, c.negotiated = active, true
	c.about = newAbout(res)
	c.stream.Established()
	l.n.negotiated++
	c.logOpened(res)
	if c.muted {
		return
	}
	if c.kind == table.Peer {
		c.joinPeers(res)
	}
	c.reportUp()
}

// releaseGrant gives back what c was granted, if it was. A connection that was muted before its negotiation was read
// has left the table already when it gets its grant.
func (c *Conn) releaseGrant() {
	if c.granted {
		c.granted = false
		c.loop.node.claims.release(c.kind)
	}
}

// forgetClaim wipes what a verifier has not decided about.
func (c *Conn) forgetClaim() {
	if c.pending != nil {
		clear(c.pending.res.Key)
		c.pending = nil
	}
}

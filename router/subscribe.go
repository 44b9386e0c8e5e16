package router

import (
	"errors"

	"github.com/seed31b3bfd0/slimgo/router/mesh"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// receiveCold handles everything but publishes. b is scanned into loop.msg.
func (c *Conn) receiveCold(b []byte) {
	l := c.loop
	m := l.msg
	l.n.received++
	switch m.Kind {
	case wire.KindSubscribe, wire.KindUnsubscribe:
		c.receiveSubscription(b, &m)
	case wire.KindAck:
		if c.kind == table.Peer {
			l.node.peers.mesh.Load().Acked(c, m.SubID)
		}
	case wire.KindLink: // a second one is ignored (P-neg-9)
	default:
		c.drop(ReasonInvalid)
	}
}

// receiveSubscription handles a Subscribe or Unsubscribe (P-sub). recv_from and forward_to of the wire are not
// honoured: they would let a neighbour install routes for others.
func (c *Conn) receiveSubscription(b []byte, m *wire.Message) {
	if !m.HasHeader {
		c.drop(ReasonInvalid)
		return
	}
	s := &seen{raw: m.Header.Of(b)}
	if wire.ParseHeader(s.raw, &s.hd) != nil {
		c.undecodable()
		return
	}
	if s.hd.Odd {
		c.receiveOdd(b)
		return
	}
	if r := c.judge(s, m.Kind); r != reasonNone {
		c.drop(r)
		return
	}
	k := table.Key{Name: s.hd.Dest.Name, HasID: s.hd.Dest.HasID}
	if m.Kind == wire.KindSubscribe {
		c.subscribe(s, k, m.SubID)
		return
	}
	if c.kind == table.Peer {
		c.logSubscription("unsubscribed", s, m.SubID, false, nil)
		c.withdraw(k, m.SubID)
		return
	}
	last, err := c.loop.node.names.Remove(c, k, m.SubID)
	waits := last && c.tellPeers(k.Name, m.SubID)
	c.logSubscription("unsubscribed", s, m.SubID, waits, err)
	if !waits {
		c.acknowledge(m.SubID, err)
	}
}

// maxStrings bounds the strings of a name that are kept, in bytes: they serve logs and peers, not routing.
const maxStrings = 1 << 10

func (c *Conn) subscribe(s *seen, k table.Key, id uint64) {
	n := c.loop.node
	var str [3]string
	hasStr := s.hd.Dest.HasStr
	d := &s.hd.Dest.Str
	if hasStr && (d[0].Len()+d[1].Len()+d[2].Len() > maxStrings || !wire.HashesMatch(s.raw, &s.hd.Dest)) {
		c.note(ReasonStrings, nil)
		hasStr = false
	}
	if hasStr {
		for i := range str {
			str[i] = string(s.hd.Dest.Str[i].Of(s.raw))
		}
	}
	if c.kind == table.Peer {
		c.logSubscription("subscribed", s, id, false, nil)
		c.offer(&mesh.Subscription{Key: k, ID: id, TTL: s.ttl, Str: str, HasStr: hasStr})
		return
	}
	_, err := n.names.Add(c, c.kind, k, id, str, hasStr)
	c.noteFull(err)
	waits := err == nil && c.tellPeers(k.Name, id)
	c.logSubscription("subscribed", s, id, waits, err)
	if !waits {
		c.acknowledge(id, err)
	}
}

// noteFull counts a subscription that ran into a limit, if err says so.
func (c *Conn) noteFull(err error) {
	var full *table.Full
	switch {
	case !errors.As(err, &full):
	case full.Conn:
		c.note(ReasonSubscriptions, err)
	default:
		c.note(ReasonNames, err)
	}
}

// acknowledge answers a subscription whose sender wants it (id not 0).
func (c *Conn) acknowledge(id uint64, err error) {
	reason := ""
	if err != nil {
		c.loop.n.refused[ReasonSubscribe]++
		reason = err.Error()
	}
	if id == 0 {
		return
	}
	l := c.loop
	l.small = wire.AppendAck(l.small[:0], id, err == nil, reason)
	c.sendOwn(l.small)
}

package router

import (
	"errors"

	"github.com/seed31b3bfd0/slimgo/router/hop"
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
	h := m.Header.Of(b)
	var hd wire.Header
	ttl, v := c.link.Check(h, &hd)
	switch v {
	case hop.OK:
	case hop.Undecodable:
		c.undecodable()
		return
	case hop.Odd:
		c.receiveOdd(b)
		return
	default:
		c.drop(verdictReasons[v])
		return
	}
	k := table.Key{Name: hd.Dest.Name, HasID: hd.Dest.HasID}
	if m.Kind == wire.KindSubscribe {
		c.subscribe(h, &hd.Dest, ttl, k, m.SubID)
		return
	}
	if c.kind == table.Peer {
		c.logSubscription("unsubscribed", h, &hd.Dest, m.SubID, false, nil)
		c.withdraw(k, m.SubID)
		return
	}
	last, err := c.loop.node.names.Remove(c, k, m.SubID)
	waits := last && c.tellPeers(k.Name, m.SubID)
	if last {
		c.loop.node.control.nameChanged(c.kind, &k.Name)
	}
	c.logSubscription("unsubscribed", h, &hd.Dest, m.SubID, waits, err)
	if !waits {
		c.acknowledge(m.SubID, err, true)
	}
}

// maxStrings bounds the strings of a name that are kept, in bytes: they serve logs and peers, not routing.
const maxStrings = 1 << 10

// subscribe handles a Subscribe to dest, whose strings lie in the header h. ttl is what is left of it after this hop.
func (c *Conn) subscribe(h []byte, dest *wire.NameRef, ttl uint32, k table.Key, id uint64) {
	n := c.loop.node
	var err error
	if c.kind != table.Peer || !mesh.IsProbe(&dest.Name) { // nobody but peers has to do with probes, whatever rules for names say
		err = c.permitSubscribe(h, dest)
	}
	if err != nil {
		c.logSubscription("subscribed", h, dest, id, false, err)
		if c.kind == table.Peer {
			c.acknowledgePeer(id, err, false)
		} else {
			c.acknowledge(id, err, false)
		}
		return
	}
	var str [3]string
	hasStr := dest.HasStr
	d := &dest.Str
	if hasStr && (d[0].Len()+d[1].Len()+d[2].Len() > maxStrings || !wire.HashesMatch(h, dest)) {
		c.note(ReasonStrings, nil)
		hasStr = false
	}
	if hasStr {
		for i := range str {
			str[i] = string(d[i].Of(h))
		}
	}
	if c.kind == table.Peer {
		c.logSubscription("subscribed", h, dest, id, false, nil)
		c.offer(&mesh.Subscription{Key: k, ID: id, TTL: ttl, Str: str, HasStr: hasStr})
		return
	}
	first, err := n.names.Add(c, c.kind, k, id, str, hasStr)
	c.noteFull(err)
	waits := err == nil && c.tellPeers(k.Name, id)
	if first {
		n.control.nameChanged(c.kind, &k.Name)
	}
	c.logSubscription("subscribed", h, dest, id, waits, err)
	if !waits {
		c.acknowledge(id, err, false)
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

// acknowledge answers a Subscribe, or an Unsubscribe if last is true, whose sender wants it (id not 0). After the answer
// to an Unsubscribe nothing comes that was queued for c before.
func (c *Conn) acknowledge(id uint64, err error, last bool) {
	reason := ""
	if err != nil {
		full, denied := new(table.Full), new(denial)
		if !errors.As(err, &full) && !errors.As(err, &denied) { // else it is counted
			c.loop.n.refuse(ReasonSubscribe)
		}
		reason = err.Error()
	}
	if id == 0 {
		return
	}
	l := c.loop
	l.small = wire.AppendAck(l.small[:0], id, err == nil, reason)
	c.sendOwn(l.small, last)
}

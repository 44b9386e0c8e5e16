package router

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

// heard is a Subscribe or Unsubscribe that a peer of the rig received.
type heard struct {
	name     wire.Name
	id       uint64
	ttl      uint32
	withdraw bool
}

// hear takes the next message as one and checks what all of them have in common.
func (p *peer) hear() heard {
	p.r.t.Helper()
	var m pb.Message
	if err := proto.Unmarshal(p.take(), &m); err != nil {
		p.r.t.Fatal(err)
	}
	h, id, off := m.GetSubscribe().GetHeader(), m.GetSubscribe().GetSubscriptionId(), false
	if u := m.GetUnsubscribe(); u != nil {
		h, id, off = u.GetHeader(), u.GetSubscriptionId(), true
	}
	switch {
	case h == nil:
		p.r.t.Fatalf("a peer was sent %v, want a subscription", &m)
	case !proto.Equal(h.Source, h.Destination), h.GetIdentity() != "", h.GetFanout() != 1, h.HeaderMac != nil,
		h.GetVersion() != p.r.n.opt.Version, h.IncomingConn != nil, h.GetDestination().GetStrName() == nil:
		p.r.t.Fatalf("header of a node's own subscription: %v", h)
	}
	e := h.GetDestination().GetName()
	n := wire.Name{C: [3]uint64{e.GetComponent_0(), e.GetComponent_1(), e.GetComponent_2()}, Hi: wire.Null, Lo: wire.Null}
	if e.NameId != nil {
		n.Hi, n.Lo = e.NameId.GetId_0(), e.NameId.GetId_1()
	}
	return heard{n, id, h.GetTtl(), off}
}

// learns wants one piece of news, about n, and returns its id.
func (p *peer) learns(n wire.NameText, ttl uint32, withdraw bool) uint64 {
	p.r.t.Helper()
	x := p.hear()
	if x.name != n.Name || x.ttl != ttl || x.withdraw != withdraw || x.id == 0 {
		p.r.t.Fatalf("heard %+v, want name %v, ttl %d, withdraw %v", x, n.Name, ttl, withdraw)
	}
	p.silent()
	return x.id
}

func (p *peer) silent() {
	p.r.t.Helper()
	p.r.settle()
	if n := p.count(); n != 0 {
		p.r.t.Fatalf("%d messages came, want none", n)
	}
}

func (p *peer) ack(id uint64) { p.send(wire.AppendAck(nil, id, true, "")) }

// request sends a Subscribe without waiting for its ack.
func (p *peer) request(n wire.NameText, id uint64) {
	p.r.t.Helper()
	h := header(n, n, 1, "")
	p.sign(h)
	p.send(wire.AppendSubscribe(nil, h, id))
}

func appName(i int) wire.NameText { return wire.Text("org", "ns", "app").WithID(7, uint64(i)) }

var relaying = Options{RelayPeerPublishes: true}

// Rules: P-peer-2, P-peer-3.
func TestPeerIsToldAllNamesAtLinkUp(t *testing.T) {
	r := newRig(t, 2, relaying)
	a, b := r.dial(0), r.dial(1)
	service := wire.Text("org", "ns", "service")
	a.subscribe(appName(1), 11)
	a.subscribe(service, 12)
	b.subscribe(appName(2), 13)
	b.subscribe(service, 14)
	p := r.dialAs(1, wire.LinkPeer, "n1")
	got := map[wire.Name]bool{}
	for range 3 {
		x := p.hear()
		if x.withdraw || x.ttl != 8 || x.id == 0 || got[x.name] {
			t.Errorf("heard %+v", x)
		}
		got[x.name] = true
	}
	p.silent()
	if !got[appName(1).Name] || !got[appName(2).Name] || !got[service.Name] {
		t.Errorf("told %v", got)
	}
}

// Rules: P-peer-1.
func TestFullMeshTTLReachesNeighboursOnly(t *testing.T) {
	r := newRig(t, 1, Options{})
	p, q, a := r.dialAs(0, wire.LinkPeer, "n1"), r.dialAs(0, wire.LinkPeer, "n2"), r.dial(0)
	a.request(appName(1), 1)
	p.learns(appName(1), 2, false)
	q.learns(appName(1), 2, false)
	p.subscribe(appName(2), 5)
	q.silent()
}

// Rules: P-peer-3.
func TestPeersHearOfComingAndGoing(t *testing.T) {
	for _, c := range []struct {
		name string
		id   uint64 // with which the application subscribes
		end  func(a *peer)
	}{
		{"unsubscribed", 3, func(a *peer) { a.unsubscribe(appName(1), 3) }},
		{"lost", 3, func(a *peer) { a.abandon() }},
		{"replayed with id 0, unsubscribed with the id of old", 0, func(a *peer) { a.unsubscribe(appName(1), 3) }},
		{"replayed with id 0, lost", 0, func(a *peer) { a.abandon() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 2, relaying)
			p, q, a, b := r.dialAs(0, wire.LinkPeer, "n1"), r.dialAs(1, wire.LinkPeer, "n2"), r.dial(0), r.dial(1)
			a.request(appName(1), c.id)
			id := p.learns(appName(1), 8, false)
			if q.learns(appName(1), 8, false) != id {
				t.Error("peers are told different ids")
			}
			b.request(appName(1), 9) // another holder: no news
			b.abandon()
			p.silent()
			c.end(a)
			for _, x := range []*peer{p, q} {
				if got := x.learns(appName(1), 8, true); got != id {
					t.Errorf("withdrawn under id %d, told under %d", got, id)
				}
			}
		})
	}
}

// Rules: P-peer-4.
func TestSubscriberIsAnsweredWhenPeersHaveAcknowledged(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(r *rig, q *peer, id uint64)
	}{
		{"all of them", func(_ *rig, q *peer, id uint64) { q.ack(id) }},
		{"a bad acknowledgement is one", func(_ *rig, q *peer, id uint64) { q.send(wire.AppendAck(nil, id, false, "no")) }},
		{"or have left", func(_ *rig, q *peer, _ uint64) { q.abandon() }},
		{"or five seconds have passed", func(r *rig, _ *peer, _ uint64) { r.seconds(1) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 2, relaying)
			p, q, a := r.dialAs(0, wire.LinkPeer, "n1"), r.dialAs(1, wire.LinkPeer, "n2"), r.dial(1)
			a.request(appName(1), 3)
			id := p.learns(appName(1), 8, false)
			q.learns(appName(1), 8, false)
			p.ack(id)
			r.seconds(4)
			a.silent()
			c.end(r, q, id)
			r.settle()
			a.wantAck(3, true, "")
			a.unsubscribe(appName(1), 3)
			p.learns(appName(1), 8, true)
			p.ack(id)
			if !q.shut() {
				q.ack(id)
			}
			a.wantAck(3, true, "")
		})
	}
}

func TestSubscriberWithoutNewsIsAnsweredAtOnce(t *testing.T) {
	r := newRig(t, 1, relaying)
	p, a, b := r.dialAs(0, wire.LinkPeer, "n1"), r.dial(0), r.dial(0)
	a.request(appName(1), 3)
	p.ack(p.learns(appName(1), 8, false))
	a.wantAck(3, true, "")
	b.subscribe(appName(1), 4)
	p.silent()
	p.abandon()
	b.subscribe(appName(2), 5) // no peer any more
}

// A chain: what one peer subscribes to is told to the other, whose acknowledgement the first waits for, and
// messages find the way back. Rules: P-mac-8, P-fwd-7.
func TestNamesAndMessagesCrossANodeBetweenPeers(t *testing.T) {
	r := newRig(t, 2, relaying)
	p, q := r.dialAs(0, wire.LinkPeer, "n1"), r.dialAs(1, wire.LinkPeer, "n2")
	p.request(appName(1), 77)
	if id := q.learns(appName(1), 7, false); id != 77 {
		t.Errorf("relayed under id %d, want 77", id)
	}
	p.silent()
	q.ack(77)
	p.wantAck(77, true, "")
	late := r.dialAs(0, wire.LinkPeer, "n3")
	late.learns(appName(1), 7, false)

	q.publish(header(appName(2), appName(1), 1, ""), 1, 10)
	if n := p.count(); n != 1 {
		t.Errorf("%d messages arrived, want 1", n)
	}
	p.abandon()
	q.learns(appName(1), 8, true)
	late.learns(appName(1), 8, true)
	if r.n.names.Len() != 0 {
		t.Errorf("%d subscriptions are left", r.n.names.Len())
	}
}

// The same name over two ways is entered once, so that a message comes once. Rules: P-peer-6.
func TestEchoOfARouteIsNotEntered(t *testing.T) {
	r := newRig(t, 1, relaying)
	p, q, a := r.dialAs(0, wire.LinkPeer, "n1"), r.dialAs(0, wire.LinkPeer, "n2"), r.dial(0)
	p.request(appName(1), 77)
	q.ack(q.learns(appName(1), 7, false))
	p.wantAck(77, true, "")
	h := header(appName(1), appName(1), 1, "")
	h.TTL = 7
	q.send(wire.AppendSubscribe(nil, h, 77))
	q.wantAck(77, true, "")
	p.silent()
	a.publish(header(appName(2), appName(1), 0, ""), 1, 10)
	if p, q := p.count(), q.count(); p != 1 || q != 0 {
		t.Errorf("the nearer peer got %d messages, the other %d, want 1 and 0", p, q)
	}
}

func TestFailuresOfPeersSubscriptions(t *testing.T) {
	r := newRig(t, 1, Options{RelayPeerPublishes: true, MaxSubscriptions: 1})
	p := r.dialAs(0, wire.LinkPeer, "n1")
	p.unsubscribe(appName(1), 5)
	p.wantAck(5, false, table.ErrNoPrefix.Error())
	p.subscribe(appName(1), 5)
	p.subscribe(appName(1), 5)
	p.unsubscribe(appName(1), 6)
	p.wantAck(6, false, table.ErrNoRecord.Error()+": 6")
	p.request(appName(2), 7)
	p.wantAck(7, false, "too many subscriptions on this connection: the limit is 1")
	p.unsubscribe(appName(1), 5)
	p.wantAck(5, true, "")
}

// More names than a loop deals with at once, and than a peer's queue has room for while it does not read.
func TestManyNamesReachASlowPeerInPortions(t *testing.T) {
	const names = 5000
	r := newRig(t, 2, relaying)
	a := r.dial(0)
	for i := range names {
		a.request(appName(i), 0)
	}
	p := r.dialAs(1, wire.LinkPeer, "n1")
	c := p.c
	p.paused = true
	r.settle()
	if b := c.q.control; b > newsBacklog+newsBatch*1024 {
		t.Errorf("%d bytes are queued for a peer that does not read", b)
	}
	p.paused = false
	got := map[wire.Name]uint64{}
	listen := func(withdraw bool) {
		t.Helper()
		for range names {
			if len(p.got) == 0 {
				r.pass(stallLook)
			}
			x := p.hear()
			if x.withdraw != withdraw {
				t.Fatalf("heard %+v", x)
			}
			if withdraw && got[x.name] != x.id {
				t.Fatalf("withdrawn under id %d, told under %d", x.id, got[x.name])
			}
			if got[x.name] = x.id; withdraw {
				delete(got, x.name)
			}
		}
		p.silent()
	}
	listen(false)
	if len(got) != names {
		t.Errorf("told %d names, want %d", len(got), names)
	}
	a.abandon()
	listen(true)
	if len(got) != 0 {
		t.Errorf("%d names are not withdrawn", len(got))
	}
}

// An upstream node loses an acknowledgement that comes too fast. Rules: P-def-4.
func TestPeersAreAnsweredNotTooFast(t *testing.T) {
	r := newRig(t, 1, relaying)
	const d = 30 * time.Millisecond
	r.n.peers.ackDelay = d
	p := r.dialAs(0, wire.LinkPeer, "n1")
	begin := time.Now()
	p.request(appName(1), 5)
	p.request(appName(2), 6)
	for len(p.got) < 2 {
		r.settle()
		p.exchange()
		if time.Since(begin) > hang {
			t.Fatal("no acknowledgement")
		}
	}
	if took := time.Since(begin); took < d {
		t.Errorf("acknowledged after %v, want %v or more", took, d)
	}
	p.wantAck(5, true, "")
	p.wantAck(6, true, "")
}

package router

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// The defects of upstream's node that a node can avoid (P-def, and the rules named there), each as a test.

// Rules: P-sub-7, P-def-1.
func TestAbruptExitUnderLoadLeavesNoGhost(t *testing.T) {
	for _, where := range placements {
		t.Run(where.name, func(t *testing.T) {
			r := newRig(t, where.loops, Options{})
			a, b := r.dial(where.source), r.dial(where.dest)
			b.subscribe(bob, 1)
			b.paused = true
			if n := a.flood(header(alice, bob, 1, "x"), 5000, 8000); n == 5000 {
				t.Fatal("the sender was never slowed down")
			}
			// Kernel, windows and queue towards b are full when it dies.
			b.abandon()
			if n := r.n.names.Len(); n != 0 {
				t.Fatalf("%d subscriptions are left of a dead connection", n)
			}
			c := r.dial(where.dest)
			c.subscribe(bob, 1)
			for i := range 10 {
				a.publish(header(alice, bob, 1, "x"), i, 100)
			}
			if n := c.count(); n != 10 {
				t.Errorf("the fresh subscriber got %d of 10", n)
			}
		})
	}
}

// Rules: P-def-1, P-fwd-4.
func TestReusedSubscriptionIDsBringNoForeignMessages(t *testing.T) {
	r := newRig(t, 1, Options{})
	a, b, c := r.dial(0), r.dial(0), r.dial(0)
	carol := wire.Text("org", "ns", "carol").WithID(9, 9)
	for _, n := range []wire.NameText{bob, wire.Text("org", "ns", "b2").WithID(3, 4)} {
		b.subscribe(n, 0) // as a replay after a reconnect: several names, all with id 0
	}
	c.subscribe(carol, 7)
	b.abandon()
	d := r.dial(0)
	d.subscribe(carol, 7) // the id of another connection
	a.publish(header(alice, bob, 1, ""), 1, 10)
	a.publish(header(alice, wire.Text("org", "ns", "b2").WithID(3, 4), 1, ""), 1, 10)
	if n := c.count() + d.count(); n != 0 {
		t.Errorf("%d foreign messages arrived", n)
	}
	if got := r.stats().Dropped[ReasonNoMatch]; got != 2 {
		t.Errorf("no_match = %d, want 2", got)
	}
	c.abandon()
	a.publish(header(alice, carol, 1, ""), 1, 10)
	if n := d.count(); n != 1 {
		t.Errorf("the subscription that shares its id with a dead one got %d of 1", n)
	}
}

// Rules: P-sub-6.
func TestReplayedSubscriptionIsWithdrawnByItsOldID(t *testing.T) {
	r := newRig(t, 1, Options{})
	a, b := r.dial(0), r.dial(0)
	b.subscribe(bob, 0)
	b.unsubscribe(bob, 4711)
	b.wantAck(4711, true, "")
	a.publish(header(alice, bob, 1, ""), 1, 10)
	if n := b.count(); n != 0 {
		t.Error("a withdrawn name still attracts messages")
	}
}

// Rules: P-def-2, P-msg-2.
func TestEmptyMessageIsDroppedAndTheConnectionLives(t *testing.T) {
	r := newRig(t, 1, Options{})
	a, b := r.dial(0), r.dial(0)
	b.send(nil)
	b.send([]byte{0x22, 0x00}) // metadata alone
	b.subscribe(bob, 1)
	a.publish(header(alice, bob, 1, ""), 1, 10)
	if n := b.count(); n != 1 {
		t.Errorf("got %d messages after an empty one, want 1", n)
	}
	if got := r.stats().Dropped[ReasonInvalid]; got != 2 {
		t.Errorf("invalid = %d, want 2", got)
	}
}

// Rules: P-fwd-5, P-def-3.
func TestFanoutGoesOnPastAFailingTarget(t *testing.T) {
	for _, where := range placements {
		t.Run(where.name, func(t *testing.T) {
			r := newRig(t, where.loops, Options{})
			a := r.dial(where.source)
			var ps []*peer
			for i := range 3 {
				p := r.dial(where.dest)
				p.subscribe(group.WithID(uint64(i), 0), 1)
				ps = append(ps, p)
			}
			// The middle one ends between match and delivery: its stream is over, its socket refuses bytes.
			ps[1].c.dead.Store(true)
			a.publish(header(alice, group, 256, ""), 1, 10)
			if x, y := ps[0].count(), ps[2].count(); x != 1 || y != 1 {
				t.Errorf("first and last got %d and %d, want 1 and 1", x, y)
			}
			if got := r.stats().Dropped[ReasonGone]; got != 1 {
				t.Errorf("receiver_gone = %d, want 1", got)
			}
		})
	}
}

// Rules: P-ttl-1, P-ttl-2.
func TestTTLIsLoweredAndTheLastHopIsRefused(t *testing.T) {
	r := newRig(t, 1, Options{})
	a, b := r.dial(0), r.dial(0)
	b.subscribe(bob, 1)
	for ttl := range uint32(4) {
		h := header(alice, bob, 1, "")
		h.TTL = ttl
		a.publish(h, 1, 10)
	}
	if n := b.count(); n != 2 {
		t.Errorf("%d of the messages with ttl 0 to 3 arrived, want those with 2 and 3", n)
	}
	if got := r.stats().Dropped[ReasonTTL]; got != 2 {
		t.Errorf("ttl_expired = %d, want 2", got)
	}
	h := header(bob, group, 1, "")
	h.TTL = 1
	b.sign(h)
	b.send(wire.AppendSubscribe(nil, h, 5)) // dropped without ack, as upstream
	if n := b.count(); n != 0 {
		t.Error("a subscription on its last hop was answered")
	}
}

// Rules: P-fwd-3.
func TestNothingReturnsToItsSource(t *testing.T) {
	for _, fanout := range []uint32{0, 1, 2, 256} {
		t.Run(fmt.Sprint("fanout ", fanout), func(t *testing.T) {
			r := newRig(t, 1, Options{})
			a := r.dial(0)
			a.subscribe(group.WithID(1, 1), 1)
			a.publish(header(alice, group, fanout, ""), 1, 10)
			if n := a.count(); n != 0 {
				t.Error("the source got its own message")
			}
			b := r.dial(0)
			b.subscribe(group.WithID(2, 2), 1)
			for i := range 4 {
				a.publish(header(alice, group, fanout, ""), i, 10)
			}
			if n := b.count(); n != 4 || a.count() != 0 {
				t.Errorf("the other got %d of 4", n)
			}
		})
	}
}

// Rules: P-msg-8.
func TestRecvFromAndForwardToOfTheWireAreIgnored(t *testing.T) {
	r := newRig(t, 1, Options{})
	a, b, victim := r.dial(0), r.dial(0), r.dial(0)
	b.subscribe(bob, 1)
	_ = victim
	h := header(alice, bob, 1, "")
	p := wire.AppendPublish(nil, h, testSession, content(1, 10))
	m := decode(t, p)
	one := uint64(1)
	m.GetPublish().Header.ForwardTo, m.GetPublish().Header.RecvFrom = &one, &one
	a.send(a.resign(t, m))
	if n := b.count(); n != 1 {
		t.Errorf("the subscriber got %d of 1: forward_to of the wire was honoured", n)
	}
	if victim.count() != 0 {
		t.Error("forward_to of the wire was honoured")
	}
}

// Rules: P-msg-2, P-msg-3, P-mac-7.
func TestRefusalsOfBadInput(t *testing.T) {
	good := func(p *peer) []byte { return p.publication(header(alice, bob, 1, "id"), 1, 10) }
	cases := []struct {
		name    string
		send    func(p *peer)
		dropped Reason
		refused Reason
		ends    bool
	}{
		{"wrong MAC", func(p *peer) {
			h := header(alice, bob, 1, "id")
			p.sign(h)
			h.MAC[5] ^= 1
			p.send(wire.AppendPublish(nil, h, testSession, nil))
		}, ReasonMAC, 0, false},
		{"short MAC", func(p *peer) {
			h := header(alice, bob, 1, "id")
			h.MAC = []byte{1, 2, 3}
			p.send(wire.AppendPublish(nil, h, testSession, nil))
		}, ReasonMAC, 0, false},
		{"no MAC", func(p *peer) {
			p.send(wire.AppendPublish(nil, header(alice, bob, 1, "id"), testSession, nil))
		}, ReasonUnsigned, 0, false},
		{"MAC of another message", func(p *peer) {
			h := header(alice, bob, 1, "id")
			p.sign(h)
			h.Identity = "di"
			p.send(wire.AppendPublish(nil, h, testSession, nil))
		}, ReasonMAC, 0, false},
		{"no session header", func(p *peer) {
			h := header(alice, bob, 1, "id")
			p.sign(h)
			b := wire.AppendPublish(nil, h, nil, content(1, 1))
			p.send(b)
		}, ReasonInvalid, 0, false},
		{"no header", func(p *peer) { p.send([]byte{0x1a, 0x02, 0x12, 0x00}) }, ReasonInvalid, 0, false},
		{"truncated protobuf", func(p *peer) { g := good(p); p.send(g[:len(g)-3]) }, 0, ReasonUndecodable, true},
		{"no protobuf", func(p *peer) { p.send([]byte("GET / HTTP/1.1")) }, 0, ReasonUndecodable, true},
		{"compressed", func(p *peer) { p.raw(append([]byte{1, 0, 0, 0, 2}, 0, 0)) }, 0, ReasonCompressed, true},
		{"over 4 MiB", func(p *peer) { p.raw([]byte{0, 0, 0x40, 0, 1, 9}) }, 0, ReasonTooLarge, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 1, Options{})
			a, b := r.dial(0), r.dial(0)
			b.subscribe(bob, 1)
			c.send(a)
			c2 := r.stats()
			if c.dropped != 0 && c2.Dropped[c.dropped] != 1 {
				t.Errorf("dropped = %v, want one %v", c2.Dropped, c.dropped)
			}
			if c.refused != 0 && c2.Refused[c.refused] != 1 {
				t.Errorf("refused = %v, want one %v", c2.Refused, c.refused)
			}
			if b.count() != 0 {
				t.Error("it was delivered")
			}
			if c.ends {
				if a.end == nil || a.end.Kind != h2.KindTrailers || a.end.GRPCStatus != 0 {
					t.Fatalf("stream end = %+v, want trailers with status 0", a.end)
				}
				if n := r.stats().Connections; n != 1 {
					t.Errorf("%d connections live, want 1", n)
				}
				return
			}
			a.publish(header(alice, bob, 1, "id"), 1, 10)
			if n := b.count(); n != 1 {
				t.Errorf("the connection does not live on: %d of 1", n)
			}
		})
	}
}

// Rules: P-neg-2.
func TestNegotiationThatNeverComesEnds(t *testing.T) {
	r := newRig(t, 1, Options{NegotiationTimeout: 1})
	p := r.connect(0)
	p.open()
	p.c.opened = -time.Hour // by the real clock it may be later than the rig's seconds
	r.seconds(2)
	p.exchange()
	if p.end == nil || p.end.GRPCStatus != 0 {
		t.Fatalf("stream end = %+v, want status 0", p.end)
	}
	if got := r.stats().Refused[ReasonTimeout]; got != 1 {
		t.Errorf("negotiation_timeout = %d, want 1", got)
	}
}

// Rules: P-neg-1, P-neg-7.
func TestFirstMessageThatIsNoLinkEndsTheStream(t *testing.T) {
	r := newRig(t, 1, Options{})
	p := r.connect(0)
	p.open()
	p.send(wire.AppendPublish(nil, header(alice, bob, 1, ""), testSession, nil))
	if p.end == nil || p.end.GRPCStatus != 0 || len(p.got) != 0 {
		t.Fatalf("end %+v after %d messages, want status 0 and nothing said", p.end, len(p.got))
	}
}

// Rules: P-neg-10, P-tr-8.
func TestPeerToOneselfIsRefused(t *testing.T) {
	r := newRig(t, 1, Options{NodeID: "n1"})
	p := r.dialAs(0, wire.LinkPeer, "n1")
	p.exchange()
	if p.end == nil || p.end.GRPCStatus != 7 || p.end.Message != "self-connection rejected: same node_id" {
		t.Fatalf("end = %+v", p.end)
	}
	if n := r.stats().Connections; n != 0 {
		t.Errorf("%d connections", n)
	}
}

// Rules: P-tr-6.
func TestUnknownPathIsUnimplemented(t *testing.T) {
	r := newRig(t, 1, Options{})
	p := r.connect(0)
	p.openPath("/dataplane.proto.v1.DataPlaneService/Other")
	if p.end == nil || p.end.GRPCStatus != 12 {
		t.Fatalf("end = %+v, want status 12", p.end)
	}
}

// Rules: P-lim-3.
func TestSubscriptionLimit(t *testing.T) {
	r := newRig(t, 1, Options{MaxSubscriptions: 3})
	p := r.dial(0)
	for i := range uint64(3) {
		p.subscribe(bob.WithID(i, i), i+1)
	}
	h := header(alice, alice, 1, "")
	p.sign(h)
	p.send(wire.AppendSubscribe(nil, h, 9))
	p.wantAck(9, false, "too many subscriptions on this connection: the limit is 3")
	p.unsubscribe(bob.WithID(1, 1), 2)
	p.wantAck(2, true, "")
	p.subscribe(alice, 10)
}

// Rules: P-name-6.
func TestStringsThatDoNotHashStayOutOfTheTable(t *testing.T) {
	r := newRig(t, 1, Options{})
	p := r.dial(0)
	lie := bob
	lie.Str = [3]string{"org", "ns", "mallory"}
	p.subscribe(lie, 1)
	if _, ok := r.n.names.Strings(bob.Name.C); ok {
		t.Error("strings were kept that do not belong to the name")
	}
	if got := r.stats().Refused[ReasonStrings]; got != 1 {
		t.Errorf("name_strings = %d, want 1", got)
	}
}

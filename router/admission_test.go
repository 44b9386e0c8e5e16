package router

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/link"
)

// ended wants p's stream to have ended with PERMISSION_DENIED and that text, after the reply to its negotiation.
func (p *peer) ended(text string) {
	p.r.t.Helper()
	p.exchange()
	if p.end == nil || p.end.GRPCStatus != statusPermissionDenied || p.end.Message != text {
		p.r.t.Fatalf("stream ended: %+v, want PERMISSION_DENIED, %q", p.end, text)
	}
}

// Rules: P-neg-13.
func TestAKindThatIsNotAcceptedIsRefused(t *testing.T) {
	edgesOnly, err := ParseKinds("edge")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []wire.LinkKind{wire.LinkRemote, wire.LinkPeer} {
		r := newRig(t, 1, Options{AcceptKinds: edgesOnly})
		x := r.dialAs(0, kind, "n1")
		x.ended("connections of kind " + kindOf(kind).String() + " are not accepted here, only edge (--accept-kinds)")
		if r.stats().Refused[ReasonClaim] != 1 {
			t.Errorf("refused: %v, want one claim", r.stats().Refused)
		}
		a, b := r.dial(0), r.dial(0)
		a.subscribe(appName(1), 1)
		b.publish(header(appName(2), appName(1), 1, ""), 1, 10)
		if a.count() != 1 || x.count() != 0 {
			t.Error("a message did not reach the application that holds its name")
		}
	}
}

// The order of kinds is the protocol's, so who may be remote decides who gets anycast messages.
func TestRemoteLinksGoFirstWhereTheyAreAccepted(t *testing.T) {
	r := newRig(t, 1, Options{})
	a, b, x := r.dial(0), r.dial(0), r.dialAs(0, wire.LinkRemote, "n1")
	a.subscribe(appName(1), 1)
	x.subscribe(appName(1), 1)
	b.publish(header(appName(2), appName(1), 1, ""), 1, 10)
	if got := x.count(); got != 1 {
		t.Errorf("%d messages went to the remote link, want 1", got)
	}
}

// Rules: P-lim-4.
func TestLinksThatEndMakeRoomForOthers(t *testing.T) {
	for _, kind := range []wire.LinkKind{wire.LinkRemote, wire.LinkPeer} {
		r := newRig(t, 2, Options{MaxPeers: 2, MaxRemotes: 2})
		first := r.dialAs(0, kind, "n1")
		r.dialAs(1, kind, "n2")
		full := "too many links of kind " + kindOf(kind).String() + " at this node: the limit is 2"
		third := r.dialAs(0, kind, "n3")
		if third.exchange(); third.end == nil || !strings.HasPrefix(third.end.Message, full) {
			t.Fatalf("the third link ended: %+v, want %q", third.end, full)
		}
		third.abandon()
		first.abandon()
		if late := r.dialAs(0, kind, "n4"); late.c.state != active {
			t.Error("a link was refused although one has ended")
		}
	}
}

// One socket may carry many streams, but every dialer of peer links opens a socket for each.
func TestPeerLinksOfOneSocketAreBounded(t *testing.T) {
	r := newRig(t, 1, relaying)
	p := r.dialAs(0, wire.LinkPeer, "n0")
	for i := 1; i < peersPerSocket; i++ {
		p.negotiate(wire.LinkPeer, "n")
		if p.c.state != active {
			t.Fatalf("link %d of the socket was refused", i+1)
		}
	}
	p.negotiate(wire.LinkPeer, "n")
	p.ended("too many links of kind peer on one socket: the limit is 4")
	p.end = nil
	p.negotiate(wire.LinkEdge, "n")
	if p.c.state != active {
		t.Error("an edge connection was refused on the same socket")
	}
	p.abandon()
	if n := len(r.n.loops[0].peersOn); n != 0 {
		t.Errorf("%d sockets are still counted", n)
	}
}

// Rules: P-lim-3.
func TestNamesOfTheNodeAreBounded(t *testing.T) {
	r := newRig(t, 2, Options{RelayPeerPublishes: true, MaxNames: 3, MaxSubscriptions: 3})
	a, b, p := r.dial(0), r.dial(1), r.dialAs(0, wire.LinkPeer, "n1")
	p.hoard = true // deaf to news
	refused := func(x *peer, n wire.NameText) {
		t.Helper()
		x.request(n, 9)
		x.wantAck(9, false, "too many subscriptions at this node: the limit is 3")
	}
	a.request(appName(1), 0)
	a.request(appName(2), 0)
	p.hoard = false
	p.request(appName(3), 0)
	p.count()
	refused(b, appName(4))
	refused(p, appName(4))
	if got := r.stats().Refused[ReasonNames]; got != 2 {
		t.Errorf("%d refusals are counted, want 2", got)
	}
	a.abandon()
	r.settle()
	p.count()
	b.request(appName(4), 0)
	b.request(appName(5), 0)
	refused(b, appName(6))
	p.abandon()
	r.settle()
	b.subscribe(appName(6), 6)
}

func TestStringsOfTheNodeAreBounded(t *testing.T) {
	r := newRig(t, 1, Options{MaxNameBytes: 20})
	a := r.dial(0)
	a.subscribe(wire.Text("org", "ns", "a"), 1)
	a.subscribe(wire.Text("org", "ns", "a").WithID(1, 1), 2)
	a.subscribe(wire.Text("org", "ns", "b"), 3)
	a.request(wire.Text("org", "ns", strings.Repeat("c", 4)), 4)
	a.wantAck(4, false, "too many bytes of names at this node: the limit is 20")
}

// A peer that misses an answer keeps subscribers waiting once.
func TestSubscribersWaitForAMutePeerOnce(t *testing.T) {
	r := newRig(t, 1, relaying)
	p, a := r.dialAs(0, wire.LinkPeer, "mute"), r.dial(0)
	a.request(appName(1), 1)
	id := p.learns(appName(1), 8, false)
	r.seconds(5)
	r.settle()
	a.wantAck(1, true, "")
	a.subscribe(appName(2), 2) // answered at once
	p.count()
	p.ack(id)
	a.request(appName(3), 3)
	a.silent()
	p.ack(p.learns(appName(3), 8, false))
	a.wantAck(3, true, "")
}

// A node that lost its power dials again: the new link is used at once, and the old one is asked whether it lives.
//
// Rules: P-peer-11.
func TestANodeThatDialsAgainIsNotHeldUpByItsOldLink(t *testing.T) {
	for _, alive := range []bool{false, true} {
		r := newRig(t, 2, relaying)
		old, a := r.dialAs(0, wire.LinkPeer, "n1"), r.dial(1)
		old.subscribe(appName(1), 7)
		old.paused = !alive
		again := r.dialAs(1, wire.LinkPeer, "n1")
		again.count() // what it is told of its old self
		again.request(appName(1), 7)
		again.count()
		a.publish(header(appName(2), appName(1), 1, ""), 1, 10)
		if got := again.count(); got != 1 {
			t.Errorf("old link alive %v: %d messages went over the new one, want 1", alive, got)
		}
		old.exchange() // answers, if it is not dead
		l := r.n.loops[0]
		l.post(func() { l.group.Tick(time.Now().Add(10 * time.Second)) })
		r.settle()
		if old.shut() == alive {
			t.Errorf("old link alive %v: it was closed: %v", alive, old.shut())
		}
		if want := map[bool]int{true: 2, false: 1}[alive]; len(r.n.loops[0].peersOn)+len(r.n.loops[1].peersOn) != want {
			t.Errorf("old link alive %v: want %d peer links", alive, want)
		}
		again.count()
		a.publish(header(appName(2), appName(1), 1, ""), 2, 10)
		if got := again.count(); got != 1 {
			t.Errorf("old link alive %v: the second message did not go over the new one", alive)
		}
	}
}

// Another node's link is left alone.
func TestALinkToAnotherNodeIsNotProbed(t *testing.T) {
	r := newRig(t, 1, relaying)
	old := r.dialAs(0, wire.LinkPeer, "n1")
	old.paused = true
	r.dialAs(0, wire.LinkPeer, "n2")
	l := r.n.loops[0]
	l.post(func() { l.group.Tick(time.Now().Add(10 * time.Second)) })
	r.settle()
	if old.shut() {
		t.Error("the link to another node was closed")
	}
}

// court is a verifier that the test plays.
type court struct {
	claims  []claim
	answers []func(error)
}

func (v *court) verify(x claim, answer func(error)) {
	v.claims = append(v.claims, x)
	v.answers = append(v.answers, answer)
}

// knock opens a stream and asks for a link, without waiting for the answer.
func (r *rig) knock(loop int, kind wire.LinkKind, nodeID string) (*peer, *link.Machine) {
	r.t.Helper()
	p := r.connect(loop)
	p.open()
	m := link.New(&link.Config{Role: link.Dialer, LinkID: "link", Kind: kind, Version: "3.4.6", NodeID: nodeID, Strict: true})
	req, err := m.Start(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	p.send(req)
	return p, m
}

// A verifier may take its time: until it answers, the dialer hears nothing and the connection is in no table.
func TestAVerifierAnswersLater(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(r *rig, v *court, p *peer)
		// what becomes of the connection
		reply  bool
		active bool
		text   string // of PERMISSION_DENIED, if it is refused
		reason Reason // counted once
	}{
		{"yes", func(r *rig, v *court, p *peer) { v.answers[0](nil) }, true, true, "", reasonNone},
		{"no", func(r *rig, v *court, p *peer) { v.answers[0](errors.New("no such node")) }, true, false, "no such node", ReasonClaim},
		{"yes, and then no", func(r *rig, v *court, p *peer) { v.answers[0](nil); v.answers[0](errors.New("no")) }, true, true, "", reasonNone},
		{"yes to a kind that is not accepted", func(r *rig, v *court, p *peer) {
			r.n.claims.accept = table.Only(table.Edge)
			v.answers[0](nil)
		}, true, false, "connections of kind peer are not accepted here, only edge (--accept-kinds)", ReasonClaim},
		{"a message before the answer", func(r *rig, v *court, p *peer) {
			p.send(wire.AppendAck(nil, 1, true, ""))
			v.answers[0](nil)
		}, false, false, "", ReasonNegotiation},
		{"no answer in time", func(r *rig, v *court, p *peer) {
			for _, l := range r.n.loops {
				l.post(func() { l.expireSetups(time.Now().Add(time.Minute)) })
			}
			r.settle()
			v.answers[0](nil)
		}, false, false, "", ReasonTimeout},
		{"the dialer leaves", func(r *rig, v *court, p *peer) {
			p.abandon()
			v.answers[0](nil)
		}, false, false, "", reasonNone},
		{"a write to the dialer fails", func(r *rig, v *court, p *peer) {
			p.c.Muted()
			v.answers[0](nil)
		}, false, true, "", reasonNone},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, v := newRig(t, 1, relaying), &court{}
			r.n.claims.verify = v.verify
			p, m := r.knock(0, wire.LinkPeer, "n1")
			if len(v.claims) != 1 || v.claims[0] != (claim{kind: wire.LinkPeer, node: "n1"}) {
				t.Fatalf("claims %+v", v.claims)
			}
			if p.count() != 0 || p.c.state != claimed || r.n.peers.mesh.Load() != nil {
				t.Fatal("the connection did not wait for the verifier")
			}
			c, key := p.c, p.c.pending.res.Key
			tc.do(r, v, p)
			r.settle()
			if !p.shut() {
				p.exchange()
			}
			if got := len(p.got) > 0; got != tc.reply || c.state == active != tc.active {
				t.Errorf("answered %v, state %v; want %v, active %v", got, c.state, tc.reply, tc.active)
			}
			if tc.reply {
				if _, err := m.Step(nil, p.got[0]); err != nil {
					t.Errorf("negotiation: %v", err)
				}
			}
			if tc.text != "" {
				p.ended(tc.text)
			}
			for q := range numReasons {
				want := uint64(0)
				if q == tc.reason && q != reasonNone {
					want = 1
				}
				if got := r.stats().Refused[q]; got != want {
					t.Errorf("%d refusals for %v, want %d", got, q, want)
				}
			}
			p.abandon()
			if c.pending != nil || !bytes.Equal(key, make([]byte, len(key))) {
				t.Error("the key of the link is still there")
			}
			if n := r.n.claims.granted[table.Peer].Load(); n != 0 {
				t.Errorf("%d grants are not given back", n)
			}
		})
	}
}

func TestAVerifierMayAnswerAtOnce(t *testing.T) {
	r := newRig(t, 1, Options{})
	r.n.claims.verify = func(x claim, answer func(error)) { answer(nil) }
	a, b := r.dial(0), r.dial(0)
	a.subscribe(appName(1), 1)
	b.publish(header(appName(2), appName(1), 1, ""), 1, 10)
	if a.count() != 1 {
		t.Error("no message came")
	}
}

// A dialer that is gone before its negotiation is read, which a failed write tells, is active without having been in
// the table's sight. Many of them must not use up what the kind may have.
func TestAGrantToOneWhoIsGoneIsGivenBack(t *testing.T) {
	for _, kind := range []wire.LinkKind{wire.LinkPeer, wire.LinkRemote, wire.LinkEdge} {
		r := newRig(t, 1, Options{MaxPeers: 1, MaxRemotes: 1})
		p := r.connect(0)
		p.open()
		m := link.New(&link.Config{Role: link.Dialer, LinkID: "link", Kind: kind, Version: "3.4.6", NodeID: "gone", Strict: true})
		req, err := m.Start(nil)
		if err != nil {
			t.Fatal(err)
		}
		p.c.Muted() // what came before the failed write is still read
		p.send(req)
		if p.c.state != active || p.count() != 0 {
			t.Fatalf("kind %v: state %v, %d answers", kind, p.c.state, len(p.got))
		}
		p.abandon()
		if q := r.dialAs(0, kind, "honest"); q.c.state != active {
			t.Errorf("kind %v: the next is refused: state %v, %q", kind, q.c.state, q.c.message)
		}
		if n := r.n.claims.granted[kindOf(kind)].Load(); n != 1 {
			t.Errorf("kind %v: %d grants, one is held", kind, n)
		}
	}
}

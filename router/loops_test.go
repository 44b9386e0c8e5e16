package router

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/seed31b3bfd0/slimgo/router/mesh"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
	"google.golang.org/protobuf/proto"
)

// probes acknowledges the probes that p was told, which are all that it was, and returns what it was told of the last one.
func (p *peer) probes() (last *wire.PublishHeader, id uint64) {
	p.r.t.Helper()
	for _, b := range p.takeAll() {
		var x pb.Message
		if err := proto.Unmarshal(b, &x); err != nil {
			p.r.t.Fatal(err)
		}
		if s := x.GetSubscribe(); s != nil {
			str := s.GetHeader().GetDestination().GetStrName()
			n := wire.Text(str.GetStrComponent_0(), str.GetStrComponent_1(), str.GetStrComponent_2())
			if !mesh.IsProbe(&n.Name) {
				p.r.t.Errorf("told of %v", n)
			}
			last = &wire.PublishHeader{Source: n, Dest: n, Fanout: 1, TTL: s.GetHeader().GetTtl() - 1, Version: "3.4.6"}
			id = s.GetSubscriptionId()
			p.ack(id)
		}
	}
	return last, id
}

func (p *peer) takeAll() [][]byte {
	p.exchange()
	got := p.got
	p.got = nil
	return got
}

// hears reports whether one of some messages subscribes to n.
func hears(messages [][]byte, n wire.NameText) bool {
	return slices.ContainsFunc(messages, func(b []byte) bool {
		var m wire.Message
		var hd wire.Header
		return wire.Scan(b, &m) == nil && m.Kind == wire.KindSubscribe && wire.ParseHeader(m.Header.Of(b), &hd) == nil && hd.Dest.Name == n.Name
	})
}

// Two peers that are linked with each other pass on what the node asks one of them: the link that comes later in the order of
// all stands by. Nothing passes on it until the other one is lost, then it takes over. Rules: P-loop-1, P-loop-3, P-loop-4.
func TestLinkThatClosesALoopStandsBy(t *testing.T) {
	j := newJournal(slog.LevelInfo)
	r := newRig(t, 2, Options{RelayPeerPublishes: true, Log: j.log()})
	r.n.peers.loops = false
	p, app := r.dialAs(0, wire.LinkPeer, "n1"), r.dial(0)
	if ps := r.n.Peers(); len(ps) != 1 || !ps[0].Open {
		t.Fatalf("%+v: the only link is not open", ps)
	}
	app.request(appName(1), 1)
	p.ack(p.learns(appName(1), 8, false))
	app.wantAck(1, true, "")
	q := r.dialAs(1, wire.LinkPeer, "n2")
	if ps := r.n.Peers(); len(ps) != 2 || ps[1].Open || ps[1].Standby {
		t.Fatalf("%+v: the second link is not looked at", ps)
	}
	ofP, idP := p.probes()
	ofQ, idQ := q.probes()
	if ofP == nil || ofQ == nil {
		t.Fatal("no probes")
	}
	q.send(wire.AppendSubscribe(nil, ofP, idP)) // one of these is heeded: that of the link that comes later
	p.send(wire.AppendSubscribe(nil, ofQ, idQ))
	p.takeAll()
	q.takeAll()
	ps := r.n.Peers()
	if ps[0].Standby == ps[1].Standby {
		t.Fatalf("%+v: want one of them to stand by", ps)
	}
	stands, open, says := p, q, "node=n1 loop_through=n2"
	if ps[1].Standby {
		stands, open, says = q, p, "node=n2 loop_through=n1"
	}
	j.wait(t, says)
	r.seconds(3)
	if ps = r.n.Peers(); ps[0].Open == ps[1].Open {
		t.Fatalf("%+v: want the other one to be open", ps)
	}
	open.takeAll()
	stands.takeAll()
	before := r.stats().Dropped[ReasonNoMatch]
	stands.publish(header(appName(2), appName(1), 256, ""), 1, 10)
	app.silent()
	if n := r.stats().Dropped[ReasonNoMatch] - before; n != 1 {
		t.Errorf("%d messages died without a receiver, want that of the link that stands by", n)
	}
	open.publish(header(appName(2), appName(1), 256, ""), 1, 10)
	if n := app.count(); n != 1 {
		t.Errorf("%d messages by the open link, want 1", n)
	}
	open.abandon()
	r.settle()
	if ps = r.n.Peers(); len(ps) != 1 || !ps[0].Open {
		t.Fatalf("%+v: the link that is left is not open", ps)
	}
	if !hears(stands.takeAll(), appName(1)) {
		t.Error("on the link that is left the name is not told")
	}
	stands.publish(header(appName(2), appName(1), 256, ""), 1, 10)
	if n := app.count(); n != 1 {
		t.Errorf("%d messages by the link that has taken over, want 1", n)
	}
}

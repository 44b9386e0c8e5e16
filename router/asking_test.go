package router

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// asks stages a stream of p that asks for a link of that kind, and says more in the same breath.
func (p *peer) asks(kind wire.LinkKind, more ...[]byte) *h2.Stream {
	p.r.t.Helper()
	s, err := p.cli.Open([]h2.Field{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "test"}, {Name: ":path", Value: openChannelPath}})
	if err != nil {
		p.r.t.Fatal(err)
	}
	p.out = append(p.out, p.cli.Control()...)
	p.cli.ControlDone()
	request := wire.AppendLink(nil, &wire.LinkNegotiation{LinkID: "l", Version: "3.4.6", Kind: kind, NodeID: fmt.Sprint("n", s.ID),
		Key: append([]byte{9}, make([]byte, 31)...)})
	for _, msg := range append([][]byte{request}, more...) {
		b := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(msg))), msg...)
		var n int
		if p.out, n = p.cli.Data(p.out, s, len(b)); n != len(b) {
			p.r.t.Fatal("no window")
		}
		p.out = append(p.out, b...)
		p.cli.Cut()
	}
	return s
}

// reset has p give up a stream.
func (p *peer) reset(s *h2.Stream) {
	p.cli.Reset(s, h2.Cancel)
	p.out = append(p.out, p.cli.Control()...)
	p.cli.ControlDone()
}

// say feeds what p has staged in one read.
func (p *peer) say() {
	out := p.out
	p.out = nil
	p.feed(out)
}

// Whoever asks for a hundred links in one read has others wait for a few of them at most, and gets all.
func TestNegotiationsOfOneReadAreAnsweredInTurns(t *testing.T) {
	r := newRig(t, 1, Options{})
	p := r.connect(0)
	for range 100 {
		p.asks(wire.LinkEdge)
	}
	l := r.n.loops[0]
	p.say()
	for before := uint64(0); ; {
		n := l.n.negotiated - before
		before += n
		if n > asksPerTurn {
			t.Fatalf("%d negotiations were answered in one callback, want at most %d", n, asksPerTurn)
		}
		if !r.loops[0].Woken() {
			break
		}
		r.loops[0].RunTurn()
	}
	if l.n.negotiated != 100 {
		t.Errorf("%d negotiations of 100 were answered", l.n.negotiated)
	}
	if p.exchange(); len(p.got) != 100 {
		t.Errorf("%d answers came", len(p.got))
	}
}

// Links of peers are not signed: one may say more before it has the answer. It is heard after it, in order.
func TestWhatComesAfterANegotiationWaitsWithIt(t *testing.T) {
	r := newRig(t, 1, Options{RelayPeerPublishes: true, MaxPeers: 64})
	a := r.dial(0)
	a.subscribe(alice, 1)
	for _, where := range []struct {
		name  string
		first int // who ask before
	}{{"at once", 0}, {"waiting", asksPerTurn}} {
		t.Run(where.name, func(t *testing.T) {
			busy, p := r.connect(0), r.connect(0)
			for range where.first {
				p.asks(wire.LinkEdge)
			}
			h := header(bob, alice, 1, "")
			var publishes [][]byte
			for i := range 5 {
				publishes = append(publishes, wire.AppendPublish(nil, h, testSession, content(i, 10)))
			}
			p.asks(wire.LinkPeer, publishes...)
			p.say()
			if got, want := len(r.n.loops[0].asking.conns.items) > 0, where.first > 0; got != want {
				t.Fatalf("waiting: %v, want %v", got, want)
			}
			r.settle()
			a.exchange()
			if len(a.got) != len(publishes) {
				t.Fatalf("%d of %d messages came", len(a.got), len(publishes))
			}
			for i, m := range a.got {
				if numberOf(m) != i {
					t.Errorf("message %d is number %d", i, numberOf(m))
				}
			}
			a.got = nil
			busy.abandon()
			p.abandon()
		})
	}
}

// Who leaves while it waits costs nothing but that; who only has no more to say gets its answer.
func TestNegotiationsThatWaitAndEnd(t *testing.T) {
	r := newRig(t, 1, Options{})
	p := r.connect(0)
	for range 50 {
		p.reset(p.asks(wire.LinkEdge))
	}
	last := p.asks(wire.LinkEdge)
	p.out = p.cli.HalfClose(p.out, last)
	p.say()
	r.settle()
	s := r.stats()
	if s.Negotiated > asksPerTurn+1 {
		t.Errorf("%d negotiations were answered of those who had left", s.Negotiated)
	}
	if p.exchange(); len(p.got) != 1 || p.end == nil || p.end.GRPCStatus != 0 {
		t.Errorf("%d answers, end %+v; want the one and status 0", len(p.got), p.end)
	}
	if n := r.n.open.Load(); n != 0 {
		t.Errorf("%d connections are open", n)
	}
}

// What a connection says while it waits is bounded.
func TestNegotiationsThatWaitAreBounded(t *testing.T) {
	r := newRig(t, 1, Options{AllowUnsigned: true})
	p := r.connect(0)
	for range asksPerTurn {
		p.asks(wire.LinkEdge)
	}
	h := header(bob, alice, 1, "")
	var more [][]byte
	for i := range 20 {
		more = append(more, wire.AppendPublish(nil, h, testSession, content(i, 1000)))
	}
	p.asks(wire.LinkRemote, more...)
	p.say()
	if s := r.stats(); s.Negotiated != asksPerTurn+1 {
		t.Errorf("%d negotiations were answered, want all: the last has said too much to wait", s.Negotiated)
	}
	r.settle()
	if s := r.stats(); s.Negotiated != asksPerTurn+1 {
		t.Errorf("%d negotiations were answered of %d", s.Negotiated, asksPerTurn+1)
	}
}

// answeredInTurns runs the first loop until it is not woken any more. It fails if a callback answers more
// negotiations than it may.
func (r *rig) answeredInTurns(t *testing.T, before uint64) {
	t.Helper()
	l := r.n.loops[0]
	for {
		n := l.n.negotiated - before
		before += n
		if n > asksPerTurn {
			t.Fatalf("%d negotiations were answered in one callback, want at most %d", n, asksPerTurn)
		}
		if !r.loops[0].Woken() {
			return
		}
		r.loops[0].RunTurn()
	}
}

// Nothing that a peer adds to its requests for next to nothing has them answered at once: not the end of its streams,
// nor that of its socket, nor very short messages. Rules: P-lim-15.
func TestNoShortcutToAnAnswer(t *testing.T) {
	const count = 60
	for _, tc := range []struct {
		what string
		more [][]byte
		end  bool // of each stream
		fin  bool
	}{
		{"the end of a stream", nil, true, false},
		{"the end of the socket", nil, false, true},
		{"short messages", make([][]byte, 40), false, false},
	} {
		t.Run(tc.what, func(t *testing.T) {
			r := newRig(t, 1, Options{AllowUnsigned: true})
			p := r.connect(0)
			for range count {
				s := p.asks(wire.LinkEdge, tc.more...)
				if tc.end {
					p.out = p.cli.HalfClose(p.out, s)
				}
			}
			p.deliver()
			if tc.fin {
				before := r.n.loops[0].n.negotiated
				p.fin()
				r.answeredInTurns(t, before)
			} else {
				r.answeredInTurns(t, 0)
			}
			if n := r.n.loops[0].n.negotiated; n != count {
				t.Errorf("%d negotiations of %d were answered", n, count)
			}
			if p.read(); len(p.got) != count {
				t.Errorf("%d answers came", len(p.got))
			}
			if tc.end || tc.fin {
				if n := r.n.open.Load(); n != 0 {
					t.Errorf("%d connections are open", n)
				}
			}
		})
	}
}

// A node that stops forwards what waits for the answer to its negotiation, too. Rules: P-end-3.
func TestWhatWaitsForAnAnswerIsWaitedFor(t *testing.T) {
	r := newRig(t, 1, Options{RelayPeerPublishes: true, MaxPeers: 64})
	a := r.dial(0)
	a.subscribe(alice, 1)
	p := r.connect(0)
	const before, count = 60, 4
	for range before {
		p.asks(wire.LinkEdge)
	}
	for i := range count {
		p.asks(wire.LinkPeer, wire.AppendPublish(nil, header(bob, alice, 1, ""), testSession, content(i, 10)))
	}
	p.deliver()
	if r.n.loops[0].asking.conns.len() == 0 {
		t.Fatal("nobody waits: the test shows nothing")
	}
	r.forward(t)
	if n := r.stats().Delivered; n != count {
		t.Errorf("%d of %d messages have been delivered when nothing is waited for any more", n, count)
	}
}

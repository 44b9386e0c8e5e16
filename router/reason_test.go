package router

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth/rules"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// unhashed is a name whose strings hash to another.
func unhashed() wire.NameText {
	n := appName(1)
	n.Str[0] = "else"
	return n
}

// provocations cause each reason once, and nothing else that is counted.
var provocations = []struct {
	reason  Reason
	refused bool // it counts a request or a peer; else a message
	loops   int
	opt     Options
	do      func(r *rig)
}{
	{ReasonNoMatch, false, 1, Options{}, func(r *rig) { r.dial(0).publish(header(alice, bob, 1, ""), 1, 10) }},
	{ReasonNoMatch, false, 1, Options{}, func(r *rig) { r.dial(0).publish(header(alice, group, 256, ""), 1, 10) }},
	{ReasonTTL, false, 1, Options{}, func(r *rig) {
		h := header(alice, bob, 1, "")
		h.TTL = 1
		r.dial(0).publish(h, 1, 10)
	}},
	{ReasonMAC, false, 1, Options{}, func(r *rig) {
		a, h := r.dial(0), header(alice, bob, 1, "")
		a.sign(h)
		h.MAC[3] ^= 1
		a.send(wire.AppendPublish(nil, h, testSession, nil))
	}},
	{ReasonUnsigned, false, 1, Options{}, func(r *rig) {
		r.dial(0).send(wire.AppendPublish(nil, header(alice, bob, 1, ""), testSession, nil))
	}},
	{ReasonInvalid, false, 1, Options{}, func(r *rig) { r.dial(0).send([]byte{0x1a, 0x02, 0x12, 0x00}) }},
	{ReasonRepeated, false, 1, Options{}, func(r *rig) {
		old, young := r.replacing(0, 0)
		r.dial(0).subscribe(group, 1)
		old.publish(header(alice, group, 256, ""), 1, 10)
		young.publish(header(alice, group, 256, ""), 1, 10)
	}},
	{ReasonUndecodable, true, 1, Options{}, func(r *rig) { r.dial(0).send([]byte("GET / HTTP/1.1")) }},
	{ReasonTooLarge, true, 1, Options{}, func(r *rig) { r.dial(0).raw([]byte{0, 0, 0x40, 0, 1, 9}) }},
	{ReasonCompressed, true, 1, Options{}, func(r *rig) { r.dial(0).raw([]byte{1, 0, 0, 0, 2, 0, 0}) }},
	{ReasonStalled, false, 1, Options{}, func(r *rig) {
		a, b := r.dial(0), r.dial(0)
		b.subscribe(bob, 1)
		b.c.q.stalled = true
		r.n.loops[0].n.stalled++
		b.paused = true
		for b.c.q.n == 0 && r.stats().Dropped[ReasonStalled] == 0 {
			a.publish(header(alice, bob, 1, ""), 1, 50_000)
		}
	}},
	{ReasonFull, false, 1, Options{SlowConsumer: Drop, ConnBuffer: MinConnBuffer}, func(r *rig) {
		a, b := r.dial(0), r.dial(0)
		b.subscribe(bob, 1)
		b.paused = true
		for r.stats().Dropped[ReasonFull] == 0 {
			a.publish(header(alice, bob, 1, ""), 1, 6_000)
		}
	}},
	{ReasonQueued, false, 1, Options{SlowConsumer: Block, ConnBuffer: 8 << 20, MaxQueued: MinMaxQueued}, func(r *rig) {
		a, b := r.dial(0), r.dial(0)
		b.subscribe(bob, 1)
		b.paused = true
		for r.stats().Dropped[ReasonQueued] == 0 {
			a.publish(header(alice, bob, 1, ""), 1, 20_000)
		}
	}},
	{ReasonGone, false, 1, Options{}, func(r *rig) {
		a, b := r.dial(0), r.dial(0)
		b.subscribe(bob, 1)
		b.paused = true
		for b.c.q.n == 0 {
			a.publish(header(alice, bob, 1, ""), 1, 50_000)
		}
		b.abandon()
	}},
	{ReasonGone, false, 2, Options{}, func(r *rig) {
		a, b := r.dial(0), r.dial(1)
		b.subscribe(bob, 1)
		a.stage(a.publication(header(alice, bob, 1, ""), 1, 10))
		out := a.out
		a.out = nil
		a.cli.Cut()
		a.feed(out) // it is under way to b's loop
		b.loop.Hangup(b.sock, nil)
		r.settle()
	}},
	{ReasonNegotiation, true, 1, Options{}, func(r *rig) {
		p := r.connect(0)
		p.open()
		p.send([]byte{0x2a, 0x00})
	}},
	{ReasonTimeout, true, 1, Options{}, func(r *rig) {
		r.connect(0).open()
		r.seconds(30)
	}},
	{ReasonTimeout, true, 1, Options{}, func(r *rig) {
		r.connect(0).exchange()
		r.seconds(30)
	}},
	{ReasonPeer, true, 1, Options{NodeID: "me"}, func(r *rig) { r.dialAs(0, wire.LinkPeer, "me") }},
	{ReasonPath, true, 1, Options{}, func(r *rig) { r.connect(0).openPath("/else") }},
	{ReasonProtocol, true, 1, Options{}, func(r *rig) {
		p := r.dial(0)
		p.feed([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0}) // DATA of stream 0
	}},
	{ReasonFlood, true, 1, Options{}, func(r *rig) {
		p := r.dial(0)
		p.paused = true
		for range 100_000 {
			if p.shut() {
				break
			}
			p.feed([]byte{0, 0, 5, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}) // PRIORITY
		}
	}},
	{ReasonSubscriptions, true, 1, Options{MaxSubscriptions: 1}, func(r *rig) {
		p := r.dial(0)
		p.subscribe(appName(1), 1)
		p.request(appName(2), 2)
	}},
	{ReasonNames, true, 1, Options{MaxNames: 1, MaxSubscriptions: 1}, func(r *rig) {
		r.dial(0).subscribe(appName(1), 1)
		r.dial(0).request(appName(2), 2)
	}},
	{ReasonSubscribe, true, 1, Options{}, func(r *rig) { r.dial(0).unsubscribe(appName(1), 1) }},
	{ReasonStrings, true, 1, Options{}, func(r *rig) { r.dial(0).subscribe(unhashed(), 1) }},
	{ReasonKeepalive, true, 1, Options{KeepaliveTime: time.Second, KeepaliveTimeout: 2 * time.Second}, func(r *rig) {
		p := r.dial(0)
		p.paused = true
		r.seconds(10)
	}},
	{ReasonUnfinished, true, 1, Options{}, func(r *rig) {
		p := r.dial(0)
		p.raw([]byte{0, 0, 0, 0, 9, 1})
		p.feed([]byte{0, 0, 9, 0}) // a frame that does not become complete
		r.seconds(20)
	}},
	{ReasonConnections, true, 1, Options{MaxConnections: 1}, func(r *rig) {
		r.dial(0)
		r.connect(0).open()
	}},
	{ReasonHeader, false, 1, Options{MaxHeader: MinMaxHeader}, func(r *rig) {
		r.dial(0).publish(header(alice, bob, 1, strings.Repeat("x", MinMaxHeader)), 1, 10)
	}},
	{ReasonEnded, false, 1, Options{}, func(r *rig) {
		a := r.dial(0)
		a.paused = true // it has not read the end of its stream
		r.finish()
		a.publish(header(alice, bob, 1, ""), 1, 10)
	}},
	{ReasonEnded, false, 1, Options{ConnBuffer: 8 << 20}, func(r *rig) {
		a, b := r.dial(0), r.dial(0)
		a.subscribe(alice, 1)
		a.paused = true
		for a.c.q.n == 0 { // the end of its stream waits
			b.publish(header(bob, alice, 1, ""), 1, 50_000)
		}
		r.finish()
		a.publish(header(alice, bob, 1, ""), 1, 10)
	}},
	{ReasonPath, true, 1, Options{}, func(r *rig) { r.connectWS(0, "/else").exchange() }},
	{ReasonHandshake, true, 1, Options{}, func(r *rig) {
		f := r.connectWS(0, "/")
		f.loop.Deliver(f.sock, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	}},
	{ReasonHandshake, true, 1, Options{}, func(r *rig) {
		f := r.connectWS(0, "/")
		f.loop.Deliver(f.sock, []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	}},
	{ReasonExpand, true, 1, Options{}, func(r *rig) {
		p := r.connect(0)
		p.open(h2.Field{Name: "grpc-encoding", Value: "gzip"})
		p.raw([]byte{1, 0, 0, 0, 3, 'x', 'y', 'z'})
	}},
	{ReasonExpanded, true, 1, Options{}, func(r *rig) {
		p := r.connect(0)
		p.open(h2.Field{Name: "grpc-encoding", Value: "snappy"})
		b := new(compress.Compressor).Append(nil, compress.Snappy, nil, make([]byte, 17<<10)) // a stranger's first
		p.raw(append([]byte{1, 0, 0, byte(len(b) >> 8), byte(len(b))}, b...))
	}},
	{ReasonWebSocket, true, 1, Options{}, func(r *rig) { r.join(webSocketKind, 0).frame(0x81, []byte("text")) }},
	{ReasonTooLarge, true, 1, Options{}, func(r *rig) {
		f := r.connectWS(0, "/")
		f.exchange()
		f.frame(0x82, make([]byte, 17<<10))
	}},
	{ReasonFlood, true, 1, Options{}, func(r *rig) {
		a := r.join(webSocketKind, 0)
		for range 5000 {
			a.frame(0x89, nil)
		}
	}},
	{ReasonTimeout, true, 1, Options{}, func(r *rig) {
		r.connectWS(0, "/").exchange()
		r.seconds(30)
	}},
	{ReasonTimeout, true, 1, Options{}, func(r *rig) {
		dialWebSocket(r, 0)
		r.seconds(30)
	}},
	{ReasonKeepalive, true, 1, Options{KeepaliveTime: time.Second, KeepaliveTimeout: 2 * time.Second}, func(r *rig) {
		r.join(webSocketKind, 0).pause(true)
		r.seconds(10)
	}},
	{ReasonUnfinished, true, 1, Options{}, func(r *rig) {
		a := r.join(webSocketKind, 0)
		a.ws().loop.Deliver(a.ws().sock, []byte{0x82}) // a frame that does not become complete
		r.seconds(20)
	}},
	{ReasonUnfinished, true, 1, Options{KeepaliveTime: -1}, func(r *rig) {
		a := r.join(webSocketKind, 0)
		a.frame(0x02, []byte("a fragment")) // a message that does not become complete
		r.seconds(200)
	}},
	{ReasonConnections, true, 1, Options{MaxConnections: 1}, func(r *rig) {
		r.dial(0)
		r.connectWS(0, "/").exchange()
	}},
	{ReasonDenied, false, 1, Options{Authorization: anySubscription}, func(r *rig) {
		a, b := r.dial(0), r.dial(0)
		b.subscribe(bob, 1)
		a.publish(header(alice, bob, 1, ""), 0, 100)
	}},
	{ReasonDenied, true, 1, Options{Authorization: anySubscription}, func(r *rig) {
		r.dial(0).request(wire.Text("x", "y", "z"), 1)
	}},
	{ReasonClaim, true, 1, Options{Authorization: anySubscription}, func(r *rig) {
		r.dialAs(0, wire.LinkRemote, "n1")
	}},
	{ReasonClaim, true, 1, Options{MaxRemotes: 1}, func(r *rig) {
		r.dialAs(0, wire.LinkRemote, "n1")
		r.dialAs(0, wire.LinkRemote, "n2")
	}},
}

// anySubscription lets edges subscribe to names of org/ns, and nobody do anything else.
var anySubscription = func() *rules.Set {
	set, _ := rules.Compile(&rules.Source{Rules: []rules.Rule{ruleFor("", "edge", "org/ns/*", "", "")}})
	return set
}()

// finish ends all connections of the rig, as when the node stops.
func (r *rig) finish() {
	for _, l := range r.n.loops {
		l.post(l.drain)
		l.post(l.finishAll)
	}
	r.settle()
}

// elsewhere are the reasons that other tests count exactly, because they take many messages or real sockets:
// TestAcknowledgementsNobodyReadsEndTheConnection, TestUnfinishedMessagesOfAllSocketsAreBounded,
// TestClientsBeyondMaxSocketsWait, TestHandshakesThatFailAreCountedAndLogged, TestAnswersToRequestsWithoutRightCredentials,
// TestConnectionsAreJudgedAgain.
var elsewhere = []Reason{ReasonBacklog, ReasonMemory, ReasonSockets, ReasonTLS, ReasonTLSTimeout, ReasonTLSPlain,
	ReasonTLSMismatch, ReasonTLSCertificate, ReasonTLSRefused, ReasonTLSReset, ReasonUnauthorized, ReasonForbidden, ReasonUnjudged,
	ReasonRevoked}

func TestEachReasonCountsWhatItSaysOnce(t *testing.T) {
	seen := map[Reason]bool{}
	for i, tc := range provocations {
		seen[tc.reason] = true
		t.Run(fmt.Sprint(i, " ", tc.reason), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // some are timed by the real clock, which stands still here
				r := newRig(t, tc.loops, tc.opt)
				tc.do(r)
				r.settle()
				s := r.stats()
				dropped, refused := map[Reason]uint64{}, map[Reason]uint64{}
				if tc.refused {
					refused[tc.reason] = 1
				} else {
					dropped[tc.reason] = 1
				}
				if !maps.Equal(s.Dropped, dropped) || !maps.Equal(s.Refused, refused) {
					t.Errorf("dropped %v, refused %v; want %v and %v", s.Dropped, s.Refused, dropped, refused)
				}
				if s.Panics != 0 {
					t.Errorf("%d panics", s.Panics)
				}
			})
		})
	}
	for r := reasonNone + 1; r < numReasons; r++ {
		if !seen[r] && !slices.Contains(elsewhere, r) {
			t.Errorf("nothing provokes %v", r)
		}
	}
}

// Each reason is one under which messages die, or somebody is turned away.
func TestReasonsAreOfAKind(t *testing.T) {
	for _, r := range Reasons() {
		if !r.Drops() && !r.Refuses() {
			t.Errorf("%v is of no kind", r)
		}
	}
	if ReasonTLSTimeout.Drops() || ReasonNoMatch.Refuses() || !ReasonQueued.Drops() || !ReasonQueued.Refuses() {
		t.Error("of the wrong kind")
	}
}

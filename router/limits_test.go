package router

import (
	"encoding/binary"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Rules: P-lim-9.
func TestClientsBeyondMaxSocketsWait(t *testing.T) {
	t.Parallel() // beside those that wait
	var log syncBuffer
	n := start(t, Options{MaxSockets: 2, Log: slog.New(slog.NewTextHandler(&log, nil))})
	var cs []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", n.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		cs = append(cs, c)
	}
	until(t, "the node is full", func() bool { return n.Stats().Refused[ReasonSockets] == 1 })
	if s := n.Stats(); s.Sockets != 2 {
		t.Errorf("%d sockets, want 2", s.Sockets)
	}
	until(t, "the log says so", func() bool { return strings.Contains(log.String(), "the limit is 2 (--max-sockets)") })
	// A socket of a client that was accepted ends: the one that waits is served.
	_ = cs[0].Close()
	_ = cs[2].SetReadDeadline(time.Now().Add(hang))
	if _, err := cs[2].Read(make([]byte, 1)); err != nil {
		t.Errorf("the client that waited: %v", err)
	}
	if s := n.Stats(); s.Refused[ReasonSockets] < 1 {
		t.Errorf("refused: %v", s.Refused)
	}
}

// Rules: P-lim-9.
func TestConnectionsBeyondTheLimitAreRefused(t *testing.T) {
	r := newRig(t, 2, Options{MaxConnections: 1})
	a := r.dial(0)
	b := r.connect(1)
	b.open()
	b.exchange()
	const text = "the limit is 1 (--max-connections)"
	if b.end == nil || b.end.GRPCStatus != statusExhausted || !strings.Contains(b.end.Message, text) {
		t.Errorf("end = %+v", b.end)
	}
	if s := r.stats(); s.Refused[ReasonConnections] != 1 || s.Connections != 1 {
		t.Errorf("stats = %+v", s)
	}
	a.abandon()
	r.dial(1)
	if n := r.n.open.Load(); n != 1 {
		t.Errorf("%d connections are open", n)
	}
}

// One socket with many streams does not use up what others need. Rules: P-lim-9.
func TestTheLastConnectionsAreForSocketsWithFew(t *testing.T) {
	r := newRig(t, 2, Options{MaxConnections: 16})
	p := r.connect(0)
	for range 16 {
		p.open()
	}
	p.exchange()
	if s := r.stats(); s.Connections != 14 || s.Refused[ReasonConnections] != 2 {
		t.Fatalf("%d connections of one socket, refused %v", s.Connections, s.Refused)
	}
	q := r.dial(1) // another socket still gets some
	q.open()
	if s := r.stats(); s.Connections != 16 || s.Refused[ReasonConnections] != 2 {
		t.Errorf("%d connections of two sockets, refused %v", s.Connections, s.Refused)
	}
}

// withhold sends the first n bytes of a message of twice that.
func (p *peer) withhold(n int) {
	b := binary.BigEndian.AppendUint32([]byte{0}, uint32(2*n))
	p.trickle(append(b, make([]byte, n)...))
}

// trickle sends DATA, envelope included, a frame in each read of the node.
func (p *peer) trickle(b []byte) {
	for len(b) > 0 && p.end == nil {
		var k int
		p.out, k = p.cli.Data(p.out, p.s, len(b))
		p.out = append(p.out, b[:k]...)
		b = b[k:]
		p.exchange()
	}
}

// Many sockets with one message each that does not become complete, none of them over its own limit. Rules: P-lim-9.
func TestUnfinishedMessagesOfAllSocketsAreBounded(t *testing.T) {
	r := newRig(t, 2, Options{MaxUnfinished: MinMaxUnfinished})
	var ended int
	for i := range 12 {
		p := r.dial(i % 2)
		p.withhold(1 << 20)
		if s := r.stats(); s.Unfinished > MinMaxUnfinished {
			t.Fatalf("%d bytes are unfinished after %d sockets", s.Unfinished, i+1)
		}
		if p.end != nil {
			ended++
			if p.end.GRPCStatus != statusExhausted || !strings.Contains(p.end.Message, "--max-unfinished") {
				t.Fatalf("end = %+v", p.end)
			}
		}
	}
	s := r.stats()
	if ended == 0 || s.Refused[ReasonMemory] != uint64(ended) || s.Refused[ReasonUnfinished] != 0 {
		t.Errorf("%d of 12 connections ended, refused %v", ended, s.Refused)
	}
	for _, p := range r.peers {
		p.abandon()
	}
	if s := r.stats(); s.Unfinished != 0 {
		t.Errorf("%d bytes are unfinished after all have left", s.Unfinished)
	}
	// There is room again.
	p := r.dial(0)
	if p.withhold(2 << 20); p.end != nil {
		t.Errorf("end = %+v", p.end)
	}
}

// Whoever fills the node's memory for unfinished messages pays for it, and not the one who comes with a message then,
// whichever loops they are on. Rules: P-lim-9.
func TestTheLargestHolderOfUnfinishedMessagesPays(t *testing.T) {
	for _, where := range placements {
		t.Run(where.name, func(t *testing.T) {
			r := newRig(t, where.loops, Options{MaxUnfinished: MinMaxUnfinished})
			var hogs []*peer
			for range 6 { // together more than there is
				p := r.dial(where.source)
				p.withhold(1 << 20)
				hogs = append(hogs, p)
			}
			ended := func() (n int) {
				for _, p := range hogs {
					p.exchange()
					if p.end != nil {
						n++
					}
				}
				return n
			}
			before := ended()
			const half = 300_000
			rests := map[*peer][]byte{}
			for range 8 { // together more than is left
				p := r.dial(where.dest)
				msg := p.publication(header(bob, alice, 1, "x"), 1, 2*half)
				msg = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(msg))), msg...)
				p.trickle(msg[:half])
				rests[p] = msg[half:]
			}
			if s := r.stats(); s.Unfinished > MinMaxUnfinished+MinMaxUnfinished/8 {
				t.Errorf("%d bytes are unfinished", s.Unfinished)
			}
			for p, rest := range rests {
				if p.trickle(rest); p.end != nil {
					t.Errorf("an honest socket lost its stream: %+v", p.end)
				}
			}
			if n := ended(); n == 0 || n < before {
				t.Errorf("%d of the large holders were ended, %d before", n, before)
			}
			if s := r.stats(); s.Refused[ReasonMemory] != uint64(ended()) || s.Dropped[ReasonNoMatch] != 8 {
				t.Errorf("refused %v, want %d; %v of 8 messages came", s.Refused, ended(), s.Dropped)
			}
		})
	}
}

// Many receivers that read nothing, none of them with more than its buffer. Rules: P-lim-9.
func TestQueuedMessagesOfAllReceiversAreBounded(t *testing.T) {
	t.Parallel() // beside those that wait
	for _, policy := range []Policy{Block, Drop} {
		t.Run(policy.String(), func(t *testing.T) {
			const limit = 4 << 20
			r := newRig(t, 2, Options{MaxQueued: limit, SlowConsumer: policy})
			early := false
			for i := range 16 {
				a, b := r.dial(0), r.dial(i%2)
				name := group.WithID(uint64(i), 1)
				b.subscribe(name, 1)
				b.paused = true
				a.flood(header(alice, name, 1, "x"), 800, 1000)
				if s := r.stats(); s.WaitingBytes > limit+limit/4+128<<10 { // shares are exact to 64 KiB
					t.Fatalf("%d bytes wait", s.WaitingBytes)
				}
				early = early || a.c.held > 0 && b.c.q.bytes < DefaultConnBuffer
			}
			s := r.stats()
			if s.Dropped[ReasonQueued] == 0 || s.WaitingBytes < limit*9/10 {
				t.Errorf("%d bytes wait, dropped %v", s.WaitingBytes, s.Dropped)
			}
			if early != (policy == Block) {
				t.Errorf("a sender waits although its receiver has room: %v", early)
			}
			for _, p := range r.peers { // it recovers
				p.paused = false
				p.count()
			}
			r.pass(time.Second)
			for _, p := range r.peers {
				p.count()
			}
			if s := r.stats(); s.WaitingBytes != 0 || s.Held != 0 {
				t.Errorf("%d bytes wait, %d held, when all is read", s.WaitingBytes, s.Held)
			}
		})
	}
}

// flooded has hogs fill what may wait in the node, each a sender and a receiver that reads nothing, as much as they get
// credit for.
func flooded(r *rig, loop, hogs, size int) (receivers []*peer) {
	for i := range hogs {
		a, b := r.dial(loop), r.dial(loop)
		name := group.WithID(uint64(i), 1)
		b.subscribe(name, 1)
		b.paused = true
		a.flood(header(alice, name, 1, "x"), 1500, size)
		receivers = append(receivers, b)
	}
	return receivers
}

// The memory of a message that will never be complete is given back at once: when our side of its stream ends, and when
// its sender has ended the socket, which lives on for what is queued. Rules: P-lim-12.
func TestMemoryOfHopelessMessagesIsGivenBack(t *testing.T) {
	for name, end := range map[string]func(r *rig, p *peer){
		"our end":        func(r *rig, p *peer) { r.finish() },
		"the peer's end": func(r *rig, p *peer) { p.halfClose() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1, Options{ConnBuffer: 8 << 20})
			a, p := r.dial(0), r.dial(0)
			p.subscribe(bob, 1)
			p.withhold(1 << 20)
			if name != "our end" { // something waits for p
				p.paused = true
				for p.c.q.n == 0 {
					a.publish(header(alice, bob, 1, "x"), 1, 50_000)
				}
			}
			if n := r.stats().Unfinished; n < 1<<20 {
				t.Fatalf("%d bytes are unfinished", n)
			}
			end(r, p)
			if s := r.stats(); s.Unfinished != 0 || p.shut() {
				t.Errorf("%d bytes are unfinished; shut %v", s.Unfinished, p.shut())
			}
		})
	}
}

// Whoever fills the node's queues pays for it: messages to a receiver with little waiting do not die, on whichever
// loop. Rules: P-lim-10.
func TestTheLargestQueuePays(t *testing.T) {
	t.Parallel() // beside those that wait
	for i, where := range placements {
		for k, policy := range []Policy{Adaptive, Block, Drop} {
			if !long && k%2 != i {
				continue
			}
			t.Run(policy.String()+" "+where.name, func(t *testing.T) {
				const limit = 4 << 20
				r := newRig(t, where.loops, Options{MaxQueued: limit, SlowConsumer: policy})
				a, b := r.dial(where.dest), r.dial(where.dest)
				b.subscribe(bob, 1)
				b.paused = true
				b.hoard = true
				hogs := flooded(r, where.source, 8, 800)
				before := r.stats().Dropped[ReasonQueued]
				const messages = 15
				var n int
				for n = range messages {
					a.publish(header(alice, bob, 1, "x"), n, 20_000)
					if s := r.stats(); s.WaitingBytes > limit+limit/2+128<<10 {
						t.Fatalf("%d bytes wait", s.WaitingBytes)
					}
					if a.s.Window() < 30_000 {
						break
					}
				}
				s := r.stats()
				if b.c.q.lost != 0 || s.Dropped[ReasonFull] != 0 && policy != Drop {
					t.Errorf("%d messages of the honest receiver died: %v", b.c.q.lost, s.Dropped)
				}
				if s.Dropped[ReasonQueued] <= before {
					t.Errorf("nobody paid: dropped %v", s.Dropped)
				}
				b.paused, b.hoard = false, false
				got := b.count()
				r.pass(time.Second)
				if got += b.count(); got != n+1 {
					t.Errorf("%d of %d messages came", got, n+1)
				}
				for _, h := range hogs {
					h.paused = false
					h.count()
				}
				r.pass(time.Second)
				r.checkGauges()
			})
		}
	}
}

// Receivers that have taken a part of a large message and nothing since hold memory that no message can be taken from.
// Rules: P-lim-10.
func TestAStuckReceiverIsGivenUpForOthers(t *testing.T) {
	const limit = 4 << 20
	r := newRig(t, 1, Options{MaxQueued: limit, SlowConsumer: Block})
	a, b := r.dial(0), r.dial(0)
	b.subscribe(bob, 1)
	r.window = 2 << 10
	var hogs []*peer
	for i := range 3 {
		s, h := r.dial(0), r.dial(0)
		name := group.WithID(uint64(i), 1)
		h.subscribe(name, 1)
		h.hoard = true
		s.sendBig(s.publication(header(alice, name, 1, "x"), 1, 1_200_000))
		if !h.c.q.halfOut() {
			t.Fatal("its message is not half out")
		}
		hogs = append(hogs, h)
	}
	r.seconds(stuckTicks)
	b.paused, b.hoard = true, true
	for i := range 40 {
		a.publish(header(alice, bob, 1, "x"), i, 20_000)
	}
	s := r.stats()
	if s.Dropped[ReasonQueued] == 0 || s.Refused[ReasonQueued] == 0 || b.c.q.lost > 0 {
		t.Errorf("%d messages of the honest receiver died; dropped %v, refused %v", b.c.q.lost, s.Dropped, s.Refused)
	}
	if s.Refused[ReasonQueued] == uint64(len(hogs)) {
		t.Errorf("all are given up: %v", s.Refused)
	}
}

// One from whom nothing can be taken yet does not protect the next largest.
func TestTheNextLargestPaysForOneThatCannot(t *testing.T) {
	const limit = 4 << 20
	r := newRig(t, 1, Options{MaxQueued: limit, SlowConsumer: Block})
	a, b := r.dial(0), r.dial(0)
	b.subscribe(bob, 1)
	b.paused, b.hoard = true, true
	r.window = 2 << 10
	s, h := r.dial(0), r.dial(0)
	h.subscribe(alice, 1)
	h.hoard = true
	s.sendBig(s.publication(header(bob, alice, 1, "x"), 1, 2_200_000))
	r.window = 0
	hogs := flooded(r, 0, 3, 800)
	for i := range 15 {
		a.publish(header(alice, bob, 1, "x"), i, 20_000)
	}
	if n := r.stats().Dropped[ReasonQueued]; n == 0 || b.c.q.lost > 0 || !h.c.q.halfOut() {
		t.Errorf("%d messages died, %d of the honest receiver; half out: %v", n, b.c.q.lost, h.c.q.halfOut())
	}
	for range 2*stuckTicks + 1 { // and one that still takes nothing pays itself
		r.seconds(1)
		a.publish(header(alice, bob, 1, "x"), 1, 20_000)
	}
	if b.c.q.lost > 0 {
		t.Errorf("%d messages of the honest receiver died: %v", b.c.q.lost, r.stats().Dropped)
	}
	for _, p := range hogs {
		if p.shut() {
			t.Error("a receiver was ended whose messages could be dropped")
		}
	}
}

// Under the policy block the windows of senders fit beside what waits: nothing dies. Rules: P-lim-10.
func TestBlockLosesNothingWhileWindowsFit(t *testing.T) {
	const limit = 16 << 20
	r := newRig(t, 2, Options{MaxQueued: limit, ConnBuffer: 4 << 20, SlowConsumer: Block})
	var sent, got int
	var hogs []*peer
	for i := range 6 {
		a, b := r.dial(i%2), r.dial(i/2%2)
		name := group.WithID(uint64(i), 1)
		b.subscribe(name, 1)
		b.paused = true
		sent += a.flood(header(alice, name, 1, "x"), 10_000, 1000)
		hogs = append(hogs, b)
	}
	if s := r.stats(); s.WaitingBytes < limit*3/4 || len(s.Dropped) > 0 {
		t.Errorf("%d bytes wait, dropped %v", s.WaitingBytes, s.Dropped)
	}
	for range 2 {
		for _, b := range hogs {
			b.paused = false
			got += b.count()
		}
		r.pass(time.Second)
	}
	if got != sent {
		t.Errorf("%d of %d messages came", got, sent)
	}
}

// Acknowledgements that nobody reads are bounded for all connections together, however little each has. Rules:
// P-lim-10.
func TestAcknowledgementsOfAllConnectionsAreBounded(t *testing.T) {
	t.Parallel() // beside those that wait
	const limit = 4 << 20
	r := newRig(t, 2, Options{MaxQueued: limit, SlowConsumer: Block})
	r.window = 4 << 10
	h := header(bob, bob, 1, "")
	var peers []*peer
	for i := range 6 {
		p := r.dial(i % 2)
		p.hoard = true
		peers = append(peers, p)
		p.sign(h)
		for id := uint64(1); id < 2500 && !p.shut(); id++ {
			if p.stage(wire.AppendUnsubscribe(nil, h, id)); id%50 == 0 {
				p.exchange()
			}
		}
		p.exchange()
		if s := r.stats(); s.WaitingBytes > limit+limit/2+128<<10 {
			t.Fatalf("%d bytes wait after %d connections", s.WaitingBytes, i+1)
		}
	}
	s := r.stats()
	if s.Refused[ReasonBacklog] == 0 || s.Refused[ReasonBacklog] == uint64(len(peers)) {
		t.Errorf("refused %v", s.Refused)
	}
}

func TestLimitsForAMachine(t *testing.T) {
	for _, memory := range []int64{0, 1, 512 << 20, 3 << 30, 1 << 62} {
		var o Options
		o.fillLimits(memory)
		if o.MaxQueued < MinMaxQueued || o.MaxUnfinished < MinMaxUnfinished || o.MaxSockets < 100 || o.MaxConnections < 100 {
			t.Errorf("%d bytes of memory: %+v", memory, o)
		}
		if memory > 256<<20 && int64(o.MaxQueued)/4*5*2+int64(o.MaxUnfinished)*2 > memory/2 {
			t.Errorf("%d bytes of memory: %d for queues and %d for unfinished messages", memory, o.MaxQueued, o.MaxUnfinished)
		}
	}
	o := Options{MaxQueued: 1, MaxUnfinished: 2, MaxSockets: 3, MaxConnections: 4}
	want := o
	if o.fillLimits(1 << 30); o.MaxQueued != want.MaxQueued || o.MaxSockets != want.MaxSockets ||
		o.MaxUnfinished != want.MaxUnfinished || o.MaxConnections != want.MaxConnections {
		t.Errorf("what was set has changed: %+v", o)
	}
}

// Messages of a peer have no header MAC, and get one for an edge. Rules: P-tr-5.
func TestMessageThatOutgrowsTheLimitIsDropped(t *testing.T) {
	t.Parallel() // beside those that wait
	for _, where := range placements {
		for name, window := range map[string]uint32{"whole": 8 << 20, "in parts": 1 << 20} {
			if !long && (where.loops == 1) != (name == "whole") { // each with one of the others
				continue
			}
			t.Run(where.name+", "+name, func(t *testing.T) {
				r := newRig(t, where.loops, Options{})
				r.window = window
				b := r.dial(where.dest)
				b.subscribe(bob, 1)
				a := r.dialAs(where.source, wire.LinkPeer, "n1")
				send := func(n int) int {
					msg := a.publication(header(alice, bob, 1, "x"), 1, n)
					a.sendBig(msg)
					return len(msg)
				}
				const near = maxMessage - 300
				grown := -send(near) + len(b.take())
				base := near - send(near) // what a message has besides its payload, negative
				b.take()
				if grown <= 0 {
					t.Fatalf("a message has grown by %d bytes", grown)
				}
				send(maxMessage - grown + base)
				if got := b.take(); len(got) != maxMessage {
					t.Errorf("it arrived with %d bytes, want %d", len(got), maxMessage)
				}
				send(maxMessage - grown + base + 1)
				send(100)
				if got := b.take(); len(got) > 1000 {
					t.Errorf("a message of %d bytes arrived", len(got))
				}
				if s := r.stats(); s.Dropped[ReasonTooLarge] != 1 || s.Delivered != 4 || s.Refused[ReasonTooLarge] != 0 {
					t.Errorf("delivered %d, dropped %v, refused %v", s.Delivered, s.Dropped, s.Refused)
				}
				r.checkGauges()
			})
		}
	}
}

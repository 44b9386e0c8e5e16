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
	_ = cs[2].SetReadDeadline(time.Now().Add(30 * time.Second))
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
	for _, where := range placements {
		for name, window := range map[string]uint32{"whole": 8 << 20, "in parts": 1 << 20} {
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

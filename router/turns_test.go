package router

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/router/transport"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// meter is a stream that adds up what is charged to its peer.
type meter struct {
	transport.Stream
	charged int
}

func (m *meter) Charge(n int) { m.charged += n; m.Stream.Charge(n) }

// metered has the charges of p added up.
func (p *peer) metered() *meter {
	m := &meter{Stream: p.c.stream}
	p.c.stream = m
	return m
}

// slow makes each look at the clock of the loops' budgets take so much time, as far as they can tell.
func (r *rig) slow(look func() time.Duration) {
	now := time.Now()
	for _, l := range r.n.loops {
		l.budget.now = func() time.Time { now = now.Add(look()); return now }
	}
}

// served is how many receivers a loop has served so far.
func (l *loop) served() (n uint64) {
	for _, d := range l.n.dropped {
		n += d
	}
	return n + l.n.delivered + l.n.queued
}

// watched runs f, which runs callbacks of l, and settles the rig, one turn after the other. It returns the most
// receivers that were served in one callback.
func (r *rig) watched(l int, f func()) (most uint64) {
	before := r.n.loops[l].served()
	look := func() {
		n := r.n.loops[l].served()
		most, before = max(most, n-before), n
	}
	f()
	look()
	for again := true; again; {
		again = false
		for i, m := range r.loops {
			if !m.Woken() {
				continue
			}
			again = true
			if m.RunTurn(); i == l {
				look()
			}
		}
	}
	return most
}

// members makes so many receivers of a group, whose output goes nowhere, on loops by turns; every is called with each.
func (r *rig) members(name wire.NameText, count int) (ps []*peer) {
	for i := range count {
		p := r.dial(i % len(r.loops))
		p.subscribe(name.WithID(uint64(i), 1), 1)
		ps = append(ps, p)
	}
	return ps
}

// No callback serves more receivers than its budget allows: neither a fan-out to many, nor many to few in one read, nor
// what comes from another loop.
func TestNoCallbackServesMoreThanItsBudget(t *testing.T) {
	t.Parallel()                // beside those that wait
	const bound = lookEvery * 7 // a look each 64, the first says when it began, four until the time is over, and what was begun
	quarter := func() time.Duration { return turnBudget / 4 }
	for _, tc := range []struct {
		name           string
		loops, members int
		messages       int
	}{
		{"one message to many", 1, 500, 1},
		{"one message to many, two loops", 2, 1000, 1},
		{"many messages to many", 1, 300, 10},
		{"many messages to few", 1, 20, 100},
		{"many messages to few, two loops", 2, 40, 100},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, tc.loops, Options{})
			a := r.dial(0)
			ps := r.members(group, tc.members)
			m := a.metered()
			for i := range tc.messages {
				a.stage(a.publication(header(alice, group, 256, "x"), i, 10))
			}
			out := a.out
			a.out = nil
			a.cli.Cut()
			r.settle()
			r.slow(quarter)
			for l := range r.loops {
				if l == 1 { // the first has pushed all; the second works them off
					out = nil
				}
				most := r.watched(l, func() {
					if len(out) > 0 {
						a.feed(out)
					}
				})
				if most > bound {
					t.Errorf("loop %d: a callback served %d receivers, want at most %d", l, most, bound)
				}
			}
			for i, p := range ps {
				if got := p.count(); got != tc.messages {
					t.Fatalf("member %d got %d messages of %d", i, got, tc.messages)
				}
			}
			if m.charged != 0 || a.c.sending != 0 {
				t.Errorf("the sender is charged with %d bytes of %d messages at the end", m.charged, a.c.sending)
			}
		})
	}
}

// What is delivered is written at the end of the callback, and long headers are hashed anew for each receiver, however
// little of the time is over by the clock: so the budget is one of bytes, too.
func TestNoCallbackDeliversMoreBytesThanItsBudget(t *testing.T) {
	t.Parallel() // beside those that wait
	for _, tc := range []struct {
		name                     string
		loops, members, id, size int
		bound                    uint64 // receivers
	}{
		{"long message to few", 1, 30, 10, 500_000, 9},
		{"long message to many", 1, lookEvery + 10, 10, 500_000, 9},
		{"long message to many, two loops", 2, 2*lookEvery + 20, 10, 500_000, 9},
		{"long header to few", 1, 60, 60 << 10, 10, 19},
		{"long header to many", 1, lookEvery + 10, 60 << 10, 10, 19},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, tc.loops, Options{})
			a := r.dial(0)
			ps := r.members(group, tc.members)
			a.stage(a.publication(header(alice, group, 256, strings.Repeat("x", tc.id)), 1, tc.size))
			out := a.out
			a.out = nil
			a.cli.Cut()
			r.settle()
			now := time.Now()
			for _, l := range r.n.loops {
				l.budget.now = func() time.Time { return now }
			}
			most := uint64(0)
			for l := range r.loops {
				most = max(most, r.watched(l, func() {
					if len(out) > 0 {
						a.feed(out)
					}
					out = nil
				}))
			}
			if most > tc.bound {
				t.Errorf("a callback served %d receivers, want at most %d", most, tc.bound)
			}
			for i, p := range ps {
				if got := p.count(); got != 1 {
					t.Fatalf("member %d got %d messages", i, got)
				}
			}
		})
	}
}

// A sender of very many fan-outs keeps nobody else's message waiting: not another's fan-out, nor a message for one.
func TestLoudSenderKeepsNobodyWaiting(t *testing.T) {
	t.Parallel() // beside those that wait
	count := 60  // messages, of more than a turn each
	switch {
	case slower:
		count = 30
	case long:
		count = 400
	}
	for _, where := range placements {
		t.Run(where.name, func(t *testing.T) {
			r := newRig(t, where.loops, Options{ConnBuffer: 1 << 30})
			loud, honest := r.dial(where.source), r.dial(where.source)
			var ps []*peer
			for i := range 200 {
				p := r.dial(where.dest)
				p.subscribe(group.WithID(uint64(i), 1), 1)
				ps = append(ps, p)
			}
			one := r.dial(where.dest)
			one.subscribe(bob, 1)
			r.slow(func() time.Duration { return turnBudget }) // 128 receivers a turn
			for i := range count {
				loud.stage(loud.publication(header(alice, group, 256, "x"), i, 10))
			}
			a := loud.out
			loud.out = nil
			honest.stage(honest.publication(header(alice, group, 256, "y"), 7, 10))
			honest.stage(honest.publication(header(alice, bob, 1, "y"), 8, 10))
			b := honest.out
			honest.out = nil
			loud.feed(a)
			honest.feed(b)
			turns := 0
			for ; len(one.got) == 0 && turns < 100; turns++ {
				for _, l := range r.loops {
					if l.Woken() {
						l.RunTurn()
					}
				}
				one.read()
			}
			if turns > 20 {
				t.Errorf("an honest sender's messages wait for %d turns", turns)
			}
			if n := ps[len(ps)-1]; !n.read() || !n.hasNumber(7) {
				t.Error("the message for one has overtaken the one for all")
			}
			r.settle()
			for _, p := range ps {
				p.read()
				if len(p.got) != count+1 {
					t.Fatalf("a member got %d messages of %d", len(p.got), count+1)
				}
				p.got = nil
			}
		})
	}
}

// hasNumber reports whether a message of that number is among those received.
func (p *peer) hasNumber(i int) bool {
	for _, b := range p.got {
		if numberOf(b) == i {
			return true
		}
	}
	return false
}

// numberOf is the number in the payload of a message made by content.
func numberOf(b []byte) int {
	var m wire.Message
	if err := wire.Scan(b, &m); err != nil || m.Kind != wire.KindPublish {
		return -1
	}
	tail := b[m.Header.End:]
	for i := 0; i+2+8 <= len(tail); i++ { // the blob is what follows its tag and length in the content
		if tail[i] == 0x0a {
			_, n := binary.Uvarint(tail[i+1:])
			if at := i + 1 + n; tail[at] == 0x12 {
				_, n := binary.Uvarint(tail[at+1:])
				return int(binary.BigEndian.Uint64(tail[at+1+n:]))
			}
		}
	}
	return -1
}

// Random senders, groups, receivers that stop, leave and come back to life, and budgets of any size: each receiver gets
// each sender's messages in order, every message arrives or is counted, and all credit returns.
func TestOrderAndCreditInAnyMixture(t *testing.T) {
	t.Parallel() // beside those that wait
	seeds := uint64(2)
	if long {
		seeds = 8
	}
	for seed := range seeds {
		rnd := rand.New(rand.NewPCG(seed, 3))
		loops := 1 + rnd.IntN(3)
		r := newRig(t, loops, Options{ConnBuffer: 16 << 10 << rnd.IntN(8)})
		names := []wire.NameText{wire.Text("org", "ns", "small"), wire.Text("org", "ns", "large")}
		var ps []*peer
		for i := range 100 {
			p := r.dial(rnd.IntN(loops))
			p.subscribe(names[1].WithID(uint64(i), 1), 1)
			if i < 5 {
				p.subscribe(names[0].WithID(uint64(i), 1), 2)
			}
			if i < 2 {
				p.subscribe(bob.WithID(uint64(i), 1), 3)
			}
			ps = append(ps, p)
		}
		var senders []*peer
		var meters []*meter
		for range 4 {
			p := r.dial(rnd.IntN(loops))
			senders, meters = append(senders, p), append(meters, p.metered())
		}
		r.slow(func() time.Duration { return time.Duration(rnd.IntN(int(turnBudget))) })
		last := map[[2]int]int{} // by receiver and sender
		check := func(i int) {
			for _, b := range ps[i].got {
				n := numberOf(b)
				from := n >> 20
				if n&(1<<20-1) <= last[[2]int{i, from}] {
					t.Fatalf("seed %d: receiver %d: message %d of sender %d comes after %d", seed, i, n&(1<<20-1), from, last[[2]int{i, from}])
				}
				last[[2]int{i, from}] = n & (1<<20 - 1)
			}
			ps[i].got = nil
		}
		number := 0
		for range 150 {
			s := rnd.IntN(len(senders))
			a := senders[s]
			for range 1 + rnd.IntN(10) {
				size := 10 + rnd.IntN(1<<rnd.IntN(15))
				if a.shut() || a.s.Window() < size+1000 {
					break
				}
				number++
				to, fanout := names[rnd.IntN(2)], uint32(256)
				if rnd.IntN(3) == 0 {
					to, fanout = bob.WithID(uint64(rnd.IntN(2)), 1), 1
				}
				a.stage(a.publication(header(alice, to, fanout, fmt.Sprint(rnd.IntN(2))), s<<20|number, size))
			}
			if out := a.out; len(out) > 0 && !a.shut() {
				a.out = nil
				a.cli.Cut()
				a.feed(out)
			}
			for range rnd.IntN(4) { // not until everything is quiet
				if l := r.loops[rnd.IntN(loops)]; l.Woken() {
					l.RunTurn()
				}
			}
			switch i := rnd.IntN(len(ps)); rnd.IntN(6) {
			case 0:
				ps[i].paused = !ps[i].paused
			case 1:
				if !ps[i].shut() && !ps[i].paused {
					ps[i].read()
					check(i)
				}
			case 2:
				if rnd.IntN(8) == 0 {
					ps[i].loop.Hangup(ps[i].sock, unix.ECONNRESET)
				}
			case 3:
				if rnd.IntN(20) == 0 {
					a.loop.Hangup(a.sock, unix.ECONNRESET)
				}
			case 4:
				if !a.shut() {
					a.exchange()
				}
			}
		}
		for range 50 {
			r.settle()
			for i, p := range ps {
				if p.paused = false; !p.shut() {
					p.exchange()
					check(i)
				}
			}
		}
		for i, m := range meters {
			if m.charged != 0 && !senders[i].shut() {
				t.Errorf("seed %d: sender %d is charged with %d bytes at the end", seed, i, m.charged)
			}
			if senders[i].c.sending != 0 {
				t.Errorf("seed %d: %d messages of sender %d are under way at the end", seed, senders[i].c.sending, i)
			}
		}
		for _, l := range r.n.loops {
			if !l.fanouts.idle() || len(l.fanouts.of) != 0 || l.port.Spilled() != 0 {
				t.Errorf("seed %d: something is left on loop %d", seed, l.index)
			}
		}
		if s := r.stats(); s.Panics != 0 {
			t.Fatalf("seed %d: %d panics", seed, s.Panics)
		}
	}
}

// Hundreds of members without a window: what is under way between loops and what waits are bounded by the sender's
// credit, not by their number.
func TestFanoutToWindowlessMembersIsBounded(t *testing.T) {
	t.Parallel() // beside those that wait
	count := 200
	if long {
		count = 500
	}
	r := newRig(t, 2, Options{})
	r.window = 1
	var ps []*peer
	for i := range count {
		p := r.dial(i % 2)
		p.subscribe(group.WithID(uint64(i), 1), 1)
		p.paused = true
		ps = append(ps, p)
	}
	r.window = 0
	a := r.dial(0)
	spilled, events := 0, 0
	for i := range 10_000 {
		if a.s.Window() < 11_000 {
			break
		}
		a.stage(a.publication(header(alice, group, 256, "x"), i, 10_000))
		out := a.out
		a.out = nil
		a.cli.Cut()
		a.feed(out)
		for _, l := range r.n.loops {
			spilled = max(spilled, l.port.Spilled())
			events = max(events, len(l.fanouts.of))
		}
		if i%16 == 0 {
			r.settle()
			if ctl := r.n.loops[0]; ctl != nil {
				a.read()
			}
		}
	}
	r.settle()
	if spilled > 0 || events > 1 {
		t.Errorf("%d events were spilled, %d lines waited", spilled, events)
	}
	for _, p := range ps {
		if q := &p.c.q; q.bytes > DefaultConnBuffer+2*receiveWindow {
			t.Fatalf("%d bytes wait for a member", q.bytes)
		}
	}
}

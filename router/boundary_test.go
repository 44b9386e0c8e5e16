package router

import (
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/transport"
)

// breakOutput makes whatever is sent to p a panic: signing on a link that is closed is a broken invariant.
func (p *peer) breakOutput() { p.c.link.Close() }

// One member of a group breaks while it is given a message: the others get it and the sender, whose read goes on,
// lives and has its window back.
func TestPanicOfAReceiverIsItsOwn(t *testing.T) {
	for _, where := range placements {
		r := newRig(t, where.loops, Options{})
		a := r.dial(where.source)
		var members []*peer
		for i := range 5 {
			m := r.dial(where.dest)
			m.subscribe(group.WithID(uint64(i), 1), 1)
			members = append(members, m)
		}
		full := a.s.Window()
		members[2].breakOutput()
		for i := range 3 { // one read
			a.stage(a.publication(header(alice, group, 256, "x"), i, 40_000))
		}
		a.exchange()
		for i, m := range members {
			want := 3
			if i == 2 {
				want = 0
			}
			if got := m.count(); got != want {
				t.Errorf("%s: member %d has %d messages, want %d", where.name, i, got, want)
			}
		}
		s := r.stats()
		if s.Panics == 0 || s.Connections != 5 || s.Sockets != 5 || !members[2].shut() || a.shut() {
			t.Errorf("%s: %+v", where.name, s)
		}
		if n := s.Dropped[ReasonGone]; n < 1 || n > 3 { // the first, and those that find it before it has left the table
			t.Errorf("%s: dropped %v", where.name, s.Dropped)
		}
		for range 40 { // a window that was not given back would be used up
			if a.s.Window() < 60_000 {
				t.Fatalf("%s: the sender's window is %d of %d", where.name, a.s.Window(), full)
			}
			a.publish(header(alice, group, 256, "x"), 9, 50_000)
			for i, m := range members {
				if i != 2 && m.count() != 1 {
					t.Fatalf("%s: member %d is not served any more", where.name, i)
				}
			}
		}
	}
}

func TestPanicOfPostedWorkKeepsTheRest(t *testing.T) {
	r := newRig(t, 1, Options{})
	a, b := r.dial(0), r.dial(0)
	l := r.n.loops[0]
	ran := 0
	l.post(func() { ran++ })
	a.c.postFor(func() { panic("of a's") })
	l.post(func() { panic("of nobody's") })
	l.post(func() { ran++ })
	r.settle()
	if s := r.stats(); ran != 2 || s.Panics != 2 || s.Connections != 1 || !a.shut() || b.shut() {
		t.Errorf("%d ran; %+v", ran, s)
	}
}

func TestPanicWhileClosingKeepsTheRest(t *testing.T) {
	r := newRig(t, 1, Options{})
	a, b, c := r.dial(0), r.dial(0), r.dial(0)
	c.subscribe(bob, 1)
	a.c.q.items, a.c.q.n = nil, 1 // its end panics
	r.n.loops[0].post(func() {
		a.sock.Close()
		b.sock.Close()
	})
	r.settle()
	if s := r.stats(); s.Panics == 0 || s.Sockets != 1 || !a.shut() || !b.shut() {
		t.Errorf("%+v", s)
	}
	d := r.dial(0)
	d.publish(header(alice, bob, 1, "x"), 1, 10)
	if c.count() != 1 {
		t.Error("others are not served")
	}
}

// A new header is signed ahead for the receiver that it will probably go to: that one's fault is not the sender's.
func TestPanicOfSigningAheadIsTheReceivers(t *testing.T) {
	r := newRig(t, 1, Options{})
	a, b, c := r.dial(0), r.dial(0), r.dial(0)
	b.subscribe(bob, 1)
	a.publish(header(alice, bob, 1, "one"), 1, 10)
	b.count()
	b.breakOutput()
	a.publish(header(alice, bob, 1, "two"), 2, 10)
	if s := r.stats(); s.Panics != 1 || a.shut() || !b.shut() || s.Dropped[ReasonGone] != 1 {
		t.Fatalf("%+v, sender closed %v", s, a.shut())
	}
	c.subscribe(bob, 1)
	a.publish(header(alice, bob, 1, "three"), 3, 10)
	if c.count() != 1 {
		t.Error("the sender is not served")
	}
}

// brittle is a stream that breaks when something is to be said for its end.
type brittle struct{ transport.Stream }

func (brittle) Finish(int, string) { panic("broken") }

// What has got into the queue of a receiver that breaks is the queue's, even if that has sent it: nothing is released or
// credited twice.
func TestPanicBehindTheQueueSettlesOnce(t *testing.T) {
	for _, where := range placements {
		r := newRig(t, where.loops, Options{})
		a, b := r.dial(where.source), r.dial(where.dest)
		b.subscribe(bob, 1)
		b.c.stream = brittle{b.c.stream}
		b.c.state = ending // out of order, on purpose: the message goes through the queue, and then comes the end
		a.publish(header(alice, bob, 1, "x"), 2, 1_000)
		if s := r.stats(); s.Panics != 1 || s.Delivered != 1 || len(s.Dropped) != 0 || !b.shut() || a.shut() {
			t.Errorf("%s: %+v", where.name, s)
		}
		for range 60 {
			if a.s.Window() < 60_000 {
				t.Fatalf("%s: the sender's window is %d", where.name, a.s.Window())
			}
			a.publish(header(alice, bob, 1, "x"), 9, 50_000)
		}
	}
}

func TestPanicOfATickKeepsTheRest(t *testing.T) {
	r := newRig(t, 1, Options{})
	broken, mute := r.connect(0), r.connect(0)
	broken.open()
	mute.open() // and does not negotiate, nor does the other
	broken.c.stream = brittle{broken.c.stream}
	broken.c.opened, mute.c.opened = -time.Hour, -time.Hour
	r.seconds(1)
	r.settle()
	if s := r.stats(); s.Panics != 1 || !broken.shut() || s.Refused[ReasonTimeout] != 2 {
		t.Errorf("%+v", s)
	}
	mute.exchange()
	if mute.end == nil {
		t.Error("the other's time does not run out")
	}
}

func TestPanicBesideTheLoopsEndsOnlyItself(t *testing.T) {
	r := newRig(t, 1, Options{})
	r.n.chores.aside(func() { panic("sweeping") })
	r.n.chores.stop()
	r.n.guarded(func() { panic("ticking") })
	if s := r.stats(); s.Panics != 2 {
		t.Errorf("%+v", s)
	}
}

// opaque is a stream that breaks when it is looked at, once.
type opaque struct {
	transport.Stream
	seen bool
}

func (s *opaque) Progress() transport.Progress {
	if s.seen {
		return s.Stream.Progress()
	}
	s.seen = true
	panic("broken")
}

// Receivers that senders wait for are looked at one by one: one that breaks costs the others neither this look nor the
// next.
func TestPanicOfALookKeepsTheRest(t *testing.T) {
	const count, broken = 5, 2
	r := newRig(t, 1, Options{ConnBuffer: 16 << 10})
	r.window = 1
	var members [count]*peer
	var looks [count]int
	for i := range members {
		p := r.dial(0)
		p.subscribe(group.WithID(uint64(i), 1), 1)
		p.hoard = true
		if i == broken {
			p.c.stream = &opaque{Stream: p.c.stream}
		}
		p.c.stream = &looked{p.c.stream, &looks[i]}
		members[i] = p
	}
	r.window = 0
	a := r.dial(0)
	for i := range 3 {
		a.publish(header(alice, group, 256, "x"), i, 10_000)
	}
	clear(looks[:])
	r.pass(stallLook)
	looks[broken]-- // its end is logged with its progress
	for i, n := range looks {
		if n != 1 {
			t.Errorf("member %d was looked at %d times, want once", i, n)
		}
	}
	if s := r.stats(); s.Panics != 1 || s.Connections != count || !members[broken].shut() {
		t.Errorf("%+v", s)
	}
	r.pass(time.Second)
	for i, p := range members {
		if i != broken && !p.c.q.stalled {
			t.Errorf("member %d is not found", i)
		}
	}
	if r.armed() {
		t.Error("the clock runs on")
	}
}

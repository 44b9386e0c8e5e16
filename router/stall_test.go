package router

import (
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// stuffed returns a rig with a sender, a receiver of the group that reads nothing and one that does; the sender has
// filled everything towards the first.
func stuffed(t *testing.T, o Options, loops, dest int) (r *rig, a, dead, alive *peer) {
	r = newRig(t, loops, o)
	a, dead, alive = r.dial(0), r.dial(dest), r.dial(dest)
	dead.subscribe(group.WithID(1, 1), 1)
	alive.subscribe(group.WithID(2, 2), 1)
	dead.paused = true
	for i := 0; a.flood(header(alice, group, 256, "x"), 10, 10_000) == 10; i++ {
		alive.count()
		if i > 400 {
			t.Fatal("the sender is never slowed down")
		}
	}
	return r, a, dead, alive
}

// Rules: P-press-2.
func TestStalledReceiverHoldsNobodyUpAfterTheTimeout(t *testing.T) {
	const count = 300
	for _, where := range placements {
		t.Run(where.name, func(t *testing.T) {
			r, a, dead, alive := stuffed(t, Options{}, where.loops, where.dest)
			r.pass(DefaultStallTimeout + 6*stallLook)
			if s := r.stats(); s.Stalled != 1 {
				t.Fatalf("stalled = %d, want 1", s.Stalled)
			}
			a.exchange()
			if w := a.s.Window(); w < receiveWindow*3/4 {
				t.Fatalf("the sender has a window of %d only", w)
			}
			alive.count()
			before := r.stats()
			for i := range count {
				a.publish(header(alice, group, 256, "x"), i, 10_000)
				alive.exchange()
			}
			after := r.stats()
			if n := alive.count(); n != count {
				t.Errorf("the other got %d of %d", n, count)
			}
			if n := after.Dropped[ReasonStalled] - before.Dropped[ReasonStalled]; n != count {
				t.Errorf("%d died at the stalled one, want %d", n, count)
			}
			q := &dead.c.q
			if q.bytes > DefaultConnBuffer {
				t.Errorf("%d bytes wait, bound is %d", q.bytes, DefaultConnBuffer)
			}
			// It reads again: it gets what was queued, has caught up, and is served as before.
			dead.paused = false
			for range 100 {
				dead.exchange()
				r.pass(stallLook)
			}
			if s := r.stats(); s.Stalled != 0 || q.len() != 0 {
				t.Fatalf("stalled = %d, queue %d after it has read everything", s.Stalled, q.len())
			}
			dead.count()
			a.publish(header(alice, group, 256, "x"), 1, 100)
			if n := dead.count(); n != 1 {
				t.Errorf("it got %d of 1 after it has caught up", n)
			}
		})
	}
}

// Rules: P-press-2.
func TestSlowButDrainingReceiverLosesNothing(t *testing.T) {
	r := newRig(t, 1, Options{})
	a, b := r.dial(0), r.dial(0)
	b.subscribe(bob, 1)
	b.paused = true
	sent, got := 0, 0
	for range 200 {
		for a.s.Window() > 12_000 {
			a.publish(header(alice, bob, 1, "x"), sent, 10_000)
			sent++
		}
		r.pass(stallLook)
		b.paused = false // 16 KiB each 25 ms: over the floor, far below the sender
		b.buf = b.buf[:16<<10]
		if n := b.readOnce(); n > 0 {
			b.loop.Ready()
		}
		b.paused = true
		got += len(b.got)
		b.got = nil
		a.exchange()
	}
	b.paused = false
	b.buf = make([]byte, 1<<20)
	for range 200 {
		b.exchange()
		r.pass(stallLook)
		got += b.count()
	}
	if s := r.stats(); got != sent || len(s.Dropped) != 0 {
		t.Errorf("got %d of %d, dropped %v", got, sent, s.Dropped)
	}
}

// Rules: P-press-1, P-press-2.
func TestPolicies(t *testing.T) {
	t.Run("block waits without limit", func(t *testing.T) {
		r, a, _, _ := stuffed(t, Options{SlowConsumer: Block}, 1, 0)
		r.pass(20 * time.Second)
		a.exchange()
		if s := r.stats(); s.Stalled != 0 || len(s.Dropped) != 0 || a.s.Window() > 20_000 {
			t.Errorf("stats %+v, window %d", s, a.s.Window())
		}
	})
	t.Run("drop never waits", func(t *testing.T) {
		r := newRig(t, 1, Options{SlowConsumer: Drop})
		a, b := r.dial(0), r.dial(0)
		b.subscribe(bob, 1)
		b.paused = true
		for i := range 400 {
			a.publish(header(alice, bob, 1, "x"), i, 10_000)
		}
		if r.stats().Dropped[ReasonFull] == 0 {
			t.Error("nothing died")
		}
		if q := &b.c.q; q.bytes > DefaultConnBuffer {
			t.Errorf("%d bytes wait", q.bytes)
		}
	})
	t.Run("disconnect closes", func(t *testing.T) {
		r, _, dead, _ := stuffed(t, Options{SlowConsumer: Disconnect}, 1, 0)
		r.pass(DefaultStallTimeout + 6*stallLook)
		if !dead.shut() || r.stats().Connections != 2 {
			t.Errorf("shut %v, connections %d", dead.shut(), r.stats().Connections)
		}
	})
}

// A member that is stalled or nearly full is passed over as long as another is there: it costs nobody anything.
//
// Rules: P-any-4.
func TestAnycastPassesOverWhoIsFull(t *testing.T) {
	for _, where := range placements {
		t.Run(where.name, func(t *testing.T) {
			r := newRig(t, where.loops, Options{})
			a, dead, alive := r.dial(0), r.dial(where.dest), r.dial(where.dest)
			dead.subscribe(group.WithID(1, 1), 1)
			alive.subscribe(group.WithID(2, 2), 1)
			dead.paused = true
			got := 0
			const count = 600
			for i := range count {
				if a.s.Window() < receiveWindow/2 {
					t.Fatalf("the sender waits for message %d", i)
				}
				a.publish(header(alice, group, 1, "x"), i, 10_000)
				got += alive.count()
				r.pass(stallLook)
			}
			q := &dead.c.q
			if s := r.stats(); len(s.Dropped) != 0 || s.Stalled != 0 {
				t.Errorf("stalled %d, dropped %v", s.Stalled, s.Dropped)
			}
			if q.bytes > DefaultConnBuffer*3/4 || got < count/2 {
				t.Errorf("%d bytes wait for the one that does not read; the other got %d of %d", q.bytes, got, count)
			}
			dead.paused = false // its queue drains: it is chosen again
			dead.count()
			r.pass(stallLook)
			for i := range 10 {
				a.publish(header(alice, group, 1, "x"), i, 100)
			}
			if n := dead.count(); n != 5 {
				t.Errorf("it got %d of 10 after it has caught up, want 5", n)
			}
		})
	}
}

// Under drop nobody waits, not even for a message that is larger than the bound.
func TestDropNeverWaits(t *testing.T) {
	for _, where := range placements {
		t.Run(where.name, func(t *testing.T) {
			r := newRig(t, where.loops, Options{SlowConsumer: Drop, ConnBuffer: 64 << 10})
			a, b := r.dial(0), r.dial(where.dest)
			b.subscribe(bob, 1)
			b.paused = true
			for i := range 15 {
				a.sendBig(a.publication(header(alice, bob, 1, "x"), i, 300_000))
			}
			a.exchange()
			if w := a.s.Window(); w < receiveWindow*3/4 {
				t.Errorf("the sender has a window of %d", w)
			}
			if r.stats().Dropped[ReasonFull] == 0 {
				t.Error("nothing died")
			}
		})
	}
}

// A peer may wait for the end of a message before it returns any window: what is left of that is used, however little.
func TestLittleWindowIsUsedAfterAMoment(t *testing.T) {
	r := newRig(t, 1, Options{})
	a, b := r.dial(0), r.dialWith(0, 8000)
	b.subscribe(bob, 1)
	b.hoard = true
	for b.c.stream.Room() > 1800 {
		a.publish(header(alice, bob, 1, "x"), 1, 900)
		b.exchange()
	}
	a.publish(header(alice, bob, 1, "x"), 1, b.c.stream.Room()-1000) // the header takes some of it
	b.exchange()
	left := b.c.stream.Room()
	if left <= 0 || left >= 1<<10 {
		t.Fatalf("room for %d bytes, want some below 1 KiB", left)
	}
	a.publish(header(alice, bob, 1, "x"), 2, 3000)
	b.exchange()
	if n := b.c.stream.Room(); n != left {
		t.Errorf("room for %d of %d bytes at once: crumbs are sent", n, left)
	}
	r.pass(2 * stallLook)
	b.exchange()
	if n := b.c.stream.Room(); n != 0 {
		t.Errorf("room for %d bytes is not used", n)
	}
}

// Two streams of a socket: one got all that the window of both allows and reads nothing of it, though nobody waits for
// it. It is ended, and the other goes on without a loss.
//
// Rules: P-press-8.
func TestStreamThatKeepsTheSharedWindowIsEnded(t *testing.T) {
	r := newRig(t, 1, Options{HoldTimeout: 2 * time.Second})
	a, c := r.dial(0), r.dial(0)
	b := r.dialWith(0, 16<<20)
	b.subscribe(bob, 1)
	idle, idleStream := b.c, b.s
	b.negotiate(wire.LinkEdge, "second")
	b.subscribe(alice, 1)
	b.shy, b.greedy = idleStream, true
	for idle.stream.Room() >= 1<<10 {
		a.publish(header(group, bob, 1, "x"), 1, min(50_000, idle.stream.Room()-500))
		b.exchange()
	}
	sent := 0
	for ; b.c.q.charged == 0 || c.s.Window() > 12_000; sent++ {
		c.publish(header(group, alice, 1, "x"), sent, 10_000)
	}
	if idle.q.charged > 0 {
		t.Fatal("somebody waits for the one that does not read")
	}
	passed := time.Duration(0)
	for ; b.end == nil; passed += stallLook {
		if passed > time.Minute {
			t.Fatal("its neighbour waits without limit")
		}
		r.pass(stallLook)
	}
	if passed < time.Second {
		t.Errorf("ended after %v", passed)
	}
	if b.end.Kind != h2.KindReset && b.end.GRPCStatus != statusExhausted {
		t.Errorf("ended with %+v", b.end)
	}
	b.greedy = false
	b.feed(b.kept)
	got := 0
	for range 10 {
		r.pass(stallLook)
		got += b.count()
	}
	s := r.stats()
	if got != sent || len(s.Dropped) != 0 || s.Stalled != 0 || s.Refused[ReasonStalled] != 1 || s.Connections != 3 {
		t.Errorf("the other got %d of %d; %+v", got, sent, s)
	}
	c.exchange()
	if w := c.s.Window(); w < receiveWindow*3/4 {
		t.Errorf("its sender has a window of %d", w)
	}
}

// Two streams of a socket: the one whose window the peer keeps closed is stalled, the other is served.
func TestStreamThatDoesNotReadIsStalledAlone(t *testing.T) {
	r := newRig(t, 1, Options{})
	a := r.dial(0)
	b := r.dialWith(0, 256<<10)
	b.subscribe(bob, 1)
	idle, idleStream := b.c, b.s
	b.negotiate(wire.LinkEdge, "second")
	b.subscribe(alice, 1)
	b.shy = idleStream
	for i := 0; r.stats().Stalled == 0; i++ {
		if i > 2000 {
			t.Fatal("nobody is stalled")
		}
		for a.s.Window() > 24_000 {
			a.publish(header(group, bob, 1, "x"), i, 10_000)
			a.publish(header(group, alice, 1, "x"), i, 10_000)
		}
		b.count()
		r.pass(stallLook)
		a.exchange()
	}
	if !idle.q.stalled || b.c.q.stalled {
		t.Errorf("stalled: %v, its neighbour %v", idle.q.stalled, b.c.q.stalled)
	}
	b.count()
	a.publish(header(group, alice, 1, "x"), 1, 100)
	if n := b.count(); n != 1 {
		t.Errorf("the neighbour got %d of 1", n)
	}
}

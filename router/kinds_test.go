package router

import (
	"fmt"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// pairs runs f for a sender and a receiver of every kind, on one loop or on two, by turns; in a long run on both.
func pairs(t *testing.T, o Options, f func(t *testing.T, r *rig, sender, receiver *app)) {
	for from := range kinds {
		for to := range kinds {
			for i, where := range placements {
				if !long && (from+to)%2 != i {
					continue
				}
				t.Run(fmt.Sprintf("%s to %s, %s", kinds[from].name, kinds[to].name, where.name), func(t *testing.T) {
					r := newRig(t, where.loops, o)
					a, b := r.join(from, where.source), r.join(to, where.dest)
					f(t, r, a, b)
					if s := r.stats(); s.Panics != 0 {
						t.Errorf("%d panics", s.Panics)
					}
				})
			}
		}
	}
}

// flood publishes messages of n bytes, from i on, until the sender is held; it returns the number of the next.
func (a *app) flood(to wire.NameText, i, n int) int {
	a.r.t.Helper()
	for held := 0; held < 3; i++ {
		if a.publish(to, 1, i, n) {
			held = 0
		} else {
			i--
			held++
		}
		a.run()
		if i > 3000 {
			a.r.t.Fatal("the sender is never held")
		}
	}
	return i
}

// wantNumbers checks that the messages received are those of numbers from, from+1 and so on, and returns the next.
func (a *app) wantNumbers(from int) int {
	a.r.t.Helper()
	a.run()
	for _, b := range a.got {
		if n := numberOf(b); n != from {
			a.r.t.Fatalf("message %d comes instead of %d", n, from)
		}
		from++
	}
	a.got = nil
	return from
}

// A sender is held while its receiver reads nothing, by whatever its transport has; nothing is lost, and the order holds.
func TestPressureOfAnyTransport(t *testing.T) {
	pairs(t, Options{SlowConsumer: Block}, func(t *testing.T, r *rig, a, b *app) {
		b.subscribe(bob)
		b.pause(true)
		count := a.flood(bob, 0, 20_000)
		q := &b.conn().q
		if q.charged == 0 || q.bytes > DefaultConnBuffer+2*receiveWindow {
			t.Errorf("%d bytes wait, %d charged", q.bytes, q.charged)
		}
		b.pause(false)
		next := 0
		for range 200 {
			next = b.wantNumbers(next)
			a.run()
		}
		if next != count {
			t.Errorf("%d of %d arrived", next, count)
		}
		if !a.publish(bob, 1, count, 100) {
			t.Error("the sender is still held")
		}
		b.wantNumbers(next)
		if s := r.stats(); len(s.Dropped) != 0 || q.charged != 0 || q.bytes != 0 {
			t.Errorf("dropped %v, %d bytes wait, %d charged", s.Dropped, q.bytes, q.charged)
		}
	})
}

// A receiver that takes nothing is stalled after a while: nobody waits for it, and it comes back to life.
func TestStallOfAnyTransport(t *testing.T) {
	t.Parallel() // beside those that wait
	pairs(t, Options{}, func(t *testing.T, r *rig, a, b *app) {
		b.subscribe(bob)
		b.pause(true)
		count := a.flood(bob, 0, 20_000)
		for i := 0; !b.conn().q.stalled; i++ {
			if i > 200 {
				t.Fatal("never stalled")
			}
			r.pass(stallLook)
		}
		a.run()
		for i := range 100 {
			if !a.publish(bob, 1, count+i, 20_000) {
				t.Fatal("the sender is held by a stalled receiver")
			}
			a.run()
		}
		if n := r.stats().Dropped[ReasonStalled]; n < 100 {
			t.Errorf("%d messages died, want 100 at least", n)
		}
		b.pause(false)
		for range 200 {
			b.run()
			r.pass(stallLook)
		}
		if b.got = nil; b.conn().q.stalled {
			t.Fatal("it has not caught up")
		}
		if !a.publish(bob, 1, 5000, 100) {
			t.Fatal("held")
		}
		b.wantNumbers(5000)
	})
}

// Under the policy drop nobody waits, whatever the transport.
func TestDropOfAnyTransport(t *testing.T) {
	t.Parallel() // beside those that wait
	pairs(t, Options{SlowConsumer: Drop}, func(t *testing.T, r *rig, a, b *app) {
		b.subscribe(bob)
		b.pause(true)
		for i := range 250 {
			if !a.publish(bob, 1, i, 20_000) {
				t.Fatalf("message %d is held", i)
			}
			a.run()
		}
		if r.stats().Dropped[ReasonFull] == 0 || b.conn().q.bytes > DefaultConnBuffer {
			t.Errorf("dropped %v, %d bytes wait", r.stats().Dropped, b.conn().q.bytes)
		}
	})
}

// The end of a connection follows what waits for it; when its peer goes, what waits dies and senders have their credit
// back.
func TestEndsOfAnyTransport(t *testing.T) {
	t.Parallel() // beside those that wait
	pairs(t, Options{SlowConsumer: Block}, func(t *testing.T, r *rig, a, b *app) {
		b.subscribe(bob)
		b.pause(true)
		count := a.flood(bob, 0, 20_000)
		b.conn().loop.post(func() { b.conn().finish() })
		r.settle()
		b.pause(false)
		next := 0
		for i := 0; i < 200 && (next < count || !b.ended()); i++ {
			next = b.wantNumbers(next)
			a.run()
		}
		if next != count || !b.ended() {
			t.Errorf("%d of %d arrived, ended %v", next, count, b.ended())
		}
	})
	pairs(t, Options{SlowConsumer: Block}, func(t *testing.T, r *rig, a, b *app) {
		b.subscribe(bob)
		b.pause(true)
		a.flood(bob, 0, 20_000)
		b.leave()
		a.run()
		for i := range 200 {
			if !a.publish(bob, 1, i, 20_000) {
				t.Fatalf("message %d is held by nobody", i)
			}
			a.run()
		}
		if s := r.stats(); s.Connections != 1 || s.Names != 0 {
			t.Errorf("%+v", s)
		}
	})
}

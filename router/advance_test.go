package router

import (
	"testing"
	"time"
)

// hoarded returns a rig with a sender that has used up its window and two members of its group: one has read everything
// and returned no window, so that it is not known for seconds whether it is stalled.
func hoarded(t *testing.T, o Options, loops, source, dest, size int) (r *rig, a, dead, alive *peer) {
	r = newRig(t, loops, o)
	a, dead, alive = r.dial(source), r.dial(dest), r.dial(dest)
	dead.subscribe(group.WithID(1, 1), 1)
	alive.subscribe(group.WithID(2, 2), 1)
	dead.hoard = true
	for !dead.c.q.stalled && a.offer(size) {
		dead.exchange()
		alive.count()
	}
	if dead.c.q.charged == 0 {
		t.Fatal("nobody waits")
	}
	return r, a, dead, alive
}

// offer publishes a message of n bytes to the group, if the node lets it.
func (p *peer) offer(n int) bool {
	msg := p.publication(header(alice, group, 256, "x"), 1, n)
	if p.s.Window() < len(msg)+envelope {
		return false
	}
	p.send(msg)
	return true
}

// Rules: P-press-7.
func TestGroupGoesOnWhileAMemberIsNotKnownToBeStalled(t *testing.T) {
	t.Parallel() // beside those that wait
	sizes := []int{60, 1000, 10_000, 30_000}
	if slower {
		sizes = []int{1000, 30_000}
	}
	for i, where := range placements {
		for k, size := range sizes {
			if !long && i != k%2 { // each size in one place
				continue
			}
			r, a, dead, alive := hoarded(t, Options{}, where.loops, where.source, where.dest, size)
			const step = 500 * time.Millisecond
			q, full := &dead.c.q, dead.c.q.bytes
			steps := 0
			for ; !q.stalled; steps++ {
				got, before := 0, q.bytes
				for d := time.Duration(0); d < step && !q.stalled; d += stallLook {
					r.pass(stallLook)
					a.exchange()
					for !dead.c.q.stalled && a.offer(size) {
						got += alive.count()
					}
				}
				pace := q.bytes - before // in memory
				if want := DefaultStallRate / 2; !q.stalled && (got == 0 || pace < want*2/3 || pace > want*3/2) {
					t.Fatalf("%s, %d bytes: %d messages of %d bytes went on in step %d, want %d bytes",
						where.name, size, got, pace, steps, want)
				}
				if q.bytes > full+DefaultConnBuffer+size {
					t.Fatalf("%s, %d bytes: %d bytes wait, and %d before", where.name, size, q.bytes, full)
				}
			}
			if steps < 7 { // half of the window, at the floor's rate
				t.Errorf("%s, %d bytes: stalled after %d steps", where.name, size, steps)
			}
			if q.bytes > DefaultConnBuffer {
				t.Errorf("%s, %d bytes: %d bytes wait for the one that is stalled", where.name, size, q.bytes)
			}
			if a.exchange(); a.s.Window() < receiveWindow*3/4 {
				t.Errorf("%s, %d bytes: the sender has a window of %d", where.name, size, a.s.Window())
			}
		}
	}
}

// Who sends less than the floor's rate does not wait for a member that does not read, and the member is found as soon.
//
// Rules: P-press-7.
func TestSlowSenderDoesNotWait(t *testing.T) {
	for _, where := range placements {
		const size = 1000 // one in 25 ms
		r, a, dead, alive := hoarded(t, Options{}, where.loops, where.source, where.dest, size)
		r.pass(10 * stallLook)
		a.exchange()
		passed := 10 * stallLook
		for i := 0; !dead.c.q.stalled; i++ {
			if passed += stallLook; passed > 5*time.Second {
				t.Fatalf("%s: not found in %v", where.name, passed)
			}
			if !a.offer(size) {
				t.Fatalf("%s: it waits with message %d", where.name, i)
			}
			if alive.count() != 1 {
				t.Fatalf("%s: message %d has not come", where.name, i)
			}
			r.pass(stallLook)
			a.exchange()
		}
	}
}

// Several members that do not read let their senders go on as one would.
func TestManyMembersAdvanceAsOne(t *testing.T) {
	for _, where := range placements {
		r, a, dead, alive := hoarded(t, Options{}, where.loops, where.source, where.dest, 1000)
		for i := range 5 {
			p := r.dial(where.dest)
			p.subscribe(group.WithID(uint64(10+i), 3), 1)
			p.hoard = true
		}
		q := &dead.c.q
		before := q.bytes
		const looks = 40
		for range looks {
			r.pass(stallLook)
			a.exchange()
			for !dead.c.q.stalled && a.offer(1000) {
				alive.count()
			}
		}
		if got, most := q.bytes-before, looks*DefaultStallRate/int(time.Second/stallLook)*5/4; got > most {
			t.Errorf("%s: %d bytes more wait after a second, want %d at most", where.name, got, most)
		}
	}
}

// A member just above the floor that returns its window in lumps gets all there is, whatever its senders are let.
func TestMemberThatReturnsLumpsLosesNothing(t *testing.T) {
	t.Parallel() // beside those that wait
	length := 20 * time.Second
	switch {
	case slower:
		length = 10 * time.Second
	case long:
		length = time.Minute
	}
	for _, where := range placements {
		r, a, dead, alive := hoarded(t, Options{HoldTimeout: time.Hour}, where.loops, where.source, where.dest, 1000)
		const rate = DefaultStallRate * 6 / 5
		due, most := 0.0, 0
		for now := time.Duration(0); now < length; now += stallLook {
			r.pass(stallLook)
			a.exchange()
			for !dead.c.q.stalled && a.offer(1000) {
				alive.count()
			}
			if due += rate * stallLook.Seconds(); due > 1<<20 {
				dead.relent(int(due))
				due = 0
			}
			most = max(most, dead.c.q.bytes)
		}
		if s := r.stats(); s.Stalled != 0 || len(s.Dropped) != 0 {
			t.Errorf("%s: %+v", where.name, s)
		}
		if most > 5*DefaultConnBuffer {
			t.Errorf("%s: %d bytes wait", where.name, most)
		}
	}
}

// Members on several loops that ask for the same sender at the same time give it no more than one would.
func TestLoopsAdvanceASenderAsOne(t *testing.T) {
	r := newRig(t, 3, Options{})
	a := r.dial(0)
	for i, n := range []int{600, 1000} {
		l := r.n.loops[1+i]
		l.post(func() { l.advance(a.c, n) })
		r.loops[1+i].RunTurn()
	}
	if n := a.c.advanced.Load(); n != 1000 {
		t.Errorf("the sender may send %d bytes more, want 1000", n)
	}
	r.settle()
	if n := a.c.advanced.Load(); n != 0 || a.c.notified.Load() {
		t.Errorf("%d bytes were not given to it", n)
	}
}

package router

import (
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/transport"
)

// looked is a stream that counts how often somebody asks for its progress.
type looked struct {
	transport.Stream
	times *int
}

func (s *looked) Progress() transport.Progress { *s.times++; return s.Stream.Progress() }

// armed reports whether the stall clock of a loop runs.
func (r *rig) armed() bool {
	for _, l := range r.n.loops {
		if l.clock.armed {
			return true
		}
	}
	return false
}

// A loop with receivers that take nothing wakes as rarely as one without, unless there is something to decide.
func TestClockRunsOnlyWhileSomethingIsToBeDecided(t *testing.T) {
	for _, tc := range []struct {
		name   string
		policy Policy
		fill   int // messages of 10,000 bytes
		runs   bool
	}{
		{"nobody waits for it", Adaptive, 60, false},
		{"somebody waits for it", Adaptive, 200, true},
		{"somebody waits without limit", Block, 200, false},
		{"nobody ever waits", Drop, 200, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, 1, Options{SlowConsumer: tc.policy})
			r.window = 20_000 // the kernel is out of the game
			b := r.dial(0)
			r.window = 0
			a := r.dial(0)
			b.subscribe(bob, 1)
			b.hoard = true
			for i := range tc.fill {
				if a.s.Window() < 11_000 {
					break
				}
				a.publish(header(alice, bob, 1, "x"), i, 10_000)
			}
			if b.c.q.n == 0 || tc.runs != (b.c.q.charged > 0) && tc.policy == Adaptive {
				t.Fatalf("%d messages wait, %d bytes charged", b.c.q.n, b.c.q.charged)
			}
			r.pass(3 * stallLook) // what is left of a window is used
			if r.armed() != tc.runs {
				t.Errorf("the clock runs: %v, want %v", r.armed(), tc.runs)
			}
			if !tc.runs {
				return
			}
			r.pass(time.Second)
			if !b.c.q.stalled || r.armed() {
				t.Errorf("stalled %v; the clock runs: %v", b.c.q.stalled, r.armed())
			}
		})
	}
}

// A little room is used after a moment, then the clock stops.
func TestClockStopsWhenALittleRoomIsUsed(t *testing.T) {
	r := newRig(t, 1, Options{})
	r.window = 11_000
	b := r.dial(0)
	r.window = 0
	a := r.dial(0)
	b.subscribe(bob, 1)
	b.hoard = true
	for i := range 3 {
		a.publish(header(alice, bob, 1, "x"), i, 5_000)
	}
	if room := b.c.stream.Room(); room == 0 || room >= 1<<10 || !r.armed() {
		t.Fatalf("%d bytes of room, the clock runs: %v", room, r.armed())
	}
	r.pass(3 * stallLook)
	if room := b.c.stream.Room(); room != 0 || r.armed() {
		t.Errorf("%d bytes of room, the clock runs: %v", room, r.armed())
	}
}

// Looks at thousands of receivers do not hold the loop up, and none is left out.
func TestLooksAreMadeInSlices(t *testing.T) {
	t.Parallel() // beside those that wait
	const count = 300
	r := newRig(t, 1, Options{ConnBuffer: 16 << 10})
	r.window = 1
	looks := make([]int, count)
	var ps []*peer
	for i := range count {
		p := r.dial(0)
		p.subscribe(group.WithID(uint64(i), 1), 1)
		p.hoard = true
		p.c.stream = &looked{p.c.stream, &looks[i]}
		ps = append(ps, p)
	}
	r.window = 0
	a := r.dial(0)
	for i := range 3 {
		a.publish(header(alice, group, 256, "x"), i, 10_000)
	}
	for _, p := range ps {
		if p.c.q.charged == 0 {
			t.Fatal("nobody waits")
		}
	}
	r.slow(func() time.Duration { return turnBudget / 4 })
	clear(looks)
	l := r.n.loops[0]
	l.post(func() { l.clock.pass(stallLook) })
	most, before := 0, 0
	for turns := 0; r.loops[0].Woken(); turns++ {
		r.loops[0].RunTurn()
		total := 0
		for _, n := range looks {
			total += n
		}
		most, before = max(most, total-before), total
		if turns > count {
			t.Fatal("it never ends")
		}
	}
	if most > 32 {
		t.Errorf("%d looks in a callback", most)
	}
	for i, n := range looks {
		if n != 1 {
			t.Fatalf("receiver %d was looked at %d times", i, n)
		}
	}
}

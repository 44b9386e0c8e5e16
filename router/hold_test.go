package router

import (
	"testing"
	"time"
)

// slowGroup has a sender at full speed, and members of a group who each read bytes every 25 ms; 0: all there is.
func slowGroup(t *testing.T, o Options, loops, dest int, bytes ...int) (r *rig, a *peer, members []*peer) {
	r = newRig(t, loops, o)
	a = r.dial(0)
	for i, n := range bytes {
		p := r.dial(dest)
		p.subscribe(group.WithID(uint64(i), 1), 1)
		p.paused = true
		if n > 0 {
			p.buf = p.buf[:n]
		}
		members = append(members, p)
	}
	return r, a, members
}

// passBusy lets d go by while the sender sends what it may and members read at their pace, and returns how many
// messages went out. It ends early when a member is stalled.
func passBusy(r *rig, a *peer, members []*peer, d time.Duration) (sent int, passed time.Duration) {
	for ; passed < d && r.stats().Stalled == 0; passed += stallLook {
		a.exchange()
		for a.s.Window() > 12_000 {
			a.publish(header(alice, group, 256, "x"), sent, 10_000)
			sent++
			for _, p := range members {
				if len(p.buf) == cap(p.buf) {
					p.readAll()
				}
			}
		}
		for _, p := range members {
			p.readOnce()
			p.got = nil
		}
		r.pass(stallLook)
	}
	return sent, passed
}

const justAbove = DefaultStallRate * 11 / 10 / 40 // bytes in 25 ms

// A member just above the floor is waited for as long as HoldTimeout allows, and then costs the others nothing more.
//
// Rules: P-press-5.
func TestMemberThatHoldsItsGroupUpIsStalled(t *testing.T) {
	t.Parallel() // beside those that wait
	for _, where := range placements {
		t.Run(where.name, func(t *testing.T) {
			r, a, members := slowGroup(t, Options{HoldTimeout: time.Second}, where.loops, where.dest, justAbove, 0)
			passBusy(r, a, members, 20*time.Second) // until then others wait
			if s := r.stats(); s.Stalled != 1 || members[0].c.q.stalled != true {
				t.Fatalf("stalled = %d, the slow one: %v", s.Stalled, members[0].c.q.stalled)
			}
			members[1].readAll()
			for i := range 500 {
				a.publish(header(alice, group, 256, "x"), i, 10_000)
				members[1].readAll()
			}
			if w := a.s.Window(); w < receiveWindow*3/4 {
				t.Errorf("the sender has a window of %d only", w)
			}
		})
	}
}

func TestWhoIsNotStalledForHoldingOthersUp(t *testing.T) {
	t.Parallel()                  // beside those that wait
	const long = 15 * time.Second // whoever is stalled for that is after two
	for _, tc := range []struct {
		name  string
		o     Options
		bytes []int
	}{
		{"nobody else gets the messages", Options{HoldTimeout: time.Second}, []int{justAbove}},
		{"all members are as slow", Options{HoldTimeout: time.Second}, []int{justAbove, justAbove, justAbove}},
		{"five times the floor is fast enough", Options{HoldTimeout: time.Second}, []int{5 * DefaultStallRate / 40, 0}},
		{"the policy is block", Options{HoldTimeout: time.Second, SlowConsumer: Block}, []int{justAbove, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, a, members := slowGroup(t, tc.o, 1, 0, tc.bytes...)
			if sent, passed := passBusy(r, a, members, long); passed < long {
				t.Errorf("stalled after %v and %d messages", passed, sent)
			}
		})
	}
}

func TestTimeOfHoldingOthersUp(t *testing.T) {
	const rate, limit = DefaultStallRate, 5 * time.Second
	// found is how long a receiver that takes so many bytes a second may hold others up.
	found := func(h *holding, o others, taken int) time.Duration {
		for now := stallLook; now < time.Minute; now += stallLook {
			if h.look(stallLook, uint64(taken/40), o, rate, limit) {
				return now
			}
		}
		return 0
	}
	for _, tc := range []struct {
		rule   string
		others others
		taken  int
		want   time.Duration
	}{
		{"one that takes nothing has the limit", othersWait, 0, limit},
		{"what it takes makes it longer", othersWait, 2 * rate, 2 * limit},
		{"a healthy one may hold others up for ever", othersWait, 4 * rate, 0},
		{"nobody waits", othersQueue, 0, 0},
		{"nothing is known", othersUnknown, 0, 0},
	} {
		if got := found(new(holding), tc.others, tc.taken); (got - tc.want).Abs() > stallLook { // bytes are whole
			t.Errorf("%s: %v, want %v", tc.rule, got, tc.want)
		}
	}
	t.Run("it comes back at a twentieth of the speed", func(t *testing.T) {
		h := new(holding)
		found(h, othersWait, 0)
		h.start(20*time.Second, rate)
		if got := found(h, othersWait, 0); got != time.Second {
			t.Errorf("%v after 20 s of rest, want 1s", got)
		}
		h.start(time.Hour, rate)
		if got := found(h, othersWait, 0); got != limit {
			t.Errorf("%v after an hour of rest, want %v", got, limit)
		}
	})
	t.Run("what is not known is as before", func(t *testing.T) {
		h := new(holding)
		h.look(stallLook, 0, othersWait, rate, limit)
		if got := found(h, othersUnknown, 0); got != limit-stallLook {
			t.Errorf("%v, want %v", got, limit-stallLook)
		}
	})
}

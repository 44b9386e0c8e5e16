package router

import (
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// forward lets all that has come until now reach the queues of its receivers, as forwardAll does. Loops have a turn
// only
// where it is waited for one.
func (r *rig) forward(t *testing.T) {
	t.Helper()
	for i, s := range stages {
		rings := reflect.ValueOf(s.mark).Pointer() == reflect.ValueOf((*loop).markRings).Pointer() // which others empty
		for _, l := range r.n.loops {
			s.mark(l)
		}
		for turns := 0; ; turns++ {
			var waits []int // loops
			for i, l := range r.n.loops {
				if !s.passed(l) {
					waits = append(waits, i)
				}
			}
			if len(waits) == 0 {
				break
			}
			if rings {
				waits = []int{0, 1}[:len(r.loops)]
			}
			if turns > 1000 {
				t.Fatalf("stage %d is never passed", i)
			}
			for _, p := range r.peers { // the kernel has it
				if n, _ := unix.Read(p.sock.Descriptor(), p.buf); n > 0 {
					p.feed(p.buf[:n])
				}
			}
			for _, i := range waits {
				r.loops[i].RunTurn()
			}
		}
	}
}

// Wherever a message is when a node is told to stop, it is waited for. Rules: P-end-3.
func TestEveryPlaceOfAMessageIsWaitedFor(t *testing.T) {
	t.Parallel()                  // beside those that wait
	const members = 6 * lookEvery // half of them on each loop: more than a turn serves
	for _, tc := range []struct {
		where   string
		members int
		put     func(a *peer) (deliveries int)
	}{
		{"the kernel", 0, func(a *peer) int {
			a.stageOne(0, 10)
			if n, err := unix.Write(a.fd, a.out); n != len(a.out) {
				a.r.t.Fatal(err)
			}
			a.out = nil
			a.cli.Cut()
			return 1
		}},
		{"a fan-out under way", members, func(a *peer) int {
			a.stage(a.publication(header(alice, group, 256, "x"), 0, 10))
			a.deliver()
			return members
		}},
		{"lines of both loops", members, func(a *peer) int {
			for i := range 6 {
				a.stage(a.publication(header(alice, group, 256, "x"), i, 10))
			}
			a.deliver()
			return 6 * members
		}},
		{"rings", 0, func(a *peer) int {
			a.stageOne(0, maxBundled+1000)
			a.deliver()
			return 1
		}},
		{"bundles that a turn does not serve whole", 0, func(a *peer) int {
			for i := range 6 * lookEvery {
				a.stageOne(i, 10)
			}
			a.deliver()
			return 6 * lookEvery
		}},
	} {
		t.Run(tc.where, func(t *testing.T) {
			r := newRig(t, 2, Options{ConnBuffer: 64 << 20})
			a, b := r.dial(0), r.dial(1)
			b.subscribe(bob, 1)
			for i := range tc.members {
				r.dial(i%2).subscribe(group.WithID(uint64(i), 1), 0)
			}
			r.settle()
			before := r.stats()
			r.slow(func() time.Duration { return turnBudget }) // 128 receivers a turn
			want := uint64(tc.put(a))
			r.forward(t)
			if s := r.stats(); s.Delivered+s.Queued-before.Delivered-before.Queued != want {
				t.Errorf("%d of %d messages are with their receivers when nothing is waited for any more",
					s.Delivered+s.Queued-before.Delivered-before.Queued, want)
			}
		})
	}
}

package router

import (
	"strings"
	"testing"
)

// A fan-out takes longer than a loop may serve it at once, and nothing else happens on the loop: it goes on
// nevertheless.
func TestLongFanoutGoesOnByItself(t *testing.T) {
	const members = 3 * lookEvery
	r := newRig(t, 1, Options{})
	a := r.dial(0)
	for i := range members {
		r.dial(0).subscribe(group.WithID(uint64(i), 1), 1)
	}
	msg := a.publication(header(alice, group, 256, strings.Repeat("x", 60<<10)), 1, 10) // hashed for each member
	a.stage(msg)
	out := a.out
	a.out = nil
	a.cli.Cut()
	r.settle()
	a.feed(out)
	turns := 0
	for ; a.c.sending > 0 && r.loops[0].Woken(); turns++ {
		r.loops[0].RunTurn()
	}
	if a.c.sending > 0 {
		t.Fatalf("the loop sleeps after %d turns, and the fan-out is not done", turns)
	}
	if turns == 0 {
		t.Error("all members were served at once")
	}
	for i, p := range r.peers[1:] {
		if n := p.count(); n != 1 {
			t.Fatalf("member %d got %d messages", i, n)
		}
	}
}

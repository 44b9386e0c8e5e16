package router

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
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

// A fan-out that is under way to another loop when the last receiver there leaves is not lost without a word.
func TestFanoutWhoseReceiversHaveLeftIsCounted(t *testing.T) {
	r := newRig(t, 2, Options{})
	a, b := r.dial(0), r.dial(1)
	b.subscribe(group, 1)
	a.stage(a.publication(header(alice, group, 256, "x"), 0, 10))
	a.deliver()
	h := header(group, group, 1, "")
	b.sign(h)
	b.stage(wire.AppendUnsubscribe(nil, h, 1))
	b.deliver()
	r.settle()
	s := r.stats()
	if s.Delivered != 0 {
		t.Fatal("it has arrived: the test shows nothing")
	}
	if s.Dropped[ReasonGone] != 1 || s.Held != 0 {
		t.Errorf("dropped %v, held %d", s.Dropped, s.Held)
	}
}

// At debug an operator reads where a message went that reaches nobody, whether it had to wait or not.
func TestNoMatchIsLoggedAfterAWaitToo(t *testing.T) {
	t.Parallel() // beside those that wait
	for _, fanout := range []uint32{1, 256} {
		var log bytes.Buffer
		r := newRig(t, 1, Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		a := r.dial(0)
		for i := range 3 * lookEvery {
			r.dial(0).subscribe(group.WithID(uint64(i), 1), 0)
		}
		r.slow(func() time.Duration { return turnBudget })
		a.stage(a.publication(header(alice, group, 256, "x"), 0, 10))
		a.stage(a.publication(header(alice, bob, fanout, "x"), 1, 10))
		a.deliver()
		if a.c.sending != 2 {
			t.Fatal("it does not wait: the test shows nothing")
		}
		r.settle()
		if !strings.Contains(log.String(), "reason=no_match") || r.stats().Dropped[ReasonNoMatch] != 1 {
			t.Errorf("fanout %d: %v dropped, and not logged", fanout, r.stats().Dropped)
		}
	}
}

// What a callback delivers is bounded by what it costs: long messages have the clock read more often, and long headers,
// which are hashed for each receiver, count four times.
func TestHeavyMessagesSpendTheBudgetSooner(t *testing.T) {
	t.Parallel() // beside those that wait
	const members = 2 * lookEvery
	for _, tc := range []struct {
		what           string
		identity, size int
		slow           time.Duration // between looks at the clock
		least, most    uint64        // receivers that the first callback serves
	}{
		{"short", 10, 10, turnBudget, 100, members},
		{"long", 10, 16 << 10, turnBudget, 20, 60},
		{"long header", 60 << 10, 10, 0, 10, turnBytes/(4*60<<10) + 1},
	} {
		r := newRig(t, 1, Options{})
		a := r.dial(0)
		for i := range members {
			r.dial(0).subscribe(group.WithID(uint64(i), 1), 0)
		}
		r.settle()
		r.slow(func() time.Duration { return tc.slow })
		l := r.n.loops[0]
		before := l.served()
		a.stage(a.publication(header(alice, group, 256, strings.Repeat("x", tc.identity)), 0, tc.size))
		a.deliver()
		if n := l.served() - before; n < tc.least || n > tc.most {
			t.Errorf("%s: %d receivers are served at once, want %d to %d", tc.what, n, tc.least, tc.most)
		}
		r.settle()
	}
}

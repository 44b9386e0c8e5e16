package scenario

import (
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

func TestEarsCountWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name                  string
		numbers               []uint64
		duplicates, reordered uint64
	}{
		{"in order", []uint64{0, 1, 2, 3}, 0, 0},
		{"the first is missing", []uint64{1, 2}, 0, 1},
		{"a gap", []uint64{0, 2, 3}, 0, 1},
		{"twice", []uint64{0, 1, 1, 2}, 1, 0},
	} {
		var e ears
		next := uint64(0)
		for _, n := range c.numbers {
			next = e.count(next, n)
		}
		if e.received.Load() != uint64(len(c.numbers)) || e.duplicates.Load() != c.duplicates || e.reordered.Load() != c.reordered {
			t.Errorf("%s: %d received, %d twice, %d out of order", c.name, e.received.Load(), e.duplicates.Load(), e.reordered.Load())
		}
	}
}

// Several sessions of one app are all opened, talk, and are looked at when they are idle; a group is told of by its last join.
func TestSessionsAreOpenedAndLookedAt(t *testing.T) {
	t.Parallel()
	tg := ownNode(t)
	ms := metrics(t, tg, "mls", quick(func(p *result.Params) { p.Members, p.Sessions, p.Count = 2, 30, 90 }))
	for _, name := range []string{"joins", "messages delivered", "sender CPU per delivered", "receiver CPU per delivered", "p50"} {
		if ms[name] <= 0 {
			t.Errorf("%s: %v", name, ms[name])
		}
	}
	if _, told := ms["receiver RSS per idle session"]; !told || ms["sessions"] != 30 || ms["last join"] != 0 {
		t.Errorf("got %v", ms)
	}
	ms = metrics(t, tg, "session", quick(func(p *result.Params) { p.Members = 5 }))
	if _, told := ms["receiver RSS per idle session"]; told || ms["last join"] <= 0 || ms["lost"] != 0 {
		t.Errorf("of a group: %v", ms)
	}
}

// What the other process cannot do is told with its words, and what sessions cannot be measured by before anything is started.
func TestSessionsSayWhyTheyCannotBeMeasured(t *testing.T) {
	t.Parallel()
	if _, err := engage(t.Context(), cast{Node: "nowhere://x", Secret: strings.Repeat("s", 32), Names: []string{"bench/test/one"}}); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a node that cannot be: %v", err)
	}
	g, err := load.NewRig(t.Context(), load.Target{Addrs: []string{"https://node.example:1"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := load1(t, "mls").Run(t.Context(), g, result.Defaults()); err == nil || !strings.Contains(err.Error(), "without TLS") {
		t.Errorf("by TLS: %v", err)
	}
}

package table

import (
	"runtime"
	"slices"
	"testing"
)

// While a connection with many names leaves, others change the table between its steps.
func TestARemovalGoesInSteps(t *testing.T) {
	const names = 10*removeStep + 1
	tb := New[peer]()
	c, d := conns(Edge, "c")[0], conns(Edge, "d")[0]
	for i := range uint64(names) {
		add(t, tb, c, withID(i), 1)
		add(t, tb, c, withID(i), 2)
	}
	r := tb.RemoveConn(c)
	if tb.Count(c) != 0 || tb.Len() != 0 {
		t.Errorf("%d subscriptions of c, %d in all, want none", tb.Count(c), tb.Len())
	}
	lost, steps := 0, 0
	for more := true; more; steps++ {
		if got := len(all(tb, nullKey, nil, Only(Edge))); got != 1+min(steps, 1) {
			t.Fatalf("%d hold the prefix before step %d", got, steps)
		}
		var some []Lost
		some, more = r.Step()
		if len(some) > removeStep {
			t.Errorf("step %d takes %d names away, want %d at most", steps, len(some), removeStep)
		}
		for _, l := range some {
			if got := all(tb, Key{l.Name, true}, nil, All); got != "" {
				t.Errorf("%v is still held by %q", l.Name, got)
			}
		}
		lost += len(some)
		add(t, tb, d, withID(names+uint64(steps)), 1)
	}
	if lost != names || steps != 11 {
		t.Errorf("%d names lost in %d steps, want %d in 11", lost, steps, names)
	}
	if got := all(tb, nullKey, nil, All); got != "d" || tb.Len() != steps {
		t.Errorf("left: %q with %d subscriptions", got, tb.Len())
	}
	if again, more := r.Step(); len(again) > 0 || more {
		t.Errorf("a step after the last lost %v", again)
	}
	add(t, tb, c, withID(1), 1) // begins anew
	if tb.Count(c) != 1 {
		t.Error("c cannot come back")
	}
}

// What one subscription costs under the lock does not grow with those who hold names of the same prefix: the step
// from few ids to many, and from a short list to a long one, is taken while both are short. The measure is memory,
// which all of it needs.
func TestChangesOfFormCostTheSameHoweverManyHold(t *testing.T) {
	cost := func(holders int) uint64 {
		tb := New[peer]()
		cs := some(holders)
		for id := range uint64(fewMax) {
			for _, c := range cs {
				add(t, tb, c, withID(id), 1)
			}
		}
		var least [2 * fewMax]uint64 // of each change: the process may allocate beside it
		for round := range 4 {       // back and forth over both thresholds
			for i := range least {
				id, change := withID(1000+uint64(fewMax-i%fewMax)), add
				if i >= fewMax {
					change = remove
				}
				if n := allocated(func() { change(t, tb, cs[0], id, 1) }); round == 0 || n < least[i] {
					least[i] = n
				}
			}
		}
		return slices.Max(least[:])
	}
	if few, many := cost(flatMax), cost(3000); many > 2*few {
		t.Errorf("one change takes %d bytes where 3000 hold the names, %d where %d do", many, few, flatMax)
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

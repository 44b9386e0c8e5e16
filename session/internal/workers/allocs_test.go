//go:build !race

package workers

import (
	"testing"
	"time"
)

// Posting costs no memory, however many slots there are, and idle slots hold none.
func TestAllocsOfPosting(t *testing.T) {
	p := New[[8]int](1)
	p.Close() // the test is the worker
	w := p.workers[0]
	got := 0
	slots := make([]*Slot[[8]int], 100)
	for i := range slots {
		slots[i] = p.Add(counter{&got})
	}
	turn := 0
	run := func() {
		for range 3 {
			turn++
			for i := range 64 {
				slots[turn%len(slots)].Post([8]int{i})
			}
		}
		w.take()
		w.run = w.run[:0]
		for _, s := range slots {
			s.ready = false
		}
	}
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v objects for 192 that are posted", n)
	}
	if got != 101*192 {
		t.Errorf("%d came", got)
	}
	for i, s := range slots {
		if s.posted != nil {
			t.Errorf("idle slot %d holds memory for %d", i, cap(s.posted))
		}
	}
	for range 10 * mostSpareList {
		slots[0].Post([8]int{})
	}
	w.take()
	for _, spare := range w.spare {
		if cap(spare) > mostSpareList {
			t.Errorf("memory for %d is kept", cap(spare))
		}
	}
}

// counter is a task that counts what it is given.
type counter struct{ n *int }

func (c counter) Take([8]int) { *c.n++ }

func (c counter) Run(_, _ time.Time) (bool, time.Time) { return false, time.Time{} }

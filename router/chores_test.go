package router

import (
	"slices"
	"strings"
	"sync"
	"testing"
)

// diary notes which chore made a step.
type diary struct {
	mu    sync.Mutex
	steps []string
}

// chore makes n steps, the first of which waits for begin.
func (d *diary) chore(name string, n int, begin <-chan struct{}) chore {
	return func() bool {
		<-begin
		d.mu.Lock()
		defer d.mu.Unlock()
		d.steps = append(d.steps, name)
		n--
		return n > 0
	}
}

func TestChoresTakeTurns(t *testing.T) {
	var c chores
	d, begin := &diary{}, make(chan struct{})
	runs := make(chan struct{}) // the goroutine has begun its first round: the others come to the second
	c.add(func() bool { close(runs); <-begin; return false })
	<-runs
	c.add(d.chore("long", 5, begin))
	c.add(d.chore("short", 2, begin))
	c.add(d.chore("single", 1, begin))
	close(begin)
	c.wait()
	if want := strings.Fields("long short single long short long long long"); !slices.Equal(d.steps, want) {
		t.Errorf("steps %v, want %v", d.steps, want)
	}
	d.steps = nil
	c.add(d.chore("later", 1, begin)) // a new goroutine
	c.wait()
	if len(d.steps) != 1 {
		t.Errorf("a chore that came when all were done made %d steps", len(d.steps))
	}
}

func TestTheFirstStepOfAChoreIsMadeAtOnce(t *testing.T) {
	var c chores
	d, begin := &diary{}, make(chan struct{})
	close(begin)
	c.begin(d.chore("all of it", 1, begin))
	if len(d.steps) != 1 || c.running {
		t.Errorf("%d steps made, the goroutine runs: %v; want 1 and false", len(d.steps), c.running)
	}
	c.begin(d.chore("more", 3, begin))
	c.wait()
	if len(d.steps) != 4 {
		t.Errorf("%d steps made, want 4", len(d.steps))
	}
}

func TestAChoreThatPanicsEndsAlone(t *testing.T) {
	cause := ""
	c := chores{failed: func(s, _ string) { cause = s }}
	d, begin := &diary{}, make(chan struct{})
	c.add(func() bool { <-begin; panic("broken") })
	c.add(d.chore("sound", 3, begin))
	close(begin)
	c.wait()
	if cause != "broken" || len(d.steps) != 3 {
		t.Errorf("told %q, and the other chore made %d steps; want broken and 3", cause, len(d.steps))
	}
}

func TestStopLeavesChoresUndone(t *testing.T) {
	var c chores
	first, begin := make(chan struct{}), make(chan struct{})
	steps := 0
	c.add(func() bool { // without end
		if steps++; steps == 1 {
			close(first)
			<-begin
		}
		return true
	})
	<-first
	close(begin)
	c.stop()
	was := steps
	c.add(func() bool { steps++; return false })
	c.wait()
	if steps != was {
		t.Error("a chore was done after the stop")
	}
}

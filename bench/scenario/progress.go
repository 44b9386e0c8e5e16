package scenario

import (
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
)

// Step is one measurement of a plan.
type Step struct {
	Number, Of int // Number counts from 1; Of grows when undecided conditions ask for more rounds
	Round      int // from 1
	Case       Case
	Target     load.Target
}

// Progress is what a run tells while it goes on.
type Progress struct {
	Step    Step
	Elapsed time.Duration // since the run began
	Left    time.Duration // estimate for the rest of the run
	Rate    float64       // deliveries a second, of the latest sample; 0 between measurements
	P99     time.Duration // of the same
	Lost    uint64        // known to be missing in this measurement
	Done    bool          // this measurement has ended
}

// clock estimates how long a run goes on, from how long its steps have taken.
type clock struct {
	begun, step time.Time
	known       map[string]time.Duration // by case label: a finished step
}

func newClock() *clock {
	now := time.Now()
	return &clock{begun: now, step: now, known: map[string]time.Duration{}}
}

func (k *clock) begin() { k.step = time.Now() }

func (k *clock) end(label string) { k.known[label] = time.Since(k.step) }

// left is the estimate for the steps still to come, with what remains of the one that runs.
func (k *clock) left(running Case, rest map[string]int, cases map[string]Case) time.Duration {
	label := running.Label()
	sum := max(0, k.expect(label, running)-time.Since(k.step))
	for label, n := range rest {
		sum += time.Duration(n) * k.expect(label, cases[label])
	}
	return sum
}

// startCost is a guess for starting a node, connecting and stopping, until a step has shown it.
const startCost = 700 * time.Millisecond

func (k *clock) expect(label string, c Case) time.Duration {
	if d, ok := k.known[label]; ok {
		return d
	}
	return c.Params.Warmup + c.Params.Duration + startCost
}

package result

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// On a machine whose measurements scatter by 8 %, with a neighbour that takes half again in one of twenty, the interval
// holds the true ratio as often as it says, and a gate is wrong no more often.
func TestUnpairedIntervalHoldsTheTruth(t *testing.T) {
	t.Parallel()
	const runs = 2000
	random := rand.New(rand.NewPCG(3, 5))
	series := func(n int, middle float64) []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = middle * math.Exp(0.08*random.NormFloat64())
			if random.IntN(20) == 0 {
				v[i] *= 1.5
			}
		}
		return v
	}
	for _, n := range []int{4, 5, 8, 15} {
		held, passed, failed := 0, 0, 0
		for range runs {
			ours, theirs := Series{Values: series(n, 110)}, Series{Values: series(n, 100)}
			v := (Verdict{}).judgeUnpaired(ours, theirs, Condition{Metric: CostMetric, Against: "old", Bound: 1.1}, 0.05)
			if v.Low <= 1.1 && 1.1 <= v.High {
				held++
			}
			switch v.Outcome {
			case Pass:
				passed++
			case Fail:
				failed++
			}
		}
		if share := float64(held) / runs; share < 0.945 {
			t.Errorf("%d rounds: %.1f %% of the intervals hold the true ratio", n, 100*share)
		}
		if float64(passed)/runs > 0.03 || float64(failed)/runs > 0.03 {
			t.Errorf("%d rounds, exactly on the bound: %d pass and %d fail of %d", n, passed, failed, runs)
		}
	}
}

func TestUnpairedInterval(t *testing.T) {
	for _, c := range []struct {
		name      string
		a, b      []float64
		low, high float64
	}{
		{"all ratios, at four and four rounds", []float64{8, 8, 8, 16}, []float64{1, 2, 2, 4}, 2, 16},
		{"too few", []float64{8, 8, 8}, []float64{1, 2, 2}, 0, unboundedRatio},
		{"none", nil, nil, 0, unboundedRatio},
		{"nothing of nothing is no change", []float64{0, 0, 0, 0}, []float64{0, 0, 0, 0}, 1, 1},
		{"something of nothing", []float64{1, 1, 1, 1}, []float64{0, 0, 0, 0}, unboundedRatio, unboundedRatio},
		{"nothing of something", []float64{0, 0, 0, 0}, []float64{1, 1, 1, 1}, 0, 0},
	} {
		if low, high := unpairedInterval(c.a, c.b, 0.05); low != c.low || high != c.high {
			t.Errorf("%s: got %v to %v, want %v to %v", c.name, low, high, c.low, c.high)
		}
	}
	long := make([]float64, 60) // beyond the exact counts
	for i := range long {
		long[i] = 100 + float64(i)
	}
	if low, high := unpairedInterval(long, long, 0.05); low > 1 || high < 1 || low < 0.9 || high > 1.1 {
		t.Errorf("got %v to %v", low, high)
	}
}

func TestCompareWantsAProbability(t *testing.T) {
	r := &Results{Nodes: []NodeInfo{{Name: "node"}}}
	for _, alpha := range []float64{-1, 0, 1, math.NaN()} {
		if _, err := Compare(r, r, alpha, nil); err == nil {
			t.Errorf("alpha %g was taken", alpha)
		}
	}
}

// What another program has changed is refused, not judged.
func TestResultsWithoutValuesAreNotRead(t *testing.T) {
	for _, s := range []Series{{Name: "p50"}, {Name: "p50", Values: []float64{1, 2}, Rounds: []int{1}}} {
		r := &Results{Schema: Schema, Nodes: []NodeInfo{{Name: "node"}}, Cases: []CaseResult{{Nodes: []NodeResult{{Metrics: []Series{s}}}}}}
		var b bytes.Buffer
		if err := r.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadJSON(&b); err == nil {
			t.Errorf("%+v was read", s)
		}
	}
}

// Of many rounds the normal distribution stands for the exact one: 1275 - 1.96 deviations of 147.
func TestRankCutOfManyRounds(t *testing.T) {
	if got := rankCut(51, 50, 0.05); got < 984 || got > 989 {
		t.Errorf("got %d", got)
	}
}

// Of ten rounds two that a neighbour took do not move the middle, and what is no change is not said to be one.
func TestMiddleIsOfTheRoundsThatAreLeft(t *testing.T) {
	if mid, _, _ := interval([]float64{1, 1, 900, 1, 1, 1, 1, 1, 900, 1}, sure); mid != 1 {
		t.Errorf("got %g, want 1", mid)
	}
	same, other := Series{Value: 100, Values: []float64{99, 100, 101, 100}}, Series{Value: 101, Values: []float64{100, 101, 101, 99}}
	if got := other.Change(same, 0.05); !strings.HasPrefix(got, "~ ") {
		t.Errorf("of what may be chance: %q", got)
	}
}

// Rounds that were far above the others count as little as those that were far below.
func TestSpreadIsOfTheMiddleHalf(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 0},
		{[]float64{3, 5}, 1.0 / 4},
		{[]float64{100, 3, 1, 4, 2}, 1.0 / 3}, // half of 2 to 4 by 3
		{[]float64{4, 6, 5, 100}, 0.5 / 5.5},
		{[]float64{4, 6, 5, -100}, 0.5 / 4.5},
		{[]float64{1, 2, 3, 4, 5, 6, 7, 100}, 1.5 / 4.5},
	} {
		if got := (Series{Values: c.values}).Spread(); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v: got %g, want %g", c.values, got, c.want)
		}
	}
}

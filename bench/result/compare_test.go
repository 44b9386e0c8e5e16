package result

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// measuredOn is a valid run of one node: the rounds of metrics in one case.
func measuredOn(label string, rounds map[string][]float64) *Results {
	r := &Results{Valid: true, Nodes: []NodeInfo{{Name: "ours"}}, Cases: []CaseResult{{Scenario: "p2p", Label: label, Nodes: make([]NodeResult, 1)}}}
	for _, m := range []Metric{
		{Name: costMetric, Unit: Nanoseconds, Better: Lower}, {Name: "delivered", Unit: PerSecond, Better: Higher},
		{Name: "p99", Unit: Nanoseconds, Better: Lower}, {Name: "lost", Better: Lower, Worst: true}, {Name: "RSS growth", Unit: Bytes},
	} {
		for i, v := range rounds[m.Name] {
			m.Value = v
			r.Add(0, 0, []Metric{m}, Round{Number: i + 1}, nil)
		}
	}
	return r
}

func cost(values ...float64) *Results {
	return measuredOn("1→1", map[string][]float64{costMetric: values})
}

func compared(t *testing.T, before, after *Results, require ...string) (*Comparison, string) {
	t.Helper()
	var o CompareOptions
	for _, s := range require {
		c, err := ParseCondition(s)
		if err != nil {
			t.Fatal(err)
		}
		o.Require = append(o.Require, c)
	}
	x, err := Compare(before, after, o)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := x.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	return x, b.String() + strings.Join(x.Doubts(), "\n")
}

// A condition is judged by the whole interval of the ratio: noise neither passes nor fails.
func TestCompareJudgesIntervals(t *testing.T) {
	steady, dearer := cost(100, 101, 99, 102, 98, 100), cost(130, 131, 129, 132, 128, 130)
	near := cost(100, 103, 101, 99, 98, 102)
	for _, c := range []struct {
		name     string
		old, new *Results
		require  string
		want     Outcome
		text     string
	}{
		{"dearer", steady, dearer, costMetric + " / old <= 1.1", Fail, "+30.0%"},
		{"dearer, but within the bound", steady, dearer, costMetric + " / old <= 1.4", Pass, "pass"},
		{"same", steady, steady, costMetric + " / old <= 1.1", Pass, "same"},
		{"cheaper", dearer, steady, costMetric + " / old <= 1.1", Pass, "-23.1%"},
		{"at least, and it is", steady, dearer, costMetric + " / old >= 1.2", Pass, "pass"},
		{"at least, and it is not", dearer, steady, costMetric + " / old >= 1", Fail, "FAIL"},
		{"noise does not pass", steady, cost(80, 300, 109, 310, 90), costMetric + " / old <= 1.1", Unclear, "too noisy to tell"},
		{"a difference is no breach of the bound", near, cost(103, 130, 107, 105, 108, 106), costMetric + " / old <= 1.06", Unclear, "too noisy to tell"},
		{"three rounds tell nothing", cost(100, 101, 99), cost(130, 131, 129), costMetric + " / old <= 1.1", Unclear, "3 and 3 rounds are too few to tell: measure at least 4 of each"},
		{"four do", cost(100, 101, 99, 100), cost(130, 131, 129, 132), costMetric + " / old <= 1.1", Fail, "between 1.28 and 1.33"},
		{"the metric is unknown", steady, dearer, "node CPU per deliverd / old <= 1", Unclear, "did you mean node CPU per delivered?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, text := compared(t, c.old, c.new, c.require)
			if x.Outcome() != c.want || !strings.Contains(text, c.text) {
				t.Errorf("outcome %s\n%s", x.Outcome(), text)
			}
		})
	}
	if _, err := Compare(steady, dearer, CompareOptions{Node: "our"}); err == nil || !strings.Contains(err.Error(), "did you mean ours") {
		t.Errorf("got %v", err)
	}
	if _, err := Compare(steady, dearer, CompareOptions{Require: []Condition{{Metric: costMetric, Bound: 1}}}); err == nil || !strings.Contains(err.Error(), costMetric+" / old <= 1") {
		t.Errorf("got %v", err)
	}
}

// Of losses one round is enough, and few rounds hide none.
func TestCompareTakesTheWorstRoundOfLosses(t *testing.T) {
	lost := func(values ...float64) *Results { return measuredOn("1→1", map[string][]float64{"lost": values}) }
	for _, c := range []struct {
		name     string
		old, new *Results
		want     Outcome
	}{
		{"none before and after", lost(0, 0, 0), lost(0, 0, 0), Pass},
		{"in one round", lost(0, 0, 0), lost(0, 0, 1), Fail},
		{"fewer than before", lost(5), lost(4), Pass},
		{"more than before", lost(4), lost(5), Fail},
	} {
		if x, text := compared(t, c.old, c.new, "lost / old <= 1"); x.Outcome() != c.want {
			t.Errorf("%s: outcome %s\n%s", c.name, x.Outcome(), text)
		}
	}
}

// Results that show nothing do not pass, whether there are conditions or not.
func TestCompareDoesNotPassBadData(t *testing.T) {
	good := func() *Results {
		return measuredOn("1→1", map[string][]float64{costMetric: {100, 101, 99, 100}, "delivered": {5, 5, 5, 5}, "p99": {7, 7, 7, 7}})
	}
	dearer := func() *Results {
		return measuredOn("1→1", map[string][]float64{costMetric: {200, 201, 199, 200}, "delivered": {5, 5, 5, 5}, "p99": {7, 7, 7, 7}})
	}
	with := func(r *Results, change func(*Results)) *Results {
		change(r)
		return r
	}
	died := func(r *Results) { r.Valid, r.Invalid = false, []string{"node died"} }
	limited := func(r *Results) { r.Cases[0].Nodes[0].Limited = "client-limited: the generator was the limit" }
	gate := costMetric + " / old <= 1.1"
	for _, c := range []struct {
		name     string
		old, new *Results
		require  []string
		want     Outcome
		text     string
	}{
		{"all is well", good(), good(), []string{gate}, Pass, "pass"},
		{"new results are not valid", good(), with(good(), died), nil, Unclear, "the new results, of 0001-01-01 00:00:00, are not valid: node died"},
		{"old results are not valid", with(good(), died), good(), nil, Unclear, "the old results"},
		{"what is not valid does not fail either", good(), with(dearer(), died), []string{gate}, Unclear, "node died"},
		{"a case is gone", with(good(), func(r *Results) {
			r.Cases = append(r.Cases, measuredOn("8→8", map[string][]float64{costMetric: {1}}).Cases...)
		}), good(),
			nil, Unclear, "p2p 8→8: the new results do not have this case"},
		{"all cases are gone", good(), with(good(), func(r *Results) { r.Cases = nil }), nil, Unclear, "p2p 1→1: the new results do not have this case"},
		{"one of two equal cases is gone", with(good(), func(r *Results) { r.Cases = append(r.Cases, r.Cases[0]) }), good(), nil, Unclear, "do not have this case"},
		{"the case was not measured on the node", good(), with(good(), func(r *Results) { r.Cases[0].Nodes[0].Skipped = "needs names" }), nil, Unclear, "needs names"},
		{"a failure counts beside what is missing", good(), with(dearer(), func(r *Results) { r.Cases[0].Nodes[0].Metrics = r.Cases[0].Nodes[0].Metrics[:1] }), []string{gate}, Fail, "p99 is missing"},
		{"a row is gone", good(), measuredOn("1→1", map[string][]float64{costMetric: {100, 101, 99, 100}, "delivered": {5, 5, 5, 5}}), nil, Unclear, "p99 is missing in the new results"},
		{"a new row is no trouble", measuredOn("1→1", map[string][]float64{costMetric: {100, 101, 99, 100}}), good(), []string{gate}, Pass, "missing in the old results"},
		{"unless a condition is about it", measuredOn("1→1", map[string][]float64{costMetric: {100, 101, 99, 100}}), good(), []string{"p99 / old <= 1"}, Unclear, "p99 is missing in the old results"},
		{"a new case is no trouble", good(), with(good(), func(r *Results) {
			r.Cases = append(r.Cases, measuredOn("8→8", map[string][]float64{costMetric: {1}}).Cases...)
		}), nil, Pass, "only in the new: p2p 8→8"},
		{"unless a condition is about it", good(), with(good(), func(r *Results) {
			r.Cases = append(r.Cases, measuredOn("8→8", map[string][]float64{costMetric: {1}}).Cases...)
		}), []string{gate}, Unclear, "the old results do not have this case"},
		{"a limited generator's rate", good(), with(good(), limited), []string{"delivered / old >= 0.5"}, Unclear, "cannot be judged: new: client-limited"},
		{"and its delays", with(good(), limited), good(), []string{"p99 / old <= 2"}, Unclear, "cannot be judged: old: client-limited"},
		{"but not the cost", with(good(), limited), with(good(), limited), []string{gate}, Pass, "  ! old: client-limited"},
		{"ratios of what may be below 0", measuredOn("1→1", map[string][]float64{"RSS growth": {-5, 1, 2, 3}}), measuredOn("1→1", map[string][]float64{"RSS growth": {1, 2, 3, 4}}),
			[]string{"RSS growth / old <= 2"}, Unclear, "below 0"},
		{"other parameters are told", good(), with(good(), func(r *Results) { r.Cases[0].Params.Duration = 1 }), nil, Pass, "measured with other parameters"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, text := compared(t, c.old, c.new, c.require...)
			if x.Outcome() != c.want || !strings.Contains(text, c.text) {
				t.Errorf("outcome %s, want %s with %q in\n%s", x.Outcome(), c.want, c.text, text)
			}
			if x.Outcome() == Unclear && len(x.Doubts()) == 0 {
				t.Error("no reason")
			}
		})
	}
}

// On a machine whose measurements scatter by 8 %, with a neighbour that takes half again in one of twenty, the interval holds
// the true ratio as often as it says, and a gate is wrong no more often.
func TestUnpairedIntervalHoldsTheTruth(t *testing.T) {
	const runs = 4000
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
			low, high := unpairedInterval(series(n, 110), series(n, 100), 0.05)
			if low <= 1.1 && 1.1 <= high {
				held++
			}
			c := Change{Ratio: 1.1, Low: low, High: high, OldRounds: n, NewRounds: n}
			switch c.check(Condition{Metric: costMetric, Against: "old", Bound: 1.1}, 0.05).Outcome {
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

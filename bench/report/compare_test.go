package report

import (
	"math"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// measuredOn is a valid run of one node: the rounds of metrics in one case.
func measuredOn(label string, rounds map[string][]float64) *result.Results {
	r := &result.Results{Valid: true, Nodes: []result.NodeInfo{{Name: "ours"}}, Cases: []result.CaseResult{{Scenario: "p2p", Label: label, Nodes: make([]result.NodeResult, 1)}}}
	for _, m := range []result.Metric{
		{Name: cost, Unit: result.Nanoseconds, Better: result.Lower}, {Name: "delivered", Unit: result.PerSecond, Better: result.Higher},
		{Name: "p99", Unit: result.Nanoseconds, Better: result.Lower}, {Name: "lost", Better: result.Lower, Worst: true}, {Name: "RSS growth", Unit: result.Bytes},
	} {
		for i, v := range rounds[m.Name] {
			m.Value = v
			r.Add(0, 0, []result.Metric{m}, result.Round{Number: i + 1}, nil)
		}
	}
	return r
}

func costing(values ...float64) *result.Results {
	return measuredOn("1→1", map[string][]float64{cost: values})
}

// compared tells what became of a comparison, and shows it.
func compared(t *testing.T, before, after *result.Results, require ...string) (result.Outcome, string) {
	t.Helper()
	var conditions []result.Condition
	for _, s := range require {
		c, err := result.ParseCondition(s)
		if err != nil {
			t.Fatal(err)
		}
		conditions = append(conditions, c)
	}
	x, err := result.Compare(before, after, 0.05, conditions)
	if err != nil {
		t.Fatal(err)
	}
	text := written(t, "text", x)
	switch word, _ := state(x); word {
	case "fail":
		return result.Fail, text
	case "invalid":
		return result.Unclear, text
	}
	return result.Pass, text
}

// What is no probability is refused, as is what is no number.
func TestCompareRefusesALevelThatIsNone(t *testing.T) {
	for _, alpha := range []float64{0, 1, -1, math.NaN()} {
		if _, err := result.Compare(costing(1), costing(1), alpha, nil); err == nil {
			t.Errorf("%g was taken", alpha)
		}
	}
}

// A condition is judged by the whole interval of the ratio: noise neither passes nor fails.
func TestCompareJudgesIntervals(t *testing.T) {
	steady, dearer := costing(100, 101, 99, 102, 98, 100), costing(130, 131, 129, 132, 128, 130)
	near := costing(100, 103, 101, 99, 98, 102)
	for _, c := range []struct {
		name     string
		old, new *result.Results
		require  string
		want     result.Outcome
		text     string
	}{
		{"dearer", steady, dearer, cost + " / old <= 1.1", result.Fail, "+30.0%"},
		{"dearer, but within the bound", steady, dearer, cost + " / old <= 1.4", result.Pass, "pass"},
		{"same", steady, steady, cost + " / old <= 1.1", result.Pass, "same"},
		{"cheaper", dearer, steady, cost + " / old <= 1.1", result.Pass, "-23.1%"},
		{"at least, and it is", steady, dearer, cost + " / old >= 1.2", result.Pass, "pass"},
		{"at least, and it is not", dearer, steady, cost + " / old >= 1", result.Fail, "FAIL"},
		{"noise does not pass", steady, costing(80, 300, 109, 310, 90), cost + " / old <= 1.1", result.Unclear, "too noisy to tell"},
		{"a difference is no breach of the bound", near, costing(103, 130, 107, 105, 108, 106), cost + " / old <= 1.06", result.Unclear, "too noisy to tell"},
		{"three rounds tell nothing", costing(100, 101, 99), costing(130, 131, 129), cost + " / old <= 1.1", result.Unclear, "3 and 3 rounds are too few to tell: measure at least 4 of each"},
		{"four do", costing(100, 101, 99, 100), costing(130, 131, 129, 132), cost + " / old <= 1.1", result.Fail, "is 1.3 [1.28, 1.33] over 4 rounds"},
		{"the metric is unknown", steady, dearer, "node CPU per deliverd / old <= 1", result.Unclear, "judged in no case: this case does not measure it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, text := compared(t, c.old, c.new, c.require); got != c.want || !strings.Contains(text, c.text) {
				t.Errorf("outcome %s\n%s", got, text)
			}
		})
	}
	if _, err := result.Compare(steady, dearer, 0.05, []result.Condition{{Metric: cost, Bound: 1}}); err == nil || !strings.Contains(err.Error(), cost+" / old <= 1") {
		t.Errorf("got %v", err)
	}
}

// A comparison is results like others: every view shows what changed, by how much, and how sure that is.
func TestComparisonIsShownInEveryView(t *testing.T) {
	before, after := costing(100, 101, 99, 102), costing(130, 131, 129, 132)
	before.Cases[0].Params.Duration = 1
	x, err := result.Compare(before, after, 0.05, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, view := range views(t, x) {
		for _, want := range []string{"change", "130 ns ±0%", "100 ns ±0%", "p=0.029", "measured with other parameters"} {
			if !strings.Contains(view, want) {
				t.Errorf("%s lacks %q:\n%s", name, want, view)
			}
		}
	}
}

// Of losses one round is enough, and few rounds hide none.
func TestCompareTakesTheWorstRoundOfLosses(t *testing.T) {
	lost := func(values ...float64) *result.Results {
		return measuredOn("1→1", map[string][]float64{"lost": values})
	}
	for _, c := range []struct {
		name     string
		old, new *result.Results
		want     result.Outcome
	}{
		{"none before and after", lost(0, 0, 0), lost(0, 0, 0), result.Pass},
		{"in one round", lost(0, 0, 0), lost(0, 0, 1), result.Fail},
		{"fewer than before", lost(5), lost(4), result.Pass},
		{"more than before", lost(4), lost(5), result.Fail},
	} {
		if got, text := compared(t, c.old, c.new, "lost / old <= 1"); got != c.want {
			t.Errorf("%s: outcome %s\n%s", c.name, got, text)
		}
	}
}

// result.Results that show nothing do not pass, whether there are conditions or not.
func TestCompareDoesNotPassBadData(t *testing.T) {
	good := func() *result.Results {
		return measuredOn("1→1", map[string][]float64{cost: {100, 101, 99, 100}, "delivered": {5, 5, 5, 5}, "p99": {7, 7, 7, 7}})
	}
	dearer := func() *result.Results {
		return measuredOn("1→1", map[string][]float64{cost: {200, 201, 199, 200}, "delivered": {5, 5, 5, 5}, "p99": {7, 7, 7, 7}})
	}
	with := func(r *result.Results, change func(*result.Results)) *result.Results {
		change(r)
		return r
	}
	died := func(r *result.Results) { r.Valid, r.Invalid = false, []string{"node died"} }
	limited := func(r *result.Results) {
		r.Cases[0].Nodes[0].Doubts = []result.Doubt{{Kind: result.Limited, Text: "client-limited: so it was"}}
	}
	gate := cost + " / old <= 1.1"
	for _, c := range []struct {
		name     string
		old, new *result.Results
		require  []string
		want     result.Outcome
		text     string
	}{
		{"all is well", good(), good(), []string{gate}, result.Pass, "pass"},
		{"new results are not valid", good(), with(good(), died), nil, result.Unclear, "the new results, of 0001-01-01 00:00:00, are not valid: node died"},
		{"old results are not valid", with(good(), died), good(), nil, result.Unclear, "the old results"},
		{"what is not valid does not fail either", good(), with(dearer(), died), []string{gate}, result.Unclear, "node died"},
		{"a case is gone", with(good(), func(r *result.Results) {
			r.Cases = append(r.Cases, measuredOn("8→8", map[string][]float64{cost: {1}}).Cases...)
		}), good(),
			nil, result.Unclear, "p2p 8→8: the new results do not have this case"},
		{"all cases are gone", good(), with(good(), func(r *result.Results) { r.Cases = nil }), nil, result.Unclear, "p2p 1→1: the new results do not have this case"},
		{"one of two equal cases is gone", with(good(), func(r *result.Results) { r.Cases = append(r.Cases, r.Cases[0]) }), good(), nil, result.Unclear, "do not have this case"},
		{"the case was not measured on the node", good(), with(good(), func(r *result.Results) { r.Cases[0].Nodes[0].Skipped = "needs names" }), nil, result.Unclear, "needs names"},
		{"a failure counts beside what is missing", good(), with(dearer(), func(r *result.Results) { r.Cases[0].Nodes[0].Metrics = r.Cases[0].Nodes[0].Metrics[:1] }), []string{gate, "p99 / old <= 1"},
			result.Fail, "p99 was not measured on new"},
		{"a metric is gone", good(), measuredOn("1→1", map[string][]float64{cost: {100, 101, 99, 100}, "delivered": {5, 5, 5, 5}}), []string{gate}, result.Pass, "p99"},
		{"unless a condition is about it", good(), measuredOn("1→1", map[string][]float64{cost: {100, 101, 99, 100}, "delivered": {5, 5, 5, 5}}), []string{"p99 / old <= 1"}, result.Unclear, "p99 was not measured on new"},
		{"a new metric is no trouble", measuredOn("1→1", map[string][]float64{cost: {100, 101, 99, 100}}), good(), []string{gate}, result.Pass, "pass"},
		{"unless a condition is about it", measuredOn("1→1", map[string][]float64{cost: {100, 101, 99, 100}}), good(), []string{"p99 / old <= 1"}, result.Unclear, "p99 was not measured on old"},
		{"a new case is no trouble", good(), with(good(), func(r *result.Results) {
			r.Cases = append(r.Cases, measuredOn("8→8", map[string][]float64{cost: {1}}).Cases...)
		}), nil, result.Pass, "p2p 8→8"},
		{"unless a condition is about it", good(), with(good(), func(r *result.Results) {
			r.Cases = append(r.Cases, measuredOn("8→8", map[string][]float64{cost: {1}}).Cases...)
		}), []string{gate}, result.Unclear, cost + " was not measured on old"},
		{"a limited generator's rate", good(), with(good(), limited), []string{"delivered / old >= 0.5"}, result.Unclear, "cannot be judged: new: client-limited"},
		{"and its delays", with(good(), limited), good(), []string{"p99 / old <= 2"}, result.Unclear, "cannot be judged: old: client-limited"},
		{"but not the cost", with(good(), limited), with(good(), limited), []string{gate}, result.Pass, "  ! old: * client-limited"},
		{"ratios of what may be below 0", measuredOn("1→1", map[string][]float64{"RSS growth": {-5, 1, 2, 3}}), measuredOn("1→1", map[string][]float64{"RSS growth": {1, 2, 3, 4}}),
			[]string{"RSS growth / old <= 2"}, result.Unclear, "below 0"},
		{"a busy machine is told", with(good(), func(r *result.Results) { r.Busy = "busy machine: so it was" }), good(), nil, result.Pass,
			"the old results: busy machine: so it was"},
		{"and hold no condition", good(), with(good(), func(r *result.Results) { r.Cases[0].Params.Duration = 1 }), []string{gate}, result.Unclear, "measured with other parameters"},
		{"another machine is told", good(), with(good(), func(r *result.Results) { r.Machine.Cores = 99 }), nil, result.Pass, "another machine"},
		{"and holds no condition on times", good(), with(good(), func(r *result.Results) { r.Machine.Cores = 99 }), []string{gate}, result.Unclear, "another machine"},
		{"another Go is none", good(), with(good(), func(r *result.Results) { r.Machine.Go = "x" }), []string{gate}, result.Pass, "pass"},
		{"other parameters are told", good(), with(good(), func(r *result.Results) { r.Cases[0].Params.Duration = 1 }), nil, result.Pass, "measured with other parameters"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, text := compared(t, c.old, c.new, c.require...); got != c.want || !strings.Contains(text, c.text) {
				t.Errorf("outcome %s, want %s with %q in\n%s", got, c.want, c.text, text)
			}
		})
	}
}

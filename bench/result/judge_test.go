package result

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
)

func TestParseCondition(t *testing.T) {
	for in, want := range map[string]Condition{
		"lost <= 0":                           {Metric: "lost", Bound: 0},
		"names>=5000":                         {Metric: "names", Least: true, Bound: 5000},
		"node CPU per delivered / rust <= .1": {Metric: "node CPU per delivered", Against: "rust", Bound: 0.1},
		"cost/floor <= 2":                     {Metric: "cost/floor", Bound: 2},
		"delivered / base >= 0.9":             {Metric: "delivered", Against: "base", Least: true, Bound: 0.9},
	} {
		got, err := ParseCondition(in)
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v", in, got, err)
		}
		if again, err := ParseCondition(got.String()); err != nil || again != got {
			t.Errorf("%q: its own text %q reads as %+v, %v", in, got.String(), again, err)
		}
	}
	for _, in := range []string{"", "lost", "lost < 1", "lost <= x", "lost <= NaN", "lost <= Inf", "lost >= -inf", " / x <= 1", "a / b <= 0", strings.Repeat("x", 500) + " <= 1"} {
		if c, err := ParseCondition(in); err == nil {
			t.Errorf("%q: taken as %+v", in, c)
		}
	}
}

// results of one case with a metric on two nodes, round by round.
func twoNodes(m Metric, ours, theirs []float64) *Results {
	r := &Results{Valid: true, Nodes: []NodeInfo{{Name: "ours"}, {Name: "base"}},
		Cases: []CaseResult{{Scenario: "s", Label: "l", Nodes: make([]NodeResult, 2)}}}
	for i := range ours {
		m.Value = ours[i]
		r.Add(0, 0, []Metric{m}, Round{Number: i + 1}, nil)
		m.Value = theirs[i]
		r.Add(0, 1, []Metric{m}, Round{Number: i + 1}, nil)
	}
	return r
}

func TestJudge(t *testing.T) {
	cpu := Metric{Name: CostMetric, Unit: Nanoseconds, Better: Lower}
	count, ratio := Metric{Name: "n", Better: Higher}, Metric{Name: "r", Unit: Ratio, Better: Higher}
	worst := Metric{Name: "w", Unit: Ratio, Better: Lower, Worst: true}
	none := make([]float64, 9)
	even, slow := []float64{100, 103, 98, 101, 99}, []float64{130, 133, 128, 131, 129}
	for _, c := range []struct {
		name         string
		m            Metric
		ours, theirs []float64
		condition    string
		last         int
		want         Outcome
	}{
		{"ratio inside", cpu, even, even, CostMetric + " / base <= 1.1", 5, Pass},
		{"ratio beyond", cpu, slow, even, CostMetric + " / base <= 1.1", 5, Fail},
		{"at least, inside", cpu, slow, even, CostMetric + " / base >= 1.2", 5, Pass},
		{"at least, beyond", cpu, even, even, CostMetric + " / base >= 1.2", 5, Fail},
		{"two rounds do not condemn", cpu, slow[:2], even[:2], CostMetric + " / base <= 1.1", 5, Unclear},
		{"not even two that agree", cpu, []float64{130, 130}, []float64{100, 100}, CostMetric + " / base <= 1.1", 5, Unclear},
		{"noise asks for more", cpu, []float64{100, 180, 60}, []float64{100, 90, 110}, CostMetric + " / base <= 1.1", 9, Unclear},
		{"and stays noise in the end", cpu, []float64{100, 180, 60}, []float64{100, 90, 110}, CostMetric + " / base <= 1.1", 3, Unclear},
		{"a near miss is decided by the middle at last", cpu, []float64{108, 112, 109, 113, 108}, even, CostMetric + " / base <= 1.1", 5, Pass},
		{"a node that is optional, and not there", cpu, even, even, CostMetric + " / rust <= 1.1", 5, Skipped},
		{"no such node", cpu, even, even, CostMetric + " / bose <= 1.1", 5, Unclear},
		{"no such metric", cpu, even, even, "node CPU per deliverd <= 0", 5, Unclear},
		{"loss", Metric{Name: "lost", Worst: true, Better: Lower}, []float64{0, 0, 1}, []float64{0, 0, 0}, "lost <= 0", 3, Fail},
		{"no loss", Metric{Name: "lost", Worst: true, Better: Lower}, []float64{0, 0, 0}, []float64{0, 5, 0}, "lost <= 0", 3, Pass},
		{"a count has to hold in every round", count, []float64{9, 9, 8}, none, "n >= 9", 9, Fail},
		{"an absolute time is refused", cpu, even, even, CostMetric + " <= 1000000", 5, Unclear},

		{"a value inside", ratio, []float64{0.9, 0.92, 0.88, 0.91}, none, "r >= 0.6", 9, Pass},
		{"a value beyond", ratio, []float64{0.4, 0.42, 0.38, 0.41}, none, "r >= 0.6", 9, Fail},
		{"one round of a value tells nothing", ratio, []float64{0.4}, none, "r >= 0.6", 9, Unclear},
		{"nor does it at last", ratio, []float64{0.9}, none, "r >= 0.6", 1, Unclear},
		{"a value that flaps asks for more", ratio, []float64{0.684, 0.635, 2.26}, none, "r >= 0.6", 9, Unclear},
		{"and stays unclear in the end", ratio, []float64{0.684, 0.635, 2.26}, none, "r >= 0.6", 3, Unclear},
		{"a value on both sides of 0 has no narrow interval", ratio, []float64{-0.9, 0.8, 0.1}, none, "r <= 0.5", 3, Unclear},
		{"a value may be negative", ratio, []float64{-0.1, 0.01, -0.02, 0.03}, none, "r <= 0.5", 9, Pass},
		{"a ratio of the worst round", worst, []float64{0.1, 0.3, 0.2}, none, "w <= 0.25", 9, Fail},

		{"0 of 0 is 1", count, []float64{0, 0, 0}, none, "n / base <= 1", 3, Pass},
		{"and no less", count, []float64{0, 0, 0}, none, "n / base <= 0.5", 3, Fail},
		{"something of 0 is no such multiple", count, []float64{0, 2, 0}, none, "n / base <= 100", 3, Fail},
		{"a ratio of counts holds in every round", count, []float64{2, 2, 5}, []float64{2, 2, 2}, "n / base <= 2", 3, Fail},
		{"what is below 0 has no ratio", count, []float64{-1, -1, -1}, []float64{1, 1, 1}, "n / base <= 2", 3, Unclear},
		{"nor has what is held against it", count, []float64{1, 1, 1}, []float64{-1, -1, -1}, "n / base <= 2", 3, Unclear},
		{"a rate of 0 has no ratio", cpu, []float64{100, 0, 100}, []float64{100, 100, 100}, CostMetric + " / base <= 2", 3, Unclear},
	} {
		t.Run(c.name, func(t *testing.T) {
			cond, err := ParseCondition(c.condition)
			if err != nil {
				t.Fatal(err)
			}
			r := twoNodes(c.m, c.ours, c.theirs)
			r.optional = []string{"rust"}
			v := r.Judge(0, cond, c.last)
			if v.Outcome != c.want {
				t.Errorf("got %s", v)
			}
			if v.Outcome != Pass && v.Reason == "" {
				t.Errorf("no reason: %s", v)
			}
		})
	}
}

// On a machine whose measurements scatter by 8 %, with a neighbour that takes half again in one of twenty, an unchanged
// build passes and one that costs 30 % more fails.
func TestGateDecidesRightOnANoisyMachine(t *testing.T) {
	t.Parallel()
	const runs, least, most = 2000, 4, 16 // as suite ci has it
	random := rand.New(rand.NewPCG(7, 11))
	noisy := func(v float64) float64 {
		v *= math.Exp(0.08 * random.NormFloat64())
		if random.IntN(20) == 0 {
			v *= 1.5
		}
		return v
	}
	for _, c := range []struct {
		cost float64
		want Outcome
	}{{1, Pass}, {1.3, Fail}} {
		count, rounds := map[Outcome]int{}, 0
		for range runs {
			cond := Condition{Metric: CostMetric, Against: "base", Bound: 1.15}
			var ratios []float64
			var v Verdict
			for n := 1; n <= most; n++ {
				ratios = append(ratios, noisy(100*c.cost)/noisy(100))
				if n < least {
					continue
				}
				if v = (Verdict{}).judgeValues(ratios, Nanoseconds, cond, most); v.Outcome != Unclear {
					break
				}
			}
			count[v.Outcome]++
			rounds += v.Rounds
		}
		t.Logf("cost %v: %v, %.1f rounds each", c.cost, count, float64(rounds)/runs)
		if got := float64(count[c.want]) / runs; got < 0.985 {
			t.Errorf("cost %v: %.2f %% %s; %v", c.cost, 100*got, c.want, count)
		}
	}
}

// A build that costs exactly what it may is decided before the last round by chance only. Looking again after each added
// round shall not make that likely.
func TestLookingOftenDoesNotDecideByChance(t *testing.T) {
	t.Parallel()
	const runs, least, most = 2000, 4, 16
	random := rand.New(rand.NewPCG(3, 5))
	early := 0
	for range runs {
		cond := Condition{Metric: CostMetric, Against: "base", Bound: 1.15}
		ratios := make([]float64, 0, most)
		for n := 1; n < most; n++ {
			ratios = append(ratios, 1.15*math.Exp(0.1*random.NormFloat64()))
			if n >= least && (Verdict{}).judgeValues(ratios, Nanoseconds, cond, most).Outcome != Unclear {
				early++
				break
			}
		}
	}
	if share := float64(early) / runs; share > 0.08 { // one of five with an interval of 95 %
		t.Errorf("%.1f %% decided by chance, want some 6", 100*share)
	}
}

// A verdict on figures that are not valid is none, whatever they are.
func TestJudgeRefusesFiguresThatAreNotValid(t *testing.T) {
	for _, c := range []struct {
		name, condition string
		change          func(*Results)
		want            Outcome
	}{
		{"valid", "p50 / base <= 0.02", func(*Results) {}, Fail},
		{"the generator was the limit", "p50 / base <= 0.02", func(r *Results) { limit(r, 0) }, Unclear},
		{"and would pass", "p50 / base <= 2", func(r *Results) { limit(r, 0) }, Unclear},
		{"of the other node", "p50 / base <= 2", func(r *Results) { limit(r, 1) }, Unclear},
		{"what does not depend on pace counts", "lost <= 1", func(r *Results) { limit(r, 0) }, Pass},
		{"the node was gone", "lost <= 1", func(r *Results) { r.Cases[0].Nodes[0].Doubts = []Doubt{{Failed, "gone"}} }, Unclear},
		{"the rate was not kept", "p50 / base <= 2", func(r *Results) {
			r.Cases[0].Params = Params{Case: load.Case{Rate: 1000, Duration: time.Second}}
			r.Add(0, 0, []Metric{{Name: "delivered", Unit: PerSecond, Value: 500}, {Name: "offered", Unit: PerSecond, Value: 1000}}, Round{}, nil)
		}, Unclear},
	} {
		t.Run(c.name, func(t *testing.T) {
			cond, err := ParseCondition(c.condition)
			if err != nil {
				t.Fatal(err)
			}
			same := []float64{1e6, 1.01e6, 0.99e6, 1e6}
			r := twoNodes(Metric{Name: "p50", Unit: Nanoseconds, Better: Lower}, same, same)
			r.Add(0, 0, []Metric{{Name: "lost", Value: 1, Worst: true}}, Round{}, nil)
			c.change(r)
			r.review(0)
			if v := r.Judge(0, cond, 4); v.Outcome != c.want {
				t.Errorf("got %s", v)
			}
		})
	}
}

// limit makes the generator the limit of node k.
func limit(r *Results, k int) {
	r.Machine.Cores = 2
	r.Add(0, k, []Metric{{Name: "delivered", Unit: PerSecond, Value: 1e6}, {Name: "node cores", Unit: Cores, Value: 0.9},
		{Name: "client cores", Unit: Cores, Value: 1}}, Round{}, nil)
}

// What the generator may have limited is marked, in whatever phase, and however much is under way by whatever fan-out.
func TestWhatTheGeneratorLimitedIsMarked(t *testing.T) {
	type figures map[string]float64
	for _, c := range []struct {
		name   string
		params load.Case
		busy   string
		ms     figures
		marked string // the metric that is; empty: none
	}{
		{"a phase", load.Case{InFlight: 1024}, "", figures{"alone: delivered": 1e6, "alone: node cores": 0.9, "alone: client cores": 1, "alone: p50": 1e6}, "alone: p50"},
		{"a phase of which nothing is known", load.Case{InFlight: 1024}, "", figures{"alone: delivered": 1e6, "alone: p50": 1e6}, "alone: delivered"},
		{"sessions", load.Case{InFlight: 1024}, "", figures{"messages delivered": 1e6, "p50": 1e6}, ""},
		{"others took the machine", load.Case{InFlight: 1024}, "busy", figures{"delivered": 1e6, "node cores": 0.25, "client cores": 0.3, "p50": 1e6}, "delivered"},
		{"nobody did", load.Case{InFlight: 1024}, "", figures{"delivered": 1e6, "node cores": 0.25, "client cores": 0.3, "p50": 1e6}, ""},
		{"the node took more than the generator", load.Case{InFlight: 1024}, "busy", figures{"delivered": 1e6, "node cores": 1.1, "client cores": 0.9, "p50": 1e6}, ""},
		{"few under way", load.Case{InFlight: 1}, "", figures{"delivered": 1e4, "node cores": 0.9, "client cores": 1, "p50": 1e5}, ""},
		{"one to many", load.Case{InFlight: 1}, "", figures{"delivered": 1e6, "node cores": 0.9, "client cores": 1, "p50": 1e6}, "p50"},
		{"a search", load.Case{}, "", figures{LimitMetric: 1, "highest rate": 30}, "highest rate"},
		{"a search that met the node", load.Case{}, "", figures{LimitMetric: 0, "highest rate": 30, "delivered": 30, "client cores": 1}, ""},
		{"late below a millisecond", load.Case{Rate: 5}, "", figures{"delivered": 5, "p99": 318e3, LateMetric: 324e3}, "p99"},
		{"late in traffic before", load.Case{Rate: 5}, "", figures{"one node: delivered": 5, "one node: p99": 9e6, "one node: " + LateMetric: 8e6,
			"p99": 9e6, LateMetric: 1e5}, "p99"},
		{"late by a timer", load.Case{Rate: 5}, "", figures{"delivered": 5, "p99": 70e3, LateMetric: 60e3}, ""},
	} {
		r := twoNodes(Metric{Name: "lost"}, []float64{0}, []float64{0})
		r.Busy, r.Machine.Cores, r.Cases[0].Params.Case = c.busy, 2, c.params
		var ms []Metric
		for name, v := range c.ms {
			ms = append(ms, Metric{Name: name, Value: v})
		}
		r.Add(0, 0, ms, Round{Number: 1}, nil)
		r.review(0)
		n := &r.Cases[0].Nodes[0]
		if c.marked == "" && len(n.Doubts) > 0 || c.marked != "" && n.Marked(c.marked) == "" {
			t.Errorf("%s: %q", c.name, n.Doubts)
		}
	}
}

func TestRankSumMatchesTables(t *testing.T) {
	for _, c := range []struct {
		a, b []float64
		p    float64
	}{
		{[]float64{1, 2, 3}, []float64{4, 5, 6}, 0.1}, // 2 of 20 orders
		{[]float64{1, 2, 3, 4}, []float64{5, 6, 7, 8}, 2.0 / 70},
		{[]float64{1, 3, 5}, []float64{2, 4, 6}, 0.7},
		{[]float64{1, 2, 3, 4, 5}, []float64{6, 7, 8, 9, 10}, 2.0 / 252},
		{nil, []float64{1}, 1},
		{[]float64{2, 2, 2}, []float64{2, 2, 2}, 1},
	} {
		if got := rankSum(c.a, c.b); math.Abs(got-c.p) > 1e-9 {
			t.Errorf("%v against %v: p %v, want %v", c.a, c.b, got, c.p)
		}
	}
}

func TestSetNamesNearestKey(t *testing.T) {
	p := Defaults()
	if err := p.Set("in-flight", "3"); err == nil || !strings.Contains(err.Error(), "inflight") {
		t.Errorf("got %v", err)
	}
	if err := p.Set("warmup", "0s"); err != nil || p.Warmup != 0 {
		t.Errorf("no warm-up: %v, %v", p.Warmup, err)
	}
	if err := p.Set("duration", "0s"); err == nil {
		t.Error("a measurement without length is taken")
	}
	for _, k := range Keys() {
		if err := p.Set(k.Name, "nonsense value"); err == nil {
			t.Errorf("%s takes nonsense", k.Name)
		}
	}
}

func FuzzCondition(f *testing.F) {
	for _, s := range []string{"lost <= 0", "node CPU per delivered / rust >= 1e3", "a / b / c <= 1", "x <= -5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCondition(s)
		if err != nil {
			return
		}
		again, err := ParseCondition(c.String())
		if err != nil && len(c.String()) <= maxCondition || err == nil && again != c {
			t.Errorf("%q reads as %+v, whose text %q reads as %+v, %v", s, c, c.String(), again, err)
		}
	})
}

func TestCostIsRelatedToTheFloorInEveryRound(t *testing.T) {
	r := twoNodes(Metric{Name: CostMetric, Unit: Nanoseconds, Better: Lower}, []float64{200, 150, 400}, []float64{100, 100, 100})
	r.Nodes[1].Name = Floor
	for range 2 { // as often as rounds are added
		r.relateToFloor(&r.Cases[0])
	}
	s, _ := r.Cases[0].Nodes[0].Metric(floorMetric)
	if !slices.Equal(s.Values, []float64{2, 1.5, 4}) || !slices.Equal(s.Rounds, []int{1, 2, 3}) || s.Value != 2 {
		t.Errorf("got %+v", s)
	}
}

func TestLatenessWithoutDelaysIsTold(t *testing.T) {
	n := NodeResult{Metrics: []Series{{Name: LateMetric, Unit: Nanoseconds, Value: 5e6}}}
	if got := n.late(); !strings.Contains(got, "client-limited") {
		t.Errorf("got %q", got)
	}
}

func TestClosedLoopIsNotOverloaded(t *testing.T) {
	if s := (Results{Nodes: []NodeInfo{{}}}); s.overloaded(&CaseResult{Nodes: []NodeResult{{}}}, 0) != "" {
		t.Error("a closed loop is overloaded")
	}
}

// A process that does nothing while messages come is not the node, whatever conditions say of its cost.
func TestCostOfAnotherProcessIsNotValid(t *testing.T) {
	for _, c := range []struct {
		name  string
		ours  []float64
		valid bool
	}{
		{"a node's", []float64{120, 115, 121, 119}, true},
		{"less than the relay's, a little", []float64{90, 92, 91, 93}, true},
		{"nothing", []float64{0, 0, 0, 0}, false},
		{"nothing in one round", []float64{120, 0, 121, 119}, false},
		{"far less than the relay's", []float64{23, 22, 23, 24}, false},
		{"what no node costs, whatever the relay does", []float64{3, 2, 3, 4}, false},
	} {
		floor := []float64{100, 100, 100, 100}
		if c.ours[0] < leastNanos {
			floor = c.ours
		}
		r := twoNodes(Metric{Name: CostMetric, Unit: Nanoseconds, Better: Lower}, c.ours, floor)
		r.Nodes[1].Name, r.Valid = Floor, true
		cond, err := ParseCondition(CostMetric + " / floor <= 1.7")
		if err != nil {
			t.Fatal(err)
		}
		r.Settle(func(int) []Condition { return []Condition{cond} }, 4)
		want := Pass
		if !c.valid {
			want = Unclear
		}
		if r.Valid != c.valid || r.Verdicts[0].Outcome != want {
			t.Errorf("%s: valid %v, %s, %q", c.name, r.Valid, r.Verdicts[0], r.Reasons())
		}
	}
}

// A multiple is of the rounds that both have, and of those in which there is something to divide by.
func TestTimesAreOfCommonRounds(t *testing.T) {
	series := func(worst bool, rounds []int, values ...float64) Series {
		s := Series{Better: Lower, Worst: worst}
		for i, v := range values {
			s.add(v, rounds[i])
		}
		return s
	}
	for _, c := range []struct {
		name  string
		s, of Series
		want  float64
	}{
		{"by round, not of the medians", series(false, []int{1, 2, 3}, 10, 20, 60), series(false, []int{1, 2, 3}, 10, 40, 20), 1},
		{"only common rounds", series(false, []int{1, 2}, 10, 20), series(false, []int{2, 3}, 5, 1), 4},
		{"none in common: of the values", series(false, []int{1}, 10), series(false, []int{2}, 5), 2},
		{"not by 0", series(false, []int{1, 2}, 5, 6), series(false, []int{1, 2}, 0, 3), 2},
		{"all by 0", series(false, []int{1, 2}, 5, 6), series(false, []int{1, 2}, 0, 0), 0},
		{"of the worst", series(true, []int{1, 2}, 1, 8), series(true, []int{1, 2}, 1, 2), 4},
	} {
		if got := c.s.Times(c.of).Value; got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// A round that failed on one node leaves the pairs of the others as they are.
func TestRatiosAreOfTheSameRound(t *testing.T) {
	r := twoNodes(Metric{Name: CostMetric, Unit: Nanoseconds}, []float64{100, 200, 400}, []float64{1, 200, 400})
	theirs := &r.Cases[0].Nodes[1].Metrics[0]
	theirs.Values, theirs.Rounds = theirs.Values[1:], theirs.Rounds[1:]
	if v := r.Judge(0, Condition{Metric: CostMetric, Against: "base", Least: true, Bound: 0.9}, 2); v.Outcome != Pass || v.Rounds != 2 || v.Value != 1 {
		t.Errorf("got %s", v)
	}
}

// Everything that is told of delays is marked where the generator made them.
func TestAllDelaysAreMarked(t *testing.T) {
	l := load.NewLatency()
	for i := range int64(10000) {
		l.Record(i + 1)
	}
	n := NodeResult{Doubts: []Doubt{{Limited, "it is"}}}
	for _, f := range append(l.Figures(), load.Figure{Name: "delivered"}, load.Figure{Name: "bytes received"}) {
		if n.Marked("alone: "+f.Name) == "" {
			t.Errorf("%s is not", f.Name)
		}
	}
}

// What is missing of an open loop is a hiccup only where it is little, of a short measurement, too.
func TestShortOpenLoopIsOverloaded(t *testing.T) {
	for _, c := range []struct {
		length    time.Duration
		delivered float64 // of 1,000 a second
		want      bool
	}{{200 * time.Millisecond, 100, true}, {200 * time.Millisecond, 700, true}, {200 * time.Millisecond, 800, false}, {2 * time.Second, 880, false},
		{2 * time.Second, 800, true}, {20 * time.Second, 880, true}, {20 * time.Second, 950, false}} {
		r := &Results{Nodes: []NodeInfo{{Name: "ours"}}, Cases: []CaseResult{{Nodes: make([]NodeResult, 1)}}}
		r.Cases[0].Params.Rate, r.Cases[0].Params.Duration = 1000, c.length
		r.Add(0, 0, []Metric{{Name: OfferedMetric, Unit: PerSecond, Value: 1000}, {Name: "delivered", Unit: PerSecond, Value: c.delivered}}, Round{Number: 1}, nil)
		if r.review(0); (len(r.Cases[0].Nodes[0].Doubts) > 0) != c.want {
			t.Errorf("%+v: doubts %v", c, r.Cases[0].Nodes[0].Doubts)
		}
	}
}

// A cost of 0 in one round is no figure, whatever the others are; a generator late by little of a long delay is no limit.
func TestOneRoundOfNoCostIsVoid(t *testing.T) {
	r := twoNodes(Metric{Name: CostMetric, Unit: Nanoseconds}, []float64{100, 0, 100}, []float64{100, 90, 100})
	for k := range r.Nodes {
		r.Add(0, k, []Metric{{Name: LateMetric, Unit: Nanoseconds, Value: 2e6}, {Name: "p99", Unit: Nanoseconds, Value: 20e6}}, Round{Number: 1}, nil)
	}
	r.Cases[0].Params.Rate = 1000
	r.review(0)
	if d := r.Cases[0].Nodes[0].Doubts; len(d) != 1 || d[0].Kind != Void {
		t.Errorf("ours: %v", d)
	}
	if d := r.Cases[0].Nodes[1].Doubts; len(d) != 0 {
		t.Errorf("base: %v", d)
	}
}

func TestComparisonTellsHowBusyBothWere(t *testing.T) {
	before, after := twoNodes(Metric{Name: "n"}, []float64{1}, []float64{1}), twoNodes(Metric{Name: "n"}, []float64{1}, []float64{1})
	before.Busy, after.Busy = "much", "little"
	x, err := Compare(before, after, 0.05, nil)
	if err != nil || !strings.Contains(x.Busy, "the old results: much") || !strings.Contains(x.Busy, "the new results: little") {
		t.Errorf("got %v, %v", x, err)
	}
}

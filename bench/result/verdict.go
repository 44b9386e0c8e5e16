package result

import (
	"fmt"
	"math"
	"slices"

	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

// Outcome is what became of a condition.
type Outcome string

const (
	Pass    Outcome = "pass"
	Fail    Outcome = "fail"    // judged on valid figures, and it does not hold
	Unclear Outcome = "unclear" // it cannot be judged: not measured, not valid, or the rounds differ too much
	Skipped Outcome = "skipped" // it does not apply here
)

// Verdict is the judgement on one condition of one case.
type Verdict struct {
	Case      string  `json:"case"`
	Condition string  `json:"condition"`
	Outcome   Outcome `json:"outcome"`
	Value     float64 `json:"value"` // of the metric, or of the ratio; of what has to hold in every round, the worst
	Low       float64 `json:"low"`   // interval over the rounds: 99 % while more were possible, 95 % after the last; without one as Value
	High      float64 `json:"high"`
	Rounds    int     `json:"rounds"`           // that were judged
	Reason    string  `json:"reason,omitempty"` // in words, for all but pass

	more   bool // further rounds may decide it
	absent bool // the node it names is optional, and not there
}

// String is one line for people.
func (v Verdict) String() string {
	word := string(v.Outcome)
	if v.Outcome == Fail { // which catches the eye
		word = "FAIL"
	}
	s := fmt.Sprintf("%-7s %s: %s", word, v.Case, v.Condition)
	switch {
	case v.Outcome == Skipped:
		return s + " (" + v.Reason + ")"
	case v.Rounds == 0:
		return s + "  " + v.Reason
	}
	return s + "  is " + v.Figures()
}

// Figures are value and interval in words; empty when nothing was judged.
func (v Verdict) Figures() string {
	switch {
	case v.Rounds == 0:
		return ""
	case v.Value == math.MaxFloat64:
		return "infinite"
	case v.Low == v.High:
		return fmt.Sprintf("%.6g", v.Value)
	case v.High == math.MaxFloat64:
		return fmt.Sprintf("%.3g, without an interval", v.Value)
	}
	return fmt.Sprintf("%.3g [%.3g, %.3g] over %d rounds", v.Value, v.Low, v.High, v.Rounds)
}

// Judge judges c on case i. last is the number of rounds after which nothing more is measured: until then doubt is
// unclear, then an estimate that is narrow enough decides.
func (r *Results) Judge(i int, c Condition, last int) Verdict {
	res := &r.Cases[i]
	v := Verdict{Case: res.Scenario + " " + res.Label, Condition: c.String()}
	nodes := []int{0}
	if c.Against != "" {
		k := r.at(c.Against)
		if k < 0 && slices.Contains(r.optional, c.Against) {
			v.absent = true
			return v.skipped("there is no node " + c.Against + " in this run")
		}
		if k < 0 {
			return v.unclear(NoNode(c.Against, append(suggest.Names(r.Nodes, func(n NodeInfo) string { return n.Name }), r.optional...)))
		}
		nodes = append(nodes, k)
	}
	if r.Alpha > 0 && !slices.Contains(MetricNames(res.Nodes...), c.Metric) {
		return v.skipped("this case does not measure it")
	}
	var series []Series
	for _, k := range nodes {
		n := &res.Nodes[k]
		switch {
		case n.Skipped != "":
			return v.skipped(n.Skipped)
		case len(n.Rounds) == 0 && r.interrupted:
			return v.skipped("not run: interrupted")
		}
		s, ok := n.Metric(c.Metric)
		if ok && c.Against == "" && absolute[s.Unit] {
			return v.unclear(notAlone)
		}
		if why := n.unfit(r.Nodes[k].Name, c); why != "" {
			return v.unclear(why)
		}
		if !ok {
			return v.unclear(n.missing(c.Metric, r.Nodes[k].Name))
		}
		series = append(series, s)
	}
	ours := series[0]
	switch {
	case c.Against == "" && ours.Worst:
		return v.everyRound(ours.Values, c)
	case c.Against == "":
		return v.judgeValues(ours.Values, ours.Unit, c, last)
	case r.Alpha > 0:
		return v.judgeUnpaired(ours, series[1], c, r.Alpha)
	}
	return v.judgeRatio(ours, series[1], c, last)
}

func (v Verdict) skipped(why string) Verdict {
	v.Outcome, v.Reason = Skipped, why
	return v
}

func (v Verdict) unclear(why string) Verdict {
	v.Outcome, v.Reason = Unclear, why
	return v
}

// decide passes or fails; why tells what is wrong.
func (v Verdict) decide(pass bool, why string) Verdict {
	v.Outcome = Pass
	if !pass {
		v.Outcome, v.Reason = Fail, why
	}
	return v
}

// unfit says why nothing that the node measured can be held against c; empty: it can.
func (n *NodeResult) unfit(name string, c Condition) string {
	for _, d := range n.Doubts {
		switch {
		case d.Kind == Failed:
			return "the measurement on " + name + " did not end as it should"
		case d.Kind == Void, c.paced():
			return "cannot be judged: " + name + ": " + d.Text
		}
	}
	return ""
}

// missing says that a metric was not measured, and what is instead.
func (n *NodeResult) missing(metric, node string) string {
	return metric + " was not measured on " + node + suggest.Meant(metric, MetricNames(*n))
}

// absolute are the units whose values depend on the machine.
var absolute = map[Unit]bool{Nanoseconds: true, PerSecond: true, BytesPerSecond: true, Cores: true}

// everyRound judges what has to hold each time.
func (v Verdict) everyRound(values []float64, c Condition) Verdict {
	v.Value, v.Rounds = c.worst(values), len(values)
	v.Low, v.High = v.Value, v.Value
	return v.decide(c.holds(v.Value), fmt.Sprintf("it is %s in one of %d rounds", v.Figures(), v.Rounds))
}

// judgeRatio pairs the rounds of two series by their numbers. What drifts in the machine between rounds meets both of a
// pair and so leaves no trace.
func (v Verdict) judgeRatio(ours, theirs Series, c Condition, last int) Verdict {
	var ratios []float64
	for i, round := range ours.Rounds {
		if j := slices.Index(theirs.Rounds, round); j >= 0 {
			a, b := ours.Values[i], theirs.Values[j]
			if a < 0 || b < 0 || ours.Unit != Count && (a == 0 || b == 0) {
				return v.unclear(fmt.Sprintf("in round %d it is %g against %g: there is nothing to compare", round, a, b))
			}
			ratios = append(ratios, quotient(a, b)) // of counts 0 of 0, too
		}
	}
	if len(ratios) == 0 {
		return v.unclear("no round measured both nodes")
	}
	return v.judgeValues(ratios, ours.Unit, c, last)
}

// wideInterval is how far apart, as a ratio, the ends of an interval may be for its middle to decide in the end.
const wideInterval = 1.4

// judgeValues judges what was seen in the rounds: counts have to hold in each, of others the interval decides, of logarithms
// where that is possible. Looking again after each added round gives chance as many occasions, so while rounds may be added an
// interval of 99 % decides (Pocock's bound for ten looks with an error of some 5 % in all), after the last one of 95 %.
func (v Verdict) judgeValues(xs []float64, unit Unit, c Condition, last int) Verdict {
	if unit == Count {
		return v.everyRound(xs, c)
	}
	scale := func(x float64) float64 { return x }
	if slices.Min(xs) > 0 {
		xs, scale = slices.Clone(xs), math.Exp
		for i, x := range xs {
			xs[i] = math.Log(x)
		}
	}
	v.Rounds = len(xs)
	confidence := sure
	if v.Rounds < last {
		confidence = surer
	}
	mid, low, high := interval(xs, confidence)
	v.Value, v.Low, v.High = scale(mid), max(scale(low), -math.MaxFloat64), min(scale(high), math.MaxFloat64)
	both := c.holds(v.Low) && c.holds(v.High)
	neither := !c.holds(v.Low) && !c.holds(v.High)
	figures := fmt.Sprintf("it is %.3g, between %.3g and %.3g", v.Value, v.Low, v.High)
	switch {
	case both, neither && v.Rounds >= leastRounds:
		return v.decide(both, figures)
	case v.Rounds < last:
		v.more = true
		return v.unclear("more rounds are needed")
	case v.Rounds < leastRounds:
		return v.unclear(fmt.Sprintf("it is %.3g in %d rounds, which do not tell how it scatters: give --rounds %d, or --max-rounds",
			v.Value, v.Rounds, leastRounds))
	case v.Low > 0 && v.High/v.Low < wideInterval:
		return v.decide(c.holds(v.Value), figures)
	}
	return v.unclear(fmt.Sprintf("too noisy to tell: %s over %d rounds; give more rounds, or a quieter machine", figures, v.Rounds))
}

// NoNode is what to say of a name that is none of names.
func NoNode(name string, names []string) string {
	if name == Floor {
		return "the relay, floor, is not in this run: it is measured beside SLIM nodes unless --floor=false, where a scenario allows it"
	}
	return fmt.Sprintf("there is no node %q in this run%s (--versus '%s=CMD' adds one)", name, suggest.Hint(name, names), name)
}

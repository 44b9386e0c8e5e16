package bench

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Condition is what must hold of one metric of the first node. Text form:
//
//	METRIC <= NUMBER          the metric itself: losses, bytes, growth, ratios
//	METRIC >= NUMBER
//	METRIC / NODE <= NUMBER   as a multiple of the same metric of another node of the run
//	METRIC / NODE >= NUMBER
//
// Times, rates and cores depend on the machine, so they may stand only in the forms with a NODE.
type Condition struct {
	Metric  string
	Against string // name of the other node; empty: the metric itself
	Least   bool   // >= instead of <=
	Bound   float64
}

var conditionForm = regexp.MustCompile(`^\s*(.+?)\s*(<=|>=)\s*(\S+)\s*$`)

// maxCondition bounds the text of a condition.
const maxCondition = 256

// ParseCondition reads the text form.
func ParseCondition(s string) (Condition, error) {
	m := conditionForm.FindStringSubmatch(s)
	if m == nil || len(s) > maxCondition {
		return Condition{}, fmt.Errorf("condition %q: want METRIC <= NUMBER, or METRIC / NODE <= NUMBER, or either with >=", clip(s, maxCondition))
	}
	bound, err := strconv.ParseFloat(m[3], 64)
	if err != nil || bound != bound {
		return Condition{}, fmt.Errorf("condition %q: %q is no number", s, m[3])
	}
	c := Condition{Metric: m[1], Least: m[2] == ">=", Bound: bound}
	if strings.HasPrefix(c.Metric, "/") || strings.HasSuffix(c.Metric, " /") {
		return Condition{}, fmt.Errorf("condition %q: want a METRIC before the slash and a NODE behind it", s)
	}
	if i := strings.LastIndex(m[1], " / "); i >= 0 {
		c.Metric, c.Against = strings.TrimSpace(m[1][:i]), strings.TrimSpace(m[1][i+3:])
		if c.Metric == "" || c.Against == "" || bound <= 0 {
			return Condition{}, fmt.Errorf("condition %q: want METRIC / NODE with a bound above 0", s)
		}
	}
	return c, nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

// String returns the text form.
func (c Condition) String() string {
	s := c.Metric
	if c.Against != "" {
		s += " / " + c.Against
	}
	op := " <= "
	if c.Least {
		op = " >= "
	}
	return s + op + strconv.FormatFloat(c.Bound, 'g', -1, 64)
}

// paced reports whether the condition reads something that the generator may have limited.
func (c Condition) paced() bool {
	return c.Metric == "delivered" || c.Metric == "bytes received" ||
		slices.ContainsFunc([]string{"p50", "p90", "p99", "p99.9", "max"}, func(q string) bool { return c.Metric == q })
}

// Outcome is what became of a condition.
type Outcome string

const (
	Pass    Outcome = "pass"
	Fail    Outcome = "fail"
	Unclear Outcome = "unclear" // the rounds differ too much to tell
	Skipped Outcome = "skipped" // there is nothing to judge
)

// Verdict is the judgement on one condition of one case.
type Verdict struct {
	Case      string  `json:"case"`
	Condition string  `json:"condition"`
	Outcome   Outcome `json:"outcome"`
	Value     float64 `json:"value"` // of the metric, or of the ratio
	Low       float64 `json:"low"`   // 95 % interval of a ratio; otherwise as Value
	High      float64 `json:"high"`
	Rounds    int     `json:"rounds"`           // that were judged
	Reason    string  `json:"reason,omitempty"` // in words, for all but pass
}

// String is one line for people.
func (v Verdict) String() string {
	word := string(v.Outcome)
	if v.Outcome == Fail {
		word = "FAIL"
	}
	s := fmt.Sprintf("%-7s %s: %s", word, v.Case, v.Condition)
	switch {
	case v.Outcome == Skipped:
		s += " (" + v.Reason + ")"
	case v.Low != v.High:
		s += fmt.Sprintf("  is %.3g [%.3g, %.3g] over %d rounds", v.Value, v.Low, v.High, v.Rounds)
	case v.Rounds > 0:
		s += fmt.Sprintf("  is %.6g", v.Value)
	default:
		s += "  " + v.Reason
	}
	return s
}

// Judge judges c on case i. last is the number of rounds after which nothing more is measured: until then doubt is
// unclear, then an estimate that is narrow enough decides.
func (r *Results) Judge(i int, c Condition, last int) Verdict {
	res := &r.Cases[i]
	v := Verdict{Case: res.Scenario + " " + res.Label, Condition: c.String()}
	ours, ok := res.Nodes[0].Metric(c.Metric)
	switch {
	case res.Nodes[0].Skipped != "":
		return v.skipped(res.Nodes[0].Skipped)
	case !ok:
		v.Outcome, v.Reason = Fail, r.noMetric(res, c)
		return v
	case c.Against == "":
		return v.judgeValue(ours, c)
	}
	k := slices.IndexFunc(r.Nodes, func(n NodeInfo) bool { return n.Name == c.Against })
	switch {
	case k < 0:
		return v.skipped("there is no node " + c.Against + " in this run")
	case res.Nodes[k].Skipped != "":
		return v.skipped(res.Nodes[k].Skipped)
	}
	theirs, ok := res.Nodes[k].Metric(c.Metric)
	if !ok {
		v.Outcome, v.Reason = Fail, fmt.Sprintf("%s was not measured on %s", c.Metric, c.Against)
		return v
	}
	return v.judgeRatio(logRatios(ours, theirs), c, last)
}

func (v Verdict) skipped(why string) Verdict {
	v.Outcome, v.Reason = Skipped, why
	return v
}

// noMetric says what is measured instead.
func (r *Results) noMetric(res *CaseResult, c Condition) string {
	var names []string
	for _, s := range res.Nodes[0].Metrics {
		names = append(names, s.Name)
	}
	if len(names) == 0 {
		return c.Metric + " was not measured"
	}
	return fmt.Sprintf("%s was not measured; did you mean %s?", c.Metric, Nearest(c.Metric, names))
}

func (c Condition) holds(value float64) bool {
	if c.Least {
		return value >= c.Bound
	}
	return value <= c.Bound
}

func (v Verdict) judgeValue(s Series, c Condition) Verdict {
	v.Value, v.Low, v.High, v.Rounds = s.Value, s.Value, s.Value, len(s.Values)
	switch {
	case s.Unit == Nanoseconds || s.Unit == PerSecond || s.Unit == BytesPerSecond || s.Unit == Cores:
		v.Outcome, v.Reason = Fail, "an absolute "+unitWord(s.Unit)+" says more of the machine than of the node: compare with a node, METRIC / NODE"
		v.Rounds = 0
	case c.holds(s.Value):
		v.Outcome = Pass
	default:
		v.Outcome, v.Reason = Fail, fmt.Sprintf("%s is %g", c.Metric, s.Value)
	}
	return v
}

func unitWord(u Unit) string {
	if u == Nanoseconds {
		return "time"
	}
	return "rate"
}

// wideInterval is how far apart, as a ratio, the ends of an interval may be for its middle to decide in the end.
const wideInterval = 1.4

func (v Verdict) judgeRatio(logs []float64, c Condition, last int) Verdict {
	v.Rounds = len(logs)
	if len(logs) == 0 {
		v.Outcome, v.Reason = Fail, "no round measured both nodes"
		return v
	}
	v.Value, v.Low, v.High = interval(logs)
	in := c.holds(v.Value)
	both := c.holds(v.Low) && c.holds(v.High)
	neither := !c.holds(v.Low) && !c.holds(v.High)
	switch {
	case both:
		v.Outcome = Pass
	case neither && len(logs) >= leastRounds:
		v.Outcome, v.Reason = Fail, fmt.Sprintf("the ratio is %.3g, between %.3g and %.3g", v.Value, v.Low, v.High)
	case v.Rounds < last:
		v.Outcome, v.Reason = Unclear, "more rounds are needed"
	case len(logs) >= leastRounds && v.High/v.Low < wideInterval:
		v.Outcome = Pass
		if !in {
			v.Outcome, v.Reason = Fail, fmt.Sprintf("the ratio is %.3g, between %.3g and %.3g", v.Value, v.Low, v.High)
		}
	default:
		v.Outcome, v.Reason = Unclear, fmt.Sprintf("too noisy to tell: the ratio is %.3g, between %.3g and %.3g over %d rounds; "+
			"give more rounds, or a quieter machine", v.Value, v.Low, v.High, v.Rounds)
	}
	return v
}

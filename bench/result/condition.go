package result

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
// Times, rates and cores depend on the machine, so they may stand only in the forms with a NODE. Counts, and metrics of
// which the worst round stands for all, have to hold in every round; of two counts, 0 of 0 is a ratio of 1. All others are
// judged by an interval over the rounds.
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
	name := strings.Join(strings.Fields(m[1]), " ") // so that the text form reads as what it was made of
	c := Condition{Metric: name, Least: m[2] == ">=", Bound: bound}
	if strings.HasPrefix(c.Metric, "/") || strings.HasSuffix(c.Metric, " /") {
		return Condition{}, fmt.Errorf("condition %q: want a METRIC before the slash and a NODE behind it", s)
	}
	if i := strings.LastIndex(name, " / "); i >= 0 {
		c.Metric, c.Against = name[:i], name[i+3:]
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
	name := c.Metric[strings.LastIndex(c.Metric, ": ")+1:] // the words of a phase stand in front
	return slices.Contains(pacedMetrics, strings.TrimSpace(name))
}

var pacedMetrics = []string{"delivered", "bytes received", "p50", "p90", "p99", "p99.9", "p99.99", "max", "mean", "deviation"}

func (c Condition) holds(value float64) bool {
	if c.Least {
		return value >= c.Bound
	}
	return value <= c.Bound
}

// worst returns the value that speaks most against the condition. There is at least one.
func (c Condition) worst(values []float64) float64 {
	if c.Least {
		return slices.Min(values)
	}
	return slices.Max(values)
}

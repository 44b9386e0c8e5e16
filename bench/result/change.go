package result

import (
	"fmt"
	"slices"
)

// Change is one metric of one case in both results.
type Change struct {
	Case        string  `json:"case"`
	Metric      string  `json:"metric"`
	Unit        Unit    `json:"unit"`
	Better      Better  `json:"better,omitempty"`
	Old         float64 `json:"old"` // medians; of Worst metrics the worst
	New         float64 `json:"new"`
	OldSpread   float64 `json:"old_spread"` // half of the range of the middle half of the rounds, as a share of the median
	NewSpread   float64 `json:"new_spread"`
	Ratio       float64 `json:"ratio"` // new over old; 0: old is 0, or one of them is missing
	Low         float64 `json:"low"`   // interval of the ratio at 1-alpha; 0 and 1.8e308: too few rounds for one
	High        float64 `json:"high"`
	P           float64 `json:"p"` // Mann-Whitney: how likely such a difference is without a change
	Significant bool    `json:"significant"`
	OldRounds   int     `json:"old_rounds"`
	NewRounds   int     `json:"new_rounds"`
	Missing     string  `json:"missing,omitempty"`        // "old" or "new": which results do not have it
	Limited     string  `json:"client_limited,omitempty"` // why the figures are not the node's alone, so that no condition is judged on them

	worst    bool // one round decides
	negative bool // there are values below 0, whose ratios mean nothing
}

func newChange(name, metric string, before, after NodeResult, alpha float64) Change {
	was, inOld := before.Metric(metric)
	is, inNew := after.Metric(metric)
	c := Change{Case: name, Metric: metric, Unit: is.Unit, Better: is.Better, Old: was.Value, New: is.Value, High: unboundedRatio,
		P: 1, OldRounds: len(was.Values), NewRounds: len(is.Values), Limited: limitedBy(metric, before, after), worst: is.Worst}
	switch {
	case !inNew || c.NewRounds == 0:
		c.Missing, c.Unit, c.Better = "new", was.Unit, was.Better
		return c
	case !inOld || c.OldRounds == 0:
		c.Missing = "old"
		return c
	}
	c.OldSpread, c.NewSpread = spreadOf(was.Values), spreadOf(is.Values)
	c.P = rankSum(was.Values, is.Values)
	c.Significant = c.P < alpha
	if c.Old != 0 {
		c.Ratio = c.New / c.Old
	}
	if c.negative = slices.Min(was.Values) < 0 || slices.Min(is.Values) < 0; !c.negative {
		c.Low, c.High = unpairedInterval(is.Values, was.Values, alpha)
	}
	return c
}

// limitedBy says why a metric of a case is not the nodes' alone.
func limitedBy(metric string, before, after NodeResult) string {
	was, is := before.Marked(metric), after.Marked(metric)
	switch {
	case was != "" && is != "":
		return "old: " + was + "; new: " + is
	case was != "":
		return "old: " + was
	case is != "":
		return "new: " + is
	}
	return ""
}

// check judges one change: the whole interval of the ratio has to be on the right side of the bound, or on the wrong one.
// Where the worst round counts it is compared itself.
func (c Change) check(cond Condition, alpha float64) Verdict {
	v := Verdict{Case: c.Case, Condition: cond.String(), Value: c.Ratio, Low: c.Low, High: c.High, Rounds: min(c.OldRounds, c.NewRounds)}
	if c.worst {
		v.Value = quotient(c.New, c.Old)
		v.Low, v.High = v.Value, v.Value
	}
	switch {
	case c.Missing != "":
		v.Outcome, v.Reason = Unclear, fmt.Sprintf("%s is missing in the %s results", c.Metric, c.Missing)
	case c.Limited != "":
		v.Outcome, v.Reason = Unclear, "cannot be judged: "+c.Limited
	case c.negative:
		v.Outcome, v.Reason = Unclear, "cannot be judged: there are values below 0, and their ratios mean nothing"
	case c.worst && cond.holds(v.Value):
		v.Outcome = Pass
	case c.worst:
		v.Outcome, v.Reason = Fail, fmt.Sprintf("it was %s and is %s", Format(c.Old, c.Unit), Format(c.New, c.Unit))
	case v.High == unboundedRatio && v.Low == 0:
		v.Outcome, v.Reason = Unclear, fmt.Sprintf("%d and %d rounds are too few to tell: measure at least %d of each", c.OldRounds, c.NewRounds, roundsFor(alpha))
	case cond.holds(v.Low) && cond.holds(v.High):
		v.Outcome = Pass
	case !cond.holds(v.Low) && !cond.holds(v.High):
		v.Outcome, v.Reason = Fail, c.where()
	default:
		v.Outcome, v.Reason = Unclear, c.where()+": too noisy to tell; measure more rounds, or on a quieter machine"
	}
	return v
}

// where says in which interval the ratio lies.
func (c Change) where() string {
	switch {
	case c.Low == unboundedRatio:
		return fmt.Sprintf("it was %s and is %s", Format(c.Old, c.Unit), Format(c.New, c.Unit))
	case c.High == unboundedRatio: // of a series with zeros
		return fmt.Sprintf("the ratio is %.3g or more", c.Low)
	}
	return fmt.Sprintf("the ratio is %.3g, between %.3g and %.3g", c.Ratio, c.Low, c.High)
}

// spreadOf is half the range of the middle half of values, as a share of their median.
func spreadOf(values []float64) float64 {
	m := Median(values)
	if len(values) < 2 || m == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[len(v)*3/4] - v[len(v)/4]) / 2 / m
}

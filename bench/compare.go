package bench

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Comparison is what changed between two results, metric by metric.
type Comparison struct {
	Schema int         `json:"schema"`
	Node   string      `json:"node"`
	Rows   []Change    `json:"rows"`
	Only   []string    `json:"only_in_one,omitempty"` // cases that one of the results does not have
	Checks []Verdict   `json:"verdicts,omitempty"`
	Notes  []string    `json:"notes,omitempty"` // why figures may not be comparable
	Alpha  float64     `json:"alpha"`
	chosen []Condition // of the checks
}

// Change is one metric of one case in both results.
type Change struct {
	Case        string  `json:"case"`
	Metric      string  `json:"metric"`
	Unit        Unit    `json:"unit"`
	Better      Better  `json:"better,omitempty"`
	Old         float64 `json:"old"` // medians
	New         float64 `json:"new"`
	OldSpread   float64 `json:"old_spread"` // half of the range of the middle half of the rounds, as a share of the median
	NewSpread   float64 `json:"new_spread"`
	Ratio       float64 `json:"ratio"` // new over old; 0: old is 0
	P           float64 `json:"p"`     // Mann-Whitney: how likely such a difference is without a change
	Significant bool    `json:"significant"`
	OldRounds   int     `json:"old_rounds"`
	NewRounds   int     `json:"new_rounds"`
}

// CompareOptions choose what is compared. The zero value compares the first nodes' main metrics at a level of 0.05.
type CompareOptions struct {
	Node    string // of both results; empty: the first of each
	All     bool   // all metrics, not only the main ones
	Alpha   float64
	Require []Condition // in the form METRIC / old <= NUMBER, judged in every case that has the metric
}

// mainMetrics are what a comparison shows unless all are asked for.
var mainMetrics = []string{costMetric, floorMetric, "delivered", "p50", "p99", "lost", "duplicates", "reordered",
	"node RSS per idle connection", "node RSS per name", "time per subscribe", "spread max/mean", "rate during/before"}

// Compare compares case by case. Cases are the same when scenario and label are.
func Compare(before, after *Results, o CompareOptions) (*Comparison, error) {
	oldAt, err := before.node(o.Node, "the old results")
	if err != nil {
		return nil, err
	}
	newAt, err := after.node(o.Node, "the new results")
	if err != nil {
		return nil, err
	}
	for _, c := range o.Require {
		if c.Against != "old" {
			return nil, fmt.Errorf("condition %q: compare judges METRIC / old <= NUMBER", c)
		}
	}
	if o.Alpha == 0 {
		o.Alpha = 0.05
	}
	x := &Comparison{Schema: Schema, Node: after.Nodes[newAt].Name, Alpha: o.Alpha, chosen: o.Require}
	if before.Machine != after.Machine {
		x.Notes = append(x.Notes, "the results come from different machines or kernels: only ratios to a node of the same run can be compared")
	}
	for _, r := range []*Results{before, after} {
		if !r.Valid {
			x.Notes = append(x.Notes, "results of "+r.Begun.Format("2006-01-02 15:04:05")+" are not valid: "+strings.Join(r.Invalid, "; "))
		}
	}
	for i := range after.Cases {
		c := &after.Cases[i]
		label := c.Scenario + " " + c.Label
		j := slices.IndexFunc(before.Cases, func(b CaseResult) bool { return b.Scenario == c.Scenario && b.Label == c.Label })
		if j < 0 {
			x.Only = append(x.Only, "new: "+label)
			continue
		}
		x.addCase(label, before.Cases[j].Nodes[oldAt], c.Nodes[newAt], o)
	}
	for _, b := range before.Cases {
		if !slices.ContainsFunc(after.Cases, func(c CaseResult) bool { return b.Scenario == c.Scenario && b.Label == c.Label }) {
			x.Only = append(x.Only, "old: "+b.Scenario+" "+b.Label)
		}
	}
	if len(x.Rows) == 0 {
		return nil, errors.New("the two results have no case in common")
	}
	return x, nil
}

// node finds a node by name; an empty name is the first.
func (r *Results) node(name, what string) (int, error) {
	if len(r.Nodes) == 0 {
		return 0, fmt.Errorf("%s name no node", what)
	}
	if name == "" {
		return 0, nil
	}
	var names []string
	for i, n := range r.Nodes {
		if n.Name == name {
			return i, nil
		}
		names = append(names, n.Name)
	}
	return 0, fmt.Errorf("%s have no node %q; did you mean %s?", what, name, Nearest(name, names))
}

func (x *Comparison) addCase(label string, before, after NodeResult, o CompareOptions) {
	for _, s := range after.Metrics {
		was, ok := before.Metric(s.Name)
		wanted := slices.ContainsFunc(o.Require, func(c Condition) bool { return c.Metric == s.Name })
		if !ok || !o.All && !wanted && !contains(mainMetrics, s.Name) {
			continue
		}
		c := Change{Case: label, Metric: s.Name, Unit: s.Unit, Better: s.Better, Old: was.Value, New: s.Value,
			OldSpread: spreadOf(was.Values), NewSpread: spreadOf(s.Values), P: rankSum(was.Values, s.Values),
			OldRounds: len(was.Values), NewRounds: len(s.Values)}
		if c.Old != 0 {
			c.Ratio = c.New / c.Old
		}
		c.Significant = c.P < o.Alpha
		x.Rows = append(x.Rows, c)
		for _, cond := range o.Require {
			if cond.Metric == s.Name {
				x.Checks = append(x.Checks, c.check(cond))
			}
		}
	}
}

// check judges one change: a ratio on the wrong side fails if the change is significant, and is unclear otherwise.
func (c Change) check(cond Condition) Verdict {
	v := Verdict{Case: c.Case, Condition: cond.String(), Value: c.Ratio, Low: c.Ratio, High: c.Ratio, Rounds: min(c.OldRounds, c.NewRounds), Outcome: Pass}
	switch {
	case c.Old == 0 && c.New == 0, c.Old != 0 && cond.holds(c.Ratio):
	case c.Significant, c.Old == 0 && cond.Metric != costMetric:
		v.Outcome, v.Reason = Fail, fmt.Sprintf("the ratio is %.3g (p=%.3f)", c.Ratio, c.P)
	default:
		v.Outcome, v.Reason = Unclear, fmt.Sprintf("the ratio is %.3g, but with p=%.3f that may be chance: measure more rounds", c.Ratio, c.P)
	}
	return v
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

// WriteTable writes the comparison as benchstat does: medians with their spread, the change, its probability.
func (x *Comparison) WriteTable(w io.Writer) error {
	for _, n := range x.Notes {
		if _, err := fmt.Fprintln(w, "note:", n); err != nil {
			return err
		}
	}
	label := ""
	var t *tabwriter.Writer
	for _, c := range x.Rows {
		if c.Case != label {
			if t != nil {
				_ = t.Flush()
			}
			label = c.Case
			fmt.Fprintf(w, "\n%s\n", label)
			t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "  metric\told\tnew\tchange\t")
		}
		fmt.Fprintf(t, "  %s\t%s ±%2.0f%%\t%s ±%2.0f%%\t%s\t\n", c.Metric,
			Format(c.Old, c.Unit), 100*c.OldSpread, Format(c.New, c.Unit), 100*c.NewSpread, c.change())
	}
	if t != nil {
		_ = t.Flush()
	}
	for _, o := range x.Only {
		fmt.Fprintf(w, "\nonly in the %s", o)
	}
	if len(x.Only) > 0 {
		fmt.Fprintln(w)
	}
	for _, v := range x.Checks {
		if _, err := fmt.Fprintf(w, "\n%s", v); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

// change is the last column: "~" when chance may be behind it.
func (c Change) change() string {
	p := fmt.Sprintf("(p=%.3f n=%d+%d)", c.P, c.OldRounds, c.NewRounds)
	switch {
	case c.Old == c.New:
		return "same " + p
	case !c.Significant:
		return "~ " + p
	case c.Old == 0:
		return "from 0 " + p
	}
	return fmt.Sprintf("%+.1f%% %s", 100*(c.Ratio-1), p)
}

// Outcome sums up the checks: Fail wins over Unclear.
func (x *Comparison) Outcome() Outcome {
	out := Pass
	for _, v := range x.Checks {
		if v.Outcome == Fail {
			return Fail
		}
		if v.Outcome == Unclear {
			out = Unclear
		}
	}
	for _, c := range x.chosen {
		if !slices.ContainsFunc(x.Checks, func(v Verdict) bool { return v.Condition == c.String() }) {
			out = Unclear
		}
	}
	return out
}

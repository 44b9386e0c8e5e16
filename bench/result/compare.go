package result

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

// Comparison is what changed between two results, metric by metric.
type Comparison struct {
	Schema  int       `json:"schema"`
	Node    string    `json:"node"` // of the new results
	Alpha   float64   `json:"alpha"`
	Rows    []Change  `json:"rows"`
	Only    []string  `json:"only_in_one,omitempty"` // cases that one of the results does not have
	Checks  []Verdict `json:"verdicts,omitempty"`
	Notes   []string  `json:"notes,omitempty"` // why figures may not be comparable
	Valid   bool      `json:"valid"`
	Invalid []string  `json:"invalid,omitempty"` // why nothing can be concluded: results that are not valid, data that is missing

	broken bool // one of the results is not valid: what it says of conditions does not count
}

// CompareOptions choose what is compared. The zero value compares the first nodes' main metrics at a level of 0.05.
type CompareOptions struct {
	Node    string // of both results; empty: the first of each
	All     bool   // all metrics, not only the main ones
	Alpha   float64
	Require []Condition // in the form METRIC / old <= NUMBER, judged in every case that has the metric
}

// mainMetrics are what a comparison shows unless all are asked for.
var mainMetrics = []string{CostMetric, floorMetric, "delivered", "p50", "p99", "lost", "duplicates", "reordered",
	"node RSS per idle connection", "node RSS per name", "time per subscribe", "spread max/mean", "rate during/before"}

// shows reports whether the metric has a row.
func (o CompareOptions) shows(metric string) bool {
	return o.All || slices.Contains(mainMetrics, metric) ||
		slices.ContainsFunc(o.Require, func(c Condition) bool { return c.Metric == metric })
}

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
			return nil, fmt.Errorf("condition %q: compare judges METRIC / old <= NUMBER (or >=): write %q", c,
				Condition{Metric: c.Metric, Against: "old", Least: c.Least, Bound: c.Bound})
		}
	}
	if o.Alpha == 0 {
		o.Alpha = 0.05
	}
	if o.Alpha < 0 || o.Alpha >= 1 {
		return nil, fmt.Errorf("alpha %g: want a probability between 0 and 1, such as 0.05", o.Alpha)
	}
	x := &Comparison{Schema: Schema, Node: after.Nodes[newAt].Name, Alpha: o.Alpha, Valid: true}
	if before.Machine != after.Machine {
		x.Notes = append(x.Notes, "the results come from different machines or kernels: only ratios to a node of the same run can be compared")
	}
	for which, r := range map[string]*Results{"old": before, "new": after} {
		if r.Busy != "" {
			x.Notes = append(x.Notes, "the "+which+" results: "+r.Busy)
		}
	}
	slices.Sort(x.Notes)
	x.distrust("old", before)
	x.distrust("new", after)
	x.cases(before, after, oldAt, newAt, o)
	if len(x.Rows) == 0 && len(x.Invalid) == 0 {
		return nil, errors.New("the two results have no figure in common: compare results of the same scenarios, with the same parameters")
	}
	x.unmeasured(after, newAt, o)
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
	i := r.at(name)
	if i < 0 {
		return 0, fmt.Errorf("%s have no node %q%s", what, name, suggest.Hint(name, r.names()))
	}
	return i, nil
}

func (x *Comparison) invalidate(format string, args ...any) {
	x.Valid = false
	x.Invalid = append(x.Invalid, fmt.Sprintf(format, args...))
}

// distrust takes over what a run says against itself.
func (x *Comparison) distrust(which string, r *Results) {
	if r.Valid {
		return
	}
	x.broken = true
	why := strings.Join(r.Invalid, "; ")
	if why == "" {
		why = "no reason is given"
	}
	x.invalidate("the %s results, of %s, are not valid: %s; measure again", which, r.Begun.Format("2006-01-02 15:04:05"), why)
}

// cases pairs the cases of both results. One that stands there several times is paired in its order.
func (x *Comparison) cases(before, after *Results, oldAt, newAt int, o CompareOptions) {
	left := map[string][]*CaseResult{}
	for i := range before.Cases {
		c := &before.Cases[i]
		left[c.name()] = append(left[c.name()], c)
	}
	for i := range after.Cases {
		c := &after.Cases[i]
		name := c.name()
		if len(left[name]) == 0 {
			x.Only = append(x.Only, "new: "+name)
			x.addCase(name, NodeResult{}, c.Nodes[newAt], o) // no trouble, but for conditions
			continue
		}
		was := left[name][0]
		left[name] = left[name][1:]
		if was.Params != c.Params {
			x.Notes = append(x.Notes, name+": measured with other parameters before and after (see params in the results)")
		}
		x.addCase(name, was.Nodes[oldAt], c.Nodes[newAt], o)
	}
	for i := range before.Cases { // in their order
		name := before.Cases[i].name()
		if len(left[name]) == 0 {
			continue
		}
		left[name] = left[name][1:]
		x.Only = append(x.Only, "old: "+name)
		x.invalidate("%s: the new results do not have this case; measure it again", name)
	}
}

// name tells a case apart in both results.
func (c *CaseResult) name() string { return c.Scenario + " " + c.Label }

// addCase compares a case. A metric that only the new results have is told, and no trouble.
func (x *Comparison) addCase(name string, before, after NodeResult, o CompareOptions) {
	switch {
	case before.Skipped != "" && after.Skipped != "":
		return
	case after.Skipped != "":
		x.invalidate("%s: not measured in the new results: %s", name, after.Skipped)
		return
	}
	for _, metric := range MetricNames(after, before) {
		if !o.shows(metric) {
			continue
		}
		c := newChange(name, metric, before, after, o.Alpha)
		x.Rows = append(x.Rows, c)
		if c.Missing == "new" {
			x.invalidate("%s: %s is missing in the new results; measure again", name, metric)
		}
		for _, cond := range o.Require {
			if cond.Metric == metric {
				x.Checks = append(x.Checks, c.check(cond, o.Alpha))
			}
		}
	}
}

// unmeasured finds conditions on what no case has.
func (x *Comparison) unmeasured(after *Results, at int, o CompareOptions) {
	var names []string
	for i := range after.Cases {
		names = append(names, MetricNames(after.Cases[i].Nodes[at])...)
	}
	for _, c := range o.Require {
		if slices.ContainsFunc(x.Checks, func(v Verdict) bool { return v.Condition == c.String() }) {
			continue
		}
		why := "no case measures " + c.Metric
		if near := suggest.Nearest(c.Metric, names); near != "" && near != c.Metric {
			why += "; did you mean " + near + "?"
		}
		x.invalidate("%s: %s", c, why)
	}
}

// Outcome sums up: results that are not valid decide nothing, otherwise Fail wins over what is unclear or missing.
func (x *Comparison) Outcome() Outcome {
	has := func(o Outcome) bool {
		return slices.ContainsFunc(x.Checks, func(v Verdict) bool { return v.Outcome == o })
	}
	switch {
	case x.broken:
		return Unclear
	case has(Fail):
		return Fail
	case !x.Valid || has(Unclear):
		return Unclear
	}
	return Pass
}

// Doubts are the reasons, one a line, for which nothing can be concluded.
func (x *Comparison) Doubts() []string {
	doubts := slices.Clone(x.Invalid)
	for _, v := range x.Checks {
		if v.Outcome == Unclear {
			doubts = append(doubts, fmt.Sprintf("%s: %s: %s", v.Case, v.Condition, v.Reason))
		}
	}
	return doubts
}

package result

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

// CompareOptions choose what is compared. The zero value compares the first nodes at a level of 0.05.
type CompareOptions struct {
	Node    string // of both results; empty: the first of each
	Alpha   float64
	Require []Condition // in the form METRIC / old <= NUMBER, judged in every case that has the metric
}

// Compare puts a node of two results side by side, case by case, as a run of the two nodes "new" and "old". Cases are the
// same when scenario and label are. What is only in the new results is no trouble, nor is a metric that only the old ones
// have, such as a percentile that needs more messages than came, unless a condition is about it.
func Compare(before, after *Results, o CompareOptions) (*Results, error) {
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
	x := NewResults(after.Rounds, nil)
	x.Begun, x.Machine, x.Alpha = after.Begun, after.Machine, o.Alpha
	x.Nodes = []NodeInfo{after.Nodes[newAt], before.Nodes[oldAt]}
	x.Nodes[0].Name, x.Nodes[1].Name, x.Nodes[1].Note = "new", "old", ""
	if before.Machine != after.Machine {
		x.note("measured on another machine or kernel: only ratios to a node of the same run can be compared")
	}
	valid := x.distrust("old", before)
	valid = x.distrust("new", after) && valid
	x.pair(before, after, oldAt, newAt)
	if !valid { // what is not valid does not fail either
		o.Require = nil
	}
	x.Settle(func(int) []Condition { return o.Require }, 0)
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

// note says of the old results what is to be known.
func (r *Results) note(text string) {
	old := &r.Nodes[1]
	old.Note = strings.TrimPrefix(old.Note+"; "+text, "; ")
}

// distrust takes over what a run says against itself, and reports whether the run is valid.
func (r *Results) distrust(which string, run *Results) bool {
	if run.Busy != "" {
		r.Busy = strings.TrimPrefix(r.Busy+"; the "+which+" results: "+run.Busy, "; ")
	}
	if !run.Valid {
		r.invalidate(fmt.Sprintf("the %s results, of %s, are not valid: %s; measure again", which, run.Begun.Format("2006-01-02 15:04:05"),
			strings.Join(run.Reasons(), "; ")))
	}
	return run.Valid
}

// pair puts the cases of both results side by side. One that stands there several times is paired in its order.
func (r *Results) pair(before, after *Results, oldAt, newAt int) {
	left := slices.Clone(before.Cases)
	for _, c := range after.Cases {
		name, is, was := c.Scenario+" "+c.Label, c.Nodes[newAt], NodeResult{}
		if i := slices.IndexFunc(left, func(o CaseResult) bool { return o.Scenario+" "+o.Label == name }); i >= 0 {
			was = left[i].Nodes[oldAt]
			if left[i].Params != c.Params {
				r.note(name + ": measured with other parameters before and after (see params in the results)")
			}
			left = slices.Delete(left, i, i+1)
		}
		if is.Skipped != "" && was.Skipped == "" && len(was.Metrics) > 0 {
			r.invalidate(fmt.Sprintf("%s: not measured in the new results: %s", name, is.Skipped))
		}
		c.Nodes = []NodeResult{is, was}
		r.Cases = append(r.Cases, c)
	}
	for _, c := range left {
		r.invalidate(fmt.Sprintf("%s %s: the new results do not have this case; measure it again", c.Scenario, c.Label))
	}
}

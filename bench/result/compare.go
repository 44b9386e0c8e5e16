package result

import (
	"fmt"
	"slices"
	"strings"
)

// Compare puts the first nodes of two results side by side, case by case, as a run of the two nodes "new" and "old". Cases are the
// same when scenario and label are. What is only in the new results is no trouble, nor is a metric that only the old ones
// have, such as a percentile that needs more messages than came, unless a condition is about it.
//
// alpha is the level below which a difference is called one, such as 0.05. Conditions have the form METRIC / old <= NUMBER.
func Compare(before, after *Results, alpha float64, require []Condition) (*Results, error) {
	for _, c := range require {
		if c.Against != "old" {
			return nil, fmt.Errorf("condition %q: compare judges METRIC / old <= NUMBER (or >=): write %q", c,
				Condition{Metric: c.Metric, Against: "old", Least: c.Least, Bound: c.Bound})
		}
	}
	if !(alpha > 0 && alpha < 1) { // NaN is neither
		return nil, fmt.Errorf("alpha %g: want a probability between 0 and 1, such as 0.05", alpha)
	}
	x := NewResults(after.Rounds, nil)
	x.Begun, x.Machine, x.Alpha = after.Begun, after.Machine, alpha
	x.Nodes = []NodeInfo{after.Nodes[0], before.Nodes[0]}
	x.Nodes[0].Name, x.Nodes[1].Name, x.Nodes[1].Note = "new", "old", ""
	tell := x.note
	if len(require) > 0 { // no condition holds of what is not alike
		tell = x.invalidate
	}
	was := before.Machine
	was.Go = after.Machine.Go // slim-bench's
	if was != after.Machine {
		tell("measured on another machine or kernel: only ratios to a node of the same run can be compared")
	}
	valid := x.distrust("old", before)
	valid = x.distrust("new", after) && valid
	x.pair(before, after, tell)
	if !valid { // what is not valid does not fail either
		require = nil
	}
	x.Settle(func(int) []Condition { return require }, 0)
	return x, nil
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
func (r *Results) pair(before, after *Results, tell func(string)) {
	left := slices.Clone(before.Cases)
	for _, c := range after.Cases {
		name, is, was := c.Scenario+" "+c.Label, c.Nodes[0], NodeResult{}
		if i := slices.IndexFunc(left, func(o CaseResult) bool { return o.Scenario+" "+o.Label == name }); i >= 0 {
			was = left[i].Nodes[0]
			if left[i].Params != c.Params {
				tell(name + ": measured with other parameters before and after (see params in the results)")
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

package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed31b3bfd0/slimgo/bench/result"
)

const none = "–" // a figure that there is not

// cell is one figure of a table.
type cell struct {
	Text, Class string
	Head        string // of its column, for screens too narrow for columns
	Link        string // id of a case
}

// note is what there is to say about a case on a node.
type note struct {
	Text  string
	Error bool
}

// notes tell what went wrong on each node, and what else there is to say.
func notes(r *result.Results, c *result.CaseResult) (all []note) {
	for k, n := range c.Nodes {
		for _, e := range n.Errors {
			all = append(all, note{r.Nodes[k].Name + ": " + e, true})
		}
		for _, remark := range n.Remarks() {
			if remark == n.Overloaded || remark == n.Limited {
				remark = "* " + remark
			}
			all = append(all, note{r.Nodes[k].Name + ": " + remark, false})
		}
	}
	return all
}

// untold is what makes results invalid, without the errors and remarks that stand with their cases.
func untold(r *result.Results) []string {
	all := slices.Clone(r.Invalid)
	for i := range r.Cases {
		for _, n := range notes(r, &r.Cases[i]) {
			_, text, _ := strings.Cut(strings.Replace(n.Text, ": * ", ": ", 1), ": ")
			all = slices.DeleteFunc(all, func(why string) bool { return strings.HasSuffix(why, ": "+text) })
		}
	}
	if len(all) < len(r.Invalid) {
		all = append(all, "for what stands with its cases")
	}
	return all
}

// state says in a word how the run ended, and counts its verdicts.
func state(r *result.Results) (word, counts string) {
	n := map[result.Outcome]int{}
	for _, v := range r.Verdicts {
		n[v.Outcome]++
	}
	switch {
	case n[result.Fail] > 0:
		word = "fail"
	case !r.Valid:
		word = "invalid"
	case len(r.Verdicts) == 0:
		word = "measured"
	default:
		word = "pass"
	}
	var parts []string
	for _, o := range []result.Outcome{result.Pass, result.Fail, result.Unclear, result.Skipped} {
		if n[o] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[o], o))
		}
	}
	return word, strings.Join(parts, ", ")
}

// seen is what a verdict is about.
func seen(v result.Verdict) string {
	if v.Rounds == 0 {
		return v.Reason
	}
	return v.Figures()
}

// summary is one row for each case: the first node's figures, and the others' cost as multiples of it.
func summary(r *result.Results) (heads []string, rows [][]cell) {
	heads = []string{"case"}
	if len(r.Nodes) == 0 {
		return heads, nil
	}
	heads = append(heads, "delivered", "CPU / message", "p50", "p99", "lost")
	some := slices.ContainsFunc(r.Cases, func(c result.CaseResult) bool { return own(c.Nodes[0]).Text != none })
	if some {
		heads = append(heads, "of the scenario")
	}
	for _, n := range r.Nodes[1:] {
		heads = append(heads, "cost "+n.Name+" / "+r.Nodes[0].Name)
	}
	for i, c := range r.Cases {
		row := []cell{{Text: c.Scenario + " " + c.Label, Link: fmt.Sprintf("case-%d", i)}}
		first := c.Nodes[0]
		for _, name := range []string{"delivered", result.CostMetric, "p50", "p99", "lost"} {
			row = append(row, number(first, name))
		}
		if some {
			row = append(row, own(first))
		}
		ours, _ := first.Metric(result.CostMetric)
		for _, n := range c.Nodes[1:] {
			times := missing
			if theirs, ok := n.Metric(result.CostMetric); ok && ours.Value > 0 {
				times = cell{Text: fmt.Sprintf("%.2f×", theirs.Times(ours)), Class: "num"}
			}
			row = append(row, times)
		}
		for i := range row {
			row[i].Head = heads[i]
		}
		rows = append(rows, row)
	}
	return heads, rows
}

// headlines are what scenarios are about that is not about traffic.
var headlines = []string{"spread max/mean", "rate during/before", "clients served a second", "clients failed", "all back in", "node RSS per idle connection",
	"delivered, with/alone", "time per subscribe", "node RSS per name", "RSS slope", "p99 late/early"}

var missing = cell{Text: none, Class: "num none"}

// own are up to two figures that only this scenario has.
func own(n result.NodeResult) cell {
	var texts []string
	for _, name := range headlines {
		if s, ok := n.Metric(name); ok && len(texts) < 2 {
			texts = append(texts, name+" "+result.Format(s.Value, s.Unit))
		}
	}
	if len(texts) == 0 {
		return missing
	}
	return cell{Text: strings.Join(texts, ", "), Class: "num wrap"}
}

// number is a metric of a node, with the spread of its rounds, and an asterisk where a note says why it is not the
// node's.
func number(n result.NodeResult, name string) cell {
	s, ok := n.Metric(name)
	if !ok {
		return missing
	}
	c := cell{Text: result.Format(s.Value, s.Unit), Class: "num"}
	if len(s.Values) > 1 && !s.Worst {
		c.Text += fmt.Sprintf(" ±%.0f%%", 100*s.Spread())
	}
	if n.Marked(name) != "" {
		c.Text += " *"
	}
	if s.Worst && s.Better == result.Lower && s.Value > 0 && s.Unit == result.Count {
		c.Class += " bad"
	}
	return c
}

// kindOf says what the figures of a run are.
func kindOf(r *result.Results) string {
	most := 0
	for _, c := range r.Cases {
		for _, n := range c.Nodes {
			most = max(most, len(n.Rounds))
		}
	}
	if most <= 1 {
		return "one round"
	}
	return "medians of the rounds ± half the range of their middle half"
}

// metricRows are all figures of a case, a column for each node that it was measured on.
func metricRows(c *result.CaseResult) (rows [][]cell) {
	for _, name := range result.MetricNames(c.Nodes...) {
		row := []cell{{Text: name}}
		for _, n := range c.Nodes {
			if n.Skipped == "" {
				row = append(row, number(n, name))
			}
		}
		rows = append(rows, row)
	}
	return rows
}

package report

import (
	"cmp"
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

// table is one for people, in whatever form. The first column names the rows.
type table struct {
	Heads []string
	Rows  [][]cell
}

func (t *table) add(row []cell) {
	for i := range row {
		row[i].Head = t.Heads[i]
	}
	t.Rows = append(t.Rows, row)
}

// section is one case.
type section struct {
	ID, Title string
	Notes     []note
	Legend    []legend
	Faint     bool // there are lines of earlier rounds
	Plots     []plot
	Table     table
}

type legend struct {
	Name  string
	Color int
}

// sections are the cases of a run.
func sections(r *result.Results) (all []section) {
	for i := range r.Cases {
		c := &r.Cases[i]
		s := section{ID: fmt.Sprintf("case-%d", i), Title: c.Scenario + " " + c.Label, Notes: notes(r, c), Plots: plots(r, c),
			Table: figures(r, c)}
		for _, k := range measured(c) {
			s.Legend = append(s.Legend, legend{r.Nodes[k].Name, k % len(palette)})
			s.Faint = s.Faint || len(c.Nodes[k].Rounds) > 1
		}
		all = append(all, s)
	}
	return all
}

// note is what there is to say about a case on a node.
type note struct {
	Node, Text string
	Error      bool
	Mark       bool // it is why figures are marked
}

// String is the note with the node's name.
func (n note) String() string {
	if n.Mark {
		return n.Node + ": * " + n.Text
	}
	return n.Node + ": " + n.Text
}

// notes tell what went wrong on each node, and what else there is to say.
func notes(r *result.Results, c *result.CaseResult) (all []note) {
	for k, n := range c.Nodes {
		name := r.Nodes[k].Name
		for _, e := range n.Errors {
			all = append(all, note{Node: name, Text: e, Error: true})
		}
		for _, remark := range n.Remarks() {
			all = append(all, note{Node: name, Text: remark, Mark: remark == n.Overloaded || remark == n.Limited})
		}
	}
	return all
}

// untold is what makes results invalid, without what the notes of cases tell.
func untold(r *result.Results) []string {
	var all []note
	for i := range r.Cases {
		all = append(all, notes(r, &r.Cases[i])...)
	}
	left := slices.DeleteFunc(slices.Clone(r.Invalid), func(why string) bool {
		return slices.ContainsFunc(all, func(n note) bool { return strings.HasSuffix(why, ": "+n.Text) })
	})
	if len(left) < len(r.Invalid) {
		left = append(left, "for what stands with its cases")
	}
	return left
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

// summary has one row for each case: the first node's figures, and the others' cost as multiples of it.
func summary(r *result.Results) (t table) {
	t.Heads = []string{"case"}
	if len(r.Nodes) == 0 {
		return t
	}
	common := []string{"delivered", result.CostMetric, "p50", "p99", "lost"}
	t.Heads = append(t.Heads, common...)
	some := slices.ContainsFunc(r.Cases, func(c result.CaseResult) bool { return own(c.Nodes[0]).Text != none })
	if some {
		t.Heads = append(t.Heads, "of the scenario")
	}
	for _, n := range r.Nodes[1:] {
		t.Heads = append(t.Heads, "cost "+n.Name+" / "+r.Nodes[0].Name)
	}
	for i, c := range r.Cases {
		row := []cell{{Text: c.Scenario + " " + c.Label, Link: fmt.Sprintf("case-%d", i)}}
		first := c.Nodes[0]
		for _, name := range common {
			row = append(row, figure(first, name))
		}
		if some {
			row = append(row, own(first))
		}
		for _, n := range c.Nodes[1:] {
			row = append(row, multiple(n, first, result.CostMetric))
		}
		t.add(row)
	}
	return t
}

// headlines are what scenarios are about that is not about traffic.
var headlines = []string{"spread max/mean", "rate during/before", "clients served a second", "clients failed", "all back in",
	"node RSS per idle connection", "delivered, with/alone", "time per subscribe", "node RSS per name", "RSS slope", "p99 late/early"}

var missing = cell{Text: none, Class: "num none"}

// own are up to two figures that only this scenario has.
func own(n result.NodeResult) cell {
	var texts []string
	for _, name := range headlines {
		if s, ok := n.Metric(name); ok && len(texts) < 2 {
			texts = append(texts, name+" "+told(result.Format(s.Value, s.Unit), s, n.Marked(name)))
		}
	}
	if len(texts) == 0 {
		return missing
	}
	return cell{Text: strings.Join(texts, ", "), Class: "num wrap"}
}

// figure is a metric of a node, with the spread of its rounds, and an asterisk where a note says why it is not the node's.
func figure(n result.NodeResult, name string) cell {
	s, ok := n.Metric(name)
	if !ok {
		return missing
	}
	c := cell{Text: told(result.Format(s.Value, s.Unit), s, n.Marked(name)), Class: "num"}
	if s.Worst && s.Better == result.Lower && s.Value > 0 && s.Unit == result.Count {
		c.Class += " bad"
	}
	return c
}

// told is a figure with the spread of its rounds, marked if there is a reason for it.
func told(text string, s result.Series, why string) string {
	if len(s.Values) > 1 && !s.Worst {
		text += fmt.Sprintf(" ±%.0f%%", 100*s.Spread())
	}
	if why != "" {
		text += " *"
	}
	return text
}

// multiple is a metric of a node as a multiple of the first node's.
func multiple(n, first result.NodeResult, name string) cell {
	theirs, ok := n.Metric(name)
	ours, _ := first.Metric(name)
	if !ok || ours.Value == 0 || theirs.Unit == result.Ratio {
		return missing
	}
	times := theirs.Times(ours)
	text := told(fmt.Sprintf("%.3g×", times.Value), times, cmp.Or(n.Marked(name), first.Marked(name)))
	return cell{Text: text, Class: "num"}
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

// figures are all of a case: a column for each node that it was measured on, and after the first one for the multiples.
func figures(r *result.Results, c *result.CaseResult) table {
	t := table{Heads: []string{"metric"}}
	for _, k := range measured(c) {
		t.Heads = append(t.Heads, r.Nodes[k].Name)
		if k > 0 {
			t.Heads = append(t.Heads, r.Nodes[k].Name+" / "+r.Nodes[0].Name)
		}
	}
	for _, name := range result.MetricNames(c.Nodes...) {
		row := []cell{{Text: name}}
		for _, k := range measured(c) {
			row = append(row, figure(c.Nodes[k], name))
			if k > 0 {
				row = append(row, multiple(c.Nodes[k], c.Nodes[0], name))
			}
		}
		t.add(row)
	}
	return t
}

// measured are the numbers of the nodes on which a case was measured.
func measured(c *result.CaseResult) (all []int) {
	for k, n := range c.Nodes {
		if n.Skipped == "" {
			all = append(all, k)
		}
	}
	return all
}

package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/seed31b3bfd0/slimgo/bench/result"
)

const none = "–" // a figure that there is not

// cell is one figure of a table.
type cell struct{ Text, Class string }

// table is one for people, in whatever form. The first column names the rows.
type table struct {
	Heads []string
	Rows  [][]cell
}

// section is one case of a run.
type section struct {
	*result.CaseResult
	run *result.Results
}

func sections(r *result.Results) (all []section) {
	for i := range r.Cases {
		all = append(all, section{&r.Cases[i], r})
	}
	return all
}

func (s section) Title() string { return s.Scenario + " " + s.Label }

// Notes tell what went wrong on each node, what figures are marked for, and what else there is to say.
func (s section) Notes() (all []string) {
	for k, n := range s.Nodes {
		name := s.run.Nodes[k].Name
		for _, d := range n.Doubts {
			mark := ""
			if d.OfPace() {
				mark = "* "
			}
			all = append(all, name+": "+mark+d.Text)
		}
		for _, round := range n.Rounds {
			for _, text := range round.Notes {
				all = append(all, fmt.Sprintf("%s: round %d: %s", name, round.Number, text))
			}
		}
	}
	return all
}

// untold is what makes results invalid, without what the notes of cases tell.
func untold(r *result.Results) []string {
	if len(r.Reasons()) > len(r.Invalid) {
		return append(slices.Clip(r.Invalid), "for what stands with its cases")
	}
	return r.Invalid
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
	for _, o := range []result.Outcome{result.Pass, result.Fail, result.Unclear, result.Skipped} {
		if n[o] > 0 {
			counts += fmt.Sprintf(", %d %s", n[o], o)
		}
	}
	return word, strings.TrimPrefix(counts, ", ")
}

var missing = cell{Text: none, Class: "num none"}

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
	return marked(text, why)
}

func marked(text, why string) string {
	if why != "" {
		text += " *"
	}
	return text
}

// multiple is a metric of node k as a multiple of the first node's; of a comparison, what the first node's has changed by.
func (s section) multiple(k int, name string) cell {
	n, first := s.Nodes[k], s.Nodes[0]
	theirs, ok := n.Metric(name)
	ours, both := first.Metric(name)
	mark := cmp.Or(n.Marked(name), first.Marked(name))
	switch {
	case !ok || !both:
		return missing
	case s.run.Alpha > 0:
		return cell{Text: marked(ours.Change(theirs, s.run.Alpha), mark), Class: "num wrap"}
	case ours.Value == 0 || theirs.Unit == result.Ratio:
		return missing
	}
	times := theirs.Times(ours)
	return cell{Text: told(fmt.Sprintf("%.3g×", times.Value), times, mark), Class: "num"}
}

// kindOf says what the figures of a run are.
func kindOf(r *result.Results) string {
	for _, c := range r.Cases {
		if slices.ContainsFunc(c.Nodes, func(n result.NodeResult) bool { return len(n.Rounds) > 1 }) {
			return "medians of the rounds ± half the range of their middle half"
		}
	}
	return "one round"
}

// Table has all figures: a column for each node that the case was measured on, and after each but the first one for multiples.
func (s section) Table() table {
	t := table{Heads: []string{"metric"}}
	var nodes []int
	for k, n := range s.Nodes {
		if n.Skipped != "" {
			continue
		}
		nodes = append(nodes, k)
		t.Heads = append(t.Heads, s.run.Nodes[k].Name)
		switch {
		case k > 0 && s.run.Alpha > 0:
			t.Heads = append(t.Heads, "change")
		case k > 0:
			t.Heads = append(t.Heads, s.run.Nodes[k].Name+" / "+s.run.Nodes[0].Name)
		}
	}
	for _, name := range result.MetricNames(s.Nodes...) {
		row := []cell{{Text: name}}
		for _, k := range nodes {
			row = append(row, figure(s.Nodes[k], name))
			if k > 0 {
				row = append(row, s.multiple(k, name))
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// writeText writes one table for each case: a row for each metric, a column for each node, and after every node but the
// first the multiples of the first. The verdicts on conditions stand at the end.
func writeText(w io.Writer, r *result.Results) error {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "%s, %d cores, %s %s; %s\n", m.CPU, m.Cores, m.OS, m.Kernel, kindOf(r))
	if r.Busy != "" {
		fmt.Fprintln(&b, r.Busy)
	}
	for _, n := range r.Nodes {
		if n.Note != "" {
			fmt.Fprintf(&b, "%s: %s\n", n.Name, n.Note)
		}
	}
	for _, s := range sections(r) {
		fmt.Fprintf(&b, "\n%s\n", s.Title())
		s.Table().text(&b)
		for _, n := range s.Notes() {
			fmt.Fprintln(&b, "  ! "+strings.ReplaceAll(n, "\n", "\n    "))
		}
	}
	if len(r.Verdicts) > 0 {
		fmt.Fprintln(&b)
	}
	for _, v := range r.Verdicts {
		fmt.Fprintln(&b, v)
	}
	if !r.Valid {
		fmt.Fprintln(&b, "\nnot valid: "+strings.Join(untold(r), "\n           "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// text writes the table with columns as wide as they have to be.
func (t table) text(b *strings.Builder) {
	if len(t.Rows) == 0 {
		fmt.Fprintln(b, "  nothing was measured")
		return
	}
	var lines strings.Builder
	columns := tabwriter.NewWriter(&lines, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(columns, "\t"+strings.Join(t.Heads[1:], "\t")+"\t")
	for _, row := range t.Rows {
		for _, c := range row {
			fmt.Fprint(columns, c.Text, "\t")
		}
		fmt.Fprintln(columns)
	}
	_ = columns.Flush() // into memory
	for line := range strings.Lines(lines.String()) {
		fmt.Fprintln(b, strings.TrimRight(line, " \n"))
	}
}

package report

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// paint wraps text in a colour if there is to be any.
type paint bool

const (
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (p paint) in(colour, text string) string {
	if !p || colour == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

var outcomeColours = map[result.Outcome]string{result.Pass: green, result.Fail: red, result.Unclear: yellow}

// writeText writes one table for each case: a row for each metric, a column for each node, and after every node but the
// first the multiples of the first. The verdicts on conditions stand at the end; colour marks them and what went wrong.
func writeText(w io.Writer, r *result.Results, colour bool) error {
	var b strings.Builder
	p, m := paint(colour), r.Machine
	fmt.Fprintf(&b, "%s, %d cores, %s %s; %s\n", m.CPU, m.Cores, m.OS, m.Kernel, kindOf(r))
	if r.Busy != "" {
		fmt.Fprintln(&b, p.in(yellow, r.Busy))
	}
	for _, n := range r.Nodes {
		if n.Note != "" {
			fmt.Fprintf(&b, "%s: %s\n", n.Name, n.Note)
		}
	}
	for _, s := range sections(r) {
		fmt.Fprintf(&b, "\n%s\n", s.Title)
		if len(s.Table.Rows) == 0 {
			fmt.Fprintln(&b, "  nothing was measured")
		}
		s.Table.text(&b)
		for _, n := range s.Notes {
			colour := yellow
			if n.Error {
				colour = red
			}
			fmt.Fprintln(&b, p.in(colour, "  ! "+strings.ReplaceAll(n.String(), "\n", "\n    ")))
		}
	}
	if len(r.Verdicts) > 0 {
		fmt.Fprintln(&b)
	}
	for _, v := range r.Verdicts {
		fmt.Fprintln(&b, p.in(outcomeColours[v.Outcome], v.String()))
	}
	if !r.Valid {
		fmt.Fprintln(&b, p.in(yellow, "\nnot valid: "+strings.Join(untold(r), "\n           ")))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// text writes the table with columns as wide as they have to be.
func (t table) text(b *strings.Builder) {
	var lines strings.Builder
	columns := tabwriter.NewWriter(&lines, 0, 0, 2, ' ', tabwriter.AlignRight)
	if len(t.Rows) > 0 {
		fmt.Fprintln(columns, "\t"+strings.Join(t.Heads[1:], "\t")+"\t")
	}
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

// WriteComparison writes what changed as benchstat does: medians with their spread, the change and its interval, its
// probability.
func WriteComparison(w io.Writer, x *result.Comparison) error {
	var b strings.Builder
	for _, n := range x.Notes {
		fmt.Fprintln(&b, "note:", n)
	}
	for i := 0; i < len(x.Rows); {
		j := i
		for j < len(x.Rows) && x.Rows[j].Case == x.Rows[i].Case {
			j++
		}
		writeChanges(&b, x.Rows[i:j])
		i = j
	}
	for _, o := range x.Only {
		fmt.Fprintf(&b, "\nonly in the %s", o)
	}
	if len(x.Only) > 0 {
		fmt.Fprintln(&b)
	}
	if len(x.Checks) > 0 {
		fmt.Fprintln(&b)
	}
	for _, v := range x.Checks {
		text := v.String()
		if v.Outcome != result.Pass {
			text = fmt.Sprintf("%-7s %s: %s  %s", v.Outcome.Word(), v.Case, v.Condition, v.Reason)
		}
		fmt.Fprintln(&b, text)
	}
	if len(x.Invalid) > 0 {
		fmt.Fprintln(&b, "\nnot valid: "+strings.Join(x.Invalid, "\n           "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeChanges writes the rows of one case.
func writeChanges(b *strings.Builder, rows []result.Change) {
	fmt.Fprintf(b, "\n%s\n", rows[0].Case)
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  metric\told\tnew\tchange")
	limited := ""
	for _, c := range rows {
		side := func(which string, value, spread float64) string {
			if c.Missing == which {
				return "-"
			}
			return fmt.Sprintf("%s ±%2.0f%%", result.Format(value, c.Unit), 100*spread)
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", c.Metric, side("old", c.Old, c.OldSpread), side("new", c.New, c.NewSpread), changed(c))
		if c.Limited != "" {
			limited = c.Limited
		}
	}
	_ = t.Flush() // into memory
	if limited != "" {
		fmt.Fprintf(b, "  ! %s\n", limited)
	}
}

// changed is the last column: "~" when chance may be behind it.
func changed(c result.Change) string {
	if c.Missing != "" {
		return "missing in the " + c.Missing + " results"
	}
	p := fmt.Sprintf("(p=%.3f n=%d+%d)", c.P, c.OldRounds, c.NewRounds)
	if c.Limited != "" {
		p += " client-limited"
	}
	if c.Old == c.New {
		return "same " + p
	}
	if c.High < math.MaxFloat64 && c.Old != 0 {
		p = fmt.Sprintf("[%+.1f%%, %+.1f%%] %s", 100*(c.Low-1), 100*(c.High-1), p)
	}
	switch {
	case !c.Significant:
		return "~ " + p
	case c.Old == 0:
		return "from 0 " + p
	}
	return fmt.Sprintf("%+.1f%% %s", 100*(c.Ratio-1), p)
}

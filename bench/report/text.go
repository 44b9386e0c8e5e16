package report

import (
	"fmt"
	"io"
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
		fmt.Fprintf(&b, "\n%s\n", s.Title())
		s.Table().text(&b)
		for _, n := range s.Notes() {
			colour := yellow
			if n.Error {
				colour = red
			}
			fmt.Fprintln(&b, p.in(colour, "  ! "+strings.ReplaceAll(n.Text, "\n", "\n    ")))
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

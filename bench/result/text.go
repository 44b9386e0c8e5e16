package result

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteTable writes one table for each case: a row for each metric, a column for each node, and for every node after
// the first the ratio to the first.
// The verdicts on conditions stand at the end; colour marks them and what went wrong.
func (r *Results) WriteTable(w io.Writer, colour bool) error {
	m := r.Machine
	if _, err := fmt.Fprintf(w, "%s, %d cores, %s %s; medians\n", m.CPU, m.Cores, m.OS, m.Kernel); err != nil {
		return err
	}
	for _, n := range r.Nodes {
		if n.Note != "" {
			fmt.Fprintf(w, "%s: %s\n", n.Name, n.Note)
		}
	}
	for _, c := range r.Cases {
		if err := r.writeCase(w, c, paint(colour)); err != nil {
			return err
		}
	}
	return r.writeVerdicts(w, paint(colour))
}

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

var outcomeColours = map[Outcome]string{Pass: green, Fail: red, Unclear: yellow}

func (r *Results) writeVerdicts(w io.Writer, p paint) error {
	if len(r.Verdicts) > 0 {
		fmt.Fprintln(w)
	}
	for _, v := range r.Verdicts {
		if _, err := fmt.Fprintln(w, p.in(outcomeColours[v.Outcome], v.String())); err != nil {
			return err
		}
	}
	if r.Valid {
		return nil
	}
	_, err := fmt.Fprintln(w, p.in(yellow, "\nnot valid: "+strings.Join(r.Invalid, "\n           ")))
	return err
}

func (r *Results) writeCase(w io.Writer, c CaseResult, p paint) error {
	var lines strings.Builder
	t := tabwriter.NewWriter(&lines, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\n%s: %s\n", c.Scenario, c.Label)
	if len(c.metricNames()) == 0 {
		fmt.Fprintln(w, "  nothing was measured")
		return c.writeRemarks(w, r, p)
	}
	row := []string{""}
	for i, n := range r.Nodes {
		if c.Nodes[i].Skipped != "" {
			continue
		}
		row = append(row, n.Name)
		if i > 0 {
			row = append(row, n.Name+"/"+r.Nodes[0].Name)
		}
	}
	fmt.Fprintln(t, strings.Join(row, "\t")+"\t")
	for _, name := range c.metricNames() {
		row = []string{name}
		var first float64
		for i, n := range c.Nodes {
			if n.Skipped != "" {
				continue
			}
			s, ok := n.Metric(name)
			row = append(row, cell(s, ok))
			if i == 0 {
				first = s.Value
			} else {
				row = append(row, ratio(s, ok, first))
			}
		}
		fmt.Fprintln(t, strings.Join(row, "\t")+"\t")
	}
	_ = t.Flush() // into memory
	for line := range strings.Lines(lines.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return c.writeRemarks(w, r, p)
}

// writeRemarks tells what went wrong on each node, and what else there is to say.
func (c CaseResult) writeRemarks(w io.Writer, r *Results, p paint) error {
	for i, n := range c.Nodes {
		for _, e := range n.Errors {
			fmt.Fprintln(w, p.in(red, "  ! "+r.Nodes[i].Name+": "+strings.ReplaceAll(e, "\n", "\n    ")))
		}
		for _, remark := range n.Remarks() {
			fmt.Fprintln(w, p.in(yellow, "  ! "+r.Nodes[i].Name+": "+remark))
		}
	}
	return nil
}

// metricNames lists the metrics of all nodes, in the order of the first node that has them.
func (c CaseResult) metricNames() []string {
	var names []string
	seen := map[string]bool{}
	for _, n := range c.Nodes {
		for _, s := range n.Metrics {
			if !seen[s.Name] {
				seen[s.Name] = true
				names = append(names, s.Name)
			}
		}
	}
	return names
}

func cell(s Series, ok bool) string {
	if !ok {
		return "-"
	}
	return Format(s.Value, s.Unit)
}

func ratio(s Series, ok bool, first float64) string {
	if !ok || first == 0 || s.Unit == Ratio {
		return ""
	}
	return fmt.Sprintf("%.3g", s.Value/first)
}

// Format writes a value in its unit, with three or four significant digits.
func Format(v float64, u Unit) string {
	switch u {
	case Nanoseconds:
		d := time.Duration(v)
		switch {
		case d < time.Microsecond:
			return fmt.Sprintf("%.0f ns", v)
		case d < time.Millisecond:
			return fmt.Sprintf("%.2f µs", v/1e3)
		case d < time.Second:
			return fmt.Sprintf("%.2f ms", v/1e6)
		}
		return fmt.Sprintf("%.2f s", v/1e9)
	case Bytes:
		switch {
		case v >= 1<<20 || v <= -1<<20:
			return fmt.Sprintf("%.1f MiB", v/(1<<20))
		case v >= 1<<10 || v <= -1<<10:
			return fmt.Sprintf("%.2f KiB", v/(1<<10))
		}
		return fmt.Sprintf("%.0f B", v)
	case BytesPerSecond:
		return fmt.Sprintf("%.1f MiB/s", v/(1<<20))
	case BytesPerHour:
		return Format(v, Bytes) + "/h"
	case PerHour:
		return fmt.Sprintf("%.1f/h", v)
	case PerSecond:
		return grouped(v) + "/s"
	case Cores:
		return fmt.Sprintf("%.2f", v)
	case Ratio:
		return fmt.Sprintf("%.3f", v)
	}
	return grouped(v)
}

// grouped writes a whole number with commas between thousands.
func grouped(v float64) string {
	s := strconv.FormatFloat(v, 'f', 0, 64)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

package bench

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
func (r *Results) WriteTable(w io.Writer) error {
	m := r.Machine
	if _, err := fmt.Fprintf(w, "%s, %d cores, %s %s; medians of %d\n", m.CPU, m.Cores, m.OS, m.Kernel, r.Rounds); err != nil {
		return err
	}
	for _, c := range r.Cases {
		if err := r.writeCase(w, c); err != nil {
			return err
		}
	}
	return nil
}

func (r *Results) writeCase(w io.Writer, c CaseResult) error {
	var lines strings.Builder
	t := tabwriter.NewWriter(&lines, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\n%s: %s\n", c.Scenario, c.Label)
	row := []string{""}
	for i, n := range r.Nodes {
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
	for i, n := range c.Nodes {
		for _, e := range n.Errors {
			fmt.Fprintf(w, "  ! %s: %s\n", r.Nodes[i].Name, strings.ReplaceAll(e, "\n", "\n    "))
		}
		if why := n.limited(r.Machine.Cores); why != "" {
			fmt.Fprintf(w, "  ! %s: %s\n", r.Nodes[i].Name, why)
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

// limited says when the generator, not the node, set the rate: it took more CPU than the node, and together they took
// the machine.
func (n NodeResult) limited(cores int) string {
	node, ok := n.Metric("node cores")
	client, _ := n.Metric("client cores")
	if !ok || client.Value < node.Value || client.Value+node.Value < 0.85*float64(cores) {
		return ""
	}
	return fmt.Sprintf("client-limited: the generator took %.2f cores, the node %.2f; read CPU per message, not the rate", client.Value, node.Value)
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
	case "B/s":
		return fmt.Sprintf("%.1f MiB/s", v/(1<<20))
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

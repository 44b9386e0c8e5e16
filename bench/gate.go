package bench

import (
	"fmt"
	"strconv"
	"strings"
)

// costMetric is what gates compare: it is measured inside one run on one machine, so it holds on a noisy one.
const costMetric = "node CPU per delivered"

// faultMetrics must be zero on the first node of a gated run.
var faultMetrics = []string{"lost", "duplicates", "reordered", "foreign"}

// Gate demands that the node Name costs at least Ratio times as much CPU for each delivered message as the first node
// of the same run.
type Gate struct {
	Name  string
	Ratio float64
}

// ParseGate reads NAME:RATIO, "rust:9".
func ParseGate(s string) (Gate, error) {
	name, ratio, ok := strings.Cut(s, ":")
	f, err := strconv.ParseFloat(ratio, 64)
	if !ok || err != nil || name == "" || f <= 0 {
		return Gate{}, fmt.Errorf("gate %q: want NAME:RATIO with the name of a --versus node, e.g. rust:9", s)
	}
	return Gate{Name: name, Ratio: f}, nil
}

// Check returns what the results do not fulfil, one sentence for each case and gate; none: all hold.
func (r *Results) Check(gates []Gate) []string {
	var failed []string
	for i := range r.Cases {
		c := &r.Cases[i]
		for _, name := range faultMetrics {
			if m, ok := c.Nodes[0].Metric(name); ok && m.Value != 0 {
				failed = append(failed, fmt.Sprintf("%s %s: %s: %g %s, want 0", c.Scenario, c.Label, r.Nodes[0].Name, m.Value, name))
			}
		}
		for _, g := range gates {
			if s := r.check(c, g); s != "" {
				failed = append(failed, c.Scenario+" "+c.Label+": "+s)
			}
		}
	}
	return failed
}

func (r *Results) check(c *CaseResult, g Gate) string {
	for k, n := range r.Nodes {
		if n.Name != g.Name || k == 0 {
			continue
		}
		ours, ok := c.Nodes[0].Metric(costMetric)
		theirs, ok2 := c.Nodes[k].Metric(costMetric)
		switch {
		case !ok || !ok2 || ours.Value <= 0:
			return costMetric + " was not measured"
		case theirs.Value/ours.Value < g.Ratio:
			return fmt.Sprintf("%s of %s is %.1f times that of %s, want at least %g", costMetric, g.Name, theirs.Value/ours.Value, r.Nodes[0].Name, g.Ratio)
		}
		return ""
	}
	return fmt.Sprintf("there is no node %s to compare with", g.Name)
}

// Limit demands that a metric of the first node is at most Most in every case that has it. For what does not depend on
// the speed of the machine: losses, bytes, ratios.
type Limit struct {
	Metric string
	Most   float64
}

// ParseLimit reads METRIC=NUMBER, "lost=0".
func ParseLimit(s string) (Limit, error) {
	name, most, ok := strings.Cut(s, "=")
	f, err := strconv.ParseFloat(most, 64)
	if !ok || err != nil || name == "" {
		return Limit{}, fmt.Errorf("limit %q: want METRIC=NUMBER with the name of a metric as printed, e.g. lost=0", s)
	}
	return Limit{Metric: name, Most: f}, nil
}

// CheckLimits returns what the results do not fulfil. A metric that no case has is a failure too.
func (r *Results) CheckLimits(limits []Limit) []string {
	var failed []string
	for _, l := range limits {
		found := false
		for i := range r.Cases {
			c := &r.Cases[i]
			m, ok := c.Nodes[0].Metric(l.Metric)
			found = found || ok
			if ok && m.Value > l.Most {
				failed = append(failed, fmt.Sprintf("%s %s: %s of %s is %g, want at most %g", c.Scenario, c.Label, l.Metric, r.Nodes[0].Name, m.Value, l.Most))
			}
		}
		if !found {
			failed = append(failed, fmt.Sprintf("no case measures %q", l.Metric))
		}
	}
	return failed
}

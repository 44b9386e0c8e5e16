package report

import (
	"math"
	"slices"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// chart is one kind of plot: what it shows of a round. A round without points has no line.
type chart struct {
	title string
	x, y  axis
	of    func(result.Round) []point
}

var (
	elapsed = axis{Label: "since traffic began", Unit: result.Nanoseconds}
	delay   = axis{Unit: result.Nanoseconds, Scale: log10}
	plain   = axis{Unit: result.Count}
	share   = axis{Label: "percentile", Scale: tail, Ticks: []float64{0, 50, 90, 99, 99.9, 99.99, 99.999}}
)

// charts are all of them, in the order of a page.
var charts = []chart{
	overTime("p50 of delay over time", delay, func(s load.Sample) float64 { return s.P50 }),
	overTime("p99 of delay over time", delay, func(s load.Sample) float64 { return s.P99 }),
	{"delay by percentile", share, delay, func(round result.Round) (at []point) {
		for _, q := range round.Curve {
			if q.Percentile < 100 {
				at = append(at, point{q.Percentile, q.Value})
			}
		}
		return at
	}},
	overTime("delivered a second", plain, func(s load.Sample) float64 { return s.Delivered }),
	overTime("processors the node uses", plain, func(s load.Sample) float64 { return s.NodeCPU }),
	overTime("resident memory of the node, MiB", plain, func(s load.Sample) float64 { return float64(s.RSS) / (1 << 20) }),
}

// overTime shows a figure of samples, unless it is 0 in all of them.
func overTime(title string, y axis, value func(load.Sample) float64) chart {
	return chart{title, elapsed, y, func(round result.Round) (at []point) {
		for _, s := range inTurn(round.Samples) {
			at = append(at, point{s.At * 1e9, value(s)})
		}
		if !slices.ContainsFunc(at, func(q point) bool { return q.Y != 0 }) {
			return nil
		}
		return at
	}}
}

// plots draws all charts that have something to show of a case.
func plots(r *result.Results, c *result.CaseResult) (all []plot) {
	for _, ch := range charts {
		if p := ch.draw(r, c); len(p.Lines) > 0 {
			all = append(all, p)
		}
	}
	return all
}

// draw makes the plot of a case: the last round of each node in full, the others faint.
func (ch chart) draw(r *result.Results, c *result.CaseResult) plot {
	p := plot{Title: ch.title, X: ch.x, Y: ch.y}
	for k, n := range c.Nodes {
		for i, round := range n.Rounds {
			last := i == len(n.Rounds)-1
			at := slices.DeleteFunc(ch.of(round), func(q point) bool { return !ch.x.Scale.fits(q.X) || !ch.y.Scale.fits(q.Y) })
			if len(at) > 0 {
				p.Lines = append(p.Lines, line{Name: r.Nodes[k].Name, Color: k, At: at, Faint: !last})
			}
			if k == 0 && last && ch.x.Scale == linear {
				p.Breaks = phases(inTurn(round.Samples))
			}
		}
	}
	return p
}

// inTurn puts the parts of a measurement that had traffic of their own, each with a time from 0, behind each other.
func inTurn(samples []load.Sample) []load.Sample {
	all := slices.Clone(samples)
	begin := 0.0
	for i := range all {
		if i > 0 && samples[i].At < samples[i-1].At {
			begin = all[i-1].At
		}
		all[i].At = math.Min(all[i].At+begin, extreme/1e9)
	}
	return all
}

// phases are the times at which samples change their phase, with the new one's name; what is between phases has none,
// and is called as what comes before them.
func phases(samples []load.Sample) (at []mark) {
	for i := 1; i < len(samples); i++ {
		if samples[i].Phase == samples[i-1].Phase {
			continue
		}
		word := samples[i].Phase
		if word == samples[0].Phase {
			word = ""
		}
		at = append(at, mark{samples[i-1].At * 1e9, word})
	}
	return at
}

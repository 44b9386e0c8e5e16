package scenario

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

const (
	searchFrom = 1000 // messages a second, unless a total rate is given
	searchMost = 1e7
	searchNear = 1.05 // the ratio of the two ends of the bracket that is good enough

	// What is missing of the offered messages is a hiccup up to this share; a generator that is later than this, and than a
	// quarter of the bound, is the limit itself.
	searchShort = 0.02
	searchLate  = time.Millisecond
)

// probe is what was seen at one rate.
type probe struct {
	rate    int
	p99     time.Duration // of nothing that came: very long
	holds   bool
	late    time.Duration // p99 of the generator
	samples []load.Sample
	delays  string // their histogram
	ms      []result.Metric
}

// search looks for the highest rate at which the p99 keeps a bound and all that was asked for arrives: upwards by doubling,
// then between what held and what did not. Each rate gets a fresh node.
func search(ctx context.Context, g *load.Rig, p result.Params) ([]result.Metric, error) {
	var best, over probe
	rate := cmp.Or(p.TotalRate, searchFrom)
	near := func() bool { return float64(over.rate-best.rate) <= max(1, (searchNear-1)*float64(best.rate)) }
	for rate >= 1 && rate <= searchMost && (over.rate == 0 || best.rate == 0 || !near()) {
		at, err := probed(ctx, g, p, rate)
		if err != nil {
			return found(g, p, best, over), fmt.Errorf("at %d/s: %w", rate, err)
		}
		if at.holds {
			best = at
		} else {
			over = at
		}
		switch {
		case over.rate == 0:
			rate *= 2
		case best.rate == 0:
			rate /= 2
		default:
			rate = (best.rate + over.rate) / 2
		}
	}
	return found(g, p, best, over), nil
}

// probed measures at one rate.
func probed(ctx context.Context, g *load.Rig, p result.Params, rate int) (probe, error) {
	if err := g.Restart(ctx); err != nil {
		return probe{}, err
	}
	g.Samples, g.Histogram = nil, ""
	p.TotalRate = rate
	t := load.NewTraffic(g, p.Case, load.Phase{Length: p.Duration})
	if _, _, err := (cells{n: p.Pairs, members: 1, senders: 1}).open(ctx, t); err != nil {
		return probe{}, err
	}
	err := t.Run(ctx)
	delays, s := t.Delays(0), t.Last()
	at := probe{rate: rate, p99: time.Duration(delays.Quantile(99)), late: time.Duration(t.Lag().Quantile(99)), ms: whole(t),
		samples: g.Samples, delays: g.Histogram}
	offered := float64(s.To.Offered - s.From.Offered)
	underway := float64(rate)*p.P99Bound.Seconds() + 1 // as many may be at the end
	at.holds = delays.Count() > 0 && at.p99 <= p.P99Bound && s.Delivered() >= (1-searchShort)*offered-underway && t.Verdict.Lost == 0
	return at, err
}

// found tells of the two ends of a search, of which one may be missing.
func found(g *load.Rig, p result.Params, best, over probe) []result.Metric {
	if best.ms == nil {
		best.ms, best.p99 = over.ms, over.p99
	}
	g.Samples, g.Histogram = best.samples, best.delays
	who, limited := "the node", 0.0
	if over.late > max(searchLate, p.P99Bound/4) {
		who, limited = fmt.Sprintf("the generator, which sent %v late (p99),", over.late.Round(time.Microsecond)), 1
	}
	ms := []result.Metric{perSecond("highest rate", float64(best.rate)),
		{Name: result.LimitMetric, Value: limited, Better: result.Lower}}
	if over.rate == 0 {
		g.Notes = append(g.Notes, fmt.Sprintf("%d/s hold a p99 of %v, and higher rates were not tried", best.rate, p.P99Bound))
		return append(ms, best.ms...)
	}
	g.Notes = append(g.Notes, fmt.Sprintf("%d/s hold a p99 of %v (%v), %d/s do not (%v): %s is the limit", best.rate, p.P99Bound,
		best.p99.Round(time.Microsecond), over.rate, over.p99.Round(time.Microsecond), who))
	ms = append(ms, result.Metric{Name: "rate over the bound", Unit: result.PerSecond, Value: float64(over.rate)},
		nanos("p99 at the highest rate", float64(best.p99)),
		result.Metric{Name: "p99 over the bound", Unit: result.Nanoseconds, Value: float64(over.p99)})
	return append(ms, best.ms...)
}

package scenario

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/usage"
)

// churn: clients come, subscribe, get a message, and go, in order or abruptly, beside steady traffic that shall not
// notice. What they leave behind in the node is measured.
func churn(ctx context.Context, g *load.Rig, p result.Params) ([]result.Metric, error) {
	w := newCrowd(g)
	t := load.NewTraffic(g, p.Case, load.Phase{Word: "alone", Prefix: "alone: ", Length: p.Duration}, w.visits(ctx, "with churn", p))
	if _, _, err := (cells{n: p.Pairs, members: 1, senders: 1}).open(ctx, t); err != nil {
		return nil, err
	}
	err := t.Run(ctx)
	ms := whole(t)
	if len(t.Spans) > 1 {
		ms = append(ms, w.visited(t.Last())...)
	}
	ms = append(ms, compared("delivered, with/alone", value(ms, "delivered"), value(ms, "alone: delivered"), result.Higher)...)
	if err == nil {
		ms = append(ms, leftover(ctx, g, t.Last().From)...)
	}
	return ms, err
}

// leftover compares the node now, when all guests have gone, with what it was at the mark before they came.
func leftover(ctx context.Context, g *load.Rig, before load.Mark) []result.Metric {
	if !before.Known {
		return nil
	}
	left, known := 0, true
	_ = process.Until(ctx, 100*time.Millisecond, 20*time.Second, func() bool { // until the node has noticed
		var u usage.Usage
		u, known = g.Usage()
		left = u.Files - before.Node.Files
		return !known || left <= 0
	})
	if !known {
		return nil
	}
	ms := []result.Metric{fault("files growth", max(0, left))}
	if rss, ok := g.Settled(ctx); ok {
		ms = append(ms, bytes("RSS growth", float64(rss-before.Node.RSS)))
	}
	return ms
}

// soak: everything at once, for long: pairs, a group, and clients that come and go. What matters is whether memory,
// descriptors, threads and delays grow. Goroutines, or a runtime's tasks, are not seen from outside: where they block
// they show as threads, else as memory.
func soak(ctx context.Context, g *load.Rig, p result.Params) ([]result.Metric, error) {
	w := newCrowd(g)
	t := load.NewTraffic(g, p.Case, w.visits(ctx, "", p))
	if _, _, err := (cells{n: p.Pairs, members: 1, senders: 1}).open(ctx, t); err != nil {
		return nil, err
	}
	if _, _, err := (cells{n: 1, members: p.Fanout, senders: 1, all: true}).open(ctx, t); err != nil {
		return nil, err
	}
	err := t.Run(ctx)
	ms := whole(t)
	if !t.Cut {
		ms = append(ms, w.visited(t.Spans[0])...)
	}
	return append(ms, growth(g.Samples)...), err
}

// leastSlope is how much of a course shows what an hour would bring: the half of two minutes. What seconds gain says
// nothing of it.
const leastSlope = 55 * time.Second

// growth judges the second half of a course: what still grows there is no warming up. Of a process that is not known it
// says nothing.
func growth(all []load.Sample) []result.Metric {
	half := slices.DeleteFunc(slices.Clone(all[len(all)/2:]), func(s load.Sample) bool { return s.Phase != load.Measured })
	if len(half) < 4 {
		return nil
	}
	var at []float64
	early, late := load.NewInterval(), load.NewInterval()
	known := true
	for i, s := range half {
		known = known && s.RSS > 0
		at = append(at, s.At/3600)
		if i < len(half)/2 {
			early.Record(int64(s.P99))
		} else {
			late.Record(int64(s.P99))
		}
	}
	var ms []result.Metric
	hours := at[len(at)-1] - at[0]
	grows := func(what string, unit result.Unit, of func(load.Sample) float64) (gained float64) {
		var v []float64
		for _, s := range half {
			v = append(v, of(s))
		}
		slope := result.Slope(at, v)
		if hours*3600 >= leastSlope.Seconds() {
			ms = append(ms, result.Metric{Name: what + " slope", Unit: unit, Value: slope, Better: result.Lower, Worst: true})
		}
		return slope * hours
	}
	if known {
		share := grows("RSS", result.BytesPerHour, func(s load.Sample) float64 { return float64(s.RSS) }) / float64(half[0].RSS)
		files := grows("files", result.PerHour, func(s load.Sample) float64 { return float64(s.Files) })
		threads := grows("threads", result.PerHour, func(s load.Sample) float64 { return float64(s.Threads) })
		ms = append(ms, result.Metric{Name: "RSS growth, share", Unit: result.Ratio, Value: share, Better: result.Lower, Worst: true},
			fault("files gained", int(math.Round(files))), fault("threads gained", int(math.Round(threads))))
	}
	return append(ms, compared("p99 late/early", float64(late.Quantile(50)), float64(early.Quantile(50)), result.Lower)...)
}

package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// soak: everything at once, for long: pairs, a group, and clients that come and go. What matters is whether memory,
// descriptors, threads and delays grow. Goroutines, or a runtime's tasks, are not seen from outside: where they block they
// show as threads, else as memory.
func soak() kind {
	return kind{
		name: "soak",
		uses: []string{"pairs", "fanout", "churn-rate", "size", "identity", "identity-size", "inflight", "rate", "duration", "warmup"},
		label: func(p result.Params) string {
			return fmt.Sprintf("%d→%d and 1→%d, %s, %s, %d clients/s, for %v", p.Pairs, p.Pairs, p.Fanout, p.Message(), p.Pace(), p.ChurnRate, p.Duration)
		},
		run: runSoak,
	}
}

func runSoak(ctx context.Context, g *Rig, p result.Params) ([]result.Metric, error) {
	t := newTraffic(g, p)
	if err := t.pairs(ctx); err != nil {
		return nil, err
	}
	if err := t.group(ctx, p.Fanout, 1); err != nil {
		return nil, err
	}
	t.start(ctx)
	from, to, err := t.warm(ctx)
	var visits []result.Metric
	if err == nil {
		v := t.visit(ctx, p.ChurnRate)
		from, to, err = t.phase(ctx, 0, p.Duration)
		v.stop()
		v.tell(g)
		visits = v.metrics(time.Duration(to.at - from.at))
	}
	judged, late := t.finish(context.WithoutCancel(ctx))
	if err == nil {
		err = late
	}
	ms := append(rates("", from, to), delayMetrics("", t.delays(0))...)
	ms = append(append(append(ms, judged.metrics()...), t.lag()...), memory(to)...)
	ms = append(ms, visits...)
	return append(ms, growth(g.samples)...), err
}

// growth judges the second half of a course: what still grows there is no warming up. Of a process that is not known it
// says nothing.
func growth(all []result.Sample) []result.Metric {
	var half []result.Sample
	for _, s := range all[len(all)/2:] {
		if s.Phase == measured {
			half = append(half, s)
		}
	}
	if len(half) < 4 {
		return nil
	}
	var at, rss, files, threads []float64
	early, late := load.NewInterval(), load.NewInterval()
	known := true
	for i, s := range half {
		known = known && s.RSS > 0
		at = append(at, s.At/3600)
		rss = append(rss, float64(s.RSS))
		files = append(files, float64(s.Files))
		threads = append(threads, float64(s.Threads))
		if i < len(half)/2 {
			early.Record(int64(s.P99))
		} else {
			late.Record(int64(s.P99))
		}
	}
	var ms []result.Metric
	if known {
		hours := at[len(at)-1] - at[0]
		ms = []result.Metric{
			{Name: "RSS slope", Unit: result.BytesPerHour, Value: result.Slope(at, rss), Better: result.Lower, Worst: true},
			{Name: "files slope", Unit: result.PerHour, Value: result.Slope(at, files), Better: result.Lower, Worst: true},
			{Name: "threads slope", Unit: result.PerHour, Value: result.Slope(at, threads), Better: result.Lower, Worst: true},
			{Name: "RSS growth, share", Unit: result.Ratio, Value: result.Slope(at, rss) * hours / rss[0], Better: result.Lower, Worst: true},
		}
	}
	if e := early.Quantile(50); e > 0 {
		ms = append(ms, result.Metric{Name: "p99 late/early", Unit: result.Ratio, Value: float64(late.Quantile(50)) / float64(e), Better: result.Lower})
	}
	return ms
}

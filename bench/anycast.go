package bench

import (
	"context"
	"fmt"
	"slices"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// anycast: one name held by several connections; each message is for any one of them. A node shall spread them.
func anycast() kind {
	return kind{
		name: "anycast",
		uses: []string{"instances", "size", "identity", "identity-size", "inflight", "rate", "duration", "warmup"},
		label: func(p result.Params) string {
			return fmt.Sprintf("1→any of %d %s, %s", p.Instances, p.Message(), p.Pace())
		},
		run: runAnycast,
	}
}

func runAnycast(ctx context.Context, g *Rig, p result.Params) ([]result.Metric, error) {
	t := newTraffic(g, p)
	name := g.Name("instance", 0)
	instances := load.NewInstances(p.Instances, 0, 1, t.phases)
	for _, r := range instances {
		if err := t.subscribe(ctx, r, name); err != nil {
			return nil, err
		}
	}
	seen := instances[0].From(0)
	s, err := t.sender(ctx, false, []load.Address{name}, seen)
	if err != nil {
		return nil, err
	}
	t.flows = append(t.flows, flow{from: s, seen: seen, any: true})
	ms, err := t.once(ctx)
	return append(ms, balance(instances)...), err
}

// balance compares what each of several receivers got, over the whole case: 1 is even.
func balance(rs []*load.Receiver) []result.Metric {
	var counts []float64
	sum := 0.0
	for _, r := range rs {
		n, _ := r.Total()
		counts = append(counts, float64(n))
		sum += float64(n)
	}
	if sum == 0 {
		return nil
	}
	mean := sum / float64(len(counts))
	return []result.Metric{
		{Name: "spread max/mean", Unit: result.Ratio, Value: slices.Max(counts) / mean, Better: result.Lower, Worst: true},
		{Name: "spread min/mean", Unit: result.Ratio, Value: slices.Min(counts) / mean, Better: result.Higher, Worst: true},
	}
}

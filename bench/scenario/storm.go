package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// idle: many negotiated connections that do nothing, and what they do to two others.
func idle(ctx context.Context, g *load.Rig, p result.Params) ([]result.Metric, error) {
	alone, err := beside(ctx, g, p, "alone: ")
	if err != nil {
		return alone, err
	}
	if err := g.Restart(ctx); err != nil {
		return alone, err
	}
	before, _ := g.Settled(ctx)
	begin := time.Now()
	cpu, _ := g.Usage()
	setup, cancel := context.WithTimeout(ctx, p.SetupLimit)
	defer cancel()
	opened, err := together(p.Conns, companions, func(int) error {
		_, err := g.Dial(setup, load.Subscribing, load.DialOptions{ReadBuffer: 2 << 10})
		return err
	})
	took := time.Since(begin)
	after, known := g.Usage()
	ms := []result.Metric{
		{Name: "connections", Value: float64(opened), Better: result.Higher, Worst: true},
		{Name: "connects", Unit: result.PerSecond, Value: float64(opened) / took.Seconds(), Better: result.Higher},
	}
	if rss, ok := g.Settled(ctx); ok && known && opened > 0 {
		ms = append(ms,
			result.Metric{Name: "node RSS per idle connection", Unit: result.Bytes, Value: float64(rss-before) / float64(opened), Better: result.Lower},
			nanos("node CPU per connect", float64(after.CPU-cpu.CPU)/float64(opened)))
	}
	if err != nil {
		return ms, errors.Join(fmt.Errorf("%d of %d connections", opened, p.Conns), err)
	}
	with, err := beside(ctx, g, p, "with idle: ")
	ms = slices.Concat(ms, alone, with)
	for _, name := range []string{"delivered", result.CostMetric} {
		ms = append(ms, compared(name+", with/alone", value(with, "with idle: "+name), value(alone, "alone: "+name), result.Neither)...)
	}
	return ms, err
}

// beside measures one pair.
func beside(ctx context.Context, g *load.Rig, p result.Params, prefix string) ([]result.Metric, error) {
	ms, err := once(func(result.Params) cells { return cells{n: 1, members: 1, senders: 1} })(ctx, g, p)
	keep := []string{"delivered", result.OfferedMetric, "sent", result.CostMetric, "client CPU per delivered", "p50", "p99", "lost"}
	ms = slices.DeleteFunc(ms, func(m result.Metric) bool { return !slices.Contains(keep, m.Name) })
	for i := range ms {
		ms[i].Name = prefix + ms[i].Name
	}
	return ms, err
}

const callRound = 3 // messages to each client after the storm

// storm: all clients lose their sockets at once and come back at once, as after a network's hiccup. Afterwards each
// gets what is meant for it exactly once: names that died with the old sockets get nothing.
func storm(ctx context.Context, g *load.Rig, p result.Params) ([]result.Metric, error) {
	calm, w := newCrowd(g), newCrowd(g)
	all, ms, err := calm.come(ctx, p.Conns, companions, p.SetupLimit, "connected")
	defer func() { leave(all) }()
	var first, second called
	if err == nil {
		first, err = calm.call(ctx, all, callRound)
	}
	if err != nil {
		return ms, fmt.Errorf("before the storm: %w", err)
	}
	before, _ := g.Usage()
	leave(all)
	all, back, err := w.come(ctx, p.Conns, p.Conns, p.SetupLimit, "back")
	ms = slices.Concat(ms, back, w.setups())
	if err == nil {
		second, err = w.call(ctx, all, callRound)
		_ = load.Sleep(ctx, ghostTime) // a ghost's copy has gone the same way at the same time
		second.twice = heard(all, callRound).twice
	}
	ms = append(ms, result.Metric{Name: "lost", Value: float64(first.missed + second.missed), Better: result.Lower, Worst: true},
		result.Metric{Name: "duplicates", Value: float64(first.twice + second.twice), Better: result.Lower, Worst: true})
	if err != nil {
		return ms, fmt.Errorf("after the storm: %w", err)
	}
	ms = append(ms, result.Metric{Name: "client CPU per comeback", Unit: result.Nanoseconds, Value: float64(w.client) / float64(p.Conns)})
	if after, known := g.Usage(); known && w.node > 0 {
		ms = append(ms, nanos("node CPU per comeback", float64(w.node)/float64(p.Conns)),
			result.Metric{Name: "node RSS peak", Unit: result.Bytes, Value: float64(after.Peak), Better: result.Lower})
		if rss, ok := g.Settled(ctx); ok {
			ms = append(ms, result.Metric{Name: "RSS growth", Unit: result.Bytes, Value: float64(rss - before.RSS), Better: result.Lower})
		}
	}
	return ms, nil
}

package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// idle: many negotiated connections that do nothing, and what they do to two others.
func idle() kind {
	return kind{
		name: "idle",
		uses: []string{"conns", "size", "identity", "inflight", "rate", "duration", "warmup", "setup-limit"},
		label: func(p result.Params) string {
			return fmt.Sprintf("%d idle, beside 1→1 %s, %s", p.Conns, p.Message(), p.Pace())
		},
		run: runIdle,
	}
}

const dialers = 32 // connections being set up at a time

func runIdle(ctx context.Context, g *Rig, p result.Params) ([]result.Metric, error) {
	alone, err := beside(ctx, g, p, "alone: ")
	if err != nil {
		return alone, err
	}
	if _, err := g.Restart(ctx); err != nil {
		return alone, err
	}
	before, _ := g.settled(ctx)
	begin := time.Now()
	cpu, _ := g.Usage()
	opened, err := g.dialMany(ctx, p.Conns, p.SetupLimit)
	took := time.Since(begin)
	after, known := g.Usage()
	ms := []result.Metric{
		{Name: "connections", Value: float64(opened), Better: result.Higher, Worst: true},
		{Name: "connects", Unit: result.PerSecond, Value: float64(opened) / took.Seconds(), Better: result.Higher},
	}
	if rss, ok := g.settled(ctx); ok && known && opened > 0 {
		ms = append(ms,
			result.Metric{Name: "node RSS per idle connection", Unit: result.Bytes, Value: float64(rss-before) / float64(opened), Better: result.Lower},
			result.Metric{Name: "node CPU per connect", Unit: result.Nanoseconds, Value: float64(after.CPU-cpu.CPU) / float64(opened), Better: result.Lower},
		)
	}
	if err != nil {
		return ms, err
	}
	with, err := beside(ctx, g, p, "with idle: ")
	ms = append(append(ms, alone...), with...)
	for _, name := range []string{"delivered", "node CPU per delivered"} {
		a, b := value(alone, "alone: "+name), value(with, "with idle: "+name)
		if a > 0 {
			ms = append(ms, result.Metric{Name: name + ", with/alone", Unit: result.Ratio, Value: b / a})
		}
	}
	return ms, err
}

// beside measures one pair.
func beside(ctx context.Context, g *Rig, p result.Params, prefix string) ([]result.Metric, error) {
	t := newTraffic(g, p)
	p.Pairs = 1
	if err := t.pairs(ctx); err != nil {
		return nil, err
	}
	ms, err := t.once(ctx)
	keep := []string{"delivered", result.OfferedMetric, "sent", "node CPU per delivered", "client CPU per delivered", "p50", "p99", "lost"}
	ms = slices.DeleteFunc(ms, func(m result.Metric) bool { return !slices.Contains(keep, m.Name) })
	for i := range ms {
		ms[i].Name = prefix + ms[i].Name
	}
	return ms, err
}

func value(ms []result.Metric, name string) float64 {
	for _, m := range ms {
		if m.Name == name {
			return m.Value
		}
	}
	return 0
}

// dialMany opens n idle connections, some at a time. It returns how many it got within limit.
func (g *Rig) dialMany(ctx context.Context, n int, limit time.Duration) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var (
		mu     sync.Mutex
		group  sync.WaitGroup
		failed error
		opened int
		left   = n
	)
	for range dialers {
		group.Go(func() {
			for {
				mu.Lock()
				stop := left <= 0 || failed != nil
				left--
				mu.Unlock()
				if stop {
					return
				}
				c, err := g.Target.Dialer.Dial(ctx, g.addr(subscribing), load.DialOptions{ReadBuffer: 2 << 10})
				mu.Lock()
				if err != nil {
					failed = err
				} else {
					g.conns = append(g.conns, c)
					opened++
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if failed != nil {
		failed = errors.Join(fmt.Errorf("%d of %d connections", opened, n), failed)
	}
	return opened, failed
}

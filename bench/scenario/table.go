package scenario

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

const (
	spread    = 1000 // destinations that the traffic uses, spread evenly over the table
	churnSpan = 4096 // names that come and go beside the traffic
)

// table: many subscribed names, what they cost, and whether publishing to them slows down.
func table(ctx context.Context, g *load.Rig, p result.Params) ([]result.Metric, error) {
	if p.Holders < 1 || p.Names < p.Holders*spread {
		return nil, fmt.Errorf("%d names on %d connections: want at least %d each", p.Names, p.Holders, spread)
	}
	small := p
	small.Names = p.Holders * spread
	base, err := tableTraffic(ctx, g, small, false)
	if err != nil {
		return base, err
	}
	if err := g.Restart(ctx); err != nil {
		return base, err
	}
	ms, err := tableTraffic(ctx, g, p, true)
	full, few := value(ms, result.CostMetric), value(base, "small table: "+result.CostMetric)
	return slices.Concat(ms, base, compared(result.CostMetric+", full/small table", full, few, result.Lower)), err
}

// held is name i of holder h. All share the first two components, as the agents of one organisation do.
func held(g *load.Rig, h, i int) load.Address {
	return g.Address("agent-"+strconv.Itoa(h)+"-"+strconv.Itoa(i), uint64(i+1))
}

// tableTraffic fills the table, then measures traffic to it at rest, and to the full one once more while another connection
// subscribes and unsubscribes.
func tableTraffic(ctx context.Context, g *load.Rig, p result.Params, full bool) ([]result.Metric, error) {
	phases := []load.Phase{{Prefix: "small table: ", Length: p.Duration}}
	if full {
		phases = []load.Phase{{Length: p.Duration}, {Prefix: "while subscribing: ", Length: p.Duration}}
	}
	t := load.NewTraffic(g, p.Case, phases...)
	var holders []load.Conn
	for h := range p.Holders {
		r := load.NewReceiver(uint32(h), 1, len(t.Phases))
		c, err := t.Join(ctx, r)
		if err != nil {
			return nil, err
		}
		var to []load.Address
		for i := range spread {
			to = append(to, held(g, h, i*(p.Names/p.Holders/spread)))
		}
		if _, err := t.Feed(ctx, false, to, r.From(uint32(h))); err != nil {
			return nil, err
		}
		holders = append(holders, c)
	}
	filled, err := fill(ctx, g, p, holders)
	switch {
	case err != nil:
		return filled, err
	case !full:
		err = t.Run(ctx)
		return spans(t), err
	}
	c, err := g.Dial(ctx, load.Publishing, load.DialOptions{})
	if err != nil {
		return filled, err
	}
	var stop func() int
	names := 0
	t.Phases[1].Begin, t.Phases[1].End = func() { stop = churnNames(ctx, g, c) }, func() { names = stop() }
	err = t.Run(ctx)
	ms := slices.Concat(filled, whole(t))
	if len(t.Spans) > 1 {
		ms = append(ms, perSecond("while subscribing: names", float64(names)/t.Last().Seconds()))
	}
	return ms, err
}

// fill subscribes all names, a tenth at a time.
func fill(ctx context.Context, g *load.Rig, p result.Params, holders []load.Conn) ([]result.Metric, error) {
	ctx, cancel := context.WithTimeout(ctx, p.SetupLimit)
	defer cancel()
	const steps = 10
	each := p.Names / len(holders)
	before, _ := g.Settled(ctx)
	cpu, _ := g.Usage()
	done, took, all := 0, [steps]time.Duration{}, time.Duration(0)
	for k := range steps {
		from, to := each*k/steps, each*(k+1)/steps
		at := time.Now()
		for h, c := range holders {
			n, err := c.Subscribe(ctx, to-from, 0, func(i int) load.Address { return held(g, h, from+i) })
			if done += n; err != nil {
				return []result.Metric{reached("names", done)},
					fmt.Errorf("%d names confirmed of %d (--setup-limit %v): %w", done, p.Names, p.SetupLimit, err)
			}
		}
		took[k] = time.Since(at)
		all += took[k]
	}
	after, known := g.Usage()
	tenth := float64(done) / steps
	ms := []result.Metric{reached("names", done), nanos("time per subscribe", float64(all)/float64(done)),
		nanos("time per subscribe, first tenth", float64(took[0])/tenth), nanos("time per subscribe, last tenth", float64(took[steps-1])/tenth)}
	if rss, ok := g.Settled(ctx); ok && known {
		ms = append(ms, nanos("node CPU per subscribe", float64(after.CPU-cpu.CPU)/float64(done)),
			bytes("node RSS per name", float64(rss-before)/float64(done)))
	}
	return ms, nil
}

// churnNames subscribes and unsubscribes names on c, as fast as the node confirms them, until the returned function is
// called; that returns how many requests were confirmed.
func churnNames(ctx context.Context, g *load.Rig, c load.Conn) func() int {
	ctx, cancel := context.WithCancel(ctx)
	total := make(chan int, 1)
	at := func(i int) load.Address { return g.Address("guest-"+strconv.Itoa(i), uint64(i+1)) }
	go func() {
		sum := 0
		ask, next := c.Subscribe, c.Unsubscribe
		for ctx.Err() == nil {
			n, err := ask(ctx, churnSpan, 64, at)
			if sum += n; err != nil {
				break
			}
			ask, next = next, ask
		}
		total <- sum
	}()
	return func() int { cancel(); return <-total }
}

package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// table: many subscribed names, what they cost, and whether publishing to them slows down.
func table() kind {
	return kind{
		name: "table",
		uses: []string{"names", "holders", "size", "identity", "inflight", "duration", "warmup", "setup-limit"},
		label: func(p result.Params) string {
			return fmt.Sprintf("%d names on %d connections, %s, %s", p.Names, p.Holders, p.Message(), p.Pace())
		},
		run: runTable,
	}
}

const (
	spread    = 1000 // destinations that the traffic uses, spread evenly over the table
	churnSpan = 4096 // names that come and go beside the traffic
)

func runTable(ctx context.Context, g *Rig, p result.Params) ([]result.Metric, error) {
	if p.Holders < 1 || p.Names < p.Holders*spread {
		return nil, fmt.Errorf("%d names on %d connections: want at least %d each", p.Names, p.Holders, spread)
	}
	small := p
	small.Names = p.Holders * spread
	base, err := tableTraffic(ctx, g, small, "small table: ", false)
	if err != nil {
		return base, err
	}
	if _, err := g.Restart(ctx); err != nil {
		return base, err
	}
	ms, err := tableTraffic(ctx, g, p, "", true)
	ms = append(ms, base...)
	a, b := value(base, "small table: node CPU per delivered"), value(ms, "node CPU per delivered")
	if a > 0 && b > 0 {
		ms = append(ms, result.Metric{Name: "node CPU per delivered, full/small table", Unit: result.Ratio, Value: b / a, Better: result.Lower})
	}
	return ms, err
}

// holder names: name i of holder h. All share the first two components, as the agents of one organisation do.
func (t *traffic) held(h int) func(int) load.Address {
	return func(i int) load.Address {
		return load.Address{Parts: [3]string{"bench", t.rig.run, "agent-" + strconv.Itoa(h) + "-" + strconv.Itoa(i)}, ID: uint64(i + 1)}
	}
}

// tableTraffic fills the table, then measures traffic to it, at rest and with churn beside it.
func tableTraffic(ctx context.Context, g *Rig, p result.Params, prefix string, full bool) ([]result.Metric, error) {
	t := newTraffic(g, p)
	t.phases = 2
	var holders []load.Conn
	for h := range p.Holders {
		r, c, err := t.receiver(ctx, uint32(h), 1)
		if err != nil {
			return nil, err
		}
		var to []load.Address
		for i := range spread {
			to = append(to, t.held(h)(i*(p.Names/p.Holders/spread)))
		}
		s, err := t.sender(ctx, false, to, r.From(uint32(h)))
		if err != nil {
			return nil, err
		}
		t.flows = append(t.flows, flow{from: s, seen: r.From(uint32(h))})
		holders = append(holders, c)
	}
	ms, err := t.fill(ctx, holders)
	if !full {
		ms = nil
	}
	if err != nil {
		return ms, err
	}
	traffic, err := t.churned(ctx, prefix, full)
	return append(ms, traffic...), err
}

// fill subscribes all names, a tenth at a time.
func (t *traffic) fill(ctx context.Context, holders []load.Conn) ([]result.Metric, error) {
	ctx, cancel := context.WithTimeout(ctx, t.p.SetupLimit)
	defer cancel()
	const steps = 10
	each := t.p.Names / len(holders)
	before, _ := t.rig.settled(ctx)
	cpu, _ := t.rig.Usage()
	begin := time.Now()
	done, took := 0, [steps]time.Duration{}
	for k := range steps {
		from, to := each*k/steps, each*(k+1)/steps
		at := time.Now()
		for h, c := range holders {
			n, err := c.Subscribe(ctx, to-from, 0, func(i int) load.Address { return t.held(h)(from + i) })
			if done += n; err != nil {
				if errors.Is(err, context.DeadlineExceeded) {
					err = fmt.Errorf("%d names confirmed in %v: %w", done, t.p.SetupLimit, err)
				}
				return []result.Metric{{Name: "names", Value: float64(done), Better: result.Higher, Worst: true}}, err
			}
		}
		took[k] = time.Since(at)
	}
	all := time.Since(begin)
	after, known := t.rig.Usage()
	tenth := float64(done) / steps
	ms := []result.Metric{
		{Name: "names", Value: float64(done), Better: result.Higher, Worst: true},
		{Name: "time per subscribe", Unit: result.Nanoseconds, Value: float64(all) / float64(done), Better: result.Lower},
		{Name: "time per subscribe, first tenth", Unit: result.Nanoseconds, Value: float64(took[0]) / tenth, Better: result.Lower},
		{Name: "time per subscribe, last tenth", Unit: result.Nanoseconds, Value: float64(took[steps-1]) / tenth, Better: result.Lower},
	}
	if rss, ok := t.rig.settled(ctx); ok && known {
		ms = append(ms,
			result.Metric{Name: "node CPU per subscribe", Unit: result.Nanoseconds, Value: float64(after.CPU-cpu.CPU) / float64(done), Better: result.Lower},
			result.Metric{Name: "node RSS per name", Unit: result.Bytes, Value: float64(rss-before) / float64(done), Better: result.Lower},
		)
	}
	return ms, nil
}

// churned measures the traffic at rest, and if asked once more while another connection subscribes and unsubscribes.
func (t *traffic) churned(ctx context.Context, prefix string, churn bool) ([]result.Metric, error) {
	var c load.Conn
	if churn {
		var err error
		if c, err = t.rig.Dial(ctx, publishing, load.DialOptions{}); err != nil {
			return nil, err
		}
	}
	t.start(ctx)
	from, to, err := t.warm(ctx)
	if err == nil {
		from, to, err = t.phase(ctx, 0, t.p.Duration)
	}
	ms := rates(prefix, from, to)
	var names int
	if churn && err == nil {
		stop := t.churn(ctx, c)
		from, to, err = t.phase(ctx, 1, t.p.Duration)
		names = stop()
		ms = append(ms, rates("while subscribing: ", from, to)...)
		ms = append(ms, result.Metric{Name: "while subscribing: names", Unit: result.PerSecond, Better: result.Higher,
			Value: float64(names) / time.Duration(to.at-from.at).Seconds()})
	}
	v, late := t.finish(context.WithoutCancel(ctx))
	if err == nil {
		err = late
	}
	ms = append(ms, delayMetrics(prefix, t.delays(0))...)
	ms = append(ms, delayMetrics("while subscribing: ", t.delays(1))...)
	if churn {
		ms = append(append(ms, v.metrics()...), memory(to)...)
	}
	return ms, err
}

// churn subscribes and unsubscribes names on c, as fast as the node confirms them, until the returned function is
// called; that returns how many requests were confirmed.
func (t *traffic) churn(ctx context.Context, c load.Conn) func() int {
	ctx, cancel := context.WithCancel(ctx)
	result := make(chan int, 1)
	at := func(i int) load.Address {
		return load.Address{Parts: [3]string{"bench", t.rig.run, "guest-" + strconv.Itoa(i)}, ID: uint64(i + 1)}
	}
	go func() {
		total := 0
		for ctx.Err() == nil {
			n, err := c.Subscribe(ctx, churnSpan, 64, at)
			if total += n; err != nil {
				break
			}
			n, err = c.Unsubscribe(ctx, churnSpan, 64, at)
			if total += n; err != nil {
				break
			}
		}
		result <- total
	}()
	return func() int {
		cancel()
		return <-result
	}
}

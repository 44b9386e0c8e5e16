package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// p2p: senders and receivers in pairs, each message for one receiver.
func p2p() kind {
	return kind{
		name: "p2p", blind: true, nats: true,
		uses: []string{"pairs", "size", "identity", "identity-size", "inflight", "rate", "duration", "warmup"},
		label: func(p result.Params) string {
			return fmt.Sprintf("%d→%d %s, %s", p.Pairs, p.Pairs, p.Message(), p.Pace())
		},
		run: func(ctx context.Context, g *Rig, p result.Params) ([]result.Metric, error) {
			t := newTraffic(g, p)
			if err := t.pairs(ctx); err != nil {
				return nil, err
			}
			return t.once(ctx)
		},
	}
}

// with returns the base case changed by f.
func with(f func(*result.Params)) result.Params {
	p := result.Defaults()
	f(&p)
	return p
}

// pairs opens p.Pairs receivers and a sender for each.
func (t *traffic) pairs(ctx context.Context) error {
	for i := range uint64(t.p.Pairs) {
		to := t.rig.Name("receiver", i+1)
		r, _, err := t.receiver(ctx, uint32(i), 1, to)
		if err != nil {
			return err
		}
		if err := t.feed(ctx, false, []load.Address{to}, r.From(uint32(i))); err != nil {
			return err
		}
	}
	return nil
}

// once warms up, measures one phase and judges.
func (t *traffic) once(ctx context.Context) ([]result.Metric, error) {
	t.start(ctx)
	from, to, err := t.warm(ctx)
	if err == nil {
		from, to, err = t.phase(ctx, 0, t.p.Duration)
	}
	v, late := t.finish(context.WithoutCancel(ctx))
	if err == nil {
		err = late
	}
	ms := append(rates("", from, to), delayMetrics("", t.delays(0))...)
	ms = append(append(ms, v.metrics()...), t.lag()...)
	return append(ms, memory(to)...), err
}

// rates are throughput and cost between two marks.
func rates(prefix string, from, to mark) []result.Metric {
	seconds := time.Duration(to.at - from.at).Seconds()
	n := float64(to.delivered - from.delivered)
	if seconds <= 0 {
		return nil
	}
	client := float64(to.client.CPU - from.client.CPU)
	node := float64(to.node.CPU - from.node.CPU)
	ms := []result.Metric{
		{Name: prefix + "delivered", Unit: result.PerSecond, Value: n / seconds, Better: result.Higher},
		{Name: prefix + "bytes received", Unit: result.BytesPerSecond, Value: float64(to.bytes-from.bytes) / seconds, Better: result.Higher},
	}
	if to.offered > 0 {
		ms = append(ms,
			result.Metric{Name: prefix + result.OfferedMetric, Unit: result.PerSecond, Value: float64(to.offered-from.offered) / seconds},
			result.Metric{Name: prefix + "sent", Unit: result.PerSecond, Value: float64(to.sent-from.sent) / seconds, Better: result.Higher})
	}
	if n > 0 && to.known && from.known {
		ms = append(ms, result.Metric{Name: prefix + "node CPU per delivered", Unit: result.Nanoseconds, Value: node / n, Better: result.Lower})
	}
	if n > 0 {
		ms = append(ms, result.Metric{Name: prefix + "client CPU per delivered", Unit: result.Nanoseconds, Value: client / n})
	}
	if to.known && from.known {
		ms = append(ms, result.Metric{Name: prefix + "node cores", Unit: result.Cores, Value: node / 1e9 / seconds})
	}
	return append(ms, result.Metric{Name: prefix + "client cores", Unit: result.Cores, Value: client / 1e9 / seconds})
}

func delayMetrics(prefix string, l *load.Latency) []result.Metric {
	if l.Count() == 0 {
		return nil
	}
	var ms []result.Metric
	for _, q := range []struct {
		name string
		p    float64
	}{{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}} {
		ms = append(ms, result.Metric{Name: prefix + q.name, Unit: result.Nanoseconds, Value: float64(l.Quantile(q.p)), Better: result.Lower})
	}
	return append(ms, result.Metric{Name: prefix + "max", Unit: result.Nanoseconds, Value: float64(l.Max()), Better: result.Lower})
}

// metrics of what must not happen; counts are over the whole case, warm-up included.
func (v verdict) metrics() []result.Metric {
	ms := []result.Metric{
		{Name: "lost", Value: float64(v.lost), Better: result.Lower, Worst: true},
		{Name: "duplicates", Value: float64(v.duplicates), Better: result.Lower, Worst: true},
		{Name: "reordered", Value: float64(v.reordered), Better: result.Lower, Worst: true},
	}
	if v.changed > 0 {
		ms = append(ms, result.Metric{Name: "changed", Value: float64(v.changed), Better: result.Lower, Worst: true})
	}
	if v.foreign > 0 {
		ms = append(ms, result.Metric{Name: "foreign", Value: float64(v.foreign), Better: result.Lower, Worst: true})
	}
	if v.rescues > 0 {
		ms = append(ms, result.Metric{Name: "standstills over 1 s", Value: float64(v.rescues), Better: result.Lower, Worst: true})
	}
	return ms
}

// lag is how late the generator itself sent, in an open loop.
func (t *traffic) lag() []result.Metric {
	if t.p.Rate == 0 {
		return nil
	}
	sum := load.NewLatency()
	for _, s := range t.senders {
		sum.Merge(s.Lag())
	}
	return []result.Metric{{Name: result.LateMetric, Unit: result.Nanoseconds, Value: float64(sum.Quantile(99))}}
}

func memory(m mark) []result.Metric {
	if !m.known {
		return nil
	}
	return []result.Metric{
		{Name: "node RSS", Unit: result.Bytes, Value: float64(m.node.RSS), Better: result.Lower},
		{Name: "node RSS peak", Unit: result.Bytes, Value: float64(m.node.Peak), Better: result.Lower},
	}
}

package scenario

import (
	"context"
	"slices"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// cells are senders and receivers in n places beside each other: in each, every sender's messages are for one of the members,
// or for all.
type cells struct {
	n, members, senders int
	all                 bool
}

// once measures in one phase what goes on in cells.
func once(of func(result.Params) cells) func(context.Context, *load.Rig, result.Params) ([]result.Metric, error) {
	return func(ctx context.Context, g *load.Rig, p result.Params) ([]result.Metric, error) {
		t := load.NewTraffic(g, p.Case, load.Phase{Length: p.Duration})
		if _, _, err := of(p).open(ctx, t); err != nil {
			return nil, err
		}
		err := t.Run(ctx)
		return whole(t), err
	}
}

// open opens members and senders, each of which waits for all members. It returns the last name and the last sender.
func (c cells) open(ctx context.Context, t *load.Traffic) (to load.Address, s *load.Sender, err error) {
	for range c.n {
		to = t.Rig.Name("group", 0)
		if !c.all {
			to = t.Rig.Name("receiver", 1)
		}
		first := t.Senders()
		var members []*load.Receiver
		for range c.members {
			r := load.NewReceiver(first, c.senders, len(t.Phases))
			if _, err = t.Join(ctx, r, to); err != nil {
				return to, nil, err
			}
			members = append(members, r)
		}
		for i := range uint32(c.senders) {
			var gate []*load.Sequence
			for _, r := range members {
				gate = append(gate, r.From(first+i))
			}
			if s, err = t.Feed(ctx, c.all, []load.Address{to}, gate...); err != nil {
				return to, nil, err
			}
		}
	}
	return to, s, nil
}

// anycast: one name held by several connections; each message is for any one of them. A node shall spread them.
func anycast(ctx context.Context, g *load.Rig, p result.Params) ([]result.Metric, error) {
	t := load.NewTraffic(g, p.Case, load.Phase{Length: p.Duration})
	name := g.Name("instance", 0)
	instances := []*load.Receiver{load.NewReceiver(0, 1, len(t.Phases))}
	for len(instances) < p.Instances {
		instances = append(instances, instances[0].Instance())
	}
	for _, r := range instances {
		if _, err := t.Join(ctx, r, name); err != nil {
			return nil, err
		}
	}
	if _, err := t.Feed(ctx, false, []load.Address{name}, instances[0].From(0)); err != nil {
		return nil, err
	}
	err := t.Run(ctx)
	return append(whole(t), balance(instances)...), err
}

// balance compares what each of several receivers got, over the whole case: 1 is even.
func balance(rs []*load.Receiver) []result.Metric {
	var counts []float64
	sum := 0.0
	for _, r := range rs {
		n := r.Arrivals().Messages
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

// whole is all there is to say of traffic.
func whole(t *load.Traffic) []result.Metric {
	return slices.Concat(spans(t), judged(t), memory(t.Last().To))
}

// spans tells of each phase.
func spans(t *load.Traffic) (ms []result.Metric) {
	for i, s := range t.Spans {
		prefix := t.Phases[i].Prefix
		ms = slices.Concat(ms, rates(prefix, s), delays(prefix, t.Delays(i)))
	}
	return ms
}

// rates are throughput and cost of a span.
func rates(prefix string, s load.Span) []result.Metric {
	seconds, n, known := s.Seconds(), s.Delivered(), s.From.Known && s.To.Known
	if seconds <= 0 {
		return nil
	}
	client := float64(s.To.Client.CPU - s.From.Client.CPU)
	node := float64(s.To.Node.CPU - s.From.Node.CPU)
	var ms []result.Metric
	add := func(there bool, name string, unit result.Unit, value float64, better result.Better) {
		if there {
			ms = append(ms, result.Metric{Name: prefix + name, Unit: unit, Value: value, Better: better})
		}
	}
	open := s.To.Offered > 0
	add(true, "delivered", result.PerSecond, n/seconds, result.Higher)
	add(true, "bytes received", result.BytesPerSecond, float64(s.To.Bytes-s.From.Bytes)/seconds, result.Higher)
	add(open, result.OfferedMetric, result.PerSecond, float64(s.To.Offered-s.From.Offered)/seconds, result.Neither)
	add(open, "sent", result.PerSecond, float64(s.To.Sent-s.From.Sent)/seconds, result.Higher)
	add(n > 0 && known, result.CostMetric, result.Nanoseconds, node/n, result.Lower)
	add(n > 0 && client > 0, "client CPU per delivered", result.Nanoseconds, client/n, result.Neither)
	add(known, "node cores", result.Cores, node/1e9/seconds, result.Neither)
	add(client > 0, "client cores", result.Cores, client/1e9/seconds, result.Neither)
	return ms
}

// fault counts what must not happen. It is told of none, too: a metric that is missing is one that was not looked at.
func fault[N int | uint64](name string, n N) result.Metric {
	return result.Metric{Name: name, Value: float64(n), Better: result.Lower, Worst: true}
}

// reached counts what has to be so many.
func reached[N int | uint64](name string, n N) result.Metric {
	return result.Metric{Name: name, Value: float64(n), Better: result.Higher, Worst: true}
}

// nanos is a time that is better the shorter it is.
func nanos(name string, value float64) result.Metric {
	return result.Metric{Name: name, Unit: result.Nanoseconds, Value: value, Better: result.Lower}
}

// perSecond is a rate that is better the higher it is.
func perSecond(name string, value float64) result.Metric {
	return result.Metric{Name: name, Unit: result.PerSecond, Value: value, Better: result.Higher}
}

// bytes is memory, of which less is better.
func bytes(name string, value float64) result.Metric {
	return result.Metric{Name: name, Unit: result.Bytes, Value: value, Better: result.Lower}
}

func delays(prefix string, l *load.Latency) (ms []result.Metric) {
	for _, f := range l.Figures() {
		ms = append(ms, nanos(prefix+f.Name, f.Value))
	}
	return ms
}

// judged counts what must not happen, over the whole case, warm-up included, and how late an open loop's generator was.
func judged(t *load.Traffic) (ms []result.Metric) {
	v := t.Verdict
	ms = []result.Metric{fault("lost", v.Lost), fault("duplicates", v.Duplicates), fault("reordered", v.Reordered), fault("changed", v.Changed),
		fault("foreign", v.Foreign), fault("standstills over 1 s", v.Rescues)}
	if t.Open() {
		ms = append(ms, result.Metric{Name: result.LateMetric, Unit: result.Nanoseconds, Value: float64(t.Lag().Quantile(99))})
	}
	return ms
}

func memory(m load.Mark) []result.Metric {
	if !m.Known {
		return nil
	}
	return []result.Metric{bytes("node RSS", float64(m.Node.RSS)), bytes("node RSS peak", float64(m.Node.Peak))}
}

// compared is the ratio of two figures, if there are both.
func compared(name string, a, b float64, better result.Better) []result.Metric {
	if a <= 0 || b <= 0 {
		return nil
	}
	return []result.Metric{{Name: name, Unit: result.Ratio, Value: a / b, Better: better}}
}

// value finds a metric; 0: it is not there.
func value(ms []result.Metric, name string) float64 {
	for _, m := range ms {
		if m.Name == name {
			return m.Value
		}
	}
	return 0
}

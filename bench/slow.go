package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// slow: a group one of whose members stops reading, or nearly so. The others must not notice.
func slow() kind {
	return kind{
		name: "slow",
		uses: []string{"fanout", "size", "identity", "inflight", "rate", "stall", "stall-rate", "duration", "warmup"},
		label: func(p result.Params) string {
			how := "stalled"
			if p.StallRate > 0 {
				how = fmt.Sprintf("reading %s/s", result.SizeText(p.StallRate))
			}
			return fmt.Sprintf("1→%d %s, %s, one member %s for %v", p.Fanout, p.Message(), p.Pace(), how, p.Stall)
		},
		run: runSlow,
	}
}

// Phases of the scenario.
const (
	healthy = iota
	stalled
	recovered
	slowPhases
)

var phaseNames = [slowPhases]string{"before: ", "during: ", "after: "}

const recoverLimit = 10 * time.Second

func runSlow(ctx context.Context, g *Rig, p result.Params) ([]result.Metric, error) {
	if p.Fanout < 2 {
		return nil, fmt.Errorf("a group of %d has nobody to compare with", p.Fanout)
	}
	t := newTraffic(g, p)
	t.phases = slowPhases
	victim, seen, err := t.groupWithVictim(ctx)
	if err != nil {
		return nil, err
	}
	t.receivers = t.receivers[:len(t.receivers)-1] // rates and delays are those of the others
	t.start(ctx)
	ms, err := t.slowPhases(ctx, victim, seen)
	v, late := t.finish(context.WithoutCancel(ctx))
	if err == nil {
		err = late
	}
	for i, name := range phaseNames {
		ms = append(ms, delayMetrics(name, t.delays(i))...)
	}
	ms = append(append(ms, v.metrics()...), t.lag()...)
	return append(ms, result.Metric{Name: "lost by the slow member", Value: float64(v.slowLost)}), err
}

// slowPhases measures the others while the victim reads, hardly reads, and reads again.
func (t *traffic) slowPhases(ctx context.Context, victim load.Conn, seen *load.Sequence) ([]result.Metric, error) {
	if from, to, err := t.warm(ctx); err != nil {
		return rates("", from, to), err
	}
	var ms []result.Metric
	var rate [slowPhases]float64
	run := func(i int, d time.Duration) (mark, error) {
		from, to, err := t.phase(ctx, i, d)
		rate[i] = float64(to.delivered-from.delivered) / time.Duration(to.at-from.at).Seconds() / float64(t.p.Fanout-1)
		ms = append(ms, result.Metric{Name: phaseNames[i] + "rate per member", Unit: result.PerSecond, Value: rate[i], Better: result.Higher},
			result.Metric{Name: phaseNames[i] + "longest silence", Unit: result.Nanoseconds, Value: float64(t.quiet), Better: result.Lower})
		return to, err
	}
	if _, err := run(healthy, t.p.Duration); err != nil {
		return ms, err
	}
	victim.Pace(t.p.StallRate)
	end, err := run(stalled, t.p.Stall)
	ms = append(ms, memory(end)...)
	if err != nil {
		return ms, err
	}
	back := t.recovery(ctx, seen)
	victim.Pace(-1)
	_, err = run(recovered, t.p.Duration)
	ms = append(ms, <-back...)
	if rate[healthy] > 0 {
		ms = append(ms,
			result.Metric{Name: "rate during/before", Unit: result.Ratio, Value: rate[stalled] / rate[healthy], Better: result.Higher},
			result.Metric{Name: "rate after/before", Unit: result.Ratio, Value: rate[recovered] / rate[healthy], Better: result.Higher})
	}
	return ms, err
}

// groupWithVictim opens a group whose last member does not hold the sender back.
func (t *traffic) groupWithVictim(ctx context.Context) (load.Conn, *load.Sequence, error) {
	to := t.rig.Name("group", 0)
	var gate []*load.Sequence
	var last load.Conn
	for range t.p.Fanout {
		r, c, err := t.receiver(ctx, 0, 1, to)
		if err != nil {
			return nil, nil, err
		}
		gate, last = append(gate, r.From(0)), c
	}
	victim := gate[len(gate)-1]
	gate = gate[:len(gate)-1]
	s, err := t.sender(ctx, true, []load.Address{to}, gate...)
	if err != nil {
		return nil, nil, err
	}
	for _, q := range gate {
		t.flows = append(t.flows, flow{from: s, seen: q})
	}
	t.flows = append(t.flows, flow{from: s, seen: victim, slow: true})
	return last, victim, nil
}

// recovery watches the slow member from now on, and tells when it saw a message that was sent after now.
func (t *traffic) recovery(ctx context.Context, seen *load.Sequence) <-chan []result.Metric {
	resumed, at := t.senders[0].Sent(), time.Now()
	told := make(chan []result.Metric, 1)
	go func() {
		var served float64
		for time.Since(at) < recoverLimit {
			if seen.Seen().Next > resumed {
				served = 1
				break
			}
			if sleep(ctx, 5*time.Millisecond) != nil {
				break
			}
		}
		told <- []result.Metric{
			{Name: "slow member served again", Value: served, Better: result.Higher, Worst: true},
			{Name: "slow member caught up after", Unit: result.Nanoseconds, Value: float64(time.Since(at)), Better: result.Lower},
		}
	}()
	return told
}

package scenario

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

const recoverLimit = time.Minute // of a slow member, and a busy machine

// slow: a group one of whose members stops reading, or nearly so. The others must not notice.
func slow(ctx context.Context, g *load.Rig, p result.Params) ([]result.Metric, error) {
	if p.Fanout < 2 {
		return nil, fmt.Errorf("a group of %d has nobody to compare with", p.Fanout)
	}
	t := load.NewTraffic(g, p.Case, load.Phase{Prefix: "before: ", Length: p.Duration},
		load.Phase{Prefix: "during: ", Length: p.Stall}, load.Phase{Prefix: "after: ", Length: p.Duration})
	victim, s, seen, err := groupWithVictim(ctx, t, p.Fanout)
	if err != nil {
		return nil, err
	}
	var back <-chan []result.Metric
	var recovered []result.Metric
	t.Phases[1].Begin = func() { victim.Pace(p.StallRate) }
	t.Phases[2].Begin = func() {
		back = recovery(ctx, g.Broken, s.Sent(), seen)
		victim.Pace(-1)
	}
	t.Phases[2].End = func() { recovered = <-back }
	err = t.Run(ctx)
	return slices.Concat(othersOf(t, p.Fanout-1, recovered), judged(t),
		[]result.Metric{{Name: "lost by the slow member", Value: float64(t.Verdict.SlowLost)}}), err
}

// othersOf tells how n members that read fared while one did not.
func othersOf(t *load.Traffic, n int, recovered []result.Metric) (ms []result.Metric) {
	if t.Cut {
		return rates("", t.Spans[0])
	}
	var rate []float64
	for i, s := range t.Spans {
		rate = append(rate, s.Delivered()/s.Seconds()/float64(n))
		prefix := t.Phases[i].Prefix
		ms = append(ms, perSecond(prefix+"rate per member", rate[i]), nanos(prefix+"longest silence", float64(s.Quiet)))
		ms = append(ms, delays(prefix, t.Delays(i))...)
		if i == 1 {
			ms = append(ms, memory(s.To)...)
		}
	}
	ms = append(ms, recovered...)
	if len(rate) == 3 && rate[0] > 0 {
		ms = append(ms,
			result.Metric{Name: "rate during/before", Unit: result.Ratio, Value: rate[1] / rate[0], Better: result.Higher},
			result.Metric{Name: "rate after/before", Unit: result.Ratio, Value: rate[2] / rate[0], Better: result.Higher})
	}
	return ms
}

// groupWithVictim opens a group of n whose last member does not hold the sender back, and counts neither for rates nor
// for delays.
func groupWithVictim(ctx context.Context, t *load.Traffic, n int) (victim load.Conn, s *load.Sender, seen *load.Sequence, err error) {
	to, s, err := cells{n: 1, members: n - 1, senders: 1, all: true}.open(ctx, t)
	if err != nil {
		return nil, nil, nil, err
	}
	r := load.NewReceiver(0, 1, len(t.Phases))
	if victim, err = t.Rig.Dial(ctx, load.Subscribing, load.DialOptions{Sink: r}); err == nil {
		_, err = victim.Subscribe(ctx, 1, 0, func(int) load.Address { return to })
	}
	t.Expect(load.Flow{From: s, Seen: r.From(0), Slow: true})
	return victim, s, r.From(0), err
}

// recovery watches the slow member from now on, and tells when it saw a message after number resumed, or all is broken.
func recovery(ctx context.Context, broken func() error, resumed uint64, seen *load.Sequence) <-chan []result.Metric {
	at, told := time.Now(), make(chan []result.Metric, 1)
	go func() {
		served, caughtUp := 0, func() bool { return seen.Seen().Next > resumed }
		_ = process.Until(ctx, 5*time.Millisecond, recoverLimit, func() bool { return caughtUp() || broken() != nil })
		if caughtUp() {
			served = 1
		}
		told <- []result.Metric{reached("slow member served again", served), nanos("slow member caught up after", float64(time.Since(at)))}
	}()
	return told
}

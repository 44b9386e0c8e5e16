package scenario

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

const (
	guests     = 32               // clients that are there at a time, at most
	guestLimit = 10 * time.Second // for one client's visit
)

// churn: clients come, subscribe, get a message, and go, in order or abruptly, beside steady traffic that shall not
// notice. What they leave behind in the node is measured.
func churn(ctx context.Context, g *load.Rig, p result.Params) ([]result.Metric, error) {
	t := load.NewTraffic(g, p.Case, "alone", "with churn")
	if err := pairs(ctx, t, p.Pairs); err != nil {
		return nil, err
	}
	v := visits{rig: g, rate: p.ChurnRate}
	err := t.Run(ctx, load.Phase{Length: p.Duration}, v.during(ctx, p.Duration))
	ms := rates("alone: ", t.Spans[0])
	if len(t.Spans) > 1 {
		ms = slices.Concat(ms, rates("", t.Spans[1]), v.metrics(t.Spans[1]))
	}
	ms = slices.Concat(ms, delays("alone: ", t.Delays(0)), delays("", t.Delays(1)))
	if a, b := value(ms, "alone: delivered"), value(ms, "delivered"); a > 0 && b > 0 {
		ms = append(ms, result.Metric{Name: "delivered, with/alone", Unit: result.Ratio, Value: b / a, Better: result.Higher})
	}
	ms = slices.Concat(ms, judged(t), memory(t.Last().To))
	if err == nil {
		ms = append(ms, leftover(ctx, g, t.Last().From)...)
	}
	return ms, err
}

// leftover compares the node now, when all guests have gone, with what it was at the mark before they came.
func leftover(ctx context.Context, g *load.Rig, before load.Mark) []result.Metric {
	if !before.Known {
		return nil
	}
	var left int
	for range 20 { // a node may take a moment to notice that sockets are gone
		u, ok := g.Usage()
		if !ok {
			return nil
		}
		if left = u.Files - before.Node.Files; left <= 0 || load.Sleep(ctx, 100*time.Millisecond) != nil {
			break
		}
	}
	ms := []result.Metric{{Name: "files growth", Value: float64(max(0, left)), Better: result.Lower, Worst: true}}
	if rss, ok := g.Settled(ctx); ok {
		ms = append(ms, result.Metric{Name: "RSS growth", Unit: result.Bytes, Value: float64(rss - before.Node.RSS), Better: result.Lower})
	}
	return ms
}

// visits are clients that come and go at a steady rate.
type visits struct {
	rig    *load.Rig
	rate   int // a second
	mu     sync.Mutex
	setup  *load.Latency // from dialling to the confirmed name; guarded by mu, as the rest
	served int
	failed int
}

// during is a phase with visits; those who are there at its end finish.
func (v *visits) during(ctx context.Context, length time.Duration) load.Phase {
	v.setup = load.NewLatency()
	var cancel context.CancelFunc
	var work sync.WaitGroup
	due := make(chan struct{}, guests)
	call := func() {
		defer close(due)
		tick := time.NewTicker(time.Second / time.Duration(v.rate))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				select {
				case due <- struct{}{}:
				default: // all guests are busy: the rate reached will show it
				}
			case <-ctx.Done():
				return
			}
		}
	}
	return load.Phase{Length: length,
		Begin: func() {
			ctx, cancel = context.WithCancel(ctx)
			work.Go(call)
			for i := range uint64(guests) {
				random := rand.New(rand.NewPCG(i, 1))
				work.Go(func() {
					for id := (i+1)<<32 | 1; ; id++ {
						if _, ok := <-due; !ok {
							return
						}
						v.note(v.guest(ctx, id, random.IntN(2) == 0))
					}
				})
			}
		},
		End: func() {
			cancel()
			work.Wait()
		}}
}

// guest is one visit: connect, subscribe, publish one message to itself through a second connection's eyes, get it,
// and leave, in order (the name is withdrawn first) or abruptly.
func (v *visits) guest(ctx context.Context, id uint64, orderly bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), guestLimit)
	defer cancel()
	begin := time.Now()
	r := load.NewReceiver(0, 1, 0)
	name := v.rig.Address("guest", id)
	at := func(int) load.Address { return name }
	in, err := v.rig.Open(ctx, load.Subscribing, load.DialOptions{Sink: r, ReadBuffer: 8 << 10})
	if err != nil {
		return err
	}
	defer in.Close()
	if _, err := in.Subscribe(ctx, 1, 0, at); err != nil {
		return err
	}
	v.mu.Lock()
	v.setup.Record(int64(time.Since(begin)))
	v.mu.Unlock()
	out, err := v.rig.Open(ctx, load.Publishing, load.DialOptions{ReadBuffer: 2 << 10})
	if err != nil {
		return err
	}
	defer out.Close()
	pub, err := out.Publisher(load.Message{From: load.Address{Parts: name.Parts, ID: id ^ 1<<63}, To: []load.Address{name}, Size: 64, IdentitySize: 64})
	if err != nil {
		return err
	}
	if err := load.NewSender(pub, 64, r.From(0)).One(ctx); err != nil {
		return fmt.Errorf("a guest's message: %w", err)
	}
	if orderly {
		_, err = in.Unsubscribe(ctx, 1, 0, at)
	}
	return err
}

// note counts how a visit ended, and notes why the first failed.
func (v *visits) note(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err == nil {
		v.served++
	} else if v.failed++; v.failed <= 3 {
		v.rig.Notes = append(v.rig.Notes, fmt.Sprintf("a client failed: %v", err))
	}
}

// metrics of visits over their span.
func (v *visits) metrics(s load.Span) []result.Metric {
	return append([]result.Metric{
		{Name: "clients served", Value: float64(v.served), Better: result.Higher, Worst: true},
		{Name: "clients served a second", Unit: result.PerSecond, Value: float64(v.served) / s.Seconds(), Better: result.Higher},
		{Name: "clients failed", Value: float64(v.failed), Better: result.Lower, Worst: true},
	}, setups(v.setup)...)
}

// soak: everything at once, for long: pairs, a group, and clients that come and go. What matters is whether memory,
// descriptors, threads and delays grow. Goroutines, or a runtime's tasks, are not seen from outside: where they block
// they show as threads, else as memory.
func soak(ctx context.Context, g *load.Rig, p result.Params) ([]result.Metric, error) {
	t := load.NewTraffic(g, p.Case)
	if err := pairs(ctx, t, p.Pairs); err != nil {
		return nil, err
	}
	if err := group(ctx, t, p.Fanout, 1); err != nil {
		return nil, err
	}
	v := visits{rig: g, rate: p.ChurnRate}
	err := t.Run(ctx, v.during(ctx, p.Duration))
	ms := whole(t)
	if !t.Cut {
		ms = append(ms, v.metrics(t.Spans[0])...)
	}
	return append(ms, growth(g.Samples)...), err
}

// leastSlope is how much of a course shows what an hour would bring: the half of two minutes. What seconds gain says
// nothing of it.
const leastSlope = 55 * time.Second

// growth judges the second half of a course: what still grows there is no warming up. Of a process that is not known it
// says nothing.
func growth(all []load.Sample) []result.Metric {
	half := slices.DeleteFunc(slices.Clone(all[len(all)/2:]), func(s load.Sample) bool { return s.Phase != load.Measured })
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
		worse := func(name string, unit result.Unit, value float64) {
			ms = append(ms, result.Metric{Name: name, Unit: unit, Value: value, Better: result.Lower, Worst: true})
		}
		if hours*3600 >= leastSlope.Seconds() {
			worse("RSS slope", result.BytesPerHour, result.Slope(at, rss))
			worse("files slope", result.PerHour, result.Slope(at, files))
			worse("threads slope", result.PerHour, result.Slope(at, threads))
		}
		worse("RSS growth, share", result.Ratio, result.Slope(at, rss)*hours/rss[0])
		worse("files gained", result.Count, math.Round(result.Slope(at, files)*hours))
		worse("threads gained", result.Count, math.Round(result.Slope(at, threads)*hours))
	}
	if e := early.Quantile(50); e > 0 {
		ms = append(ms, result.Metric{Name: "p99 late/early", Unit: result.Ratio, Value: float64(late.Quantile(50)) / float64(e), Better: result.Lower})
	}
	return ms
}

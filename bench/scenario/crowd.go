package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

const dialers = 32 // connections being set up at a time, where it is not the point that all come at once

// together calls do with 0 to n-1, so many at a time, until one fails, and returns how many did not.
func together(n, workers int, do func(i int) error) (done int, err error) {
	var mu sync.Mutex
	var group sync.WaitGroup
	next := 0
	for range workers {
		group.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := i >= n || err != nil
				mu.Unlock()
				if stop {
					return
				}
				failed := do(i)
				mu.Lock()
				if failed == nil {
					done++
				} else if err == nil {
					err = failed
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return done, err
}

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
	opened, err := dialMany(ctx, g, p.Conns, p.SetupLimit)
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
		return ms, err
	}
	with, err := beside(ctx, g, p, "with idle: ")
	ms = slices.Concat(ms, alone, with)
	for _, name := range []string{"delivered", result.CostMetric} {
		a, b := value(alone, "alone: "+name), value(with, "with idle: "+name)
		if a > 0 {
			ms = append(ms, result.Metric{Name: name + ", with/alone", Unit: result.Ratio, Value: b / a})
		}
	}
	return ms, err
}

// dialMany opens n idle connections, some at a time. It returns how many it got within limit.
func dialMany(ctx context.Context, g *load.Rig, n int, limit time.Duration) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	opened, err := together(n, dialers, func(int) error {
		_, err := g.Dial(ctx, load.Subscribing, load.DialOptions{ReadBuffer: 2 << 10})
		return err
	})
	if err != nil {
		err = errors.Join(fmt.Errorf("%d of %d connections", opened, n), err)
	}
	return opened, err
}

// beside measures one pair.
func beside(ctx context.Context, g *load.Rig, p result.Params, prefix string) ([]result.Metric, error) {
	p.Pairs = 1
	ms, err := once(func(ctx context.Context, t *load.Traffic, p result.Params) error { return pairs(ctx, t, 1) })(ctx, g, p)
	keep := []string{"delivered", result.OfferedMetric, "sent", result.CostMetric, "client CPU per delivered", "p50", "p99", "lost"}
	ms = slices.DeleteFunc(ms, func(m result.Metric) bool { return !slices.Contains(keep, m.Name) })
	for i := range ms {
		ms[i].Name = prefix + ms[i].Name
	}
	return ms, err
}

// crowd is the clients of a storm: each holds a name of its own.
type crowd struct {
	rig   *load.Rig
	names []load.Address
	conns []load.Conn      // of those that are there
	got   []*load.Receiver // likewise
}

const callRound = 3 // messages to each client after the storm

// storm: all clients lose their sockets at once and come back at once, as after a network's hiccup. Afterwards each
// gets what is meant for it exactly once: names that died with the old sockets get nothing.
func storm(ctx context.Context, g *load.Rig, p result.Params) ([]result.Metric, error) {
	ctx, cancel := context.WithTimeout(ctx, p.SetupLimit)
	defer cancel()
	w := &crowd{rig: g}
	for i := range p.Conns {
		w.names = append(w.names, g.Address("client", uint64(i+1)))
	}
	defer w.fall()
	ms, _, err := w.come(ctx, "connected", dialers)
	if err != nil {
		return ms, fmt.Errorf("before the storm: %w", err)
	}
	calm, err := w.call(ctx)
	if err != nil {
		return ms, fmt.Errorf("before the storm: %w", err)
	}
	before, _ := g.Usage()
	w.fall()
	back, setup, err := w.come(ctx, "back", len(w.names))
	ms = slices.Concat(ms, back, setup)
	if err != nil {
		return append(ms, calm.metrics()...), fmt.Errorf("after the storm: %w", err)
	}
	after, known := g.Usage()
	calls, err := w.call(ctx)
	ms = append(ms, called{calls.missed + calm.missed, calls.twice + calm.twice}.metrics()...)
	if err != nil {
		err = fmt.Errorf("after the storm: %w", err)
	}
	if known {
		ms = append(ms, nanos("node CPU per comeback", float64(after.CPU-before.CPU)/float64(p.Conns)),
			result.Metric{Name: "node RSS peak", Unit: result.Bytes, Value: float64(after.Peak), Better: result.Lower})
		if rss, ok := g.Settled(ctx); ok {
			ms = append(ms, result.Metric{Name: "RSS growth", Unit: result.Bytes, Value: float64(rss - before.RSS), Better: result.Lower})
		}
	}
	return ms, err
}

// come connects and subscribes all clients, so many at a time. It returns how many came and how long it took, in the
// word for it, and how long each took, from dialling to the confirmed name. Half a crowd has no time. Who is not
// answered in its own time tries again, as clients do: a node may take more at once than it can answer so soon.
func (w *crowd) come(ctx context.Context, word string, workers int) (all, each []result.Metric, err error) {
	took := make([]time.Duration, len(w.names))
	w.conns, w.got = make([]load.Conn, len(w.names)), make([]*load.Receiver, len(w.names))
	var late atomic.Int64
	var reason atomic.Value
	begin := time.Now()
	came, err := together(len(w.names), workers, func(i int) error {
		at := time.Now()
		err := w.one(ctx, i)
		for ; errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil; err = w.one(ctx, i) {
			late.Add(1)
			reason.CompareAndSwap(nil, err.Error())
		}
		if err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
		took[i] = time.Since(at)
		return nil
	})
	all = []result.Metric{{Name: "clients " + word, Value: float64(came), Better: result.Higher, Worst: true}}
	if err == nil {
		all = append(all, nanos("all "+word+" in", float64(time.Since(begin))))
	}
	setup := load.NewLatency()
	for _, d := range took {
		if d > 0 {
			setup.Record(int64(d))
		}
	}
	each = setups(setup)
	if n := late.Load(); n > 0 {
		each = append(each, result.Metric{Name: "setups timed out", Value: float64(n), Better: result.Lower, Worst: true})
		w.rig.Notes = append(w.rig.Notes, fmt.Sprintf("%d times a client was not answered and tried again: %v", n, reason.Load()))
	}
	return all, each, err
}

// one connects and subscribes client i.
func (w *crowd) one(ctx context.Context, i int) error {
	w.got[i] = load.NewReceiver(0, 1, 0)
	c, err := w.rig.Open(ctx, load.Subscribing, load.DialOptions{Sink: w.got[i], ReadBuffer: 2 << 10})
	if err == nil {
		w.conns[i] = c
		_, err = c.Subscribe(ctx, 1, 0, func(int) load.Address { return w.names[i] })
	}
	return err
}

// setups are the times that clients took to come.
func setups(l *load.Latency) []result.Metric {
	if l.Count() == 0 {
		return nil
	}
	return []result.Metric{nanos("setup p50", float64(l.Quantile(50))), nanos("setup p99", float64(l.Quantile(99)))}
}

// fall closes all sockets without a word.
func (w *crowd) fall() {
	for _, c := range w.conns {
		if c != nil {
			_ = c.Close()
		}
	}
	w.conns = nil
}

// called is what became of the messages to a crowd.
type called struct{ missed, twice uint64 }

func (c called) metrics() []result.Metric {
	return []result.Metric{
		{Name: "lost", Value: float64(c.missed), Better: result.Lower, Worst: true},
		{Name: "duplicates", Value: float64(c.twice), Better: result.Lower, Worst: true},
	}
}

// call publishes to all names, some messages each, and counts what did not come and what came more often; nothing when
// it ends early.
func (w *crowd) call(ctx context.Context) (called, error) {
	conn, err := w.rig.Open(ctx, load.Publishing, load.DialOptions{})
	if err != nil {
		return called{}, err
	}
	defer conn.Close()
	pub, err := conn.Publisher(load.Message{From: w.rig.Name("caller", 1), To: w.names, Size: 64, IdentitySize: 64})
	if err != nil {
		return called{}, err
	}
	const batch = 64
	total := callRound * len(w.names)
	for i := 0; i < total; i += batch {
		if err := pub.Send(uint64(i), min(batch, total-i), load.Now(), 0); err != nil {
			return called{}, err
		}
	}
	for end := time.Now().Add(load.DrainQuiet); time.Now().Before(end); {
		if w.count().missed == 0 {
			// A ghost's copy would have gone the same way at the same time; a little later it has arrived.
			err := load.Sleep(ctx, 20*time.Millisecond)
			return w.count(), err
		}
		if err := load.Sleep(ctx, 5*time.Millisecond); err != nil {
			return called{}, errors.Join(err, fmt.Errorf("%d messages were under way", w.count().missed))
		}
	}
	return w.count(), nil
}

func (w *crowd) count() (sum called) {
	for _, r := range w.got {
		switch n, _ := r.Total(); {
		case n < callRound:
			sum.missed += callRound - n
		case n > callRound:
			sum.twice += n - callRound
		}
	}
	return sum
}

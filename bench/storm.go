package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// storm: all clients lose their sockets at once and come back at once, as after a network's hiccup. Afterwards each
// gets what is meant for it exactly once: names that died with the old sockets get nothing.
func storm() kind {
	return kind{
		name:  "storm",
		uses:  []string{"conns", "setup-limit"},
		label: func(p result.Params) string { return fmt.Sprintf("%d clients come back at once", p.Conns) },
		run:   runStorm,
	}
}

// crowd is the clients of a storm: each holds a name of its own.
type crowd struct {
	rig     *Rig
	names   []load.Address
	clients []*visitor
}

// visitor is one of a crowd.
type visitor struct {
	conn load.Conn
	got  *load.Receiver
}

const callRound = 3 // messages to each client after the storm

func runStorm(ctx context.Context, g *Rig, p result.Params) ([]result.Metric, error) {
	ctx, cancel := context.WithTimeout(ctx, p.SetupLimit)
	defer cancel()
	w := &crowd{rig: g}
	for i := range p.Conns {
		w.names = append(w.names, load.Address{Parts: [3]string{"bench", g.run, "client"}, ID: uint64(i + 1)})
	}
	defer w.fall()
	first, err := w.come(ctx, dialers)
	ms := first.metrics("connected")
	if err != nil {
		return ms, fmt.Errorf("before the storm: %w", err)
	}
	calm, err := w.call(ctx)
	if err != nil {
		return ms, fmt.Errorf("before the storm: %w", err)
	}
	before, _ := g.Usage()
	w.fall()
	back, err := w.come(ctx, len(w.names))
	ms = append(append(ms, back.metrics("back")...), back.setupMetrics()...)
	if err != nil {
		return append(ms, calm.metrics()...), fmt.Errorf("after the storm: %w", err)
	}
	after, known := g.Usage()
	calls, err := w.call(ctx)
	ms = append(ms, calls.plus(calm).metrics()...)
	if err != nil {
		err = fmt.Errorf("after the storm: %w", err)
	}
	if known {
		ms = append(ms,
			result.Metric{Name: "node CPU per comeback", Unit: result.Nanoseconds, Value: float64(after.CPU-before.CPU) / float64(p.Conns), Better: result.Lower},
			result.Metric{Name: "node RSS peak", Unit: result.Bytes, Value: float64(after.Peak), Better: result.Lower})
		if rss, ok := g.settled(ctx); ok {
			ms = append(ms, result.Metric{Name: "RSS growth", Unit: result.Bytes, Value: float64(rss - before.RSS), Better: result.Lower})
		}
	}
	return ms, err
}

// arrival is how a crowd came.
type arrival struct {
	came  int
	took  time.Duration
	setup *load.Latency // of each client, from dialling to the confirmed name
}

// metrics of an arrival in the word for it. Half a crowd has no time.
func (a arrival) metrics(word string) []result.Metric {
	ms := []result.Metric{{Name: "clients " + word, Value: float64(a.came), Better: result.Higher, Worst: true}}
	if a.took > 0 {
		ms = append(ms, result.Metric{Name: "all " + word + " in", Unit: result.Nanoseconds, Value: float64(a.took), Better: result.Lower})
	}
	return ms
}

func (a arrival) setupMetrics() []result.Metric {
	if a.setup.Count() == 0 {
		return nil
	}
	return []result.Metric{
		{Name: "setup p50", Unit: result.Nanoseconds, Value: float64(a.setup.Quantile(50)), Better: result.Lower},
		{Name: "setup p99", Unit: result.Nanoseconds, Value: float64(a.setup.Quantile(99)), Better: result.Lower},
	}
}

// come connects and subscribes all clients, so many at a time.
func (w *crowd) come(ctx context.Context, together int) (arrival, error) {
	var (
		mu     sync.Mutex
		group  sync.WaitGroup
		failed error
		next   int
	)
	a := arrival{setup: load.NewLatency()}
	begin := time.Now()
	w.clients = make([]*visitor, len(w.names))
	for range together {
		group.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := i >= len(w.names) || failed != nil
				mu.Unlock()
				if stop {
					return
				}
				at := time.Now()
				c, err := w.one(ctx, i)
				mu.Lock()
				w.clients[i] = c
				switch {
				case err == nil:
					a.came++
					a.setup.Record(int64(time.Since(at)))
				case failed == nil:
					failed = fmt.Errorf("client %d: %w", i, err)
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if failed == nil {
		a.took = time.Since(begin)
	}
	return a, failed
}

func (w *crowd) one(ctx context.Context, i int) (*visitor, error) {
	c := &visitor{got: load.NewReceiver(0, 1, 0)}
	var err error
	if c.conn, err = w.rig.Target.Dialer.Dial(ctx, w.rig.addrs[i%len(w.rig.addrs)], load.DialOptions{Sink: c.got, ReadBuffer: 2 << 10}); err != nil {
		return nil, err
	}
	_, err = c.conn.Subscribe(ctx, 1, 0, func(int) load.Address { return w.names[i] })
	return c, err
}

// fall closes all sockets without a word.
func (w *crowd) fall() {
	for _, c := range w.clients {
		if c != nil && c.conn != nil {
			_ = c.conn.Close()
		}
	}
	w.clients = nil
}

// called is what became of the messages to a crowd.
type called struct{ missed, twice uint64 }

func (c called) plus(o called) called { return called{c.missed + o.missed, c.twice + o.twice} }

func (c called) metrics() []result.Metric {
	return []result.Metric{
		{Name: "lost", Value: float64(c.missed), Better: result.Lower, Worst: true},
		{Name: "duplicates", Value: float64(c.twice), Better: result.Lower, Worst: true},
	}
}

// call publishes to all names, some messages each, and counts what did not come and what came more often; nothing when it
// ends early.
func (w *crowd) call(ctx context.Context) (called, error) {
	conn, err := w.rig.Target.Dialer.Dial(ctx, w.rig.addrs[0], load.DialOptions{})
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
	for end := time.Now().Add(drainQuiet); time.Now().Before(end); {
		if w.count().missed == 0 {
			// A ghost's copy would have gone the same way at the same time; a little later it has arrived.
			err := sleep(ctx, 20*time.Millisecond)
			return w.count(), err
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return called{}, errors.Join(err, fmt.Errorf("%d messages were under way", w.count().missed))
		}
	}
	return w.count(), nil
}

func (w *crowd) count() called {
	var sum called
	for _, c := range w.clients {
		switch n, _ := c.got.Total(); {
		case n < callRound:
			sum.missed += callRound - n
		case n > callRound:
			sum.twice += n - callRound
		}
	}
	return sum
}

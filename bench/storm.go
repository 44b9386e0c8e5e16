package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
)

// storm: all clients lose their sockets at once and come back at once, as after a network's hiccup. Afterwards each
// gets what is meant for it exactly once: names that died with the old sockets get nothing.
func storm() kind {
	return kind{
		name:  "storm",
		uses:  []string{"conns", "setup-limit"},
		label: func(p Params) string { return fmt.Sprintf("%d clients come back at once", p.Conns) },
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

func runStorm(ctx context.Context, g *Rig, p Params) ([]Metric, error) {
	ctx, cancel := context.WithTimeout(ctx, p.SetupLimit)
	defer cancel()
	w := &crowd{rig: g}
	for i := range p.Conns {
		w.names = append(w.names, load.Address{Parts: [3]string{"bench", g.run, "client"}, ID: uint64(i + 1)})
	}
	first, _, err := w.come(ctx)
	if err != nil {
		return nil, fmt.Errorf("before the storm: %w", err)
	}
	if _, _, err := w.call(ctx); err != nil {
		return nil, fmt.Errorf("before the storm: %w", err)
	}
	before, _ := g.Usage()
	w.fall()
	back, setup, err := w.come(ctx)
	if err != nil {
		return nil, fmt.Errorf("after the storm: %w", err)
	}
	after, known := g.Usage()
	missed, twice, err := w.call(ctx)
	ms := []Metric{
		{Name: "clients", Value: float64(p.Conns), Better: Higher},
		{Name: "all connected in", Unit: Nanoseconds, Value: float64(first), Better: Lower},
		{Name: "all back in", Unit: Nanoseconds, Value: float64(back), Better: Lower},
		{Name: "setup p50", Unit: Nanoseconds, Value: float64(setup.Quantile(50)), Better: Lower},
		{Name: "setup p99", Unit: Nanoseconds, Value: float64(setup.Quantile(99)), Better: Lower},
		{Name: "lost", Value: float64(missed), Better: Lower, Worst: true},
		{Name: "duplicates", Value: float64(twice), Better: Lower, Worst: true},
	}
	if known {
		ms = append(ms,
			Metric{Name: "node CPU per comeback", Unit: Nanoseconds, Value: float64(after.CPU-before.CPU) / float64(p.Conns), Better: Lower},
			Metric{Name: "RSS growth", Unit: Bytes, Value: float64(g.settled(ctx) - before.RSS), Better: Lower},
			Metric{Name: "node RSS peak", Unit: Bytes, Value: float64(after.Peak), Better: Lower})
	}
	w.fall()
	return ms, err
}

// come connects and subscribes all clients, many at a time, and returns how long all and each took.
func (w *crowd) come(ctx context.Context) (time.Duration, *load.Latency, error) {
	begin := time.Now()
	setup := load.NewLatency()
	var (
		mu     sync.Mutex
		group  sync.WaitGroup
		failed error
		next   int
	)
	w.clients = make([]*visitor, len(w.names))
	for range 4 * dialers {
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
				setup.Record(int64(time.Since(at)))
				if w.clients[i] = c; err != nil && failed == nil {
					failed = fmt.Errorf("client %d: %w", i, err)
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if failed != nil {
		w.fall()
	}
	return time.Since(begin), setup, failed
}

func (w *crowd) one(ctx context.Context, i int) (*visitor, error) {
	c := &visitor{got: load.NewReceiver(0, 1, 1)}
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

// call publishes to all names, some messages each, and counts what did not come and what came more often.
func (w *crowd) call(ctx context.Context) (missed, twice uint64, err error) {
	conn, err := w.rig.Target.Dialer.Dial(ctx, w.rig.addrs[0], load.DialOptions{})
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close()
	pub, err := conn.Publisher(load.Message{From: w.rig.Name("caller", 1), To: w.names, Size: 64, IdentitySize: 64})
	if err != nil {
		return 0, 0, err
	}
	const batch = 64
	total := callRound * len(w.names)
	for i := 0; i < total; i += batch {
		if err := pub.Send(uint64(i), min(batch, total-i), load.Now(), 0); err != nil {
			return 0, 0, err
		}
	}
	for end := time.Now().Add(drainQuiet); time.Now().Before(end); {
		if missed, twice = w.count(); missed == 0 {
			// A ghost's copy would have gone the same way at the same time; a little later it has arrived.
			err := sleep(ctx, 20*time.Millisecond)
			missed, twice = w.count()
			return missed, twice, err
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return missed, twice, errors.Join(err, fmt.Errorf("%d messages are missing", missed))
		}
	}
	return missed, twice, nil
}

func (w *crowd) count() (missed, twice uint64) {
	for _, c := range w.clients {
		switch n, _ := c.got.Total(); {
		case n < callRound:
			missed += callRound - n
		case n > callRound:
			twice += n - callRound
		}
	}
	return missed, twice
}

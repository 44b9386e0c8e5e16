package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// churn: clients come, subscribe, get a message, and go, in order or abruptly, beside steady traffic that shall not
// notice. What they leave behind in the node is measured.
func churn() kind {
	return kind{
		name: "churn",
		uses: []string{"churn-rate", "size", "identity", "identity-size", "inflight", "rate", "duration", "warmup"},
		label: func(p result.Params) string {
			return fmt.Sprintf("%d clients/s beside 1→1 %s, %s", p.ChurnRate, p.Message(), p.Pace())
		},
		run: runChurn,
	}
}

const (
	guests     = 32               // clients that are there at a time, at most
	guestLimit = 10 * time.Second // for one client's visit
)

func runChurn(ctx context.Context, g *Rig, p result.Params) ([]result.Metric, error) {
	t := newTraffic(g, p)
	t.phases, t.words = 2, []string{"alone", "with churn"}
	if err := t.pairs(ctx); err != nil {
		return nil, err
	}
	t.start(ctx)
	from, to, err := t.warm(ctx)
	if err == nil {
		from, to, err = t.phase(ctx, 0, p.Duration)
	}
	ms := rates("alone: ", from, to)
	if err == nil {
		visits := t.visit(ctx, p.ChurnRate)
		from, to, err = t.phase(ctx, 1, p.Duration)
		visits.stop()
		visits.tell(g)
		ms = append(ms, rates("", from, to)...)
		ms = append(ms, visits.metrics(time.Duration(to.at-from.at))...)
	}
	v, late := t.finish(context.WithoutCancel(ctx))
	if err == nil {
		err = late
	}
	ms = append(append(ms, delayMetrics("alone: ", t.delays(0))...), delayMetrics("", t.delays(1))...)
	if a, b := value(ms, "alone: delivered"), value(ms, "delivered"); a > 0 && b > 0 {
		ms = append(ms, result.Metric{Name: "delivered, with/alone", Unit: result.Ratio, Value: b / a, Better: result.Higher})
	}
	ms = append(append(append(ms, v.metrics()...), t.lag()...), memory(to)...)
	if err == nil {
		ms = append(ms, g.leftover(ctx, from)...)
	}
	return ms, err
}

// leftover compares the node now, when all guests have gone, with what it was at the mark before they came.
func (g *Rig) leftover(ctx context.Context, before mark) []result.Metric {
	if !before.known {
		return nil
	}
	var left int
	for range 20 { // a node may take a moment to notice that sockets are gone
		u, ok := g.Usage()
		if !ok {
			return nil
		}
		if left = u.Files - before.node.Files; left <= 0 || sleep(ctx, 100*time.Millisecond) != nil {
			break
		}
	}
	ms := []result.Metric{{Name: "files growth", Value: float64(max(0, left)), Better: result.Lower, Worst: true}}
	if rss, ok := g.settled(ctx); ok {
		ms = append(ms, result.Metric{Name: "RSS growth", Unit: result.Bytes, Value: float64(rss - before.node.RSS), Better: result.Lower})
	}
	return ms
}

// visits are the clients that come and go.
type visits struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	served atomic.Uint64
	mu     sync.Mutex
	setup  *load.Latency // from dialling to the confirmed name; guarded by mu
	failed []error       // guarded by mu
	count  int           // of failures; guarded by mu
}

// visit lets clients come at a steady rate until stop.
func (t *traffic) visit(ctx context.Context, rate int) *visits {
	ctx, cancel := context.WithCancel(ctx)
	v := &visits{cancel: cancel, setup: load.NewLatency()}
	due := make(chan struct{}, guests)
	v.done.Go(func() {
		defer close(due)
		tick := time.NewTicker(time.Second / time.Duration(rate))
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
	})
	for i := range guests {
		random := rand.New(rand.NewPCG(uint64(i), 1))
		v.done.Go(func() {
			for n := 0; ; n++ {
				if _, ok := <-due; !ok {
					return
				}
				id := uint64(i+1)<<32 | uint64(n+1)
				v.note(t.guest(ctx, id, random.IntN(2) == 0, v))
			}
		})
	}
	return v
}

// guest is one visit: connect, subscribe, publish one message to itself through a second connection's eyes, get it,
// and leave, in order (the name is withdrawn first) or abruptly.
func (t *traffic) guest(ctx context.Context, id uint64, orderly bool, v *visits) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), guestLimit)
	defer cancel()
	begin := time.Now()
	r := load.NewReceiver(0, 1, 0)
	name := load.Address{Parts: [3]string{"bench", t.rig.run, "guest"}, ID: id}
	at := func(int) load.Address { return name }
	in, err := t.rig.Target.Dialer.Dial(ctx, t.rig.addrs[len(t.rig.addrs)-1], load.DialOptions{Sink: r, ReadBuffer: 8 << 10})
	if err != nil {
		return err
	}
	defer in.Close()
	if _, err := in.Subscribe(ctx, 1, 0, at); err != nil {
		return err
	}
	v.ready(time.Since(begin))
	out, err := t.rig.Target.Dialer.Dial(ctx, t.rig.addrs[0], load.DialOptions{ReadBuffer: 2 << 10})
	if err != nil {
		return err
	}
	defer out.Close()
	pub, err := out.Publisher(load.Message{From: load.Address{Parts: name.Parts, ID: id ^ 1<<63}, To: []load.Address{name}, Size: 64, IdentitySize: 64})
	if err != nil {
		return err
	}
	s := load.NewSender(pub, 64, r.From(0))
	if err := s.One(ctx); err != nil {
		return fmt.Errorf("a guest's message: %w", err)
	}
	if orderly {
		if _, err := in.Unsubscribe(ctx, 1, 0, at); err != nil {
			return err
		}
	}
	v.served.Add(1)
	return nil
}

func (v *visits) ready(d time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.setup.Record(int64(d))
}

func (v *visits) note(err error) {
	if err == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.count++; len(v.failed) < 3 {
		v.failed = append(v.failed, err)
	}
}

// stop lets those who are there finish.
func (v *visits) stop() {
	v.cancel()
	v.done.Wait()
}

// tell notes the first reasons of failed visits. Only after stop.
func (v *visits) tell(g *Rig) {
	for _, err := range v.failed {
		g.notes = append(g.notes, fmt.Sprintf("a client failed: %v", err))
	}
}

// metrics of visits over the time d. Only after stop.
func (v *visits) metrics(d time.Duration) []result.Metric {
	return []result.Metric{
		{Name: "clients served", Value: float64(v.served.Load()), Better: result.Higher, Worst: true},
		{Name: "clients served a second", Unit: result.PerSecond, Value: float64(v.served.Load()) / d.Seconds(), Better: result.Higher},
		{Name: "clients failed", Value: float64(v.count), Better: result.Lower, Worst: true},
		{Name: "setup p50", Unit: result.Nanoseconds, Value: float64(v.setup.Quantile(50)), Better: result.Lower},
		{Name: "setup p99", Unit: result.Nanoseconds, Value: float64(v.setup.Quantile(99)), Better: result.Lower},
	}
}

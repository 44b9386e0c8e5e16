package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/usage"
)

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
	setup, cancel := context.WithTimeout(ctx, p.SetupLimit)
	defer cancel()
	opened, err := together(p.Conns, companions, func(int) error {
		_, err := g.Dial(setup, load.Subscribing, load.DialOptions{ReadBuffer: 2 << 10})
		return err
	})
	took := time.Since(begin)
	after, known := g.Usage()
	ms := []result.Metric{reached("connections", opened), perSecond("connects", float64(opened)/took.Seconds())}
	if rss, ok := g.Settled(ctx); ok && known && opened > 0 {
		ms = append(ms, bytes("node RSS per idle connection", float64(rss-before)/float64(opened)),
			nanos("node CPU per connect", float64(after.CPU-cpu.CPU)/float64(opened)))
	}
	if err != nil {
		return ms, errors.Join(fmt.Errorf("%d of %d connections", opened, p.Conns), err)
	}
	with, err := beside(ctx, g, p, "with idle: ")
	ms = slices.Concat(ms, alone, with)
	for _, name := range []string{"delivered", result.CostMetric} {
		ms = append(ms, compared(name+", with/alone", value(with, "with idle: "+name), value(alone, "alone: "+name), result.Neither)...)
	}
	return ms, err
}

// beside measures one pair.
func beside(ctx context.Context, g *load.Rig, p result.Params, prefix string) ([]result.Metric, error) {
	ms, err := once(func(result.Params) cells { return cells{n: 1, members: 1, senders: 1} })(ctx, g, p)
	keep := []string{"delivered", result.OfferedMetric, "sent", result.CostMetric, "client CPU per delivered", "node cores", "client cores", "p50",
		"p99", "lost"}
	ms = slices.DeleteFunc(ms, func(m result.Metric) bool { return !slices.Contains(keep, m.Name) })
	for i := range ms {
		ms[i].Name = prefix + ms[i].Name
	}
	return ms, err
}

const callRound = 3 // messages to each client after the storm

// storm: all clients lose their sockets at once and come back at once, as after a network's hiccup. Afterwards each
// gets what is meant for it exactly once: names that died with the old sockets get nothing.
func storm(ctx context.Context, g *load.Rig, p result.Params) ([]result.Metric, error) {
	calm, w := newCrowd(g), newCrowd(g)
	all, ms, err := calm.come(ctx, p.Conns, companions, p.SetupLimit, "connected")
	defer func() { leave(all) }()
	var first, second called
	if err == nil {
		first, err = calm.call(ctx, all, callRound)
	}
	if err != nil {
		return ms, fmt.Errorf("before the storm: %w", err)
	}
	before, _ := g.Usage()
	leave(all)
	all, back, err := w.come(ctx, p.Conns, p.Conns, p.SetupLimit, "back")
	ms = slices.Concat(ms, back, w.setups())
	if err == nil {
		second, err = w.call(ctx, all, callRound)
		_ = load.Sleep(ctx, ghostTime) // a ghost's copy has gone the same way at the same time
		second.twice = heard(all, callRound).twice
	}
	ms = append(ms, fault("setups timed out", w.late), fault("lost", first.missed+second.missed), fault("duplicates", first.twice+second.twice))
	if err != nil {
		return ms, fmt.Errorf("after the storm: %w", err)
	}
	ms = append(ms, result.Metric{Name: "client CPU per comeback", Unit: result.Nanoseconds, Value: float64(w.client) / float64(p.Conns)})
	if after, known := g.Usage(); known && w.node > 0 {
		ms = append(ms, nanos("node CPU per comeback", float64(w.node)/float64(p.Conns)), bytes("node RSS peak", float64(after.Peak)))
		if rss, ok := g.Settled(ctx); ok {
			ms = append(ms, bytes("RSS growth", float64(rss-before.RSS)))
		}
	}
	return ms, nil
}

const (
	companions = 32               // clients that come at a time, where it is not the point that all come at once
	guestLimit = 20 * time.Second // for a visit, and for a message to a client
	ghostTime  = 20 * time.Millisecond
	backOff    = time.Second // of a client that tries again, for each time it has tried
)

// crowd is clients that come, hold a name each, get messages, and go. Safe for all.
type crowd struct {
	rig *load.Rig

	mu     sync.Mutex
	setup  *load.Latency // from dialling to the confirmed name; guarded by mu, as the rest
	served int
	failed int
	late   int // how often one has tried again

	node, client time.Duration // processor time of the latest come; node 0: not known
}

// member is a client that is there.
type member struct {
	name load.Address
	conn load.Conn
	got  *load.Receiver
}

func newCrowd(g *load.Rig) *crowd { return &crowd{rig: g, setup: load.NewLatency()} }

// together calls do with 0 to n-1, so many at a time, until one fails, and returns how many did not.
func together(n, workers int, do func(i int) error) (int, error) {
	g, ctx := errgroup.WithContext(context.Background())
	g.SetLimit(workers)
	var done atomic.Int64
	for i := 0; i < n && ctx.Err() == nil; i++ {
		g.Go(func() error {
			err := ctx.Err() // another may have failed while this one waited for its turn
			if err == nil {
				err = do(i)
			}
			if err == nil {
				done.Add(1)
			}
			return err
		})
	}
	err := g.Wait()
	return int(done.Load()), err
}

// join connects and subscribes a client. If it is stubborn, it tries again while ctx lasts when it was turned away or not
// answered, after a while that grows, as clients do: a node may take more at once than it can answer so soon.
func (w *crowd) join(ctx context.Context, id uint64, stubborn bool) (*member, error) {
	begun := time.Now()
	for tries := 1; ; tries++ {
		m := &member{name: w.rig.Address("client", id), got: load.NewReceiver(0, 1, 0)}
		var err error
		m.conn, err = w.rig.Open(ctx, load.Subscribing, load.DialOptions{Sink: m.got, ReadBuffer: 2 << 10})
		if err == nil {
			if _, err = m.conn.Subscribe(ctx, 1, 0, func(int) load.Address { return m.name }); err != nil {
				_ = m.conn.Close()
			}
		}
		again := err != nil && stubborn && ctx.Err() == nil
		w.mu.Lock()
		if err == nil {
			w.setup.Record(int64(time.Since(begun)))
		}
		if again {
			if w.late++; w.late == 1 {
				w.rig.Notes = append(w.rig.Notes, fmt.Sprintf("a client tried again: %v", err))
			}
		}
		w.mu.Unlock()
		if !again {
			return m, err
		}
		_ = load.Sleep(ctx, rand.N(time.Duration(tries)*backOff))
	}
}

// come has n clients join within a limit, so many at a time; if all come at once, they are stubborn. Half a crowd has no
// time. What it took node and generator is noted: who takes more than the other sets the pace.
func (w *crowd) come(ctx context.Context, n, workers int, limit time.Duration, word string) ([]*member, []result.Metric, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	all := make([]*member, n)
	begun := time.Now()
	node, known := w.rig.Usage()
	own, _ := usage.Own()
	came, err := together(n, workers, func(i int) (err error) {
		if all[i], err = w.join(ctx, uint64(i+1), workers == n); err != nil {
			all[i], err = nil, fmt.Errorf("client %d: %w", i, err)
		}
		return err
	})
	took := time.Since(begun)
	ours, _ := usage.Own()
	theirs, still := w.rig.Usage()
	w.client = ours.CPU - own.CPU
	if known && still {
		w.node = theirs.CPU - node.CPU
		w.rig.Notes = append(w.rig.Notes, fmt.Sprintf("%d clients %s in %v, in which the node took %v of processor time "+
			"and the generator %v", came, word, took.Round(time.Millisecond), w.node.Round(time.Millisecond), w.client.Round(time.Millisecond)))
	}
	ms := []result.Metric{reached("clients "+word, came)}
	switch {
	case err == nil:
		ms = append(ms, nanos("all "+word+" in", float64(took)))
	case ctx.Err() != nil && took >= limit:
		err = fmt.Errorf("%d of %d clients came within %v (--setup-limit): %w", came, n, limit, err)
	}
	return all, ms, err
}

// setups are the times that clients took to come.
func (w *crowd) setups() (ms []result.Metric) {
	if w.setup.Count() > 0 {
		ms = append(ms, nanos("setup p50", float64(w.setup.Quantile(50))), nanos("setup p99", float64(w.setup.Quantile(99))))
	}
	return ms
}

// leave closes the sockets of all without a word.
func leave(all []*member) {
	for _, m := range all {
		if m != nil {
			_ = m.conn.Close()
		}
	}
}

// called is what became of the messages to clients.
type called struct{ missed, twice uint64 }

// call publishes to all names, rounds messages each, and counts what did not come and what came more often; nothing when
// it ends early.
func (w *crowd) call(ctx context.Context, all []*member, rounds int) (called, error) {
	conn, err := w.rig.Open(ctx, load.Publishing, load.DialOptions{ReadBuffer: 2 << 10})
	if err != nil {
		return called{}, err
	}
	defer conn.Close()
	msg := load.Message{From: w.rig.Address("caller", rand.Uint64()), Size: 64, IdentitySize: 64}
	for _, m := range all {
		msg.To = append(msg.To, m.name)
	}
	pub, err := conn.Publisher(msg)
	if err != nil {
		return called{}, err
	}
	const batch = 64
	total := rounds * len(all)
	for i := 0; i < total; i += batch {
		if err := pub.Send(uint64(i), min(batch, total-i), load.Now(), 0); err != nil {
			return called{}, err
		}
	}
	now, moved := heard(all, rounds), time.Now()
	for now.missed > 0 && time.Since(moved) < guestLimit {
		if err := load.Sleep(ctx, time.Millisecond); err != nil {
			return called{}, errors.Join(err, fmt.Errorf("%d messages were under way", now.missed))
		}
		if n := heard(all, rounds); n != now {
			now, moved = n, time.Now()
		}
	}
	return now, nil
}

func heard(all []*member, rounds int) (sum called) {
	for _, m := range all {
		n := m.got.Arrivals().Messages
		sum.missed += max(uint64(rounds), n) - n
		sum.twice += max(uint64(rounds), n) - uint64(rounds)
	}
	return sum
}

// visits is a phase in which clients come and go at the rate of p, at most some at a time; those who are there at its end
// finish.
func (w *crowd) visits(ctx context.Context, word string, p result.Params) load.Phase {
	var guests errgroup.Group
	guests.SetLimit(1 + companions)
	var stop context.CancelFunc
	come := func() error {
		tick := time.NewTicker(time.Second / time.Duration(p.ChurnRate))
		defer tick.Stop()
		for id := uint64(1); ; id++ {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
			guests.TryGo(func() error { // without room the rate reached will show it
				w.note(w.visit(ctx, id))
				return nil
			})
		}
	}
	return load.Phase{Word: word, Length: p.Duration,
		Begin: func() {
			ctx, stop = context.WithCancel(ctx)
			guests.Go(come)
		},
		End: func() { stop(); _ = guests.Wait() }}
}

// visit is that of one client: it connects, subscribes, gets a message from another connection, and leaves: every second
// one in order (the name is withdrawn first), the others abruptly.
func (w *crowd) visit(ctx context.Context, id uint64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), guestLimit)
	defer cancel()
	m, err := w.join(ctx, id, false)
	if err != nil {
		return err
	}
	defer m.conn.Close()
	switch lost, err := w.call(ctx, []*member{m}, 1); {
	case err != nil:
		return fmt.Errorf("a guest's message: %w", err)
	case lost.missed > 0:
		return errors.New("a guest's message did not come")
	case id%2 == 0:
		return nil
	}
	_, err = m.conn.Unsubscribe(ctx, 1, 0, func(int) load.Address { return m.name })
	return err
}

// note counts how a visit ended, and notes why the first failed.
func (w *crowd) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.served++
	} else if w.failed++; w.failed <= 3 {
		w.rig.Notes = append(w.rig.Notes, fmt.Sprintf("a client failed: %v", err))
	}
}

// visited tells of visits over their span.
func (w *crowd) visited(s load.Span) []result.Metric {
	return append([]result.Metric{reached("clients served", w.served), perSecond("clients served a second", float64(w.served)/s.Seconds()),
		fault("clients failed", w.failed)}, w.setups()...)
}

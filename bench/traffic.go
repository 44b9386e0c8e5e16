package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
)

// traffic is the senders and receivers of one case. flows tells who should get what, for the judgement at the end.
type traffic struct {
	rig       *Rig
	p         Params
	phases    int
	sizes     []load.SizeShare // mixed payloads; none: all of p.Size
	senders   []*load.Sender
	publisher []load.Conn // of senders, same index
	receivers []*load.Receiver
	flows     []flow
	begun     mark
	phaseName atomic.Pointer[string]
	words     []string // of the phases, in samples; none: "measured"
	quiet     int64    // longest time in the last phase in which some receiver got nothing, ns

	cancel context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex
	err    error // the first error of a sender
}

// flow is one sender's messages towards one receiver, or towards several that share a sequence.
type flow struct {
	from *load.Sender
	seen *load.Sequence
	slow bool // loss is expected here
	any  bool // spread over receivers that do not wait for each other: their order says nothing
}

// missing is what others have overtaken.
func (f flow) missing() uint64 { return f.seen.Seen().Missing }

const (
	rescueAfter = time.Second     // a closed loop that hears nothing for so long goes on
	drainQuiet  = 2 * time.Second // nothing arrived for so long: the rest is lost
	drainLimit  = 10 * time.Second
	stopLimit   = 2 * time.Second // for a sender that the node keeps waiting
	lookEvery   = 50 * time.Millisecond
	stillFor    = rescueAfter * 3 / 2
	stalledFor  = 3 * time.Second // a node that delivers nothing for so long, although it has messages, stands still
)

func newTraffic(g *Rig, p Params) *traffic {
	t := &traffic{rig: g, p: p, phases: 1}
	t.inPhase(warmUp)
	return t
}

func (t *traffic) inPhase(name string) { t.phaseName.Store(&name) }

// feed opens a sender whose messages all receivers of gate expect.
func (t *traffic) feed(ctx context.Context, all bool, to []load.Address, gate ...*load.Sequence) error {
	s, err := t.sender(ctx, all, to, gate...)
	if err != nil {
		return err
	}
	for _, q := range gate {
		t.flows = append(t.flows, flow{from: s, seen: q})
	}
	return nil
}

// subscribe opens a connection for r.
func (t *traffic) subscribe(ctx context.Context, r *load.Receiver, to ...load.Address) error {
	c, err := t.rig.Dial(ctx, subscribing, load.DialOptions{Sink: r})
	if err != nil {
		return err
	}
	t.receivers = append(t.receivers, r)
	_, err = c.Subscribe(ctx, len(to), 0, func(i int) load.Address { return to[i] })
	return err
}

// receiver opens a subscribed connection that expects n senders from first on.
func (t *traffic) receiver(ctx context.Context, first uint32, n int, to ...load.Address) (*load.Receiver, load.Conn, error) {
	r := load.NewReceiver(first, n, t.phases)
	c, err := t.rig.Dial(ctx, subscribing, load.DialOptions{Sink: r})
	if err != nil {
		return nil, nil, err
	}
	t.receivers = append(t.receivers, r)
	_, err = c.Subscribe(ctx, len(to), 0, func(i int) load.Address { return to[i] })
	return r, c, err
}

// sender opens a publishing connection. Its number is the index among the traffic's senders.
func (t *traffic) sender(ctx context.Context, all bool, to []load.Address, gate ...*load.Sequence) (*load.Sender, error) {
	c, err := t.rig.Dial(ctx, publishing, load.DialOptions{})
	if err != nil {
		return nil, err
	}
	pub, err := c.Publisher(load.Message{
		Sender: uint32(len(t.senders)), From: t.rig.Name("sender", uint64(len(t.senders)+1)), To: to, All: all,
		Size: t.p.Size, Sizes: t.sizes, Identity: t.p.Identity, IdentitySize: t.p.IdentitySize,
	})
	if err != nil {
		return nil, err
	}
	mean := t.p.Size
	if len(t.sizes) > 0 {
		mean = load.MeanSize(t.sizes)
	}
	s := load.NewSender(pub, mean, gate...)
	t.senders = append(t.senders, s)
	t.publisher = append(t.publisher, c)
	return s, nil
}

// start lets the senders run until finish.
func (t *traffic) start(ctx context.Context) {
	ctx, t.cancel = context.WithCancel(ctx)
	t.begun = t.mark()
	t.done.Go(func() { t.sampler(ctx) })
	for i, s := range t.senders {
		t.done.Go(func() {
			var err error
			if t.p.Rate > 0 {
				err = s.Open(ctx, time.Second/time.Duration(t.p.Rate))
			} else {
				err = s.Closed(ctx, t.p.InFlight)
			}
			if err != nil {
				t.mu.Lock()
				defer t.mu.Unlock()
				t.err = errors.Join(t.err, fmt.Errorf("sender %d: %w", i, err))
			}
		})
	}
	t.done.Go(func() { t.watch(ctx) })
}

// watch rescues closed loops that wait for lost messages.
func (t *traffic) watch(ctx context.Context) {
	last := make([]uint64, len(t.senders))
	since := make([]time.Time, len(t.senders))
	for i := range since {
		since[i] = time.Now()
	}
	for sleep(ctx, rescueAfter/4) == nil {
		for i, s := range t.senders {
			if at := s.Acknowledged(); at != last[i] || at >= s.Sent() {
				last[i], since[i] = at, time.Now()
			} else if time.Since(since[i]) > rescueAfter {
				s.Rescue()
				since[i] = time.Now()
			}
		}
	}
}

// mark is a reading of all meters.
type mark struct {
	at        int64
	delivered uint64
	bytes     uint64
	sent      uint64
	node      process.Usage
	known     bool // node was measured
	client    process.Usage
	phase     *string // pointers tell phases apart
}

func (t *traffic) mark() mark {
	m := mark{at: load.Now(), phase: t.phaseName.Load()}
	m.node, m.known = t.rig.Usage()
	m.client, _ = process.Client()
	for _, r := range t.receivers {
		n, b := r.Total()
		m.delivered += n
		m.bytes += b
	}
	for _, s := range t.senders {
		m.sent += s.Sent()
	}
	return m
}

// phase measures for d, recording delays under number i.
func (t *traffic) phase(ctx context.Context, i int, d time.Duration) (from, to mark, err error) {
	from = t.mark()
	for _, r := range t.receivers {
		r.Phase(i, from.at)
	}
	t.inPhase(t.word(i))
	err = t.hold(ctx, d)
	t.inPhase(warmUp)
	t.quiet = 0
	for _, r := range t.receivers {
		t.quiet = max(t.quiet, r.Silence(load.Now()))
		r.Phase(-1, 0)
	}
	return from, t.mark(), err
}

// word is what samples of phase i are called.
func (t *traffic) word(i int) string {
	if i < len(t.words) {
		return t.words[i]
	}
	return measured
}

// hold waits for d. It ends early when the node or a connection is gone, or when nothing is delivered any more.
func (t *traffic) hold(ctx context.Context, d time.Duration) error {
	end := time.Now().Add(d)
	delivered, moved := uint64(0), time.Now()
	for {
		left := time.Until(end)
		if left <= 0 {
			return t.rig.Broken()
		}
		if err := sleep(ctx, min(left, lookEvery)); err != nil {
			return err
		}
		if err := t.rig.Broken(); err != nil {
			return err
		}
		if n := t.total(); n != delivered || !t.owed() {
			delivered, moved = n, time.Now()
		} else if time.Since(moved) > stalledFor {
			return fmt.Errorf("the node has delivered nothing for %v, although messages are under way", stalledFor)
		}
	}
}

// owed reports whether a sender's messages are under way.
func (t *traffic) owed() bool {
	return slices.ContainsFunc(t.senders, func(s *load.Sender) bool { return s.Acknowledged() < s.Sent() })
}

// silence is how long nothing has arrived anywhere.
func (t *traffic) silence() time.Duration {
	last := t.begun.at
	for _, r := range t.receivers {
		last = max(last, r.Last())
	}
	return time.Duration(load.Now() - last)
}

// total counts all deliveries.
func (t *traffic) total() uint64 {
	var sum uint64
	for _, r := range t.receivers {
		n, _ := r.Total()
		sum += n
	}
	return sum
}

// finish stops the senders, waits for what is still under way, and judges.
func (t *traffic) finish(ctx context.Context) (verdict, error) {
	t.cancel()
	stopped := make(chan struct{})
	go func() {
		t.done.Wait()
		close(stopped)
	}()
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	stuck := false
	select {
	case <-stopped:
	case <-limit.C:
		stuck = true
	}
	err := t.rig.Broken()
	still := t.owed() && t.silence() > stillFor
	t.drain(ctx)
	if stuck { // what such a sender had left in its buffers is no loss of the node: judged as sent it was not
		for _, c := range t.publisher {
			_ = c.Close()
		}
		<-stopped
	}
	if t.rig.curve == nil {
		t.rig.curve = curve(t.delays(0))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.judge()
	if err == nil && still && v.lost > 0 {
		err = fmt.Errorf("the node had delivered nothing for %v at the end, although messages were under way", stillFor)
	}
	return v, errors.Join(err, t.err)
}

// drain waits until everything has arrived, or nothing arrives any more.
func (t *traffic) drain(ctx context.Context) {
	begin, moved, last := time.Now(), time.Now(), uint64(0)
	for time.Since(moved) < drainQuiet && time.Since(begin) < drainLimit {
		if t.judge().open() == 0 || sleep(ctx, 10*time.Millisecond) != nil {
			return
		}
		if n := t.total(); n != last {
			last, moved = n, time.Now()
		}
	}
}

// verdict sums up what the sequences say.
type verdict struct {
	sent, lost, duplicates, reordered, foreign, rescues uint64
	slowLost                                            uint64 // of flows where loss is expected
}

func (v verdict) open() uint64 { return v.lost + v.slowLost }

func (t *traffic) judge() verdict {
	var v verdict
	for _, f := range t.flows {
		sent, seen := f.from.Sent(), f.seen.Seen()
		lost := seen.Missing
		if sent > seen.Next {
			lost += sent - seen.Next
		}
		if f.slow {
			v.slowLost += lost
		} else {
			v.lost += lost
		}
		v.duplicates += seen.Duplicates
		if !f.any {
			v.reordered += seen.Reordered
		}
	}
	for _, s := range t.senders {
		v.sent += s.Sent()
		v.rescues += s.Rescues()
	}
	for _, r := range t.receivers {
		v.foreign += r.Foreign()
	}
	return v
}

// delays merges what the receivers recorded in phase i. Only after finish.
func (t *traffic) delays(i int) *load.Latency {
	sum := load.NewLatency()
	for _, r := range t.receivers {
		sum.Merge(r.Delays(i))
	}
	return sum
}

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
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// traffic is the senders and receivers of one case. flows tells who should get what, for the judgement at the end.
type traffic struct {
	rig       *Rig
	p         result.Params
	phases    int
	sizes     []load.SizeShare // mixed payloads; none: all of p.Size
	senders   []*load.Sender
	publisher []load.Conn // of senders, same index
	receivers []*load.Receiver
	flows     []flow
	begun     mark
	phaseName atomic.Pointer[string]
	words     []string        // of the phases, in samples; none: "measured"
	quiet     int64           // longest time in the last phase in which some receiver got nothing, ns
	courses   []course        // what was sent, by phase
	absent    []*load.Latency // of what was to arrive in a phase and has not; set by finish

	cancel  context.CancelFunc
	sending sync.WaitGroup
	looking sync.WaitGroup // sampler and watch
	mu      sync.Mutex
	err     error // the first error of a sender
}

// course is which numbers of each sender belong to a phase.
type course map[*load.Sender]stretch

// stretch is a half-open range of numbers, stamped evenly between two times.
type stretch struct {
	first, end uint64
	from, to   int64
}

// at is when number n was to be sent, or nearly so: a closed loop does not keep its stamps.
func (s stretch) at(n uint64) int64 {
	return s.from + int64(float64(s.to-s.from)*float64(n-s.first)/float64(s.end-s.first))
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
	rescueAfter = time.Second // a closed loop that hears nothing for so long goes on
	lookEvery   = 50 * time.Millisecond
	stalledFor  = 3 * time.Second // a node that delivers nothing for so long, although it has messages, stands still
)

func newTraffic(g *Rig, p result.Params) *traffic {
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
	s.Pacer = t.rig.Target.pacer
	t.senders = append(t.senders, s)
	t.publisher = append(t.publisher, c)
	return s, nil
}

// start lets the senders run until finish, which has to be called, also when ctx ends.
func (t *traffic) start(ctx context.Context) {
	ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	t.courses, t.absent = make([]course, t.phases), make([]*load.Latency, t.phases)
	t.begun = t.mark()
	t.looking.Go(func() { t.sampler(ctx) })
	t.looking.Go(func() { t.watch(ctx) })
	for i, s := range t.senders {
		t.sending.Go(func() {
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
	sent      uint64 // as delivered: a message counts once for each receiver
	offered   uint64 // likewise, what an open loop was to send; 0: it is closed
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
	for _, f := range t.flows {
		if !f.slow {
			m.sent += f.from.Sent()
			m.offered += f.from.Due(m.at)
		}
	}
	return m
}

// warm lets the load run until it is to be measured. With an error the marks are of what there was, which is all there is.
func (t *traffic) warm(ctx context.Context) (from, to mark, err error) {
	if err = t.hold(ctx, t.p.Warmup); err != nil {
		t.rig.notes = append(t.rig.notes, "it ended in the warm-up: rates and costs are of the warm-up, and there are no delays")
	}
	return t.begun, t.mark(), err
}

// phase measures for d. Delays of what is to be sent meanwhile are recorded under number i, whenever it arrives.
func (t *traffic) phase(ctx context.Context, i int, d time.Duration) (from, to mark, err error) {
	from = t.mark()
	c := course{}
	for _, s := range t.senders {
		c[s] = stretch{first: t.scheduled(s, from.at), from: from.at}
	}
	for _, r := range t.receivers {
		r.Phase(i, from.at)
	}
	t.inPhase(t.word(i))
	err = t.hold(ctx, d)
	t.inPhase(warmUp)
	to = t.mark()
	t.quiet = 0
	for _, r := range t.receivers {
		t.quiet = max(t.quiet, r.Silence(load.Now()))
		r.End(to.at)
	}
	for _, s := range t.senders {
		st := c[s]
		st.end, st.to = t.scheduled(s, to.at), to.at
		c[s] = st
	}
	t.courses[i] = c
	return from, to, err
}

// scheduled is the number of the first message of s that is to be sent at the time at or later; of a closed loop, now.
func (t *traffic) scheduled(s *load.Sender, at int64) uint64 {
	if t.p.Rate > 0 {
		return s.Due(at)
	}
	return s.Sent()
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

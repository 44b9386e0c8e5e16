package load

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed31b3bfd0/slimgo/internal/usage"
)

// Traffic is the senders and receivers of one case. Receivers and senders are opened first; then Run does the rest,
// once. One goroutine uses it.
type Traffic struct {
	Case
	Rig     *Rig
	Phases  []Phase // Begin and End may be set until Run
	Spans   []Span  // of the phases that were begun; if none was, of the warm-up
	Verdict Verdict
	Cut     bool // it ended in the warm-up

	senders   []*Sender
	receivers []*Receiver
	flows     []Flow // who should get what, for the judgement at the end
	begun     Mark
	phaseName atomic.Pointer[string]

	cancel  context.CancelFunc
	ended   chan struct{}  // closed when all senders have
	err     error          // the first error of a sender; set before ended is closed
	looking sync.WaitGroup // the sampler
}

// Flow is one sender's messages towards one receiver, or towards several that share a sequence.
type Flow struct {
	From *Sender
	Seen *Sequence
	Slow bool // loss is expected here
}

// Phase is a stretch that is measured.
type Phase struct {
	Word       string // of its samples; empty: Measured
	Prefix     string // of its metrics
	Length     time.Duration
	Begin, End func() // called before and after it; nil: there is nothing to do
}

// Span is a stretch that was measured, whole or in part.
type Span struct {
	From, To Mark
	Quiet    time.Duration // the longest time in which some receiver got nothing

	sent   map[*Sender]stretch // which numbers of each sender belong to it
	absent *Latency            // of what was to arrive in it and has not; set by settle
}

// Seconds is how long it was.
func (s Span) Seconds() float64 { return time.Duration(s.To.At - s.From.At).Seconds() }

// Delivered is how many messages came in it.
func (s Span) Delivered() float64 { return float64(s.To.Delivered - s.From.Delivered) }

// Mark is a reading of all meters.
type Mark struct {
	At        int64
	Delivered uint64
	Bytes     uint64
	Sent      uint64 // as Delivered: a message counts once for each receiver
	Offered   uint64 // likewise, what an open loop was to send; 0: it is closed
	Node      usage.Usage
	Known     bool // Node was measured
	Client    usage.Usage

	phase *string // pointers tell phases apart
}

// stretch is a half-open range of numbers, stamped evenly between two times.
type stretch struct {
	first, end uint64
	from, to   int64
}

// at is when number n was to be sent, or nearly so: a closed loop does not keep its stamps.
func (s stretch) at(n uint64) int64 {
	return s.from + int64(float64(s.to-s.from)*float64(n-s.first)/float64(s.end-s.first))
}

const (
	rescueAfter = time.Second // a closed loop that hears nothing for so long goes on
	lookEvery   = 50 * time.Millisecond
	countEvery  = time.Millisecond // where the end of a count is awaited

	// StalledFor is how long a node may deliver nothing, although it has messages, until it is said to stand still.
	StalledFor = 30 * time.Second
)

// NewTraffic prepares traffic that is measured in these phases.
func NewTraffic(g *Rig, c Case, phases ...Phase) *Traffic {
	t := &Traffic{Rig: g, Case: c, Phases: phases}
	t.inPhase(WarmUp)
	return t
}

func (t *Traffic) inPhase(name string) { t.phaseName.Store(&name) }

// Join opens a subscribed connection for r.
func (t *Traffic) Join(ctx context.Context, r *Receiver, to ...Address) (Conn, error) {
	c, err := t.Rig.Dial(ctx, Subscribing, DialOptions{Sink: r})
	if err == nil {
		t.receivers = append(t.receivers, r)
		_, err = c.Subscribe(ctx, len(to), 0, func(i int) Address { return to[i] })
	}
	return c, err
}

// Feed opens a publishing connection whose messages all receivers of gate expect, and whose closed loop waits for them. The
// sender's number is the index among the traffic's senders.
func (t *Traffic) Feed(ctx context.Context, all bool, to []Address, gate ...*Sequence) (*Sender, error) {
	c, err := t.Rig.Dial(ctx, Publishing, DialOptions{})
	if err != nil {
		return nil, err
	}
	sizes, mean := t.Sizes.Turns(), t.Size
	if len(sizes) > 0 {
		sum := 0
		for _, size := range sizes {
			sum += size
		}
		mean = sum / len(sizes)
	}
	pub, err := c.Publisher(Message{
		Sender: t.Senders(), From: t.Rig.Name("sender", uint64(len(t.senders)+1)), To: to, All: all,
		Size: t.Size, Sizes: sizes, Identity: t.Identity, IdentitySize: t.IdentitySize,
	})
	if err != nil {
		return nil, err
	}
	s := NewSender(pub, mean, gate...)
	s.Sleep = t.Rig.Target.Sleep
	t.senders = append(t.senders, s)
	for _, q := range gate {
		t.Expect(Flow{From: s, Seen: q})
	}
	return s, nil
}

// Senders returns how many there are.
func (t *Traffic) Senders() uint32 { return uint32(len(t.senders)) }

// Expect takes a flow into the judgement.
func (t *Traffic) Expect(f Flow) { t.flows = append(t.flows, f) }

// Run lets the senders go, warms up, measures one phase after the other, stops the senders, waits for what is still under way
// and judges. Also with an error there are the spans of what there was. Nothing of the traffic runs any more when it returns.
func (t *Traffic) Run(ctx context.Context) error {
	var err error
	start := sync.OnceFunc(func() { t.start(ctx) })
	if t.Count == 0 { // a count is measured from its first message on
		start()
		err = t.hold(ctx, t.Warmup, false, false)
	}
	if err != nil {
		t.Rig.Notes = append(t.Rig.Notes, "it ended in the warm-up: rates and costs are of the warm-up, and there are no delays")
		t.Cut, t.Spans = true, []Span{{From: t.begun, To: t.mark()}}
	}
	for i, p := range t.Phases {
		if err != nil {
			break
		}
		if p.Begin != nil {
			p.Begin()
		}
		err = t.phase(ctx, i, p.Length, start)
		if p.End != nil {
			p.End()
		}
	}
	return cmp.Or(err, t.finish(context.WithoutCancel(ctx), err != nil))
}

// Last returns the span that was measured last.
func (t *Traffic) Last() Span { return t.Spans[len(t.Spans)-1] }

// start lets the senders run until finish.
func (t *Traffic) start(ctx context.Context) {
	ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	t.begun = t.mark()
	t.looking.Go(func() { t.sampler(ctx) })
	var sending errgroup.Group
	n := len(t.senders)
	for i, s := range t.senders {
		if t.Count > 0 {
			s.Last(uint64(t.Count*(i+1)/n - t.Count*i/n))
		}
		sending.Go(func() error {
			if err := s.Run(ctx, t.Case, i, n); err != nil {
				return fmt.Errorf("sender %d: %w", i, err)
			}
			return nil
		})
	}
	t.ended = make(chan struct{})
	go func() {
		t.err = sending.Wait()
		close(t.ended)
	}()
}

func (t *Traffic) mark() Mark {
	m := Mark{At: Now(), phase: t.phaseName.Load()}
	m.Node, m.Known = t.Rig.Usage()
	m.Client, _ = usage.Own()
	got := t.arrivals()
	m.Delivered, m.Bytes = got.Messages, got.Bytes
	for _, f := range t.flows {
		if !f.Slow {
			m.Sent += f.From.Sent()
			m.Offered += f.From.Due(m.At)
		}
	}
	return m
}

// phase measures for d. Delays of what is to be sent meanwhile are recorded under number i, whenever it arrives.
func (t *Traffic) phase(ctx context.Context, i int, d time.Duration, start func()) error {
	span := Span{From: t.mark(), sent: map[*Sender]stretch{}}
	for _, s := range t.senders {
		span.sent[s] = stretch{first: t.scheduled(s, span.From.At), from: span.From.At}
	}
	for _, r := range t.receivers {
		r.Phase(i, span.From.At)
	}
	t.inPhase(cmp.Or(t.Phases[i].Word, Measured))
	start()
	err := t.hold(ctx, d, t.Count > 0, true)
	t.inPhase(WarmUp)
	span.To = t.mark()
	if t.Count > 0 && err == nil {
		span.To.At = max(t.arrivals().Last, span.From.At+1)
	}
	for _, r := range t.receivers {
		span.Quiet = max(span.Quiet, time.Duration(r.End(span.To.At, Now())))
	}
	for _, s := range t.senders {
		st := span.sent[s]
		st.end, st.to = t.scheduled(s, span.To.At), span.To.At
		span.sent[s] = st
	}
	t.Spans = append(t.Spans, span)
	return err
}

// scheduled is the number of the first message of s that is to be sent at the time at or later; of a closed loop, now.
func (t *Traffic) scheduled(s *Sender, at int64) uint64 {
	if t.Open() {
		return s.Due(at)
	}
	return s.Sent()
}

// hold waits for d, or if counting for all messages of a fixed count; if some must come, for the first after d, too. It
// ends early when the node or a connection is gone, or when nothing is delivered any more.
func (t *Traffic) hold(ctx context.Context, d time.Duration, counting, some bool) error {
	every := lookEvery
	if counting {
		every, d = countEvery, 1<<62
	}
	end := time.Now().Add(d)
	delivered, moved := t.arrivals().Messages, time.Now()
	for before := delivered; ; {
		left := time.Until(end)
		if left <= 0 && !(some && delivered == before && t.owed()) || counting && t.counted() {
			return t.Rig.Broken()
		}
		if err := Sleep(ctx, min(cmp.Or(max(left, 0), countEvery), every)); err != nil {
			return err
		}
		if err := t.Rig.Broken(); err != nil {
			return err
		}
		for _, s := range t.senders {
			s.look(Now())
		}
		if n := t.arrivals().Messages; n != delivered || !t.owed() {
			delivered, moved = n, time.Now()
		} else if time.Since(moved) > StalledFor {
			return fmt.Errorf("the node has delivered nothing for %v, although messages are under way", StalledFor)
		}
	}
}

// counted reports whether all messages of a fixed count have come.
func (t *Traffic) counted() bool {
	return !t.owed() && !slices.ContainsFunc(t.senders, func(s *Sender) bool { return s.Sent() < s.last })
}

// owed reports whether a sender's messages are under way.
func (t *Traffic) owed() bool {
	return slices.ContainsFunc(t.senders, func(s *Sender) bool { return s.Acknowledged() < s.Sent() })
}

// arrivals is what all receivers got, and when the last of it came.
func (t *Traffic) arrivals() (sum Arrivals) {
	for _, r := range t.receivers {
		got := r.Arrivals()
		sum.Messages += got.Messages
		sum.Bytes += got.Bytes
		sum.Foreign += got.Foreign
		sum.Changed += got.Changed
		sum.Last = max(sum.Last, got.Last)
	}
	return sum
}

// Phases of samples that no scenario has another word for.
const (
	WarmUp   = "warm-up"
	Measured = "measured"
)

// Sample is what was seen in one stretch of a measurement, a second or less.
type Sample struct {
	At        float64 `json:"at_s"`     // end of the stretch, seconds since traffic began
	Seconds   float64 `json:"length_s"` // its length
	Phase     string  `json:"phase"`    // "measured" or the scenario's own word; "warm-up" is all that no phase holds as a whole
	Delivered float64 `json:"delivered_per_s"`
	Bytes     float64 `json:"bytes_per_s"`
	Lost      uint64  `json:"missing"` // numbers that others have overtaken, at the end of the stretch
	P50       float64 `json:"p50_ns"`  // of messages that arrived in the stretch; 0: none did
	P99       float64 `json:"p99_ns"`
	Max       float64 `json:"max_ns"`
	NodeCPU   float64 `json:"node_cores"`
	ClientCPU float64 `json:"client_cores"`
	RSS       int64   `json:"rss_bytes"` // of the node; 0: not measured
	Files     int     `json:"files"`
	Threads   int     `json:"threads"`
}

// sampleEvery is the length of a stretch: a second, shorter where the measurement is short.
func sampleEvery(length time.Duration) time.Duration {
	return min(time.Second, max(100*time.Millisecond, length/20))
}

// sampler runs beside the traffic until ctx ends. It owns nothing that others touch but the rig's samples, which are
// read when it has ended.
func (t *Traffic) sampler(ctx context.Context) {
	ticker := time.NewTicker(sampleEvery(t.Duration))
	defer ticker.Stop()
	last := t.begun
	for {
		select {
		case <-ticker.C:
			last = t.sample(last)
		case <-ctx.Done():
			if Now()-last.At > int64(sampleEvery(t.Duration)/4) {
				t.sample(last)
			}
			return
		}
	}
}

// sample appends what happened since the mark last and returns a new mark.
func (t *Traffic) sample(last Mark) Mark {
	now := t.mark()
	seconds := float64(now.At-last.At) / 1e9
	if seconds <= 0 {
		return last
	}
	delays := NewInterval()
	for _, r := range t.receivers {
		r.Take(delays)
	}
	s := Sample{
		At: float64(now.At-t.begun.At) / 1e9, Seconds: seconds, Phase: WarmUp,
		Delivered: float64(now.Delivered-last.Delivered) / seconds,
		Bytes:     float64(now.Bytes-last.Bytes) / seconds,
		ClientCPU: float64(now.Client.CPU-last.Client.CPU) / 1e9 / seconds,
		RSS:       now.Node.RSS, Files: now.Node.Files, Threads: now.Node.Threads,
	}
	if now.phase == last.phase {
		s.Phase = *now.phase
	}
	if now.Known && last.Known {
		s.NodeCPU = float64(now.Node.CPU-last.Node.CPU) / 1e9 / seconds
	}
	if delays.Count() > 0 {
		s.P50, s.P99, s.Max = float64(delays.Quantile(50)), float64(delays.Quantile(99)), float64(delays.Max())
	}
	for _, f := range t.flows {
		if !f.Slow {
			s.Lost += f.Seen.Seen().Missing
		}
	}
	t.Rig.Samples = append(t.Rig.Samples, s)
	if t.Rig.Progress != nil {
		t.Rig.Progress(s)
	}
	return now
}

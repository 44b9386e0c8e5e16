package load

import (
	"context"
	"math"
	"sync/atomic"
)

// maxBatch bounds the messages of one Publisher.Send, so that the window of a closed loop is looked at often enough.
const maxBatch = 64

// maxBatchBytes bounds the payload bytes of one Send.
const maxBatchBytes = 128 << 10

// Sender drives one Publisher, in a closed or an open loop. One goroutine runs it; Sent, Due, Until and Rescue are safe for all.
type Sender struct {
	Sleep func(due int64) // of an open loop, set before it: returns at that time on the clock of Now; nil: with the kernel's precision

	pub   Publisher
	gate  []*Sequence // the receivers whose progress lets a closed loop go on: the slowest counts
	batch int

	seq     uint64
	sent    atomic.Uint64
	waiting atomic.Bool
	wake    chan struct{}

	forgiven atomic.Uint64 // numbers up to here are no longer waited for
	rescues  atomic.Uint64

	rest     uint64 // looked: what was acknowledged at the last look
	restedAt int64  // looked: since when it is that

	last  uint64               // numbers from here on are not sent; set before the loop
	plan  atomic.Pointer[plan] // of an open loop; nil: it is none
	until atomic.Int64         // what is due then or later is not sent
	lag   *Latency             // how late the generator itself was
}

// plan is a schedule that has begun.
type plan struct {
	schedule
	begin int64
}

// NewSender prepares a sender of messages with payloads of size bytes. The receivers in gate must not have begun.
func NewSender(pub Publisher, size int, gate ...*Sequence) *Sender {
	s := &Sender{pub: pub, gate: gate, wake: make(chan struct{}, 1), lag: NewLatency(), last: math.MaxUint64}
	s.until.Store(math.MaxInt64)
	s.batch = min(maxBatch, max(1, maxBatchBytes/max(size, 1)))
	for _, q := range gate {
		q.sender.Store(s)
	}
	return s
}

// Sent returns the messages handed to the socket.
func (s *Sender) Sent() uint64 { return s.sent.Load() }

// Rescues counts how often Rescue had to let a closed loop go on.
func (s *Sender) Rescues() uint64 { return s.rescues.Load() }

// Due returns how many messages an open loop was to send before the time at, whether it could or not; 0: it is none.
func (s *Sender) Due(at int64) uint64 {
	p := s.plan.Load()
	if p == nil {
		return 0
	}
	return min(p.count(at-p.begin), s.last)
}

// Last has the loops end with message number n-1. It is called before them.
func (s *Sender) Last(n uint64) { s.last = n }

// Until has an open loop end when it has sent all that was due before the time at.
func (s *Sender) Until(at int64) { s.until.Store(at) }

// Lag tells how long after their intended time the messages of an open loop were taken up, without the time for which the
// node kept Send waiting: the generator's own share of the delay. Read it when the loop has ended.
func (s *Sender) Lag() *Latency { return s.lag }

// Acknowledged returns the number below which every gating receiver has seen something at least as new; of instances that
// share their messages, how many messages have come.
func (s *Sender) Acknowledged() uint64 {
	if len(s.gate) == 0 {
		return s.sent.Load()
	}
	acked := s.gate[0].progress.Load()
	for _, q := range s.gate[1:] {
		acked = min(acked, q.progress.Load())
	}
	return acked
}

// acknowledge is called by receivers after their counters are stored.
func (s *Sender) acknowledge() {
	if s.waiting.Load() && s.waiting.CompareAndSwap(true, false) {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// free returns how many messages may be sent now.
func (s *Sender) free(inflight uint64) int {
	acked := max(s.Acknowledged(), s.forgiven.Load())
	return int(min(acked+inflight, s.seq+uint64(s.batch), s.last) - min(s.seq, acked+inflight))
}

// Run sends in the way of c, as sender k of n, from 0 on, until ctx ends (nil) or the connection does.
func (s *Sender) Run(ctx context.Context, c Case, k, n int) error {
	if c.Open() {
		return s.open(ctx, c.schedule(k, n))
	}
	return s.closed(ctx, c.InFlight)
}

// closed keeps at most inflight messages under way. 0: no limit but the node's own backpressure.
func (s *Sender) closed(ctx context.Context, inflight int) error {
	limit := uint64(inflight)
	if inflight == 0 {
		limit = 1 << 62
	}
	for ctx.Err() == nil && s.seq < s.last {
		n := s.free(limit)
		if n == 0 {
			s.waiting.Store(true)
			if n = s.free(limit); n == 0 {
				select {
				case <-s.wake:
				case <-ctx.Done():
				}
				continue
			}
			s.waiting.Store(false)
		}
		if err := s.pub.Send(s.seq, n, Now(), 0); err != nil {
			return ended(ctx, err)
		}
		s.seq += uint64(n)
		s.sent.Store(s.seq)
	}
	return nil
}

// open sends by a schedule, whatever comes back, until that, ctx, Until or Last ends it. Stamps carry the intended time, so a
// node that pauses is charged for every message it kept waiting.
func (s *Sender) open(ctx context.Context, by schedule) error {
	sleep := s.Sleep
	if sleep == nil {
		sleep = nap
		defer exactly()()
	}
	begin := Now()
	s.plan.Store(&plan{by, begin})
	var excused int64 // Waited when the loop was last on time: what came since is the node's
	for ctx.Err() == nil && s.seq < s.last {
		due, until := begin+by.due(s.seq), min(s.until.Load(), begin+never)
		if due >= until {
			return nil
		}
		now := Now()
		if now < due {
			excused = s.pub.Waited()
			sleep(due)
			continue
		}
		n := int(min(by.count(min(now+1, until)-begin)-s.seq, uint64(s.batch), s.last-s.seq))
		step := int64(0) // of a batch all intervals are as one: a rate changes little in it
		if n > 1 {
			step = (begin + by.due(s.seq+uint64(n-1)) - due) / int64(n-1)
		}
		late := now - due - (s.pub.Waited() - excused)
		for i := range n {
			s.lag.Record(max(0, late-int64(i)*step))
		}
		if err := s.pub.Send(s.seq, n, due, step); err != nil {
			return ended(ctx, err)
		}
		s.seq += uint64(n)
		s.sent.Store(s.seq)
	}
	return nil
}

// look rescues a closed loop that has waited long for what seems lost. One goroutine calls it, again and again.
func (s *Sender) look(now int64) {
	if at := s.Acknowledged(); at != s.rest || at >= s.Sent() {
		s.rest, s.restedAt = at, now
	} else if now-s.restedAt > int64(rescueAfter) {
		s.Rescue()
		s.restedAt = now
	}
}

// Rescue lets a closed loop go on that waits for messages which seem lost: those sent so far are no longer waited for.
func (s *Sender) Rescue() {
	s.forgiven.Store(s.sent.Load())
	s.rescues.Add(1)
	s.acknowledge()
}

// ended hides the error of a connection that was closed because the run is over.
func ended(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

package load

import (
	"context"
	"math"
	"sync/atomic"
	"time"
)

// maxBatch bounds the messages of one Publisher.Send, so that the window of a closed loop is looked at often enough.
const maxBatch = 64

// maxBatchBytes bounds the payload bytes of one Send.
const maxBatchBytes = 128 << 10

// Sender drives one Publisher, in a closed or an open loop. One goroutine runs it; Sent, Due, Until and Rescue are safe for
// all.
type Sender struct {
	Pacer Pacer // of an open loop, set before it; nil: the most precise one of the system

	pub   Publisher
	gate  []*Sequence // the receivers whose progress lets a closed loop go on: the slowest counts
	batch int

	seq     uint64
	sent    atomic.Uint64
	waiting atomic.Bool
	wake    chan struct{}

	forgiven atomic.Uint64 // numbers up to here are no longer waited for
	rescues  atomic.Uint64

	// Open loop: message i is due at first + i*step.
	first, step atomic.Int64
	until       atomic.Int64 // what is due then or later is not sent
	lag         *Latency     // how late the generator itself was
}

// NewSender prepares a sender of messages with payloads of size bytes. The receivers in gate must not have begun.
func NewSender(pub Publisher, size int, gate ...*Sequence) *Sender {
	s := &Sender{pub: pub, gate: gate, wake: make(chan struct{}, 1), lag: NewLatency()}
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
	first, step := s.first.Load(), s.step.Load()
	if step == 0 || at <= first {
		return 0
	}
	return uint64((at-first-1)/step) + 1
}

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
	acked := s.gate[0].shared.progress.Load()
	for _, q := range s.gate[1:] {
		acked = min(acked, q.shared.progress.Load())
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
	return int(min(acked+inflight, s.seq+uint64(s.batch)) - min(s.seq, acked+inflight))
}

// Closed keeps at most inflight messages under way until ctx ends (nil) or the connection does. 0: no limit but the
// node's own backpressure.
func (s *Sender) Closed(ctx context.Context, inflight int) error {
	limit := uint64(inflight)
	if inflight == 0 {
		limit = 1 << 62
	}
	for ctx.Err() == nil {
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

// One sends a single message and returns when all gating receivers have it.
func (s *Sender) One(ctx context.Context) error {
	if err := s.pub.Send(s.seq, 1, Now(), 0); err != nil {
		return err
	}
	s.seq++
	s.sent.Store(s.seq)
	for s.Acknowledged() < s.seq {
		s.waiting.Store(true)
		if s.Acknowledged() >= s.seq {
			break
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Open sends one message each interval, whatever comes back, until ctx or Until ends it. Stamps carry the intended time,
// so a node that pauses is charged for every message it kept waiting.
func (s *Sender) Open(ctx context.Context, interval time.Duration) error {
	p := s.Pacer
	if p == nil {
		p = newPacer()
	}
	defer p.Done()
	step := int64(interval)
	begin := Now() + step
	s.first.Store(begin)
	s.step.Store(step)
	var excused int64 // Waited when the loop was last on time: what came since is the node's
	for ctx.Err() == nil {
		due, until := begin+int64(s.seq)*step, s.until.Load()
		if due >= until {
			return nil
		}
		now := Now()
		if now < due {
			excused = s.pub.Waited()
			p.Until(due)
			continue
		}
		n := min(int((min(now, until-1)-due)/step)+1, s.batch)
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

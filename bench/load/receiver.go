package load

import "sync/atomic"

// Receiver is the usual Sink: it finds the stamp, judges the sequence and records the delay.
//
// The sequences are fixed before the first message comes; Begin, Deliver and Flush belong to the reading goroutine; the
// counters are safe for all; latencies are read when the traffic has ended.
type Receiver struct {
	seqs    []*Sequence // by sender - base; nil: not expected here
	base    uint32
	touched []*Sequence
	phases  []*Latency

	now   int64
	phase *Latency // nil: not recording
	since int64    // stamps before this are not recorded
	last  int64    // when something arrived last

	total, bytes, foreign uint64

	shared struct {
		phase                 atomic.Int32 // -1: not recording
		since                 atomic.Int64
		total, bytes, foreign atomic.Uint64
		last, silence         atomic.Int64
	}
}

// NewReceiver expects the senders first..first+n-1 and keeps delays of so many phases apart.
func NewReceiver(first uint32, n, phases int) *Receiver {
	r := &Receiver{base: first, seqs: make([]*Sequence, n)}
	for i := range r.seqs {
		r.seqs[i] = new(Sequence)
	}
	for range phases {
		r.phases = append(r.phases, NewLatency())
	}
	r.shared.phase.Store(-1)
	return r
}

// From returns the sequence of one sender.
func (r *Receiver) From(sender uint32) *Sequence { return r.seqs[sender-r.base] }

// Phase begins recording delays of messages stamped at or after since under phase i; -1 ends it.
func (r *Receiver) Phase(i int, since int64) {
	r.shared.since.Store(since)
	r.shared.silence.Store(0)
	r.shared.phase.Store(int32(i))
}

// Silence returns the longest time, in nanoseconds, in which nothing arrived between the beginning of the phase and now.
// A sender in a closed loop stops when a node does, so delays alone would not show it.
func (r *Receiver) Silence(now int64) int64 {
	return max(r.shared.silence.Load(), now-max(r.shared.last.Load(), r.shared.since.Load()))
}

// Delays returns the recorder of phase i.
func (r *Receiver) Delays(i int) *Latency { return r.phases[i] }

// Total returns messages and message bytes so far, duplicates included.
func (r *Receiver) Total() (messages, bytes uint64) {
	return r.shared.total.Load(), r.shared.bytes.Load()
}

// Foreign counts messages that were not meant for this receiver, or carry no stamp.
func (r *Receiver) Foreign() uint64 { return r.shared.foreign.Load() }

// Begin implements Sink.
func (r *Receiver) Begin(now int64) {
	r.now = now
	r.phase = nil
	if i := r.shared.phase.Load(); i >= 0 {
		r.phase = r.phases[i]
		r.since = r.shared.since.Load()
	}
}

// Deliver implements Sink.
func (r *Receiver) Deliver(msg []byte) {
	s, ok := ReadStamp(msg)
	i := s.Sender - r.base
	if !ok || i >= uint32(len(r.seqs)) {
		r.foreign++
		return
	}
	r.total++
	r.bytes += uint64(len(msg))
	q := r.seqs[i]
	q.See(s.Seq)
	if n := len(r.touched); n == 0 || r.touched[n-1] != q {
		r.touched = append(r.touched, q)
	}
	if r.phase != nil && s.At >= r.since {
		r.phase.Record(r.now - s.At)
	}
}

// Flush implements Sink.
func (r *Receiver) Flush() {
	r.shared.total.Store(r.total)
	r.shared.bytes.Store(r.bytes)
	r.shared.foreign.Store(r.foreign)
	if len(r.touched) == 0 {
		return
	}
	if r.phase != nil {
		if gap := r.now - max(r.last, r.since); gap > r.shared.silence.Load() {
			r.shared.silence.Store(gap)
		}
	}
	r.last = r.now
	r.shared.last.Store(r.now)
	for _, q := range r.touched {
		q.Publish()
	}
	r.touched = r.touched[:0]
}

package load

import (
	"sync"
	"sync/atomic"
)

// Receiver is the usual Sink: it finds the stamp, judges the sequence and records the delay.
//
// The sequences are fixed before the first message comes; Begin, Deliver and Flush belong to the reading goroutine; the
// counters are safe for all; latencies are read when the traffic has ended.
type Receiver struct {
	seqs    []*Sequence // by sender - base; nil: not expected here
	base    uint32
	touched []*Sequence
	phases  []*Latency

	begun bool // between Begin and Flush
	now   int64
	phase *Latency // nil: not recording
	since int64    // stamps before this are not recorded
	last  int64    // when something arrived last

	total, bytes, foreign uint64

	mu       sync.Mutex  // held from Begin to Flush
	interval *Latency    // since the last Take; guarded by mu
	group    *sync.Mutex // likewise held, when receivers share their sequences; else nil

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
	r.interval = NewInterval()
	r.shared.phase.Store(-1)
	return r
}

// NewInstances returns n receivers that share the sequences of the senders first..first+senders-1: each message is
// expected by any one of them.
func NewInstances(n int, first uint32, senders, phases int) []*Receiver {
	all := []*Receiver{NewReceiver(first, senders, phases)}
	all[0].group = new(sync.Mutex)
	for _, q := range all[0].seqs {
		q.instances = true
	}
	for range n - 1 {
		r := NewReceiver(first, 0, phases)
		r.seqs, r.group = all[0].seqs, all[0].group
		all = append(all, r)
	}
	return all
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

// Last returns when something arrived last, on the clock of Now; 0: never.
func (r *Receiver) Last() int64 { return r.shared.last.Load() }

// Delays returns the recorder of phase i.
func (r *Receiver) Delays(i int) *Latency { return r.phases[i] }

// Total returns messages and message bytes so far, duplicates included.
func (r *Receiver) Total() (messages, bytes uint64) {
	return r.shared.total.Load(), r.shared.bytes.Load()
}

// Take adds to sum the delays of what has arrived since the last Take, and forgets them. Safe for all.
func (r *Receiver) Take(sum *Latency) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.interval.Count() > 0 {
		sum.Merge(r.interval)
		r.interval.Reset()
	}
}

// Foreign counts messages that were not meant for this receiver, or carry no stamp.
func (r *Receiver) Foreign() uint64 { return r.shared.foreign.Load() }

// Begin implements Sink.
func (r *Receiver) Begin(now int64) {
	if !r.begun {
		r.begun = true
		r.mu.Lock()
		if r.group != nil {
			r.group.Lock()
		}
	}
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
	d := r.now - s.At
	r.interval.Record(d)
	if r.phase != nil && s.At >= r.since {
		r.phase.Record(d)
	}
}

// Flush implements Sink.
func (r *Receiver) Flush() {
	r.flush()
	r.begun = false
	if r.group != nil {
		r.group.Unlock()
	}
	r.mu.Unlock()
}

func (r *Receiver) flush() {
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

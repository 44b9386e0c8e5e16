package load

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// Receiver is the usual Sink: it finds the stamp, judges the sequence and records the delay.
//
// The sequences are fixed before the first message comes; Begin, Deliver and Flush belong to the reading goroutine; the
// counters are safe for all; latencies are read after Settle.
type Receiver struct {
	seqs    []*Sequence // by sender - base; nil: not expected here
	base    uint32
	touched []*Sequence
	phases  []*Latency

	begun   bool // between Begin and Flush
	now     int64
	windows *windows // as of Begin
	last    int64    // when something arrived last

	total, bytes, foreign, changed uint64

	mu       sync.Mutex  // held from Begin to Flush
	interval *Latency    // since the last Take; guarded by mu
	group    *sync.Mutex // likewise held, when receivers share their sequences; else nil

	shared struct {
		windows                        atomic.Pointer[windows] // replaced as a whole
		total, bytes, foreign, changed atomic.Uint64
		last, silence                  atomic.Int64
	}
}

// windows says under which phase a delay is recorded. It goes by the stamp, whenever the message comes: those that a
// node holds back beyond the end of a phase are the ones that matter.
type windows struct {
	spans   []span // by phase; of one that has not begun: empty
	running int    // the phase that goes on; -1: none
}

// span is a half-open stretch of stamps.
type span struct{ from, to int64 }

// NewReceiver expects the senders first..first+n-1 and keeps delays of so many phases apart.
func NewReceiver(first uint32, n, phases int) *Receiver {
	r := &Receiver{base: first, seqs: make([]*Sequence, n)}
	for i := range r.seqs {
		r.seqs[i] = new(Sequence)
	}
	for range phases {
		r.phases = append(r.phases, NewLatency())
	}
	for _, q := range r.seqs {
		q.guard = &r.mu
	}
	r.interval = NewInterval()
	r.shared.windows.Store(&windows{spans: make([]span, phases), running: -1})
	return r
}

// NewInstances returns n receivers that share the sequences of the senders first..first+senders-1: each message is
// expected by any one of them.
func NewInstances(n int, first uint32, senders, phases int) []*Receiver {
	all := []*Receiver{NewReceiver(first, senders, phases)}
	all[0].group = new(sync.Mutex)
	for _, q := range all[0].seqs {
		q.instances, q.guard = true, all[0].group
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

// Phase begins phase i: delays of messages stamped at from or later belong to it, until End. One goroutine calls Phase,
// End and Settle.
func (r *Receiver) Phase(i int, from int64) {
	w := &windows{spans: slices.Clone(r.shared.windows.Load().spans), running: i}
	w.spans[i] = span{from, math.MaxInt64}
	r.shared.silence.Store(0)
	r.shared.windows.Store(w)
}

// End ends the phase that runs: messages stamped before to still belong to it, whenever they arrive.
func (r *Receiver) End(to int64) {
	was := r.shared.windows.Load()
	if was.running < 0 {
		return
	}
	w := &windows{spans: slices.Clone(was.spans), running: -1}
	w.spans[was.running].to = to
	r.shared.windows.Store(w)
}

// Settle ends all recording. When it returns, delays may be read.
func (r *Receiver) Settle() {
	r.shared.windows.Store(&windows{running: -1})
	r.mu.Lock() // waits for a batch that still records
	defer r.mu.Unlock()
}

// Silence returns the longest time, in nanoseconds, in which nothing arrived between the beginning of the phase and
// now. A sender in a closed loop stops when a node does, so delays alone would not show it.
func (r *Receiver) Silence(now int64) int64 {
	w := r.shared.windows.Load()
	if w.running < 0 {
		return r.shared.silence.Load()
	}
	return max(r.shared.silence.Load(), now-max(r.shared.last.Load(), w.spans[w.running].from))
}

// Last returns when something arrived last, on the clock of Now; 0: never.
func (r *Receiver) Last() int64 { return r.shared.last.Load() }

// Delays returns the recorder of phase i, to be read after Settle.
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

// Foreign counts messages that were not meant for this receiver.
func (r *Receiver) Foreign() uint64 { return r.shared.foreign.Load() }

// Changed counts messages whose payload is not the one that a sender has stamped. Whose they were cannot be told, so
// that they are missing there.
func (r *Receiver) Changed() uint64 { return r.shared.changed.Load() }

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
	r.windows = r.shared.windows.Load()
}

// Deliver implements Sink.
func (r *Receiver) Deliver(msg []byte) {
	s, ok := ReadStamp(msg)
	i := s.Sender - r.base
	switch {
	case !ok:
		r.changed++
		return
	case i >= uint32(len(r.seqs)):
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
	for i, w := range r.windows.spans {
		if s.At >= w.from && s.At < w.to {
			r.phases[i].Record(d)
			break
		}
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
	r.shared.changed.Store(r.changed)
	if len(r.touched) == 0 {
		return
	}
	if i := r.windows.running; i >= 0 {
		if gap := r.now - max(r.last, r.windows.spans[i].from); gap > r.shared.silence.Load() {
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

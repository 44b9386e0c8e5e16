package load

import (
	"math"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Receiver is the usual Sink: it finds the stamp, judges the sequence and records the delay.
//
// Begin, Deliver and Flush belong to the reading goroutine; the others are safe for all, and wait for a batch that goes on.
type Receiver struct {
	seqs   []*Sequence // by sender - base
	base   uint32
	phases []*Latency // by phase; read after Settle

	own sync.Mutex
	mu  *sync.Mutex // held from Begin to Flush; own, or that of the first of those that share their sequences

	// Guarded by mu.
	now      int64       // of Begin
	touched  []*Sequence // since then
	got      Arrivals
	silence  int64    // the longest one in the phase that goes on, or was the last
	spans    []span   // by phase; of one that has not begun: empty
	running  int      // the phase that goes on; -1: none
	interval *Latency // since the last Take
}

// Arrivals are what a receiver got.
type Arrivals struct {
	Messages, Bytes uint64 // duplicates included
	Foreign         uint64 // not meant for it
	Changed         uint64 // whose payload is not what a sender has stamped. Whose they were is not known: they are missing there
	Last            int64  // when something of it arrived last, on the clock of Now; 0: never
}

// span is a half-open stretch of stamps: a delay is recorded under the phase in which its message was to be sent, whenever
// it comes. Those that a node holds back beyond the end of a phase are the ones that matter.
type span struct{ from, to int64 }

// NewReceiver expects the senders first..first+n-1 and keeps delays of so many phases apart.
func NewReceiver(first uint32, n, phases int) *Receiver {
	r := &Receiver{base: first, spans: make([]span, phases), running: -1, interval: NewInterval()}
	r.mu = &r.own
	for range n {
		r.seqs = append(r.seqs, &Sequence{guard: r.mu})
	}
	for range phases {
		r.phases = append(r.phases, NewLatency())
	}
	return r
}

// Instance returns a receiver that shares r's sequences: each message is expected by any one of them. It is called before
// anything comes.
func (r *Receiver) Instance() *Receiver {
	i := NewReceiver(r.base, 0, len(r.phases))
	i.seqs, i.mu = r.seqs, r.mu
	for _, q := range r.seqs {
		q.shared = true
	}
	return i
}

// From returns the sequence of one sender.
func (r *Receiver) From(sender uint32) *Sequence { return r.seqs[sender-r.base] }

// Phase begins phase i: delays of messages stamped at from or later belong to it, until End.
func (r *Receiver) Phase(i int, from int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spans[i], r.running, r.silence = span{from, math.MaxInt64}, i, 0
}

// End ends the phase that runs: messages stamped before to still belong to it, whenever they arrive. It returns the longest
// time, in nanoseconds, in which nothing arrived between its beginning and now. A sender in a closed loop stops when a node
// does, so delays alone would not show it.
func (r *Receiver) End(to, now int64) (silence int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.spans[r.running]
	s.to, r.running = to, -1
	return max(r.silence, now-max(r.got.Last, s.from))
}

// Settle ends all recording. When it returns, delays may be read.
func (r *Receiver) Settle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.spans)
}

// Delays returns the recorder of phase i, to be read after Settle.
func (r *Receiver) Delays(i int) *Latency { return r.phases[i] }

// Arrivals returns what it got so far.
func (r *Receiver) Arrivals() Arrivals {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got
}

// Take adds to sum the delays of what has arrived since the last Take, and forgets them.
func (r *Receiver) Take(sum *Latency) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.interval.Count() > 0 {
		sum.Merge(r.interval)
		r.interval.Reset()
	}
}

// Begin implements Sink.
func (r *Receiver) Begin(now int64) {
	r.mu.Lock()
	r.now = now
}

// Deliver implements Sink.
func (r *Receiver) Deliver(msg []byte) {
	s, ok := ReadStamp(msg)
	i := s.Sender - r.base
	switch {
	case !ok:
		r.got.Changed++
		return
	case i >= uint32(len(r.seqs)):
		r.got.Foreign++
		return
	}
	r.got.Messages++
	r.got.Bytes += uint64(len(msg))
	q := r.seqs[i]
	q.See(s.Seq)
	if n := len(r.touched); n == 0 || r.touched[n-1] != q {
		r.touched = append(r.touched, q)
	}
	d := r.now - s.At
	r.interval.Record(d)
	for i, w := range r.spans {
		if s.At >= w.from && s.At < w.to {
			r.phases[i].Record(d)
			break
		}
	}
}

// Flush implements Sink.
func (r *Receiver) Flush() {
	if len(r.touched) > 0 {
		if r.running >= 0 {
			r.silence = max(r.silence, r.now-max(r.got.Last, r.spans[r.running].from))
		}
		r.got.Last = r.now
		for _, q := range r.touched {
			q.Publish()
		}
		r.touched = r.touched[:0]
	}
	r.mu.Unlock()
}

// Latency collects delays in nanoseconds with three significant digits, from 1 ns to 5 minutes. One goroutine records;
// others read when it has stopped.
type Latency struct {
	h    *hdr.Histogram
	last int64 // equal delays of neighbours are counted here and recorded together
	n    int64
}

const maxLatency = int64(5 * time.Minute)

// NewLatency returns an empty recorder.
func NewLatency() *Latency { return &Latency{h: hdr.New(1, maxLatency, 3)} }

// NewInterval returns an empty recorder with two significant digits: small enough to be read out often.
func NewInterval() *Latency { return &Latency{h: hdr.New(1, maxLatency, 2)} }

// Reset forgets everything.
func (l *Latency) Reset() {
	l.h.Reset()
	l.n = 0
}

// Record counts one delay.
func (l *Latency) Record(ns int64) {
	if ns == l.last {
		l.n++
		return
	}
	l.settle()
	l.last, l.n = ns, 1
}

// spreadPoints is how many different delays stand for those of RecordSpread.
const spreadPoints = 1024

// RecordSpread counts n delays that lie evenly between low and high.
func (l *Latency) RecordSpread(n, low, high int64) {
	l.settle()
	k := min(n, spreadPoints)
	for i := range k {
		l.last, l.n = low+(high-low)*(2*i+1)/(2*k), n*(i+1)/k-n*i/k
		l.settle()
	}
}

func (l *Latency) settle() {
	if l.n == 0 {
		return
	}
	// The histogram refuses only values outside its range; those are clamped.
	_ = l.h.RecordValues(min(max(l.last, 1), maxLatency), l.n)
	l.n = 0
}

// Merge adds what o has counted.
func (l *Latency) Merge(o *Latency) {
	l.settle()
	o.settle()
	l.h.Merge(o.h)
}

// Count returns the number of delays.
func (l *Latency) Count() int64 { l.settle(); return l.h.TotalCount() }

// Quantile returns the delay in nanoseconds that the share p (0..100) does not exceed; 0 when nothing was recorded.
func (l *Latency) Quantile(p float64) int64 { l.settle(); return l.h.ValueAtPercentile(p) }

// Histogram returns all delays in HdrHistogram's V2 encoding, compressed, in base64; empty when nothing was recorded.
func (l *Latency) Histogram() string {
	if l.Count() == 0 {
		return ""
	}
	b, _ := l.h.EncodeV2() // into memory
	return string(b)
}

// Max returns the longest delay in nanoseconds.
func (l *Latency) Max() int64 { l.settle(); return l.h.Max() }

// Figure is one that tells of delays, by its name, in nanoseconds.
type Figure struct {
	Name  string
	Value float64
}

// Figures are percentiles, maximum, mean and standard deviation; none where nothing was recorded.
func (l *Latency) Figures() (all []Figure) {
	n := l.Count()
	if n == 0 {
		return nil
	}
	for _, q := range []struct {
		name  string
		p     float64
		least int64 // of so many delays one lies above it: of fewer it is the maximum by another name
	}{{"p50", 50, 0}, {"p90", 90, 0}, {"p99", 99, 0}, {"p99.9", 99.9, 1000}, {"p99.99", 99.99, 10000}} {
		if n >= q.least {
			all = append(all, Figure{q.name, float64(l.Quantile(q.p))})
		}
	}
	return append(all, Figure{"max", float64(l.Max())}, Figure{"mean", l.h.Mean()}, Figure{"deviation", l.h.StdDev()})
}

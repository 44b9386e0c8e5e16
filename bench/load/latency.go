package load

import (
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

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

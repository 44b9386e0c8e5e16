package load

import (
	"testing"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Delays are kept whole, in the encoding that tools of HdrHistogram read.
func TestLatencyTellsItsShape(t *testing.T) {
	l := NewLatency()
	if l.Histogram() != "" {
		t.Error("a histogram of nothing")
	}
	if got := l.Figures(); got != nil {
		t.Errorf("of nothing %v", got)
	}
	for range 50 {
		l.Record(1_000_000)
		l.Record(3_000_000)
	}
	got := map[string]float64{}
	for _, f := range l.Figures() {
		got[f.Name] = f.Value
	}
	if m, d := got["mean"], got["deviation"]; len(got) != 6 || m < 1.99e6 || m > 2.01e6 || d < 0.99e6 || d > 1.01e6 { // no p99.9 of a hundred
		t.Errorf("%v", got)
	}
	h, err := hdr.Decode([]byte(l.Histogram()))
	if err != nil || h.TotalCount() != 100 || !h.ValuesAreEquivalent(h.ValueAtPercentile(50), 1_000_000) {
		t.Errorf("%v: read as %+v", err, h)
	}
}

package report

import (
	"bytes"
	"encoding/csv"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// written is r in the form of that name.
func written(t *testing.T, name string, r *result.Results) string {
	t.Helper()
	all := Forms()
	i := slices.IndexFunc(all, func(f Form) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("no form %s", name)
	}
	var b bytes.Buffer
	if err := all[i].Write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// delayed is a run of two rounds, each with so many of these delays.
func delayed(t *testing.T, delays map[int64]int) *result.Results {
	t.Helper()
	r := fixture()
	r.Cases, r.Nodes = r.Cases[:1], r.Nodes[:1]
	c := &r.Cases[0]
	c.Nodes = c.Nodes[:1]
	c.Nodes[0].Doubts = nil
	c.Params.Warmup, c.Params.Duration = 1e9, 3e9
	for i := range c.Nodes[0].Rounds {
		l := load.NewLatency()
		for d, n := range delays {
			for range n {
				l.Record(d)
			}
		}
		c.Nodes[0].Rounds[i].Histogram, c.Nodes[0].Rounds[i].Begun = l.Histogram(), r.Begun
	}
	return r
}

func TestHistogramShowsEveryRange(t *testing.T) {
	r := delayed(t, map[int64]int{80_000: 250, 90_000: 500, 190_000: 249, 4_900_000: 1})
	want := `p2p 1→1 100 B on ours: 2,000 delays
  up to  100 µs  75.00%        1,500 ██████████████████████████████████████████████████
  up to  200 µs  24.90%          498 █████████████████
  up to  500 µs   0.00%            0
  up to    1 ms   0.00%            0
  up to    2 ms   0.00%            0
  up to    5 ms   0.10%            2 █
`
	if got := written(t, "histogram", r); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := written(t, "histogram", new(result.Results)); got != "no delays were measured\n" {
		t.Errorf("of nothing: %s", got)
	}
}

// The log is read by HdrHistogram's own reader, and has every delay of every round.
func TestHDRLogIsReadBack(t *testing.T) {
	r := delayed(t, map[int64]int{90_000: 750, 4_900_000: 250})
	in := hdr.NewHistogramLogReader(strings.NewReader(written(t, "hdr", r)))
	for i := range 2 {
		h, err := in.NextIntervalHistogram()
		if err != nil || h == nil {
			t.Fatalf("round %d: %v", i+1, err)
		}
		if h.TotalCount() != 1000 || h.Tag() != "p2p_1→1_100_B_on_ours" || !h.ValuesAreEquivalent(h.ValueAtPercentile(75), 90_000) ||
			!h.ValuesAreEquivalent(h.Max(), 4_900_000) || h.EndTimeMs()-h.StartTimeMs() != 3000 {
			t.Errorf("round %d: %d delays, tag %s, p75 %d, %d ms", i+1, h.TotalCount(), h.Tag(), h.ValueAtPercentile(75), h.EndTimeMs()-h.StartTimeMs())
		}
	}
	if h, err := in.NextIntervalHistogram(); h != nil || err != nil {
		t.Errorf("and then: %v, %v", h, err)
	}
}

func TestDamagedHistogramIsNamed(t *testing.T) {
	r := delayed(t, map[int64]int{1: 1})
	r.Cases[0].Nodes[0].Rounds[1].Histogram = "nonsense"
	for _, f := range []func(*bytes.Buffer) error{
		func(b *bytes.Buffer) error { return writeHDR(b, r) }, func(b *bytes.Buffer) error { return writeHistogram(b, r) },
	} {
		if err := f(new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "p2p 1→1 100 B on ours: delays of round 2") {
			t.Errorf("got %v", err)
		}
	}
}

func TestCSVHasEachValue(t *testing.T) {
	lines, err := csv.NewReader(strings.NewReader(written(t, "csv", fixture()))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"p2p", "1→1 100 B", "rust", cost, "ns", "1", "3600", ""}
	if !slices.ContainsFunc(lines, func(l []string) bool { return slices.Equal(l, want) }) {
		t.Errorf("no %q in %q", want, lines)
	}
	if len(lines) != 1+2*3*2 { // two cases, three nodes, two metrics that have values
		t.Errorf("%d lines", len(lines))
	}
}

// What is not the node's is marked in forms for machines, too.
func TestLimitedFiguresAreMarkedInEveryForm(t *testing.T) {
	r := delayed(t, map[int64]int{90_000: 10})
	marks := map[string]string{"histogram": "  ! * client-limited: lower", "csv": "p99,ns,1,5,client-limited: lower", "hdr": "# the next is not the node's alone: client-limited: lower",
		"prometheus": `slim_bench_p99_seconds{scenario="p2p",case="1→1 100 B",node="ours",limited="true"} 5e-09`}
	n := &r.Cases[0].Nodes[0]
	n.Metrics = []result.Series{{Name: "p99", Unit: result.Nanoseconds, Value: 5, Values: []float64{5}, Rounds: []int{1}}}
	for name, mark := range marks {
		n.Doubts = nil
		if text := written(t, name, r); strings.Contains(text, "limited:") || strings.Contains(text, `limited="true"`) {
			t.Errorf("%s of a node that was not limited:\n%s", name, text)
		}
		n.Doubts = []result.Doubt{{Kind: result.Limited, Text: "client-limited: lower the rate"}}
		if text := written(t, name, r); !strings.Contains(text, mark) {
			t.Errorf("%s: no %q in\n%s", name, mark, text)
		}
	}
}

// Prometheus' own parser reads the figures, in its base units, whatever labels and however often a case comes.
func TestPrometheusReadsTheFigures(t *testing.T) {
	r := fixture()
	r.Cases[1].Label = "odd \" \\ \n"
	r.Cases = append(r.Cases, r.Cases[0])
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(written(t, "prometheus", r)))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"slim_bench_node_cpu_per_delivered_seconds": 400e-9, "slim_bench_delivered_per_second": 2e6, "slim_bench_lost": 0,
		"slim_bench_delivered_with_alone_ratio": 1.2, "slim_bench_node_rss_per_idle_connection_bytes": 5960,
	} {
		f := families[name]
		if f == nil || f.GetMetric()[0].GetGauge().GetValue() != want {
			t.Errorf("%s: %v, want %g", name, f, want)
		}
	}
	series := map[string]bool{}
	for _, m := range families["slim_bench_lost"].GetMetric() {
		series[m.String()] = true
	}
	if len(series) != 9 {
		t.Errorf("%d series of three cases on three nodes", len(series))
	}
	if v := families["slim_bench_valid"].GetMetric()[0].GetGauge().GetValue(); v != 0 {
		t.Errorf("valid %g", v)
	}
}

// A file is there whole or not at all, and readable for whoever collects it.
func TestSaveReplacesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bench.prom")
	if err := os.WriteFile(path, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := delayed(t, map[int64]int{1: 1})
	if err := Save(path, func(w io.Writer) error { return writeHDR(w, r) }); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	st, _ := os.Stat(path)
	if err != nil || strings.HasPrefix(string(b), "before") || st.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v: %.20q", err, st.Mode(), b)
	}
	r.Cases[0].Nodes[0].Rounds[1].Histogram = "nonsense"
	if err := Save(path, func(w io.Writer) error { return writeHDR(w, r) }); err == nil {
		t.Error("no error")
	}
	if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, b) {
		t.Errorf("%v: the file is %.20q", err, again)
	}
	if all, err := os.ReadDir(filepath.Dir(path)); err != nil || len(all) != 1 {
		t.Errorf("%v, %v are left", err, all)
	}
}

package report

import (
	"bytes"
	"encoding/xml"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

const cost = result.CostMetric

// fixture is a run of two cases on three nodes, with everything that can go wrong in it.
func fixture() *result.Results {
	random := rand.New(rand.NewPCG(1, 2))
	r := &result.Results{
		Schema: result.Schema, Version: "v0.0.0", Commit: "abc", Begun: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Rounds: 2, Suite: "ci",
		Nodes:   []result.NodeInfo{{Name: "ours", Protocol: "slim", Command: "slim --config {config}"}, {Name: "rust", Protocol: "slim", Addresses: []string{"10.0.0.1:46357"}}, {Name: "floor", Protocol: "blind"}},
		Command: []string{"run", "--suite", "ci"}, Invalid: []string{"p2p: too noisy"},
		Verdicts: []result.Verdict{
			{Case: "p2p 1→1", Condition: "lost <= 0", Outcome: result.Pass, Rounds: 2},
			{Case: "p2p 1→1", Condition: cost + " / rust <= 0.1", Outcome: result.Fail, Value: 0.2, Low: 0.18, High: 0.22, Rounds: 5, Reason: "the ratio is 0.2"},
			{Case: "fanout", Condition: "x", Outcome: result.Unclear, Reason: "noisy"},
			{Case: "fanout", Condition: "y", Outcome: result.Skipped, Reason: "there is no node base in this run"},
		},
	}
	r.Machine.CPU, r.Machine.Cores, r.Machine.OS = "test CPU", 2, "linux"
	for _, label := range []string{"1→1 100 B", "<script>alert(1)</script> & |pipes|"} {
		c := result.CaseResult{Scenario: "p2p", Label: label}
		for k := range r.Nodes {
			scale := []float64{1, 9, 0.8}[k]
			n := result.NodeResult{Metrics: []result.Series{
				{Name: "delivered", Unit: result.PerSecond, Value: 2e6 / scale, Values: []float64{2e6 / scale}, Rounds: []int{1}},
				{Name: cost, Unit: result.Nanoseconds, Value: 400 * scale, Values: []float64{400 * scale}, Rounds: []int{1}},
				{Name: "p99", Unit: result.Nanoseconds, Value: 1e6 * scale}, {Name: "p50", Unit: result.Nanoseconds, Value: 4e5 * scale},
				{Name: "lost", Value: float64(k % 2 * 7), Worst: true, Better: result.Lower},
				{Name: "node RSS per idle connection", Unit: result.Bytes, Value: 5960}, {Name: "delivered, with/alone", Unit: result.Ratio, Value: 1.2},
			}}
			for round := range 2 {
				course := result.Round{Number: round + 1}
				for s := range 30 {
					phase := "measured"
					if s < 5 {
						phase = "warm-up"
					}
					course.Samples = append(course.Samples, load.Sample{At: float64(s + 1), Seconds: 1, Phase: phase, Delivered: 2e6 / scale * (0.9 + 0.2*random.Float64()),
						P50: 4e5 * scale * (0.9 + 0.3*random.Float64()), P99: 1e6 * scale * (0.8 + random.Float64()), NodeCPU: 0.8, ClientCPU: 0.9,
						RSS: int64(10<<20*scale) + int64(s)<<12})
				}
				for _, p := range []float64{0, 25, 50, 75, 90, 99, 99.9, 99.99, 99.999, 100} {
					course.Curve = append(course.Curve, load.Point{Percentile: p, Value: 1e5 * scale * (1 - math.Log10(1-min(p, 99.9999)/100))})
				}
				n.Rounds = append(n.Rounds, course)
			}
			c.Nodes = append(c.Nodes, n)
		}
		c.Nodes[1].Errors = []string{"round 2: the node ended"}
		c.Nodes[0].Limited = "client-limited: read CPU per message"
		r.Cases = append(r.Cases, c)
	}
	return r
}

func page1(t *testing.T, r *result.Results) string {
	t.Helper()
	var b bytes.Buffer
	if err := writeHTML(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPageStandsAlone(t *testing.T) {
	text := page1(t, fixture())
	for _, bad := range []string{"http://", "https://", "url(", " src=", "<script", "@import", "<link", "NaN", "Inf"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q in it", bad)
		}
	}
	for _, want := range []string{"&lt;script&gt;", "too noisy", "the node ended", "client-limited", "9×", "there is no node base", "badge fail"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

var svgs = regexp.MustCompile(`(?s)<svg.*?</svg>`)

func TestPlotsAreWellFormedAndInside(t *testing.T) {
	found := svgs.FindAllString(page1(t, fixture()), -1)
	if len(found) < 10 {
		t.Fatalf("%d drawings", len(found))
	}
	for _, s := range found {
		checkSVG(t, s)
	}
}

var number1 = regexp.MustCompile(`-?\d+(\.\d+)?`)

// checkSVG reads the drawing as XML, and wants every point of its lines inside the frame.
func checkSVG(t *testing.T, s string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("%v in %s", err, s)
		}
		e, ok := tok.(xml.StartElement)
		if !ok || e.Name.Local != "path" {
			continue
		}
		for _, a := range e.Attr {
			if a.Name.Local != "d" {
				continue
			}
			for i, n := range number1.FindAllString(a.Value, -1) {
				var v float64
				if err := xml.Unmarshal([]byte("<v>"+n+"</v>"), &v); err != nil {
					t.Fatal(err)
				}
				if limit := []float64{plotWidth, plotHeight}[i%2]; v < 0 || v > limit {
					t.Errorf("point %v outside of %v", v, limit)
				}
			}
		}
	}
}

// Time goes on through a measurement of several parts, whose samples count from 0 each.
func TestLinesNeverGoBackInTime(t *testing.T) {
	var samples []load.Sample
	for _, at := range []float64{1, 2, 3, 1, 2, 1} {
		phase := "measured"
		if at == 1 {
			phase = "warm-up"
		}
		samples = append(samples, load.Sample{At: at, Phase: phase, P99: 1e6, Delivered: 5})
	}
	r := &result.Results{Nodes: []result.NodeInfo{{Name: "x"}},
		Cases: []result.CaseResult{{Nodes: []result.NodeResult{{Rounds: []result.Round{{Samples: samples}}}}}}}
	for _, p := range plots(r, &r.Cases[0]) {
		for i, q := range p.Lines[0].At {
			if q.X != float64(i+1)*1e9 {
				t.Errorf("%s: point %d is at %v", p.Title, i, q.X)
			}
		}
		want := []mark{{1e9, "measured"}, {3e9, ""}, {4e9, "measured"}, {5e9, ""}}
		if !slices.Equal(p.Breaks, want) {
			t.Errorf("%s: marks %v, want %v", p.Title, p.Breaks, want)
		}
	}
	if len(samples) != 6 || samples[3].At != 1 {
		t.Error("the results were changed")
	}
}

func TestAxesHaveStepsThatAddUp(t *testing.T) {
	for _, c := range []struct {
		hi   float64
		want []float64
	}{{4, []float64{0, 1, 2, 3, 4}}, {0.6, []float64{0, 0.2, 0.4, 0.6}}, {25, []float64{0, 5, 10, 15, 20, 25}}, {2e6, []float64{0, 5e5, 1e6, 1.5e6, 2e6}}} {
		got := axis{}.ticks(0, c.hi)
		if !slices.EqualFunc(got, c.want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
			t.Errorf("up to %v: ticks %v, want %v", c.hi, got, c.want)
		}
	}
}

// What a reader looks for stands first, and the command can be typed again.
func TestPageShowsFailuresFirstAndACommandForAShell(t *testing.T) {
	r := fixture()
	r.Command = []string{"run", "p2p", "--require", "lost <= 0", "--node", "slim --config '{config}'"}
	text := page1(t, r)
	last := -1
	for _, word := range []string{"td class=\"word whole fail\"", "word whole unclear", "word whole skipped", "word whole pass"} {
		at := strings.Index(text, word)
		if at <= last {
			t.Errorf("%s stands at %d, behind %d", word, at, last)
		}
		last = at
	}
	if want := "slim-bench run p2p --require &#39;lost &lt;= 0&#39; --node &#39;slim --config &#39;\\&#39;&#39;{config}&#39;\\&#39;&#39;&#39;"; !strings.Contains(text, want) {
		t.Errorf("the command is not quoted: want %s", want)
	}
}

// A scenario without delays and rates is told by its own figures.
func TestSummaryHasFiguresOfEachScenario(t *testing.T) {
	r := fixture()
	for i := range r.Cases {
		n := &r.Cases[i].Nodes[0]
		n.Metrics = n.Metrics[:5]
	}
	if heads := summary(r).Heads; slices.Contains(heads, "of the scenario") {
		t.Errorf("a column for nothing: %q", heads)
	}
	r.Cases[1].Scenario = "storm"
	r.Cases[1].Nodes[0].Metrics = []result.Series{{Name: "all back in", Unit: result.Nanoseconds, Value: 4e8}}
	heads, rows := summary(r).Heads, summary(r).Rows
	at := slices.Index(heads, "of the scenario")
	if at < 0 || rows[1][at].Text != "all back in 400 ms" || rows[0][at].Text != none || rows[1][at].Head != heads[at] {
		t.Errorf("%q\n%+v", heads, rows)
	}
}

// No values, however odd, break a plot.
func FuzzPlot(f *testing.F) {
	f.Add(1.0, 2.0, 3.0, 4.0, uint8(0))
	f.Add(0.0, 0.0, 0.0, 0.0, uint8(1))
	f.Add(math.Inf(1), math.NaN(), -1.0, 1e300, uint8(2))
	f.Add(5e-324, 1e308, -1e308, 99.9999, uint8(3))
	f.Fuzz(func(t *testing.T, a, b, c, d float64, kind uint8) {
		values := []point{{a, b}, {c, d}}
		ch := chart{"t", axis{Scale: scale(kind % 3)}, axis{Scale: scale(kind / 3 % 3)}, func(r result.Round) []point { return slices.Clone(values[:r.Number]) }}
		p := ch.draw(&result.Results{Nodes: []result.NodeInfo{{Name: "x"}}},
			&result.CaseResult{Nodes: []result.NodeResult{{Rounds: []result.Round{{Number: 1}, {Number: 2}}}}})
		s := string(p.SVG())
		if strings.Contains(s, "NaN") || strings.Contains(s, "Inf") {
			t.Errorf("%v %v %v %v: %s", a, b, c, d, s)
		}
		checkSVG(t, s)
	})
}

func TestEmptyAndSmallResultsRender(t *testing.T) {
	one := fixture()
	one.Cases = one.Cases[:1]
	for k := range one.Cases[0].Nodes {
		n := &one.Cases[0].Nodes[k]
		n.Rounds = n.Rounds[:1]
		n.Rounds[0].Samples = n.Rounds[0].Samples[:1]
		n.Rounds[0].Curve = n.Rounds[0].Curve[:1]
	}
	for name, r := range map[string]*result.Results{"empty": {}, "no cases": {Nodes: []result.NodeInfo{{Name: "x"}}}, "one sample": one} {
		if text := page1(t, r); !strings.Contains(text, "</html>") || strings.Contains(text, "NaN") {
			t.Errorf("%s: %s", name, text)
		}
		var b bytes.Buffer
		if err := writeMarkdown(&b, r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSummaryNamesWhatFailedAndStaysShort(t *testing.T) {
	r := fixture()
	for range 200 {
		r.Cases = append(r.Cases, r.Cases[0])
	}
	var b bytes.Buffer
	if err := writeMarkdown(&b, r); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if len(text) > 64<<10 {
		t.Errorf("%d bytes", len(text))
	}
	for _, want := range []string{"## slim-bench: fail", "**fail** p2p 1→1", "**skipped**", "&lt;script&gt;", "\\|pipes\\|", "further cases"} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q", want)
		}
	}
	if strings.Contains(text, "<script>") {
		t.Error("a label is not escaped")
	}
}

func TestDirHasPageSummaryAndResults(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := WriteDir(dir, fixture()); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if r, err := result.ReadJSON(f); err != nil || len(r.Cases) != 2 || len(r.Cases[0].Nodes[0].Rounds[0].Samples) != 30 {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"index.html", "summary.md"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Size() < 1000 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

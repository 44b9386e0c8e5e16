package report

import (
	"bytes"
	"html"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

const cost = result.CostMetric

// fixture is a run of two cases on three nodes, with everything that can go wrong in it.
func fixture() *result.Results {
	random := rand.New(rand.NewPCG(1, 2))
	r := &result.Results{
		Schema: result.Schema, Version: "v0.0.0", Begun: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Rounds: 2, Suite: "ci",
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
				l := load.NewLatency()
				for range 1000 {
					l.Record(int64(1e5 * scale * (1 + random.ExpFloat64())))
				}
				course.Histogram = l.Histogram()
				n.Rounds = append(n.Rounds, course)
			}
			c.Nodes = append(c.Nodes, n)
		}
		c.Nodes[1].Doubts = []result.Doubt{{Kind: result.Failed, Text: "round 2: the node ended"}}
		c.Nodes[0].Doubts = []result.Doubt{{Kind: result.Limited, Text: "client-limited: read CPU per message"}}
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
	_, typed, _ := strings.Cut(text, "<code>slim-bench ")
	typed, _, _ = strings.Cut(typed, "</code>")
	if got, err := process.Words(html.UnescapeString(typed)); err != nil || !slices.Equal(got, r.Command) {
		t.Errorf("typed again it is %q, %v", got, err)
	}
}

func TestEmptyAndSmallResultsRender(t *testing.T) {
	one := fixture()
	one.Cases = one.Cases[:1]
	for k := range one.Cases[0].Nodes {
		n := &one.Cases[0].Nodes[k]
		n.Rounds = n.Rounds[:1]
		n.Rounds[0].Samples = n.Rounds[0].Samples[:1]
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
	for _, want := range []string{"## slim-bench: fail", "- `FAIL    p2p 1→1", "- `skipped", "&lt;script&gt;", "further cases"} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q", want)
		}
	}
	if strings.Contains(text, "<script>") {
		t.Error("a label is not escaped")
	}
}

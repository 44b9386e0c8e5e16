package report

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

func TestTableShowsMediansAndRatios(t *testing.T) {
	r := &result.Results{
		Machine: process.Machine{CPU: "test", Cores: 2, OS: "linux", Kernel: "6"}, Rounds: 3, Valid: true,
		Nodes: []result.NodeInfo{{Name: "ours"}, {Name: "rust"}},
		Cases: []result.CaseResult{{Scenario: "p2p", Label: "1→1", Nodes: make([]result.NodeResult, 2)}},
	}
	for i, v := range []float64{300, 100, 250} {
		r.Add(0, 0, []result.Metric{{Name: "node CPU per delivered", Unit: result.Nanoseconds, Value: v, Better: result.Lower}}, result.Round{Number: i + 1}, nil)
		r.Add(0, 1, []result.Metric{{Name: "node CPU per delivered", Unit: result.Nanoseconds, Value: 20 * v, Better: result.Lower}}, result.Round{Number: i + 1}, nil)
	}
	r.Add(0, 1, []result.Metric{{Name: "lost", Value: 1234567, Better: result.Lower, Worst: true}}, result.Round{Number: 4}, errors.New("node closed"))
	var b strings.Builder
	if err := writeText(&b, r); err != nil {
		t.Fatal(err)
	}
	want := `test, 2 cores, linux 6; medians of the rounds ± half the range of their middle half

p2p 1→1
                                 ours       rust  rust / ours
  node CPU per delivered  250 ns ±40%  5 µs ±40%      20× ±0%
                    lost            –  1,234,567            –
  ! rust: round 4: node closed
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// views are all the forms in which people see results.
func views(t *testing.T, r *result.Results) map[string]string {
	t.Helper()
	var text, page, summary strings.Builder
	if err := errors.Join(writeText(&text, r), writeHTML(&page, r), writeMarkdown(&summary, r)); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"text": text.String(), "page": page.String(), "summary": summary.String()}
}

// What the generator or a queue made is marked where it stands, and a note says why.
func TestFiguresThatAreNotTheNodesAreMarkedInEveryView(t *testing.T) {
	r := fixture()
	for name, view := range views(t, r) {
		for _, want := range []string{"2,000,000/s *", "1 ms *", "400 µs *", "9× *", "ours: * client-limited"} {
			if !strings.Contains(view, want) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
		for _, bad := range []string{"400 ns *", "9 ms *", "2,500,000/s *"} { // the cost, another node, the relay
			if strings.Contains(view, bad) {
				t.Errorf("%s has %q", name, bad)
			}
		}
	}
}

// One round has neither median nor spread; several have both, in every view.
func TestFiguresSayHowManyRoundsTheyAreOf(t *testing.T) {
	several, one := fixture(), fixture()
	for i := range one.Cases {
		for k := range one.Cases[i].Nodes {
			n := &one.Cases[i].Nodes[k]
			n.Rounds = n.Rounds[:1]
			m := &several.Cases[i].Nodes[k].Metrics[1]
			m.Values, m.Rounds = []float64{0.8 * m.Value, m.Value, 1.2 * m.Value}, []int{1, 2, 3}
		}
	}
	if c := figure(result.NodeResult{Metrics: []result.Series{{Name: "lost", Values: []float64{0, 3, 7}, Value: 7, Worst: true}}}, "lost"); c.Text != "7" {
		t.Errorf("the worst round scatters: %s", c.Text)
	}
	for name, view := range views(t, one) {
		if !strings.Contains(view, "one round") || strings.Contains(view, "medians") || strings.Contains(view, "±") {
			t.Errorf("%s of one round:\n%s", name, view)
		}
	}
	for name, view := range views(t, several) {
		if strings.Contains(view, "one round") || !strings.Contains(view, "medians of the rounds ±") || !strings.Contains(view, "400 ns ±20%") || !strings.Contains(view, "9× ±0%") {
			t.Errorf("%s of several rounds:\n%s", name, view)
		}
	}
}

// A ratio is made in one way wherever it stands: by rounds.
func TestRatiosAreOfRounds(t *testing.T) {
	r := &result.Results{Nodes: []result.NodeInfo{{Name: "ours"}, {Name: "floor"}}, Cases: []result.CaseResult{{Nodes: make([]result.NodeResult, 2)}}}
	for i, v := range []float64{100, 200, 400} {
		r.Add(0, 0, []result.Metric{{Name: cost, Unit: result.Nanoseconds, Value: v}}, result.Round{Number: i + 1}, nil)
		r.Add(0, 1, []result.Metric{{Name: cost, Unit: result.Nanoseconds, Value: []float64{40, 100, 40}[i]}}, result.Round{Number: i + 1}, nil)
	}
	r.Settle(func(int) []result.Condition { return nil }, 3)
	for name, view := range views(t, r) {
		// Of the rounds' ratios 0.4, 0.5 and 0.1 the median is 0.4, and cost/floor 2.5; of the medians it would be 0.2.
		if want := "0.4× ±50%"; !strings.Contains(view, want) || !strings.Contains(view, "2.5") {
			t.Errorf("%s: want %q and 2.5 in\n%s", name, want, view)
		}
	}
}

// What went wrong in a case is said there, and nowhere again.
func TestErrorsAreSaidOnce(t *testing.T) {
	r := fixture()
	r.Valid = true
	r.Cases = r.Cases[:1]
	r.Settle(func(int) []result.Condition { return nil }, 2)
	if len(r.Invalid) < 2 {
		t.Fatalf("invalid %q", r.Invalid)
	}
	for name, view := range views(t, r) {
		for _, what := range []string{"the node ended", "too noisy"} {
			if n := strings.Count(view, what); n != 1 {
				t.Errorf("%s says %d times %q:\n%s", name, n, what, view)
			}
		}
	}
}

func TestBusyMachineIsNamedInEveryView(t *testing.T) {
	r := fixture()
	r.Busy = "busy machine: other processes used 1.5 of the 2 processors"
	for name, view := range views(t, r) {
		if !strings.Contains(view, r.Busy) {
			t.Errorf("%s does not say so", name)
		}
	}
}

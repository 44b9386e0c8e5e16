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
	if err := WriteTable(&b, r, false); err != nil {
		t.Fatal(err)
	}
	want := `test, 2 cores, linux 6; medians

p2p: 1→1
                            ours       rust  rust/ours
  node CPU per delivered  250 ns    5.00 µs         20
                    lost       -  1,234,567
  ! rust: round 4: node closed
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

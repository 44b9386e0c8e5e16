package bench

import (
	"strings"
	"testing"
)

func TestGateComparesCostsAndFaults(t *testing.T) {
	results := func(ours, theirs, lost float64) *Results {
		return &Results{Nodes: []NodeInfo{{Name: "ours"}, {Name: "rust"}}, Cases: []CaseResult{{Scenario: "p2p", Label: "x", Nodes: []NodeResult{
			{Metrics: []Series{{Name: costMetric, Value: ours}, {Name: "lost", Value: lost}}}, {Metrics: []Series{{Name: costMetric, Value: theirs}}}}}}}
	}
	for _, c := range []struct {
		name               string
		ours, theirs, lost float64
		gate               Gate
		want               string
	}{
		{"holds", 100, 1000, 0, Gate{"rust", 9}, ""},
		{"too dear", 100, 800, 0, Gate{"rust", 9}, "is 8.0 times that of ours, want at least 9"},
		{"lost", 100, 1000, 3, Gate{"rust", 9}, "ours: 3 lost, want 0"},
		{"not measured", 0, 1000, 0, Gate{"rust", 9}, "was not measured"},
		{"unknown node", 100, 1000, 0, Gate{"nats", 1}, "there is no node nats"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(results(c.ours, c.theirs, c.lost).Check([]Gate{c.gate}), "; ")
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestParseGate(t *testing.T) {
	if g, err := ParseGate("rust:9.5"); err != nil || g != (Gate{"rust", 9.5}) {
		t.Errorf("got %v, %v", g, err)
	}
	for _, bad := range []string{"", "rust", "rust:", ":3", "rust:x", "rust:-1"} {
		if _, err := ParseGate(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestLimits(t *testing.T) {
	r := &Results{Nodes: []NodeInfo{{Name: "ours"}}, Cases: []CaseResult{{Scenario: "slow", Label: "x", Nodes: []NodeResult{{Metrics: []Series{{Name: "lost", Value: 2}}}}}}}
	for limit, want := range map[string]string{"lost=2": "", "lost=1": "lost of ours is 2, want at most 1", "found=1": "no case measures"} {
		l, err := ParseLimit(limit)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(r.CheckLimits([]Limit{l}), "; ")
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", limit, got, want)
		}
	}
	for _, bad := range []string{"", "lost", "=3", "lost=x"} {
		if _, err := ParseLimit(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

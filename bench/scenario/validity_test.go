package scenario

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/faults"
)

// told returns a scenario that measures what is given.
func told(ms ...result.Metric) Scenario {
	return Scenario{Name: "told", Kind: Kind{Label: func(result.Params) string { return "" }, Blind: true,
		Run: func(context.Context, *load.Rig, result.Params) ([]result.Metric, error) { return ms, nil }}}
}

// named returns targets that nobody connects to.
func named(names ...string) []load.Target {
	var all []load.Target
	for _, n := range names {
		all = append(all, load.Target{Name: n, Addrs: []string{"x"}, Dialer: client.Dialer{}})
	}
	return all
}

func conditions(t *testing.T, texts ...string) []result.Condition {
	t.Helper()
	var all []result.Condition
	for _, s := range texts {
		c, err := result.ParseCondition(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

func TestNamesOfNodesAreChecked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.yaml")
	load := func(text string) Plan {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := LoadSuite(path)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, c := range []struct{ name, text, want string }{
		{"all there", "suite: x\nruns:\n  - {scenario: p2p, nodes: [floor], require: [\"p50 / floor <= 1\"]}", ""},
		{"a node that is none", "suite: x\nruns:\n  - {scenario: p2p, nodes: [flor]}", `no node "flor" in this run; did you mean floor?`},
		{"a condition on none", "suite: x\nruns:\n  - {scenario: p2p, require: [\"p50 / bse <= 1\"]}", `no node "bse" in this run; did you mean base?`},
		{"a condition on itself", "suite: x\nruns:\n  - {scenario: p2p, require: [\"p50 / ours <= 1\"]}", "ours is the node that is judged"},
		{"an optional one", "suite: x\noptional-nodes: [rust]\nruns:\n  - {scenario: p2p, nodes: [rust], require: [\"p50 / rust <= 1\"]}", ""},
		{"nearly an optional one", "suite: x\noptional-nodes: [rust]\nruns:\n  - {scenario: p2p, nodes: [rusd]}", "did you mean rust?"},
	} {
		plan := load(c.text)
		plan.Targets = named("ours", "floor", "base")
		err := plan.Check()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	plan := load("suite: x\nruns:\n  - {scenario: p2p, nodes: [floor]}")
	plan.Targets = named("ours")
	if r, err := plan.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "--floor=false") || len(r.Cases[0].Nodes[0].Rounds) > 0 {
		t.Errorf("a run without its relay: %v", err)
	}
}

// A run that looks at nothing does not pass.
func TestNothingMeasuredIsNotValid(t *testing.T) {
	lost := result.Metric{Name: "lost", Worst: true}
	namesOnly := told(lost)
	namesOnly.Blind = false
	floor := load.Target{Name: result.Floor, Addrs: []string{"x"}, Dialer: client.Dialer{Blind: true}}
	for _, c := range []struct {
		name    string
		plan    Plan
		invalid string
	}{
		{"something", Plan{Targets: named("ours"), Cases: []Case{{Scenario: told(lost), Require: conditions(t, "lost <= 0")}}}, ""},
		{"all cases skipped", Plan{Name: "mine", Targets: []load.Target{floor}, Cases: []Case{{Scenario: namesOnly}}}, "nothing was measured on floor"},
		{"a condition that no case can be held against",
			Plan{Targets: append(named("ours"), floor), Cases: []Case{{Scenario: namesOnly, Require: conditions(t, "lost / floor <= 1")}}}, "judged in no case"},
		{"one that another case is held against", Plan{Targets: append(named("ours"), floor), Cases: []Case{
			{Scenario: namesOnly, Require: conditions(t, "lost / floor <= 1")}, {Scenario: told(lost), Require: conditions(t, "lost / floor <= 1")}}}, ""},
		{"one on a node that may be missing", Plan{Targets: named("ours"), Optional: []string{"base"},
			Cases: []Case{{Scenario: told(lost), Require: conditions(t, "lost / base <= 1")}}}, ""},
		{"a metric that was not measured",
			Plan{Targets: named("ours"), Cases: []Case{{Scenario: told(lost), Require: conditions(t, "files slope <= 0")}}}, "files slope was not measured"},
		{"nothing delivered", Plan{Targets: named("ours"), Cases: []Case{{Scenario: told(result.Metric{Name: "delivered", Unit: result.PerSecond})}}}, "nothing arrived"},
		{"no call answered", Plan{Targets: named("ours"), Cases: []Case{{Scenario: told((&calls{}).rates(reading{}, reading{at: time.Now()})...)}}}, "nothing arrived"},
		{"no message of a session", Plan{Targets: named("ours"), Cases: []Case{{Scenario: told((&talk{}).rates(reading{}, reading{at: time.Now()})...)}}},
			"nothing arrived"},
	} {
		c.plan.Rounds = 1
		r, err := c.plan.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(r.Reasons(), "; ")
		if r.Valid != (c.invalid == "") || !strings.Contains(got, c.invalid) || len(r.Failed()) > 0 {
			t.Errorf("%s: valid %v, %q, failed %v", c.name, r.Valid, got, r.Failed())
		}
	}
}

// What cannot be measured on a node is said before anything is, but for cases of a suite, which are left out.
func TestWhatANodeCannotIsSaidBefore(t *testing.T) {
	started := func(c process.Command) load.Target {
		return load.Target{Name: "it", Command: c, Dialer: client.Dialer{}}
	}
	running := func(addr string) load.Target {
		return load.Target{Name: "it", Addrs: []string{addr}, Dialer: client.Dialer{}}
	}
	for _, c := range []struct {
		scenario string
		inflight int
		target   load.Target
		want     string
	}{
		{"mesh", 1024, started(process.Command{Text: "slim {config}"}), ""},
		{"mesh", 1024, started(process.Command{Text: "slim {listen}"}), "{config}"},
		{"mesh", 1024, started(process.Command{Text: "slim {config}", Transport: "ws"}), "{config}"},
		{"mesh", 1024, running("127.0.0.1:1"), "{config}"},
		{"rpc", 512, started(process.Command{Text: "slim {config}", Transport: "ws"}), ""},
		{"rpc", 0, running("tls:1"), ""},
		{"rpc", 64, started(process.Command{Text: "slim {config}", Transport: "mtls"}), "without TLS"},
		{"mls", 64, running("wss://127.0.0.1:1"), "without TLS"},
		{"session", 64, running("https://127.0.0.1:1"), "without TLS"},
		{"session", 513, running("127.0.0.1:1"), "at most 512"},
		{"rpc", 1024, running("127.0.0.1:1"), "at most 512"},
		{"idle", 64, load.Target{Name: "it", Dialer: client.Dialer{Blind: true}}, "needs names"},
	} {
		p := Plan{Rounds: 1, Targets: []load.Target{c.target}, Cases: []Case{{Scenario: load1(t, c.scenario)}}}
		p.Cases[0].Params.InFlight = c.inflight
		if err := p.Check(); (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %d in flight, on %+v: %v, want %q", c.scenario, c.inflight, c.target, err, c.want)
		}
		if p.Name = "mine"; c.inflight <= mostUnder {
			if skipped, err := p.results().Cases[0].Nodes[0].Skipped, p.Check(); err != nil || !strings.Contains(skipped, c.want) {
				t.Errorf("%s of a suite on %+v: %v, left out: %q", c.scenario, c.target, err, skipped)
			}
		}
	}
	own, err := document{"mine.yaml"}.scenario(scenarioFile{Scenario: load1(t, "rpc").Kind})
	if err != nil || own.Cases[0].InFlight != mostUnder {
		t.Errorf("what a file leaves open: %+v, %v", own.Cases, err)
	}
}

// Conditions that need several rounds get them, and no more; those on counts are content with one.
func TestRoundsGoOnUntilValuesAreClear(t *testing.T) {
	values := []float64{0.684, 0.9, 0.85, 0.88, 0.87, 0.86, 0.9}
	n := 0
	s := Scenario{Name: "told", Kind: Kind{Label: func(result.Params) string { return "" }, Run: func(context.Context, *load.Rig, result.Params) ([]result.Metric, error) {
		n++
		return []result.Metric{{Name: "lost", Worst: true}, {Name: "share", Unit: result.Ratio, Value: values[(n-1)%len(values)]}}, nil
	}}}
	for _, c := range []struct {
		condition string
		want      result.Outcome
		rounds    int
	}{{"lost <= 0", result.Pass, 1}, {"share >= 0.6", result.Pass, 5}, {"share <= 0.6", result.Fail, 5}} {
		n = 0
		r, err := Plan{Targets: named("ours"), Cases: []Case{{Scenario: s, Require: conditions(t, c.condition)}}, Rounds: 1, MaxRounds: 9}.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		v := r.Verdicts[0]
		if v.Outcome != c.want || n != c.rounds || v.Rounds != c.rounds {
			t.Errorf("%s: %s after %d rounds, want %s after %d", c.condition, v, n, c.want, c.rounds)
		}
		// It was decided before the last round, so what is told is the interval of 99 %, which is wider than that of 95.
		if wide, narrow := r.Judge(0, conditions(t, c.condition)[0], 9), r.Judge(0, conditions(t, c.condition)[0], 1); v.Low != wide.Low ||
			c.rounds > 1 && v.Low >= narrow.Low {
			t.Errorf("%s: from %v on; with 99 %% from %v, with 95 %% from %v", c.condition, v.Low, wide.Low, narrow.Low)
		}
	}
}

// Without the relay and without the process nobody can say whose limit was measured, and it is said.
func TestClientLimitMayBeUnknown(t *testing.T) {
	fast := []result.Metric{{Name: "delivered", Unit: result.PerSecond, Value: 1e6}, {Name: "client cores", Unit: result.Cores, Value: 1}}
	for _, c := range []struct {
		name    string
		targets []load.Target
		ms      []result.Metric
		want    string
	}{
		{"nothing known", named("ours"), fast, "client limit unknown"},
		{"the process", named("ours"), append(fast, result.Metric{Name: "node cores", Unit: result.Cores, Value: 0.2}), ""},
		{"the relay", append(named("ours"), load.Target{Name: result.Floor, Addrs: []string{"x"}, Dialer: client.Dialer{Blind: true}}), fast, "client-limited"},
	} {
		plan := Plan{Targets: c.targets, Cases: []Case{{Scenario: told(c.ms...)}}, Rounds: 1}
		r, err := plan.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprint(r.Cases[0].Nodes[0].Doubts)
		if c.want == "" && got != "[]" && r.Machine.Cores > 1 || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// An open loop that asks for more than the node takes is no measurement of its delays. The generator is not blamed for what
// the node kept waiting.
func TestOverloadIsNotValid(t *testing.T) { simulated(t, overloadIsNotValid) }

func overloadIsNotValid(t *testing.T) {
	// A tenth or so of what is asked for.
	tg := target(t, &faults.Proxy{Window: 64 << 10, Pause: gate(func() time.Duration { return 4 * time.Millisecond })})
	plan := Plan{Targets: []load.Target{tg}, Rounds: 1, Cases: []Case{{Scenario: load1(t, "p2p"), Params: quick(func(p *result.Params) {
		p.Rate, p.Size, p.Duration = 2000, 16<<10, time.Second
	})}}}
	r, err := plan.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := r.Cases[0].Nodes[0]
	offered, _ := n.Metric("offered")
	sent, _ := n.Metric("sent")
	delivered, _ := n.Metric("delivered")
	if offered.Value != 2000 || sent.Value > 300 || delivered.Value > 300 || delivered.Value < 200 {
		t.Errorf("offered %v, sent %v, delivered %v", offered.Value, sent.Value, delivered.Value)
	}
	if r.Valid || !strings.Contains(n.Marked("p50"), "/s asked for, ") || !strings.Contains(strings.Join(r.Reasons(), ""), "lower the rate") {
		t.Errorf("valid %v, %q", r.Valid, r.Reasons())
	}
	if len(n.Doubts) != 1 {
		t.Errorf("the generator is blamed: %v", n.Doubts)
	}
	if p50, _ := n.Metric("p50"); time.Duration(p50.Value) < 300*time.Millisecond {
		t.Errorf("p50 %v: what was not let out is not late", time.Duration(p50.Value))
	}
}

// A node that keeps up is not called overloaded.
func TestOfferedIsDelivered(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		ms := one(t, new(faults.Proxy), "fanout", quick(func(p *result.Params) { p.Fanout, p.Rate, p.Duration = 3, 200, time.Second }))
		if ms["offered"] != 600 || ms["sent"] < 594 || ms["sent"] > 606 || ms["delivered"] < 594 || ms["delivered"] > 606 {
			t.Errorf("offered %v, sent %v, delivered %v, want 200 to each of 3", ms["offered"], ms["sent"], ms["delivered"])
		}
	})
}

// A machine that does not tell what this process uses has not measured that it uses nothing.
func TestUnknownCostOfTheClientIsNotTold(t *testing.T) {
	for _, m := range rates("", load.Span{To: load.Mark{At: 1e9, Delivered: 10}}) {
		if strings.HasPrefix(m.Name, "client ") {
			t.Errorf("%+v", m)
		}
	}
}

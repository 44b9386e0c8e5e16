package scenario

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/faults"
	"github.com/seed31b3bfd0/slimgo/internal/leak"
	"github.com/seed31b3bfd0/slimgo/internal/simnet"
)

// TestMain lets the test binary play the apps that scenarios with sessions start, and the nodes of a mesh.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == nodeCommand {
		if err := playNode(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 2 && os.Args[1] == AppsCommand {
		if err := PlayApps(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue { // those side by side wait for most of their time
		_ = f.Value.Set("8")
	}
	// Most that tests make is garbage soon.
	debug.SetGCPercent(400)
	leak.Main(m)
}

// simulated runs f in a bubble: time passes only while there is nothing to do, so that what is measured there is the
// same on every machine, and an hour costs nothing.
func simulated(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// target starts n, behind which there is no node, on a network in memory, a millisecond from its clients. Only in a
// bubble.
func target(t *testing.T, n *faults.Proxy) load.Target {
	t.Helper()
	n.Net = &simnet.Net{Delay: time.Millisecond}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return load.Target{Name: "test", Addrs: []string{n.Addr()}, Dialer: client.Dialer{Net: n.Net.Dial}, Sleep: load.SleepUntil}
}

// with returns the base case changed by f.
func with(f func(*result.Params)) result.Params {
	p := result.Defaults()
	f(&p)
	return p
}

// quick is a short case of a scenario, with few messages: in a bubble each second costs as much as its messages do.
func quick(f func(*result.Params)) result.Params {
	return with(func(p *result.Params) {
		p.Duration, p.Warmup, p.InFlight = 150*time.Millisecond, 20*time.Millisecond, 16
		f(p)
	})
}

func load1(t *testing.T, name string) Scenario {
	t.Helper()
	s, err := LoadScenario(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// one runs one case on n and returns its metrics by name. Only in a bubble.
func one(t *testing.T, n *faults.Proxy, scenario string, p result.Params) map[string]float64 {
	t.Helper()
	return metrics(t, target(t, n), scenario, p)
}

// metrics runs one case on a target.
func metrics(t *testing.T, tg load.Target, scenario string, p result.Params) map[string]float64 {
	t.Helper()
	r, err := Plan{Targets: []load.Target{tg}, Cases: []Case{{Scenario: load1(t, scenario), Params: p}}, Rounds: 1}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ms := map[string]float64{}
	for _, m := range r.Cases[0].Nodes[0].Metrics {
		ms[m.Name] = m.Value
	}
	return ms
}

func TestHealthyNodeLosesNothing(t *testing.T) {
	t.Parallel() // beside those that wait
	for _, c := range []struct {
		name, scenario string
		p              result.Params
	}{
		{"1→1 closed", "p2p", quick(func(p *result.Params) {})},
		{"1→1 one in flight, fresh", "p2p", quick(func(p *result.Params) { p.InFlight, p.Identity = 1, load.Fresh })},
		{"3→3 16 KiB", "p2p", quick(func(p *result.Params) { p.Pairs, p.Size = 3, 16<<10 })},
		{"1→1 open", "p2p", quick(func(p *result.Params) { p.Rate = 2000 })},
		{"1→4", "fanout", quick(func(p *result.Params) { p.Fanout = 4 })},
	} {
		t.Run(c.name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				ms := one(t, new(faults.Proxy), c.scenario, c.p)
				if ms["delivered"] <= 0 || ms["p50"] <= 0 || ms["p99"] < ms["p50"] || ms["max"] < ms["p99"] {
					t.Errorf("delivered %v/s, p50 %v, p99 %v, max %v", ms["delivered"], ms["p50"], ms["p99"], ms["max"])
				}
				if _, offered := ms["offered"]; offered != c.p.Open() {
					t.Errorf("offered is told: %v", offered)
				}
				for _, bad := range []string{"lost", "duplicates", "reordered", "foreign", "changed", "standstills over 1 s"} {
					if ms[bad] != 0 {
						t.Errorf("%s: %v", bad, ms[bad])
					}
				}
			})
		})
	}
}

func TestIdleConnectionsAreOpenedAndCounted(t *testing.T) { simulated(t, idleIsCounted) }

func idleIsCounted(t *testing.T) {
	ms := one(t, new(faults.Proxy), "idle", quick(func(p *result.Params) { p.Conns = 40 }))
	if ms["connections"] != 40 || ms["connects"] <= 0 || ms["with idle: delivered"] <= 0 || ms["delivered, with/alone"] <= 0 {
		t.Errorf("got %v", ms)
	}
}

func TestTableIsFilledAndUsed(t *testing.T) { simulated(t, tableIsUsed) }

func tableIsUsed(t *testing.T) {
	proxy, least := new(faults.Proxy), math.MaxInt
	plan := Plan{Targets: []load.Target{target(t, proxy)}, Cases: []Case{{Scenario: load1(t, "table"), Params: quick(func(p *result.Params) { p.Names = 2000 })}}, Rounds: 1}
	plan.Progress = func(g Progress) {
		if g.Sample.Delivered > 0 {
			least = min(least, proxy.Names())
		}
	}
	r, err := plan.Run(t.Context())
	if err != nil || least != spread {
		t.Errorf("%v, %d names in the small table", err, least)
	}
	ms := map[string]float64{}
	for _, m := range r.Cases[0].Nodes[0].Metrics {
		ms[m.Name] = m.Value
	}
	if ms["names"] != 2000 || ms["delivered"] <= 0 || ms["while subscribing: names"] <= 0 || ms["lost"] != 0 {
		t.Errorf("got %v", ms)
	}
}

func TestSlowMemberIsServedAgain(t *testing.T) { simulated(t, slowIsServed) }

func slowIsServed(t *testing.T) {
	ms := one(t, new(faults.Proxy), "slow", quick(func(p *result.Params) { p.Fanout, p.Stall = 3, 200*time.Millisecond }))
	if ms["slow member served again"] != 1 || ms["lost"] != 0 || ms["rate during/before"] <= 0 {
		t.Errorf("got %v", ms)
	}
}

func TestNodeThatDiesEndsTheMeasurementWithAReason(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		n := new(faults.Proxy)
		tg := target(t, n)
		time.AfterFunc(100*time.Millisecond, n.Close)
		p := quick(func(p *result.Params) { p.Duration = time.Second })
		r, err := Plan{Targets: []load.Target{tg}, Cases: []Case{{Scenario: load1(t, "p2p"), Params: p}}, Rounds: 1}.Run(t.Context())
		if err == nil || len(r.Cases[0].Nodes[0].Doubts) == 0 {
			t.Errorf("error %v, noted %q", err, r.Cases[0].Nodes[0].Doubts)
		}
	})
}

// What cannot be reached any more is not tried again case by case, with the same words each time.
func TestRunEndsWithATargetThatIsGone(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		n := new(faults.Proxy)
		tg := target(t, n)
		time.AfterFunc(200*time.Millisecond, n.Close) // in the second case
		c := Case{Scenario: load1(t, "p2p"), Params: quick(func(*result.Params) {})}
		steps := 0
		plan := Plan{Targets: []load.Target{tg}, Cases: []Case{c, c, c, c}, Rounds: 3, Progress: func(g Progress) { steps = g.Step }}
		r, err := plan.Run(t.Context())
		if why := strings.Join(r.Reasons(), "\n"); err == nil || steps != 2 || r.Valid || strings.Count(why, "answers no more: nothing else was measured") != 1 {
			t.Errorf("after %d measurements: %v, not valid: %s", steps, err, why)
		}
		if m, ok := r.Cases[0].Nodes[0].Metric("delivered"); !ok || m.Value <= 0 {
			t.Errorf("the first case is gone: %+v", m)
		}
	})
}

// Nor is a node started again and again that has never come up.
func TestRunEndsWithANodeThatDoesNotStart(t *testing.T) {
	c := Case{Scenario: told(), Params: quick(func(*result.Params) {})}
	steps := 0
	b := load.Target{Name: "B", Command: process.Command{Text: "false {listen}"}, Dialer: client.Dialer{}}
	plan := Plan{Targets: append(named("A"), b), Cases: []Case{c, c, c}, Rounds: 3,
		Progress: func(g Progress) { steps = g.Step }}
	r, err := plan.Run(t.Context())
	why := strings.Join(r.Reasons(), "\n")
	if err == nil || steps != 2 || r.Valid || strings.Count(why, "ended before it listened") != 1 || !strings.Contains(why, "B does not start: nothing else was measured") {
		t.Errorf("after %d measurements: %v, not valid: %s", steps, err, why)
	}
}

func TestInterruptedPlanKeepsWhatItHas(t *testing.T) { simulated(t, interruptedPlan) }

func interruptedPlan(t *testing.T) {
	tg := target(t, new(faults.Proxy))
	s := load1(t, "p2p")
	ctx, cancel := context.WithCancel(t.Context())
	plan := Plan{Targets: []load.Target{tg}, Cases: []Case{{Scenario: s, Params: quick(func(p *result.Params) {})}}, Rounds: 3}
	plan.Progress = func(g Progress) {
		if g.Step == 2 {
			cancel()
		}
	}
	r, err := plan.Run(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if m, ok := r.Cases[0].Nodes[0].Metric("delivered"); !ok || len(m.Values) == 0 || m.Values[0] <= 0 {
		t.Errorf("first round is gone: %+v", m)
	}
}

func TestRoundsInterleaveNodes(t *testing.T) {
	var order []string
	s := Scenario{Name: "x", Kind: Kind{Label: func(result.Params) string { return "" }, Run: func(_ context.Context, g *load.Rig, _ result.Params) ([]result.Metric, error) {
		order = append(order, g.Target.Name)
		return []result.Metric{{Name: "n", Value: float64(len(order))}, {Name: "lost", Value: float64(len(order)), Worst: true}}, nil
	}}}
	targets := []load.Target{{Name: "A", Addrs: []string{"x"}, Dialer: client.Dialer{}}, {Name: "B", Addrs: []string{"y"}, Dialer: client.Dialer{}}}
	r, err := Plan{Targets: targets, Cases: []Case{{Scenario: s}}, Rounds: 3}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, ""); got != "ABBAAB" {
		t.Errorf("order %s, want ABBAAB", got)
	}
	a, _ := r.Cases[0].Nodes[0].Metric("n")
	if a.Value != 4 { // of 1, 4, 5
		t.Errorf("median %v of %v", a.Value, a.Values)
	}
	if lost, _ := r.Cases[0].Nodes[1].Metric("lost"); lost.Value != 6 { // of 2, 3, 6
		t.Errorf("worst %v of %v", lost.Value, lost.Values)
	}
}

func TestFindNamesTheNearestScenario(t *testing.T) {
	if _, err := LoadScenario("fan-out"); err == nil || !strings.Contains(err.Error(), "fanout") {
		t.Errorf("got %v", err)
	}
}

// Steps are counted before they are done.
func TestProgressCountsSteps(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		const length = 3 * time.Second
		s := Scenario{Name: "told", Kind: Kind{Label: func(p result.Params) string { return strconv.Itoa(p.Pairs) },
			Run: func(ctx context.Context, _ *load.Rig, _ result.Params) ([]result.Metric, error) {
				return nil, load.Sleep(ctx, length)
			}}}
		plan := Plan{Targets: named("A", "B"), Cases: []Case{{Scenario: s, Params: result.Params{Pairs: 1}}, {Scenario: s, Params: result.Params{Pairs: 2}}}, Rounds: 2}
		var last Progress
		steps := 0
		plan.Progress = func(g Progress) {
			if last = g; g.Of != 8 || g.Step != steps+1 {
				t.Errorf("step %d of %d, want %d of 8", g.Step, g.Of, steps+1)
			}
			if g.Done {
				steps++
			}
		}
		if _, err := plan.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if steps != 8 || last.Elapsed != 8*length {
			t.Errorf("%d steps in %v", steps, last.Elapsed)
		}
	})
}

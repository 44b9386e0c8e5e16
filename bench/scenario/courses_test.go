package scenario

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/faults"
	"github.com/seed31b3bfd0/slimgo/internal/simnet"
)

// run runs one case on a target and returns what was found on it.
func run(t *testing.T, tg load.Target, scenario string, p result.Params) result.NodeResult {
	t.Helper()
	r, err := Plan{Targets: []load.Target{tg}, Cases: []Case{{Scenario: load1(t, scenario), Params: p}}, Rounds: 1}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r.Cases[0].Nodes[0]
}

func metric(t *testing.T, n result.NodeResult, name string) float64 {
	t.Helper()
	m, ok := n.Metric(name)
	if !ok {
		t.Errorf("%s was not measured", name)
	}
	return m.Value
}

// A fixed count is sent to the message, and the measurement ends with it.
func TestCountIsSentAndNoMore(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*result.Params){
		"closed": func(p *result.Params) {},
		"open":   func(p *result.Params) { p.TotalRate = 500 },
	} {
		simulated(t, func(t *testing.T) {
			proxy := new(faults.Proxy)
			p := quick(func(p *result.Params) {
				change(p)
				p.Pairs = 3
				if err := p.Set("count", "1000"); err != nil {
					t.Fatal(err)
				}
			})
			begun := time.Now()
			n := run(t, target(t, proxy), "p2p", p)
			took := time.Since(begun)
			if got := proxy.Deliveries(); got != 1000 {
				t.Errorf("%s: %d messages passed the node, want 1000", name, got)
			}
			if rate := metric(t, n, "delivered"); name == "open" && (rate < 495 || rate > 505) || took > 10*time.Second {
				t.Errorf("%s: %v/s in %v", name, rate, took)
			}
			if metric(t, n, "lost") != 0 {
				t.Errorf("%s: some are lost", name)
			}
			if h, err := hdr.Decode([]byte(n.Rounds[0].Histogram)); err != nil || h.TotalCount() != 1000 {
				t.Errorf("%s: all belong to the measurement: %v, %v", name, h, err)
			}
		})
	}
}

// A message of a count that is lost is counted, and does not keep the measurement.
func TestCountEndsWithoutWhatIsLost(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		p := quick(func(p *result.Params) { p.Count, p.Warmup, p.InFlight = 100, 0, 10 })
		n := run(t, target(t, &faults.Proxy{Fate: faults.Every(60, faults.Drop)}), "p2p", p)
		if metric(t, n, "lost") != 1 {
			t.Errorf("lost %v of 100, want the one that was dropped", metric(t, n, "lost"))
		}
	})
}

// The total rate is that of all senders, and stages are offered as they are written.
func TestTotalRateAndStagesAreOffered(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		n := run(t, target(t, new(faults.Proxy)), "p2p", quick(func(p *result.Params) { p.Pairs, p.TotalRate, p.Duration = 4, 1000, 2*time.Second }))
		if got := metric(t, n, "offered"); got < 995 || got > 1005 {
			t.Errorf("4 senders offered %v/s in all, want 1000", got)
		}
	})
	simulated(t, func(t *testing.T) {
		p := quick(func(p *result.Params) {
			p.Pairs, p.Warmup = 2, 500*time.Millisecond
			if err := p.Set("stages", "100:2s,500:4s,500:2s"); err != nil {
				t.Fatal(err)
			}
		})
		n := run(t, target(t, new(faults.Proxy)), "p2p", p)
		const want = (100*2 + 300*4 + 500*2) / 8.0
		if got := metric(t, n, "offered"); got < want*0.99 || got > want*1.01 || metric(t, n, "lost") != 0 {
			t.Errorf("offered %v/s, want %v", got, want)
		}
		all := n.Rounds[0].Samples
		if first, last := all[2], all[len(all)-2]; first.Delivered > 125 || last.Delivered < 475 {
			t.Errorf("%v/s at the begin, %v/s at the end: no ramp", first.Delivered, last.Delivered)
		}
	})
}

func TestNoWarmUp(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		n := run(t, target(t, new(faults.Proxy)), "p2p", quick(func(p *result.Params) { p.Warmup = 0 }))
		if s := n.Rounds[0].Samples[0]; metric(t, n, "delivered") <= 0 || s.At > 0.2 {
			t.Errorf("first sample %+v", s)
		}
	})
}

// A node that takes a message in a millisecond carries a thousand a second, and is found to be the limit.
func TestSearchFindsWhatTheNodeCarries(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		proxy := &faults.Proxy{Pause: gate(func() time.Duration { return time.Millisecond })}
		n := run(t, target(t, proxy), "search", quick(func(p *result.Params) { p.TotalRate, p.P99Bound, p.Duration = 60, 20*time.Millisecond, 2*time.Second }))
		rate, over := metric(t, n, "highest rate"), metric(t, n, "rate over the bound")
		if rate < 940 || rate > 1010 || over < rate || over > rate*1.05 || metric(t, n, "limited by the generator") != 0 {
			t.Errorf("between %v/s and %v/s, want about 1000", rate, over)
		}
		if notes := strings.Join(n.Rounds[0].Notes, "\n"); !strings.Contains(notes, "the node is the limit") {
			t.Errorf("notes %q", notes)
		}
	})
}

// Who is the limit is a count, which is told where it is nobody, too.
func TestSearchThatFindsNoLimitSaysSo(t *testing.T) {
	best := probe{rate: 1000, ms: []result.Metric{fault("lost", 0)}}
	n := result.NodeResult{}
	for _, m := range found(new(load.Rig), result.Params{}, best, probe{}) {
		n.Metrics = append(n.Metrics, result.Series{Name: m.Name, Value: m.Value})
	}
	if metric(t, n, "highest rate") != 1000 || metric(t, n, "limited by the generator") != 0 {
		t.Errorf("found %+v", n.Metrics)
	}
}

// Where the generator sends late, it is the limit, and that is said.
func TestSearchBlamesTheGenerator(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		tg := target(t, new(faults.Proxy))
		// As on a machine that is too busy.
		tg.Sleep = func(due int64) { time.Sleep(max(time.Duration(due-load.Now()), 8*time.Millisecond)) }
		n := run(t, tg, "search", quick(func(p *result.Params) { p.TotalRate, p.P99Bound = 200, 4*time.Millisecond }))
		if metric(t, n, "limited by the generator") != 1 || !strings.Contains(strings.Join(n.Rounds[0].Notes, ""), "the generator, which sent ") {
			t.Errorf("notes %q", n.Rounds[0].Notes)
		}
	})
}

// A run that is to stop at a failure measures nothing after the first condition that fails, and fails by that alone.
func TestRunStopsAtItsFirstBrokenCondition(t *testing.T) {
	for _, stop := range []bool{false, true} {
		bad, good := told(result.Metric{Name: "lost", Value: 3, Worst: true}), told(result.Metric{Name: "lost", Worst: true})
		require := conditions(t, "lost <= 0")
		plan := Plan{Targets: named("ours"), Rounds: 2, StopAtFailure: stop,
			Cases: []Case{{Scenario: good, Require: require}, {Scenario: bad, Require: require}, {Scenario: good, Require: require}}}
		r, err := plan.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		measured := 0
		for _, c := range r.Cases {
			measured += len(c.Nodes[0].Rounds)
		}
		want := map[bool]int{false: 6, true: 2}[stop]
		if len(r.Failed()) != 1 || measured != want || !r.Valid {
			t.Errorf("stop %v: %d measurements, want %d; failed %v, invalid %q", stop, measured, want, r.Failed(), r.Invalid)
		}
	}
}

// The first node is measured by further ways where its configuration is ours.
func TestWaysAreNodesOfTheirNames(t *testing.T) {
	plan, err := LoadSuite("transports")
	if err != nil {
		t.Fatal(err)
	}
	other := plan
	ours := load.Target{Name: "ours", Dialer: client.Dialer{}}
	ours.Command.Text = "slim --config {config}"
	plan.Targets = []load.Target{ours}
	if err := plan.Ways(); err != nil {
		t.Fatal(err)
	}
	if len(plan.Targets) != 6 || plan.Targets[2].Name != "mtls" || plan.Targets[2].Command.Transport != "mtls" || plan.Targets[0].Command.Transport != "" {
		t.Errorf("targets %+v", plan.Targets)
	}
	if err := plan.Check(); err != nil {
		t.Error(err)
	}
	other.Targets = named("ours")
	if err := other.Ways(); err == nil || !strings.Contains(err.Error(), "started with {config}") {
		t.Errorf("a node that runs: %v", err)
	}
	if err := other.Check(); err != nil { // its conditions are skipped then
		t.Error(err)
	}
}

// Clients that do not come in time end a storm, which says how many came, and that it was the time that ended.
func TestStormSaysWhatEndedIt(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		tg := target(t, new(faults.Proxy))
		tg.Dialer = watched{Dialer: tg.Dialer.(client.Dialer), before: func(ctx context.Context) error {
			if err := load.Sleep(ctx, time.Second); err != nil {
				return err
			}
			return nil
		}}
		plan := Plan{Targets: []load.Target{tg}, Rounds: 1, Cases: []Case{{Scenario: load1(t, "storm"),
			Params: quick(func(p *result.Params) { p.Conns, p.SetupLimit = 100, 2500*time.Millisecond })}}}
		r, err := plan.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "before the storm: 64 of 100 clients came within 2.5s (--setup-limit)") {
			t.Errorf("got %v", err)
		}
		if got := metric(t, r.Cases[0].Nodes[0], "clients connected"); got != 64 {
			t.Errorf("%v connected", got)
		}
	})
}

// A rate at which a message is lost does not hold, however fast all others come: one of a thousand does not show in the p99.
func TestRateThatLosesDoesNotHold(t *testing.T) {
	t.Parallel()
	for drop, want := range map[faults.Fate]bool{faults.Deliver: true, faults.Drop: false} {
		simulated(t, func(t *testing.T) {
			g, err := load.NewRig(t.Context(), target(t, &faults.Proxy{Fate: faults.Every(800, drop)}))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = g.Close() }()
			at, err := probed(t.Context(), g, quick(func(p *result.Params) { p.Duration, p.P99Bound = time.Second, 100*time.Millisecond }), 1000)
			if err != nil || at.holds != want || at.p99 > 100*time.Millisecond {
				t.Errorf("holds: %v with a p99 of %v, lost %v; %v", at.holds, at.p99, value(at.ms, "lost"), err)
			}
		})
	}
}

// A count is measured until its last message has come, not until somebody looks.
func TestCountEndsWithItsLastMessage(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		n := &faults.Proxy{Net: &simnet.Net{Delay: 1300 * time.Microsecond}} // looks are a whole millisecond apart
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.Close)
		tg := load.Target{Name: "test", Addrs: []string{n.Addr()}, Dialer: client.Dialer{Net: n.Net.Dial}}
		got := metric(t, run(t, tg, "p2p", quick(func(p *result.Params) { p.Count, p.InFlight = 5, 1 })), "delivered")
		if span := time.Duration(5 / got * 1e9).Round(time.Microsecond); span < 10*time.Millisecond || span > 14*time.Millisecond || span%time.Millisecond == 0 {
			t.Errorf("five messages were measured for %v", span)
		}
	})
}

// What is kept of the delays is of the phase whose percentiles have no word before them.
func TestHistogramIsOfThePhaseWithoutAWord(t *testing.T) {
	t.Parallel()
	for _, scenario := range []string{"p2p", "churn", "table"} {
		simulated(t, func(t *testing.T) {
			tg := target(t, &faults.Proxy{Pause: onceAfter(50, 400*time.Millisecond)}) // in the first phase
			n := run(t, tg, scenario, quick(func(p *result.Params) { p.InFlight, p.Duration, p.ChurnRate, p.Names = 4, time.Second, 20, 2000 }))
			h, err := hdr.Decode([]byte(n.Rounds[0].Histogram))
			if err != nil {
				t.Fatalf("%s: %v", scenario, err)
			}
			if got, want := h.Mean(), metric(t, n, "mean"); math.Abs(got-want) > 1 {
				t.Errorf("%s: the mean is %v, and %v of the histogram", scenario, time.Duration(want), time.Duration(got))
			}
		})
	}
}

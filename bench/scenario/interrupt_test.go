package scenario

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/faults"
)

// interrupted runs one case and ends it when has says so of the progress.
func interrupted(t *testing.T, scenario string, p result.Params, has func(Progress) bool) result.NodeResult {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	plan := Plan{Targets: []load.Target{ownNode(t)}, Cases: []Case{{Scenario: load1(t, scenario), Params: p}}, Rounds: 1}
	plan.Progress = func(g Progress) {
		if has(g) {
			cancel()
		}
	}
	r, err := plan.Run(ctx)
	if !errors.Is(err, context.Canceled) || r.Valid {
		t.Errorf("got %v, valid %v", err, r.Valid)
	}
	return r.Cases[0].Nodes[0]
}

// An interrupt in the warm-up ends everything in order, and shows what there was. The race detector watches.
func TestInterruptInTheWarmUpKeepsWhatThereIs(t *testing.T) {
	for scenario, metric := range map[string]string{
		"p2p": "delivered", "soak": "delivered", "churn": "alone: delivered", "slow": "delivered", "idle": "alone: delivered",
		"table": "small table: delivered",
	} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel() // it waits for most of its time
			n := interrupted(t, scenario, quick(func(p *result.Params) { p.Warmup, p.Names = time.Minute, 2000 }), func(g Progress) bool { return g.Sample.Delivered > 0 })
			if m, ok := n.Metric(metric); !ok || m.Value <= 0 || len(n.Rounds[0].Samples) == 0 {
				t.Errorf("%s: got %+v and %d samples", metric, m, len(n.Rounds[0].Samples))
			}
			if len(n.Rounds[0].Notes) == 0 {
				t.Error("nothing says that it was the warm-up")
			}
		})
	}
}

// A node that is gone before all are back: how many were there, and how many came back.
func TestStormCutShortKeepsWhatThereIs(t *testing.T) { simulated(t, stormCutShort) }

func stormCutShort(t *testing.T) {
	n := new(faults.Proxy)
	tg := target(t, n)
	var begun atomic.Int64
	tg.Dialer = watched{Dialer: client.Dialer{Net: n.Net.Dial}, before: func(context.Context) error {
		if begun.Add(1) == 60 {
			n.Close()
		}
		return nil
	}}
	r, err := Plan{Targets: []load.Target{tg}, Cases: []Case{{Scenario: load1(t, "storm"), Params: quick(func(p *result.Params) { p.Conns = 40 })}}, Rounds: 1}.Run(t.Context())
	if err == nil {
		t.Fatal("no error")
	}
	for _, c := range []struct {
		metric      string
		least, most float64
	}{{"clients connected", 40, 40}, {"clients back", 0, 39}} {
		if m, ok := r.Cases[0].Nodes[0].Metric(c.metric); !ok || m.Value < c.least || m.Value > c.most {
			t.Errorf("%s: %+v", c.metric, m)
		}
	}
}

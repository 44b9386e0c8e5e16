package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/faults"
	"github.com/seed31b3bfd0/slimgo/router"
)

// ownNode runs the real node in this process.
func ownNode(t *testing.T) load.Target {
	t.Helper()
	n, err := router.Start(t.Context(), router.Options{Listen: []string{"127.0.0.1:0"}, Loops: 1, NodeID: "bench-test",
		// Nobody is stalled or turned away for want of a processor.
		StallTimeout: time.Minute, HoldTimeout: time.Minute, NegotiationTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return load.Target{Name: "own", Addrs: []string{n.Addrs()[0].String()}, Dialer: client.Dialer{}}
}

func TestEveryScenarioRunsOnTheOwnNode(t *testing.T) {
	t.Parallel()
	small := map[string]func(*result.Params){
		"fanin":   func(p *result.Params) { p.Senders = 4 },
		"anycast": func(p *result.Params) { p.Instances = 3 },
		"groups":  func(p *result.Params) { p.Groups, p.Members, p.Senders = 3, 3, 2 },
		"mixed":   func(p *result.Params) { p.Sizes, p.InFlight = "64:50,1K:30,64K:15,1M:5", 8 },
		"churn":   func(p *result.Params) { p.ChurnRate, p.Duration = 100, 300*time.Millisecond },
		"storm":   func(p *result.Params) { p.Conns = 60 },
		"idle":    func(p *result.Params) { p.Conns = 30 },
		"table":   func(p *result.Params) { p.Names = 2000 },
		"slow":    func(p *result.Params) { p.Fanout, p.Stall = 3, 200*time.Millisecond },
		"soak":    func(p *result.Params) { p.Fanout, p.Pairs, p.Duration, p.ChurnRate = 2, 1, 400*time.Millisecond, 50 },
		"p2p":     func(p *result.Params) { p.Pairs = 2 },
		"fanout":  func(p *result.Params) { p.Fanout = 3 },
		"search":  func(p *result.Params) { p.TotalRate, p.P99Bound = 40, time.Nanosecond }, // which no rate holds
		"mesh":    func(p *result.Params) { p.Nodes, p.Names, p.SetupLimit = 3, 2000, time.Minute },
		"session": func(p *result.Params) { p.Members, p.Sessions, p.Count = 2, 20, 200 },
		"mls":     func(p *result.Params) { p.Members = 4 },
		"rpc":     func(p *result.Params) { p.Fanout, p.Replies = 1, 1 },
	}
	for _, k := range kinds {
		change, ok := small[k.kind]
		if !ok {
			t.Errorf("scenario %s has no case here", k.kind)
			continue
		}
		t.Run(k.kind, func(t *testing.T) {
			t.Parallel() // it waits for most of its time
			own := ownNode(t)
			if k.kind == "mesh" {
				own = load.Target{Name: "own", Dialer: client.Dialer{}, Command: process.Command{Text: process.Quote(os.Args[0], nodeCommand) + " {config}"}}
			}
			p := quick(func(p *result.Params) {
				p.Duration = 60 * time.Millisecond // that something comes, not how much
				change(p)
			})
			ms, cost := metrics(t, own, k.kind, p), "one node: "+result.CostMetric
			for tries := 1; k.kind == "mesh" && ms[cost] == 0 && tries < 10; tries++ { // a machine may sleep so long
				ms = metrics(t, own, k.kind, p)
			}
			for name := range ms {
				if err := (result.Condition{Metric: name, Against: "base"}).Known(); err != nil {
					t.Error(err)
				}
			}
			for _, bad := range []string{"lost", "duplicates", "reordered", "foreign", "changed", "clients failed"} {
				if ms[bad] != 0 {
					t.Errorf("%s: %v", bad, ms[bad])
				}
			}
			if _, ok := ms["lost"]; !ok && k.kind != "idle" {
				t.Errorf("loss is not judged: %v", ms)
			}
			if one := ms[cost]; k.kind == "mesh" && (one <= 0 ||
				ms[result.CostMetric+", two nodes/one"] != ms[result.CostMetric]/one || ms[result.CostMetric+", to all/one node"] != ms["to all: "+result.CostMetric]/one) {
				t.Errorf("the ratios are not those of what was measured: %v", ms)
			}
		})
	}
}

func TestAnycastFindsAnUnfairNode(t *testing.T) {
	t.Parallel()
	of4 := quick(func(p *result.Params) { p.Instances = 4 })
	simulated(t, func(t *testing.T) {
		fair := one(t, &faults.Proxy{Rotate: true}, "anycast", of4)
		if fair["spread max/mean"] > 1.01 || fair["spread min/mean"] < 0.99 || fair["delivered"] <= 0 {
			t.Errorf("in turn: %v to %v of the mean", fair["spread min/mean"], fair["spread max/mean"])
		}
	})
	simulated(t, func(t *testing.T) {
		unfair := one(t, new(faults.Proxy), "anycast", of4) // all to the first
		if unfair["spread max/mean"] != 4 || unfair["spread min/mean"] != 0 || unfair["lost"] != 0 {
			t.Errorf("got %v", unfair)
		}
	})
}

func TestAnycastSeesDuplicatesAcrossInstances(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		n := &faults.Proxy{Fate: faults.Every(100, faults.Twice)}
		if ms := one(t, n, "anycast", quick(func(p *result.Params) { p.Instances = 2 })); ms["duplicates"] < 1 || ms["lost"] != 0 {
			t.Errorf("got %v", ms)
		}
	})
}

func TestMixedSendsEachSizeByItsWeight(t *testing.T) {
	t.Parallel()
	mix := slices.Sorted(slices.Values(load.SizeMix("100:3,1K").Turns()))
	if want := []int{100, 100, 100, 1024}; !slices.Equal(mix, want) {
		t.Fatalf("got %v", mix)
	}
	simulated(t, func(t *testing.T) {
		ms := one(t, new(faults.Proxy), "mixed", quick(func(p *result.Params) { p.Sizes, p.Duration = "100:3,1K:1", time.Second }))
		overhead := 400.0 // header, roughly
		if mean := ms["bytes received"] / ms["delivered"]; mean < 331+overhead/2 || mean > 331+overhead*1.5 {
			t.Errorf("%v bytes a message, want 331 and a header", mean)
		}
	})
}

func TestChurnCountsClientsAndFailures(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		ms := one(t, new(faults.Proxy), "churn", quick(func(p *result.Params) { p.ChurnRate, p.Duration = 20, time.Second }))
		if got := ms["clients served a second"]; got < 19 || got > 21 || ms["clients served"] != got {
			t.Errorf("%v clients in a second, %v in all, want 20", got, ms["clients served"])
		}
		// Request and link, the answers to both, name, acknowledgement: a millisecond each.
		if p50, p99 := time.Duration(ms["setup p50"]), time.Duration(ms["setup p99"]); p50 != p99 || p50 < 4*time.Millisecond || p50 > 6*time.Millisecond {
			t.Errorf("setup p50 %v, p99 %v", p50, p99)
		}
	})
}

// A node that keeps the names of dead clients delivers to nobody, or twice: the storm finds both. So it does what goes
// wrong before the storm.
func TestStormFindsLossAndGhosts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		metric string
		fault  faults.Fate
	}{{"lost", faults.Drop}, {"duplicates", faults.Twice}} {
		for _, when := range []uint64{50, 200} { // 40 clients get 3 messages before the storm, and 3 behind it
			simulated(t, func(t *testing.T) {
				n := &faults.Proxy{Fate: func(n uint64) faults.Fate {
					if n == when {
						return c.fault
					}
					return faults.Deliver
				}}
				if ms := one(t, n, "storm", quick(func(p *result.Params) { p.Conns = 40 })); ms[c.metric] != 1 {
					t.Errorf("%s at message %d: got %v", c.metric, when, ms)
				}
			})
		}
	}
}

// watched is a dialer that asks before each receiving connection.
type watched struct {
	client.Dialer
	before func(context.Context) error
}

func (d watched) Dial(ctx context.Context, addr string, o load.DialOptions) (load.Conn, error) {
	if o.Sink != nil {
		if err := d.before(ctx); err != nil {
			return nil, err
		}
	}
	return d.Dialer.Dial(ctx, addr, o)
}

func TestStormComesAllAtOnce(t *testing.T) {
	t.Parallel()
	const n = 200
	tg := ownNode(t)
	var begun atomic.Int64
	all := make(chan struct{})
	tg.Dialer = watched{before: func(ctx context.Context) error {
		switch k := begun.Add(1); {
		case k == 2*n:
			close(all)
		case k > n: // of those who come back, none goes on before all have begun
			select {
			case <-all:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}}
	ms := metrics(t, tg, "storm", quick(func(p *result.Params) { p.Conns = n }))
	if ms["clients back"] != n || ms["all back in"] <= 0 {
		t.Errorf("got %v", ms)
	}
}

// A client that a node is too busy to answer comes all the same, later, and is told of; one that cannot come ends the
// storm.
func TestStormLetsWhoWasNotAnsweredTryAgain(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		n := new(faults.Proxy)
		tg := target(t, n)
		var dialled atomic.Int64
		tg.Dialer = watched{Dialer: client.Dialer{Net: n.Net.Dial}, before: func(context.Context) error {
			if k := dialled.Add(1); k == 50 || k == 60 {
				return fmt.Errorf("nothing for 20s: %w", context.DeadlineExceeded)
			}
			return nil
		}}
		ms := metrics(t, tg, "storm", quick(func(p *result.Params) { p.Conns = 40 }))
		if ms["clients back"] != 40 || ms["setups timed out"] != 2 || ms["lost"] != 0 {
			t.Errorf("got %v", ms)
		}
	})
}

func TestGrowthIsFoundInTheSecondHalf(t *testing.T) {
	var leak, steady []load.Sample
	for i := range 120 {
		s := load.Sample{At: float64(i), Phase: load.Measured, RSS: 100 << 20, Files: 10, Threads: 5, P99: 1e6}
		if i < 60 {
			s.RSS -= int64(60-i) << 20 // warming up
		}
		steady = append(steady, s)
		s.RSS += int64(i) << 20
		s.Files += i
		leak = append(leak, s)
	}
	get := func(all []load.Sample) map[string]float64 {
		ms := map[string]float64{}
		for _, m := range growth(all) {
			ms[m.Name] = m.Value
		}
		return ms
	}
	if ms := get(steady); math.Abs(ms["RSS slope"]) > 1 || math.Abs(ms["files slope"]) > 1e-6 || math.Abs(ms["RSS growth, share"]) > 1e-6 {
		t.Errorf("steady: %v", ms)
	}
	for i := range steady { // nobody knows the process
		steady[i].RSS, steady[i].Files, steady[i].Threads = 0, 0, 0
	}
	if ms := get(leak[:20]); len(ms) != 4 || ms["files gained"] < 8 {
		t.Errorf("of seconds: %v", ms)
	}
	if ms := get(steady); len(ms) != 1 || ms["p99 late/early"] != 1 {
		t.Errorf("of a process that is not known: %v", ms)
	}
	slower := slices.Clone(leak)
	for i := 90; i < len(slower); i++ {
		slower[i].P99 = 3e6
	}
	if got := get(slower)["p99 late/early"]; got < 2.9 || got > 3.1 {
		t.Errorf("delays that grow to three times: %v", got)
	}
	if ms := get(leak); ms["RSS slope"] < 3599<<20 || ms["files slope"] < 3599 || ms["files gained"] != 59 || ms["RSS growth, share"] < 0.3 {
		t.Errorf("leak: %v", ms)
	}
}

// The slowest of a thousand is a maximum, and no p99.9.
func TestPercentilesNeedTheirSamples(t *testing.T) {
	for _, c := range []struct {
		n    int
		want string
	}{{999, "p50 p90 p99 max mean deviation"}, {1000, "p50 p90 p99 p99.9 max mean deviation"},
		{10000, "p50 p90 p99 p99.9 p99.99 max mean deviation"}} {
		l := load.NewLatency()
		for i := range c.n {
			l.Record(int64(i + 1))
		}
		var names []string
		for _, m := range delays("", l) {
			names = append(names, m.Name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%d messages: %s, want %s", c.n, got, c.want)
		}
	}
}

// Who works together stops soon after one has failed, and says how many did not.
func TestTogetherStopsAtAFailure(t *testing.T) {
	const n, workers, bad = 1000, 4, 10
	var calls atomic.Int64
	wrong := errors.New("wrong")
	done, err := together(n, workers, func(i int) error {
		calls.Add(1)
		if i >= bad {
			return wrong
		}
		return nil
	})
	if got := calls.Load(); done > bad || !errors.Is(err, wrong) || got > bad+workers || got < int64(done)+1 {
		t.Errorf("%d done in %d calls, %v", done, got, err)
	}
	if done, err := together(n, workers, func(int) error { return nil }); done != n || err != nil {
		t.Errorf("%d done, %v", done, err)
	}
}

// A pause is the longest silence of the phase in which it was, and of no other.
func TestSilenceIsOfItsPhase(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		const pause = 400 * time.Millisecond
		tg := target(t, &faults.Proxy{Pause: onceAfter(100, pause)})
		ms := metrics(t, tg, "slow", quick(func(p *result.Params) { p.Fanout, p.Rate, p.Stall, p.Duration = 3, 500, time.Second, time.Second }))
		before, during := time.Duration(ms["before: longest silence"]), time.Duration(ms["during: longest silence"])
		if before < pause || before > pause*11/10 || during > pause/10 {
			t.Errorf("silence before %v, during %v; the pause of %v was before", before, during, pause)
		}
	})
}

// Visits that fail are counted, and the first are told with their reasons.
func TestFailedVisitsAreCountedAndTold(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		n := new(faults.Proxy)
		tg := target(t, n)
		var dialled atomic.Int64
		tg.Dialer = watched{Dialer: client.Dialer{Net: n.Net.Dial}, before: func(context.Context) error {
			if dialled.Add(1) > 6 { // the pair's, and some guests'
				return errors.New("no more")
			}
			return nil
		}}
		r, err := Plan{Targets: []load.Target{tg}, Rounds: 1, Cases: []Case{{Scenario: load1(t, "churn"),
			Params: quick(func(p *result.Params) { p.ChurnRate, p.Duration = 20, time.Second })}}}.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		served, _ := r.Cases[0].Nodes[0].Metric("clients served")
		failed, _ := r.Cases[0].Nodes[0].Metric("clients failed")
		notes := r.Cases[0].Nodes[0].Rounds[0].Notes
		if served.Value != 5 || failed.Value < 10 || len(notes) != 3 || notes[0] != "a client failed: no more" {
			t.Errorf("%v served, %v failed, notes %q", served.Value, failed.Value, notes)
		}
	})
}

// A member is served again when it has what was sent after it had begun to read, not when it has anything at all.
func TestRecoveryIsAMessageThatWasSentAfterIt(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		r := load.NewReceiver(0, 1, 1)
		see := func(n uint64) {
			b := make([]byte, load.StampSize)
			load.Stamp{Seq: n}.Put(b)
			r.Begin(load.Now())
			r.Deliver(b)
			r.Flush()
		}
		told := recovery(t.Context(), func() error { return nil }, 10, r.From(0))
		see(9)
		time.Sleep(time.Second)
		if len(told) > 0 {
			t.Fatal("told of a message that was under way before")
		}
		see(10)
		if ms := <-told; value(ms, "slow member served again") != 1 || value(ms, "slow member caught up after") < 1e9 {
			t.Errorf("got %v", ms)
		}
	})
}

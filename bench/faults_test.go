package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/internal/faults"
	"github.com/seed31b3bfd0/slimgo/bench/internal/testnode"
)

// damaged puts a proxy in front of a healthy node.
func damaged(t *testing.T, plan faults.Plan) (Target, *faults.Proxy) {
	t.Helper()
	tg := target(t, new(testnode.Node))
	p, err := faults.Start(tg.Addrs[0], plan)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	tg.Addrs = []string{p.Addr()}
	return tg, p
}

// enough measures through a proxy, longer and longer until it has passed so many publishes: how fast it is depends on the
// machine and on how the test was built.
func enough(t *testing.T, plan faults.Plan, passed uint64) (map[string]float64, faults.Done) {
	t.Helper()
	for d := 600 * time.Millisecond; ; d *= 3 {
		tg, proxy := damaged(t, plan)
		ms := metrics(t, tg, "p2p", quick(func(p *Params) { p.Duration = d }))
		done := proxy.Done()
		if done.Passed >= passed {
			return ms, done
		}
		if d > 20*time.Second {
			t.Fatalf("only %d messages passed in %v, want %d", done.Passed, d, passed)
		}
	}
}

// What a proxy did to the traffic is what the measurement says, to the message.
func TestInjectedFaultsAreCounted(t *testing.T) {
	for _, c := range []struct {
		name string
		plan faults.Plan
		want func(faults.Done) (lost, duplicates, reordered uint64)
	}{
		{"nothing", faults.Plan{}, func(faults.Done) (uint64, uint64, uint64) { return 0, 0, 0 }},
		{"one of 10,000 dropped", faults.Plan{DropEvery: 10000},
			func(d faults.Done) (uint64, uint64, uint64) { return d.Dropped, 0, 0 }},
		{"one of 1,000 doubled", faults.Plan{DoubleEvery: 1000},
			func(d faults.Done) (uint64, uint64, uint64) { return 0, d.Doubled, 0 }},
		{"one of 1,000 swapped", faults.Plan{SwapEvery: 1000},
			func(d faults.Done) (uint64, uint64, uint64) { return 0, 0, d.Swapped }},
		{"all three", faults.Plan{DropEvery: 997, DoubleEvery: 1009, SwapEvery: 1013},
			func(d faults.Done) (uint64, uint64, uint64) { return d.Dropped, d.Doubled, d.Swapped }},
	} {
		t.Run(c.name, func(t *testing.T) {
			ms, done := enough(t, c.plan, 10000)
			lost, duplicates, reordered := c.want(done)
			// A message that waits for its successor when the traffic ends never comes: it is lost.
			kept := float64(0)
			if c.plan.SwapEvery > 0 && ms["lost"] == float64(lost)+1 {
				kept = 1
			}
			if ms["lost"]-kept != float64(lost) || ms["duplicates"] != float64(duplicates) || ms["reordered"] != float64(reordered) {
				t.Errorf("found lost %v, duplicates %v, reordered %v; the proxy did %+v", ms["lost"], ms["duplicates"], ms["reordered"], done)
			}
		})
	}
}

// Delays of five milliseconds on one message in fifty are in the p99, and not in the median.
func TestDelaysShowAtTheirPercentile(t *testing.T) {
	tg, proxy := damaged(t, faults.Plan{DelayEvery: 50, Delay: 5 * time.Millisecond})
	ms := metrics(t, tg, "p2p", quick(func(p *Params) { p.InFlight, p.Duration = 1, 1500*time.Millisecond }))
	if proxy.Done().Delayed < 10 {
		t.Fatalf("only %d delayed", proxy.Done().Delayed)
	}
	if ms["p99"] < 5e6 || ms["p50"] >= 5e6 {
		t.Errorf("p50 %v, p99 %v", time.Duration(ms["p50"]), time.Duration(ms["p99"]))
	}
	if ms["lost"]+ms["duplicates"]+ms["reordered"] != 0 {
		t.Errorf("found %v", ms)
	}
}

// pauses blocks callers for length once in every period.
func pauses(every, length time.Duration) func() {
	var mu sync.Mutex
	next := time.Now().Add(every)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if time.Now().Before(next) {
			return
		}
		wait := time.NewTimer(length)
		<-wait.C
		next = next.Add(every)
	}
}

// A target that stands still for 200 ms in each second does so to a fifth of all messages. The open loop says so, although
// its sender is blocked for most of each pause: the windows take 64 KiB of the 1.6 MiB that are to be sent meanwhile. The
// closed loop, which sends nothing meanwhile, counts each pause once.
func TestOpenLoopChargesPausesToEveryMessage(t *testing.T) {
	case1 := func(f func(*Params)) map[string]float64 {
		tg, _ := damaged(t, faults.Plan{Window: 64 << 10, Pause: pauses(time.Second, 200*time.Millisecond)})
		return metrics(t, tg, "p2p", quick(func(p *Params) { p.Size, p.Duration = 16<<10, 3*time.Second; f(p) }))
	}
	open := case1(func(p *Params) { p.Rate = 500 })
	closed := case1(func(p *Params) { p.InFlight = 1 })
	if p99 := time.Duration(open["p99"]); p99 < 150*time.Millisecond || p99 > 600*time.Millisecond {
		t.Errorf("open loop: p99 %v, want about 200 ms", p99)
	}
	if p90 := time.Duration(open["p90"]); p90 < 50*time.Millisecond {
		t.Errorf("open loop: p90 %v, want about 100 ms", p90)
	}
	if p99 := time.Duration(closed["p99"]); p99 > 100*time.Millisecond {
		t.Errorf("closed loop: p99 %v: the contrast is gone", p99)
	}
}

// once blocks the caller that comes at or after number n, and all behind it, for length.
func once(n int64, length time.Duration) func() {
	var mu sync.Mutex
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if n--; n == 0 {
			wait := time.NewTimer(length)
			<-wait.C
		}
	}
}

// A target that stands still from the midst of the measured time to beyond its end has kept half of the messages waiting.
// They are late, whether they were under way or the sender could not let them out.
func TestStallBeyondTheEndIsCharged(t *testing.T) {
	for _, c := range []struct {
		name   string
		size   int
		window uint32
	}{{"messages under way", 100, 0}, {"sender blocked", 16 << 10, 64 << 10}} {
		t.Run(c.name, func(t *testing.T) {
			const stall = 1500 * time.Millisecond
			tg, _ := damaged(t, faults.Plan{Window: c.window, Pause: once(2*250, stall)}) // each passes twice
			ms := metrics(t, tg, "p2p", quick(func(p *Params) { p.Size, p.Rate, p.Duration = c.size, 500, time.Second }))
			if p90, p99 := time.Duration(ms["p90"]), time.Duration(ms["p99"]); p90 < stall/2 || p99 < stall*3/4 {
				t.Errorf("p90 %v, p99 %v; half of the messages met a stall of %v", p90, p99, stall)
			}
			if ms["lost"] != 0 {
				t.Errorf("%v lost", ms["lost"])
			}
		})
	}
}

// A message that never comes is later than all that do.
func TestLostMessagesAreLate(t *testing.T) {
	for _, c := range []struct {
		name string
		f    func(*Params)
	}{{"open", func(p *Params) { p.Rate = 500 }}, {"closed", func(p *Params) { p.InFlight = 16 }}} {
		t.Run(c.name, func(t *testing.T) {
			tg, proxy := damaged(t, faults.Plan{DropEvery: 20})
			ms := metrics(t, tg, "p2p", quick(func(p *Params) { p.Duration = 400 * time.Millisecond; c.f(p) }))
			if proxy.Done().Dropped < 4 {
				t.Fatalf("only %d dropped", proxy.Done().Dropped)
			}
			if p90, p99 := time.Duration(ms["p90"]), time.Duration(ms["p99"]); p90 > drainQuiet || p99 < drainQuiet {
				t.Errorf("p90 %v, p99 %v; one of 20 was awaited for %v and more", p90, p99, drainQuiet)
			}
		})
	}
}

func TestRefusingNodesAreReported(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve func(net.Conn)
		limit time.Duration
		want  string
	}{
		{"hangs up", func(c net.Conn) { _ = c.Close() }, 0, "it hung up without a word on plain HTTP/2: a listener with TLS (slim-bench speaks none yet: give one with tls: insecure: true)"},
		{"speaks HTTP/1.1", func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, 0,
			`a web server or a proxy that speaks HTTP/1 only: it answered "HTTP/1.1 400 Bad Request"; give the address of a node's dataplane listener`},
		{"expects TLS", func(c net.Conn) { _, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 70}); _ = c.Close() }, 0,
			"this seems to be a listener with TLS: it answered with a TLS alert; slim-bench speaks none yet: give a listener without it (tls: insecure: true)"},
		{"says nothing", func(net.Conn) {}, 100 * time.Millisecond, "check the address, and see the node's log (no link within the time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var conns []net.Conn
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					nc, err := l.Accept()
					if err != nil {
						return
					}
					conns = append(conns, nc)
					_, _ = io.ReadFull(nc, make([]byte, 24)) // the preface; what is closed unread is reset
					c.serve(nc)
				}
			}()
			tg := Target{Name: "x", Addrs: []string{l.Addr().String()}, Dialer: client.Dialer{Limit: c.limit}}
			r, err := Plan{Targets: []Target{tg}, Cases: []Case{{Scenario: load1(t, "p2p"), Params: quick(func(*Params) {})}}, Rounds: 1}.Run(t.Context())
			_ = l.Close()
			<-done
			for _, nc := range conns {
				_ = nc.Close()
			}
			if err == nil || r.Valid || len(r.Invalid) == 0 || !strings.Contains(err.Error(), "slim "+l.Addr().String()+": ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %s; invalid %q", err, c.want, r.Invalid)
			}
		})
	}
}

// A node that stops answering in the midst: what was measured until then is there, and the reason.
func TestStallInTheMidstEndsTheMeasurement(t *testing.T) {
	tg, proxy := damaged(t, faults.Plan{})
	plan := Plan{Targets: []Target{tg}, Cases: []Case{{Scenario: load1(t, "p2p"), Params: quick(func(p *Params) { p.Duration = time.Minute })}}, Rounds: 1}
	plan.Progress = func(g Progress) {
		if g.Rate > 0 {
			proxy.Silence()
		}
	}
	begin := time.Now()
	r, err := plan.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "delivered nothing for") || r.Valid {
		t.Errorf("got %v, valid %v", err, r.Valid)
	}
	if m, ok := r.Cases[0].Nodes[0].Metric("delivered"); !ok || m.Value <= 0 {
		t.Errorf("what was measured until then is gone: %+v", r.Cases[0].Nodes[0].Metrics)
	}
	if took := time.Since(begin); took > 40*time.Second {
		t.Errorf("it took %v to notice", took)
	}
}

func TestInterruptInTheMidstKeepsWhatWasMeasured(t *testing.T) {
	tg := target(t, new(testnode.Node))
	ctx, cancel := context.WithCancel(t.Context())
	plan := Plan{Targets: []Target{tg}, Cases: []Case{{Scenario: load1(t, "p2p"), Params: quick(func(p *Params) { p.Duration = time.Minute })}}, Rounds: 1}
	samples := 0
	plan.Progress = func(g Progress) {
		if g.Rate > 0 {
			if samples++; samples == 2 {
				cancel()
			}
		}
	}
	r, err := plan.Run(ctx)
	if !errors.Is(err, context.Canceled) || r.Valid {
		t.Errorf("got %v, valid %v", err, r.Valid)
	}
	n := r.Cases[0].Nodes[0]
	if m, ok := n.Metric("delivered"); !ok || m.Value <= 0 || len(n.Rounds) != 1 || len(n.Rounds[0].Samples) == 0 {
		t.Errorf("got %+v", n)
	}
}

package scenario

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/faults"
	"github.com/seed31b3bfd0/slimgo/internal/simnet"
)

// inject measures 1,000 messages of two pairs on p and wants what was done to them to be what the measurement says, to the
// message.
func inject(t *testing.T, p *faults.Proxy, tg load.Target, f faults.Fate) {
	t.Helper()
	const damaged = 5 // of the first 500: so none of them is a sender's last message, after which nothing would come
	once := faults.Every(97, f)
	p.Fate = func(n uint64) faults.Fate {
		if n < 500 {
			return once(n)
		}
		return faults.Deliver
	}
	p.Delay = time.Millisecond
	ms := metrics(t, tg, "p2p", quick(func(p *result.Params) { p.Pairs, p.Count, p.Warmup = 2, 1000, 0 }))
	if done := p.Done(f); f != faults.Deliver && done != damaged || p.Deliveries() != 1000 {
		t.Errorf("%d of %d deliveries met it, want %d of 1000", done, p.Deliveries(), damaged)
	}
	want := map[faults.Fate][]string{faults.Drop: {"lost"}, faults.Twice: {"duplicates"}, faults.Swap: {"reordered"},
		faults.Change: {"changed", "lost"}, faults.Astray: {"foreign", "lost"}}
	for _, name := range []string{"lost", "duplicates", "reordered", "changed", "foreign"} {
		if n := ms[name]; slices.Contains(want[f], name) != (n == damaged) || n != 0 && n != damaged {
			t.Errorf("%s: found %v, want %v", name, n, want[f])
		}
	}
}

var injected = map[string]faults.Fate{"nothing": faults.Deliver, "lost": faults.Drop, "twice": faults.Twice, "out of order": faults.Swap,
	"late": faults.Late, "changed": faults.Change, "to the wrong one": faults.Astray}

func TestInjectedFaultsAreCounted(t *testing.T) {
	t.Parallel()
	for name, f := range injected {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				p := new(faults.Proxy)
				inject(t, p, target(t, p), f)
			})
		})
	}
}

// The same between clients and a real node, over TCP.
func TestFaultsInFrontOfANodeAreCounted(t *testing.T) {
	t.Parallel()
	for name, f := range injected {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits for most of its time, for what is lost
			node := ownNode(t)
			p := &faults.Proxy{Node: node.Addrs[0]}
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)
			node.Addrs = []string{p.Addr()}
			inject(t, p, node, f)
		})
	}
}

// Several faults at once are told apart.
func TestFaultsTogetherAreCounted(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		drop, twice, swap := faults.Every(997, faults.Drop), faults.Every(1009, faults.Twice), faults.Every(1013, faults.Swap)
		p := &faults.Proxy{Fate: func(n uint64) faults.Fate { return max(drop(n), twice(n), swap(n)) }}
		ms := metrics(t, target(t, p), "p2p", quick(func(p *result.Params) { p.InFlight, p.Duration = 64, 500*time.Millisecond }))
		kept := min(max(ms["lost"]-float64(p.Done(faults.Drop)), 0), 1) // under way at the end
		if p.Deliveries() < 10000 || ms["lost"]-kept != float64(p.Done(faults.Drop)) || ms["duplicates"] != float64(p.Done(faults.Twice)) ||
			ms["reordered"] != float64(p.Done(faults.Swap)) {
			t.Errorf("found lost %v, duplicates %v, reordered %v of %d; done: %d, %d, %d", ms["lost"], ms["duplicates"], ms["reordered"],
				p.Deliveries(), p.Done(faults.Drop), p.Done(faults.Twice), p.Done(faults.Swap))
		}
	})
}

// Delays of five milliseconds on one message in fifty are in the p99, and not in the median.
func TestDelaysShowAtTheirPercentile(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		const delay = 5 * time.Millisecond
		proxy := &faults.Proxy{Fate: faults.Every(50, faults.Late), Delay: delay}
		ms := metrics(t, target(t, proxy), "p2p", quick(func(p *result.Params) { p.InFlight, p.Duration = 1, 5*time.Second }))
		if n := proxy.Done(faults.Late); n < 10 {
			t.Fatalf("only %d delayed", n)
		}
		if p50, p99 := time.Duration(ms["p50"]), time.Duration(ms["p99"]); p99 < p50+delay*9/10 || p99 > p50+delay*11/10 {
			t.Errorf("p50 %v, p99 %v, want %v between them", p50, p99, delay)
		}
		if ms["lost"]+ms["duplicates"]+ms["reordered"] != 0 {
			t.Errorf("found %v", ms)
		}
	})
}

// gate lets callers pass one after the other, and holds the one for which hold says so, and all behind it. A mutex would
// stop a bubble's time.
func gate(hold func() time.Duration) func() {
	turn := make(chan struct{}, 1)
	return func() {
		turn <- struct{}{}
		if d := hold(); d > 0 {
			time.Sleep(d)
		}
		<-turn
	}
}

// pauses blocks callers for length once in every period.
func pauses(every, length time.Duration) func() {
	next := time.Now().Add(every)
	return gate(func() time.Duration {
		if time.Now().Before(next) {
			return 0
		}
		next = next.Add(every)
		return length
	})
}

// onceAfter blocks the caller that comes as number n, and all behind it, for length.
func onceAfter(n int64, length time.Duration) func() {
	return gate(func() time.Duration {
		if n--; n != 0 {
			return 0
		}
		return length
	})
}

// A target that stands still for 200 ms in each second does so to a fifth of all messages. The open loop says so, although
// its sender is blocked for most of each pause: the windows take 64 KiB of the 1.6 MiB that are to be sent meanwhile. The
// closed loop, which sends nothing meanwhile, counts each pause once.
func TestOpenLoopChargesPausesToEveryMessage(t *testing.T) {
	t.Parallel()
	const pause = 200 * time.Millisecond
	case1 := func(t *testing.T, f func(*result.Params)) (p90, p99 time.Duration) {
		tg := target(t, &faults.Proxy{Window: 64 << 10, Pause: pauses(time.Second, pause)})
		ms := metrics(t, tg, "p2p", quick(func(p *result.Params) { p.Size, p.Duration = 16<<10, 3*time.Second; f(p) }))
		return time.Duration(ms["p90"]), time.Duration(ms["p99"])
	}
	simulated(t, func(t *testing.T) {
		p90, p99 := case1(t, func(p *result.Params) { p.Rate = 500 })
		if p99 < pause*9/10 || p99 > pause*12/10 {
			t.Errorf("open loop: p99 %v, want about %v", p99, pause)
		}
		if p90 < pause*4/10 || p90 > pause*7/10 {
			t.Errorf("open loop: p90 %v, want about half of %v", p90, pause)
		}
	})
	simulated(t, func(t *testing.T) {
		if _, p99 := case1(t, func(p *result.Params) { p.InFlight = 1 }); p99 > pause/10 {
			t.Errorf("closed loop: p99 %v: the contrast is gone", p99)
		}
	})
}

// A target that stands still from the midst of the measured time to beyond its end has kept half of the messages waiting.
// They are late, whether they were under way or the sender could not let them out.
func TestStallBeyondTheEndIsCharged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		size   int
		window uint32
		stall  time.Duration
	}{
		{"messages under way", 100, 0, 1500 * time.Millisecond},
		{"messages under way for long", 100, 0, 15 * time.Second},
		{"sender blocked", 16 << 10, 64 << 10, 1500 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				stall := c.stall
				tg := target(t, &faults.Proxy{Window: c.window, Pause: onceAfter(250, stall)})
				ms := metrics(t, tg, "p2p", quick(func(p *result.Params) { p.Size, p.Rate, p.Duration = c.size, 500, time.Second }))
				if p90, p99 := time.Duration(ms["p90"]), time.Duration(ms["p99"]); p90 < stall*3/4 || p90 > stall || p99 < stall*9/10 || p99 > stall*11/10 {
					t.Errorf("p90 %v, p99 %v; half of the messages met a stall of %v", p90, p99, stall)
				}
				if ms["lost"] != 0 {
					t.Errorf("%v lost", ms["lost"])
				}
			})
		})
	}
}

// A message that never comes is later than all that do.
func TestLostMessagesAreLate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		f    func(*result.Params)
	}{{"open", func(p *result.Params) { p.Rate = 500 }}, {"closed", func(p *result.Params) { p.InFlight = 16 }}} {
		t.Run(c.name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				proxy := &faults.Proxy{Fate: faults.Every(20, faults.Drop)}
				ms := metrics(t, target(t, proxy), "p2p", quick(func(p *result.Params) { p.Duration = 400 * time.Millisecond; c.f(p) }))
				if n := proxy.Done(faults.Drop); n < 4 {
					t.Fatalf("only %d dropped", n)
				}
				if p90, p99 := time.Duration(ms["p90"]), time.Duration(ms["p99"]); p90 > load.LossQuiet || p99 < load.LossQuiet {
					t.Errorf("p90 %v, p99 %v; one of 20 was awaited for %v and more", p90, p99, load.LossQuiet)
				}
			})
		})
	}
}

// What is missing behind all that came may only be late: it is awaited for longer, and not for ever.
func TestLostEndIsAwaited(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		began := time.Now()
		proxy := &faults.Proxy{Fate: func(n uint64) faults.Fate {
			if n >= 195 {
				return faults.Drop
			}
			return faults.Deliver
		}}
		ms := metrics(t, target(t, proxy), "p2p", quick(func(p *result.Params) { p.Rate, p.Duration = 500, 400*time.Millisecond }))
		if lost := proxy.Done(faults.Drop); lost == 0 || ms["lost"] != float64(lost) {
			t.Errorf("%v are lost, want %d", ms["lost"], lost)
		}
		if took := time.Since(began); took < load.DrainQuiet || took > load.DrainQuiet+5*time.Second {
			t.Errorf("it took %v, want %v for what is missing", took, load.DrainQuiet)
		}
	})
}

// A node that stands still from before the measurement until after its end is measured until it goes on, and no longer than a
// stall may take.
func TestSilenceIsMeasured(t *testing.T) {
	t.Parallel()
	for _, stall := range []time.Duration{5 * time.Second, time.Hour} {
		simulated(t, func(t *testing.T) {
			began := time.Now()
			p := quick(func(p *result.Params) { p.Rate, p.Warmup, p.Duration = 500, 100*time.Millisecond, 300*time.Millisecond })
			r, err := Plan{Targets: []load.Target{target(t, &faults.Proxy{Pause: onceAfter(25, stall)})}, Cases: []Case{{Scenario: load1(t, "p2p"), Params: p}}, Rounds: 1}.Run(t.Context())
			if took := time.Since(began); took > load.StalledFor+10*time.Second {
				t.Errorf("a stall of %v takes %v", stall, took)
			}
			if stall == time.Hour {
				if r.Valid {
					t.Error("it is valid")
				}
				return
			}
			if m, _ := r.Cases[0].Nodes[0].Metric("delivered"); err != nil || m.Value <= 0 {
				t.Errorf("delivered %v, %v", m.Value, err)
			}
		})
	}
}

func TestRefusingNodesAreReported(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		serve func(net.Conn)
		want  string
	}{
		{"hangs up", func(c net.Conn) { _ = c.Close() }, "it hung up without a word: a listener with TLS (https:// or wss://), another protocol"},
		{"speaks HTTP/1.1", func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) },
			`it answered "HTTP/1.1 400 Bad Request": a listener for WebSocket (ws://, wss://), a web server or a proxy; give the address of a node's`},
		{"expects TLS", func(c net.Conn) { _, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 70}); _ = c.Close() },
			"this seems to be a listener with TLS: it answered with a TLS alert; give https:// or wss://"},
		{"says nothing", func(net.Conn) {}, "check the address, and see the node's log (not done within 20s"},
	} {
		t.Run(c.name, func(t *testing.T) { simulated(t, func(t *testing.T) { refused(t, c.serve, c.want) }) })
	}
}

// refused measures a listener that serves clients so, and wants the reason why that cannot be.
func refused(t *testing.T, serve func(net.Conn), want string) {
	var nw simnet.Net
	l := nw.Listen()
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
			serve(nc)
		}
	}()
	tg := load.Target{Name: "x", Addrs: []string{l.Addr().String()}, Dialer: client.Dialer{Net: nw.Dial}}
	r, err := Plan{Targets: []load.Target{tg}, Cases: []Case{{Scenario: load1(t, "p2p"), Params: quick(func(*result.Params) {})}}, Rounds: 1}.Run(t.Context())
	_ = l.Close()
	<-done
	for _, nc := range conns {
		_ = nc.Close()
	}
	if err == nil || r.Valid || len(r.Reasons()) == 0 || !strings.Contains(err.Error(), "slim "+l.Addr().String()+": ") || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %s; invalid %q", err, want, r.Reasons())
	}
}

// A node that stops answering in the midst: what was measured until then is there, and the reason.
func TestStallInTheMidstEndsTheMeasurement(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		proxy := new(faults.Proxy)
		tg := target(t, proxy)
		plan := Plan{Targets: []load.Target{tg}, Cases: []Case{{Scenario: load1(t, "p2p"), Params: quick(func(p *result.Params) { p.Duration = time.Hour })}}, Rounds: 1}
		var silent time.Time
		plan.Progress = func(g Progress) {
			if g.Sample.Delivered > 0 && silent.IsZero() {
				silent = time.Now()
				proxy.Silence()
			}
		}
		r, err := plan.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "delivered nothing for") || r.Valid {
			t.Errorf("got %v, valid %v", err, r.Valid)
		}
		if m, ok := r.Cases[0].Nodes[0].Metric("delivered"); !ok || m.Value <= 0 {
			t.Errorf("what was measured until then is gone: %+v", r.Cases[0].Nodes[0].Metrics)
		}
		if took := time.Since(silent); took > load.StalledFor+2*load.LossQuiet {
			t.Errorf("it took %v to notice, want %v and at most %v to see what is still to come", took, load.StalledFor, 2*load.LossQuiet)
		}
	})
}

func TestInterruptInTheMidstKeepsWhatWasMeasured(t *testing.T) {
	t.Parallel()
	simulated(t, func(t *testing.T) {
		tg := target(t, new(faults.Proxy))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		plan := Plan{Targets: []load.Target{tg}, Cases: []Case{{Scenario: load1(t, "p2p"), Params: quick(func(p *result.Params) { p.Duration = time.Hour })}}, Rounds: 1}
		samples := 0
		plan.Progress = func(g Progress) {
			if g.Sample.Delivered > 0 {
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
	})
}

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/scenario"
)

// What a run keeps in its file is what top draws: the measurement that goes on, the latest samples first.
func TestTopShowsARun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "live.json")
	show := newProgress(io.Discard, true, path)
	g := longest(t)
	tell := func(change func(*scenario.Progress)) {
		t.Helper()
		change(&g)
		show.tell(g)
	}
	tell(func(g *scenario.Progress) { g.Sample = load.Sample{} })
	for i := range keptSamples + 5 {
		tell(func(g *scenario.Progress) {
			g.Sample = load.Sample{At: float64(i + 1), Seconds: 1, Phase: load.Measured, Delivered: 1234567, P50: 5e5, P99: 1.5e6, Max: 2e6,
				NodeCPU: 0.5, ClientCPU: 1.25, RSS: 20 << 20, Lost: uint64(i)}
		})
	}
	l, err := readLive(path)
	if err != nil || len(l.Samples) != keptSamples {
		t.Fatalf("%v, %d samples", err, len(l.Samples))
	}
	want := `slim-bench run  12m34s
117 of 240: mixed 1→1 sizes 64:50,1K:30,16K:14,128K:5,1M:1 constant, 64 in flight on slimgo, round 12

    AT  PHASE          DELIVERED       P50       P99       MAX   LOST  NODE CPU  CLIENT CPU       RSS
105.0s  measured     1,234,567/s    500 µs    1.5 ms      2 ms    104      0.50        1.25    20 MiB
104.0s  measured     1,234,567/s    500 µs    1.5 ms      2 ms    103      0.50        1.25    20 MiB
… 98 earlier
`
	if got := l.draw(120, 8, l.Time); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := l.draw(120, 8, l.Time.Add(time.Minute)); !strings.Contains(got, "NO NEWS for 1m0s") {
		t.Errorf("of a run that is gone:\n%s", got)
	}

	tell(func(g *scenario.Progress) { g.Step++; g.Sample = load.Sample{} }) // the next begins without samples
	if err := show.done(); err != nil {
		t.Fatal(err)
	}
	if l, err = readLive(path); err != nil || len(l.Samples) != 0 || l.Step != 118 {
		t.Fatalf("%v, %+v", err, l)
	}
	if got := l.draw(120, 8, l.Time.Add(time.Minute)); !strings.Contains(got, "it has ended\n118 of 240") {
		t.Errorf("of a run that has ended:\n%s", got)
	}
}

// A whole run, whose file top reads, in all forms at once.
func TestRunWritesWhatItIsAskedFor(t *testing.T) {
	t.Parallel() // it waits for most of its time
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, "new", name) }
	code, stdout, stderr := slimBench(t, "run", "p2p", "--target", node(t), "--inflight", "8", "--count", "500", "--floor=false",
		"--live", file("live.json"), "--output", "histogram", "--output", "csv="+file("p2p.csv"), "--output", "prometheus="+file("p2p.prom"),
		"--output", "hdr="+file("p2p.hlog"), "--output", "text="+file("p2p.txt"))
	if code != exitOK || !strings.HasPrefix(stdout, "p2p 1→1 100 B constant, 8 in flight, 500 messages on node: ") || !strings.Contains(stdout, "█") {
		t.Fatalf("exit %d, %s%s", code, stdout, stderr)
	}
	for name, want := range map[string]string{"p2p.csv": ",delivered,/s,1,", "p2p.prom": "slim_bench_delivered_per_second{", "p2p.hlog": "Tag=p2p_1→1",
		"p2p.txt": "deviation"} {
		if b, err := os.ReadFile(file(name)); err != nil || !strings.Contains(string(b), want) || strings.Contains(string(b), "\x1b") {
			t.Errorf("%s: %v, no %q in\n%s", name, err, want, b)
		}
	}
	code, stdout, stderr = slimBench(t, "top", file("live.json"))
	if code != exitOK || !strings.Contains(stdout, "it has ended\n1 of 1: p2p 1→1 100 B constant, 8 in flight, 500 messages on node, round 1\n") ||
		!strings.Contains(stdout, "AT  PHASE") { // which samples there are, the machine decides
		t.Errorf("exit %d, %s%s", code, stdout, stderr)
	}
}

func TestTopRefusesWhatIsNoRun(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other.json")
	if err := os.WriteFile(other, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{"top": "top of what?", "top /nowhere/x": "start the run with --live /nowhere/x",
		"top " + other: "is not what slim-bench run --live has written", "top x --interval 1ms": "want 50ms or more"} {
		if code, _, stderr := slimBench(t, strings.Fields(args)...); code != exitInvalid || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d, %s", args, code, stderr)
		}
	}
}

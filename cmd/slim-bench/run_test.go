package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/bench/scenario"
	"github.com/seed31b3bfd0/slimgo/internal/leak"

	"github.com/seed31b3bfd0/slimgo/router"
)

// TestMain lets the test binary play the relay and the apps, which slim-bench starts from its own program, and a node.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && (os.Args[1] == "relay" || os.Args[1] == scenario.AppsCommand):
		main()
	case len(os.Args) == 3 && os.Args[1] == "play-node":
		if err := playNode(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	together()
	// Most that tests make is garbage soon.
	debug.SetGCPercent(400)
	leak.Main(m)
}

// together has as many tests that wait for most of their time side by side as gain by that, on any machine.
func together() {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("8")
	}
}

// shared is a buffer that a command may write while a test reads.
type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
	on func(string) // called with all that was written
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.b.Write(p)
	if s.on != nil {
		s.on(s.b.String())
	}
	return n, err
}

func slimBench(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err shared
	code = run(t.Context(), args, strings.NewReader(""), &out, &err)
	return code, out.b.String(), err.b.String()
}

// node runs the real node in this process and returns its address.
func node(t *testing.T) string {
	t.Helper()
	n, err := router.Start(t.Context(), router.Options{Listen: []string{"127.0.0.1:0"}, Loops: 1, NodeID: "bench-test",
		StallTimeout: time.Minute, NegotiationTimeout: time.Minute}) // nobody is turned away for want of a processor
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
	return n.Addrs()[0].String()
}

func TestMistakesNameTheNearest(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
	}{
		{"rum p2p", `no command "rum"; did you mean run?`},
		{"run p2pp", `no scenario "p2pp"; did you mean p2p?`},
		{"run p2p --pair 3", `no flag --pair; did you mean --pairs?`},
		{"run --suite smok", `no suite "smok"; did you mean smoke?`},
		{"run p2p --size 5", "a message needs 24 bytes"},
		{"run p2p --names 5", "--names has no effect on p2p"},
		{"run p2p --suite ci", "not both"},
		{"run", "run what?"},
		{"run p2p --target ftp://x", `no scheme "ftp"; want one of http, https, ws, wss, unix`},
		{"run p2p --target https://x", "want host:port"},
		{"run p2p --target https://127.0.0.1:1 --ca /no/such/file", "--ca, --cert, --key: "},
		{"run p2p --transports tsl --node {config}", `no transport "tsl"; did you mean tls?`},
		{"run p2p --transports tls --target 127.0.0.1:1", "nobody answers there"},
		{"run p2p --transports tls --node x", "only where it is started with {config}"},
		{"run p2p --stages 5:x", `stage "5:x"`},
		{"run storm --count 5", "--count has no effect on storm"},
		{"run p2p --target x:1 --node y", "exclude each other"},
		{"run p2p --rate 5 --total-rate 5", "--rate and --total-rate exclude each other"},
		{"run p2p --stages 5:1s --duration 2s", "--stages and --duration exclude each other"},
		{"run p2p --count 5 --duration 9s", "--count and --duration exclude each other"},
		{"run p2p --count 5 --warmup 1s", "--count and --warmup exclude each other"},
		{"run p2p --node=", "--node is given, but empty"},
		{"run p2p --node _", "--node is given, but empty"},
		{"run p2p --node \"", "quote without end"},
		{"run p2p --versus=", "--versus is given, but empty"},
		{"run p2p --size=", "--size is given, but empty"},
		{"run p2p --stages=", "--stages is given, but empty"},
		{"run --suite=", "--suite is given, but empty"},
		{"send a/b/c --target=", "--target is given, but empty"},
		{"run p2p --target x:1 --require lost", "want METRIC <= NUMBER"},
		{"run p2p --target x:1 --rounds 0", "want at least 1"},
		{"run p2p --node x --require duplicate<=0", `no scenario measures "duplicate"; did you mean duplicates?`},
		{"run p2p --node x --require p99<=5", "an absolute time or rate says more of the machine"},
		{"run table --node x --require time_per_subscribe,_last_tenth<=5", "an absolute time or rate says more of the machine"},
		{"run idle --node x --require with_idel:_p99/base<=1", `no scenario measures "with idel"; did you mean with idle?`},
		{"run idle --node x --require delivered,_with/alon>=1", `no scenario measures "with/alon"; did you mean with/alone?`},
		{"run p2p --node nosuch --floor=false", `node: there is no program "nosuch" to start`},
		{"run p2p --node sh --versus old=nosuch --floor=false", `old: there is no program "nosuch" to start`},
		{"run p2p --output jsn", `no form "jsn"; did you mean json?`},
		{"run p2p --output csv=", "want a file behind the ="},
		{"compare a b --output yaml", "no form \"yaml\""},
		{"run p2p --output csv=/dev/null", "/dev/null is no file that a report may replace"},
		{"run p2p --output json=.", ". is no file that a report may replace"},
		{"run p2p --live /dev/full", "/dev/full is no file that a report may replace"},
		{"run p2p --node 'x", "quote without end"},
		{"run p2p --node a=x --versus a=y", "two nodes are called a"},
		{"run --suite ci --node blind:x", "floor, is not in this run"},
		{"run p2p --target x:1 --pid 2147483647", "no such process"},
		{"run p2p --target x:1 --pid -1", "want the id of the node's process"},
		{"compare one.json", "compare what?"},
		{"compare no.json no.json", "no.json"},
		{"list fanot", "did you mean fanout?"},
		{"list everything", "want one of "},
		{"frobnicate", `no command "frobnicate"; want one of compare, list, receive, run, send, top`},
		{"list --frobnicate", "no flag --frobnicate"},
	} {
		args := strings.Fields(c.args)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "_", " ")
		}
		code, _, stderr := slimBench(t, args...)
		if code != exitInvalid || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d, %s; want %s", c.args, code, stderr, c.want)
		}
	}
}

// What cannot be printed is an error, whatever it was.
func TestWhatCannotBePrintedIsAnError(t *testing.T) {
	for _, args := range [][]string{{"list"}, {"list", "ci"}, {"run", "p2p", "--size", "100", "--duration", "50ms", "--warmup", "10ms", "--floor=false", "--quiet",
		"--target", node(t)}} {
		var stderr shared
		if code := run(t.Context(), args, strings.NewReader(""), full{}, &stderr); code != exitInvalid || !strings.Contains(stderr.b.String(), "no room") {
			t.Errorf("%q: exit %d, %s", args, code, stderr.b.String())
		}
	}
}

// What stands in the table is not said again.
func TestErrorsAreSaidOnce(t *testing.T) {
	code, stdout, stderr := slimBench(t, "run", "p2p", "--node", "false {listen}", "--size", "100,1K", "--rounds", "2", "--floor=false", "--quiet")
	if n := strings.Count(stdout+stderr, "ended before it listened"); code != exitInvalid || n != 1 {
		t.Errorf("exit %d, %d times\n%s\n%s", code, n, stdout, stderr)
	}
	code, stdout, stderr = slimBench(t, "run", "p2p", "--node", "false {listen}", "--size", "100", "--floor=false", "--quiet", "--output", "json")
	if code != exitInvalid || !strings.Contains(stderr, "ended before it listened") {
		t.Errorf("beside JSON: exit %d\n%s\n%s", code, stdout, stderr)
	}
}

// A target that is not there ends the run before it begins, with one line.
func TestTargetThatIsNotThereEndsTheRun(t *testing.T) {
	code, stdout, stderr := slimBench(t, "run", "--suite", "full", "--target", "127.0.0.1:1")
	if code != exitInvalid || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "--target 127.0.0.1:1: nobody answers there") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}

// A condition on a node that is not there would hold for want of anything to hold against it.
func TestConditionsOnMissingNodesAreMistakes(t *testing.T) {
	for _, c := range []struct {
		args      []string
		condition string
		want      string
	}{
		{[]string{"run", "p2p"}, "p50 / flor <= 1", `no node "flor" in this run; did you mean floor?`},
		{[]string{"run", "p2p", "--floor=false"}, "p50 / floor <= 1", "unless --floor=false"},
		{[]string{"run", "--suite", "ci"}, "p50 / base <= 1", `no node "base" in this run`}, // optional in the suite, but asked for
	} {
		code, _, stderr := slimBench(t, append(c.args, "--node", "ours=x", "--require", c.condition)...)
		if code != exitInvalid || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d, %s; want %s", c.condition, code, stderr, c.want)
		}
	}
}

// A terminal that goes away ends slim-bench as Ctrl-C does, so that nothing of it is left.
func TestHangupEndsItInOrder(t *testing.T) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // so that what is started here does not ignore it, whoever has
	c := exec.Command(os.Args[0], "relay")
	stderr, err := c.StderrPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(stderr)
	if !said.Scan() || !strings.Contains(said.Text(), "relay listens on") {
		t.Errorf("it says %q", said.Text())
	}
	_ = c.Process.Signal(syscall.SIGHUP)
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

func TestVersionIsALine(t *testing.T) {
	if code, stdout, _ := slimBench(t, "--version"); code != exitOK || strings.Contains(stdout, " \n") || !strings.HasPrefix(stdout, "slim-bench ") {
		t.Errorf("exit %d, %q", code, stdout)
	}
}

func TestHelpHasExamples(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"run", "--help"}, {"compare", "-h"}, {"list", "--help"}, {"relay", "--help"}, {"top", "--help"}, {"receive", "--help"}} {
		code, stdout, _ := slimBench(t, args...)
		if code != exitOK || !strings.Contains(stdout, "Examples\n  slim-bench ") {
			t.Errorf("%v: exit %d, %s", args, code, stdout)
		}
	}
}

func TestListShowsEverything(t *testing.T) {
	_, stdout, _ := slimBench(t, "list")
	for _, want := range []string{"p2p ", "anycast", "soak", "suite smoke", "suite ci", "suite full", "flags  --pairs"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	if _, stdout, _ := slimBench(t, "list", "ci"); !strings.Contains(stdout, "lost <= 0") {
		t.Errorf("conditions are missing in\n%s", stdout)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel() // it waits for most of its time
	quick := []string{"--count", "500", "--inflight", "32", "--quiet"}
	for _, c := range []struct {
		name, addr string
		require    []string
		want       int
		text       string
	}{
		{"no condition", node(t), nil, exitOK, ""},
		{"holds", node(t), []string{"lost <= 0"}, exitOK, "pass"},
		{"fails", node(t), []string{"duplicates >= 1"}, exitFailed, "FAIL"},
		{"an absolute rate", node(t), []string{"delivered >= 1"}, exitInvalid, "says more of the machine"},
		{"no such node", node(t), []string{"node cores / rust <= 1"}, exitInvalid, `no node "rust" in this run; want one of node, floor`},
		{"a process that nobody knows", node(t), []string{"node RSS <= 1"}, exitInvalid, "node RSS was not measured on node"},
		{"nobody there", "127.0.0.1:1", nil, exitInvalid, "refused"},
	} {
		args := append([]string{"run", "p2p", "--target", c.addr}, quick...)
		for _, r := range c.require {
			args = append(args, "--require", r)
			if !strings.Contains(r, " / ") { // once with the relay is enough
				args = append(args, "--floor=false")
			}
		}
		code, stdout, stderr := slimBench(t, args...)
		if code != c.want || !strings.Contains(stdout+stderr, c.text) || code == exitInvalid && strings.Contains(stdout, "FAIL") {
			t.Errorf("%s: exit %d, want %d\n%s\n%s", c.name, code, c.want, stdout, stderr)
		}
	}
}

func TestInterruptPrintsWhatThereIs(t *testing.T) {
	t.Parallel() // it waits for most of its time
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout shared
	stderr := shared{on: func(s string) {
		if strings.Contains(s, "round 2") {
			cancel()
		}
	}}
	report := filepath.Join(t.TempDir(), "report")
	code := run(ctx, []string{"run", "p2p", "--target", node(t), "--inflight", "8", "--count", "500", "--rounds", "50",
		"--output", "json", "--report", report}, nil, &stdout, &stderr)
	r, err := result.ReadJSON(&stdout.b)
	if err != nil || code != exitInvalid || r.Valid {
		t.Fatalf("exit %d, %v", code, err)
	}
	if m, ok := r.Cases[0].Nodes[0].Metric("delivered"); !ok || m.Values[0] <= 0 {
		t.Errorf("the first round is gone: %+v", m)
	}
	if _, err := os.Stat(filepath.Join(report, "index.html")); err != nil {
		t.Error(err)
	}
}

// What was never begun has not failed.
func TestInterruptedSuiteSaysWhatWasNotRun(t *testing.T) {
	t.Parallel() // it waits for most of its time
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout shared
	stderr := shared{on: func(s string) {
		if strings.Contains(s, "2/") {
			cancel()
		}
	}}
	code := run(ctx, []string{"run", "--suite", "smoke", "--target", node(t), "--floor=false", "--inflight", "8", "--duration", "100ms", "--warmup", "10ms"}, nil, &stdout, &stderr)
	out := stdout.b.String()
	if code != exitInvalid || strings.Contains(out, "FAIL") || strings.Count(out, "(not run: interrupted)") < 15 ||
		!strings.Contains(out, "pass    p2p 1→1 100 B constant, 8 in flight: lost <= 0") {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// A node that hangs up: results are printed all the same, with the reason.
func TestFailedMeasurementPrintsResultsAndReason(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	code, stdout, stderr := slimBench(t, "run", "fanout", "--size", "100", "--target", l.Addr().String(), "--output", "json", "--floor=false")
	if code != exitInvalid || !strings.Contains(stderr, "fanout 1→8 100 B") {
		t.Errorf("exit %d, stderr %s", code, stderr)
	}
	var r result.Results
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	if len(r.Cases) != 1 || len(r.Cases[0].Nodes[0].Doubts) != 1 || r.Valid {
		t.Errorf("got %+v", r)
	}
}

// planned is what run makes of its arguments.
func planned(t *testing.T, args ...string) scenario.Plan {
	t.Helper()
	fs, o := pflag.NewFlagSet("run", pflag.ContinueOnError), new(runOptions)
	o.flags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	plan, err := o.cases(fs.Args())
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// A condition of one's own gets the rounds that it takes, unless somebody says how many.
func TestConditionsGetTheirRounds(t *testing.T) {
	for args, want := range map[string][2]int{
		"p2p": {1, 0}, "p2p --require lost<=0": {1, 9}, "p2p --require lost<=0 --rounds 2": {2, 0},
		"p2p --require lost<=0 --max-rounds 4": {1, 4}, "--suite smoke --require lost<=0": {1, 1},
	} {
		if plan := planned(t, strings.Fields(args)...); plan.Rounds != want[0] || plan.MaxRounds != want[1] {
			t.Errorf("%s: %d rounds, up to %d; want %v", args, plan.Rounds, plan.MaxRounds, want)
		}
	}
}

// A condition that fails in what was measured counts more than doubt about something else; nothing counts in a run cut short.
func TestFailureCountsMoreThanDoubt(t *testing.T) {
	r := &result.Results{Invalid: []string{"doubt"}, Verdicts: []result.Verdict{{Outcome: result.Fail, Condition: "lost <= 0"}}}
	if err := verdict(r, nil, false); !errors.Is(err, errFailed) || !strings.Contains(err.Error(), "lost <= 0") {
		t.Errorf("failed and in doubt: %v", err)
	}
	if err := verdict(r, context.Canceled, false); !errors.Is(err, errInvalid) || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("interrupted: %v", err)
	}
	if r.Verdicts = nil; !errors.Is(verdict(r, nil, false), errInvalid) {
		t.Errorf("in doubt only: %v", verdict(r, nil, false))
	}
}

func TestParametersMakeCases(t *testing.T) {
	labels := func(args ...string) string {
		t.Helper()
		var all []string
		for _, c := range planned(t, args...).Cases {
			all = append(all, c.Label())
		}
		return strings.Join(all, "; ")
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"p2p", "--size", "100,1K"}, "p2p 1→1 100 B constant, 1024 in flight; p2p 1→1 1 KiB constant, 1024 in flight"},
		{[]string{"p2p", "--size", "1K", "--identity", "fresh", "--inflight", "max,1"}, "p2p 1→1 1 KiB fresh, unbounded; p2p 1→1 1 KiB fresh, 1 in flight"},
		{[]string{"p2p", "--inflight", "64", "--rate", "100,200"}, "p2p 1→1 100 B constant, 64 in flight; p2p 1→1 100 B constant, 100/s; p2p 1→1 100 B constant, 200/s"},
		{[]string{"fanout", "--fanout", "3", "--size", "100"}, "fanout 1→3 100 B constant, 256 in flight"},
		{[]string{"idle", "table", "--conns", "5", "--names", "4000", "--holders", "2"},
			"idle 5 idle, beside 1→1 100 B constant, 1024 in flight; table 4000 names on 2 connections, 100 B constant, 256 in flight"},
		{[]string{"p2p", "--stages", "1000:1s,5000:2s"}, "p2p 1→1 100 B constant, stages 1000:1s,5000:2s"},
		{[]string{"mixed", "--sizes", "64:1,1K:2"}, "mixed 1→1 sizes 64:1,1K:2 constant, 64 in flight"},
	} {
		if got := labels(c.args...); got != c.want {
			t.Errorf("%q: got\n%s\nwant\n%s", c.args, got, c.want)
		}
	}
}

func TestCompareReadsWhatRunWrote(t *testing.T) {
	t.Parallel() // it waits for most of its time
	dir, addr := t.TempDir(), node(t)
	var paths []string
	for _, name := range []string{"old.json", "new.json"} {
		code, stdout, stderr := slimBench(t, "run", "p2p", "--target", addr, "--inflight", "16", "--count", "300", "--rounds", "3", "--floor=false", "--quiet", "--output", "json")
		if code != exitOK {
			t.Fatal(stderr)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(stdout), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	code, stdout, stderr := slimBench(t, "compare", paths[0], paths[1], "--require", "lost / old <= 1")
	if code != exitOK || !strings.Contains(stdout, "delivered") || !strings.Contains(stdout, "p=") {
		t.Errorf("exit %d\n%s\n%s", code, stdout, stderr)
	}
	for _, c := range []struct {
		name    string
		damage  func(*result.Results)
		require string
		code    int
		text    string
	}{
		{"fails", func(*result.Results) {}, "lost / old >= 2", exitFailed, "FAIL"},
		{"the old ones have more to tell", func(r *result.Results) { // a percentile that needs more messages
			n := &r.Cases[0].Nodes[0]
			n.Metrics = slices.DeleteFunc(n.Metrics, func(s result.Series) bool { return s.Name == "p90" })
		}, "lost / old <= 1", exitOK, "pass"},
		{"a case is gone", func(r *result.Results) { r.Cases = nil }, "lost / old <= 1", exitInvalid, "the new results do not have this case"},
		{"the generator was the limit", func(r *result.Results) {
			r.Cases[0].Nodes[0].Doubts = []result.Doubt{{Kind: result.Limited, Text: "client-limited: so it was"}}
		}, "p50 / old <= 0.02", exitInvalid,
			"new: client-limited: so it was"},
		{"no nodes", func(r *result.Results) { r.Nodes, r.Cases = nil, nil }, "lost / old <= 1", exitInvalid, "there are no nodes"},
		{"not valid", func(r *result.Results) { r.Valid, r.Invalid = false, []string{"node died"} }, "lost / old <= 1", exitInvalid, "are not valid: node died"},
	} {
		damaged := filepath.Join(dir, "damaged.json")
		r, err := readResults(paths[1])
		if err != nil {
			t.Fatal(err)
		}
		c.damage(r)
		var b bytes.Buffer
		if err := errors.Join(r.WriteJSON(&b), os.WriteFile(damaged, b.Bytes(), 0o600)); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := slimBench(t, "compare", paths[0], damaged, "--require", c.require)
		if code != c.code || !strings.Contains(stdout+stderr, c.text) {
			t.Errorf("%s: exit %d\n%s\n%s", c.name, code, stdout, stderr)
		}
	}
}

// Figures of a process that is not the node's would be taken for the node's.
func TestProcessThatDoesNotServeTheTargetIsRefused(t *testing.T) {
	t.Parallel() // it waits for most of its time
	other := exec.Command("sleep", "600")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = other.Process.Kill()
		_ = other.Wait()
	}()
	addr := node(t)
	code, stdout, stderr := slimBench(t, "run", "p2p", "--target", addr, "--pid", strconv.Itoa(other.Process.Pid), "--duration", "100ms", "--floor=false")
	if code != exitInvalid || stdout != "" || !strings.Contains(stderr, "does not serve "+addr) {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}

// A process that has started node and generator would bring the generator's cost as the node's.
func TestProcessThatStartedSlimBenchIsRefused(t *testing.T) {
	addr := node(t)
	parent := strconv.Itoa(os.Getppid()) // of this process, which plays both
	code, stdout, stderr := slimBench(t, "run", "p2p", "--target", addr, "--pid", parent, "--count", "10", "--floor=false")
	if code != exitInvalid || stdout != "" || !strings.Contains(stderr, "it has started slim-bench, too") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}

// The process of one node says nothing of what the others of a cluster cost.
func TestProcessOfOneNodeIsNotThatOfACluster(t *testing.T) {
	t.Parallel() // it waits for most of its time
	ours := node(t)
	other, err := process.Start(t.Context(), process.Command{Text: process.Quote(os.Args[0]) + " play-node {config}"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Stop() }()
	code, stdout, stderr := slimBench(t, "run", "p2p", "--target", other.Addr, "--target", ours, "--pid", strconv.Itoa(other.PID()),
		"--count", "10", "--floor=false")
	if code != exitInvalid || stdout != "" || !strings.Contains(stderr, "does not serve "+ours) {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}

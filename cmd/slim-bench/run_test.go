package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/bench"
)

var update = flag.Bool("update", false, "write the expected output anew")

func slimBench(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestOutput(t *testing.T) {
	for name, args := range map[string][]string{"list": {"list"}, "help": {"--help"}} {
		code, got, stderr := slimBench(t, args...)
		if code != exitOK || stderr != "" {
			t.Errorf("%s: exit %d, %s", name, code, stderr)
		}
		path := filepath.Join("testdata", name+".txt")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s(go test -update writes it anew)", name, got, want)
		}
	}
}

func TestWrongUseSaysWhatIsWrong(t *testing.T) {
	node := []string{"--node", "true"}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"measure"}, `no command "measure"`},
		{[]string{"run"}, "run what?"},
		{[]string{"run", "p2p"}, "no node"},
		{append([]string{"run", "p3p"}, node...), "did you mean p2p?"},
		{append([]string{"run", "p2p", "--sise", "1"}, node...), "--sise"},
		{append([]string{"run", "p2p", "--size", "10"}, node...), "24 bytes"},
		{append([]string{"run", "p2p", "--identity", "new"}, node...), "constant or fresh"},
		{append([]string{"run", "p2p", "--inflight", "few"}, node...), "or max"},
		{append([]string{"run", "p2p", "--rate", "0"}, node...), "at least 1"},
		{append([]string{"run", "p2p", "--pairs", "0"}, node...), "at least 1"},
		{append([]string{"run", "p2p", "--rounds", "0"}, node...), "--rounds 0"},
		{append([]string{"run", "p2p", "--output", "xml"}, node...), "table or json"},
		{append([]string{"run", "p2p", "--target", "h:1"}, node...), "exclude each other"},
		{append([]string{"run", "p2p", "--versus", "node=true"}, node...), "two nodes"},
		{append([]string{"run", "p2p", "--versus", "x='"}, node...), "quote without end"},
	} {
		code, stdout, stderr := slimBench(t, c.args...)
		if code != exitInvalid || !strings.Contains(stderr, c.want) || stdout != "" {
			t.Errorf("%q: exit %d, said %q; want %d and %q", c.args, code, stderr, exitInvalid, c.want)
		}
	}
}

func TestFlagsMultiplyIntoCases(t *testing.T) {
	labels := func(args ...string) string {
		o, fs := newOptions()
		if err := fs.Parse(append(args, "--node", "true")); err != nil {
			t.Fatal(err)
		}
		plan, err := o.plan(fs)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, c := range plan.Cases {
			all = append(all, c.Label())
		}
		return strings.Join(all, "; ")
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"p2p", "--size", "100,1K", "--identity", "constant,fresh", "--inflight", "64"},
			"p2p 1→1 100 B constant, 64 in flight; p2p 1→1 100 B fresh, 64 in flight; " +
				"p2p 1→1 1 KiB constant, 64 in flight; p2p 1→1 1 KiB fresh, 64 in flight"},
		{[]string{"p2p", "--inflight", "1,max", "--rate", "2000", "--pairs", "2"},
			"p2p 2→2 100 B constant, 1 in flight; p2p 2→2 100 B constant, unbounded; p2p 2→2 100 B constant, 2000/s"},
		{[]string{"slow", "--size", "1K", "--stall", "60s", "--fanout", "3"},
			"slow 1→3 1 KiB constant, 256 in flight, one member stalled for 1m0s"},
		{[]string{"idle", "table", "--conns", "5", "--names", "4000", "--holders", "2"},
			"idle 5 idle, beside 1→1 100 B constant, 1024 in flight; table 4000 names on 2 connections, 100 B constant, 256 in flight"},
	} {
		if got := labels(c.args...); got != c.want {
			t.Errorf("%q: got\n%s\nwant\n%s", c.args, got, c.want)
		}
	}
}

// A node that hangs up: results are printed all the same, with the reason, and the exit code says that they are not valid.
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
	code, stdout, stderr := slimBench(t, "run", "fanout", "--size", "100", "--target", l.Addr().String(), "--output", "json")
	if code != exitInvalid || !strings.Contains(stderr, "round 1: fanout 1→8 100 B") {
		t.Errorf("exit %d, stderr %s", code, stderr)
	}
	var r bench.Results
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	if r.Schema != bench.Schema || len(r.Cases) != 1 || r.Cases[0].Params.IdentityText != "constant" ||
		len(r.Cases[0].Nodes[0].Errors) != 1 {
		t.Errorf("got %+v", r)
	}
}

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// quoted finds what stands in backquotes in the document.
var quoted = regexp.MustCompile("`([^`\n]+)`")

func words(t *testing.T) (text string, all map[string]bool) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "bench-json.md"))
	if err != nil {
		t.Fatal(err)
	}
	all = map[string]bool{}
	for _, m := range quoted.FindAllStringSubmatch(string(b), -1) {
		all[m[1]] = true
	}
	return string(b), all
}

// keys collects the names of all fields of a JSON value.
func keys(v any, found map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			found[k] = true
			keys(e, found)
		}
	case []any:
		for _, e := range v {
			keys(e, found)
		}
	}
}

// fields collects the JSON names of a type, those too that are left out where there is nothing to say.
func fields(t reflect.Type, found map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		fields(t.Elem(), found)
	case reflect.Struct:
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "-" || name == "" && !f.Anonymous {
				continue
			}
			if !f.Anonymous {
				found[name] = true
			}
			fields(f.Type, found)
		}
	}
}

// measuredHere is what running scenarios prints, small, on a node of its own: in a process that does something else, too, memory does
// not settle, which is waited for. On a busy machine so small a measurement may see nothing, or end early, and the run is not valid;
// what it prints is described all the same.
func measuredHere(t *testing.T, args ...string) string {
	t.Helper()
	n, err := process.Start(t.Context(), process.Command{Text: process.Quote(os.Args[0]) + " play-node {config}"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Stop() }()
	args = append([]string{"run", "--target", n.Addr, "--pid", strconv.Itoa(n.PID()), "--duration", "100ms", "--warmup", "10ms",
		"--floor=false", "--quiet", "--output", "json"}, args...)
	code, stdout, stderr := slimBench(t, args...)
	switch {
	case code == exitOK:
	case code == exitInvalid && stdout != "":
		t.Log(stderr)
	default:
		t.Fatalf("exit %d: %s", code, stderr)
	}
	return stdout
}

func TestDocumentDescribesEveryKeyAndMetric(t *testing.T) {
	t.Parallel()
	text, documented := words(t)
	all := [][]string{{"p2p", "--rate", "500"}, {"p2p", "--inflight", "16"}, {"anycast", "storm", "--inflight", "16", "--conns", "20"}, {"churn", "--inflight", "16"},
		{"idle", "--inflight", "16", "--conns", "20"}, {"table", "--inflight", "16", "--names", "2000"},
		{"slow", "--inflight", "16", "--stall", "100ms"}, {"soak", "--inflight", "16"}, {"session", "--inflight", "16", "--sessions", "2"},
		{"mls", "--inflight", "16", "--members", "3"}, {"rpc", "--inflight", "16", "--replies", "2"}}
	if os.Getenv("SLIMGO_TEST_LONG") == "" {
		all = all[:2] // what each of the others prints beside that, CI sees
	}
	runs := make([]string, len(all))
	t.Run("run", func(t *testing.T) { // returns when all of them have
		for i, args := range all {
			t.Run(args[0], func(t *testing.T) {
				t.Parallel() // it waits for most of its time
				runs[i] = measuredHere(t, args...)
			})
		}
	})
	path := filepath.Join(t.TempDir(), "old.json")
	if err := os.WriteFile(path, []byte(runs[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	_, difference, _ := slimBench(t, "compare", path, path, "--output", "json", "--require", "lost / old <= 1")

	printed := map[string]bool{}
	for _, output := range slices.Concat(runs, []string{difference}) {
		var v any
		if err := json.Unmarshal([]byte(output), &v); err != nil {
			t.Fatalf("%v in %s", err, output)
		}
		keys(v, printed)
	}
	for _, key := range []string{"at_s", "node_cores", "alpha"} {
		if !printed[key] {
			t.Errorf("%s is not in the outputs: this test looks at too little", key)
		}
	}
	possible := map[string]bool{}
	fields(reflect.TypeFor[result.Results](), possible)
	for key := range printed {
		possible[key] = true
	}
	for key := range possible {
		if !documented[key] {
			t.Errorf("docs/bench-json.md does not describe the field %q", key)
		}
	}

	for _, output := range runs {
		r, err := result.ReadJSON(strings.NewReader(output))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range r.Cases {
			for _, m := range c.Nodes[0].Metrics {
				if err := (result.Condition{Metric: m.Name, Against: "base"}).Known(); err != nil {
					t.Error(err)
				}
				absolute := slices.Contains([]result.Unit{result.Nanoseconds, result.PerSecond, result.BytesPerSecond, result.Cores}, m.Unit)
				if err := (result.Condition{Metric: m.Name}).Known(); (err != nil) != absolute && m.Name != "while subscribing: names" {
					t.Errorf("%s, in %q: on its own: %v", m.Name, m.Unit, err)
				}
				if !documented[m.Name] && !documented[unprefixed(m.Name)] {
					t.Errorf("docs/bench-json.md does not describe the metric %q of %s", m.Name, c.Scenario)
				}
			}
		}
	}
	for _, key := range columns1(text) {
		if !possible[key] {
			t.Errorf("docs/bench-json.md describes the field %q, which there is not", key)
		}
	}
}

// unprefixed is a metric's name without the phase before it and the comparison behind it, which the document explains once.
func unprefixed(name string) string {
	if _, after, ok := strings.Cut(name, ": "); ok {
		name = after
	}
	name, _, _ = strings.Cut(name, ", ")
	return name
}

// columns1 are the fields in the first columns of the tables headed Field.
func columns1(text string) []string {
	var names []string
	in := false
	for line := range strings.Lines(text) {
		first, _, row := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		switch {
		case !row || !strings.HasPrefix(line, "| "):
			in = false
		case first == "Field":
			in = true
		case in:
			for _, m := range quoted.FindAllStringSubmatch(first, -1) {
				names = append(names, m[1])
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

//go:build interop

package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// exampleSecret is that of the examples of calls, in their environment.
const exampleSecret = "SLIM_SECRET=a secret of all, 32 bytes or more"

// example is a program of examples/ in Go, or in Python with a name that ends so.
func example(t *testing.T, name string) []string {
	t.Helper()
	path := filepath.Join("..", "examples", filepath.FromSlash(name))
	if strings.HasSuffix(name, ".py") {
		return []string{filepath.Join(python.dir(t), "venv", "bin", "python"), path}
	}
	program := filepath.Join(t.TempDir(), filepath.Base(name))
	if out, err := exec.Command("go", "build", "-o", program, path).CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", path, err, out)
	}
	return []string{program}
}

// printed returns what an example prints that is run with a node until the text says enough: a server may come late.
func (n *node) printed(t *testing.T, enough func(text string) bool, program []string, args ...string) string {
	t.Helper()
	deadline := time.Now().Add(8 * limit)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 4*limit)
		cmd := exec.CommandContext(ctx, program[0], append(program[1:len(program):len(program)], args...)...)
		cmd.Env = append(os.Environ(), exampleSecret, "SLIM_ADDR="+n.url())
		out, err := cmd.Output()
		cancel()
		switch {
		case err == nil && enough(string(out)):
			return string(out)
		case time.Now().After(deadline):
			t.Fatalf("%v: %v: %s", cmd.Args, err, out)
		}
	}
}

func (n *node) exampleServer(t *testing.T, program []string, args ...string) {
	t.Helper()
	argv := append(program[:len(program):len(program)], args...)
	spawn(t, fmt.Sprint(argv), []string{exampleSecret, "SLIM_ADDR=" + n.url()}, argv...)
}

// The calculators in Go and in Python serve each other, and print the same.
func TestCalculators(t *testing.T) {
	n := startNode(t, ours)
	const want = "number 1\nnumber 2\nnumber 3\nso far 1\nso far 3\nso far 6\nsum 6\n"
	programs := map[string][]string{"go": example(t, "calculator"), "python": example(t, "calculator/calculator.py")}
	for server, program := range programs {
		name := "org/demo/calculator-" + server
		n.exampleServer(t, program, "--name", name)
		for client, program := range programs {
			any := func(string) bool { return true }
			if got := n.printed(t, any, program, "--name", "org/demo/"+client, "--of", name, "1", "2", "3"); got != want {
				t.Errorf("%s asks %s: %q, want %q", client, server, got, want)
			}
		}
	}
}

// Voters in Go and in Python answer both who asks in Go and who does in Python.
func TestPolls(t *testing.T) {
	n := startNode(t, ours)
	programs := map[string][]string{"go": example(t, "poll"), "python": example(t, "poll/poll.py")}
	for name, program := range programs {
		n.exampleServer(t, program, "--name", "org/demo/voter-"+name, "--vote", "pizza")
	}
	want := []string{"2 for pizza", "org/demo/voter-go: pizza", "org/demo/voter-python: pizza"}
	for name, program := range programs {
		all := func(text string) bool { return strings.Contains(text, "2 for") }
		out := n.printed(t, all, program,
			"--name", "org/demo/asker-"+name, "--of", "org/demo/voter-go,org/demo/voter-python", "what", "is", "for", "lunch?")
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if slices.Sort(lines); !slices.Equal(lines, want) {
			t.Errorf("%s asks: %q, want %q", name, lines, want)
		}
	}
}

//go:build interop

package soak

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	duration = flag.Duration("soak.duration", 24*time.Second, "time under attack, all policies together")
	other    = flag.String("soak.node", "", "program of the node; empty: cmd/slim is built")
	chosen   = flag.String("soak.attacks", "", "run these attacks only, with commas between; empty: all")
)

// Variables of the environment that make this program a child.
const (
	envProgram = "SLIMGO_SOAK_PROGRAM" // name of the attack, or of the load
	envNode    = "SLIMGO_SOAK_NODE"    // address
	envNumber  = "SLIMGO_SOAK_NUMBER"  // of this child, for names that nobody else has
)

// scratch holds what the whole run shares; TestMain removes it.
var scratch string

func TestMain(m *testing.M) {
	if name := os.Getenv(envProgram); name != "" {
		os.Exit(childMain(name))
	}
	dir, err := os.MkdirTemp("", "slimgo-soak-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
	scratch = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// build compiles cmd/slim once a run, and returns its path.
var build = sync.OnceValues(func() (string, error) {
	if *other != "" {
		return *other, nil
	}
	path := filepath.Join(scratch, "slim")
	cmd := exec.Command("go", "build", "-o", path, "github.com/seed31b3bfd0/slimgo/cmd/slim")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build cmd/slim: %w\n%s", err, out)
	}
	return path, nil
})

// program is what a child does until ctx ends. An error ends the child and is a failure of the test: what the node
// refuses is none.
type program struct {
	name string
	run  func(ctx context.Context, c *child) error
}

// selected are the attacks of this run.
func selected(t *testing.T) []program {
	t.Helper()
	if *chosen == "" {
		return attacks
	}
	var list []program
	for name := range strings.SplitSeq(*chosen, ",") {
		i := slices.IndexFunc(attacks, func(p program) bool { return p.name == name })
		if i < 0 {
			t.Fatalf("-soak.attacks: there is no attack %q", name)
		}
		list = append(list, attacks[i])
	}
	return list
}

// tellEvery is the time between two reports of a child.
const tellEvery = time.Second

// childMain runs a program until standard input ends, which it does when the parent has died, too. It writes a report a
// line on standard output.
func childMain(name string) int {
	all := append(slices.Clone(attacks), loadProgram)
	i := slices.IndexFunc(all, func(p program) bool { return p.name == name })
	if i < 0 {
		fmt.Fprintln(os.Stderr, "soak: no program", name)
		return 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	c := newChild(os.Getenv(envNode), os.Getenv(envNumber))
	var telling sync.WaitGroup
	telling.Go(func() { c.tell(ctx, os.Stdout) })
	err := all[i].run(ctx, c)
	if err != nil && ctx.Err() == nil {
		c.fault("%v", err)
	}
	cancel()
	telling.Wait()
	return 0
}

// tell writes reports until ctx ends, and a last one. The parent waits for those that say that the program has begun.
func (c *child) tell(ctx context.Context, w io.Writer) {
	t := time.NewTicker(look)
	defer t.Stop()
	out := json.NewEncoder(w)
	for {
		select {
		case <-ctx.Done():
			_ = out.Encode(c.report())
			return
		case <-t.C:
			r := c.report()
			_ = out.Encode(r)
			if r.Sockets > 0 {
				t.Reset(tellEvery)
			}
		}
	}
}

// report is what a child has done so far.
type report struct {
	Sockets  uint64            // opened
	Requests uint64            // whatever the program counts: messages, frames, streams
	CPU      time.Duration     // used
	Ends     map[string]uint64 // how the node ended or refused what it did
	Faults   []string          // what must not be
}

// mostEnds returns the most frequent ends in words.
func (r *report) mostEnds(n int) string {
	names := slices.SortedFunc(maps.Keys(r.Ends), func(a, b string) int { return int(r.Ends[b]) - int(r.Ends[a]) })
	var words []string
	for _, name := range names[:min(n, len(names))] {
		words = append(words, fmt.Sprintf("%s %d", name, r.Ends[name]))
	}
	return strings.Join(words, ", ")
}

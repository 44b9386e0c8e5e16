//go:build gates

package cost

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
	"github.com/seed31b3bfd0/slimgo/internal/usage"
)

var rounds = flag.Int("cost.rounds", 10, "`rounds` of each measurement")

// patience is a hang guard.
const patience = 30 * time.Second

var (
	peers   = os.Getenv("SLIM_PEERS")
	scratch string // holds the programs
)

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(embeddedEnv) != "" {
		if err := runEmbedded(); err != nil {
			fmt.Fprintln(os.Stderr, "cost:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "cost:", err)
		return 1
	}
	if _, err := os.Stat(filepath.Join(peers, "slim")); peers == "" || err != nil {
		return fail(fmt.Errorf("SLIM_PEERS must name the folder of upstream's programs: %w", err))
	}
	dir, err := os.MkdirTemp("", "slimgo-cost-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	scratch = dir
	build := exec.Command("go", "build", "-o", dir, "../../cmd/slim", "../../cmd/slim-bench")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fail(fmt.Errorf("go build: %w\n%s", err, out))
	}
	return m.Run()
}

// figures are the medians of one case by metric, for each node.
type figures []map[string]float64

// measure runs slim-bench with the arguments, one case, and returns what it found, in the order of the nodes.
func measure(t *testing.T, args ...string) figures {
	t.Helper()
	args = append([]string{"run"}, args...)
	cmd := exec.CommandContext(t.Context(), filepath.Join(scratch, "slim-bench"), append(args, "--quiet", "--floor=false", "--output", "json")...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	var results struct {
		Cases []struct {
			Nodes []struct {
				Doubts  []struct{ Text string }
				Metrics []struct {
					Name  string
					Value float64
				}
			}
		}
	}
	if bad := json.Unmarshal(out, &results); bad != nil || len(results.Cases) != 1 {
		t.Fatalf("slim-bench %s: %v %v\n%s%s", strings.Join(args, " "), err, bad, errs.String(), out)
	}
	found := make(figures, len(results.Cases[0].Nodes))
	for i, n := range results.Cases[0].Nodes {
		found[i] = map[string]float64{}
		for _, m := range n.Metrics {
			found[i][m.Name] = m.Value
		}
		if lost, told := found[i]["lost"]; !told || lost != 0 {
			t.Fatalf("slim-bench %s: node %d: %v messages lost, %v", strings.Join(args, " "), i, lost, n.Doubts)
		}
	}
	return found
}

// node is a process of ours that listens plain and by TLS, and serves its metrics.
type node struct {
	*exec.Cmd
	plain, tls, health string // addresses
	issuer             *certstest.Issuer
}

func startNode(t *testing.T) *node {
	t.Helper()
	dir := t.TempDir()
	n := &node{issuer: certstest.NewIssuer(t, "authority", false)}
	cert, key := n.issuer.Pair("localhost")
	certstest.Write(t, dir, map[string]string{"cert.pem": cert, "key.pem": key, "node.yaml": `tracing: {log_level: info}
services:
  slim/0:
    dataplane:
      servers:
        - {endpoint: "127.0.0.1:0", tls: {insecure: true}}
        - endpoint: "127.0.0.1:0"
          tls:
            source: {type: file, cert: ` + dir + `/cert.pem, key: ` + dir + `/key.pem}
      clients: []
`})
	n.Cmd = exec.Command(filepath.Join(scratch, "slim"), "--config", filepath.Join(dir, "node.yaml"), "--health", "127.0.0.1:0")
	out, err := n.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = n.Process.Signal(syscall.SIGTERM)
		_ = n.Wait()
	})
	n.listen(t, out)
	return n
}

// listen reads of the log where the node listens: of its listeners in the order of the file. The rest is thrown away.
func (n *node) listen(t *testing.T, log io.Reader) {
	t.Helper()
	hang := time.AfterFunc(patience, func() { _ = n.Process.Kill() })
	defer hang.Stop()
	lines := bufio.NewScanner(log)
	for n.tls == "" && lines.Scan() {
		_, addr, _ := strings.Cut(lines.Text(), "endpoint=")
		switch {
		case strings.Contains(lines.Text(), "admin server started"):
			n.health = addr
		case !strings.Contains(lines.Text(), "dataplane server started"):
		case n.plain == "":
			n.plain = addr
		default:
			n.tls = addr
		}
	}
	if n.tls == "" {
		t.Fatal("the node does not listen: ", lines.Err())
	}
	go func() { _, _ = io.Copy(io.Discard, log) }()
}

// cpu is the time that the process has run.
func (n *node) cpu(t *testing.T) time.Duration {
	t.Helper()
	u, err := usage.Of(n.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return u.CPU
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// ratios are those of the values in pairs.
func ratios(of, to []float64) []float64 {
	r := make([]float64, len(of))
	for i := range of {
		r[i] = of[i] / to[i]
	}
	return r
}

//go:build interop

package interop

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/ports"
)

// kind says which node a scenario runs on.
type kind string

const (
	ours     kind = "ours"
	upstream kind = "upstream" // the control
)

// peers is the folder of the upstream programs.
var peers = os.Getenv("SLIM_PEERS")

// scratch holds what the whole run shares; TestMain removes it.
var scratch string

func TestMain(m *testing.M) {
	if os.Getenv(goPeer) != "" {
		os.Exit(runGoPeer())
	}
	if err := checkPeers(); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "slimgo-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
	scratch = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func checkPeers() error {
	if peers == "" {
		return fmt.Errorf("SLIM_PEERS is not set: it must name the folder of the upstream 3.4.6 programs (slim, slim-peer)")
	}
	for _, program := range []string{"slim", "slim-peer"} {
		if _, err := os.Stat(filepath.Join(peers, program)); err != nil {
			return fmt.Errorf("SLIM_PEERS: %w", err)
		}
	}
	return nil
}

// onBoth runs a scenario on both nodes at the same time.
func onBoth(t *testing.T, scenario func(t *testing.T, k kind)) {
	for _, k := range []kind{ours, upstream} {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			scenario(t, k)
		})
	}
}

// build compiles cmd/slim once a run.
var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "slim")
	out, err := exec.Command("go", "build", "-o", path, "github.com/seed31b3bfd0/slimgo/cmd/slim").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build cmd/slim: %w\n%s", err, out)
	}
	return path, nil
})

func (k kind) program(t *testing.T) string {
	t.Helper()
	if k == upstream {
		return filepath.Join(peers, "slim")
	}
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// node is a SLIM node as a process of its own, on one port for all its lives.
type node struct {
	*process // of the current life
	kind     kind
	port     int
	config   string // path of the YAML file
	way      string // endpoint by which applications come; empty: TCP
	health   string // where it serves operators, HOST:PORT; empty: nowhere; ours only
	client   string // how they come, in JSON with the keys of dataplane.clients; empty: without TLS by way
	// binding is SLIM_IDENTITY_BINDING of applications started from now on: whether they enforce that names
	// and control messages belong to a verified identity. Core 3.4 knows it; older ones sign no control messages.
	binding string
	// ordered says that a control plane orders its routes: who sends is known elsewhere a moment after it has begun to,
	// and the first answer to it is lost.
	ordered bool
}

// startNode starts a node that dials the given links (entries of dataplane.clients) once it listens.
func startNode(t *testing.T, k kind, links ...string) *node {
	t.Helper()
	n := &node{kind: k, port: freePort(t), config: filepath.Join(t.TempDir(), "node.yaml"), binding: "enforce"}
	if err := os.WriteFile(n.config, []byte(nodeConfig(n.port, links)), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	return n
}

// nodeConfig is that of a node. It ends with the entry of its listener, or with what it dials. Upstream's applications
// and diallers give up for ever at the end of the time for a link to begin.
func nodeConfig(port int, links []string) string {
	text := fmt.Sprintf(`tracing:
  log_level: info
runtime:
  drain_timeout: 20s
services:
  slim/0:
    node_id: node-%d
    dataplane:
      servers:
        - endpoint: 127.0.0.1:%d
          negotiation_timeout_secs: 20
          tls:
            insecure: true
`, port, port)
	if len(links) > 0 {
		text += "      clients:\n"
	}
	for _, l := range links {
		text += "        - " + l + "\n"
	}
	return text
}

// link is an entry of dataplane.clients that dials n; typ is edge, peer or remote.
func (n *node) link(typ string) string {
	return fmt.Sprintf("{endpoint: %q, tls: {insecure: true}, connection_type: %s}", n.url(), typ)
}

// start begins a life of the node and returns when it accepts connections.
func (n *node) start(t *testing.T) {
	t.Helper()
	argv := []string{n.kind.program(t), "--config", n.config}
	if n.health != "" {
		argv = append(argv, "--health", n.health, "--pprof")
	}
	n.process = spawn(t, fmt.Sprintf("%s node %d", n.kind, n.port), nil, argv...)
	n.expectLine(t, "dataplane server started", 0)
	if n.health != "" {
		n.expectLine(t, "service started", 0) // before that its status is without it
	}
	n.untilListens(t, n.address())
}

// untilListens waits until n listens at an address: upstream announces itself a moment before.
func (n *node) untilListens(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; { // a refused connect costs microseconds
		c, err := net.DialTimeout("tcp", address, limit)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", n.label, err)
		}
	}
}

func (n *node) address() string { return fmt.Sprintf("127.0.0.1:%d", n.port) }

func (n *node) url() string {
	if n.way != "" {
		return n.way
	}
	return "http://" + n.address()
}

// freePort returns a port outside of the ephemeral range: a client that redials a dead node from such a port
// could otherwise connect to itself.
func freePort(t *testing.T) int {
	t.Helper()
	port, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

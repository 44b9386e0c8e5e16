package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router"
)

func TestMain(m *testing.M) {
	endTime = time.Minute
	os.Exit(m.Run())
}

func secret(string) string { return "a secret of all, 32 bytes or more" }

// startNode starts a node, and returns its URL.
func startNode(t *testing.T) string {
	t.Helper()
	n, err := router.Start(context.Background(), router.Options{Listen: []string{"127.0.0.1:0"}, NodeID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Shutdown(context.Background()) })
	return "http://" + n.Addrs()[0].String()
}

// startWatcher runs the watcher until the test is over, and returns what it prints.
func startWatcher(t *testing.T, node string) *bufio.Reader {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	served := make(chan error, 1)
	go func() { served <- run(ctx, []string{"watch", "-node", node}, secret, w) }()
	out := bufio.NewReader(r)
	wantLine(t, out, "watching as org/demo/watch\n")
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	return out
}

func wantLine(t *testing.T, out *bufio.Reader, want string) {
	t.Helper()
	if line, err := out.ReadString('\n'); err != nil || line != want {
		t.Fatalf("%q, %v; want %q", line, err, want)
	}
}

func TestTelemetry(t *testing.T) {
	node := startNode(t)
	out := startWatcher(t, node)
	if err := run(t.Context(), []string{"work", "-node", node}, secret, io.Discard); err != nil {
		t.Fatal(err)
	}
	wantLine(t, out, "org/demo/work: some work\n")
}

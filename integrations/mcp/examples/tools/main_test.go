package main

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/router"
)

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

// startServer runs the example until the test is over.
func startServer(t *testing.T, node string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	served := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"serve", "-node", node}, secret, w)
		w.CloseWithError(io.EOF)
		served <- err
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil || line != "serving as org/demo/tools\n" {
		t.Fatalf("%q, %v", line, err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

// called is what the example prints.
func called(t *testing.T, node string, args ...string) string {
	t.Helper()
	var out strings.Builder
	if err := run(t.Context(), append([]string{"call", "-node", node, "-name", "org/demo/alice"}, args...), secret, &out); err != nil {
		t.Errorf("call %v: %v", args, err)
	}
	return out.String()
}

func TestTools(t *testing.T) {
	node := startNode(t)
	startServer(t, node)
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "add: adds two numbers\nwhoami: says who calls\n"},
		{[]string{"-tool", "add", "-arguments", `{"A": 1, "B": 2}`}, "3\n"},
		{[]string{"-tool", "whoami"}, "org/demo/alice\n"},
	} {
		if got := called(t, node, c.args...); got != c.want {
			t.Errorf("call %v prints %q, want %q", c.args, got, c.want)
		}
	}
}

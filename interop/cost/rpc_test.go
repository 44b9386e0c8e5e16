//go:build gates

package cost

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// TestCalls holds the rate of unary calls with 100 B, 64 under way, through our node: three times that of upstream's library, whose callers
// always encrypt; ours do in one of both cases.
func TestCalls(t *testing.T) {
	for _, plain := range []bool{true, false} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			command := filepath.Join(scratch, "slim") + " --config {config} --log-level error"
			var ours, theirs []float64
			for i := range *rounds {
				us := func() { ours = append(ours, ourCalls(t, command, plain)) }
				them := func() { theirs = append(theirs, peersCall(t, command)) }
				turn := []func(){us, them}
				turn[i%2]()
				turn[1-i%2]()
				t.Logf("ours %.0f/s, upstream's %.0f/s", ours[i], theirs[i])
			}
			atMost(t, "rate of upstream's calls / of ours", ratios(theirs, ours), 1.0/3)
		})
	}
}

const callsUnder = 64

// ourCalls is how many calls a second a client and a server of ours make through a node, both in this process.
func ourCalls(t *testing.T, command string, plain bool) float64 {
	t.Helper()
	n, err := process.Start(t.Context(), process.Command{Text: command, Transport: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	connect := func(name string) *session.App {
		a, err := session.Connect(ctx, session.Options{Name: session.MustName(name), Secret: []byte("a secret of both, 32 bytes or more"), Nodes: []string{n.Addr}})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	echo := rpc.Method{Service: "judge.Echo", Name: "Unary"}
	server, client := connect("bench/cost/server"), connect("bench/cost/client")
	s := rpc.NewServer(server, rpc.ServerOptions{})
	rpc.HandleUnary(s, echo, func(_ context.Context, req *rpc.Raw) (*rpc.Raw, error) { return req, nil })
	go func() { _ = s.Serve(ctx) }()
	c := rpc.NewClient(client, server.Name().Any(), rpc.CallOptions{Session: session.SessionOptions{Plain: plain}})
	request := make(rpc.Raw, 100)
	call := func() time.Duration {
		began := time.Now()
		if _, err := rpc.CallUnary[rpc.Raw, rpc.Raw](ctx, c, echo, &request); err != nil {
			t.Error(err)
		}
		return time.Since(began)
	}
	call()
	const each = 300
	took := make([][]time.Duration, callsUnder)
	var all sync.WaitGroup
	began := time.Now()
	for i := range took {
		all.Go(func() {
			for range each {
				took[i] = append(took[i], call())
			}
		})
	}
	all.Wait()
	rate := callsUnder * each / time.Since(began).Seconds()
	times := slices.Sorted(slices.Values(slices.Concat(took...)))
	t.Logf("p50 %v, p99 %v", times[len(times)/2], times[len(times)*99/100])
	err = c.Close(ctx)
	s.Stop()
	if err := errors.Join(err, client.Close(ctx), server.Close(ctx)); err != nil {
		t.Error(err)
	}
	return rate
}

// peersCall is the same of upstream's library, each side in a process of its own.
func peersCall(t *testing.T, command string) float64 {
	t.Helper()
	n, err := process.Start(t.Context(), process.Command{Text: command, Transport: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	peer := func(args ...string) *exec.Cmd {
		return exec.CommandContext(ctx, filepath.Join(peers, "slim-peer"), append(args, "--node", n.Addr)...)
	}
	serve := peer("rpc-serve", "--name", "bench/cost/server", "--quiet")
	out, err := serve.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if _, err := lines.ReadString('\n'); err != nil { // it is ready
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	made, err := peer("rpc-call", "--name", "bench/cost/client", "--to", "bench/cost/server", "--payload", fmt.Sprintf("%0100d", 0),
		"--repeat", "50", "--parallel", fmt.Sprint(callsUnder), "--quiet").Output()
	_ = serve.Process.Signal(syscall.SIGTERM)
	if bad := errors.Join(err, serve.Wait()); bad != nil {
		t.Fatalf("slim-peer: %v: %s", bad, made)
	}
	return summary(t, string(made)).Rate
}

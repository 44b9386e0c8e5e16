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

// TestRPCCalls holds the rate of unary calls with 100 B, 64 under way, through our node: three times that of upstream's library, whose
// callers always encrypt; twice, if ours do, too. Upstream's are made in rounds of 64, each of which waits for its last one.
func TestRPCCalls(t *testing.T) {
	for _, c := range []struct {
		plain bool
		times float64
	}{{true, 3}, {false, 2}} {
		t.Run(fmt.Sprintf("plain=%v", c.plain), func(t *testing.T) {
			command := filepath.Join(scratch, "slim") + " --config {config} --log-level error"
			var ours, theirs []called
			for i := range *rounds {
				us := func() { ours = append(ours, ourCalls(t, command, c.plain)) }
				them := func() { theirs = append(theirs, peersCall(t, command)) }
				turn := []func(){us, them}
				turn[i%2]()
				turn[1-i%2]()
				t.Logf("ours %v; upstream's %v", ours[i], theirs[i])
			}
			of := func(all []called, what func(called) float64) (v []float64) {
				for _, c := range all {
					v = append(v, what(c))
				}
				return v
			}
			rate := func(c called) float64 { return c.rate }
			p50 := func(c called) float64 { return float64(c.p50) }
			t.Logf("p50 of our calls / of upstream's: %.3f", median(ratios(of(ours, p50), of(theirs, p50))))
			atMost(t, "rate of upstream's calls / of ours", ratios(of(theirs, rate), of(ours, rate)), 1/c.times)
		})
	}
}

// TestRPCStream holds the rate of a stream of replies of 1 KiB: four fifths of what a session carries of such messages.
func TestRPCStream(t *testing.T) {
	node := "unix:" + filepath.Join(scratch, "slim") + " --config {config} --log-level error"
	var streams, sessions []float64
	for i := range *rounds {
		stream := func() {
			f := measure(t, "rpc", "--size", "1K", "--replies", "5000", "--inflight", "1", "--duration", "3s", "--node", node)
			if f[0]["calls failed"] > 0 {
				t.Fatalf("%v calls have failed", f[0]["calls failed"])
			}
			streams = append(streams, f[0]["replies"])
		}
		session := func() {
			f := measure(t, "session", "--size", "1K", "--inflight", "max", "--members", "2", "--duration", "3s", "--node", node)
			sessions = append(sessions, f[0]["messages delivered"])
		}
		turn := []func(){stream, session}
		turn[i%2]()
		turn[1-i%2]()
		t.Logf("a stream %.0f/s, a session %.0f/s", streams[i], sessions[i])
	}
	atMost(t, "rate of a session / of a stream of replies", ratios(sessions, streams), 1/0.8)
}

// called is how many calls there were a second, and how long one of them took.
type called struct {
	rate float64
	p50  time.Duration
}

func (c called) String() string { return fmt.Sprintf("%.0f/s, p50 %v", c.rate, c.p50) }

const callsUnder = 64

// ourCalls is calls of a client and a server of ours through a node, both in this process.
func ourCalls(t *testing.T, command string, plain bool) called {
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
	err = c.Close(ctx)
	s.Stop()
	if err := errors.Join(err, client.Close(ctx), server.Close(ctx)); err != nil {
		t.Error(err)
	}
	return called{rate, times[len(times)/2]}
}

// peersCall is the same of upstream's library, each side in a process of its own.
func peersCall(t *testing.T, command string) called {
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
	s := summary(t, string(made))
	return called{s.Rate, time.Duration(s.P50) * time.Microsecond}
}

//go:build gates

package cost

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/internal/usage"
)

// said is what a message of 100 B took from one app to another, and how many there were a second.
type said struct {
	rate                   float64
	node, sender, receiver float64 // ns of CPU; 0: not measured
}

func (s said) String() string {
	return fmt.Sprintf("%.0f/s, CPU of node %.1f µs, sender %.1f, receiver %.1f", s.rate, s.node/1e3, s.sender/1e3, s.receiver/1e3)
}

// TestSessions holds the rate of reliable messages of 100 B from app to app, 64 under way, through our node: at least three times
// that of upstream's library, through our node and through its own, and 1.5 times with MLS, where signatures are to be 60 % of the
// apps' CPU. Nodes listen on unix sockets, where Nagle's algorithm, which upstream leaves on, holds nothing up.
func TestSessions(t *testing.T) {
	for _, c := range []struct {
		kind     string
		messages int // of upstream's apps, whose beginning and end are in their CPU
		times    float64
	}{{"session", 60_000, 3}, {"mls", 15_000, 1.5}} {
		t.Run(c.kind, func(t *testing.T) { compareSessions(t, c.kind, c.messages, c.times) })
	}
}

func compareSessions(t *testing.T, kind string, messages int, times float64) {
	nodes := []string{filepath.Join(scratch, "slim") + " --config {config} --log-level error", filepath.Join(peers, "slim") + " --config {config}"}
	var ours, theirs [2][]said // by node
	for i := range *rounds {
		us := func() {
			f := measure(t, kind, "--size", "100", "--inflight", "64", "--duration", "3s", "--node", "unix:"+nodes[0], "--versus", "rust=unix:"+nodes[1])
			for k := range nodes {
				ours[k] = append(ours[k], said{f[k]["messages delivered"], f[k]["node CPU per delivered"],
					f[k]["sender CPU per delivered"], f[k]["receiver CPU per delivered"]})
			}
		}
		them := func() {
			for k, node := range nodes {
				theirs[k] = append(theirs[k], peersTalk(t, node, kind == "mls", messages))
			}
		}
		turn := []func(){us, them}
		turn[i%2]()
		turn[1-i%2]()
		for k, node := range []string{"our node", "upstream's node"} {
			t.Logf("%s: ours %v; upstream's %v", node, ours[k][i], theirs[k][i])
		}
	}
	rate := func(s said) float64 { return s.rate }
	app := func(s said) float64 { return s.sender + s.receiver }
	node := func(s said) float64 { return s.node }
	for k, by := range []string{"by our node", "by its own"} {
		atMost(t, "rate of upstream's apps "+by+" / of ours", ratios(of(theirs[k], rate), of(ours[0], rate)), 1/times)
		t.Logf("CPU of our apps / of upstream's %s: %.3f", by, median(ratios(of(ours[0], app), of(theirs[k], app))))
		t.Logf("CPU of our node / of the node of upstream's apps %s: %.3f", by, median(ratios(of(ours[0], node), of(theirs[k], node))))
	}
	if kind == "mls" {
		signed := make([]float64, len(ours[0]))
		for i, s := range ours[0] {
			signed[i] = app(s) / signature(t)
		}
		atMost(t, "CPU of our apps / of a signature and its verification", signed, 1/0.6)
	}
}

func of(all []said, what func(said) float64) []float64 {
	v := make([]float64, len(all))
	for i, s := range all {
		v[i] = what(s)
	}
	return v
}

// signature is the time in nanoseconds that the standard library takes to sign with P-256, as MLS does by default, and to verify it.
func signature(t *testing.T) float64 {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const times = 5000
	digest := make([]byte, 32)
	began := threadTime()
	for i := range times {
		digest[0] = byte(i)
		s, err := ecdsa.SignASN1(rand.Reader, key, digest)
		if err != nil || !ecdsa.VerifyASN1(&key.PublicKey, digest, s) {
			t.Fatal("a signature does not hold: ", err)
		}
	}
	return float64(threadTime()-began) / times
}

// peersTalk has upstream's library send to itself through a node of its own.
func peersTalk(t *testing.T, command string, mls bool, messages int) said {
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
	echo := peer("echo", "--name", "bench/cost/bob", "--quiet", "--sink")
	out, err := echo.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := echo.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if _, err := lines.ReadString('\n'); err != nil { // it is ready
		t.Fatal(err)
	}
	send := peer("send", "--name", "bench/cost/alice", "--to", "bench/cost/bob", "--count", fmt.Sprint(messages), "--size", "100", "--inflight", "64")
	if mls {
		send.Args = append(send.Args, "--mls")
	}
	before, err := usage.Of(n.PID())
	if err != nil {
		t.Fatal(err)
	}
	sent, err := send.Output()
	after, lost := usage.Of(n.PID())
	_ = echo.Process.Signal(syscall.SIGTERM)
	rest, _ := io.ReadAll(lines)
	if bad := errors.Join(err, lost, echo.Wait()); bad != nil {
		t.Fatalf("slim-peer: %v: %s%s", bad, sent, rest)
	}
	a, b := summary(t, string(sent)), summary(t, string(rest))
	if b.Received != messages || a.Rate <= 0 {
		t.Fatalf("of %d messages came %d, %v a second", messages, b.Received, a.Rate)
	}
	each := func(seconds float64) float64 { return seconds * 1e9 / float64(messages) }
	return said{a.Rate, each((after.CPU - before.CPU).Seconds()), each(a.CPU), each(b.CPU)}
}

// ended is the last line of a slim-peer.
type ended struct {
	Event    string
	Rate     float64
	CPU      float64 `json:"cpu_s"`
	Received int
	P50      int64 `json:"p50_us"`
}

func summary(t *testing.T, out string) (s ended) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &s); err != nil || s.Event != "summary" {
		t.Fatalf("slim-peer ended with %q: %v", lines[len(lines)-1], err)
	}
	return s
}

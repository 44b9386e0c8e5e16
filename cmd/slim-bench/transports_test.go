package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/certs"
	"github.com/seed31b3bfd0/slimgo/router"
)

// playNode runs the real node as the configuration at path says it, until it is told to end.
func playNode(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	value := func(key string) string {
		m := regexp.MustCompile(key + `: "([^"]*)"`).FindStringSubmatch(string(b))
		if m == nil {
			return ""
		}
		return m[1]
	}
	o := router.Options{Listen: []string{value("endpoint")}, NodeID: "bench-test", StallTimeout: time.Minute, NegotiationTimeout: time.Minute}
	if cert := value("cert"); cert != "" {
		secure := certs.Options{Own: certs.Pair{Kind: certs.Files, Cert: cert, Key: value("key")}, Protocols: []string{"h2", "http/1.1"}}
		if ca := value("path"); ca != "" {
			secure.ClientCA = certs.Authority{Kind: certs.Files, CA: ca}
		}
		k, err := certs.NewServer(secure)
		if err != nil {
			return err
		}
		o.TLS = []*tls.Config{k.Server()}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	n, err := router.Start(ctx, o)
	if err != nil {
		return err
	}
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return n.Shutdown(ctx)
}

// A node that is started is measured by every way in, and by each of them every message comes, once.
func TestEveryTransportIsMeasuredBesidePlain(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := slimBench(t, "run", "p2p", "--node", fmt.Sprintf("ours='%s' play-node {config}", self), "--transports", "tls,mtls,ws,wss,unix",
		"--count", "2000", "--inflight", "16", "--floor=false", "--quiet", "--output", "json")
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	r, err := result.ReadJSON(strings.NewReader(stdout))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Nodes) != 6 {
		t.Fatalf("nodes %+v", r.Nodes)
	}
	for k, n := range r.Cases[0].Nodes {
		delivered, _ := n.Metric("delivered")
		for _, bad := range []string{"lost", "duplicates", "reordered"} {
			if m, ok := n.Metric(bad); !ok || m.Value != 0 || delivered.Value <= 0 {
				t.Errorf("%s: %s %v, delivered %v", r.Nodes[k].Name, bad, m.Value, delivered.Value)
			}
		}
	}
}

// A run that is to stop at a failure ends with it, and says which condition it was.
func TestStopAtFailure(t *testing.T) {
	t.Parallel()
	code, stdout, _ := slimBench(t, "run", "p2p", "fanout", "--target", node(t), "--count", "500", "--floor=false", "--quiet", "--output", "json",
		"--require", "lost >= 1", "--stop-at-failure")
	r, err := result.ReadJSON(strings.NewReader(stdout))
	if err != nil {
		t.Fatal(err)
	}
	if code != exitFailed || len(r.Failed()) != 1 || len(r.Cases) != 2 || len(r.Cases[1].Nodes[0].Rounds) != 0 {
		t.Errorf("exit %d, failed %v, %d cases", code, r.Failed(), len(r.Cases))
	}
}

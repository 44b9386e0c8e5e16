//go:build gates

package cost

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// handshakeRate is how many clients a second come by TLS.
const handshakeRate = 200

// TestHandshakesBesideTraffic: while 200 clients a second connect by TLS, the p99 of paced traffic through the same node is at
// most 1.5 times what it is while they connect to another process.
func TestHandshakesBesideTraffic(t *testing.T) {
	here, there := startNode(t), startNode(t)
	paced := func(to *node) float64 {
		ctx, cancel := context.WithCancel(t.Context())
		var came atomic.Int64
		done := make(chan struct{})
		go func() { defer close(done); come(ctx, t, to, &came) }()
		began := time.Now()
		f := measure(t, "p2p", "--size", "100", "--identity", "constant", "--rate", "2000", "--duration", "8s", "--warmup", "1s",
			"--target", here.plain, "--pid", fmt.Sprint(here.Process.Pid))
		rate := float64(came.Load()) / time.Since(began).Seconds()
		cancel()
		<-done
		if rate < 0.9*handshakeRate {
			t.Errorf("%.0f clients a second came by TLS, want %d", rate, handshakeRate)
		}
		return f[0]["p99"]
	}
	var same, other []float64
	for i := range *rounds {
		if i%2 == 0 {
			same, other = append(same, paced(here)), append(other, paced(there))
		} else {
			other, same = append(other, paced(there)), append(same, paced(here))
		}
		t.Logf("p99 %.0f µs, beside another process %.0f µs", same[i]/1e3, other[i]/1e3)
	}
	atMost(t, "p99 beside handshakes / beside those of another process", ratios(same, other), 1.5)
}

// come opens connections with links, handshakeRate a second, and closes each when it stands.
func come(ctx context.Context, t *testing.T, n *node, came *atomic.Int64) {
	conf := &tls.Config{RootCAs: n.issuer.Pool(), ServerName: "localhost", NextProtos: []string{"h2"}}
	o := &uplink.Options{Scheme: "https", DialContext: func(ctx context.Context, addr string) (net.Conn, error) {
		return (&tls.Dialer{Config: conf}).DialContext(ctx, "tcp", addr)
	}}
	var all sync.WaitGroup
	defer all.Wait()
	tick := time.NewTicker(time.Second / handshakeRate)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		all.Go(func() {
			c, err := uplink.Dial(ctx, n.tls, o)
			if err != nil {
				if ctx.Err() == nil {
					t.Error(err)
				}
				return
			}
			came.Add(1)
			c.Abort()
		})
	}
}

// turns of a round of TestScrapes: with a scrape in its midst, and without, so that what changes evenly adds to both.
var turns = []bool{true, false, false, true}

// TestScrapes: a scrape of the metrics every second changes the CPU for each message by less than 1 %. One load runs all the
// time; of each second are taken the CPU and the bytes that the node has read, and every other second has a scrape in its midst.
// What a scrape takes is measured alone, too, as the share of a second.
func TestScrapes(t *testing.T) {
	n := startNode(t)
	const scrapes = 200
	before := n.cpu(t)
	for range scrapes {
		n.scrape(t)
	}
	alone := (n.cpu(t) - before) / scrapes
	t.Logf("a scrape takes %v of the processor", alone)
	atMost(t, "a scrape / a second", []float64{alone.Seconds()}, 0.01)

	ctx, cancel := context.WithCancel(t.Context())
	load := exec.CommandContext(ctx, filepath.Join(scratch, "slim-bench"), "run", "p2p", "--size", "100", "--identity", "constant",
		"--inflight", "1024", "--duration", "1h", "--target", n.plain, "--quiet", "--floor=false")
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = load.Wait() }()
	for n.read(t) < 1<<30 { // it runs
		time.Sleep(100 * time.Millisecond)
	}
	second := func(scrape bool) float64 {
		cpu, read := n.cpu(t), n.read(t)
		time.Sleep(time.Second / 2)
		if scrape {
			n.scrape(t)
		}
		time.Sleep(time.Second / 2)
		return float64(n.cpu(t)-cpu) / float64(n.read(t)-read)
	}
	var with, without []float64
	for range *rounds {
		for range 3 {
			var sums [2]float64
			for _, scrape := range turns {
				if v := second(scrape); scrape {
					sums[0] += v
				} else {
					sums[1] += v
				}
			}
			with, without = append(with, sums[0]), append(without, sums[1])
		}
	}
	atMost(t, "CPU per message with scrapes / without", ratios(with, without), 1.01)
}

// read is how many bytes the node has read, of sockets, too.
func (n *node) read(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", n.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var read int64
	if _, err := fmt.Sscanf(string(b), "rchar: %d", &read); err != nil {
		t.Fatal(err)
	}
	return read
}

func (n *node) scrape(t *testing.T) {
	resp, err := http.Get("http://" + n.health + "/metrics")
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	if size, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK || size == 0 {
		t.Error(resp.Status, size, err)
	}
}

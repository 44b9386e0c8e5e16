//go:build gates

package cost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/internal/usage"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/router/transport"
)

// meshNames are the names that a joining peer is told, on meshHolders connections.
const (
	meshNames   = 100_000
	meshHolders = 4
)

// meshName is name i, under a prefix of its own, as that of an agent.
func meshName(i int) load.Address {
	return load.Address{Parts: [3]string{"bench", "mesh", fmt.Sprint("agent-", i)}, ID: uint64(i + 1)}
}

// replica is a node of a full mesh in this process.
func replica(t *testing.T, id string, o router.Options) *router.Node {
	t.Helper()
	o.Listen, o.NodeID = []string{"127.0.0.1:0"}, id
	n, err := router.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return n
}

// joins has a node dial another as its peer.
func joins(t *testing.T, n, other *router.Node) {
	t.Helper()
	addr := other.Addrs()[0].String()
	_, err := n.Dial(router.Link{Endpoint: addr, Kind: table.Peer, Call: transport.Call{Scheme: "http", Authority: addr},
		Connect: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) }})
	if err != nil {
		t.Fatal(err)
	}
}

// hold subscribes all names at a node, for as long as the test lasts.
func hold(t *testing.T, n *router.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	for h := range meshHolders {
		c, err := client.Dialer{}.Dial(ctx, n.Addrs()[0].String(), load.DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		const each = meshNames / meshHolders
		if _, err := c.Subscribe(ctx, each, 0, func(i int) load.Address { return meshName(h*each + i) }); err != nil {
			t.Fatal(err)
		}
	}
}

// learned waits until a node knows all names of its peers, and returns how long that took.
func learned(t *testing.T, n *router.Node) time.Duration {
	t.Helper()
	began := time.Now()
	err := process.Until(t.Context(), time.Millisecond, patience, func() bool {
		return slices.ContainsFunc(n.Peers(), func(p router.Peer) bool { return p.Learned == meshNames })
	})
	if err != nil {
		t.Fatalf("peers %+v: %v", n.Peers(), err)
	}
	return time.Since(began)
}

// heap is how many bytes of this process are in use.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// TestTwoNodes: a message over two nodes of a mesh takes at most 2.1 times the CPU that it takes of one, at rates that leave processors free.
// How fast a node is depends on how busy the processors are. Where senders wait for nothing but their receivers, two nodes
// and the load keep two processors busy all the time, and one node and the load do not: what comes of that is bounded loosely.
func TestTwoNodes(t *testing.T) {
	node := filepath.Join(scratch, "slim") + " --config {config} --log-level error"
	pace := func(what string, flags ...string) (across []float64) {
		for range *rounds {
			f := measure(t, append([]string{"mesh", "--nodes", "3", "--names", "1000", "--size", "100", "--identity", "constant", "--duration", "2s",
				"--node", node}, flags...)...)
			one, two := f[0]["one node: node CPU per delivered"], f[0]["node CPU per delivered"]
			across = append(across, two/one)
			t.Logf("%s: one node %.0f ns, two %.0f ns", what, one, two)
		}
		return across
	}
	for _, rate := range []string{"200000", "600000"} {
		atMost(t, rate+" a second: CPU over two nodes / over one", pace(rate+" a second", "--rate", rate), 2.1)
	}
	atMost(t, "as fast as they can: CPU over two nodes / over one", pace("as fast as they can", "--inflight", "1024"), 2.6)
}

// TestOneCopyForEachPeer: in a mesh of four, with three receivers at each other node, every link of the first node carries a message
// to all of them once.
func TestOneCopyForEachPeer(t *testing.T) {
	const messages, receivers = 1000, 3
	var nodes []*router.Node
	for i := range 4 {
		n := replica(t, fmt.Sprint("replica-", i), router.Options{})
		for _, other := range nodes {
			joins(t, n, other)
		}
		nodes = append(nodes, n)
	}
	to := load.Address{Parts: [3]string{"bench", "mesh", "all"}}
	var all []*load.Receiver
	dial := func(n *router.Node, sink load.Sink) load.Conn {
		c, err := client.Dialer{}.Dial(t.Context(), n.Addrs()[0].String(), load.DialOptions{Sink: sink})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	until := func(what string, done func() bool) {
		t.Helper()
		if err := process.Until(t.Context(), time.Millisecond, patience, done); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for _, n := range nodes[1:] {
		for range receivers {
			r := load.NewReceiver(0, 1, 0)
			if _, err := dial(n, r).Subscribe(t.Context(), 1, 0, func(int) load.Address { return to }); err != nil {
				t.Fatal(err)
			}
			all = append(all, r)
		}
	}
	links := func() (sent []uint64) {
		all, err := nodes[0].Connections(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			if c.Kind == table.Peer {
				sent = append(sent, c.Delivered)
			}
		}
		return sent
	}
	until("names of three peers", func() bool {
		return !slices.ContainsFunc(nodes[0].Peers(), func(p router.Peer) bool { return p.Learned != 1 }) && len(links()) == 3
	})
	before := links()
	pub, err := dial(nodes[0], nil).Publisher(load.Message{From: load.Address{Parts: [3]string{"bench", "mesh", "sender"}, ID: 1},
		To: []load.Address{to}, All: true, Size: 100, IdentitySize: 172})
	if err != nil {
		t.Fatal(err)
	}
	for i := range messages / 50 {
		if err := pub.Send(uint64(i*50), 50, load.Now(), 0); err != nil {
			t.Fatal(err)
		}
	}
	until("all messages", func() bool {
		return !slices.ContainsFunc(all, func(r *load.Receiver) bool { return r.Arrivals().Messages < messages })
	})
	for i, sent := range links() {
		if n := sent - before[i]; n != messages {
			t.Errorf("link %d carried %d messages, want %d", i, n, messages)
		}
	}
	for _, r := range all {
		if n := r.Arrivals().Messages; n != messages {
			t.Errorf("a receiver got %d messages, want %d", n, messages)
		}
	}
}

// TestWaitsBesideSync: while a node that was killed learns 100,000 names, no message between two others waits for 10 ms longer than one
// does while nobody joins.
func TestWaitsBesideSync(t *testing.T) {
	node := filepath.Join(scratch, "slim") + " --config {config} --log-level error"
	var more []float64
	for range *rounds {
		f := measure(t, "mesh", "--nodes", "3", "--names", fmt.Sprint(meshNames), "--size", "100", "--identity", "constant", "--rate", "2000", "--duration", "3s",
			"--node", node)
		quiet, joining := f[0]["max"], f[0]["while joining: max"]
		more = append(more, (joining-quiet)/1e6)
		t.Logf("longest delay %.1f ms, while a node joins %.1f ms; all names known in %.2f s", quiet/1e6, joining/1e6, f[0]["names known in"]/1e9)
	}
	atMost(t, "milliseconds that a message waits longer", more, 10)
}

// TestJoiningPeer: 100,000 names are known to a joining peer within 2 s, and take there at most 1.1 times the memory that they
// take where they are subscribed. The third node of a mesh joins, so that what others keep for having peers at all is there before.
// On a machine that others use too, the processor time of all nodes counts for the time that they wait for a processor.
func TestJoiningPeer(t *testing.T) {
	var took, memory []float64
	for range *rounds {
		if !t.Run("", func(t *testing.T) {
			first, second, third := replica(t, "replica-1", router.Options{}), replica(t, "replica-2", router.Options{}), replica(t, "replica-3", router.Options{})
			empty := heap()
			hold(t, first)
			subscribed := heap() - empty
			joins(t, second, first)
			learned(t, second)
			before := heap()
			cpu, err := usage.Own()
			joins(t, third, first)
			wall := learned(t, third)
			then, err2 := usage.Own()
			if err := errors.Join(err, err2); err != nil {
				t.Fatal(err)
			}
			took = append(took, min(wall, then.CPU-cpu.CPU).Seconds())
			memory = append(memory, (heap()-before)/subscribed)
			t.Logf("%.0f B for each name that is subscribed, with a peer %.0f B more, learned %.0f B, known in %.2f s, of which the nodes ran %.2f s",
				subscribed/meshNames, (before-empty-subscribed)/meshNames, (heap()-before)/meshNames, wall.Seconds(), (then.CPU - cpu.CPU).Seconds())
		}) {
			return
		}
	}
	atMost(t, "seconds until all names are known", took, 2)
	atMost(t, "memory of names learned / subscribed", memory, 1.1)
}

//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// way is a listener of a node, as clients dial it.
type way struct{ name, endpoint string }

// startNodeOfAllWays starts a node that listens by gRPC, by WebSocket and on a unix socket.
func startNodeOfAllWays(t *testing.T, k kind) (*node, []way) {
	t.Helper()
	n := &node{kind: k, port: freePort(t), config: filepath.Join(t.TempDir(), "node.yaml"), binding: "enforce"}
	port := freePort(t)
	// Next to nothing: a path has 107 bytes.
	dir, err := os.MkdirTemp("", "slim") //nolint:usetesting // t.TempDir is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	text := nodeConfig(n.port, nil) + fmt.Sprintf(`        - endpoint: ws://127.0.0.1:%d/slim
          tls: {insecure: true}
        - endpoint: unix://%s
          tls: {insecure: true}
`, port, path)
	if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	n.await(limit, func() bool { return countLines(n.lines, "dataplane server started") == 3 })
	return n, []way{
		{"gRPC", "http://" + n.address()}, {"WebSocket", fmt.Sprintf("ws://127.0.0.1:%d/slim", port)}, {"unix", "unix://" + path},
	}
}

// by is the node as applications reach it that way.
func (n *node) by(w way) *node {
	c := *n
	c.way = w.endpoint
	return &c
}

// Applications that come by gRPC, by WebSocket and through a unix socket have sessions with each other, with MLS.
func TestSessionsWhicheverWayApplicationsCome(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		n, ways := startNodeOfAllWays(t, k)
		for i, to := range ways {
			name := fmt.Sprint(bob, i)
			b := n.by(to).app(t, "echo", name)
			for j, from := range ways {
				wantAnswers(t, n.by(from).run(t, "send", fmt.Sprintf("%s-%d-%d", alice, i, j), "--to", name, "--count", "200", "--size", "1000",
					"--inflight", "32", "--mls", "--echo"), 200)
				wantSession(t, b, 200)
			}
			wantAnswers(t, n.by(to).run(t, "send", alice, "--to", name, "--count", "4", "--size", "3000000", "--inflight", "2", "--echo"), 4)
			b.quit(t)
		}
	})
}

// A group whose members come in all ways.
func TestGroupWhicheverWayMembersCome(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		n, ways := startNodeOfAllWays(t, k)
		m := n.by(ways[1]).app(t, "moderate", "org/ns/moderator", "--channel", channel, "--mls")
		var members []*app
		for i, w := range ways {
			members = append(members, n.by(w).member(t, fmt.Sprint("org/ns/member", i)))
		}
		m.invite(t, members...)
		m.do(t, event{"publish": "all", "count": 50})
		for _, a := range members {
			a.receives(t, series("all", 50)...)
		}
		members[2].do(t, event{"publish": "unix", "count": 10})
		m.receives(t, series("unix", 10)...)
		members[0].receives(t, series("unix", 10)...)
		members[1].receives(t, series("unix", 10)...)
	})
}

// Applications by WebSocket and through a unix socket come back to a node that was stopped, and to one that was killed.
func TestApplicationsComeBackInAllWays(t *testing.T) {
	t.Parallel()
	n, ways := startNodeOfAllWays(t, ours)
	var all []*app
	for i, w := range ways[1:] {
		all = append(all, n.by(w).app(t, "echo", fmt.Sprint(bob, i), watched...))
	}
	for life, stop := range []func(){
		func() {
			if code := n.stop(t); code != 0 {
				t.Errorf("status %d after SIGTERM with applications connected", code)
			}
			if _, err := os.Lstat(strings.TrimPrefix(ways[2].endpoint, "unix://")); err == nil {
				t.Error("the socket file is left")
			}
		},
		func() { n.kill() },
	} {
		stop()
		n.start(t)
		reconnect(t, ours, all, life)
		for i, a := range all {
			wantAnswers(t, n.run(t, "send", fmt.Sprintf("%s-%d-%d", alice, life, i), "--to", a.name, "--count", "50", "--echo"), 50)
			wantSession(t, a, 50)
		}
	}
	for _, a := range all {
		a.quit(t)
	}
}

// Our own client speaks with both nodes in all ways.
func TestUplinksInAllWays(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		n, ways := startNodeOfAllWays(t, k)
		dial := func(w way) *uplink.Conn {
			c, err := uplink.Dial(within(t), w.endpoint, nil)
			if err != nil {
				t.Fatalf("%s: %v", w.name, err)
			}
			t.Cleanup(func() { c.Abort(); <-c.Done() })
			return c
		}
		for i, from := range ways {
			for j, to := range ways {
				a, b := dial(from), dial(to)
				if l := a.Link(); !l.Signed || l.RemoteNode != fmt.Sprintf("node-%d", n.port) {
					t.Errorf("%s: link %+v", from.name, l)
				}
				first, second := wire.Text("org", "ns", "a").WithID(uint64(j), uint64(i)), wire.Text("org", "ns", "b").WithID(uint64(j), uint64(i))
				pass(t, a, b, first, second)
				for _, c := range []*uplink.Conn{a, b} {
					if err := c.Close(within(t)); err != nil && k == ours {
						t.Errorf("%s to %s: %v", from.name, to.name, err)
					}
				}
			}
		}
	})
}

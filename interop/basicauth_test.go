//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// startWithPassword starts a node whose listeners, of gRPC and WebSocket, want alice's password, and returns their URLs.
func startWithPassword(t *testing.T, k kind) (n *node, urls map[string]string) {
	t.Helper()
	n = &node{kind: k, port: freePort(t), config: filepath.Join(t.TempDir(), "node.yaml"), binding: "enforce"}
	web := freePort(t)
	const want = "auth: {type: basic, username: alice, password: secret}"
	text := nodeConfig(n.port, nil) + fmt.Sprintf(`          %s
        - endpoint: ws://127.0.0.1:%d/slim
          tls: {insecure: true}
          %s
`, want, web, want)
	if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	return n, map[string]string{"gRPC": n.url(), "WebSocket": fmt.Sprintf("ws://127.0.0.1:%d/slim", web)}
}

// credentials are what a client shows, and whether that is right.
var credentials = []struct {
	name, auth string
	right      bool
}{
	{"right", `{"type": "basic", "username": "alice", "password": "secret"}`, true},
	{"wrong password", `{"type": "basic", "username": "alice", "password": "wrong"}`, false},
	{"wrong name", `{"type": "basic", "username": "bob", "password": "secret"}`, false},
	{"none", `{"type": "none"}`, false},
}

// Applications of upstream's library reach a node with a password, and without it they do not, whichever node it is. Rules:
// P-auth-1, P-auth-3.
func TestPasswordsOfApps(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		n, urls := startWithPassword(t, k)
		for way, url := range urls {
			for _, c := range credentials {
				t.Run(way+"/"+c.name, func(t *testing.T) {
					m := *n
					m.client = fmt.Sprintf(`{"endpoint": %q, "tls": {"insecure": true}, "auth": %s}`, url, c.auth)
					if c.right {
						m.app(t, "echo", "org/ns/echo").quit(t)
						return
					}
					m.client = strings.TrimSuffix(m.client, "}") + `, "backoff": {"type": "fixed_interval", "interval": "100ms", "max_attempts": 1}}`
					p := m.peer(t, "echo", "org/ns/echo")
					if code := p.exit(t, 4*limit); code != 1 {
						t.Errorf("it ends with %d", code)
					}
				})
			}
		}
	})
}

// A node dials another one that wants a password, whichever each is. Rules: P-auth-1, P-auth-8.
func TestPasswordsOfLinks(t *testing.T) {
	for _, d := range directions {
		t.Run(fmt.Sprintf("%s dials %s", d.client, d.server), func(t *testing.T) {
			t.Parallel()
			n, urls := startWithPassword(t, d.server)
			for way, url := range urls {
				for _, c := range credentials {
					t.Run(way+"/"+c.name, func(t *testing.T) {
						before := n.count("connection opened")
						m := &node{kind: d.client, port: freePort(t), config: filepath.Join(t.TempDir(), "node.yaml"), binding: "enforce"}
						link := fmt.Sprintf(`{endpoint: %q, tls: {insecure: true}, connection_type: remote, auth: %s}`, url, c.auth)
						if err := os.WriteFile(m.config, []byte(nodeConfig(m.port, []string{link})), 0o600); err != nil {
							t.Fatal(err)
						}
						m.process = spawn(t, "node that dials", nil, m.kind.program(t), "--config", m.config)
						defer m.kill()
						if c.right {
							m.expectLine(t, "client connected", 0)
							if d.server == ours {
								n.expectLine(t, "auth=basic identity=alice", before)
							}
							return
						}
						switch {
						case d.client == ours:
							m.expectLine(t, "401", 0)
						case way == "WebSocket": // it tries again
							m.expectLine(t, "401", 0)
						default: // it gives the start up
							m.exit(t, 4*limit)
						}
						if d.server == ours && n.count("connection opened") != before {
							t.Error("it is let in")
						}
					})
				}
			}
		})
	}
}

//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/auth/oidc/idptest"
)

// startWithProvider starts a node whose listeners, of gRPC and WebSocket, want tokens of a provider for the audience slim, whose
// groups have nodes, and returns their URLs.
func startWithProvider(t *testing.T, k kind, p *idptest.Provider) (n *node, urls map[string]string) {
	t.Helper()
	n = &node{kind: k, port: freePort(t), config: filepath.Join(t.TempDir(), "node.yaml"), binding: "enforce"}
	web := freePort(t)
	want := fmt.Sprintf(`auth: {type: oidc, issuer_url: %q, audience: slim, claim_cache_ttl: 1m, policy: {cel: '"nodes" in claims.groups'}}`, p.URL)
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

// Nodes dial each other with tokens of a real provider, whichever node each is, by id and secret and by a refresh token that is
// rotated; whom the policy, the audience or the provider refuses is not let in. Rules: P-oidc-2 to P-oidc-9.
func TestProviderOfLinks(t *testing.T) {
	for _, d := range directions {
		t.Run(fmt.Sprintf("%s dials %s", d.client, d.server), func(t *testing.T) {
			t.Parallel()
			p := idptest.New(t)
			p.Client("ed:ge/1", "se:cret/val", "slim", map[string]any{"groups": []string{"nodes"}})
			p.Client("cli", "", "slim", map[string]any{"groups": []string{"nodes"}})
			p.Client("guest", "secret", "slim", map[string]any{"groups": []string{"guests"}})
			p.Client("other", "secret", "elsewhere", map[string]any{"groups": []string{"nodes"}})
			n, urls := startWithProvider(t, d.server, p)
			refresh := filepath.Join(t.TempDir(), "refresh_token")
			if err := os.WriteFile(refresh, []byte(p.Login("cli", "alice")), 0o600); err != nil {
				t.Fatal(err)
			}
			for way, url := range urls {
				for _, c := range []struct {
					name, keys, subject, status string // status of who is refused, as a dialer of ours says it
				}{
					{"id and secret", `client_id: "ed:ge/1", client_secret: "se:cret/val", scope: openid`, "ed:ge/1", ""},
					{"refresh token", fmt.Sprintf(`client_id: cli, refresh_token_file: %q`, refresh), "alice", ""},
					{"policy", `client_id: guest, client_secret: secret`, "", "403"},
					{"audience", `client_id: other, client_secret: secret`, "", "401"},
					{"wrong secret", `client_id: guest, client_secret: wrong`, "", "Token endpoint error: status 40"},
				} {
					t.Run(way+"/"+c.name, func(t *testing.T) {
						opened, welcome := "connection opened", "auth=oidc identity="+c.subject
						before, welcomed := n.count(opened), n.count(welcome)
						m := &node{kind: d.client, port: freePort(t), config: filepath.Join(t.TempDir(), "node.yaml"), binding: "enforce"}
						link := fmt.Sprintf(`{endpoint: %q, tls: {insecure: true}, connection_type: remote, auth: {type: oidc, issuer_url: %q, %s}}`,
							url, p.URL, c.keys)
						if err := os.WriteFile(m.config, []byte(nodeConfig(m.port, []string{link})), 0o600); err != nil {
							t.Fatal(err)
						}
						m.process = spawn(t, "node that dials", nil, m.kind.program(t), "--config", m.config)
						defer m.kill()
						if c.status == "" {
							m.expectLine(t, "client connected", 0)
							if d.server == ours {
								n.expectLine(t, welcome, welcomed)
							}
							return
						}
						switch {
						case d.client == ours:
							m.expectLine(t, c.status, 0)
						case way == "WebSocket": // it tries again
							m.expectLine(t, "40", 0)
						default: // it gives the start up
							m.exit(t, 4*limit)
						}
						if d.server == ours && n.count(opened) != before {
							t.Error("it is let in")
						}
					})
				}
			}
		})
	}
}

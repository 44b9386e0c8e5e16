//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var groupsClaim = regexp.MustCompile(`groups: \[.*?\]`)

// byWebSocket has example files of a listener and a client speak WebSocket over TLS.
var byWebSocket = strings.NewReplacer("https://localhost", "wss://localhost", `"0.0.0.0:`, `"wss://0.0.0.0:`, " 0.0.0.0:", " wss://0.0.0.0:")

// A member of the group that the policy asks for is let in, by either node as listener and as client, with the files as they are and by
// WebSocket; one of another group is told 403, and the listener says why. Rules: P-pol-2, P-auth-1.
func TestPolicyPairs(t *testing.T) {
	const server, client = "jwt-policy-filter/server-config.yaml", "jwt-policy-filter/client-config.yaml"
	for _, e := range allExamples(t) {
		for _, d := range directions {
			for _, transport := range []string{"gRPC", "WebSocket"} {
				for _, member := range []bool{true, false} {
					who := map[bool]string{true: "a member", false: "another"}[member]
					t.Run(fmt.Sprintf("%s/%s/%s/%s dials %s", e.name, transport, who, d.client, d.server), func(t *testing.T) {
						t.Parallel()
						p := newPlace(t, e, func(name, text string, _ [2]int) string {
							if transport == "WebSocket" && (name == server || name == client) {
								text = byWebSocket.Replace(text)
							}
							if !member && name == client {
								text = groupsClaim.ReplaceAllString(text, "groups: [others]")
							}
							return text
						})
						listens := p.serve(t, d.server, server)
						dials := p.run(t, d.client, client)
						if member {
							dials.expectLine(t, "client connected", 0)
							stopInOrder(t, dials, listens)
							return
						}
						if d.server == ours {
							listens.expectLine(t, "policy.cel denies", 0)
						} else {
							listens.expectLine(t, "policy denied request", 0)
						}
						if d.client == ours || transport == "WebSocket" { // upstream's says over HTTP/2 only that it could not send
							dials.expectLine(t, "403", 0)
						}
						if n := dials.count("client connected"); n != 0 {
							t.Error("it is connected")
						}
					})
				}
			}
		}
	}
}

// A policy in a file counts anew when the file is replaced: who was let in and is not allowed any more is sent away, and let in once the
// policy allows it; what does not compile changes nothing. Upstream's node reads the file once, and would send nobody away. Rules: P-pol-14, P-auth-7.
func TestPolicyFileIsReplaced(t *testing.T) {
	const server, client = "jwt-policy-filter/server-config.yaml", "jwt-policy-filter/client-config.yaml"
	for _, k := range []kind{upstream, ours} {
		t.Run(string(k)+" dials", func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "policy.rego")
			write := func(group string) {
				t.Helper()
				text := "package slim.auth\n\ndefault allow := false\n\nallow if \"" + group + "\" in input.claims.groups\n"
				if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(file+".new", file); err != nil {
					t.Fatal(err)
				}
			}
			write("nodes")
			p := newPlace(t, examples{"ours", "../config", scriptedCrypto}, func(name, text string, _ [2]int) string {
				if name != server {
					return text
				}
				return strings.Replace(text, `cel: '"nodes" in claims.groups'`, "rego_file: "+file, 1)
			})
			listens := p.serve(t, ours, server)
			p.run(t, k, client)
			listens.expectLine(t, "connection opened", 0)
			write("others")
			listens.expectLine(t, "loaded anew", 0)
			listens.expectLine(t, "policy.rego_file denies", 0)
			write("nodes")
			listens.expectLine(t, "loaded anew", 1)
			p.run(t, k, client) // the first does not come back by itself after such an end
			listens.expectLine(t, "connection opened", 1)
			write("nodes\" in")
			listens.expectLine(t, "what was loaded before stays in use", 0)
		})
	}
}

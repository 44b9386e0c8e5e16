//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
)

// startWithWebSocket starts a node that listens by gRPC, for applications, and by WebSocket, for the link that it returns
// as an entry of dataplane.clients; links are its own.
func startWithWebSocket(t *testing.T, k kind, secure bool, dir string, links ...string) (n *node, link string) {
	t.Helper()
	n = &node{kind: k, port: freePort(t), config: filepath.Join(t.TempDir(), "node.yaml"), binding: "enforce"}
	port := freePort(t)
	server, link := "{endpoint: 'ws://127.0.0.1:%d/slim', tls: {insecure: true}}", "{endpoint: 'ws://127.0.0.1:%d/slim?site=north', connection_type: peer}"
	if secure {
		server = "{endpoint: 'wss://127.0.0.1:%d/slim', tls: {source: {type: file, cert: " + dir + "/cert.pem, key: " + dir + "/key.pem}}}"
		link = "{endpoint: 'wss://localhost:%d/slim', connection_type: peer, tls: {ca_source: {type: file, path: " + dir + "/ca.pem}}}"
	}
	text := nodeConfig(n.port, nil) + fmt.Sprintf("        - "+server+"\n", port)
	if len(links) > 0 {
		text += "      clients:\n"
	}
	for _, l := range links {
		text += "        - " + l + "\n"
	}
	if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	n.await(limit, func() bool { return countLines(n.lines, "dataplane server started") == 2 })
	return n, fmt.Sprintf(link, port)
}

// Two nodes that are linked by WebSocket, with and without TLS, whoever has dialled: applications at both talk, also after
// the one that was dialled was killed and has come back, and after the one that has dialled has. Rules: P-dial-3,
// P-peer-3, P-ws-3.
func TestPeersLinkedByWebSocket(t *testing.T) {
	t.Parallel()
	up := map[kind]string{ours: "kind=peer link_id=", upstream: "client connected"}
	again := map[kind]string{ours: up[ours], upstream: reconnected}
	for _, c := range []struct{ dialler, acceptor kind }{{ours, upstream}, {upstream, ours}, {ours, ours}} {
		for _, scheme := range []string{"ws", "wss"} {
			t.Run(fmt.Sprintf("%s dials %s by %s", c.dialler, c.acceptor, scheme), func(t *testing.T) {
				t.Parallel()
				secure := scheme == "wss"
				dir, ca := t.TempDir(), certstest.NewIssuer(t, "servers", true)
				files := map[string]string{"ca.pem": ca.PEM}
				files["cert.pem"], files["key.pem"] = ca.Pair("node")
				certstest.Write(t, dir, files)
				to, link := startWithWebSocket(t, c.acceptor, secure, dir)
				from, _ := startWithWebSocket(t, c.dialler, secure, dir, link)
				from.expectLine(t, up[c.dialler], 0)
				f := federation{node: from, rust: to}
				here := from.app(t, "echo", "org/ns/here", watched...)
				there := to.app(t, "echo", "org/ns/there", watched...)
				f.talk(t, here, there)
				for _, x := range []struct { // in many fragments
					at *node
					to *app
				}{{from, there}, {to, here}} {
					wantAnswers(t, x.at.run(t, "send", alice, "--to", x.to.name, "--count", "4", "--size", "3000000", "--inflight", "2", "--echo"), 4)
					wantSession(t, x.to, 4)
				}

				before := from.count(again[c.dialler])
				to.crash(t, from.process, there.process)
				to.start(t)
				from.expectLine(t, again[c.dialler], before)
				there.comesBack(t, 0)
				f.talk(t, here, there)

				from.crash(t, here.process)
				from.start(t)
				from.expectLine(t, up[c.dialler], 0)
				here.comesBack(t, 0)
				f.talk(t, here, there)
			})
		}
	}
}

//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
)

// door is one of the listeners of a node.
type door struct {
	name   string
	client string // how a client comes, as node.client
}

// startNodeOfAllDoors starts a node that listens by TLS, by mutual TLS, by WebSocket without and with TLS, and on a unix
// socket.
func startNodeOfAllDoors(t *testing.T, k kind) (*node, []door) {
	t.Helper()
	// Next to nothing: a path of a socket has 107 bytes.
	dir, err := os.MkdirTemp("", "slim") //nolint:usetesting // t.TempDir is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ca, clients := certstest.NewIssuer(t, "servers", false), certstest.NewIssuer(t, "clients", false)
	files := map[string]string{"ca.pem": ca.PEM, "client-ca.pem": clients.PEM}
	files["cert.pem"], files["key.pem"] = ca.Pair("node")
	files["client-cert.pem"], files["client-key.pem"] = clients.Pair("app")
	certstest.Write(t, dir, files)

	n := &node{kind: k, port: freePort(t), config: filepath.Join(dir, "node.yaml"), binding: "warn"}
	mutual, plainWS, secureWS := freePort(t), freePort(t), freePort(t)
	const (
		own   = "source: {type: file, cert: DIR/cert.pem, key: DIR/key.pem}"
		trust = `"ca_source": {"type": "file", "path": "DIR/ca.pem"}`
	)
	text := fmt.Sprintf(`tracing: {log_level: info}
services:
  slim/0:
    node_id: node-%d
    dataplane:
      servers:
        - {endpoint: "127.0.0.1:%d", tls: {`+own+`}}
        - {endpoint: "127.0.0.1:%d", tls: {`+own+`, client_ca: {type: file, path: DIR/client-ca.pem}}}
        - {endpoint: "ws://127.0.0.1:%d/slim", tls: {insecure: true}}
        - {endpoint: "wss://127.0.0.1:%d/slim", tls: {`+own+`}}
        - {endpoint: "unix://DIR/s", tls: {insecure: true}}
`, n.port, n.port, mutual, plainWS, secureWS)
	if err := os.WriteFile(n.config, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	if !n.await(limit, func() bool { return countLines(n.lines, "dataplane server started") == 5 }) {
		t.Fatalf("%s: it does not listen in five ways", n.label)
	}
	doors := []door{
		{"TLS", fmt.Sprintf(`{"endpoint": "https://localhost:%d", "tls": {`+trust+`}}`, n.port)},
		{"mutual TLS", fmt.Sprintf(`{"endpoint": "https://localhost:%d", "tls": {`+trust+
			`, "source": {"type": "file", "cert": "DIR/client-cert.pem", "key": "DIR/client-key.pem"}}}`, mutual)},
		{"WebSocket", fmt.Sprintf(`{"endpoint": "ws://127.0.0.1:%d/slim", "tls": {"insecure": true}}`, plainWS)},
		{"WebSocket with TLS", fmt.Sprintf(`{"endpoint": "wss://localhost:%d/slim", "tls": {`+trust+`}}`, secureWS)},
		{"unix", `{"endpoint": "unix://DIR/s", "tls": {"insecure": true}}`},
	}
	for i := range doors {
		doors[i].client = strings.ReplaceAll(doors[i].client, "DIR", dir)
	}
	return n, doors
}

// through is the node as applications reach it by a door.
func (n *node) through(d door) *node {
	c := *n
	c.client = d.client
	return &c
}

// Applications in Python and Node.js, one of each by each door of one node, have sessions with MLS with those of the
// other language by all doors, and are all in one group: everybody sees what was sent to it once, in order, and nothing
// else. The older core of Node.js signs no control messages, so that nobody enforces identities.
func TestLanguagesComeByAllDoors(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		const each = 50
		n, doors := startNodeOfAllDoors(t, k)
		var starting []*process
		for i, d := range doors {
			starting = append(starting, n.through(d).launch(t, &python, "org/ns/python-"+strconv.Itoa(i), "--echo"),
				n.through(d).launch(t, &javascript, "org/ns/node-"+strconv.Itoa(i), "--echo"))
		}
		var py, js []*app
		for i := range doors {
			py = append(py, python.ready(t, starting[2*i]))
			js = append(js, javascript.ready(t, starting[2*i+1]))
		}
		for i := range doors {
			for j := range doors {
				from, to := py[i], js[j]
				if (i+j)%2 == 1 {
					from, to = js[i], py[j]
				}
				text := fmt.Sprintf("%s to %s", doors[i].name, doors[j].name)
				from.do(t, event{"open": to.name, "mls": true})
				from.expect(t, "session")
				to.expect(t, "session")
				from.do(t, event{"publish": text, "count": each})
				to.receives(t, series(text, each)...)
				from.receives(t, series("echo:"+text, each)...)
				from.do(t, event{"close": true})
				from.expect(t, "left")
				to.expect(t, "left")
			}
		}

		m := py[0]
		all := slices.Concat(py, js)
		members := all[1:]
		m.do(t, event{"group": channel, "mls": true})
		m.invite(t, members...)
		for i, speaker := range all {
			text := "from " + strconv.Itoa(i)
			speaker.do(t, event{"publish": text, "count": each})
			for _, a := range all {
				if a != speaker {
					a.receives(t, series(text, each)...)
				}
			}
		}
		endGroup(t, m, members...)
		for _, a := range all {
			a.receivedNothing(t)
		}
	})
}

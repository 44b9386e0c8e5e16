//go:build interop

package interop

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
	"github.com/seed31b3bfd0/slimgo/internal/faults"
)

// Secrets of links: what a listener asks for, and what who dials shows of that.
const (
	linkSecret = "a secret of links that has more than 32 bytes"
	basicAsks  = "{type: basic, username: u, password: right}"
	basicWrong = "{type: basic, username: u, password: wrong}"
)

var (
	jwtAsks  = fmt.Sprintf("{type: jwt, claims: {issuer: us, audience: [links]}, key: {type: decoding, algorithm: HS256, format: pem, key: {data: %q}}}", linkSecret)
	jwtShows = fmt.Sprintf("{type: jwt, claims: {issuer: us, subject: node, audience: [links]}, key: {type: encoding, algorithm: HS256, format: pem, key: {data: %q}}}", linkSecret)
	jwtWrong = strings.Replace(jwtShows, linkSecret, "another secret that has more than 32 bytes", 1)
)

// template is an entry of outbound_clients for an endpoint, "": for all.
func template(endpoint, auth string) string {
	return fmt.Sprintf("      outbound_clients: [{endpoint: %q, tls: {insecure: true}, auth: %s}]", endpoint, auth)
}

// Links show what outbound_clients says, and a control plane is told why one cannot; a node that comes back with what is right is
// linked. The other end is ours, or upstream's. Rules: P-ctl-6, P-ctl-8.
func TestCredentialsOfLinks(t *testing.T) {
	for _, x := range []struct{ name, asks, template, want, says string }{
		{"none", "{type: none}", "", "APPLIED", ""},
		{"basic", basicAsks, template("", basicAsks), "APPLIED", ""},
		{"wrong basic", basicAsks, template("", basicWrong), "FAILED", "Connection failed: "},
		{"no basic", basicAsks, "", "FAILED", "no local credentials configured for http://127.0.0.1:"},
		{"jwt", jwtAsks, template("", jwtShows), "APPLIED", ""},
		{"wrong jwt", jwtAsks, template("", jwtWrong), "FAILED", "Connection failed: "},
		{"no jwt", jwtAsks, "", "FAILED", "no local credentials configured for http://127.0.0.1:"},
		{"another endpoint's", basicAsks, template("http://127.0.0.1:9", basicAsks), "FAILED", "no local credentials configured for http://127.0.0.1:"},
	} {
		for _, far := range []kind{ours, upstream} {
			t.Run(fmt.Sprint(x.name, "/", far), func(t *testing.T) {
				t.Parallel()
				p := startPlane(t, fullMesh)
				o := gatewayOptions{server: "          auth: " + x.asks, controller: x.template}
				b := p.startGateway(t, far, "dom-b", o)
				p.untilConnected(t, 1)
				a := p.startGateway(t, ours, "dom-a", o) // dials
				p.until(t, "the link is "+x.want, func(s string) bool { return strings.Contains(s, x.want) }, "controller", "link", "list", "-a")
				if x.want == "FAILED" { // it comes back with what is right
					p.expectLine(t, x.says, 0)
					a.quit(t)
					o.controller = map[string]string{basicAsks: template("", basicAsks), jwtAsks: template("", jwtShows)}[x.asks]
					a.configure(t, p, strings.TrimPrefix(a.name, "dom-a/"), o)
					a.back(t)
					p.untilLinks(t, 1)
				}
				if x.asks != "{type: none}" { // apps would have to show it, too
					return
				}
				echo := b.app(t, "echo", "org/ns/echo")
				p.untilRoute(t, a, echo.name)
				p.talk(t, a, alice, echo)
			})
		}
	}
}

// Links with TLS between domains: applications in Rust and Python reach each other over them, alone and in a group. Rules: P-ctl-3, P-ctl-6.
func TestAppsOverLinksWithTLS(t *testing.T) {
	for _, x := range mixtures[:2] {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			ca := certstest.NewIssuer(t, "servers", false)
			cert, key := ca.Pair("node")
			certstest.Write(t, dir, map[string]string{"ca.pem": ca.PEM, "cert.pem": cert, "key.pem": key})
			at := func(name string) string { return filepath.Join(dir, name) }
			p := startPlane(t, fullMesh)
			start := func(k kind, domain string) *gateway {
				t.Helper()
				o := gatewayOptions{tls: fmt.Sprintf("source: {type: file, cert: %s, key: %s}", at("cert.pem"), at("key.pem")),
					controller: fmt.Sprintf("      outbound_clients: [{endpoint: \"\", server_name: localhost, tls: {ca_source: {type: file, path: %s}}}]", at("ca.pem"))}
				m := p.startGateway(t, k, domain, o)
				client, err := json.Marshal(map[string]any{"endpoint": fmt.Sprintf("https://localhost:%d", m.port),
					"tls": map[string]any{"ca_source": map[string]any{"type": "file", "path": at("ca.pem")}}})
				if err != nil {
					t.Fatal(err)
				}
				m.client, m.binding = string(client), "warn"
				return m
			}
			a := start(x.a, "dom-a")
			p.untilConnected(t, 1)
			b := start(x.b, "dom-b")
			p.untilLinks(t, 1)
			rust, py := b.app(t, "echo", "org/ns/rust"), b.script(t, &python, "org/ns/python", "--echo")
			other := a.script(t, &python, "org/ns/other")
			for _, to := range []*app{rust, py} {
				p.untilRoute(t, a, to.name)
				wantAnswers(t, a.run(t, "send", "org/ns/alice-"+to.name[len("org/ns/"):], sendArgs(to.name, 50, true)...), 50)
				other.do(t, event{"open": to.name, "mls": true})
				other.do(t, event{"publish": "text", "count": 20})
				other.receives(t, series("echo:text", 20)...)
				other.do(t, event{"close": true})
			}
			m := a.app(t, "moderate", "org/ns/moderator", "--channel", channel, "--mls")
			member := b.member(t, "org/ns/member")
			p.untilRoute(t, a, member.name)
			p.untilRoute(t, b, m.name) // its answer comes at once then
			m.invite(t, member)
			p.untilRoute(t, a, channel) // a member on upstream's library takes the first message that comes for the first of its stream
			m.do(t, event{"publish": "to all", "count": 20})
			member.receives(t, series("to all", 20)...)
			member.do(t, event{"publish": "from a member", "count": 20})
			m.receives(t, series("from a member", 20)...)
			m.quit(t)
		})
	}
}

// Links whose ends know each other by SPIRE; without an agent there are none, and the control plane is told why. Rules: P-ctl-3, P-ctl-6.
func TestLinksBySPIRE(t *testing.T) {
	t.Parallel()
	r := startRealm(t, time.Hour, time.Hour)
	r.start()
	r.ready()
	for _, x := range []struct{ name, socket, want string }{{"agent", r.socket(), "APPLIED"}, {"no agent", filepath.Join(t.TempDir(), "none"), "FAILED"}} {
		for _, far := range []kind{ours, upstream} {
			t.Run(fmt.Sprint(x.name, "/", far), func(t *testing.T) {
				t.Parallel()
				p := startPlane(t, fullMesh)
				start := func(k kind, domain, socket string) *gateway {
					t.Helper()
					own := fmt.Sprintf("type: spire, socket_path: %s", r.socket())
					return p.startGateway(t, k, domain, gatewayOptions{
						tls:        fmt.Sprintf("source: {%s}, client_ca: {%[1]s, trust_domains: [example.org]}", own),
						metadata:   fmt.Sprintf(", spire_socket_path: %s, trust_domain: example.org", r.socket()),
						controller: fmt.Sprintf("      outbound_clients: [{endpoint: \"\", server_name: localhost, auth: {type: spire, socket_path: %s}}]", socket)})
				}
				start(far, "dom-b", r.socket())
				p.untilConnected(t, 1)
				start(ours, "dom-a", x.socket)
				p.until(t, "the link is "+x.want, func(s string) bool { return strings.Contains(s, x.want) }, "controller", "link", "list", "-a")
			})
		}
	}
}

// What a control plane enforces reaches links: the pause after an attempt in vain, which is another one by default. Rules: P-ctl-6.
func TestEnforcedSettingsOfLinks(t *testing.T) {
	t.Parallel()
	const pause = 1500 * time.Millisecond
	p := startPlane(t, fmt.Sprintf("%s\nenforce_node_connection: {backoff: %d, timeout: 2500, keepalive: {http2_keepalive: 24h, timeout: 20s}}", fullMesh, pause.Milliseconds()))
	l := &faults.Line{Network: "tcp", Listen: fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	b := p.newGateway(t, ours, "dom-b", gatewayOptions{external: l.Listen})
	l.Target = b.address()
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	l.Reject()
	b.start(t)
	p.untilConnected(t, 1)
	began := time.Now()
	p.startGateway(t, ours, "dom-a", gatewayOptions{})
	await(t, "three attempts in vain", func() bool { return l.Accepted() >= 3 })
	if took := time.Since(began); took < 2*pause {
		t.Errorf("three attempts within %v, with pauses of %v", took, pause)
	}
	if err := l.Admit(); err != nil {
		t.Fatal(err)
	}
	p.untilLinks(t, 1)
}

// The time that a control plane enforces for connecting reaches links: one that nobody answers is given up then, and tried again. Rules: P-ctl-6.
func TestEnforcedTimeoutOfLinks(t *testing.T) {
	p := startPlane(t, fullMesh+"\nenforce_node_connection: {backoff: 100, timeout: 1500}")
	b := p.newGateway(t, ours, "dom-b", gatewayOptions{external: unanswered(t)})
	b.start(t)
	p.untilConnected(t, 1)
	a := p.startGateway(t, ours, "dom-a", gatewayOptions{})
	a.expectLine(t, "no connection within 1.5s", 0)
}

// unanswered is an address where connections are neither taken nor refused: its queue is full.
func unanswered(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	port := freePort(t) // connections of others that were there may not be over
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	for failed := 0; failed < 2; { // the first may have come late to a queue with room
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			failed++
			continue
		}
		failed = 0
		t.Cleanup(func() { c.Close() })
	}
	return addr
}

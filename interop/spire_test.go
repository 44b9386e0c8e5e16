//go:build interop

package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/spire"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// spireProgram returns the path of a program of SPIRE 1.13.3: spire-server or spire-agent.
func spireProgram(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("SPIRE")
	if dir == "" {
		t.Fatal("SPIRE is not set: it must name the folder of spire-server and spire-agent 1.13.3, which .ci/run builds (docs/interop.md)")
	}
	return filepath.Join(dir, name)
}

// realm is a SPIRE server of the trust domain example.org and an agent on this machine, for which every process of this user is one
// workload.
type realm struct {
	t      *testing.T
	id     string // of the workload
	dir    string
	agent  *process
	server *process
	start  func() // the agent, again
}

// startRealm starts the server, for the workload spiffe://example.org/slim. SVIDs live so long.
func startRealm(t *testing.T, x509, jwt time.Duration) *realm {
	t.Helper()
	return startRealmOf(t, "slim", x509, jwt)
}

// startRealmOf is startRealm for a workload of that name, whose certificates name the host NAME.example.org, too.
func startRealmOf(t *testing.T, name string, x509, jwt time.Duration) *realm {
	t.Helper()
	dir, err := os.MkdirTemp("", "spire") //nolint:usetesting // t.TempDir is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := &realm{t: t, id: "spiffe://example.org/" + name, dir: dir}
	port := freePort(t)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		text = strings.NewReplacer("DIR", dir, "PORT", fmt.Sprint(port)).Replace(text)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	server := write("server.conf", `server {
  bind_address = "127.0.0.1"
  bind_port = "PORT"
  socket_path = "DIR/server.sock"
  trust_domain = "example.org"
  data_dir = "DIR/server"
  log_level = "WARN"
  ca_ttl = "24h"
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "DIR/db.sqlite3" } }
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "memory" { plugin_data {} }
}
`)
	agent := write("agent.conf", `agent {
  server_address = "127.0.0.1"
  server_port = "PORT"
  socket_path = "DIR/agent.sock"
  trust_domain = "example.org"
  data_dir = "DIR/agent"
  log_level = "WARN"
  insecure_bootstrap = true
  experimental { sync_interval = "1s" }
}
plugins {
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "disk" { plugin_data { directory = "DIR/agent" } }
  WorkloadAttestor "unix" { plugin_data {} }
}
`)
	for _, d := range []string{"server", "agent"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r.server = spawn(t, "spire-server", nil, spireProgram(t, "spire-server"), "run", "-config", server)
	await(t, "the server", func() bool { return r.try("healthcheck") == nil })
	token := regexp.MustCompile(`Token: (\S+)`).FindStringSubmatch(r.ask("token", "generate", "-spiffeID", "spiffe://example.org/agent"))
	if token == nil {
		t.Fatal("spire-server generates no token")
	}
	r.ask("entry", "create", "-parentID", "spiffe://example.org/agent", "-spiffeID", r.id,
		"-selector", fmt.Sprintf("unix:uid:%d", os.Getuid()), "-dns", name+".example.org", "-dns", "localhost",
		"-x509SVIDTTL", fmt.Sprint(int(x509.Seconds())), "-jwtSVIDTTL", fmt.Sprint(int(jwt.Seconds())))
	r.start = func() {
		t.Helper()
		r.agent = spawn(t, "spire-agent", nil, spireProgram(t, "spire-agent"), "run", "-config", agent, "-joinToken", token[1])
	}
	return r
}

// await looks again and again at what announces nothing.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * limit); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: in vain", what)
		}
	}
}

// try runs a command of spire-server.
func (r *realm) try(args ...string) error {
	_, err := r.run(args...)
	return err
}

func (r *realm) run(args ...string) (string, error) {
	args = append(args, "-socketPath", filepath.Join(r.dir, "server.sock"))
	out, err := exec.Command(spireProgram(r.t, "spire-server"), args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("spire-server %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// ask is run that must succeed.
func (r *realm) ask(args ...string) string {
	r.t.Helper()
	out, err := r.run(args...)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// socket is the path of the Workload API.
func (r *realm) socket() string { return filepath.Join(r.dir, "agent.sock") }

// ready waits until the agent has an identity for us.
func (r *realm) ready() {
	r.t.Helper()
	await(r.t, "an identity", func() bool {
		return exec.Command(spireProgram(r.t, "spire-agent"), "api", "fetch", "x509", "-silent", "-socketPath", r.socket()).Run() == nil
	})
}

// node is a node by a file of config/spire, with the socket of this realm and a port; change may change its text.
func (r *realm) node(k kind, file string, port int, change ...string) *node {
	r.t.Helper()
	return r.nodeOf(filepath.Join("..", "config"), k, file, port, change...)
}

// anySocket is the Workload API as example files name it.
var anySocket = regexp.MustCompile(`unix://\S+\.sock`)

// nodeOf is node by a file of the folder spire in dir, ours or upstream's. The socket of the latter is a path that cannot be: it has
// two slashes.
func (r *realm) nodeOf(dir string, k kind, file string, port int, change ...string) *node {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "spire", file))
	if err != nil {
		r.t.Fatal(err)
	}
	n := &node{kind: k, port: port, config: filepath.Join(r.t.TempDir(), file), binding: "enforce"}
	text := strings.NewReplacer(append(change, "0.0.0.0:46357", fmt.Sprintf("127.0.0.1:%d", port),
		"localhost:46357", fmt.Sprintf("localhost:%d", port))...).Replace(anySocket.ReplaceAllString(string(b), "unix://"+r.socket()))
	if !strings.Contains(text, "tracing:") {
		text = "tracing: {log_level: info}\n" + text
	}
	if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return n
}

// tokens is a change that has nodes show and want tokens, too.
func (r *realm) tokens() []string {
	return []string{"          tls:\n", fmt.Sprintf("          auth: {type: spire, socket_path: %s}\n          tls:\n", r.socket())}
}

// The files of config/spire, ours and upstream's with a socket that can be, run as pairs of both nodes by a real agent, by gRPC and
// WebSocket, as they are and with tokens beside certificates. Who shows no token, or one for somebody else, is told 401; who shows no
// certificate gets no further than the handshake. Rules: P-spiffe-2, P-spiffe-4, P-spiffe-5, P-auth-1, P-auth-3.
func TestSPIREPairs(t *testing.T) {
	t.Parallel()
	r := startRealmOf(t, "myservice", time.Hour, time.Hour)
	r.start()
	r.ready()
	token := func(more string) string {
		return fmt.Sprintf("          auth: {type: spire, socket_path: %s%s}\n", r.socket(), more)
	}
	type client struct {
		name, shows string // in front of tls
		bare        bool   // without a certificate
		refused     string // what the client reads; "": it is let in
	}
	for _, e := range allExamples(t) {
		for _, d := range directions {
			for _, scheme := range []string{"https", "wss"} {
				for _, c := range []struct {
					name, wants string // in front of tls
					clients     []client
				}{
					{"certificates", "", []client{{name: "as it is"}, {name: "no certificate", bare: true, refused: "ertificate"}}},
					{"tokens", token(""), []client{{name: "a token", shows: token("")}, {name: "no token", refused: "401"},
						{name: "a token for others", shows: token(", jwt_audiences: [else]"), refused: "401"}}},
				} {
					t.Run(fmt.Sprintf("%s/%s/%s/%s dials %s", e.name, scheme, c.name, d.client, d.server), func(t *testing.T) {
						t.Parallel()
						at := *r
						at.t = t
						port := freePort(t)
						listen := fmt.Sprintf("127.0.0.1:%d", port)
						if scheme == "wss" {
							listen = "wss://" + listen
						}
						s := at.nodeOf(e.dir, d.server, "example-server.yaml", port, "0.0.0.0:46357", listen, "          tls:\n", c.wants+"          tls:\n")
						s.start(t)
						for _, x := range c.clients {
							opened := s.count("connection opened")
							backoff := map[bool]string{true: "          backoff: {type: fixed_interval, interval: 100ms, max_attempts: 1}\n"}[x.refused != ""]
							change := []string{"https://localhost:46357", fmt.Sprintf("%s://localhost:%d", scheme, port), "slim.example.org", "myservice.example.org",
								"          tls:\n", x.shows + backoff + "          tls:\n"}
							if x.bare {
								change = append(change, "            source:", "            nothing:")
							}
							n := at.nodeOf(e.dir, d.client, "example-client.yaml", port, change...)
							start := func() *process {
								return spawn(t, fmt.Sprintf("%s client, %s", d.client, x.name), nil, d.client.program(t), "--config", n.config)
							}
							var p *process
							switch {
							case x.refused == "":
								p = startedUntil(t, "client connected", start)
								p.wantNoRefusal(t, x.name)
								if d.server == ours {
									s.expectLine(t, r.id, 0)
									s.expectLine(t, "connection opened", opened)
								}
							case d.client == ours || scheme == "wss":
								p = startedUntil(t, x.refused, start)
							default: // upstream's says by HTTP/2 only that it could not send, and gives the start up
								p = start()
								p.exit(t, 4*limit)
							}
							if x.refused != "" && (p.count("client connected") > 0 || d.server == ours && s.count("connection opened") > opened) {
								t.Errorf("%s: it is connected", x.name)
							}
							p.kill() // upstream's does not hear signals at once
						}
						s.quit(t)
					})
				}
			}
		}
	}
}

// Who is none of accepted_spiffe_ids is refused in the handshake, and a server that is needs no name. Rules: P-spiffe-6.
func TestSPIREPeersByID(t *testing.T) {
	t.Parallel()
	r := startRealm(t, time.Hour, time.Hour)
	r.start()
	r.ready()
	s := r.node(ours, "example-server.yaml", freePort(t), "trust_domains: [example.org]", "accepted_spiffe_ids: ['spiffe://example.org/other']")
	s.start(t)
	for _, k := range []kind{ours, upstream} {
		d := r.node(k, "example-client.yaml", s.port)
		p := spawn(t, string(k)+" client", nil, d.kind.program(t), "--config", d.config)
		s.expectLine(t, "none of accepted_spiffe_ids", 0)
		p.kill()
	}
	s.quit(t)
	s = r.node(ours, "example-server.yaml", s.port, "trust_domains: [example.org]", "accepted_spiffe_ids: ['spiffe://example.org/*']")
	s.start(t)
	for _, k := range []kind{ours, upstream} {
		connected := s.count("connection opened")
		d := r.node(k, "example-client.yaml", s.port)
		if k == ours {
			d = r.node(k, "example-client.yaml", s.port, "server_name: slim.example.org", "server_name: elsewhere.example.org",
				"trust_domains: [example.org]", "accepted_spiffe_ids: ['spiffe://example.org/slim']")
		}
		p := startedUntil(t, "client connected", func() *process {
			return spawn(t, string(k)+" client", nil, d.kind.program(t), "--config", d.config)
		})
		s.expectLine(t, "connection opened", connected)
		p.kill() // upstream's does not hear signals at once
	}
}

// Nodes that start before the agent come together once it is there, and stay so while it is away again. Rules: P-spiffe-7.
func TestSPIREAgentThatComesLater(t *testing.T) {
	t.Parallel()
	r := startRealm(t, time.Hour, time.Hour)
	s := r.node(ours, "example-server.yaml", freePort(t))
	s.start(t)
	s.expectLine(t, "certificates are not there yet", 0)
	d := r.node(ours, "example-client.yaml", s.port)
	p := spawn(t, "client", nil, d.kind.program(t), "--config", d.config)
	p.expectLine(t, "certificates are not there yet", 0)
	r.start()
	p.expectLine(t, "client connected", 0)
	r.agent.kill()
	s.expectLine(t, "the SPIFFE Workload API fails", 1)
	again := spawn(t, "client again", nil, d.kind.program(t), "--config", d.config)
	again.expectLine(t, "certificates are not there yet", 0)
	r.start()
	again.expectLine(t, "client connected", 0)
	if n := p.count("client connected"); n != 1 {
		t.Errorf("the first link was opened %d times", n)
	}
}

// SVIDs are replaced under load, and an authority by another, without a message lost or a link cut: applications on two nodes, whose
// link and whose ways in are by SVIDs that live for seconds. Rules: P-spiffe-5.
func TestSPIRERotationUnderLoad(t *testing.T) {
	t.Parallel()
	r := startRealm(t, 8*time.Second, 8*time.Second)
	r.start()
	r.ready()
	plain := freePort(t)
	s := r.node(ours, "example-server.yaml", freePort(t), append(r.tokens(), "      servers:\n", fmt.Sprintf("      servers:\n        - {endpoint: '127.0.0.1:%d', tls: {insecure: true}}\n", plain))...)
	s.start(t)
	a := &node{process: s.process, kind: ours, port: plain, binding: "enforce"}
	d := r.node(ours, "example-client.yaml", s.port, append(r.tokens(), "server_name:", "connection_type: peer\n          server_name:", "      clients:\n",
		fmt.Sprintf("      servers:\n        - {endpoint: '127.0.0.1:%d', tls: {insecure: true}}\n      clients:\n", freePort(t)))...)
	d.process = spawn(t, "client", nil, d.kind.program(t), "--config", d.config)
	d.expectLine(t, "client connected", 0)
	b := &node{process: d.process, kind: ours, binding: "enforce"}
	if _, err := fmt.Sscanf(between(t, d.config, "127.0.0.1:", "'"), "%d", &b.port); err != nil {
		t.Fatal(err)
	}

	const count = 6000
	echo := b.app(t, "echo", "org/ns/echo", "--quiet")
	sent, _ := a.peer(t, "send", "org/ns/send", "--to", "org/ns/echo", "--count", fmt.Sprint(count), "--rate", "200", "--inflight", "50", "--echo", "--mls").connected(t)
	before := s.count("certificates loaded anew")
	s.expectLine(t, "certificates loaded anew", before+1) // two replacements, then one of the authority
	prepared := regexp.MustCompile(`Authority ID: (\w+)`).FindStringSubmatch(r.ask("localauthority", "x509", "prepare"))
	if prepared == nil {
		t.Fatal("no authority is prepared")
	}
	r.ask("localauthority", "x509", "activate", "-authorityID", prepared[1])
	if !s.await(4*limit, func() bool { return countLines(s.lines, "certificates loaded anew") > before+5 }) {
		t.Fatalf("%s: certificates are not loaded anew", s.label)
	}
	late := r.node(ours, "example-client.yaml", s.port, r.tokens()...) // it trusts both authorities, and shows a certificate of the new
	p := spawn(t, "late client", nil, late.kind.program(t), "--config", late.config)
	p.expectLine(t, "client connected", 0)

	summary := sent.succeed(t)
	if summary.number("received") != count || summary.number("wrong") != 0 || summary.number("failed") != 0 {
		t.Errorf("%v", summary)
	}
	if n := d.count("client connected"); n != 1 {
		t.Errorf("the link was opened %d times", n)
	}
	echo.quit(t)
	t.Logf("%d messages there and back; %d times other certificates or bundles at the listener", count, s.count("certificates loaded anew"))
}

// between returns what stands in a file between two texts, the first time.
func between(t *testing.T, file, from, to string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), from)
	found, _, _ := strings.Cut(rest, to)
	return found
}

// api is the connection to the agent.
func (r *realm) api() *spire.Agent {
	r.t.Helper()
	agents := spire.NewAgents(spire.Options{})
	r.t.Cleanup(agents.Close)
	address, err := spire.Address(r.socket(), func(string) (string, bool) { return "", false })
	if err != nil {
		r.t.Fatal(err)
	}
	a, err := agents.At(address)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// source shows tokens for an audience; pubkey is an app's, nil: that of a node.
func (r *realm) source(audience string, pubkey []byte) *spire.Source {
	r.t.Helper()
	s, err := spire.NewSource(r.api(), spire.SourceOptions{Audiences: []string{audience}, PublicKey: pubkey})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = s.Close() })
	return s
}

func (r *realm) verifier() *spire.Verifier {
	r.t.Helper()
	v, err := spire.NewVerifier(r.api(), spire.VerifierOptions{Audiences: []string{"slim"}})
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

// Tokens of a real agent are taken, renewed before they expire, and judged by a key that replaces another. Rules: P-spiffe-2,
// P-spiffe-4.
func TestSPIRETokens(t *testing.T) {
	t.Parallel()
	r := startRealm(t, time.Hour, 6*time.Second)
	r.start()
	r.ready()
	source, verifier := r.source("slim", []byte{4, 1, 2, 3}), r.verifier()
	ctx, cancel := context.WithTimeout(t.Context(), 4*limit)
	defer cancel()
	seen := map[string]bool{}
	var first *auth.Identity
	activated := 0
	for tick := time.NewTicker(20 * time.Millisecond); len(seen) < 4; <-tick.C {
		began := time.Now()
		shown, err := source.Authorization(ctx)
		if err != nil {
			t.Fatal(err)
		}
		who, err := verifier.Verify(ctx, &auth.Shown{Authorization: shown})
		if err != nil && time.Since(began) > time.Second {
			continue // it may have expired meanwhile
		}
		if err != nil {
			t.Fatal(err) // at every moment what is shown is good
		}
		custom, _ := who.Claims["custom_claims"].(map[string]any)
		if who.Subject != "spiffe://example.org/slim" || custom["pubkey"] != "BAECAw==" {
			t.Fatalf("%+v", who)
		}
		if first == nil {
			first = who
		}
		if seen[shown] = true; len(seen) == 2 && activated == 0 {
			changed := verifier.Changed()
			prepared := regexp.MustCompile(`Authority ID: (\w+)`).FindStringSubmatch(r.ask("localauthority", "jwt", "prepare"))
			if prepared == nil {
				t.Fatal("no key is prepared")
			}
			select {
			case <-changed: // the agent knows the key before it is used: a token by one that it does not know yet is refused
			case <-ctx.Done():
				t.Fatal("the prepared key does not come")
			}
			r.ask("localauthority", "jwt", "activate", "-authorityID", prepared[1])
			activated++
		}
	}
	if err := verifier.Again(ctx, first); err != nil {
		t.Errorf("whose key is still there: %v", err)
	}
	t.Logf("%d tokens in %v, by two keys", len(seen), time.Since(first.Expires.Add(-6*time.Second)).Round(time.Second))
}

// Upstream's listener takes our tokens, and we take those of its nodes and applications. Rules: P-spiffe-2, P-spiffe-3, P-spiffe-4.
func TestSPIRETokensAndUpstream(t *testing.T) {
	t.Parallel()
	r := startRealm(t, time.Hour, time.Hour)
	r.start()
	r.ready()
	block := fmt.Sprintf("auth: {type: spire, socket_path: %s}", r.socket())
	verifier := r.verifier()

	listener := &node{kind: upstream, port: freePort(t), config: filepath.Join(t.TempDir(), "node.yaml"), binding: "enforce"}
	text := strings.Replace(nodeConfig(listener.port, nil), "          tls:", "          "+block+"\n          tls:", 1)
	if err := os.WriteFile(listener.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	listener.start(t)
	for _, c := range []struct {
		audience string // of the token; "": none is shown
		want     int    // HTTP status of a refusal
	}{{"slim", 0}, {"else", 401}, {"", 401}} {
		var o uplink.Options
		if c.audience != "" {
			shown, err := r.source(c.audience, nil).Authorization(within(t))
			if err != nil {
				t.Fatal(err)
			}
			o.Fields = []uplink.Field{{Name: "authorization", Value: shown}}
		}
		conn, err := uplink.Dial(within(t), listener.address(), &o)
		var refused *uplink.StatusError
		switch {
		case err == nil:
			conn.Abort()
			<-conn.Done()
			if c.want != 0 {
				t.Errorf("audience %q: let in", c.audience)
			}
		case c.want == 0 || !errors.As(err, &refused) || refused.HTTP != c.want:
			t.Errorf("audience %q: %v, want status %d", c.audience, err, c.want)
		}
	}

	shown := make(chan string, 16)
	server := &http.Server{Protocols: new(http.Protocols), ReadHeaderTimeout: limit, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		select {
		case shown <- q.Header.Get("authorization"):
		default:
		}
		w.WriteHeader(http.StatusUnauthorized)
	})}
	server.Protocols.SetUnencryptedHTTP2(true)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	dials := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(dials, []byte(nodeConfig(freePort(t), []string{fmt.Sprintf("{endpoint: 'http://%s', tls: {insecure: true}, %s}", ln.Addr(), block)})), 0o600); err != nil {
		t.Fatal(err)
	}
	spawn(t, "upstream dials", nil, upstream.program(t), "--config", dials)
	select {
	case header := <-shown:
		who, err := verifier.Verify(within(t), &auth.Shown{Authorization: header})
		if err != nil || who.Subject != "spiffe://example.org/slim" {
			t.Errorf("of upstream's node: %+v, %v", who, err)
		}
	case <-time.After(4 * limit):
		t.Fatal("upstream's node shows nothing")
	}

	n := startNode(t, ours)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	hears := n.speak(t, "org/ns/hears", key)
	identity := filepath.Join(t.TempDir(), "identity.yaml")
	if err := os.WriteFile(identity, []byte("type: spire\nsocket_path: "+r.socket()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.peer(t, "send", "org/ns/says", "--to", "org/ns/hears", "--identity-config", identity, "--mls").connected(t)
	select {
	case m := <-hears.inbox:
		who, err := verifier.VerifyToken(m.GetPublish().GetHeader().GetIdentity())
		if err != nil || who.Subject != "spiffe://example.org/slim" {
			t.Fatalf("of an application: %+v, %v", who, err)
		}
		custom, _ := who.Claims["custom_claims"].(map[string]any)
		pubkey, _ := custom["pubkey"].(string)
		if b, err := base64.StdEncoding.DecodeString(pubkey); err != nil || len(b) != 65 {
			t.Errorf("its key: %v", custom)
		}
	case <-time.After(4 * limit):
		t.Fatal("an application says nothing")
	}
}

// Nothing of upstream's node starts while the agent is away: the control of TestSPIREAgentThatComesLater.
func TestSPIREAgentAwayAtUpstream(t *testing.T) {
	dir := t.TempDir()
	r := &realm{t: t, dir: dir}
	s := r.node(upstream, "example-server.yaml", freePort(t))
	p := spawn(t, "upstream", nil, s.kind.program(t), "--config", s.config)
	if code := p.exit(t, limit); code == 0 {
		t.Errorf("status %d", code)
	}
	if c, err := net.Dial("tcp", s.address()); err == nil {
		_ = c.Close()
		t.Error("it listens")
	}
}

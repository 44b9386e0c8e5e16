//go:build interop

package interop

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
)

// connectProxy answers CONNECT, whatever the target, with a connection to one address.
type connectProxy struct {
	net.Listener
	to string

	mu       sync.Mutex
	requests []string // guarded by mu: target and Proxy-Authorization
}

// startProxy starts a proxy to to; secure: it is spoken to by HTTPS.
func startProxy(t *testing.T, to string, secure bool) *connectProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if secure {
		ca := certstest.NewIssuer(t, "proxies", false)
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{ca.TLS(certstest.Leaf("proxy"))}})
	}
	p := &connectProxy{Listener: l, to: to}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(c) })
		}
	})
	return p
}

func (p *connectProxy) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	r, err := http.ReadRequest(in)
	if err != nil || r.Method != http.MethodConnect {
		return
	}
	p.mu.Lock()
	p.requests = append(p.requests, r.Host+" "+r.Header.Get("Proxy-Authorization"))
	p.mu.Unlock()
	back, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer back.Close()
	if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); err != nil { // upstream loses what comes with it
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(c, back)
		c.Close()
	}()
	_, _ = io.Copy(back, in)
	back.Close()
	<-done
}

var proxyURL = regexp.MustCompile(`url: (https?)://[a-z.-]+:\d+`)

// TestExampleProxies: through a proxy, spoken to by HTTP and by HTTPS, to a node with TLS whose name only the proxy can
// resolve.
func TestExampleProxies(t *testing.T) {
	for _, e := range allExamples(t) {
		for _, file := range []string{"proxy/http.yaml", "proxy/https.yaml"} {
			for _, d := range directions {
				t.Run(fmt.Sprintf("%s/%s/%s dials %s", e.name, file, d.client, d.server), func(t *testing.T) {
					t.Parallel()
					var proxy *connectProxy
					p := newPlace(t, e, func(name, text string, port [2]int) string {
						if name != file {
							return text
						}
						proxy = startProxy(t, fmt.Sprintf("127.0.0.1:%d", port[0]), file == "proxy/https.yaml")
						return proxyURL.ReplaceAllString(text, "url: $1://"+proxy.Addr().String())
					})
					server := p.serve(t, d.server, "tls/server-config.yaml")
					client := p.dials(t, d.client, file)
					stopInOrder(t, client, server)
					proxy.mu.Lock()
					defer proxy.mu.Unlock()
					want := fmt.Sprintf(`^[a-z.-]+[a-z]:%d $`, p.port[0])
					if file == "proxy/https.yaml" {
						want = fmt.Sprintf(`^[a-z.-]+[a-z]:%d Basic \w+=*$`, p.port[0])
					}
					// A client that had to wait may have asked again.
					if len(proxy.requests) == 0 || len(proxy.requests) > 3 || slices.ContainsFunc(proxy.requests, func(s string) bool { return !regexp.MustCompile(want).MatchString(s) }) {
						t.Errorf("the proxy was asked for %q, want %s", proxy.requests, want)
					}
				})
			}
		}
	}
}

// TestExampleOfSeveralTransports: applications on upstream's library that come by WebSocket and by gRPC have sessions with
// each other.
func TestExampleOfSeveralTransports(t *testing.T) {
	for _, e := range allExamples(t) {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, e, nil)
			n := &node{process: p.serve(t, ours, "multi-transport/server-config.yaml"), kind: ours, port: p.port[1], binding: "enforce"}
			n.await(limit, func() bool { return countLines(n.lines, "dataplane server started") == 2 })
			web := n.by(way{endpoint: fmt.Sprintf("ws://127.0.0.1:%d", p.port[0])})
			for i, of := range [][2]*node{{n, web}, {web, n}} {
				b := of[0].app(t, "echo", fmt.Sprint(bob, i))
				wantAnswers(t, of[1].run(t, "send", fmt.Sprint(alice, i), sendArgs(b.name, 20, true)...), 20)
				wantSession(t, b, 20)
				b.quit(t)
			}
			stopInOrder(t, n.process)
		})
	}
}

// TestExampleOfPostQuantumKeys: a node of either kind agrees on the hybrid key exchange with the other; OpenSSL without it is
// refused.
func TestExampleOfPostQuantumKeys(t *testing.T) {
	for _, e := range allExamples(t) {
		for _, d := range directions {
			t.Run(fmt.Sprintf("%s/%s dials %s", e.name, d.client, d.server), func(t *testing.T) {
				t.Parallel()
				// The same policy at the client: upstream's dialler keeps to it in the negotiation of the link, too.
				p := newPlace(t, e, func(name, text string, _ [2]int) string {
					if name == "tls/client-config.yaml" {
						return strings.Replace(text, "dataplane:", "dataplane:\n      enforce_pqc: true", 1)
					}
					return text
				})
				server := p.serve(t, d.server, "pqc/server-config.yaml")
				client := p.dials(t, d.client, "tls/client-config.yaml")
				for groups, want := range map[string]bool{"X25519": false, "P-256:P-384": false} {
					cmd := exec.Command("openssl", "s_client", "-connect", fmt.Sprintf("127.0.0.1:%d", p.port[0]), "-groups", groups)
					cmd.Stdin = strings.NewReader("")
					out, err := cmd.CombinedOutput()
					if granted := err == nil && !strings.Contains(string(out), "Cipher is (NONE)"); granted != want {
						t.Errorf("OpenSSL with %s: %v\n%s", groups, err, out)
					}
				}
				c, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.port[0]), &tls.Config{InsecureSkipVerify: true})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if s := c.ConnectionState(); s.CurveID != tls.X25519MLKEM768 || s.Version != tls.VersionTLS13 {
					t.Errorf("Go's client agrees on %v, %s", s.CurveID, tls.VersionName(s.Version))
				}
				stopInOrder(t, client, server)
			})
		}
	}
}

var recordTarget = regexp.MustCompile(`^\S+Z +([A-Z]+) .*?(slim\w*(?:::\w+)*): \d+: `)

// TestExampleOfLogging: the two modules of the file are logged, one of them at debug, by both nodes, and no other.
func TestExampleOfLogging(t *testing.T) {
	for _, e := range allExamples(t) {
		for _, k := range []kind{ours, upstream} {
			t.Run(e.name+"/"+string(k), func(t *testing.T) {
				t.Parallel()
				p := newPlace(t, e, nil)
				n := p.serve(t, k, "logging/example-config.yaml")
				other := map[kind]kind{ours: upstream, upstream: ours}[k]
				client := p.dials(t, other, "base/client-config.yaml")
				if k == ours { // which says so a moment later
					n.expectLine(t, "connection opened", 0)
				}
				stopInOrder(t, client)
				n.kill() // that it has started is not logged
				found := map[string]bool{}
				for _, line := range n.lines {
					m := recordTarget.FindStringSubmatch(line)
					if m == nil {
						continue
					}
					module := "other " + m[2]
					for _, of := range []string{"slim_service::service", "slim_datapath"} {
						if strings.HasPrefix(m[2], of) {
							module = of
						}
					}
					found[module+" "+m[1]] = true
				}
				for key := range found {
					if strings.HasPrefix(key, "other") || key == "slim_datapath DEBUG" || strings.HasSuffix(key, "TRACE") {
						t.Errorf("%s is logged", key)
					}
				}
				want := []string{"slim_service::service DEBUG", "slim_service::service INFO"}
				if k == ours { // upstream says nothing of the connection at info
					want = append(want, "slim_datapath INFO")
				}
				for _, key := range want {
					if !found[key] {
						t.Errorf("%s is not logged: %v", key, found)
					}
				}
			})
		}
	}
}

// correct makes a file that this node, or upstream's, refuses into one that loads: what the node refuses as not supported yet
// is left out, or replaced where nothing could stand there. It returns what that was.
func (p *place) correct(t *testing.T, file string, change func(root map[string]any)) (refused []string) {
	t.Helper()
	path := filepath.Join(p.dir, "config", file)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = bytes.ReplaceAll(b, []byte("${file:config/"), []byte("${file:"+p.dir+"/config/")) // the test runs elsewhere
	var root map[string]any
	if err := yaml.Unmarshal(b, &root); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(root)
	}
	env := func(name string) (string, bool) { return strings.Repeat("x", 32), true }
	for range 20 {
		if b, err = yaml.Marshal(root); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := config.Load(path, env)
		var e *config.Error
		if !errors.As(err, &e) {
			return refused
		}
		for _, r := range e.Reasons {
			if !strings.HasPrefix(r.Text, "not supported yet: ") {
				t.Fatalf("the corrected copy: %v", err)
			}
			refused = append(refused, r.Path)
			replace(root, r.Path)
		}
	}
	t.Fatalf("%s: there is no end to what is not supported", file)
	return nil
}

// replace takes the key of a path out of a tree; certificates of a workload API become those of files.
func replace(root map[string]any, path string) {
	var at any = root
	steps := regexp.MustCompile(`\w[^.\[\]]*`).FindAllString(path, -1)
	for _, step := range steps[:len(steps)-1] {
		switch n := at.(type) {
		case map[string]any:
			at = n[step]
		case []any:
			i, _ := strconv.Atoi(step)
			at = n[i]
		}
	}
	last := steps[len(steps)-1]
	in := at.(map[string]any)
	files := func(kv ...string) map[string]any {
		m := map[string]any{"type": "file"}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = "./config/crypto/" + kv[i+1]
		}
		return m
	}
	delete(in, last)
	switch {
	case last == "source" && strings.Contains(path, "servers"):
		in[last] = files("cert", "server-cert.pem", "key", "server-key.pem")
	case last == "source":
		in[last] = files("cert", "client-cert.pem", "key", "client-key.pem")
	case last == "ca_source":
		in[last] = files("path", "server-ca-cert.pem")
	case last == "client_ca":
		in[last] = files("path", "client-ca-cert.pem")
	}
}

// TestRefusedExamples: what upstream's node refuses, ours refuses with the same words; it goes on to say where.
func TestRefusedExamples(t *testing.T) {
	dir := os.Getenv("SLIM_UPSTREAM_CONFIG")
	if dir == "" {
		t.Log("SLIM_UPSTREAM_CONFIG is not set: there is nothing that upstream refuses")
		return
	}
	for _, file := range []string{"reference/config.yaml", "control-plane/config.yaml", "telemetry/docker-compose.yml",
		"telemetry/otel-collector-config.yml", "telemetry/prometheus.yml"} {
		said := map[kind]string{}
		for _, k := range []kind{upstream, ours} {
			cmd := exec.Command(k.program(t), "--config", filepath.Join(dir, file))
			cmd.Env = append(os.Environ(), "RUST_BACKTRACE=0")
			var errs bytes.Buffer
			cmd.Stderr = &errs
			if err := cmd.Run(); cmd.ProcessState.ExitCode() != 1 {
				t.Fatalf("%s: %s: %v", k, file, err)
			}
			var lines []string
			for line := range strings.Lines(errs.String()) {
				line = strings.TrimSpace(line)
				if _, rest, ok := strings.Cut(line, "0: "); ok {
					line = rest
				}
				if line != "" && len(lines) < 3 && !strings.HasPrefix(line, "warning: ") && !strings.Contains(line, "meter provider") {
					lines = append(lines, line)
				}
			}
			said[k] = strings.Join(lines, " | ")
		}
		if said[ours] != said[upstream] {
			t.Errorf("%s:\n got %s\nwant %s", file, said[ours], said[upstream])
		}
	}
}

// TestCorrectedExamples runs what is refused, as a corrected copy: our node starts with it and stops in order.
func TestCorrectedExamples(t *testing.T) {
	for _, e := range allExamples(t) {
		for _, file := range []string{
			"telemetry/server-config.yaml",
		} {
			t.Run(e.name+"/"+file, func(t *testing.T) {
				t.Parallel()
				p := newPlace(t, e, nil)
				if refused := p.correct(t, file, nil); len(refused) == 0 {
					t.Errorf("%s is not refused: it belongs to another test", file)
				}
				n := p.run(t, ours, file, "PASSWORD=password", "CLIENT_SECRET=password")
				stopInOrder(t, n)
			})
		}
	}
}

// TestBackoffExamples: a node whose control plane is not there serves all the same, and stops in order. Upstream's waits for it at the
// start. Rules: P-ctl-2.
func TestBackoffExamples(t *testing.T) {
	for _, e := range allExamples(t) {
		for _, file := range []string{"exponential-backoff/config.yaml", "fixed-interval-backoff/config.yaml"} {
			t.Run(e.name+"/"+file, func(t *testing.T) {
				t.Parallel()
				n := newPlace(t, e, nil).run(t, ours, file)
				n.expectLine(t, "service started", 0)
				stopInOrder(t, n)
			})
		}
	}
}

// TestCorrectedReference: upstream's catalogue of keys, which upstream's own node refuses, runs in both nodes once what is wrong
// in it is put right; it dials the other, and ignored keys are no hindrance. Ours runs without what is not supported yet.
func TestCorrectedReference(t *testing.T) {
	const file = "reference/config.yaml"
	for _, e := range allExamples(t) {
		for _, k := range []kind{ours, upstream} {
			if e.name == "ours" && k == upstream {
				continue // it listens where nobody can: TestReferenceHasEveryKey
			}
			t.Run(e.name+"/"+string(k), func(t *testing.T) {
				t.Parallel()
				p := newPlace(t, e, nil)
				if e.name == "ours" {
					p.correct(t, file, p.ourReference(t))
					stopInOrder(t, p.run(t, ours, file, "PASSWORD=x", "CLIENT_SECRET=x", "REFRESH_TOKEN=x", "REGISTRATION_SECRET=0123456789abcdef0123456789abcdef",
						"SPIFFE_ENDPOINT_SOCKET=unix:///run/spire/agent.sock"))
					return
				}
				other := map[kind]kind{ours: upstream, upstream: ours}[k]
				rest := newPlace(t, e, nil)
				peer := rest.serve(t, other, "base/server-config.yaml")
				p.correct(t, file, func(root map[string]any) {
					root["tracing"].(map[string]any)["opentelemetry"].(map[string]any)["enabled"] = false
					service := root["services"].(map[string]any)["slim/0"].(map[string]any)
					delete(service, "controller")
					dataplane := service["dataplane"].(map[string]any)
					server := dataplane["servers"].([]any)[0].(map[string]any)
					client := dataplane["clients"].([]any)[0].(map[string]any)
					delete(server, "auth")
					delete(client, "auth")
					server["tls"].(map[string]any)["source"] = map[string]any{"type": "file",
						"cert": "./config/crypto/server-cert.pem", "key": "./config/crypto/server-key.pem"}
					client["endpoint"] = fmt.Sprintf("http://127.0.0.1:%d", rest.port[0])
				})
				n := p.dials(t, k, file)
				stopInOrder(t, n, peer)
			})
		}
	}
}

// ourReference makes what our reference names of keys, tokens and policies, and returns a change that makes it runnable: each
// endpoint is one that can be had.
func (p *place) ourReference(t *testing.T) func(root map[string]any) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	certstest.Write(t, filepath.Join(p.dir, "config", "crypto", "jwt"), map[string]string{
		"ecdsa-public.pem": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
		"token":            "e30.e30.e30",
		"refresh":          "once",
	})
	certstest.Write(t, filepath.Join(p.dir, "config"), map[string]string{
		"policy.rego": "package slim.auth\n\nallow if input.claims.team == \"slim\"\n",
		"rules.yaml":  "default: deny\nrules: []\n",
	})
	return func(root map[string]any) {
		for _, s := range root["services"].(map[string]any) {
			if c, ok := s.(map[string]any)["controller"].(map[string]any); ok {
				c["servers"].([]any)[0].(map[string]any)["endpoint"] = fmt.Sprintf("127.0.0.1:%d", freePort(t))
				c["clients"].([]any)[0].(map[string]any)["endpoint"] = fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
			}
			if peers, ok := s.(map[string]any)["peers"].(map[string]any); ok && peers["discovery"].(map[string]any)["type"] == "kubernetes" {
				delete(s.(map[string]any), "peers") // outside a cluster it is refused
			}
			dataplane := s.(map[string]any)["dataplane"].(map[string]any)
			for _, server := range dataplane["servers"].([]any) {
				server.(map[string]any)["endpoint"] = fmt.Sprintf("127.0.0.1:%d", freePort(t))
			}
			clients, _ := dataplane["clients"].([]any)
			for _, client := range clients {
				nobody := fmt.Sprintf("https://127.0.0.1:%d", freePort(t))
				client.(map[string]any)["endpoint"] = nobody
				if proxy, ok := client.(map[string]any)["proxy"].(map[string]any); ok {
					proxy["url"] = nobody
				}
			}
		}
	}
}

//go:build interop

package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/seed31b3bfd0/slimgo/internal/auth/oidc/idptest"
	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
)

// shown is `auth` of a client's example file, and what a listener thinks of it.
type shown struct {
	name   string
	status string // with which it is refused; "": it is let in
	change func(auth map[string]any)
}

func claims(auth map[string]any) map[string]any { return auth["claims"].(map[string]any) }

// become has auth be another one.
func become(auth map[string]any, kv ...any) {
	clear(auth)
	for i := 0; i < len(kv); i += 2 {
		auth[kv[i].(string)] = kv[i+1]
	}
}

// anotherKey has a client sign with a key that is none of the listener's.
func anotherKey(t *testing.T, algorithm string) func(auth map[string]any) {
	t.Helper()
	data := "a secret that is another one, of enough bytes"
	var key any
	var err error
	switch algorithm {
	case "RS256":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	if key != nil {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		data = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	return func(auth map[string]any) { auth["key"].(map[string]any)["key"] = map[string]any{"data": data} }
}

// tokenIn writes a token of these parts into a file, sealed with the secret, or without a signature for none.
func tokenIn(t *testing.T, alg, secret, issuer string, life time.Duration) (file string) {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	token := part(map[string]any{"typ": "JWT", "alg": alg}) + "." +
		part(map[string]any{"iss": issuer, "aud": []string{"slim"}, "exp": time.Now().Add(life).Unix()}) + "."
	if secret != "" {
		h := hmac.New(sha256.New, []byte(secret))
		h.Write([]byte(token[:len(token)-1]))
		token += base64.RawURLEncoding.EncodeToString(h.Sum(nil))
	}
	file = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// ofTokens are what clients of listeners for JSON Web Tokens can show.
func ofTokens(t *testing.T, algorithm string) []shown {
	all := []shown{
		{"as it is", "", func(map[string]any) {}},
		{"another key", "401", anotherKey(t, algorithm)},
		{"another audience", "401", func(a map[string]any) {
			delete(claims(a), "audiences")
			claims(a)["audience"] = []string{"else"}
		}},
		{"another issuer", "401", func(a map[string]any) { claims(a)["issuer"] = "else" }},
		{"no signature", "401", func(a map[string]any) {
			become(a, "type", "static_jwt", "file", tokenIn(t, "none", "", "slim", time.Hour))
		}},
		{"a password", "401", func(a map[string]any) { become(a, "type", "basic", "username", "edge", "password", "x") }},
		{"nothing", "401", func(a map[string]any) { become(a, "type", "none") }},
	}
	if algorithm != "HS256" {
		return all
	}
	sealed := func(life time.Duration) func(a map[string]any) {
		return func(a map[string]any) {
			secret := a["key"].(map[string]any)["key"].(map[string]any)["data"].(string)
			become(a, "type", "static_jwt", "file", tokenIn(t, "HS256", secret, "slim", life))
		}
	}
	return append(all,
		shown{"static", "", sealed(time.Hour)},
		shown{"static, expired", "401", sealed(-2 * time.Minute)},
		shown{"another algorithm", "401", func(a map[string]any) { a["key"].(map[string]any)["algorithm"] = "HS512" }},
	)
}

// edited writes an example file anew, next to the old one, with another endpoint and `auth`, and returns its name.
func (p *place) edited(t *testing.T, file, to, side, name string, change func(endpoint map[string]any)) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(p.dir, "config", file))
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := yaml.Unmarshal(b, &root); err != nil {
		t.Fatal(err)
	}
	dataplane := root["services"].(map[string]any)["slim/0"].(map[string]any)["dataplane"].(map[string]any)
	e := dataplane[side].([]any)[0].(map[string]any)
	e["endpoint"] = to
	change(e)
	if b, err = yaml.Marshal(root); err != nil {
		t.Fatal(err)
	}
	certstest.Write(t, filepath.Join(p.dir, "config", filepath.Dir(file)), map[string]string{name: string(b)})
	return filepath.ToSlash(filepath.Join(filepath.Dir(file), name))
}

// wantNoRefusal wants that a client was let in at once.
func (p *process) wantNoRefusal(t *testing.T, name string) {
	t.Helper()
	if p.count("HTTP status 401")+p.count("HTTP status 403")+p.count("401 Unauthorized")+p.count("403 Forbidden") > 0 {
		t.Errorf("%s: it was refused at first", name)
	}
}

// startedUntil starts a client that makes one attempt until it prints a text, again where it says that this has taken too
// long, three times at most.
func startedUntil(t *testing.T, text string, start func() *process) (client *process) {
	t.Helper()
	for range 3 {
		client = start()
		if client.await(limit, func() bool { return countLines(client.lines, text) > 0 }) {
			return client
		}
		if client.kill(); !client.saysLate() {
			break
		}
	}
	t.Fatalf("%s: no line %q", client.label, text)
	return nil
}

// Every folder of examples that has listeners ask who comes runs as a pair, by gRPC and WebSocket, with either node at both ends: what is
// right is let in, and each thing that is wrong is refused. Memberships that a policy asks for are in TestPolicyPairs, certificates and
// tokens of SPIRE in TestSPIREPairs, TestSPIREPeersByID and TestSPIRETokensAndUpstream, which need an agent. Rules: P-auth-1, P-auth-3, P-jwt-1, P-jwt-11, P-oidc-9, P-pol-2.
func TestAuthPairs(t *testing.T) {
	t.Parallel()
	type folder struct {
		name, server, client string
		variable             string
		listener             func(auth map[string]any)
		shown                []shown
	}
	idp := idptest.New(t)
	member := func(groups ...string) map[string]any { return map[string]any{"groups": groups} }
	idp.Client("edge", "secret", "slim", member("nodes", "slim-node"))
	idp.Client("guest", "secret", "slim", member("guests"))
	idp.Client("other", "secret", "elsewhere", member("nodes", "slim-node"))
	as := func(id string) func(a map[string]any) {
		return func(a map[string]any) { a["issuer_url"], a["client_id"], a["client_secret"] = idp.URL, id, "secret" }
	}
	stays := func(map[string]any) {}
	folders := []folder{
		{"basic-auth", "server-config.yaml", "client-config.yaml", password, stays, []shown{
			{"as it is", "", stays},
			{"another password", "401", func(a map[string]any) { a["password"] = "hunter3" }},
			{"another name", "401", func(a map[string]any) { a["username"] = "else" }},
			{"nothing", "401", func(a map[string]any) { become(a, "type", "none") }},
		}},
		{"oidc-policy-filter", "example-server-config.yaml", "example-client-config.yaml", "CLIENT_SECRET=secret",
			func(a map[string]any) { a["issuer_url"] = idp.URL }, []shown{
				{"as it is, by our provider", "", as("edge")},
				{"no member", "403", as("guest")},
				{"another audience", "401", as("other")},
				{"no signature", "401", func(a map[string]any) {
					become(a, "type", "static_jwt", "file", tokenIn(t, "none", "", idp.URL, time.Hour))
				}},
				{"nothing", "401", func(a map[string]any) { become(a, "type", "none") }},
			}},
	}
	for name, algorithm := range map[string]string{"jwt-auth-hmac": "HS256", "jwt-auth-rsa": "RS256", "jwt-auth-ecdsa": "ES256", "jwt-policy-filter": "HS256"} {
		f := folder{name, "server-config.yaml", "client-config.yaml", password, stays, ofTokens(t, algorithm)}
		if name == "jwt-policy-filter" { // which wants groups that a static token here has not
			f.shown[len(f.shown)-3].status = "403"
			f.shown = append(f.shown, shown{"no groups", "403", func(a map[string]any) { delete(claims(a), "custom_claims") }})
		}
		folders = append(folders, f)
	}
	for _, e := range allExamples(t) {
		for _, f := range folders {
			for _, d := range directions {
				for _, scheme := range []string{"https", "wss"} {
					t.Run(fmt.Sprintf("%s/%s/%s/%s dials %s", e.name, f.name, scheme, d.client, d.server), func(t *testing.T) {
						t.Parallel()
						p := newPlace(t, e, nil)
						listen, dial := fmt.Sprintf("0.0.0.0:%d", p.port[0]), fmt.Sprintf("%s://localhost:%d", scheme, p.port[0])
						if scheme == "wss" {
							listen = "wss://" + listen
						}
						server := p.serve(t, d.server, p.edited(t, f.name+"/"+f.server, listen, "servers", "server.yaml", func(e map[string]any) {
							f.listener(e["auth"].(map[string]any))
						}))
						for i, s := range f.shown {
							opened := server.count("connection opened")
							file := p.edited(t, f.name+"/"+f.client, dial, "clients", fmt.Sprintf("client-%d.yaml", i), func(e map[string]any) {
								s.change(e["auth"].(map[string]any))
								if s.status != "" {
									e["backoff"] = map[string]any{"type": "fixed_interval", "interval": "100ms", "max_attempts": 1}
								}
							})
							start := func() *process { return p.run(t, d.client, file, f.variable) }
							var client *process
							switch {
							case s.status == "":
								client = startedUntil(t, "client connected", start)
								client.wantNoRefusal(t, s.name)
								if d.server == ours {
									server.expectLine(t, "connection opened", opened)
								}
							case scheme == "wss":
								client = startedUntil(t, map[string]string{"401": "401 Unauthorized", "403": "403 Forbidden"}[s.status], start)
							case d.client == ours:
								client = startedUntil(t, "HTTP status "+s.status, start)
							default: // upstream's says by HTTP/2 only that it could not send, and gives the start up
								client = start()
								client.exit(t, 4*limit)
							}
							if s.status != "" && (client.count("client connected") > 0 || d.server == ours && server.count("connection opened") > opened) {
								t.Errorf("%s: it is connected", s.name)
							}
							client.kill()
						}
					})
				}
			}
		}
	}
}

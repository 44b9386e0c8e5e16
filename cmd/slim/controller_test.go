package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/agent"
	"github.com/seed31b3bfd0/slimgo/wire/pb/controllerpb"
)

// serviceOf is the only service of a configuration.
func serviceOf(t *testing.T, text string) *config.Service {
	t.Helper()
	file := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, reasons, _ := config.Check(file, func(string) (string, bool) { return "", false })
	if len(reasons) > 0 {
		t.Fatal(reasons)
	}
	return &c.Services[0]
}

// What a node says of its listeners. Rules: P-ctl-3.
func TestDetailsOfListeners(t *testing.T) {
	for _, x := range []struct{ name, server, want string }{
		{"plain", `tls: {insecure: true}`, `{"endpoint":"0.0.0.0:1"}`},
		{"addresses", `tls: {insecure: true}, metadata: {local_endpoint: "10.0.0.1:2", external_endpoint: "example.org:3"}`,
			`{"endpoint":"10.0.0.1:2","externalEndpoint":"example.org:3"}`},
		{"credentials", `tls: {insecure: true}, auth: {type: basic, username: u, password: p}`, `{"endpoint":"0.0.0.0:1","authMethod":"AUTH_METHOD_BASIC"}`},
		{"TLS in front of it", `tls: {insecure: true}, metadata: {client_config: {tls: {insecure: false}}}`,
			`{"endpoint":"0.0.0.0:1","tlsRequired":true,"metadata":{"client_config":{"tls":{"insecure":false}}}}`},
		{"a client_config without tls", `tls: {source: {type: file, cert: a, key: b}}, metadata: {client_config: {}}`, `{"endpoint":"0.0.0.0:1","metadata":{"client_config":{}}}`},
		{"spire", `tls: {insecure: true}, metadata: {spire_socket_path: /x, trust_domain: td, other: 5}`,
			`{"endpoint":"0.0.0.0:1","tlsRequired":true,"authMethod":"AUTH_METHOD_SPIRE","spireTrustDomain":"td","metadata":{"other":5}}`},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := serviceOf(t, "services: {slim/0: {dataplane: {servers: [{endpoint: '0.0.0.0:1', "+x.server+"}]}, controller: {clients: [{endpoint: 'http://x:1'}]}}}")
			got, err := protojson.Marshal(details(s)[0])
			if err != nil {
				t.Fatal(err)
			}
			if g := strings.ReplaceAll(string(got), " ", ""); g != x.want {
				t.Errorf("got  %s\nwant %s", g, x.want)
			}
			var back controllerpb.ConnectionDetails
			if err := protojson.Unmarshal([]byte(x.want), &back); err != nil {
				t.Error(err)
			}
		})
	}
}

// Which entry a link is dialled with, and what a control plane changes of it. Rules: P-ctl-6.
func TestHowOrderedLinksAreDialled(t *testing.T) {
	const text = `services:
  slim/0:
    dataplane:
      servers: [{endpoint: "127.0.0.1:1", tls: {insecure: true}}]
      clients: [{endpoint: "http://data:80", origin: "http://data"}]
    controller:
      clients: [{endpoint: "http://x:1"}]
      outbound_clients:
        - {endpoint: "https://special", origin: "http://special"}
        - {endpoint: "http://own:5", origin: "http://own"}
`
	for _, x := range []struct{ name, text, endpoint, origin string }{
		{"its own, with the port of the scheme", text, "https://special:443", "http://special"},
		{"its own", text, "http://own:5", "http://own"},
		{"a client of the data plane", text, "http://data", "http://data"},
		{"none", text, "http://own:6", ""},
		{"one for all goes before the data plane's", text + "        - {endpoint: \"\", origin: \"http://all\"}\n", "http://data", "http://all"},
		{"its own goes before the one for all", text + "        - {endpoint: \"\", origin: \"http://all\"}\n", "http://own:5", "http://own"},
	} {
		t.Run(x.name, func(t *testing.T) {
			m := &assembler{s: &service{Service: serviceOf(t, x.text)}}
			got := ""
			if c := m.template(x.endpoint); c != nil {
				got = c.Origin
			}
			if got != x.origin {
				t.Errorf("%s is dialled as %q, want %q", x.endpoint, got, x.origin)
			}
		})
	}
	c := config.Template()
	w := agent.Wanted{Endpoint: "https://h:1", TLS: true, Auth: "spire", TrustDomain: "td", Timeout: time.Second, Backoff: 3 * time.Second,
		Keepalive: &agent.Keepalive{HTTP2: time.Minute}}
	if err := merge(&c, &w); err != nil || c.Endpoint != "https://h:1" || c.TLS.Insecure || c.TLS.Source.Type != "spire" || c.TLS.CA.Spire.TrustDomains[0] != "td" ||
		c.ConnectTimeout != time.Second || c.Backoff.Interval != 3*time.Second || c.Keepalive.HTTP2 != time.Minute {
		t.Errorf("%+v, %v", c, err)
	}
	for _, w := range []agent.Wanted{{Endpoint: "http://h:1", Auth: "spire"}, {Endpoint: "ws://h:1", Auth: "none"}, {Endpoint: "h:1", Auth: "none"}} {
		if err := merge(&c, &w); err == nil {
			t.Errorf("%+v is dialled", w)
		}
	}
}

// A key of the node's own signs what a registration shows; a check finds what a start would refuse. Rules: P-ctl-3.
func TestRegistrationByAKeyOfItsOwn(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(t.TempDir(), "own.pem")
	if err := os.WriteFile(good, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ name, key, want string }{
		{"good", "{file: " + good + "}", ""},
		{"no key", "{data: x}", "services.slim/0.auth.private_key: invalid Ed25519 key: "},
		{"no file", "{file: " + good + ".none}", "services.slim/0.auth.private_key: "},
	} {
		t.Run(x.name, func(t *testing.T) {
			text := "services: {slim/0: {domain_name: d, node_id: n, dataplane: {servers: [{endpoint: '127.0.0.1:0', tls: {insecure: true}}]}, " +
				"controller: {clients: [{endpoint: 'http://x:1'}]}, auth: {type: jwt, private_key: " + x.key + ", trusted_keys: {file: none}}}}"
			file := filepath.Join(t.TempDir(), "node.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			code, out := checked(t, "--strict", file)
			if (code == 0) != (x.want == "") || !strings.Contains(out, x.want) {
				t.Errorf("config check: %d, %s; want %q", code, out, x.want)
			}
			r := newRig()
			m := &assembler{p: &r.program, c: &config.Config{File: file}, s: &service{Service: serviceOf(t, text)}, x: &controller{}}
			defer m.x.free()
			var o agent.Options
			if err := m.registration(&o); err != nil {
				if x.want == "" || !strings.Contains(err.Error(), x.want) {
					t.Errorf("%v; want %q", err, x.want)
				}
				return
			}
			shown, err := o.Credentials(t.Context())
			if parts := strings.Split(shown, "."); err != nil || len(parts) != 3 || strings.Contains(shown, " ") {
				t.Errorf("it shows %q, %v", shown, err)
			}
		})
	}
}

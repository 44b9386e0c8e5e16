package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth/spire/spiretest"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// svid is the configuration of an app that is a workload of d, and trusts node.
func svid(t *testing.T, d *spiretest.Domain, id string, node *spiretest.Domain) *tls.Config {
	t.Helper()
	s := d.Sign(t, spiretest.Leaf(t, id))
	key, err := x509.ParsePKCS8PrivateKey(s.X509SvidKey)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{RootCAs: node.Roots(), ServerName: "localhost", Certificates: []tls.Certificate{{Certificate: [][]byte{s.X509Svid}, PrivateKey: key}}}
}

// shakes reports whether a handshake succeeds, and with whom. In TLS 1.3 a client hears later that it was refused: it waits for what
// the node says first.
func shakes(t *testing.T, addr string, c *tls.Config) (id string, err error) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	s := tls.Client(nc, c)
	if err := s.Handshake(); err != nil {
		return "", err
	}
	if _, err := s.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		return "", err
	}
	if _, err := s.Read(make([]byte, 1)); err != nil {
		return "", err
	}
	return s.ConnectionState().PeerCertificates[0].URIs[0].String(), nil
}

// A node starts though the agent is away, says so, refuses by TLS until the agent is there, and needs no restart; then certificates and
// bundles take effect as they change, while connections that are open go on, but for those of a trust domain that is gone.
// Rules: P-spiffe-5, P-spiffe-7, P-spiffe-8.
func TestSPIRE(t *testing.T) {
	t.Parallel() // it waits for most of its time
	d, partner, api := spiretest.NewDomain(t, "a.org"), spiretest.NewDomain(t, "b.org"), spiretest.New(t)
	block := fmt.Sprintf("type: spire, socket_path: %s, trust_domains: [b.org]", api.Path())
	r := startReloading(t, serviceText([]string{fmt.Sprintf("{endpoint: '127.0.0.1:0', tls: {source: {%s}, client_ca: {%s}}}", block, block)}, nil))
	lines := strings.Join(r.await("dataplane server started"), "\n")
	if !strings.Contains(lines, "the SPIFFE Workload API fails") || strings.Contains(lines, "certificates loaded") {
		t.Errorf("at the start:\n%s", lines)
	}
	r.await("certificates are not there yet: TLS fails until they are")
	addr := r.nodes[0].Addrs()[0].String()
	app := svid(t, d, "spiffe://a.org/app", d)
	if _, err := shakes(t, addr, app); err == nil {
		t.Error("a handshake without a certificate succeeds")
	}
	r.await("no certificate yet from the Workload API at unix://" + api.Path())

	api.X509(d.X509(t, "spiffe://a.org/one", partner))
	api.Start()
	r.await("certificates loaded anew")
	if id, err := shakes(t, addr, app); id != "spiffe://a.org/one" || err != nil {
		t.Errorf("once the agent is there: %q, %v", id, err)
	}
	stays, goes := join(t, addr, svid(t, d, "spiffe://a.org/late", d)), join(t, addr, svid(t, partner, "spiffe://b.org/app", d))
	name := wire.Text("org", "ns", "app").WithID(7, 1)
	stays.names(t, name)
	other := join(t, addr, app)
	if err := other.say(t.Context(), name, 0); err != nil {
		t.Fatal(err)
	}
	stays.await(t, 1)

	api.X509(d.X509(t, "spiffe://a.org/two"))
	if l := r.await("certificates loaded anew"); !strings.Contains(l[len(l)-1], `subject="spiffe://a.org/two"`) && !strings.Contains(l[len(l)-1], "subject=spiffe://a.org/two") {
		t.Errorf("logged: %s", l[len(l)-1])
	}
	if id, err := shakes(t, addr, app); id != "spiffe://a.org/two" || err != nil {
		t.Errorf("after a rotation: %q, %v", id, err)
	}
	if _, err := shakes(t, addr, svid(t, partner, "spiffe://b.org/app", d)); err == nil {
		t.Error("one of a trust domain that has vanished is let in")
	}
	select {
	case <-goes.Done():
	case <-time.After(hang):
		t.Error("a connection of a trust domain that has vanished goes on")
	}
	until(t, "it is counted", func() bool { return r.nodes[0].Stats().Refused[router.ReasonRevoked] == 1 })
	api.Stop()
	r.await("the SPIFFE Workload API fails")
	if id, err := shakes(t, addr, app); id != "spiffe://a.org/two" || err != nil {
		t.Errorf("while the agent is away: %q, %v", id, err)
	}
	if err := other.say(t.Context(), name, 1); err != nil {
		t.Fatal(err)
	}
	stays.await(t, 2)

	r.reload(serviceText([]string{plain("127.0.0.1:0")}, nil), "configuration loaded anew")
	if a, err := r.agents.At("unix://" + api.Path()); err != nil || a == nil {
		t.Errorf("an agent that nobody named any more cannot be named again: %v", err)
	}
}

// What no agent can mend is refused at the start, and by slim config check, which asks none.
func TestSPIREThatIsWrong(t *testing.T) {
	const s0 = "node.yaml:6:"
	for text, want := range map[string]string{
		"source: {type: spire, socket_path: unix://run/a.sock}":      ".tls.source.socket_path: socket_path \"unix://run/a.sock\": URI must not include an authority",
		"source: {type: spire}":                                      ".tls.source.socket_path: socket_path is absent and SPIFFE_ENDPOINT_SOCKET is not set",
		"source: {type: spire, socket_path: /a, trust_domains: [A]}": ".tls.source.trust_domains: \"A\" is no trust domain",
		"source: {type: spire, socket_path: /a}, client_ca: {type: spire, socket_path: /a, accepted_spiffe_ids: [x]}":                    ".tls.client_ca.accepted_spiffe_ids: \"x\" is no SPIFFE ID",
		"source: {type: spire, socket_path: /a}, client_ca: {type: spire, socket_path: /a, accepted_spiffe_ids: ['spiffe://a.org/x/*']}": "",
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "node.yaml")
		if err := os.WriteFile(file, []byte("services:\n  slim/0:\n    dataplane:\n      enforce_pqc: false\n      servers:\n        - {endpoint: '127.0.0.1:0', tls: {"+text+"}}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out := checked(t, file)
		switch {
		case want == "" && (code != cli.ExitOK || strings.Contains(out, "asked")):
			t.Errorf("%s: %d, %s", text, code, out)
		case want != "" && (code != cli.ExitError || !strings.Contains(out, want) || !strings.Contains(out, s0)):
			t.Errorf("%s: %d, %s", text, code, out)
		}
		if want == "" {
			continue
		}
		r := newRig()
		if code := r.program.run(t.Context(), []string{"--config", file}); code != cli.ExitError || !strings.Contains(r.errs.String(), want) {
			t.Errorf("%s: a start ends with %d, %s", text, code, &r.errs)
		}
	}
}

//go:build interop

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
)

// secured is a node of ours with TLS, and what its clients need.
type secured struct {
	*node
	dir string // of its certificates
	ca  *certstest.Issuer
}

// startSecured starts a node of ours whose listener has the keys of tls, in which DIR stands for the folder of ca.pem,
// cert.pem, key.pem, and those of a client: client-ca.pem, client-cert.pem and client-key.pem. bare: its authorities
// have no basic constraints, as those of upstream's examples.
func startSecured(t *testing.T, bare bool, settings string, change ...func(string) string) *secured {
	t.Helper()
	dir := t.TempDir()
	ca, clients := certstest.NewIssuer(t, "servers", bare), certstest.NewIssuer(t, "clients", bare)
	files := map[string]string{"ca.pem": ca.PEM, "client-ca.pem": clients.PEM}
	files["cert.pem"], files["key.pem"] = ca.Pair("node")
	files["client-cert.pem"], files["client-key.pem"] = clients.Pair("app")
	certstest.Write(t, dir, files)
	n := &node{kind: ours, port: freePort(t), config: filepath.Join(dir, "node.yaml"), binding: "enforce"}
	text := strings.ReplaceAll(nodeConfig(n.port, nil), "insecure: true", "source: {type: file, cert: DIR/cert.pem, key: DIR/key.pem}"+settings)
	for _, f := range change {
		text = f(text)
	}
	if err := os.WriteFile(n.config, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	return &secured{n, dir, ca}
}

// link is an entry of dataplane.clients that dials n with the keys of tls.
func (n *secured) link(settings string) string {
	return fmt.Sprintf("{endpoint: 'https://localhost:%d', tls: {%s}}", n.port, strings.ReplaceAll(settings, "DIR", n.dir))
}

// Upstream's node dials ours with what its tls, mtls and pqc examples show.
func TestUpstreamDialsByTLS(t *testing.T) {
	const (
		trust  = "ca_source: {type: file, path: DIR/ca.pem}"
		source = ", source: {type: file, cert: DIR/client-cert.pem, key: DIR/client-key.pem}"
		demand = "\n            client_ca: {type: file, path: DIR/client-ca.pem}"
		old    = "\n            tls_version: tls1.2"
	)
	for _, c := range []struct {
		name, server, client string
		says                 string // in our log; empty: it is connected
	}{
		{"tls", "", trust, ""},
		{"tls 1.2", old, trust + ", tls_version: tls1.2", ""},
		{"mtls", demand, trust + source, ""},
		{"anybody's certificate", "", "insecure_skip_verify: true", ""},
		{"mtls without a certificate", demand, trust, "reason=tls_certificate"},
		{"pqc", "", trust, ""},
		{"another version", old, trust, "reason=tls_mismatch"},
		{"another authority", "", "ca_source: {type: file, path: DIR/client-ca.pem}", "reason=tls_refused_by_peer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			pqc := func(text string) string {
				if c.name == "pqc" {
					text = strings.Replace(text, "dataplane:", "dataplane:\n      enforce_pqc: true", 1)
				}
				return text
			}
			n := startSecured(t, true, c.server, pqc)
			m := &node{kind: upstream, port: freePort(t), config: filepath.Join(t.TempDir(), "node.yaml"), binding: "enforce"}
			if err := os.WriteFile(m.config, []byte(pqc(nodeConfig(m.port, []string{n.link(c.client)}))), 0o600); err != nil {
				t.Fatal(err)
			}
			m.start(t)
			if c.says != "" {
				n.expectLine(t, c.says, 0)
				return
			}
			m.expectLine(t, "client connected", 0)
			n.expectLine(t, "connection opened", 0)
		})
	}
}

// TestH2SpecByTLS is TestH2SpecOnTheNode by TLS.
func TestH2SpecByTLS(t *testing.T) {
	n := startSecured(t, false, "")
	passesH2Spec(t, "-t", "-k", "-h", "localhost", "-p", strconv.Itoa(n.port))
}

// What OpenSSL's client is granted and refused.
func TestOpenSSL(t *testing.T) {
	modern, old := startSecured(t, false, ""), startSecured(t, false, "\n            tls_version: tls1.2")
	for _, c := range []struct {
		node *secured
		args string
		want string // in the output; empty: refused
	}{
		{modern, "", "TLSv1.3"},
		{modern, "-alpn h2", "ALPN protocol: h2"},
		{modern, "-alpn http/1.1", "No ALPN negotiated"},
		{modern, "-groups X25519", "X25519, 253 bits"},
		{modern, "-groups P-256", "prime256v1, 256 bits"},
		{modern, "-groups P-384", "secp384r1, 384 bits"},
		{modern, "-groups P-521", ""},
		{modern, "-ciphersuites TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"},
		{modern, "-ciphersuites TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"},
		{modern, "-tls1_2", ""},
		{modern, "-tls1_1 -cipher DEFAULT@SECLEVEL=0", ""},
		{old, "-tls1_2", "TLSv1.2"},
		{old, "-tls1_3", ""},
		{old, "-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"},
		{old, "-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305"},
		{old, "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA", ""},
		{old, "-tls1_1 -cipher DEFAULT@SECLEVEL=0", ""},
	} {
		args := append([]string{"s_client", "-connect", c.node.address(), "-servername", "localhost", "-verify_return_error",
			"-CAfile", filepath.Join(c.node.dir, "ca.pem")}, strings.Fields(c.args)...)
		cmd := exec.Command("openssl", args...)
		cmd.Stdin = strings.NewReader("")
		out, err := cmd.CombinedOutput()
		granted := err == nil && !strings.Contains(string(out), "Cipher is (NONE)")
		if granted != (c.want != "") || !strings.Contains(string(out), c.want) {
			t.Errorf("openssl s_client %s: %v\n%s\nwant %q", c.args, err, out, c.want)
		}
	}
}

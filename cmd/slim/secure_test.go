package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
)

// tlsConfig writes a configuration of listeners into dir, and returns its path. Who connects has long to say something.
func tlsConfig(t *testing.T, dir, pqc string, servers ...string) string {
	t.Helper()
	text := "runtime: {drain_timeout: 2m}\nservices:\n  slim/0:\n    dataplane:\n      enforce_pqc: " + pqc + "\n      servers:\n"
	for _, s := range servers {
		text += "        - {endpoint: '127.0.0.1:0', tls: " + strings.ReplaceAll(s, "<DIR>", dir) + ", negotiation_timeout_secs: 110}\n"
	}
	certstest.Write(t, dir, map[string]string{"node.yaml": text})
	return filepath.Join(dir, "node.yaml")
}

const (
	files   = "source: {type: file, cert: <DIR>/cert.pem, key: <DIR>/key.pem}"
	clients = "client_ca: {type: file, path: <DIR>/clients.pem}"
)

func TestCertificatesReachTheNode(t *testing.T) {
	dir, ca := t.TempDir(), certstest.NewIssuer(t, "ca", false)
	cert, key := ca.Pair("node")
	certstest.Write(t, dir, map[string]string{"cert.pem": cert, "key.pem": key, "clients.pem": ca.PEM})
	text := fmt.Sprintf("{source: {type: pem, cert: %q, key: %q}, client_ca: {type: pem, data: %q}}", cert, key, ca.PEM)
	r := newRig()
	if code := r.program.run(context.Background(), []string{"--config", tlsConfig(t, dir, "false",
		"{"+files+"}", "{insecure: true}", "{"+files+", "+clients+", tls_version: tls1.2}", text)}); code != cli.ExitOK {
		t.Fatalf("exit %d: %s", code, &r.errs)
	}
	o := r.options[0]
	if len(o.TLS) != 4 || o.TLS[1] != nil {
		t.Fatalf("%v", o.TLS)
	}
	for i, want := range map[int]*tls.Config{
		0: {MinVersion: tls.VersionTLS13}, 2: {MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert},
		3: {MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert},
	} {
		c, err := o.TLS[i].GetConfigForClient(&tls.ClientHelloInfo{SupportedProtos: []string{"h2"}})
		if err != nil || c.MinVersion != want.MinVersion || c.MaxVersion != want.MinVersion || c.ClientAuth != want.ClientAuth ||
			len(c.Certificates) != 1 || len(c.NextProtos) != 1 || len(c.CurvePreferences) != 4 {
			t.Errorf("listener %d: %+v, %v", i, c, err)
		}
	}
	if n := strings.Count(r.out.String(), "certificates loaded"); n != 3 {
		t.Errorf("%d lines about certificates, want 3:\n%s", n, &r.out)
	}
	r = newRig()
	if code := r.program.run(context.Background(), []string{"--config", tlsConfig(t, dir, "true", "{"+files+"}")}); code != cli.ExitOK {
		t.Fatalf("exit %d: %s", code, &r.errs)
	}
	if c, err := r.options[0].TLS[0].GetConfigForClient(&tls.ClientHelloInfo{}); err != nil || len(c.CurvePreferences) != 1 || c.CurvePreferences[0] != tls.X25519MLKEM768 {
		t.Errorf("post-quantum: %+v, %v", c, err)
	}
}

// What cannot be loaded is said with file, line, column, key, path and reason.
func TestCertificatesThatCannotBeLoaded(t *testing.T) {
	dir, ca := t.TempDir(), certstest.NewIssuer(t, "ca", false)
	cert, key := ca.Pair("node")
	_, other := ca.Pair("other")
	certstest.Write(t, dir, map[string]string{"cert.pem": cert, "key.pem": key, "other.pem": other, "clients.pem": "nothing"})
	for _, c := range []struct{ server, want string }{
		{"{source: {type: file, cert: <DIR>/none.pem, key: <DIR>/key.pem}}", "source.cert: <DIR>/none.pem: no such file or directory"},
		{"{source: {type: file, cert: <DIR>/cert.pem, key: <DIR>/other.pem}}", "source.key: <DIR>/other.pem: private key does not match public key"},
		{"{" + files + ", " + clients + "}", "client_ca.path: <DIR>/clients.pem: no certificate in it: want PEM, which begins with -----BEGIN CERTIFICATE-----"},
	} {
		r := newRig()
		file := tlsConfig(t, dir, "false", c.server)
		code := r.program.run(context.Background(), []string{"--config", file})
		key, _, _ := strings.Cut(c.want, ".")
		column := strings.Index("        - {endpoint: '127.0.0.1:0', tls: "+strings.ReplaceAll(c.server, "<DIR>", dir), key) + 1
		want := fmt.Sprintf("    3: %s:7:%d: services.slim/0.dataplane.servers[0].tls.%s\n", file, column, strings.ReplaceAll(c.want, "<DIR>", dir))
		if code != cli.ExitError || !strings.HasSuffix(r.errs.String(), want) || len(r.options) > 0 {
			t.Errorf("exit %d\n got %s\nwant %s", code, &r.errs, want)
		}
	}
}

// greet connects by TLS and waits for the node's first words.
func (p *process) greet(t *testing.T, c *tls.Config) *tls.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", p.addr, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		t.Fatal(err)
	}
	return conn
}

// pings fails the test unless the node answers a PING.
func pings(t *testing.T, conn *tls.Conn) {
	t.Helper()
	if _, err := conn.Write([]byte("\x00\x00\x08\x06\x00\x00\x00\x00\x00pingpong")); err != nil {
		t.Fatal(err)
	}
	var last [8]byte
	for string(last[:]) != "pingpong" { // at the end of an acknowledgement
		copy(last[:], last[1:])
		if _, err := io.ReadFull(conn, last[7:]); err != nil {
			t.Fatal(err)
		}
	}
}

// A certificate that is replaced is shown to who comes then, at once after a SIGHUP; who is there goes on. A broken one
// changes nothing.
func TestCertificatesAreReplaced(t *testing.T) {
	t.Parallel() // it waits for most of its time
	heedHangups()
	dir, ca := t.TempDir(), certstest.NewIssuer(t, "ca", false)
	put := func(name string) {
		cert, key := ca.Pair(name)
		certstest.Write(t, dir, map[string]string{"cert.pem": cert, "key.pem": key})
	}
	put("first")
	p := launch(t, command(t, "--config", tlsConfig(t, dir, "false", "{"+files+"}")))
	client := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
	conn := p.greet(t, client)
	pings(t, conn)
	shown := func() string {
		c := p.greet(t, client)
		pings(t, c)
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	put("second")
	p.line(t, "certificates loaded anew")
	if got := shown(); got != "second" {
		t.Errorf("%q is shown", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.line(t, "received signal, loading configuration and certificates anew")
	if got := p.line(t, "certificates are not loaded"); !strings.Contains(got, "services.slim/0.dataplane.servers[0].tls.source.key: "+dir) {
		t.Errorf("the log says %s", got)
	}
	if got := shown(); got != "second" {
		t.Errorf("%q is shown after a broken one", got)
	}
	pings(t, conn)
	if _, err := tls.Dial("tcp", p.addr, &tls.Config{ServerName: "localhost", RootCAs: certstest.NewIssuer(t, "ca", false).Pool()}); err == nil {
		t.Error("anybody is trusted")
	}
	if got := p.line(t, "TLS handshake failed"); !strings.Contains(got, "reason=tls_refused_by_peer") {
		t.Errorf("the log says %s", got)
	}
	if code := p.stop(t); code != cli.ExitOK {
		t.Errorf("exit %d", code)
	}
}

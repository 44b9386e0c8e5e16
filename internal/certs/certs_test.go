package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
)

// Rules: P-tls-1, P-tls-4.
func TestVersionsAndKeyExchanges(t *testing.T) {
	ca := newIssuer(t, "ca", false)
	for _, c := range []struct {
		name   string
		server Options
		client func(*tls.Config)
		want   uint16 // 0: refused
		curve  tls.CurveID
	}{
		{"1.3 unless it is said", Options{}, nil, tls.VersionTLS13, tls.X25519MLKEM768},
		{"1.3 refuses 1.2", Options{Version: TLS13}, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }, 0, 0},
		{"1.2 is not 1.3", Options{Version: TLS12}, nil, 0, 0},
		{"1.2 is 1.2", Options{Version: TLS12}, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS13 }, tls.VersionTLS12, tls.X25519},
		{"1.2 refuses what has no forward secrecy or no AEAD", Options{Version: TLS12}, func(c *tls.Config) {
			c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_128_GCM_SHA256}
		}, 0, 0},
		{"X25519 alone", Options{}, curves(tls.X25519), tls.VersionTLS13, tls.X25519},
		{"P-256 alone", Options{}, curves(tls.CurveP256), tls.VersionTLS13, tls.CurveP256},
		{"P-384 alone", Options{}, curves(tls.CurveP384), tls.VersionTLS13, tls.CurveP384},
		{"P-521 is not upstream's", Options{}, curves(tls.CurveP521), 0, 0},
		{"post-quantum only", Options{OnlyPQ: true}, nil, tls.VersionTLS13, tls.X25519MLKEM768},
		{"post-quantum only refuses X25519", Options{OnlyPQ: true}, curves(tls.X25519, tls.CurveP256, tls.CurveP384), 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.server.Own = ca.pair("node")
			cl := ca.client(t, Options{})
			if c.client != nil {
				cl = cl.Clone()
				c.client(cl)
			}
			m := meet(t, server(t, c.server).Server(), cl)
			if got := m.client.Version; got != c.want || m.client.CurveID != c.curve || (m.clientErr == nil) != (c.want != 0) {
				t.Errorf("version %x by %v, %v; want %x by %v", got, m.client.CurveID, m.clientErr, c.want, c.curve)
			}
		})
	}
}

func curves(ids ...tls.CurveID) func(*tls.Config) {
	return func(c *tls.Config) { c.CurvePreferences = ids }
}

// Both of our roles get along, whatever the settings.
func TestOwnClientAndServer(t *testing.T) {
	ca, clients := newIssuer(t, "ca", false), newIssuer(t, "clients", false)
	for _, o := range []Options{{}, {Version: TLS12}, {OnlyPQ: true}} {
		s := o
		s.Own, s.ClientCA, s.Protocols = ca.pair("node"), Authority{Kind: Text, CA: clients.PEM}, []string{"h2"}
		o.Own, o.Protocols = clients.pair("app"), []string{"h2"}
		m := meet(t, server(t, s).Server(), ca.client(t, o))
		if m.clientErr != nil || m.serverErr != nil || m.client.NegotiatedProtocol != "h2" {
			t.Errorf("%+v: %v, %v, protocol %q", o.Version, m.clientErr, m.serverErr, m.client.NegotiatedProtocol)
		} else if got := m.server.PeerCertificates[0].Subject.CommonName; got != "app" {
			t.Errorf("the client is %q", got)
		}
	}
}

// Rules: P-tls-2.
func TestProtocolsAreTakenAndNotDemanded(t *testing.T) {
	ca := newIssuer(t, "ca", false)
	k := server(t, Options{Own: ca.pair("node"), Protocols: []string{"h2"}})
	for _, c := range []struct {
		offered []string
		want    string
	}{{nil, ""}, {[]string{"h2"}, "h2"}, {[]string{"http/1.1", "h2"}, "h2"}, {[]string{"http/1.1"}, ""}, {[]string{"x"}, ""}} {
		m := meet(t, k.Server(), ca.client(t, Options{Protocols: c.offered}))
		if m.clientErr != nil || m.client.NegotiatedProtocol != c.want {
			t.Errorf("offered %q: got %q, %v, want %q", c.offered, m.client.NegotiatedProtocol, m.clientErr, c.want)
		}
	}
}

// Rules: P-tls-3.
func TestAuthoritiesAreTrustedAsTheyAre(t *testing.T) {
	servers, clients := newIssuer(t, "servers", true), newIssuer(t, "clients", true)
	s := server(t, Options{Own: servers.pair("node"), ClientCA: Authority{Kind: Text, CA: clients.PEM}})
	m := meet(t, s.Server(), servers.client(t, Options{Own: clients.pair("app")}))
	if m.clientErr != nil || m.serverErr != nil {
		t.Errorf("client %v, server %v", m.clientErr, m.serverErr)
	}
}

// Rules: P-tls-5.
func TestClientCertificates(t *testing.T) {
	ca, clients, others := newIssuer(t, "ca", false), newIssuer(t, "clients", false), newIssuer(t, "clients", false)
	s := server(t, Options{Own: ca.pair("node"), ClientCA: Authority{Kind: Text, CA: clients.PEM}})
	for _, c := range []struct {
		name string
		own  Pair
		want string // in the server's error; empty: accepted
	}{
		{"of the authority", clients.pair("app"), ""},
		{"none", Pair{}, "didn't provide a certificate"},
		{"of another authority of the same name", others.pair("app"), "unknown authority"},
		{"expired", clients.pairOf(certstest.Expired("late")), "expired"},
	} {
		m := meet(t, s.Server(), ca.client(t, Options{Own: c.own}))
		if c.want == "" && m.serverErr != nil || c.want != "" && (m.serverErr == nil || !strings.Contains(m.serverErr.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, m.serverErr, c.want)
		}
	}
}

// What a client trusts.
func TestServerCertificates(t *testing.T) {
	ca, other := newIssuer(t, "ca", false), newIssuer(t, "ca", false)
	s := server(t, Options{Own: ca.pair("node")})
	for _, c := range []struct {
		name string
		o    Options
		want string // in the client's error
	}{
		{"its authority", Options{CA: Authority{Kind: Text, CA: ca.PEM}, ServerName: "localhost"}, ""},
		{"its authority beside the system's", Options{CA: Authority{Kind: Text, CA: ca.PEM}, SystemCAs: true, ServerName: "localhost"}, ""},
		{"one of several in a file", Options{CA: Authority{Kind: Text, CA: other.PEM + ca.PEM}, ServerName: "localhost"}, ""},
		{"another", Options{CA: Authority{Kind: Text, CA: other.PEM}, ServerName: "localhost"}, "unknown authority"},
		{"nobody", Options{ServerName: "localhost"}, "unknown authority"},
		{"the system's", Options{SystemCAs: true, ServerName: "localhost"}, "unknown authority"},
		{"another name", Options{CA: Authority{Kind: Text, CA: ca.PEM}, ServerName: "elsewhere"}, "not elsewhere"},
		{"anybody", Options{SkipVerify: true, ServerName: "elsewhere"}, ""},
	} {
		k, err := NewClient(c.o)
		if err != nil {
			t.Fatal(err)
		}
		m := meet(t, s.Server(), k.Client())
		if c.want == "" && m.clientErr != nil || c.want != "" && (m.clientErr == nil || !strings.Contains(m.clientErr.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, m.clientErr, c.want)
		}
	}
}

func TestForms(t *testing.T) {
	ca := newIssuer(t, "ca", false)
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := ca.pair("node")
	certstest.Write(t, dir, map[string]string{"cert.pem": file.Cert, "key.pem": file.Key})
	for name, p := range map[string]Pair{
		"PKCS#8":                       ca.pair("node"),
		"SEC 1 behind EC PARAMETERS":   {Kind: Text, Cert: ca.Sign(certstest.Leaf("node"), ec), Key: sec1(t, ec)},
		"PKCS#1":                       {Kind: Text, Cert: ca.Sign(certstest.Leaf("node"), rs), Key: pkcs1(rs)},
		"files":                        {Kind: Files, Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")},
		"certificate and key together": {Kind: Text, Cert: file.Key + file.Cert, Key: file.Key + file.Cert},
	} {
		if m := meet(t, server(t, Options{Own: p}).Server(), ca.client(t, Options{})); m.clientErr != nil {
			t.Errorf("%s: %v", name, m.clientErr)
		}
	}
	// A certificate of an intermediate authority is sent with that one's, so that the root suffices.
	middle := issuer{ca.Below("middle")}
	p := middle.pair("node")
	p.Cert += middle.PEM
	if m := meet(t, server(t, Options{Own: p}).Server(), ca.client(t, Options{})); m.clientErr != nil {
		t.Errorf("chain: %v", m.clientErr)
	}
}

func TestFaultsAreBlamedOnTheirKey(t *testing.T) {
	ca := newIssuer(t, "ca", false)
	good, other := ca.pair("node"), ca.pair("other")
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	certstest.Write(t, dir, map[string]string{"cert.pem": good.Cert, "key.pem": good.Key, "other.pem": other.Key, "empty.pem": "",
		"broken.pem": strings.Replace(good.Cert, "MII", "MIX", 1)})
	const encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
	for _, c := range []struct {
		name string
		o    Options
		key  string
		file string
		text string
	}{
		{"nothing", Options{}, "source", "", "missing server cert or key"},
		{"no such file", Options{Own: Pair{Kind: Files, Cert: at("none.pem"), Key: at("key.pem")}}, "source.cert", at("none.pem"), "no such file"},
		{"a folder", Options{Own: Pair{Kind: Files, Cert: dir, Key: at("key.pem")}}, "source.cert", dir, "is a directory"},
		{"no such key", Options{Own: Pair{Kind: Files, Cert: at("cert.pem"), Key: at("none.pem")}}, "source.key", at("none.pem"), "no such file"},
		{"key of another", Options{Own: Pair{Kind: Files, Cert: at("cert.pem"), Key: at("other.pem")}}, "source.key", at("other.pem"), "private key does not match public key"},
		{"key for certificate", Options{Own: Pair{Kind: Files, Cert: at("key.pem"), Key: at("key.pem")}}, "source.cert", at("key.pem"), "no certificate in it"},
		{"certificate for key", Options{Own: Pair{Kind: Files, Cert: at("cert.pem"), Key: at("cert.pem")}}, "source.key", at("cert.pem"), "private key"},
		{"empty", Options{Own: Pair{Kind: Files, Cert: at("empty.pem"), Key: at("key.pem")}}, "source.cert", at("empty.pem"), "no certificate in it"},
		{"broken", Options{Own: Pair{Kind: Files, Cert: at("broken.pem"), Key: at("key.pem")}}, "source.cert", at("broken.pem"), "certificate 1: "},
		{"encrypted", Options{Own: Pair{Kind: Text, Cert: good.Cert, Key: encrypted}}, "source.key", "", "encrypted with a password"},
		{"authority without one", Options{Own: good, ClientCA: Authority{Kind: Text, CA: good.Key}}, "client_ca.data", "", "no certificate in it"},
		{"no such authority", Options{Own: good, ClientCA: Authority{Kind: Files, CA: at("none.pem")}}, "client_ca.path", at("none.pem"), "no such file"},
		{"version", Options{Own: good, Version: "tls1.1"}, "tls_version", "", "invalid tls version: tls1.1"},
		{"post-quantum 1.2", Options{Own: good, Version: TLS12, OnlyPQ: true}, "tls_version", "", "needs tls1.3"},
	} {
		_, err := NewServer(c.o)
		var e *Error
		if !errors.As(err, &e) || e.Key != c.key || e.File != c.file || !strings.Contains(e.Error(), c.text) {
			t.Errorf("%s: %v, want %s, %s and %q", c.name, err, c.key, c.file, c.text)
		}
		if err != nil && (strings.Count(err.Error(), dir) > 1 || strings.Contains(err.Error(), "PRIVATE KEY-----\n")) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := NewClient(Options{CA: Authority{Kind: Files, CA: at("none.pem")}}); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("client: %v", err)
	}
}

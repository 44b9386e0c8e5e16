package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// issuer makes certificates; the zero values of what it makes are good for an hour.
type issuer struct {
	t    testing.TB
	cert *x509.Certificate
	key  crypto.Signer
	pem  string
}

// newIssuer makes an authority. bare: without basic constraints, as upstream's examples.
func newIssuer(t testing.TB, name string, bare bool) *issuer {
	i := &issuer{t: t, key: newKey(t)}
	c := &x509.Certificate{Subject: pkix.Name{CommonName: name}}
	if bare {
		c.KeyUsage = x509.KeyUsageDigitalSignature
	} else {
		c.IsCA, c.BasicConstraintsValid = true, true
	}
	i.pem = i.make(c, i.key)
	return i
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// make signs c for key and returns PEM. The first is the issuer's own.
func (i *issuer) make(c *x509.Certificate, key crypto.Signer) string {
	i.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		i.t.Fatal(err)
	}
	c.SerialNumber = serial
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent := i.cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), i.key)
	if err != nil {
		i.t.Fatal(err)
	}
	if i.cert == nil {
		if i.cert, err = x509.ParseCertificate(der); err != nil {
			i.t.Fatal(err)
		}
	}
	return encode("CERTIFICATE", der)
}

// pair makes a certificate of that name with its key, as text.
func (i *issuer) pair(name string) Pair {
	key := newKey(i.t)
	return Pair{Text, i.make(&x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"}}, key), pkcs8(i.t, key)}
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkcs8(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return encode("PRIVATE KEY", der)
}

// sec1 is a key as openssl ecparam writes it, with its parameters before it.
func sec1(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return encode("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}) + encode("EC PRIVATE KEY", der)
}

func pkcs1(t testing.TB, key *rsa.PrivateKey) string {
	t.Helper()
	return encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
}

// write writes files and returns their paths.
func write(t testing.TB, dir string, texts map[string]string) {
	t.Helper()
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// met is the outcome of a handshake, as both ends have it.
type met struct {
	server, client       tls.ConnectionState
	serverErr, clientErr error
}

// meet has a server and a client shake hands; the client then reads a byte, and so a ticket if there is one.
func meet(t testing.TB, server, client *tls.Config) (m met) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			m.serverErr = err
			return
		}
		defer func() { _ = c.Close() }()
		s := tls.Server(c, server)
		if m.serverErr = s.Handshake(); m.serverErr == nil {
			m.server = s.ConnectionState()
			_, _ = s.Write([]byte{1})
			_, _ = io.Copy(io.Discard, s)
		}
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cl := tls.Client(c, client)
	if m.clientErr = cl.Handshake(); m.clientErr == nil {
		_, m.clientErr = io.ReadFull(cl, make([]byte, 1))
		m.client = cl.ConnectionState()
	}
	_ = c.Close()
	<-done
	return m
}

// client returns the configuration of a client that trusts i.
func (i *issuer) client(o Options) *tls.Config {
	i.t.Helper()
	o.CA = Authority{Text, i.pem}
	if o.ServerName == "" {
		o.ServerName = "localhost"
	}
	k, err := NewClient(o)
	if err != nil {
		i.t.Fatal(err)
	}
	return k.Client()
}

func server(t testing.TB, o Options) *Keeper {
	t.Helper()
	k, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

package certs

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
)

// issuer is an authority whose pairs are text.
type issuer struct{ *certstest.Issuer }

func newIssuer(t testing.TB, name string, bare bool) issuer {
	t.Helper()
	return issuer{certstest.NewIssuer(t, name, bare)}
}

// pair makes a certificate of that name with its key.
func (i issuer) pair(name string) Pair { return i.pairOf(certstest.Leaf(name)) }

func (i issuer) pairOf(c *x509.Certificate) Pair {
	cert, key := i.PairOf(c)
	return Pair{Kind: Text, Cert: cert, Key: key}
}

// sec1 is a key as openssl ecparam writes it, with its parameters before it.
func sec1(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return certstest.Encode("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}) + certstest.Encode("EC PRIVATE KEY", der)
}

func pkcs1(key *rsa.PrivateKey) string {
	return certstest.Encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
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
func (i issuer) client(t testing.TB, o Options) *tls.Config {
	t.Helper()
	o.CA = Authority{Kind: Text, CA: i.PEM}
	if o.ServerName == "" {
		o.ServerName = "localhost"
	}
	k, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
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

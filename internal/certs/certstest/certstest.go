// Package certstest makes authorities, certificates and keys for tests. All are good from an hour ago for two hours,
// unless a test says otherwise.
package certstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Issuer is an authority.
type Issuer struct {
	t    testing.TB
	key  crypto.Signer
	Cert *x509.Certificate
	PEM  string
}

// NewIssuer makes an authority that signs its own certificate. bare: without basic constraints, as upstream's examples.
func NewIssuer(t testing.TB, name string, bare bool) *Issuer {
	t.Helper()
	c := &x509.Certificate{Subject: pkix.Name{CommonName: name}}
	if bare {
		c.KeyUsage = x509.KeyUsageDigitalSignature
	} else {
		c.IsCA, c.BasicConstraintsValid = true, true
	}
	i := &Issuer{t: t, key: NewKey(t)}
	i.PEM = i.Sign(c, i.key)
	i.Cert = parse(t, i.PEM)
	return i
}

// Below makes an authority whose certificate i signs.
func (i *Issuer) Below(name string) *Issuer { return i.below(name, false) }

// LastBelow makes one below which there may be no further authority.
func (i *Issuer) LastBelow(name string) *Issuer { return i.below(name, true) }

func (i *Issuer) below(name string, last bool) *Issuer {
	i.t.Helper()
	below := &Issuer{t: i.t, key: NewKey(i.t)}
	below.PEM = i.Sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: last}, below.key)
	below.Cert = parse(i.t, below.PEM)
	return below
}

// NewKey makes a key on P-256.
func NewKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func parse(t testing.TB, text string) *x509.Certificate {
	t.Helper()
	b, _ := pem.Decode([]byte(text))
	c, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Leaf returns a certificate of that name for localhost, to be signed.
func Leaf(name string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"}}
}

// Expired returns one that was good until an hour ago.
func Expired(name string) *x509.Certificate {
	c := Leaf(name)
	c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	return c
}

// Sign makes a certificate for the holder of key, as PEM. The first is the issuer's own.
func (i *Issuer) Sign(c *x509.Certificate, key crypto.Signer) string {
	i.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		i.t.Fatal(err)
	}
	c.SerialNumber = serial
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent := i.Cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), i.key)
	if err != nil {
		i.t.Fatal(err)
	}
	return Encode("CERTIFICATE", der)
}

// Encode returns a PEM block.
func Encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// PKCS8 returns a key as PEM.
func PKCS8(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return Encode("PRIVATE KEY", der)
}

// SEC1 returns a key on P-256 as PEM of SEC 1, behind the parameters of its curve, as OpenSSL's ecparam writes it.
func SEC1(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7})
	if err != nil {
		t.Fatal(err)
	}
	return Encode("EC PARAMETERS", p256) + Encode("EC PRIVATE KEY", der)
}

// Pair makes a certificate of that name for localhost and its key, as PEM.
func (i *Issuer) Pair(name string) (cert, key string) { return i.PairOf(Leaf(name)) }

// PairOf signs c for a new key.
func (i *Issuer) PairOf(c *x509.Certificate) (cert, key string) {
	i.t.Helper()
	k := NewKey(i.t)
	return i.Sign(c, k), PKCS8(i.t, k)
}

// TLS signs c for a new key.
func (i *Issuer) TLS(c *x509.Certificate) tls.Certificate {
	i.t.Helper()
	cert, key := i.PairOf(c)
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		i.t.Fatal(err)
	}
	return pair
}

// Pool returns the authority as what is trusted.
func (i *Issuer) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(i.Cert)
	return p
}

// Write writes texts to files of a folder.
func Write(t testing.TB, dir string, texts map[string]string) {
	t.Helper()
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

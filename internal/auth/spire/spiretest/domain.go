// Package spiretest has trust domains and a SPIFFE Workload API for tests: what a SPIRE server signs, and what an agent says of it,
// right or wrong.
package spiretest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
)

// Domain is a trust domain: an authority for certificates, and a key for tokens. Immutable.
type Domain struct {
	Name string
	// KeyID is the kid of the key for tokens.
	KeyID string

	ca     *x509.Certificate
	caKey  *ecdsa.PrivateKey
	chain  []byte // shown after what it signs
	jwtKey *ecdsa.PrivateKey
}

// serial numbers certificates and keys.
var serial atomic.Int64

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	return must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

// NewDomain makes a trust domain. Two of one name have nothing in common.
func NewDomain(t testing.TB, name string) *Domain {
	t.Helper()
	d := &Domain{Name: name, KeyID: fmt.Sprintf("key-%d", serial.Add(1)), caKey: newKey(t), jwtKey: newKey(t)}
	c := &x509.Certificate{SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{Organization: []string{"SPIFFE"}, CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, URIs: []*url.URL{{Scheme: "spiffe", Host: name}}}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, c, c, d.caKey.Public(), d.caKey))
	d.ca = must[*x509.Certificate](t)(x509.ParseCertificate(der))
	return d
}

// Below makes an authority for which that of d vouches, and which is shown with what it signs. change may change it before it is signed;
// nil: does not.
func (d *Domain) Below(t testing.TB, change func(*x509.Certificate)) *Domain {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: "below " + d.Name}, NotBefore: d.ca.NotBefore,
		NotAfter: d.ca.NotAfter, IsCA: true, BasicConstraintsValid: true, KeyUsage: d.ca.KeyUsage}
	if change != nil {
		change(c)
	}
	b := &Domain{Name: d.Name, KeyID: d.KeyID, caKey: newKey(t), jwtKey: d.jwtKey}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, c, d.ca, b.caKey.Public(), d.caKey))
	b.ca = must[*x509.Certificate](t)(x509.ParseCertificate(der))
	b.chain = append(der, d.chain...)
	return b
}

// Bundle is the authorities for certificates, as DER.
func (d *Domain) Bundle() []byte { return d.ca.Raw }

// Roots has the authority for certificates.
func (d *Domain) Roots() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(d.ca)
	return p
}

// Leaf is a certificate of a workload, to be changed before it is signed: good for an hour, for localhost and 127.0.0.1.
func Leaf(t testing.TB, ids ...string) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{Organization: []string{"SPIRE"}},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	for _, id := range ids {
		c.URIs = append(c.URIs, must[*url.URL](t)(url.Parse(id)))
	}
	return c
}

// Sign returns an X509-SVID, of the first URI of c, as an API gives it.
func (d *Domain) Sign(t testing.TB, c *x509.Certificate) *workload.X509SVID {
	t.Helper()
	key := newKey(t)
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, c, d.ca, key.Public(), d.caKey))
	svid := &workload.X509SVID{X509Svid: append(der, d.chain...), X509SvidKey: must[[]byte](t)(x509.MarshalPKCS8PrivateKey(key)), Bundle: d.Bundle()}
	if len(c.URIs) > 0 {
		svid.SpiffeId = c.URIs[0].String()
	}
	return svid
}

// X509 is an answer with one X509-SVID, and the bundles of federated trust domains.
func (d *Domain) X509(t testing.TB, id string, federated ...*Domain) *workload.X509SVIDResponse {
	t.Helper()
	r := &workload.X509SVIDResponse{Svids: []*workload.X509SVID{d.Sign(t, Leaf(t, id))}, FederatedBundles: map[string][]byte{}}
	for _, f := range federated {
		r.FederatedBundles["spiffe://"+f.Name] = f.Bundle()
	}
	return r
}

// Keys is the bundle for tokens.
func (d *Domain) Keys(t testing.TB) []byte {
	t.Helper()
	return must[[]byte](t)(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: d.jwtKey.Public(), KeyID: d.KeyID, Use: "jwt-svid"}}}))
}

// Bundles is an answer with the bundles for tokens of some trust domains.
func Bundles(t testing.TB, domains ...*Domain) *workload.JWTBundlesResponse {
	t.Helper()
	r := &workload.JWTBundlesResponse{Bundles: map[string][]byte{}}
	for _, d := range domains {
		r.Bundles["spiffe://"+d.Name] = d.Keys(t)
	}
	return r
}

// Claims are those of a JWT-SVID that is good for a while.
func Claims(id string, life time.Duration, audiences ...string) map[string]any {
	now := time.Now()
	return map[string]any{"sub": id, "aud": audiences, "iat": now.Unix(), "exp": now.Add(life).Unix()}
}

// Token signs claims, or any payload that is text.
func (d *Domain) Token(t testing.TB, claims any, header ...string) string {
	t.Helper()
	o := (&jose.SignerOptions{}).WithType("JWT")
	kid := d.KeyID
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "kid" {
			kid = header[i+1]
			continue
		}
		o = o.WithHeader(jose.HeaderKey(header[i]), header[i+1])
	}
	s := must[jose.Signer](t)(jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: d.jwtKey, KeyID: kid}}, o))
	b, is := claims.(string)
	if !is {
		b = string(must[[]byte](t)(json.Marshal(claims)))
	}
	return must[string](t)(must[*jose.JSONWebSignature](t)(s.Sign([]byte(b))).CompactSerialize())
}

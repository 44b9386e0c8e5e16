package mls

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

// certificate is one that the key of a client signs for itself.
func certificate(t testing.TB, cs CipherSuite, name string, key *SigningKey) []byte {
	t.Helper()
	curves := map[CipherSuite]elliptic.Curve{2: elliptic.P256(), 5: elliptic.P521(), 7: elliptic.P384()}
	var signer crypto.Signer
	if curve := curves[cs]; curve != nil {
		signer = must[*ecdsa.PrivateKey](t)(ecdsa.ParseRawPrivateKey(curve, key.Bytes()))
	} else {
		signer = ed25519.NewKeyFromSeed(key.Bytes())
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: testTime.Add(-time.Hour),
		NotAfter: testTime.Add(time.Hour), BasicConstraintsValid: true, IsCA: true}
	return must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer))
}

// X.509 credentials carry a group; what does not certify the signature key is refused (RFC 9420, section 5.3).
func TestX509Credentials(t *testing.T) {
	t.Parallel()
	certified := func(c *Config) {
		c.Credential = X509Credential(certificate(t, c.CipherSuite, "x", c.Key), []byte("an issuer that all know"))
		c.Credentials = func(p *Presented) error {
			cert, err := x509.ParseCertificate(p.Credential.Certificates[0])
			if err != nil {
				return err
			}
			return cert.CheckSignatureFrom(cert)
		}
	}
	for _, cs := range []CipherSuite{1, 2, 5, 7} {
		t.Run(cs.String(), func(t *testing.T) {
			c := newCrowd(t, cs, 3, certified)
			key := must[*SigningKey](t)(GenerateSigningKey(cs, nil))
			c.commit(1, CommitOptions{Identity: Identity{Credential: X509Credential(certificate(t, cs, "new", key)), Key: key}})
			c.agree()
		})
	}
	// The same bytes for another algorithm: a key of X25519, of Ed448, on another curve.
	for cs, kinds := range map[CipherSuite][2]string{1: {"\x06\x03\x2b\x65\x70\x03", "\x06\x03\x2b\x65\x6e\x03"}, 3: {"\x06\x03\x2b\x65\x70\x03", "\x06\x03\x2b\x65\x71\x03"},
		2: {"\x2a\x86\x48\xce\x3d\x03\x01\x07\x03", "\x2a\x86\x48\xce\x3d\x03\x01\x06\x03"}, 7: {"\x2b\x81\x04\x00\x22\x03", "\x2b\x81\x04\x00\x23\x03"}} {
		key := must[*SigningKey](t)(GenerateSigningKey(cs, nil))
		der := certificate(t, cs, "x", key)
		if err := checkCertificate(cs, X509Credential(der), key.Public()); err != nil {
			t.Fatal(err)
		}
		other := bytes.Replace(der, []byte(kinds[0]), []byte(kinds[1]), 1)
		if bytes.Equal(other, der) {
			t.Fatalf("%v: the certificate names no such algorithm", cs)
		}
		wantRefusal(t, checkCertificate(cs, X509Credential(other), key.Public()), Invalid, "5.1.2: is for another algorithm than that of "+cs.String())
	}
	if string(certifiedFor(4)) != "\x06\x03\x2b\x65\x71" || string(certifiedFor(5)) != "\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23" {
		t.Error("Ed448 or P-521 has another identifier")
	}
	key := must[*SigningKey](t)(GenerateSigningKey(2, nil))
	good := certificate(t, 2, "x", key)
	for _, c := range []struct {
		name  string
		chain [][]byte
		want  string
	}{
		{"none", nil, "5.3: holds no certificate"},
		{"of another key", [][]byte{certificate(t, 2, "x", must[*SigningKey](t)(GenerateSigningKey(2, nil))), good}, "5.3: is for another key than signature_key"},
		{"cut", [][]byte{good[:len(good)-1]}, "5.3: does not decode"},
		{"with a byte behind", [][]byte{append(bytes.Clone(good), 0)}, "5.3: does not decode"},
		{"that is none", [][]byte{[]byte("certificate")}, "5.3: does not decode"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPerson(t, 2, "p")
			k := p.forgePackage(func(_ *KeyPackage, l *LeafNode) {
				l.Credential, l.Capabilities.Credentials = X509Credential(c.chain...), []CredentialType{CredentialBasic, CredentialX509}
			})
			crowd := newCrowd(t, 2, 2, func(c *Config) { c.Capabilities.Credentials = []CredentialType{CredentialBasic, CredentialX509} })
			listRefused(t, crowd, []Proposal{&Add{k}}, Invalid, c.want)

			p.cfg.Credential = X509Credential(c.chain...)
			_, err := p.cfg.NewKeyPackage()
			wantRefusal(t, err, Invalid, c.want)
		})
	}
}

package auth

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"
	"time"
)

// Whose a certificate is: the first one's. That of an X509-SVID is in TestSubjectsOfCertificates of package spire. Rules: P-auth-4.
func TestOfCertificate(t *testing.T) {
	expires := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	c := &x509.Certificate{Subject: pkix.Name{CommonName: "alice"}, Issuer: pkix.Name{CommonName: "ca"}, NotAfter: expires}
	who := OfCertificate([]*x509.Certificate{c, {Subject: pkix.Name{CommonName: "ca"}}})
	if who == nil || who.Mechanism != MTLS || who.Subject != "CN=alice" || who.Issuer != "CN=ca" || !who.Expires.Equal(expires) || who.Claims != nil {
		t.Errorf("%+v", who)
	}
	if who := OfCertificate(nil); who != nil {
		t.Errorf("no certificate is %+v", who)
	}
}

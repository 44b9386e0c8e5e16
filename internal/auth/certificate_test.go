package auth

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"testing"
	"time"
)

// Whose a certificate is: the one SPIFFE ID it has, else its distinguished name. Rules: P-auth-4.
func TestOfCertificate(t *testing.T) {
	uri := func(all ...string) (us []*url.URL) {
		for _, s := range all {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			us = append(us, u)
		}
		return us
	}
	expires := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tc := range []struct {
		name string
		uris []*url.URL
		want string
	}{
		{"no URI", nil, "CN=alice"},
		{"a SPIFFE ID", uri("spiffe://example.org/alice"), "spiffe://example.org/alice"},
		{"in capitals", uri("SPIFFE://example.org/alice"), "spiffe://example.org/alice"},
		{"two SPIFFE IDs are none", uri("spiffe://example.org/alice", "spiffe://example.org/bob"), "CN=alice"},
		{"a SPIFFE ID beside another URI is none", uri("https://example.org/", "spiffe://example.org/alice"), "CN=alice"},
		{"another URI", uri("https://example.org/alice"), "CN=alice"},
	} {
		c := &x509.Certificate{Subject: pkix.Name{CommonName: "alice"}, Issuer: pkix.Name{CommonName: "ca"}, URIs: tc.uris, NotAfter: expires}
		other := &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, URIs: uri("spiffe://example.org/ca")}
		who := OfCertificate([]*x509.Certificate{c, other})
		if who == nil || who.Mechanism != MTLS || who.Subject != tc.want || who.Issuer != "CN=ca" || !who.Expires.Equal(expires) || who.Claims != nil {
			t.Errorf("%s: %+v, want the subject %q", tc.name, who, tc.want)
		}
	}
	if who := OfCertificate(nil); who != nil {
		t.Errorf("no certificate is %+v", who)
	}
}

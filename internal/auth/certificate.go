package auth

import (
	"crypto/x509"
	"strings"
)

// OfCertificate returns who has proven, in a TLS handshake, to have the first of some certificates; nil: there is none. The
// subject is the SPIFFE ID if it has one, else its distinguished name. Rules: P-auth-4.
func OfCertificate(chain []*x509.Certificate) *Identity {
	if len(chain) == 0 {
		return nil
	}
	c := chain[0]
	who := &Identity{Mechanism: MTLS, Subject: c.Subject.String(), Issuer: c.Issuer.String(), Expires: c.NotAfter}
	if len(c.URIs) == 1 && strings.EqualFold(c.URIs[0].Scheme, "spiffe") {
		who.Subject = c.URIs[0].String()
	}
	return who
}

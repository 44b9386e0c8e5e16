package auth

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
)

// OfCertificate returns who has proven, in a TLS handshake, to have the first of some certificates; nil: there is none. The
// subject is the SPIFFE ID if it is an X509-SVID, else its distinguished name. Rules: P-auth-4.
func OfCertificate(chain []*x509.Certificate) *Identity {
	if len(chain) == 0 {
		return nil
	}
	c := chain[0]
	who := &Identity{Mechanism: MTLS, Subject: c.Subject.String(), Issuer: c.Issuer.String(), Expires: c.NotAfter}
	if id, err := WorkloadID(c); err == nil {
		who.Subject = id
	}
	return who
}

// MaxID bounds a SPIFFE ID, in bytes, and maxDomain the trust domain in it (SPIFFE-ID sections 2.1 and 2.3).
const (
	MaxID     = 2048
	maxDomain = 255
)

// WorkloadID returns the SPIFFE ID of a workload, if its certificate is an X509-SVID, or says why it is none. That an authority of the
// trust domain vouches for it is for others to find out. The ID is judged as it stands in the certificate: a parsed URI may have lost
// what makes it another, such as an empty fragment. Rules: P-auth-4.
func WorkloadID(c *x509.Certificate) (string, error) {
	uris, err := alternativeURIs(c)
	switch {
	case err != nil:
		return "", err
	case len(uris) != 1:
		return "", fmt.Errorf("it has %d URIs, and an X509-SVID has one", len(uris))
	case c.IsCA || c.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return "", errors.New("it may sign certificates or their revocation, and an X509-SVID of a workload may not")
	case c.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return "", errors.New("its key usage is not digitalSignature, as that of an X509-SVID is")
	}
	return uris[0], checkID(uris[0])
}

// checkID says why s is no SPIFFE ID of a workload; nil: it is one.
func checkID(s string) error {
	rest, is := strings.CutPrefix(s, "spiffe://")
	domain, path, _ := strings.Cut(rest, "/")
	switch {
	case !is:
		return errors.New("its URI does not begin with spiffe://")
	case len(s) > MaxID || len(domain) > maxDomain:
		return fmt.Errorf("its SPIFFE ID is longer than %d bytes, or the trust domain in it than %d", MaxID, maxDomain)
	case domain == "" || strings.ContainsFunc(domain, func(r rune) bool { return !inID(r) || r >= 'A' && r <= 'Z' }):
		return errors.New("its SPIFFE ID has no trust domain of lower case letters, digits, dots, hyphens and underscores alone")
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsFunc(part, func(r rune) bool { return !inID(r) }) {
			return errors.New("the path of its SPIFFE ID is missing, or has a part that is empty, a dot or two, or has other characters than " +
				"letters, digits, dots, hyphens and underscores")
		}
	}
	return nil
}

func inID(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_'
}

var oidAlternativeNames = asn1.ObjectIdentifier{2, 5, 29, 17}

// alternativeURIs are the URIs among the alternative names of c, byte by byte (RFC 5280 section 4.2.1.6).
func alternativeURIs(c *x509.Certificate) (uris []string, err error) {
	for i := range c.Extensions {
		if !c.Extensions[i].Id.Equal(oidAlternativeNames) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(c.Extensions[i].Value, &names); err != nil || len(rest) > 0 {
			return nil, errors.New("its alternative names cannot be read")
		}
		for _, n := range names {
			if n.Class == asn1.ClassContextSpecific && n.Tag == 6 {
				uris = append(uris, string(n.Bytes))
			}
		}
	}
	return uris, nil
}

package mls

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
)

// Credential says who holds a signature key (RFC 9420, section 5.3). What it is worth is for the application to say, in
// Config.Credentials.
type Credential struct {
	Type         CredentialType
	Identity     []byte   // of a basic credential
	Certificates [][]byte // of an X.509 credential: DER, the end entity's first
	Data         []byte   // of other types: as it was received, a vector
}

// BasicCredential is a credential that only names its holder.
func BasicCredential(identity []byte) Credential {
	return Credential{Type: CredentialBasic, Identity: identity}
}

// X509Credential is a chain of certificates in DER, the end entity's first.
func X509Credential(chain ...[]byte) Credential {
	return Credential{Type: CredentialX509, Certificates: chain}
}

// Equal compares all fields.
func (c Credential) Equal(o Credential) bool { return bytes.Equal(c.append(nil), o.append(nil)) }

func (c Credential) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(c.Type))
	switch c.Type {
	case CredentialBasic:
		return codec.AppendOpaque(dst, c.Identity)
	case CredentialX509:
		return codec.AppendVector(dst, func(dst []byte) []byte {
			for _, cert := range c.Certificates {
				dst = codec.AppendOpaque(dst, cert)
			}
			return dst
		})
	}
	return codec.AppendOpaque(dst, c.Data)
}

// readCredential reads one. Types that are not known are taken for a vector: whoever registers one that is not would
// make every message with it unreadable.
func readCredential(r *codec.Reader) Credential {
	c := Credential{Type: CredentialType(r.Uint16())}
	switch c.Type {
	case CredentialBasic:
		c.Identity = r.Opaque()
	case CredentialX509:
		r.Vector(maxCertificates, func(r *codec.Reader) { c.Certificates = append(c.Certificates, r.Opaque()) })
	default:
		c.Data = r.Opaque()
	}
	return c
}

// certificateKey is the public key in the subjectPublicKeyInfo of a certificate (RFC 5280, section 4.1) as it stands there, which for the
// algorithms of all suites is how signature keys are encoded.
func certificateKey(der []byte) ([]byte, bool) {
	var cert, tbs, info cryptobyte.String
	var key []byte
	in := cryptobyte.String(der)
	ok := in.ReadASN1(&cert, asn1.SEQUENCE) && in.Empty() &&
		cert.ReadASN1(&tbs, asn1.SEQUENCE) &&
		tbs.SkipOptionalASN1(asn1.Tag(0).Constructed().ContextSpecific()) && // version
		tbs.SkipASN1(asn1.INTEGER) && // serialNumber
		tbs.SkipASN1(asn1.SEQUENCE) && // signature
		tbs.SkipASN1(asn1.SEQUENCE) && // issuer
		tbs.SkipASN1(asn1.SEQUENCE) && // validity
		tbs.SkipASN1(asn1.SEQUENCE) && // subject
		tbs.ReadASN1(&info, asn1.SEQUENCE) &&
		info.SkipASN1(asn1.SEQUENCE) && // algorithm
		info.ReadASN1BitStringAsBytes(&key) && info.Empty()
	return key, ok
}

// checkCertificate: the end entity's certificate is for the signature key (section 5.3). Who issued it is for the application to judge.
func checkCertificate(c Credential, signatureKey []byte) error {
	if c.Type != CredentialX509 {
		return nil
	}
	if len(c.Certificates) == 0 {
		return refuse(Invalid, "5.3", "X.509 credential holds no certificate")
	}
	key, ok := certificateKey(c.Certificates[0])
	switch {
	case !ok:
		return refuse(Invalid, "5.3", "end entity's certificate in a credential does not decode")
	case !bytes.Equal(key, signatureKey):
		return refuse(Invalid, "5.3", "end entity's certificate in a credential is for another key than signature_key")
	}
	return nil
}

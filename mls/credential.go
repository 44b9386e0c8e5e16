package mls

import (
	"bytes"
	"encoding/binary"
	"slices"

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

// Equal compares types, and what credentials of that type hold.
func (c Credential) Equal(o Credential) bool {
	switch {
	case c.Type != o.Type:
		return false
	case c.Type == CredentialBasic:
		return bytes.Equal(c.Identity, o.Identity)
	case c.Type == CredentialX509:
		return slices.EqualFunc(c.Certificates, o.Certificates, bytes.Equal)
	}
	return bytes.Equal(c.Data, o.Data)
}

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

// certificateKey is the public key in the subjectPublicKeyInfo of a certificate (RFC 5280, section 4.1) as it stands
// there, which for the algorithms of all suites is how signature keys are encoded, and what says which algorithm it is
// for.
func certificateKey(der []byte) (key, algorithm []byte, ok bool) {
	var cert, tbs, info, kind cryptobyte.String
	in := cryptobyte.String(der)
	ok = in.ReadASN1(&cert, asn1.SEQUENCE) && in.Empty() &&
		cert.ReadASN1(&tbs, asn1.SEQUENCE) &&
		tbs.SkipOptionalASN1(asn1.Tag(0).Constructed().ContextSpecific()) && // version
		tbs.SkipASN1(asn1.INTEGER) && // serialNumber
		tbs.SkipASN1(asn1.SEQUENCE) && // signature
		tbs.SkipASN1(asn1.SEQUENCE) && // issuer
		tbs.SkipASN1(asn1.SEQUENCE) && // validity
		tbs.SkipASN1(asn1.SEQUENCE) && // subject
		tbs.ReadASN1(&info, asn1.SEQUENCE) &&
		info.ReadASN1(&kind, asn1.SEQUENCE) && // algorithm
		info.ReadASN1BitStringAsBytes(&key) && info.Empty()
	return key, kind, ok
}

// certifiedFor is what an AlgorithmIdentifier holds whose keys are those of a suite: the algorithm's identifier, and
// that of the curve (RFC 8410, section 3; RFC 5480, section 2.1.1).
func certifiedFor(cs CipherSuite) []byte {
	const ecPublicKey = "\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"
	switch cs {
	case P256AES128SHA256P256:
		return []byte(ecPublicKey + "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07")
	case P384AES256SHA384P384:
		return []byte(ecPublicKey + "\x06\x05\x2b\x81\x04\x00\x22")
	case P521AES256SHA512P521:
		return []byte(ecPublicKey + "\x06\x05\x2b\x81\x04\x00\x23")
	case X448AES256SHA512Ed448, X448ChaCha20SHA512Ed448:
		return []byte("\x06\x03\x2b\x65\x71")
	}
	return []byte("\x06\x03\x2b\x65\x70") // Ed25519
}

// checkCertificate: the end entity's certificate is for the signature key (section 5.3), and for the algorithm of the
// suite (section 5.1.2): keys of X25519 look like those of Ed25519. Who issued it is for the application to judge.
func checkCertificate(cs CipherSuite, c Credential, signatureKey []byte) error {
	if c.Type != CredentialX509 {
		return nil
	}
	switch n := len(c.Certificates); {
	case n == 0:
		return refuse(Invalid, "5.3", "X.509 credential holds no certificate")
	case n > maxCertificates:
		return refuse(Limit, "5.3", "X.509 credential holds %d certificates, at most %d are read", n, maxCertificates)
	}
	key, algorithm, ok := certificateKey(c.Certificates[0])
	switch {
	case !ok:
		return refuse(Invalid, "5.3", "end entity's certificate in a credential does not decode")
	case !bytes.Equal(key, signatureKey):
		return refuse(Invalid, "5.3", "end entity's certificate in a credential is for another key than signature_key")
	case !bytes.Equal(algorithm, certifiedFor(cs)):
		return refuse(Invalid, "5.1.2", "end entity's certificate in a credential is for another algorithm than that of %v", cs)
	}
	return nil
}

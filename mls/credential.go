package mls

import (
	"bytes"
	"encoding/binary"

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
		r.Vector(func(r *codec.Reader) { c.Certificates = append(c.Certificates, r.Opaque()) })
	default:
		c.Data = r.Opaque()
	}
	return c
}

package mls

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// KeyPackage is what a client publishes to be added to a group (RFC 9420, section 10). Not to be changed once decoded
// or signed.
type KeyPackage struct {
	Version     ProtocolVersion
	CipherSuite CipherSuite
	InitKey     []byte // HPKE, for the welcome
	Leaf        *LeafNode
	Extensions  Extensions
	Signature   []byte

	raw      []byte
	unsigned int
}

func (k *KeyPackage) appendUnsigned(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(k.Version))
	dst = binary.BigEndian.AppendUint16(dst, uint16(k.CipherSuite))
	dst = codec.AppendOpaque(dst, k.InitKey)
	dst = k.Leaf.append(dst)
	return k.Extensions.append(dst)
}

func (k *KeyPackage) append(dst []byte) []byte {
	if k.raw != nil {
		return append(dst, k.raw...)
	}
	return codec.AppendOpaque(k.appendUnsigned(dst), k.Signature)
}

func readKeyPackage(r *codec.Reader) *KeyPackage {
	start := r.Offset()
	k := &KeyPackage{Version: ProtocolVersion(r.Uint16()), CipherSuite: CipherSuite(r.Uint16()), InitKey: r.Opaque(), Leaf: readLeafNode(r),
		Extensions: readExtensions(r)}
	k.unsigned = r.Offset() - start
	k.Signature = r.Opaque()
	k.raw = r.Since(start)
	return k
}

const keyPackageLabel = "KeyPackageTBS"

func (k *KeyPackage) sign(s *suite.Suite, rand io.Reader, key *suite.SigningKey) error {
	unsigned := k.appendUnsigned(nil)
	sig, err := s.SignWithLabel(rand, key, keyPackageLabel, unsigned)
	if err != nil {
		return err
	}
	k.Signature, k.raw, k.unsigned = sig, codec.AppendOpaque(unsigned, sig), len(unsigned)
	return nil
}

// Ref is its hash, which welcomes call it by (section 5.2).
func (k *KeyPackage) Ref() ([]byte, error) {
	s, ok := suite.Lookup(k.CipherSuite)
	if !ok {
		return nil, refuse(Unsupported, "10.1", "key package of %v", k.CipherSuite)
	}
	return s.RefHash(nil, suite.KeyPackageRef, k.append(nil)), nil
}

// Marshal serialises it as an MLSMessage.
func (k *KeyPackage) Marshal() []byte { return k.append(appendMessageHead(nil, WireKeyPackage)) }

// clone is a copy that shares nothing with k.
func (k *KeyPackage) clone() *KeyPackage { return readKeyPackage(codec.NewReader(k.append(nil))) }

// ParseKeyPackage reads a key package in an MLSMessage.
func ParseKeyPackage(b []byte) (*KeyPackage, error) {
	m, err := ParseMessage(bytes.Clone(b))
	if err != nil {
		return nil, err
	}
	if m.KeyPackage == nil {
		return nil, refuse(Malformed, "10", "message is %v, want a key package", m.WireFormat)
	}
	if m.KeyPackage.Version != MLS10 {
		return nil, refuse(Unsupported, "10", "key package of protocol version %d in a message of version %d", m.KeyPackage.Version, MLS10)
	}
	return m.KeyPackage, nil
}

// checkVersion is the first check of section 10.1: version and suite are the group's.
func (k *KeyPackage) checkVersion(want CipherSuite) error {
	if k.Version != MLS10 {
		return refuse(Unsupported, "10.1", "key package of protocol version %d, the group has %d", k.Version, MLS10)
	}
	if k.CipherSuite != want {
		return refuse(Invalid, "10.1", "key package of %v, the group has %v", k.CipherSuite, want)
	}
	return nil
}

// checkSignature is the third: it verifies with the leaf's key.
func (k *KeyPackage) checkSignature(s *suite.Suite) error {
	v, err := k.Leaf.verifier(s)
	if err != nil {
		return err
	}
	if !s.VerifyWithLabel(v, keyPackageLabel, k.raw[:k.unsigned], k.Signature) {
		return refuse(BadSignature, "10.1", "signature of a key package does not verify")
	}
	return nil
}

// checkExtensions: they are listed in the leaf's capabilities (section 10), which types of the RFC never are: they
// belong elsewhere (section 17.3). Who receives the key package ignores what it does not know, and mls-rs does not
// look.
func (k *KeyPackage) checkExtensions() error {
	for _, x := range k.Extensions {
		if !slices.Contains(k.Leaf.Capabilities.Extensions, x.Type) {
			return refuse(Invalid, "10", "key package with %v, which its capabilities do not list", x.Type)
		}
	}
	return nil
}

// checkInitKey is the fourth: a key of its own, and one that can be used.
func (k *KeyPackage) checkInitKey(s *suite.Suite) error {
	if string(k.InitKey) == string(k.Leaf.EncryptionKey) {
		return refuse(Invalid, "10.1", "init_key of a key package is its encryption_key")
	}
	if err := s.CheckPublicKey(k.InitKey); err != nil {
		return refuseFor(Invalid, "10.1", err, "init_key of a key package")
	}
	return nil
}

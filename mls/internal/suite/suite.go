package suite

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"hash"
	"io"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/hpke"
)

// labelPrefix stands in front of all labels.
const labelPrefix = "MLS 1.0 "

// Suite is one cipher suite. Immutable and shared; all methods are safe for concurrent use.
type Suite struct {
	id   ID
	hpke *hpke.Scheme
	kdf  *hpke.KDF
	aead *hpke.AEAD
	sig  Signer
}

// ID is its number.
func (s *Suite) ID() ID { return s.id }

// HashSize is Nh, the length of hashes and secrets.
func (s *Suite) HashSize() int { return s.kdf.Size() }

// KeySize is Nk, the length of AEAD keys.
func (s *Suite) KeySize() int { return s.aead.KeySize() }

// NonceSize is Nn, the length of AEAD nonces.
func (s *Suite) NonceSize() int { return hpke.NonceSize }

// TagSize is what the AEAD adds.
func (s *Suite) TagSize() int { return hpke.TagSize }

// NewHash is a new hash.
func (s *Suite) NewHash() hash.Hash { return s.kdf.New() }

// Hash appends the hash of data to dst.
func (s *Suite) Hash(dst []byte, data ...[]byte) []byte {
	h := s.kdf.New()
	for _, d := range data {
		h.Write(d)
	}
	return h.Sum(dst)
}

// MAC appends MAC(key, data) to dst.
func (s *Suite) MAC(dst, key, data []byte) []byte { return s.kdf.MAC(dst, key, data) }

// VerifyMAC compares in constant time.
func (s *Suite) VerifyMAC(key, data, tag []byte) bool { return s.kdf.VerifyMAC(key, data, tag) }

// AEAD is the suite's AEAD under a key of KeySize bytes, which it copies.
func (s *Suite) AEAD(key []byte) (cipher.AEAD, error) { return s.aead.New(key) }

// Labels of RefHash (section 5.2).
const (
	KeyPackageRef = "MLS 1.0 KeyPackage Reference"
	ProposalRef   = "MLS 1.0 Proposal Reference"
)

// RefHash appends RefHash(label, value) to dst (section 5.2).
func (s *Suite) RefHash(dst []byte, label string, value []byte) []byte {
	input := make([]byte, 0, len(label)+len(value)+8)
	input = codec.AppendOpaque(codec.AppendOpaque(input, []byte(label)), value)
	return s.Hash(dst, input)
}

// Extract sets out to KDF.Extract(salt, ikm).
func (s *Suite) Extract(out *Secret, salt, ikm []byte) {
	var room [MaxSecret]byte
	prk := room[:s.kdf.Size()]
	s.kdf.Extract(prk, salt, ikm)
	out.Set(prk)
	clear(prk)
}

// ExpandWithLabel fills out (section 8). The context is short, or a serialised GroupContext.
func (s *Suite) ExpandWithLabel(out, secret []byte, label string, context []byte) {
	var room [96]byte
	head := binary.BigEndian.AppendUint16(room[:0], uint16(len(out)))
	head = codec.AppendVarint(head, len(labelPrefix)+len(label))
	head = append(append(head, labelPrefix...), label...)
	head = codec.AppendVarint(head, len(context))
	s.kdf.Expand(out, secret, head, context)
}

// DeriveSecret sets out to DeriveSecret(secret, label) (section 8). They may be the same.
func (s *Suite) DeriveSecret(out, secret *Secret, label string) {
	s.ExpandSecret(out, secret, label, nil)
}

// ExpandSecret sets out to ExpandWithLabel(secret, label, context, Nh). They may be the same.
func (s *Suite) ExpandSecret(out, secret *Secret, label string, context []byte) {
	var room [MaxSecret]byte
	b := room[:s.kdf.Size()]
	s.ExpandWithLabel(b, secret.Bytes(), label, context)
	out.Set(b)
	clear(b)
}

// DeriveTreeSecret fills out with DeriveTreeSecret(secret, label, generation, len(out)) (section 9).
func (s *Suite) DeriveTreeSecret(out []byte, secret *Secret, label string, generation uint32) {
	var context [4]byte
	binary.BigEndian.PutUint32(context[:], generation)
	s.ExpandWithLabel(out, secret.Bytes(), label, context[:])
}

// labelled appends the input of SignWithLabel and EncryptWithLabel.
func labelled(dst []byte, label string, content []byte) []byte {
	dst = codec.AppendVarint(dst, len(labelPrefix)+len(label))
	dst = append(append(dst, labelPrefix...), label...)
	return codec.AppendOpaque(dst, content)
}

// GenerateKeyPair makes a fresh HPKE key pair.
func (s *Suite) GenerateKeyPair(rand io.Reader) (*PrivateKey, error) {
	return hpke.Generate(s.hpke.KEM, rand)
}

// DeriveKeyPair is KEM.DeriveKeyPair.
func (s *Suite) DeriveKeyPair(ikm *Secret) (*PrivateKey, error) {
	return s.hpke.KEM.Derive(ikm.Bytes())
}

// ParsePrivateKey takes an HPKE private key as its Bytes gives it.
func (s *Suite) ParsePrivateKey(b []byte) (*PrivateKey, error) { return s.hpke.KEM.ParsePrivate(b) }

// CheckPublicKey refuses what is no HPKE public key of the suite.
func (s *Suite) CheckPublicKey(pub []byte) error { return s.hpke.KEM.CheckPublic(pub) }

// Canonical reports whether an HPKE public key is the encoding that the suite itself would give it. Keys of X25519
// whose highest bit is set are not: they are taken for those without it (RFC 7748, section 5). Of other curves there is
// one encoding.
func (s *Suite) Canonical(pub []byte) bool {
	switch s.id {
	case X25519AES128SHA256Ed25519, X25519ChaCha20SHA256Ed25519, MLKEM768X25519AES128Ed25519:
		return len(pub) == 0 || pub[len(pub)-1]&0x80 == 0
	}
	return true
}

// EncryptRandomness is how many bytes EncryptWithLabel reads of its rand.
func (s *Suite) EncryptRandomness() int { return s.hpke.KEM.Randomness() }

// PrivateKey is an HPKE key pair.
type PrivateKey = hpke.PrivateKey

// EncryptWithLabel seals text for the holder of pub (section 5.1.3).
func (s *Suite) EncryptWithLabel(rand io.Reader, pub []byte, label string, context, text []byte) (kemOutput, ciphertext []byte, err error) {
	c := s.EncryptContext(label, context)
	return s.EncryptIn(rand, pub, &c, text)
}

// EncryptContext is label and context of texts for several recipients: read once, however long the context is. Safe for
// concurrent use.
type EncryptContext = hpke.Info

// EncryptContext reads them. It keeps neither.
func (s *Suite) EncryptContext(label string, context []byte) EncryptContext {
	return s.hpke.Info(labelled(nil, label, context))
}

// EncryptIn is EncryptWithLabel with the label and context of c.
func (s *Suite) EncryptIn(rand io.Reader, pub []byte, c *EncryptContext, text []byte) (kemOutput, ct []byte, err error) {
	return s.hpke.SealWith(rand, pub, c, nil, text)
}

// DecryptWithLabel opens it.
func (s *Suite) DecryptWithLabel(priv *PrivateKey, label string, context, kemOutput, ciphertext []byte) ([]byte, error) {
	return s.hpke.Open(priv, kemOutput, labelled(nil, label, context), nil, ciphertext)
}

// SendExport makes a secret of n bytes that the holder of pub finds with ReceiveExport (RFC 9180 section 6.1.1; for section 8.3).
func (s *Suite) SendExport(rand io.Reader, pub []byte, label string, n int) (kemOutput, secret []byte, err error) {
	return s.hpke.SendExport(rand, pub, nil, []byte(label), n)
}

// ReceiveExport is the other side of SendExport.
func (s *Suite) ReceiveExport(priv *PrivateKey, kemOutput []byte, label string, n int) ([]byte, error) {
	return s.hpke.ReceiveExport(priv, kemOutput, nil, []byte(label), n)
}

// ErrSignature says that a signature does not verify.
var ErrSignature = errors.New("signature does not verify")

// GenerateSigningKey makes a fresh signature key pair.
func (s *Suite) GenerateSigningKey(rand io.Reader) (*SigningKey, error) { return s.sig.Generate(rand) }

// ParseSigningKey takes a private key as SigningKey.Bytes gives it.
func (s *Suite) ParseSigningKey(private []byte) (*SigningKey, error) { return s.sig.Parse(private) }

// Verifier takes a public signature key.
func (s *Suite) Verifier(public []byte) (Verifier, error) { return s.sig.Verifier(public) }

// SignWithLabel makes a signature (section 5.1.2).
func (s *Suite) SignWithLabel(rand io.Reader, key *SigningKey, label string, content []byte) ([]byte, error) {
	return s.AppendSignature(nil, rand, key, label, content)
}

// AppendSignature is SignWithLabel that appends to dst, which it returns as it was on an error.
func (s *Suite) AppendSignature(dst []byte, rand io.Reader, key *SigningKey, label string, content []byte) ([]byte, error) {
	room := takeText(len(content) + 64)
	defer giveText(room)
	*room = labelled((*room)[:0], label, content)
	return key.sign(dst, rand, *room)
}

// VerifyWithLabel checks one.
func (s *Suite) VerifyWithLabel(v Verifier, label string, content, signature []byte) bool {
	room := takeText(len(content) + 64)
	defer giveText(room)
	*room = labelled((*room)[:0], label, content)
	return v.verify(*room, signature)
}

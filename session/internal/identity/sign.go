package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// Key signs. It is a P-256 or an Ed25519 key pair.
type Key struct {
	p256    *ecdsa.PrivateKey
	ed25519 ed25519.PrivateKey
}

// NewKey makes a key of a private key as MLS serialises it: the scalar of P-256, or the seed of Ed25519, and the public
// key that belongs to it and says which of the two it is.
func NewKey(private, public []byte) (*Key, error) {
	switch len(public) {
	case ed25519.PublicKeySize:
		if len(private) != ed25519.SeedSize {
			return nil, fmt.Errorf("private key of Ed25519 has %d bytes, and must have %d", len(private), ed25519.SeedSize)
		}
		return &Key{ed25519: ed25519.NewKeyFromSeed(private)}, nil
	case 65:
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), private)
		if err != nil {
			return nil, fmt.Errorf("private key of P-256: %w", err)
		}
		return &Key{p256: k}, nil
	}
	return nil, fmt.Errorf("public key of %d bytes is neither of P-256 nor of Ed25519", len(public))
}

// Format tells nothing, whatever the verb.
func (*Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("(key)")) }

func (k *Key) sign(b []byte) ([]byte, error) {
	if k.p256 == nil {
		return ed25519.Sign(k.ed25519, b), nil
	}
	sum := sha256.Sum256(b)
	return ecdsa.SignASN1(rand.Reader, k.p256, sum[:])
}

// verify reports whether sig is of b by the public key; what is no key verifies nothing.
func verify(public, b, sig []byte) bool {
	switch len(public) {
	case ed25519.PublicKeySize:
		return len(sig) == ed25519.SignatureSize && ed25519.Verify(public, b, sig)
	case 33:
		x, y := elliptic.UnmarshalCompressed(elliptic.P256(), public)
		if x == nil {
			return false
		}
		public = append(make([]byte, 0, 65), 4)
		public = append(public, x.FillBytes(make([]byte, 32))...)
		public = append(public, y.FillBytes(make([]byte, 32))...)
		fallthrough
	case 65:
		k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), public)
		if err != nil {
			return false
		}
		sum := sha256.Sum256(b)
		return ecdsa.VerifyASN1(k, sum[:], sig)
	}
	return false
}

// Why a control message is refused.
var (
	ErrNoKey            = errors.New("the sender's token names no key to verify signatures with")
	ErrHeaderSignature  = errors.New("header signature is missing or wrong")
	ErrPayloadSignature = errors.New("payload signature is wrong")
)

// Sign signs a control message, whose token is in place: the header, and then content and metadata. What is changed after
// that makes it void.
func (k *Key) Sign(m *message.Message) error {
	m.Content = nil
	var err error
	if m.Signature, err = k.sign(m.AppendAAD(nil)); err != nil {
		return fmt.Errorf("signing a header: %w", err)
	}
	payload, err := k.sign(m.AppendSigned(nil))
	if err != nil {
		return fmt.Errorf("signing a payload: %w", err)
	}
	if m.Metadata == nil {
		m.Metadata = map[string]string{}
	}
	m.Metadata[message.KeyPayloadSignature] = base64.StdEncoding.EncodeToString(payload)
	return nil
}

// VerifySignatures verifies those of a control message by the key in its sender's token. payload says whether it had a
// payload signature: peers older than 3.4 make none.
func VerifySignatures(m *message.Message, c *Claims) (payload bool, err error) {
	switch {
	case len(c.PublicKey) == 0:
		return false, ErrNoKey
	case !verify(c.PublicKey, m.AppendAAD(nil), m.Signature):
		return false, ErrHeaderSignature
	}
	text, ok := m.Metadata[message.KeyPayloadSignature]
	if !ok {
		return false, nil
	}
	sig, err := base64.StdEncoding.DecodeString(text)
	if err != nil || !verify(c.PublicKey, m.AppendSigned(nil), sig) {
		return false, ErrPayloadSignature
	}
	return true, nil
}

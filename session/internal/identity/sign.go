package identity

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/mls"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// Key signs. It is a P-256 or an Ed25519 key pair.
type Key struct{ signing *mls.SigningKey }

// NewKey makes a key of a private key as MLS serialises it: the scalar of P-256, or the seed of Ed25519, and the public
// key that belongs to it and says which of the two it is.
func NewKey(private, public []byte) (*Key, error) {
	suite, size := mls.P256AES128SHA256P256, 32
	switch len(public) {
	case ed25519.PublicKeySize:
		suite, size = mls.X25519AES128SHA256Ed25519, ed25519.SeedSize
	case pointSize:
	default:
		return nil, fmt.Errorf("public key of %d bytes is neither of P-256 nor of Ed25519", len(public))
	}
	if len(private) != size {
		return nil, fmt.Errorf("private key has %d bytes, and must have %d", len(private), size)
	}
	k, err := mls.ParseSigningKey(suite, private)
	if err != nil {
		return nil, err
	}
	return &Key{k}, nil
}

// Format tells nothing, whatever the verb.
func (*Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("(key)")) }

func (k *Key) sign(b []byte) ([]byte, error) { return k.signing.Sign(nil, nil, b) }

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
	case !known.verify(c.PublicKey, m.AppendAAD(nil), m.Signature):
		return false, ErrHeaderSignature
	}
	text, ok := m.Metadata[message.KeyPayloadSignature]
	if !ok {
		return false, nil
	}
	sig, err := base64.StdEncoding.DecodeString(text)
	if err != nil || !known.verify(c.PublicKey, m.AppendSigned(nil), sig) {
		return false, ErrPayloadSignature
	}
	return true, nil
}

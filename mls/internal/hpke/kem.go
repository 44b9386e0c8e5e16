package hpke

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
)

// Reasons to refuse what a peer sent.
var (
	ErrPublicKey     = errors.New("no valid public key")
	ErrPrivateKey    = errors.New("no valid private key")
	ErrEncapsulation = errors.New("no valid encapsulation")
	ErrOpen          = errors.New("ciphertext is damaged or for another key")
)

// KEM is a key encapsulation mechanism (RFC 9180, section 4). Implementations are immutable.
type KEM interface {
	// ID is its number in HPKE suites.
	ID() uint16
	// PrivateSize is the length of private keys, in bytes, and of the randomness behind a fresh one.
	PrivateSize() int
	// Randomness is how many bytes Encapsulate reads.
	Randomness() int
	// Derive makes the key pair that belongs to ikm: DeriveKeyPair.
	Derive(ikm []byte) (*PrivateKey, error)
	// ParsePrivate takes a private key as Bytes gives it.
	ParsePrivate(b []byte) (*PrivateKey, error)
	// CheckPublic refuses what Encapsulate would refuse.
	CheckPublic(pub []byte) error
	// Encapsulate makes a shared secret for the holder of pub.
	Encapsulate(rand io.Reader, pub []byte) (shared, enc []byte, err error)
	// Decapsulate gets it back.
	Decapsulate(priv *PrivateKey, enc []byte) (shared []byte, err error)
}

// noCopy makes go vet complain about copies.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}

// PrivateKey is a key pair of a KEM. It can be neither printed nor compared with ==, and is not to be copied. Safe for
// concurrent use except for Wipe.
type PrivateKey struct {
	_      noCopy
	_      [0]func()
	bytes  []byte
	public []byte
	parsed any // what the KEM likes to have at hand
}

// Bytes is the serialised private key, borrowed.
func (k *PrivateKey) Bytes() []byte { return k.bytes }

// Public is the serialised public key, borrowed.
func (k *PrivateKey) Public() []byte { return k.public }

// Wipe overwrites the private key, as far as this language lets us: what the primitives keep inside is left to the collector.
func (k *PrivateKey) Wipe() {
	if k == nil {
		return
	}
	clear(k.bytes)
	if inner, ok := k.parsed.(interface{ wipe() }); ok {
		inner.wipe()
	}
	k.bytes, k.parsed = nil, nil
}

// Clone is a copy with an owner of its own: to wipe one leaves the other.
func (k *PrivateKey) Clone() *PrivateKey {
	c := &PrivateKey{bytes: bytes.Clone(k.bytes), public: k.public, parsed: k.parsed}
	if inner, ok := k.parsed.(interface{ clone() any }); ok {
		c.parsed = inner.clone()
	}
	return c
}

// Equal compares in constant time.
func (k *PrivateKey) Equal(o *PrivateKey) bool {
	return subtle.ConstantTimeCompare(k.bytes, o.bytes) == 1
}

const redacted = "[private key]"

// String tells nothing.
func (*PrivateKey) String() string { return redacted }

// GoString tells nothing.
func (*PrivateKey) GoString() string { return redacted }

// Format tells nothing, whatever the verb.
func (*PrivateKey) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText fails: private keys leave by Bytes only.
func (*PrivateKey) MarshalText() ([]byte, error) { return nil, errors.New("hpke: private key in text") }

// Generate makes a fresh key pair: the one that belongs to PrivateSize random bytes (RFC 9180, section 7.1.3), so that it is rand
// alone that decides.
func Generate(k KEM, rand io.Reader) (*PrivateKey, error) {
	ikm := make([]byte, k.PrivateSize())
	defer clear(ikm)
	if _, err := io.ReadFull(rand, ikm); err != nil {
		return nil, fmt.Errorf("randomness: %w", err)
	}
	return k.Derive(ikm)
}

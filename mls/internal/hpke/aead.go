package hpke

import (
	"crypto/aes"
	"crypto/cipher"

	"golang.org/x/crypto/chacha20poly1305"
)

// AEAD is an algorithm for sealing. Immutable.
type AEAD struct {
	id      uint16 // RFC 9180 section 7.3
	keySize int
	open    func(key []byte) (cipher.AEAD, error)
}

// NonceSize is the length of the nonces of all of them.
const NonceSize = 12

// TagSize is what sealing adds, with all of them.
const TagSize = 16

// The AEADs of RFC 9180, section 7.3.
var (
	AES128GCM        = &AEAD{1, 16, newGCM}
	AES256GCM        = &AEAD{2, 32, newGCM}
	ChaCha20Poly1305 = &AEAD{3, 32, chacha20poly1305.New}
)

func newGCM(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

// KeySize is the length of its keys: Nk.
func (a *AEAD) KeySize() int { return a.keySize }

// New is the algorithm under a key of KeySize bytes, which it copies.
func (a *AEAD) New(key []byte) (cipher.AEAD, error) { return a.open(key) }

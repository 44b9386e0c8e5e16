package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"

	"github.com/lestrrat-go/jwx/v3/jwk"
)

// ParseJWK reads a JWK, and returns its public part, as crypto has it, or the bytes of a secret; and whether there was a private one.
func ParseJWK(b []byte) (key any, private bool, err error) {
	k, err := jwk.ParseKey(b)
	if err != nil {
		return nil, false, errors.New("is no JWK (RFC 7517) that is known here") // what is wrong could quote it
	}
	var raw any
	if err := jwk.Export(k, &raw); err != nil {
		return nil, false, errors.New("is a JWK whose key is broken")
	}
	switch r := raw.(type) {
	case []byte, *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		return r, false, nil
	case interface{ Public() crypto.PublicKey }:
		return r.Public(), true, nil
	}
	return raw, false, nil // Fits says what it is
}

package jwt

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/lestrrat-go/jwx/v3/jwk"
)

// Formats of keys.
const (
	PEM  = "pem"  // PKCS #8, PKCS #1, SEC 1 or SubjectPublicKeyInfo; of HMAC, the bytes themselves
	JWK  = "jwk"  // one JSON Web Key, to verify with
	JWKS = "jwks" // a list of them, to verify with
)

// maxKeyBytes bounds a key, or a list of keys, in a file or from an issuer.
const maxKeyBytes = 1 << 20

// Key is a key as it is configured: either Data or File.
type Key struct {
	// Algorithm is HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA. It says nothing to a JWKS,
	// whose keys have their own.
	Algorithm string
	// Format is PEM, JWK or JWKS.
	Format string
	// Data is the key itself. It is secret. Of HMAC every byte counts.
	Data string
	// File is a path. It has at most 1 MiB, and may be replaced at any time. Of HMAC every byte counts, a line end, too, as upstream.
	File string
}

// String hides what is secret.
func (k Key) String() string {
	if k.File == "" {
		return k.Algorithm + " " + k.Format + " (inline)"
	}
	return k.Algorithm + " " + k.Format + " " + k.File
}

// GoString hides what is secret.
func (k Key) GoString() string { return k.String() }

// check returns the algorithm, and what is wrong with the rest.
func (k *Key) check() (*algorithm, error) {
	a := algorithmOf(k.Algorithm)
	switch {
	case a == nil:
		return nil, fmt.Errorf("key.algorithm: there is no %q here: it is HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, "+
			"ES256, ES384 or EdDSA", k.Algorithm)
	case k.Format != PEM && k.Format != JWK && k.Format != JWKS:
		return nil, fmt.Errorf("key.format: there is no %q here: it is pem, jwk or jwks", k.Format)
	case (k.Data == "") == (k.File == ""):
		return nil, errors.New("key.key: give either data or file, and not empty")
	}
	return a, nil
}

// privateKey reads a key to sign with.
func privateKey(a *algorithm, b []byte) (any, []string, error) {
	if a.secret > 0 {
		return secretKey(a, b)
	}
	block, err := block(a, b)
	if err != nil {
		return nil, nil, err
	}
	var key any
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, nil, fmt.Errorf("is a %s, and to sign with %s there has to be a PRIVATE KEY that is not encrypted", block.Type, a.name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("is no %s: %w", block.Type, err)
	}
	return key, nil, a.fits(key)
}

// publicKey reads a key to verify with.
func publicKey(a *algorithm, b []byte) (any, []string, error) {
	if a.secret > 0 {
		return secretKey(a, b)
	}
	block, err := block(a, b)
	if err != nil {
		return nil, nil, err
	}
	var key any
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		return nil, nil, fmt.Errorf("is a %s, and to verify %s there has to be a PUBLIC KEY: `openssl pkey -pubout` or "+
			"`openssl x509 -pubkey` makes one of it", block.Type, a.name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("is no %s: %w", block.Type, err)
	}
	return key, nil, a.fits(key)
}

// block returns the first block of PEM that is a key. `openssl ecparam -genkey` puts the curve before it.
func block(a *algorithm, b []byte) (*pem.Block, error) {
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			return nil, fmt.Errorf("has no block of PEM (-----BEGIN …-----), and %s wants %s", a.name, a.wants())
		}
		if block.Type != "EC PARAMETERS" {
			return block, nil
		}
		b = rest
	}
}

// secretKey takes bytes as they are, and warns of those that are hardly meant or hardly secret.
func secretKey(a *algorithm, b []byte) (any, []string, error) {
	for _, public := range []string{"-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----"} {
		if bytes.Contains(b, []byte(public)) {
			return nil, nil, fmt.Errorf("is public (%s), and %s wants a secret: everybody could sign with it; is the algorithm right?",
				public, a.name)
		}
	}
	var warnings []string
	if len(b) < a.secret {
		warnings = append(warnings, fmt.Sprintf("this secret has %d bytes, and can be guessed from a token that was seen: %s should have %d "+
			"or more, at random", len(b), a.name, a.secret))
	}
	if n := len(b); n > 0 && b[n-1] == '\n' {
		warnings = append(warnings, "this secret ends with a line end, which is part of it, as upstream: the other side must have it, too")
	}
	return bytes.Clone(b), warnings, a.fits(b)
}

// publicJWK reads one JWK to verify with. Its own `alg` says nothing (P-jwt-6).
func publicJWK(a *algorithm, b []byte) (any, []string, error) {
	key, private, err := importJWK(b)
	if err != nil {
		return nil, nil, err
	}
	var warnings []string
	if private {
		warnings = append(warnings, "this JWK is a private key, of which only the public part is needed here: take out the rest")
	}
	return key, warnings, a.fits(key)
}

// importJWK reads a JWK, and returns its public part, as crypto has it, or the bytes of a secret; and whether there was a private one.
func importJWK(b []byte) (key any, private bool, err error) {
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
	return raw, false, nil // fits says what it is
}

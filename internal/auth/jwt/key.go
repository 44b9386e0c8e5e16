package jwt

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/seed31b3bfd0/slimgo/internal/auth/jose"
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
func (k *Key) check() (*jose.Algorithm, error) {
	a := jose.Named(k.Algorithm)
	switch {
	case a == nil:
		return nil, fmt.Errorf("key.algorithm: there is no %q here: it is one of %s", k.Algorithm, strings.Join(jose.Names(), ", "))
	case k.Format != PEM && k.Format != JWK && k.Format != JWKS:
		return nil, fmt.Errorf("key.format: there is no %q here: it is pem, jwk or jwks", k.Format)
	case (k.Data == "") == (k.File == ""):
		return nil, errors.New("key.key: give either data or file, and not empty")
	}
	return a, nil
}

// keyKind is what there is of keys in PEM, to sign with or to verify with.
type keyKind struct {
	purpose, wanted string                               // in errors
	parse           map[string]func([]byte) (any, error) // by type of the block
}

var (
	privateKeys = keyKind{"sign with", "a PRIVATE KEY that is not encrypted", map[string]func([]byte) (any, error){
		"PRIVATE KEY":     x509.ParsePKCS8PrivateKey,
		"RSA PRIVATE KEY": func(b []byte) (any, error) { return x509.ParsePKCS1PrivateKey(b) },
		"EC PRIVATE KEY":  func(b []byte) (any, error) { return x509.ParseECPrivateKey(b) },
	}}
	publicKeys = keyKind{"verify", "a PUBLIC KEY: `openssl pkey -pubout` or `openssl x509 -pubkey` makes one of it", map[string]func([]byte) (any, error){
		"PUBLIC KEY":     x509.ParsePKIXPublicKey,
		"RSA PUBLIC KEY": func(b []byte) (any, error) { return x509.ParsePKCS1PublicKey(b) },
	}}
)

// read reads a key in PEM, or a secret.
func (k *keyKind) read(a *jose.Algorithm, b []byte) (any, []string, error) {
	if a.Secret > 0 {
		return secretKey(a, b)
	}
	block, err := block(a, b)
	if err != nil {
		return nil, nil, err
	}
	parse := k.parse[block.Type]
	if parse == nil {
		return nil, nil, fmt.Errorf("is a %s, and to %s %s there has to be %s", block.Type, k.purpose, a.Name, k.wanted)
	}
	key, err := parse(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("is no %s: %w", block.Type, err)
	}
	return key, nil, a.Fits(key)
}

// block returns the first block of PEM that is a key. `openssl ecparam -genkey` puts the curve before it.
func block(a *jose.Algorithm, b []byte) (*pem.Block, error) {
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			return nil, fmt.Errorf("has no block of PEM (-----BEGIN …-----), and %s wants %s", a.Name, a.Wants())
		}
		if block.Type != "EC PARAMETERS" {
			return block, nil
		}
		b = rest
	}
}

// secretKey takes bytes as they are, and warns of those that are hardly meant or hardly secret.
func secretKey(a *jose.Algorithm, b []byte) (any, []string, error) {
	for _, public := range []string{"-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----"} {
		if bytes.Contains(b, []byte(public)) {
			return nil, nil, fmt.Errorf("is public (%s), and %s wants a secret: everybody could sign with it; is the algorithm right?",
				public, a.Name)
		}
	}
	var warnings []string
	if len(b) < a.Secret {
		warnings = append(warnings, fmt.Sprintf("this secret has %d bytes, and can be guessed from a token that was seen: %s should have %d "+
			"or more, at random", len(b), a.Name, a.Secret))
	}
	if n := len(b); n > 0 && b[n-1] == '\n' {
		warnings = append(warnings, "this secret ends with a line end, which is part of it, as upstream: the other side must have it, too")
	}
	return bytes.Clone(b), warnings, a.Fits(b)
}

// publicJWK reads one JWK to verify with. Its own `alg` says nothing (P-jwt-6).
func publicJWK(a *jose.Algorithm, b []byte) (any, []string, error) {
	key, private, err := jose.ParseJWK(b)
	if err != nil {
		return nil, nil, err
	}
	var warnings []string
	if private {
		warnings = append(warnings, "this JWK is a private key, of which only the public part is needed here: take out the rest")
	}
	return key, warnings, a.Fits(key)
}

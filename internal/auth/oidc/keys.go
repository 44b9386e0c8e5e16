package oidc

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	joses "github.com/lestrrat-go/jwx/v3/jws"
)

const (
	maxKeys        = 100        // of a provider
	minRSA, maxRSA = 2048, 8192 // bits: smaller ones are broken, larger ones are work that a token could cause
)

// key is one that a provider publishes, and the only algorithm that it is taken for.
type key struct {
	kid  string // may be empty
	alg  jwa.SignatureAlgorithm
	pub  any               // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey
	hash [sha256.Size]byte // of all of these
}

// algorithms are all that a key may have: HMAC is none, the key would be known to everybody; ES512 is none, as upstream.
var algorithms = map[string]struct {
	alg   jwa.SignatureAlgorithm
	rsa   bool
	curve elliptic.Curve // of ECDSA
}{
	"RS256": {alg: jwa.RS256(), rsa: true}, "RS384": {alg: jwa.RS384(), rsa: true}, "RS512": {alg: jwa.RS512(), rsa: true},
	"PS256": {alg: jwa.PS256(), rsa: true}, "PS384": {alg: jwa.PS384(), rsa: true}, "PS512": {alg: jwa.PS512(), rsa: true},
	"ES256": {alg: jwa.ES256(), curve: elliptic.P256()}, "ES384": {alg: jwa.ES384(), curve: elliptic.P384()},
	"EdDSA": {alg: jwa.EdDSA()},
}

// jwkMembers are those that are looked at besides the key itself. Of a private key, p alone may be there: of RSA.
type jwkMembers struct {
	Kty    string          `json:"kty"`
	Kid    string          `json:"kid"`
	Alg    string          `json:"alg"`
	Use    string          `json:"use"`
	KeyOps []string        `json:"key_ops"`
	D      json.RawMessage `json:"d"`
	P      json.RawMessage `json:"p"`
	K      json.RawMessage `json:"k"`
}

// readKeys reads the keys of a JWKS (RFC 7517 section 5) that can verify tokens, and says why others cannot. A set without keys
// has none: that is a provider that has revoked them all.
func readKeys(list []json.RawMessage) (keys []*key, passed []error, err error) {
	if len(list) > maxKeys {
		return nil, nil, fmt.Errorf("has %d keys, more than %d: is it a set of one provider?", len(list), maxKeys)
	}
	for i, raw := range list {
		switch k, err := readKey(raw); {
		case err != nil:
			passed = append(passed, fmt.Errorf("key %d %w", i+1, err))
		case k != nil:
			keys = append(keys, k)
		}
	}
	return keys, passed, nil
}

// readKey reads one key; nil: it is for something else.
func readKey(raw []byte) (*key, error) {
	var m jwkMembers
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, errors.New("is no JWK")
	}
	if m.Use != "" && m.Use != "sig" {
		return nil, nil
	}
	switch {
	case m.Kty == "oct" || m.K != nil:
		return nil, errors.New("is a secret that is published: whoever can read it could sign")
	case m.D != nil || m.P != nil:
		return nil, errors.New("is private and published: whoever can read it could sign; have the provider replace it, and publish public keys")
	}
	if len(m.KeyOps) > 0 && !slices.Contains(m.KeyOps, "verify") {
		return nil, nil
	}
	parsed, err := jwk.ParseKey(raw)
	if err != nil {
		return nil, errors.New("cannot be read")
	}
	k := &key{kid: m.Kid}
	if err := jwk.Export(parsed, &k.pub); err != nil {
		return nil, errors.New("cannot be read")
	}
	name := m.Alg
	switch pub := k.pub.(type) {
	case *rsa.PublicKey:
		if n := pub.N.BitLen(); n < minRSA || n > maxRSA || pub.E < 3 || pub.E&1 == 0 {
			return nil, fmt.Errorf("is an RSA key of %d bits and exponent %d: %d to %d bits and an odd exponent of 3 or more are taken",
				n, pub.E, minRSA, maxRSA)
		}
		if name == "" {
			name = "RS256"
		}
		if !algorithms[name].rsa {
			return nil, notFor(name, "an RSA key")
		}
	case *ecdsa.PublicKey:
		if name == "" {
			name = "ES256"
			if pub.Curve == elliptic.P384() {
				name = "ES384"
			}
		}
		if algorithms[name].curve != pub.Curve {
			return nil, notFor(name, "an EC key of "+pub.Params().Name)
		}
	case ed25519.PublicKey:
		if name == "" {
			name = "EdDSA"
		}
		if name != "EdDSA" {
			return nil, notFor(name, "an Ed25519 key")
		}
	default:
		return nil, errors.New("is of a kind that signs no tokens here")
	}
	k.alg = algorithms[name].alg
	b, err := x509.MarshalPKIXPublicKey(k.pub)
	if err != nil {
		return nil, errors.New("cannot be read")
	}
	k.hash = sha256.Sum256(append([]byte(name+"\x00"+k.kid+"\x00"), b...))
	return k, nil
}

func notFor(alg, what string) error {
	return fmt.Errorf("is %s and has the algorithm %q, which does not go together here", what, short(alg))
}

// verifies reports whether a token is signed with this key.
func (k *key) verifies(t *jws) bool {
	if t.alg != k.alg.String() {
		return false
	}
	v, err := joses.VerifierFor(k.alg)
	return err == nil && v.Verify(k.pub, t.signed, t.signature) == nil
}

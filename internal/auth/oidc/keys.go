package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/seed31b3bfd0/slimgo/internal/auth/jose"
)

const maxKeys = 100 // of a provider

// key is one that a provider publishes, and the only algorithm that it is taken for.
type key struct {
	kid  string // may be empty
	alg  *jose.Algorithm
	pub  any               // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey
	hash [sha256.Size]byte // of all of these
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
	public, _, err := jose.ParseJWK(raw)
	if err != nil {
		return nil, err
	}
	name := m.Alg
	if name == "" {
		name = usual(public)
	}
	a := algorithm(name)
	if a == nil {
		return nil, fmt.Errorf("is for the algorithm %q, which is none here for keys that are published", short(name))
	}
	if err := a.Fits(public); err != nil {
		return nil, err
	}
	b, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, errors.New("cannot be read")
	}
	return &key{kid: m.Kid, alg: a, pub: public, hash: sha256.Sum256(append([]byte(name+"\x00"+m.Kid+"\x00"), b...))}, nil
}

// usual is the algorithm of a key that names none, as upstream takes it.
func usual(public any) string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return "RS256"
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P384() {
			return "ES384"
		}
		return "ES256"
	}
	return "EdDSA"
}

// algorithm returns one that a key may have which everybody can read; nil: there is none of that name.
func algorithm(name string) *jose.Algorithm {
	if a := jose.Named(name); a != nil && a.Secret == 0 {
		return a
	}
	return nil
}

// verifies reports whether a token is signed with this key.
func (k *key) verifies(t *jws) bool {
	return t.alg == k.alg.Name && k.alg.Verify(k.pub, t.signed, t.signature)
}

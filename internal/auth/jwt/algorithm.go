package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"
)

// Sizes of RSA keys, in bits. Smaller ones are broken, larger ones are work that a token could cause.
const minRSA, maxRSA = 2048, 8192

// algorithm is what signs: the value of `alg` in a header (RFC 7518 section 3.1, RFC 8037 section 3.1).
type algorithm struct {
	name   string
	jwa    jwa.SignatureAlgorithm
	secret int            // HMAC: bytes that a key should have at least (RFC 7518 section 3.2); 0: it is none
	curve  elliptic.Curve // ECDSA
	rsa    bool
}

// algorithms are all there are: neither none, nor ES512, as upstream.
var algorithms = []*algorithm{
	{name: "HS256", jwa: jwa.HS256(), secret: 32}, {name: "HS384", jwa: jwa.HS384(), secret: 48}, {name: "HS512", jwa: jwa.HS512(), secret: 64},
	{name: "RS256", jwa: jwa.RS256(), rsa: true}, {name: "RS384", jwa: jwa.RS384(), rsa: true}, {name: "RS512", jwa: jwa.RS512(), rsa: true},
	{name: "PS256", jwa: jwa.PS256(), rsa: true}, {name: "PS384", jwa: jwa.PS384(), rsa: true}, {name: "PS512", jwa: jwa.PS512(), rsa: true},
	{name: "ES256", jwa: jwa.ES256(), curve: elliptic.P256()}, {name: "ES384", jwa: jwa.ES384(), curve: elliptic.P384()},
	{name: "EdDSA", jwa: jwa.EdDSA()},
}

// algorithmOf returns the algorithm of a name; nil: there is none.
func algorithmOf(name string) *algorithm {
	i := slices.IndexFunc(algorithms, func(a *algorithm) bool { return a.name == name })
	if i < 0 {
		return nil
	}
	return algorithms[i]
}

// fits returns why a key, private or public, is none for this algorithm. There is one kind of key for each, so that no token can
// have a key taken for what it is not.
func (a *algorithm) fits(key any) error {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return a.fits(&k.PublicKey)
	case *ecdsa.PrivateKey:
		return a.fits(&k.PublicKey)
	case ed25519.PrivateKey:
		return a.fits(k.Public())
	case []byte:
		if a.secret == 0 {
			return fmt.Errorf("is a secret, and %s wants %s", a.name, a.wants())
		}
		if len(k) == 0 {
			return errors.New("is an empty secret: everybody could sign with it")
		}
		return nil
	case *rsa.PublicKey:
		if !a.rsa {
			return fmt.Errorf("is an RSA key, and %s wants %s", a.name, a.wants())
		}
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return fmt.Errorf("is an RSA key of %d bits: make one of %d to %d", n, minRSA, maxRSA)
		}
		if k.E < 3 || k.E&1 == 0 {
			return fmt.Errorf("is an RSA key whose exponent is %d: no signature of it proves anything; make another", k.E)
		}
		return nil
	case *ecdsa.PublicKey:
		if a.curve == nil {
			return fmt.Errorf("is an EC key, and %s wants %s", a.name, a.wants())
		}
		if k.Curve != a.curve {
			return fmt.Errorf("is a key of curve %s, and %s wants %s", k.Params().Name, a.name, a.wants())
		}
		return nil
	case ed25519.PublicKey:
		if a.name != "EdDSA" {
			return fmt.Errorf("is an Ed25519 key, and %s wants %s", a.name, a.wants())
		}
		return nil
	}
	return fmt.Errorf("is of a kind that signs nothing here (%T), and %s wants %s", key, a.name, a.wants())
}

// long returns why a secret is too short for strict authentication.
func (a *algorithm) long(key any, strict bool) error {
	if secret, ok := key.([]byte); ok && strict && len(secret) < a.secret {
		return fmt.Errorf("is a secret of %d bytes, and strict authentication wants %d or more for %s", len(secret), a.secret, a.name)
	}
	return nil
}

func (a *algorithm) wants() string {
	switch {
	case a.secret > 0:
		return "a secret"
	case a.rsa:
		return fmt.Sprintf("an RSA key of %d to %d bits", minRSA, maxRSA)
	case a.curve != nil:
		return "an EC key of curve " + a.curve.Params().Name
	}
	return "an Ed25519 key"
}

// sign returns the signature over what. The key fits.
func (a *algorithm) sign(key any, what []byte) ([]byte, error) {
	s, err := jws.SignerFor(a.jwa)
	if err != nil {
		return nil, err
	}
	return s.Sign(key, what)
}

// verify reports whether a signature over what is that of a key, which fits.
func (a *algorithm) verify(key any, what, signature []byte) bool {
	v, err := jws.VerifierFor(a.jwa)
	return err == nil && v.Verify(key, what, signature) == nil
}

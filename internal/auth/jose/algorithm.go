package jose

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

// Algorithm is what signs: the value of `alg` in a header (RFC 7518 section 3.1, RFC 8037 section 3.1). There is one of each name.
type Algorithm struct {
	// Name is that value.
	Name string
	// Secret is how many bytes a key of HMAC should have at least (RFC 7518 section 3.2); 0: it is another algorithm, whose keys to
	// verify with are public.
	Secret int

	jwa   jwa.SignatureAlgorithm
	curve elliptic.Curve // ECDSA
	rsa   bool
}

// algorithms are all there are: neither none, nor ES512, as upstream.
var algorithms = []*Algorithm{
	{Name: "HS256", jwa: jwa.HS256(), Secret: 32}, {Name: "HS384", jwa: jwa.HS384(), Secret: 48}, {Name: "HS512", jwa: jwa.HS512(), Secret: 64},
	{Name: "RS256", jwa: jwa.RS256(), rsa: true}, {Name: "RS384", jwa: jwa.RS384(), rsa: true}, {Name: "RS512", jwa: jwa.RS512(), rsa: true},
	{Name: "PS256", jwa: jwa.PS256(), rsa: true}, {Name: "PS384", jwa: jwa.PS384(), rsa: true}, {Name: "PS512", jwa: jwa.PS512(), rsa: true},
	{Name: "ES256", jwa: jwa.ES256(), curve: elliptic.P256()}, {Name: "ES384", jwa: jwa.ES384(), curve: elliptic.P384()},
	{Name: "EdDSA", jwa: jwa.EdDSA()},
}

// Named returns the algorithm of a name; nil: there is none.
func Named(name string) *Algorithm {
	i := slices.IndexFunc(algorithms, func(a *Algorithm) bool { return a.Name == name })
	if i < 0 {
		return nil
	}
	return algorithms[i]
}

// Names are those of all algorithms.
func Names() (all []string) {
	for _, a := range algorithms {
		all = append(all, a.Name)
	}
	return all
}

// Fits returns why a key, private or public, is none for this algorithm. There is one kind of key for each, so that no token can
// have a key taken for what it is not.
func (a *Algorithm) Fits(key any) error {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return a.Fits(&k.PublicKey)
	case *ecdsa.PrivateKey:
		return a.Fits(&k.PublicKey)
	case ed25519.PrivateKey:
		return a.Fits(k.Public())
	case []byte:
		if a.Secret == 0 {
			return fmt.Errorf("is a secret, and %s wants %s", a.Name, a.Wants())
		}
		if len(k) == 0 {
			return errors.New("is an empty Secret: everybody could sign with it")
		}
		return nil
	case *rsa.PublicKey:
		if !a.rsa {
			return fmt.Errorf("is an RSA key, and %s wants %s", a.Name, a.Wants())
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
			return fmt.Errorf("is an EC key, and %s wants %s", a.Name, a.Wants())
		}
		if k.Curve != a.curve {
			return fmt.Errorf("is a key of curve %s, and %s wants %s", k.Params().Name, a.Name, a.Wants())
		}
		return nil
	case ed25519.PublicKey:
		if a.Name != "EdDSA" {
			return fmt.Errorf("is an Ed25519 key, and %s wants %s", a.Name, a.Wants())
		}
		return nil
	}
	return fmt.Errorf("is of a kind that signs nothing here (%T), and %s wants %s", key, a.Name, a.Wants())
}

// Long returns why a secret is too short for strict authentication.
func (a *Algorithm) Long(key any, strict bool) error {
	if secret, ok := key.([]byte); ok && strict && len(secret) < a.Secret {
		return fmt.Errorf("is a secret of %d bytes, and strict authentication wants %d or more for %s", len(secret), a.Secret, a.Name)
	}
	return nil
}

// Wants says in words what keys fit.
func (a *Algorithm) Wants() string {
	switch {
	case a.Secret > 0:
		return "a secret"
	case a.rsa:
		return fmt.Sprintf("an RSA key of %d to %d bits", minRSA, maxRSA)
	case a.curve != nil:
		return "an EC key of curve " + a.curve.Params().Name
	}
	return "an Ed25519 key"
}

// Sign returns the signature over what. The key fits.
func (a *Algorithm) Sign(key any, what []byte) ([]byte, error) {
	s, err := jws.SignerFor(a.jwa)
	if err != nil {
		return nil, err
	}
	return s.Sign(key, what)
}

// Verify reports whether a signature over what is that of a key, which fits.
func (a *Algorithm) Verify(key any, what, signature []byte) bool {
	v, err := jws.VerifierFor(a.jwa)
	return err == nil && v.Verify(key, what, signature) == nil
}

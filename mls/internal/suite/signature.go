package suite

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/cloudflare/circl/sign/ed448"

	"github.com/seed31b3bfd0/slimgo/mls/internal/edwards"
	"github.com/seed31b3bfd0/slimgo/mls/internal/p256"
)

// Signer is a signature algorithm. Implementations are immutable.
type Signer interface {
	// Generate makes a fresh key pair.
	Generate(rand io.Reader) (*SigningKey, error)
	// Parse takes a private key as SigningKey.Bytes gives it.
	Parse(private []byte) (*SigningKey, error)
	// Verifier takes a public key; it refuses what is none.
	Verifier(public []byte) (Verifier, error)
}

// Reasons to refuse keys.
var (
	ErrSigningKey = errors.New("no valid private signature key")
	ErrVerifier   = errors.New("no valid public signature key")
)

// SigningKey is a signature key pair. It can be neither printed nor compared with ==, and is not to be copied. Safe for concurrent
// use except for Wipe.
type SigningKey struct {
	_       noCopy
	_       [0]func()
	private *private
	public  []byte
	signer  signer
}

// signer appends a signature of text to dst. On an error it returns dst.
type signer func(dst []byte, rand io.Reader, text []byte) ([]byte, error)

// private is the serialised private key. It stands behind a pointer because fmt, where it calls no methods (of fields
// that are not exported, with a verb that it does not know for them), prints what a pointer leads to, and pointers in
// there as addresses.
type private struct{ b []byte }

// Bytes is the serialised private key, borrowed: the seed of EdDSA, the scalar of ECDSA in full length.
func (k *SigningKey) Bytes() []byte {
	if k.private == nil { // the zero value
		return nil
	}
	return k.private.b
}

// Public is the public key as leaf nodes carry it, borrowed.
func (k *SigningKey) Public() []byte { return k.public }

// Wipe overwrites the private key, as far as this language lets us.
func (k *SigningKey) Wipe() {
	if k == nil || k.private == nil {
		return
	}
	clear(k.private.b)
	k.private.b, k.signer = nil, nil
}

// Sign appends to dst a signature of text, without a label: for what is signed outside of MLS with a key of MLS. No text begins as one of
// MLS does, with a length of 9 to 63 and "MLS 1.0 " (section 5.1.2). On an error it returns dst; rand nil is crypto/rand.
func (k *SigningKey) Sign(dst []byte, rand io.Reader, text []byte) ([]byte, error) {
	if rand == nil {
		rand = cryptorand.Reader
	}
	return k.sign(dst, rand, text)
}

func (k *SigningKey) sign(dst []byte, rand io.Reader, text []byte) ([]byte, error) {
	if k.signer == nil {
		return dst, ErrSigningKey
	}
	return k.signer(dst, rand, text)
}

// String tells nothing.
func (*SigningKey) String() string { return redacted }

// GoString tells nothing.
func (*SigningKey) GoString() string { return redacted }

// Format tells nothing, whatever the verb.
func (*SigningKey) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText fails: private keys leave by Bytes only.
func (*SigningKey) MarshalText() ([]byte, error) {
	return nil, errors.New("suite: private key in text")
}

// Verifier is a public signature key, parsed once. Safe for concurrent use.
type Verifier interface {
	verify(text, signature []byte) bool
}

// Verify reports whether signature is one of text, without a label: as SigningKey.Sign makes them.
func Verify(v Verifier, text, signature []byte) bool { return v.verify(text, signature) }

// eddsa25519 is Ed25519 (RFC 8032).
type eddsa25519 struct{}

func (eddsa25519) Generate(rand io.Reader) (*SigningKey, error) {
	return generateSeed(eddsa25519{}, rand, ed25519.SeedSize)
}

// Parse takes the seed, or the seed with the public key behind it.
func (eddsa25519) Parse(seed []byte) (*SigningKey, error) {
	if len(seed) != ed25519.SeedSize && len(seed) != ed25519.PrivateKeySize {
		return nil, ErrSigningKey
	}
	k := ed25519.NewKeyFromSeed(seed[:ed25519.SeedSize])
	return &SigningKey{private: &private{k[:ed25519.SeedSize]}, public: k.Public().(ed25519.PublicKey),
		signer: func(dst []byte, _ io.Reader, text []byte) ([]byte, error) {
			return append(dst, ed25519.Sign(k, text)...), nil
		}}, nil
}

func (eddsa25519) Verifier(public []byte) (Verifier, error) {
	k, err := edwards.NewPublicKey(public)
	if err != nil {
		return nil, ErrVerifier
	}
	return verifier25519{k}, nil
}

type verifier25519 struct{ key *edwards.PublicKey }

func (v verifier25519) verify(text, signature []byte) bool { return v.key.Verify(text, signature) }

// eddsa448 is Ed448 without context (RFC 8032).
type eddsa448 struct{}

func (eddsa448) Generate(rand io.Reader) (*SigningKey, error) {
	return generateSeed(eddsa448{}, rand, ed448.SeedSize)
}

func (eddsa448) Parse(seed []byte) (*SigningKey, error) {
	if len(seed) != ed448.SeedSize && len(seed) != ed448.PrivateKeySize {
		return nil, ErrSigningKey
	}
	k := ed448.NewKeyFromSeed(seed[:ed448.SeedSize])
	return &SigningKey{private: &private{k[:ed448.SeedSize]}, public: k.Public().(ed448.PublicKey),
		signer: func(dst []byte, _ io.Reader, text []byte) ([]byte, error) {
			return append(dst, ed448.Sign(k, text, "")...), nil
		}}, nil
}

func (eddsa448) Verifier(public []byte) (Verifier, error) {
	if len(public) != ed448.PublicKeySize {
		return nil, ErrVerifier
	}
	return verifier448(public), nil
}

type verifier448 ed448.PublicKey

func (v verifier448) verify(text, signature []byte) bool {
	return ed448.Verify(ed448.PublicKey(v), text, signature, "")
}

// ecdsaOn is ECDSA on a prime curve, with signatures in DER (section 5.1.2). On P-384 and P-521 the nonce is the standard library's, which
// takes randomness of the system whatever rand is.
type ecdsaOn struct {
	curve elliptic.Curve
	hash  crypto.Hash
	size  int // of a scalar
}

// Generate takes the first scalar that rand gives: the standard library's generation does not listen to rand.
func (e ecdsaOn) Generate(rand io.Reader) (*SigningKey, error) {
	b := make([]byte, e.size)
	defer clear(b)
	for range 128 {
		if _, err := io.ReadFull(rand, b); err != nil {
			return nil, fmt.Errorf("randomness: %w", err)
		}
		b[0] &= byte(1<<((e.curve.Params().BitSize-1)%8+1) - 1)
		if k, err := e.Parse(b); err == nil {
			return k, nil
		}
	}
	return nil, errors.New("randomness: none of 128 values is a scalar")
}

// Parse takes a scalar; leading zeros may be missing, as some libraries store it.
func (e ecdsaOn) Parse(scalar []byte) (*SigningKey, error) {
	if len(scalar) == 0 || len(scalar) > e.size {
		return nil, ErrSigningKey
	}
	b := make([]byte, e.size)
	copy(b[e.size-len(scalar):], scalar)
	k, err := ecdsa.ParseRawPrivateKey(e.curve, b)
	if err != nil {
		clear(b)
		return nil, ErrSigningKey
	}
	public, err := k.PublicKey.Bytes()
	if err != nil {
		return nil, ErrSigningKey
	}
	sign := func(dst []byte, rand io.Reader, text []byte) ([]byte, error) {
		h := e.hash.New()
		h.Write(text)
		sig, err := k.Sign(rand, h.Sum(nil), e.hash)
		return append(dst, sig...), err
	}
	if e.curve == elliptic.P256() {
		sign = signerP256((*[32]byte)(b))
	}
	return &SigningKey{private: &private{b}, public: public, signer: sign}, nil
}

// signerP256 is for the suite that SLIM uses unless told otherwise: a message costs little beside its signature.
func signerP256(private *[32]byte) signer {
	return func(dst []byte, rand io.Reader, text []byte) ([]byte, error) {
		digest := sha256.Sum256(text)
		return p256.Sign(dst, rand, private, &digest)
	}
}

func (e ecdsaOn) Verifier(public []byte) (Verifier, error) {
	if e.curve == elliptic.P256() {
		k, err := p256.NewPublicKey(public)
		if err != nil {
			return nil, ErrVerifier
		}
		return verifierP256{k}, nil
	}
	k, err := ecdsa.ParseUncompressedPublicKey(e.curve, public)
	if err != nil {
		return nil, ErrVerifier
	}
	return &verifierECDSA{k, e.hash}, nil
}

type verifierP256 struct{ key *p256.PublicKey }

func (v verifierP256) verify(text, signature []byte) bool {
	digest := sha256.Sum256(text)
	return v.key.Verify(&digest, signature)
}

type verifierECDSA struct {
	key  *ecdsa.PublicKey
	hash crypto.Hash
}

func (v *verifierECDSA) verify(text, signature []byte) bool {
	h := v.hash.New()
	h.Write(text)
	var sum [MaxSecret]byte
	return ecdsa.VerifyASN1(v.key, h.Sum(sum[:0]), signature)
}

// generateSeed makes a key of a random seed.
func generateSeed(s Signer, rand io.Reader, n int) (*SigningKey, error) {
	seed := make([]byte, n)
	defer clear(seed)
	if _, err := io.ReadFull(rand, seed); err != nil {
		return nil, fmt.Errorf("randomness: %w", err)
	}
	return s.Parse(seed)
}

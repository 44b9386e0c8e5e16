package hpke

import (
	"bytes"
	"crypto/ecdh"

	"github.com/cloudflare/circl/dh/x25519"
	"github.com/cloudflare/circl/dh/x448"
)

// The KEMs of RFC 9180, section 7.1.
var (
	DHKEMP256   KEM = newDHKEM(0x10, HKDFSHA256, nist{ecdh.P256(), 32, 0xff})
	DHKEMP384   KEM = newDHKEM(0x11, HKDFSHA384, nist{ecdh.P384(), 48, 0xff})
	DHKEMP521   KEM = newDHKEM(0x12, HKDFSHA512, nist{ecdh.P521(), 66, 0x01})
	DHKEMX25519 KEM = dhkemX25519
	DHKEMX448   KEM = newDHKEM(0x21, HKDFSHA512, curve448{})
)

var dhkemX25519 = newDHKEM(0x20, HKDFSHA256, curve25519{})

// nist is a prime curve; public keys are uncompressed points.
type nist struct {
	curve ecdh.Curve
	size  int
	mask  byte // of the first byte of a candidate
}

func (g nist) privateSize() int { return g.size }

func (g nist) private(b []byte) (*PrivateKey, error) {
	if len(b) == 0 || len(b) > g.size {
		return nil, ErrPrivateKey
	}
	padded := make([]byte, g.size)
	copy(padded[g.size-len(b):], b)
	k, err := g.curve.NewPrivateKey(padded)
	if err != nil {
		clear(padded)
		return nil, ErrPrivateKey
	}
	return &PrivateKey{bytes: padded, public: k.PublicKey().Bytes(), parsed: k}, nil
}

func (g nist) public(pub []byte) error {
	if _, err := g.curve.NewPublicKey(pub); err != nil {
		return ErrPublicKey
	}
	return nil
}

func (g nist) dh(k *PrivateKey, pub []byte) ([]byte, error) {
	p, err := g.curve.NewPublicKey(pub)
	if err != nil {
		return nil, ErrPublicKey
	}
	own, ok := k.parsed.(*ecdh.PrivateKey)
	if !ok {
		return nil, ErrPrivateKey
	}
	return own.ECDH(p)
}

// derive takes the first candidate that is a scalar; a second one is needed less than once in 2^32 on P-256.
func (g nist) derive(k *dhkem, prk []byte) (*PrivateKey, error) {
	var room [66]byte
	candidate := room[:g.size]
	defer clear(candidate)
	for counter := range 256 {
		k.label.expand(candidate, prk, "candidate", []byte{byte(counter)})
		candidate[0] &= g.mask
		if key, err := g.private(candidate); err == nil {
			return key, nil
		}
	}
	return nil, ErrPrivateKey
}

// curve25519 is RFC 7748's, by circl: a quarter faster than the standard library's.
type curve25519 struct{}

func (curve25519) privateSize() int { return x25519.Size }

func (curve25519) private(b []byte) (*PrivateKey, error) {
	if len(b) != x25519.Size {
		return nil, ErrPrivateKey
	}
	k := &PrivateKey{bytes: bytes.Clone(b), public: make([]byte, x25519.Size)}
	x25519.KeyGen((*x25519.Key)(k.public), (*x25519.Key)(k.bytes))
	return k, nil
}

// public refuses points of low order (RFC 7748, section 6.1): with them every shared secret is zero, so that nobody could seal for their holder.
func (curve25519) public(pub []byte) error {
	if len(pub) != x25519.Size || isLowOrder(pub, 0x7f, lowOrder25519) {
		return ErrPublicKey
	}
	return nil
}

func (curve25519) dh(k *PrivateKey, pub []byte) ([]byte, error) {
	if len(pub) != x25519.Size || len(k.bytes) != x25519.Size {
		return nil, ErrPublicKey
	}
	shared := make([]byte, x25519.Size)
	if !x25519.Shared((*x25519.Key)(shared), (*x25519.Key)(k.bytes), (*x25519.Key)(pub)) {
		return nil, ErrPublicKey // a point of low order
	}
	return shared, nil
}

func (g curve25519) derive(k *dhkem, prk []byte) (*PrivateKey, error) {
	var sk [x25519.Size]byte
	defer clear(sk[:])
	k.label.expand(sk[:], prk, "sk")
	return g.private(sk[:])
}

// curve448 is RFC 7748's.
type curve448 struct{}

func (curve448) privateSize() int { return x448.Size }

func (curve448) private(b []byte) (*PrivateKey, error) {
	if len(b) != x448.Size {
		return nil, ErrPrivateKey
	}
	k := &PrivateKey{bytes: bytes.Clone(b), public: make([]byte, x448.Size)}
	x448.KeyGen((*x448.Key)(k.public), (*x448.Key)(k.bytes))
	return k, nil
}

func (curve448) public(pub []byte) error {
	if len(pub) != x448.Size || isLowOrder(pub, 0xff, lowOrder448) {
		return ErrPublicKey
	}
	return nil
}

func (curve448) dh(k *PrivateKey, pub []byte) ([]byte, error) {
	if len(pub) != x448.Size || len(k.bytes) != x448.Size {
		return nil, ErrPublicKey
	}
	shared := make([]byte, x448.Size)
	if !x448.Shared((*x448.Key)(shared), (*x448.Key)(k.bytes), (*x448.Key)(pub)) {
		return nil, ErrPublicKey
	}
	return shared, nil
}

func (g curve448) derive(k *dhkem, prk []byte) (*PrivateKey, error) {
	var sk [x448.Size]byte
	defer clear(sk[:])
	k.label.expand(sk[:], prk, "sk")
	return g.private(sk[:])
}

package link

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/cloudflare/circl/dh/x25519"
	"github.com/cloudflare/circl/kem/mlkem/mlkem768"
)

const (
	x25519Size           = x25519.Size             // 32
	encapsulationKeySize = mlkem768.PublicKeySize  // 1184
	ciphertextSize       = mlkem768.CiphertextSize // 1088

	// Info strings of HKDF (P-key-1, P-key-2), without terminator.
	infoClassical = "SLIM-DP-inter-node-hmac-v1"
	infoHybrid    = "SLIM-DP-inter-node-hmac-v1-pq"
)

// ephemeral holds the secrets of one negotiation. What the libraries keep inside is out of reach: wipe lets go of it.
// X25519 is circl's: it takes two thirds of the time of the standard library's, and both steps are most of what a
// connection costs.
type ephemeral struct {
	_    [0]func() // secrets are not compared with ==
	x    x25519.Key
	xPub x25519.Key           // belongs to x
	kem  *mlkem768.PrivateKey // of a dialer that enforces PQC; else nil
	pub  *mlkem768.PublicKey  // belongs to kem
}

// make draws fresh secrets from r.
func (e *ephemeral) make(r io.Reader, withKEM bool) error {
	if _, err := io.ReadFull(r, e.x[:]); err != nil {
		return local("no randomness: %w", err)
	}
	x25519.KeyGen(&e.xPub, &e.x)
	if withKEM {
		var seed [mlkem768.KeySeedSize]byte
		defer clear(seed[:])
		if _, err := io.ReadFull(r, seed[:]); err != nil {
			return local("no randomness: %w", err)
		}
		e.pub, e.kem = mlkem768.NewKeyFromSeed(seed[:])
	}
	return nil
}

// public returns the X25519 public key.
func (e *ephemeral) public() []byte { return bytes.Clone(e.xPub[:]) }

// encapsulationKey returns the ML-KEM-768 public key, nil without one.
func (e *ephemeral) encapsulationKey() []byte {
	if e.pub == nil {
		return nil
	}
	b := make([]byte, encapsulationKeySize)
	e.pub.Pack(b)
	return b
}

// decapsulate returns the shared secret in ct, which has ciphertextSize bytes. A forged ct yields a secret that nobody
// knows (FIPS 203 section 6.3): there is no failure.
func (e *ephemeral) decapsulate(ct []byte) []byte {
	shared := make([]byte, mlkem768.SharedKeySize)
	e.kem.DecapsulateTo(shared, ct)
	return shared
}

// encapsulate makes a shared secret for the owner of the packed public key pub, with randomness from r.
func encapsulate(r io.Reader, pub []byte) (shared, ct []byte, err error) {
	var pk mlkem768.PublicKey
	if err := pk.Unpack(pub); err != nil {
		return nil, nil, refuse(ReasonAgreement, err)
	}
	var seed [mlkem768.EncapsulationSeedSize]byte
	defer clear(seed[:])
	if _, err := io.ReadFull(r, seed[:]); err != nil {
		return nil, nil, local("no randomness: %w", err)
	}
	shared, ct = make([]byte, mlkem768.SharedKeySize), make([]byte, ciphertextSize)
	pk.EncapsulateTo(ct, shared, seed[:])
	return shared, ct, nil
}

// agree derives the MAC key with the other end's X25519 key: that of P-key-1, or of P-key-2 if kemShared is the
// ML-KEM shared secret and not nil. An all-zero X25519 secret fails (RFC 7748 section 6.1). Rules: P-key-3.
func (e *ephemeral) agree(peer, kemShared []byte, linkID string) (Key, error) {
	if len(peer) != x25519Size {
		return nil, refuse(ReasonAgreement, fmt.Errorf("X25519 key of %d bytes, want %d", len(peer), x25519Size))
	}
	var shared x25519.Key
	defer clear(shared[:])
	if !x25519.Shared(&shared, &e.x, (*x25519.Key)(peer)) {
		return nil, refuse(ReasonAgreement, errors.New("X25519 key is a point of low order"))
	}
	return deriveKey(shared[:], kemShared, linkID)
}

// deriveKey is the key schedule (P-key-1, P-key-2): HKDF-SHA256 (RFC 5869), salt link_id, 32 bytes.
func deriveKey(x, kemShared []byte, linkID string) (Key, error) {
	secret, info := make([]byte, 0, len(x)+len(kemShared)), infoClassical
	secret = append(append(secret, x...), kemShared...)
	defer clear(secret)
	if kemShared != nil {
		info = infoHybrid
	}
	key, err := hkdf.Key(sha256.New, secret, []byte(linkID), info, sha256.Size)
	if err != nil {
		return nil, local("HKDF: %w", err)
	}
	return key, nil
}

func (e *ephemeral) wipe() {
	if e.kem != nil {
		*e.kem = mlkem768.PrivateKey{}
	}
	*e = ephemeral{}
}

func isPeerError(err error) bool {
	_, ok := errors.AsType[*PeerError](err)
	return ok
}

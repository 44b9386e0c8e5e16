package hpke

import (
	"bytes"
	"crypto/sha3"
	"fmt"
	"io"

	"github.com/cloudflare/circl/kem/mlkem/mlkem768"
)

// MLKEM768X25519 is the KEM of mls-rs's private suite 65100: ML-KEM-768 and DHKEM(X25519) side by side, combined as X-Wing
// combines them but for the label, which stands in front and has a line feed in it, and for the second secret, which is
// DHKEM's and not the raw point. X-Wing itself (draft-connolly-cfrg-xwing-kem) is another KEM.
//
// Public keys are the two public keys behind each other, encapsulations likewise; private keys are the expanded ML-KEM key
// (2,400 bytes) and the scalar.
var MLKEM768X25519 KEM = hybrid{}

const hybridLabel = "\\./\n/^\\"

type hybrid struct{}

type hybridKey struct {
	pq      mlkem768.PrivateKey
	classic *PrivateKey
}

func (k *hybridKey) wipe() {
	k.pq = mlkem768.PrivateKey{}
	k.classic.Wipe()
}

func (k *hybridKey) clone() any { return &hybridKey{k.pq, k.classic.Clone()} }

const (
	hybridX       = 32
	hybridPrivate = mlkem768.PrivateKeySize + hybridX
	hybridPublic  = mlkem768.PublicKeySize + hybridX
	hybridEnc     = mlkem768.CiphertextSize + hybridX
)

// ID implements KEM.
func (hybrid) ID() uint16 { return 15 }

// PrivateSize implements KEM.
func (hybrid) PrivateSize() int { return hybridPrivate }

// Randomness implements KEM.
func (hybrid) Randomness() int { return mlkem768.EncapsulationSeedSize + hybridX }

// hybridLabels are of the extraction in Derive.
var hybridLabels = labels{HKDFSHA256, []byte("KEM\x00\x0f")}

// Derive implements KEM: what DHKEM extracts from ikm is stretched by SHAKE128 to a seed of ML-KEM and to what DHKEM(X25519)
// would have extracted for itself.
func (h hybrid) Derive(ikm []byte) (*PrivateKey, error) {
	var prk [32]byte
	defer clear(prk[:])
	hybridLabels.extract(prk[:], nil, "dkp_prk", ikm)
	seeds := sha3.SumSHAKE128(prk[:], mlkem768.KeySeedSize+hybridX)
	defer clear(seeds)
	_, pq := mlkem768.NewKeyFromSeed(seeds[:mlkem768.KeySeedSize])
	classic, err := dhkemX25519.group.derive(dhkemX25519, seeds[mlkem768.KeySeedSize:])
	if err != nil {
		return nil, err
	}
	b := make([]byte, hybridPrivate)
	pq.Pack(b[:mlkem768.PrivateKeySize])
	copy(b[mlkem768.PrivateKeySize:], classic.bytes)
	return h.assemble(b, pq, classic), nil
}

// ParsePrivate implements KEM.
func (h hybrid) ParsePrivate(b []byte) (*PrivateKey, error) {
	if len(b) != hybridPrivate {
		return nil, ErrPrivateKey
	}
	var pq mlkem768.PrivateKey
	if err := pq.Unpack(b[:mlkem768.PrivateKeySize]); err != nil {
		return nil, ErrPrivateKey
	}
	classic, err := DHKEMX25519.ParsePrivate(b[mlkem768.PrivateKeySize:])
	if err != nil {
		return nil, err
	}
	return h.assemble(bytes.Clone(b), &pq, classic), nil
}

func (hybrid) assemble(b []byte, pq *mlkem768.PrivateKey, classic *PrivateKey) *PrivateKey {
	public := make([]byte, hybridPublic)
	pq.Public().(*mlkem768.PublicKey).Pack(public[:mlkem768.PublicKeySize])
	copy(public[mlkem768.PublicKeySize:], classic.public)
	return &PrivateKey{bytes: b, public: public, parsed: &hybridKey{*pq, classic}}
}

// CheckPublic implements KEM.
func (hybrid) CheckPublic(pub []byte) error {
	var pq mlkem768.PublicKey
	if len(pub) != hybridPublic || pq.Unpack(pub[:mlkem768.PublicKeySize]) != nil {
		return ErrPublicKey
	}
	return curve25519{}.public(pub[mlkem768.PublicKeySize:])
}

// Encapsulate implements KEM.
func (hybrid) Encapsulate(rand io.Reader, pub []byte) (shared, enc []byte, err error) {
	var pq mlkem768.PublicKey
	if len(pub) != hybridPublic || pq.Unpack(pub[:mlkem768.PublicKeySize]) != nil {
		return nil, nil, ErrPublicKey
	}
	var seed [mlkem768.EncapsulationSeedSize]byte
	var ssM [mlkem768.SharedKeySize]byte
	defer clear(seed[:])
	defer clear(ssM[:])
	if _, err := io.ReadFull(rand, seed[:]); err != nil {
		return nil, nil, fmt.Errorf("randomness: %w", err)
	}
	pubX := pub[mlkem768.PublicKeySize:]
	ssX, encX, err := DHKEMX25519.Encapsulate(rand, pubX)
	if err != nil {
		return nil, nil, err
	}
	defer clear(ssX)
	enc = make([]byte, hybridEnc)
	pq.EncapsulateTo(enc[:mlkem768.CiphertextSize], ssM[:], seed[:])
	copy(enc[mlkem768.CiphertextSize:], encX)
	return combine(ssM[:], ssX, encX, pubX), enc, nil
}

// Decapsulate implements KEM.
func (hybrid) Decapsulate(priv *PrivateKey, enc []byte) ([]byte, error) {
	key, ok := priv.parsed.(*hybridKey)
	if !ok {
		return nil, ErrPrivateKey
	}
	if len(enc) != hybridEnc {
		return nil, ErrEncapsulation
	}
	var ssM [mlkem768.SharedKeySize]byte
	defer clear(ssM[:])
	key.pq.DecapsulateTo(ssM[:], enc[:mlkem768.CiphertextSize])
	encX := enc[mlkem768.CiphertextSize:]
	ssX, err := DHKEMX25519.Decapsulate(key.classic, encX)
	if err != nil {
		return nil, err
	}
	defer clear(ssX)
	return combine(ssM[:], ssX, encX, key.classic.public), nil
}

func combine(ssM, ssX, encX, pubX []byte) []byte {
	h := sha3.New256()
	h.Write([]byte(hybridLabel))
	h.Write(ssM)
	h.Write(ssX)
	h.Write(encX)
	h.Write(pubX)
	return h.Sum(nil)
}

package jwt

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// DIDKey returns the did:key of an Ed25519 key: "did:key:z" and the base58 of ed 01 and its 32 bytes (P-jwt-9).
func DIDKey(k ed25519.PublicKey) string {
	const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	n, radix, digit := new(big.Int).SetBytes(append([]byte{0xed, 0x01}, k...)), big.NewInt(58), new(big.Int)
	var digits []byte
	for n.Sign() > 0 {
		n.DivMod(n, radix, digit)
		digits = append(digits, alphabet[digit.Int64()])
	}
	slices.Reverse(digits)
	return "did:key:z" + string(digits)
}

// Ed25519Key reads a private key from the first block of PEM that is a PRIVATE KEY; other text is passed over (P-id-1).
func Ed25519Key(b []byte) (ed25519.PrivateKey, error) {
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			return nil, errors.New("invalid Ed25519 key: there is no block -----BEGIN PRIVATE KEY-----: " +
				"`openssl genpkey -algorithm ed25519` makes one")
		}
		if block.Type != "PRIVATE KEY" {
			b = rest
			continue
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("invalid Ed25519 key: its block is no PKCS #8") // what is wrong could quote it
		}
		k, ok := key.(ed25519.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("invalid Ed25519 key: it is a %T: `openssl genpkey -algorithm ed25519` makes one of Ed25519", key)
		}
		return k, nil
	}
}

// NewSelfSigner returns a Signer of an Ed25519 key, as Ed25519Key reads it: issuer and subject of its tokens are the key's did:key, and
// there is no audience (P-id-1).
func NewSelfSigner(text []byte) (*Signer, error) {
	key, err := Ed25519Key(text)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	did := DIDKey(key.Public().(ed25519.PublicKey))
	return NewSigner(SignerOptions{Subject: did, Issuer: did,
		Key: Key{Algorithm: "EdDSA", Format: PEM, Data: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))}})
}

package jwt

import (
	"crypto/ed25519"
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

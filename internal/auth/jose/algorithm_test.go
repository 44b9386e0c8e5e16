package jose

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"math/big"
	"strings"
	"testing"
)

// rsaOf is a public key of so many bits.
func rsaOf(bits, exponent int) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: exponent}
}

// Each algorithm has one kind of key, of a size and an exponent that prove something.
func TestFits(t *testing.T) {
	p256 := &ecdsa.PublicKey{Curve: elliptic.P256()}
	for _, tc := range []struct {
		algorithm string
		key       any
		want      string // of the reason; "": it fits
	}{
		{"RS256", rsaOf(minRSA, 65537), ""},
		{"PS512", rsaOf(maxRSA, 3), ""},
		{"RS256", &rsa.PrivateKey{PublicKey: *rsaOf(minRSA, 65537)}, ""},
		{"RS256", rsaOf(minRSA, 1), "whose exponent is 1: no signature of it proves anything"}, // any message is its own signature
		{"RS256", rsaOf(minRSA, -1), "whose exponent is -1"},
		{"RS256", rsaOf(minRSA, 0), "whose exponent is 0"},
		{"RS256", rsaOf(minRSA, 2), "whose exponent is 2"},
		{"RS256", rsaOf(minRSA, 65536), "whose exponent is 65536"},
		{"RS256", &rsa.PrivateKey{PublicKey: *rsaOf(minRSA, 1)}, "whose exponent is 1"},
		{"RS256", rsaOf(minRSA-1, 65537), "is an RSA key of 2047 bits: make one of 2048 to 8192"},
		{"RS256", rsaOf(maxRSA+1, 65537), "is an RSA key of 8193 bits: make one of 2048 to 8192"},
		{"ES256", rsaOf(minRSA, 65537), "is an RSA key, and ES256 wants an EC key of curve P-256"},
		{"HS256", rsaOf(minRSA, 65537), "is an RSA key, and HS256 wants a secret"},
		{"ES256", p256, ""},
		{"ES256", &ecdsa.PrivateKey{PublicKey: *p256}, ""},
		{"ES384", p256, "is a key of curve P-256, and ES384 wants an EC key of curve P-384"},
		{"RS256", p256, "is an EC key, and RS256 wants an RSA key of 2048 to 8192 bits"},
		{"EdDSA", make(ed25519.PublicKey, ed25519.PublicKeySize), ""},
		{"EdDSA", make(ed25519.PrivateKey, ed25519.PrivateKeySize), ""},
		{"ES256", make(ed25519.PublicKey, ed25519.PublicKeySize), "is an Ed25519 key, and ES256 wants"},
		{"HS256", []byte("x"), ""},
		{"HS256", []byte{}, "is an empty Secret: everybody could sign with it"},
		{"RS256", []byte("x"), "is a secret, and RS256 wants an RSA key"},
		{"RS256", "x", "is of a kind that signs nothing here (string), and RS256 wants"},
	} {
		t.Run(fmt.Sprintf("%s %T %.60s", tc.algorithm, tc.key, tc.want), func(t *testing.T) {
			err := Named(tc.algorithm).Fits(tc.key)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

// Strict authentication wants secrets as long as the algorithm's digest; what else signs has none.
func TestLong(t *testing.T) {
	for _, tc := range []struct {
		algorithm string
		key       any
		strict    bool
		fits      bool
	}{
		{"HS256", make([]byte, 32), true, true},
		{"HS256", make([]byte, 31), true, false},
		{"HS256", make([]byte, 31), false, true},
		{"HS384", make([]byte, 47), true, false},
		{"HS512", make([]byte, 63), true, false},
		{"HS512", make([]byte, 64), true, true},
		{"RS256", rsaOf(minRSA, 65537), true, true},
	} {
		if err := Named(tc.algorithm).Long(tc.key, tc.strict); (err == nil) != tc.fits {
			t.Errorf("%s, %T, strict %v: %v", tc.algorithm, tc.key, tc.strict, err)
		}
	}
}

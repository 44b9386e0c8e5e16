package suite

import (
	"crypto"
	"crypto/elliptic"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/mls/internal/hpke"
)

// ID is the number of a cipher suite (RFC 9420, section 17.1).
type ID uint16

// The suites there are.
const (
	X25519AES128SHA256Ed25519   ID = 1
	P256AES128SHA256P256        ID = 2
	X25519ChaCha20SHA256Ed25519 ID = 3
	X448AES256SHA512Ed448       ID = 4
	P521AES256SHA512P521        ID = 5
	X448ChaCha20SHA512Ed448     ID = 6
	P384AES256SHA384P384        ID = 7
	MLKEM768X25519AES128Ed25519 ID = 65100 // private number of mls-rs
)

// row is what the registry says of a suite.
type row struct {
	id   ID
	name string
	kem  hpke.KEM
	kdf  *hpke.KDF
	aead *hpke.AEAD
	sig  Signer
}

var (
	ecdsaP256 = ecdsaOn{elliptic.P256(), crypto.SHA256, 32}
	ecdsaP384 = ecdsaOn{elliptic.P384(), crypto.SHA384, 48}
	ecdsaP521 = ecdsaOn{elliptic.P521(), crypto.SHA512, 66}
)

var rows = []row{
	{1, "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519", hpke.DHKEMX25519, hpke.HKDFSHA256, hpke.AES128GCM, eddsa25519{}},
	{2, "MLS_128_DHKEMP256_AES128GCM_SHA256_P256", hpke.DHKEMP256, hpke.HKDFSHA256, hpke.AES128GCM, ecdsaP256},
	{3, "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519", hpke.DHKEMX25519, hpke.HKDFSHA256, hpke.ChaCha20Poly1305, eddsa25519{}},
	{4, "MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448", hpke.DHKEMX448, hpke.HKDFSHA512, hpke.AES256GCM, eddsa448{}},
	{5, "MLS_256_DHKEMP521_AES256GCM_SHA512_P521", hpke.DHKEMP521, hpke.HKDFSHA512, hpke.AES256GCM, ecdsaP521},
	{6, "MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448", hpke.DHKEMX448, hpke.HKDFSHA512, hpke.ChaCha20Poly1305, eddsa448{}},
	{7, "MLS_256_DHKEMP384_AES256GCM_SHA384_P384", hpke.DHKEMP384, hpke.HKDFSHA384, hpke.AES256GCM, ecdsaP384},
	{65100, "ML_KEM_768_X25519", hpke.MLKEM768X25519, hpke.HKDFSHA256, hpke.AES128GCM, eddsa25519{}},
}

var suites = register(rows)

func register(rows []row) map[ID]*Suite {
	m := make(map[ID]*Suite, len(rows))
	for _, r := range rows {
		m[r.id] = &Suite{id: r.id, hpke: hpke.New(r.kem, r.kdf, r.aead), kdf: r.kdf, aead: r.aead, sig: r.sig}
	}
	return m
}

// Lookup finds a suite.
func Lookup(id ID) (*Suite, bool) {
	s, ok := suites[id]
	return s, ok
}

// All are the numbers of all suites, ascending.
func All() []ID {
	ids := make([]ID, len(rows))
	for i, r := range rows {
		ids[i] = r.id
	}
	return ids
}

// String is the registered name, or the number.
func (id ID) String() string {
	for _, r := range rows {
		if r.id == id {
			return r.name
		}
	}
	return fmt.Sprintf("cipher suite %#04x", uint16(id))
}

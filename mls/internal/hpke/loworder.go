package hpke

import "encoding/hex"

// The coordinates of points of low order, in every form that decoding accepts, little-endian: of Curve25519, whose last bit is ignored, and of
// Curve448.
var (
	lowOrder25519 = fromHex(
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	)
	lowOrder448 = fromHex(
		"0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
		"fefffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"fffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"00000000000000000000000000000000000000000000000000000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	)
)

func fromHex(texts ...string) map[string]bool {
	m := make(map[string]bool, len(texts))
	for _, t := range texts {
		b, err := hex.DecodeString(t)
		if err != nil {
			panic(err)
		}
		m[string(b)] = true
	}
	return m
}

// isLowOrder looks for a public key, whose last byte counts as far as mask says. Time may depend on it: it is public.
func isLowOrder(pub []byte, mask byte, list map[string]bool) bool {
	var room [64]byte
	b := append(room[:0], pub...)
	b[len(b)-1] &= mask
	return list[string(b)]
}

//go:build !race

package hpke

import "testing"

// Under the race detector pools drop what they are given, at random.

func TestAllocsOfKeyDerivation(t *testing.T) {
	var out, key, info [32]byte
	for name, f := range map[string]func(){
		"Expand":  func() { HKDFSHA256.Expand(out[:], key[:], info[:], []byte("label")) },
		"Extract": func() { HKDFSHA256.Extract(out[:], key[:], info[:]) },
		"MAC":     func() { HKDFSHA256.MAC(out[:0], key[:], info[:]) },
	} {
		if n := testing.AllocsPerRun(100, f); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

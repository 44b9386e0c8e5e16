//go:build !race

package p256

import (
	"crypto/rand"
	"testing"
)

// Under the race detector pools drop what they are given, at random.

func TestAllocsOfSignatures(t *testing.T) {
	k, sign := newKey(t)
	sig, digest := sign(1)
	for range 3 {
		k.Verify(&digest, sig)
	}
	if n := testing.AllocsPerRun(100, func() { k.Verify(&digest, sig) }); n > 0 {
		t.Errorf("checking: %v allocations", n)
	}
	dst := make([]byte, 0, maxDER)
	if n := testing.AllocsPerRun(100, func() { dst, _ = Sign(dst[:0], rand.Reader, &[32]byte{1}, &digest) }); n > 0 {
		t.Errorf("signing: %v allocations", n)
	}
}

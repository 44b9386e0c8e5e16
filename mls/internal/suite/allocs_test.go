//go:build !race

package suite

import (
	"crypto/rand"
	"testing"
)

// Under the race detector pools drop what they are given, at random.

func TestAllocsOfTheMessagePath(t *testing.T) {
	s := lookup(t, X25519AES128SHA256Ed25519)
	key, err := s.GenerateSigningKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Verifier(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sec, content := secret(make([]byte, 32)), make([]byte, 1000)
	var out Secret
	var k [16]byte
	sig, err := s.SignWithLabel(rand.Reader, key, "FramedContentTBS", content)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		most float64
		f    func()
	}{
		{"DeriveSecret", 0, func() { s.DeriveSecret(&out, sec, "label") }},
		{"DeriveTreeSecret", 0, func() { s.DeriveTreeSecret(k[:], sec, "key", 7) }},
		{"MAC", 0, func() { s.MAC(k[:0:0], k[:], content) }},
		{"SignWithLabel", 1, func() { _, _ = s.SignWithLabel(rand.Reader, key, "FramedContentTBS", content) }},
		{"VerifyWithLabel", 0, func() { s.VerifyWithLabel(v, "FramedContentTBS", content, sig) }},
	} {
		if n := testing.AllocsPerRun(200, c.f); n > c.most && c.name != "MAC" || n > 1 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

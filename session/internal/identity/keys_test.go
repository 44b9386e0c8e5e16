package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"hash/maphash"
	"testing"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// A key says of each signature what the standard library says, from the first check to those with a table, and whatever
// other keys were in its place meanwhile.
func TestKnownKeys(t *testing.T) {
	type pair struct {
		public []byte
		sign   func(b []byte) []byte
	}
	k := &knownKeys{seed: maphash.MakeSeed()}
	pairs := make([]pair, 0, mostKnown+300)
	for i := range cap(pairs) {
		if i%8 != 0 { // they are cheaper to make
			public, private, err := ed25519.GenerateKey(nil)
			if err != nil {
				t.Fatal(err)
			}
			pairs = append(pairs, pair{public, func(b []byte) []byte { return ed25519.Sign(private, b) }})
			continue
		}
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		public, err := private.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if i%16 == 0 {
			public = elliptic.MarshalCompressed(elliptic.P256(), private.X, private.Y)
		}
		pairs = append(pairs, pair{public, func(b []byte) []byte {
			sum := sha256.Sum256(b)
			sig, err := ecdsa.SignASN1(rand.Reader, private, sum[:])
			if err != nil {
				t.Fatal(err)
			}
			return sig
		}})
	}
	text := []byte("a header")
	check := func(i int) {
		t.Helper()
		p, other := pairs[i], pairs[(i+16)%len(pairs)]
		sig := p.sign(text)
		if !k.verify(p.public, text, sig) {
			t.Fatalf("a signature of key %d does not verify", i)
		}
		if k.verify(p.public, []byte("another header"), sig) || k.verify(other.public, text, sig) || k.verify(p.public, text, sig[:len(sig)-1]) ||
			k.verify(p.public, text, nil) {
			t.Fatalf("a wrong signature of key %d verifies", i)
		}
	}
	for i := range 16 { // keys of all kinds, with tables
		for range 5 {
			check(i)
		}
	}
	for i := range pairs { // more than there are places
		check(i)
	}
	for i := range 16 {
		check(i)
	}
}

// What is lent to verify is the caller's again.
func TestKnownKeysAreCopies(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	k := &knownKeys{seed: maphash.MakeSeed()}
	text := []byte("a header")
	sig := ed25519.Sign(private, text)
	lent := bytes.Clone(public)
	if !k.verify(lent, text, sig) {
		t.Fatal("it does not verify")
	}
	clear(lent)
	for range 5 {
		if !k.verify(public, text, sig) {
			t.Fatal("it does not verify once the first key's bytes have changed")
		}
	}
}

// A key that checks often is parsed once: heartbeats are nearly all that sessions at rest cost.
func TestAllocsOfSignatures(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := private.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	public, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewKey(scalar, public)
	if err != nil {
		t.Fatal(err)
	}
	m := &message.Message{
		Source: wire.Text("a", "b", "c"), Dest: wire.Text("d", "e", "f"), Identity: "token", Kind: message.PointToPoint,
		Type: message.Heartbeat, Session: 1, ID: 2, Command: &message.Beat{Epoch: 3},
	}
	if got := testing.AllocsPerRun(100, func() {
		if err := k.Sign(m); err != nil {
			t.Fatal(err)
		}
	}); got > 40 {
		t.Errorf("signing takes %v allocations", got)
	}
	claims := &Claims{PublicKey: public}
	if got := testing.AllocsPerRun(100, func() {
		if ok, err := VerifySignatures(m, claims); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}); got > 30 {
		t.Errorf("checking takes %v allocations", got)
	}
}

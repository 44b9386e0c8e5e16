package p256

import (
	"bytes"
	"crypto/rand"
	"math/big"
	"testing"
)

// given is room for a signature with a nonce and a blind that are no secrets.
func given(nonce, blind *big.Int) *work {
	w := new(work)
	w.d.set(&[32]byte{31: 7})
	w.nonce, w.blind = bytesOf(nonce), bytesOf(blind)
	return w
}

// What is inverted, in time that depends on it, is the nonce times the blind, and not the nonce.
func TestInvertedIsBlinded(t *testing.T) {
	nonce, blind := big.NewInt(1234567), new(big.Int).Sub(order, big.NewInt(89))
	w := given(nonce, blind)
	if !w.sign(&[32]byte{1}) {
		t.Fatal("not signed")
	}
	want := new(big.Int).Mul(nonce, blind)
	want.ModInverse(want, order)
	if want.Mul(want, r).Mod(want, order); w.k.big().Cmp(want) != 0 {
		t.Errorf("%x was inverted to, want %x", w.k.big(), want)
	}
}

// Nonce and blind are different values, and others with each try.
func TestDerivedValuesDiffer(t *testing.T) {
	var w work
	seen := map[[32]byte]string{}
	for _, label := range []string{nonceLabel, blindLabel} {
		for try := range byte(3) {
			var out [32]byte
			w.derive(&out, label, try, &[32]byte{1}, &[32]byte{2})
			if before, ok := seen[out]; ok {
				t.Errorf("%q and %q give the same at try %d", before, label, try)
			}
			seen[out] = label
		}
	}
}

// A nonce that is no scalar is refused and not reduced, which would make some more likely than others; so is one that makes s zero.
func TestNoncesThatDoNotServe(t *testing.T) {
	one := big.NewInt(1)
	for _, nonce := range []*big.Int{new(big.Int), order, new(big.Int).Add(order, one), new(big.Int).Sub(r, one)} {
		if given(nonce, one).sign(&[32]byte{1}) {
			t.Errorf("nonce %x: signed", nonce)
		}
	}
	if given(one, new(big.Int)).sign(&[32]byte{1}) {
		t.Error("blind 0: signed")
	}
	w := given(one, one) // r is the generator's x
	e := new(big.Int).SetBytes(gx[:])
	e.Mul(e, w.d.big()).Neg(e).Mod(e, order)
	digest := bytesOf(e)
	if w.sign(&digest) {
		t.Error("s of 0: signed")
	}
}

// Nothing of a signature stays in the room it was made in: a nonce is as good as the key.
func TestRoomIsWiped(t *testing.T) {
	for name, random := range map[string][]byte{"signed": make([]byte, 32), "randomness fails": bytes.Repeat([]byte{1}, 31)} {
		w := given(big.NewInt(5), big.NewInt(6))
		if w.sign(&[32]byte{1}); *w == (work{}) {
			t.Fatal("nothing to be wiped")
		}
		w.done()
		if *w != (work{}) {
			t.Error("what is given back is not wiped")
		}
		_, err := Sign(nil, bytes.NewReader(random), &[32]byte{31: 7}, &[32]byte{1})
		if (err == nil) != (len(random) == 32) {
			t.Fatal(err)
		}
		if w := spare.Get().(*work); *w != (work{}) { // what was just used, or new
			t.Errorf("%s: the room is not wiped", name)
		}
	}
}

// A signature with the same randomness for two digests does not tell the key: the nonces differ, and so do the blinds.
func TestRandomnessThatRepeats(t *testing.T) {
	random := make([]byte, 32)
	rand.Read(random)
	var w [2]work
	for i := range w {
		copy(w[i].random[:], random)
		w[i].derive(&w[i].nonce, nonceLabel, 0, &[32]byte{1}, &[32]byte{byte(i)})
		w[i].derive(&w[i].blind, blindLabel, 0, &[32]byte{1}, &[32]byte{byte(i)})
	}
	if w[0].nonce == w[1].nonce || w[0].blind == w[1].blind {
		t.Error("the same for two digests")
	}
}

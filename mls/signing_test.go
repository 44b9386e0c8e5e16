package mls_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"github.com/seed31b3bfd0/slimgo/mls"
)

// What a member signs outside of MLS is checked with its public key, of every suite, and is no signature of MLS.
func TestSignedOutsideOfMLS(t *testing.T) {
	t.Parallel()
	for _, cs := range mls.CipherSuites() {
		k, err := mls.GenerateSigningKey(cs, nil)
		if err != nil {
			t.Fatal(err)
		}
		public := bytes.Clone(k.Public())
		v, err := mls.ParseVerifyingKey(cs, public)
		if err != nil {
			t.Fatalf("%v: %v", cs, err)
		}
		clear(public) // it has a copy
		text := []byte("slim-payload-v1")
		for range 5 { // from some time on with a table
			sig, err := k.Sign([]byte("before"), nil, text)
			if err != nil || !bytes.HasPrefix(sig, []byte("before")) {
				t.Fatalf("%v: signature %x, %v", cs, sig, err)
			}
			sig = sig[len("before"):]
			if !v.Verify(text, sig) {
				t.Errorf("%v: it does not verify", cs)
			}
			if v.Verify(append(text, 0), sig) || v.Verify(text, sig[1:]) || v.Verify(text, nil) {
				t.Errorf("%v: what is wrong verifies", cs)
			}
		}
		k.Wipe()
		if sig, err := k.Sign([]byte("before"), nil, text); err == nil || string(sig) != "before" {
			t.Errorf("%v: a wiped key signs: %x, %v", cs, sig, err)
		}
		if _, err := mls.ParseVerifyingKey(cs, make([]byte, 5)); mls.KindOf(err) != mls.Invalid {
			t.Errorf("%v: five bytes are a key: %v", cs, err)
		}
	}
	if _, err := mls.ParseVerifyingKey(0xffff, make([]byte, ed25519.PublicKeySize)); mls.KindOf(err) != mls.Unsupported {
		t.Errorf("no suite: %v", err)
	}
}

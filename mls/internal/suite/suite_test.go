package suite

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/mls/internal/vectors"
)

func lookup(t testing.TB, id ID) *Suite {
	t.Helper()
	s, ok := Lookup(id)
	if !ok {
		t.Fatalf("%v is missing", id)
	}
	return s
}

func secret(b []byte) *Secret {
	s := new(Secret)
	s.Set(b)
	return s
}

// The file of the working group, all suites.
func TestCryptoBasicsVectors(t *testing.T) {
	type hex = vectors.Hex
	var cases []struct {
		Suite   ID `json:"cipher_suite"`
		RefHash struct {
			Label      string
			Value, Out hex
		} `json:"ref_hash"`
		Expand struct {
			Secret, Context, Out hex
			Label                string
			Length               int
		} `json:"expand_with_label"`
		Derive struct {
			Secret, Out hex
			Label       string
		} `json:"derive_secret"`
		Tree struct {
			Secret, Out hex
			Label       string
			Generation  uint32
			Length      int
		} `json:"derive_tree_secret"`
		Sign struct {
			Priv, Pub, Content, Signature hex
			Label                         string
		} `json:"sign_with_label"`
		Encrypt struct {
			Priv, Pub, Context, Plaintext, Ciphertext hex
			KEM                                       hex `json:"kem_output"`
			Label                                     string
		} `json:"encrypt_with_label"`
	}
	vectors.Read(t, "crypto-basics.json", &cases)
	seen := map[ID]bool{}
	for _, c := range cases {
		t.Run(c.Suite.String(), func(t *testing.T) {
			s := lookup(t, c.Suite)
			seen[c.Suite] = true
			if got := s.RefHash(nil, c.RefHash.Label, c.RefHash.Value); !bytes.Equal(got, c.RefHash.Out) {
				t.Errorf("RefHash %x", got)
			}
			out := make([]byte, c.Expand.Length)
			if s.ExpandWithLabel(out, c.Expand.Secret, c.Expand.Label, c.Expand.Context); !bytes.Equal(out, c.Expand.Out) {
				t.Errorf("ExpandWithLabel %x", out)
			}
			var derived Secret
			if s.DeriveSecret(&derived, secret(c.Derive.Secret), c.Derive.Label); !bytes.Equal(derived.Bytes(), c.Derive.Out) {
				t.Errorf("DeriveSecret %x", derived.Bytes())
			}
			out = make([]byte, c.Tree.Length)
			if s.DeriveTreeSecret(out, secret(c.Tree.Secret), c.Tree.Label, c.Tree.Generation); !bytes.Equal(out, c.Tree.Out) {
				t.Errorf("DeriveTreeSecret %x", out)
			}
			checkSignature(t, s, c.Sign.Priv, c.Sign.Pub, c.Sign.Label, c.Sign.Content, c.Sign.Signature)

			priv, err := s.ParsePrivateKey(c.Encrypt.Priv)
			if err != nil || !bytes.Equal(priv.Public(), c.Encrypt.Pub) {
				t.Fatalf("private key: %v", err)
			}
			text, err := s.DecryptWithLabel(priv, c.Encrypt.Label, c.Encrypt.Context, c.Encrypt.KEM, c.Encrypt.Ciphertext)
			if err != nil || !bytes.Equal(text, c.Encrypt.Plaintext) {
				t.Errorf("DecryptWithLabel %x, %v", text, err)
			}
			kem, ct, err := s.EncryptWithLabel(rand.Reader, c.Encrypt.Pub, c.Encrypt.Label, c.Encrypt.Context, c.Encrypt.Plaintext)
			if err != nil {
				t.Fatal(err)
			}
			if text, err := s.DecryptWithLabel(priv, c.Encrypt.Label, c.Encrypt.Context, kem, ct); err != nil || !bytes.Equal(text, c.Encrypt.Plaintext) {
				t.Errorf("own ciphertext: %x, %v", text, err)
			}
		})
	}
	for id := ID(1); id <= 7; id++ {
		if !seen[id] {
			t.Errorf("the file has no case for %v", id)
		}
	}
}

// checkSignature: the given one verifies, ours made with the same key verifies, and neither with anything changed.
func checkSignature(t *testing.T, s *Suite, priv, pub []byte, label string, content, signature []byte) {
	t.Helper()
	v, err := s.Verifier(pub)
	if err != nil {
		t.Fatal(err)
	}
	key, err := s.ParseSigningKey(priv)
	if err != nil || !bytes.Equal(key.Public(), pub) {
		t.Fatalf("signature key: %v", err)
	}
	own, err := s.SignWithLabel(rand.Reader, key, label, content)
	if err != nil {
		t.Fatal(err)
	}
	for _, sig := range [][]byte{signature, own} {
		if !s.VerifyWithLabel(v, label, content, sig) {
			t.Errorf("%x does not verify", sig)
		}
		damaged := bytes.Clone(sig)
		damaged[len(damaged)/2] ^= 1
		for name, ok := range map[string]bool{
			"other label":   s.VerifyWithLabel(v, label+"x", content, sig),
			"other content": s.VerifyWithLabel(v, label, append(bytes.Clone(content), 0), sig),
			"damaged":       s.VerifyWithLabel(v, label, content, damaged),
			"cut":           s.VerifyWithLabel(v, label, content, sig[1:]),
			"empty":         s.VerifyWithLabel(v, label, content, nil),
		} {
			if ok {
				t.Errorf("verifies with %s", name)
			}
		}
	}
}

func TestKeysOfEverySuite(t *testing.T) {
	for _, id := range All() {
		t.Run(id.String(), func(t *testing.T) {
			s := lookup(t, id)
			key, err := s.GenerateSigningKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			sig, err := s.SignWithLabel(rand.Reader, key, "Label", []byte("content"))
			if err != nil {
				t.Fatal(err)
			}
			checkSignature(t, s, key.Bytes(), key.Public(), "Label", []byte("content"), sig)
			for _, pub := range [][]byte{nil, key.Public()[1:], append(bytes.Clone(key.Public()), 0)} {
				if _, err := s.Verifier(pub); err == nil {
					t.Errorf("a public key of %d bytes is accepted", len(pub))
				}
			}
			if _, err := s.ParseSigningKey(nil); err == nil {
				t.Error("an empty private key is accepted")
			}
			if _, err := s.GenerateSigningKey(bytes.NewReader(nil)); err == nil {
				t.Error("a key without randomness")
			}
			key.Wipe()
			if _, err := s.SignWithLabel(rand.Reader, key, "Label", nil); err == nil {
				t.Error("a wiped key signs")
			}
			kem, want, err := func() ([]byte, []byte, error) {
				priv, err := s.GenerateKeyPair(rand.Reader)
				if err != nil {
					return nil, nil, err
				}
				if err := s.CheckPublicKey(priv.Public()); err != nil {
					return nil, nil, err
				}
				kem, want, err := s.SendExport(rand.Reader, priv.Public(), "label", 32)
				if err != nil {
					return nil, nil, err
				}
				got, err := s.ReceiveExport(priv, kem, "label", 32)
				if !bytes.Equal(got, want) {
					t.Errorf("exported %x, want %x", got, want)
				}
				return kem, want, err
			}()
			if err != nil || len(kem) == 0 || len(want) != 32 {
				t.Errorf("export: %v", err)
			}
		})
	}
}

// The same randomness gives the same keys, so that tests can be deterministic.
func TestKeysComeFromTheGivenRandomness(t *testing.T) {
	for _, id := range All() {
		s := lookup(t, id)
		seed := bytes.Repeat([]byte{0x11}, 4096)
		a, err := s.GenerateSigningKey(bytes.NewReader(seed))
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.GenerateSigningKey(bytes.NewReader(seed))
		if err != nil || !bytes.Equal(a.Public(), b.Public()) {
			t.Errorf("%v: signature keys differ", id)
		}
		c, err := s.GenerateKeyPair(bytes.NewReader(seed))
		if err != nil {
			t.Fatal(err)
		}
		d, err := s.GenerateKeyPair(bytes.NewReader(seed))
		if err != nil || !bytes.Equal(c.Public(), d.Public()) {
			t.Errorf("%v: HPKE keys differ", id)
		}
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	s := secret([]byte("very secret bytes"))
	key, err := lookup(t, 1).GenerateSigningKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%s %x %v %+v %#v %q %d", s, s, s, s, s, s, s), s.GoString(), s.String(),
		fmt.Sprintf("%x %v %+v %#v", key, key, key, key), key.GoString(), key.String()} {
		if strings.Contains(text, "very") || strings.Contains(text, "76657279") || strings.Contains(text, "118 101") ||
			strings.Contains(text, fmt.Sprintf("%x", key.private.b[:4])) || !strings.Contains(text, redacted) {
			t.Errorf("printed as %s", text)
		}
	}
	for _, v := range []any{s, key} {
		if b, err := json.Marshal(v); err == nil {
			t.Errorf("marshalled as %s", b)
		}
	}
}

func TestSecretLifetime(t *testing.T) {
	a, b := secret([]byte{1, 2, 3}), new(Secret)
	b.Take(a)
	if a.Len() != 0 || !bytes.Equal(b.Bytes(), []byte{1, 2, 3}) || a.b != [MaxSecret]byte{} {
		t.Errorf("moved: %x, %x", a.b, b.b)
	}
	if !b.Equal(secret([]byte{1, 2, 3})) || b.Equal(secret([]byte{1, 2, 4})) || b.Equal(secret([]byte{1, 2})) {
		t.Error("comparison is wrong")
	}
	b.Set([]byte{9})
	if b.b != [MaxSecret]byte{9} {
		t.Errorf("bytes of the old value stay: %x", b.b)
	}
	b.Wipe()
	if b.Len() != 0 || b.b != [MaxSecret]byte{} {
		t.Errorf("wiped: %x", b.b)
	}
	(*Secret)(nil).Wipe()
}

func TestUnknownSuite(t *testing.T) {
	if _, ok := Lookup(0x0a0a); ok || ID(0x0a0a).String() != "cipher suite 0x0a0a" {
		t.Errorf("%v", ID(0x0a0a))
	}
}

// FuzzVerifier: keys and signatures of any bytes are refused or used. A run does one of the two operations, which take
// up to milliseconds under the fuzzer, as the high bit of its first byte says.
func FuzzVerifier(f *testing.F) {
	for i, id := range All() {
		s := lookup(f, id)
		key, err := s.GenerateSigningKey(rand.Reader)
		if err != nil {
			f.Fatal(err)
		}
		sig, err := s.SignWithLabel(rand.Reader, key, "l", []byte("c"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), key.Public(), sig)
		f.Add(uint8(i)|0x80, key.Bytes(), []byte{})
	}
	f.Fuzz(func(t *testing.T, i uint8, key, sig []byte) {
		ids := All()
		s := lookup(t, ids[int(i&0x7f)%len(ids)])
		if i < 0x80 {
			if v, err := s.Verifier(key); err == nil {
				s.VerifyWithLabel(v, "l", []byte("c"), sig)
			}
			return
		}
		if k, err := s.ParseSigningKey(key); err == nil {
			if _, err := s.SignWithLabel(rand.Reader, k, "l", []byte("c")); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkSuite(b *testing.B) {
	for _, id := range []ID{1, 2, 3, 4, 7, 65100} {
		s := lookup(b, id)
		key, err := s.GenerateSigningKey(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		v, err := s.Verifier(key.Public())
		if err != nil {
			b.Fatal(err)
		}
		content := make([]byte, 600)
		sig, err := s.SignWithLabel(rand.Reader, key, "l", content)
		if err != nil {
			b.Fatal(err)
		}
		sec := secret(make([]byte, s.HashSize()))
		for name, f := range map[string]func(){
			"sign":   func() { _, _ = s.SignWithLabel(rand.Reader, key, "l", content) },
			"verify": func() { s.VerifyWithLabel(v, "l", content, sig) },
			"derive": func() { s.DeriveSecret(sec, sec, "secret") },
		} {
			b.Run(fmt.Sprintf("%d/%s", id, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					f()
				}
			})
		}
	}
}

// What is signed may be the plaintext of a private message: it does not stay where the next one is put together,
// however long it is.
func TestSignedTextsAreWiped(t *testing.T) {
	for _, n := range []int{1, 1000, maxSpareText, maxSpareText + 1} {
		room := takeText(n)
		*room = append((*room)[:0], bytes.Repeat([]byte{7}, n)...)
		text := *room
		giveText(room)
		if !bytes.Equal(text, make([]byte, n)) {
			t.Errorf("a text of %d bytes is left in the pool", n)
		}
	}
	s := lookup(t, X25519AES128SHA256Ed25519)
	key, err := s.GenerateSigningKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Verifier(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	text := bytes.Repeat([]byte("plaintext"), 100)
	sig, err := s.SignWithLabel(rand.Reader, key, "FramedContentTBS", text)
	if err != nil {
		t.Fatal(err)
	}
	if !s.VerifyWithLabel(v, "FramedContentTBS", text, sig) {
		t.Error("a signature does not verify")
	}
	for range 100 { // whatever is there
		b := *spareText.Get().(*[]byte)
		if bytes.Contains(b[:cap(b)], []byte("plaintext")) {
			t.Fatal("a text is left in the pool")
		}
	}
}

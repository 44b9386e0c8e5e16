package hpke

import (
	"bytes"
	"compress/gzip"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed31b3bfd0/slimgo/mls/internal/vectors"
)

var (
	kems  = []KEM{DHKEMP256, DHKEMP384, DHKEMP521, DHKEMX25519, DHKEMX448, MLKEM768X25519}
	kdfs  = []*KDF{HKDFSHA256, HKDFSHA384, HKDFSHA512}
	aeads = []*AEAD{AES128GCM, AES256GCM, ChaCha20Poly1305}
)

func kemName(k KEM) string { return fmt.Sprintf("KEM %#04x", k.ID()) }

// published reads the vectors of RFC 9180, as circl's module ships them.
func published(t *testing.T, v any) {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cloudflare/circl").Output()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(strings.TrimSpace(string(out)), "hpke", "testdata", "vectors_rfc9180_5f503c5.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(v); err != nil {
		t.Fatal(err)
	}
}

// All vectors of base mode with an AEAD that MLS uses, for the KEMs they have: to the byte, ephemeral keys included.
func TestPublishedVectors(t *testing.T) {
	var cases []struct {
		Mode   int
		KEM    uint16      `json:"kem_id"`
		KDF    uint16      `json:"kdf_id"`
		AEAD   uint16      `json:"aead_id"`
		Info   vectors.Hex `json:"info"`
		IkmR   vectors.Hex `json:"ikmR"`
		IkmE   vectors.Hex `json:"ikmE"`
		SkRm   vectors.Hex `json:"skRm"`
		PkRm   vectors.Hex `json:"pkRm"`
		Enc    vectors.Hex `json:"enc"`
		Shared vectors.Hex `json:"shared_secret"`
		Sealed []struct {
			AAD   vectors.Hex `json:"aad"`
			CT    vectors.Hex `json:"ct"`
			Plain vectors.Hex `json:"pt"`
		} `json:"encryptions"`
		Exports []struct {
			Context vectors.Hex `json:"exporter_context"`
			L       int
			Value   vectors.Hex `json:"exported_value"`
		} `json:"exports"`
	}
	published(t, &cases)
	seen := map[uint16]int{}
	for _, c := range cases {
		if c.Mode != 0 || c.AEAD == 0xffff {
			continue
		}
		var s *Scheme
		for _, kem := range kems {
			for _, kdf := range kdfs {
				for _, aead := range aeads {
					if kem.ID() == c.KEM && kdf.id == c.KDF && aead.id == c.AEAD {
						s = New(kem, kdf, aead)
					}
				}
			}
		}
		if s == nil {
			t.Fatalf("nothing here is KEM %#x, KDF %d, AEAD %d", c.KEM, c.KDF, c.AEAD)
		}
		seen[c.KEM]++
		priv, err := s.KEM.Derive(c.IkmR)
		if err != nil || !bytes.Equal(priv.Bytes(), c.SkRm) || !bytes.Equal(priv.Public(), c.PkRm) {
			t.Fatalf("%s: derived %x, %x, %v", kemName(s.KEM), priv.Bytes(), priv.Public(), err)
		}
		shared, enc, err := s.KEM.Encapsulate(bytes.NewReader(c.IkmE), c.PkRm)
		if err != nil || !bytes.Equal(enc, c.Enc) || !bytes.Equal(shared, c.Shared) {
			t.Fatalf("%s: encapsulation %x, shared %x, %v", kemName(s.KEM), enc, shared, err)
		}
		first := c.Sealed[0]
		_, ct, err := s.Seal(bytes.NewReader(c.IkmE), c.PkRm, c.Info, first.AAD, first.Plain)
		if err != nil || !bytes.Equal(ct, first.CT) {
			t.Errorf("%s: sealed %x, %v", kemName(s.KEM), ct, err)
		}
		if pt, err := s.Open(priv, c.Enc, c.Info, first.AAD, first.CT); err != nil || !bytes.Equal(pt, first.Plain) {
			t.Errorf("%s: opened %x, %v", kemName(s.KEM), pt, err)
		}
		for _, e := range c.Exports {
			if got, err := s.ReceiveExport(priv, c.Enc, c.Info, e.Context, e.L); err != nil || !bytes.Equal(got, e.Value) {
				t.Errorf("%s: exported %x, %v", kemName(s.KEM), got, err)
			}
		}
	}
	for _, id := range []uint16{0x10, 0x12, 0x20, 0x21} {
		if seen[id] == 0 {
			t.Errorf("no vector for KEM %#x", id)
		}
	}
}

// HMAC and HKDF are what the standard library computes, for keys below and above a block and for outputs of many
// blocks.
func TestKDFIsTheStandardLibrarys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SampledFrom(kdfs).Draw(t, "kdf")
		draw := func(name string) []byte { return rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, name) }
		key, data := draw("key"), draw("data")
		h := hmac.New(k.newHash, key)
		h.Write(data)
		tag := h.Sum(nil)
		if got := k.MAC([]byte("x"), key, data); !bytes.Equal(got[1:], tag) || got[0] != 'x' {
			t.Fatalf("HMAC %x, want %x", got, tag)
		}
		if !k.VerifyMAC(key, data, tag) || k.VerifyMAC(key, append(data, 0), tag) || k.VerifyMAC(key, data, tag[1:]) {
			t.Fatal("verification is wrong")
		}
		want, err := hkdf.Extract(k.newHash, data, key)
		if err != nil {
			t.Fatal(err)
		}
		prk := make([]byte, k.size)
		if k.Extract(prk, key, data[:len(data)/2], data[len(data)/2:]); !bytes.Equal(prk, want) {
			t.Fatalf("Extract %x, want %x", prk, want)
		}
		n := rapid.IntRange(0, 255*k.size).Draw(t, "n")
		want, err = hkdf.Expand(k.newHash, prk, string(data), n)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]byte, n)
		if k.Expand(out, prk, data[:len(data)/3], data[len(data)/3:]); !bytes.Equal(out, want) {
			t.Fatalf("Expand %x, want %x", out, want)
		}
	})
}

func TestKeysSurviveSerialisation(t *testing.T) {
	for _, k := range kems {
		t.Run(kemName(k), func(t *testing.T) {
			priv, err := Generate(k, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			again, err := k.ParsePrivate(priv.Bytes())
			if err != nil || !bytes.Equal(again.Public(), priv.Public()) || !again.Equal(priv) {
				t.Fatalf("parsed: %v", err)
			}
			if err := k.CheckPublic(priv.Public()); err != nil {
				t.Fatal(err)
			}
			s := New(k, HKDFSHA256, AES128GCM)
			enc, ct, err := s.Seal(rand.Reader, priv.Public(), []byte("info"), []byte("aad"), []byte("text"))
			if err != nil {
				t.Fatal(err)
			}
			if pt, err := s.Open(again, enc, []byte("info"), []byte("aad"), ct); err != nil || string(pt) != "text" {
				t.Fatalf("opened %q, %v", pt, err)
			}
			enc, want, err := s.SendExport(rand.Reader, priv.Public(), nil, []byte("context"), 48)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := s.ReceiveExport(again, enc, nil, []byte("context"), 48); err != nil || !bytes.Equal(got, want) || len(got) != 48 {
				t.Fatalf("exported %x, %v; want %x", got, err, want)
			}
		})
	}
}

func TestDamageIsRefused(t *testing.T) {
	for _, k := range kems {
		t.Run(kemName(k), func(t *testing.T) {
			priv, err := Generate(k, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			s := New(k, HKDFSHA256, AES128GCM)
			enc, ct, err := s.Seal(rand.Reader, priv.Public(), []byte("info"), []byte("aad"), []byte("text"))
			if err != nil {
				t.Fatal(err)
			}
			flip := func(b []byte, i int) []byte { c := bytes.Clone(b); c[i] ^= 4; return c }
			for name, open := range map[string]func() ([]byte, error){
				"ciphertext":          func() ([]byte, error) { return s.Open(priv, enc, []byte("info"), []byte("aad"), flip(ct, 0)) },
				"tag":                 func() ([]byte, error) { return s.Open(priv, enc, []byte("info"), []byte("aad"), flip(ct, len(ct)-1)) },
				"encapsulation":       func() ([]byte, error) { return s.Open(priv, flip(enc, len(enc)/2), []byte("info"), []byte("aad"), ct) },
				"short encapsulation": func() ([]byte, error) { return s.Open(priv, enc[1:], []byte("info"), []byte("aad"), ct) },
				"no encapsulation":    func() ([]byte, error) { return s.Open(priv, nil, []byte("info"), []byte("aad"), ct) },
				"no ciphertext":       func() ([]byte, error) { return s.Open(priv, enc, []byte("info"), []byte("aad"), nil) },
				"info":                func() ([]byte, error) { return s.Open(priv, enc, nil, []byte("aad"), ct) },
				"aad":                 func() ([]byte, error) { return s.Open(priv, enc, []byte("info"), nil, ct) },
			} {
				if pt, err := open(); err == nil || pt != nil || !errors.Is(err, ErrOpen) && !errors.Is(err, ErrEncapsulation) {
					t.Errorf("%s: %x, %v", name, pt, err)
				}
			}
			for _, pub := range [][]byte{nil, {4}, priv.Public()[1:], append(bytes.Clone(priv.Public()), 0)} {
				if _, _, err := s.Seal(rand.Reader, pub, nil, nil, nil); !errors.Is(err, ErrPublicKey) {
					t.Errorf("sealed for a public key of %d bytes: %v", len(pub), err)
				}
				if err := k.CheckPublic(pub); !errors.Is(err, ErrPublicKey) {
					t.Errorf("public key of %d bytes: %v", len(pub), err)
				}
			}
			for _, b := range [][]byte{nil, append(bytes.Clone(priv.Bytes()), 1)} {
				if _, err := k.ParsePrivate(b); !errors.Is(err, ErrPrivateKey) {
					t.Errorf("private key of %d bytes: %v", len(b), err)
				}
			}
			priv.Wipe()
			if _, err := s.Open(priv, enc, []byte("info"), []byte("aad"), ct); err == nil {
				t.Error("a wiped key opens")
			}
		})
	}
}

// Points that make the shared secret a constant are refused (RFC 7748 section 6).
func TestLowOrderPointsAreRefused(t *testing.T) {
	for _, c := range []struct {
		kem KEM
		pub []byte
	}{
		{DHKEMX25519, make([]byte, 32)},
		{DHKEMX25519, append([]byte{1}, make([]byte, 31)...)},
		{DHKEMX448, make([]byte, 56)},
		{DHKEMP256, append([]byte{4}, make([]byte, 64)...)},
	} {
		if _, _, err := c.kem.Encapsulate(rand.Reader, c.pub); !errors.Is(err, ErrPublicKey) {
			t.Errorf("%s: %v", kemName(c.kem), err)
		}
		if err := c.kem.CheckPublic(c.pub); !errors.Is(err, ErrPublicKey) {
			t.Errorf("%s: checked: %v", kemName(c.kem), err)
		}
	}
}

// The lists of points of low order are right: a secret shared with one is zero, whatever the scalar. Their neighbours
// are points like all others.
func TestListsOfLowOrder(t *testing.T) {
	for _, c := range []struct {
		kem  KEM
		g    group
		list map[string]bool
		size int
		top  []byte // values of the ignored bit
	}{
		{DHKEMX25519, curve25519{}, lowOrder25519, 7, []byte{0, 0x80}}, {DHKEMX448, curve448{}, lowOrder448, 5, []byte{0}},
	} {
		if len(c.list) != c.size {
			t.Errorf("%s: %d points, want %d", kemName(c.kem), len(c.list), c.size)
		}
		k, err := Generate(c.kem, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		for p := range c.list {
			for _, top := range c.top {
				pub := []byte(p)
				pub[len(pub)-1] |= top
				if _, err := c.g.dh(k, pub); !errors.Is(err, ErrPublicKey) {
					t.Errorf("%s: %x has an order that is not low: %v", kemName(c.kem), pub, err)
				}
				if err := c.kem.CheckPublic(pub); !errors.Is(err, ErrPublicKey) {
					t.Errorf("%s: %x is accepted", kemName(c.kem), pub)
				}
			}
			beside := []byte(p)
			beside[1] ^= 0x40
			if err := c.kem.CheckPublic(beside); err != nil {
				t.Errorf("%s: %x: %v", kemName(c.kem), beside, err)
			}
		}
		if k := make([]byte, hybridPublic); MLKEM768X25519.CheckPublic(k) == nil {
			t.Error("ML-KEM-768 with a zero of X25519 is accepted")
		}
	}
}

func TestScalarsMayLackLeadingZeros(t *testing.T) {
	long := make([]byte, 32)
	long[31] = 7
	a, err := DHKEMP256.ParsePrivate(long)
	if err != nil {
		t.Fatal(err)
	}
	b, err := DHKEMP256.ParsePrivate([]byte{7})
	if err != nil || !a.Equal(b) || !bytes.Equal(a.Public(), b.Public()) {
		t.Errorf("%v", err)
	}
}

func TestPrivateKeysDoNotShow(t *testing.T) {
	k, err := Generate(DHKEMX25519, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%x %v %+v %#v %q", k, k, k, k, k), k.GoString()} {
		if strings.Contains(s, fmt.Sprintf("%x", k.bytes[:4])) || !strings.Contains(s, redacted) {
			t.Errorf("printed as %s", s)
		}
	}
	if b, err := json.Marshal(k); err == nil {
		t.Errorf("marshalled as %s", b)
	}
}

// A reader that fails must not give a key.
func TestRandomnessThatFails(t *testing.T) {
	for _, k := range kems {
		if _, err := Generate(k, bytes.NewReader(nil)); err == nil {
			t.Errorf("%s: a key without randomness", kemName(k))
		}
		priv, err := Generate(k, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := k.Encapsulate(bytes.NewReader(nil), priv.Public()); err == nil {
			t.Errorf("%s: an encapsulation without randomness", kemName(k))
		}
	}
}

// FuzzOpen: whatever a peer sends is refused or opened, for every KEM. A run does one operation, which may take
// milliseconds under the fuzzer, as the high bit of its first byte says.
func FuzzOpen(f *testing.F) {
	var schemes []*Scheme
	var keys []*PrivateKey
	for i, k := range kems {
		s := New(k, HKDFSHA256, AES128GCM)
		priv, err := k.Derive([]byte("a private key for fuzzing"))
		if err != nil {
			f.Fatal(err)
		}
		schemes, keys = append(schemes, s), append(keys, priv)
		enc, ct, err := s.Seal(rand.Reader, priv.Public(), nil, nil, []byte("text"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), enc, ct)
		f.Add(uint8(i)|0x80, priv.Public(), []byte{})
	}
	f.Fuzz(func(t *testing.T, i uint8, key, ct []byte) {
		n := int(i&0x7f) % len(schemes)
		s, priv := schemes[n], keys[n]
		if i < 0x80 {
			_, _ = s.Open(priv, key, nil, nil, ct)
			return
		}
		_, _ = s.KEM.ParsePrivate(key)
		checked := s.KEM.CheckPublic(key)
		if _, _, err := s.Seal(rand.Reader, key, nil, nil, nil); err == nil && checked != nil {
			t.Fatal("sealed for a key that is refused")
		}
	})
}

func BenchmarkSealOpen(b *testing.B) {
	for _, k := range kems {
		s := New(k, HKDFSHA256, AES128GCM)
		priv, err := Generate(k, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		text := make([]byte, 32)
		enc, ct, err := s.Seal(rand.Reader, priv.Public(), nil, nil, text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(kemName(k)+"/seal", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _, _ = s.Seal(rand.Reader, priv.Public(), nil, nil, text)
			}
		})
		b.Run(kemName(k)+"/open", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = s.Open(priv, enc, nil, nil, ct)
			}
		})
	}
}

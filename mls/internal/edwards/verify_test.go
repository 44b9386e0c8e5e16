package edwards

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/edwards25519"
	"pgregory.net/rapid"
)

// order is l, little-endian.
var order = unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")

// torsion are the eight points whose order divides 8, in all encodings that are taken for points.
var torsion = [][]byte{
	unhex("0100000000000000000000000000000000000000000000000000000000000000"),
	unhex("0100000000000000000000000000000000000000000000000000000000000080"),
	unhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
	unhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
	unhex("0000000000000000000000000000000000000000000000000000000000000000"),
	unhex("0000000000000000000000000000000000000000000000000000000000000080"),
	unhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
	unhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
	unhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
	unhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
	unhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
	unhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
	unhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
	unhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// checkAlike compares what a table says with what the standard library says, and returns that.
func checkAlike(t testing.TB, key, text, sig []byte) bool {
	t.Helper()
	want := ed25519.Verify(key, text, sig)
	b := [32]byte(key)
	table := newTable(&b)
	if len(table.entries) == 0 {
		if want {
			t.Errorf("key %x is no point, and the standard library takes its signature", key)
		}
		return want
	}
	if got := table.verify(&b, text, sig); got != want {
		t.Errorf("key %x, text %x, signature %x: %v, the standard library says %v", key, text, sig, got, want)
	}
	return want
}

func scalarOf(b []byte) *edwards25519.Scalar {
	s, err := new(edwards25519.Scalar).SetUniformBytes(append(bytes.Clone(b), make([]byte, 64-len(b))...))
	if err != nil {
		panic(err)
	}
	return s
}

func pointOf(b []byte) *edwards25519.Point {
	p, err := new(edwards25519.Point).SetBytes(b)
	if err != nil {
		panic(err)
	}
	return p
}

// anyScalar draws scalars, often small ones, their negatives, or those of long runs of bits.
func anyScalar(t *rapid.T, name string) *edwards25519.Scalar {
	s := scalarOf(rapid.OneOf(rapid.SliceOfN(rapid.Byte(), 32, 32), rapid.SliceOfN(rapid.ByteRange(0, 4), 1, 1),
		rapid.SliceOfN(rapid.SampledFrom([]byte{0, 0xff, 0x80, 1}), 32, 32)).Draw(t, name))
	if rapid.Bool().Draw(t, name+" negative") {
		s.Negate(s)
	}
	return s
}

// Sums of multiples are the library's, of keys of all parts: whatever meets in an addition.
func TestSums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := new(edwards25519.Point).ScalarBaseMult(anyScalar(t, "key"))
		if i := rapid.IntRange(-1, len(torsion)-1).Draw(t, "torsion"); i >= 0 {
			key.Add(key, pointOf(torsion[i]))
		}
		u, v := anyScalar(t, "u"), anyScalar(t, "v")
		got := newTable((*[32]byte)(key.Bytes())).sum(u.Bytes(), v.Bytes())
		want := new(edwards25519.Point).VarTimeDoubleScalarBaseMult(v, new(edwards25519.Point).Negate(key), u)
		p, err := new(edwards25519.Point).SetExtendedCoordinates(&got.x, &got.y, &got.z, &got.t)
		if err != nil || p.Equal(want) != 1 {
			t.Fatalf("%x times the generator less %x times %x: %v", u.Bytes(), v.Bytes(), key.Bytes(), err)
		}
	})
}

// A signature that is valid, and all that come from one changed bit, of it or of the key.
func TestSignatures(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("text")
	sig := ed25519.Sign(private, text)
	if !checkAlike(t, public, text, sig) {
		t.Fatal("a signature is refused")
	}
	for i := range 8 * len(sig) {
		other := bytes.Clone(sig)
		other[i/8] ^= 1 << (i % 8)
		checkAlike(t, public, text, other)
		if i < 8*len(public) {
			key := bytes.Clone(public)
			key[i/8] ^= 1 << (i % 8)
			checkAlike(t, key, text, sig)
		}
	}
	for i := range sig {
		checkAlike(t, public, text, sig[:i])
	}
	checkAlike(t, public, text, append(bytes.Clone(sig), 0))
	checkAlike(t, public, []byte("texts"), sig)
	carry := 0 // S + l is congruent to S, and not to be taken for it
	for i := range 32 {
		carry += int(sig[32+i]) + int(order[i])
		sig[32+i] = byte(carry)
		carry >>= 8
	}
	if checkAlike(t, public, text, sig) {
		t.Error("S that is not reduced is accepted")
	}
}

// Keys and R of small order, in all encodings, with an S of zero: where libraries differ.
func TestSmallOrder(t *testing.T) {
	accepted := 0
	for _, key := range torsion {
		for _, r := range torsion {
			for i := range 4 {
				if checkAlike(t, key, []byte{byte(i)}, append(bytes.Clone(r), make([]byte, 32)...)) {
					accepted++
				}
			}
		}
	}
	if accepted == 0 {
		t.Error("nothing was accepted, as it is by the standard library")
	}
}

// Keys with a part of small order: what holds then depends on k itself, and not only on what it is modulo l.
func TestMixedOrder(t *testing.T) {
	accepted := 0
	for i := range torsion {
		a, r := scalarOf([]byte{byte(i + 2)}), scalarOf([]byte{7})
		key := new(edwards25519.Point).ScalarBaseMult(a)
		key.Add(key, pointOf(torsion[i]))
		commitment := new(edwards25519.Point).ScalarBaseMult(r).Bytes()
		for n := range 32 {
			text := []byte{byte(n)}
			digest := sha512.Sum512(append(append(bytes.Clone(commitment), key.Bytes()...), text...))
			k, err := new(edwards25519.Scalar).SetUniformBytes(digest[:])
			if err != nil {
				t.Fatal(err)
			}
			s := new(edwards25519.Scalar).MultiplyAdd(k, a, r)
			if checkAlike(t, key.Bytes(), text, append(bytes.Clone(commitment), s.Bytes()...)) {
				accepted++
			}
		}
	}
	if accepted == 0 || accepted == 32*len(torsion) {
		t.Errorf("%d accepted: nothing was shown", accepted)
	}
}

// A key says the same without a table and with one, and also one that is no point.
func TestKeysWithTables(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sig := ed25519.Sign(private, []byte("text"))
	for _, b := range [][]byte{public, append([]byte{2}, make([]byte, 31)...)} {
		k, err := NewPublicKey(b)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 6 {
			if got := k.Verify([]byte("text"), sig); got != bytes.Equal(b, public) {
				t.Errorf("check %d of %x: %v", 2*i+1, b, got)
			}
			if k.Verify([]byte("other"), sig) {
				t.Errorf("check %d accepts a bad signature", 2*i+2)
			}
		}
	}
	if _, err := NewPublicKey(public[:31]); err == nil {
		t.Error("31 bytes are taken for a key")
	}
}

// What was checked may be the plaintext of a private message: it does not stay where the next one is put together.
func TestTextsAreWiped(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := bytes.Repeat([]byte{7}, 1000)
	if !checkAlike(t, public, text, ed25519.Sign(private, text)) {
		t.Fatal("refused")
	}
	room := *spare.Get().(*[]byte) // what was just used, or new
	if room = room[:cap(room)]; !bytes.Equal(room, make([]byte, len(room))) {
		t.Error("a text is left in the pool")
	}
}

// Project Wycheproof's vectors: those of ed25519_test.json in the folder $WYCHEPROOF, its testvectors_v1, which is too large to come along.
func TestWycheproof(t *testing.T) {
	dir := os.Getenv("WYCHEPROOF")
	if dir == "" {
		return
	}
	b, err := os.ReadFile(filepath.Join(dir, "ed25519_test.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		TestGroups []struct {
			PublicKey struct{ Pk string }
			Tests     []struct {
				TcID                      int
				Comment, Msg, Sig, Result string
			}
		}
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range file.TestGroups {
		for _, c := range g.Tests {
			if got := checkAlike(t, unhex(g.PublicKey.Pk), unhex(c.Msg), unhex(c.Sig)); got != (c.Result == "valid") {
				t.Errorf("%d, %s: %v", c.TcID, c.Comment, got)
			}
			n++
		}
	}
	t.Logf("%d signatures", n)
}

// FuzzVerify compares with the standard library: of any key, text and signature, and of a valid signature with some bytes changed.
func FuzzVerify(f *testing.F) {
	for _, b := range torsion {
		f.Add(b, []byte("text"), append(bytes.Clone(b), make([]byte, 32)...), uint8(0))
		f.Add(b, b, order, uint8(32))
	}
	f.Fuzz(func(t *testing.T, key, text, sig []byte, at uint8) {
		if len(key) != 32 {
			return
		}
		checkAlike(t, key, text, sig)
		private := ed25519.NewKeyFromSeed(key)
		public := private.Public().(ed25519.PublicKey)
		made := ed25519.Sign(private, text)
		if !checkAlike(t, public, text, made) {
			t.Fatal("a signature is refused")
		}
		if len(sig) > 0 && int(at) < len(made) {
			for i := 0; i < len(sig) && int(at)+i < len(made); i++ {
				made[int(at)+i] ^= sig[i]
			}
			checkAlike(t, public, text, made)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	text := make([]byte, 500)
	sig := ed25519.Sign(private, text)
	k, err := NewPublicKey(public)
	if err != nil {
		b.Fatal(err)
	}
	for name, f := range map[string]func() bool{"ours": func() bool { return k.Verify(text, sig) },
		"standard library": func() bool { return ed25519.Verify(public, text, sig) },
		"table":            func() bool { return len(newTable(&k.bytes).entries) > 0 }} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !f() {
					b.Fatal("refused")
				}
			}
		})
	}
}

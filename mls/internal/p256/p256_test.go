package p256

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

var (
	// order and r are n and R.
	order = elliptic.P256().Params().N
	r     = new(big.Int).Lsh(big.NewInt(1), 256)
)

func (z *scalar) big() *big.Int {
	var b [32]byte
	z.bytes(&b)
	return new(big.Int).SetBytes(b[:])
}

// anyScalar draws scalars, often at the edges.
func anyScalar(t *rapid.T, name string) (z scalar, v *big.Int) {
	var b [32]byte
	switch rapid.IntRange(0, 3).Draw(t, name+" sort") {
	case 0:
		v = new(big.Int).SetUint64(rapid.Uint64Range(0, 3).Draw(t, name))
	case 1:
		v = new(big.Int).Sub(order, new(big.Int).SetUint64(rapid.Uint64Range(1, 3).Draw(t, name)))
	default:
		v = new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, name))
		v.Mod(v, order)
	}
	v.FillBytes(b[:])
	if !z.set(&b) {
		t.Fatalf("%x is not below n", b)
	}
	return z, v
}

func TestConstants(t *testing.T) {
	if (&scalar{n0, n1, n2, n3}).big().Cmp(order) != 0 {
		t.Error("order")
	}
	if want := new(big.Int).Mod(new(big.Int).Mul(r, r), order); square.big().Cmp(want) != 0 {
		t.Errorf("R² is %x", want)
	}
	word := new(big.Int).Lsh(big.NewInt(1), 64)
	inverse := new(big.Int).ModInverse(order, word)
	if want := inverse.Sub(word, inverse); want.Uint64() != negInverse {
		t.Errorf("-n⁻¹ is %x", want)
	}
}

// Arithmetic is that of math/big.
func TestArithmetic(t *testing.T) {
	inverseR := new(big.Int).ModInverse(r, order)
	rapid.Check(t, func(t *rapid.T) {
		a, x := anyScalar(t, "a")
		b, y := anyScalar(t, "b")
		check := func(what string, got scalar, want *big.Int) {
			if got.big().Cmp(want.Mod(want, order)) != 0 {
				t.Fatalf("%s of %x, %x: %x, want %x", what, x, y, got.big(), want)
			}
		}
		var z scalar
		z.add(&a, &b)
		check("sum", z, new(big.Int).Add(x, y))
		product := new(big.Int).Mul(x, y)
		product.Mul(product, inverseR)
		z.mul(&a, &b)
		check("product", z, new(big.Int).Set(product))
		z = a
		z.mul(&z, &b)
		check("product in place", z, product)
		if x.Sign() > 0 {
			z.invertPublic(&a)
			want := new(big.Int).ModInverse(x, order)
			check("inverse", z, want.Mul(want, r))
		}
		if a.zero() != (x.Sign() == 0) {
			t.Fatalf("zero of %x", x)
		}
	})
}

// What is not below n is reduced, and said so.
func TestReduction(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "bytes"))
		if rapid.Bool().Draw(t, "large") {
			copy(b[:], bytes.Repeat([]byte{0xff}, rapid.IntRange(4, 32).Draw(t, "ones")))
		}
		v := new(big.Int).SetBytes(b[:])
		var z scalar
		if below := z.set(&b); below != (v.Cmp(order) < 0) {
			t.Fatalf("%x: below n: %v", b, below)
		}
		if z.big().Cmp(v.Mod(v, order)) != 0 {
			t.Fatalf("%x became %x", b, z.big())
		}
	})
}

func bytes32(t testing.TB, s string) *[32]byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 {
		t.Fatal(s, err)
	}
	return (*[32]byte)(b)
}

// RFC 6979, appendix A.2.5: what a given nonce gives.
func TestGivenNonce(t *testing.T) {
	for _, c := range []struct{ message, k, r, s string }{
		{"sample", "A6E3C57DD01ABE90086538398355DD4C3B17AA873382B0F24D6129493D8AAD60",
			"EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
			"F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"},
		{"test", "D16B6AE827F17175E040871A1C7EC3500192C4C92677336EC2537ACAEE0008E0",
			"F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367",
			"019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083"},
	} {
		var w work
		w.d.set(bytes32(t, "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721"))
		w.nonce = *bytes32(t, c.k)
		w.blind = sha256.Sum256(w.nonce[:])
		digest := sha256.Sum256([]byte(c.message))
		if !w.sign(&digest) {
			t.Fatal("not signed")
		}
		var r, s [32]byte
		w.r.bytes(&r)
		w.s.bytes(&s)
		if r != *bytes32(t, c.r) || s != *bytes32(t, c.s) {
			t.Errorf("%s: r %x, s %x", c.message, r, s)
		}
	}
}

// The standard library accepts every signature, whatever key and digest.
func TestSignaturesVerify(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, v := anyScalar(t, "key")
		digest := [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "digest"))
		var private [32]byte
		d.bytes(&private)
		sig, err := Sign([]byte("x"), rand.Reader, &private, &digest)
		if v.Sign() == 0 {
			if err == nil {
				t.Fatal("signed with 0")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), private[:])
		if err != nil {
			t.Fatal(err)
		}
		if !ecdsa.VerifyASN1(&k.PublicKey, digest[:], sig[1:]) || len(sig) > 1+maxDER || sig[0] != 'x' {
			t.Fatalf("signature %x does not verify", sig)
		}
	})
}

func TestKeysOutOfRange(t *testing.T) {
	var above, zero, digest [32]byte
	order.FillBytes(above[:])
	for _, k := range []*[32]byte{&above, &zero} {
		if _, err := Sign(nil, rand.Reader, k, &digest); !errors.Is(err, errRange) {
			t.Errorf("%x: %v", *k, err)
		}
	}
}

// Nonces: the same for the same rand, key and digest; another if any of them is.
func TestNonces(t *testing.T) {
	key, other := *bytes32(t, "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721"), [32]byte{31: 7}
	r := func(random byte, private, digest [32]byte) string {
		sig, err := Sign(nil, bytes.NewReader(bytes.Repeat([]byte{random}, 32)), &private, &digest)
		if err != nil {
			t.Fatal(err)
		}
		return string(sig[4 : 4+32]) // of r
	}
	first := r(1, key, [32]byte{1})
	if r(1, key, [32]byte{1}) != first {
		t.Error("not the same again")
	}
	for name, again := range map[string]string{"rand": r(2, key, [32]byte{1}), "digest": r(1, key, [32]byte{2}), "key": r(1, other, [32]byte{1})} {
		if again == first {
			t.Errorf("the same r with another %s", name)
		}
	}
}

func TestRandomnessFails(t *testing.T) {
	var digest [32]byte
	if _, err := Sign(nil, bytes.NewReader(make([]byte, 31)), &[32]byte{31: 1}, &digest); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

func BenchmarkSign(b *testing.B) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	raw, err := k.Bytes()
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256(raw)
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			if dst, err = Sign(dst[:0], rand.Reader, (*[32]byte)(raw), &digest); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("standard library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ecdsa.SignASN1(rand.Reader, k, digest[:]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

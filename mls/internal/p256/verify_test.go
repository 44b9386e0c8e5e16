package p256

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"filippo.io/nistec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/recent"
)

func der(r, s *big.Int) []byte {
	integer := func(v *big.Int) []byte {
		b := v.Bytes()
		if len(b) == 0 || b[0] >= 0x80 {
			b = append([]byte{0}, b...)
		}
		return append([]byte{2, byte(len(b))}, b...)
	}
	body := append(integer(r), integer(s)...)
	return append([]byte{0x30, byte(len(body))}, body...)
}

// both is one key for a table and for the standard library.
type both struct {
	bytes []byte
	table *table
	std   *ecdsa.PublicKey
}

func newBoth(t testing.TB, key *nistec.P256Point) *both {
	t.Helper()
	k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), key.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return &both{key.Bytes(), tableOf(key), k}
}

// check compares what the table says with what the standard library says, and returns that.
func (k *both) check(t testing.TB, digest, sig []byte) bool {
	t.Helper()
	want := ecdsa.VerifyASN1(k.std, digest, sig)
	if got := k.table.verify((*[32]byte)(digest), sig); got != want {
		t.Errorf("key %x, digest %x, signature %x: %v, the standard library says %v", k.bytes, digest, sig, got, want)
	}
	return want
}

// r and s at the edges of what is allowed, and beyond; digests that make u1 zero, or the sum of the two points infinite or twice one of them.
func TestEdgesOfSignatures(t *testing.T) {
	list := append(edges(), order, new(big.Int).Add(order, big.NewInt(1)), new(big.Int).Sub(r, big.NewInt(1)), prime,
		new(big.Int).Sub(prime, order), new(big.Int).Sub(new(big.Int).Sub(prime, order), big.NewInt(1)), r, new(big.Int).Lsh(r, 8))
	for _, d := range []int64{1, 2, 3, -1, 1 << 16, 77777777} {
		secret := new(big.Int).Mod(big.NewInt(d), order)
		key := newBoth(t, times(t, generatorPoint(), secret))
		for i, r := range list {
			s := list[(5*i+3)%len(list)]
			opposite := new(big.Int).Mul(r, secret)
			equal := new(big.Int).Mod(opposite, order)
			opposite.Mod(opposite.Neg(opposite), order)
			for _, e := range []*big.Int{new(big.Int), big.NewInt(1), opposite, equal, new(big.Int).Sub(prime, big.NewInt(1))} {
				digest := bytesOf(e)
				key.check(t, digest[:], der(r, s))
				key.check(t, digest[:], der(s, r))
			}
		}
	}
}

// Where x of the sum is not below n, r is x-n: keys for which that is so are made from such a sum.
func TestLargeX(t *testing.T) {
	found := 0
	for x := new(big.Int).Set(order); found < 4; x.Add(x, big.NewInt(1)) {
		compressed := append([]byte{2}, x.Bytes()...)
		sum, err := nistec.NewP256Point().SetBytes(compressed)
		if err != nil { // no point has this x
			continue
		}
		found++
		r, s, digest := new(big.Int).Sub(x, order), big.NewInt(12345), sha256.Sum256(x.Bytes())
		if r.Sign() == 0 {
			continue
		}
		// The key is (s·sum - e·G) / r.
		e := new(big.Int).SetBytes(digest[:])
		e.Mod(e.Neg(e), order)
		key := nistec.NewP256Point().Add(times(t, sum, s), times(t, generatorPoint(), e))
		both := newBoth(t, times(t, key, new(big.Int).ModInverse(r, order)))
		if !both.check(t, digest[:], der(r, s)) {
			t.Errorf("r of x = %x: refused", x)
		}
		for name, sig := range map[string][]byte{"r is not reduced": der(x, s), "s is not reduced": der(r, new(big.Int).Add(s, order))} {
			if both.check(t, digest[:], sig) {
				t.Errorf("x = %x, %s: accepted", x, name)
			}
		}
		if both.check(t, digest[:], der(new(big.Int).Add(r, big.NewInt(1)), s)) {
			t.Errorf("another r than that of x = %x: accepted", x)
		}
	}
}

// What is no DER, and what is DER and not the shortest.
func TestEncodingsOfSignatures(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := k.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	point, err := nistec.NewP256Point().SetBytes(public)
	if err != nil {
		t.Fatal(err)
	}
	key := newBoth(t, point)
	digest := sha256.Sum256(nil)
	var sig []byte
	for len(sig) < maxDER { // until the highest bit of both integers is set
		if sig, err = ecdsa.SignASN1(rand.Reader, k, digest[:]); err != nil {
			t.Fatal(err)
		}
	}
	if !key.check(t, digest[:], sig) {
		t.Fatal("a signature is refused")
	}
	short := sig // with room for more below the length of the longest
	for len(short) > maxDER-2 {
		if short, err = ecdsa.SignASN1(rand.Reader, k, digest[:]); err != nil {
			t.Fatal(err)
		}
	}
	for _, more := range [][]byte{{0}, {5, 0}, {2, 0}} {
		longer := append(bytes.Clone(short), more...)
		longer[1] += byte(len(more))
		if key.check(t, digest[:], longer) {
			t.Errorf("%x follows in the sequence: accepted", more)
		}
	}
	for i := range sig {
		key.check(t, digest[:], sig[:i])
		key.check(t, digest[:], append(bytes.Clone(sig), byte(i)))
		for _, x := range []byte{1, 0x80, 0xff} {
			other := bytes.Clone(sig)
			other[i] ^= x
			key.check(t, digest[:], other)
		}
		longer := append(append(bytes.Clone(sig[:i]), 0), sig[i:]...)
		key.check(t, digest[:], longer)
		longer[1]++
		key.check(t, digest[:], longer)
		if i > 3 {
			longer[3]++
			key.check(t, digest[:], longer)
		}
	}
	key.check(t, digest[:], append([]byte{0x30, 0x81, sig[1]}, sig[2:]...))
	r, s := sig[4:4+33], sig[4+33+2:]
	sequence := func(r, s []byte, more ...byte) []byte {
		body := append(append([]byte{2, byte(len(r))}, r...), append([]byte{2, byte(len(s))}, s...)...)
		body = append(body, more...)
		return append([]byte{0x30, byte(len(body))}, body...)
	}
	if !key.check(t, digest[:], sequence(r, s)) {
		t.Error("a signature that was put together again is refused")
	}
	for name, sig := range map[string][]byte{"r is negative": sequence(r[1:], s), "s is negative": sequence(r, s[1:]), "more in the sequence": sequence(r, s, 0),
		"a third integer": sequence(r, s, 2, 1, 1), "r has two zeros": sequence(append([]byte{0}, r...), s), "r is empty": sequence(nil, s),
		"s is empty": sequence(r, nil)} {
		if key.check(t, digest[:], sig) {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A key says the same without a table and with one, which comes with the third check.
func TestKeysWithTables(t *testing.T) {
	k, sign := newKey(t)
	good, digest := sign(1)
	bad := bytes.Clone(good)
	bad[len(bad)-1] ^= 1
	for i := range 6 {
		if !k.Verify(&digest, good) {
			t.Errorf("check %d refuses a signature", 2*i+1)
		}
		if k.Verify(&digest, bad) {
			t.Errorf("check %d accepts a bad signature", 2*i+2)
		}
	}
	if tables.Find(&k.bytes, new(recent.Uses)) == nil {
		t.Error("there is no table")
	}
}

// newKey is a key, and what signs for it.
func newKey(t testing.TB) (*PublicKey, func(i int) (sig []byte, digest [32]byte)) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return k, func(i int) ([]byte, [32]byte) {
		digest := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		sig, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
		if err != nil {
			t.Error(err)
		}
		return sig, digest
	}
}

// With more keys than there are tables, from several goroutines, all checks are right.
func TestManyKeys(t *testing.T) {
	const keys, goroutines = 2 * recent.Most, 4
	var all [keys]*PublicKey
	var sigs [keys][]byte
	var digests [keys][32]byte
	for i := range all {
		var sign func(int) ([]byte, [32]byte)
		all[i], sign = newKey(t)
		sigs[i], digests[i] = sign(i)
	}
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i, k := range all {
				if !k.Verify(&digests[i], sigs[i]) || k.Verify(&digests[(i+1+g)%keys], sigs[i]) {
					t.Error("a wrong answer")
				}
			}
		})
	}
	wg.Wait()
}

// What is kept: some 16 KiB for each key in use, and nothing of the others.
func TestTablesAreSmall(t *testing.T) {
	generator()
	before := heap()
	var kept []*table
	for range 64 {
		k, _ := newKey(t)
		kept = append(kept, newTable(&k.bytes))
	}
	if n := int64(heap()-before) / 64; n > 18<<10 {
		t.Errorf("a table takes %d bytes", n)
	}
	runtime.KeepAlive(kept)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestPublicKeysOutOfRange(t *testing.T) {
	on := generatorPoint().Bytes()
	off := bytes.Clone(on)
	off[64] ^= 1
	large := bytes.Clone(on)
	copy(large[1:33], bytes.Repeat([]byte{0xff}, 32))
	for name, b := range map[string][]byte{"nothing": {}, "infinity": {0}, "compressed": generatorPoint().BytesCompressed(), "off the curve": off,
		"above p": large, "longer": append(bytes.Clone(on), 0)} {
		if _, err := NewPublicKey(b); err == nil {
			t.Errorf("%s: taken for a key", name)
		}
	}
}

// Project Wycheproof's vectors: those of the file ecdsa_secp256r1_sha256_test.json in the folder $WYCHEPROOF, its testvectors_v1, which is too
// large to come along.
func TestWycheproof(t *testing.T) {
	dir := os.Getenv("WYCHEPROOF")
	if dir == "" {
		return
	}
	b, err := os.ReadFile(filepath.Join(dir, "ecdsa_secp256r1_sha256_test.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		TestGroups []struct {
			PublicKey struct{ Uncompressed string }
			Tests     []struct {
				TcID                      int
				Comment, Msg, Sig, Result string
			}
		}
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	n := 0
	for _, g := range file.TestGroups {
		point, err := nistec.NewP256Point().SetBytes(unhex(g.PublicKey.Uncompressed))
		if err != nil {
			t.Fatal(err)
		}
		key := newBoth(t, point)
		for _, c := range g.Tests {
			digest := sha256.Sum256(unhex(c.Msg))
			if got := key.check(t, digest[:], unhex(c.Sig)); got != (c.Result == "valid") {
				t.Errorf("%d, %s: %v", c.TcID, c.Comment, got)
			}
			n++
		}
	}
	t.Logf("%d signatures", n)
}

// FuzzVerify compares with the standard library: of any key, digest and signature, and of a valid signature with some bytes changed.
func FuzzVerify(f *testing.F) {
	one := bytesOf(big.NewInt(1))
	for _, v := range edges() {
		b := bytesOf(v)
		f.Add(one[:], b[:], der(v, big.NewInt(1)), uint8(0))
		f.Add(b[:], one[:], der(big.NewInt(1), v), uint8(0))
		f.Add(b[:], b[:], []byte{}, uint8(70))
		f.Add(b[:], b[:], []byte{0x80}, uint8(4))
	}
	f.Fuzz(func(t *testing.T, private, digest, sig []byte, at uint8) {
		d := new(big.Int).SetBytes(private)
		if d.Mod(d, order); d.Sign() == 0 || len(digest) != 32 {
			return
		}
		key := newBoth(t, times(t, generatorPoint(), d))
		key.check(t, digest, sig)
		secret := bytesOf(d)
		made, err := Sign(nil, bytes.NewReader(make([]byte, 32)), &secret, (*[32]byte)(digest))
		if err != nil {
			t.Fatal(err)
		}
		if !key.check(t, digest, made) {
			t.Fatal("a signature is refused")
		}
		if len(sig) > 0 && int(at) < len(made) {
			for i := 0; i < len(sig) && int(at)+i < len(made); i++ {
				made[int(at)+i] ^= sig[i]
			}
			key.check(t, digest, made)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	k, sign := newKey(b)
	sig, digest := sign(1)
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !k.Verify(&digest, sig) {
				b.Fatal("refused")
			}
		}
	})
	b.Run("standard library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !ecdsa.VerifyASN1(k.key, digest[:], sig) {
				b.Fatal("refused")
			}
		}
	})
	b.Run("table", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			newTable(&k.bytes)
		}
	})
}

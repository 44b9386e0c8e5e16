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
	table *table
	std   *ecdsa.PublicKey
}

func newBoth(t testing.TB, key *nistec.P256Point) *both {
	t.Helper()
	k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), key.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return &both{tableOf(key), k}
}

// check compares what the table says with what the standard library says, and returns that.
func (k *both) check(t testing.TB, digest, sig []byte) bool {
	t.Helper()
	want := ecdsa.VerifyASN1(k.std, digest, sig)
	if got := k.table.verify((*[32]byte)(digest), sig); got != want {
		t.Errorf("key %x, digest %x, signature %x: %v, the standard library says %v", k.table.of, digest, sig, got, want)
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
	sig, err := ecdsa.SignASN1(rand.Reader, k, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	if !key.check(t, digest[:], sig) {
		t.Fatal("a signature is refused")
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
}

// A key says the same from its first check to those with a table, and the table comes with the third.
func TestTablesComeWithTheThirdCheck(t *testing.T) {
	k, sign := newKey(t)
	good, digest := sign(1)
	for i := range 6 {
		if has := tables.find(&k.bytes) != nil; has != (i >= firstWanted) {
			t.Errorf("table before check %d: %v", i+1, has)
		}
		if bad := bytes.Clone(good); i%2 == 1 {
			bad[len(bad)-1] ^= 1
			if k.Verify(&digest, bad) {
				t.Errorf("check %d accepts a bad signature", i+1)
			}
		} else if !k.Verify(&digest, good) {
			t.Errorf("check %d refuses a signature", i+1)
		}
	}
	again, err := NewPublicKey(append([]byte{4}, k.bytes[:]...)) // as another group has it
	if err != nil {
		t.Fatal(err)
	}
	if !again.Verify(&digest, good) || again.missed.Load() != 0 {
		t.Error("the same key elsewhere has no use of the table")
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

// With more keys than there are tables, from several goroutines: all checks are right, there are no more tables than are allowed, and most
// checks make none.
func TestManyKeys(t *testing.T) {
	const keys, rounds, goroutines = 3 * sets * ways, 12, 4
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
			for range rounds / goroutines {
				for i, k := range all {
					if !k.Verify(&digests[i], sigs[i]) || k.Verify(&digests[(i+1+g)%keys], sigs[i]) {
						t.Error("a wrong answer")
					}
				}
			}
		})
	}
	wg.Wait()
	kept := 0
	for i := range tables.sets {
		for j := range tables.sets[i] {
			if o := tables.sets[i][j].Load(); o != nil {
				kept++
				if len(o.entries) != 256 {
					t.Errorf("a table of %d entries", len(o.entries))
				}
			}
		}
	}
	if kept < sets*ways/2 || kept > sets*ways {
		t.Errorf("%d tables are kept, at most %d should be", kept, sets*ways)
	}
	for _, k := range all {
		// 24 checks make one at 3, one at 3+6, one at 3+6+12 of those that find none.
		if k.wanted.Load() > firstWanted<<3 {
			t.Fatalf("a key has made a table again and again: the next at %d", k.wanted.Load())
		}
	}
}

// What is kept: some 16 KiB for each key in use, and nothing of the others.
func TestTablesAreSmall(t *testing.T) {
	generator()
	before := heap()
	var kept []*table
	for range 64 {
		k, _ := newKey(t)
		kept = append(kept, newTable(k.bytes))
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
			newTable(k.bytes)
		}
	})
}

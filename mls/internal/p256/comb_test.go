package p256

import (
	"bytes"
	"crypto/elliptic"
	"math/big"
	"testing"

	"filippo.io/nistec"
	"pgregory.net/rapid"
)

var prime = elliptic.P256().Params().P

// edges are scalars at which arithmetic goes wrong if it does: modulo n.
func edges() []*big.Int {
	half := new(big.Int).Rsh(order, 1)
	list := []*big.Int{new(big.Int), half, new(big.Int).Add(half, big.NewInt(1))}
	for _, i := range []int64{1, 2, 3, 4} {
		list = append(list, big.NewInt(i), new(big.Int).Sub(order, big.NewInt(i)))
	}
	for _, i := range []uint{13, 16, 26, 32, 64, 128, 192, 208, 224, 240, 255} { // where teeth and blocks begin
		v := new(big.Int).Lsh(big.NewInt(1), i)
		list = append(list, v, new(big.Int).Sub(order, v), new(big.Int).Sub(v, big.NewInt(1)))
	}
	for _, pattern := range []byte{0x55, 0xaa, 0x7f} {
		list = append(list, new(big.Int).SetBytes(bytes.Repeat([]byte{pattern}, 32)))
	}
	for _, v := range list {
		v.Mod(v, order)
	}
	return list
}

// anyEdge draws scalars, many of them edges.
func anyEdge(t *rapid.T, name string) *big.Int {
	if rapid.Bool().Draw(t, name+" at an edge") {
		return rapid.SampledFrom(edges()).Draw(t, name)
	}
	v := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, name))
	return v.Mod(v, order)
}

func bytesOf(v *big.Int) (b [32]byte) {
	v.FillBytes(b[:])
	return b
}

func scalarOf(v *big.Int) (z scalar) {
	b := bytesOf(v)
	z.set(&b)
	return z
}

// failer is a test, or one of its draws.
type failer interface {
	Helper()
	Fatal(...any)
}

// times is v times the generator as the other implementation has it; nil at infinity.
func times(t failer, p *nistec.P256Point, v *big.Int) *nistec.P256Point {
	t.Helper()
	b := bytesOf(v)
	q, err := nistec.NewP256Point().ScalarMult(p, b[:])
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func generatorPoint() *nistec.P256Point { return nistec.NewP256Point().SetGenerator() }

// same reports whether r is what nistec has.
func same(r *point, want *nistec.P256Point) bool {
	if r.infinite() || want.IsInfinity() == 1 {
		return r.infinite() && want.IsInfinity() == 1
	}
	var a [1]affine
	toAffine(a[:], []point{*r})
	b := want.Bytes()
	return a[0] == affineOf(point64(b[1:]))
}

func affineOf(b point64) affine { return b.affine() }

// tableOf makes a table for p, which is not at infinity, and keeps it nowhere.
func tableOf(p *nistec.P256Point) *table {
	b := point64(p.Bytes()[1:])
	return newTable(&b)
}

func (z *field) big() *big.Int {
	v := new(big.Int)
	for i := range z {
		v.Lsh(v, 64).Or(v, new(big.Int).SetUint64(z[3-i]))
	}
	return v
}

func fieldOf(v *big.Int) (z field) {
	b := bytesOf(v)
	z.set(b[:])
	return z
}

// Points are added as nistec adds them, whatever they are.
func TestPoints(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u, v := anyEdge(t, "u"), anyEdge(t, "v")
		switch rapid.IntRange(0, 3).Draw(t, "related") {
		case 0:
			v = u
		case 1:
			v = new(big.Int).Mod(new(big.Int).Neg(u), order)
		}
		load := func(v *big.Int) (p point) {
			if v.Sign() > 0 {
				q := affineOf(point64(times(t, generatorPoint(), v).Bytes()[1:]))
				p.set(&q)
			}
			return p
		}
		p := load(u)
		p.double() // so that its ZZ is not 1
		twice := new(big.Int).Mod(new(big.Int).Lsh(u, 1), order)
		if !same(&p, times(t, generatorPoint(), twice)) {
			t.Fatalf("double of %x", u)
		}
		if v.Sign() == 0 {
			return
		}
		q := affineOf(point64(times(t, generatorPoint(), v).Bytes()[1:]))
		for _, first := range []*big.Int{u, twice} {
			p := load(u)
			if first == twice {
				p.double()
			}
			p.add(&q)
			sum := new(big.Int).Add(first, v)
			if !same(&p, times(t, generatorPoint(), sum.Mod(sum, order))) {
				t.Fatalf("sum of %x and %x", first, v)
			}
		}
	})
}

// The digits of a scalar, weighed, are the scalar, and all columns of all teeth count.
func TestSplit(t *testing.T) {
	for name, c := range map[string]*comb{"member": &memberComb, "generator": &generatorComb} {
		if c.columns != c.blocks*c.depth || c.teeth*c.columns < 256 || c.teeth > maxTeeth || c.teeth*c.columns > 319 || c.depth > memberComb.depth {
			t.Errorf("%s: a comb that does not fit", name)
		}
		rapid.Check(t, func(t *rapid.T) {
			k := anyEdge(t, "k")
			z := scalarOf(k)
			var d digits
			c.split(&d, &z)
			sum := new(big.Int)
			for s := range c.teeth {
				for i := range c.columns {
					weight := new(big.Int).Lsh(big.NewInt(1), uint(s*c.columns+i))
					if d[s]>>i&1 == 0 {
						weight.Neg(weight)
					}
					sum.Add(sum, weight)
				}
			}
			if sum.Mod(sum, order).Cmp(k) != 0 {
				t.Fatalf("%s: digits of %x are those of %x", name, k, sum)
			}
		})
	}
}

// Sums of multiples are nistec's: for keys that are small or negative multiples of the generator, so that equal and opposite points meet.
func TestSums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, u, v := anyEdge(t, "d"), anyEdge(t, "u"), anyEdge(t, "v")
		if d.Sign() == 0 {
			return
		}
		key := times(t, generatorPoint(), d)
		table := tableOf(key)
		for range 3 {
			us, vs := scalarOf(u), scalarOf(v)
			got := table.sum(&us, &vs)
			want := nistec.NewP256Point().Add(times(t, generatorPoint(), u), times(t, key, v))
			if !same(&got, want) {
				t.Fatalf("%x times the generator and %x times %x times it", u, v, d)
			}
			// Then so that the sum is at infinity, and so that its parts are equal.
			u = new(big.Int).Mul(v, d)
			if rapid.Bool().Draw(t, "opposite") {
				u.Neg(u)
			}
			u.Mod(u, order)
		}
	})
}

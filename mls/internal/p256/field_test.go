package p256

import (
	"bytes"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestFieldConstants(t *testing.T) {
	if (&field{p0, p1, p2, p3}).big().Cmp(prime) != 0 {
		t.Error("p")
	}
	if want := new(big.Int).Mod(r, prime); fieldOne.big().Cmp(want) != 0 {
		t.Errorf("R is %x", want)
	}
	if want := new(big.Int).Mod(new(big.Int).Mul(r, r), prime); fieldSquare.big().Cmp(want) != 0 {
		t.Errorf("R² is %x", want)
	}
	if g := generatorPoint().Bytes(); !bytes.Equal(g[1:33], gx[:]) || !bytes.Equal(g[33:], gy[:]) {
		t.Error("the generator is another one")
	}
}

// Arithmetic is that of math/big, also where results lie in place of what they are made of.
func TestFieldArithmetic(t *testing.T) {
	inverseR := new(big.Int).ModInverse(r, prime)
	anyField := func(t *rapid.T, name string) (z field, v *big.Int) {
		switch rapid.IntRange(0, 3).Draw(t, name+" sort") {
		case 0:
			v = new(big.Int).SetUint64(rapid.Uint64Range(0, 3).Draw(t, name))
		case 1:
			v = new(big.Int).Sub(prime, new(big.Int).SetUint64(rapid.Uint64Range(1, 3).Draw(t, name)))
		default: // often with limbs of ones and zeros
			for range 4 {
				limb := rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, 1<<32 - 1, 1 << 32, 1<<64 - 1<<32, 1<<64 - 1})).Draw(t, name)
				if v == nil {
					v = new(big.Int)
				}
				v.Lsh(v, 64).Or(v, new(big.Int).SetUint64(limb))
			}
			v.Mod(v, prime)
		}
		w := new(big.Int).Set(v)
		for i := range z {
			z[i] = new(big.Int).Rsh(w, uint(64*i)).Uint64()
		}
		return z, v
	}
	rapid.Check(t, func(t *rapid.T) {
		a, x := anyField(t, "a")
		b, y := anyField(t, "b")
		check := func(what string, got field, want *big.Int) {
			if got.big().Cmp(want.Mod(want, prime)) != 0 {
				t.Fatalf("%s of %x, %x: %x, want %x", what, x, y, got.big(), want)
			}
		}
		montgomery := func(x, y *big.Int) *big.Int { v := new(big.Int).Mul(x, y); return v.Mul(v, inverseR) }
		var z field
		z.add(&a, &b)
		check("sum", z, new(big.Int).Add(x, y))
		z.sub(&a, &b)
		check("difference", z, new(big.Int).Sub(x, y))
		z.mul(&a, &b)
		check("product", z, montgomery(x, y))
		z = a
		z.mul(&z, &b)
		check("product in place", z, montgomery(x, y))
		z = b
		z.mul(&a, &z)
		check("product in place of the second", z, montgomery(x, y))
		z.square(&a)
		check("square", z, montgomery(x, x))
		z = a
		z.square(&z)
		check("square in place", z, montgomery(x, x))
		z = a
		below := z.addOrder()
		if want := new(big.Int).Add(x, order); below != (want.Cmp(prime) < 0) || below && z.big().Cmp(want) != 0 {
			t.Fatalf("%x plus the order: %x, below p: %v", x, z.big(), below)
		}
		if a.zero() != (x.Sign() == 0) {
			t.Fatalf("zero of %x", x)
		}
	})
}

func TestFieldInverse(t *testing.T) {
	for _, v := range append(edges(), new(big.Int).Sub(prime, big.NewInt(1)), new(big.Int).Sub(order, big.NewInt(1))) {
		z := fieldOf(v)
		z.invert(&z)
		want := new(big.Int)
		if v.Sign() > 0 {
			want.ModInverse(v, prime)
		}
		if z != fieldOf(want) {
			t.Errorf("inverse of %x", v)
		}
	}
}

// The steps of a batch take the greatest common divisor as far as is said, whatever is divided.
func TestInverseOfEdges(t *testing.T) {
	for _, v := range edges()[1:] {
		a := scalarOf(v)
		a.invertPublic(&a)
		want := new(big.Int).ModInverse(v, order)
		if want.Mul(want, r).Mod(want, order); a.big().Cmp(want) != 0 {
			t.Errorf("inverse of %x: %x", v, a.big())
		}
	}
}

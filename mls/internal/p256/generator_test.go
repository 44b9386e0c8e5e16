package p256

import (
	"encoding/binary"
	"flag"
	"os"
	"slices"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write generator.bin")

// The table that is embedded is what would be made.
func TestGeneratorTable(t *testing.T) {
	q := (*point64)(slices.Concat(gx[:], gy[:])).affine()
	made := generatorComb.table(&q)
	if *update {
		var b []byte
		for i := range made {
			for _, f := range []field{made[i].x, made[i].y} {
				for _, limb := range f {
					b = binary.LittleEndian.AppendUint64(b, limb)
				}
			}
		}
		if err := os.WriteFile("generator.bin", b, 0o644); err != nil {
			t.Fatal(err)
		}
		generatorTable = b
	}
	if want := generatorComb.size() * 64; len(generatorTable) != want {
		t.Fatalf("it has %d bytes, want %d", len(generatorTable), want)
	}
	if !slices.Equal(readGenerator(), made) {
		t.Error("it is another one: go test -run GeneratorTable -update")
	}
}

// No check has to wait for the generator's table for longer than for that of its own key.
func TestGeneratorIsThereAtOnce(t *testing.T) {
	k, _ := newKey(t)
	least := func(f func()) time.Duration {
		best := time.Hour
		for range 20 {
			begin := time.Now()
			f()
			best = min(best, time.Since(begin))
		}
		return best
	}
	if own, g := least(func() { newTable(&k.bytes) }), least(func() { readGenerator() }); g > own {
		t.Errorf("the generator's takes %v, a key's %v", g, own)
	}
}

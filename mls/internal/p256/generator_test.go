package p256

import (
	"encoding/binary"
	"flag"
	"os"
	"slices"
	"testing"
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

// The generator's table is read, not made: no check has to wait for it for longer than for that of its own key.
func TestGeneratorIsRead(t *testing.T) {
	made := readGenerator()
	embedded := generatorTable
	defer func() { generatorTable = embedded }()
	generatorTable = slices.Clone(embedded)
	last := len(made) - 1
	generatorTable[last*64]++
	if read := readGenerator(); read[last].x[0] != made[last].x[0]+1 || !slices.Equal(read[:last], made[:last]) {
		t.Error("what is embedded has changed, and what is read has not")
	}
}

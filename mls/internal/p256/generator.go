package p256

import (
	_ "embed" // generator.bin
	"encoding/binary"
	"sync"
)

// gx and gy are the coordinates of the generator.
var gx, gy = [32]byte{0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96}, [32]byte{0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5}

// generatorTable is the generator's table: limbs of eight octets, the least significant first, of x and y of one entry after the other. To
// make it takes up to half a millisecond, which is longer than a worker of sessions may hold up others; to read it, a tenth of that.
// go test -run GeneratorTable -update writes it.
//
//go:embed generator.bin
var generatorTable []byte

// generator is the table, read when it is wanted first.
var generator = sync.OnceValue(readGenerator)

func readGenerator() []affine {
	entries := make([]affine, generatorComb.size())
	at := generatorTable
	for i := range entries {
		for _, f := range []*field{&entries[i].x, &entries[i].y} {
			for l := range f {
				f[l], at = binary.LittleEndian.Uint64(at), at[8:]
			}
		}
	}
	return entries
}

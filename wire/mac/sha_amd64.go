package mac

// hasSHA reports whether block, block2 and sum run here.
var hasSHA = detectSHA()

func detectSHA() bool {
	if most, _, _, _ := cpuid(0, 0); most < 7 {
		return false
	}
	_, _, c1, _ := cpuid(1, 0)
	_, b7, _, _ := cpuid(7, 0)
	const ssse3, sha = 1 << 9, 1 << 29 // PSHUFB and PALIGNR need the first; every amd64 has the rest
	return c1&ssse3 != 0 && b7&sha != 0
}

// block hashes p, whole blocks of 64 bytes at any address, into h. h has the order of chain; p is borrowed.
//
//go:noescape
func block(h *[8]uint32, p []byte)

// block2 hashes n blocks at p0 into h0 and n blocks at p1 into h1, in little more than half the time of two calls to
// block. h0 and h1 must be apart; the bytes may overlap. n <= 0 does nothing.
//
//go:noescape
func block2(h0, h1 *[8]uint32, p0, p1 *byte, n int)

// sum writes h as a hash, big-endian in the order of FIPS 180-4, to dst.
//
//go:noescape
func sum(dst *[32]byte, h *[8]uint32)

func cpuid(leaf, sub uint32) (eax, ebx, ecx, edx uint32)

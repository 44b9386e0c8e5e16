package mac

import "crypto/sha256"

const blockSize = sha256.BlockSize

// chain is the chaining value of SHA-256 after whole blocks, in the order in which the SHA instructions of amd64 hold
// the working variables of FIPS 180-4 section 6.2.2: f e b a, h g d c.
type chain = [8]uint32

// inOrder tells where chain has the variables a to h.
var inOrder = [8]int{3, 2, 7, 6, 1, 0, 5, 4}

// initial is H(0), FIPS 180-4 section 5.3.3.
var initial = chain{0x9b05688c, 0x510e527f, 0xbb67ae85, 0x6a09e667, 0x5be0cd19, 0x1f83d9ab, 0xa54ff53a, 0x3c6ef372}

// state is SHA-256 after n bytes that the key begins: as secret as the key.
type state struct {
	h   chain           // after the whole blocks
	buf [blockSize]byte // its first n%64 bytes are those after them
	n   uint64
}

// write hashes p, which is borrowed, with the SHA instructions.
func (s *state) write(p []byte) {
	used := int(s.n % blockSize)
	s.n += uint64(len(p))
	if used > 0 {
		c := copy(s.buf[used:], p)
		if p = p[c:]; used+c < blockSize {
			return
		}
		block(&s.h, s.buf[:])
	}
	whole := len(p) &^ (blockSize - 1)
	block(&s.h, p[:whole])
	copy(s.buf[:], p[whole:])
}

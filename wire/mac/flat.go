package mac

import (
	"crypto/sha256"
	"encoding/binary"
)

// flatSize is what a message may have after its names' whole blocks, padding included, to be hashed from one piece of
// memory: nearly every header. Putting the piece together costs less than going from piece to piece, as a lane does.
const flatSize = 10 * blockSize

// flats are the pieces of two tags.
type flats [2][flatSize]byte

// fits reports whether n and rest can be hashed flat.
func (n *Names) fits(rest []byte) bool {
	return int(n.s.n%blockSize)+len(rest)+maxPadding-blockSize < flatSize
}

// lay writes to w what follows n's whole blocks: the bytes kept there, rest, padding (FIPS 180-4 section 5.1.1). It
// returns how many bytes that are, whole blocks.
func (n *Names) lay(w *[flatSize]byte, rest []byte) int {
	used := int(n.s.n % blockSize)
	*(*[blockSize]byte)(w[:]) = n.s.buf // all of it: whole registers
	k := used + copy(w[used:], rest)
	end := (k + maxPadding) &^ (blockSize - 1)
	w[k] = 0x80
	clear(w[k+1 : end])
	binary.BigEndian.PutUint64(w[end-8:], 8*(n.s.n+uint64(len(rest))))
	return end
}

// flat2 is Tag2 for two messages of the same number of blocks that fit. It reports false, having written no tag, for
// others.
func flat2(d0 *[sha256.Size]byte, m0 *MAC, n0 *Names, rest0 []byte, d1 *[sha256.Size]byte, m1 *MAC, n1 *Names,
	rest1 []byte) bool {
	if !n0.fits(rest0) || !n1.fits(rest1) {
		return false
	}
	f := m0.flats()
	w0, w1 := &f[0], &f[1]
	n := n0.lay(w0, rest0)
	if n1.lay(w1, rest1) != n {
		return false
	}
	h0, h1 := n0.s.h, n1.s.h
	block2(&h0, &h1, &w0[0], &w1[0], n/blockSize)
	sum((*[sha256.Size]byte)(w0[:]), &h0)
	sum((*[sha256.Size]byte)(w1[:]), &h1)
	*(*[sha256.Size]byte)(w0[sha256.Size:]) = outerPadding
	*(*[sha256.Size]byte)(w1[sha256.Size:]) = outerPadding
	h0, h1 = m0.outer.h, m1.outer.h
	block2(&h0, &h1, &w0[0], &w1[0], 1)
	sum(d0, &h0)
	sum(d1, &h1)
	return true
}

func (m *MAC) flats() *flats {
	if m.pieces == nil {
		m.pieces = new(flats)
	}
	return m.pieces
}

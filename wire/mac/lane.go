package mac

import (
	"crypto/sha256"
	"encoding/binary"
)

const maxPadding = blockSize + 8 // of SHA-256: 1 bit, zeros, length (FIPS 180-4 section 5.1.1)

// lane is the making of one tag with the SHA instructions: blocks come out of next, and who runs the lane hashes them
// into h, alone or beside those of another lane.
//
//	head   bytes kept in the state, filled up to a block from rest
//	body   whole blocks of rest, where they lie
//	tail   what is left, padded: one block or two
//	outer  the inner hash, padded, on the outer key
//
// The lane is a small local value. What is put together for it lies in scratch of the MAC, since a local of that size
// would be zeroed for each tag.
type lane struct {
	h chain
	m *MAC
	*scratch
	n     uint64 // bytes of the inner hash
	kept  []byte // of the state, where there is no head
	rest  []byte // after the head
	end   int    // of the tail
	stage uint8  // comes next
}

type scratch struct {
	head [blockSize]byte // later outer
	tail [2 * blockSize]byte
}

// scratch returns that of lane i.
func (m *MAC) scratch(i int) *scratch {
	if m.work == nil {
		m.work = new([2]scratch)
	}
	return &m.work[i]
}

const (
	stageHead = iota
	stageBody
	stageTail
	stageOuter
	stageEnd
)

// start begins the tag over n's bytes and rest. Both and w, whose content does not matter, are borrowed until the lane
// has ended. l is zero.
func (l *lane) start(m *MAC, w *scratch, n *Names, rest []byte) {
	l.h, l.m, l.scratch, l.n = n.s.h, m, w, n.s.n+uint64(len(rest))
	l.rest = rest
	used := int(n.s.n % blockSize)
	switch {
	case used == 0:
		l.stage = stageBody
	case used+len(rest) < blockSize:
		l.stage = stageBody
		l.kept = n.s.buf[:used]
	default:
		*(*[blockSize]byte)(l.head[:]) = n.s.buf // all of it: whole registers, which are there again sooner
		l.rest = rest[copy(l.head[used:], rest):]
	}
}

// next returns whole blocks to be hashed into h before the next call; none after the last. They are l's and rest's.
func (l *lane) next() []byte {
	switch l.stage {
	case stageHead:
		l.stage = stageBody
		return l.head[:]
	case stageBody:
		l.stage = stageTail
		whole := len(l.rest) &^ (blockSize - 1)
		l.fill(l.rest[whole:])
		if whole > 0 {
			return l.rest[:whole]
		}
		fallthrough
	case stageTail:
		l.stage = stageOuter
		return l.tail[:l.end]
	case stageOuter:
		l.stage = stageEnd
		sum((*[sha256.Size]byte)(l.head[:]), &l.h)
		*(*[sha256.Size]byte)(l.head[sha256.Size:]) = outerPadding
		l.h = l.m.outer.h
		return l.head[:]
	}
	return nil
}

// fill makes the tail of the last bytes of rest.
func (l *lane) fill(last []byte) {
	clear(l.tail[:])
	n := copy(l.tail[:], l.kept)
	n += copy(l.tail[n:], last)
	l.tail[n] = 0x80
	l.end = blockSize
	if n+maxPadding-blockSize >= blockSize {
		l.end = 2 * blockSize
	}
	binary.BigEndian.PutUint64(l.tail[l.end-8:], 8*l.n)
}

// outerPadding pads what the outer hash is made of, one block of key and the inner hash, to whole blocks.
var outerPadding = [sha256.Size]byte{0: 0x80, 30: outerBits >> 8, 31: outerBits & 0xff}

const outerBits = 8 * (blockSize + sha256.Size)

// finish hashes what is left, from b on, and writes the tag to dst.
func (l *lane) finish(dst *[sha256.Size]byte, b []byte) {
	for len(b) > 0 {
		block(&l.h, b)
		b = l.next()
	}
	sum(dst, &l.h)
}

// Tag2 is m0.Tag(d0, n0, rest0) and m1.Tag(d1, n1, rest1), in about three fifths of their time where the CPU has SHA
// instructions: as many blocks as both have are hashed side by side. m0 and m1 may be one; so may all but the d. It
// is a call to both MACs, so both belong to the loop that calls; it allocates nothing.
func Tag2(d0 *[sha256.Size]byte, m0 *MAC, n0 *Names, rest0 []byte, d1 *[sha256.Size]byte, m1 *MAC, n1 *Names,
	rest1 []byte) {
	if m0.soft != nil || m1.soft != nil {
		m0.Tag(d0, n0, rest0)
		m1.Tag(d1, n1, rest1)
		return
	}
	m0.check(n0)
	m1.check(n1)
	if flat2(d0, m0, n0, rest0, d1, m1, n1, rest1) {
		return
	}
	var l0, l1 lane
	l0.start(m0, m0.scratch(0), n0, rest0)
	l1.start(m1, m1.scratch(1), n1, rest1)
	b0, b1 := l0.next(), l1.next()
	for len(b0) > 0 && len(b1) > 0 {
		n := min(len(b0), len(b1))
		block2(&l0.h, &l1.h, &b0[0], &b1[0], n/blockSize)
		if b0 = b0[n:]; len(b0) == 0 {
			b0 = l0.next()
		}
		if b1 = b1[n:]; len(b1) == 0 {
			b1 = l1.next()
		}
	}
	l0.finish(d0, b0)
	l1.finish(d1, b1)
}

package mac

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"
)

const (
	// A marshaled SHA-256 state: 4 bytes of magic, chaining value, pending bytes of a block, count of bytes (big-endian).
	marshaledMagic = "sha\x03"
	chainAt        = len(marshaledMagic)
	bufAt          = chainAt + sha256.Size
	countAt        = bufAt + blockSize
	marshaledSize  = countAt + 8
)

// digest is what crypto/sha256 promises of its hashes beyond hash.Hash.
type digest interface {
	hash.Hash
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

// soft hashes with crypto/sha256, for CPUs on which block does not run. It takes its state and gives its result by way
// of the marshaled form, and pads itself, which is a tenth cheaper than hash.Hash.Sum: that copies the whole state
// first.
type soft struct {
	d digest

	// Scratch. It is here because what is passed to d escapes.
	work [marshaledSize]byte
	buf  [maxPadding]byte
}

func newSoft() *soft { return &soft{d: sha256.New().(digest)} }

// write hashes p, which is borrowed, into s.
func (f *soft) write(s *state, p []byte) {
	f.restore(s)
	f.d.Write(p)
	f.save()
	for i, at := range inOrder {
		s.h[at] = binary.BigEndian.Uint32(f.work[chainAt+4*i:])
	}
	copy(s.buf[:], f.work[bufAt:countAt])
	s.n += uint64(len(p))
}

// tag writes the HMAC over s's bytes and rest, which is borrowed, to dst; outer is the state after the outer key.
func (f *soft) tag(dst *[sha256.Size]byte, outer, s *state, rest []byte) {
	f.restore(s)
	f.d.Write(rest)
	f.finish(s.n + uint64(len(rest)))

	inner := f.buf[:sha256.Size]
	copy(inner, f.work[chainAt:])
	f.restore(outer)
	f.d.Write(inner)
	f.finish(blockSize + sha256.Size)
	copy(dst[:], f.work[chainAt:])
}

// finish pads a message of n bytes to whole blocks and leaves the marshaled state, whose chaining value is now the
// hash, in work.
func (f *soft) finish(n uint64) {
	zeros := (2*blockSize - 9 - n%blockSize) % blockSize
	pad := f.buf[:1+zeros+8]
	clear(pad)
	pad[0] = 0x80
	binary.BigEndian.PutUint64(pad[1+zeros:], 8*n)
	f.d.Write(pad)
	f.save()
}

// restore sets the hash to s. A failure is no peer's doing but another crypto/sha256.
func (f *soft) restore(s *state) {
	copy(f.work[:], marshaledMagic)
	for i, at := range inOrder {
		binary.BigEndian.PutUint32(f.work[chainAt+4*i:], s.h[at])
	}
	copy(f.work[bufAt:], s.buf[:])
	binary.BigEndian.PutUint64(f.work[countAt:], s.n)
	if err := f.d.UnmarshalBinary(f.work[:]); err != nil {
		panic("mac: " + err.Error())
	}
}

// save leaves the marshaled state of the hash in work.
func (f *soft) save() {
	b, err := f.d.AppendBinary(f.work[:0])
	if err != nil || len(b) != marshaledSize {
		panic("mac: crypto/sha256 does not save its state as it used to")
	}
}

// wipe forgets all bytes and states.
func (f *soft) wipe() {
	f.d.Reset()
	clear(f.work[:])
	clear(f.buf[:])
}

package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxVector is the longest vector, in bytes: lengths have 30 bits.
const MaxVector = 1<<30 - 1

// Reasons to refuse bytes. They come wrapped, with the offset at which they were found.
var (
	ErrShort    = errors.New("input ends within a value")
	ErrTrailing = errors.New("bytes follow the value")
	ErrVarint   = errors.New("length is not in its shortest form, or longer than four bytes")
	ErrOptional = errors.New("presence octet is neither 0 nor 1")
	ErrStuck    = errors.New("element of a vector takes no bytes")
	ErrMany     = errors.New("vector has more elements than are allowed")
)

// Reader takes values from the front of a byte slice. The first error sticks: from then on every read gives zeros, so that
// a structure is read field by field and judged once. Slices it returns are borrowed from the input; appending to them does
// not touch it. Not safe for concurrent use.
type Reader struct {
	input []byte
	at    int
	err   error
}

// NewReader reads b, which must not change while what was read is in use.
func NewReader(b []byte) *Reader { return &Reader{input: b} }

// Reset makes r a new reader of b.
func (r *Reader) Reset(b []byte) { *r = Reader{input: b} }

// Len is the number of bytes not read yet.
func (r *Reader) Len() int {
	if r.err != nil {
		return 0
	}
	return len(r.input) - r.at
}

// Err is the first error.
func (r *Reader) Err() error { return r.err }

// Fail makes err the reader's error unless it has one.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = fmt.Errorf("at byte %d: %w", r.at, err)
	}
}

// Finish is the first error, or ErrTrailing if bytes are left.
func (r *Reader) Finish() error {
	if r.Len() > 0 {
		r.Fail(ErrTrailing)
	}
	return r.err
}

// Offset is the number of bytes read so far.
func (r *Reader) Offset() int { return r.at }

// Since is what was read since offset, an earlier value of Offset; nil after an error.
func (r *Reader) Since(offset int) []byte {
	if r.err != nil || offset > r.at {
		return nil
	}
	return r.input[offset:r.at:r.at]
}

// Fixed reads n bytes.
func (r *Reader) Fixed(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > len(r.input)-r.at {
		r.Fail(ErrShort)
		return nil
	}
	r.at += n
	return r.input[r.at-n : r.at : r.at]
}

// Uint8 reads an uint8.
func (r *Reader) Uint8() uint8 {
	if b := r.Fixed(1); b != nil {
		return b[0]
	}
	return 0
}

// Uint16 reads an uint16.
func (r *Reader) Uint16() uint16 {
	if b := r.Fixed(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// Uint32 reads an uint32.
func (r *Reader) Uint32() uint32 {
	if b := r.Fixed(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// Uint64 reads an uint64.
func (r *Reader) Uint64() uint64 {
	if b := r.Fixed(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// Varint reads a variable-size integer (section 2.1.2): one, two or four bytes, in the shortest form that holds it.
func (r *Reader) Varint() int {
	first := r.Uint8()
	if r.err != nil {
		return 0
	}
	value, prefix := int(first&0x3f), first>>6
	if prefix == 3 {
		r.Fail(ErrVarint)
		return 0
	}
	for _, b := range r.Fixed(1<<prefix - 1) {
		value = value<<8 | int(b)
	}
	if r.err != nil {
		return 0
	}
	if prefix > 0 && value < 1<<(8<<(prefix-1)-2) {
		r.Fail(ErrVarint)
		return 0
	}
	return value
}

// Opaque reads opaque<V>. What it returns is not nil unless there was an error.
func (r *Reader) Opaque() []byte { return r.Fixed(r.Varint()) }

// Optional reads the presence octet of optional<T> and reports whether a value follows.
func (r *Reader) Optional() bool {
	switch r.Uint8() {
	case 0:
		return false
	case 1:
		return r.err == nil
	}
	r.Fail(ErrOptional)
	return false
}

// Vector reads T<V>: it calls each for one element after the other until the vector is used up, at most most times. The reader ends
// where the vector ends meanwhile. Elements take more room decoded than in the input: most keeps that in bounds.
func (r *Reader) Vector(most int, each func(*Reader)) {
	n := r.Varint()
	if r.err != nil {
		return
	}
	if n > len(r.input)-r.at {
		r.Fail(ErrShort)
		return
	}
	whole, end := r.input, r.at+n
	r.input = r.input[:end:end]
	for n := 0; r.err == nil && r.at < end; n++ {
		if n == most {
			r.Fail(ErrMany)
			break
		}
		before := r.at
		each(r)
		if r.at == before {
			r.Fail(ErrStuck)
		}
	}
	r.input = whole
}

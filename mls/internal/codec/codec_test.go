package codec

import (
	"bytes"
	"errors"
	"math"
	"runtime"
	"testing"

	"pgregory.net/rapid"
)

func TestVarintForms(t *testing.T) {
	for _, c := range []struct {
		name  string
		input []byte
		want  int
		err   error
	}{
		{"one byte, least", []byte{0}, 0, nil},
		{"one byte, most", []byte{0x3f}, 63, nil},
		{"two bytes, least", []byte{0x40, 0x40}, 64, nil},
		{"two bytes of the RFC", []byte{0x7b, 0xbd}, 15293, nil},
		{"four bytes, least", []byte{0x80, 0, 0x40, 0}, 16384, nil},
		{"four bytes of the RFC", []byte{0x9d, 0x7f, 0x3e, 0x7d}, 494878333, nil},
		{"four bytes, most", []byte{0xbf, 0xff, 0xff, 0xff}, MaxVector, nil},
		{"eight bytes", []byte{0xc0, 0, 0, 0, 0, 0, 0, 1}, 0, ErrVarint},
		{"eight bytes that no less would hold", []byte{0xc0, 0, 0, 0, 0x40, 0, 0, 0}, 0, ErrVarint},
		{"37 in two bytes", []byte{0x40, 0x25}, 0, ErrVarint},
		{"63 in two bytes", []byte{0x40, 0x3f}, 0, ErrVarint},
		{"16383 in four bytes", []byte{0x80, 0, 0x3f, 0xff}, 0, ErrVarint},
		{"nothing", nil, 0, ErrShort},
		{"half of two", []byte{0x40}, 0, ErrShort},
		{"three of four", []byte{0x80, 1, 1}, 0, ErrShort},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReader(c.input)
			got := r.Varint()
			if got != c.want || !errors.Is(r.Finish(), c.err) {
				t.Fatalf("got %d, %v; want %d, %v", got, r.Finish(), c.want, c.err)
			}
			if c.err == nil && !bytes.Equal(AppendVarint(nil, c.want), c.input) {
				t.Errorf("written as %x", AppendVarint(nil, c.want))
			}
		})
	}
}

func TestVarintIsReadAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, MaxVector).Draw(t, "n")
		b := AppendVarint(nil, n)
		if len(b) != VarintLen(n) {
			t.Fatalf("%d takes %d bytes, VarintLen says %d", n, len(b), VarintLen(n))
		}
		r := NewReader(b)
		if got := r.Varint(); got != n || r.Finish() != nil {
			t.Fatalf("got %d, %v", got, r.Finish())
		}
	})
}

func TestIntegers(t *testing.T) {
	r := NewReader([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	a, b, c, d := r.Uint8(), r.Uint16(), r.Uint32(), r.Uint64()
	if a != 1 || b != 0x0203 || c != 0x04050607 || d != 0x08090a0b0c0d0e0f || r.Finish() != nil {
		t.Errorf("got %x %x %x %x, %v", a, b, c, d, r.Err())
	}
}

func TestErrorSticksAndReadsGiveZeros(t *testing.T) {
	r := NewReader([]byte{5, 1, 2})
	if r.Opaque() != nil || !errors.Is(r.Err(), ErrShort) {
		t.Fatalf("got %v", r.Err())
	}
	first := r.Err()
	if r.Uint8() != 0 || r.Uint64() != 0 || r.Optional() || r.Varint() != 0 || r.Len() != 0 || r.Since(0) != nil {
		t.Error("a value was read after an error")
	}
	r.Vector(MaxVector, func(*Reader) { t.Error("an element was read after an error") })
	r.Fail(ErrOptional)
	if r.Err() != first || r.Finish() != first {
		t.Errorf("the error changed to %v", r.Err())
	}
}

func TestLengthBeyondTheInputAllocatesNothing(t *testing.T) {
	input := []byte{0xbf, 0xff, 0xff, 0xff, 1, 2, 3} // a gigabyte
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		r := Reader{input: input}
		if r.Opaque() != nil {
			t.Fatal("read")
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 { // errors
		t.Errorf("%d bytes for a hundred of them", n)
	}
}

func TestOptional(t *testing.T) {
	for input, want := range map[byte]error{0: nil, 1: nil, 2: ErrOptional, 255: ErrOptional} {
		r := NewReader([]byte{input})
		if got := r.Optional(); got != (input == 1) || !errors.Is(r.Err(), want) {
			t.Errorf("%d: got %v, %v", input, got, r.Err())
		}
	}
}

func TestVectorEndsWhereItsLengthSays(t *testing.T) {
	r := NewReader([]byte{4, 0, 1, 0, 2, 99})
	var got []uint16
	r.Vector(MaxVector, func(r *Reader) { got = append(got, r.Uint16()) })
	if len(got) != 2 || got[0] != 1 || got[1] != 2 || r.Uint8() != 99 || r.Finish() != nil {
		t.Errorf("got %v, %v", got, r.Err())
	}
}

func TestVectorRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		input []byte
		each  func(*Reader)
		want  error
	}{
		{"an element across its end", []byte{3, 0, 1, 0, 2}, func(r *Reader) { r.Uint16() }, ErrShort},
		{"more than there is", []byte{9, 0, 1}, func(r *Reader) { r.Uint16() }, ErrShort},
		{"elements of no size", []byte{1, 7}, func(*Reader) {}, ErrStuck},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReader(c.input)
			r.Vector(MaxVector, c.each)
			if !errors.Is(r.Err(), c.want) {
				t.Errorf("got %v", r.Err())
			}
		})
	}
}

func TestVectorIsReadAsWritten(t *testing.T) {
	for _, n := range []int{0, 1, 31, 32, 8191, 8192, 40000} {
		b := AppendVector([]byte("front"), func(dst []byte) []byte {
			for i := range n {
				dst = append(dst, byte(i>>8), byte(i))
			}
			return dst
		})
		r := NewReader(append(b, "back"...))
		if string(r.Fixed(5)) != "front" {
			t.Fatalf("%d: the front is damaged", n)
		}
		i := 0
		r.Vector(MaxVector, func(r *Reader) {
			if got := r.Uint16(); got != uint16(i&math.MaxUint16) {
				t.Fatalf("%d: element %d is %d", n, i, got)
			}
			i++
		})
		if i != n || string(r.Fixed(4)) != "back" || r.Finish() != nil {
			t.Errorf("%d: read %d elements, %v", n, i, r.Err())
		}
	}
}

func TestSinceIsTheBytesThatWereRead(t *testing.T) {
	r := NewReader([]byte{1, 2, 0xaa, 0xbb, 3})
	r.Uint8()
	at := r.Offset()
	r.Opaque()
	if got := r.Since(at); !bytes.Equal(got, []byte{2, 0xaa, 0xbb}) || cap(got) != 3 {
		t.Errorf("got %x", got)
	}
}

func TestBytesLentCannotGrowIntoTheirNeighbours(t *testing.T) {
	input := []byte{1, 0xaa, 0xbb}
	r := NewReader(input)
	_ = append(r.Opaque(), 0xff)
	if input[2] != 0xbb {
		t.Error("appending to a lent slice changed the input")
	}
}

func TestTrailingBytes(t *testing.T) {
	r := NewReader([]byte{1, 2})
	r.Uint8()
	if !errors.Is(r.Finish(), ErrTrailing) {
		t.Errorf("got %v", r.Err())
	}
}

// FuzzReader drives a reader by a program of reads: it must end, and lend only what is there. A program runs once for
// each element of a vector, in vectors of vectors: a short one that leaves them at the first error gives time for many.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6}, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
	f.Add([]byte{6, 6, 6}, []byte{4, 0, 1, 0, 2, 3, 1, 2, 3, 0})
	f.Add([]byte{4}, []byte{0x80, 0, 0x40, 0})
	f.Fuzz(func(t *testing.T, program, input []byte) {
		program, input = program[:min(len(program), 16)], input[:min(len(input), 256)]
		r := NewReader(input)
		var run func(r *Reader, depth int)
		run = func(r *Reader, depth int) {
			for _, op := range program {
				if depth > 0 && r.Err() != nil {
					return
				}
				switch op % 8 {
				case 0:
					r.Uint8()
				case 1:
					r.Uint16()
				case 2:
					r.Uint32()
				case 3:
					r.Uint64()
				case 4:
					if len(r.Opaque()) > len(input) {
						t.Fatal("more was lent than there is")
					}
				case 5:
					r.Optional()
				case 6:
					if depth < 3 {
						r.Vector(MaxVector, func(r *Reader) { run(r, depth+1) })
					}
				case 7:
					r.Varint()
				}
			}
		}
		run(r, 0)
		if r.Offset() > len(input) || r.Len() < 0 || r.Len() > len(input) {
			t.Fatalf("offset %d, %d left of %d", r.Offset(), r.Len(), len(input))
		}
	})
}

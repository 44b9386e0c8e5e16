package wire

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"unicode/utf8"
)

// Why bytes do not decode. Callers need not tell them apart; tests and logs do.
var (
	ErrTruncated   = errors.New("wire: field runs past the end")
	ErrVarint      = errors.New("wire: varint longer than 64 bits")
	ErrFieldNumber = errors.New("wire: invalid field number")
	ErrWireType    = errors.New("wire: wrong wire type for the field")
	ErrGroup       = errors.New("wire: unmatched end of group")
	ErrDepth       = errors.New("wire: messages and groups nested too deep")
	ErrUTF8        = errors.New("wire: string is not valid UTF-8")
	ErrTooLarge    = errors.New("wire: message larger than 1 GiB")
)

// Wire types of protobuf.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireGroup   = 3
	wireEnd     = 4
	wireFixed32 = 5
)

const (
	maxMessage = 1 << 30 // offsets are uint32
	maxDepth   = 100     // messages and groups around a field that is skipped, prost's recursion limit
	maxKey     = 1<<32 - 1

	// passed stands for the tag of a field that longKey has skipped; no one-byte tag is 0x80 or above.
	passed = 0xff

	truncated = -1 // index results below zero are failures, see failure
	overlong  = -2

	highBits = 0x8080808080808080
)

func failure(i int) error {
	if i == overlong {
		return ErrVarint
	}
	return ErrTruncated
}

// varint reads the varint at b[i:]. next is what follows it, or below zero.
func varint(b []byte, i int) (v uint64, next int) {
	if len(b)-i < 10 {
		return varintAtEnd(b, i)
	}
	p := b[i : i+10]
	x := binary.LittleEndian.Uint64(p)
	if stop := ^x & highBits; stop != 0 {
		x &= stop ^ (stop - 1) // bits above the last byte go
		return compact(x), i + bits.TrailingZeros64(stop)>>3 + 1
	}
	v = compact(x) | uint64(p[8]&0x7f)<<56
	if p[8] < 0x80 {
		return v, i + 9
	}
	if p[9] > 1 {
		return 0, overlong
	}
	return v | uint64(p[9])<<63, i + 10
}

// compact joins the low seven bits of the eight bytes of x.
func compact(x uint64) uint64 {
	x = x&0x007f007f007f007f | x&0x7f007f007f007f00>>1
	x = x&0x00003fff00003fff | x&0x3fff00003fff0000>>2
	return x&0x000000000fffffff | x&0x0fffffff00000000>>4
}

func varintAtEnd(b []byte, i int) (v uint64, next int) {
	for shift := 0; i < len(b); shift += 7 {
		c := b[i]
		i++
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v, i
		}
	}
	return 0, truncated // fewer than ten bytes were left, so it cannot be too long
}

// one is chunk for content of less than 128 bytes that ends at limit or before, small enough to be inlined. ok is false
// when chunk has to look.
func one(b []byte, i, limit int) (start, end int, ok bool) {
	if i < len(b) && b[i] < 0x80 {
		end = i + 1 + int(b[i])
		return i + 1, end, end <= limit
	}
	return 0, 0, false
}

// chunk reads the length at b[i:] and returns the bounds of the content after it. end < 0: failure.
func chunk(b []byte, i int) (start, end int) {
	var n uint64
	switch {
	case i < len(b) && b[i] < 0x80:
		n, start = uint64(b[i]), i+1
	case i+1 < len(b) && b[i+1] < 0x80:
		n, start = uint64(b[i]&0x7f)|uint64(b[i+1])<<7, i+2
	default:
		if n, start = varint(b, i); start < 0 {
			return start, start
		}
	}
	if n > uint64(len(b)-start) {
		return truncated, truncated
	}
	return start, start + int(n)
}

// How many messages lie around the fields of a message: what is left of maxDepth for the groups in it.
const (
	depthMessage = iota
	depthBody    // Subscribe, Unsubscribe, Publish, SubscriptionAck, Link
	depthPart    // SLIMHeader, SessionHeader, Content, LinkNegotiationPayload
	depthName    // Name in a SLIMHeader
	depthEncoded // EncodedName, StringName
	depthNameID

	depthEntry = depthBody // of metadata
)

// longKey handles a key of several bytes at b[i:]. A field that could be ours comes back as the one-byte tag it should
// have had; others are skipped and come back as passed. depth counts the messages around the field.
func longKey(b []byte, i, depth int) (tag byte, next int, err error) {
	key, i := varint(b, i)
	if i < 0 {
		return 0, i, failure(i)
	}
	if key > maxKey {
		return 0, i, ErrFieldNumber
	}
	if key < 0x80 {
		return byte(key), i, nil
	}
	i, err = skip(b, i, key, depth)
	return passed, i, err
}

// unknown skips the field with the one-byte tag whose content is at b[i:]; last is the message's highest known field
// number. Known numbers come here only with a wire type that the field cannot have. depth counts the messages around
// it.
func unknown(b []byte, tag byte, i int, last byte, depth int) (next int, err error) {
	switch num := tag >> 3; {
	case num == 0:
		return i, ErrFieldNumber
	case num <= last:
		return i, ErrWireType
	}
	return skip(b, i, uint64(tag), depth)
}

// skip passes the content at b[i:] of the field with this key. depth counts the messages and groups around it.
func skip(b []byte, i int, key uint64, depth int) (next int, err error) {
	if depth >= maxDepth {
		return i, ErrDepth
	}
	switch key & 7 {
	case wireVarint:
		_, i = varint(b, i)
	case wireFixed64:
		i += 8
	case wireBytes:
		_, i = chunk(b, i)
	case wireGroup:
		return skipGroup(b, i, key>>3, depth+1)
	case wireEnd:
		return i, ErrGroup
	case wireFixed32:
		i += 4
	default:
		return i, ErrWireType
	}
	if i < 0 {
		return i, failure(i)
	}
	if i > len(b) {
		return i, ErrTruncated
	}
	return i, nil
}

// skipGroup passes the fields at b[i:] of the unknown group num up to its end; depth counts it, too. The end takes no
// step down.
func skipGroup(b []byte, i int, num uint64, depth int) (next int, err error) {
	for {
		var key uint64
		if i < len(b) && b[i] < 0x80 {
			key = uint64(b[i])
			i++
		} else if key, i = varint(b, i); i < 0 {
			return i, failure(i)
		}
		if key > maxKey || key>>3 == 0 {
			return i, ErrFieldNumber
		}
		if key&7 == wireEnd {
			if key>>3 != num {
				return i, ErrGroup
			}
			return i, nil
		}
		if i, err = skip(b, i, key, depth); err != nil {
			return i, err
		}
	}
}

// isASCII reports whether no byte of b has its high bit set.
func isASCII(b []byte) bool {
	var acc uint64
	if len(b) < 8 {
		for _, c := range b {
			acc |= uint64(c)
		}
		return acc < 0x80
	}
	acc = binary.LittleEndian.Uint64(b[len(b)-8:]) // the last words may overlap
	for len(b) >= 32 {
		acc |= binary.LittleEndian.Uint64(b) | binary.LittleEndian.Uint64(b[8:]) |
			binary.LittleEndian.Uint64(b[16:]) | binary.LittleEndian.Uint64(b[24:])
		b = b[32:]
	}
	for len(b) >= 8 {
		acc |= binary.LittleEndian.Uint64(b)
		b = b[8:]
	}
	return acc&highBits == 0
}

func validUTF8(b []byte) bool { return isASCII(b) || utf8.Valid(b) }

// sizeVarint is the number of bytes of v as a varint.
func sizeVarint(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func appendVarint(dst []byte, v uint64) []byte { return binary.AppendUvarint(dst, v) }

// appendUint appends a varint field, nothing when v is zero: proto3 leaves defaults out.
func appendUint(dst []byte, tag byte, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return appendVarint(append(dst, tag), v)
}

// appendText appends a string or bytes field, nothing when v is empty.
func appendText[T string | []byte](dst []byte, tag byte, v T) []byte {
	if len(v) == 0 {
		return dst
	}
	dst = appendVarint(append(dst, tag), uint64(len(v)))
	return append(dst, v...)
}

func sizeUint(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + sizeVarint(v)
}

func sizeText(n int) int {
	if n == 0 {
		return 0
	}
	return sizeChunk(n)
}

// sizeChunk is the size of a length-delimited field with a one-byte tag and n bytes of content.
func sizeChunk(n int) int { return 1 + sizeVarint(uint64(n)) + n }

package codec

import "encoding/binary"

// AppendVarint appends n, 0 to MaxVector, as a variable-size integer. It panics on other values: what is written is our own.
func AppendVarint(dst []byte, n int) []byte {
	switch {
	case n < 0 || n > MaxVector:
		panic("codec: vector of more than a gibibyte")
	case n < 1<<6:
		return append(dst, byte(n))
	case n < 1<<14:
		return binary.BigEndian.AppendUint16(dst, uint16(n)|1<<14)
	}
	return binary.BigEndian.AppendUint32(dst, uint32(n)|2<<30)
}

// VarintLen is the number of bytes that AppendVarint appends for n.
func VarintLen(n int) int {
	switch {
	case n < 1<<6:
		return 1
	case n < 1<<14:
		return 2
	}
	return 4
}

// AppendOpaque appends b as opaque<V>.
func AppendOpaque(dst, b []byte) []byte { return append(AppendVarint(dst, len(b)), b...) }

// AppendVector appends what body appends as T<V>. The length is not known before, so the elements move if it takes more
// than one byte.
func AppendVector(dst []byte, body func([]byte) []byte) []byte {
	start := len(dst)
	dst = body(append(dst, 0))
	n := len(dst) - start - 1
	if more := VarintLen(n) - 1; more > 0 {
		dst = append(dst, make([]byte, more)...)
		copy(dst[start+1+more:], dst[start+1:])
	}
	AppendVarint(dst[:start], n)
	return dst
}

// AppendOptional appends the presence octet of optional<T>.
func AppendOptional(dst []byte, present bool) []byte {
	if present {
		return append(dst, 1)
	}
	return append(dst, 0)
}

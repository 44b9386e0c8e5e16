package ws

import "encoding/binary"

// opcode of a frame (RFC 6455 section 5.2). Bit 3 marks control frames.
type opcode uint8

const (
	opContinuation opcode = 0x0
	opText         opcode = 0x1
	opBinary       opcode = 0x2
	opClose        opcode = 0x8
	opPing         opcode = 0x9
	opPong         opcode = 0xa
)

func (o opcode) control() bool { return o&0x8 != 0 }

const (
	bitFin  = 0x80 // of the first byte
	bitsRSV = 0x70
	bitMask = 0x80 // of the second

	len16 = 126 // of the seven bits: two bytes of length follow
	len64 = 127 // eight bytes follow

	maxHeader         = 14  // 2, 8 of length, 4 of the masking key
	maxControlPayload = 125 // RFC 6455 section 5.5
)

// header is the header of a frame:
//
//	 0               1               2               4              12              16
//	|F|RSV| opcode  |M| length (7)  | length (16) or length (64)    | masking key   |
//	                                 if 126          if 127           if M
type header struct {
	op     opcode // with bitRSV1
	fin    bool
	masked bool
	length uint64 // of the payload, below 2^63
	key    uint32 // its first byte is the lowest
}

// headerSize returns how long the header is whose second byte is b1.
func headerSize(b1 byte) int {
	n := 2
	switch b1 & 0x7f {
	case len16:
		n += 2
	case len64:
		n += 8
	}
	if b1&bitMask != 0 {
		n += 4
	}
	return n
}

// parseHeader reads a whole header. Its first two bytes were checked.
func parseHeader(b []byte) (h header, fault string) {
	h = header{op: opcode(b[0] & (bitRSV1 | 0xf)), fin: b[0]&bitFin != 0, masked: b[1]&bitMask != 0, length: uint64(b[1] & 0x7f)}
	at := 2
	switch h.length {
	case len16:
		h.length = uint64(binary.BigEndian.Uint16(b[2:]))
		if at = 4; h.length < len16 {
			fault = "length of a frame not in the fewest bytes"
		}
	case len64:
		h.length = binary.BigEndian.Uint64(b[2:])
		if at = 10; h.length < 1<<16 {
			fault = "length of a frame not in the fewest bytes"
		} else if h.length >= 1<<63 {
			fault = "length of a frame above 2^63-1"
		}
	}
	if h.masked {
		h.key = binary.LittleEndian.Uint32(b[at:])
	}
	return h, fault
}

// appendHeader appends a frame's header; key counts if masked.
func appendHeader(dst []byte, op opcode, fin bool, n int, masked bool, key uint32) []byte {
	b0, m := byte(op), byte(0)
	if fin {
		b0 |= bitFin
	}
	if masked {
		m = bitMask
	}
	switch {
	case n < len16:
		dst = append(dst, b0, m|byte(n))
	case n < 1<<16:
		dst = append(dst, b0, m|len16, byte(n>>8), byte(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, b0, m|len64), uint64(n))
	}
	if masked {
		dst = binary.LittleEndian.AppendUint32(dst, key)
	}
	return dst
}

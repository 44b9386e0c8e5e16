package compress

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/klauspost/compress/snappy"
)

// Snappy's framing format: chunks of a type (8), a length (24, little-endian) and as many bytes. Chunks of data begin
// with the CRC-32C of their plain content, masked, and hold at most 64 KiB of it.
const (
	snappyStream = "\xff\x06\x00\x00sNaPpY"
	chunkHeader  = 8 // with the sum
	chunkPacked  = 0x00
	chunkPlain   = 0x01
	chunkPadding = 0xfe
	chunkStream  = 0xff
	maxChunk     = 64 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func maskedSum(b []byte) uint32 {
	s := crc32.Checksum(b, castagnoli)
	return (s>>15 | s<<17) + 0xa282ead8
}

func appendChunkHeader(dst []byte, kind byte, n int, sum uint32) []byte {
	n += 4
	return binary.LittleEndian.AppendUint32(append(dst, kind, byte(n), byte(n>>8), byte(n>>16)), sum)
}

func appendPlainChunk(dst, b []byte) []byte {
	return append(appendChunkHeader(dst, chunkPlain, len(b), maskedSum(b)), b...)
}

// appendChunks appends the chunks of b.
func appendChunks(dst, b []byte) []byte {
	for len(b) > 0 {
		piece := b[:min(len(b), maxChunk)]
		b = b[len(piece):]
		at := len(dst)
		dst = appendChunkHeader(dst, chunkPacked, 0, maskedSum(piece))
		if need := len(dst) + snappy.MaxEncodedLen(len(piece)); cap(dst) < need {
			dst = append(make([]byte, 0, need), dst...)
		}
		n := len(snappy.Encode(dst[len(dst):cap(dst)], piece))
		if n >= len(piece) {
			dst = appendPlainChunk(dst[:at], piece)
			continue
		}
		dst = dst[:len(dst)+n]
		n += 4
		dst[at+1], dst[at+2], dst[at+3] = byte(n), byte(n>>8), byte(n>>16)
	}
	return dst
}

// expandSnappy appends the content of b, of which all chunks together have at most limit bytes.
func expandSnappy(dst, b []byte, limit int) ([]byte, error) {
	if len(b) == 0 { // how some encoders write no content
		return dst, nil
	}
	if len(b) < len(snappyStream) || string(b[:len(snappyStream)]) != snappyStream {
		return dst, corrupt("no snappy stream")
	}
	start := len(dst)
	for b = b[len(snappyStream):]; len(b) > 0; {
		if len(b) < 4 {
			return dst, corrupt("cut short")
		}
		kind, n := b[0], int(b[1])|int(b[2])<<8|int(b[3])<<16
		if n > len(b)-4 {
			return dst, corrupt("cut short")
		}
		body := b[4 : 4+n]
		b = b[4+n:]
		switch {
		case kind >= 0x80 && kind != chunkStream: // padding, and what may be skipped
			continue
		case kind == chunkStream && string(body) == snappyStream[4:]:
			continue
		case kind != chunkPacked && kind != chunkPlain, n < 4:
			return dst, corrupt("snappy chunk of an unknown kind")
		}
		sum, at := binary.LittleEndian.Uint32(body), len(dst)
		body = body[4:]
		size := len(body)
		var err error
		if kind == chunkPacked {
			size, err = snappy.DecodedLen(body)
		}
		switch {
		case err != nil || size > maxChunk:
			return dst, corrupt("snappy chunk does not decode")
		case size > limit-(at-start):
			return dst, ErrTooLarge
		}
		dst = grow(dst, size)
		if kind == chunkPlain {
			dst = append(dst, body...)
		} else if got, err := snappy.Decode(dst[at:at+size], body); err != nil || len(got) != size {
			return dst, corrupt("snappy chunk does not decode")
		} else {
			dst = dst[:at+size]
		}
		if maskedSum(dst[at:]) != sum {
			return dst, corrupt("snappy chunk with a wrong sum")
		}
	}
	return dst, nil
}

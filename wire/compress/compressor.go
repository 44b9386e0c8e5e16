package compress

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

const (
	// Least is the shortest tail that is worth compressing, in bytes: below, the network's own overhead is more than
	// what is saved.
	Least = 1 << 10
	// Most is the longest that Compressor takes, in bytes: what the slowest encoding does in half a millisecond or so.
	// A longer one would hold up whoever shares the processor.
	Most = 128 << 10
	// MostHead is the longest head, in bytes.
	MostHead = 16 << 10
)

// Compressor makes compressed messages. It remembers the last tail of each encoding, so that a message for many
// receivers is compressed once. The zero value is ready, and takes no memory before it is used. One goroutine at a
// time.
type Compressor struct {
	deflater *flate.Writer // writes to out
	out      writer
	zstd     *zstd.Encoder
	last     [numEncodings]tail
}

// tail is the end of a message, and what came of it.
type tail struct {
	plain, packed []byte
	pays          bool // packed is the shorter by an eighth or more
}

// Tail compresses the end of a message for e, of Least to Most bytes. The result is borrowed until the next call; nil:
// it does not pay. fresh says that this took time, and was not remembered.
func (c *Compressor) Tail(e Encoding, b []byte) (packed []byte, fresh bool) {
	t := &c.last[e]
	if !c.Knows(e, b) {
		fresh = true
		t.plain = append(t.plain[:0], b...)
		t.packed = c.compress(t.packed[:0], e, b)
		t.pays = len(t.packed)+len(b)/8 <= len(b)
	}
	if !t.pays {
		return nil, fresh
	}
	return t.packed, fresh
}

// Knows reports whether Tail remembers what comes of b.
func (c *Compressor) Knows(e Encoding, b []byte) bool {
	t := &c.last[e]
	return len(t.plain) == len(b) && bytes.Equal(t.plain, b)
}

// Forget lets go of the memory. It is for an owner that has not used it for a while.
func (c *Compressor) Forget() { *c = Compressor{} }

func (c *Compressor) compress(dst []byte, e Encoding, b []byte) []byte {
	switch e {
	case Gzip:
		return c.deflate(dst, b, true)
	case Deflate:
		return c.deflate(dst, b, false)
	case Zstd:
		if c.zstd == nil {
			// No error: the options are good ones.
			c.zstd, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
				zstd.WithEncoderCRC(false), zstd.WithWindowSize(Most), zstd.WithLowerEncoderMem(true))
		}
		return c.zstd.EncodeAll(b, dst)
	case Snappy:
		return appendChunks(dst, b)
	}
	panic("compress: no encoding")
}

// deflate appends the blocks of b: to its end (whole), or to a sync flush without its last four bytes (RFC 7692 section
// 7.2.1).
func (c *Compressor) deflate(dst, b []byte, whole bool) []byte {
	w := &c.out
	w.b = dst
	if c.deflater == nil {
		c.deflater, _ = flate.NewWriter(w, flate.BestSpeed) // no error: the level is a good one
	} else {
		c.deflater.Reset(w)
	}
	_, _ = c.deflater.Write(b) // a writer in memory has no errors
	if whole {
		_ = c.deflater.Close()
		return w.b
	}
	_ = c.deflater.Flush()
	return w.b[:len(w.b)-len(syncTail)]
}

// syncTail ends each message of permessage-deflate, and is not sent.
const syncTail = "\x00\x00\xff\xff"

type writer struct{ b []byte }

func (w *writer) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// HeadSize returns how many bytes AppendHead appends for a head of n bytes.
func HeadSize(e Encoding, n int) int {
	if n == 0 && (e == Deflate || e == Zstd) {
		return 0
	}
	return before[e] + n
}

// EndSize returns how many bytes AppendEnd appends.
func EndSize(e Encoding) int {
	if e == Gzip {
		return 8
	}
	return 0
}

var before = [numEncodings]int{Gzip: len(gzipHeader) + storedHeader, Deflate: storedHeader, Zstd: 12, Snappy: len(snappyStream) + chunkHeader}

const (
	gzipHeader   = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff" // RFC 1952 section 2.3: no time, no name, fastest, unknown system
	storedHeader = 5                                          // RFC 1951 section 3.2.4
	zstdMagic    = "\x28\xb5\x2f\xfd"
)

// AppendHead appends what goes before the compressed tail, head included, of at most MostHead bytes.
func AppendHead(dst []byte, e Encoding, head []byte) []byte {
	n := len(head)
	if HeadSize(e, n) == 0 {
		return dst
	}
	switch e {
	case Gzip:
		dst = appendStored(append(dst, gzipHeader...), n)
	case Deflate:
		dst = appendStored(dst, n)
	case Zstd: // RFC 8878 section 3.1.1: a single segment, its size in four bytes, and one raw block, the last
		dst = append(append(dst, zstdMagic...), 0xa0)
		dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
		block := uint32(n)<<3 | 1
		dst = append(dst, byte(block), byte(block>>8), byte(block>>16))
	case Snappy:
		return appendPlainChunk(append(dst, snappyStream...), head)
	}
	return append(dst, head...)
}

// appendStored appends the header of a stored block of n bytes that is not the last, at a byte's boundary.
func appendStored(dst []byte, n int) []byte {
	return append(dst, 0, byte(n), byte(n>>8), ^byte(n), ^byte(n>>8))
}

// AppendEnd appends what goes after the compressed tail of a message.
func AppendEnd(dst []byte, e Encoding, head, tail []byte) []byte {
	if e != Gzip {
		return dst
	}
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Update(crc32.ChecksumIEEE(head), crc32.IEEETable, tail))
	return binary.LittleEndian.AppendUint32(dst, uint32(len(head)+len(tail)))
}

// Append appends a message as it leaves, whole; nil: it does not pay.
func (c *Compressor) Append(dst []byte, e Encoding, head, tail []byte) []byte {
	packed, _ := c.Tail(e, tail)
	if packed == nil {
		return nil
	}
	return AppendEnd(append(AppendHead(dst, e, head), packed...), e, head, tail)
}

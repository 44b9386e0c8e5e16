package compress

import (
	"errors"
	"io"
	"slices"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// ErrTooLarge says that a message has more content than is taken. It is said before memory is taken for that.
var ErrTooLarge = errors.New("compress: the content is larger than what is taken")

// CorruptError says why a message does not expand.
type CorruptError struct{ Reason string }

// Error implements error.
func (e *CorruptError) Error() string { return "compress: the content does not expand: " + e.Reason }

func corrupt(reason string) error { return &CorruptError{reason} }

// Expander expands messages. The zero value is ready, and takes no memory before it is used. One goroutine at a time.
type Expander struct {
	src  source
	gzip *gzip.Reader
	flat io.ReadCloser // a flate.Resetter
	zstd *zstd.Decoder
}

// Append appends the content of b, which is compressed by e, to dst: at most limit bytes, else ErrTooLarge. dst grows
// with what has come out, not with what b announces; only zstd takes limit bytes at once, and dst should have that
// capacity. b is borrowed. After an error, ErrTooLarge or a *CorruptError, dst has some of the content at its end.
//
// The time that it takes is bounded by len(b) and limit: some ten milliseconds for each MiB of content, or of b where
// it was made for nothing else.
func (x *Expander) Append(dst []byte, e Encoding, b []byte, limit int) ([]byte, error) {
	switch e {
	case Gzip:
		return x.expandGzip(dst, b, limit)
	case Deflate:
		return x.expandDeflate(dst, b, limit)
	case Zstd:
		return x.expandZstd(dst, b, limit)
	case Snappy:
		return expandSnappy(dst, b, limit)
	}
	panic("compress: no encoding")
}

// Forget lets go of the memory. It is for an owner that has not used it for a while.
func (x *Expander) Forget() { *x = Expander{} }

// expandGzip takes one member. More than one would be as good by RFC 1952, but no sender makes them: each costs its
// reader some time, however little it holds.
func (x *Expander) expandGzip(dst, b []byte, limit int) ([]byte, error) {
	x.src = source{b: b}
	defer x.src.drop()
	var err error
	if x.gzip == nil {
		if x.gzip, err = gzip.NewReader(&x.src); err != nil {
			x.gzip = nil
		}
	} else {
		err = x.gzip.Reset(&x.src)
	}
	if err != nil {
		return dst, corrupt("no gzip: " + err.Error())
	}
	x.gzip.Multistream(false)
	if dst, err = x.drain(dst, x.gzip, limit); err == nil && len(x.src.b) > 0 {
		err = corrupt("something follows it")
	}
	return dst, err
}

func (x *Expander) expandDeflate(dst, b []byte, limit int) ([]byte, error) {
	x.src = source{b: b, more: deflateEnd}
	defer x.src.drop()
	if x.flat == nil {
		x.flat = flate.NewReader(&x.src)
	} else {
		_ = x.flat.(flate.Resetter).Reset(&x.src, nil) // never fails
	}
	return x.drain(dst, x.flat, limit)
}

// drain appends what r has.
func (x *Expander) drain(dst []byte, r io.Reader, limit int) ([]byte, error) {
	start := len(dst)
	for {
		room := limit - (len(dst) - start)
		if room == 0 { // one byte more is too much
			var one [1]byte
			if n, err := r.Read(one[:]); n == 0 && err == io.EOF {
				return dst, nil
			} else if n > 0 || err == nil {
				return dst, ErrTooLarge
			} else {
				return dst, corrupt(err.Error())
			}
		}
		dst = grow(dst, min(room, firstGrow))
		n, err := r.Read(dst[len(dst):min(cap(dst), len(dst)+room)])
		dst = dst[:len(dst)+n]
		x.src.made += n
		switch {
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst, corrupt(err.Error())
		}
	}
}

// deflateEnd follows each message of permessage-deflate (RFC 7692 section 7.2.2): what its sender has left out, and an
// end.
var deflateEnd = []byte(syncTail + "\x01\x00\x00\xff\xff")

const firstGrow = 4 << 10

// grow makes room for n bytes more, and more than that when it has to move what is there.
func grow(dst []byte, n int) []byte {
	if cap(dst)-len(dst) >= n {
		return dst
	}
	return slices.Grow(dst, max(n, len(dst)))
}

func (x *Expander) expandZstd(dst, b []byte, limit int) ([]byte, error) {
	if x.zstd == nil {
		// No error: the options are good ones.
		x.zstd, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecodeAllCapLimit(true))
	}
	start := len(dst)
	dst = slices.Grow(dst, limit)
	out, err := x.zstd.DecodeAll(b, dst[:start:start+limit])
	switch {
	case err == nil && len(out)-start <= limit:
		return out, nil
	case err == nil, errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return dst, ErrTooLarge
	}
	return dst, corrupt(err.Error())
}

// maxWindow is the largest window of zstd that is taken, in bytes, as RFC 8878 section 3.1.1.1.2 recommends. Content is
// decoded where it stays, so no memory is taken for it.
const maxWindow = 8 << 20

// source is the bytes of a message for a decoder of deflate: what follows them, and a bound on work. Data that gives
// less than it takes is no compressed message: blocks without content cost time, and may come by the million.
type source struct {
	b    []byte
	more []byte
	took int // bytes read
	made int // bytes of content that came out until the last look
}

// slack is how many bytes may be read for nothing.
const slack = 64 << 10

var errNothing = errors.New("it holds next to nothing for its length")

// ReadByte implements io.ByteReader.
func (s *source) ReadByte() (byte, error) {
	if len(s.b) == 0 {
		s.b, s.more = s.more, nil
	}
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	if s.took++; s.took > s.made+slack {
		return 0, errNothing
	}
	c := s.b[0]
	s.b = s.b[1:]
	return c, nil
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(s.b) == 0 {
		c, err := s.ReadByte()
		if err != nil {
			return 0, err
		}
		p[0] = c
		return 1, nil
	}
	n := copy(p, s.b)
	s.b = s.b[n:]
	if s.took += n; s.took > s.made+slack {
		return 0, errNothing
	}
	return n, nil
}

// drop lets go of what was borrowed.
func (s *source) drop() { *s = source{} }

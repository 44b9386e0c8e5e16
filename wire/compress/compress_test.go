package compress

import (
	"bytes"
	stdflate "compress/flate"
	stdgzip "compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
)

var all = []Encoding{Gzip, Zstd, Snappy, Deflate}

// text is n bytes that shrink.
func text(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	var b []byte
	for len(b) < n {
		b = fmt.Appendf(b, `{"role":"agent","id":%d,"content":"the quick brown fox %x"},`, len(b), r.Uint32())
	}
	return b[:n:n]
}

// noise is n bytes that do not.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(b)
	return b
}

// foreign expands by a decoder that is not ours.
func foreign(e Encoding, b []byte) ([]byte, error) {
	switch e {
	case Gzip:
		r, err := stdgzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		r.Multistream(false)
		return io.ReadAll(r)
	case Zstd:
		d, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		defer d.Close()
		return io.ReadAll(d)
	case Snappy:
		return io.ReadAll(snappy.NewReader(bytes.NewReader(b)))
	}
	return io.ReadAll(stdflate.NewReader(io.MultiReader(bytes.NewReader(b), strings.NewReader(syncTail+"\x01\x00\x00\xff\xff"))))
}

// made compresses b by an encoder that is not ours.
func made(t testing.TB, e Encoding, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch e {
	case Gzip:
		w = stdgzip.NewWriter(&out)
	case Zstd:
		w, _ = zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	case Snappy:
		w = snappy.NewBufferedWriter(&out)
	case Deflate:
		f, _ := stdflate.NewWriter(&out, 6)
		_, _ = f.Write(b)
		_ = f.Flush()
		return bytes.TrimSuffix(out.Bytes(), []byte(syncTail))
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Rules: P-comp-3.
func TestMessagesInTwoPieces(t *testing.T) {
	var c Compressor
	var x Expander
	for _, e := range all {
		for _, head := range [][]byte{nil, noise(1), noise(300), noise(MostHead)} {
			for _, n := range []int{Least, 5000, maxChunk, maxChunk + 1, Most} {
				tail := text(n)
				b := c.Append(nil, e, head, tail)
				if b == nil {
					t.Fatalf("%v: %d bytes of text do not shrink", e, n)
				}
				packed, _ := c.Tail(e, tail)
				if want := HeadSize(e, len(head)) + len(packed) + EndSize(e); len(b) != want {
					t.Errorf("%v: %d bytes, announced as %d", e, len(b), want)
				}
				whole := append(bytes.Clone(head), tail...)
				if got, err := foreign(e, b); err != nil || !bytes.Equal(got, whole) {
					t.Errorf("%v, %d+%d bytes by another decoder: %v, %d bytes", e, len(head), n, err, len(got))
				}
				if got, err := x.Append([]byte("before"), e, b, len(whole)); err != nil || string(got) != "before"+string(whole) {
					t.Errorf("%v, %d+%d bytes: %v, %d bytes", e, len(head), n, err, len(got))
				}
			}
		}
	}
}

func TestExpandsWhatOthersMake(t *testing.T) {
	var x Expander
	for _, e := range all {
		for _, whole := range [][]byte{{}, {7}, text(100), text(3 << 20), noise(70_000), make([]byte, 4<<20)} {
			got, err := x.Append(nil, e, made(t, e, whole), 4<<20)
			if err != nil || !bytes.Equal(got, whole) {
				t.Errorf("%v, %d bytes: %v, %d bytes", e, len(whole), err, len(got))
			}
		}
	}
}

func TestATailIsCompressedOnceForAll(t *testing.T) {
	var c Compressor
	for _, e := range all {
		a, b := text(4000), noise(4000)
		for i, want := range []bool{true, false, false} {
			if packed, fresh := c.Tail(e, bytes.Clone(a)); packed == nil || fresh != want {
				t.Errorf("%v, time %d: fresh %v, %d bytes", e, i, fresh, len(packed))
			}
		}
		a[len(a)-1]++
		var x Expander
		if got, err := x.Append(nil, e, c.Append(nil, e, nil, a), len(a)); err != nil || !bytes.Equal(got, a) {
			t.Errorf("%v, another of the same length: %v, the one from before: %v", e, err, err == nil)
		}
		for i, want := range []bool{true, false} {
			if packed, fresh := c.Tail(e, b); packed != nil || fresh != want {
				t.Errorf("%v, noise, time %d: fresh %v, %d bytes", e, i, fresh, len(packed))
			}
		}
	}
}

// bombs are what a peer makes to cost others memory or time, each with its name.
func bombs(t testing.TB) map[string]struct {
	e Encoding
	b []byte
} {
	type bomb = struct {
		e Encoding
		b []byte
	}
	huge := make([]byte, 8<<20)
	out := map[string]bomb{}
	for _, e := range all {
		out[e.String()+" of 8 MiB"] = bomb{e, made(t, e, huge)}
		out[e.String()+" of 4 MiB and one"] = bomb{e, made(t, e, huge[:4<<20+1])}
	}
	// 1 GiB of zeros in a MiB or less.
	blocks := bytes.Repeat(append(made(t, Deflate, huge), syncTail...), 128)
	out["deflate of 1 GiB"] = bomb{Deflate, blocks}
	out["gzip of 1 GiB"] = bomb{Gzip, append([]byte(gzipHeader), blocks...)}
	out["zstd of 1 GiB in frames"] = bomb{Zstd, bytes.Repeat(made(t, Zstd, huge), 128)}
	out["zstd that announces 1 GiB"] = bomb{Zstd, []byte(zstdMagic + "\xa0\x00\x00\x00\x40\x03\x00\x00\x00")}
	out["snappy chunk that announces 4 GiB"] = bomb{Snappy, []byte(snappyStream + "\x00\x0a\x00\x00sum.\xff\xff\xff\xff\x0f\x00")}
	return out
}

// Rules: P-comp-6.
func TestBombsTakeNoMemory(t *testing.T) {
	const limit = 4 << 20
	for name, bomb := range bombs(t) {
		var x Expander
		dst := make([]byte, 0, limit)
		got, err := x.Append(dst, bomb.e, bomb.b, limit)
		if !errors.Is(err, ErrTooLarge) && !strings.Contains(name, "4 GiB") || err == nil {
			t.Errorf("%s (%d bytes): %v", name, len(bomb.b), err)
		}
		if cap(got) > 2*limit {
			t.Errorf("%s: %d bytes of memory", name, cap(got))
		}
	}
}

func TestWhatDoesNotExpand(t *testing.T) {
	var x Expander
	for _, e := range all {
		good := made(t, e, text(50_000))
		for name, b := range map[string][]byte{"nothing at all": {}, "garbage": noise(5000), "a text": text(5000), "cut": good[:len(good)/2],
			"damaged": append(append(bytes.Clone(good[:len(good)/3]), noise(100)...), good[len(good)/3+100:]...)} {
			if e == Deflate && (name == "nothing at all" || name == "cut") { // it has no end of its own
				continue
			}
			if e == Zstd && name == "nothing at all" || e == Snappy && name == "nothing at all" {
				continue // no frame is no content
			}
			if got, err := x.Append(nil, e, b, 1<<20); !errors.As(err, new(*CorruptError)) && !errors.Is(err, ErrTooLarge) {
				t.Errorf("%v, %s: %v, %d bytes", e, name, err, len(got))
			}
		}
		if got, err := x.Append(nil, e, good, 1<<20); err != nil || len(got) != 50_000 {
			t.Errorf("%v: after what does not expand: %v, %d bytes", e, err, len(got))
		}
	}
}

// Blocks without content cost time, and may come by the million.
func TestDataWithoutContent(t *testing.T) {
	var x Expander
	empty := bytes.Repeat([]byte("\x00\x00\x00\xff\xff"), 200_000)
	for e, b := range map[Encoding][]byte{Deflate: empty, Gzip: append([]byte(gzipHeader), empty...)} {
		if _, err := x.Append(nil, e, b, 1<<20); !errors.As(err, new(*CorruptError)) || !strings.Contains(err.Error(), "next to nothing") {
			t.Errorf("%v: %v", e, err)
		}
	}
	codes := bytes.Repeat([]byte("\x02\x08\x20\x80\x00"), 50_000) // four blocks of fixed codes in five bytes
	for e, b := range map[Encoding][]byte{Deflate: codes, Gzip: append([]byte(gzipHeader), codes...)} {
		if _, err := x.Append(nil, e, b, 1<<20); !errors.As(err, new(*CorruptError)) || !strings.Contains(err.Error(), "next to nothing") {
			t.Errorf("%v with codes: %v", e, err)
		}
	}
	two := append(made(t, Gzip, text(2000)), made(t, Gzip, text(2000))...)
	if _, err := x.Append(nil, Gzip, two, 1<<20); err == nil || !strings.Contains(err.Error(), "something follows") {
		t.Errorf("two members: %v", err)
	}
}

// Chunks that a Compressor does not make.
func TestChunksOfSnappy(t *testing.T) {
	var x Expander
	chunk := func(kind byte, body string) string {
		return string([]byte{kind, byte(len(body)), byte(len(body) >> 8), byte(len(body) >> 16)}) + body
	}
	plain := func(b []byte) string { return string(appendPlainChunk(nil, b)) }
	packed := func(b []byte) string {
		sum := maskedSum(b)
		return chunk(chunkPacked, string(binary.LittleEndian.AppendUint32(nil, sum))+string(snappy.Encode(nil, b)))
	}
	a := plain([]byte("abc"))
	for name, tc := range map[string]struct {
		in   string
		want int // -1: it does not expand
	}{
		"plain and packed":             {a + packed(text(100)) + a, 106},
		"padding and what may be left": {chunk(chunkPadding, "xx") + chunk(0x80, "") + a, 3},
		"another identifier":           {a + snappyStream + a, 6},
		"a wrong identifier":           {a + chunk(chunkStream, "sNaPpX"), -1},
		"a kind that must be known":    {chunk(0x02, "12345"), -1},
		"plain, with a wrong sum":      {a[:4] + "sum." + a[8:], -1},
		"packed, with a wrong sum":     {chunk(chunkPacked, "sum."+string(snappy.Encode(nil, text(100)))), -1},
		"plain, too short for a sum":   {chunk(chunkPlain, "123"), -1},
		"packed, too short for a sum":  {chunk(chunkPacked, ""), -1},
		"packed, and nothing in it":    {chunk(chunkPacked, "sum."), -1},
		"the longest":                  {plain(text(maxChunk)) + packed(text(maxChunk)), 2 * maxChunk},
		"plain, longer":                {plain(text(maxChunk + 1)), -1},
		"packed, longer":               {packed(text(maxChunk + 1)), -1},
		"cut in a header":              {a + "\x00\x01", -1},
		"cut in a body":                {a + chunk(chunkPlain, "12345678")[:9], -1},
	} {
		got, err := x.Append(nil, Snappy, []byte(snappyStream+tc.in), 1<<20)
		if tc.want < 0 && !errors.As(err, new(*CorruptError)) || tc.want >= 0 && (err != nil || len(got) != tc.want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if got, err := x.Append(nil, Snappy, []byte(snappyStream+a+a), 5); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more than is taken in two: %d bytes, %v", len(got), err)
	}
}

// A window is bounded though content is decoded where it stays (RFC 8878 section 3.1.1.1.2).
func TestWindowsOfZstd(t *testing.T) {
	var x Expander
	const block = "\x19\x00\x00abc" // raw, the last
	for descriptor, ok := range map[byte]bool{0x00: true, 13 << 3: true, 13<<3 | 1: false, 21 << 3: false} {
		got, err := x.Append(nil, Zstd, []byte(zstdMagic+"\x00"+string([]byte{descriptor})+block), 1<<20)
		if ok != (err == nil) || ok && string(got) != "abc" {
			t.Errorf("window descriptor %#x: %q, %v", descriptor, got, err)
		}
	}
}

// What hardly becomes shorter leaves as it is.
func TestWhatDoesNotPay(t *testing.T) {
	for _, e := range all {
		var c Compressor
		b := append(noise(8_000), text(1_000)...)
		if packed, fresh := c.Tail(e, b); packed != nil || !fresh {
			t.Errorf("%v: %d bytes of %d, fresh %v", e, len(packed), len(b), fresh)
		}
		if packed, fresh := c.Tail(e, b); packed != nil || fresh {
			t.Errorf("%v, again: %d bytes, fresh %v", e, len(packed), fresh)
		}
	}
}

func TestOffers(t *testing.T) {
	for list, want := range map[string]Encoding{"": None, "identity": None, "gzip": Gzip, "identity,deflate,gzip": Gzip, "identity, gzip, zstd": Zstd,
		"snappy,gzip": Snappy, "br": None, ",,": None, "gzipped": None, " gzip ": Gzip, AcceptEncoding: Zstd} {
		if got := Choose([]byte(list)); got != want {
			t.Errorf("%q: %v, want %v", list, got, want)
		}
	}
	for _, name := range []string{"deflate", "GZIP", "br", "zlib"} {
		if e, ok := Named(name); ok {
			t.Errorf("%q is %v", name, e)
		}
	}
}

// Rules: P-comp-4.
func TestSamplerStopsAndTriesAgain(t *testing.T) {
	var s Sampler
	tries := 0
	for range 100_000 {
		if s.Try() {
			tries++
			s.Tried(false)
		}
	}
	if tries > 40 {
		t.Errorf("%d tries in 100000 messages that do not shrink", tries)
	}
	waited := 0
	for !s.Try() {
		waited++
	}
	if s.Tried(true); waited > lastSpan {
		t.Errorf("%d messages go by", waited)
	}
	for range 1000 {
		if !s.Try() {
			t.Fatal("it stops although it pays")
		}
		s.Tried(true)
	}
	for i := range 100 { // three of four do not pay
		if !s.Try() {
			t.Fatalf("it stops at message %d although it pays now and then", i)
		}
		s.Tried(i%patience == 0)
	}
}

func FuzzExpand(f *testing.F) {
	for _, e := range all {
		f.Add(byte(e), made(f, e, text(2000)))
		f.Add(byte(e), made(f, e, make([]byte, 100_000)))
		f.Add(byte(e), new(Compressor).Append(nil, e, noise(200), text(2000)))
	}
	f.Add(byte(Zstd), []byte(zstdMagic+"\xa0\x00\x00\x00\x40\x03\x00\x00\x00"))
	f.Add(byte(Snappy), append([]byte(snappyStream), 0xfe, 0, 0, 0))
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		const limit = 64 << 10
		e := all[int(kind)%len(all)]
		var x Expander
		got, err := x.Append(nil, e, b, limit)
		if len(got) > limit || cap(got) > 4*limit {
			t.Fatalf("%d bytes of %d", len(got), cap(got))
		}
		if err != nil {
			return
		}
		again, err := x.Append(nil, e, b, limit) // nothing is kept from one to the next
		if err != nil || !bytes.Equal(got, again) {
			t.Fatalf("again: %v", err)
		}
		if e == Gzip { // the other decoder agrees
			if want, err := foreign(e, b); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%v: %d bytes, want %d", err, len(got), len(want))
			}
			if binary.LittleEndian.Uint32(b[len(b)-4:]) != uint32(len(got)) {
				t.Fatal("length")
			}
		}
	})
}

func TestAllocs(t *testing.T) {
	var c Compressor
	var x Expander
	head, a, b := noise(200), text(8000), text(8001)
	out, back := make([]byte, 0, 64<<10), make([]byte, 0, 64<<10)
	for _, e := range all {
		n := testing.AllocsPerRun(100, func() {
			for _, tail := range [][]byte{a, b} {
				p := c.Append(out, e, head, tail)
				if _, err := x.Append(back, e, p, 64<<10); err != nil {
					t.Fatal(err)
				}
			}
		})
		if n > 0 && pooled {
			t.Errorf("%v: %v allocations", e, n)
		}
	}
}

func BenchmarkTail(b *testing.B) {
	for _, e := range all {
		for _, n := range []int{1 << 10, 8 << 10, Most} {
			b.Run(fmt.Sprint(e, n), func(b *testing.B) {
				var c Compressor
				p, q := text(n), text(n)
				q[0]++
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					c.Tail(e, p)
					p, q = q, p
				}
			})
		}
	}
}

func BenchmarkExpand(b *testing.B) {
	for _, e := range all {
		for _, n := range []int{1 << 10, 8 << 10, 4 << 20} {
			b.Run(fmt.Sprint(e, n), func(b *testing.B) {
				var x Expander
				p := made(b, e, text(n))
				out := make([]byte, 0, n)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := x.Append(out, e, p, n); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

package transport

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
)

// text is n bytes that shrink, noise n bytes that do not.
func text(n int) []byte { return bytes.Repeat([]byte("the quick brown fox "), n/20+1)[:n:n] }

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// ask opens stream id with fields besides the usual ones.
func (v *visitor) ask(id uint32, kv ...string) {
	v.write(frames(func(f *http2.Framer) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, BlockFragment: fields(append([]string{":method", "POST",
			":scheme", "http", ":path", openChannel, ":authority", "node", "te", "trailers", "content-type", "application/grpc"}, kv...)...)})
	}))
}

// packed cuts the DATA of a stream into messages, and expands those that are compressed.
func (f *frameText) packed(t *testing.T, id uint32, e compress.Encoding) (ms [][]byte, flags string) {
	t.Helper()
	b := f.data[id]
	for len(b) >= envelope && len(b) >= envelope+int(binary.BigEndian.Uint32(b[1:])) {
		n := int(binary.BigEndian.Uint32(b[1:]))
		m := b[envelope : envelope+n]
		flags += fmt.Sprint(b[0])
		if b[0] == 1 {
			var x compress.Expander
			var err error
			if m, err = x.Append(nil, e, m, 4<<20); err != nil {
				t.Fatal(err)
			}
		}
		ms = append(ms, m)
		b = b[envelope+n:]
	}
	f.data[id] = b
	return ms, flags
}

// Rules: P-comp-2.
func TestAnswersToWhoAsksForCompression(t *testing.T) {
	const ok = "HEADERS 1 :status=200 content-type=application/grpc"
	const accepts = " grpc-accept-encoding=" + compress.AcceptEncoding
	for _, tc := range []struct {
		name, accept, encoding string
		plain                  bool
		want                   string
	}{
		{"who asks for nothing is told nothing", "", "", false, ok},
		{"gzip", "identity,deflate,gzip", "", false, ok + accepts + " grpc-encoding=gzip"},
		{"the best of several", "gzip,snappy,zstd", "", false, ok + accepts + " grpc-encoding=zstd"},
		{"nothing that is known", "identity,br", "", false, ok + accepts},
		{"sends gzip, and takes none", "", "gzip", false, ok},
		{"sends what is unknown", "gzip", "br", false,
			"HEADERS 1 :status=200 content-type=application/grpc grpc-status=12 grpc-message=content is compressed with br; accepted are " +
				compress.AcceptEncoding + accepts + " end"},
		{"a node that does without", "gzip", "", true, ok},
		{"a node that does without, and is sent some", "", "gzip", true,
			"HEADERS 1 :status=200 content-type=application/grpc grpc-status=12 grpc-message=content is compressed with gzip; accepted are identity" +
				" grpc-accept-encoding=identity end"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := build(t, Options{MaxStreams: 100, Plain: tc.plain}).visit()
			v.greet()
			var kv []string
			if tc.accept != "" {
				kv = append(kv, "grpc-accept-encoding", tc.accept)
			}
			if tc.encoding != "" {
				kv = append(kv, "grpc-encoding", tc.encoding)
			}
			v.ask(1, kv...)
			v.want(tc.want)
		})
	}
}

// Rules: P-comp-3, P-comp-5.
func TestWhatLeavesCompressed(t *testing.T) {
	h := build(t, Options{MaxStreams: 100})
	v := h.visit()
	v.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	v.allow(1<<20, 0)
	v.ask(1, "grpc-accept-encoding", "gzip")
	v.read()
	g := h.guests[0]
	var want [][]byte
	put := func(b []byte) {
		t.Helper()
		h.do(func() {
			if !g.put(b) {
				t.Fatal("not taken")
			}
		})
		want = append(want, b)
	}
	put(text(compress.Least - 1)) // too short
	put(text(compress.Least))
	put(text(50_000))
	put(noise(50_000)) // does not shrink
	put(text(compress.Most))
	put(text(compress.Most + 1)) // too long
	put(text(5000))
	v.text.read(t, v.read())
	got, flags := v.text.packed(t, 1, compress.Gzip)
	if flags != "0110101" || !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("flags %s, %d messages", flags, len(got))
	}
	if n := h.group.Tally(); n.PlainOut < 180_000 || n.PackedOut > n.PlainOut/10 || n.Unpaid != 50_000 {
		t.Errorf("%+v", n)
	}
}

// What was compressed once for all of an encoding is for no other.
func TestReceiversOfSeveralEncodings(t *testing.T) {
	h := build(t, Options{MaxStreams: 100})
	v := h.visit()
	v.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	v.allow(1<<20, 0)
	encodings := []compress.Encoding{compress.Gzip, compress.Zstd, compress.Snappy}
	for i, e := range encodings {
		v.ask(uint32(2*i+1), "grpc-accept-encoding", e.String())
	}
	v.read()
	b := text(5000)
	h.do(func() {
		for range 2 {
			for _, g := range h.guests {
				g.put(b)
			}
		}
	})
	v.text.read(t, v.read())
	for i, e := range encodings {
		got, flags := v.text.packed(t, uint32(2*i+1), e)
		if flags != "11" || !slices.EqualFunc(got, [][]byte{b, b}, bytes.Equal) {
			t.Errorf("%v: flags %s, %d messages", e, flags, len(got))
		}
	}
}

// A loop compresses so much in a batch, and sends the rest as it is. What goes to many is compressed once.
func TestCompressionHoldsNoLoop(t *testing.T) {
	h := build(t, Options{MaxStreams: 100})
	v := h.visit()
	v.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 8 << 20})
	v.allow(64<<20, 0)
	for id := range uint32(4) {
		v.ask(2*id+1, "grpc-accept-encoding", "snappy")
	}
	v.read()
	each := func(message func(i int) []byte) (flags string) {
		h.do(func() {
			for i, g := range h.guests {
				g.put(message(i))
			}
		})
		v.text.read(t, v.read())
		for id := range uint32(4) {
			_, f := v.text.packed(t, 2*id+1, compress.Snappy)
			flags += f
		}
		return flags
	}
	if got := each(func(i int) []byte { return text(compress.Most/2 - i) }); got != "1100" {
		t.Errorf("different ones: %s", got)
	}
	if got := each(func(int) []byte { return text(compress.Most) }); got != "1111" {
		t.Errorf("one for all: %s", got)
	}
}

// A message that the windows do not take whole leaves plain, in parts, of the length that was said before.
func TestPartsArePlain(t *testing.T) {
	h := build(t, Options{MaxStreams: 100})
	v := h.visit()
	v.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5000})
	v.ask(1, "grpc-accept-encoding", "zstd")
	v.read()
	g := h.guests[0]
	m := own(text(20_000))
	if n := g.s.Size(m); n != envelope+20_000 {
		t.Errorf("%d bytes", n)
	}
	sent := 0
	for sent < g.s.Size(m) {
		h.do(func() {
			if sent == 0 && g.s.Put(m) {
				t.Fatal("put into a window that is too small")
			}
			sent += g.s.PutPart(m, sent, true)
		})
		v.allow(5000, 1)
		v.text.read(t, v.read())
	}
	if got, flags := v.text.packed(t, 1, compress.Zstd); flags != "0" || !bytes.Equal(got[0], text(20_000)) {
		t.Errorf("flags %s", flags)
	}
}

// sends is a guest whose peer may send compressed messages, on a house that works beside the loop when run is called.
func sends(t *testing.T, e compress.Encoding, opt Options) (v *visitor, g *guest, run func()) {
	t.Helper()
	opt.MaxStreams = 100
	h := build(t, opt)
	var work []func()
	h.group.beside = func(f func()) { work = append(work, f) }
	v = h.visit()
	v.write([]byte(http2.ClientPreface + string(frames(func(f *http2.Framer) { _ = f.WriteSettings(); _ = f.WriteSettingsAck() }))))
	v.ask(1, "grpc-encoding", e.String())
	v.read()
	run = func() {
		for len(work) > 0 {
			f := work[0]
			work = work[1:]
			f()
			h.settle()
		}
	}
	g = h.guests[0]
	h.do(g.s.Established)
	return v, g, run
}

// compressed is a message as gRPC carries it, compressed.
func compressed(t *testing.T, e compress.Encoding, b []byte) []byte {
	t.Helper()
	var c compress.Compressor
	p := c.Append(nil, e, nil, b)
	if p == nil {
		t.Fatal("it does not shrink")
	}
	p = enveloped(p)
	p[0] = 1
	return p
}

func (g *guest) lengths() (out []int) {
	for _, b := range g.got {
		out = append(out, len(b))
	}
	return out
}

// Rules: P-comp-6.
func TestMessagesThatComeCompressedStayInOrder(t *testing.T) {
	for _, e := range []compress.Encoding{compress.Gzip, compress.Zstd, compress.Snappy} {
		t.Run(e.String(), func(t *testing.T) {
			v, g, run := sends(t, e, Options{})
			in := slices.Concat(compressed(t, e, text(3000)), enveloped([]byte("plain")), compressed(t, e, text(compress.Most)),
				compressed(t, e, text(4000)), enveloped([]byte("later")))
			in = append(in, 1, 0, 0, 0, 1)
			v.data(1, in[:len(in)-5])
			if got := g.lengths(); !slices.Equal(got, []int{3000, 5}) {
				t.Errorf("at once: %v", got)
			}
			if n := g.h.group.Unfinished(); n == 0 {
				t.Error("what waits is not counted")
			}
			v.write(frames(func(f *http2.Framer) { _ = f.WriteData(1, true, nil) }))
			g.want() // the end waits, too
			if w, ok := g.stream().receiver.(Waiter); !ok || !w.Waits() {
				t.Error("it does not wait")
			}
			run()
			if got := g.lengths(); !slices.Equal(got, []int{3000, 5, compress.Most, 4000, 5}) {
				t.Errorf("in the end: %v", got)
			}
			if !bytes.Equal(g.got[2], text(compress.Most)) || !bytes.Equal(g.got[3], text(4000)) {
				t.Error("content changed")
			}
			g.want("finished")
			if n := g.h.group.Unfinished(); n != 0 {
				t.Errorf("%d bytes are still counted", n)
			}
			n := g.h.group.Tally()
			if n.PlainIn != 3000+compress.Most+4000 || n.PackedIn == 0 || n.PackedIn > n.PlainIn/10 {
				t.Errorf("%+v", n)
			}
		})
	}
}

// Whoever sends more while a message is being expanded is held by its window.
func TestWhatWaitsIsNotCredited(t *testing.T) {
	v, g, run := sends(t, compress.Gzip, Options{Window: 100_000})
	v.data(1, compressed(t, compress.Gzip, text(compress.Most)))
	v.read()
	for range 4 {
		v.data(1, enveloped(make([]byte, 20_000)))
	}
	for _, line := range v.text.read(t, v.read()) {
		if strings.HasPrefix(line, "WINDOW_UPDATE 1 ") {
			t.Errorf("credit for what waits: %s", line)
		}
	}
	run()
	if len(g.got) != 5 {
		t.Fatalf("%d messages", len(g.got))
	}
	if got := strings.Join(v.text.read(t, v.read()), "; "); !strings.Contains(got, "WINDOW_UPDATE 1 ") {
		t.Errorf("no credit: %s", got)
	}
}

func TestBadCompressedMessages(t *testing.T) {
	flag := func(b []byte) []byte {
		b = enveloped(b)
		b[0] = 1
		return b
	}
	good := compressed(t, compress.Gzip, text(5000))[envelope:]
	bomb := compressed(t, compress.Gzip, text(compress.Most))[envelope:]
	for _, tc := range []struct {
		name    string
		b       []byte
		opt     Options
		strange bool // the peer has not negotiated
		want    string
	}{
		{"garbage", noise(500), Options{}, false, "broken: bad_compression"},
		{"much garbage", noise(50_000), Options{}, false, "broken: bad_compression"},
		{"cut short", good[:len(good)-9], Options{}, false, "broken: bad_compression"},
		{"something behind", append(bytes.Clone(good), 0), Options{}, false, "broken: bad_compression"},
		{"more than is taken", bomb, Options{MaxMessage: compress.Most - 1}, false, "broken: expands_too_large"},
		{"more than is taken on the loop", good, Options{MaxMessage: 4999}, false, "broken: expands_too_large"},
		{"more than a stranger may send", compressed(t, compress.Gzip, text(17<<10))[envelope:], Options{}, true, "broken: expands_too_large"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v, g, run := sends(t, compress.Gzip, tc.opt)
			if tc.strange {
				v.ask(3, "grpc-encoding", "gzip")
				g = g.h.guests[1]
			}
			g.broken = func(Fault) { g.s.Finish(13, "") }
			id := g.stream().h2.ID
			v.data(id, slices.Concat(flag(tc.b), enveloped([]byte("later")), flag(tc.b)))
			run()
			if len(g.got) > 0 {
				t.Errorf("%d messages came through", len(g.got))
			}
			if len(g.lines) == 0 || g.lines[0] != tc.want {
				t.Errorf("%q, want %q", g.lines, tc.want)
			}
			if n := g.h.group.Unfinished(); n != 0 {
				t.Errorf("%d bytes are still counted", n)
			}
		})
	}
}

// A stream may end while its message is in other hands.
func TestStreamsEndWhileTheyExpand(t *testing.T) {
	for name, end := range map[string]func(v *visitor){
		"reset": func(v *visitor) {
			v.write(frames(func(f *http2.Framer) { _ = f.WriteRSTStream(1, http2.ErrCodeCancel) }))
		},
		"socket": func(v *visitor) { v.h.loop.Hangup(v.sock, nil); v.h.settle() },
		"memory": func(v *visitor) {
			v.h.do(func() { v.h.guests[0].stream().receiver.Broken(FaultMemory) })
			v.h.do(func() { v.h.guests[0].s.Finish(8, "") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			v, g, run := sends(t, compress.Zstd, Options{})
			v.ask(3, "grpc-encoding", "zstd")
			other := v.h.guests[1]
			v.h.do(other.s.Established)
			v.data(1, slices.Concat(compressed(t, compress.Zstd, text(compress.Most)), compressed(t, compress.Zstd, text(2000))))
			v.data(3, compressed(t, compress.Zstd, text(100_000)))
			end(v)
			run()
			if len(g.got) != 0 {
				t.Errorf("%d messages after the end", len(g.got))
			}
			if n := v.h.group.unfinished.Held(); n != 0 {
				t.Errorf("%d bytes are still counted", n)
			}
			if name != "socket" && len(other.got) != 1 {
				t.Errorf("the other stream got %d messages", len(other.got))
			}
			if v.h.panics != 0 {
				t.Error("a panic")
			}
		})
	}
}

// A panic beside the loop costs the socket.
func TestAPanicWhileExpanding(t *testing.T) {
	v, _, _ := sends(t, compress.Zstd, Options{})
	v.h.group.beside = func(f func()) {
		v.h.group.codec.beside.in = compress.Expander{}
		v.h.loop.Station().Post(func() {
			c := v.h.group.codec
			c.worked(c.line[0], nil, 0, &panicked{"test"})
		})
	}
	v.data(1, compressed(t, compress.Zstd, text(compress.Most)))
	if v.h.panics != 1 || !v.gone() {
		t.Errorf("%d panics, gone %v", v.h.panics, v.gone())
	}
}

// The memory of a codec that is not used is given back.
func TestCodecsForget(t *testing.T) {
	v, g, run := sends(t, compress.Gzip, Options{})
	v.data(1, compressed(t, compress.Gzip, text(compress.Most)))
	run()
	c := v.h.group.codec
	if len(g.got) != 1 || c.beside == nil {
		t.Fatal("nothing was expanded")
	}
	v.h.pass(idleTicks+1, nil)
	if c.beside != nil {
		t.Error("the memory is kept")
	}
	v.data(1, compressed(t, compress.Gzip, text(compress.Most)))
	if run(); len(g.got) != 2 {
		t.Error("nothing is expanded any more")
	}
}

func TestAllocsOfCompression(t *testing.T) {
	h := build(t, Options{MaxStreams: 100})
	v := h.visit()
	v.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	v.allow(1<<30, 0)
	v.ask(1, "grpc-accept-encoding", "zstd", "grpc-encoding", "zstd")
	v.read()
	s := h.guests[0].s
	a, b := own(text(5000)), own(text(5001))
	c := h.group.codecOf()
	in := compressed(t, compress.Zstd, text(5000))[envelope:]
	x := s.(*packedStream).receiver.(*expander)
	x.Receiver = deaf{}
	n := testing.AllocsPerRun(200, func() {
		c.done, c.spent = 0, 0
		if !s.Put(a) || !s.Put(b) {
			t.Fatal("not taken")
		}
		v.sock.Flush()
		x.compressed(in, nil, 4<<20)
		drain(v.fd)
	})
	if n > 0 && pooled {
		t.Errorf("%v allocations", n)
	}
}

// deaf is a receiver that does nothing.
type deaf struct{ Receiver }

func (deaf) Receive([]byte, *pool.Buf) {}

var drained = make([]byte, 256<<10)

func drain(fd int) { _, _ = unix.Read(fd, drained) }

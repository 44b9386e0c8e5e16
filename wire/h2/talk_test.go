package h2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// recorder writes down every event as one line. Handlers, if set, run after the line is written.
type recorder struct {
	c         *Conn
	lines     []string
	streams   map[uint32]*Stream
	grown     []int // n of every Grow
	noGrow    int   // times that Grow has no memory from now on
	onRequest func(*Stream, *Request)
	onMessage func(*Stream, []byte)
	onClosed  func(*Stream)
	bodies    bool // note the content of messages, not just the length
}

func (r *recorder) add(format string, a ...any) { r.lines = append(r.lines, fmt.Sprintf(format, a...)) }

func (r *recorder) Request(s *Stream, q *Request) {
	r.add("request %d %s %s", s.ID, q.Method, q.Path)
	if r.streams == nil {
		r.streams = map[uint32]*Stream{}
	}
	r.streams[s.ID] = s
	if r.onRequest != nil {
		r.onRequest(s, q)
	}
}

func (r *recorder) Response(s *Stream, p *Response) {
	r.add("response %d %d grpc=%d", s.ID, p.Status, p.GRPCStatus)
}

func (r *recorder) Message(s *Stream, msg []byte, lent bool) {
	if r.bodies {
		r.add("message %d %x", s.ID, msg)
	} else {
		r.add("message %d len %d", s.ID, len(msg))
	}
	if r.onMessage != nil {
		r.onMessage(s, msg)
	}
}

func (r *recorder) Compressed(s *Stream, msg []byte, lent bool) {
	r.add("compressed %d len %d", s.ID, len(msg))
	if r.onMessage != nil {
		r.onMessage(s, msg)
	}
}

func (r *recorder) Grow(s *Stream, have []byte, n int) []byte {
	if r.noGrow > 0 {
		r.noGrow--
		return nil
	}
	r.grown = append(r.grown, n)
	return append(make([]byte, 0, n), have...)
}

func (r *recorder) Ended(s *Stream, e *End) {
	r.add("ended %d %s %s http=%d grpc=%d %q", s.ID, e.Kind, e.Code, e.HTTPStatus, e.GRPCStatus, e.Message)
}

func (r *recorder) Writable(s *Stream) { r.add("writable %d", s.ID) }
func (r *recorder) Closed(s *Stream) {
	r.add("closed %d", s.ID)
	if r.onClosed != nil {
		r.onClosed(s)
	}
}
func (r *recorder) Pong() { r.add("pong") }
func (r *recorder) GoAway(last uint32, code ErrCode, debug []byte) {
	r.add("goaway last=%d %s %q", last, code, debug)
}

// frameText prints frames as x/net's Framer, the oracle for everything we write, reads them.
type frameText struct {
	fr  *http2.Framer
	buf bytes.Buffer
	dec *hpack.Decoder
}

func newFrameText() *frameText {
	f := &frameText{dec: hpack.NewDecoder(4096, nil)}
	f.fr = http2.NewFramer(io.Discard, &f.buf)
	f.fr.ReadMetaHeaders = f.dec
	return f
}

func (f *frameText) read(t testing.TB, b []byte) []string {
	t.Helper()
	if bytes.HasPrefix(b, []byte(preface)) {
		b = b[len(preface):]
	}
	f.buf.Write(b)
	var lines []string
	for f.buf.Len() > 0 {
		fr, err := f.fr.ReadFrame()
		if err != nil {
			t.Fatalf("x/net does not read what we sent: %v (after %q)", err, lines)
		}
		lines = append(lines, frameLine(fr))
	}
	return lines
}

func frameLine(fr http2.Frame) string {
	id, end := fr.Header().StreamID, ""
	if fr.Header().Flags.Has(http2.FlagDataEndStream) {
		end = " end"
	}
	switch f := fr.(type) {
	case *http2.DataFrame:
		return fmt.Sprintf("DATA %d len %d%s", id, len(f.Data()), end)
	case *http2.MetaHeadersFrame:
		var b strings.Builder
		fmt.Fprintf(&b, "HEADERS %d%s", id, end)
		for _, h := range f.Fields {
			fmt.Fprintf(&b, " %s=%s", h.Name, h.Value)
		}
		return b.String()
	case *http2.RSTStreamFrame:
		return fmt.Sprintf("RST_STREAM %d %s", id, f.ErrCode)
	case *http2.SettingsFrame:
		if f.IsAck() {
			return "SETTINGS ack"
		}
		s := "SETTINGS"
		_ = f.ForeachSetting(func(x http2.Setting) error { s += fmt.Sprintf(" %d=%d", x.ID, x.Val); return nil })
		return s
	case *http2.PingFrame:
		return fmt.Sprintf("PING %x ack=%v", f.Data, f.IsAck())
	case *http2.GoAwayFrame:
		return fmt.Sprintf("GOAWAY last=%d %s %q", f.LastStreamID, f.ErrCode, f.DebugData())
	case *http2.WindowUpdateFrame:
		return fmt.Sprintf("WINDOW_UPDATE %d +%d", id, f.Increment)
	}
	return fr.Header().String()
}

// talk is one engine in conversation with a script.
type talk struct {
	t    testing.TB
	c    *Conn
	ev   *recorder
	text *frameText
	err  error
}

// newTalk starts a conversation in which both sides have exchanged SETTINGS; what that wrote is thrown away.
func newTalk(t testing.TB, role Role, set *Settings) *talk {
	t.Helper()
	k := rawTalk(t, role, set)
	k.feed(join(greeting(role), frame(4, flagAck, 0)))
	k.frames()
	k.ev.lines = nil
	return k
}

func rawTalk(t testing.TB, role Role, set *Settings) *talk {
	c := new(Conn)
	c.Init(role, set)
	k := &talk{t: t, c: c, ev: &recorder{c: c}, text: newFrameText()}
	k.ev.onRequest = func(s *Stream, _ *Request) { c.Respond(s) }
	return k
}

// greeting is what a peer of an engine in that role sends first.
func greeting(role Role) []byte {
	if role == Server {
		return join([]byte(preface), frame(4, 0, 0))
	}
	return frame(4, 0, 0)
}

func (k *talk) feed(b []byte) {
	if err := k.c.Feed(b, k.ev); err != nil {
		k.err = err
	}
}

// frames returns and forgets what the engine wants written.
func (k *talk) frames() []string {
	k.t.Helper()
	lines := k.text.read(k.t, k.c.Control())
	k.c.ControlDone()
	return lines
}

func (k *talk) wantFrames(want ...string) {
	k.t.Helper()
	if got := k.frames(); !slices.Equal(got, want) {
		k.t.Errorf("frames:\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func (k *talk) wantEvents(want ...string) {
	k.t.Helper()
	if got := k.ev.lines; !slices.Equal(got, want) {
		k.t.Errorf("events:\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	k.ev.lines = nil
}

func (k *talk) wantError(code ErrCode) *ConnError {
	k.t.Helper()
	var ce *ConnError
	if !errors.As(k.err, &ce) {
		k.t.Fatalf("no connection error, want %s", code)
	}
	if ce.Code != code {
		k.t.Errorf("error %v, want %s", ce, code)
	}
	return ce
}

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

// frame builds one frame from parts of its payload.
func frame(kind frameType, flags uint8, id uint32, payload ...[]byte) []byte {
	p := join(payload...)
	return append(appendFrameHeader(nil, len(p), kind, flags, id), p...)
}

// u32 is a big-endian word.
func u32(v uint32) []byte { return appendBE32(nil, v) }

// setting is one parameter of SETTINGS.
func setting(id uint16, v uint32) []byte { return appendSetting(nil, id, v) }

// fieldEncoder encodes "name: value" texts with x/net's encoder, so that both codecs meet; Huffman and indexing included.
type fieldEncoder struct {
	buf bytes.Buffer
	enc *hpack.Encoder
}

func (e *fieldEncoder) block(fields ...string) []byte {
	if e.enc == nil {
		e.enc = hpack.NewEncoder(&e.buf)
	}
	e.buf.Reset()
	for _, f := range fields {
		i := strings.Index(f[1:], ":") + 1
		_ = e.enc.WriteField(hpack.HeaderField{Name: f[:i], Value: strings.TrimPrefix(f[i+1:], " ")})
	}
	return bytes.Clone(e.buf.Bytes())
}

// fieldBlock encodes fields without memory: usable in any order.
func fieldBlock(fields ...string) []byte {
	var e fieldEncoder
	e.enc = hpack.NewEncoder(&e.buf)
	e.enc.SetMaxDynamicTableSizeLimit(0)
	return e.block(fields...)
}

var channelFields = []string{":method: POST", ":scheme: http", ":path: " + channelPath, ":authority: node:46357",
	"te: trailers", "content-type: application/grpc", "user-agent: tonic/0.14.6"}

// request builds HEADERS of an OpenChannel request, as a Rust dialer sends it, with extra fields.
func request(id uint32, flags uint8, extra ...string) []byte {
	return frame(frameHeaders, flagEndHeaders|flags, id, fieldBlock(slices.Concat(channelFields, extra)...))
}

// grpcMsg is a message of n bytes with its prefix.
func grpcMsg(n int) []byte { return append(appendPrefix(nil, n), bytes.Repeat([]byte{'m'}, n)...) }

func data(id uint32, flags uint8, payload ...[]byte) []byte {
	return frame(frameData, flags, id, payload...)
}

package ws

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/seed31b3bfd0/slimgo/wire/compress"
)

// hang guards against a test that would never end.
const hang = 2 * time.Minute

// recorder writes down every event as one line. Handlers, if set, run after the line is written.
type recorder struct {
	lines     []string
	grown     []int // n of every Grow
	noGrow    bool
	onRequest func(*Request)
	onMessage func(Kind, []byte)
	onEnded   func()
}

func (r *recorder) add(format string, a ...any) { r.lines = append(r.lines, fmt.Sprintf(format, a...)) }

func (r *recorder) Request(q *Request) {
	r.add("request %s %s?%s host=%s origin=%s auth=%q token=%q", q.Method, q.Path, q.Query, q.Host, q.Origin, q.Authorization, q.Token)
	if r.onRequest != nil {
		r.onRequest(q)
	}
}
func (r *recorder) Response(*Response) { r.add("response") }
func (r *recorder) Message(k Kind, msg []byte, lent bool) {
	if len(msg) > 40 {
		r.add("message %d len %d", k, len(msg))
	} else {
		r.add("message %d %q", k, msg)
	}
	if r.onMessage != nil {
		r.onMessage(k, msg)
	}
}
func (r *recorder) Grow(have []byte, n int) []byte {
	if r.noGrow {
		return nil
	}
	r.grown = append(r.grown, n)
	return append(make([]byte, 0, n), have...)
}
func (r *recorder) Pong(b []byte) { r.add("pong %q", b) }
func (r *recorder) Ended(e *End) {
	r.add("ended %d %q", e.Code, e.Reason)
	if r.onEnded != nil {
		r.onEnded()
	}
}

// talk is an engine with its events.
type talk struct {
	t   testing.TB
	c   Conn
	ev  recorder
	err error
}

// testKey masks what tests send to a server.
const testKey = 0x44332211

// frame returns a frame; the first byte is given whole. masked as by a client.
func frame(b0 byte, masked bool, payload ...byte) []byte {
	b := appendHeader(nil, opcode(b0&0xf), b0&bitFin != 0, len(payload), masked, testKey)
	b[0] = b0
	at := len(b)
	b = append(b, payload...)
	if masked {
		mask(b[at:], testKey)
	}
	return b
}

func join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

const testRequest = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// seeded returns s with a seed.
func seeded(s *Settings) *Settings {
	if s == nil {
		s = &Settings{}
	}
	with := *s
	with.Seed = [32]byte{9}
	return &with
}

// opened returns an engine whose handshake is complete.
func opened(t testing.TB, role Role, s *Settings) *talk {
	t.Helper()
	k := &talk{t: t}
	k.c.Init(role, seeded(s))
	if role == Server {
		k.ev.onRequest = func(*Request) { k.c.Accept() }
		k.feed([]byte(testRequest + "\r\n"))
	} else {
		if err := k.c.Upgrade(&Upgrade{Host: "h"}); err != nil {
			t.Fatal(err)
		}
		a := acceptOf(k.c.key[:])
		k.feed(fmt.Appendf(nil, "HTTP/1.1 101 x\r\nupgrade: WebSocket\r\nconnection: keep-alive, upgrade\r\nsec-websocket-accept: %s\r\n\r\n", a))
	}
	if k.err != nil || !k.c.Open() {
		t.Fatal("not open", k.err)
	}
	k.c.ControlDone()
	k.ev.lines = nil
	return k
}

// feed gives the engine a copy: it writes to what it reads.
func (k *talk) feed(b []byte) { k.err = k.c.Feed(append([]byte(nil), b...), &k.ev) }

// feedCut feeds so many bytes at a time.
func (k *talk) feedCut(b []byte, n int) {
	for len(b) > 0 {
		m := min(n, len(b))
		k.feed(b[:m])
		b = b[m:]
	}
}

// said takes Control and prints its frames.
func (k *talk) said() string {
	s := printFrames(k.t, k.c.Control())
	k.c.ControlDone()
	return s
}

// printFrames prints frames with a reader of the test's own.
func printFrames(t testing.TB, b []byte) string {
	var out []string
	for len(b) > 0 {
		if len(b) < 2 || len(b) < headerSize(b[1]) {
			t.Fatalf("half a frame: %x", b)
		}
		size := headerSize(b[1])
		h, fault := parseHeader(b[:size])
		if fault != "" || uint64(len(b)-size) < h.length {
			t.Fatalf("bad frame: %s %x", fault, b)
		}
		p := append([]byte(nil), b[size:size+int(h.length)]...)
		if h.masked {
			for i := range p { // byte by byte: the naive twin of mask
				p[i] ^= byte(h.key >> (8 * (i % 4)))
			}
		}
		b = b[size+int(h.length):]
		line := fmt.Sprintf("%x", uint8(h.op))
		if !h.fin {
			line += "+"
		}
		if h.op == opClose && len(p) >= 2 {
			line += fmt.Sprintf(" %d %s", binary.BigEndian.Uint16(p), p[2:])
		} else if len(p) > 40 {
			line += fmt.Sprintf(" len %d", len(p))
		} else {
			line += fmt.Sprintf(" %q", p)
		}
		out = append(out, line)
	}
	return strings.Join(out, "; ")
}

// echo serves n with an engine that returns every message, until the socket ends. It returns the error of Feed.
func echo(n net.Conn, role Role, s *Settings, up *Upgrade) error {
	return (&echoer{n: n, c: new(Conn)}).serve(n, role, s, up)
}

func (e *echoer) serve(n net.Conn, role Role, s *Settings, up *Upgrade) error {
	defer n.Close()
	if s == nil {
		s = &Settings{Text: true}
	}
	e.c.Init(role, s)
	e.c.SetMaxMessage(s.MaxMessage)
	if s.MaxMessage == 0 {
		e.c.SetMaxMessage(64 << 20)
	}
	if role == Client {
		if err := e.c.Upgrade(up); err != nil {
			return err
		}
		e.flush()
	}
	b := make([]byte, 64<<10)
	for {
		m, err := n.Read(b)
		if err != nil {
			return e.c.InputEnded()
		}
		fed := e.c.Feed(b[:m], e)
		if e.flush(); e.c.Over() {
			if _, refused := fed.(*HandshakeError); refused {
				return fed
			}
			if role == Client { // RFC 6455 section 7.1.1: the server closes first
				n.SetReadDeadline(time.Now().Add(hang))
				for err == nil {
					_, err = n.Read(b)
				}
			} else if t, ok := n.(*net.TCPConn); ok {
				t.CloseWrite()
				n.SetReadDeadline(time.Now().Add(hang))
				for err == nil {
					_, err = n.Read(b)
				}
			}
			return fed
		}
	}
}

// echoer is an owner that returns every message.
type echoer struct {
	c      *Conn
	n      io.Writer
	out    []byte
	packer compress.Compressor
	x      compress.Expander
	packed int // messages that came compressed
}

func (e *echoer) flush() {
	e.out = append(e.out, e.c.Control()...)
	e.c.ControlDone()
	if len(e.out) > 0 {
		e.n.Write(e.out)
	}
	e.out = e.out[:0]
}

func (e *echoer) Request(*Request)   { e.c.Accept() }
func (e *echoer) Response(*Response) {}
func (e *echoer) Message(kind Kind, msg []byte, lent bool) {
	e.out = append(e.out, e.c.Control()...)
	e.c.ControlDone()
	if kind&Deflated != 0 {
		e.deflated(kind&^Deflated, msg)
		return
	}
	dst, ok := e.c.Message(e.out, len(msg))
	if kind == Text {
		dst, ok = e.c.Fragment(e.out, kind, len(msg), true)
	}
	if !ok {
		return
	}
	at := len(dst)
	e.out = append(dst, msg...)
	e.c.Mask(e.out[at:])
	if len(e.out) > 1<<20 {
		e.flush()
	}
}

// deflated returns a compressed message compressed, unless that makes it longer.
func (e *echoer) deflated(kind Kind, msg []byte) {
	e.packed++
	b, err := e.expand(msg)
	if err != nil {
		e.c.Fail(InvalidPayload, err.Error())
		return
	}
	if kind == Text && !utf8.Valid(b) {
		e.c.Fail(InvalidPayload, "text is not UTF-8")
		return
	}
	var packed []byte
	if len(b) > 0 {
		packed = e.packer.Append(nil, compress.Deflate, nil, b)
	}
	if packed == nil {
		e.Message(kind, b, false)
		return
	}
	dst, ok := e.c.Compressed(e.out, kind, len(packed))
	if !ok {
		return
	}
	at := len(dst)
	e.out = append(dst, packed...)
	e.c.Mask(e.out[at:])
	if len(e.out) > 1<<20 {
		e.flush()
	}
}

func (e *echoer) Grow(have []byte, n int) []byte { return append(make([]byte, 0, n), have...) }
func (e *echoer) Pong([]byte)                    {}
func (e *echoer) Ended(*End)                     { e.out = e.c.Close(e.out, NoCode, "") }

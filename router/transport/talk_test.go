package transport

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// house is a group on a manual loop: tests play the peers of its sockets and its receivers, and time passes when they
// say so.
type house struct {
	t      *testing.T
	loop   *netloop.Manual
	group  *Group
	now    time.Time
	guests []*guest // receivers of all streams, in order
	lines  []string // what the acceptor was told
	accept func(Stream) Receiver
	panics int
}

// owner is the house as its loop's owner.
type owner struct{ *house }

func (o owner) Turn()                                 {}
func (o owner) Batch()                                { o.group.Flush() }
func (o owner) Tick(now time.Time)                    { o.group.Tick(now) }
func (o owner) Panicked(*netloop.Socket, any, []byte) { o.panics++ }

func build(t *testing.T, opt Options) *house {
	t.Helper()
	h := &house{t: t, now: time.Now()}
	h.loop = netloop.NewManual(0, func(*netloop.Loop) netloop.Owner { return owner{h} })
	h.group = NewGroup(h.loop.Loop, opt, h)
	h.group.now = momentOf(h.now)
	return h
}

// do runs f on the loop, and what follows from it.
func (h *house) do(f func()) {
	h.loop.Station().Post(f)
	h.settle()
}

func (h *house) settle() {
	for h.loop.Woken() {
		h.loop.RunTurn()
	}
}

// pass lets so many seconds go by, and calls each after each.
func (h *house) pass(seconds int, each func()) {
	for range seconds {
		h.now = h.now.Add(time.Second)
		h.loop.RunTick(h.now)
		h.settle()
		if each != nil {
			each()
		}
	}
}

// Accept implements Acceptor.
func (h *house) Accept(s Stream) Receiver {
	if h.accept != nil {
		return h.accept(s)
	}
	g := &guest{h: h, s: s}
	h.guests = append(h.guests, g)
	return g
}

// Refused implements Acceptor.
func (h *house) Refused(_ *Peer, f Fault, _ error, _ ...any) { h.lines = append(h.lines, f.String()) }

// Ended implements Acceptor.
func (h *house) Ended(*Peer, error) { h.lines = append(h.lines, "ended") }

// Late implements Acceptor.
func (h *house) Late(n int) { h.lines = append(h.lines, fmt.Sprint(n, " late")) }

// Failed implements Acceptor.
func (h *house) Failed(_ *Peer, value any, _ []byte) {
	h.lines = append(h.lines, fmt.Sprint("failed: ", value))
}

// Idle implements Acceptor.
func (h *house) Idle() { h.lines = append(h.lines, "idle") }

// want compares what the acceptor was told since the last call.
func (h *house) want(lines ...string) {
	h.t.Helper()
	if !slices.Equal(h.lines, lines) {
		h.t.Errorf("the acceptor was told %q, want %q", h.lines, lines)
	}
	h.lines = nil
}

// guest is the receiver of a stream. It writes down what it is told and does what its fields say.
type guest struct {
	h     *house
	s     Stream
	lines []string
	got   [][]byte
	over  bool

	receive  func(b []byte, buf *pool.Buf)
	writable func()
	finished func()
	broken   func(Fault)
}

func (g *guest) say(line string) {
	if g.over {
		g.h.t.Errorf("%s after closed", line)
	}
	g.lines = append(g.lines, line)
}

func (g *guest) Receive(b []byte, buf *pool.Buf) {
	if g.over {
		g.h.t.Error("a message after closed")
	}
	g.got = append(g.got, slices.Clone(b))
	if g.receive != nil {
		g.receive(b, buf)
	}
}
func (g *guest) Writable() {
	if g.over {
		g.h.t.Error("writable after closed")
	}
	if g.writable != nil {
		g.writable()
	}
}
func (g *guest) Muted() { g.say("muted") }
func (g *guest) PeerFinished() {
	g.say("finished")
	if g.finished != nil {
		g.finished()
	}
}
func (g *guest) Broken(f Fault) {
	g.say("broken: " + f.String())
	if g.broken != nil {
		g.broken(f)
	}
}
func (g *guest) Closed() { g.say("closed"); g.over = true }

// want compares what the receiver was told since the last call.
func (g *guest) want(lines ...string) {
	g.h.t.Helper()
	if !slices.Equal(g.lines, lines) {
		g.h.t.Errorf("the receiver was told %q, want %q", g.lines, lines)
	}
	g.lines = nil
}

// visitor is the peer of a socket: HTTP/2 by its frames.
type visitor struct {
	h    *house
	sock *netloop.Socket
	fd   int
	text frameText
}

// visit opens a socket without a word.
func (h *house) visit() *visitor {
	h.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = unix.Close(fds[0]); _ = unix.Close(fds[1]) })
	v := &visitor{h: h, fd: fds[1]}
	v.text.init()
	v.sock = h.loop.Attach(fds[0], h.group.AcceptGRPC())
	return v
}

// greet exchanges prefaces; parameters are of SETTINGS.
func (v *visitor) greet(parameters ...http2.Setting) {
	v.h.t.Helper()
	v.write(append([]byte(http2.ClientPreface), frames(func(f *http2.Framer) {
		_ = f.WriteSettings(parameters...)
		_ = f.WriteSettingsAck()
	})...))
	v.want("SETTINGS 3=100 4=1048576 5=16384 6=16384", "WINDOW_UPDATE 0 +16711681", "SETTINGS ack")
}

// enter opens stream id and returns its receiver.
func (v *visitor) enter(id uint32) *guest {
	v.h.t.Helper()
	v.request(id, openChannel)
	v.want(fmt.Sprintf("HEADERS %d :status=200 content-type=application/grpc", id))
	return v.h.guests[len(v.h.guests)-1]
}

func (v *visitor) request(id uint32, path string) {
	v.write(frames(func(f *http2.Framer) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, BlockFragment: fields(":method", "POST",
			":scheme", "http", ":path", path, ":authority", "node", "te", "trailers", "content-type", "application/grpc")})
	}))
}

// fields encodes a header block without memory.
func fields(kv ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	e.SetMaxDynamicTableSize(0)
	b.Reset()
	for i := 0; i < len(kv); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: kv[i], Value: kv[i+1], Sensitive: true})
	}
	return b.Bytes()
}

// frames returns what f writes.
func frames(f func(*http2.Framer)) []byte {
	var b bytes.Buffer
	f(http2.NewFramer(&b, nil))
	return b.Bytes()
}

// write has the socket read b, at once, and the loop settle.
func (v *visitor) write(b []byte) {
	v.h.loop.Deliver(v.sock, b)
	v.h.settle()
}

// data sends b as DATA of a stream.
func (v *visitor) data(id uint32, b []byte) {
	v.write(frames(func(f *http2.Framer) {
		for len(b) > 0 {
			n := min(len(b), 16384)
			_ = f.WriteData(id, false, b[:n])
			b = b[n:]
		}
	}))
}

// allow widens the windows of streams; 0 is the connection's.
func (v *visitor) allow(n uint32, ids ...uint32) {
	v.write(frames(func(f *http2.Framer) {
		for _, id := range ids {
			_ = f.WriteWindowUpdate(id, n)
		}
	}))
}

// read returns what the socket has written since, as far as the kernel has it.
func (v *visitor) read() (all []byte) {
	b := make([]byte, 256<<10)
	for {
		n, err := unix.Read(v.fd, b)
		if n <= 0 || err != nil {
			return all
		}
		all = append(all, b[:n]...)
		v.h.loop.Ready()
		v.h.settle()
	}
}

// want reads frames and compares them.
func (v *visitor) want(lines ...string) {
	v.h.t.Helper()
	if got := v.text.read(v.h.t, v.read()); !slices.Equal(got, lines) {
		v.h.t.Errorf("frames:\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(lines, "\n     "))
	}
}

// gone reports whether the socket is closed.
func (v *visitor) gone() bool { return v.h.loop.Gone(v.sock) }

// frameText reads frames as lines, and collects the DATA of streams.
type frameText struct {
	in     bytes.Buffer
	framer *http2.Framer
	data   map[uint32][]byte
	empty  int // empty DATA frames
}

func (f *frameText) init() {
	f.framer = http2.NewFramer(io.Discard, &f.in)
	f.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.data = map[uint32][]byte{}
}

func (f *frameText) read(t *testing.T, b []byte) (lines []string) {
	t.Helper()
	f.in.Write(b)
	for {
		p := f.in.Bytes()
		if len(p) < 9 || len(p) < 9+int(p[0])<<16+int(p[1])<<8+int(p[2]) {
			return lines
		}
		fr, err := f.framer.ReadFrame()
		if err != nil {
			t.Fatalf("what we send cannot be read: %v after %q", err, lines)
		}
		lines = append(lines, f.line(fr))
	}
}

func (f *frameText) line(fr http2.Frame) string {
	id := fr.Header().StreamID
	switch x := fr.(type) {
	case *http2.DataFrame:
		if len(x.Data()) == 0 {
			f.empty++
		}
		f.data[id] = append(f.data[id], x.Data()...)
		return fmt.Sprintf("DATA %d len %d", id, len(x.Data()))
	case *http2.MetaHeadersFrame:
		var b strings.Builder
		fmt.Fprintf(&b, "HEADERS %d", id)
		for _, h := range x.Fields {
			fmt.Fprintf(&b, " %s=%s", h.Name, h.Value)
		}
		if x.StreamEnded() {
			b.WriteString(" end")
		}
		return b.String()
	case *http2.RSTStreamFrame:
		return fmt.Sprintf("RST_STREAM %d %s", id, x.ErrCode)
	case *http2.SettingsFrame:
		if x.IsAck() {
			return "SETTINGS ack"
		}
		s := "SETTINGS"
		_ = x.ForeachSetting(func(p http2.Setting) error { s += fmt.Sprintf(" %d=%d", p.ID, p.Val); return nil })
		return s
	case *http2.PingFrame:
		if x.IsAck() {
			return "PING ack"
		}
		return "PING"
	case *http2.GoAwayFrame:
		return fmt.Sprintf("GOAWAY %d %s %q", x.LastStreamID, x.ErrCode, x.DebugData())
	case *http2.WindowUpdateFrame:
		return fmt.Sprintf("WINDOW_UPDATE %d +%d", id, x.Increment)
	}
	return fr.Header().String()
}

// messages cuts the DATA of a stream into messages.
func (f *frameText) messages(t *testing.T, id uint32) (ms [][]byte) {
	t.Helper()
	b := f.data[id]
	for len(b) >= envelope {
		n := int(binary.BigEndian.Uint32(b[1:]))
		if b[0] != 0 {
			t.Fatalf("stream %d: flag %d after %d messages", id, b[0], len(ms))
		}
		if len(b) < envelope+n {
			break
		}
		ms = append(ms, b[envelope:envelope+n])
		b = b[envelope+n:]
	}
	f.data[id] = b
	return ms
}

// enveloped is a message as gRPC carries it.
func enveloped(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b))), b...)
}

// stream returns what is behind a guest's Stream.
func (g *guest) stream() *stream { return g.s.(*stream) }

// engine is the HTTP/2 engine of a visitor's socket, once it has a stream.
func (g *guest) engine() *h2.Conn { return &g.stream().sock.h2 }

// put puts a message of the node's own.
func (g *guest) put(b []byte) bool { return g.s.Put(own(b)) }

// own is a message of the node's own.
func own(b []byte) *Message {
	m := new(Message)
	m.SetOwn(b, nil)
	return m
}

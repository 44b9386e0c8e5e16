package transport

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/wire/ws"
)

// asker is the receiver of a stream that this side has opened.
type asker struct{ *guest }

// Answered implements Caller.
func (a asker) Answered() { a.say("answered") }

// host is the peer of a socket that this side has connected: a WebSocket server.
type host struct {
	*visitor
	g    *guest // of the stream; nil: there is none
	peer ws.Conn
	said []string // by the node: messages, and its Close
	got  []byte   // of the last message
	kind ws.Kind  // likewise
}

// callWS connects to a host, which has not answered.
func (h *house) callWS(c Call) *host {
	h.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = unix.Close(fds[0]); _ = unix.Close(fds[1]) })
	c.WebSocket = true
	v := &host{visitor: &visitor{h: h, fd: fds[1]}}
	v.sock = h.loop.Attach(fds[0], h.group.Dial(&c, func(s Stream) Caller {
		v.g = &guest{h: h, s: s}
		return asker{v.g}
	}))
	v.peer.Init(ws.Server, &ws.Settings{Path: "/"})
	h.settle()
	return v
}

// openWS connects to a host that accepts.
func (h *house) openWS(c Call) *host {
	h.t.Helper()
	v := h.callWS(c)
	v.exchange()
	v.exchange()
	v.g.want("answered")
	v.g.s.Established()
	return v
}

// exchange has the host read what has come, and answer.
func (v *host) exchange() {
	v.h.t.Helper()
	for b := v.read(); len(b) > 0; b = v.read() {
		if err := v.peer.Feed(b, v); err != nil {
			v.h.t.Fatalf("the host does not understand: %v", err)
		}
	}
	v.flush(nil)
}

// flush has the node read b after what the host's engine has to say.
func (v *host) flush(b []byte) {
	out := append(slices.Clone(v.peer.Control()), b...)
	v.peer.ControlDone()
	if len(out) > 0 && !v.gone() {
		v.write(out)
	}
}

// wantSaid compares what the node has said since the last call.
func (v *host) wantSaid(lines ...string) {
	v.h.t.Helper()
	v.exchange()
	if !slices.Equal(v.said, lines) {
		v.h.t.Errorf("the node said %q, want %q", v.said, lines)
	}
	v.said = nil
}

func (v *host) Request(*ws.Request)   { _, _ = v.peer.Accept() }
func (v *host) Response(*ws.Response) {}
func (v *host) Message(kind ws.Kind, m []byte, _ bool) {
	v.said, v.got, v.kind = append(v.said, fmt.Sprint(len(m))), slices.Clone(m), kind
}
func (v *host) Grow(have []byte, n int) []byte { return append(make([]byte, 0, n), have...) }
func (v *host) Pong([]byte)                    {}
func (v *host) Ended(e *ws.End) {
	v.said = append(v.said, fmt.Sprintf("close %d %q", uint16(e.Code), e.Reason))
}

// unmasked is a frame of a server.
func unmasked(b0 byte, payload []byte) []byte {
	b := masked(b0, payload)
	at := len(b) - len(payload)
	b[1] &^= 0x80
	return append(b[:at-4], payload...)
}

// The request is what was configured; nothing is told of the stream before it is answered. Rules: P-ws-3, P-ws-4.
func TestRequestForAWebSocket(t *testing.T) {
	h := build(t, Options{})
	v := h.callWS(Call{Authority: "front:8", Path: "/a%2Fb?x=1", Origin: "https://o", Agent: "slimgo/test",
		Fields: []Field{{Name: "authorization", Value: "Bearer t"}, {Name: "x-tenant", Value: "blue"}}})
	got := string(v.read())
	key, _, _ := strings.Cut(got[strings.Index(got, "Key: ")+5:], "\r\n")
	want := "GET /a%2Fb?x=1 HTTP/1.1\r\nHost: front:8\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: " + key + "\r\nUser-Agent: slimgo/test\r\nOrigin: https://o\r\nauthorization: Bearer t\r\nx-tenant: blue\r\n\r\n"
	if got != want {
		t.Errorf("request %q, want %q", got, want)
	}
	v.g.want()
	again := string(h.callWS(Call{Authority: "front:8"}).read())
	if !strings.HasPrefix(again, "GET / HTTP/1.1\r\n") || strings.Contains(again, key) {
		t.Errorf("another request is %q after key %q", again, key)
	}
	bad := h.callWS(Call{Authority: "front 8"})
	if bad.g.want("closed"); !strings.Contains(bad.g.s.Peer().End, "not allowed") {
		t.Errorf("the end is %q", bad.g.s.Peer().End)
	}
}

// What a dialler sends is masked, in one frame or several, each time with another key, and what lies elsewhere is left as
// it is.
func TestMessagesOfADiallerAreMasked(t *testing.T) {
	h := build(t, Options{})
	v := h.openWS(Call{Authority: "x"})
	for _, n := range []int{0, 1, 125, 3000, fragment, fragment + 1, 3*fragment + 500} {
		text := make([]byte, n)
		for i := range text {
			text[i] = byte(i * 7)
		}
		b := pool.Get(max(n, 1))
		b.B = append(b.B, text...)
		m := new(Message)
		m.SetOwn(b.B, b)
		sent := 0
		for {
			h.do(func() {
				if sent == 0 && g(v).Put(m) {
					sent = g(v).Size(m)
				}
				for sent < g(v).Size(m) {
					k := g(v).PutPart(m, sent, false)
					if sent += k; k == 0 {
						break
					}
				}
			})
			if v.exchange(); sent >= g(v).Size(m) {
				break
			}
		}
		if v.wantSaid(fmt.Sprint(n)); !bytes.Equal(v.got, text) || !bytes.Equal(b.B, text) || sent != g(v).Size(m) {
			t.Errorf("%d bytes: %d of %d are out, arrived whole %v, left as they were %v", n, sent, g(v).Size(m), bytes.Equal(v.got, text),
				bytes.Equal(b.B, text))
		}
		b.Release()
	}
	keys := map[string]bool{}
	for range 10 {
		h.do(func() { v.g.put([]byte("x")) })
		keys[string(v.read()[2:6])] = true
	}
	if len(keys) != 10 {
		t.Errorf("%d keys for 10 messages", len(keys))
	}
}

func g(v *host) Stream { return v.g.s }

// Messages that come, whole or in fragments, reach the receiver; pings are answered.
func TestMessagesForADialler(t *testing.T) {
	h := build(t, Options{})
	v := h.openWS(Call{Authority: "x"})
	v.write(slices.Concat(unmasked(0x82, []byte("one")), unmasked(0x02, []byte("tw")), unmasked(0x89, []byte("hi")), unmasked(0x80, []byte("o"))))
	long := bytes.Repeat([]byte("long"), 50_000)
	for p := range slices.Chunk(unmasked(0x82, long), 30_000) {
		v.write(p)
	}
	if len(v.g.got) != 3 || string(v.g.got[0]) != "one" || string(v.g.got[1]) != "two" || !bytes.Equal(v.g.got[2], long) {
		t.Errorf("%d messages came", len(v.g.got))
	}
	if b := v.read(); len(b) != 8 || b[0] != 0x8a || b[1] != 0x82 {
		t.Errorf("the answer to a ping is %x", b)
	}
	if h.group.Unfinished() != 0 {
		t.Error("memory is left")
	}
}

// Any other answer ends the call at once, with words that say what was wrong, and is no fault of somebody who came to us.
// Rules: P-dial-2, P-ws-3.
func TestAnswersThatOpenNoWebSocket(t *testing.T) {
	const good = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
	for answer, want := range map[string]string{
		"HTTP/1.1 401 Unauthorized\r\nContent-Length: 6\r\n\r\nno key":                    `the server answers 401 Unauthorized: "no key"`,
		"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n":                             "the server answers 403 Forbidden",
		"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n":                    "the server answers 404 Not Found",
		"HTTP/1.1 400 Bad Request\r\n\r\n":                                                "the server answers 400 Bad Request",
		"HTTP/1.1 403 Forbidden\r\n\r\nhalf a te":                                         `the server answers 403 Forbidden: "half a te"`,
		"HTTP/1.1 301 Moved\r\nLocation: https://x/?token=t\r\nContent-Length: 0\r\n\r\n": "the server answers 301 Moved, to https://x/, which is not followed",
		"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n":                                 "the server answers 302 Found",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":                                    "the server answers 200 OK",
		good + "\r\n":                                          "does not fit our key",
		"HTTP/1.1 101 x\r\n\r\n":                               "Upgrade does not say websocket",
		"SSH-2.0-x\r\n\r\n":                                    "first line",
		"\x15\x03\x03\x00\x02\x02\x50":                         "TLS: dial it with wss://",
		"\x00\x00\x06\x04\x00\x00\x00\x00\x00":                 "HTTP/2",
		"HTTP/1.1 101 x\r\n" + strings.Repeat("a: b\r\n", 101): "more than 100 fields",
		"HTTP/1.1 101 x\r\na: " + strings.Repeat("b", 17<<10):  "more than 16384 bytes",
		"": "the socket ended before the handshake was complete: if it wants TLS, dial wss://",
	} {
		h := build(t, Options{})
		v := h.callWS(Call{Authority: "x"})
		v.read()
		toTheEnd := answer == "" || strings.HasSuffix(answer, " Bad Request\r\n\r\n") || strings.HasSuffix(answer, "half a te")
		if v.write([]byte(answer)); v.gone() == toTheEnd {
			t.Errorf("%.60q: closed at once: %v", answer, v.gone())
		}
		if !v.gone() {
			h.loop.Hangup(v.sock, io.EOF)
			h.settle()
		}
		p := v.g.s.Peer()
		if !v.gone() || !v.g.over || !strings.HasPrefix(p.End, "WebSocket handshake: ") || !strings.Contains(p.End, want) || p.Status != -1 ||
			strings.Contains(p.End, "token") {
			t.Errorf("%.60q: gone %v, the end is %d %q, want %q", answer, v.gone(), p.Status, p.End, want)
		}
		v.g.want("closed")
		h.want("ended")
		if len(v.read()) > 0 {
			t.Errorf("%.60q: something was said", answer)
		}
	}
}

// A reset in the middle of a refusal, or a timeout, does not hide what was read of it.
func TestRefusalThatIsCutShort(t *testing.T) {
	const refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nno entry"
	for name, end := range map[string]func(*host){
		"reset":  func(v *host) { v.h.loop.Hangup(v.sock, unix.ECONNRESET) },
		"silent": func(v *host) { v.h.pass(12, nil) },
	} {
		h := build(t, Options{})
		v := h.callWS(Call{Authority: "x"})
		v.write([]byte(refusal))
		end(v)
		h.settle()
		if v.g.want("closed"); v.g.s.Peer().End != `WebSocket handshake: the server answers 403 Forbidden: "no entry"` {
			t.Errorf("%s: the end is %q", name, v.g.s.Peer().End)
		}
	}
}

// The peer has AnswerTimeout for its answer, and from then on as long as any stranger. Rules: P-dial-2, P-tr-10.
func TestAnswerOfAWebSocketHasATime(t *testing.T) {
	for _, trickle := range []string{"", strings.Repeat("HTTP/1.1 100 x\r\n\r\n", 10)} {
		h := build(t, Options{KeepaliveTime: 2 * time.Second, KeepaliveTimeout: 2 * time.Second}) // it cannot be pinged yet
		v := h.callWS(Call{Authority: "x", AnswerTimeout: 30 * time.Second})
		v.read()
		seconds := 0
		for ; !v.gone() && seconds < 100; seconds++ {
			h.pass(1, func() {
				if n := min(1, len(trickle)); !v.gone() && n > 0 {
					v.write([]byte(trickle[:n]))
					trickle = trickle[n:]
				}
			})
		}
		if v.g.want("closed"); seconds != 31 || !strings.Contains(v.g.s.Peer().End, "no answer") {
			t.Errorf("closed after %d s, want 31: %q", seconds, v.g.s.Peer().End)
		}
		h.want("negotiation_timeout", "ended")
	}
	h := build(t, Options{KeepaliveTime: -1})
	v := h.callWS(Call{Authority: "x", AnswerTimeout: 30 * time.Second})
	h.pass(25, nil)
	v.exchange()
	v.g.want("answered")
	h.pass(9, nil)
	if v.gone() {
		t.Fatal("closed before the time of strangers has passed")
	}
	h.pass(2, nil)
	if v.wantSaid(`close 1002 "negotiation_timeout"`); !v.gone() {
		t.Error("a peer that does not negotiate stays")
	}
}

// A peer that closes is answered with its code, and its call is over at once; it has a moment to close the socket first
// (RFC 6455 section 7.1.1). 1008 is what gRPC has status 7 for. Rules: P-ws-7, P-dial-4.
func TestCloseOfADialledWebSocket(t *testing.T) {
	for _, tc := range []struct {
		payload string
		answer  string
		end     string
		status  int8
	}{
		{"\x03\xe8", `close 1000 ""`, "the peer closed: 1000 normal closure", -1},
		{"\x03\xe9bye", `close 1001 ""`, `the peer closed: 1001 going away "bye"`, -1},
		{"\x03\xf0too many", `close 1008 ""`, `the peer closed: 1008 policy violation "too many"`, 7},
		{"", `close 1005 ""`, "the peer closed: no code", -1},
	} {
		for _, closes := range []bool{true, false} {
			h := build(t, Options{})
			v := h.openWS(Call{Authority: "x"})
			h.do(func() { v.g.put([]byte("last")) })
			v.write(unmasked(0x88, []byte(tc.payload)))
			v.g.want("closed")
			if p := v.g.s.Peer(); p.End != tc.end || p.Status != tc.status {
				t.Errorf("the end is %d %q, want %d %q", p.Status, p.End, tc.status, tc.end)
			}
			if v.wantSaid("4", tc.answer); v.gone() {
				t.Error("the socket is closed before the server's")
			}
			if closes {
				h.loop.Hangup(v.sock, io.EOF)
				h.settle()
			} else {
				h.pass(5, nil)
			}
			if !v.gone() || h.group.Len() != 0 {
				t.Error("the socket stays")
			}
			h.want("ended")
		}
	}
}

// A host that is held for what came with its Close is read again: the end of its socket is to be seen.
func TestHeldHostThatCloses(t *testing.T) {
	h := build(t, Options{Window: 1000})
	v := h.openWS(Call{Authority: "x"})
	v.g.receive = func([]byte, *pool.Buf) { v.g.s.Charge(1001) }
	v.write(append(unmasked(0x82, []byte("one")), unmasked(0x88, []byte{3, 232})...))
	if v.g.want("closed"); v.sock.Paused() {
		t.Error("still held")
	}
}

// A fragment that the outbox has no room for goes out after what is staged, and not into memory of its own.
func TestFragmentsStayWithinTheOutbox(t *testing.T) {
	h := build(t, Options{})
	v := h.openWS(Call{Authority: "x"})
	text := make([]byte, 2*fragment) // with what is staged before: as much as the kernel takes while nobody reads
	h.do(func() {
		for v.sock.Outbox().FitsCopied(fragment / 2) {
			v.g.put(text[:fragment/4])
		}
		m := own(text)
		for sent := 0; sent < v.g.s.Size(m); {
			n := v.g.s.PutPart(m, sent, false)
			if sent += n; n == 0 || len(v.sock.Outbox().B) > netloop.OutboxSize {
				t.Fatalf("%d of %d bytes are out, %d staged", sent, v.g.s.Size(m), len(v.sock.Outbox().B))
			}
		}
	})
}

// What a server says that is no WebSocket of binary messages ends the connection with a code, and is counted. Rules:
// P-ws-6, P-ws-8.
func TestHostileHosts(t *testing.T) {
	for _, tc := range []struct {
		name  string
		bytes []byte
		last  string
		fault Fault
	}{
		{"a mask", masked(0x82, []byte("x")), `close 1002 "frame of a server is masked"`, FaultWebSocket},
		{"text", unmasked(0x81, []byte("x")), `close 1003 "text message; send binary ones"`, FaultWebSocket},
		{"a reserved bit", unmasked(0xc2, nil), `close 1002 "reserved bit set, without an extension"`, FaultWebSocket},
		{"pings", bytes.Repeat(unmasked(0x89, nil), 5000), `close 1008 "ping flood"`, FaultFlood},
	} {
		h := build(t, Options{})
		v := h.openWS(Call{Authority: "x"})
		v.write(tc.bytes)
		if v.g.want("closed"); v.g.s.Peer().End != tc.fault.String() || v.g.s.Peer().Status != -1 {
			t.Errorf("%s: the end is %d %q", tc.name, v.g.s.Peer().Status, v.g.s.Peer().End)
		}
		v.exchange()
		if n := len(v.said); n == 0 || v.said[n-1] != tc.last {
			t.Errorf("%s: the node said %q, want %s", tc.name, v.said, tc.last)
		}
		h.pass(5, nil)
		if h.want(tc.fault.String(), "ended"); !v.gone() {
			t.Errorf("%s: the socket stays", tc.name)
		}
	}
}

// A call that is ended by us is ended as any WebSocket, and one that is not answered at once. Rules: P-end-3.
func TestEndsOfADialledWebSocket(t *testing.T) {
	h := build(t, Options{})
	v := h.openWS(Call{Authority: "x"})
	h.do(func() { v.g.put([]byte("last")); v.g.s.Finish(0, "") })
	v.wantSaid("4", `close 1000 ""`)
	h.loop.Hangup(v.sock, io.EOF)
	h.settle()
	v.g.want("finished", "closed")
	h.want("ended")

	v = h.callWS(Call{Authority: "x"})
	h.do(func() { v.g.s.Finish(0, "") })
	if v.g.want("closed"); !v.gone() {
		t.Error("a call that is not answered stays")
	}
	h.want("ended")

	waits, up := h.callWS(Call{Authority: "x"}), h.openWS(Call{Authority: "x"})
	for _, x := range []*host{waits, up} {
		x.g.finished = func() { x.g.s.Finish(0, "") }
	}
	h.do(func() { h.group.Drain() })
	late := h.callWS(Call{Authority: "x"})
	if late.g != nil || !late.gone() {
		t.Error("a call is made while the node stops")
	}
	h.do(func() { h.group.Finish() })
	waits.g.want("finished", "closed")
	up.wantSaid(`close 1001 ""`)
	h.loop.Hangup(up.sock, io.EOF)
	h.settle()
	h.want("ended", "ended", "ended", "idle")
}

// A host whose messages wait is not read, as any sender by WebSocket is, and a silent one is pinged. Rules: P-ws-1,
// P-tr-10.
func TestHostIsHeldAndPinged(t *testing.T) {
	h := build(t, Options{Window: 1000})
	v := h.openWS(Call{Authority: "x", KeepaliveTime: 5 * time.Second, KeepaliveTimeout: 3 * time.Second})
	h.do(func() { v.g.s.Charge(1001) })
	if !v.sock.Paused() {
		t.Fatal("not held")
	}
	h.pass(60, nil)
	if v.gone() {
		t.Fatal("a host that is held is thought to be dead")
	}
	h.do(func() { v.g.s.Charge(-1001) })
	if v.sock.Paused() {
		t.Fatal("still held")
	}
	h.pass(6, nil)
	if b := v.read(); len(b) != 6 || b[0] != 0x89 || b[1] != 0x80 {
		t.Errorf("after five silent seconds: %x, want a ping", b)
	}
	h.pass(4, nil)
	v.g.want("muted", "closed")
	h.want("keepalive_timeout", "ended")
}

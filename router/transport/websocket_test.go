package transport

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/pool"
)

// handshake is a request for a WebSocket at /.
const handshake = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

// visitWS opens a socket at a door for WebSocket, without a word.
func (h *house) visitWS() *visitor { return h.visitWSBy(nil) }

func (h *house) visitWSBy(gate *Gate) *visitor {
	h.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = unix.Close(fds[0]); _ = unix.Close(fds[1]) })
	v := &visitor{h: h, fd: fds[1]}
	v.sock = h.loop.Attach(fds[0], h.group.WebSocket("/", nil, gate).Accept())
	return v
}

// upgrade opens a WebSocket and returns its receiver.
func (v *visitor) upgrade() *guest {
	v.h.t.Helper()
	v.write([]byte(handshake))
	if got := string(v.read()); !strings.HasPrefix(got, "HTTP/1.1 101 ") {
		v.h.t.Fatalf("the answer is %q", got)
	}
	return v.h.guests[len(v.h.guests)-1]
}

// masked is a frame of a client whose key is zero.
func masked(b0 byte, payload []byte) []byte {
	b := []byte{b0}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// wantFrames reads frames of the node: opcode and length of each, or code and reason of a Close.
func (v *visitor) wantFrames(want ...string) {
	v.h.t.Helper()
	v.compareFrames(v.read(), want)
}

func (v *visitor) compareFrames(b []byte, want []string) {
	v.h.t.Helper()
	var got []string
	for len(b) > 0 {
		n, at := int(b[1]), 2
		switch n {
		case 126:
			n, at = int(binary.BigEndian.Uint16(b[2:])), 4
		case 127:
			n, at = int(binary.BigEndian.Uint64(b[2:])), 10
		}
		if len(b) < at+n {
			v.h.t.Fatalf("a frame is cut short after %q", got)
		}
		p := b[at : at+n]
		line := fmt.Sprintf("%02x %d", b[0], n)
		if b[0] == 0x88 && n >= 2 {
			line = fmt.Sprintf("close %d %q", binary.BigEndian.Uint16(p), p[2:])
		}
		got = append(got, line)
		b = b[at+n:]
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		v.h.t.Errorf("frames %q, want %q", got, want)
	}
}

// TestStrangersHaveOneDeadline, by WebSocket. Rules: P-tr-10.
func TestStrangersByWebSocketHaveOneDeadline(t *testing.T) {
	first := masked(0x82, make([]byte, 10_000))
	for _, tc := range []struct {
		name  string
		begin string
		then  []byte // one byte a second
		fault Fault
		last  string
	}{
		{"silence", "", nil, FaultUnfinished, ""},
		{"a request byte by byte", "", []byte(handshake), FaultUnfinished, ""},
		{"fields without end", handshake[:len(handshake)-2], []byte(strings.Repeat("a: b\r\n", 100)), FaultUnfinished, ""},
		{"no message", handshake, nil, FaultTimeout, `close 1002 "negotiation_timeout"`},
		{"a message byte by byte", handshake, first, FaultTimeout, `close 1002 "negotiation_timeout"`},
		{"fragments of a byte", handshake + "\x02\x80\x00\x00\x00\x00", bytes.Repeat(masked(0, []byte{1}), 100), FaultTimeout,
			`close 1002 "negotiation_timeout"`},
		{"the header of a frame", handshake + "\x82", nil, FaultUnfinished, `close 1002 "unfinished"`},
		{"pings byte by byte", handshake, bytes.Repeat(masked(0x89, nil), 10), FaultTimeout, ""},
	} {
		h := build(t, Options{KeepaliveTime: -1})
		v := h.visitWS()
		if v.h.loop.Deliver(v.sock, nil); tc.begin != "" {
			v.write([]byte(tc.begin))
			v.read()
		}
		seconds := 0
		for ; !v.gone() && seconds < 100; seconds++ {
			h.pass(1, func() {
				if n := min(1, len(tc.then)); !v.gone() {
					v.write(tc.then[:n])
					tc.then = tc.then[n:]
				}
			})
		}
		if seconds != 11 {
			t.Errorf("%s: closed after %d s, want 11", tc.name, seconds)
		}
		if tc.last != "" {
			v.wantFrames(tc.last)
		}
		h.want(tc.fault.String(), "ended")
		if h.group.Len() != 0 || h.panics != 0 || h.group.Unfinished() != 0 {
			t.Errorf("%s: %d sockets left, %d panics, %d bytes", tc.name, h.group.Len(), h.panics, h.group.Unfinished())
		}
	}
}

// Who has not asked yet cannot be pinged, and is a stranger like any other, however short the keepalive.
func TestKeepaliveBeforeTheHandshake(t *testing.T) {
	h := build(t, Options{KeepaliveTime: time.Second, KeepaliveTimeout: time.Second})
	v := h.visitWS()
	if h.pass(10, nil); v.gone() {
		t.Error("closed before the time of strangers has passed")
	}
	h.pass(1, nil)
	h.want("unfinished", "ended")
}

// A message leaves in fragments of 64 KiB, each of which is counted in what Size says; answers to pings go between
// them.
func TestLongMessagesLeaveInFragments(t *testing.T) {
	h := build(t, Options{})
	v := h.visitWS()
	g := v.upgrade()
	for _, tc := range []struct {
		n    int
		want []string
	}{
		{0, []string{"82 0"}},
		{125, []string{"82 125"}},
		{fragment, []string{"82 65536"}},
		{fragment + 1, []string{"02 65536", "80 1"}},
		{3*fragment + 500, []string{"02 65536", "00 65536", "8a 2", "00 65536", "80 500"}},
	} {
		m := own(make([]byte, tc.n))
		b := pool.Get(tc.n)
		m.SetOwn(append(b.B, m.B...), b)
		sent := 0
		h.do(func() {
			if g.s.Put(m) {
				sent = g.s.Size(m)
			}
		})
		var raw []byte
		for parts := 0; sent < g.s.Size(m); parts++ {
			if parts == 2 {
				v.write(masked(0x89, []byte("hi")))
			}
			h.do(func() {
				if n := g.s.PutPart(m, sent, false); n > 0 {
					sent += n
				}
				if sent < g.s.Size(m) && g.s.Put(own([]byte("between"))) {
					t.Error("another message goes between the parts of one")
				}
			})
			raw = append(raw, v.read()...)
		}
		b.Release()
		v.compareFrames(append(raw, v.read()...), tc.want)
		if sent != g.s.Size(m) {
			t.Errorf("%d bytes: %d of %d are out", tc.n, sent, g.s.Size(m))
		}
	}
}

// When the last word of the node is out the socket ends, at the latest two seconds later; what the peer sends then
// costs nothing.
func TestWebSocketEnds(t *testing.T) {
	for _, tc := range []struct {
		name string
		peer func(v *visitor)
	}{
		{"it closes", func(v *visitor) { v.write(masked(0x88, []byte{3, 232})); v.h.loop.Hangup(v.sock, io.EOF) }},
		{"it closes its socket", func(v *visitor) { v.h.loop.Hangup(v.sock, io.EOF) }},
		{"it resets its socket", func(v *visitor) { v.h.loop.Hangup(v.sock, unix.ECONNRESET) }},
		{"it says nothing", func(*visitor) {}},
		{"it goes on", func(v *visitor) { v.write(masked(0x82, []byte("more"))) }},
	} {
		h := build(t, Options{})
		v := h.visitWS()
		g := v.upgrade()
		h.do(func() { g.s.Established(); g.put([]byte("last")); g.s.Finish(0, "") })
		v.wantFrames("82 4", `close 1000 ""`)
		if n, err := unix.Read(v.fd, make([]byte, 1)); n != 0 || err != nil {
			t.Errorf("%s: no end follows: %d, %v", tc.name, n, err)
		}
		tc.peer(v)
		h.settle()
		h.pass(4, nil)
		if !v.gone() || !g.over || h.group.Len() != 0 {
			t.Errorf("%s: the socket stays", tc.name)
		}
		h.want("ended")
	}
}

// A peer that does not read its end does not hold the socket for ever, and what it is cut for was said before.
func TestWebSocketWhoseEndIsNotRead(t *testing.T) {
	h := build(t, Options{Floor: Floor{Rate: 256 << 10, Timeout: time.Second}})
	v := h.visitWS()
	g := v.upgrade()
	h.do(func() {
		g.s.Established()
		for g.put(make([]byte, 60_000)) {
			if v.sock.Flush(); v.sock.Blocked() {
				break
			}
		}
		g.s.Finish(0, "")
	})
	h.pass(20, nil)
	if !v.gone() || !g.over {
		t.Error("the socket stays")
	}
	h.want("ended")
}

// Short reads are acknowledged at once, unless the client is known to leave nothing unsent for want of that. Rules:
// P-tr-11.
func TestQuickAcknowledgementsByWebSocket(t *testing.T) {
	h := build(t, Options{})
	for agent, want := range map[string]bool{"": true, "slim-websocket/0.17.10": true, "slimgo/1": false} {
		v := h.visitWS()
		v.write([]byte(strings.Replace(handshake, "Host: x\r\n", "Host: x\r\nUser-Agent: "+agent+"\r\n", 1)))
		if v.sock.QuickAck != want {
			t.Errorf("%q: %v", agent, v.sock.QuickAck)
		}
	}
	if v := h.openWS(Call{Authority: "x"}); !v.sock.QuickAck {
		t.Error("what a server sends is not acknowledged at once")
	}
}

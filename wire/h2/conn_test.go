package h2

import (
	"strings"
	"testing"
)

// conversation: the peer writes, the engine answers. want holds the frames, events what the owner hears; code is the
// connection error, if any. Each runs in one piece and byte by byte.
type conversation struct {
	name   string
	role   Role
	set    Settings
	raw    bool // without the exchange of SETTINGS
	peer   []byte
	frames []string
	events []string
	code   ErrCode // 0: the connection lives
}

const (
	opened   = "request 1 POST " + channelPath
	answer   = "HEADERS 1 :status=200 content-type=application/grpc"
	rst1     = "RST_STREAM 1 "
	halfDone = `ended 1 half-closed NO_ERROR http=0 grpc=-1 ""`
	settings = "SETTINGS 4=1048576 5=16384 6=16384"
	widened  = "WINDOW_UPDATE 0 +983041"
)

func fault(code ErrCode, why string) string {
	return `ended 1 fault ` + code.String() + ` http=0 grpc=-1 "` + why + `"`
}

func goaway(last string, code ErrCode, why string) string {
	return "GOAWAY last=" + last + " " + code.String() + ` "` + why + `"`
}

func runConversations(t *testing.T, cases []conversation) {
	for _, tc := range cases {
		for _, whole := range []bool{true, false} {
			name := tc.name
			if !whole {
				name += ", byte by byte"
			}
			t.Run(name, func(t *testing.T) {
				var k *talk
				if tc.raw {
					k = rawTalk(t, tc.role, &tc.set)
				} else {
					k = newTalk(t, tc.role, &tc.set)
				}
				if tc.role == Client {
					openChannel(t, k.c)
					k.frames()
				}
				if whole {
					k.feed(tc.peer)
				} else {
					for i := range tc.peer {
						k.feed(tc.peer[i : i+1])
					}
				}
				k.wantFrames(tc.frames...)
				k.wantEvents(tc.events...)
				if tc.code != 0 {
					k.wantError(tc.code)
				} else if k.err != nil {
					t.Errorf("connection error %v", k.err)
				}
			})
		}
	}
}

func TestConnectionFrames(t *testing.T) {
	runConversations(t, []conversation{
		{name: "3.4 SETTINGS leave before anything is read", raw: true, frames: []string{settings, widened}},
		{name: "3.4 first frame is not SETTINGS", raw: true, peer: join([]byte(preface), frame(framePing, 0, 0, make([]byte, 8))),
			frames: []string{settings, widened, goaway("0", ProtocolError, "first frame is not SETTINGS")}, code: ProtocolError},
		{name: "3.4 first SETTINGS is an ACK", raw: true, peer: join([]byte(preface), frame(frameSettings, flagAck, 0)),
			frames: []string{settings, widened, goaway("0", ProtocolError, "first frame is not SETTINGS")}, code: ProtocolError},
		{name: "4.1 unknown types are skipped", peer: join(frame(0xfe, 0xff, 7, make([]byte, 300)), frame(0x10, 0, 0), frame(framePing, 0, 0, []byte("12345678"))),
			frames: []string{"PING 3132333435363738 ack=true"}},
		{name: "4.2 frame above our maximum", peer: appendFrameHeader(nil, 16385, frameData, 0, 1),
			frames: []string{goaway("0", FrameSizeError, "frame larger than SETTINGS_MAX_FRAME_SIZE")}, code: FrameSizeError},
		{name: "6.5 SETTINGS on a stream", peer: frame(frameSettings, 0, 1),
			frames: []string{goaway("0", ProtocolError, "SETTINGS on a stream")}, code: ProtocolError},
		{name: "6.5 SETTINGS of odd length", peer: frame(frameSettings, 0, 0, make([]byte, 5)),
			frames: []string{goaway("0", FrameSizeError, "wrong frame length")}, code: FrameSizeError},
		{name: "6.5 ACK with payload", peer: frame(frameSettings, flagAck, 0, make([]byte, 6)),
			frames: []string{goaway("0", FrameSizeError, "wrong frame length")}, code: FrameSizeError},
		{name: "6.5.2 ENABLE_PUSH 2", peer: frame(frameSettings, 0, 0, setting(2, 2)),
			frames: []string{goaway("0", ProtocolError, "bad SETTINGS_ENABLE_PUSH")}, code: ProtocolError},
		{name: "6.5.2 INITIAL_WINDOW_SIZE 2^31", peer: frame(frameSettings, 0, 0, setting(4, 1<<31)),
			frames: []string{goaway("0", FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1")}, code: FlowControlError},
		{name: "6.5.2 MAX_FRAME_SIZE 16383", peer: frame(frameSettings, 0, 0, setting(5, 16383)),
			frames: []string{goaway("0", ProtocolError, "bad SETTINGS_MAX_FRAME_SIZE")}, code: ProtocolError},
		{name: "6.5.2 MAX_FRAME_SIZE 2^24", peer: frame(frameSettings, 0, 0, setting(5, 1<<24)),
			frames: []string{goaway("0", ProtocolError, "bad SETTINGS_MAX_FRAME_SIZE")}, code: ProtocolError},
		{name: "6.5.2 unknown parameters are ignored", peer: frame(frameSettings, 0, 0, setting(0x99, 7)), frames: []string{"SETTINGS ack"}},
		{name: "6.6 PUSH_PROMISE from a client", peer: join(request(1, 0), frame(framePushPromise, flagEndHeaders, 1, u32(2))),
			frames: []string{answer, goaway("1", ProtocolError, "PUSH_PROMISE")}, events: []string{opened}, code: ProtocolError},
		{name: "6.7 PING is echoed", peer: frame(framePing, 0, 0, []byte("abcdefgh")), frames: []string{"PING 6162636465666768 ack=true"}},
		{name: "6.7 PING on a stream", peer: frame(framePing, 0, 3, make([]byte, 8)),
			frames: []string{goaway("0", ProtocolError, "PING on a stream")}, code: ProtocolError},
		{name: "6.7 PING of 7 bytes", peer: frame(framePing, 0, 0, make([]byte, 7)),
			frames: []string{goaway("0", FrameSizeError, "wrong frame length")}, code: FrameSizeError},
		{name: "6.7 ACK without a PING", peer: frame(framePing, flagAck, 0, pingPayload[:])},
		{name: "6.8 GOAWAY is delivered, streams go on", peer: join(request(1, 0), frame(frameGoAway, 0, 0, u32(0), u32(2), []byte("bye")), data(1, 0, grpcMsg(1))),
			frames: []string{answer}, events: []string{opened, `goaway last=0 INTERNAL_ERROR "bye"`, "message 1 len 1"}},
		{name: "6.8 GOAWAY on a stream", peer: frame(frameGoAway, 0, 1, make([]byte, 8)),
			frames: []string{goaway("0", ProtocolError, "GOAWAY on a stream")}, code: ProtocolError},
		{name: "6.9 WINDOW_UPDATE of zero, connection", peer: frame(frameWindowUpdate, 0, 0, u32(0)),
			frames: []string{goaway("0", ProtocolError, "WINDOW_UPDATE of zero")}, code: ProtocolError},
		{name: "6.9 WINDOW_UPDATE of 3 bytes", peer: frame(frameWindowUpdate, 0, 0, make([]byte, 3)),
			frames: []string{goaway("0", FrameSizeError, "wrong frame length")}, code: FrameSizeError},
		{name: "6.9.1 connection window of 2^31-1", peer: frame(frameWindowUpdate, 0, 0, u32(maxWindow-startWindow))},
		{name: "6.9.1 connection window above 2^31-1", peer: join(frame(frameWindowUpdate, 0, 0, u32(maxWindow-startWindow)), frame(frameWindowUpdate, 0, 0, u32(1))),
			frames: []string{goaway("0", FlowControlError, "connection window above 2^31-1")}, code: FlowControlError},
		{name: "6.10 CONTINUATION alone", peer: frame(frameContinuation, flagEndHeaders, 1),
			frames: []string{goaway("0", ProtocolError, "CONTINUATION without HEADERS")}, code: ProtocolError},
	})
}

func TestPrefaceOfOthersIsNamed(t *testing.T) {
	for _, tc := range []struct{ name, bytes, reason string }{
		{"HTTP/1.1 GET", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1"},
		{"HTTP/1.1 POST shares the first letter", "POST / HTTP/1.1\r\n\r\n", "HTTP/1.1"},
		{"HTTP/1.1 PROPFIND shares two", "PROPFIND / HTTP/1.1\r\n\r\n", "HTTP/1.1"},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00", "TLS"},
		{"noise", "\x00\x00\x00", "preface"},
		{"late mismatch", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r!", "preface"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := rawTalk(t, Server, nil)
			for i := range len(tc.bytes) {
				k.feed([]byte(tc.bytes[i : i+1]))
			}
			ce := k.wantError(ProtocolError)
			if !ce.BadPreface || !strings.Contains(ce.Reason, tc.reason) {
				t.Errorf("got %+v, want a bad preface naming %s", ce, tc.reason)
			}
			if err := k.c.Feed([]byte("more"), k.ev); err != k.err {
				t.Errorf("later Feed: %v, want the first error again", err)
			}
		})
	}
}

func TestOwnPingIsAnsweredOnce(t *testing.T) {
	k := newTalk(t, Server, nil)
	k.c.Ping()
	k.wantFrames("PING 736c696d676f0001 ack=false")
	k.feed(frame(framePing, flagAck, 0, []byte("otherone")))
	k.wantEvents()
	k.feed(frame(framePing, flagAck, 0, pingPayload[:]))
	k.feed(frame(framePing, flagAck, 0, pingPayload[:]))
	k.wantEvents("pong")
}

func TestMemoryOfControlIsGivenBack(t *testing.T) {
	k := newTalk(t, Server, nil)
	for range 100 {
		k.feed(frame(framePing, 0, 0, make([]byte, 8)))
	}
	if n := len(k.c.Control()); n != 1700 {
		t.Fatalf("control of %d bytes, want 100 answers of 17", n)
	}
	k.c.Tick(1)
	if n := len(k.c.Control()); n != 1700 {
		t.Fatalf("control of %d bytes after Tick, want 1700", n)
	}
	k.c.ControlDone()
	if k.c.Tick(1); cap(k.c.ctl) > 512 {
		t.Errorf("%d bytes kept", cap(k.c.ctl))
	}
	for range 7000 {
		k.feed(frame(framePing, 0, 0, make([]byte, 8)))
		k.c.Relax(1)
	}
	if k.c.ControlDone(); cap(k.c.ctl) > keptBuffer {
		t.Errorf("%d bytes kept until Tick", cap(k.c.ctl))
	}
}

func TestCloseEndsEveryStreamOnce(t *testing.T) {
	k := newTalk(t, Server, nil)
	k.feed(join(request(1, 0), request(3, flagEndStream), request(5, 0), data(5, 0, []byte{0, 0, 0, 0, 9, 1})))
	k.ev.lines = nil
	k.feed(frame(framePing, 0, 1, make([]byte, 8)))
	k.c.Close(k.ev)
	k.wantEvents(`ended 1 connection PROTOCOL_ERROR http=0 grpc=-1 "PING on a stream"`,
		`ended 5 connection PROTOCOL_ERROR http=0 grpc=-1 "PING on a stream"`, "closed 1", "closed 3", "closed 5")
	if !k.c.Idle() || k.c.Streams() != 0 {
		t.Error("not idle")
	}
	for id, s := range k.ev.streams { // a removed stream takes every call
		s.User = nil
		k.c.Hold(s, -5)
		k.c.Reset(s, Cancel)
		k.c.Respond(s)
		k.c.Refuse(s, 200, 0, "")
		if b := k.c.Trailers(nil, s, 0, ""); b != nil {
			t.Errorf("stream %d: trailers %x after Close", id, b)
		}
		if _, n := k.c.Data(nil, s, 9); n != 0 || s.Window() != 0 {
			t.Errorf("stream %d takes %d bytes after Close", id, n)
		}
	}
}

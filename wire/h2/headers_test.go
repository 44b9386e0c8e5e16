package h2

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

func TestRequestValidation(t *testing.T) {
	base := []string{":method: POST", ":scheme: http", ":path: /x"}
	for _, tc := range []struct {
		name   string
		fields []string
		bad    bool
	}{
		{"8.3.1 the required three", base, false},
		{"8.3.1 scheme unix of a Rust dialer", []string{":method: POST", ":scheme: unix", ":path: /x", ":authority: localhost"}, false},
		{"8.3.1 any authority", append([]string{":authority: \x80 what?"}, base...), false},
		{"8.3.1 no method", []string{":scheme: http", ":path: /x"}, true},
		{"8.3.1 no scheme", []string{":method: POST", ":path: /x"}, true},
		{"8.3.1 no path", []string{":method: POST", ":scheme: http"}, true},
		{"8.3.1 empty path", []string{":method: POST", ":scheme: http", ":path: "}, true},
		{"8.3.1 method twice", append([]string{":method: POST"}, base...), true},
		{"8.3.1 authority twice", append([]string{":authority: a", ":authority: a"}, base...), true},
		{"8.3 unknown pseudo-header", append([]string{":what: x"}, base...), true},
		{"8.3 response pseudo-header", append([]string{":status: 200"}, base...), true},
		{"8.4 extended CONNECT is not announced", append([]string{":protocol: websocket"}, base...), true},
		{"8.3 pseudo-header after a regular field", append([]string{"a: b"}, base...), true},
		{"8.5 CONNECT", []string{":method: CONNECT", ":authority: a:1"}, false},
		{"8.5 CONNECT with path", []string{":method: CONNECT", ":authority: a:1", ":path: /"}, true},
		{"8.2.1 upper case", append(base[:3:3], "X-Y: z"), true},
		{"8.2.1 space in a name", append(base[:3:3], "x y: z"), true},
		{"8.2.1 NUL in a value", append(base[:3:3], "x: a\x00b"), true},
		{"8.2.1 line feed in a value", append(base[:3:3], "x: a\nb"), true},
		{"8.2.2 connection", append(base[:3:3], "connection: close"), true},
		{"8.2.2 keep-alive", append(base[:3:3], "keep-alive: 1"), true},
		{"8.2.2 proxy-connection", append(base[:3:3], "proxy-connection: x"), true},
		{"8.2.2 transfer-encoding", append(base[:3:3], "transfer-encoding: chunked"), true},
		{"8.2.2 upgrade", append(base[:3:3], "upgrade: h2c"), true},
		{"8.2.2 te: trailers", append(base[:3:3], "te: trailers"), false},
		{"8.2.2 te: gzip", append(base[:3:3], "te: gzip"), true},
		{"8.1.1 content-length", append(base[:3:3], "content-length: 0"), false},
		{"8.1.1 content-length without DATA", append(base[:3:3], "content-length: 1"), true},
		{"8.1.1 content-length not a number", append(base[:3:3], "content-length: -1"), true},
		{"8.1.1 content-length twice, same", append(base[:3:3], "content-length: 0", "content-length: 0"), false},
		{"8.1.1 content-length twice, different", append(base[:3:3], "content-length: 0", "content-length: 1"), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := newTalk(t, Server, nil)
			k.feed(frame(frameHeaders, flagEndHeaders|flagEndStream, 1, fieldBlock(tc.fields...)))
			if got := len(k.ev.lines) == 0; got != tc.bad {
				t.Errorf("refused: %v, want %v", got, tc.bad)
			}
			if tc.bad {
				k.wantFrames("RST_STREAM 1 PROTOCOL_ERROR")
			}
			k.feed(request(3, 0)) // the connection is none the worse
			if n := len(k.ev.lines); n == 0 || k.ev.lines[n-1] != "request 3 POST "+channelPath {
				t.Errorf("next request: %q", k.ev.lines)
			}
		})
	}
}

func TestRequestIsExposed(t *testing.T) {
	k := newTalk(t, Server, nil)
	asked := false
	var secret []byte
	k.ev.onRequest = func(_ *Stream, r *Request) {
		asked = true
		got := fmt.Sprintf("%s %s %s %s %s %s %v", r.Method, r.Path, r.Scheme, r.Authority, r.ContentType, r.Authorization, r.EndStream)
		if want := "POST " + channelPath + " http node:46357 application/grpc Bearer x false"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if v, ok := r.Field("grpc-encoding"); !ok || string(v) != "gzip" {
			t.Errorf("grpc-encoding %q %v", v, ok)
		}
		if _, ok := r.Field("grpc-timeout"); ok {
			t.Error("grpc-timeout out of nowhere")
		}
		secret = r.Authorization
	}
	k.feed(request(1, 0, "authorization: Bearer x", "grpc-encoding: gzip"))
	if !asked {
		t.Fatal("no request")
	}
	if string(secret) == "Bearer x" {
		t.Error("the authorization is still in memory after the callback")
	}
}

func TestContentLengthAgainstData(t *testing.T) {
	runConversations(t, []conversation{
		{name: "8.1.1 equal", peer: join(request(1, 0, "content-length: 8"), data(1, 0, grpcMsg(3)), data(1, flagEndStream)),
			frames: []string{answer}, events: []string{opened, "message 1 len 3", halfDone}},
		{name: "8.1.1 padding does not count", peer: join(request(1, 0, "content-length: 8"), data(1, flagEndStream|flagPadded, []byte{2}, grpcMsg(3), make([]byte, 2))),
			frames: []string{answer}, events: []string{opened, "message 1 len 3", halfDone}},
		{name: "8.1.1 less DATA", peer: join(request(1, 0, "content-length: 9"), data(1, flagEndStream, grpcMsg(3))),
			frames: []string{answer, rst1 + "PROTOCOL_ERROR"}, events: []string{opened, "message 1 len 3", fault(ProtocolError, "content-length does not match DATA"), "closed 1"}},
		{name: "8.1.1 what it allows is delivered", peer: join(request(1, 0, "content-length: 8"), data(1, 0, grpcMsg(3), []byte{0})),
			frames: []string{answer, rst1 + "PROTOCOL_ERROR"}, events: []string{opened, "message 1 len 3", fault(ProtocolError, "more DATA than content-length"), "closed 1"}},
		{name: "8.1.1 more DATA", peer: join(request(1, 0, "content-length: 2"), data(1, 0, []byte{0, 0}), data(1, 0, []byte{0})),
			frames: []string{answer, rst1 + "PROTOCOL_ERROR"}, events: []string{opened, fault(ProtocolError, "more DATA than content-length"), "closed 1"}},
	})
}

func TestTrailersOfAClient(t *testing.T) {
	trailer := func(flags uint8, fields ...string) []byte {
		return frame(frameHeaders, flagEndHeaders|flags, 1, fieldBlock(fields...))
	}
	ended := `ended 1 trailers NO_ERROR http=0 grpc=-1 ""`
	runConversations(t, []conversation{
		{name: "8.1 trailers end the request", peer: join(request(1, 0), data(1, 0, grpcMsg(1)), trailer(flagEndStream, "x: y")),
			frames: []string{answer}, events: []string{opened, "message 1 len 1", ended}},
		{name: "8.1 trailers without END_STREAM", peer: join(request(1, 0), trailer(0, "x: y")),
			frames: []string{answer, rst1 + "PROTOCOL_ERROR"}, events: []string{opened, fault(ProtocolError, "second HEADERS without END_STREAM"), "closed 1"}},
		{name: "8.1 pseudo-header in trailers", peer: join(request(1, 0), trailer(flagEndStream, ":method: GET")),
			frames: []string{answer, rst1 + "PROTOCOL_ERROR"}, events: []string{opened, fault(ProtocolError, "pseudo-header field in trailers"), "closed 1"}},
		{name: "8.1 trailers inside a message", peer: join(request(1, 0), data(1, 0, []byte{0, 0, 0, 0, 1}), trailer(flagEndStream)),
			frames: []string{answer}, events: []string{opened, `ended 1 broken NO_ERROR http=0 grpc=13 "stream ended inside a message"`}},
	})
}

func TestHeaderBlocks(t *testing.T) {
	b := fieldBlock(channelFields...)
	cut := func(parts int) []byte {
		out := frame(frameHeaders, 0, 1, b[:1])
		for i := 1; i < parts; i++ {
			out = append(out, frame(frameContinuation, 0, 1, b[i:i+1])...)
		}
		return append(out, frame(frameContinuation, flagEndHeaders, 1, b[parts:])...)
	}
	runConversations(t, []conversation{
		{name: "4.3 block in 30 frames", peer: cut(29), frames: []string{answer}, events: []string{opened}},
		{name: "4.3 another frame inside", peer: join(frame(frameHeaders, 0, 1, b), frame(framePing, 0, 0, make([]byte, 8))),
			frames: []string{goaway("0", ProtocolError, "header block interrupted")}, code: ProtocolError},
		{name: "4.3 CONTINUATION of another stream", peer: join(frame(frameHeaders, 0, 1, b), frame(frameContinuation, flagEndHeaders, 3)),
			frames: []string{goaway("0", ProtocolError, "header block interrupted")}, code: ProtocolError},
		{name: "4.3 block that does not decode", peer: frame(frameHeaders, flagEndHeaders, 1, []byte{0x80}),
			frames: []string{goaway("0", CompressionError, "header block does not decode")}, code: CompressionError},
		{name: "4.3 block that stops inside a field", peer: frame(frameHeaders, flagEndHeaders, 1, b[:len(b)-1]),
			frames: []string{goaway("0", CompressionError, "header block ends inside a field")}, code: CompressionError},
		{name: "6.2 padded, with priority", peer: frame(frameHeaders, flagEndHeaders|flagPadded|flagPriority, 1, []byte{4}, u32(0), []byte{7}, b, make([]byte, 4)),
			frames: []string{answer}, events: []string{opened}},
		{name: "6.2 padding longer than the frame", peer: frame(frameHeaders, flagEndHeaders|flagPadded, 1, []byte{4}, make([]byte, 3)),
			frames: []string{goaway("0", ProtocolError, "padding longer than the frame")}, code: ProtocolError},
		{name: "6.2 too short for the priority", peer: frame(frameHeaders, flagEndHeaders|flagPriority, 1, make([]byte, 4)),
			frames: []string{goaway("0", FrameSizeError, "HEADERS too short for its priority")}, code: FrameSizeError},
	})
}

func TestDynamicTableStaysInStep(t *testing.T) {
	k := newTalk(t, Server, nil)
	var enc fieldEncoder
	huge := "x: " + strings.Repeat("v", 20000)
	bad := append([]string{"connection: close"}, channelFields...)
	var out []byte
	for i, fields := range [][]string{channelFields, bad, append(channelFields[:7:7], huge), channelFields} {
		b := enc.block(fields...)
		id := uint32(2*i + 1)
		out = append(out, frame(frameHeaders, 0, id, b[:min(len(b), 16384)])...)
		out = append(out, frame(frameContinuation, flagEndHeaders, id, b[min(len(b), 16384):])...)
	}
	k.feed(out)
	k.wantEvents(opened, "request 7 POST "+channelPath)
	k.wantFrames(answer, "RST_STREAM 3 PROTOCOL_ERROR", "HEADERS 5 end :status=431", "RST_STREAM 5 NO_ERROR", "HEADERS 7 :status=200 content-type=application/grpc")
	if k.err != nil {
		t.Error(k.err)
	}
}

func TestLateTrailersOnEndedStreams(t *testing.T) {
	t.Run("server", func(t *testing.T) {
		k := newTalk(t, Server, nil)
		k.ev.onRequest = func(s *Stream, _ *Request) { k.c.Refuse(s, 200, 12, "") }
		const last = 2*100 - 1
		var enc fieldEncoder
		for id := uint32(1); id <= last; id += 2 {
			k.feed(frame(frameHeaders, flagEndHeaders, id, enc.block(channelFields...)))
		}
		k.frames()
		k.ev.lines = nil
		for id := uint32(1); id <= last; id += 2 { // all but the last few are long forgotten
			k.feed(frame(frameHeaders, flagEndHeaders|flagEndStream, id, enc.block("x-checksum: 12345", "again: yes")))
		}
		if got := k.frames(); got[0] != "RST_STREAM 1 STREAM_CLOSED" || len(got) > 92 {
			t.Errorf("answered with %q", got)
		}
		k.wantEvents()
		k.feed(frame(frameHeaders, flagEndHeaders|flagEndStream, last+2, enc.block(append(channelFields, "x-checksum: 12345")...)))
		if len(k.ev.lines) == 0 || k.err != nil {
			t.Errorf("the connection is none the worse? %q, %v", k.ev.lines, k.err)
		}
	})
	t.Run("client", func(t *testing.T) {
		k := newTalk(t, Client, nil)
		var enc fieldEncoder
		for range 2 * recentResets {
			k.c.Reset(openChannel(t, k.c), Cancel)
		}
		k.c.ControlDone()
		k.feed(join(frame(frameHeaders, flagEndHeaders, 1, enc.block(":status: 200", "server: slow")), data(1, 0, grpcMsg(1)),
			frame(frameHeaders, flagEndHeaders|flagEndStream, 1, enc.block("grpc-status: 0"))))
		k.wantFrames("RST_STREAM 1 STREAM_CLOSED")
		if k.err != nil {
			t.Error(k.err)
		}
	})
	t.Run("as a flood", func(t *testing.T) {
		k := newTalk(t, Server, nil)
		k.ev.onRequest = func(s *Stream, _ *Request) { k.c.Reset(s, Cancel) }
		k.feed(request(1, 0))
		n := 0
		for ; k.err == nil && n < 5000; n++ {
			k.feed(frame(frameHeaders, flagEndHeaders|flagEndStream, 1, fieldBlock("x: y")))
		}
		if ce := k.wantError(EnhanceYourCalm); ce.Flood != FloodFault || n > 1100 {
			t.Errorf("%s after %d", ce.Flood, n)
		}
	})
}

// RFC 7541 section 4.2: an encoder that lowered the table and raised it again between two blocks says both.
func TestTwoTableSizeUpdatesInOneBlock(t *testing.T) {
	k := newTalk(t, Server, nil)
	var enc fieldEncoder
	k.feed(frame(frameHeaders, flagEndHeaders, 1, enc.block(channelFields...)))
	k.feed(frame(frameHeaders, flagEndHeaders, 3, []byte{0x3f, 0xd5, 0x03, 0x3f, 0xe1, 0x1f}, fieldBlock(channelFields...)))
	k.wantEvents(opened, "request 3 POST "+channelPath)
	if k.err != nil {
		t.Error(k.err)
	}
}

// RFC 7541 section 4.3: a smaller table drops what has no room in it, at once.
func TestTableSizeUpdateEvicts(t *testing.T) {
	k := newTalk(t, Server, nil)
	plain := appendText([]byte{0x83, 0x86, 0x04}, channelPath) // nothing of it enters the table
	insert := appendText(appendText([]byte{0x40}, "x"), "v")
	k.feed(frame(frameHeaders, flagEndHeaders, 1, plain, insert))
	k.feed(frame(frameHeaders, flagEndHeaders, 3, plain, []byte{0x80 | 62}))
	k.wantEvents(opened, "request 3 POST "+channelPath)
	k.feed(frame(frameHeaders, flagEndHeaders, 5, []byte{0x20, 0x3f, 0xe1, 0x1f}, plain, []byte{0x80 | 62}))
	k.wantError(CompressionError)
}

func TestHeaderBombs(t *testing.T) {
	t.Run("many references to one large entry are counted, not kept", func(t *testing.T) {
		k := newTalk(t, Server, nil)
		var enc fieldEncoder
		b := enc.block(":method: POST", ":scheme: http", ":path: /")
		b = appendText(appendText(append(b, 0x40), "x"), strings.Repeat("v", 3000)) // indexed: entry 62
		b = append(b, bytes.Repeat([]byte{0x80 | 62}, 10000)...)                    // 30 MB decoded
		k.feed(frame(frameHeaders, flagEndHeaders, 1, b))
		k.wantEvents()
		k.wantFrames("HEADERS 1 end :status=431", "RST_STREAM 1 NO_ERROR")
		k.feed(request(3, 0))
		k.wantEvents("request 3 POST " + channelPath)
	})
	t.Run("endless CONTINUATION", func(t *testing.T) {
		k := newTalk(t, Server, nil)
		k.feed(frame(frameHeaders, 0, 1, fieldBlock(channelFields...)))
		for range 10 {
			k.feed(frame(frameContinuation, 0, 1, bytes.Repeat([]byte{0x82}, 10000)))
		}
		k.wantError(EnhanceYourCalm)
	})
	t.Run("one endless string", func(t *testing.T) {
		k := newTalk(t, Server, &Settings{MaxHeaderList: 1000})
		k.feed(frame(frameHeaders, 0, 1, appendInt([]byte{0x00}, 0, 7, 1<<20), make([]byte, 500)))
		k.wantError(EnhanceYourCalm)
	})
	t.Run("a HEADERS frame larger than any block is refused by its header", func(t *testing.T) {
		k := newTalk(t, Server, &Settings{MaxFrameSize: 1 << 20})
		k.feed(appendFrameHeader(nil, 1<<20, frameHeaders, flagEndHeaders, 1))
		k.wantError(EnhanceYourCalm)
	})
}

func TestBufferForTornFramesFollowsWhatArrived(t *testing.T) {
	k := newTalk(t, Server, nil)
	k.feed(appendFrameHeader(nil, 16000, frameHeaders, flagEndHeaders, 1))
	k.feed(make([]byte, 100))
	if n := cap(k.c.buf); n > 256 {
		t.Errorf("%d bytes for 100", n)
	}
	k.c.Close(k.ev)
	k = newTalk(t, Server, nil)
	b := request(1, 0, "x: "+strings.Repeat("v", 4000))
	k.feed(b[:3000])
	k.feed(b[3000:])
	k.wantEvents(opened)
	if n := cap(k.c.buf); n > keptBuffer {
		t.Errorf("%d bytes kept", n)
	}
	k.feed(request(3, 0)[:20])
	k.feed(request(3, 0)[20:])
	if k.c.Tick(1); cap(k.c.buf) > 128 {
		t.Errorf("%d bytes kept after Tick", cap(k.c.buf))
	}
}

func TestSmallerTableIsAcknowledgedInTheNextBlock(t *testing.T) {
	k := newTalk(t, Server, nil)
	k.text.dec.SetAllowedMaxDynamicTableSize(100)
	k.feed(join(frame(frameSettings, 0, 0, setting(1, 100)), request(1, 0), request(3, 0)))
	var raw []byte
	raw = append(raw, k.c.Control()...)
	k.wantFrames("SETTINGS ack", answer, "HEADERS 3 :status=200 content-type=application/grpc")
	if raw[frameHeaderLen+frameHeaderLen] != 0x20 { // RFC 7541 section 4.2
		t.Errorf("first block begins with %#x, want a table size update", raw[18])
	}
}

func TestLargeRequestIsCutIntoContinuations(t *testing.T) {
	var c Conn
	c.Init(Client, nil)
	c.ControlDone()
	fields := []Field{{Name: ":method", Value: "POST"}, {Name: "x", Value: strings.Repeat("a", 40000)},
		{Name: "authorization", Value: "secret"}}
	if _, err := c.Open(fields); err != nil {
		t.Fatal(err)
	}
	f := newFrameText()
	f.fr.MaxHeaderListSize = 1 << 20
	got := f.read(t, c.Control())
	want := "HEADERS 1 :method=POST x=" + fields[1].Value + " authorization=secret"
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %.80q", got)
	}
	if _, err := c.Open([]Field{{Name: "x", Value: strings.Repeat("a", maxFields)}}); err != ErrFields {
		t.Errorf("oversize fields: %v", err)
	}
}

func TestEncodedFieldsDecode(t *testing.T) {
	for _, f := range []Field{
		{Name: ":method", Value: "POST"}, {Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"},
		{Name: ":scheme", Value: "https"}, {Name: ":scheme", Value: "unix"}, {Name: ":path", Value: channelPath},
		{Name: ":authority", Value: "h:1"}, {Name: ":status", Value: "404"}, {Name: "content-length", Value: "12"},
		{Name: "content-type", Value: "application/grpc"}, {Name: "user-agent", Value: "slimgo"},
		{Name: "www-authenticate", Value: "Basic"}, {Name: "x-long", Value: strings.Repeat("é", 300)}, {Name: "x", Value: ""},
		{Name: "authorization", Value: "Bearer t", Sensitive: true},
	} {
		got, err := hpack.NewDecoder(0, nil).DecodeFull(appendField(nil, &f))
		if err != nil || len(got) != 1 || Field(got[0]) != f {
			t.Errorf("%v came back as %v, %v", f, got, err)
		}
	}
}

package h2

import "testing"

// openChannel opens a stream as a dialer does.
func openChannel(t testing.TB, c *Conn) *Stream {
	t.Helper()
	s, err := c.Open([]Field{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"},
		{Name: ":path", Value: channelPath}, {Name: ":authority", Value: "node:46357"}, {Name: "te", Value: "trailers"},
		{Name: "content-type", Value: "application/grpc"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func respond(id uint32, flags uint8, fields ...string) []byte {
	return frame(frameHeaders, flagEndHeaders|flags, id, fieldBlock(fields...))
}

func TestClientGreets(t *testing.T) {
	k := rawTalk(t, Client, nil)
	s := openChannel(t, k.c)
	if got := string(k.c.Control()[:len(preface)]); got != preface {
		t.Fatalf("begins with %q", got)
	}
	k.wantFrames("SETTINGS 2=0 4=1048576 5=16384 6=16384", widened,
		"HEADERS 1 :method=POST :scheme=http :path="+channelPath+" :authority=node:46357 te=trailers content-type=application/grpc")
	if w := s.Window(); w != startWindow {
		t.Errorf("window %d before the server's SETTINGS, want %d", w, startWindow)
	}
}

func TestClientHears(t *testing.T) {
	ok := respond(1, 0, ":status: 200", "content-type: application/grpc")
	said := "response 1 200 grpc=-1"
	stop := "RST_STREAM 1 NO_ERROR"
	bad := func(why string) []string { return []string{fault(ProtocolError, why), "closed 1"} }
	runConversations(t, []conversation{
		{name: "messages, then trailers with a status", role: Client, peer: join(ok, data(1, 0, grpcMsg(3)), respond(1, flagEndStream, "grpc-status: 7", "grpc-message: no%20way %C3%BC %zz")),
			frames: []string{stop}, events: []string{said, "message 1 len 3", `ended 1 trailers NO_ERROR http=200 grpc=7 "no way ü %zz"`, "closed 1"}},
		{name: "trailers-only", role: Client, peer: respond(1, flagEndStream, ":status: 200", "content-type: application/grpc", "grpc-status: 12", "grpc-message: x"),
			frames: []string{stop}, events: []string{"response 1 200 grpc=12", `ended 1 trailers NO_ERROR http=200 grpc=12 "x"`, "closed 1"}},
		{name: "401 without grpc-status is UNAUTHENTICATED", role: Client, peer: respond(1, flagEndStream, ":status: 401", "content-length: 0"),
			frames: []string{stop}, events: []string{"response 1 401 grpc=-1", `ended 1 trailers NO_ERROR http=401 grpc=16 ""`, "closed 1"}},
		{name: "503 with a body that is no message", role: Client, peer: join(respond(1, 0, ":status: 503"), data(1, flagEndStream, []byte("sorry"))),
			frames: []string{stop}, events: []string{"response 1 503 grpc=-1",
				`ended 1 broken NO_ERROR http=503 grpc=13 "bad compressed flag 115"`, "closed 1"}},
		{name: "200 that ends without trailers is UNKNOWN", role: Client, peer: join(ok, data(1, flagEndStream, grpcMsg(0))),
			frames: []string{stop}, events: []string{said, "message 1 len 0", `ended 1 half-closed NO_ERROR http=200 grpc=2 ""`, "closed 1"}},
		{name: "grpc-status that is no number is UNKNOWN", role: Client, peer: join(ok, respond(1, flagEndStream, "grpc-status: x")),
			frames: []string{stop}, events: []string{said, `ended 1 trailers NO_ERROR http=200 grpc=2 ""`, "closed 1"}},
		{name: "8.1 1xx are dropped", role: Client, peer: join(respond(1, 0, ":status: 103", "link: x"), respond(1, 0, ":status: 100"), ok),
			events: []string{said}},
		{name: "8.1 1xx with END_STREAM", role: Client, peer: respond(1, flagEndStream, ":status: 100"),
			frames: []string{rst1 + "PROTOCOL_ERROR"}, events: bad("1xx response ends the stream")},
		{name: "8.6 101", role: Client, peer: respond(1, 0, ":status: 101"), frames: []string{rst1 + "PROTOCOL_ERROR"}, events: bad("bad :status")},
		{name: "8.3.2 no status", role: Client, peer: respond(1, 0, "x: y"), frames: []string{rst1 + "PROTOCOL_ERROR"}, events: bad("no :status")},
		{name: "8.3.2 status of two digits", role: Client, peer: respond(1, 0, ":status: 20"), frames: []string{rst1 + "PROTOCOL_ERROR"}, events: bad("bad :status")},
		{name: "8.3.2 status twice", role: Client, peer: respond(1, 0, ":status: 200", ":status: 200"), frames: []string{rst1 + "PROTOCOL_ERROR"}, events: bad("bad :status")},
		{name: "8.3 request pseudo-header in a response", role: Client, peer: respond(1, 0, ":status: 200", ":path: /"), frames: []string{rst1 + "PROTOCOL_ERROR"}, events: bad("unknown pseudo-header field")},
		{name: "8.1 DATA before HEADERS", role: Client, peer: data(1, 0, grpcMsg(1)), frames: []string{rst1 + "PROTOCOL_ERROR"}, events: bad("DATA before HEADERS")},
		{name: "8.1.1 content-length of a response", role: Client, peer: join(respond(1, 0, ":status: 200", "content-length: 5"), data(1, 0, grpcMsg(1))),
			frames: []string{rst1 + "PROTOCOL_ERROR"}, events: []string{said, `ended 1 fault PROTOCOL_ERROR http=200 grpc=-1 "more DATA than content-length"`, "closed 1"}},
		{name: "8.4 push is refused", role: Client, peer: frame(framePushPromise, flagEndHeaders, 1, u32(2), fieldBlock(channelFields...)),
			frames: []string{goaway("0", ProtocolError, "PUSH_PROMISE")}, code: ProtocolError},
		{name: "6.5.2 a server may not enable push", role: Client, peer: frame(frameSettings, 0, 0, setting(2, 1)),
			frames: []string{goaway("0", ProtocolError, "bad SETTINGS_ENABLE_PUSH")}, code: ProtocolError},
		{name: "5.1 HEADERS on a stream we never opened", role: Client, peer: respond(3, 0, ":status: 200"),
			frames: []string{goaway("0", ProtocolError, "HEADERS on a stream that cannot be")}, code: ProtocolError},
		{name: "5.1 HEADERS on a server's stream", role: Client, peer: respond(2, 0, ":status: 200"),
			frames: []string{goaway("0", ProtocolError, "HEADERS on a stream that cannot be")}, code: ProtocolError},
		{name: "6.4 reset before the response", role: Client, peer: frame(frameRSTStream, 0, 1, u32(uint32(RefusedStream))),
			events: []string{`ended 1 reset REFUSED_STREAM http=0 grpc=-1 "peer reset the stream"`, "closed 1"}},
		{name: "6.8 GOAWAY below the stream", role: Client, peer: frame(frameGoAway, 0, 0, u32(0), u32(0)),
			events: []string{`goaway last=0 NO_ERROR ""`, `ended 1 goaway NO_ERROR http=0 grpc=-1 "peer is going away"`, "closed 1"}},
		{name: "6.8 GOAWAY that does not concern the stream", role: Client, peer: join(frame(frameGoAway, 0, 0, u32(1), u32(0)), ok),
			events: []string{`goaway last=1 NO_ERROR ""`, said}},
	})
}

func TestClientHalfCloseThenTrailers(t *testing.T) {
	k := newTalk(t, Client, nil)
	s := openChannel(t, k.c)
	k.frames()
	out, n := k.c.Data(nil, s, 8)
	out = append(out, grpcMsg(3)...)
	out = k.c.HalfClose(out, s)
	if got := k.text.read(t, out); n != 8 || len(got) != 1 || got[0] != "DATA 1 len 8 end" {
		t.Errorf("got %q, want END_STREAM on the open frame", got)
	}
	if s.Window() != 0 {
		t.Error("a half-closed stream has a window")
	}
	k.feed(join(respond(1, 0, ":status: 200"), respond(1, flagEndStream, "grpc-status: 0")))
	k.wantEvents("response 1 200 grpc=-1", `ended 1 trailers NO_ERROR http=200 grpc=0 ""`, "closed 1")
	k.wantFrames()
	s = openChannel(t, k.c)
	out, _ = k.c.Data(nil, s, 1)
	out = append(out, 'x')
	k.c.Cut()
	if got := k.text.read(t, k.c.HalfClose(out, s)); len(got) != 2 || got[1] != "DATA 3 len 0 end" {
		t.Errorf("got %q, want a final empty frame after the cut one", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	fields := []Field{{Name: ":method", Value: "POST"}}
	k := newTalk(t, Client, nil)
	k.feed(frame(frameSettings, 0, 0, setting(3, 1)))
	s := openChannel(t, k.c)
	if _, err := k.c.Open(fields); err != ErrStreamLimit {
		t.Errorf("second stream of one: %v", err)
	}
	k.c.Reset(s, Cancel)
	if _, err := k.c.Open(fields); err != nil {
		t.Errorf("after the first is gone: %v", err)
	}
	k.feed(frame(frameSettings, 0, 0, setting(3, 100)))
	k.c.nextID = maxStreamID
	if _, err := k.c.Open(fields); err != nil {
		t.Errorf("last id: %v", err)
	}
	if _, err := k.c.Open(fields); err != ErrIDsSpent {
		t.Errorf("after the last id: %v", err)
	}
	k.feed(frame(frameGoAway, 0, 0, u32(1), u32(0)))
	if _, err := k.c.Open(fields); err != ErrDraining {
		t.Errorf("after GOAWAY: %v", err)
	}
}

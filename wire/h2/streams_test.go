package h2

import "testing"

func TestStreamStates(t *testing.T) {
	runConversations(t, []conversation{
		{name: "5.1 idle: DATA", peer: data(1, 0, grpcMsg(1)),
			frames: []string{goaway("0", ProtocolError, "DATA on an idle stream")}, code: ProtocolError},
		{name: "5.1 idle: RST_STREAM", peer: frame(frameRSTStream, 0, 1, u32(8)),
			frames: []string{goaway("0", ProtocolError, "RST_STREAM on an idle stream")}, code: ProtocolError},
		{name: "5.1 idle: WINDOW_UPDATE", peer: frame(frameWindowUpdate, 0, 1, u32(8)),
			frames: []string{goaway("0", ProtocolError, "WINDOW_UPDATE on an idle stream")}, code: ProtocolError},
		{name: "5.1 half-closed (remote): DATA", peer: join(request(1, flagEndStream), data(1, 0, grpcMsg(1))),
			frames: []string{answer, rst1 + "STREAM_CLOSED"}, events: []string{opened, halfDone, "closed 1"}},
		{name: "5.1 half-closed (remote): HEADERS", peer: join(request(1, flagEndStream), request(1, flagEndStream)),
			frames: []string{answer, rst1 + "STREAM_CLOSED"}, events: []string{opened, halfDone, "closed 1"}},
		{name: "5.1 half-closed (remote): WINDOW_UPDATE", peer: join(request(1, flagEndStream), frame(frameWindowUpdate, 0, 1, u32(8))),
			frames: []string{answer}, events: []string{opened, halfDone, "writable 1"}},
		{name: "5.1 closed by RST_STREAM: DATA", peer: join(request(1, 0), frame(frameRSTStream, 0, 1, u32(8)), data(1, 0, grpcMsg(1)), data(1, 0, grpcMsg(1))),
			frames: []string{answer, rst1 + "STREAM_CLOSED"},
			events: []string{opened, `ended 1 reset CANCEL http=0 grpc=-1 "peer reset the stream"`, "closed 1"}},
		{name: "5.1 closed by RST_STREAM: HEADERS", peer: join(request(1, 0), frame(frameRSTStream, 0, 1, u32(8)), request(1, 0)),
			frames: []string{answer, goaway("1", StreamClosed, "HEADERS on a closed stream")},
			events: []string{opened, `ended 1 reset CANCEL http=0 grpc=-1 "peer reset the stream"`, "closed 1"}, code: StreamClosed},
		{name: "5.1 closed: WINDOW_UPDATE, RST_STREAM, PRIORITY", peer: join(request(1, 0), frame(frameRSTStream, 0, 1, u32(0)),
			frame(frameWindowUpdate, 0, 1, u32(8)), frame(frameRSTStream, 0, 1, u32(8)), frame(framePriority, 0, 1, make([]byte, 5))),
			frames: []string{answer}, events: []string{opened, `ended 1 reset NO_ERROR http=0 grpc=-1 "peer reset the stream"`, "closed 1"}},
		{name: "5.1.1 even id", peer: request(2, 0),
			frames: []string{goaway("0", ProtocolError, "HEADERS on a stream that cannot be")}, code: ProtocolError},
		{name: "5.1.1 lower id than before", peer: join(request(5, 0), request(3, 0)),
			frames: []string{"HEADERS 5 :status=200 content-type=application/grpc", goaway("5", StreamClosed, "HEADERS on a closed stream")},
			events: []string{"request 5 POST " + channelPath}, code: StreamClosed},
		{name: "5.1.2 one stream too many", set: Settings{MaxStreams: 1}, peer: join(request(1, 0), request(3, 0), data(3, 0, grpcMsg(4)), data(1, 0, grpcMsg(1))),
			frames: []string{answer, "RST_STREAM 3 REFUSED_STREAM"}, events: []string{opened, "message 1 len 1"}},
		{name: "5.3.1 HEADERS depend on themselves", peer: frame(frameHeaders, flagEndHeaders|flagPriority, 1, u32(1), []byte{9}, fieldBlock(channelFields...)),
			frames: []string{rst1 + "PROTOCOL_ERROR"}},
		{name: "5.3.1 PRIORITY depends on itself", peer: join(request(1, 0), frame(framePriority, 0, 1, u32(1), []byte{9})),
			frames: []string{answer, rst1 + "PROTOCOL_ERROR"}, events: []string{opened, fault(ProtocolError, "stream depends on itself"), "closed 1"}},
		{name: "6.1 padding is taken off", peer: join(request(1, 0), data(1, flagPadded, []byte{3}, grpcMsg(2), make([]byte, 3)), data(1, flagEndStream|flagPadded, []byte{0})),
			frames: []string{answer}, events: []string{opened, "message 1 len 2", halfDone}},
		{name: "6.1 padding as long as the frame", peer: join(request(1, 0), data(1, flagPadded, []byte{3}, make([]byte, 2))),
			frames: []string{answer, goaway("1", ProtocolError, "padding longer than the frame")}, events: []string{opened}, code: ProtocolError},
		{name: "6.1 padded without pad length", peer: join(request(1, 0), data(1, flagPadded)),
			frames: []string{answer, goaway("1", FrameSizeError, "padded DATA without pad length")}, events: []string{opened}, code: FrameSizeError},
		{name: "6.1 DATA on stream 0", peer: data(0, 0, grpcMsg(1)),
			frames: []string{goaway("0", ProtocolError, "DATA on an idle stream")}, code: ProtocolError},
		{name: "6.2 HEADERS on stream 0", peer: request(0, 0),
			frames: []string{goaway("0", ProtocolError, "HEADERS on a stream that cannot be")}, code: ProtocolError},
		{name: "6.3 PRIORITY of 4 bytes", peer: join(request(1, 0), frame(framePriority, 0, 1, make([]byte, 4))),
			frames: []string{answer, rst1 + "FRAME_SIZE_ERROR"}, events: []string{opened, fault(FrameSizeError, "wrong PRIORITY length"), "closed 1"}},
		{name: "6.3 PRIORITY opens nothing", peer: join(frame(framePriority, 0, 7, make([]byte, 5)), request(1, 0)),
			frames: []string{answer}, events: []string{opened}},
		{name: "6.4 RST_STREAM of 3 bytes", peer: join(request(1, 0), frame(frameRSTStream, 0, 1, make([]byte, 3))),
			frames: []string{answer, goaway("1", FrameSizeError, "wrong frame length")}, events: []string{opened}, code: FrameSizeError},
		{name: "6.9 WINDOW_UPDATE of zero, stream", peer: join(request(1, 0), frame(frameWindowUpdate, 0, 1, u32(0))),
			frames: []string{answer, rst1 + "PROTOCOL_ERROR"}, events: []string{opened, fault(ProtocolError, "WINDOW_UPDATE of zero"), "closed 1"}},
		{name: "6.9.1 stream window above 2^31-1", peer: join(request(1, 0), frame(frameWindowUpdate, 0, 1, u32(maxWindow))),
			frames: []string{answer, rst1 + "FLOW_CONTROL_ERROR"}, events: []string{opened, fault(FlowControlError, "stream window above 2^31-1"), "closed 1"}},
		{name: "6.9.2 SETTINGS lift a stream window above 2^31-1", peer: join(request(1, 0), frame(frameWindowUpdate, 0, 1, u32(maxWindow-startWindow)), frame(frameSettings, 0, 0, setting(4, startWindow+1))),
			frames: []string{answer, goaway("1", FlowControlError, "stream window above 2^31-1")}, events: []string{opened, "writable 1"}, code: FlowControlError},
	})
}

func TestFramesInFlightAtOurResetAreIgnored(t *testing.T) {
	k := newTalk(t, Server, nil)
	k.feed(request(1, 0))
	k.frames()
	k.c.Reset(k.ev.streams[1], Cancel)
	k.c.Reap(k.ev)
	k.wantEvents(opened, "closed 1")
	k.feed(join(data(1, 0, grpcMsg(3)), frame(frameHeaders, flagEndHeaders|flagEndStream, 1, fieldBlock("x: y"))))
	k.wantFrames("RST_STREAM 1 CANCEL")
	k.wantEvents()
	if k.err != nil {
		t.Error(k.err)
	}
}

func TestOnlyTheLastResetsAreRemembered(t *testing.T) {
	k := newTalk(t, Server, nil)
	for id := uint32(1); id <= 2*recentResets+1; id += 2 {
		k.feed(request(id, 0))
		k.c.Reset(k.ev.streams[id], Cancel)
	}
	k.frames()
	k.feed(data(3, 0, grpcMsg(1)))
	k.wantFrames()
	k.feed(data(1, 0, grpcMsg(1)))
	k.wantFrames("RST_STREAM 1 STREAM_CLOSED")
}

// Rules: P-tr-2.
func TestResponseBeforeTheRequestEnds(t *testing.T) {
	k := newTalk(t, Server, nil)
	k.ev.onRequest = func(s *Stream, _ *Request) { k.c.Refuse(s, 200, 12, "no such method") }
	k.feed(join(request(1, 0), data(1, 0, grpcMsg(10)), data(1, flagEndStream)))
	k.wantFrames("HEADERS 1 end :status=200 content-type=application/grpc grpc-status=12 grpc-message=no such method")
	k.wantEvents(opened, "closed 1")
	k.feed(data(1, 0, grpcMsg(1)))
	k.wantFrames("RST_STREAM 1 STREAM_CLOSED")
}

func TestFinishedStreamsOfLazyClientsAreReset(t *testing.T) {
	k := newTalk(t, Server, nil)
	k.ev.onRequest = func(s *Stream, _ *Request) { k.c.Refuse(s, 401, -1, "") }
	for id := uint32(1); id <= 17; id += 2 {
		k.feed(request(id, 0))
	}
	got := k.frames()
	if n := len(got); n != 10 || got[9] != "RST_STREAM 1 NO_ERROR" || got[8] != "HEADERS 17 end :status=401" {
		t.Errorf("got %q, want the ninth refusal to reset the first stream", got)
	}
	if n := len(k.c.more) + 1; n != 9 { // the first stays in its slot
		t.Errorf("%d streams kept", n)
	}
	if !k.c.Idle() {
		t.Error("finished streams count as alive")
	}
}

func TestFinishedStreamIsNotCredited(t *testing.T) {
	k := newTalk(t, Server, &Settings{InitialWindow: 1 << 16})
	k.ev.onRequest = func(s *Stream, _ *Request) { k.c.Refuse(s, 200, 12, "") }
	k.feed(request(1, 0))
	k.frames()
	k.feed(join(data(1, 0, make([]byte, 16384)), data(1, 0, make([]byte, 16384))))
	k.wantFrames()
	k.feed(data(1, 0, make([]byte, 1)))
	k.wantFrames("RST_STREAM 1 NO_ERROR")
}

// Rules: P-tr-7.
func TestTrailersOnBothStates(t *testing.T) {
	k := newTalk(t, Server, nil)
	k.feed(join(request(1, 0), request(3, flagEndStream)))
	k.frames()
	k.ev.lines = nil
	var out []byte
	for _, id := range []uint32{1, 3} {
		out, _ = k.c.Data(out, k.ev.streams[id], 3)
		out = append(out, "abc"...)
		out = k.c.Trailers(out, k.ev.streams[id], 0, "50 % of größe")
		out = k.c.Trailers(out, k.ev.streams[id], 0, "twice")
	}
	k.c.Reap(k.ev)
	k.wantEvents("closed 1", "closed 3")
	got := k.text.read(t, out)
	for i, want := range []string{"DATA 1 len 3", "HEADERS 1 end grpc-status=0 grpc-message=50 %25 of gr%C3%B6%C3%9Fe", "DATA 3 len 3"} {
		if got[i] != want {
			t.Errorf("got %q, want %q", got[i], want)
		}
	}
	if len(got) != 4 {
		t.Errorf("%d frames, want 4: %q", len(got), got)
	}
	k.feed(data(1, 0, grpcMsg(1))) // still open on the client's side
	k.wantFrames()
	k.feed(data(3, 0, grpcMsg(1)))
	k.wantFrames("RST_STREAM 3 STREAM_CLOSED")
}

func TestTrailersWithoutRespondAreTrailersOnly(t *testing.T) {
	k := newTalk(t, Server, nil)
	k.ev.onRequest = nil
	k.feed(request(1, 0))
	got := k.text.read(t, k.c.Trailers(nil, k.ev.streams[1], 7, ""))
	if len(got) != 1 || got[0] != "HEADERS 1 end :status=200 content-type=application/grpc grpc-status=7" {
		t.Errorf("got %q", got)
	}
}

func TestCallbackThatEndsItsStreamHearsNoMore(t *testing.T) {
	k := newTalk(t, Server, nil)
	k.ev.onMessage = func(s *Stream, _ []byte) { k.c.Reset(s, InternalError) }
	k.feed(join(request(1, 0), data(1, 0, grpcMsg(1), grpcMsg(2), grpcMsg(3)), data(1, flagEndStream, grpcMsg(4))))
	k.wantEvents(opened, "message 1 len 1", "closed 1")
	k.wantFrames(answer, "RST_STREAM 1 INTERNAL_ERROR")
}

func TestGoAwayGracefulThenFinal(t *testing.T) {
	k := newTalk(t, Server, nil)
	k.feed(request(1, 0))
	k.frames()
	k.c.GoAwayNow(NoError, "", true)
	k.feed(request(3, 0))
	k.wantFrames(goaway("2147483647", NoError, ""), "HEADERS 3 :status=200 content-type=application/grpc")
	k.c.GoAwayNow(NoError, "bye", false)
	k.ev.lines = nil
	k.feed(join(request(5, 0), data(5, 0, grpcMsg(2)), frame(frameWindowUpdate, 0, 5, u32(1)), data(5, flagEndStream), data(3, 0, grpcMsg(1))))
	k.wantFrames(goaway("3", NoError, "bye"))
	k.wantEvents("message 3 len 1")
	if !k.c.Draining() || k.c.Idle() || k.err != nil {
		t.Errorf("draining %v, idle %v, error %v", k.c.Draining(), k.c.Idle(), k.err)
	}
}

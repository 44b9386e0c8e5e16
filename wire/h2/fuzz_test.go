package h2

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// fuzzTalk runs one engine over b, cut where cut says, with an owner that answers, refuses, withholds, resets and
// recycles depending on what arrives. It returns everything that must not depend on the cuts: events, frames but for credit, and the error.
func fuzzTalk(t *testing.T, role Role, b []byte, cut func(left int) int) (events, frames []string, fault string) {
	k := rawTalk(t, role, &Settings{MaxStreams: 20, FirstMessage: 3000})
	k.ev.bodies = true
	k.ev.onRequest = func(s *Stream, r *Request) {
		if string(r.Path) == channelPath {
			k.c.Respond(s)
		} else {
			k.c.Refuse(s, 200, 12, string(r.Path))
		}
	}
	k.ev.onMessage = func(s *Stream, msg []byte) {
		switch {
		case len(msg)%7 == 3:
			k.c.Hold(s, len(msg))
		case len(msg)%7 == 5:
			k.c.Reset(s, Cancel)
		case len(msg)%7 == 1:
			k.c.SetMaxMessage(s, 100000)
		}
	}
	k.ev.onClosed = k.c.Recycle
	if role == Client {
		openChannel(t, k.c)
		openChannel(t, k.c)
	}
	limit := maxControl + 64<<10
	for len(b) > 0 {
		n := cut(len(b))
		k.feed(b[:n])
		b = b[n:]
		if len(k.c.Control()) > limit {
			t.Fatalf("control of %d bytes", len(k.c.Control()))
		}
		k.c.Tick(k.c.now + 1)
		if what, since := k.c.Unfinished(); what != UnfinishedNone && (since < 0 || since > k.c.now) {
			t.Fatalf("%v unfinished since %d of %d", what, since, k.c.now)
		}
	}
	k.c.Close(k.ev)
	if !k.c.Idle() || k.c.head != nil || len(k.c.more) != 0 || k.c.lent != 0 {
		t.Fatal("streams left after Close")
	}
	checkLives(t, k.ev.lines)
	for _, l := range k.frames() {
		if !strings.HasPrefix(l, "WINDOW_UPDATE") {
			frames = append(frames, l)
		}
	}
	if k.err != nil {
		fault = k.err.Error()
	}
	for _, l := range k.ev.lines {
		if !strings.HasPrefix(l, "writable") { // once a Feed
			events = append(events, l)
		}
	}
	return events, frames, fault
}

// checkLives holds every stream to the order that Events promises.
func checkLives(t *testing.T, lines []string) {
	ended, closed := map[string]bool{}, map[string]bool{}
	for _, l := range lines {
		w := strings.Fields(l)
		if len(w) < 2 || w[0] == "goaway" { // not about a stream
			continue
		}
		id := w[1]
		if closed[id] || ended[id] && (w[0] == "message" || w[0] == "ended") {
			t.Fatalf("%s too late, in %q", l, lines)
		}
		switch w[0] {
		case "ended":
			ended[id] = true
		case "closed":
			closed[id] = true
		}
	}
}

func fuzzRole(t *testing.T, role Role, b []byte, seed uint64) {
	if len(b) > 64<<10 {
		return // below every window: when credit flows would depend on the cuts
	}
	whole := func(left int) int { return left }
	rnd := rand.New(rand.NewPCG(seed, 0))
	most := 1 + int(seed%40)
	ev1, fr1, err1 := fuzzTalk(t, role, b, whole)
	ev2, fr2, err2 := fuzzTalk(t, role, b, func(left int) int { return min(left, 1+rnd.IntN(most)) })
	if !slices.Equal(ev1, ev2) {
		t.Errorf("events depend on the cuts:\n%s\n--\n%s", strings.Join(ev1, "\n"), strings.Join(ev2, "\n"))
	}
	if !slices.Equal(fr1, fr2) {
		t.Errorf("frames depend on the cuts:\n%s\n--\n%s", strings.Join(fr1, "\n"), strings.Join(fr2, "\n"))
	}
	if err1 != err2 {
		t.Errorf("errors depend on the cuts: %q, %q", err1, err2)
	}
}

func FuzzServer(f *testing.F) {
	start := join(greeting(Server), frame(frameSettings, flagAck, 0))
	for _, b := range [][]byte{
		[]byte("GET / HTTP/1.1\r\n\r\n"),
		start,
		join(start, request(1, 0), data(1, 0, grpcMsg(10), grpcMsg(100)), data(1, flagEndStream, grpcMsg(3))),
		join(start, request(1, 0), data(1, 0, grpcMsg(10)[:7]), frame(framePing, 0, 0, make([]byte, 8)), data(1, flagPadded, []byte{2}, grpcMsg(10)[7:], make([]byte, 2))),
		join(start, request(1, 0), data(1, 0, grpcMsg(5), grpcMsg(6)), data(1, flagEndStream, grpcMsg(3))),
		join(start, request(1, 0, "content-length: 7"), data(1, flagEndStream, grpcMsg(2)), request(3, flagEndStream)),
		join(start, respond(1, 0, ":method: GET", ":scheme: unix", ":path: /"), data(1, 0, grpcMsg(2)), respond(1, flagEndStream, "a: b")),
		join(start, frame(frameHeaders, flagPriority, 1, u32(1), []byte{0}, fieldBlock(channelFields...)), frame(frameContinuation, flagEndHeaders, 1)),
		join(start, request(1, 0), frame(frameWindowUpdate, 0, 1, u32(9)), frame(frameWindowUpdate, 0, 0, u32(9)), frame(frameSettings, 0, 0, setting(4, 1), setting(5, 20000), setting(1, 0))),
		join(start, request(1, 0), frame(frameRSTStream, 0, 1, u32(8)), data(1, 0, grpcMsg(1)), frame(framePriority, 0, 1, u32(0), []byte{1})),
		join(start, request(1, 0), frame(frameGoAway, 0, 0, u32(0), u32(0), []byte("bye")), frame(0xcc, 1, 1, []byte("?")), data(1, 0, []byte{1, 0, 0, 0, 0})),
	} {
		f.Add(b, uint64(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) { fuzzRole(t, Server, b, seed) })
}

func FuzzClient(f *testing.F) {
	start := join(greeting(Client), frame(frameSettings, flagAck, 0))
	ok := respond(1, 0, ":status: 200", "content-type: application/grpc")
	for _, b := range [][]byte{
		start,
		join(start, ok, data(1, 0, grpcMsg(10), grpcMsg(100)), respond(1, flagEndStream, "grpc-status: 0")),
		join(start, respond(3, flagEndStream, ":status: 200", "grpc-status: 12", "grpc-message: a%20b%"), ok, data(1, flagEndStream, grpcMsg(3))),
		join(start, respond(1, 0, ":status: 100"), ok, data(1, 0, grpcMsg(5)), data(1, 0, grpcMsg(6))),
		join(start, respond(1, flagEndStream, ":status: 401", "www-authenticate: Basic")),
		join(start, ok, frame(frameGoAway, 0, 0, u32(1), u32(11), []byte("calm")), data(1, 0, grpcMsg(2)), frame(frameRSTStream, 0, 1, u32(7))),
		join(start, frame(frameSettings, 0, 0, setting(3, 1), setting(4, 0), setting(1, 0)), ok, frame(framePushPromise, flagEndHeaders, 1, u32(2))),
		join(start, ok, respond(1, 0, "x: y"), data(3, 0, grpcMsg(1))),
	} {
		f.Add(b, uint64(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) { fuzzRole(t, Client, b, seed) })
}

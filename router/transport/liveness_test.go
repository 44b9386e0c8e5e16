package transport

import (
	"bytes"
	"io"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/pool"
)

// Whatever a stranger sends, and however slowly: from accept to a negotiated stream there is one deadline. Rules: P-tr-10.
func TestStrangersHaveOneDeadline(t *testing.T) {
	long := append([]byte{0, 64, 0, 9, 4, 0, 0, 0, 1}, bytes.Repeat([]byte{0x40}, 1<<14)...) // CONTINUATION, cut short
	hello := append([]byte(http2.ClientPreface), frames(func(f *http2.Framer) { _ = f.WriteSettings(); _ = f.WriteSettingsAck() })...)
	open := frames(func(f *http2.Framer) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: fields(":method", "POST",
			":scheme", "http", ":path", openChannel, "content-type", "application/grpc")})
	})
	first := enveloped(make([]byte, 10_000))
	for _, tc := range []struct {
		name  string
		begin []byte // at once
		then  []byte // one byte a second
		fault Fault
	}{
		{"silence", nil, nil, FaultUnfinished},
		{"a preface byte by byte", nil, []byte(http2.ClientPreface), FaultUnfinished},
		{"a preface and no SETTINGS", []byte(http2.ClientPreface), nil, FaultUnfinished},
		{"SETTINGS byte by byte", []byte(http2.ClientPreface), frames(func(f *http2.Framer) { _ = f.WriteSettings(make([]http2.Setting, 20)...) }), FaultUnfinished},
		{"no stream", hello, nil, FaultTimeout},
		{"PINGs byte by byte", hello, bytes.Repeat(frames(func(f *http2.Framer) { _ = f.WritePing(false, [8]byte{}) }), 10), FaultTimeout},
		{"a header block byte by byte", append(hello, 0, 64, 0, 1, 0, 0, 0, 0, 1), bytes.Repeat([]byte{0x40}, 100), FaultUnfinished},
		{"a header block frame by frame", append(hello, 0, 0, 0, 1, 0, 0, 0, 0, 1), bytes.Repeat([]byte{0, 0, 0, 9, 0, 0, 0, 0, 1}, 100), FaultUnfinished},
		{"CONTINUATION byte by byte", append(append(hello, 0, 0, 0, 1, 0, 0, 0, 0, 1), long[:9]...), long[9:], FaultUnfinished},
		{"a stream without a message", append(hello, open...), nil, FaultTimeout},
		{"a message byte by byte", append(append(hello, open...), 0, 39, 21, 0, 0, 0, 0, 0, 1), first, FaultTimeout},
		{"a message in frames of a byte", append(hello, open...), bytes.Repeat([]byte{0, 0, 1, 0, 0, 0, 0, 0, 1, 0}, 100), FaultTimeout},
	} {
		h := build(t, Options{MaxStreams: 100})
		v := h.visit()
		if v.h.loop.Deliver(v.sock, nil); len(tc.begin) > 0 {
			v.write(tc.begin)
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
		if lines := v.text.read(t, v.read()); len(lines) == 0 || lines[len(lines)-1] != `GOAWAY 1 NO_ERROR "idle"` && lines[len(lines)-1] != `GOAWAY 0 NO_ERROR "idle"` {
			t.Errorf("%s: last words: %q", tc.name, lines)
		}
		h.want(tc.fault.String(), "ended")
		if h.group.Len() != 0 || h.panics != 0 {
			t.Errorf("%s: %d sockets left, %d panics", tc.name, h.group.Len(), h.panics)
		}
	}
}

// An established stream may leave a message unfinished for a while, then it is ended: all that are too old at once. One
// that waits for us is not.
func TestUnfinishedMessagesHaveADeadline(t *testing.T) {
	h := build(t, Options{MaxStreams: 100, UnfinishedTimeout: 30 * time.Second, KeepaliveTime: -1})
	v := h.visit()
	v.greet()
	var gs []*guest
	for i := range 4 {
		g := v.enter(uint32(2*i + 1))
		g.broken = func(Fault) { g.s.Finish(0, "") }
		gs = append(gs, g)
		h.do(g.s.Established)
	}
	gs[3].broken = nil // it does not obey
	m := enveloped(make([]byte, 1<<20))
	for i := range 4 {
		v.data(uint32(2*i+1), m[:10_000])
	}
	v.read()
	h.pass(30, func() {
		for i := range 4 {
			v.data(uint32(2*i+1), m[:1])
		}
	})
	for _, g := range gs {
		g.want()
	}
	h.pass(1, nil)
	for i, g := range gs {
		g.want("broken: unfinished", "closed")
		if g.stream().gather != nil {
			t.Errorf("stream %d keeps the memory of its message", i)
		}
	}
	v.read()
	g := v.enter(9)
	h.do(func() { g.s.Established(); g.s.Charge(1) })
	v.data(9, m[:10_000])
	h.pass(100, func() { v.read() })
	g.want()
	if v.gone() {
		t.Error("the socket is closed")
	}
	h.want()
}

// A DATA frame that does not become complete ends the socket.
func TestUnfinishedFrameHasADeadline(t *testing.T) {
	h := build(t, Options{MaxStreams: 100, UnfinishedTimeout: 30 * time.Second, KeepaliveTime: -1})
	v := h.visit()
	v.greet()
	g := v.enter(1)
	h.do(g.s.Established)
	v.write([]byte{0, 64, 0, 0, 0, 0, 0, 0, 1})
	h.pass(30, func() { v.write([]byte{0}) })
	h.want()
	h.pass(1, nil)
	h.want("unfinished", "ended")
}

// A socket hears of its end before it is closed for being idle. Rules: P-tr-10.
func TestIdleSocketIsClosedAfterGoAway(t *testing.T) {
	h := build(t, Options{MaxStreams: 100, IdleTimeout: 20 * time.Second, KeepaliveTime: -1})
	v := h.visit()
	v.greet()
	g := v.enter(1)
	h.do(g.s.Established)
	h.pass(100, nil)
	if v.gone() {
		t.Fatal("closed while it has a stream")
	}
	h.do(func() { g.s.Finish(0, "") })
	v.want("HEADERS 1 grpc-status=0 end")
	h.pass(20, nil)
	if v.gone() {
		t.Fatal("closed too early")
	}
	h.pass(1, nil)
	v.want(`GOAWAY 1 NO_ERROR "idle"`)
	if !v.gone() {
		t.Error("not closed")
	}
	h.want("ended")
}

// Rules: P-tr-10.
func TestKeepalive(t *testing.T) {
	h := build(t, Options{MaxStreams: 100, KeepaliveTime: 60 * time.Second, KeepaliveTimeout: 20 * time.Second})
	v := h.visit()
	v.greet()
	g := v.enter(1)
	h.do(g.s.Established)
	h.pass(59, nil)
	v.want()
	h.pass(1, nil)
	v.want("PING")
	h.pass(19, nil)
	v.write(frames(func(f *http2.Framer) { _ = f.WritePing(true, [8]byte{}) }))
	h.pass(60, nil)
	v.want("PING")
	h.pass(10, nil)
	v.allow(1, 0) // whatever comes shows life
	h.pass(59, nil)
	v.want()
	h.pass(1, nil)
	v.want("PING")
	h.pass(20, nil)
	if v.gone() {
		t.Fatal("closed too early")
	}
	h.pass(1, nil)
	if !v.gone() {
		t.Fatal("a peer that does not answer lives on")
	}
	h.want("keepalive_timeout", "ended")
	g.want("muted", "closed")
}

// Whoever still takes what lay before a PING need not have answered it.
func TestPingBehindMuchElse(t *testing.T) {
	h := build(t, Options{KeepaliveTime: 5 * time.Second, KeepaliveTimeout: 3 * time.Second})
	v := h.visitWS()
	g := v.upgrade()
	h.do(g.s.Established)
	fill := func() {
		for g.put(make([]byte, 50_000)) {
		}
		v.sock.Flush()
	}
	h.do(fill)
	h.pass(40, func() {
		_, _ = unix.Read(v.fd, make([]byte, 50_000))
		h.loop.Ready()
		h.do(fill)
	})
	if v.gone() {
		t.Fatalf("one who reads is thought to be dead: %q", h.lines)
	}
	h.pass(20, nil)
	if !v.gone() {
		t.Error("one who has stopped is not")
	}
	h.want("keepalive_timeout", "ended")
}

// A socket that has reached its age hears of it, once, and goes on. Rules: P-tr-10.
func TestAgedSocketsGoOn(t *testing.T) {
	h := build(t, Options{MaxStreams: 100, KeepaliveTime: -1})
	h.group.limits.MaxAge = 50 * time.Second
	v := h.visit()
	v.greet()
	g := v.enter(1)
	h.do(g.s.Established)
	h.pass(49, nil)
	v.want()
	h.pass(1, nil)
	v.want(`GOAWAY 2147483647 NO_ERROR "max_connection_age"`)
	h.pass(500, nil)
	v.want()
	v.data(1, enveloped([]byte("still here")))
	if len(g.got) != 1 || string(g.got[0]) != "still here" {
		t.Errorf("it got %q", g.got)
	}
	h.do(func() { g.s.Finish(0, "") })
	v.want("HEADERS 1 grpc-status=0 end")
	h.pass(31, nil)
	if !v.gone() {
		t.Error("it outlives its last stream")
	}
}

// The end of a group: it is announced, then each socket ends after its streams, and the group is idle.
func TestDrainAndFinish(t *testing.T) {
	h := build(t, Options{MaxStreams: 100})
	v, idle := h.visit(), h.visit()
	v.greet()
	idle.greet()
	g := v.enter(1)
	q := &mouth{g: g, todo: []*Message{own(make([]byte, 100_000))}}
	g.writable = func() {
		if q.pump(); len(q.todo) == 0 {
			g.s.Finish(0, "")
		}
	}
	h.do(q.pump)
	v.text.read(t, v.read())
	h.do(h.group.Drain)
	announced := `GOAWAY 2147483647 NO_ERROR "node is shutting down"`
	v.want(announced)
	idle.want(announced)
	late := h.visit()
	late.write(append([]byte(http2.ClientPreface), frames(func(f *http2.Framer) { _ = f.WriteSettings() })...))
	if lines := late.text.read(t, late.read()); !slices.Contains(lines, announced) {
		t.Errorf("a socket that comes meanwhile hears %q", lines)
	}
	other := v.enter(3) // on its way when the end was announced
	other.finished = func() { other.s.Finish(0, "") }
	h.do(h.group.Finish)
	v.want(`GOAWAY 3 NO_ERROR "node is shutting down"`, "HEADERS 3 grpc-status=0 end")
	idle.want(`GOAWAY 0 NO_ERROR "node is shutting down"`)
	g.want("finished")
	v.request(5, openChannel)
	v.want() // the GOAWAY has said so
	h.want()
	v.allow(100_000, 0, 1)
	lines := v.text.read(t, v.read())
	if lines[len(lines)-1] != "HEADERS 1 grpc-status=0 end" || len(v.text.messages(t, 1)) != 1 {
		t.Errorf("the last stream ends with %q", lines[len(lines)-1])
	}
	late.read()
	for _, p := range []*visitor{v, idle, late} {
		if n, err := unix.Read(p.fd, make([]byte, 1)); n != 0 || err != nil {
			t.Errorf("after the last stream: %d, %v, want an end", n, err)
		}
		h.loop.Hangup(p.sock, io.EOF)
		h.settle()
	}
	h.want("ended", "ended", "ended", "idle")
}

// A peer that never closes is not waited for.
func TestFinishedSocketIsNotWaitedForForEver(t *testing.T) {
	h := build(t, Options{MaxStreams: 100})
	v := h.visit()
	v.greet()
	h.do(h.group.Finish)
	v.read()
	h.pass(5, func() { v.read() })
	h.want("ended", "idle")
}

// Unfinished messages of a socket have a budget; beyond it the one that was begun first is ended, and its memory is
// given back at once.
func TestUnfinishedMessagesHaveABudget(t *testing.T) {
	const size, streams = 1 << 20, 25
	h := build(t, Options{MaxStreams: 100, MaxMessage: size, MaxUnfinished: 2 * size, KeepaliveTime: -1})
	v := h.visit()
	v.greet()
	var gs []*guest
	for i := range streams {
		g := v.enter(uint32(2*i + 1))
		g.broken = func(f Fault) { g.s.Finish(8, "") }
		h.do(g.s.Established)
		gs = append(gs, g)
	}
	held := func() (n int) {
		for _, g := range gs {
			if b := g.stream().gather; b != nil {
				n += cap(b.B)
			}
		}
		return n
	}
	m := enveloped(make([]byte, size))
	most := 0
	for i := range gs {
		for at := 0; at < len(m)-1 && !gs[i].over; {
			n := min(64<<10, len(m)-1-at)
			v.data(uint32(2*i+1), m[at:at+n])
			at += n
			most = max(most, held(), gs[i].engine().UnfinishedBytes())
			v.read()
		}
	}
	if most > 2*size {
		t.Errorf("%d bytes are held for unfinished messages, bound is %d", most, 2*size)
	}
	ended := 0
	for _, g := range gs {
		if slices.Contains(g.lines, "broken: unfinished") {
			ended++
		}
	}
	if ended != streams-2 || held() < size {
		t.Errorf("%d of %d were ended, %d bytes are held", ended, streams, held())
	}
	h.pass(121, func() { v.write(frames(func(f *http2.Framer) { _ = f.WritePing(false, [8]byte{}) })); v.read() })
	if n := held() + gs[streams-1].engine().UnfinishedBytes(); n != 0 {
		t.Errorf("%d bytes are held for ever", n)
	}
}

// Before it is established a stream may bring one small message at a time.
func TestStrangersMessagesAreSmall(t *testing.T) {
	h := build(t, Options{MaxStreams: 100, FirstMessage: 16 << 10})
	v := h.visit()
	v.greet()
	m := enveloped(make([]byte, 16<<10))
	for i := range 100 {
		g := v.enter(uint32(2*i + 1))
		v.data(uint32(2*i+1), m[:len(m)-1])
		if n := g.engine().UnfinishedBytes(); n > (i+1)*(16<<10) {
			t.Fatalf("%d bytes are held for %d strangers", n, i+1)
		}
	}
	g := h.guests[50]
	v.data(101, m[len(m)-1:])
	if len(g.got) != 1 || len(g.got[0]) != 16<<10 {
		t.Error("the first message does not arrive")
	}
	v.data(101, enveloped(make([]byte, 16<<10+1)))
	g.want("broken: too_large")
	g = h.guests[51]
	v.data(103, m[len(m)-1:])
	h.do(g.s.Established)
	v.data(103, enveloped(make([]byte, 100<<10)))
	g.want()
	if len(g.got) != 2 {
		t.Error("an established stream's message does not arrive")
	}
}

// A message that spans reads comes in memory of its own; it is released once, whatever the receiver does.
func TestGatheredMessages(t *testing.T) {
	h := build(t, Options{MaxStreams: 100, FirstMessage: 1 << 20})
	v := h.visit()
	v.greet()
	g := v.enter(1)
	var kept *pool.Buf
	g.receive = func(b []byte, buf *pool.Buf) {
		if buf == nil || &buf.B[0] != &b[0] {
			t.Fatal("not in memory of its own")
		}
		buf.Retain()
		kept = buf
	}
	m := enveloped(bytes.Repeat([]byte("m"), 100_000))
	v.data(1, m[:50_000])
	v.data(1, m[50_000:])
	if kept == nil || len(kept.B) != 100_000 || kept.B[99_999] != 'm' {
		t.Fatal("the message does not arrive")
	}
	kept.Release()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("somebody holds it still")
			}
		}()
		kept.Retain()
	}()
}

// Memory that is no message's is given up with its socket, when another needs some and that holds most. Rules: P-lim-9.
func TestLargestHolderWithoutAMessageLosesItsSocket(t *testing.T) {
	h := build(t, Options{MaxStreams: 100, KeepaliveTime: -1, Unfinished: pool.NewQuota(13 << 10)})
	v, w := h.visit(), h.visit()
	v.greet()
	v.write(append([]byte{0, 64, 0, byte(http2.FrameHeaders), byte(http2.FlagHeadersEndHeaders), 0, 0, 0, 1}, make([]byte, 12_000)...))
	w.greet()
	g := w.enter(1)
	m := enveloped(make([]byte, 6000))
	w.data(1, m[:1000])
	w.data(1, m[1000:])
	if !v.gone() || w.gone() {
		t.Errorf("gone: who holds most %v, who needs some %v", v.gone(), w.gone())
	}
	if len(g.got) != 1 || len(g.got[0]) != 6000 {
		t.Errorf("%d messages came", len(g.got))
	}
	h.want("unfinished", "ended")
	if n := h.group.Unfinished(); n != 0 {
		t.Errorf("%d bytes are held at the end", n)
	}
}

// callSilent connects by gRPC to a peer that says nothing.
func (h *house) callSilent() *visitor {
	h.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = unix.Close(fds[0]); _ = unix.Close(fds[1]) })
	v := &visitor{h: h, fd: fds[1]}
	v.sock = h.loop.Attach(fds[0], h.group.Dial(&Call{Scheme: "http", Authority: "x"}, func(s Stream) Caller {
		g := &guest{h: h, s: s}
		g.finished = func() { s.Finish(0, "") }
		h.guests = append(h.guests, g)
		return asker{g}
	}))
	h.settle()
	return v
}

// A peer that was dialled and is silent is told of in one way, with what to try.
func TestSilentPeerThatWasDialled(t *testing.T) {
	h := build(t, Options{})
	v := h.callSilent()
	for range 100 {
		if v.gone() {
			break
		}
		h.pass(1, nil)
	}
	p := h.guests[0].s.Peer()
	if want := "the peer has sent nothing within 10s: if it wants TLS, dial https://"; p.End != want {
		t.Errorf("the end is %q, want %q", p.End, want)
	}
	h.want("negotiation_timeout", "ended")
}

// At the end nobody who has not said anything is waited for: there is nothing that a reset could overtake.
func TestSilentPeersDoNotHoldUpTheEnd(t *testing.T) {
	h := build(t, Options{MaxStreams: 100})
	silent := []*visitor{h.visit(), h.visitWS(), h.callSilent()}
	speaks := h.visit()
	speaks.greet()
	h.do(func() { h.group.Drain() })
	h.do(func() { h.group.Finish() })
	for i, v := range silent {
		if !v.gone() {
			t.Errorf("number %d holds up the end", i)
		}
	}
	if speaks.gone() {
		t.Error("one who has spoken is not waited for")
	}
}

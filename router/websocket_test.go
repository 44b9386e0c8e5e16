package router

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/ws"
)

// wantEnd checks the Close that the node has sent.
func (a *app) wantEnd(code ws.Code, reason string) {
	a.r.t.Helper()
	a.run()
	if e := a.ws().end; e == nil || e.Code != code || e.Reason != reason {
		a.r.t.Errorf("the end is %+v, want %v %q", e, code, reason)
	}
}

// What a client says that is no WebSocket of binary messages ends its connection with the code that RFC 6455 section
// 7.4.1 has for it, and nobody else's. Rules: P-ws-6, P-ws-8, P-ws-9.
func TestHostileWebSocketsEndWithTheirCode(t *testing.T) {
	frame := func(b0 byte, payload []byte) func(*app) { return func(a *app) { a.frame(b0, payload) } }
	raw := func(b ...byte) func(*app) { return func(a *app) { a.ws().loop.Deliver(a.ws().sock, b) } }
	for _, tc := range []struct {
		name   string
		do     func(*app)
		code   ws.Code
		reason string
	}{
		{"text", frame(0x81, []byte("hello")), ws.UnsupportedData, "text message; send binary ones"},
		{"no mask", raw(0x82, 1, 0), ws.ProtocolError, "frame of a client is not masked"},
		{"reserved bit", frame(0xc2, nil), ws.ProtocolError, "reserved bit set, without an extension"},
		{"reserved opcode", frame(0x83, nil), ws.ProtocolError, "reserved opcode"},
		{"control frame in fragments", frame(0x09, nil), ws.ProtocolError, "control frame in fragments"},
		{"long control frame", raw(0x89, 0xfe, 0, 126), ws.ProtocolError, "control frame of more than 125 bytes"},
		{"continuation of nothing", frame(0x80, nil), ws.ProtocolError, "continuation of no message"},
		{"message within a message", func(a *app) { a.frame(0x02, []byte("x")); a.frame(0x82, []byte("y")) },
			ws.ProtocolError, "new message before the last fragment of another"},
		{"close code that no frame may have", frame(0x88, []byte{3, 238}), ws.ProtocolError, "close code 1006, which no frame may have"},
		{"half a close code", frame(0x88, []byte{3}), ws.ProtocolError, "close code of one byte"},
		{"too long", raw(0x82, 0xff, 0, 0, 0, 0, 4, 0, 0, 1, 0, 0, 0, 0), ws.TooBig, "message of more than 67108864 bytes"},
		{"empty fragments without end", func(a *app) {
			a.frame(0x02, nil)
			for range 2000 {
				a.frame(0x00, nil)
			}
		}, ws.PolicyViolation, "fragment flood"},
		{"no message of SLIM", frame(0x82, []byte{0xff, 0xff, 0xff}), ws.NormalClosure, ""},
		{"close", frame(0x88, []byte{3, 233}), ws.GoingAway, ""},
		{"close without a code", frame(0x88, nil), ws.NoStatus, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, 1, Options{})
			a, b := r.join(webSocketKind, 0), r.join(webSocketKind, 0)
			b.subscribe(bob)
			tc.do(a)
			a.wantEnd(tc.code, tc.reason)
			if !b.publish(alice, 1, 1, 10) || r.stats().Connections != 1 {
				t.Error("the other is gone, too")
			}
			f := a.ws()
			for i := 0; !f.loop.Gone(f.sock); i++ { // it reads the end, and does not answer
				if i > 10 {
					t.Fatal("the socket stays")
				}
				r.seconds(1)
			}
			if s := r.stats(); s.Sockets != 1 || s.Panics != 0 || s.Unfinished != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A node that stops says so, one that refuses says why. Rules: P-ws-7.
func TestEndsOfWebSocketsSayWhy(t *testing.T) {
	r := newRig(t, 1, Options{})
	a := r.join(webSocketKind, 0)
	r.finish()
	a.wantEnd(ws.GoingAway, "")

	r = newRig(t, 1, Options{MaxRemotes: 1})
	r.dialAs(0, wire.LinkRemote, "n1")
	b := &app{far: dialWebSocket(r, 0), r: r}
	b.negotiate(wire.LinkRemote)
	b.wantEnd(ws.PolicyViolation, "too many links of kind remote at this node: the limit is 1 (--max-remotes)")
}

// Pings are answered between messages, and while one goes out in fragments.
func TestWebSocketPingsAreAnswered(t *testing.T) {
	r := newRig(t, 1, Options{ConnBuffer: 8 << 20})
	a, b := r.join(webSocketKind, 0), r.join(webSocketKind, 0)
	b.subscribe(bob)
	f := b.ws()
	f.frame(0x89, []byte("one"))
	b.run()
	b.pause(true)
	if !a.publish(bob, 1, 1, 3<<20) {
		t.Fatal("held")
	}
	f.frame(0x89, []byte("two")) // the message is half out
	a.run()
	b.pause(false)
	b.wantNumbers(1)
	if got := strings.Join(f.pongs, " "); got != "one two" {
		t.Errorf("answers to pings: %q", got)
	}
}

// tooLarge is the size of a message that gRPC is far from carrying.
func tooLarge() int {
	if long {
		return 40 << 20
	}
	return 10 << 20
}

// A message of more than 4 MiB reaches receivers by WebSocket; for one by gRPC it dies, counted, and nothing else
// happens to that. Rules: P-tr-5, P-ws-8.
func TestMessagesTooLargeForGRPC(t *testing.T) {
	t.Parallel() // beside those that wait
	for _, where := range placements {
		t.Run(where.name, func(t *testing.T) {
			r := newRig(t, where.loops, Options{MaxUnfinished: 64 << 20})
			a, b, c := r.join(webSocketKind, where.source), r.join(webSocketKind, where.dest), r.join(0, where.dest)
			for i, x := range []*app{b, c} {
				x.subscribe(group.WithID(uint64(i), 1))
			}
			for i, n := range []int{5 << 20, 100, tooLarge(), 100} {
				if !a.publish(group, 256, i, n) {
					t.Fatal("held")
				}
				a.run()
				b.run()
				c.run()
			}
			b.wantNumbers(0)
			var got []int
			for _, m := range c.got {
				got = append(got, numberOf(m))
			}
			if fmt.Sprint(got) != "[1 3]" {
				t.Errorf("gRPC gets %v", got)
			}
			if s := r.stats(); s.Dropped[ReasonTooLarge] != 2 || len(s.Dropped) != 1 || s.Connections != 3 {
				t.Errorf("dropped %v, %d connections", s.Dropped, s.Connections)
			}
		})
	}
}

// A sender that is held cannot answer a ping, nor complete what it had begun: neither is held against it. When it is
// read again it has as long as anybody.
func TestHeldWebSocketIsNotTakenForDead(t *testing.T) {
	r := newRig(t, 1, Options{SlowConsumer: Block, KeepaliveTime: 2 * time.Second, KeepaliveTimeout: 2 * time.Second})
	r.window = 64 << 10
	a, b := r.join(webSocketKind, 0), r.join(0, 0)
	b.subscribe(bob)
	g := b.far.(grpcFar).peer
	g.hoard = true // it reads, and returns no window
	count := a.flood(bob, 0, 20_000)
	f := a.ws()
	if !f.sock.Paused() {
		t.Fatal("not held")
	}
	for range 300 {
		r.seconds(1)
		if g.exchange(); f.loop.Gone(f.sock) {
			t.Fatal("closed", r.stats())
		}
	}
	for range 200 {
		g.relent(1 << 20)
	}
	if s := r.stats(); s.Delivered != uint64(count) || len(s.Dropped) != 0 {
		t.Errorf("%d of %d arrived, dropped %v", s.Delivered, count, s.Dropped)
	}
	r.seconds(1)
	if f.sock.Paused() || f.loop.Gone(f.sock) {
		t.Errorf("paused %v, gone %v", f.sock.Paused(), f.loop.Gone(f.sock))
	}
	f.paused = true
	r.seconds(10)
	if !f.loop.Gone(f.sock) {
		t.Error("a peer that answers no ping stays")
	}
}

// A frame that a peer had begun when it was held counts from when it is read again.
func TestHeldWebSocketCompletesItsFrame(t *testing.T) {
	r := newRig(t, 1, Options{SlowConsumer: Block, KeepaliveTime: -1})
	a, b := r.join(webSocketKind, 0), r.join(webSocketKind, 0)
	b.subscribe(bob)
	b.pause(true)
	f := a.ws()
	for i := 0; !f.sock.Paused(); i++ {
		h := a.signed(header(alice, bob, 1, "x"))
		m := clientFrame(0x82, wire.AppendPublish(nil, h, testSession, content(i, 20_000)))
		f.loop.Deliver(f.sock, append(m, 0x82)) // and the first byte of the next
		if !f.sock.Paused() {
			f.loop.Deliver(f.sock, []byte{0x80, 0, 0, 0, 0})
		}
		r.settle()
	}
	r.seconds(100)
	b.pause(false)
	for range 100 {
		b.run()
	}
	r.seconds(1)
	if f.sock.Paused() || f.loop.Gone(f.sock) {
		t.Fatalf("paused %v, gone %v", f.sock.Paused(), f.loop.Gone(f.sock))
	}
	f.loop.Deliver(f.sock, []byte{0x80, 0, 0, 0, 0})
	r.seconds(100)
	if f.loop.Gone(f.sock) || r.stats().Refused[ReasonUnfinished] != 0 {
		t.Error("closed for what it has completed")
	}
}

// A receiver behind a unix socket that reads steadily at twice the floor is not stalled. What lies in the kernel first
// came in short writes, whose memory is many times their bytes; a buffer that is half read is not freed at all.
func TestSteadyReaderBehindAUnixSocketIsNotStalled(t *testing.T) {
	for _, rate := range []int{DefaultStallRate, 32 << 10} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			r := newRig(t, 1, Options{StallRate: rate})
			a, b := r.join(0, 0), r.join(webSocketKind, 0)
			b.subscribe(bob)
			b.pause(true)
			f, i := b.ws(), 0
			for ; !f.sock.Blocked(); i++ {
				if !a.publish(bob, 1, i, 8) {
					t.Fatal("held")
				}
			}
			i = a.flood(bob, i, 20_000)
			if b.conn().q.charged == 0 {
				t.Fatal("nobody waits")
			}
			p := make([]byte, int(2*float64(rate)*stallLook.Seconds()))
			for look := range 400 {
				if n, err := unix.Read(f.fd, p); err != nil || n < len(p) {
					t.Fatalf("look %d: read %d, %v", look, n, err)
				}
				r.pass(stallLook)
				if b.conn().q.stalled {
					t.Fatalf("stalled at look %d", look)
				}
				for a.publish(bob, 1, i, 20_000) {
					i++
				}
			}
		})
	}
}

// The token of a query is a secret.
func TestTokenStaysOutOfTheLog(t *testing.T) {
	j := newJournal(slog.LevelDebug)
	for _, path := range []string{"/?token=sesame", "/else?x=1&token=sesame"} {
		r := newRig(t, 1, Options{Log: j.log()})
		f := r.connectWS(0, path)
		f.exchange()
		f.leave()
	}
	if all := j.all(""); len(all) == 0 || strings.Contains(strings.Join(all, "\n"), "sesame") {
		t.Errorf("logged:\n%s", strings.Join(all, "\n"))
	}
}

// What is refused before it is a connection gets an answer of HTTP that says why.
func TestRefusedHandshakesAreAnswered(t *testing.T) {
	upgrade := func(change func(*http.Header), method, path string) string {
		h := http.Header{"Host": {"x"}, "Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"},
			"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}}
		if change != nil {
			change(&h)
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", method, path)
		_ = h.Write(&b)
		return b.String() + "\r\n"
	}
	for _, tc := range []struct {
		name, request, want string
		opt                 Options
	}{
		{"another path", upgrade(nil, "GET", "/else"), "404 Not Found", Options{}},
		{"a page", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request", Options{}},
		{"POST", upgrade(nil, "POST", "/"), "405 Method Not Allowed", Options{}},
		{"another version", upgrade(func(h *http.Header) { h.Set("Sec-WebSocket-Version", "8") }, "GET", "/"), "426 Upgrade Required", Options{}},
		{"a long field", upgrade(func(h *http.Header) { h.Set("X", strings.Repeat("x", 17<<10)) }, "GET", "/"), "431 ", Options{}},
	} {
		r := newRig(t, 1, tc.opt)
		f := r.connectWS(0, "/")
		f.loop.Deliver(f.sock, []byte(tc.request))
		r.settle()
		b := make([]byte, 1<<10)
		n, err := unix.Read(f.fd, b)
		if err != nil || !strings.HasPrefix(string(b[:max(n, 0)]), "HTTP/1.1 "+tc.want) {
			t.Errorf("%s: %q, %v", tc.name, b[:max(n, 0)], err)
		}
		if n, err := unix.Read(f.fd, b); n != 0 || err != nil {
			t.Errorf("%s: no end follows: %d, %v", tc.name, n, err)
		}
		r.seconds(5)
		if !f.loop.Gone(f.sock) || r.stats().Panics != 0 {
			t.Errorf("%s: the socket stays", tc.name)
		}
	}
}

// What a held sender has sent, and the node's kernel has, goes its way when the node stops: it is read then. Rules:
// P-end-3.
func TestHeldWebSocketIsReadWhenTheNodeStops(t *testing.T) {
	r := newRig(t, 1, Options{SlowConsumer: Block})
	a, b := r.join(webSocketKind, 0), r.join(0, 0)
	b.subscribe(bob)
	b.pause(true)
	count := a.flood(bob, 0, 20_000)
	r.n.loops[0].post(r.n.loops[0].drain)
	r.settle()
	for range 100 { // more than would hold it before
		if !a.publish(bob, 1, count, 20_000) {
			t.Fatal("it is still held")
		}
		count++
		r.settle()
	}
	r.finish()
	b.pause(false)
	next := 0
	for range 300 {
		next = b.wantNumbers(next)
	}
	if next != count || !b.ended() {
		t.Errorf("%d of %d arrived, ended %v", next, count, b.ended())
	}
}

// TestAllocsOfTheJourney, by WebSocket: messages that lie whole in a read, and messages in fragments that are gathered.
func TestAllocsOfTheJourneyByWebSocket(t *testing.T) {
	for _, where := range placements {
		for _, size := range []int{100, 16 << 10, 200_000} {
			t.Run(fmt.Sprint(where.name, "/", size), func(t *testing.T) {
				allocsByWebSocket(t, webSocketKind, where.loops, where.source, where.dest, size)
			})
		}
	}
}

// allocsByWebSocket fails if messages of so many bytes cost memory on their way between two applications of that kind.
func allocsByWebSocket(t *testing.T, kind, loops, source, dest, size int) {
	r := newRig(t, loops, Options{ConnBuffer: 1 << 30})
	r.slow(func() time.Duration { return 0 }) // no slices
	a, b := r.join(kind, source), r.join(kind, dest)
	b.subscribe(bob)
	null, err := unix.Open("/dev/null", unix.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.files = append(r.files, null)
	for _, x := range []*app{a, b} {
		x.pause(true)
		x.ws().loop.Redirect(x.ws().sock, null)
	}
	var read []byte
	for i := range 8 {
		m := publication(a.signed(header(alice, bob, 1, "x")), i, size)
		if a.ws().out != nil {
			read, _ = a.ws().cli.Message(read, len(m))
			read = append(read, m...)
		} else {
			read = append(read, clientFrame(0x82, m)...)
		}
	}
	f, p := a.ws(), make([]byte, 64<<10)
	step := func() {
		for rest := read; len(rest) > 0; {
			n := copy(p, rest) // a server unmasks where it reads
			rest = rest[n:]
			f.loop.Deliver(f.sock, p[:n])
			r.settle()
		}
	}
	warm, runs := 100, 50
	if !pooled { // only what arrives is judged
		warm, runs = 5, 5
	}
	for range warm {
		step()
	}
	before := r.stats()
	if n := testing.AllocsPerRun(runs, step); n != 0 && pooled {
		t.Errorf("%v allocations for 8 messages", n)
	}
	after := r.stats()
	if got := after.Delivered - before.Delivered; got != uint64(runs+1)*8 || len(after.Dropped) != 0 {
		t.Errorf("delivered %d, dropped %v", got, after.Dropped)
	}
}

package router

import (
	"crypto/rand"
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/router/transport"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
	"github.com/seed31b3bfd0/slimgo/wire/link"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// Doubles of the transports that are to come: a WebSocket, which has no windows and holds its peer by not reading, and
// rings between stations in one process. Queues, pressure and stalls must do with them what they do with gRPC.

// app is an application at the far end of any transport.
type app struct {
	far
	r      *rig
	mac    *mac.MAC
	linkID string
	got    [][]byte
}

// far is the application's end of a transport.
type far interface {
	// send offers a message; false: the transport holds its sender.
	send(msg []byte) bool
	// exchange moves what can move, and returns the messages that came.
	exchange() [][]byte
	// pause has the application read nothing; it keeps windows shut or buffers full.
	pause(bool)
	// leave ends everything abruptly.
	leave()
	// conn is what the node has of it.
	conn() *Conn
	// ended reports whether the node has ended its side in order.
	ended() bool
}

// kinds are the transports.
var kinds = []struct {
	name string
	dial func(r *rig, loop int) far
}{
	{"gRPC", dialGRPC},
	{"WebSocket", dialWebSocket},
	{"rings", dialRings},
}

// join connects an application and negotiates an edge link.
func (r *rig) join(kind int, loop int) *app {
	r.t.Helper()
	a := &app{far: kinds[kind].dial(r, loop), r: r}
	m := link.New(&link.Config{Role: link.Dialer, LinkID: "link", Kind: wire.LinkEdge, Version: "3.4.6", NodeID: "n", Strict: true, Rand: rand.Reader})
	req, err := m.Start(nil)
	if err != nil || !a.send(req) {
		r.t.Fatal("the first message is not taken", err)
	}
	a.run()
	if len(a.got) != 1 {
		r.t.Fatalf("%d replies to the negotiation", len(a.got))
	}
	if _, err := m.Step(nil, a.got[0]); err != nil {
		r.t.Fatal(err)
	}
	a.got = nil
	a.linkID, a.mac = m.Result().LinkID, mac.New(m.Result().Key, m.Result().LinkID)
	return a
}

// run settles the rig and takes what has come.
func (a *app) run() {
	for {
		a.r.settle()
		ms := a.exchange()
		if a.got = append(a.got, ms...); len(ms) == 0 {
			return
		}
	}
}

func (a *app) subscribe(n wire.NameText) {
	a.r.t.Helper()
	if !a.send(wire.AppendSubscribe(nil, a.signed(header(n, n, 1, "")), 1)) {
		a.r.t.Fatal("held")
	}
	if a.run(); len(a.got) != 1 {
		a.r.t.Fatalf("%d acknowledgements", len(a.got))
	}
	a.got = nil
}

func (a *app) signed(h *wire.PublishHeader) *wire.PublishHeader {
	p := &peer{r: a.r, mac: a.mac, linkID: a.linkID}
	p.sign(h)
	return h
}

// publish offers message i of n bytes.
func (a *app) publish(to wire.NameText, fanout uint32, i, n int) bool {
	return a.send(wire.AppendPublish(nil, a.signed(header(alice, to, fanout, "x")), testSession, content(i, n)))
}

// grpcFar is a peer of the rig.
type grpcFar struct{ *peer }

func dialGRPC(r *rig, loop int) far {
	p := r.connect(loop)
	p.open()
	return grpcFar{p}
}

func (f grpcFar) send(msg []byte) bool {
	if f.s.Window() < len(msg)+envelope {
		return false
	}
	f.peer.stage(msg)
	out := f.out
	f.out = nil
	f.cli.Cut()
	f.feed(out)
	return true
}

func (f grpcFar) exchange() [][]byte {
	if !f.shut() {
		f.peer.exchange()
	}
	got := f.got
	f.got = nil
	return got
}
func (f grpcFar) pause(on bool) { f.paused = on }
func (f grpcFar) leave()        { f.abandon() }
func (f grpcFar) conn() *Conn   { return f.c }
func (f grpcFar) ended() bool   { return f.end != nil && f.end.Kind == h2.KindTrailers }

// webSocket is a double of that transport: each message has its length before it. It has no windows; its peer is held by
// not reading the socket while more than pauseAbove bytes of its messages wait.
type webSocket struct {
	loop     *loop
	net      *netloop.Socket
	receiver transport.Receiver
	peer     transport.Peer
	part     []byte // of a message that is not complete
	charged  int
	given    uint64
	over     bool // our side has ended
	closed   bool
}

const (
	pauseAbove   = 1 << 20
	closeMessage = 1<<32 - 1 // instead of a length
)

func (s *webSocket) Room() int {
	if s.over || !s.net.Takes() {
		return 0
	}
	return 1 << 30
}

func (s *webSocket) Size(m *transport.Message) int { return 4 + m.Len() }

func (s *webSocket) Put(m *transport.Message) bool {
	n := m.Len()
	if s.Room() < 4+n {
		return false
	}
	x := s.net.Outbox()
	if !x.Fits(4+n, 0) {
		if s.net.Flush(); !s.net.Takes() {
			return false
		}
		x = s.net.Outbox()
	}
	x.B = binary.BigEndian.AppendUint32(x.B, uint32(n))
	x.B = m.Append(x.B)
	s.given += uint64(4 + n)
	return true
}

func (s *webSocket) PutPart(*transport.Message, int, bool) int { return 0 } // Put takes all that Room allows

func (s *webSocket) Charge(n int) {
	if s.closed {
		return
	}
	switch s.charged += n; {
	case s.charged > pauseAbove:
		if !s.net.Pause() {
			s.net.Close() // no descriptor for that: nothing else holds it
		}
	case s.charged <= pauseAbove/2:
		s.net.Resume()
	}
}

// Advance does nothing: a socket is read or not.
func (s *webSocket) Advance(int) {}

func (s *webSocket) Established() {}

func (s *webSocket) Finish(int, string) {
	if s.over || s.closed {
		return
	}
	s.over = true
	x := s.net.Outbox()
	x.B = binary.BigEndian.AppendUint32(x.B, closeMessage)
}

func (s *webSocket) Silence()              { s.net.Silence() }
func (s *webSocket) Abort()                { s.net.Close() }
func (s *webSocket) Peer() *transport.Peer { return &s.peer }

func (s *webSocket) Progress() transport.Progress {
	pending := s.net.Unacknowledged() + s.net.Waiting() + s.net.Staged()
	p := transport.Progress{Given: s.given, Taken: s.given - min(s.given, uint64(pending)), Pending: pending}
	if p.SocketTaken = p.Taken; pending > 0 {
		p.Limit = transport.LimitSocket
	}
	return p
}

func (s *webSocket) Opened(k *netloop.Socket) {
	s.net = k
	s.receiver = s.loop.Accept(s)
}

func (s *webSocket) Read(p []byte) {
	s.part = append(s.part, p...)
	b := s.part
	for len(b) >= 4 && !s.closed {
		n := int(binary.BigEndian.Uint32(b))
		if len(b) < 4+n {
			break
		}
		s.receiver.Receive(b[4:4+n], nil)
		b = b[4+n:]
	}
	s.part = append([]byte(nil), b...)
}

func (s *webSocket) Flushing(bool) {}
func (s *webSocket) Flushed() {
	if s.over && !s.net.OutputEnded() {
		s.net.EndOutput()
	}
}
func (s *webSocket) Writable()    { s.receiver.Writable() }
func (s *webSocket) Muted()       { s.receiver.Muted() }
func (s *webSocket) Ended() bool  { s.receiver.PeerFinished(); return !s.over || s.net.Blocked() }
func (s *webSocket) Closed(error) { s.closed, s.over = true, true; s.receiver.Closed() }

// webSocketFar is the application's end.
type webSocketFar struct {
	r      *rig
	loop   *netloop.Manual
	s      *webSocket
	fd     int
	in     []byte
	paused bool
	end    bool
}

func dialWebSocket(r *rig, loop int) far {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = unix.Close(fds[0]); _ = unix.Close(fds[1]) })
	f := &webSocketFar{r: r, loop: r.loops[loop], s: &webSocket{loop: r.n.loops[loop]}, fd: fds[1]}
	f.loop.Attach(fds[0], f.s)
	r.t.Cleanup(f.leave)
	return f
}

func (f *webSocketFar) send(msg []byte) bool {
	if f.s.net.Paused() || f.s.closed {
		return false
	}
	f.loop.Deliver(f.s.net, append(binary.BigEndian.AppendUint32(nil, uint32(len(msg))), msg...))
	return true
}

func (f *webSocketFar) exchange() (got [][]byte) {
	b := make([]byte, 64<<10)
	for !f.paused {
		n, err := unix.Read(f.fd, b)
		if n <= 0 || err != nil {
			break
		}
		f.in = append(f.in, b[:n]...)
		f.loop.Ready()
	}
	for len(f.in) >= 4 {
		n := int(binary.BigEndian.Uint32(f.in))
		if n == closeMessage {
			f.end = true
			break
		}
		if len(f.in) < 4+n {
			break
		}
		got = append(got, f.in[4:4+n:4+n])
		f.in = f.in[4+n:]
	}
	return got
}

func (f *webSocketFar) pause(on bool) { f.paused = on }
func (f *webSocketFar) leave()        { f.loop.Hangup(f.s.net, errors.New("reset")); f.r.settle() }
func (f *webSocketFar) conn() *Conn   { return f.s.receiver.(*Conn) }
func (f *webSocketFar) ended() bool   { return f.end }

// ringEvent is what the two ends of an in-process stream tell each other. One of:
//
//	buf      a message; one reference is handed over
//	credit   bytes that the other end may send again
//	end      nothing more comes; of the application: it has gone
type ringEvent struct {
	s      *ringStream
	buf    *pool.Buf
	credit int
	end    bool
}

// ringWindow is what either end may send before the other has taken it, in bytes.
const ringWindow = 1 << 20

// ringHub is the node's side of in-process streams on one loop.
type ringHub struct {
	loop *loop
	port *pool.Port[ringEvent]
}

// Turn implements transport.Rings.
func (h *ringHub) Turn() (more bool) {
	var es [64]ringEvent
	n := h.port.Next(es[:])
	for i := range es[:n] {
		es[i].s.take(&es[i])
	}
	return n > 0
}

// Flush implements transport.Rings.
func (h *ringHub) Flush() { h.port.Flush() }

// ringStream is a double of the in-process transport, as the node has it.
type ringStream struct {
	hub      *ringHub
	far      *pool.Port[ringEvent]
	receiver transport.Receiver
	peer     transport.Peer
	window   int    // what may be sent
	given    uint64 // sent since the start
	taken    uint64 // of that, what was returned
	owed     int    // received and not returned
	charged  int    // of that, withheld
	over     bool
	closed   bool
}

func (s *ringStream) Room() int {
	if s.over {
		return 0
	}
	return s.window
}

func (s *ringStream) Size(m *transport.Message) int { return m.Len() }

// Put may overdraw the window once: a message larger than it must leave, too.
func (s *ringStream) Put(m *transport.Message) bool {
	n := m.Len()
	if s.Room() < min(n, ringWindow) {
		return false
	}
	b := s.hub.loop.net.Stock().Get(n)
	b.B = m.Append(b.B)
	s.window -= n
	s.given += uint64(n)
	s.hub.port.Push(s.far, ringEvent{s: s, buf: b})
	return true
}

func (s *ringStream) PutPart(*transport.Message, int, bool) int { return 0 }

func (s *ringStream) Charge(n int) {
	if s.closed {
		return
	}
	s.charged += n
	s.repay()
}

// repay returns what is owed and not withheld, a quarter of the window at once.
func (s *ringStream) repay() {
	if n := s.owed - s.charged; n >= ringWindow/4 || n > 0 && s.charged == 0 {
		s.owed -= n
		s.hub.port.Push(s.far, ringEvent{s: s, credit: n})
	}
}

func (s *ringStream) Advance(n int) {
	if n -= ringWindow - s.owed; n > 0 && !s.closed {
		s.owed -= n
		s.hub.port.Push(s.far, ringEvent{s: s, credit: n})
	}
}

func (s *ringStream) Established() {}

func (s *ringStream) Finish(int, string) {
	if !s.over && !s.closed {
		s.over = true
		s.hub.port.Push(s.far, ringEvent{s: s, end: true})
	}
}

func (s *ringStream) Silence() {
	s.over = true
	s.receiver.Muted()
	s.Abort()
}

// Abort implements transport.Stream: the application's end is told, and it is over.
func (s *ringStream) Abort() {
	if !s.closed {
		s.hub.port.Push(s.far, ringEvent{s: s, end: true})
		s.closed, s.over = true, true
		s.hub.loop.post(s.receiver.Closed)
	}
}

func (s *ringStream) Peer() *transport.Peer { return &s.peer }

func (s *ringStream) Progress() transport.Progress {
	p := transport.Progress{Given: s.given, Taken: s.taken, SocketTaken: s.taken, Pending: int(s.given - s.taken), Lump: ringWindow / 4}
	if s.window < ringWindow/4 {
		p.Limit = transport.LimitWindow
	}
	return p
}

// take is an event of the application.
func (s *ringStream) take(e *ringEvent) {
	switch {
	case s.closed:
		if e.buf != nil {
			e.buf.Release()
		}
	case e.buf != nil:
		s.owed += len(e.buf.B)
		s.receiver.Receive(e.buf.B, e.buf)
		e.buf.Release()
		s.repay()
	case e.credit > 0:
		s.window += e.credit
		s.taken += uint64(e.credit)
		s.receiver.Writable()
	case e.end:
		s.closed, s.over = true, true
		s.receiver.Closed()
	}
}

// ringFar is the application: a station of its own.
type ringFar struct {
	r      *rig
	s      *ringStream
	port   *pool.Port[ringEvent]
	woken  bool
	window int
	owed   int
	paused bool
	end    bool
}

func dialRings(r *rig, loop int) far {
	x := pool.NewExchange[ringEvent](64)
	l := r.n.loops[loop]
	hub := &ringHub{loop: l, port: x.Join(l.net.Station())}
	l.group.Serve(hub)
	f := &ringFar{r: r, window: ringWindow}
	f.port = x.Join(pool.NewStation(func() { f.woken = true }))
	f.s = &ringStream{hub: hub, far: f.port, window: ringWindow}
	f.s.receiver = l.Accept(f.s)
	r.t.Cleanup(f.leave)
	return f
}

func (f *ringFar) send(msg []byte) bool {
	if f.window < len(msg) {
		return false
	}
	f.window -= len(msg)
	b := pool.Get(len(msg))
	b.B = append(b.B, msg...)
	f.port.Push(f.s.hub.port, ringEvent{s: f.s, buf: b})
	f.port.Flush()
	f.r.settle()
	return true
}

func (f *ringFar) exchange() (got [][]byte) {
	if f.paused || !f.woken {
		return nil
	}
	f.woken = false
	f.port.Station().Begin()
	var es [16]ringEvent
	for n := f.port.Next(es[:]); n > 0; n = f.port.Next(es[:]) {
		for _, e := range es[:n] {
			switch {
			case e.buf != nil:
				got = append(got, append([]byte(nil), e.buf.B...))
				f.owed += len(e.buf.B)
				e.buf.Release()
			case e.end:
				f.end = true
			default:
				f.window += e.credit
			}
		}
	}
	if f.owed > 0 {
		f.port.Push(f.s.hub.port, ringEvent{s: f.s, credit: f.owed})
		f.owed = 0
	}
	f.port.Flush()
	return got
}

func (f *ringFar) pause(on bool) { f.paused = on }
func (f *ringFar) leave() {
	f.port.Push(f.s.hub.port, ringEvent{s: f.s, end: true})
	f.port.Flush()
	f.r.settle()
	f.paused, f.woken = false, true // what it has not taken is released
	f.exchange()
}
func (f *ringFar) conn() *Conn { return f.s.receiver.(*Conn) }
func (f *ringFar) ended() bool { return f.end }

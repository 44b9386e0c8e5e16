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
	"github.com/seed31b3bfd0/slimgo/wire/ws"
)

// Applications behind any transport: gRPC, a WebSocket, which has no windows and holds its peer by not reading, and a
// double of one that is to come, rings between stations in one process. Queues, pressure and stalls must do with all of
// them the same.

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
	{"WebSocket that the node has opened", awaitWebSocket},
}

// Places of WebSocket in kinds.
const (
	webSocketKind        = 1
	dialledWebSocketKind = 3
)

// ws is the application's end of a WebSocket.
func (a *app) ws() *webSocketFar { return a.far.(*webSocketFar) }

// frame has the node read a frame of a client: its first byte, and a payload.
func (a *app) frame(b0 byte, payload []byte) { a.ws().frame(b0, payload) }

// frame is app.frame.
func (f *webSocketFar) frame(b0 byte, payload []byte) {
	if !f.loop.Gone(f.sock) {
		f.loop.Deliver(f.sock, clientFrame(b0, payload))
		f.r.settle()
	}
}

// clientFrame is a frame masked with zeros.
func clientFrame(b0 byte, payload []byte) []byte {
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

// join connects an application and negotiates an edge link.
func (r *rig) join(kind int, loop int) *app {
	r.t.Helper()
	a := &app{far: kinds[kind].dial(r, loop), r: r}
	a.negotiate(wire.LinkEdge)
	return a
}

func (a *app) negotiate(kind wire.LinkKind) {
	r := a.r
	r.t.Helper()
	if f, ok := a.far.(*webSocketFar); ok && f.out != nil {
		a.accept()
		return
	}
	m := link.New(&link.Config{Role: link.Dialer, LinkID: "link", Kind: kind, Version: "3.4.6", NodeID: "n", Strict: true, Rand: rand.Reader})
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
	return a.send(publication(a.signed(header(alice, to, fanout, "x")), i, n))
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
	f.cli.Cut()
	f.feed(f.out)
	f.out = f.out[:0]
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

// webSocketFar is the application's end of a WebSocket: the engine of package ws in the other role than the node's.
type webSocketFar struct {
	r       *rig
	loop    *netloop.Manual
	sock    *netloop.Socket // the node's end
	c       *Conn           // in the node
	fd      int             // the application's end
	cli     ws.Conn
	got     [][]byte
	pongs   []string
	refused error // the handshake was
	paused  bool
	end     *ws.End
	out     *outgoing // the node has opened it; nil: it was accepted
}

func dialWebSocket(r *rig, loop int) far {
	r.t.Helper()
	f := r.connectWS(loop, "/")
	f.exchange()
	if !f.cli.Open() {
		r.t.Fatal("the handshake is refused")
	}
	return f
}

// connectWS opens a socket and asks for a WebSocket.
func (r *rig) connectWS(loop int, path string) *webSocketFar {
	r.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = unix.Close(fds[0]); _ = unix.Close(fds[1]) })
	f := &webSocketFar{r: r, loop: r.loops[loop], fd: fds[1]}
	f.sock = f.loop.Attach(fds[0], r.n.loops[loop].group.AcceptWS("/"))
	f.cli.Init(ws.Client, &ws.Settings{Seed: [32]byte{1}})
	if err := f.cli.Upgrade(&ws.Upgrade{Host: "test", Path: path}); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(f.leave)
	return f
}

// flush has the node read b after what the engine has to say.
func (f *webSocketFar) flush(b []byte) {
	out := b
	if c := f.cli.Control(); len(c) > 0 {
		out = append(append(make([]byte, 0, len(c)+len(b)), c...), b...)
		f.cli.ControlDone()
	}
	if len(out) > 0 && !f.loop.Gone(f.sock) && !f.sock.Paused() {
		f.loop.Deliver(f.sock, out)
		f.r.settle()
	}
}

func (f *webSocketFar) send(msg []byte) bool {
	if f.sock.Paused() || f.loop.Gone(f.sock) {
		return false
	}
	b, ok := f.cli.Message(make([]byte, 0, len(msg)+64), len(msg))
	if !ok {
		return false
	}
	at := len(b)
	b = append(b, msg...)
	f.cli.Mask(b[at:])
	f.flush(b)
	return true
}

func (f *webSocketFar) exchange() (got [][]byte) {
	f.flush(nil)
	b := f.r.buf
	for !f.paused {
		n, err := unix.Read(f.fd, b)
		if n <= 0 || err != nil {
			break
		}
		if err := f.cli.Feed(b[:n], f); err != nil {
			if f.cli.Open() || f.c != nil {
				f.r.t.Fatalf("the node broke the WebSocket: %v", err)
			}
			f.refused = err
		}
		f.loop.Ready()
	}
	f.flush(nil)
	got, f.got = f.got, nil
	return got
}

func (f *webSocketFar) Request(*ws.Request) {
	_, _ = f.cli.Accept()
	f.c = f.out.conn.Load()
}
func (f *webSocketFar) Response(*ws.Response) {
	if setup := f.r.n.loops[f.loop.Index()].setup; len(setup) > 0 {
		f.c = setup[len(setup)-1]
	}
}
func (f *webSocketFar) Message(_ ws.Kind, m []byte, _ bool) {
	f.got = append(f.got, append([]byte(nil), m...))
}
func (f *webSocketFar) Grow(have []byte, n int) []byte { return append(make([]byte, 0, n), have...) }
func (f *webSocketFar) Pong(p []byte)                  { f.pongs = append(f.pongs, string(p)) }
func (f *webSocketFar) Ended(e *ws.End)                { f.end = &ws.End{Code: e.Code, Reason: e.Reason} }

func (f *webSocketFar) pause(on bool) { f.paused = on }
func (f *webSocketFar) leave()        { f.loop.Hangup(f.sock, errors.New("reset")); f.r.settle() }
func (f *webSocketFar) conn() *Conn   { return f.c }
func (f *webSocketFar) ended() bool   { return f.end != nil }

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

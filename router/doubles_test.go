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

// Applications behind any transport: gRPC, a WebSocket, which has no windows and holds its peer by not reading, and rings,
// of an application in the process of the node. Queues, pressure and stalls must do with all of them the same.

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

// join connects an application and negotiates an edge link, where there is anything to negotiate.
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
	if _, ok := a.far.(*ringFar); ok {
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
	fds := r.pair()
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

// ringWindow is what either end may send before the other has taken it, in bytes.
const ringWindow = 1 << 20

// ringFar is the application: a station of its own, in the process.
type ringFar struct {
	r      *rig
	c      *Conn
	end    *pool.Duplex
	paused bool
	over   bool // the node has ended its side
	gone   bool
}

func dialRings(r *rig, loop int) far { return r.attach(loop) }

// attach connects an application by rings, as Node.Attach does.
func (r *rig) attach(loop int) *ringFar {
	r.t.Helper()
	l := r.n.loops[loop]
	f := &ringFar{r: r}
	err := l.group.Attach(f.pipes(), "app", func(s transport.Stream) (transport.Receiver, error) {
		x, err := l.admitLocal(s)
		if err == nil {
			f.c = x.(*Conn)
		}
		return x, err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(f.leave)
	r.settle()
	return f
}

// pipes makes the pipes and returns the node's end.
func (f *ringFar) pipes() *pool.Duplex {
	f.end = &pool.Duplex{In: pool.NewPipe(1024, ringWindow), Out: pool.NewPipe(1024, ringWindow)}
	f.end.OnWake(func() {}, func() {}) // it looks whenever the test does
	return f.end.Other()
}

func (f *ringFar) send(msg []byte) bool {
	if !f.push(msg) {
		return false
	}
	f.r.settle()
	return true
}

// push is send without what follows from it.
func (f *ringFar) push(msg []byte) bool {
	out := f.end.Out
	if f.gone || !out.Enter() || out.Room() == 0 {
		out.Leave()
		return false
	}
	b := pool.Get(len(msg))
	b.B = append(b.B, msg...)
	out.Put(b)
	out.Leave()
	out.Signal()
	return true
}

// discard takes what has come and returns how many messages it was.
func (f *ringFar) discard() (n int) {
	var bs [16]*pool.Buf
	for k := f.end.In.Take(bs[:], 64<<10); k > 0; k = f.end.In.Take(bs[:], 64<<10) {
		for _, b := range bs[:k] {
			f.end.In.Return(len(b.B))
			b.Release()
		}
		n += k
	}
	f.end.In.Rest()
	return n
}

func (f *ringFar) exchange() (got [][]byte) {
	var bs [16]*pool.Buf
	in := f.end.In
	for !f.paused {
		n := in.Take(bs[:], 64<<10)
		size := 0
		for _, b := range bs[:n] {
			got = append(got, append([]byte(nil), b.B...))
			size += len(b.B)
			b.Release()
		}
		in.Return(size)
		f.over = f.over || in.Drained()
		if n == 0 && (f.over || in.Rest()) {
			break
		}
	}
	f.r.settle()
	return got
}

func (f *ringFar) pause(on bool) { f.paused = on }
func (f *ringFar) leave() {
	f.gone = true
	f.end.In.Shut()
	f.end.Out.End(0, "")
	f.r.settle()
	f.paused = false // what it has not taken is released
	f.exchange()
}
func (f *ringFar) conn() *Conn { return f.c }
func (f *ringFar) ended() bool { return f.over }

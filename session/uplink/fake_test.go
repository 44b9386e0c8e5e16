package uplink

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/invariant"
	"github.com/seed31b3bfd0/slimgo/internal/leak"
	"github.com/seed31b3bfd0/slimgo/internal/simnet"
	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
	"github.com/seed31b3bfd0/slimgo/wire/link"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

func TestMain(m *testing.M) {
	// Most that tests make is garbage soon.
	debug.SetGCPercent(400)
	leak.Main(m, func(code int) {
		if n := pool.Live(); invariant.On && n != 0 && code == 0 {
			fmt.Fprintf(os.Stderr, "%d buffers were never released\n", n)
			code = 1
		}
		os.Exit(code)
	})
}

// fake is a node in a bubble that does what its fields say.
type fake struct {
	t    *testing.T
	nw   *simnet.Net
	addr string

	window  uint32                                     // how far a client may run ahead; 0: 1 MiB
	serve   func(*simnet.Conn)                         // speaks instead; nil: it is a node
	answer  func(*peer, *h2.Request) bool              // answers the request; false: as usual; nil: as usual
	link    link.Config                                // its end of the link
	reply   func(reply []byte) []byte                  // changes the reply, without its prefix; nil: as it is
	message func(p *peer, msg []byte, m *wire.Message) // takes what comes after the negotiation; nil: names are confirmed
	hold    bool                                       // gives no window back
	stay    bool                                       // does not end a channel that the client has ended

	joined chan *peer // one for each link
}

// bubble runs a test with a fake node in simulated time.
func bubble(t *testing.T, f *fake, run func(t *testing.T, f *fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f.t, f.joined = t, make(chan *peer, 16)
		f.nw = &simnet.Net{Delay: time.Millisecond}
		f.link.Role, f.link.Version, f.link.NodeID = link.Acceptor, "3.4.6", "fake"
		l := f.nw.Listen()
		var all sync.WaitGroup
		var mu sync.Mutex
		var conns []net.Conn
		all.Go(func() {
			for {
				nc, err := l.Accept()
				if err != nil {
					return
				}
				mu.Lock()
				conns = append(conns, nc)
				mu.Unlock()
				if f.serve != nil {
					all.Go(func() { f.serve(nc.(*simnet.Conn)) })
					continue
				}
				p := newPeer(f, nc.(*simnet.Conn))
				all.Go(p.read)
				all.Go(p.write)
			}
		})
		f.addr = l.Addr().String()
		t.Cleanup(func() {
			_ = l.Close()
			mu.Lock()
			for _, nc := range conns {
				_ = nc.Close()
			}
			mu.Unlock()
			all.Wait()
		})
		run(t, f)
	})
}

// dial connects to f and closes the connection with the test.
func (f *fake) dial(o Options) (*Conn, *peer) {
	f.t.Helper()
	o.DialContext = f.nw.Dial
	c, err := Dial(f.t.Context(), f.addr, &o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { abandon(c) })
	return c, <-f.joined
}

// abandon ends a connection and takes what was not received.
func abandon(c *Conn) {
	c.Abort()
	<-c.Done()
	for {
		if _, err := c.Receive(context.Background()); err != nil {
			return
		}
	}
}

// refuses dials f and returns the error, which there must be.
func (f *fake) refuses(o Options) *Error {
	f.t.Helper()
	o.DialContext = f.nw.Dial
	c, err := Dial(f.t.Context(), f.addr, &o)
	if err == nil {
		c.Abort()
		<-c.Done()
		f.t.Fatal("connected")
	}
	e, ok := err.(*Error)
	if !ok {
		f.t.Fatalf("got %T: %v", err, err)
	}
	return e
}

// peer is one connection of a fake node.
type peer struct {
	f       *fake
	nc      *simnet.Conn
	machine *link.Machine
	in, out *mac.MAC // of the reader; of the holder of mu
	linkID  string

	mu     sync.Mutex
	some   sync.Cond
	h2     h2.Conn
	stream *h2.Stream
	queue  []byte // framed, waits for window
	raw    []byte // goes out before anything else
	status int    // ends the channel behind queue; -1: it goes on
	gone   bool
	got    [][]byte // messages after the link
	pings  int
	ended  bool // the client has ended its side
}

func newPeer(f *fake, nc *simnet.Conn) *peer {
	p := &peer{f: f, nc: nc, status: -1}
	p.some.L = &p.mu
	p.h2.Init(h2.Server, &h2.Settings{InitialWindow: f.window, ConnWindow: 4 << 20})
	p.machine = link.New(&f.link)
	return p
}

func (p *peer) read() {
	b := make([]byte, 64<<10)
	for {
		n, err := p.nc.Read(b)
		p.mu.Lock()
		if err == nil {
			err = p.h2.Feed(b[:n], (*peerEvents)(p))
		}
		p.gone = p.gone || err != nil
		p.some.Broadcast()
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (p *peer) write() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		out := append(append([]byte(nil), p.raw...), p.h2.Control()...)
		p.h2.ControlDone()
		p.raw = nil
		for len(p.queue) > 0 && p.stream != nil {
			var k int
			if out, k = p.h2.Data(out, p.stream, len(p.queue)); k == 0 {
				break
			}
			out = append(out, p.queue[:k]...)
			p.queue = p.queue[k:]
		}
		p.h2.Cut()
		if p.status >= 0 && len(p.queue) == 0 {
			out = p.h2.Trailers(out, p.stream, p.status, "as the test wants")
			p.status = -1
		}
		if len(out) == 0 {
			if p.gone {
				return
			}
			p.some.Wait()
			continue
		}
		p.mu.Unlock()
		_, err := p.nc.Write(out)
		p.mu.Lock()
		if err != nil {
			return
		}
	}
}

// do changes the peer, which then writes.
func (p *peer) do(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.some.Broadcast()
}

// send sends a message, signed for the link if it has a header.
func (p *peer) send(msg []byte) { p.do(func() { p.frame(p.sign(msg)) }) }

// sendAs sends a message as it is.
func (p *peer) sendAs(msg []byte) { p.do(func() { p.frame(msg) }) }

// frame queues a message. mu is held.
func (p *peer) frame(msg []byte) { p.queue = AppendFrame(p.queue, msg) }

func (p *peer) sign(msg []byte) []byte {
	var m wire.Message
	var h wire.Header
	if p.out == nil || wire.Scan(msg, &m) != nil || !m.Kind.Routed() || wire.ParseHeader(m.Header.Of(msg), &h) != nil {
		return msg
	}
	head := m.Header.Of(msg)
	var names mac.Names
	var tag [32]byte
	p.out.Names(&names, mac.AppendNames(nil, p.linkID, head, &h))
	p.out.Tag(&tag, &names, mac.AppendRest(nil, head, &h, h.TTL, true))
	out := wire.AppendOpening(nil, msg, &m, wire.HeaderSize(&h, h.TTL, true))
	return append(wire.AppendHeader(out, head, &h, h.TTL, tag[:]), msg[m.Header.End:]...)
}

// end ends the channel behind what is queued.
func (p *peer) end(status int) { p.do(func() { p.status = status }) }

// settle returns when everything has arrived that is on its way.
func settle() {
	time.Sleep(time.Second) // of the bubble
	synctest.Wait()
}

// messages returns what has come since the link.
func (p *peer) messages() [][]byte {
	settle()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got
}

// peerEvents is the engine's view of a peer; mu is held.
type peerEvents peer

func (e *peerEvents) Request(s *h2.Stream, r *h2.Request) {
	e.stream = s
	if e.f.answer == nil || !e.f.answer((*peer)(e), r) {
		e.h2.Respond(s)
	}
}

func (e *peerEvents) Message(s *h2.Stream, msg []byte, _ bool) {
	p := (*peer)(e)
	if p.f.hold {
		p.h2.Hold(s, len(msg)+prefixLen)
	}
	if p.machine != nil {
		p.negotiate(msg)
		return
	}
	var m wire.Message
	if err := wire.Scan(msg, &m); err != nil {
		p.f.t.Errorf("the client sent no message: %v", err)
		return
	}
	p.verify(msg, &m)
	p.got = append(p.got, append([]byte(nil), msg...))
	switch {
	case p.f.message != nil:
		p.f.message(p, msg, &m)
	case m.Kind == wire.KindSubscribe, m.Kind == wire.KindUnsubscribe:
		p.frame(wire.AppendAck(nil, m.SubID, true, ""))
	}
}

// verify wants a message that is signed as its link demands.
func (p *peer) verify(msg []byte, m *wire.Message) {
	var h wire.Header
	head := m.Header.Of(msg)
	if err := wire.ParseHeader(head, &h); err != nil {
		p.f.t.Errorf("the client sent no header: %v", err)
		return
	}
	if p.in == nil {
		return
	}
	var names mac.Names
	p.in.Names(&names, mac.AppendNames(nil, p.linkID, head, &h))
	if !h.HasMAC || !p.in.Verify(h.MAC.Of(head), &names, mac.AppendRest(nil, head, &h, h.TTL, false)) {
		p.f.t.Error("the client signed wrongly")
	}
}

func (p *peer) negotiate(msg []byte) {
	reply, err := p.machine.Step(nil, msg)
	if err != nil {
		p.status = 0
		return
	}
	if p.f.reply != nil {
		reply = p.f.reply(reply)
	}
	p.frame(reply)
	r := p.machine.Result()
	p.linkID, p.machine = r.LinkID, nil
	if r.Key != nil && r.Kind != wire.LinkPeer {
		p.in, p.out = mac.New(r.Key, r.LinkID), mac.New(r.Key, r.LinkID)
	}
	p.f.joined <- p
}

func (e *peerEvents) Grow(_ *h2.Stream, have []byte, n int) []byte {
	return append(make([]byte, 0, n), have...)
}

func (e *peerEvents) Ended(_ *h2.Stream, end *h2.End) {
	if e.ended = end.Kind == h2.KindHalfClosed; e.ended && !e.f.stay {
		e.status = 0
	}
}

func (e *peerEvents) Response(*h2.Stream, *h2.Response) {}
func (e *peerEvents) Writable(*h2.Stream)               { e.some.Broadcast() }
func (e *peerEvents) Closed(*h2.Stream)                 {}
func (e *peerEvents) Pong()                             { e.pings++ }
func (e *peerEvents) GoAway(uint32, h2.ErrCode, []byte) {}

// Names and messages of the tests.
var (
	alice = wire.Text("org", "ns", "alice").WithID(1, 2)
	bob   = wire.Text("org", "ns", "bob").WithID(3, 4)

	testSession = []byte{0x08, 0x01, 0x10, 0x01, 0x18, 0x07}
)

func header(to wire.NameText) *wire.PublishHeader {
	return &wire.PublishHeader{Source: alice, Dest: to, Identity: "id", Version: Version, Fanout: 1, TTL: 8}
}

// content is a Content whose payload has n bytes, 8 or more, and begins with i.
func content(i, n int) []byte {
	blob := binary.BigEndian.AppendUint64(nil, uint64(i))
	blob = append(blob, make([]byte, n-8)...)
	app := append([]byte{0x12}, binary.AppendUvarint(nil, uint64(len(blob)))...)
	app = append(app, blob...)
	return append(append([]byte{0x0a}, binary.AppendUvarint(nil, uint64(len(app)))...), app...)
}

// publication is a publish to bob with number i and n bytes, without MAC.
func publication(i, n int) []byte {
	return wire.AppendPublish(nil, header(bob), testSession, content(i, n))
}

// number returns the number of a message of publication with n bytes.
func number(msg []byte, n int) int {
	return int(binary.BigEndian.Uint64(msg[len(msg)-n:]))
}

func receive(t *testing.T, c *Conn) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	msg, err := c.Receive(ctx)
	if err != nil {
		t.Fatalf("no message: %v", err)
	}
	return msg
}

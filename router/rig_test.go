package router

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"io"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/router/transport"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
	"github.com/seed31b3bfd0/slimgo/wire/link"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
	"google.golang.org/protobuf/proto"
)

// rig is a node without gnet and without sockets of the network: tests run the callbacks of its loops themselves,
// one after the other, so every order of events can be played.
type rig struct {
	t     testing.TB
	n     *Node
	loops []*netloop.Manual
	now   time.Time
	peers []*peer

	window uint32         // of peers that connect; 0: 2 MiB
	agent  string         // of peers that connect; empty: they say none
	who    *auth.Identity // of peers that connect
	secure bool           // peers that connect speak TLS
	buf    []byte         // what all read into
	files  []int          // descriptors, which stay open for as long as a socket may write to one: others would get its number
}

func newRig(t testing.TB, loops int, o Options) *rig {
	t.Helper()
	o.Listen = []string{"127.0.0.1:0"}
	o.Loops = loops
	if err := o.fill(); err != nil {
		t.Fatal(err)
	}
	n := newNode(o)
	n.peers.loops = true // peers of the rig do not say whether they are linked with each other
	x := pool.NewExchange[event](ringSize)
	r := &rig{t: t, n: n, buf: make([]byte, 64<<10), secure: os.Getenv(secureEnv) != ""}
	for i := range loops {
		r.loops = append(r.loops, netloop.NewManual(i, func(nl *netloop.Loop) netloop.Owner { return n.addLoop(nl, x) }))
	}
	r.now = time.Now() // not before the loops' clocks
	t.Cleanup(func() {
		for _, p := range r.peers {
			p.abandon()
		}
		r.settle()
		for _, fd := range r.files {
			_ = unix.Close(fd)
		}
	})
	return r
}

// settle runs every loop that was woken until none is and no chore is left.
func (r *rig) settle() {
	for again := true; again; {
		again = false
		r.n.chores.wait()
		for _, l := range r.loops {
			if l.Woken() {
				again = true
				l.RunTurn()
			}
		}
	}
}

// pass lets d go by on the stall clocks, in steps; peers that are not paused read what comes.
func (r *rig) pass(d time.Duration) {
	for ; d > 0; d -= stallLook {
		for i, l := range r.n.loops {
			l.post(func() { l.clock.pass(stallLook) })
			r.loops[i].Ready()
		}
		r.settle()
		for _, p := range r.peers {
			if !p.paused && !p.shut() {
				p.exchange()
			}
		}
	}
}

// seconds lets n slow ticks go by.
func (r *rig) seconds(n int) {
	for range n {
		r.now = r.now.Add(time.Second)
		for _, l := range r.loops {
			l.RunTick(r.now)
		}
	}
}

// link is the link that p has opened.
func (r *rig) link(p *peer) *ActiveLink {
	r.n.control.mu.Lock()
	defer r.n.control.mu.Unlock()
	return r.n.control.links[p.c]
}

func (r *rig) stats() Stats {
	for _, l := range r.n.loops {
		l.show()
	}
	return r.n.Stats()
}

// peer is a client of the rig: our engine in the client role and the dialer's side of a link.
type peer struct {
	r       *rig
	loop    *netloop.Manual
	sock    *netloop.Socket // the node's end
	fd      int             // the peer's end
	cli     h2.Conn
	s       *h2.Stream
	c       *Conn // of s, in the node
	out     []byte
	mac     *mac.MAC
	linkID  string
	got     [][]byte // messages received and not taken
	end     *h2.End
	away    bool       // GOAWAY has come
	paused  bool       // reads nothing
	hoard   bool       // reads, but gives no stream window back
	shy     *h2.Stream // likewise, of one stream
	hoarded int        // bytes of window that it has not given back
	greedy  bool       // keeps the window of all its streams, in kept
	kept    []byte
	grown   []byte     // for the message that is incomplete, and nobody else's
	buf     []byte     // the rig's
	going   []byte     // what exchange sends
	tls     *memoryTLS // nil: none
}

// pair returns the descriptors of two ends that do not block, which the rig closes.
func (r *rig) pair() [2]int {
	r.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	r.files = append(r.files, fds[:]...)
	return fds
}

// connect opens a socket on a loop without a stream.
func (r *rig) connect(loop int) *peer {
	r.t.Helper()
	return r.connectBy(loop, r.n.loops[loop].group.AcceptGRPC())
}

// connectBy is connect to a listener with that handler.
func (r *rig) connectBy(loop int, h netloop.Handler) *peer {
	r.t.Helper()
	fds := r.pair()
	p := &peer{r: r, fd: fds[1], loop: r.loops[loop], buf: r.buf}
	if r.secure {
		p.sock, p.tls = attachTLS(r.t, p.loop, fds[0], h)
	} else {
		p.sock = p.loop.Attach(fds[0], h)
	}
	r.peers = append(r.peers, p)
	p.cli.Init(h2.Client, &h2.Settings{InitialWindow: cmp.Or(r.window, 2<<20), MaxFrameSize: 16384, MaxHeaderList: 16384, ConnWindow: 5 << 20, MaxMessage: maxMessage})
	return p
}

// dial connects and negotiates an edge link.
func (r *rig) dial(loop int) *peer { return r.dialAs(loop, wire.LinkEdge, "node-of-test") }

func (r *rig) dialAs(loop int, kind wire.LinkKind, nodeID string) *peer {
	r.t.Helper()
	return r.dialFrom(loop, kind, nodeID, "")
}

// dialFrom is dialAs of a node of a domain.
func (r *rig) dialFrom(loop int, kind wire.LinkKind, nodeID, domain string) *peer {
	r.t.Helper()
	p := r.connect(loop)
	p.negotiateAs(&link.Config{LinkID: "link-" + nodeID, Kind: kind, NodeID: nodeID, Deployment: domain})
	return p
}

// negotiate opens a stream and a link on it; what the peer does from then on it does there.
func (p *peer) negotiate(kind wire.LinkKind, nodeID string) {
	p.r.t.Helper()
	p.negotiateAs(&link.Config{LinkID: "link-" + nodeID, Kind: kind, NodeID: nodeID})
}

func (p *peer) negotiateAs(c *link.Config) {
	p.r.t.Helper()
	p.open()
	c.Role, c.Version, c.Strict, c.Rand = link.Dialer, "3.4.6", true, rand.Reader
	m := link.New(c)
	req, err := m.Start(nil)
	if err != nil {
		p.r.t.Fatal(err)
	}
	p.send(req)
	reply := p.take()
	if _, err := m.Step(nil, reply); err != nil {
		p.r.t.Fatalf("negotiation: %v", err)
	}
	res := m.Result()
	p.linkID, p.mac = res.LinkID, nil
	if c.Kind != wire.LinkPeer {
		p.mac = mac.New(res.Key, res.LinkID)
	}
}

func (p *peer) open(more ...h2.Field) {
	p.r.t.Helper()
	fields := []h2.Field{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "test"}, {Name: ":path", Value: openChannelPath}, {Name: "te", Value: "trailers"},
		{Name: "content-type", Value: "application/grpc"}}
	if p.r.agent != "" {
		fields = append(fields, h2.Field{Name: "user-agent", Value: p.r.agent})
	}
	s, err := p.cli.Open(append(fields, more...))
	if err != nil {
		p.r.t.Fatal(err)
	}
	p.s = s
	p.exchange()
	if setup := r(p).setup; len(setup) > 0 {
		p.c = setup[len(setup)-1]
		if p.r.who != nil {
			p.c.stream = &identified{p.c.stream, p.r.who}
		}
	}
}

// identified is the stream of somebody whom its listener knows.
type identified struct {
	transport.Stream
	who *auth.Identity
}

func (s *identified) Identity() *auth.Identity { return s.who }

// r is the loop of p.
func r(p *peer) *loop { return p.r.n.loops[p.loop.Index()] }

// shut reports whether the node has closed the peer's socket.
func (p *peer) shut() bool { return p.loop.Gone(p.sock) }

// feed gives the node one read.
func (p *peer) feed(b []byte) {
	if p.tls != nil {
		b = p.tls.seal(b)
	}
	p.loop.Deliver(p.sock, b)
}

// exchange moves bytes both ways until nothing moves.
func (p *peer) exchange() {
	for moved := true; moved; {
		moved = false
		out := append(p.going[:0], p.cli.Control()...)
		p.cli.ControlDone()
		if p.greedy {
			out = p.keep(out)
		}
		out = append(out, p.out...)
		p.out = p.out[:0]
		p.cli.Cut()
		p.going = out
		if len(out) > 0 {
			moved = true
			p.feed(out)
			p.r.settle()
		}
		if p.read() {
			moved = true
		}
	}
}

// keep takes the window of all streams out of frames that p would send.
func (p *peer) keep(frames []byte) (rest []byte) {
	for len(frames) > 0 {
		n := 9 + int(frames[0])<<16 + int(binary.BigEndian.Uint16(frames[1:]))
		if f := frames[:n]; f[3] == 8 && binary.BigEndian.Uint32(f[5:]) == 0 {
			p.kept = append(p.kept, f...)
		} else {
			rest = append(rest, f...)
		}
		frames = frames[n:]
	}
	return rest
}

// read takes what the node has sent.
func (p *peer) read() bool {
	moved := false
	for !p.paused {
		n, err := unix.Read(p.fd, p.buf)
		if err != nil || n <= 0 {
			break
		}
		moved = true
		if err := p.cli.Feed(p.opened(n), p); err != nil {
			p.r.t.Fatalf("the node broke HTTP/2: %v", err)
		}
		p.loop.Ready()
	}
	return moved
}

// send sends one message as it is.
func (p *peer) send(msg []byte) {
	p.r.t.Helper()
	p.stage(msg)
	p.exchange()
}

func (p *peer) stage(msg []byte) {
	p.r.t.Helper()
	var head [envelope]byte
	binary.BigEndian.PutUint32(head[1:], uint32(len(msg)))
	for at, n := 0, envelope+len(msg); at < n; {
		var k int
		p.out, k = p.cli.Data(p.out, p.s, n-at)
		if k == 0 {
			p.r.t.Fatal("no window")
		}
		end := at + k
		if at < envelope {
			p.out = append(p.out, head[at:min(end, envelope)]...)
		}
		if end > envelope {
			p.out = append(p.out, msg[max(at, envelope)-envelope:end-envelope]...)
		}
		at = end
	}
}

// take returns the next message from the node.
func (p *peer) take() []byte {
	p.r.t.Helper()
	p.r.settle()
	p.exchange()
	if len(p.got) == 0 {
		p.r.t.Fatalf("no message from the node; stream ended: %+v", p.end)
	}
	m := p.got[0]
	p.got = p.got[1:]
	return m
}

// readAll takes everything from the node, though the peer is paused.
func (p *peer) readAll() {
	p.paused = false
	p.count()
	p.paused = true
}

// count takes everything and returns how many messages it was.
func (p *peer) count() int {
	p.exchange()
	n := len(p.got)
	p.got = nil
	return n
}

// sign sets the header MAC of the peer's link.
func (p *peer) sign(h *wire.PublishHeader) {
	if p.mac == nil {
		h.MAC = nil
		return
	}
	h.MAC = nil
	b := wire.AppendPublish(nil, h, []byte{8, 1}, nil)
	var m wire.Message
	var hd wire.Header
	if err := wire.Scan(b, &m); err != nil {
		p.r.t.Fatal(err)
	}
	raw := m.Header.Of(b)
	if err := wire.ParseHeader(raw, &hd); err != nil {
		p.r.t.Fatal(err)
	}
	var ns mac.Names
	var tag [32]byte
	p.mac.Names(&ns, mac.AppendNames(nil, p.linkID, raw, &hd))
	p.mac.Tag(&tag, &ns, mac.AppendRest(nil, raw, &hd, hd.TTL, true))
	h.MAC = tag[:]
}

func header(src, dst wire.NameText, fanout uint32, identity string) *wire.PublishHeader {
	return &wire.PublishHeader{Source: src, Dest: dst, Identity: identity, Fanout: fanout, TTL: 8, Version: "3.4.6"}
}

var testSession = []byte{0x08, 0x01, 0x10, 0x01, 0x18, 0x07}

// content is a Content with an application payload of n bytes that begins with i.
func content(i, n int) []byte { return appendContent(nil, i, n) }

func appendContent(dst []byte, i, n int) []byte {
	n = max(n, 8)
	app := len(binary.AppendUvarint(nil, uint64(n))) + 1 + n
	dst = binary.AppendUvarint(append(slices.Grow(dst, n+16), 0x0a), uint64(app))
	dst = binary.AppendUvarint(append(dst, 0x12), uint64(n))
	dst = binary.BigEndian.AppendUint64(dst, uint64(i))
	k := len(dst)
	dst = dst[:k+n-8]
	clear(dst[k:])
	return dst
}

// publication is message i of n bytes, with a header that is signed.
func publication(h *wire.PublishHeader, i, n int) []byte {
	c, _ := contents.Get().([]byte)
	c = appendContent(c[:0], i, n)
	b := wire.AppendPublish(make([]byte, 0, n+512), h, testSession, c)
	contents.Put(c) //nolint:staticcheck // what its header takes is little
	return b
}

// contents are those of publications, between them.
var contents sync.Pool

func (p *peer) publication(h *wire.PublishHeader, i, n int) []byte {
	p.sign(h)
	return publication(h, i, n)
}

func (p *peer) publish(h *wire.PublishHeader, i, n int) {
	p.r.t.Helper()
	p.send(p.publication(h, i, n))
}

// flood publishes up to count messages of n bytes as long as the node gives credit, and returns how many.
func (p *peer) flood(h *wire.PublishHeader, count, n int) int {
	p.r.t.Helper()
	for i := range count {
		if p.s.Window() < n+1000 {
			return i
		}
		p.publish(h, i, n)
	}
	return count
}

func (p *peer) subscribe(n wire.NameText, id uint64) {
	p.r.t.Helper()
	h := header(n, n, 1, "")
	p.sign(h)
	p.send(wire.AppendSubscribe(nil, h, id))
	if id != 0 {
		p.wantAck(id, true, "")
	}
}

func (p *peer) unsubscribe(n wire.NameText, id uint64) {
	p.r.t.Helper()
	h := header(n, n, 1, "")
	p.sign(h)
	p.send(wire.AppendUnsubscribe(nil, h, id))
}

func (p *peer) wantAck(id uint64, ok bool, reason string) {
	p.r.t.Helper()
	b := p.take()
	var m wire.Message
	if err := wire.Scan(b, &m); err != nil || m.Kind != wire.KindAck {
		p.r.t.Fatalf("want an ack, got %v %v %x", m.Kind, err, b)
	}
	gotID, gotOK, gotReason, err := wire.ParseAck(b, &m)
	if err != nil || gotID != id || gotOK != ok || gotReason != reason {
		p.r.t.Fatalf("ack = %d %v %q %v, want %d %v %q", gotID, gotOK, gotReason, err, id, ok, reason)
	}
}

// abandon closes the peer's end abruptly.
func (p *peer) abandon() {
	p.loop.Hangup(p.sock, unix.ECONNRESET)
	p.r.settle()
}

func (p *peer) Request(*h2.Stream, *h2.Request)   {}
func (p *peer) Response(*h2.Stream, *h2.Response) {}
func (p *peer) Message(s *h2.Stream, m []byte, _ bool) {
	if s == p.shy {
		p.cli.Hold(s, len(m)+envelope)
		return
	}
	if p.hoard {
		p.cli.Hold(p.s, len(m)+envelope)
		p.hoarded += len(m) + envelope
		return
	}
	if cap(p.grown) == 0 || len(m) == 0 || &m[0] != &p.grown[:1][0] {
		m = append([]byte(nil), m...)
	}
	p.got, p.grown = append(p.got, m), nil
}

// relent gives up to n bytes of window back that p has hoarded.
func (p *peer) relent(n int) {
	n = min(n, p.hoarded)
	p.hoarded -= n
	p.cli.Hold(p.s, -n)
	p.exchange()
}

func (p *peer) Grow(_ *h2.Stream, have []byte, n int) []byte {
	p.grown = append(make([]byte, 0, n), have...)
	return p.grown
}
func (p *peer) Ended(_ *h2.Stream, e *h2.End)     { c := *e; p.end = &c }
func (p *peer) Writable(*h2.Stream)               {}
func (p *peer) Closed(*h2.Stream)                 {}
func (p *peer) Pong()                             {}
func (p *peer) GoAway(uint32, h2.ErrCode, []byte) { p.away = true }

// opened is what the first n bytes of buf say.
func (p *peer) opened(n int) []byte {
	if p.tls == nil {
		return p.buf[:n]
	}
	return p.tls.open(p.buf[:n])
}

// halfClose ends the peer's direction.
func (p *peer) halfClose() {
	p.fin()
	p.r.settle()
}

// fin is halfClose without what follows from it.
func (p *peer) fin() {
	if p.tls != nil {
		p.loop.Deliver(p.sock, p.tls.end())
	}
	p.loop.Hangup(p.sock, io.EOF)
}

// raw sends DATA as it is, envelope included.
func (p *peer) raw(b []byte) {
	p.r.t.Helper()
	var k int
	p.out, k = p.cli.Data(p.out, p.s, len(b))
	p.out = append(p.out, b[:k]...)
	p.exchange()
}

// readOnce takes at most one buffer from the node.
func (p *peer) readOnce() int {
	n, err := unix.Read(p.fd, p.buf)
	if err != nil || n <= 0 {
		return 0
	}
	if err := p.cli.Feed(p.opened(n), p); err != nil {
		p.r.t.Fatal(err)
	}
	if ctl := p.cli.Control(); len(ctl) > 0 {
		p.feed(append([]byte(nil), ctl...))
		p.cli.ControlDone()
	}
	return n
}

// resign encodes m with the header MAC of the peer's link.
func (p *peer) resign(t *testing.T, m *pb.Message) []byte {
	t.Helper()
	h := m.GetPublish().Header
	h.HeaderMac = nil
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var wm wire.Message
	var hd wire.Header
	if err := wire.Scan(b, &wm); err != nil {
		t.Fatal(err)
	}
	raw := wm.Header.Of(b)
	if err := wire.ParseHeader(raw, &hd); err != nil {
		t.Fatal(err)
	}
	var ns mac.Names
	var tag [32]byte
	p.mac.Names(&ns, mac.AppendNames(nil, p.linkID, raw, &hd))
	p.mac.Tag(&tag, &ns, mac.AppendRest(nil, raw, &hd, hd.TTL, false))
	h.HeaderMac = tag[:]
	if b, err = proto.Marshal(m); err != nil {
		t.Fatal(err)
	}
	return b
}

func (p *peer) openPath(path string) {
	s, err := p.cli.Open([]h2.Field{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "test"}, {Name: ":path", Value: path}, {Name: "content-type", Value: "application/grpc"}})
	if err != nil {
		p.r.t.Fatal(err)
	}
	p.s = s
	p.exchange()
}

const openChannelPath = "/dataplane.proto.v1.DataPlaneService/OpenChannel"

// envelope is what gRPC adds to each message: it counts in the windows, too.
const envelope = 5

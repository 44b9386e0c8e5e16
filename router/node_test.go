package router

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/invariant"
	"github.com/seed31b3bfd0/slimgo/internal/leak"
	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
	"github.com/seed31b3bfd0/slimgo/wire/link"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

func TestMain(m *testing.M) {
	if spare := os.Getenv(childEnv); spare != "" {
		os.Exit(child(spare))
	}
	sideBySide()
	debug.SetGCPercent(400) // most that tests make is garbage soon; those that measure the heap collect it themselves
	leak.Main(m, func(code int) {
		if n := pool.Live(); invariant.On && n != 0 && code == 0 {
			fmt.Fprintf(os.Stderr, "%d buffers were never released\n", n)
			code = 1
		}
		os.Exit(code)
	})
}

// sideBySide has as many tests that wait for most of their time side by side as gain by that, on any machine.
func sideBySide() {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set(atOnce)
	}
}

// caller is a client of a real node over TCP. It reads and writes on the test's goroutine.
type caller struct {
	t       *testing.T
	c       net.Conn
	cli     h2.Conn
	s       *h2.Stream
	mac     *mac.MAC
	link    string
	machine *link.Machine
	out     []byte
	buf     []byte // scratch of readOnce
	got     [][]byte
	end     *h2.End
	away    bool
}

func start(t *testing.T, o Options) *Node {
	t.Helper()
	o.Listen = []string{"127.0.0.1:0"}
	return startAt(t, o)
}

// startAt is start of a node that listens where o says.
func startAt(t *testing.T, o Options) *Node {
	t.Helper()
	o.StallTimeout, o.HoldTimeout = cmp.Or(o.StallTimeout, hang), cmp.Or(o.HoldTimeout, hang) // nobody is stalled for want of a processor
	o.NegotiationTimeout = cmp.Or(o.NegotiationTimeout, hang)                                 // or turned away
	o.KeepaliveTime = cmp.Or(o.KeepaliveTime, -1)                                             // or for a PING that a test reads late
	n, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return n
}

func call(t *testing.T, n *Node) *caller { return callWith(t, n, 2<<20) }

// callWith is call with the windows, in bytes, that the caller gives.
func callWith(t *testing.T, n *Node, window uint32) *caller {
	t.Helper()
	p := knock(t, n, window)
	p.negotiated()
	return p
}

// knock sends a request and the first message of a negotiation, and waits for nothing.
func knock(t *testing.T, n *Node, window uint32) *caller {
	t.Helper()
	c, err := net.Dial("tcp", n.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if n.opt.tls(0) != nil {
		c = tls.Client(c, sharedSecrets(t).client)
	}
	p := &caller{t: t, c: c}
	p.cli.Init(h2.Client, &h2.Settings{InitialWindow: window, MaxFrameSize: 16384, MaxHeaderList: 16384, ConnWindow: max(5<<20, window), MaxMessage: maxMessage})
	s, err := p.cli.Open([]h2.Field{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "test"}, {Name: ":path", Value: openChannelPath}, {Name: "content-type", Value: "application/grpc"}})
	if err != nil {
		t.Fatal(err)
	}
	p.s = s
	m := link.New(&link.Config{Role: link.Dialer, LinkID: "l", Kind: wire.LinkEdge, Version: "3.4.6", NodeID: "n", Strict: true, Rand: rand.Reader})
	req, err := m.Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	p.flush()
	p.send(req)
	p.machine = m
	return p
}

// negotiated waits for the answer to the negotiation.
func (p *caller) negotiated() {
	p.t.Helper()
	p.await(func() bool { return len(p.got) > 0 })
	if _, err := p.machine.Step(nil, p.got[0]); err != nil {
		p.t.Fatal(err)
	}
	p.got = nil
	p.mac, p.link = mac.New(p.machine.Result().Key, "l"), "l"
}

func (p *caller) flush() {
	out := append(append([]byte(nil), p.cli.Control()...), p.out...)
	p.cli.ControlDone()
	p.out = p.out[:0]
	p.cli.Cut()
	if len(out) > 0 {
		_, _ = p.c.Write(out)
	}
}

func (p *caller) send(msg []byte) {
	b := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(msg))), msg...)
	for len(b) > 0 {
		var k int
		if p.out, k = p.cli.Data(p.out, p.s, len(b)); k == 0 {
			p.flush()
			w := p.s.Window()
			p.await(func() bool { return p.s.Window() > w })
			continue
		}
		p.out = append(p.out, b[:k]...)
		b = b[k:]
	}
	p.flush()
}

// await reads until done, or fails after a long silence.
func (p *caller) await(done func() bool) {
	p.t.Helper()
	buf := make([]byte, 64<<10)
	for !done() {
		_ = p.c.SetReadDeadline(time.Now().Add(hang))
		n, err := p.c.Read(buf)
		if n > 0 {
			if err := p.cli.Feed(buf[:n], p); err != nil {
				p.t.Fatalf("the node broke HTTP/2: %v", err)
			}
			p.flush()
		}
		if err != nil {
			if done() {
				return
			}
			p.t.Fatalf("read: %v (stream end %+v)", err, p.end)
		}
	}
}

func (p *caller) sign(h *wire.PublishHeader) *wire.PublishHeader {
	q := &peer{r: &rig{t: p.t}, mac: p.mac, linkID: p.link}
	q.sign(h)
	return h
}

func (p *caller) subscribe(n wire.NameText) {
	p.t.Helper()
	p.send(wire.AppendSubscribe(nil, p.sign(header(n, n, 1, "")), 1))
	p.await(func() bool { return len(p.got) > 0 })
	p.got = nil
}

func (p *caller) Request(*h2.Stream, *h2.Request)   {}
func (p *caller) Response(*h2.Stream, *h2.Response) {}
func (p *caller) Message(_ *h2.Stream, m []byte, _ bool) {
	p.got = append(p.got, append([]byte(nil), m...))
}
func (p *caller) Grow(_ *h2.Stream, have []byte, n int) []byte {
	return append(make([]byte, 0, n), have...)
}
func (p *caller) Ended(_ *h2.Stream, e *h2.End)     { c := *e; p.end = &c }
func (p *caller) Writable(*h2.Stream)               {}
func (p *caller) Closed(*h2.Stream)                 {}
func (p *caller) Pong()                             {}
func (p *caller) GoAway(uint32, h2.ErrCode, []byte) { p.away = true }

func TestNodeMovesMessagesBetweenSockets(t *testing.T) {
	t.Parallel() // beside those that wait
	for _, loops := range []int{1, 2, 3} {
		n := start(t, Options{Loops: loops})
		a := call(t, n)
		var bs []*caller
		for i := range 4 {
			b := call(t, n)
			b.subscribe(group.WithID(uint64(i), 5))
			bs = append(bs, b)
		}
		for i := range 50 {
			a.send(publication(a.sign(header(alice, group, 256, "x")), i, 30_000))
		}
		for i, b := range bs {
			b.await(func() bool { return len(b.got) == 50 })
			if got := decode(t, b.got[49]).GetPublish().GetMsg().GetAppPayload().Blob; binary.BigEndian.Uint64(got) != 49 {
				t.Errorf("member %d: the last message is %d", i, binary.BigEndian.Uint64(got))
			}
		}
		until(t, "the loops show what they did", func() bool { s := n.Stats(); return s.Delivered == 200 && s.Connections == 5 })
	}
}

// Rules: P-end-3, P-tr-7.
func TestShutdownSendsWhatIsQueuedAndEndsStreams(t *testing.T) {
	n := start(t, Options{Loops: 2})
	a, b := call(t, n), call(t, n)
	b.subscribe(bob)
	const count = 40 // 1.2 MB: more than goes out before b reads
	for i := range count {
		a.send(publication(a.sign(header(alice, bob, 1, "x")), i, 30_000))
	}
	until(t, "the node has read them all", func() bool { return n.Stats().Received >= count })
	var wg sync.WaitGroup
	wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	b.await(func() bool { return len(b.got) == count && b.end != nil && b.away })
	if b.end.Kind != h2.KindTrailers || b.end.GRPCStatus != 0 {
		t.Errorf("stream end = %+v, want trailers with status 0", b.end)
	}
	if _, err := net.Dial("tcp", n.Addrs()[0].String()); err == nil {
		t.Error("a node that drains still accepts")
	}
	_ = a.c.Close()
	_ = b.c.Close()
	wg.Wait()
	if s := n.Stats(); s.Delivered != count || s.Sockets != 0 || s.Connections != 0 || s.Waiting != 0 || s.WaitingBytes != 0 || s.Held != 0 {
		t.Errorf("stats after shutdown: %+v", s)
	}
}

func TestShutdownIsNotHeldUpByAStalledReceiver(t *testing.T) {
	t.Parallel() // with others that wait for some seconds
	n := start(t, Options{StallTimeout: 50 * time.Millisecond})
	a, b := call(t, n), call(t, n)
	b.subscribe(bob)
	h := a.sign(header(alice, bob, 1, "x"))
	for i := 0; ; i++ { // b reads nothing
		s := n.Stats()
		if s.Stalled == 1 {
			break
		}
		if a.s.Window() > 40_000 {
			a.send(wire.AppendPublish(nil, h, testSession, content(i, 30_000)))
		} else {
			w := a.s.Window()
			a.await(func() bool { return a.s.Window() > w })
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

func TestShutdownGivesUpWithItsContext(t *testing.T) {
	n := start(t, Options{})
	_ = call(t, n)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := n.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	n.err = nil // the cleanup's call returns the same result
}

func TestListenErrorSaysWhatToDo(t *testing.T) {
	n := start(t, Options{})
	_, err := Start(t.Context(), Options{Listen: []string{n.Addrs()[0].String()}})
	if err == nil || !strings.Contains(err.Error(), n.Addrs()[0].String()) || !strings.Contains(err.Error(), "another process") {
		t.Errorf("err = %v", err)
	}
	const free = "127.86.75.30:46357" // nobody's
	_, err = Start(t.Context(), Options{Listen: []string{free, free}})
	if err == nil || !strings.Contains(err.Error(), free) || !strings.Contains(err.Error(), "listed twice") {
		t.Errorf("one address twice: %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	ok := Options{Listen: []string{"127.0.0.1:0"}}
	for name, change := range map[string]func(*Options){
		"endpoint":      func(o *Options) { o.Listen = []string{"localhost"} },
		"loops":         func(o *Options) { o.Loops = 1000 },
		"read buffer":   func(o *Options) { o.ReadBuffer = 1 },
		"buffer":        func(o *Options) { o.ConnBuffer = 1 },
		"frame size":    func(o *Options) { o.MaxFrameSize = 1 },
		"policy":        func(o *Options) { o.SlowConsumer = 77 },
		"stall timeout": func(o *Options) { o.StallTimeout = -1 },
	} {
		o := ok
		change(&o)
		if err := o.fill(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A peer that is taken for prompt and is not stalls for 40 ms with each small message: only names that are known count.
// Rules: P-tr-11.
func TestOnlyKnownAgentsAreTakenForPrompt(t *testing.T) {
	for agent, want := range map[string]bool{
		"grpc-go/1.85.0": true, "slimgo/0.1": true, "slim-bench/1": true,
		"tonic/0.14.6": false, "": false, "grpc-java-netty/1.70": false, "Mozilla grpc-go/1": false, "grpc-go": false,
	} {
		r := newRig(t, 1, Options{})
		r.agent = agent
		if got := !r.dial(0).sock.QuickAck; got != want {
			t.Errorf("%q: prompt %v, want %v", agent, got, want)
		}
	}
}

func TestRefusalIsLoggedOncePerConnectionAndReason(t *testing.T) {
	var b syncBuffer
	n := start(t, Options{Log: slog.New(slog.NewTextHandler(&b, nil))})
	p := call(t, n)
	for range 5 {
		p.send(wire.AppendPublish(nil, header(alice, bob, 1, "id"), testSession, nil))
	}
	p.subscribe(bob)
	if got := strings.Count(b.String(), "SLIM header integrity verification failed"); got != 1 {
		t.Errorf("logged %d times, want once:\n%s", got, b.String())
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *syncBuffer) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Reset()
}

var _ io.Writer = (*syncBuffer)(nil)

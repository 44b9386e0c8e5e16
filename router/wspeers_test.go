package router

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gobwas/httphead"
	gobwas "github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/link"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// speaker is an application on somebody else's library.
type speaker struct {
	t    *testing.T
	mac  *mac.MAC
	send func(msg []byte) error
	read func() ([]byte, error)
}

// negotiate opens the link of a speaker.
func (s *speaker) negotiate() *speaker {
	s.t.Helper()
	m := link.New(&link.Config{Role: link.Dialer, LinkID: "l", Kind: wire.LinkEdge, Version: "3.4.6", NodeID: "n", Strict: true, Rand: rand.Reader})
	req, err := m.Start(nil)
	if err == nil {
		err = s.send(req)
	}
	var reply []byte
	if err == nil {
		reply, err = s.read()
	}
	if err == nil {
		_, err = m.Step(nil, reply)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.mac = mac.New(m.Result().Key, "l")
	return s
}

func (s *speaker) sign(h *wire.PublishHeader) *wire.PublishHeader {
	p := &peer{r: &rig{t: s.t}, mac: s.mac, linkID: "l"}
	p.sign(h)
	return h
}

func (s *speaker) subscribe(n wire.NameText) {
	s.t.Helper()
	if err := s.send(wire.AppendSubscribe(nil, s.sign(header(n, n, 1, "")), 1)); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.read(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *speaker) publish(to wire.NameText, i, n int) error {
	return s.send(wire.AppendPublish(nil, s.sign(header(alice, to, 1, "x")), testSession, content(i, n)))
}

// coder is a speaker by coder/websocket, which offers to compress. ctx bounds everything.
func coder(t *testing.T, ctx context.Context, addr string, modes ...websocket.CompressionMode) (*speaker, *websocket.Conn) {
	t.Helper()
	return coderBy(t, ctx, "ws://"+addr+"/", nil, modes...)
}

// coderBy is coder for a URL, through client.
func coderBy(t *testing.T, ctx context.Context, url string, client *http.Client, modes ...websocket.CompressionMode) (
	*speaker, *websocket.Conn) {
	mode := append(modes, websocket.CompressionContextTakeover)[0]
	t.Helper()
	c, res, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"slim"},
		HTTPHeader: http.Header{"Origin": {"https://example.org"}}, CompressionMode: mode})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	if p := res.Header.Get("Sec-WebSocket-Protocol"); p != "" {
		t.Errorf("the node takes up %q", p)
	}
	if e := res.Header.Get("Sec-WebSocket-Extensions"); !strings.Contains(e, "client_no_context_takeover") {
		t.Errorf("the node answers the offer to compress with %q", e)
	}
	c.SetReadLimit(-1)
	s := &speaker{t: t}
	s.send = func(b []byte) error { return c.Write(ctx, websocket.MessageBinary, b) }
	s.read = func() ([]byte, error) {
		_, b, err := c.Read(ctx)
		return b, err
	}
	return s.negotiate(), c
}

// gobwasSpeaker is a speaker by gobwas/ws that sends each message in fragments, with a ping between.
func gobwasSpeaker(t *testing.T, ctx context.Context, addr string, offers ...httphead.Option) (*speaker, net.Conn) {
	t.Helper()
	c, _, _, err := gobwas.Dialer{Extensions: offers}.Dial(ctx, "ws://"+addr+"/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s := &speaker{t: t}
	s.send = func(b []byte) error {
		frame := func(f gobwas.Frame) error { return gobwas.WriteFrame(c, gobwas.MaskFrameInPlace(f)) }
		half := append([]byte(nil), b[:len(b)/2]...)
		rest := append([]byte(nil), b[len(b)/2:]...)
		if err := frame(gobwas.NewFrame(gobwas.OpBinary, false, half)); err != nil {
			return err
		}
		if err := frame(gobwas.NewPingFrame([]byte("between"))); err != nil {
			return err
		}
		return frame(gobwas.NewFrame(gobwas.OpContinuation, true, rest))
	}
	s.read = func() ([]byte, error) {
		for {
			b, op, err := wsutil.ReadServerData(c)
			if err != nil || op == gobwas.OpBinary {
				return b, err
			}
		}
	}
	return s.negotiate(), c
}

// grpcGo is a speaker by grpc-go, of any target.
func grpcGo(t *testing.T, ctx context.Context, target string, opts ...grpc.DialOption) (*speaker, *grpc.ClientConn) {
	t.Helper()
	c, err := grpc.NewClient(target, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(plainCodec{})))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	st, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, openChannelPath)
	if err != nil {
		t.Fatal(err)
	}
	s := &speaker{t: t, send: func(b []byte) error { return st.SendMsg(&b) }}
	s.read = func() (b []byte, err error) {
		err = st.RecvMsg(&b)
		return b, err
	}
	return s.negotiate(), c
}

// plainCodec passes messages on as they are.
type plainCodec struct{}

func (plainCodec) Name() string { return "plain" }
func (plainCodec) Marshal(v any) ([]byte, error) {
	return *v.(*[]byte), nil
}
func (plainCodec) Unmarshal(b []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), b...)
	return nil
}

// Libraries that nobody here wrote talk through the node, each way, with messages of all sizes; the counts match.
func TestLibrariesTalkThroughTheNode(t *testing.T) {
	t.Parallel() // beside those that wait
	n, ways := startWays(t, Options{Loops: 2, StallTimeout: hang, HoldTimeout: hang})
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	c, conn := coder(t, ctx, ways[1].host())
	g, raw := gobwasSpeaker(t, ctx, ways[1].host())
	u, _ := grpcGo(t, ctx, ways[2].addr)
	speakers := []*speaker{c, g, u}
	sizes := []int{8, 100, 5000, 70_000, 1 << 20}
	total := 25
	if long {
		total = 100
	}
	for i, s := range speakers {
		s.subscribe(bob.WithID(uint64(i), 5))
	}
	for to, s := range speakers {
		for from, x := range speakers {
			if to == from {
				continue
			}
			sent := make(chan error, 1)
			go func() {
				for i := range total {
					if err := x.publish(bob.WithID(uint64(to), 5), i, sizes[i%len(sizes)]); err != nil {
						sent <- err
						return
					}
				}
				sent <- nil
			}()
			for i := range total {
				b, err := s.read()
				if err != nil || numberOf(b) != i || len(b) < sizes[i%len(sizes)] {
					t.Fatalf("%d to %d, message %d: %v, of %d bytes: %v", from, to, i, numberOf(b), len(b), err)
				}
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		}
	}
	if s := n.Stats(); len(s.Dropped) != 0 || len(s.Refused) != 0 {
		t.Errorf("dropped %v, refused %v", s.Dropped, s.Refused)
	}
	// Pings are answered, and the end is the one that was asked for.
	go func() { _, _ = c.read() }()
	if err := conn.Ping(ctx); err != nil {
		t.Error("ping:", err)
	}
	closing := time.Now()
	if err := conn.Close(4000, "enough"); err != nil && time.Since(closing) < 5*time.Second { // it waits for no longer
		t.Error("close:", err)
	}
	if err := wsutil.WriteClientMessage(raw, gobwas.OpText, []byte("text")); err != nil {
		t.Fatal(err)
	}
	_, err := g.read()
	if e, ok := err.(wsutil.ClosedError); !ok || e.Code != gobwas.StatusUnsupportedData {
		t.Errorf("after a text the end is %v", err)
	}
	if _, err := raw.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("and then %v", err)
	}
}

// WebSocket over TLS is both. Rules: P-ws-1, P-tls-2.
func TestWebSocketOverTLS(t *testing.T) {
	secrets := sharedSecrets(t)
	server := secrets.server.Clone()
	server.NextProtos = []string{"http/1.1"}
	n, err := Start(t.Context(), Options{Listen: []string{"wss://127.0.0.1:0/path", "127.0.0.1:0"}, TLS: []*tls.Config{server},
		StallTimeout: hang, HoldTimeout: hang, NegotiationTimeout: hang, KeepaliveTime: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Shutdown(t.Context()) }()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: secrets.client.Clone()}}
	defer client.CloseIdleConnections()
	a, conn := coderBy(t, ctx, "wss://"+n.Addrs()[0].String()+"/path", client)
	b, gc := grpcGo(t, ctx, n.Addrs()[1].String())
	b.subscribe(bob)
	a.subscribe(alice)
	for _, x := range []struct {
		from, to *speaker
		name     wire.NameText
	}{{a, b, bob}, {b, a, alice}} {
		go func() {
			for i := range 50 {
				_ = x.from.publish(x.name, i, 100_000)
			}
		}()
		for i := range 50 {
			if m, err := x.to.read(); err != nil || numberOf(m) != i {
				t.Fatalf("message %d: %d, %v", i, numberOf(m), err)
			}
		}
	}
	_ = conn.CloseNow()
	_ = gc.Close()
	for i, o := range []Options{{Listen: []string{"wss://127.0.0.1:0"}}, {Listen: []string{"ws://127.0.0.1:0"}, TLS: []*tls.Config{server}},
		{Listen: []string{"unix://" + filepath.Join(t.TempDir(), "s")}, TLS: []*tls.Config{server}}} {
		if _, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "TLS") {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// A node that stops closes a WebSocket with 1001 after what is queued for it, whatever the peer does then: it answers,
// it answers nothing, it goes at once.
func TestWebSocketsEndWithTheNode(t *testing.T) {
	t.Parallel() // its cases wait for most of their time
	for _, how := range []string{"answers", "silent", "gone"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			n, ways := startWays(t, Options{StallTimeout: hang})
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			s, _ := coder(t, ctx, ways[1].host())
			a, raw := gobwasSpeaker(t, ctx, ways[1].host())
			s.subscribe(bob)
			const total = 30
			for i := range total {
				if err := a.publish(bob, i, 10_000); err != nil {
					t.Fatal(err)
				}
			}
			until(t, "all is queued", func() bool { return n.Stats().Received >= total })
			done := make(chan error, 1)
			go func() { done <- n.Shutdown(ctx) }()
			for i := range total {
				if b, err := s.read(); err != nil || numberOf(b) != i {
					t.Fatalf("message %d: %d, %v", i, numberOf(b), err)
				}
			}
			if _, err := s.read(); websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Errorf("the end is %v", err)
			}
			switch how {
			case "answers":
				_, _ = a.read()
				_ = raw.Close()
			case "gone":
				_ = raw.(*net.TCPConn).SetLinger(0)
				_ = raw.Close()
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

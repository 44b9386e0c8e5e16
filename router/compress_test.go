package router

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/coder/websocket"
	gobwas "github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/gobwas/ws/wsutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"

	"github.com/seed31b3bfd0/slimgo/router/transport"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// letters is the content of message i, of n bytes that shrink.
func letters(i, n int) []byte {
	b := content(i, n)
	if n > 8 {
		copy(b[len(b)-n+8:], bytes.Repeat([]byte("a letter "), n/9+1))
	}
	return b
}

// letter is a publish of n bytes that shrink.
func letter(c *caller, to wire.NameText, i, n int) []byte {
	return wire.AppendPublish(nil, c.sign(header(alice, to, 1, "x")), testSession, letters(i, n))
}

// Nodes of ours compress what goes between them, both ways, and nothing is refused on the way there. Rules: P-comp-2.
func TestNodesCompressBetweenThem(t *testing.T) {
	t.Parallel() // beside those that wait
	for _, e := range []compress.Encoding{compress.Gzip, compress.Zstd, compress.Snappy, compress.Deflate} {
		t.Run(e.String(), func(t *testing.T) {
			way := &dialWays[0]
			if e == compress.Deflate {
				way = &dialWays[1] // permessage-deflate
			}
			one, two := start(t, generic("one")), way.start(t, generic("two"))
			way.dial(t, one, way.addr(two), func(l *Link) { l.Call.Offer = &transport.Offer{Encoding: e} }).await(LinkUp)
			a, b := call(t, one), call(t, two)
			a.subscribe(bob)
			b.subscribe(carol)
			until(t, "routes are told", func() bool { return one.Stats().Names == 2 && two.Stats().Names == 2 })
			for _, way := range []struct {
				from, to *caller
				name     wire.NameText
			}{{a, b, carol}, {b, a, bob}} {
				sizes := []int{10, 2000, 60_000, 1 << 20}
				for i, n := range sizes {
					way.from.send(letter(way.from, way.name, i, n))
				}
				way.to.await(func() bool { return len(way.to.got) >= len(sizes) })
				for i, n := range sizes {
					if m := way.to.got[i]; numberOf(m) != i || len(m) < n {
						t.Errorf("message %d: number %d of %d bytes", i, numberOf(m), len(m))
					}
				}
				way.to.got = nil
			}
			for name, n := range map[string]*Node{"one": one, "two": two} {
				// A loop shows what it has done at the end of its turn; the messages may be there before.
				var s Stats
				until(t, name+" has counted all", func() bool { s = n.Stats(); return s.PlainOut >= 62_000 && s.PlainIn >= 62_000 })
				if s.PackedOut > s.PlainOut/5 || s.PackedIn > s.PlainIn/5 {
					t.Errorf("%s: %d to %d out, %d from %d in", name, s.PlainOut, s.PackedOut, s.PlainIn, s.PackedIn)
				}
				if len(s.Refused)+len(s.Dropped) != 0 || s.Panics != 0 {
					t.Errorf("%s: refused %v, dropped %v", name, s.Refused, s.Dropped)
				}
			}
		})
	}
}

// Without the key a link is as it was, and so it is to a node that does without.
func TestNodesThatDoNotCompress(t *testing.T) {
	t.Parallel() // beside those that wait
	for name, tc := range map[string]struct {
		offer        bool
		plain, other bool
	}{"no key": {false, false, false}, "the dialler does without": {true, true, false}, "the acceptor does without": {true, false, true}} {
		t.Run(name, func(t *testing.T) {
			inEachWay(t, func(t *testing.T, way *dialWay) {
				o, p := generic("one"), generic("two")
				o.NoCompression, p.NoCompression = tc.plain, tc.other
				one, two := start(t, o), way.start(t, p)
				way.dial(t, one, way.addr(two), func(l *Link) {
					if tc.offer {
						l.Call.Offer = &transport.Offer{Encoding: compress.Zstd}
					}
				}).await(LinkUp)
				a, b := call(t, one), call(t, two)
				b.subscribe(carol)
				until(t, "the route is told", func() bool { return one.Stats().Names == 1 })
				a.send(letter(a, carol, 1, 5000))
				b.await(func() bool { return len(b.got) == 1 })
				if s, x := one.Stats(), two.Stats(); s.PlainOut+s.PlainIn+x.PlainOut+x.PlainIn != 0 || len(s.Refused)+len(x.Refused) != 0 {
					t.Errorf("%+v\n%+v", s, x)
				}
			})
		})
	}
}

// An endpoint that offers an encoding and refuses it is dialled without it next, one that never offers is not told of
// any. Rules: P-comp-2.
func TestDialledEndpointsThatRefuse(t *testing.T) {
	for _, offers := range []bool{true, false} {
		asked := make(chan string, 100)
		addr := acceptors(t, func(a *acceptor, s *h2.Stream, r *h2.Request) {
			enc, _ := r.Field("grpc-encoding")
			accept, _ := r.Field("grpc-accept-encoding")
			asked <- string(accept) + "/" + string(enc)
			switch {
			case len(enc) > 0:
				a.h.Refuse(s, 200, 12, "no such encoding")
			case offers:
				a.h.Respond(s, h2.Field{Name: "grpc-accept-encoding", Value: "snappy, identity"})
			default:
				a.h.Respond(s)
			}
		})
		log := &syncBuffer{}
		o := generic("one")
		o.Log = slog.New(slog.NewTextHandler(log, nil))
		one := start(t, o)
		d := dialLink(t, one, addr, func(l *Link) { l.Call.Offer = &transport.Offer{Encoding: compress.Snappy} })
		want := []string{"snappy,identity/", "snappy,identity/snappy", "snappy,identity/"}
		if !offers {
			want = want[:1]
		}
		for i, w := range want {
			if got := <-asked; got != w {
				t.Errorf("offers %v, stream %d asks for %q, want %q", offers, i, got, w)
			}
		}
		if offers {
			until(t, "the log says why", func() bool { return strings.Contains(log.String(), "no such encoding") })
		}
		d.Close()
	}
}

// A stream that uses what was not asked for is left.
func TestDialledAnswersThatAreCompressed(t *testing.T) {
	log := &syncBuffer{}
	o := generic("one")
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	addr := acceptors(t, func(a *acceptor, s *h2.Stream, _ *h2.Request) {
		a.h.Respond(s, h2.Field{Name: "grpc-encoding", Value: "gzip"})
	})
	dialLink(t, start(t, o), addr, nil).await(LinkWaiting)
	until(t, "the log says why", func() bool { return strings.Contains(log.String(), "which was not asked for") })
}

// grpc-go, with gzip as its default, sends compressed messages of any size, and gets some. Rules: P-comp-1.
func TestGRPCGoCompresses(t *testing.T) {
	t.Parallel() // beside those that wait
	n := start(t, Options{Loops: 2})
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	a, _ := grpcGo(t, ctx, n.Addrs()[0].String(), grpc.WithDefaultCallOptions(grpc.UseCompressor(gzip.Name)))
	b, _ := grpcGo(t, ctx, n.Addrs()[0].String(), grpc.WithDefaultCallOptions(grpc.UseCompressor(gzip.Name)))
	b.subscribe(bob)
	sizes := []int{8, 500, 5000, 100_000, 3 << 20, 10}
	const messages = 24
	go func() {
		for i := range messages {
			msg := letters(i, sizes[i%len(sizes)])
			if err := a.send(wire.AppendPublish(nil, a.sign(header(alice, bob, 1, "x")), testSession, msg)); err != nil {
				cancel() // the reader says that something is missing
			}
		}
	}()
	for i := range messages {
		m, err := b.read()
		if err != nil || numberOf(m) != i || len(m) < sizes[i%len(sizes)] {
			t.Fatalf("message %d: number %d of %d bytes: %v", i, numberOf(m), len(m), err)
		}
	}
	var s Stats
	until(t, "all is counted", func() bool { s = n.Stats(); return s.PlainIn >= messages/6*3<<20 })
	if s.PackedIn >= s.PlainIn || s.PlainOut == 0 || s.PackedOut >= s.PlainOut/2 || len(s.Dropped)+len(s.Refused) != 0 {
		t.Errorf("%+v", s)
	}
}

// A server of grpc-go that compresses its answers is read by a node that has dialled it, and sends it nothing
// compressed, since it offers nothing.
func TestGRPCGoIsDialled(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var encodings said[string]
	var answered said[error]
	srv := grpc.NewServer(grpc.ForceServerCodec(plainCodec{}), grpc.UnknownServiceHandler(func(_ any, st grpc.ServerStream) error {
		md, _ := metadata.FromIncomingContext(st.Context())
		encodings.say(strings.Join(md.Get("grpc-encoding"), ","))
		if err := grpc.SetSendCompressor(st.Context(), gzip.Name); err != nil {
			t.Error(err)
		}
		if err := st.SendHeader(nil); err != nil {
			return err
		}
		var req []byte
		if err := st.RecvMsg(&req); err != nil {
			return err
		}
		reply := bytes.Repeat([]byte("this is no reply "), 100) // and the log will say so, once it is expanded
		err := st.SendMsg(&reply)
		answered.say(err)
		return err
	}))
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	defer func() { srv.Stop(); <-done }()
	log := &syncBuffer{}
	o := generic("one")
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	one := start(t, o)
	d := dialLink(t, one, ln.Addr().String(), func(l *Link) { l.Call.Offer = &transport.Offer{Encoding: compress.Gzip} })
	if e := encodings.next(t, "it is dialled"); e != "" {
		t.Errorf("it was sent %q", e)
	}
	answered.next(t, "it is answered")
	until(t, "the reply is expanded", func() bool { return one.Stats().PlainIn >= 1700 })
	d.Close()
}

// coder/websocket compresses by permessage-deflate, whatever the context, and gets such messages.
func TestWebSocketsCompress(t *testing.T) {
	t.Parallel() // beside those that wait
	n, ways := startWays(t, Options{Loops: 2, StallTimeout: hang, HoldTimeout: hang})
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	a, _ := coder(t, ctx, ways[1].host(), websocket.CompressionNoContextTakeover)
	b, _ := coder(t, ctx, ways[1].host(), websocket.CompressionContextTakeover)
	b.subscribe(bob)
	sizes := []int{8, 500, 5000, 60_000, 100_000, 3 << 20, 10}
	go func() {
		for i := range 70 {
			msg := letters(i, sizes[i%len(sizes)])
			if err := a.send(wire.AppendPublish(nil, a.sign(header(alice, bob, 1, "x")), testSession, msg)); err != nil {
				t.Error(err)
			}
		}
	}()
	for i := range 70 {
		m, err := b.read()
		if err != nil || numberOf(m) != i || len(m) < sizes[i%len(sizes)] {
			t.Fatalf("message %d: number %d of %d bytes: %v", i, numberOf(m), len(m), err)
		}
	}
	var s Stats
	until(t, "all is counted", func() bool { s = n.Stats(); return s.Received >= 70 && s.PlainIn >= 30<<20 })
	if s.PackedIn >= s.PlainIn/10 || s.PlainOut < 60_000 || s.PackedOut >= s.PlainOut/5 || len(s.Dropped)+len(s.Refused) != 0 {
		t.Errorf("%+v", s)
	}
}

// Bombs are counted, and their senders told. Rules: P-comp-6.
func TestBombsThroughWebSocket(t *testing.T) {
	t.Parallel() // beside those that wait
	var c compress.Compressor
	part := c.Append(nil, compress.Deflate, nil, make([]byte, compress.Most))
	bomb := bytes.Repeat(append(part, "\x00\x00\xff\xff"...), 8192) // 1 GiB
	for name, tc := range map[string]struct {
		payload []byte
		code    gobwas.StatusCode
		reason  Reason
	}{
		"a bomb":  {bomb, gobwas.StatusMessageTooBig, ReasonExpanded},
		"garbage": {[]byte("this is not compressed, though it says so"), gobwas.StatusInvalidFramePayloadData, ReasonExpand},
	} {
		t.Run(name, func(t *testing.T) {
			n, ways := startWays(t, Options{})
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			_, raw := gobwasSpeaker(t, ctx, ways[1].host(), wsflate.DefaultParameters.Option())
			f := gobwas.NewBinaryFrame(tc.payload)
			f.Header.Rsv = gobwas.Rsv(true, false, false)
			if err := gobwas.WriteFrame(raw, gobwas.MaskFrame(f)); err != nil {
				t.Fatal(err)
			}
			_, _, err := wsutil.ReadServerData(raw)
			if e, ok := err.(wsutil.ClosedError); !ok || e.Code != tc.code || !strings.Contains(e.Reason, "compress") {
				t.Errorf("the end is %v, want %d", err, tc.code)
			}
			until(t, "it is counted", func() bool { return n.Stats().Refused[tc.reason] == 1 && len(n.Stats().Refused) == 1 })
		})
	}
}

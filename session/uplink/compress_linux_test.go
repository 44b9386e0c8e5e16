package uplink

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// letter is a publish to everybody, of n bytes that shrink.
func letter(i, n int) []byte {
	b := content(i, n)
	copy(b[len(b)-n+8:], bytes.Repeat([]byte("a letter "), n/9+1))
	h := header(bob)
	h.Fanout = 100
	return wire.AppendPublish(nil, h, testSession, b)
}

// Apps that want it compress, and so does the node for them; others get the same messages. Rules: P-comp-2.
func TestAppsCompress(t *testing.T) {
	n, err := router.Start(t.Context(), patient(router.Options{Listen: []string{"127.0.0.1:0", "ws://127.0.0.1:0/"}}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	}()
	grpc, webSocket := n.Addrs()[0].String(), "ws://"+n.Addrs()[1].String()
	receivers := map[string]*Conn{
		"plain": dialNode(t, grpc, Options{}), "gzip": dialNode(t, grpc, Options{Compression: compress.Gzip}),
		"snappy": dialNode(t, grpc, Options{Compression: compress.Snappy}), "plain by WebSocket": dialNode(t, webSocket, Options{}),
		"by WebSocket": dialNode(t, webSocket, Options{Compression: compress.Zstd})}
	for _, c := range receivers {
		subscribe(t, c, bob)
	}
	sizes := []int{10, 2000, 50_000, 1 << 20, 3000}
	for name, o := range map[string]Options{"zstd": {Compression: compress.Zstd}, "gzip": {Compression: compress.Gzip},
		"by WebSocket": {Compression: compress.Gzip}} {
		addr := grpc
		if name == "by WebSocket" {
			addr = webSocket
		}
		c := dialNode(t, addr, o)
		before := n.Stats()
		for i, size := range sizes {
			if err := c.Send(t.Context(), letter(i, size)); err != nil {
				t.Fatal(err)
			}
		}
		for to, r := range receivers {
			for i, size := range sizes {
				if got := receive(t, r); number(got, size) != i || !bytes.HasSuffix(got, letter(i, size)[len(letter(i, size))-size+8:]) {
					t.Errorf("%s to %s: message %d is number %d", name, to, i, number(got, size))
				}
			}
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		s := n.Stats()
		if in, packed := s.PlainIn-before.PlainIn, s.PackedIn-before.PackedIn; in < 55_000 || packed > in/5 {
			t.Errorf("%s: the node got %d bytes for %d", name, packed, in)
		}
		if out, packed := s.PlainOut-before.PlainOut, s.PackedOut-before.PackedOut; out < 2*55_000 || // a loop does so much in a turn
			packed > out/5 {
			t.Errorf("%s: the node sent %d bytes for %d", name, packed, out)
		}
	}
	if s := n.Stats(); len(s.Refused)+len(s.Dropped) != 0 {
		t.Errorf("refused %v, dropped %v", s.Refused, s.Dropped)
	}
}

// A node that sends what does not expand, or compresses what was not asked for, is told from others.
func TestNodesThatCompressBadly(t *testing.T) {
	for name, tc := range map[string]struct {
		want    compress.Encoding
		respond h2.Field
		send    []byte
		text    string
	}{
		"garbage": {compress.Gzip, h2.Field{Name: "grpc-encoding", Value: "gzip"}, []byte("no gzip"), "does not expand"},
		"a bomb":  {compress.Gzip, h2.Field{Name: "grpc-encoding", Value: "gzip"}, bomb(), "larger than what is taken"},
		"another": {compress.Gzip, h2.Field{Name: "grpc-encoding", Value: "zstd"}, nil, "not asked for"},
		"unasked": {compress.None, h2.Field{Name: "grpc-encoding", Value: "gzip"}, nil, "not asked for"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{answer: func(p *peer, _ *h2.Request) bool {
				p.h2.Respond(p.stream, tc.respond)
				return true
			}}
			bubble(t, f, func(t *testing.T, f *fake) {
				c, err := Dial(t.Context(), f.addr, &Options{DialContext: f.nw.Dial, Compression: tc.want})
				if err == nil {
					p := <-f.joined
					p.do(func() {
						at := len(p.queue)
						p.frame(tc.send)
						p.queue[at] = 1
					})
					_, err = c.Receive(t.Context())
					<-c.Done()
				}
				var e *Error
				if !errors.As(err, &e) || e.Fault != Node || !strings.Contains(err.Error(), tc.text) {
					t.Errorf("%v, want %q", err, tc.text)
				}
			})
		})
	}
}

// bomb is 64 MiB of zeros, by gzip.
func bomb() []byte {
	var c compress.Compressor
	b := c.Append(nil, compress.Deflate, nil, make([]byte, compress.Most))
	out := []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff")
	for range 512 {
		out = append(append(out, b...), "\x00\x00\xff\xff"...)
	}
	return out
}

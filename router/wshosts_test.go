package router

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	gobwas "github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"github.com/seed31b3bfd0/slimgo/router/transport"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
	"github.com/seed31b3bfd0/slimgo/wire/link"
)

// wsHost is what a server on somebody else's library makes of one request: how messages are sent and read, and how it ends.
type wsHost func(ctx context.Context, w http.ResponseWriter, r *http.Request) (*hostEnd, error)

type hostEnd struct {
	send  func(msg []byte) error
	read  func() ([]byte, error)
	close func() error
}

// coderHost is one by coder/websocket.
func coderHost(mode websocket.CompressionMode) wsHost {
	return func(ctx context.Context, w http.ResponseWriter, r *http.Request) (*hostEnd, error) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: mode})
		if err != nil {
			return nil, err
		}
		c.SetReadLimit(-1)
		return &hostEnd{
			send: func(b []byte) error { return c.Write(ctx, websocket.MessageBinary, b) },
			read: func() ([]byte, error) {
				_, b, err := c.Read(ctx)
				return b, err
			},
			close: c.CloseNow,
		}, nil
	}
}

// gobwasHost is one by gobwas/ws, all of whose messages leave compressed.
func gobwasHost(_ context.Context, w http.ResponseWriter, r *http.Request) (*hostEnd, error) {
	e := wsflate.Extension{Parameters: wsflate.DefaultParameters}
	c, _, _, err := gobwas.HTTPUpgrader{Negotiate: e.Negotiate}.Upgrade(r, w)
	if err != nil {
		return nil, err
	}
	if _, agreed := e.Accepted(); !agreed {
		return nil, errors.Join(errors.New("no compression is offered"), c.Close())
	}
	h := &hostEnd{close: c.Close}
	h.send = func(b []byte) error {
		f, err := wsflate.CompressFrame(gobwas.NewBinaryFrame(b))
		if err == nil {
			err = gobwas.WriteFrame(c, f)
		}
		return err
	}
	h.read = func() ([]byte, error) {
		for {
			f, err := gobwas.ReadFrame(io.LimitReader(c, 1<<20)) //nolint:staticcheck // of a node of ours, and bounded
			switch {
			case err != nil:
				return nil, err
			case f.Header.OpCode == gobwas.OpClose:
				return nil, io.EOF
			}
			if f = gobwas.UnmaskFrameInPlace(f); f.Header.Rsv1() {
				f, err = wsflate.DecompressFrame(f)
			}
			if err != nil || f.Header.OpCode == gobwas.OpBinary {
				return f.Payload, err
			}
		}
	}
	return h, nil
}

// serveLink is the accepting end of a link: it wants what goes to carol, and after one message to her sends one to bob.
func (h *hostEnd) serveLink(size int, came chan<- []byte) error {
	defer func() { _ = h.close() }()
	req, err := h.read()
	if err != nil {
		return err
	}
	m := link.New(&link.Config{Role: link.Acceptor, Version: "3.4.6", NodeID: "n", Strict: true})
	reply, err := m.Step(nil, req)
	if err == nil {
		err = h.send(reply)
	}
	if err == nil {
		err = h.send(wire.AppendSubscribe(nil, header(carol, carol, 1, ""), 1))
	}
	var b []byte
	for err == nil && len(b) < size {
		b, err = h.read()
	}
	if err == nil {
		came <- bytes.Clone(b)
		err = h.send(wire.AppendPublish(nil, header(alice, bob, 1, "x"), testSession, letters(2, size)))
	}
	if err != nil {
		return err
	}
	for err == nil { // until the node goes
		_, err = h.read()
	}
	return nil
}

// A node that dials servers by other libraries compresses and is sent what is compressed, if they do that, whatever
// context they would like to keep. Rules: P-comp-8.
func TestDialledWebSocketServersCompress(t *testing.T) {
	t.Parallel() // beside those that wait
	for name, tc := range map[string]struct {
		host wsHost
		want bool
	}{
		"coder without context": {coderHost(websocket.CompressionNoContextTakeover), true},
		"coder with context":    {coderHost(websocket.CompressionContextTakeover), true},
		"coder that does not":   {coderHost(websocket.CompressionDisabled), false},
		"gobwas":                {gobwasHost, true},
	} {
		t.Run(name, func(t *testing.T) {
			const size = 20_000
			came := make(chan []byte, 100)
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h, err := tc.host(ctx, w, r)
				if err == nil {
					err = h.serveLink(size, came)
				}
				if err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			})}
			done := make(chan struct{})
			go func() { defer close(done); _ = srv.Serve(ln) }()
			defer func() { cancel(); _ = srv.Close(); <-done }()
			n := start(t, generic("one"))
			a := call(t, n)
			a.subscribe(bob) // before the link: its other end acknowledges no names
			d := dialWays[1].dial(t, n, ln.Addr().String(), func(l *Link) { l.Call.Offer = &transport.Offer{Encoding: compress.Deflate} })
			d.await(LinkUp)
			until(t, "the route is told", func() bool { return n.Stats().Names == 2 })
			var b []byte
			again := time.NewTicker(5 * time.Second) // the link may break on a busy machine, and what is under way with it
			defer again.Stop()
			for b == nil && ctx.Err() == nil {
				a.send(letter(a, carol, 1, size))
				select {
				case b = <-came:
				case <-again.C:
				case <-ctx.Done():
				}
			}
			if b == nil || numberOf(b) != 1 {
				t.Fatalf("%d bytes came, of message 1", len(b))
			}
			a.await(func() bool { return len(a.got) == 1 })
			if b = a.got[0]; numberOf(b) != 2 || len(b) < size {
				t.Errorf("message %d of %d bytes came back", numberOf(b), len(b))
			}
			if tc.want {
				until(t, "both messages are counted", func() bool { s := n.Stats(); return s.PlainOut > size && s.PlainIn > size })
			}
			s := n.Stats()
			if s.PackedOut > s.PlainOut/5 || s.PackedIn > s.PlainIn/5 || !tc.want && s.PlainOut+s.PlainIn != 0 {
				t.Errorf("want compression: %v; %d to %d out, %d from %d in", tc.want, s.PlainOut, s.PackedOut, s.PlainIn, s.PackedIn)
			}
			if len(s.Refused)+len(s.Dropped) != 0 || s.Panics != 0 {
				t.Errorf("refused %v, dropped %v", s.Refused, s.Dropped)
			}
			d.Close()
		})
	}
}

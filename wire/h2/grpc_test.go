package h2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// rawCodec passes bytes through grpc-go.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = bytes.Clone(data); return nil }
func (rawCodec) Name() string                       { return "raw" }

var bidi = &grpc.StreamDesc{StreamName: "OpenChannel", ServerStreams: true, ClientStreams: true}

// batches are the loads every pair of ends must carry: sizes of messages and how many of each.
var batches = []struct{ size, count int }{{0, 200}, {100, 500}, {64 << 10, 20}, {4<<20 - 5, 2}}

// hang is when a test that waits for a peer is given up: long after a busy machine has come to it.
const hang = 5 * time.Minute

// windowCases are settings of our end.
var windowCases = []struct {
	name string
	set  Settings
}{
	{"default windows", Settings{}},
	{"64 KiB windows", Settings{InitialWindow: 65535, ConnWindow: 65535}},
	{"tiny stream window", Settings{InitialWindow: 1000}},
	{"1 MiB frames", Settings{MaxFrameSize: 1 << 20, InitialWindow: 4 << 20}},
}

// noise are random bytes.
var noise = sync.OnceValue(func() []byte {
	b := make([]byte, 4<<20+4096)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
})

// payload is message i of that size, up to 4 MiB. It is borrowed.
func payload(size, i int) []byte {
	at := (size + 31*i) % 4096
	return noise()[at : at+size : at+size]
}

// tooSlow reports loads that would take thousands of round trips; they are made smaller.
func tooSlow(set *Settings, size int) bool { return set.InitialWindow == 1000 && size > 1<<20 }

func TestServerEchoesToGRPCGo(t *testing.T) {
	t.Parallel()
	for _, wc := range windowCases {
		t.Run(wc.name, func(t *testing.T) {
			cc := dialGRPC(t, func(context.Context, string) (net.Conn, error) {
				a, b := net.Pipe()
				go func() { _ = serveEcho(b, &wc.set) }()
				return a, nil
			})
			for _, b := range batches {
				if tooSlow(&wc.set, b.size) {
					b.size = 1 << 20
				}
				ctx, cancel := context.WithTimeout(context.Background(), hang)
				echoWithGRPC(t, ctx, cc, b.size, b.count)
				cancel()
			}
		})
	}
}

// patient is a client that gives no connection up on a machine that does much else.
var patient = grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: hang})

func dialGRPC(t testing.TB, dial func(context.Context, string) (net.Conn, error)) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///node", grpc.WithContextDialer(dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})),
		grpc.WithInitialWindowSize(65535), grpc.WithInitialConnWindowSize(65535), patient)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return cc
}

func echoWithGRPC(t *testing.T, ctx context.Context, cc *grpc.ClientConn, size, count int) {
	t.Helper()
	st, err := cc.NewStream(ctx, bidi, channelPath)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for i := range count {
			b := payload(size, i)
			if err := st.SendMsg(&b); err != nil {
				t.Errorf("send %d of %d bytes: %v", i, size, err)
				return
			}
		}
		if err := st.CloseSend(); err != nil {
			t.Error(err)
		}
	})
	for i := range count {
		var got []byte
		if err := st.RecvMsg(&got); err != nil {
			t.Errorf("receive %d of %d bytes: %v", i, size, err)
			return
		}
		if !bytes.Equal(got, payload(size, i)) {
			t.Errorf("message %d of %d bytes came back changed", i, size)
			return
		}
	}
	var more []byte
	if err := st.RecvMsg(&more); err != io.EOF {
		t.Errorf("end of the stream: %v, want EOF (status 0)", err)
	}
}

// Rules: P-tr-6.
func TestServerRefusesGRPCGo(t *testing.T) {
	addr := listenEcho(t, nil).String()
	cc := dialGRPC(t, func(ctx context.Context, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	})
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	var in, out []byte
	err := cc.Invoke(ctx, "/other.Service/Method", &in, &out)
	if s := status.Convert(err); s.Code() != codes.Unimplemented || s.Message() != "unknown method" {
		t.Errorf("got %v", err)
	}
	st, err := cc.NewStream(ctx, bidi, channelPath)
	if err != nil {
		t.Fatal(err)
	}
	huge := make([]byte, 4<<20+1)
	_ = st.SendMsg(&huge)
	if err := st.RecvMsg(&out); err != io.EOF { // our test node ends with status 0, as upstream does
		t.Errorf("after an oversize message: %v", err)
	}
	echoWithGRPC(t, ctx, cc, 10, 3) // the connection lives
}

// dialer is a client owner that sends a list of messages and collects what comes back.
type dialer struct {
	echo
	s       *Stream
	pending []byte // rest of the message being sent
	send    [][]byte
	got     [][]byte
	end     *End
	closed  bool
	atOnce  int // messages under way at a time; 0: any number
	sent    int
}

func (d *dialer) Response(*Stream, *Response) {}
func (d *dialer) Message(_ *Stream, msg []byte, _ bool) {
	d.got = append(d.got, bytes.Clone(msg))
}
func (d *dialer) Grow(_ *Stream, have []byte, n int) []byte {
	return append(make([]byte, 0, n), have...)
}
func (d *dialer) Ended(_ *Stream, e *End) { end := *e; d.end = &end }
func (d *dialer) Closed(*Stream)          { d.closed = true }

func (d *dialer) flush() []byte {
	d.out = append(d.out[:0], d.c.Control()...)
	d.c.ControlDone()
	for !d.closed {
		var k int
		if d.out, k = sendBytes(d.c, d.out, d.s, d.pending); k < len(d.pending) {
			d.pending = d.pending[k:]
			break
		}
		if len(d.send) == 0 {
			d.out = d.c.HalfClose(d.out, d.s)
			break
		}
		if d.pending = nil; d.atOnce > 0 && d.sent-len(d.got) >= d.atOnce {
			break
		}
		d.sent++
		d.pending = append(appendPrefix(nil, len(d.send[0])), d.send[0]...)
		d.send = d.send[1:]
	}
	d.c.Cut()
	return d.out
}

// callEcho sends count messages of that size over our client engine, all at once or so many at a time, and returns what
// came back.
func callEcho(conn net.Conn, set *Settings, path string, size, count, atOnce int) (*dialer, error) {
	defer conn.Close()
	var c Conn
	c.Init(Client, set)
	d := &dialer{echo: echo{c: &c}, atOnce: atOnce}
	for i := range count {
		d.send = append(d.send, payload(size, i))
	}
	s, err := c.Open([]Field{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"},
		{Name: ":path", Value: path}, {Name: ":authority", Value: "node"}, {Name: "te", Value: "trailers"},
		{Name: "content-type", Value: "application/grpc"}})
	if err != nil {
		return d, err
	}
	d.s = s
	w := newWriter(conn)
	defer w.stop()
	b := make([]byte, 64<<10)
	for !d.closed {
		w.put(d.flush())
		_ = conn.SetReadDeadline(time.Now().Add(hang))
		n, err := conn.Read(b)
		if err != nil {
			return d, err
		}
		if err := c.Feed(b[:n], d); err != nil {
			return d, err
		}
	}
	w.put(d.flush())
	return d, nil
}

func checkEcho(t *testing.T, d *dialer, err error, size, count int) {
	t.Helper()
	if err != nil {
		t.Fatalf("%d bytes: %v", size, err)
	}
	if len(d.got) != count {
		t.Fatalf("%d bytes: %d of %d came back", size, len(d.got), count)
	}
	for i, got := range d.got {
		if !bytes.Equal(got, payload(size, i)) {
			t.Fatalf("message %d of %d bytes came back changed", i, size)
		}
	}
	if d.end == nil || d.end.Kind != KindTrailers || d.end.GRPCStatus != 0 {
		t.Errorf("%d bytes: ended with %+v", size, d.end)
	}
}

// serveGRPC serves channelPath with grpc-go, which sends back what comes, until the test ends.
func serveGRPC(t *testing.T, o ...grpc.ServerOption) (dial func() net.Conn) {
	t.Helper()
	srv := grpc.NewServer(append(o, grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(func(_ any, st grpc.ServerStream) error {
		if m, _ := grpc.MethodFromServerStream(st); m != channelPath {
			return status.Error(codes.PermissionDenied, "50 % no ü")
		}
		for {
			var b []byte
			if err := st.RecvMsg(&b); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if err := st.SendMsg(&b); err != nil {
				return err
			}
		}
	}))...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(l) })
	t.Cleanup(func() {
		srv.Stop()
		wg.Wait()
	})
	return func() net.Conn {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
}

func TestClientCallsGRPCGo(t *testing.T) {
	t.Parallel()
	dial := serveGRPC(t, grpc.InitialWindowSize(65535), grpc.InitialConnWindowSize(65535))
	for _, wc := range windowCases {
		for _, b := range batches {
			t.Run(fmt.Sprintf("%s, %d bytes", wc.name, b.size), func(t *testing.T) {
				if tooSlow(&wc.set, b.size) {
					b.size = 1 << 20
				}
				d, err := callEcho(dial(), &wc.set, channelPath, b.size, b.count, 0)
				checkEcho(t, d, err, b.size, b.count)
			})
		}
	}
	d, err := callEcho(dial(), nil, "/other.Service/Method", 1, 1, 0)
	if err != nil || d.end == nil || d.end.GRPCStatus != 7 || d.end.Message != "50 % no ü" {
		t.Errorf("refused call: %v, %+v", err, d.end)
	}
}

func TestOurEndsEcho(t *testing.T) {
	t.Parallel()
	for _, client := range windowCases {
		for _, server := range windowCases {
			for _, b := range batches {
				if b.size > 1<<20 && client.name != server.name && client.name != windowCases[0].name {
					continue // so much with each client and with each server
				}
				t.Run(fmt.Sprintf("client %s, server %s, %d bytes", client.name, server.name, b.size), func(t *testing.T) {
					if tooSlow(&client.set, b.size) || tooSlow(&server.set, b.size) {
						b.size = 1 << 20
					}
					x, y := net.Pipe()
					var wg sync.WaitGroup
					wg.Go(func() { _ = serveEcho(y, &server.set) })
					d, err := callEcho(x, &client.set, channelPath, b.size, b.count, 0)
					checkEcho(t, d, err, b.size, b.count)
					wg.Wait()
				})
			}
		}
	}
}

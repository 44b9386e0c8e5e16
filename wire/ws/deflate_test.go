package ws

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/gobwas/httphead"
	gobwas "github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"github.com/seed31b3bfd0/slimgo/wire/compress"
)

// Rules: P-comp-8.
func TestOffersOfDeflate(t *testing.T) {
	for _, tc := range []struct {
		fields string
		want   bool
	}{
		{"", false},
		{"permessage-deflate", true},
		{"Permessage-Deflate", true},
		{"permessage-deflate; client_max_window_bits", true}, // Chromium
		{`permessage-deflate; client_max_window_bits="10"; server_no_context_takeover; client_no_context_takeover`, true},
		{"permessage-deflate; server_max_window_bits=15", true},
		{"permessage-deflate; server_max_window_bits=10", false},
		{"permessage-deflate; server_max_window_bits=10, permessage-deflate", true}, // the second will do
		{"permessage-deflate; server_max_window_bits", false},
		{"permessage-deflate; client_max_window_bits=7", false},
		{"permessage-deflate; client_max_window_bits=16", false},
		{"permessage-deflate; client_max_window_bits=010", false},
		{"permessage-deflate; client_max_window_bits; client_max_window_bits", false},
		{"permessage-deflate; server_no_context_takeover=1", false},
		{"permessage-deflate; unknown", false},
		{"x-webkit-deflate-frame", false},
		{"bbf-usp-protocol, permessage-deflate", true},
		{"foo\r\nSec-WebSocket-Extensions: permessage-deflate", true},
	} {
		for _, set := range []bool{true, false} {
			k := &talk{t: t}
			k.c.Init(Server, &Settings{Deflate: set})
			k.ev.onRequest = func(*Request) { k.c.Accept() }
			req := testRequest
			if tc.fields != "" {
				req += "Sec-WebSocket-Extensions: " + tc.fields + "\r\n"
			}
			k.feed([]byte(req + "\r\n"))
			want := tc.want && set
			answered := strings.Contains(string(k.c.Control()), "Sec-WebSocket-Extensions: "+deflateBoth+"\r\n")
			if k.err != nil || !k.c.Open() || k.c.Deflates() != want || answered != want {
				t.Errorf("%q, allowed %v: deflates %v, answered %v, %v", tc.fields, set, k.c.Deflates(), answered, k.err)
			}
		}
	}
}

func TestAnswersToOurOffer(t *testing.T) {
	for answer, want := range map[string]string{
		"":          "plain",
		deflateBoth: "deflates",
		"permessage-deflate; server_no_context_takeover":                           "deflates",
		"permessage-deflate; server_no_context_takeover; server_max_window_bits=9": "deflates",
		"permessage-deflate": "parameters",
		"permessage-deflate; server_no_context_takeover; client_max_window_bits=10": "parameters",
		"permessage-deflate; server_no_context_takeover; server_max_window_bits=7":  "parameters",
		"permessage-deflate; server_no_context_takeover; x":                         "parameters",
		deflateBoth + ", " + deflateBoth:                                            "not offered",
		"foo":                                                                       "not offered",
	} {
		k := &talk{t: t}
		k.c.Init(Client, seeded(&Settings{Deflate: true}))
		if err := k.c.Upgrade(&Upgrade{Host: "h"}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(k.c.Control()), "\r\nSec-WebSocket-Extensions: "+deflateBoth+"\r\n") {
			t.Fatalf("no offer in %q", k.c.Control())
		}
		a := acceptOf(k.c.key[:])
		field := ""
		if answer != "" {
			field = "Sec-WebSocket-Extensions: " + answer + "\r\n"
		}
		k.feed(fmt.Appendf(nil, "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n%sSec-WebSocket-Accept: %s\r\n\r\n", field, a))
		got := "plain"
		switch {
		case k.err != nil:
			got = k.err.Error()
		case k.c.Deflates():
			got = "deflates"
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: %s, want %s", answer, got, want)
		}
	}
}

// deflating returns an engine that has agreed to compress.
func deflating(t testing.TB, s *Settings) *talk {
	t.Helper()
	k := &talk{t: t}
	set := *s
	set.Deflate = true
	k.c.Init(Server, &set)
	k.ev.onRequest = func(*Request) { k.c.Accept() }
	k.feed([]byte(testRequest + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"))
	if k.err != nil || !k.c.Deflates() {
		t.Fatal("no compression", k.err)
	}
	k.c.ControlDone()
	k.ev.lines = nil
	return k
}

// The bit stands in the first frame of a message and nowhere else: RFC 7692 section 6.
func TestTheBitOfCompressedMessages(t *testing.T) {
	const packed, plain = "message 66 ", "message 2 "
	reserved := `reserved bit set, without an extension`
	for _, tc := range []struct {
		name string
		in   []byte
		want []string
		err  string
	}{
		{"whole", frame(0xc2, true, 'a', 'b'), []string{packed + `"ab"`}, ""},
		{"fragments", join(frame(0x42, true, 'a'), frame(0x89, true), frame(0x00, true, 'b'), frame(0x80, true)), []string{packed + `"ab"`}, ""},
		{"between plain ones", join(frame(0x82, true, 'a'), frame(0xc2, true, 'b'), frame(0x82, true, 'c')),
			[]string{plain + `"a"`, packed + `"b"`, plain + `"c"`}, ""},
		{"of nothing", frame(0xc2, true), []string{packed + `""`}, ""},
		{"on a fragment", join(frame(0x42, true, 'a'), frame(0x40, true, 'b')), nil, reserved},
		{"on the last fragment", join(frame(0x02, true, 'a'), frame(0xc0, true, 'b')), nil, reserved},
		{"on a ping", frame(0xc9, true), nil, reserved},
		{"on a close", frame(0xc8, true), nil, reserved},
		{"with another", frame(0xe2, true), nil, reserved},
		{"another", frame(0xa2, true), nil, reserved},
		{"a text that is not UTF-8 when it is packed", frame(0xc1, true, 0xff), []string{`message 65 "\xff"`}, ""},
		{"above the limit", frame(0xc2, true, make([]byte, 2001)...), nil, "message of more than 2000 bytes"},
	} {
		for _, n := range []int{1, 1 << 20} {
			k := deflating(t, &Settings{Text: true, MaxMessage: 2000})
			k.feedCut(tc.in, n)
			if got := slices.DeleteFunc(k.ev.lines, func(s string) bool { return strings.HasPrefix(s, "pong") }); !slices.Equal(got, tc.want) {
				t.Errorf("%s, %d bytes at a time: %q, want %q", tc.name, n, got, tc.want)
			}
			if tc.err == "" && k.err != nil || tc.err != "" && (k.err == nil || !strings.Contains(k.err.Error(), tc.err)) {
				t.Errorf("%s: %v, want %q", tc.name, k.err, tc.err)
			}
		}
	}
	plainOne := opened(t, Server, &Settings{Text: true, Deflate: true})
	plainOne.feed(frame(0xc2, true, 'a')) // this client has offered nothing
	if plainOne.err == nil {
		t.Error("a compressed message was taken that nobody had agreed on")
	}
	if _, ok := plainOne.c.Compressed(nil, Binary, 1); ok {
		t.Error("a compressed message may be sent that nobody has agreed on")
	}
}

func TestCompressedMessagesLeaveWithTheBit(t *testing.T) {
	k := deflating(t, &Settings{})
	b, ok := k.c.Compressed(nil, Binary, 3)
	if !ok || !bytes.Equal(b, []byte{0xc2, 3}) {
		t.Errorf("%x, %v", b, ok)
	}
	if b, _ = k.c.Message(nil, 3); !bytes.Equal(b, []byte{0x82, 3}) {
		t.Errorf("a plain one: %x", b)
	}
}

// expand returns the content of a compressed message as the test's owner takes it.
func (e *echoer) expand(msg []byte) ([]byte, error) {
	return e.x.Append(nil, compress.Deflate, msg, 64<<20)
}

func TestServerDeflatesWithCoderWebsocket(t *testing.T) {
	for _, mode := range []websocket.CompressionMode{websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover} {
		c, done := dialCoder(t, &Settings{Text: true, Deflate: true}, mode)
		exchange(t, c)
		if err := c.Close(4000, "done"); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestClientDeflatesWithCoderWebsocket(t *testing.T) {
	served := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionNoContextTakeover, CompressionThreshold: 1})
		if err != nil {
			served <- err
			return
		}
		c.SetReadLimit(-1)
		exchange(t, c)
		served <- c.Close(websocket.StatusNormalClosure, "")
	}))
	defer srv.Close()
	addr := strings.TrimPrefix(srv.URL, "http://")
	n, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	e := &echoer{n: n, c: new(Conn)}
	if err := e.serve(n, Client, &Settings{Text: true, Deflate: true, Seed: [32]byte{5}}, &Upgrade{Host: addr}); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if e.packed == 0 {
		t.Error("nothing came compressed")
	}
}

func TestServerDeflatesWithGobwas(t *testing.T) {
	ours, theirs := net.Pipe()
	e := &echoer{n: ours, c: new(Conn)}
	done := make(chan error, 1)
	go func() { done <- e.serve(ours, Server, &Settings{Text: true, Deflate: true}, nil) }()
	d := gobwas.Dialer{NetDial: func(context.Context, string, string) (net.Conn, error) { return theirs, nil },
		Extensions: []httphead.Option{wsflate.DefaultParameters.Option()}}
	c, buffered, hs, err := d.Dial(context.Background(), "ws://h/")
	if err != nil || buffered != nil || len(hs.Extensions) != 1 {
		t.Fatal(err, buffered, hs)
	}
	for _, n := range []int{1, 100, 70_000, 1 << 20} {
		msg := bytes.Repeat([]byte("compress me "), n/12+1)
		f, err := wsflate.CompressFrame(gobwas.NewBinaryFrame(bytes.Clone(msg)))
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = gobwas.WriteFrame(c, gobwas.MaskFrame(f)) }()
		var got gobwas.Frame
		if got.Header, err = gobwas.ReadHeader(c); err != nil || got.Header.Length > int64(2*len(msg)+100) {
			t.Fatal(got.Header, err)
		}
		got.Payload = make([]byte, got.Header.Length)
		if _, err = io.ReadFull(c, got.Payload); err != nil {
			t.Fatal(err)
		}
		if got.Header.Rsv&gobwas.Rsv(true, false, false) == 0 {
			if len(msg) > 1000 { // else it may not pay
				t.Errorf("%d bytes came back plain", len(msg))
			}
		} else if got, err = wsflate.DecompressFrame(got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Payload, msg) {
			t.Errorf("%d bytes came back as %d", len(msg), len(got.Payload))
		}
	}
	c.Close()
	if err := <-done; err != nil && err != io.EOF {
		t.Error(err)
	}
}

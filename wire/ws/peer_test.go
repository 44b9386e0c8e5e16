package ws

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// dialCoder connects coder/websocket with an engine in the role of the server, over a pipe.
func dialCoder(t *testing.T, set *Settings, mode websocket.CompressionMode) (*websocket.Conn, chan error) {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- echo(ours, Server, set, nil) }()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	t.Cleanup(cancel)
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return theirs, nil }}}
	c, _, err := websocket.Dial(ctx, "ws://h/", &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{"a"}, CompressionMode: mode})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(-1)
	return c, done
}

// exchange has coder/websocket send messages of many sizes and take them back.
func exchange(t *testing.T, c *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	for _, n := range []int{0, 1, 125, 126, 1000, 65535, 65536, 1 << 20} {
		msg := bytes.Repeat([]byte("x"), n)
		for _, kind := range []websocket.MessageType{websocket.MessageBinary, websocket.MessageText} {
			sent := make(chan error, 1)
			go func() { // in fragments
				w, err := c.Writer(ctx, kind)
				for rest := msg; len(rest) > 0 && err == nil; {
					m := min(len(rest), 1+n/3)
					_, err = w.Write(rest[:m])
					rest = rest[m:]
				}
				if err == nil {
					err = w.Close()
				}
				sent <- err
			}()
			got, b, err := c.Read(ctx)
			if err != nil || got != kind || !bytes.Equal(b, msg) {
				t.Fatalf("%d bytes: %v, %v, %d bytes", n, err, got, len(b))
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestServerWithCoderWebsocket(t *testing.T) {
	c, done := dialCoder(t, nil, websocket.CompressionContextTakeover)
	exchange(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	read := c.CloseRead(ctx)
	if err := c.Ping(ctx); err != nil {
		t.Error(err)
	}
	if err := c.Close(4000, "done"); err != nil {
		t.Error(err)
	}
	<-read.Done()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCoderWebsocketIsToldWhatWasWrong(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  Settings
		kind websocket.MessageType
		msg  string
		want websocket.StatusCode
	}{
		{"text", Settings{}, websocket.MessageText, "x", websocket.StatusUnsupportedData},
		{"not UTF-8", Settings{Text: true}, websocket.MessageText, "\xff", websocket.StatusInvalidFramePayloadData},
		{"too big", Settings{MaxMessage: 10}, websocket.MessageBinary, "0123456789a", websocket.StatusMessageTooBig},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, done := dialCoder(t, &tc.set, websocket.CompressionContextTakeover)
			ctx, cancel := context.WithTimeout(context.Background(), hang)
			defer cancel()
			go c.Write(ctx, tc.kind, []byte(tc.msg))
			_, _, err := c.Read(ctx)
			if got := websocket.CloseStatus(err); got != tc.want {
				t.Errorf("%v, want %v", err, tc.want)
			}
			var e *ConnError
			if err := <-done; !errors.As(err, &e) || int(e.Code) != int(tc.want) {
				t.Error(err)
			}
			c.CloseNow()
		})
	}
}

func TestClientWithCoderWebsocket(t *testing.T) {
	served := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
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
	if err := echo(n, Client, &Settings{Text: true, Seed: [32]byte{5}}, &Upgrade{Host: addr}); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestCoderWebsocketRefuses(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		websocket.Accept(w, r, nil) // another origin
	}))
	defer srv.Close()
	addr := strings.TrimPrefix(srv.URL, "http://")
	n, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	err = echo(n, Client, seeded(nil), &Upgrade{Host: addr, Origin: "https://elsewhere"})
	if e, ok := err.(*HandshakeError); !ok || e.Status != 403 || !strings.Contains(e.Text, "elsewhere") {
		t.Error(err)
	}
}

package router

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// wsRequest is a request for a WebSocket at a path, with further fields.
func wsRequest(path string, fields ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" + strings.Join(fields, "") + "\r\n"
}

// What seems to be a client with a wrong endpoint is told of at info, with what to do and the listener to which it came; what
// seems to be a scanner is not.
func TestClientsWithAWrongEndpointAreTold(t *testing.T) {
	j := newJournal(slog.LevelInfo)
	n, err := Start(t.Context(), Options{Loops: 1, Listen: []string{"127.0.0.1:0", "ws://127.0.0.1:0/here"}, Log: j.log()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Shutdown(context.Background()) })
	const grpc, webSocket = 0, 1
	hello := "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"
	prefaced := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	for _, tt := range []struct {
		name string
		at   int
		says string
		want []string // in one line; nil: none
	}{
		{"TLS to gRPC", grpc, hello, []string{"reason=http2_error", "TLS handshake;", "without TLS"}},
		{"a WebSocket to gRPC", grpc, wsRequest("/"), []string{"reason=http2_error", "HTTP/1.1 request;", "a WebSocket an endpoint ws://"}},
		{"a page of gRPC", grpc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", nil},
		{"noise to gRPC", grpc, "\x00\x01\x02\x03", nil},
		{"nothing to gRPC", grpc, "", nil},
		{"TLS to a WebSocket", webSocket, hello, []string{"reason=bad_handshake", "TLS handshake;", "this endpoint is for WebSocket"}},
		{"gRPC to a WebSocket", webSocket, prefaced, []string{"reason=bad_handshake", "HTTP/2;", "this endpoint is for WebSocket"}},
		{"another path", webSocket, wsRequest("/there"), []string{"reason=unknown_path", "path=/there", "this endpoint has the path /here"}},
		{"noise to a WebSocket", webSocket, "\x00\x01\x02\x03", nil},
		{"nothing to a WebSocket", webSocket, "", nil},
		{"a subprotocol", webSocket, wsRequest("/here", "Sec-WebSocket-Protocol: slim, other\r\n"),
			[]string{"closed before it was a connection", `\"slim, other\"`, "ask for none"}},
		{"none", webSocket, wsRequest("/here"), nil},
	} {
		before := len(j.all("before it was a connection"))
		c, err := net.Dial("tcp", n.Addrs()[tt.at].String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, tt.says)
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
		until(t, "it has gone", func() bool { return n.Stats().Sockets == 0 })
		if len(tt.want) > 0 { // which is told behind that
			until(t, "it is told", func() bool { return len(j.all("before it was a connection")) > before })
		}
		lines := j.all("before it was a connection")[before:]
		switch {
		case len(lines) != min(1, len(tt.want)):
			t.Errorf("%s: %d lines, want %d: %q", tt.name, len(lines), min(1, len(tt.want)), lines)
		case len(lines) == 1:
			for _, w := range append(tt.want, "level=INFO", "endpoint="+n.Addrs()[tt.at].String()) {
				if !strings.Contains(lines[0], w) {
					t.Errorf("%s: %s\nwant %q", tt.name, lines[0], w)
				}
			}
		}
	}
}

// Pages whose origin is not allowed are answered with 403, and counted; programs, which have none, are let in. Rules:
// P-ws-10.
func TestOriginsOfPages(t *testing.T) {
	for _, tt := range []struct {
		allowed []string
		origin  string // "": no field
		in      bool
	}{
		{nil, "https://evil.example", true},
		{nil, "", true},
		{[]string{}, "https://app.example", false},
		{[]string{}, "", true},
		{[]string{"https://app.example", "null"}, "https://app.example", true},
		{[]string{"https://app.example", "null"}, "HTTPS://App.Example", true},
		{[]string{"https://app.example", "null"}, "null", true},
		{[]string{"https://app.example"}, "null", false},
		{[]string{"https://app.example"}, "http://app.example", false},
		{[]string{"https://app.example"}, "https://app.example:8443", false},
		{[]string{"https://app.example"}, "https://app.example.evil.example", false},
	} {
		j := newJournal(slog.LevelInfo)
		n, err := Start(t.Context(), Options{Loops: 1, Listen: []string{"ws://127.0.0.1:0/"}, Limits: []Limits{{Origins: tt.allowed}}, Log: j.log()})
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", n.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		field := ""
		if tt.origin != "" {
			field = "Origin: " + tt.origin + "\r\n"
		}
		_, _ = io.WriteString(c, wsRequest("/", field))
		_ = c.SetReadDeadline(time.Now().Add(hang))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		want := http.StatusForbidden
		if tt.in {
			want = http.StatusSwitchingProtocols
		}
		if resp.StatusCode != want {
			t.Errorf("%q with %q: %d, want %d", tt.allowed, tt.origin, resp.StatusCode, want)
		}
		_ = c.Close()
		if !tt.in {
			line := j.wait(t, "allowed_origins")
			matches(t, line, `reason=bad_handshake .*origin=`)
			until(t, "it is counted", func() bool { return n.Stats().Refused[ReasonHandshake] == 1 })
		}
		_ = n.Shutdown(context.Background())
	}
}

// A WebSocket whose negotiation goes wrong is told so by the code of its Close, and what was wrong by its text. Rules:
// P-ws-7.
func TestCloseOfAWebSocketThatDoesNotNegotiate(t *testing.T) {
	n := startAt(t, Options{Listen: []string{"ws://127.0.0.1:0/"}, NegotiationTimeout: DefaultNegotiation})
	for name, tt := range map[string]struct{ frame, want string }{
		"junk":  {"\x82\x84\x00\x00\x00\x00junk", "negotiation: "},
		"later": {"", "no negotiation within 5s"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", n.Addrs()[0].String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _ = io.WriteString(c, wsRequest("/")+tt.frame)
			if tt.frame == "" {
				until(t, "it is there", func() bool { return n.Stats().Connections == 1 })
				for _, l := range n.loops {
					l.post(func() { l.expireSetups(time.Now().Add(time.Hour)) })
				}
			}
			_ = c.SetReadDeadline(time.Now().Add(hang))
			b, err := io.ReadAll(c)
			_, frame, _ := strings.Cut(string(b), "\r\n\r\n")
			if err != nil || !strings.HasPrefix(frame, "\x88") || !strings.Contains(frame, "\x03\xea"+tt.want) { // 1002
				t.Errorf("%q, %v", frame, err)
			}
		})
	}
}

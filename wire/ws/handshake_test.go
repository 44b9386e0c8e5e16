package ws

import (
	"fmt"
	"strings"
	"testing"
)

// A request is judged the same however it is cut, and answered with a reason.
func TestRequests(t *testing.T) {
	const rest = "\r\n"
	edit := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(testRequest) + rest }
	for _, tc := range []struct {
		name, in string
		set      Settings
		status   int // 101: it opens
		reason   string
	}{
		{name: "plain", in: testRequest + rest, status: 101},
		{name: "names and tokens in any case, lists", in: edit("Upgrade: websocket", "UPGRADE:foo , WebSocket", "Connection: Upgrade", "connection: keep-alive,UPGRADE"), status: 101},
		{name: "the query is not part of the path", in: edit("GET / ", "GET /?x=1 "), status: 101},
		{name: "absolute form", in: edit("GET / ", "GET http://h "), status: 101},
		{name: "absolute form with a path", in: edit("GET / ", "GET ws://h/a?b "), set: Settings{Path: "/a"}, status: 101},
		{name: "offers are ignored", in: testRequest + "Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n" + rest, status: 101},
		{name: "origins are free", in: testRequest + "Origin: https://x\r\n" + rest, status: 101},
		{name: "an origin that is not allowed", in: testRequest + "Origin: https://x\r\n" + rest, status: 403, reason: "origin",
			set: Settings{AllowOrigin: func(r *Request) bool { return string(r.Origin) != "https://x" }}},
		{name: "no origin, no question", in: testRequest + rest, set: Settings{AllowOrigin: func(*Request) bool { return false }}, status: 101},
		{name: "an empty body", in: testRequest + "Content-Length: 0\r\n" + rest, status: 101},
		{name: "another path", in: edit("GET / ", "GET /b "), status: 404, reason: "another path"},
		{name: "the path comes before all else", in: "GET /b HTTP/1.1\r\nHost: h\r\n\r\n", status: 404, reason: "another path"},
		{name: "a path is compared as it is", in: edit("GET / ", "GET /%61 "), set: Settings{Path: "/a"}, status: 404, reason: "path"},
		{name: "another method", in: edit("GET ", "POST "), status: 405, reason: "GET"},
		{name: "no upgrade", in: edit("Upgrade: websocket\r\n", ""), status: 400, reason: "Upgrade does not say websocket"},
		{name: "another upgrade", in: edit("Upgrade: websocket", "Upgrade: h2c"), status: 400, reason: "websocket"},
		{name: "no connection", in: edit("Connection: Upgrade", "Connection: close"), status: 400, reason: "Connection"},
		{name: "an old version", in: edit(": 13", ": 8"), status: 426, reason: "13"},
		{name: "no version", in: edit("Sec-WebSocket-Version: 13\r\n", ""), status: 426, reason: "13"},
		{name: "two versions", in: testRequest + "Sec-WebSocket-Version: 13\r\n" + rest, status: 426, reason: "13"},
		{name: "no key", in: edit("Sec-WebSocket-Key", "X"), status: 400, reason: "Key"},
		{name: "a short key", in: edit("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"), status: 400, reason: "16 bytes"},
		{name: "a key that is not base64", in: edit("dGhlIHNhbXBsZSBub25jZQ==", "dGhl IHNhbXBsZSBub25jZQ="), status: 400, reason: "16 bytes"},
		{name: "two keys", in: testRequest + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + rest, status: 400, reason: "Key"},
		{name: "no host", in: edit("Host: h\r\n", ""), status: 400, reason: "Host"},
		{name: "two hosts", in: testRequest + "Host: i\r\n" + rest, status: 400, reason: "Host"},
		{name: "a body", in: testRequest + "Content-Length: 5\r\n" + rest, status: 400, reason: "body"},
		{name: "a body in chunks", in: testRequest + "Transfer-Encoding: chunked\r\n" + rest, status: 400, reason: "body"},
		{name: "HTTP/1.0", in: edit("HTTP/1.1", "HTTP/1.0"), status: 400, reason: "HTTP/1.0"},
		{name: "HTTP/2", in: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", status: 400, reason: "HTTP/2"},
		{name: "no version of HTTP", in: edit(" HTTP/1.1", ""), status: 400, reason: "first line"},
		{name: "a space in the path", in: edit("GET / ", "GET /a b "), status: 400, reason: "first line"},
		{name: "a fragment", in: edit("GET / ", "GET /#a "), status: 400, reason: "first line"},
		{name: "no path", in: edit("GET / ", "GET * "), status: 400, reason: "target"},
		{name: "a line that is folded", in: testRequest + " x\r\n" + rest, status: 400, reason: "line 7"},
		{name: "a space before the colon", in: testRequest + "a : b\r\n" + rest, status: 400, reason: "line 7"},
		{name: "no colon", in: testRequest + "ab\r\n" + rest, status: 400, reason: "line 7"},
		{name: "NUL in a value", in: testRequest + "a: \x00\r\n" + rest, status: 400, reason: "line 7"},
		{name: "CR in a value", in: testRequest + "a: b\rc\r\n" + rest, status: 400, reason: "line 7"},
		{name: "LF alone", in: "GET / HTTP/1.1\nHost: h\n\n", status: 400, reason: "line 1 of the handshake does not end with CRLF"},
		{name: "a long head", in: testRequest + strings.Repeat("a", 1000) + ": b\r\n" + rest, set: Settings{MaxHead: 1000}, status: 431, reason: "1000 bytes"},
		{name: "a head without end", in: strings.Repeat("a", 17<<10), status: 431, reason: "16384 bytes"},
		{name: "many fields", in: testRequest + strings.Repeat("a: b\r\n", 6) + rest, set: Settings{MaxFields: 10}, status: 431, reason: "10 fields"},
		{name: "as many as may be", in: testRequest + strings.Repeat("a: b\r\n", 5) + rest, set: Settings{MaxFields: 10}, status: 101},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, cut := range []int{len(tc.in), 1, 7} {
				k := &talk{t: t}
				k.c.Init(Server, &tc.set)
				k.ev.onRequest = func(*Request) { k.c.Accept() }
				k.feedCut([]byte(tc.in), cut)
				out := string(k.c.Control())
				if !strings.HasPrefix(out, fmt.Sprintf("HTTP/1.1 %d ", tc.status)) {
					t.Fatalf("cut %d: %q, want %d", cut, out, tc.status)
				}
				if tc.status == 101 {
					if k.err != nil || !k.c.Open() || !strings.Contains(out, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") {
						t.Errorf("cut %d: %v %q", cut, k.err, out)
					}
					continue
				}
				e, ok := k.err.(*HandshakeError)
				if !ok || e.Status != tc.status || !strings.Contains(e.Reason, tc.reason) || !strings.HasSuffix(out, "\r\n\r\n"+e.Reason+"\n") || k.c.Open() || !k.c.Over() {
					t.Errorf("cut %d: %v %q", cut, k.err, out)
				}
				if has := strings.Contains(out, "Sec-WebSocket-Version: 13\r\n"); has != (tc.status == 426) {
					t.Errorf("version named: %v", has)
				}
				if has := strings.Contains(out, "Allow: GET\r\n"); has != (tc.status == 405) {
					t.Errorf("method named: %v", has)
				}
			}
		})
	}
}

func TestWhatIsNotHTTPGetsNoAnswer(t *testing.T) {
	for _, in := range []string{"\x16\x03\x01\x02\x00", "\x00", "\r\n", " GET"} {
		k := &talk{t: t}
		k.c.Init(Server, nil)
		k.feed([]byte(in))
		if e, ok := k.err.(*HandshakeError); !ok || !e.NotHTTP || len(k.c.Control()) > 0 || in[0] == 0x16 != strings.Contains(e.Reason, "TLS") {
			t.Errorf("%q: %v, answer %q", in, k.err, k.c.Control())
		}
	}
}

// P-ws-5.
func TestToken(t *testing.T) {
	for _, tc := range []struct{ target, field, want string }{
		{"/", "", `?`},
		{"/?token=a.b", "", `? token="a.b"`},
		{"/?token=a%2Eb%zz%4", "", `? token="a.b%zz%4"`},
		{"/?token=a+b", "", `? token="a+b"`},
		{"/?token=a%2e", "", `? token="a."`},
		{"/?x=1&token=a", "", `?x=1 token="a"`},
		{"/?token=a&x=1", "", `?x=1 token="a"`},
		{"/?x=1&token=a&y=2", "", `?x=1&y=2 token="a"`},
		{"/?token=&token=a&token=b", "", `?token=&token=b token="a"`},
		{"/?atoken=a&Token=b&token", "", `?atoken=a&Token=b&token`},
		{"/?token=a", "Authorization: Bearer c\r\n", `?token=a auth="Bearer c"`},
		{"/?token=a", "Authorization:\r\n", `?token=a auth=""`},
		{"/?token=a", "Authorization:  \r\nAuthorization: Bearer c\r\n", `?token=a auth=""`},
	} {
		k := &talk{t: t}
		k.c.Init(Server, nil)
		got := ""
		k.ev.onRequest = func(r *Request) {
			got = "?" + string(r.Query)
			if r.Token != nil {
				got += fmt.Sprintf(" token=%q", r.Token)
			}
			if r.Authorization != nil {
				got += fmt.Sprintf(" auth=%q", r.Authorization)
			}
		}
		k.feed([]byte(strings.Replace(testRequest, " / ", " "+tc.target+" ", 1) + tc.field + "\r\n"))
		if got != tc.want {
			t.Errorf("%s: %s, want %s", tc.target, got, tc.want)
		}
	}
}

func TestCredentialsAreWiped(t *testing.T) {
	k := &talk{t: t}
	k.c.Init(Server, nil)
	var kept [][]byte
	k.ev.onRequest = func(r *Request) { kept = append(kept, r.Authorization, r.Token) }
	k.feed([]byte(testRequest + "Authorization: Bearer secret\r\n\r\n"))
	k.c.Init(Server, nil)
	k.feed([]byte(strings.Replace(testRequest, " / ", " /?token=secret ", 1) + "\r\n"))
	for _, b := range kept {
		if strings.Trim(string(b), "\x00") != "" {
			t.Errorf("%q is left", b)
		}
	}
	if k.c.UnfinishedBytes() != 0 {
		t.Error("memory is left")
	}
}

func TestAnswerLater(t *testing.T) {
	asked := func() *talk {
		k := &talk{t: t}
		k.c.Init(Server, nil)
		k.feed([]byte(testRequest + "\r\n"))
		if k.err != nil || len(k.c.Control()) > 0 {
			t.Fatal("answered")
		}
		return k
	}
	k := asked()
	if ok, err := k.c.Accept(Field{"X-A", "b"}); !ok || err != nil || !strings.HasSuffix(string(k.c.Control()), "\r\nX-A: b\r\n\r\n") {
		t.Errorf("%v %v %q", ok, err, k.c.Control())
	}
	if _, err := k.c.Accept(); err != ErrState {
		t.Errorf("twice: %v", err)
	}
	k = asked()
	if err := k.c.Refuse(401, "who are you?", Field{"WWW-Authenticate", "Bearer"}); err != nil {
		t.Fatal(err)
	}
	if out := string(k.c.Control()); !strings.HasPrefix(out, "HTTP/1.1 401 Unauthorized\r\n") || !strings.Contains(out, "\r\nWWW-Authenticate: Bearer\r\n") {
		t.Errorf("%q", out)
	}
	if k.feed([]byte("x")); k.err == nil || k.err.(*HandshakeError).Status != 401 {
		t.Error(k.err)
	}
	k = asked()
	for _, f := range []Field{{"a b", "c"}, {"a", "b\r\nc: d"}, {"Upgrade", "x"}, {"", "x"}} {
		if _, err := k.c.Accept(f); err != ErrField {
			t.Errorf("%v: %v", f, err)
		}
		if err := k.c.Refuse(403, "", f); err != ErrField {
			t.Errorf("%v: %v", f, err)
		}
	}
	if k.feed([]byte{0x82}); k.err == nil || k.err.(*HandshakeError).Status != 400 { // the client did not wait
		t.Error(k.err)
	}
}

func TestFramesBehindTheRequest(t *testing.T) {
	k := &talk{t: t}
	k.c.Init(Server, nil)
	k.ev.onRequest = func(*Request) { k.c.Accept() }
	k.feed(join([]byte(testRequest+"\r\n"), frame(0x82, true, 'x')))
	if k.err != nil || k.ev.lines[len(k.ev.lines)-1] != `message 2 "x"` {
		t.Error(k.err, k.ev.lines)
	}
}

// An answer is judged the same however it is cut.
func TestResponses(t *testing.T) {
	const good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n"
	edit := func(from, to string) string { return strings.Replace(good, from, to, 1) + "\r\n" }
	for _, tc := range []struct{ name, in, want string }{
		{"plain", good + "\r\n", ""},
		{"informational answers first", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\na: b\r\n\r\n" + good + "\r\n", ""},
		{"no extension is no extension", good + "Sec-WebSocket-Extensions:\r\n\r\n", ""},
		{"no upgrade", edit("Upgrade: websocket\r\n", ""), "Upgrade does not say websocket"},
		{"no connection", edit("Connection: Upgrade", "Connection: close"), "Connection does not say Upgrade"},
		{"another key's accept", edit("ACCEPT", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "does not fit our key"},
		{"two accepts", edit("ACCEPT\r\n", "ACCEPT\r\nSec-WebSocket-Accept: ACCEPT\r\n"), "does not fit our key"},
		{"no accept", edit("Sec-WebSocket-Accept: ACCEPT\r\n", ""), "does not fit our key"},
		{"an extension", good + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "extension"},
		{"a subprotocol", good + "Sec-WebSocket-Protocol: a\r\n\r\n", "subprotocol"},
		{"401 with a text", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 6\r\n\r\nno key", `the server answers 401 Unauthorized: "no key"`},
		{"a text that is longer than is kept", "HTTP/1.1 500 x\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("é", 300), `500 x: "` + strings.Repeat("é", 256) + `"`},
		{"a long status line", "HTTP/1.1 500 " + strings.Repeat("x", 100) + "\r\nContent-Length: 0\r\n\r\n", "500 " + strings.Repeat("x", 64)},
		{"an answer without a text", "HTTP/1.1 302 Found\r\nLocation: x\r\nContent-Length: 0\r\n\r\n", "302 Found"},
		{"a redirection", "HTTP/1.1 301 Moved\r\nLocation: https://h/?token=t\r\nContent-Length: 0\r\n\r\n", "301 Moved, to https://h/, which is not followed"},
		{"one in chunks is not waited for", "HTTP/1.1 404 \r\nTransfer-Encoding: chunked\r\n\r\n", "404"},
		{"a text until the end", "HTTP/1.1 403 Forbidden\r\n\r\ngo away\nEND", `403 Forbidden: "go away\nEND"`},
		{"no HTTP", "SSH-2.0-x\r\n\r\n", "first line"},
		{"not even text", "\x16\x03", "not HTTP/1.1"},
		{"an alert of TLS", "\x15\x03", "dial it with wss://"},
		{"SETTINGS of HTTP/2", "\x00\x00\x06\x04", "dial it with http://"},
		{"a bad status", "HTTP/1.1 20 x\r\n\r\n", "first line"},
		{"a bad field", "HTTP/1.1 101 x\r\nab\r\n\r\n", "line 2"},
		{"too long", "HTTP/1.1 101 x\r\na: " + strings.Repeat("b", 20000), "16384 bytes"},
		{"too long in many", strings.Repeat("HTTP/1.1 100 x\r\n\r\n", 1000), "16384 bytes"},
		{"the end", "HTTP/1.1 101 ", "the socket ended"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, cut := range []int{len(tc.in), 1, 7} {
				k := &talk{t: t}
				k.c.Init(Client, &Settings{Seed: [32]byte{7}})
				if err := k.c.Upgrade(&Upgrade{Host: "h"}); err != nil {
					t.Fatal(err)
				}
				a := acceptOf(k.c.key[:])
				k.feedCut([]byte(strings.ReplaceAll(tc.in, "ACCEPT", string(a[:]))), cut)
				if k.err == nil && tc.want != "" {
					k.err = k.c.InputEnded()
				}
				switch {
				case tc.want == "":
					if k.err != nil || !k.c.Open() || strings.Join(k.ev.lines, ";") != "response" {
						t.Errorf("cut %d: %v %v", cut, k.err, k.ev.lines)
					}
				case k.err == nil || !strings.Contains(k.err.Error(), tc.want) || k.c.Open():
					t.Errorf("cut %d: %v, want %q", cut, k.err, tc.want)
				}
				if k.c.UnfinishedBytes() != 0 {
					t.Error("memory is left")
				}
			}
		})
	}
}

func TestUpgrade(t *testing.T) {
	k := &talk{t: t}
	k.c.Init(Client, &Settings{Seed: [32]byte{1}})
	for _, u := range []Upgrade{{Host: ""}, {Host: "a b"}, {Host: "h", Path: "x"}, {Host: "h", Path: "/ HTTP/1.1\r\n"}} {
		if err := k.c.Upgrade(&u); err != ErrTarget {
			t.Errorf("%+v: %v", u, err)
		}
	}
	for _, u := range []Upgrade{{Host: "h", Origin: "\n"}, {Host: "h", Agent: "\r"}, {Host: "h", Fields: []Field{{"Sec-WebSocket-Protocol", "a"}}}} {
		if err := k.c.Upgrade(&u); err != ErrField {
			t.Errorf("%+v: %v", u, err)
		}
	}
	if len(k.c.Control()) > 0 {
		t.Fatal("something was said")
	}
	if err := k.c.Upgrade(&Upgrade{Host: "h:1", Path: "/a?b", Origin: "o", Agent: "g", Fields: []Field{{"X", "y"}}}); err != nil {
		t.Fatal(err)
	}
	want := "GET /a?b HTTP/1.1\r\nHost: h:1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: " + string(k.c.key[:]) + "\r\nUser-Agent: g\r\nOrigin: o\r\nX: y\r\n\r\n"
	if got := string(k.c.Control()); got != want || !isKey(k.c.key[:]) {
		t.Errorf("%q, want %q", got, want)
	}
	if err := k.c.Upgrade(&Upgrade{Host: "h"}); err != ErrState {
		t.Errorf("twice: %v", err)
	}
	var other Conn
	other.Init(Client, nil)
	if err := other.Upgrade(&Upgrade{Host: "h"}); err != ErrSeed {
		t.Errorf("without a seed: %v", err)
	}
	other.Init(Client, &Settings{Seed: [32]byte{2}})
	if other.Upgrade(&Upgrade{Host: "h"}); other.key == k.c.key {
		t.Error("another seed, the same key")
	}
}

// The fields that P-ws-4 names, in any case.
func TestReserved(t *testing.T) {
	for name, want := range map[string]bool{"Host": true, "sec-websocket-accept": true, "SEC-WEBSOCKET-KEY": true, "authorization": false,
		"sec-websocket-other": false, "content-length": true} {
		if Reserved(name) != want {
			t.Error(name)
		}
	}
}

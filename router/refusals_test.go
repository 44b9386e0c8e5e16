package router

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func refusalOf(remote, agent string, r Reason) *Refusal {
	return &Refusal{Remote: remote, Agent: agent, Endpoint: "127.0.0.1:46357", Reason: r}
}

func TestRefusalsAreBounded(t *testing.T) {
	var x refusals
	long := strings.Repeat("x", 10_000)
	now := time.Unix(1000, 0)
	for i := range 3 {
		for j := range 1000 {
			x.add(now, refusalOf(fmt.Sprintf("10.0.%d.%d:1", i, j), long, ReasonPath), errors.New(long))
		}
		if n := len(x.all); n > (i+1)*troubleASecond {
			t.Errorf("%d refusals after %d seconds", n, i+1)
		}
		now = now.Add(time.Second)
	}
	if n := len(x.all); n != troubleKept {
		t.Errorf("%d refusals are kept of three seconds with a thousand each, want %d", n, troubleKept)
	}
	for _, r := range x.all {
		if len(r.Agent) > textKept+3 || len(r.Text) > textKept+3 {
			t.Fatalf("texts of %d and %d bytes", len(r.Agent), len(r.Text))
		}
	}
}

// A peer that comes again and again, as a Rust client does every two seconds, is one line with a count, and whoever finds
// ever new ways to be turned away does not push out the others.
func TestLoudPeerDoesNotPushOutOthers(t *testing.T) {
	var x refusals
	now := time.Unix(1000, 0)
	x.add(now, refusalOf("10.0.0.1:5", "app", ReasonNegotiation), errors.New("no_key"))
	for i := range 5000 {
		now = now.Add(100 * time.Millisecond)
		x.add(now, refusalOf(fmt.Sprintf("10.0.0.2:%d", 1024+i), "tonic", ReasonTLSCertificate), fmt.Errorf("attempt %d", i))
	}
	for i := range 5000 {
		now = now.Add(100 * time.Millisecond)
		x.add(now, refusalOf(fmt.Sprintf("10.0.0.3:%d", i), fmt.Sprint("agent ", i), ReasonPath), nil)
	}
	rows := together(x.all)
	find := func(host string) *Refusal {
		at := slices.IndexFunc(rows, func(r Refusal) bool { return strings.HasPrefix(r.Remote, host+":") })
		if at < 0 {
			t.Fatalf("%s is not told of among %d", host, len(rows))
		}
		return &rows[at]
	}
	if r := find("10.0.0.1"); r.Count != 1 || r.Text != "no_key" {
		t.Errorf("%+v", r)
	}
	if r := find("10.0.0.2"); r.Count != 5000 || r.Text != "attempt 4999" || r.Remote != "10.0.0.2:6023" || r.Last.Sub(r.First) < 499*time.Second {
		t.Errorf("%+v", r)
	}
	if rows[0].host() != "10.0.0.3" {
		t.Errorf("the latest is not first: %+v", rows[0])
	}
}

// What is turned away more often than it is noted is still counted, with the words of before.
func TestRefusalsAreCountedBeyondTheirRate(t *testing.T) {
	var x refusals
	for range 10 * troubleASecond {
		x.add(time.Unix(1, 0), refusalOf("10.0.0.1:5", "", ReasonPath), errors.New("why"))
	}
	if r := x.all[0]; len(x.all) != 1 || r.Count != 10*troubleASecond || r.Text != "why" {
		t.Errorf("%d rows, %+v", len(x.all), r)
	}
}

// One peer that comes to several loops is one row.
func TestRefusalsOfLoopsAreOneRow(t *testing.T) {
	var a, b refusals
	a.add(time.Unix(1, 0), refusalOf("10.0.0.1:5", "", ReasonPath), errors.New("first"))
	b.add(time.Unix(2, 0), refusalOf("10.0.0.1:6", "", ReasonPath), errors.New("second"))
	b.add(time.Unix(2, 0), refusalOf("10.0.0.1:6", "", ReasonFlood), nil)
	rows := together(slices.Concat(a.all, b.all))
	if len(rows) != 2 || rows[0].Count != 2 || rows[0].Text != "second" || !rows[0].First.Equal(time.Unix(1, 0)) || !rows[0].Last.Equal(time.Unix(2, 0)) {
		t.Errorf("%+v", rows)
	}
}

// Who is turned away is told with the listener by which it has come.
func TestRefusalsNameTheListener(t *testing.T) {
	n := startAt(t, Options{Listen: []string{"127.0.0.1:0", "ws://127.0.0.1:0/slim"}})
	for i, text := range []string{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03random",
		"GET /other HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"} {
		provoke(t, n.Addrs()[i].String(), text)
	}
	p := call(t, n)
	p.send([]byte{0xff})
	var rows []Refusal
	until(t, "all three are told of", func() bool {
		rows, _, _ = n.Trouble(t.Context())
		return len(rows) == 3
	})
	for _, r := range rows {
		want := map[Reason][2]string{ReasonProtocol: {n.Addrs()[0].String(), "TLS handshake"}, ReasonUndecodable: {n.Addrs()[0].String(), ""},
			ReasonPath: {n.Addrs()[1].String(), "GET /other is asked for, but the path of this endpoint is /slim"}}[r.Reason]
		if r.Endpoint != want[0] || !strings.Contains(r.Text, want[1]) {
			t.Errorf("%+v, want %q", r, want)
		}
	}
}

// Of the query of a request nothing is told: a token may be in it that is for a WebSocket.
func TestQueriesAreNotTold(t *testing.T) {
	n := startAt(t, Options{Listen: []string{"127.0.0.1:0", "ws://127.0.0.1:0/slim"}})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	rt := &http.Transport{Protocols: protocols}
	defer rt.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+n.Addrs()[0].String()+"/path?token=secret", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := rt.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	provoke(t, n.Addrs()[1].String(), "GET /path?token=secret HTTP/1.1\r\nHost: x\r\n\r\n")
	var rows []Refusal
	until(t, "both are told of", func() bool {
		rows, _, _ = n.Trouble(t.Context())
		return len(rows) == 2
	})
	for _, r := range rows {
		if strings.Contains(r.Text, "secret") || !strings.Contains(r.Text, "/path is asked for") {
			t.Errorf("%+v", r)
		}
	}
}

// What keeps a link from opening is told with the link, whatever the transport: nobody was turned away.
func TestFailuresOfLinksAreNoRefusals(t *testing.T) { inEachWay(t, failuresOfLinks) }

func failuresOfLinks(t *testing.T, w *dialWay) {
	n := start(t, Options{})
	addr, _ := answering(t, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
	d := w.dial(t, n, addr, nil)
	d.await(LinkWaiting)
	rows, _, err := n.Trouble(t.Context())
	if s := n.Stats(); err != nil || len(rows) != 0 || len(s.Refused) != 0 {
		t.Errorf("refused %v, told of %+v, %v", s.Refused, rows, err)
	}
}

// provoke sends text to addr, and waits until the node has closed the socket, too.
func provoke(t *testing.T, addr, text string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(hang))
	_, _ = io.WriteString(c, text)
	_ = c.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, c)
}

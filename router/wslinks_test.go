package router

import (
	"bufio"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/router/transport"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/link"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
	"github.com/seed31b3bfd0/slimgo/wire/ws"
)

// awaitWebSocket has the node open a WebSocket of an edge link, and accepts it.
func awaitWebSocket(r *rig, loop int) far { return awaitWebSocketAs(r, loop, table.Edge) }

func awaitWebSocketAs(r *rig, loop int, kind table.Kind) *webSocketFar {
	r.t.Helper()
	fds := r.pair()
	l := Link{Endpoint: "test", ID: "link", Kind: kind, Call: transport.Call{WebSocket: true, Authority: "test"}}
	o := &outgoing{dialer: &Dialer{node: r.n, link: l, ctx: r.t.Context()}, up: make(chan *Conn, 1), over: make(chan outcome, 1)}
	f := &webSocketFar{r: r, loop: r.loops[loop], fd: fds[1], out: o}
	f.cli.Init(ws.Server, nil)
	f.sock = f.loop.Attach(fds[0], r.n.loops[loop].callOn(o, &l.Call))
	r.settle()
	f.exchange()
	if r.t.Cleanup(f.leave); f.c == nil || !f.cli.Open() {
		r.t.Fatal("the node has not asked for a WebSocket")
	}
	return f
}

// accept answers the negotiation of a link that the node has opened.
func (a *app) accept() {
	a.r.t.Helper()
	if a.run(); len(a.got) != 1 {
		a.r.t.Fatalf("%d messages before the negotiation", len(a.got))
	}
	m := link.New(&link.Config{Role: link.Acceptor, Version: "3.4.6", NodeID: "n", Strict: true})
	reply, err := m.Step(nil, a.got[0])
	if a.got = nil; err != nil || !a.send(reply) {
		a.r.t.Fatal("no reply:", err)
	}
	a.linkID, a.mac = m.Result().LinkID, mac.New(m.Result().Key, m.Result().LinkID)
	if a.run(); a.conn().state != active {
		a.r.t.Fatal("the link is not up")
	}
}

// answering listens and gives each connection, one after the other, the same answer to its request, which goes to seen.
// ACCEPT stands for what fits the request's key: then, and after no answer, it says nothing more until the other end goes.
func answering(t *testing.T, answer string) (addr string, seen *said[*http.Request]) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	seen = new(said[*http.Request])
	done := make(chan struct{})
	t.Cleanup(func() { _ = ln.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				seen.say(r)
				key := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
				_, _ = io.WriteString(c, strings.Replace(answer, "ACCEPT", base64.StdEncoding.EncodeToString(key[:]), 1))
			}
			if answer == "" || strings.Contains(answer, "ACCEPT") {
				_, _ = io.Copy(io.Discard, c)
			}
			_ = c.Close()
		}
	}()
	return ln.Addr().String(), seen
}

// Whatever the server answers, it is asked again, and the log says once how it has answered. Rules: P-dial-2, P-dial-3.
func TestServersThatOpenNoWebSocketAreAskedAgain(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 401 Unauthorized\r\nContent-Length: 6\r\n\r\nno key":   `the server answers 401 Unauthorized: \"no key\"`,
		"HTTP/1.1 404 Not Found\r\n\r\n":                                 "the server answers 404 Not Found",
		"HTTP/1.1 302 Found\r\nLocation: http://x/?token=sesame\r\n\r\n": "302 Found, to http://x/, which is not followed",
		"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n": "does not fit our key",
		"nonsense\r\n\r\n": "first line of the answer",
	} {
		t.Run(want, func(t *testing.T) {
			log := &syncBuffer{}
			o := generic("one")
			o.Log = slog.New(slog.NewTextHandler(log, nil))
			addr, seen := answering(t, answer)
			n := start(t, o)
			d := dialWays[1].dial(t, n, addr, nil)
			for range 3 {
				d.await(LinkOpening)
				d.await(LinkWaiting)
			}
			until(t, "the log tells of it", func() bool { return strings.Contains(log.String(), want) })
			if d.Close(); strings.Count(log.String(), "cannot be opened") != 1 || strings.Contains(log.String(), "sesame") {
				t.Errorf("logged:\n%s", log)
			}
			if r := seen.next(t, "it is asked"); r.URL.String() != "/slim?x=1" || r.Host != addr || seen.len() < 2 {
				t.Errorf("asked for %v of %s, %d times", r.URL, r.Host, seen.len()+1)
			}
			if s := n.Stats(); len(s.Refused) != 0 {
				t.Errorf("counted as those who come: %v", s.Refused)
			}
		})
	}
}

// A server that accepts the WebSocket and then says nothing is left after the time for a negotiation, and one that has not
// answered does not hold a node up that stops. Rules: P-dial-2, P-neg-2, P-end-3.
func TestServersThatSayNothing(t *testing.T) {
	t.Parallel() // it waits for most of its time
	addr, _ := answering(t, "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n")
	log := &syncBuffer{}
	o := generic("one")
	o.Log, o.NegotiationTimeout = slog.New(slog.NewTextHandler(log, nil)), 10*time.Millisecond
	d := dialWays[1].dial(t, start(t, o), addr, nil)
	d.await(LinkWaiting)
	until(t, "the log says why", func() bool { return strings.Contains(log.String(), "no negotiation within 10ms") })
	d.Close()

	addr, seen := answering(t, "")
	n := startAt(t, Options{Listen: []string{"127.0.0.1:0"}, NegotiationTimeout: time.Hour})
	d = dialWays[1].dial(t, n, addr, nil)
	seen.next(t, "it is asked")
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	d.await(LinkOver)
}

// connect_timeout bounds an attempt by WebSocket up to the answer, and not only the way to the server; without, the parts
// have theirs. Rules: P-dial-7.
func TestConnectTimeoutOfAWebSocketIsForAllOfIt(t *testing.T) {
	t.Parallel() // it waits for most of its time
	addr, seen := answering(t, "")
	log := &syncBuffer{}
	o := generic("one")
	o.Log, o.NegotiationTimeout = slog.New(slog.NewTextHandler(log, nil)), time.Hour
	n := start(t, o)
	for _, secure := range []bool{false, true} {
		d := dialWays[1].dial(t, n, addr, func(l *Link) {
			l.ConnectTimeout, l.HandshakeTimeout, l.Call.AnswerTimeout = 10*time.Millisecond, time.Hour, time.Hour
			l.Connect = func(context.Context) (net.Conn, error) { return net.Dial("tcp", addr) } // however long it takes
			if secure {
				l.TLS = func() *tls.Config { return sharedSecrets(t).client }
			}
		})
		d.await(LinkWaiting)
		d.Close()
		d.await(LinkOver)
	}
	until(t, "the log tells of both", func() bool {
		return strings.Contains(log.String(), "no answer to the WebSocket handshake in time") && strings.Contains(log.String(), "TLS")
	})
	seen.next(t, "it was asked")
	d := &Dialer{link: Link{Call: transport.Call{WebSocket: true, AnswerTimeout: time.Hour}}}
	if c := d.call(time.Now(), ""); c.AnswerTimeout != time.Hour {
		t.Errorf("without a limit: %v", c.AnswerTimeout)
	}
	d.whole = time.Minute
	if c := d.call(time.Now().Add(-20*time.Second), ""); c.AnswerTimeout > 40*time.Second || c.AnswerTimeout < time.Second {
		t.Errorf("of a minute %v are left after 20 s", c.AnswerTimeout)
	}
	if c := d.call(time.Now().Add(-time.Hour), ""); c.AnswerTimeout <= 0 || c.AnswerTimeout > time.Millisecond {
		t.Errorf("too late, and %v are left", c.AnswerTimeout)
	}
}

// A message of more than 4 MiB passes from WebSocket to WebSocket; a receiver by gRPC at the other node goes without, and
// nothing else happens to it. Rules: P-ws-8.
func TestLargeMessagesOverADialledWebSocket(t *testing.T) {
	t.Parallel() // beside those that wait
	for _, where := range placements {
		r := newRig(t, where.loops, Options{MaxUnfinished: 64 << 20})
		a, b, c := r.join(dialledWebSocketKind, where.source), r.join(dialledWebSocketKind, where.dest), r.join(0, where.dest)
		for i, x := range []*app{b, c} {
			x.subscribe(group.WithID(uint64(i), 1))
		}
		for i, n := range []int{5 << 20, 100, tooLarge(), 100} {
			if !a.publish(group, 256, i, n) {
				t.Fatal("held")
			}
			for _, x := range []*app{a, b, c} {
				x.run()
			}
		}
		b.wantNumbers(0)
		var got []int
		for _, m := range c.got {
			got = append(got, numberOf(m))
		}
		if s := r.stats(); !slices.Equal(got, []int{1, 3}) || s.Dropped[ReasonTooLarge] != 2 || len(s.Dropped) != 1 || s.Connections != 3 {
			t.Errorf("%s: gRPC gets %v, dropped %v, %d connections", where.name, got, s.Dropped, s.Connections)
		}
	}
}

// TestAllocsOfTheJourneyByWebSocket over links that the node has opened: what it sends is masked.
func TestAllocsOfTheJourneyByDialledWebSocket(t *testing.T) {
	for _, where := range placements {
		for _, size := range []int{100, 16 << 10, 200_000} {
			t.Run(fmt.Sprint(where.name, "/", size), func(t *testing.T) {
				allocsByWebSocket(t, dialledWebSocketKind, where.loops, where.source, where.dest, size)
			})
		}
	}
}

// What ends a link decides whether it is opened again. Rules: P-dial-4, P-ws-7.
func TestCloseOfADialledLink(t *testing.T) {
	for code, final := range map[ws.Code]bool{ws.NormalClosure: false, ws.GoingAway: false, ws.PolicyViolation: true, ws.TryAgainLater: false} {
		r := newRig(t, 1, Options{})
		a := r.join(dialledWebSocketKind, 0)
		f := a.ws()
		up := <-f.out.up
		f.loop.Deliver(f.sock, f.cli.Close(nil, code, "because"))
		r.settle()
		e := <-f.out.over
		if got := e.final(up); got != final || !strings.Contains(e.why, "because") {
			t.Errorf("%v: %+v, final %v", code, e, got)
		}
		if a.wantEnd(code, ""); r.stats().Connections != 0 {
			t.Errorf("%v: the connection stays", code)
		}
	}
}

// An application that has come, and a peer by WebSocket to whom its name is told, before and after it was lost.
func TestNamesAreToldOverADialledWebSocket(t *testing.T) {
	r := newRig(t, 1, relaying)
	a := r.join(0, 0)
	a.subscribe(bob)
	for range 2 {
		f := awaitWebSocketAs(r, 0, table.Peer)
		p := &app{far: f, r: r}
		p.accept()
		if len(p.got) != 1 {
			t.Fatalf("%d messages after the negotiation, want the name", len(p.got))
		}
		var m wire.Message
		if err := wire.Scan(p.got[0], &m); err != nil || m.Kind != wire.KindSubscribe {
			t.Errorf("a peer is told %v, %v", m.Kind, err)
		}
		f.leave()
		r.settle()
		if e := <-f.out.over; e.why == "" || r.stats().Connections != 1 {
			t.Errorf("%+v, %d connections", e, r.stats().Connections)
		}
	}
}

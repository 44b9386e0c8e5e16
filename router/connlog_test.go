package router

import (
	"context"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// journal is a log at one level that tests wait for and read.
type journal struct {
	level slog.Level
	lines chan string
	seen  []string
}

func newJournal(l slog.Level) *journal { return &journal{level: l, lines: make(chan string, 100_000)} }

func (j *journal) Write(p []byte) (int, error) {
	j.lines <- strings.TrimSpace(string(p))
	return len(p), nil
}

func (j *journal) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: j.level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// wait returns the next line with text, and remembers those before it.
func (j *journal) wait(t *testing.T, text string) string {
	t.Helper()
	for {
		select {
		case line := <-j.lines:
			j.seen = append(j.seen, line)
			if strings.Contains(line, text) {
				return line
			}
		case <-time.After(hang):
			t.Fatalf("no line %q; the log is\n%s", text, strings.Join(j.seen, "\n"))
		}
	}
}

// all returns all lines with text so far.
func (j *journal) all(text string) (found []string) {
	for {
		select {
		case line := <-j.lines:
			j.seen = append(j.seen, line)
		default:
			for _, line := range j.seen {
				if strings.Contains(line, text) {
					found = append(found, line)
				}
			}
			return found
		}
	}
}

func matches(t *testing.T, line, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(line) {
		t.Errorf("line %s\nwant %s", line, pattern)
	}
}

// Every connection has one line at its begin and one at its end, which says why.
func TestConnectionsAreToldOfAtTheirEnds(t *testing.T) {
	t.Parallel() // its cases wait for most of their time
	for _, c := range []struct {
		name, why string
		opt       Options
		end       func(t *testing.T, n *Node, p *caller)
	}{
		{"the stream was ended", `"the peer ended the stream"`, Options{}, func(_ *testing.T, _ *Node, p *caller) {
			p.c.Write([]byte{0, 0, 0, 0, 1, 0, 0, 0, 1}) // an empty DATA frame with END_STREAM
		}},
		{"the stream was reset", `"the stream was reset"`, Options{}, func(_ *testing.T, _ *Node, p *caller) {
			p.cli.Reset(p.s, h2.Cancel)
			p.flush()
		}},
		{"the socket was closed", `"the peer closed its socket"`, Options{}, func(_ *testing.T, _ *Node, p *caller) { p.c.Close() }},
		{"the socket was reset", `".*connection reset by peer"`, Options{}, func(_ *testing.T, _ *Node, p *caller) {
			p.c.(*net.TCPConn).SetLinger(0)
			p.c.Close()
		}},
		{"what was sent is no message", `undecodable`, Options{}, func(_ *testing.T, _ *Node, p *caller) { p.send([]byte{0xff}) }},
		{"HTTP/2 was broken", `http2_error`, Options{}, func(_ *testing.T, _ *Node, p *caller) { p.c.Write(make([]byte, 100)) }},
		{"silence", `keepalive_timeout`, Options{KeepaliveTime: time.Hour, KeepaliveTimeout: time.Second}, func(_ *testing.T, n *Node, _ *caller) {
			for _, l := range n.loops {
				for i := range 4 { // hours go by, and nothing is heard
					l.post(func() { l.group.Tick(time.Now().Add(time.Duration(2+i) * time.Hour)) })
				}
			}
		}},
		{"the end of the node", `"the node is shutting down"`, Options{}, func(t *testing.T, n *Node, p *caller) {
			go n.Shutdown(context.Background())
			p.await(func() bool { return p.away && p.end != nil })
			p.c.Close()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // most wait for a tick or two
			j := newJournal(slog.LevelInfo)
			c.opt.Log = j.log()
			n := start(t, c.opt)
			p := call(t, n)
			matches(t, j.wait(t, "connection opened"), `level=INFO msg="connection opened" target=`+targetProcessing+` conn_id=1 remote=127\.0\.0\.1:\d+ `+
				`kind=edge link_id=l remote_version=3\.4\.6 signed=true agent="" took=\S+$`)
			p.subscribe(bob)
			c.end(t, n, p)
			matches(t, j.wait(t, "connection closed"), `level=INFO msg="connection closed" target=`+targetProcessing+` conn_id=1 remote=127\.0\.0\.1:\d+ `+
				`kind=edge why=`+c.why+` lasted=\S+ names=1 received=[23] received_bytes=[1-9]\d+ delivered=0 sent_bytes=[1-9]\d+$`)
			if again := j.all(`msg="connection `); len(again) != 2 {
				t.Errorf("told twice:\n%s", strings.Join(again, "\n"))
			}
		})
	}
}

// A scanner, a health check, a browser: one line at debug for each socket, none at info.
func TestStrangersAreWorthOneLineAtDebug(t *testing.T) {
	for _, c := range []struct {
		name, want string
		probe      func(c net.Conn)
	}{
		{"a port scan", `msg="socket closed before it was a connection" .* why="the peer closed its socket"`, func(net.Conn) {}},
		{"a request for a web page", `reason=http2_error`, func(c net.Conn) { c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")) }},
		{"a health check, twice", `reason=unknown_path .*path=/grpc\.health\.v1\.Health/Check`, func(c net.Conn) {
			var cli h2.Conn
			cli.Init(h2.Client, &h2.Settings{})
			for range 2 {
				cli.Open([]h2.Field{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "x"},
					{Name: ":path", Value: "/grpc.health.v1.Health/Check"}, {Name: "content-type", Value: "application/grpc"}})
			}
			c.Write(cli.Control())
		}},
	} {
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo} {
			t.Run(c.name+" at "+level.String(), func(t *testing.T) {
				j := newJournal(level)
				n := start(t, Options{Log: j.log()})
				conn, err := net.Dial("tcp", n.Addrs()[0].String())
				if err != nil {
					t.Fatal(err)
				}
				c.probe(conn)
				conn.(*net.TCPConn).CloseWrite()
				conn.SetReadDeadline(time.Now().Add(hang))
				for b := make([]byte, 1<<10); ; { // until the node has closed it, too
					if _, err := conn.Read(b); err != nil {
						break
					}
				}
				conn.Close()
				if level == slog.LevelDebug {
					matches(t, j.wait(t, "before it was a connection"), `^level=DEBUG .*`+c.want)
				}
				call(t, n).subscribe(bob) // by now the node has dealt with the socket
				lines := slices.DeleteFunc(j.all("remote="), func(l string) bool { return strings.Contains(l, "conn_id=") })
				if want := map[slog.Level]int{slog.LevelDebug: 1, slog.LevelInfo: 0}[level]; len(lines) != want {
					t.Errorf("%d lines, want %d:\n%s", len(lines), want, strings.Join(lines, "\n"))
				}
			})
		}
	}
}

// At debug the log answers who has subscribed to what, and where messages went that nobody got.
func TestNamesAreToldAtDebug(t *testing.T) {
	j := newJournal(slog.LevelDebug)
	r := newRig(t, 1, Options{Log: j.log(), MaxSubscriptions: 1})
	p := r.dial(0)
	p.subscribe(bob, 7)
	h := header(alice, alice, 1, "")
	p.sign(h)
	p.send(wire.AppendSubscribe(nil, h, 8))
	p.take() // the refusal
	p.unsubscribe(bob, 7)
	p.publish(header(alice, bob, 1, "id"), 0, 0)
	p.publish(header(alice, bob, 5, "id"), 0, 0)
	h = header(alice, bob, 1, "id")
	h.TTL = 1
	p.publish(h, 0, 0)
	for _, want := range []string{
		`level=DEBUG msg=subscribed .* conn_id=1 remote=\S+ name=` + bob.String() + ` subscription_id=7 kind=edge$`,
		`level=DEBUG msg="refused: subscribed" .* name=` + alice.String() + ` subscription_id=8 kind=edge error="too many subscriptions`,
		`level=DEBUG msg=unsubscribed .* name=` + bob.String() + ` subscription_id=7 kind=edge$`,
		`level=DEBUG msg="message dropped" .* conn_id=1 remote=\S+ reason=no_match name=` + bob.String() + ` source=` + alice.String() + ` fanout=1$`,
		`level=DEBUG msg="message dropped" .* reason=no_match name=` + bob.String() + ` source=` + alice.String() + ` fanout=5$`,
		`level=DEBUG msg="message dropped" .* reason=ttl_expired name=` + bob.String() + ` source=` + alice.String(),
	} {
		if !slices.ContainsFunc(j.all(""), regexp.MustCompile(want).MatchString) {
			t.Errorf("no line\n%s in\n%s", want, strings.Join(j.seen, "\n"))
		}
	}
}

func TestPeersAreToldAtDebug(t *testing.T) {
	j := newJournal(slog.LevelDebug)
	r := newRig(t, 1, Options{Log: j.log()})
	peer, app := r.dialAs(0, wire.LinkPeer, "node-b"), r.dial(0)
	h := header(bob, bob, 1, "")
	app.sign(h)
	app.send(wire.AppendSubscribe(nil, h, 7))
	peer.take()
	matches(t, j.wait(t, "msg=subscribed"), ` conn_id=2 .* name=`+bob.String()+` subscription_id=7 kind=edge waits_for_peers=true$`)
	matches(t, j.wait(t, "peer told of a name"), `level=DEBUG .* conn_id=1 remote=\S+ name=`+bob.String()+` subscription_id=\d+ ttl=\d+$`)
}

// Strings that are not those of a name are not told for it.
func TestForgedStringsAreNotTold(t *testing.T) {
	j := newJournal(slog.LevelDebug)
	r := newRig(t, 1, Options{Log: j.log()})
	p := r.dial(0)
	forged := bob
	forged.Str = [3]string{"bank", "vault", "door"}
	p.publish(header(alice, forged, 1, "id"), 0, 0)
	if line := j.wait(t, "no_match"); strings.Contains(line, "vault") || !strings.Contains(line, bob.Name.String()) {
		t.Error(line)
	}
}

// What one peer can make a node log in a minute is bounded, whatever it does and however often it comes.
func TestPeersCannotFillTheLog(t *testing.T) {
	t.Parallel() // beside those that wait
	j := newJournal(slog.LevelDebug)
	r := newRig(t, 1, Options{Log: j.log()})
	bad := wire.AppendPublish(nil, header(alice, bob, 1, "id"), testSession, nil) // unsigned
	for range 700 {
		p := r.dial(0)
		p.send(bad)
		p.send([]byte{0xff})
	}
	good := r.dial(0)
	for range 3100 {
		good.publish(header(alice, bob, 1, "id"), 0, 0)
	}
	for text, want := range map[string]int{"connection opened": 600, "connection closed": 600, "integrity verification failed": 60,
		"reason=undecodable": 60, "reason=no_match": 3000 - 700} {
		if n := len(j.all(text)); n > want || n < want/2 {
			t.Errorf("%d lines %q, want at most %d", n, text, want)
		}
	}
	r.n.peerLog.limit.settle(r.n.log)
	for _, want := range []string{"about=connection_opened count=101", "about=connection_closed count=100", "about=unsigned count=640", "about=undecodable count=640"} {
		if len(j.all(want)) != 1 {
			t.Errorf("no line %q; the last lines\n%s", want, strings.Join(j.seen[len(j.seen)-8:], "\n"))
		}
	}
}

// The path of a message that finds its receiver has nothing to do with the log, not even at debug.
func TestMessagesThatArriveAreNotLogged(t *testing.T) {
	var calls int
	r := newRig(t, 1, Options{Log: slog.New(countingHandler{&calls})})
	a, b := r.dial(0), r.dial(0)
	b.subscribe(bob, 1)
	m := a.publication(header(alice, bob, 1, "id"), 0, 0)
	before := calls
	for range 100 {
		a.send(m)
	}
	if b.exchange(); len(b.got) != 100 || calls != before {
		t.Errorf("%d messages arrived, with %d calls of the log", len(b.got), calls-before)
	}
}

type countingHandler struct{ calls *int }

func (h countingHandler) Enabled(context.Context, slog.Level) bool  { *h.calls++; return true }
func (h countingHandler) Handle(context.Context, slog.Record) error { *h.calls++; return nil }
func (h countingHandler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h countingHandler) WithGroup(string) slog.Handler             { return h }

package router

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/router/transport"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

var carol = wire.Text("org", "ns", "carol").WithID(9, 9)

// said is what others say, for a test that comes to it when it does: it keeps nobody waiting.
type said[T any] struct {
	mu  sync.Mutex
	all []T // guarded by mu
}

func (s *said[T]) say(v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, v)
}

func (s *said[T]) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// next waits for the first of what was said, and takes it.
func (s *said[T]) next(t *testing.T, what string) (v T) {
	t.Helper()
	until(t, what, func() bool { return s.len() > 0 })
	s.mu.Lock()
	defer s.mu.Unlock()
	v, s.all = s.all[0], s.all[1:]
	return v
}

// dialled is a link of a test, with its states as they come.
type dialled struct {
	*Dialer
	t      *testing.T
	states said[LinkState]
}

// dialLink has n open a link to addr; change may change it before.
func dialLink(t *testing.T, n *Node, addr string, change func(*Link)) *dialled {
	t.Helper()
	d := &dialled{t: t}
	l := Link{Endpoint: addr, Kind: table.Peer,
		Call: transport.Call{Scheme: "http", Authority: addr, Agent: "slimgo/test"},
		Connect: func(ctx context.Context) (net.Conn, error) {
			var nd net.Dialer
			return nd.DialContext(ctx, "tcp", addr)
		},
		Backoff: func(int) (time.Duration, bool) { return time.Millisecond, true },
		Changed: d.states.say}
	if change != nil {
		change(&l)
	}
	var err error
	if d.Dialer, err = n.Dial(l); err != nil {
		t.Fatal(err)
	}
	return d
}

// dialWay is how a link is opened.
type dialWay struct {
	name   string
	listen string        // of a node that is dialled, besides its listener for applications
	change func(l *Link) // makes a link by gRPC one of this way
}

var dialWays = []dialWay{
	{"gRPC", "127.0.0.1:0", func(*Link) {}},
	{"WebSocket", "ws://127.0.0.1:0/slim", func(l *Link) {
		l.Call.WebSocket, l.Call.Path, l.Call.Scheme = true, "/slim?x=1", ""
	}},
}

// inEachWay runs a test of links in each way.
func inEachWay(t *testing.T, test func(*testing.T, *dialWay)) {
	for i := range dialWays {
		t.Run(dialWays[i].name, func(t *testing.T) { test(t, &dialWays[i]) })
	}
}

// start starts a node that can be dialled.
func (w *dialWay) start(t *testing.T, o Options) *Node {
	o.Listen = []string{"127.0.0.1:0", w.listen}
	return startAt(t, o)
}

// addr is where n is dialled.
func (w *dialWay) addr(n *Node) string { return n.Addrs()[1].String() }

// dial is dialLink in that way.
func (w *dialWay) dial(t *testing.T, n *Node, addr string, change func(*Link)) *dialled {
	t.Helper()
	return dialLink(t, n, addr, func(l *Link) {
		if w.change(l); change != nil {
			change(l)
		}
	})
}

// await reads states until it is s.
func (d *dialled) await(s LinkState) {
	d.t.Helper()
	for late := time.Now().Add(hang); d.states.next(d.t, fmt.Sprintf("the link is %v", s)) != s; {
		if time.Now().After(late) {
			d.t.Fatalf("the link is not %v: %+v", s, d.Status())
		}
	}
}

// generic are the options of a node that relays, as one with hand-made peer links does.
func generic(id string) Options { return Options{NodeID: id, RelayPeerPublishes: true, Loops: 2} }

// arrives publishes from a to name until b gets a message: routes may be on their way.
func arrives(t *testing.T, a, b *caller, name wire.NameText) {
	t.Helper()
	b.got = nil
	a.send(publication(a.sign(header(alice, name, 1, "x")), 7, 100))
	b.await(func() bool { return len(b.got) > 0 })
}

// A node that dials another as its peer gives and gets routes, and messages go both ways. Rules: P-dial-1, P-peer-3.
func TestPeersOverADialledLink(t *testing.T) { inEachWay(t, peersOverADialledLink) }

func peersOverADialledLink(t *testing.T, w *dialWay) {
	one, two := w.start(t, generic("one")), w.start(t, generic("two"))
	early := call(t, one)
	early.subscribe(bob)
	w.dial(t, one, w.addr(two), nil).await(LinkUp)
	late := call(t, two)
	late.subscribe(carol)
	until(t, "one knows both", func() bool { return one.Stats().Names == 2 }) // the acknowledgement waits for the peer's, but not for ever
	arrives(t, call(t, one), late, carol)
	until(t, "the names of before are told", func() bool { return two.Stats().Names == 2 })
	arrives(t, call(t, two), early, bob)
}

// A node that listens nowhere dials all the same, and stops in order. Rules: P-conf-10, P-dial-1.
func TestNodeThatOnlyDials(t *testing.T) {
	two := start(t, generic("two"))
	one, err := Start(t.Context(), generic("one"))
	if err != nil {
		t.Fatal(err)
	}
	d := dialLink(t, one, two.Addrs()[0].String(), nil)
	d.await(LinkUp)
	if n := len(one.Addrs()); n != 0 {
		t.Errorf("it listens on %d addresses", n)
	}
	if err := one.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	d.await(LinkOver)
}

// A link with TLS is as one without; one that cannot be says why. Rules: P-dial-1, P-tls-2.
func TestPeersOverADialledLinkWithTLS(t *testing.T) { inEachWay(t, peersOverADialledLinkWithTLS) }

func peersOverADialledLinkWithTLS(t *testing.T, w *dialWay) {
	secrets := sharedSecrets(t)
	o := generic("two")
	o.Listen = []string{"127.0.0.1:0", strings.Replace(w.listen, "ws:", "wss:", 1)}
	o.TLS = []*tls.Config{nil, secrets.server}
	two := startAt(t, o)
	log := &syncBuffer{}
	o = generic("one")
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	one := w.start(t, o)
	app := call(t, one)
	app.subscribe(bob)
	link := func(of *tls.Config) *dialled {
		return w.dial(t, one, w.addr(two), func(l *Link) { l.TLS = func() *tls.Config { return of } })
	}
	link(secrets.client).await(LinkUp)
	until(t, "the log tells of the link", func() bool { return strings.Contains(log.String(), `msg="client connected" target=`+targetService) })
	until(t, "the name is told", func() bool { return two.Stats().Names == 1 })
	stranger := makeSecrets(t).client
	link(stranger).await(LinkWaiting)
	until(t, "the log tells of the certificate", func() bool { return strings.Contains(log.String(), "certificate is not accepted") })
	w.dial(t, one, w.addr(two), nil).await(LinkWaiting) // no TLS
}

// A link that is lost comes back by itself, with its routes and without those of before. Rules: P-dial-3.
func TestDialledLinkComesBack(t *testing.T) { inEachWay(t, dialledLinkComesBack) }

func dialledLinkComesBack(t *testing.T, w *dialWay) {
	one, two := w.start(t, generic("one")), w.start(t, generic("two"))
	app := call(t, one)
	app.subscribe(bob)
	var addr atomic.Value
	addr.Store(w.addr(two))
	d := w.dial(t, one, "two", func(l *Link) {
		l.Connect = func(ctx context.Context) (net.Conn, error) {
			var nd net.Dialer
			return nd.DialContext(ctx, "tcp", addr.Load().(string))
		}
	})
	d.await(LinkUp)
	ghost := call(t, two)
	ghost.subscribe(carol)
	until(t, "carol is known", func() bool { return one.Stats().Names == 2 })
	_ = ghost.c.Close()
	if err := two.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.await(LinkWaiting)
	again := w.start(t, generic("two"))
	addr.Store(w.addr(again))
	d.await(LinkUp)
	until(t, "routes are as they should be", func() bool { return again.Stats().Names == 1 && one.Stats().Names == 1 })
	arrives(t, call(t, again), app, bob)
	if s := d.Status(); s.Losses != 1 {
		t.Errorf("status %+v, want one loss", s)
	}
}

// What the other end answers decides whether it is tried again. Rules: P-dial-4.
func TestEndsOfDialledLinks(t *testing.T) { inEachWay(t, endsOfDialledLinks) }

func endsOfDialledLinks(t *testing.T, w *dialWay) {
	t.Run("itself", func(t *testing.T) {
		n := w.start(t, generic("one"))
		d := w.dial(t, n, w.addr(n), nil)
		d.await(LinkOver)
		if s := d.Status(); s.Attempts != 1 {
			t.Errorf("status %+v, want one attempt", s)
		}
	})
	t.Run("another deployment", func(t *testing.T) {
		o := generic("two")
		o.Deployment = "elsewhere"
		two := w.start(t, o)
		o = generic("one")
		o.Deployment = "here"
		w.dial(t, w.start(t, o), w.addr(two), nil).await(LinkOver)
	})
	t.Run("a kind that is not accepted", func(t *testing.T) {
		o := generic("two")
		o.AcceptKinds = table.Only(table.Edge)
		two := w.start(t, o)
		w.dial(t, w.start(t, generic("one")), w.addr(two), nil).await(LinkOver)
	})
	t.Run("remote", func(t *testing.T) {
		two := w.start(t, generic("two"))
		d := w.dial(t, w.start(t, generic("one")), w.addr(two), func(l *Link) { l.Kind = table.Remote })
		d.await(LinkUp)
		if err := two.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.await(LinkOver)
	})
	t.Run("attempts", func(t *testing.T) {
		var asked []int
		d := w.dial(t, w.start(t, generic("one")), "nowhere", func(l *Link) {
			l.Connect = func(context.Context) (net.Conn, error) { return nil, errors.New("no way") }
			l.Backoff = func(n int) (time.Duration, bool) { asked = append(asked, n); return 0, n < 4 }
		})
		d.await(LinkOver)
		if s := d.Status(); s.Attempts != 4 || !slices.Equal(asked, []int{1, 2, 3, 4}) {
			t.Errorf("status %+v, asked for the pauses of %v", s, asked)
		}
	})
	t.Run("closed", func(t *testing.T) {
		one, two := w.start(t, generic("one")), w.start(t, generic("two"))
		d := w.dial(t, one, w.addr(two), nil)
		d.await(LinkUp)
		d.Close()
		d.await(LinkOver)
		until(t, "the connection is gone", func() bool { return one.Stats().Connections == 0 && two.Stats().Connections == 0 })
	})
}

// acceptor is the other end of a dialled link, made by hand.
type acceptor struct {
	t  *testing.T
	c  net.Conn
	h  h2.Conn
	on func(*acceptor, *h2.Stream, *h2.Request)

	answer func(*acceptor, *h2.Stream, []byte) // what comes on the stream; nil: nothing is done
}

func (a *acceptor) Request(s *h2.Stream, r *h2.Request) { a.on(a, s, r) }
func (a *acceptor) Response(*h2.Stream, *h2.Response)   {}
func (a *acceptor) Message(s *h2.Stream, b []byte, _ bool) {
	if a.answer != nil {
		a.answer(a, s, b)
	}
}
func (a *acceptor) Grow(_ *h2.Stream, have []byte, n int) []byte {
	return append(make([]byte, 0, n), have...)
}
func (a *acceptor) Ended(*h2.Stream, *h2.End)         {}
func (a *acceptor) Writable(*h2.Stream)               {}
func (a *acceptor) Closed(*h2.Stream)                 {}
func (a *acceptor) Pong()                             {}
func (a *acceptor) GoAway(uint32, h2.ErrCode, []byte) {}

// acceptors listens and serves every connection with on, one after the other.
func acceptors(t *testing.T, on func(*acceptor, *h2.Stream, *h2.Request)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = ln.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			a := &acceptor{t: t, c: c, on: on}
			a.h.Init(h2.Server, nil)
			a.serve()
			_ = c.Close()
		}
	}()
	return ln.Addr().String()
}

func (a *acceptor) serve() {
	b := make([]byte, 64<<10)
	for {
		if ctl := a.h.Control(); len(ctl) > 0 {
			_, _ = a.c.Write(ctl)
			a.h.ControlDone()
		}
		n, err := a.c.Read(b)
		if err != nil || a.h.Feed(b[:n], a) != nil {
			return
		}
	}
}

// A node that answers badly is tried again, and the log says how it has answered. Rules: P-dial-2.
func TestDialledAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		on   func(*acceptor, *h2.Stream, *h2.Request)
		want string
	}{
		"not authorized": {func(a *acceptor, s *h2.Stream, _ *h2.Request) { a.h.Refuse(s, 401, -1, "") }, "HTTP status 401"},
		"no such method": {func(a *acceptor, s *h2.Stream, _ *h2.Request) { a.h.Refuse(s, 200, 12, "try another") },
			"gRPC status 12: try another"},
		"a page":        {func(a *acceptor, s *h2.Stream, _ *h2.Request) { a.h.RespondAs(s, 200, "text/html") }, "text/html"},
		"an error page": {func(a *acceptor, s *h2.Stream, _ *h2.Request) { a.h.RespondAs(s, 502, "text/html") }, "HTTP status 502"},
		"a message that is no reply": {func(a *acceptor, s *h2.Stream, _ *h2.Request) {
			a.h.Respond(s)
			out, _ := a.h.Data(append([]byte(nil), a.h.Control()...), s, 7)
			a.h.ControlDone()
			_, _ = a.c.Write(append(out, 0, 0, 0, 0, 2, 0x10, 0))
		}, "negotiation"},
		"closes": {func(a *acceptor, _ *h2.Stream, _ *h2.Request) { _ = a.c.Close() }, "closed"},
	} {
		t.Run(name, func(t *testing.T) {
			log := &syncBuffer{}
			o := generic("one")
			o.Log = slog.New(slog.NewTextHandler(log, nil))
			n := start(t, o)
			d := dialLink(t, n, acceptors(t, tc.on), nil)
			d.await(LinkWaiting)
			d.await(LinkOpening)
			d.await(LinkWaiting)
			if s := n.Stats(); len(s.Refused) != 0 {
				t.Errorf("counted as turned away: %v", s.Refused)
			}
			until(t, "the log tells "+tc.want, func() bool {
				return slices.ContainsFunc(strings.Split(log.String(), "\n"),
					func(l string) bool { return strings.Contains(l, "cannot be opened") && strings.Contains(l, tc.want) })
			})
		})
	}
}

// A request carries what was configured. Rules: P-dial-2.
func TestDialledRequest(t *testing.T) {
	var got said[[]string]
	addr := acceptors(t, func(a *acceptor, s *h2.Stream, r *h2.Request) {
		x, _ := r.Field("x-tenant")
		te, _ := r.Field("te")
		agent, _ := r.Field("user-agent")
		got.say([]string{string(r.Method), string(r.Scheme), string(r.Authority), string(r.Path), string(r.ContentType), string(te),
			string(agent), string(r.Authorization), string(x)})
		a.h.Refuse(s, 401, -1, "")
	})
	dialLink(t, start(t, generic("one")), addr, func(l *Link) {
		l.Call = transport.Call{Scheme: "https", Authority: "example:1", Agent: "slimgo/test",
			Fields: []transport.Field{{Name: "authorization", Value: "Basic eA==", Sensitive: true}, {Name: "x-tenant", Value: "blue"}}}
	})
	want := []string{"POST", "https", "example:1", openChannelPath, "application/grpc", "trailers", "slimgo/test", "Basic eA==", "blue"}
	if g := got.next(t, "a request has come"); !slices.Equal(g, want) {
		t.Errorf("request %q, want %q", g, want)
	}
}

// A node that accepts and says nothing is left after a time. Rules: P-dial-2.
func TestDialledNodeThatSaysNothing(t *testing.T) {
	t.Parallel()
	for name, on := range map[string]func(*acceptor, *h2.Stream, *h2.Request){
		"no answer": func(*acceptor, *h2.Stream, *h2.Request) {},
		"no reply":  func(a *acceptor, s *h2.Stream, _ *h2.Request) { a.h.Respond(s) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits for most of its time
			o := generic("one")
			o.NegotiationTimeout = 10 * time.Millisecond // looked at every second
			n := start(t, o)
			d := dialLink(t, n, acceptors(t, on), func(l *Link) { l.Call.AnswerTimeout = time.Millisecond })
			d.await(LinkWaiting)
			d.await(LinkOpening)
			d.await(LinkWaiting)
			if s := n.Stats(); len(s.Refused) != 0 { // it is told with the link
				t.Errorf("counted as turned away: %v", s.Refused)
			}
		})
	}
}

// A link that is lost as soon as it is up is not dialled without pause. Rules: P-dial-3.
func TestDialledLinkThatDoesNotStay(t *testing.T) { inEachWay(t, dialledLinkThatDoesNotStay) }

func dialledLinkThatDoesNotStay(t *testing.T, w *dialWay) {
	o := generic("two")
	two := w.start(t, o)
	var pauses atomic.Int32
	var up atomic.Int32
	d := w.dial(t, w.start(t, generic("one")), w.addr(two), func(l *Link) {
		changed := l.Changed
		l.Backoff = func(int) (time.Duration, bool) { pauses.Add(1); return 0, true }
		l.Changed = func(s LinkState) {
			if s == LinkUp {
				up.Add(1)
				for _, l := range two.loops { // as a node that accepts and closes
					l.post(func() { l.group.Finish() })
				}
			}
			changed(s)
		}
	})
	d.await(LinkUp)
	d.await(LinkWaiting)
	if pauses.Load() == 0 {
		t.Error("no pause after a link that was lost at once")
	}
}

// What is queued for a dialled peer goes out before a node stops. Rules: P-end-3.
func TestShutdownOverADialledLink(t *testing.T) {
	t.Parallel()
	inEachWay(t, shutdownOverADialledLink)
}

func shutdownOverADialledLink(t *testing.T, w *dialWay) {
	t.Parallel() // it waits for most of its time
	one, two := w.start(t, generic("one")), w.start(t, generic("two"))
	app := call(t, two)
	app.subscribe(bob)
	w.dial(t, one, w.addr(two), nil).await(LinkUp)
	until(t, "bob is known", func() bool { return one.Stats().Names == 1 })
	a := call(t, one)
	const count = 100
	for i := range count {
		a.send(publication(a.sign(header(alice, bob, 1, "x")), i, 30_000))
	}
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	until(t, "it has come", func() bool { return one.Stats().Received >= count })
	if err := one.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	app.await(func() bool { return len(app.got) == count })
}

// A link that is closed while it is opened does not come up. Rules: P-dial-1.
func TestLinkClosedWhileItIsOpened(t *testing.T) { inEachWay(t, linkClosedWhileItIsOpened) }

func linkClosedWhileItIsOpened(t *testing.T, w *dialWay) {
	one, two := w.start(t, generic("one")), w.start(t, generic("two"))
	for range 50 {
		connected := make(chan struct{})
		d := w.dial(t, one, w.addr(two), func(l *Link) {
			dial := l.Connect
			l.Connect = func(ctx context.Context) (net.Conn, error) {
				defer close(connected)
				return dial(ctx)
			}
		})
		<-connected
		d.Close()
		d.await(LinkOver)
	}
	until(t, "no connection is left", func() bool { return one.Stats().Sockets == 0 && two.Stats().Sockets == 0 })
}

// Two nodes that dial each other have two links, of which one stands by until the other ends. Rules: P-loop-1, P-loop-4.
func TestNodesThatDialEachOther(t *testing.T) {
	t.Parallel() // it waits for most of its time
	inEachWay(t, nodesThatDialEachOther)
}

func nodesThatDialEachOther(t *testing.T, w *dialWay) {
	one, two := w.start(t, generic("one")), w.start(t, generic("two"))
	w.dial(t, one, w.addr(two), nil).await(LinkUp)
	d := w.dial(t, two, w.addr(one), nil)
	d.await(LinkUp)
	shaped := func(links int) func() bool {
		return func() bool {
			for _, n := range []*Node{one, two} {
				ps := n.Peers()
				if len(ps) != links || links == 2 && ps[0].Standby == ps[1].Standby || !slices.ContainsFunc(ps, func(p Peer) bool { return p.Open }) {
					return false
				}
			}
			return true
		}
	}
	until(t, "one link is open, and the other stands by", shaped(2))
	var apps []*caller
	for i := range 2 {
		b := call(t, two)
		b.subscribe(group.WithID(uint64(i), 5))
		apps = append(apps, b)
	}
	until(t, "both are known", func() bool { return one.Stats().Names >= 2 })
	a := call(t, one)
	for i := range 20 {
		a.send(publication(a.sign(header(alice, group, 256, "x")), i, 100))
	}
	for i, b := range apps {
		b.await(func() bool { return len(b.got) >= 20 })
		if n := len(b.got); n != 20 {
			t.Errorf("application %d has %d messages, want 20", i, n)
		}
	}
	d.Close()
	d.await(LinkOver)
	until(t, "one link is left", func() bool { return one.Stats().Connections == 2 && two.Stats().Connections == 3 })
	one.chores.wait() // what came over the other has been withdrawn
	until(t, "the link that is left is open", shaped(1))
	until(t, "the names are known by it", func() bool { return one.Stats().Names == 2 })
	for i := range 20 { // what is sent now takes the other
		a.send(publication(a.sign(header(alice, group, 256, "x")), 20+i, 100))
	}
	for _, b := range apps {
		b.await(func() bool { return len(b.got) == 40 })
	}
}

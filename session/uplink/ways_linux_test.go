package uplink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/ws"
)

// way is how an app reaches a node.
type way struct {
	name, addr string
	o          Options
}

// startAllWays starts a node that listens in every way, and returns these.
func startAllWays(t *testing.T, o router.Options) (*router.Node, []way) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.sock")
	o.Listen = []string{"127.0.0.1:0", "ws://127.0.0.1:0/slim", "unix://" + path + "?mode=0600", "ws://localhost:0", "[::1]:0"}
	n, err := router.Start(t.Context(), patient(o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	at := func(i int) string { return n.Addrs()[i].String() }
	return n, []way{
		{"gRPC", at(0), Options{}},
		{"WebSocket", "ws://" + at(1) + "/slim?token=x", Options{Origin: "https://example.org"}},
		{"unix", "unix://" + at(2), Options{}},
		{"WebSocket at /", "ws://" + at(3), Options{}},
	}
}

// Apps that come in different ways talk to each other: every message arrives once, in order, and the ends are orderly.
func TestAppsTalkWhicheverWayTheyCome(t *testing.T) {
	n, ways := startAllWays(t, router.Options{Loops: 2})
	loads := []struct{ total, size int }{{200, 100}, {10, 40_000}, {1, 3 << 20}}
	if os.Getenv("SLIMGO_TEST_LONG") != "" {
		loads = []struct{ total, size int }{{1000, 100}, {100, 40_000}, {4, 3 << 20}}
	}
	var sent uint64
	for _, from := range ways {
		for _, to := range ways {
			t.Run(from.name+" to "+to.name, func(t *testing.T) {
				for _, load := range loads {
					a, b := dialNode(t, from.addr, from.o), dialNode(t, to.addr, to.o)
					if a.Link().ID == "" || !a.Link().Signed {
						t.Errorf("the link is %+v", a.Link())
					}
					subscribe(t, b, bob)
					var all sync.WaitGroup
					all.Go(func() {
						for i := range load.total {
							if err := a.Publish(t.Context(), header(bob), testSession, content(i, load.size)); err != nil {
								t.Error(err)
								return
							}
						}
						if err := a.Close(t.Context()); err != nil {
							t.Error("close:", err)
						}
					})
					for i := range load.total {
						if got := number(receive(t, b), load.size); got != i {
							t.Fatalf("message %d is %d", i, got)
						}
					}
					all.Wait()
					sent += uint64(load.total)
					if err := b.Close(t.Context()); err != nil {
						t.Error("close:", err)
					}
					if s := b.Stats(); s.Received != uint64(load.total) || s.Unauthentic+s.Invalid+s.Ignored+s.Discarded > 0 {
						t.Errorf("%+v", s)
					}
				}
			})
		}
	}
	until(t, "all is counted", func() bool { return n.Stats().Delivered >= sent })
	if s := n.Stats(); s.Delivered != sent || len(s.Dropped) != 0 || s.Panics != 0 {
		t.Errorf("%d of %d delivered, dropped %v, refused %v", s.Delivered, sent, s.Dropped, s.Refused)
	}
}

// All ways at once: everybody sends to everybody, and the counts match.
func TestAllWaysAtOnce(t *testing.T) {
	n, ways := startAllWays(t, router.Options{Loops: 2})
	const each, size = 300, 1000
	group := wire.Text("org", "ns", "group")
	var apps []*Conn
	for i := range 8 {
		w := ways[i%len(ways)]
		c := dialNode(t, w.addr, w.o)
		subscribe(t, c, group.WithID(uint64(i), 77))
		apps = append(apps, c)
	}
	var all sync.WaitGroup
	for _, c := range apps {
		all.Go(func() {
			h := header(group)
			h.Fanout = 256
			for i := range each {
				if err := c.Publish(t.Context(), h, testSession, content(i, size)); err != nil {
					t.Error(err)
					return
				}
			}
		})
		all.Go(func() {
			for range each * (len(apps) - 1) {
				if _, err := c.Receive(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	want := uint64(each * len(apps) * (len(apps) - 1))
	for _, c := range apps {
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	until(t, "all is counted", func() bool { return n.Stats().Delivered >= want })
	if s := n.Stats(); s.Delivered != want || len(s.Dropped) != 0 {
		t.Errorf("%d of %d delivered, dropped %v", s.Delivered, want, s.Dropped)
	}
}

// A node that shuts down ends each channel after what it has for the app, whichever way the app has come.
func TestNodeShutsDownInAllWays(t *testing.T) {
	for i := range 3 {
		n, ways := startAllWays(t, router.Options{})
		w := ways[i]
		a, b := dialNode(t, ways[0].addr, ways[0].o), dialNode(t, w.addr, w.o)
		subscribe(t, b, bob)
		const total, size = 100, 10_000
		for i := range total {
			if err := a.Publish(t.Context(), header(bob), testSession, content(i, size)); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Close(t.Context()); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := n.Shutdown(ctx); err != nil {
			t.Error(w.name, err)
		}
		cancel()
		for i := range total {
			if got := number(receive(t, b), size); got != i {
				t.Fatalf("%s: message %d is %d", w.name, i, got)
			}
		}
		var e *Error
		if _, err := b.Receive(t.Context()); !errors.As(err, &e) || e.Fault != Node || !errors.Is(err, ErrEnded) {
			t.Errorf("%s: got %v", w.name, err)
		}
	}
}

// What an app has published before it closes, or dies, arrives, though its socket is full of what it has not read.
func TestPublishAndCloseInAllWays(t *testing.T) {
	_, ways := startAllWays(t, router.Options{})
	b := dialNode(t, ways[0].addr, ways[0].o) // one for all: the node may still choose one that is gone
	subscribe(t, b, bob)
	for _, w := range ways {
		const rounds, each, size = 5, 100, 1000
		for r := range rounds {
			o := w.o
			o.Queue = 1 << 20
			a := dialNode(t, w.addr, o)
			for i := range each {
				if err := a.Publish(t.Context(), header(bob), testSession, content(r*each+i, size)); err != nil {
					t.Fatal(err)
				}
			}
			if err := a.Close(t.Context()); err != nil {
				t.Fatalf("%s, round %d: %v", w.name, r, err)
			}
		}
		receiveOf(t, b, rounds, each, size)
	}
}

// An app by WebSocket that does not receive is not read to: what waits in it is bounded, and it is not taken for dead.
// When it receives again, all comes.
func TestAppThatDoesNotReceiveHoldsItsSocket(t *testing.T) {
	_, ways := startAllWays(t, router.Options{SlowConsumer: router.Block})
	o := ways[1].o
	o.Window = 64 << 10
	a, b := dialNode(t, ways[0].addr, ways[0].o), dialNode(t, ways[1].addr, o)
	subscribe(t, b, bob)
	const total, size = 1000, 20_000 // 20 MB: more than kernels, queues and windows take
	held := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for i := range total {
			if i == total/2 {
				close(held)
			}
			if err := a.Publish(t.Context(), header(bob), testSession, content(i, size)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	most := 0
	for i := range total {
		if got := number(receive(t, b), size); got != i {
			t.Fatalf("message %d is %d", i, got)
		}
		b.mu.Lock()
		most = max(most, b.f.(*webSocket).ahead)
		b.mu.Unlock()
	}
	all.Wait()
	<-held
	if most > 64<<10+64<<10+size+100 { // the window, one read, and what is left of one message
		t.Errorf("%d bytes waited in the app", most)
	}
}

// Refusals say what the node has said.
func TestRefusalsByWebSocket(t *testing.T) {
	_, ways := startAllWays(t, router.Options{MaxRemotes: 1})
	var e *Error
	var refused *ws.HandshakeError
	_, err := Dial(t.Context(), strings.Replace(ways[1].addr, "/slim", "/else", 1), nil)
	if !errors.As(err, &e) || e.Fault != Node || !errors.As(err, &refused) || refused.Status != 404 || !strings.Contains(err.Error(), "another path") {
		t.Errorf("another path: %v", err)
	}
	o := ways[1].o
	o.Fields = []Field{{"host", "x"}}
	if _, err := Dial(t.Context(), ways[1].addr, &o); !errors.As(err, &e) || e.Fault != Ours || !errors.Is(err, ws.ErrField) {
		t.Errorf("a reserved field: %v", err)
	}
	o = ways[1].o
	if _, err := Dial(t.Context(), "ws://"+ways[0].addr, &o); !errors.As(err, &e) || e.Fault == Ours {
		t.Errorf("a listener of gRPC: %v", err)
	}
	if _, err := Dial(t.Context(), strings.TrimPrefix(ways[3].addr, "ws://"), nil); !errors.As(err, &e) || e.Fault == Ours {
		t.Errorf("gRPC at a listener of WebSocket: %v", err)
	}
	o.Kind = Remote
	dialNode(t, ways[1].addr, o)
	c, err := Dial(t.Context(), ways[1].addr, &o)
	if err == nil { // the node refuses after its answer
		_, err = c.Receive(t.Context())
	}
	var closed *CloseError
	if !errors.As(err, &closed) || closed.Code != ws.PolicyViolation || !strings.Contains(closed.Reason, "--max-remotes") {
		t.Errorf("one link too many: %v", err)
	}
}

// put takes batches in any pieces.
func TestWebSocketTakesBatchesInPieces(t *testing.T) {
	var batch []byte
	var want [][]byte
	for i, n := range []int{0, 1, 200, 70_000, 5} {
		m := bytes.Repeat([]byte{byte(i + 1)}, n)
		want = append(want, m)
		batch = AppendFrame(batch, m)
	}
	for _, piece := range []int{1, 3, 5, 7, 1000, len(batch)} {
		o := new(Options).filled(&url.URL{Host: "x"})
		w := newWebSocket(&o, "/")
		if err := w.open(); err != nil {
			t.Fatal(err)
		}
		var srv ws.Conn
		srv.Init(ws.Server, nil)
		var p wsPeer
		p.c = &srv
		if out, rest := w.put(nil, batch); len(out) != 0 || len(rest) != len(batch) {
			t.Fatal("messages are sent before the answer to the handshake")
		}
		if err := srv.Feed(w.control(nil), &p); err != nil {
			t.Fatal(err)
		}
		var in arrivals
		if err := w.feed(srv.Control(), &in); err != nil || !in.opened {
			t.Fatal(err, in.opened)
		}
		var out []byte
		for b := batch; len(b) > 0; {
			n := min(piece, len(b))
			if len(b)%1000 < n {
				w.ping() // whose frame must not come into that of a message
			}
			out, _ = w.put(out, b[:n])
			out = w.control(out)
			b = b[n:]
		}
		if err := srv.Feed(out, &p); err != nil {
			t.Fatalf("pieces of %d: %v", piece, err)
		}
		if len(p.got) != len(want) {
			t.Fatalf("pieces of %d: %d messages", piece, len(p.got))
		}
		for i := range want {
			if !bytes.Equal(p.got[i], want[i]) {
				t.Errorf("pieces of %d: message %d differs", piece, i)
			}
		}
	}
}

// wsPeer is the other end of an engine.
type wsPeer struct {
	c   *ws.Conn
	got [][]byte
}

func (p *wsPeer) Request(*ws.Request) {
	if ok, err := p.c.Accept(); !ok || err != nil {
		panic(fmt.Sprint("refused: ", err))
	}
}
func (p *wsPeer) Response(*ws.Response)               {}
func (p *wsPeer) Message(_ ws.Kind, m []byte, _ bool) { p.got = append(p.got, bytes.Clone(m)) }
func (p *wsPeer) Grow(have []byte, n int) []byte      { return append(make([]byte, 0, n), have...) }
func (p *wsPeer) Pong([]byte)                         {}
func (p *wsPeer) Ended(*ws.End)                       {}

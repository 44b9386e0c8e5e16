package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// way is how an application reaches a node.
type way struct {
	name string
	addr string // as uplink.Dial takes it
	o    uplink.Options
}

// host is the address without its scheme.
func (w *way) host() string { return w.addr[strings.Index(w.addr, "://")+len("://"):] }

// startWays starts a node that listens by gRPC, by WebSocket and on a unix socket.
func startWays(t *testing.T, o Options) (*Node, []way) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	o.Listen = []string{"127.0.0.1:0", "ws://127.0.0.1:0/", "unix://" + path}
	o.NegotiationTimeout, o.KeepaliveTime = cmp.Or(o.NegotiationTimeout, hang), cmp.Or(o.KeepaliveTime, -1) // as startAt
	n, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	at := func(i int) string { return n.Addrs()[i].String() }
	return n, []way{
		{name: "gRPC", addr: at(0)}, {name: "WebSocket", addr: "ws://" + at(1)}, {name: "unix", addr: "unix://" + at(2)},
	}
}

// valve is a connection that is read when the test says so.
type valve struct {
	net.Conn
	mu    sync.Mutex
	some  sync.Cond
	chunk int  // that a read takes at most
	left  int  // bytes that may be read
	open  bool // whatever left says
	in    bool // a read has begun
	read  int  // bytes
	over  bool
}

// Read implements net.Conn.
func (v *valve) Read(p []byte) (int, error) {
	v.mu.Lock()
	for !v.open && v.left <= 0 && !v.over {
		v.some.Wait()
	}
	n := min(len(p), v.chunk)
	if !v.open && v.left > 0 {
		n = min(n, v.left)
	}
	v.in = true
	v.mu.Unlock()
	n, err := v.Conn.Read(p[:n])
	v.mu.Lock()
	defer v.mu.Unlock()
	v.in = false
	v.left -= n
	v.read += n
	if err != nil {
		v.over = true
	}
	v.some.Broadcast()
	return n, err
}

// reads waits until a read has begun, which a valve that is shut does not hold up.
func (v *valve) reads(t *testing.T) {
	t.Helper()
	until(t, "it reads", func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.in
	})
}

// taken is how many bytes were read.
func (v *valve) taken() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.read
}

// set opens or shuts the valve. A read that waits already goes on.
func (v *valve) set(open bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open, v.left = open, 0
	v.some.Broadcast()
}

// pass lets n bytes pass, and waits until they have, or done says that there are none.
func (v *valve) pass(t *testing.T, n int, done func() bool) {
	t.Helper()
	v.mu.Lock()
	v.left += n
	v.some.Broadcast()
	v.mu.Unlock()
	until(t, "it has read", func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.left <= 0 || v.over || done()
	})
}

// Close implements net.Conn.
func (v *valve) Close() error {
	v.mu.Lock()
	v.over = true
	v.some.Broadcast()
	v.mu.Unlock()
	return v.Conn.Close()
}

// taker is an application that counts what it gets.
type taker struct {
	*uplink.Conn
	valve *valve
	mu    sync.Mutex
	got   int
	next  int
	fault error // the first message out of order
}

// join connects an application that way; what it gets goes to the taker.
func (w *way) join(t *testing.T, chunk int) *taker {
	t.Helper()
	p := &taker{valve: &valve{chunk: chunk, open: true}}
	p.valve.some.L = &p.valve.mu
	o := w.o
	o.Setup = -1 // however long the machine takes
	o.DialContext = func(ctx context.Context, addr string) (net.Conn, error) {
		c, err := uplink.DialSocket(ctx, addr)
		p.valve.Conn = c
		return p.valve, err
	}
	o.Handle = func(msgs [][]byte) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, m := range msgs {
			if n := numberOf(m); n < p.next && p.fault == nil {
				p.fault = fmt.Errorf("message %d after %d", n, p.next-1)
			} else {
				p.next = n + 1
			}
			p.got++
		}
	}
	c, err := uplink.Dial(t.Context(), w.addr, &o)
	if err != nil {
		t.Fatal(err)
	}
	p.Conn = c
	t.Cleanup(func() { c.Abort(); <-c.Done() })
	return p
}

func (p *taker) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got
}

// names subscribes p to a name.
func (p *taker) names(t *testing.T, n wire.NameText) {
	t.Helper()
	if _, err := p.Subscribe(t.Context(), header(n, n, 1, "")); err != nil {
		t.Fatal(err)
	}
}

// A receiver that stops reading is found, however it came, and becomes what the policy says; the memory that waits for
// it is bounded meanwhile. The sender comes in each way, too.
func TestReceiversThatStopInAllWays(t *testing.T) {
	t.Parallel()
	const size = 10_000
	for i, policy := range []Policy{Adaptive, Block, Drop, Disconnect} {
		for to := range 3 {
			for from := range 3 {
				if !long && (i+to)%3 != from { // each with each, but not all three
					continue
				}
				t.Run(fmt.Sprint(policy, " ", from, " to ", to), func(t *testing.T) {
					t.Parallel()
					n, ways := startWays(t, Options{SlowConsumer: policy})
					a, b := ways[from].join(t, 64<<10), ways[to].join(t, 64<<10)
					b.names(t, bob)
					b.valve.set(false)
					ctx, cancel := context.WithCancel(t.Context())
					sent := make(chan int, 1)
					go func() {
						i := 0
						for ; ctx.Err() == nil; i++ {
							if a.Publish(ctx, header(alice, bob, 1, "x"), testSession, content(i, size)) != nil {
								break
							}
						}
						sent <- i
					}()
					most := int64(0)
					watch := func(done func(s *Stats) bool) {
						until(t, "the receiver is found", func() bool {
							s := n.Stats()
							most = max(most, s.WaitingBytes)
							return done(&s)
						})
					}
					switch policy {
					case Adaptive:
						watch(func(s *Stats) bool { return s.Stalled == 1 && s.Dropped[ReasonStalled] > 100 })
					case Block: // the sender is held
						watch(func(s *Stats) bool { return s.Held > 0 })
						received, since := uint64(0), time.Now()
						watch(func(s *Stats) bool {
							if s.Received != received {
								received, since = s.Received, time.Now()
							}
							return time.Since(since) > 300*time.Millisecond
						})
					case Drop:
						watch(func(s *Stats) bool { return s.Dropped[ReasonFull] > 100 })
					case Disconnect:
						watch(func(s *Stats) bool { return s.Connections == 1 })
					}
					if limit := int64(DefaultConnBuffer + 3*receiveWindow); most > limit {
						t.Errorf("%d bytes wait, %d at most", most, limit)
					}
					cancel()
					count := <-sent
					b.valve.set(true)
					switch policy {
					case Block:
						until(t, "all arrives", func() bool { return b.count() == count })
					case Disconnect:
						<-b.Done()
					default:
						until(t, "it has caught up", func() bool { return n.Stats().Stalled == 0 && n.Stats().Waiting == 0 })
					}
					if b.mu.Lock(); b.fault != nil {
						t.Error(b.fault)
					}
					b.mu.Unlock()
					if s := n.Stats(); s.Panics != 0 || policy == Block && len(s.Dropped) != 0 {
						t.Errorf("%+v", s)
					}
				})
			}
		}
	}
}

// As TestReceiversOnTCPThatReadAboveTheFloorLoseNothing, for receivers by WebSocket, whose windows are their kernels',
// and behind unix sockets, whose kernel counts memory.
func TestReceiversInAllWaysThatReadAboveTheFloorLoseNothing(t *testing.T) {
	t.Parallel() // beside those that wait
	var fault string
	for _, pause := range lookPauses { // what the kernel's threads delay on a busy machine is no fault
		if fault = readAboveTheFloorInAllWays(t, pause); fault == "" {
			return
		}
		t.Log(fault)
	}
	t.Error("each time")
}

func readAboveTheFloorInAllWays(t *testing.T, pause time.Duration) (fault string) {
	const rate = 2 * DefaultStallRate
	fast, total := 10<<20, 13<<20
	if long {
		fast, total = 20<<20, 23<<20
	}
	n, ways := startWays(t, Options{Loops: 1})
	l := n.loops[0]
	l.post(func() { l.clock.timer = new(netloop.Timer) }) // which never fires
	type receiver struct {
		*taker
		name  string
		total int // messages for it
		read  int
	}
	var all []*receiver
	var sending sync.WaitGroup
	for i, tc := range []struct{ way, chunk, size int }{
		{1, 4 << 10, 10_000}, {1, 64 << 10, 10_000}, {1, 64 << 10, 500_000}, {2, 4 << 10, 10_000}, {2, 64 << 10, 100_000}, {2, 4 << 10, 300},
	} {
		a, b := ways[0].join(t, 64<<10), ways[tc.way].join(t, 64<<10)
		to := bob.WithID(uint64(i), 9)
		b.names(t, to)
		size, whole := tc.size, total
		if size < 1000 {
			whole /= 4 // its headers are as long
		}
		r := &receiver{taker: b, name: fmt.Sprint(ways[tc.way].name, " ", tc.chunk, " ", tc.size), total: whole / size}
		all = append(all, r)
		sending.Go(func() {
			for j := range r.total {
				if err := a.Publish(t.Context(), header(alice, to, 1, "x"), testSession, content(j, size)); err != nil {
					t.Error(err)
					return
				}
			}
		})
		until(t, "it has read fast", func() bool { return b.count() >= r.total*fast/total })
		b.valve.set(false)
		b.valve.mu.Lock()
		b.valve.chunk = tc.chunk
		b.valve.mu.Unlock()
	}
	defer func() {
		for _, r := range all {
			r.valve.set(true)
		}
		sending.Wait()
	}()
	for passed, left := stallLook, true; left; passed += stallLook {
		left = false
		for _, r := range all {
			done := func() bool { return r.count() >= r.total || n.Stats().Stalled != 0 }
			for chunk := r.valve.chunk; !done() && r.read+chunk <= int(passed.Seconds()*rate); r.read += chunk {
				r.valve.pass(t, chunk, done)
			}
			left = left || !done()
		}
		time.Sleep(pause)
		l.passLook()
		if s := n.Stats(); s.Stalled != 0 || s.Dropped[ReasonStalled] != 0 {
			return fmt.Sprintf("after %v: stalled %d, dropped %v", passed, s.Stalled, s.Dropped)
		}
	}
	return ""
}

// A node whose endpoints cannot all be listened on says which, and leaves nothing behind.
func TestListenersOfAnyKindAreNamedByTheirPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for i, tc := range []struct {
		listen []string
		index  int
	}{
		{[]string{"127.0.0.1:0", "unix://" + path, "unix://" + path}, 2},
		{[]string{"127.0.0.1:0", "ws://127.0.0.1:0", "wss://127.0.0.1:0"}, 2},
		{[]string{"ws://127.0.0.1:x"}, 0},
		{[]string{"127.0.0.1:0", "unix://" + path + "?mode=x"}, 1},
		{[]string{"127.0.0.1:0", "http://127.0.0.1:0"}, 1},
		{[]string{"ws://127.0.0.1:0/a b"}, 0},
		{[]string{"ws://user@127.0.0.1:0/"}, 0},
		{[]string{"ws:///path"}, 0},
	} {
		before := descriptors(t)
		_, err := Start(t.Context(), Options{Listen: tc.listen})
		var le *ListenError
		if !errors.As(err, &le) || le.Index != tc.index || le.Addr != tc.listen[tc.index] {
			t.Errorf("%d: err = %v", i, err)
		}
		if now := descriptors(t); now > before {
			t.Errorf("%d: %d descriptors, before %d", i, now, before)
		}
	}
}

func TestParseEndpoint(t *testing.T) {
	for s, want := range map[string]endpoint{
		"127.0.0.1:46357":            {listen: "127.0.0.1:46357"},
		"unix:///run/s?mode=0600":    {listen: "unix:///run/s?mode=0600", mode: 0o600},
		"ws://127.0.0.1:1":           {listen: "127.0.0.1:1", webSocket: true, path: "/"},
		"ws://127.0.0.1:1/a/b?c=d#e": {listen: "127.0.0.1:1", webSocket: true, path: "/a/b"},
		"ws://127.0.0.1:1?c=d/e":     {listen: "127.0.0.1:1", webSocket: true, path: "/"},
		"ws://localhost/x":           {listen: "localhost:80", webSocket: true, path: "/x"},
		"ws://[::1]:5/":              {listen: "[::1]:5", webSocket: true, path: "/"},
		"wss://[::1]/x":              {listen: "[::1]:443", webSocket: true, secure: true, path: "/x"},
		"ws://[::1]":                 {listen: "[::1]:80", webSocket: true, path: "/"},
	} {
		if got, err := parseEndpoint(s); err != nil || got != want {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
}

package router

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// sluice is a TCP connection whose two directions can be held up, in the network so to speak.
type sluice struct {
	up, down gate // to and from the node that is dialled
}

// gate lets bytes pass until it is shut, and from then on as many as it is told. The zero value is open.
type gate struct {
	mu      sync.Mutex
	shut    bool          // guarded by mu
	allowed int           // guarded by mu; while shut
	passed  int           // guarded by mu
	ended   bool          // guarded by mu; the end of the direction has passed
	changed chan struct{} // guarded by mu; closed at a change; nil: nobody waits
}

// shutAfter lets n bytes more pass.
func (g *gate) shutAfter(n int) { g.set(true, n) }

func (g *gate) open() { g.set(false, 0) }

func (g *gate) set(shut bool, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.allowed, g.passed = shut, n, 0
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// let waits until some of n bytes may pass, and returns how many.
func (g *gate) let(ctx context.Context, n int) int {
	for {
		g.mu.Lock()
		if !g.shut || g.allowed > 0 {
			if g.shut {
				n = min(n, g.allowed)
				g.allowed -= n
			}
			g.passed += n
			g.mu.Unlock()
			return n
		}
		if g.changed == nil {
			g.changed = make(chan struct{})
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return 0
		}
	}
}

func (g *gate) copy(ctx context.Context, to, from *net.TCPConn) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		for p := b[:n]; len(p) > 0; {
			k := g.let(ctx, len(p))
			if k == 0 {
				return
			}
			if _, err := to.Write(p[:k]); err != nil {
				return
			}
			p = p[k:]
		}
		if err != nil {
			_ = to.CloseWrite()
			g.mu.Lock()
			g.ended = true
			g.mu.Unlock()
			return
		}
	}
}

// over reports whether the end of the direction has passed.
func (g *gate) over() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ended
}

// connect is Link.Connect through s.
func (s *sluice) connect(t *testing.T, addr string) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		far, err := net.Dial("tcp", addr)
		if err != nil {
			return nil, err
		}
		near, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return nil, err
		}
		mid, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(context.Background())
		var both sync.WaitGroup
		both.Go(func() { s.up.copy(ctx, far.(*net.TCPConn), mid) })
		both.Go(func() { s.down.copy(ctx, mid, far.(*net.TCPConn)) })
		t.Cleanup(func() {
			cancel()
			_ = mid.Close()
			_ = far.Close()
			both.Wait()
		})
		return near, nil
	}
}

// endings reports how many connections of n are ending.
func endings(t *testing.T, n *Node) (ends int) {
	all, err := n.Connections(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if all[i].State == "ending" {
			ends++
		}
	}
	return ends
}

// What the other end of a link sends until it has read that the link is not wanted any more goes its way: whole messages, and the rest of
// one that had come in part. Rules: P-end-7.
func TestMessagesThatMeetTheEndOfADialledLink(t *testing.T) {
	inEachWay(t, messagesThatMeetTheEndOfADialledLink)
}

func messagesThatMeetTheEndOfADialledLink(t *testing.T, w *dialWay) {
	one, two := w.start(t, generic("one")), w.start(t, generic("two"))
	b := call(t, one)
	b.subscribe(bob)
	var s sluice
	d := w.dial(t, one, w.addr(two), func(l *Link) { l.Connect = s.connect(t, w.addr(two)) })
	d.await(LinkUp)
	until(t, "bob is known", func() bool { return two.Stats().Names == 1 })
	a := call(t, two)
	arrives(t, a, b, bob)

	const count, large = 100, 300_000
	b.got = nil
	s.up.shutAfter(0)
	s.down.shutAfter(large / 2)
	a.send(publication(a.sign(header(alice, bob, 1, "x")), 0, large))
	until(t, "half of it has passed", func() bool {
		s.down.mu.Lock()
		defer s.down.mu.Unlock()
		return s.down.passed == large/2
	})
	d.Close()
	until(t, "the link ends", func() bool { return endings(t, one) == 1 })
	s.down.open()
	for i := range count {
		a.send(publication(a.sign(header(alice, bob, 1, "x")), i+1, 100))
	}
	b.await(func() bool { return len(b.got) == 1+count })
	s.up.open()
	d.await(LinkOver)
	if st := one.Stats(); len(st.Dropped) != 0 {
		t.Errorf("dropped: %v", st.Dropped)
	}
}

// A Rust node takes the end of a socket for that of both directions, and throws away what it has yet to say: ours ends when it has said
// that its stream has ended. Rules: P-end-7.
func TestADialledSocketStaysOpenForTheOtherEnd(t *testing.T) {
	t.Parallel() // it waits for most of its time
	for _, silent := range []bool{false, true} {
		t.Run(fmt.Sprintf("silent %v", silent), func(t *testing.T) {
			t.Parallel()
			one, two := start(t, generic("one")), start(t, generic("two"))
			addr := two.Addrs()[0].String()
			var s sluice
			d := dialLink(t, one, addr, func(l *Link) { l.Connect = s.connect(t, addr) })
			d.await(LinkUp)
			until(t, "both know the link", func() bool { return two.Stats().Kinds[table.Peer] == 1 })
			s.down.shutAfter(0)
			d.Close()
			until(t, "the other end knows", func() bool { return two.Stats().Kinds[table.Peer] == 0 })
			time.Sleep(10 * time.Millisecond) // it would have been there by then
			if s.up.over() {
				t.Error("the socket has ended before the other end's stream")
			}
			if !silent {
				s.down.open()
			}
			d.await(LinkOver) // not only when Link.CloseTimeout is over
			if s := d.Status(); s.State != LinkOver {
				t.Errorf("%+v", s)
			}
			until(t, "the socket has ended", s.up.over)
		})
	}
}

// So it is with messages to many, which come over the link in whose place another one has come, too: once. Rules: P-end-7, P-ctl-9.
func TestMessagesThatMeetTheEndOfAReplacedLink(t *testing.T) {
	one, two := start(t, generic("one")), start(t, generic("two"))
	far := make(chan *ActiveLink, 4)
	two.Watch(&Watch{Name: func(wire.Name) {}, Link: func(l *ActiveLink, up bool) {
		if up {
			far <- l
		}
	}})
	near := make(chan *ActiveLink, 4)
	one.Watch(&Watch{Name: func(wire.Name) {}, Link: func(l *ActiveLink, up bool) {
		if up {
			near <- l
		}
	}})
	addr := two.Addrs()[0].String()
	var s sluice
	dial := func(change func(*Link)) (*dialled, *ActiveLink) {
		d := dialLink(t, one, addr, func(l *Link) {
			l.Kind = table.Remote
			change(l)
		})
		d.await(LinkUp)
		if err := (<-far).Change(t.Context(), []RouteChange{{Name: group}}); err != nil {
			t.Fatal(err)
		}
		return d, <-near
	}
	old, before := dial(func(l *Link) { l.ID, l.Connect = "old", s.connect(t, addr) })
	_, after := dial(func(l *Link) { l.ID = "young" })
	after.Replaces(before)

	b, a := call(t, one), call(t, two)
	b.subscribe(group)
	s.up.shutAfter(0)
	old.Close()
	until(t, "the link ends", func() bool { return endings(t, one) == 1 })
	const count = 100
	for i := range count {
		a.send(publication(a.sign(header(alice, group, 256, "x")), i, 100))
	}
	until(t, "all have come over both", func() bool { return one.Stats().Dropped[ReasonRepeated] == count })
	if b.await(func() bool { return len(b.got) >= count }); len(b.got) != count {
		t.Errorf("%d messages arrive, want %d", len(b.got), count)
	}
	s.up.open()
	old.await(LinkOver)
	until(t, "one link is left", func() bool { return one.Stats().Kinds[table.Remote] == 1 })
	if before.conn.twin.Load().up.Load() != 1 {
		t.Error("the link that has ended counts as one that is up")
	}
}

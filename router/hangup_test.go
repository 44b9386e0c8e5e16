package router

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/router/transport"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// sluice is a TCP connection whose two directions can be held up, in the network so to speak: each by itself, and after so many
// bytes, which a faults.Line cannot.
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

// unhurried runs a test of what has a time of the clock's, lingerTime or repeatTime, until a turn has taken less than within: a process that
// did not run for that long has had none of it.
func unhurried(t *testing.T, within time.Duration, turn func(t *testing.T) (wrong string, took time.Duration)) {
	t.Helper()
	for range 20 {
		wrong, took := turn(t)
		if wrong == "" {
			return
		}
		if took < within {
			t.Fatal(wrong)
		}
		t.Logf("%s; it took %v, so again", wrong, took)
	}
	t.Error("no turn was quick enough")
}

// What the other end of a link sends until it has read that the link is not wanted any more goes its way: whole messages, the rest of
// one that had come in part, and what is compressed. Rules: P-end-7.
func TestMessagesThatMeetTheEndOfADialledLink(t *testing.T) {
	inEachWay(t, func(t *testing.T, w *dialWay) {
		unhurried(t, time.Second, func(t *testing.T) (string, time.Duration) { return messagesThatMeetTheEnd(t, w, nil) })
	})
	for i, e := range []compress.Encoding{compress.Zstd, compress.Deflate} {
		t.Run(e.String(), func(t *testing.T) {
			unhurried(t, time.Second, func(t *testing.T) (string, time.Duration) {
				return messagesThatMeetTheEnd(t, &dialWays[i], &transport.Offer{Encoding: e})
			})
		})
	}
}

func messagesThatMeetTheEnd(t *testing.T, w *dialWay, offer *transport.Offer) (wrong string, took time.Duration) {
	o := generic("one")
	o.Loops = 1 // what has come before a message is delivered before it
	one, two := w.start(t, o), w.start(t, generic("two"))
	b := call(t, one)
	b.subscribe(bob)
	var s sluice
	d := w.dial(t, one, w.addr(two), func(l *Link) { l.Connect, l.Call.Offer = s.connect(t, w.addr(two)), offer })
	d.await(LinkUp)
	until(t, "bob is known", func() bool { return two.Stats().Names == 1 })
	a := call(t, two)
	arrives(t, a, b, bob)

	const count = 9 // all together less than windows take, as nobody reads meanwhile
	large := 100_000
	if w.name != "gRPC" && offer != nil {
		large = 60_000 // what is larger goes uncompressed
	}
	said := func(i int) []byte { // of which a part does not shrink: it is not expanded on the loop
		m := publication(a.sign(header(alice, bob, 1, "x")), i, large)
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(m[len(m)-20_000:])
		return m
	}
	b.got = nil
	before := two.Stats().BytesIn
	began := time.Now()
	s.up.shutAfter(0)
	switch offer {
	case nil:
		s.down.shutAfter(large / 2)
		a.send(said(0))
		until(t, "half of it has passed", func() bool {
			s.down.mu.Lock()
			defer s.down.mu.Unlock()
			return s.down.passed == large/2
		})
	default: // they come with the end of the other side behind them
		s.down.shutAfter(0)
		a.send(said(0))
	}
	d.Close()
	until(t, "the link ends", func() bool { return endings(t, one) == 1 || d.Status().State == LinkOver })
	for i := range count {
		a.send(said(i + 1))
	}
	if offer == nil {
		s.down.open()
	}
	until(t, "all are on their way", func() bool { return two.Stats().BytesIn-before >= uint64((1+count)*large) })
	s.up.open()
	until(t, "the other end knows", func() bool { return two.Stats().Kinds[table.Peer] == 0 })
	s.down.open()
	d.await(LinkOver)
	took = time.Since(began)
	last := call(t, one)
	last.send(publication(last.sign(header(carol, bob, 1, "x")), 9, 100))
	b.await(func() bool { return len(b.got) > 0 && len(b.got[len(b.got)-1]) < large })
	if st := one.Stats(); len(b.got) != 1+count+1 || st.Panics != 0 || (offer != nil) != (st.PackedIn > 0) {
		wrong = fmt.Sprintf("%d of %d arrive; %+v", len(b.got)-1, 1+count, st)
	}
	return wrong, took
}

// A link that is closed before it is up is not heard, whatever comes. Rules: P-end-7, P-dial-1.
func TestMessagesOfALinkThatIsClosedBeforeItIsUp(t *testing.T) {
	for _, stops := range []bool{false, true} {
		called := make(chan struct{})
		var once sync.Once
		more := make(chan struct{})
		addr := acceptors(t, func(a *acceptor, s *h2.Stream, _ *h2.Request) {
			a.h.Respond(s)
			once.Do(func() { close(called) })
			<-more
			m := publication(header(alice, bob, 1, "x"), 0, 100)
			out, _ := a.h.Data(append([]byte(nil), a.h.Control()...), s, 5+len(m))
			a.h.ControlDone()
			_, _ = a.c.Write(append(binary.BigEndian.AppendUint32(append(out, 0), uint32(len(m))), m...))
		})
		one := start(t, generic("one"))
		d := dialLink(t, one, addr, nil)
		<-called
		until(t, "it negotiates", func() bool {
			l := one.Links()
			return len(l) == 1 && l[0].State == LinkOpening
		})
		if stops {
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			go func() {
				until(t, "the link ends", func() bool { return one.Stats().Kinds[table.Remote] == 0 })
				close(more)
			}()
			_ = one.Shutdown(ctx)
		} else {
			d.Close()
			until(t, "the link ends", func() bool { return endings(t, one) == 1 || d.Status().State == LinkOver })
			close(more)
		}
		d.await(LinkOver)
		if st := one.Stats(); st.Panics != 0 {
			t.Errorf("stops %v: %d panics", stops, st.Panics)
		}
	}
}

// A Rust node takes the end of a socket for that of both directions, and throws away what it has yet to say: ours ends when it has said
// that its stream has ended, or when it has been silent for lingerTime. Rules: P-end-7.
func TestADialledSocketStaysOpenForTheOtherEnd(t *testing.T) {
	t.Parallel() // it waits for most of its time
	inEachWay(t, func(t *testing.T, w *dialWay) {
		t.Parallel()
		for _, silent := range []bool{false, true} {
			t.Run(fmt.Sprintf("silent %v", silent), func(t *testing.T) {
				t.Parallel()
				unhurried(t, time.Second, func(t *testing.T) (string, time.Duration) { return staysOpen(t, w, silent) })
			})
		}
	})
}

func staysOpen(t *testing.T, w *dialWay, silent bool) (wrong string, took time.Duration) {
	one, two := w.start(t, generic("one")), w.start(t, generic("two"))
	var s sluice
	d := w.dial(t, one, w.addr(two), func(l *Link) { l.Connect, l.CloseTimeout = s.connect(t, w.addr(two)), hang })
	d.await(LinkUp)
	until(t, "both know the link", func() bool { return two.Stats().Kinds[table.Peer] == 1 })
	began := time.Now()
	s.down.shutAfter(0)
	d.Close()
	until(t, "the other end knows", func() bool { return two.Stats().Kinds[table.Peer] == 0 })
	for range 20 { // turns of all loops, in which it would have ended
		endings(t, one)
	}
	if s.up.over() {
		wrong = "the socket has ended before the other end's stream"
	}
	took = time.Since(began)
	if !silent {
		s.down.open()
	}
	d.await(LinkOver)
	until(t, "the socket has ended", s.up.over)
	return wrong, took
}

// So it is with messages to many, which come over the link in whose place another one has come, too: once. Rules: P-end-7, P-ctl-9.
func TestMessagesThatMeetTheEndOfAReplacedLink(t *testing.T) {
	unhurried(t, repeatTime, messagesThatMeetTheEndOfAReplacedLink)
}

func messagesThatMeetTheEndOfAReplacedLink(t *testing.T) (wrong string, took time.Duration) {
	one, two := start(t, generic("one")), start(t, generic("two"))
	links := func(n *Node) chan *ActiveLink {
		up := make(chan *ActiveLink, 4)
		n.Watch(&Watch{Name: func(wire.Name) {}, Link: func(l *ActiveLink, is bool) {
			if is {
				up <- l
			}
		}})
		return up
	}
	near, far := links(one), links(two)
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
	until(t, "the link ends", func() bool { return endings(t, one) == 1 || old.Status().State == LinkOver })
	const count = 20
	began := time.Now()
	for i := range count {
		a.send(publication(a.sign(header(alice, group, 256, "x")), i, 100))
	}
	until(t, "all have come over both", func() bool {
		return one.Stats().Dropped[ReasonRepeated] >= count || time.Since(began) > 2*repeatTime
	})
	took = time.Since(began)
	b.await(func() bool { return len(b.got) >= count })
	if got := one.Stats().Dropped[ReasonRepeated]; got != count || len(b.got) != count {
		wrong = fmt.Sprintf("%d messages arrive, and %d were known, want %d", len(b.got), got, count)
	}
	s.up.open()
	old.await(LinkOver)
	until(t, "one link is left", func() bool { return one.Stats().Kinds[table.Remote] == 1 })
	if before.conn.twin.Load().up.Load() != 1 {
		t.Error("the link that has ended counts as one that is up")
	}
	return wrong, took
}

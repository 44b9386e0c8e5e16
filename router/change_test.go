package router

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// at returns endpoints at these addresses.
func at(addrs ...string) (all []Endpoint) {
	for _, a := range addrs {
		all = append(all, Endpoint{Addr: a})
	}
	return all
}

// change makes a change of n.
func change(t *testing.T, n *Node, s Setup) {
	t.Helper()
	s.Rules.NegotiationTimeout = cmp.Or(s.Rules.NegotiationTimeout, hang) // as startAt
	c, err := n.Prepare(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	c.Commit()
}

// startOn starts a node that listens at these addresses.
func startOn(t *testing.T, addrs ...string) *Node {
	t.Helper()
	return startAt(t, Options{Loops: 2, Listen: addrs})
}

func gRPC(n *Node, i int) *way { return &way{name: "gRPC", addr: n.Addrs()[i].String()} }

func unixWay(path string) *way { return &way{name: "unix", addr: "unix://" + path} }

// Who has come by a listener that is removed gets what is queued for it and an orderly end, and what it has sent arrives;
// nobody else notices. The path of a unix socket can be used again. Rules: P-end-7.
func TestListenersComeAndGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	n := startOn(t, "127.0.0.1:0", "unix://"+path)
	stays, goes, sends := gRPC(n, 0).join(t, 64<<10), unixWay(path).join(t, 64<<10), unixWay(path).join(t, 64<<10)
	stays.names(t, bob)
	goes.names(t, carol)
	goes.valve.set(false)
	const count = 30 // 0.9 MB: more than goes out before it reads, and no more than may wait
	for i := range count {
		if err := stays.Publish(t.Context(), header(alice, carol, 1, "x"), testSession, content(i, 30_000)); err != nil {
			t.Fatal(err)
		}
		if err := sends.Publish(t.Context(), header(alice, bob, 1, "x"), testSession, content(i, 100)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the node has read them all", func() bool { return n.Stats().Received >= 2*count })
	kept := n.Addrs()[0].String()
	change(t, n, Setup{Endpoints: at("127.0.0.1:0", "ws://127.0.0.1:0/"), Drain: hang})
	if got := n.Addrs(); got[0].String() != kept || len(got) != 2 {
		t.Fatalf("listens on %v, and did on %s", got, kept)
	}
	if _, err := net.Dial("unix", path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the removed endpoint: %v", err)
	}
	goes.valve.set(true)
	<-goes.Done()
	<-sends.Done()
	if goes.count() != count || goes.fault != nil {
		t.Errorf("who goes got %d, %v", goes.count(), goes.fault)
	}
	until(t, "what was sent has come", func() bool { return stays.count() == count })
	until(t, "nobody is left", func() bool { return n.Stats().Sockets == 1 })

	change(t, n, Setup{Endpoints: at("127.0.0.1:0", "ws://127.0.0.1:0/", "unix://"+path)})
	again := unixWay(path).join(t, 64<<10)
	if err := again.Publish(t.Context(), header(alice, bob, 1, "x"), testSession, content(count, 100)); err != nil {
		t.Fatal(err)
	}
	until(t, "one who stays is reached by one who came by the new", func() bool { return stays.count() == count+1 })
	if stays.fault != nil || stays.Err() != nil {
		t.Errorf("who stays: %v, %v", stays.fault, stays.Err())
	}
}

// What the kernel has acknowledged to one who came by a removed endpoint arrives, read or not. Rules: P-end-3, P-end-7.
func TestWhatWasSentByARemovedEndpointArrives(t *testing.T) {
	t.Parallel() // beside those that wait
	const count = 3000
	for range 5 {
		n := startOn(t, "127.0.0.1:0", "[::1]:0")
		a, b := call(t, n), gRPC(n, 1).join(t, 64<<10)
		b.names(t, bob)
		var all []byte
		for i := range count {
			msg := publication(a.sign(header(alice, bob, 1, "x")), i, 20)
			all = append(binary.BigEndian.AppendUint32(append(all, 0), uint32(len(msg))), msg...)
		}
		for len(all) > 0 {
			var k int
			if a.out, k = a.cli.Data(a.out, a.s, len(all)); k == 0 {
				t.Fatal("its window is too small for this test")
			}
			a.out, all = append(a.out, all[:k]...), all[k:]
		}
		a.flush() // one write, most of which nobody has read
		until(t, "the node's kernel has it", func() bool { return unacknowledged(t, a.c) == 0 })
		change(t, n, Setup{Endpoints: at("[::1]:0"), Drain: hang})
		a.await(func() bool { return a.end != nil })
		until(t, "all of it has come", func() bool { return b.count() == count })
	}
}

// One who takes nothing does not hold up the end of its endpoint.
func TestRemovedEndpointWithOneWhoTakesNothing(t *testing.T) {
	n, err := Start(t.Context(), Options{Loops: 2, Listen: []string{"127.0.0.1:0", "[::1]:0"}, SlowConsumer: Block})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Shutdown(context.Background()) })
	a, b := gRPC(n, 0).join(t, 64<<10), gRPC(n, 1).join(t, 64<<10)
	b.names(t, bob)
	b.valve.reads(t)
	b.valve.set(false)
	read := b.valve.taken()
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for i := 0; ctx.Err() == nil; i++ {
			_ = a.Publish(ctx, header(alice, bob, 1, "x"), testSession, content(i, 10_000))
		}
	}()
	defer func() { cancel(); <-over }()
	until(t, "the read that waited is over", func() bool { return b.valve.taken() > read })
	until(t, "the sender waits for it", func() bool { return n.Stats().Held > 0 })
	change(t, n, Setup{Endpoints: at("127.0.0.1:0"), Rules: Rules{SlowConsumer: Block}, Drain: time.Millisecond})
	until(t, "it is gone", func() bool { return n.Stats().Sockets == 1 })
	until(t, "nobody waits for it", func() bool { return n.Stats().Held == 0 })
	if s := n.Stats(); s.Refused[ReasonStalled] == 0 {
		t.Errorf("%+v", s)
	}
}

// A change whose endpoints cannot all be listened on changes nothing, and names all that are to blame.
func TestChangesAreAllOrNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	path := filepath.Join(t.TempDir(), "s")
	n := startOn(t, "127.0.0.1:0")
	before := n.Addrs()[0].String()
	_, port, _ := net.SplitHostPort(before)
	busy := taken.Addr().String()
	wanted := Setup{Endpoints: at("unix://"+path, busy, "unix:///none/s", "127.0.0.1:"+port)}
	_, err = n.Prepare(t.Context(), wanted)
	if err == nil {
		t.Fatal("it is prepared")
	}
	for _, want := range []string{"listen on " + busy + ": ", "another process listens there", "listen on unix:///none/s: ",
		"make the folder first", "a listener of this node may hold the port"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket that could be opened is left")
	}
	if _, err := n.Prepare(t.Context(), Setup{Endpoints: at("127.0.0.1:0", "ftp://127.0.0.1:0", "wss://127.0.0.1:0")}); err == nil ||
		strings.Count(err.Error(), "listen on ") != 2 {
		t.Errorf("two are wrong: %v", err)
	}
	files := descriptors(t)
	for range 100 {
		_, _ = n.Prepare(t.Context(), wanted)
	}
	if now := descriptors(t); n.Addrs()[0].String() != before || now > files+10 {
		t.Errorf("listens on %v with %d descriptors, before %s with %d", n.Addrs(), now, before, files)
	}
	gRPC(n, 0).join(t, 64<<10)
}

// What an endpoint is to those who come may change without its listener; who is there stays what it is.
func TestEndpointsChangeInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	n := startOn(t, "127.0.0.1:0", "unix://"+path+"?mode=0600")
	tcp := n.Addrs()[0].String()
	before, local := gRPC(n, 0).join(t, 64<<10), unixWay(path).join(t, 64<<10)
	change(t, n, Setup{Endpoints: at("ws://127.0.0.1:0/", "unix://"+path+"?mode=0660")})
	if n.Addrs()[0].String() != tcp {
		t.Fatalf("listens on %v, and did on %s", n.Addrs(), tcp)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	after := (&way{name: "WebSocket", addr: "ws://" + tcp}).join(t, 64<<10)
	after.names(t, bob)
	for i, from := range []*taker{before, local} {
		if err := from.Publish(t.Context(), header(alice, bob, 1, "x"), testSession, content(i, 100)); err != nil {
			t.Fatal(err)
		}
		until(t, "it comes", func() bool { return after.count() == i+1 })
	}
}

// Whom senders wait for becomes what a new policy says, though nothing more comes for it.
func TestPolicyChangesWhileSendersWait(t *testing.T) {
	t.Parallel()
	for policy, done := range map[Policy]func(*Stats) bool{
		Adaptive:   func(s *Stats) bool { return s.Stalled == 1 },
		Disconnect: func(s *Stats) bool { return s.Sockets == 1 },
		Drop:       func(s *Stats) bool { return s.Dropped[ReasonFull] > 0 && s.Sockets == 2 },
	} {
		t.Run(policy.String(), func(t *testing.T) {
			t.Parallel()
			n, ways := startWays(t, Options{SlowConsumer: Block, Loops: 2})
			a, b := ways[0].join(t, 64<<10), ways[0].join(t, 64<<10)
			b.names(t, bob)
			b.valve.set(false)
			ctx, cancel := context.WithCancel(t.Context())
			over := make(chan struct{})
			go func() {
				defer close(over)
				for i := 0; ctx.Err() == nil; i++ {
					_ = a.Publish(ctx, header(alice, bob, 1, "x"), testSession, content(i, 10_000))
				}
			}()
			defer func() { cancel(); <-over }()
			until(t, "the sender is held", func() bool { return n.Stats().Held > 0 })
			s := n.opt.setup()
			s.Rules.SlowConsumer = policy
			change(t, n, s)
			until(t, "the policy is obeyed", func() bool { s := n.Stats(); return done(&s) })
			until(t, "the sender goes on", func() bool { return n.Stats().Held == 0 })
		})
	}
}

// Who comes after a change has to keep its rules.
func TestRulesAreForWhoComes(t *testing.T) {
	n := startOn(t, "127.0.0.1:0")
	gRPC(n, 0).join(t, 64<<10)
	change(t, n, Setup{Endpoints: at("127.0.0.1:0"), Rules: Rules{EnforcePQC: true, NegotiationTimeout: time.Minute}})
	w := gRPC(n, 0)
	if c, err := uplink.Dial(t.Context(), w.addr, &w.o); err == nil {
		c.Abort()
		t.Error("a link without the post-quantum hybrid is taken")
	}
	w.o.EnforcePQC = true
	w.join(t, 64<<10)
}

// A change that comes too late changes nothing, and leaves nothing.
func TestChangeDuringTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	n := startOn(t, "127.0.0.1:0")
	c, err := n.Prepare(t.Context(), Setup{Endpoints: at("unix://" + path)})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Commit()
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket is left")
	}
}

// Listeners are removed and the node ends at the same time.
func TestEndWhileEndpointsAreRemoved(t *testing.T) {
	for range 20 {
		n := startOn(t, "127.0.0.1:0", "[::1]:0")
		b := gRPC(n, 1).join(t, 64<<10)
		change(t, n, Setup{Endpoints: at("127.0.0.1:0")})
		if err := n.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-b.Done()
	}
}

func TestChangesLeaveNothingBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	n := startOn(t, "127.0.0.1:0", "unix://"+path)
	stays := gRPC(n, 0).join(t, 64<<10)
	turn := func(i int) {
		s := Setup{Endpoints: at("127.0.0.1:0", "unix://"+path, "ws://127.0.0.1:0/")}
		if i%2 == 0 {
			s = Setup{Endpoints: at("127.0.0.1:0"), Rules: Rules{SlowConsumer: Policy(i / 2 % 4)}}
		}
		change(t, n, s)
	}
	turn(0)
	n.listening.leaving.Wait()
	files, goroutines := descriptors(t), runtime.NumGoroutine()
	count := 200
	if long {
		count = 1000
	}
	for i := range count {
		turn(i + 1)
		if i%100 == 0 && i%2 == 0 { // somebody comes and is sent away
			unixWay(path).join(t, 64<<10)
		}
	}
	n.listening.leaving.Wait()
	until(t, "all is as before", func() bool { return descriptors(t) <= files && runtime.NumGoroutine() <= goroutines })
	if err := stays.Err(); err != nil || n.Stats().Connections != 1 {
		t.Errorf("%v, %d connections", err, n.Stats().Connections)
	}
}

// A link to one who reads nothing ends all the same, and the one in its place is opened after that.
func TestLinkInThePlaceOfAnother(t *testing.T) {
	a, b := start(t, generic("a")), start(t, generic("b"))
	first := dialLink(t, a, b.Addrs()[0].String(), func(l *Link) { l.ID = "one" })
	first.await(LinkUp)
	first.Close()
	second := dialLink(t, a, b.Addrs()[0].String(), func(l *Link) { l.ID, l.After, l.Kind = "one", first.Dialer, table.Edge })
	second.await(LinkUp)
	select {
	case <-first.Done():
	default:
		t.Error("both are up")
	}
	until(t, "the first is gone", func() bool { return len(a.Links()) == 1 && b.Stats().Connections == 1 })
}

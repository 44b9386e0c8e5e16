package router

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// halt holds all loops of n until the function it returns is called.
func (n *Node) halt() (goOn func()) {
	gate := make(chan struct{})
	for _, l := range n.loops {
		held := make(chan struct{})
		l.post(func() { close(held); <-gate })
		<-held
	}
	return func() { close(gate) }
}

// unacknowledged is how many bytes the other kernel has yet to acknowledge.
func unacknowledged(t *testing.T, c net.Conn) (n int) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return n
}

var pingFrame = []byte{0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}

// A client that publishes and leaves is gone when the node reads the first of it: the answers to its PINGs fail. All
// that the node's kernel has acknowledged arrives all the same. Rules: P-end-6.
func TestAllThatASenderLeftBehindIsForwarded(t *testing.T) {
	t.Parallel() // beside those that wait
	for how, leave := range map[string]func(*caller){
		"close": func(p *caller) { _ = p.c.Close() },
		"reset": func(p *caller) { reset(p.t, p.c) },
		"half-close, then close": func(p *caller) {
			_ = p.c.(*net.TCPConn).CloseWrite()
			_ = p.c.Close()
		},
		"RST_STREAM, then close": func(p *caller) {
			p.cli.Reset(p.s, h2.Cancel)
			p.flush()
			_ = p.c.Close()
		},
	} {
		for _, loops := range []int{1, 2} {
			n := start(t, Options{Loops: loops, ReadBuffer: 4 << 10})
			a, b := call(t, n), call(t, n)
			b.subscribe(bob)
			goOn := n.halt()
			const count = 40
			for i := range count {
				a.out = append(a.out, pingFrame...)
				a.send(publication(a.sign(header(alice, bob, 1, "x")), i, 900))
			}
			until(t, "the node's kernel has acknowledged all", func() bool { return unacknowledged(t, a.c) == 0 })
			leave(a)
			goOn()
			b.await(func() bool { return len(b.got) == count })
			if len(b.got) != count {
				t.Errorf("%s, %d loops: %d of %d arrived", how, loops, len(b.got), count)
			}
			until(t, "nothing of it is left", func() bool { s := n.Stats(); return s.Sockets == 1 && s.Connections == 1 })
			if s := n.Stats(); s.Panics != 0 || s.Names != 1 {
				t.Errorf("%s: %+v", how, s)
			}
		}
	}
}

// A peer that has nothing more to send still reads: what waits for it goes out, then its stream ends.
func TestHalfCloseLeavesWhatWaitsToBeSent(t *testing.T) {
	n := start(t, Options{ConnBuffer: 64 << 20})
	a, b := call(t, n), callWith(t, n, 64<<20)
	_ = b.c.(*net.TCPConn).SetReadBuffer(64 << 10)
	b.subscribe(bob)
	const count = 160 // 8 MB, more than the kernels take
	for i := range count {
		a.send(publication(a.sign(header(alice, bob, 1, "x")), i, 50_000))
	}
	until(t, "the node has it all", func() bool { return n.Stats().Received >= count })
	if n.Stats().Delivered == count {
		t.Fatal("the kernels took everything")
	}
	if err := b.c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	until(t, "nobody can send to it", func() bool { s := n.Stats(); return s.Connections == 1 })
	b.await(func() bool { return len(b.got) == count && b.end != nil })
	for i, m := range b.got {
		if blob := decode(t, m).GetPublish().GetMsg().GetAppPayload().Blob; binary.BigEndian.Uint64(blob) != uint64(i) {
			t.Fatalf("message %d is %d", i, binary.BigEndian.Uint64(blob))
		}
	}
	if b.end.Kind != h2.KindTrailers || b.end.GRPCStatus != 0 {
		t.Errorf("stream end = %+v", b.end)
	}
	before := descriptors(t)
	until(t, "the socket is over", func() bool { return n.Stats().Sockets == 1 })
	until(t, "no descriptor is left", func() bool { return descriptors(t) <= before }) // the node looks at times whether one is free
}

func TestHalfClosedSocketIsClosedWithTheNode(t *testing.T) {
	before := descriptors(t)
	n, err := Start(t.Context(), Options{Listen: []string{"127.0.0.1:0"}, ConnBuffer: 64 << 20, StallTimeout: hang})
	if err != nil {
		t.Fatal(err)
	}
	a, b := call(t, n), callWith(t, n, 64<<20)
	_ = b.c.(*net.TCPConn).SetReadBuffer(64 << 10)
	b.subscribe(bob)
	const count = 160
	for i := range count {
		a.send(publication(a.sign(header(alice, bob, 1, "x")), i, 50_000))
	}
	until(t, "the node has it all", func() bool { return n.Stats().Received >= count })
	_ = b.c.(*net.TCPConn).CloseWrite()
	until(t, "nobody can send to it", func() bool { s := n.Stats(); return s.Connections == 1 && s.Sockets == 2 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := n.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	_ = a.c.Close()
	_ = b.c.Close()
	until(t, "all descriptors are given back", func() bool { return descriptors(t) <= before })
}

// A peer that has half-closed its socket can return no window: what has none is given up at once, and whoever has sent
// it goes on. What the windows allow still goes out.
func TestHalfClosedPeerWithoutAWindowKeepsNobodyWaiting(t *testing.T) {
	for _, where := range placements {
		r := newRig(t, where.loops, Options{ConnBuffer: MinConnBuffer, SlowConsumer: Block})
		const window = 3000
		a, _ := r.dial(where.source), r.dial(where.dest)
		c := r.dialWith(where.dest, window)
		c.subscribe(bob, 1)
		c.hoard = true
		sent := 0
		for ; r.stats().Held < 100_000; sent++ {
			a.publish(header(alice, bob, 1, "x"), sent, 900)
		}
		c.halfClose()
		c.exchange()
		s := r.stats()
		if s.Held != 0 || s.Waiting != 0 || s.WaitingBytes != 0 {
			t.Errorf("%s: held %d, waiting %d of %d bytes", where.name, s.Held, s.Waiting, s.WaitingBytes)
		}
		if s.Delivered == 0 || s.Delivered+s.Dropped[ReasonGone] != uint64(sent) || c.hoarded < 2*900 {
			t.Errorf("%s: %d delivered, %d dropped of %d; %d bytes have come", where.name, s.Delivered, s.Dropped[ReasonGone], sent, c.hoarded)
		}
		if c.end == nil || c.end.GRPCStatus != statusExhausted {
			t.Errorf("%s: end = %+v", where.name, c.end)
		}
		if s.Sockets != 2 {
			t.Errorf("%s: %d sockets, want those of the others", where.name, s.Sockets)
		}
	}
}

// The same, but the peer takes nothing: it does not keep the socket for ever.
func TestHalfClosedPeerThatReadsNothingIsGivenUp(t *testing.T) {
	r := newRig(t, 1, Options{})
	a, b := r.dial(0), r.dial(0)
	b.subscribe(bob, 1)
	b.paused = true
	b.openWindows()
	for i := 0; !b.sock.Blocked(); i++ {
		a.publish(header(alice, bob, 1, "x"), i, 40_000)
	}
	b.halfClose()
	if s := r.stats(); s.Connections != 1 || s.Sockets != 2 {
		t.Fatalf("%+v", s)
	}
	r.seconds(int(DefaultKeepaliveTimeout/time.Second) + 2)
	if s := r.stats(); s.Sockets != 1 {
		t.Errorf("%+v", s)
	}
}

// A receiver that is cut off because it does not take what is sent has published before: that goes its way.
func TestReceiverThatIsCutOffIsStillHeard(t *testing.T) {
	n := start(t, Options{ReadBuffer: 4 << 10})
	a, b := call(t, n), call(t, n)
	b.subscribe(bob)
	goOn := n.halt()
	const count = 40
	for i := range count {
		a.send(publication(a.sign(header(alice, bob, 1, "x")), i, 900))
	}
	until(t, "the node's kernel has acknowledged all", func() bool { return unacknowledged(t, a.c) == 0 })
	l := n.loops[0]
	l.post(func() {
		l.net.Each(func(k *netloop.Socket) {
			if k.Remote() == a.c.LocalAddr().String() {
				k.Silence()
			}
		})
	})
	goOn()
	b.await(func() bool { return len(b.got) == count })
	until(t, "it is gone", func() bool { return n.Stats().Sockets == 1 })
}

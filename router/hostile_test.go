package router

import (
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
	"google.golang.org/protobuf/proto"
)

// dialWith is dial with windows of the peer's choice.
func (r *rig) dialWith(loop int, window uint32) *peer {
	r.window = window
	defer func() { r.window = 0 }()
	return r.dial(loop)
}

func TestPageWithoutWindowWaitsForIt(t *testing.T) {
	r := newRig(t, 1, Options{})
	p := r.connect(0)
	p.cli.Init(h2.Client, &h2.Settings{InitialWindow: 0, MaxFrameSize: 16384, MaxHeaderList: 16384, ConnWindow: 1 << 20, MaxMessage: maxMessage})
	if _, err := p.cli.Open([]h2.Field{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "x"}, {Name: ":path", Value: "/"}}); err != nil {
		t.Fatal(err)
	}
	p.exchange()
	p.feed(windowUpdate(0, 1000)) // the connection's window alone: still nothing to write
	r.pass(2 * stallLook)
	if s := r.stats(); s.Panics != 0 || s.Sockets != 1 {
		t.Fatalf("panics %d, sockets %d", s.Panics, s.Sockets)
	}
}

func TestEndAfterAWaitingMessageSendsOnlyOwnBytes(t *testing.T) {
	t.Parallel() // beside those that wait
	r := newRig(t, 1, Options{})
	a := r.dial(0)
	b := r.dialWith(0, 2000)
	b.subscribe(bob, 1)
	b.hoard = true
	for i := range 4 { // the window is used up, the next one waits with its first bytes made
		a.publish(header(alice, bob, 1, "x"), i, 900)
	}
	h := header(group, group, 1, "")
	b.sign(h)
	b.send(wire.AppendSubscribe(nil, h, 77)) // its ack waits behind
	b.send([]byte{0xff, 0xff, 0xff})         // no protobuf: the stream ends, the ack still goes out
	b.hoard = false
	b.got = nil
	b.feed(windowUpdate(b.s.ID, 1<<20))
	b.exchange()
	if r.stats().Panics != 0 {
		t.Fatal("the node panicked")
	}
	for _, m := range b.got[max(0, len(b.got)-1):] {
		var s wire.Message
		if err := wire.Scan(m, &s); err != nil || s.Kind != wire.KindAck {
			t.Fatalf("the last message is %v %v: %x", s.Kind, err, m)
		}
	}
	if b.end == nil || b.end.GRPCStatus != 0 {
		t.Errorf("end = %+v", b.end)
	}
}

func TestOddHeaderDoesNotChangeTheNamesOfTheNext(t *testing.T) {
	r := newRig(t, 1, Options{})
	a, b, c := r.dial(0), r.dial(0), r.dial(0)
	carol := wire.Text("org", "ns", "carol").WithID(8, 8)
	b.subscribe(bob, 1)
	c.subscribe(carol, 1)
	a.publish(header(alice, bob, 1, "one"), 1, 10)
	// A second destination behind the first: protobuf merges them into carol.
	m := decode(t, a.publication(header(alice, bob, 1, "two"), 2, 10))
	other := decode(t, a.publication(header(alice, carol, 1, "two"), 2, 10)).GetPublish().Header.Destination
	dest, err := proto.Marshal(&pb.SLIMHeader{Destination: other})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.GetPublish().Header)
	if err != nil {
		t.Fatal(err)
	}
	hdr := append(raw, dest...)
	body := append(append([]byte{0x0a}, binary.AppendUvarint(nil, uint64(len(hdr)))...), hdr...)
	body = append(append(body, 0x12, byte(len(testSession))), testSession...)
	a.send(append(append([]byte{0x1a}, binary.AppendUvarint(nil, uint64(len(body)))...), body...))
	a.publish(header(alice, bob, 1, "three"), 3, 10)
	if n := b.count(); n != 2 {
		t.Errorf("bob got %d, want the first and the third", n)
	}
	if n := c.count(); n != 0 {
		t.Errorf("carol got %d messages that were signed for bob", n)
	}
}

func TestSocketThatDiesInsideAWriteIsCleanedUp(t *testing.T) {
	for _, where := range placements {
		r := newRig(t, where.loops, Options{})
		a, b, c := r.dial(where.source), r.dial(where.dest), r.dial(where.dest)
		b.subscribe(group.WithID(1, 1), 1)
		c.subscribe(group.WithID(2, 2), 1)
		b.paused = true
		_ = unix.Shutdown(b.fd, unix.SHUT_RD) // the node's next write to it fails
		for i := range 300 {
			if a.s.Window() > 40_000 {
				a.publish(header(alice, group, 256, "x"), i, 30_000)
			}
			c.exchange()
		}
		s := r.stats()
		if s.Panics != 0 || !b.sock.Muted() {
			t.Fatalf("%s: %+v, muted %v", where.name, s, b.sock.Muted())
		}
		if c.count() == 0 {
			t.Errorf("%s: the other got nothing", where.name)
		}
		a.publish(header(alice, group, 256, "x"), 1, 10)
		if c.count() != 1 {
			t.Errorf("%s: the other is not served any more", where.name)
		}
	}
}

func TestDropPolicyTakesALargeMessageForAnIdleReceiver(t *testing.T) {
	r := newRig(t, 1, Options{SlowConsumer: Drop})
	a, b := r.dial(0), r.dial(0)
	b.subscribe(bob, 1)
	a.sendBig(a.publication(header(alice, bob, 1, "x"), 1, 3<<20))
	if n := b.count(); n != 1 {
		t.Errorf("got %d of 1; dropped %v", n, r.stats().Dropped)
	}
}

func TestTricklingReceiverIsStalled(t *testing.T) {
	r, _, slow, _ := stuffed(t, Options{}, 1, 0)
	slow.buf = slow.buf[:7<<10]
	for range 40 { // 7 KiB each 225 ms, in one lump: a ninth of the floor
		r.pass(9 * stallLook)
		slow.readOnce()
		slow.loop.Ready()
		if r.stats().Stalled == 1 {
			return
		}
	}
	t.Error("a receiver at a ninth of the floor holds everybody up")
}

func TestControlFramesForABlockedSocketAreBounded(t *testing.T) {
	r := newRig(t, 1, Options{})
	a, b := r.dial(0), r.dial(0)
	b.subscribe(bob, 1)
	b.paused = true
	b.openWindows()
	for i := range 100 {
		if a.s.Window() > 60_000 {
			a.publish(header(alice, bob, 1, "x"), i, 50_000)
		}
	}
	if !b.sock.Blocked() {
		t.Fatal("not blocked")
	}
	held := b.sock.Waiting()
	ping := []byte{0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}
	var pings []byte
	for range 100 {
		pings = append(pings, ping...)
	}
	for range 1000 {
		r.seconds(1) // gives flood tokens back
		b.feed(pings)
		if b.shut() {
			break
		}
	}
	if b.sock.Waiting() > held+(300<<10) {
		t.Errorf("what waits grew from %d to %d bytes", held, b.sock.Waiting())
	}
	if !b.shut() {
		t.Error("the peer lives")
	}
}

func TestPanicClosesOneSocketAndNothingElse(t *testing.T) {
	r := newRig(t, 1, Options{})
	a, b, c := r.dial(0), r.dial(0), r.dial(0)
	b.subscribe(bob, 1)
	a.c.filter = table.All
	a.c.link.Close() // verifying on a link that is closed is a broken invariant: it panics
	a.stage(a.publication(header(alice, bob, 1, "new"), 1, 10))
	a.exchange()
	if s := r.stats(); s.Panics != 1 || s.Connections != 2 || s.Sockets != 2 || !a.shut() {
		t.Fatalf("%+v, shut %v", s, a.shut())
	}
	c.publish(header(alice, bob, 1, "x"), 1, 10)
	if b.count() != 1 {
		t.Error("others are not served")
	}
}

// Rules: P-lim-5.
func TestLongHeadersAreNotRemembered(t *testing.T) {
	r := newRig(t, 1, Options{})
	a, b := r.dial(0), r.dial(0)
	b.subscribe(bob, 1)
	long := make([]byte, 50_000)
	for i := range long {
		long[i] = 'x'
	}
	for i := range 3 {
		a.publish(header(alice, bob, 1, string(long)), i, 10)
		got := b.take()
		b.checkMAC(got)
	}
	if n := a.c.loop.hops.Held(); n != 0 {
		t.Errorf("%d bytes are remembered", n)
	}
}

// Rules: P-lim-8.
func TestHeadersAreForgottenWhenNothingMoves(t *testing.T) {
	r := newRig(t, 2, Options{HeaderMemory: 8 << 10})
	a, b, c := r.dial(0), r.dial(0), r.dial(1)
	b.subscribe(group.WithID(1, 1), 1)
	c.subscribe(group.WithID(2, 2), 1)
	for i := range 200 { // of more senders than fit
		from := alice.WithID(uint64(i%40), 1)
		a.publish(header(from, group, 256, fmt.Sprint(i)), i, 10)
	}
	if b.count() != 200 || c.count() != 200 {
		t.Fatal("not all arrived")
	}
	for _, l := range r.n.loops {
		if n := l.hops.Held(); n == 0 || n > 4<<10 {
			t.Errorf("loop %d remembers %d bytes, want some, at most half of 8 KiB", l.index, n)
		}
	}
	r.seconds(30)
	for _, l := range r.n.loops {
		if n := l.hops.Held(); n != 0 {
			t.Errorf("loop %d remembers %d bytes after half a minute of silence", l.index, n)
		}
	}
}

// Rules: P-lim-2.
func TestLongStringsOfNamesAreNotKept(t *testing.T) {
	r := newRig(t, 1, Options{})
	p := r.dial(0)
	long := make([]byte, 2000)
	for i := range long {
		long[i] = 'x'
	}
	n := wire.Text("org", "ns", string(long))
	p.subscribe(n, 1)
	if _, ok := r.n.names.Strings(n.Name.C); ok {
		t.Error("2,000 bytes of strings are kept")
	}
}

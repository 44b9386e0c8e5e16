package router

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
	"google.golang.org/protobuf/proto"
)

var (
	alice = wire.Text("org", "ns", "alice").WithID(1, 2)
	bob   = wire.Text("org", "ns", "bob").WithID(3, 4)
	group = wire.Text("org", "ns", "group")
)

// placements are where source and target live.
var placements = []struct {
	name         string
	loops        int
	source, dest int
}{{"same loop", 1, 0, 0}, {"across loops", 2, 0, 1}}

func decode(t *testing.T, b []byte) *pb.Message {
	t.Helper()
	m := new(pb.Message)
	if err := proto.Unmarshal(b, m); err != nil {
		t.Fatal(err)
	}
	return m
}

// Rules: P-msg-4, P-mac-5.
func TestPublishArrivesUnchangedButForTheHop(t *testing.T) {
	t.Parallel() // beside those that wait
	for _, where := range placements {
		for _, size := range []int{8, 100, 5_000, 20_000, 300_000, 3 << 20} {
			t.Run(fmt.Sprintf("%s/%d", where.name, size), func(t *testing.T) {
				r := newRig(t, where.loops, Options{})
				a, b := r.dial(where.source), r.dial(where.dest)
				b.subscribe(bob, 11)
				for i, identity := range []string{"same", "same", "other"} {
					sent := a.publication(header(alice, bob, 1, identity), i, size)
					a.sendBig(sent)
					got := b.take()
					want, have := decode(t, sent), decode(t, got)
					hw, hh := want.GetPublish().Header, have.GetPublish().Header
					if hh.Ttl != 7 {
						t.Errorf("ttl = %d, want 7", hh.Ttl)
					}
					b.checkMAC(got)
					hh.Ttl, hh.HeaderMac = hw.Ttl, hw.HeaderMac
					if !proto.Equal(want, have) {
						t.Errorf("message %d changed on its way", i)
					}
				}
				if s := r.stats(); s.Delivered != 3 || len(s.Dropped) != 0 {
					t.Errorf("stats = %+v", s)
				}
			})
		}
	}
}

// sendBig sends a message larger than the window, as the node gives credit.
func (p *peer) sendBig(msg []byte) {
	p.r.t.Helper()
	b := append([]byte{0, byte(len(msg) >> 24), byte(len(msg) >> 16), byte(len(msg) >> 8), byte(len(msg))}, msg...)
	for tries := 0; len(b) > 0; tries++ {
		var k int
		p.out, k = p.cli.Data(p.out, p.s, min(len(b), 1<<20))
		p.out = append(p.out, b[:k]...)
		b = b[k:]
		p.exchange()
		if k == 0 && tries > 100 {
			p.r.t.Fatalf("no window for the last %d bytes", len(b))
		}
	}
}

func (p *peer) checkMAC(b []byte) {
	p.r.t.Helper()
	var m wire.Message
	var hd wire.Header
	if err := wire.Scan(b, &m); err != nil {
		p.r.t.Fatal(err)
	}
	raw := m.Header.Of(b)
	if err := wire.ParseHeader(raw, &hd); err != nil {
		p.r.t.Fatal(err)
	}
	h := decode(p.r.t.(*testing.T), b).GetPublish().GetHeader()
	if h == nil {
		p.r.t.Fatal("no publish header")
	}
	got := append([]byte(nil), hd.MAC.Of(raw)...)
	ph := &wire.PublishHeader{Identity: h.Identity, Fanout: h.Fanout, TTL: h.Ttl, Version: h.Version,
		Source: textOf(h.Source), Dest: textOf(h.Destination)}
	p.sign(ph)
	if !bytes.Equal(got, ph.MAC) {
		p.r.t.Errorf("header MAC on the receiver's link is wrong")
	}
}

func textOf(n *pb.Name) wire.NameText {
	s := n.GetStrName()
	t := wire.Text(s.GetStrComponent_0(), s.GetStrComponent_1(), s.GetStrComponent_2())
	return t.WithID(n.GetName().GetNameId().GetId_0(), n.GetName().GetNameId().GetId_1())
}

// Rules: P-fwd-2, P-fwd-3.
func TestFanoutReachesAllButTheSource(t *testing.T) {
	for _, loops := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(loops, " loops"), func(t *testing.T) {
			r := newRig(t, loops, Options{})
			var ps []*peer
			for i := range 9 {
				p := r.dial(i % loops)
				p.subscribe(group.WithID(uint64(i), 1), uint64(i+1))
				ps = append(ps, p)
			}
			for i := range 20 {
				ps[0].publish(header(alice, group, 256, fmt.Sprint("id", i%3)), i, 100)
			}
			for i, p := range ps {
				want := 20
				if i == 0 {
					want = 0
				}
				if n := p.count(); n != want {
					t.Errorf("member %d got %d messages, want %d", i, n, want)
				}
			}
		})
	}
}

// Rules: P-fwd-6.
func TestOrderHoldsAcrossQueueAndWindow(t *testing.T) {
	for _, where := range placements {
		t.Run(where.name, func(t *testing.T) {
			r := newRig(t, where.loops, Options{})
			a, b := r.dial(where.source), r.dial(where.dest)
			b.subscribe(bob, 1)
			b.paused = true
			n := a.flood(header(alice, bob, 1, "x"), 5000, 5000) // all that kernel, window and queue take
			if n < 300 || n == 5000 {
				t.Fatalf("%d messages went in", n)
			}
			b.paused = false
			for i := range n {
				got := decode(t, b.take()).GetPublish().GetMsg().GetAppPayload().Blob
				if !bytes.Equal(got[:8], content(i, 5000)[len(content(i, 5000))-5000:][:8]) {
					t.Fatalf("message %d is out of order", i)
				}
			}
		})
	}
}

// blackHole makes the socket write into nothing, so that only the node's own work is measured.
func (p *peer) blackHole(t testing.TB) {
	fd, err := unix.Open("/dev/null", unix.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p.r.files = append(p.r.files, fd)
	p.loop.Redirect(p.sock, fd)
	p.paused = true
}

// reads returns count reads of n messages each, as the node would get them; every header is new if fresh.
func (p *peer) reads(t testing.TB, count, n, size int, dest wire.NameText, fanout uint32, fresh bool) [][]byte {
	var all [][]byte
	identity := func(i int) string { return fmt.Sprintf("%0172d", i) }
	for c := range count {
		for i := range n {
			id := 0
			if fresh {
				id = c*n + i
			}
			p.stage(p.publication(header(alice, dest, fanout, identity(id)), i, size))
		}
		all = append(all, append([]byte(nil), p.out...))
		p.out = p.out[:0]
		p.cli.Cut()
	}
	return all
}

// openWindows lets the peer's engine send without limit and the node send to it without limit.
func (p *peer) openWindows() {
	p.feed(windowUpdate(0, 1<<30))
	p.feed(windowUpdate(p.s.ID, 1<<30))
}

func windowUpdate(id uint32, n int) []byte {
	return []byte{0, 0, 4, 8, 0, byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

type journey struct {
	r       *rig
	a       *peer
	targets []*peer
	reads   [][]byte
	next    int
	sent    int // bytes since the windows were opened
}

func newJourney(t testing.TB, loops, source, dest, targets, size, perRead int, fresh bool) *journey {
	return newJourneyTLS(t, false, loops, source, dest, targets, size, perRead, fresh)
}

func newJourneyTLS(t testing.TB, secure bool, loops, source, dest, targets, size, perRead int, fresh bool) *journey {
	r := newRig(t, loops, Options{ConnBuffer: 1 << 30})
	r.secure = secure
	r.slow(func() time.Duration { return 0 }) // no slices: the way of a message is the same on every machine
	a := r.dial(source)
	j := &journey{r: r, a: a}
	fanout, name := uint32(1), bob
	if targets > 1 {
		fanout, name = 256, group
	}
	for i := range targets {
		b := r.dial(dest)
		n := name
		if targets > 1 {
			n = name.WithID(uint64(i), 7)
		}
		b.subscribe(n, 1)
		b.openWindows()
		b.blackHole(t)
		j.targets = append(j.targets, b)
	}
	count := 4
	if fresh {
		count = 64
	}
	if err := a.cli.Feed(append(windowUpdate(0, 1<<30), windowUpdate(a.s.ID, 1<<30)...), a); err != nil {
		t.Fatal(err)
	}
	j.reads = a.reads(t, count, perRead, size, name, fanout, fresh)
	a.blackHole(t)
	return j
}

// step is one read of the source through to the writes of all targets.
func (j *journey) step() {
	p := j.reads[j.next%len(j.reads)]
	j.next++
	if j.sent += len(p); j.sent > 1<<29 {
		j.sent = 0
		for _, b := range j.targets {
			b.feed(windowUpdate(0, 1<<29))
			b.feed(windowUpdate(b.s.ID, 1<<29))
		}
	}
	j.a.feed(p)
	j.r.settle()
}

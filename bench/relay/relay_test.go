package relay

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/internal/leak"
)

func TestMain(m *testing.M) {
	leak.Main(m)
}

// start runs a relay until the test ends.
func start(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l.(*net.TCPListener)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// rig is one feeder and n receivers of one name.
type rig struct {
	sender    *load.Sender
	receivers []*load.Receiver
	conns     []load.Conn
}

var name = load.Address{Parts: [3]string{"a", "b", "c"}}

func newRig(t *testing.T, addr string, n, size int, all bool) *rig {
	t.Helper()
	g := &rig{}
	dial := func(sink load.Sink) load.Conn {
		c, err := client.Dialer{Blind: true}.Dial(t.Context(), addr, load.DialOptions{Sink: sink})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		g.conns = append(g.conns, c)
		return c
	}
	var gate []*load.Sequence
	for range n {
		r := load.NewReceiver(0, 1, 1)
		if _, err := dial(r).Subscribe(t.Context(), 1, 0, func(int) load.Address { return name }); err != nil {
			t.Fatal(err)
		}
		g.receivers = append(g.receivers, r)
		gate = append(gate, r.From(0))
	}
	pub, err := dial(nil).Publisher(load.Message{From: name, To: []load.Address{name}, All: all, Size: size, IdentitySize: 172})
	if err != nil {
		t.Fatal(err)
	}
	g.sender = load.NewSender(pub, size, gate...)
	return g
}

// send lets the feeder run until every receiver has seen n messages.
func (g *rig) send(t *testing.T, n uint64, inflight int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.sender.Run(ctx, load.Case{InFlight: inflight}, 0, 1) }()
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for g.sender.Acknowledged() < n {
		select {
		case <-look.C:
		case <-limit.C:
			t.Fatalf("%d of %d after two minutes", g.sender.Acknowledged(), n)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func (g *rig) check(t *testing.T, n uint64) {
	t.Helper()
	for i, r := range g.receivers {
		s := r.From(0).Seen()
		if s.Next < n || s.Missing+s.Duplicates+s.Reordered+r.Arrivals().Foreign != 0 {
			t.Errorf("receiver %d: %+v", i, s)
		}
	}
}

func TestEverythingArrivesInOrder(t *testing.T) {
	for _, c := range []struct {
		name      string
		receivers int
		size      int
		messages  uint64
	}{
		{"100 B to one", 1, 100, 20000},
		{"100 B to eight", 8, 100, 5000},
		{"3 KiB, cut anywhere", 2, 3000, 5000},
		{"100 KiB over several frames", 2, 100 << 10, 300},
		{"2 MiB, more than a window", 1, 2 << 20, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t, start(t), c.receivers, c.size, true)
			g.send(t, c.messages, 64)
			g.check(t, c.messages)
		})
	}
}

func TestStreamIsForOneName(t *testing.T) {
	c, err := client.Dialer{Blind: true}.Dial(t.Context(), start(t), load.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	kind := load.Message{From: name, To: []load.Address{name}, Size: 100, IdentitySize: 20}
	if _, err := c.Publisher(kind); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Publisher(kind); err == nil {
		t.Error("a stream feeds two names")
	}
}

const lookEvery = 300 * time.Millisecond

// full returns when the feeder has stopped by itself, as windows and sockets are full.
func (g *rig) full(look *time.Ticker) {
	for last := uint64(0); ; last = g.sender.Sent() {
		<-look.C
		if g.sender.Sent() == last {
			return
		}
	}
}

// What waited for a receiver that dies holds its feeder no more.
func TestReceiverThatDiesStalledLetsTheFeederGo(t *testing.T) {
	t.Parallel() // it waits for most of its time
	g := newRig(t, start(t), 2, 16<<10, true)
	g.conns[0].Pace(0)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.sender.Run(ctx, load.Case{InFlight: 0}, 0, 1) }()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	g.full(look)
	n := g.sender.Sent() + 1000
	_ = g.conns[0].Close()
	look.Reset(time.Millisecond)
	for limit := time.Now().Add(time.Minute); g.receivers[1].From(0).Seen().Next < n; <-look.C {
		if time.Now().After(limit) {
			t.Fatalf("%d of %d came to the other", g.receivers[1].From(0).Seen().Next, n)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A receiver that does not read holds the feeder, not the memory of the relay; when it reads again, nothing is missing.
func TestStalledReceiverHoldsTheFeeder(t *testing.T) {
	t.Parallel() // it waits for most of its time
	g := newRig(t, start(t), 2, 16<<10, true)
	g.send(t, 100, 16)
	g.conns[0].Pace(0)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.sender.Run(ctx, load.Case{InFlight: 0}, 0, 1) }()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	g.full(look)
	if held := (g.sender.Sent() - g.receivers[0].From(0).Seen().Next) * 16 << 10; held > 64<<20 {
		t.Errorf("%d bytes under way towards one that reads nothing", held)
	}
	g.conns[0].Pace(-1)
	n := g.sender.Sent() + 1000
	look.Reset(time.Millisecond)
	for g.sender.Acknowledged() < n {
		<-look.C
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	g.check(t, n)
}

// The others go on when a receiver dies with messages under way.
func TestDeadReceiverIsForgotten(t *testing.T) {
	addr := start(t)
	g := newRig(t, addr, 3, 1024, true)
	g.send(t, 1000, 64)
	_ = g.conns[1].Close()
	g.receivers = []*load.Receiver{g.receivers[0], g.receivers[2]}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.sender.Run(ctx, load.Case{InFlight: 0}, 0, 1) }()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for g.receivers[0].From(0).Seen().Next < 20000 || g.receivers[1].From(0).Seen().Next < 20000 {
		<-look.C
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	g.check(t, 20000)
}

func TestStreamWithoutPurposeIsRefused(t *testing.T) {
	_, err := client.Dialer{}.Dial(t.Context(), start(t), load.DialOptions{})
	if err == nil || !strings.Contains(err.Error(), "a blind relay") {
		t.Errorf("a SLIM client got %v", err)
	}
}

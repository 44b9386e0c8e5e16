package client

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/internal/faults"
	"github.com/seed31b3bfd0/slimgo/internal/leak"
	"github.com/seed31b3bfd0/slimgo/internal/simnet"
)

func TestMain(m *testing.M) {
	leak.Main(m)
}

func start(t *testing.T, n *faults.Proxy) *faults.Proxy {
	t.Helper()
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

func dial(t *testing.T, n *faults.Proxy, o load.DialOptions) *Conn {
	t.Helper()
	c, err := Dialer{}.Dial(t.Context(), n.Addr(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		<-c.(*Conn).Done()
	})
	return c.(*Conn)
}

// arrivals is a sink that tells when enough has arrived.
type arrivals struct {
	*load.Receiver
	want uint64
	once sync.Once
	all  chan struct{}
}

func (a *arrivals) Flush() {
	a.Receiver.Flush()
	if n := a.Arrivals().Messages; n >= a.want {
		a.once.Do(func() { close(a.all) })
	}
}

func expect(n uint64) *arrivals {
	return &arrivals{Receiver: load.NewReceiver(1, 1, 1), want: n, all: make(chan struct{})}
}

func (a *arrivals) wait(t *testing.T, conns ...*Conn) {
	t.Helper()
	select {
	case <-a.all:
	case <-time.After(time.Minute):
		got := a.Arrivals().Messages
		t.Fatalf("%d of %d arrived", got, a.want)
	}
	for i, c := range conns {
		if err := c.Err(); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
}

func address(s string, id uint64) load.Address {
	return load.Address{Parts: [3]string{"org", "ns", s}, ID: id}
}

// The test node checks the MAC of every message and closes on a wrong one; the receiving client checks the first.
func TestMessagesArriveSignedAndInOrder(t *testing.T) {
	for _, c := range []struct {
		name     string
		size     int
		count    int
		identity load.Identity
		length   int
		all      bool
	}{
		{"small, constant identity", 100, 1000, load.Constant, 172, false},
		{"small, fresh identity", 100, 1000, load.Fresh, 172, false},
		{"only a stamp, no identity", load.StampSize, 10, load.Constant, 0, false},
		{"larger than a frame", 40 << 10, 50, load.Fresh, 172, true},
		{"larger than the window", 3 << 20, 3, load.Constant, 172, false},
		{"to a group", 1 << 10, 100, load.Constant, 172, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := start(t, new(faults.Proxy))
			sink := expect(uint64(c.count))
			to := address("bob", 7)
			if c.all {
				to.ID = 0
			}
			receiver := dial(t, n, load.DialOptions{Sink: sink})
			if done, err := receiver.Subscribe(t.Context(), 1, 0, func(int) load.Address { return to }); done != 1 || err != nil {
				t.Fatalf("subscribed %d, %v", done, err)
			}
			sender := dial(t, n, load.DialOptions{})
			pub, err := sender.Publisher(load.Message{
				Sender: 1, From: address("alice", 1), To: []load.Address{to}, All: c.all,
				Size: c.size, Identity: c.identity, IdentitySize: c.length,
			})
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < c.count; i += 50 {
				if err := pub.Send(uint64(i), min(50, c.count-i), load.Now(), 0); err != nil {
					t.Fatal(err)
				}
			}
			sink.wait(t, receiver, sender)
			got := sink.From(1).Seen()
			if got.Next != uint64(c.count) || got.Missing+got.Duplicates+got.Reordered != 0 {
				t.Errorf("seen %+v of %d", got, c.count)
			}
			if bytes := sink.Arrivals().Bytes; bytes < uint64(c.count*(c.size+c.length)) {
				t.Errorf("%d bytes arrived of %d messages with %d+%d bytes", bytes, c.count, c.size, c.length)
			}
		})
	}
}

func TestFreshIdentityDiffersFromMessageToMessage(t *testing.T) {
	n := start(t, new(faults.Proxy))
	c := dial(t, n, load.DialOptions{})
	pub, err := c.Publisher(load.Message{To: []load.Address{address("x", 0)}, Size: 100, Identity: load.Fresh, IdentitySize: 172})
	if err != nil {
		t.Fatal(err)
	}
	p := pub.(*publisher)
	seen := map[string]bool{}
	for i := range uint64(100) {
		if err := p.Send(i, 1, 0, 0); err != nil {
			t.Fatal(err)
		}
		id := string(p.to[0].identity.Of(p.out))
		if len(id) != 172 || seen[id] || strings.Trim(id, alphabet) != "" {
			t.Fatalf("identity %d is %q, seen before: %v", i, id, seen[id])
		}
		seen[id] = true
	}
}

// Messages of one batch have stamps of their own times.
func TestBatchIsStampedStepByStep(t *testing.T) {
	n := start(t, new(faults.Proxy))
	pub, err := dial(t, n, load.DialOptions{}).Publisher(load.Message{To: []load.Address{address("x", 0)}, Size: 100, IdentitySize: 172})
	if err != nil {
		t.Fatal(err)
	}
	p := pub.(*publisher)
	p.build(7, 3, 1000, 50)
	each := len(p.out) / 3
	for i := range 3 {
		if s, ok := load.ReadStamp(p.out[i*each : (i+1)*each]); !ok || s.Seq != uint64(7+i) || s.At != int64(1000+50*i) {
			t.Errorf("message %d: %+v, %v", i, s, ok)
		}
	}
}

func TestNamesAreConfirmedByTheNode(t *testing.T) {
	n := start(t, new(faults.Proxy))
	c := dial(t, n, load.DialOptions{})
	at := func(i int) load.Address { return address("n"+strconv.Itoa(i), uint64(i+1)) }
	if done, err := c.Subscribe(t.Context(), 1000, 10, at); done != 1000 || err != nil {
		t.Fatalf("subscribed %d, %v", done, err)
	}
	if got := n.Names(); got != 1000 {
		t.Errorf("the node has %d names", got)
	}
	if done, err := c.Unsubscribe(t.Context(), 600, 0, at); done != 600 || err != nil {
		t.Fatalf("unsubscribed %d, %v", done, err)
	}
	if got := n.Names(); got != 400 {
		t.Errorf("the node has %d names left, want 400", got)
	}
}

// Names that differ in their id alone have subscriptions of their own.
func TestNeighbouringNamesHaveDifferentSubscriptions(t *testing.T) {
	seen := map[uint64]load.Address{}
	for id := range uint64(100) {
		a := address("x", id)
		if other, ok := seen[subscriptionID(a)]; ok {
			t.Errorf("%s and %s have one subscription", a, other)
		}
		seen[subscriptionID(a)] = a
	}
}

func TestRefusedNameIsAnError(t *testing.T) {
	n := start(t, &faults.Proxy{Refuse: "not today"})
	c := dial(t, n, load.DialOptions{})
	done, err := c.Subscribe(t.Context(), 3, 0, func(i int) load.Address { return address("x", uint64(i)) })
	if done != 0 || err == nil || !strings.Contains(err.Error(), "not today") {
		t.Errorf("got %d, %v", done, err)
	}
}

func TestNodeThatSignsWronglyIsFound(t *testing.T) {
	n := start(t, &faults.Proxy{Fate: func(uint64) faults.Fate { return faults.Unsigned }})
	receiver, sender := dial(t, n, load.DialOptions{}), dial(t, n, load.DialOptions{})
	to := address("bob", 1)
	if _, err := receiver.Subscribe(t.Context(), 1, 0, func(int) load.Address { return to }); err != nil {
		t.Fatal(err)
	}
	pub, err := sender.Publisher(load.Message{To: []load.Address{to}, Size: 100})
	if err != nil {
		t.Fatal(err)
	}
	if err := pub.Send(0, 1, 0, 0); err != nil {
		t.Fatal(err)
	}
	<-receiver.Done()
	if err := receiver.Err(); err == nil || !strings.Contains(err.Error(), "wrong MAC") {
		t.Errorf("got %v", err)
	}
}

func TestPublisherRefusesWhatCannotBeSent(t *testing.T) {
	n := start(t, new(faults.Proxy))
	c := dial(t, n, load.DialOptions{})
	to := []load.Address{address("x", 0)}
	for name, m := range map[string]load.Message{
		"no room for a stamp":      {To: to, Size: load.StampSize - 1},
		"no destination":           {Size: 100},
		"fresh identity too short": {To: to, Size: 100, Identity: load.Fresh, IdentitySize: 8},
	} {
		if _, err := c.Publisher(m); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDialFailsWhenNobodyNegotiates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		n := start(t, &faults.Proxy{Mute: true, Net: new(simnet.Net)})
		if _, err := (Dialer{Net: n.Net.Dial}).Dial(ctx, n.Addr(), load.DialOptions{}); err == nil || !strings.Contains(err.Error(), "has said nothing for 50ms") {
			t.Errorf("got %v", err)
		}
	})
}

func TestCloseEndsASenderThatTheNodeKeepsWaiting(t *testing.T) {
	n := start(t, &faults.Proxy{Deaf: true})
	c, err := Dialer{}.Dial(t.Context(), n.Addr(), load.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pub, err := c.Publisher(load.Message{To: []load.Address{address("x", 0)}, Size: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		for seq := uint64(0); ; seq++ {
			if err := pub.Send(seq, 1, 0, 0); err != nil {
				ended <- err
				return
			}
		}
	}()
	n.AwaitFull()
	_ = c.Close()
	if err := <-ended; err == nil {
		t.Error("no error")
	}
	<-c.(*Conn).Done()
}

func TestSendAllocatesNothing(t *testing.T) {
	for _, identity := range []load.Identity{load.Constant, load.Fresh} {
		n := start(t, new(faults.Proxy))
		c := dial(t, n, load.DialOptions{})
		pub, err := c.Publisher(load.Message{To: []load.Address{address("x", 0)}, Size: 100, Identity: identity, IdentitySize: 172})
		if err != nil {
			t.Fatal(err)
		}
		p := pub.(*publisher)
		p.build(0, 64, 0, 0)
		if a := testing.AllocsPerRun(100, func() { p.build(0, 64, 0, 0) }); a != 0 && !(raceDetector && identity == load.Fresh) {
			t.Errorf("%v identity: %v allocations for 64 messages", identity, a)
		}
	}
}

// A connection that does not read gets what its read that waits brings, and the rest when it reads again.
func TestPaceHoldsTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, &faults.Proxy{Net: new(simnet.Net)})
		var conns []load.Conn
		sink := load.NewReceiver(0, 1, 1)
		for _, s := range []load.Sink{sink, nil} {
			c, err := Dialer{Net: n.Net.Dial}.Dial(t.Context(), n.Addr(), load.DialOptions{Sink: s})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			conns = append(conns, c)
		}
		to := address("bob", 1)
		if _, err := conns[0].Subscribe(t.Context(), 1, 0, func(int) load.Address { return to }); err != nil {
			t.Fatal(err)
		}
		pub, err := conns[1].Publisher(load.Message{To: []load.Address{to}, Size: 100})
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range []struct {
			pace int
			want uint64
		}{{-1, 1}, {0, 2}, {0, 2}, {-1, 4}} {
			conns[0].Pace(c.pace)
			if err := pub.Send(uint64(i), 1, load.Now(), 0); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if got := sink.Arrivals().Messages; got != c.want {
				t.Errorf("after message %d at pace %d: %d have come, want %d", i, c.pace, got, c.want)
			}
		}
	})
}

// What is known of a peer stands in the error, with the flags that help.
func TestRefusalsSayWhatToDo(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	for addr, want := range map[string]string{
		"127.0.0.1:1":                         "nobody listens there: start the node",
		"wss://" + s.Listener.Addr().String(): "of no authority known here: give its authority (--ca FILE, --insecure)",
		"htp://127.0.0.1:1":                   "did you mean http?",
	} {
		if _, err := (Dialer{}).Dial(t.Context(), addr, load.DialOptions{}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), addr) {
			t.Errorf("got %v, want %s: %s", err, addr, want)
		}
	}
}

func TestSilenceIsReportedWithinTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, &faults.Proxy{Mute: true, Net: new(simnet.Net)})
		begin := time.Now()
		_, err := Dialer{Net: n.Net.Dial}.Dial(t.Context(), n.Addr(), load.DialOptions{})
		if took := time.Since(begin); err == nil || !strings.Contains(err.Error(), "has said nothing for 20s") ||
			!errors.Is(err, context.DeadlineExceeded) || took != 20*time.Second {
			t.Errorf("got %v after %v", err, took)
		}
	})
}

// Who interrupts is told nothing about the node.
func TestInterruptedDialBlamesNobody(t *testing.T) {
	n := start(t, &faults.Proxy{Mute: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Dialer{}).Dial(ctx, n.Addr(), load.DialOptions{}); err == nil || strings.Contains(err.Error(), "check the address") {
		t.Errorf("got %v", err)
	}
}

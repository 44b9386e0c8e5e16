package router

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// halfClosed is how many sockets have nothing left to say.
func (n *Node) halfClosed(t *testing.T) (count int) {
	t.Helper()
	sum := make(chan int, len(n.loops))
	for _, l := range n.loops {
		l.post(func() {
			ended := 0
			l.net.Each(func(k *netloop.Socket) {
				if k.OutputEnded() {
					ended++
				}
			})
			sum <- ended
		})
	}
	for range n.loops {
		count += <-sum
	}
	return count
}

// A receiver has all but read nothing yet of what was sent to it, and goes on sending, while the node stops: what the
// node would answer to that must not cost it a byte.
func TestShutdownLosesNothingForAReceiverThatStillSends(t *testing.T) {
	n := start(t, Options{ConnBuffer: 64 << 20})
	a, b := call(t, n), callWith(t, n, 64<<20)
	b.subscribe(bob)
	const count = 60 // 1.8 MB: they lie in the kernels
	for i := range count {
		a.send(publication(a.sign(header(alice, bob, 1, "x")), i, 30_000))
	}
	until(t, "all is out", func() bool { return n.Stats().Delivered >= count })
	_ = a.c.Close()
	until(t, "the sender is gone", func() bool { return n.Stats().Sockets == 1 })
	var wg sync.WaitGroup
	wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	until(t, "the node's direction is closed", func() bool { return n.halfClosed(t) == 1 })
	for range 20 {
		if _, err := b.c.Write(pingFrame); err != nil {
			t.Fatalf("the node has closed: %v", err)
		}
		until(t, "the node's kernel has it", func() bool { return unacknowledged(t, b.c) == 0 })
	}
	b.await(func() bool { return len(b.got) == count && b.end != nil })
	if b.end.Kind != h2.KindTrailers || !b.away {
		t.Errorf("end %+v, GOAWAY %v", b.end, b.away)
	}
	_ = b.c.Close()
	wg.Wait()
}

// A drained socket is closed when its peer's kernel has everything, not at a time.
func TestDrainedSocketIsKeptUntilAllIsAcknowledged(t *testing.T) {
	r := newRig(t, 1, Options{StallRate: 16 << 10})
	a, b := r.dial(0), r.dial(0)
	b.subscribe(bob, 1)
	b.paused = true
	const count = 6 // 180 KB
	for i := range count {
		a.publish(header(alice, bob, 1, "x"), i, 30_000)
	}
	for _, l := range r.n.loops {
		l.post(l.drain)
		l.post(l.finishAll)
	}
	r.settle()
	r.seconds(1)
	if b.sock.Unacknowledged() == 0 {
		t.Fatal("nothing is unacknowledged")
	}
	buf := b.buf
	b.buf = buf[:32<<10]
	for range 4 { // twice the floor
		b.paused = false
		b.readOnce()
		b.paused = true
		r.seconds(1)
		r.settle()
		if b.shut() {
			t.Fatal("closed with something under way")
		}
	}
	b.buf, b.paused = buf, false
	b.exchange()
	if n := b.count(); n != count || b.end == nil {
		t.Errorf("%d of %d messages, end %+v", n, count, b.end)
	}
	r.seconds(5)
	if !b.shut() {
		t.Error("kept for ever")
	}
}

func TestShutdownWithoutTimeSucceedsWhenNothingIsToDrain(t *testing.T) {
	for range 50 {
		n, err := Start(t.Context(), Options{Listen: []string{"127.0.0.1:0"}, Loops: 2})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 0)
		if err := n.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
}

func TestCountersAreSaidWhenTheDrainTimesOut(t *testing.T) {
	var b syncBuffer
	n, err := Start(t.Context(), Options{Listen: []string{"127.0.0.1:0"}, Log: slog.New(slog.NewTextHandler(&b, nil))})
	if err != nil {
		t.Fatal(err)
	}
	_ = call(t, n)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := n.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	if !strings.Contains(b.String(), "messages since the start") || !strings.Contains(b.String(), "negotiated=1") {
		t.Errorf("log:\n%s", b.String())
	}
}

func TestIdleSocketHearsGoAwayBeforeItIsClosed(t *testing.T) {
	r := newRig(t, 1, Options{})
	p := r.connect(0)
	p.exchange()
	r.seconds(32)
	if !p.shut() {
		t.Fatal("it lives")
	}
	p.read()
	if !p.away {
		t.Error("no GOAWAY")
	}
}

// A receiver that takes what is left for it in lumps, above the floor, is waited for, however rarely a lump comes.
func TestReceiverAboveTheFloorIsNotCutOffAtTheEnd(t *testing.T) {
	const window, rate = 256 << 10, 16 << 10
	r := newRig(t, 1, Options{StallRate: rate})
	a, b := r.dial(0), r.dialWith(0, window)
	b.subscribe(bob, 1)
	b.hoard = true
	const count = 50 // 500 KB, of which the window takes half
	for i := range count {
		a.publish(header(alice, bob, 1, "x"), i, 10_000)
	}
	b.exchange()
	for _, l := range r.n.loops {
		l.post(l.drain)
		l.post(l.finishAll)
	}
	r.settle()
	for range 2 { // half of the window in 6 s: a third above the floor
		for range 6 {
			r.seconds(1)
			b.exchange()
		}
		if b.shut() {
			t.Fatal("cut off")
		}
		b.relent(window / 2)
	}
	if b.c.q.len() != 0 || b.end == nil || r.stats().Delivered != count {
		t.Errorf("%d messages wait, %d are out, end %+v", b.c.q.len(), r.stats().Delivered, b.end)
	}
}

// One that takes nothing of it is cut off, and is not said to have caught up.
func TestReceiverThatIsCutOffHasNotCaughtUp(t *testing.T) {
	var log syncBuffer
	r, _, dead, _ := stuffed(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, 1, 0)
	r.pass(DefaultStallTimeout + 6*stallLook)
	if s := r.stats(); s.Stalled != 1 {
		t.Fatalf("stalled = %d", s.Stalled)
	}
	for _, l := range r.n.loops {
		l.post(l.drain)
		l.post(l.finishAll)
	}
	r.settle()
	r.seconds(5)
	r.settle()
	dead.readAll()
	if s := r.stats(); !dead.shut() || s.Stalled != 0 {
		t.Errorf("shut %v, stalled %d", dead.shut(), s.Stalled)
	}
	if strings.Contains(log.String(), "receiver has caught up") {
		t.Errorf("it is said to have caught up:\n%s", log.String())
	}
}

// Many long fan-outs wait when the node stops: all that was read before reaches its receivers.
func TestShutdownWaitsForFanouts(t *testing.T) {
	t.Parallel() // beside those that wait
	for _, loops := range []int{1, 2} {
		n := start(t, Options{Loops: loops})
		a := call(t, n)
		const members = lookEvery + 10
		count := 100
		if slower {
			count = 10
		}
		var bs []*caller
		for i := range members {
			b := call(t, n)
			b.subscribe(group.WithID(uint64(i), 5))
			bs = append(bs, b)
		}
		for _, l := range n.loops {
			l.post(func() { // a look at the clock, and the budget is spent
				now := time.Now()
				l.budget.now = func() time.Time { now = now.Add(turnBudget); return now }
			})
		}
		for i := range count {
			a.out = append(a.out, a.publication(header(alice, group, 256, "x"), i, 10)...)
		}
		goOn := n.halt()
		a.flush()
		until(t, "the node's kernel has it", func() bool { return unacknowledged(t, a.c) == 0 })
		var wg sync.WaitGroup
		wg.Go(func() { _ = n.Shutdown(context.Background()) })
		goOn()
		for i, b := range bs {
			b.await(func() bool { return b.end != nil })
			if len(b.got) != count {
				t.Fatalf("%d loops: member %d has %d messages of %d", loops, i, len(b.got), count)
			}
			_ = b.c.Close()
		}
		_ = a.c.Close()
		wg.Wait()
	}
}

// What the node's kernel has acknowledged when the node is told to stop, and no loop has read, reaches its receivers.
// Rules: P-end-3.
func TestShutdownForwardsWhatIsStillUnread(t *testing.T) {
	for _, loops := range []int{1, 2} {
		n := start(t, Options{Loops: loops, ReadBuffer: 4 << 10}) // a dozen reads
		a, b := call(t, n), call(t, n)
		b.subscribe(bob)
		goOn := n.halt()
		const count = 40
		for i := range count {
			a.send(publication(a.sign(header(alice, bob, 1, "x")), i, 900))
		}
		until(t, "the node's kernel has it", func() bool { return unacknowledged(t, a.c) == 0 })
		var wg sync.WaitGroup
		wg.Go(func() { _ = n.Shutdown(context.Background()) })
		until(t, "the node is told to stop", n.draining.Load)
		goOn()
		b.await(func() bool { return b.end != nil })
		if len(b.got) != count {
			t.Errorf("%d loops: %d of %d messages", loops, len(b.got), count)
		}
		_, _ = a.c.Close(), b.c.Close()
		wg.Wait()
	}
}

// A sender that goes on sending does not hold the end up: what it had sent before is waited for, and nothing else.
func TestShutdownWaitsForNothingThatCameLater(t *testing.T) {
	t.Parallel() // beside those that wait
	for _, loops := range []int{1, 2} {
		r := newRig(t, loops, Options{})
		a := r.dial(0)
		ps := r.members(group, 200*loops)
		r.slow(func() time.Duration { return turnBudget }) // 128 receivers a turn
		number := 0
		publish := func() {
			number++
			a.feed(a.inFrames(a.publication(header(alice, group, 256, "x"), number, 10)))
		}
		const count = 5
		for range count {
			publish()
		}
		turns := 0
		for _, s := range stages {
			for _, l := range r.n.loops {
				s.mark(l)
			}
			for !allPassed(r.n, s) {
				if turns++; turns > 200 {
					t.Fatalf("%d loops: after %d turns and %d messages it still waits", loops, turns, number)
				}
				publish()
				for _, l := range r.loops {
					l.RunTurn()
				}
			}
		}
		if r.n.loops[0].fanouts.idle() {
			t.Errorf("%d loops: nothing is left: the test shows nothing", loops)
		}
		for i, p := range ps {
			if p.read(); len(p.got) < count {
				t.Fatalf("%d loops: member %d got %d messages, want the first %d", loops, i, len(p.got), count)
			}
		}
	}
}

func allPassed(n *Node, s stage) bool {
	for _, l := range n.loops {
		if !s.passed(l) {
			return false
		}
	}
	return true
}

// inFrames is one message as the peer sends it.
func (p *peer) inFrames(msg []byte) []byte {
	p.stage(msg)
	out := p.out
	p.out = nil
	p.cli.Cut()
	return out
}

// publication is DATA with one message.
func (p *caller) publication(h *wire.PublishHeader, i, n int) []byte {
	msg := wire.AppendPublish(nil, p.sign(h), testSession, content(i, n))
	b := append([]byte{0, 0, 0, 0, byte(len(msg))}, msg...)
	b[3] = byte(len(msg) >> 8)
	out, _ := p.cli.Data(nil, p.s, len(b))
	p.cli.Cut()
	return append(out, b...)
}

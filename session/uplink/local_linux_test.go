package uplink

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// beside is a real node in the process of the test.
func beside(t *testing.T, o router.Options) *router.Node {
	t.Helper()
	o.Listen, o.NodeID = []string{"127.0.0.1:0"}, "node"
	n, err := router.Start(t.Context(), patient(o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, n) })
	return n
}

func stop(t *testing.T, n *router.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		t.Error("shutdown:", err)
	}
}

// until waits for what other goroutines bring about.
func until(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for begun := time.Now(); !reached(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatal("never: ", what)
		}
	}
}

// ear is a Handle that keeps the numbers of what comes.
type ear struct {
	size int
	hold chan struct{} // it waits for this; nil: it does not
	came chan int      // numbers
}

func newEar(size, room int) *ear { return &ear{size: size, came: make(chan int, room)} }

func (e *ear) handle(msgs [][]byte) {
	if e.hold != nil {
		<-e.hold
	}
	for _, m := range msgs {
		e.came <- number(m, e.size)
	}
}

// wants waits for the numbers from 0 to n, in order.
func (e *ear) wants(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		select {
		case got := <-e.came:
			if got != i {
				t.Fatalf("message %d comes in the place of %d", got, i)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%d of %d messages have come", i, n)
		}
	}
}

func attach(t *testing.T, n *router.Node, e *ear) *Local {
	t.Helper()
	c, err := Attach(t.Context(), n, &LocalOptions{App: "test", Handle: e.handle})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Abort()
		<-c.Done()
	})
	return c
}

// say sends messages 0 to n.
func say(ctx context.Context, t *testing.T, c connection, to wire.NameText, n, size int) {
	for i := range n {
		if err := c.Send(ctx, wire.AppendPublish(nil, header(to), testSession, content(i, size))); err != nil {
			t.Errorf("message %d: %v", i, err)
			return
		}
	}
}

// Connections in the process of the node and a connection by TCP all send to all others at the same time: everything comes, once
// and in order.
func TestLocalsAndOthersTalk(t *testing.T) {
	const total, size = 5_000, 200
	for _, loops := range []int{1, 3} {
		t.Run(fmt.Sprint(loops, " loops"), func(t *testing.T) {
			n := beside(t, router.Options{Loops: loops, SlowConsumer: router.Block})
			names := []wire.NameText{alice, bob, wire.Text("org", "ns", "carol").WithID(8, 8)}
			ears := make([]*ear, len(names))
			conns := make([]connection, len(names))
			for i, name := range names {
				ears[i] = newEar(size, total)
				if i == 2 {
					conns[i] = dialNode(t, n.Addrs()[0].String(), Options{Handle: ears[i].handle})
				} else {
					conns[i] = attach(t, n, ears[i])
				}
				r, err := conns[i].Request(t.Context(), wire.KindSubscribe, header(name), 0)
				if err != nil {
					t.Fatal(err)
				}
				if err := r.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			var all sync.WaitGroup
			for i := range conns {
				all.Go(func() { say(t.Context(), t, conns[i], names[(i+1)%3], total, size) })
				all.Go(func() { ears[i].wants(t, total) })
			}
			all.Wait()
			until(t, "all is counted", func() bool { return n.Stats().Delivered >= 3*total })
			if s := n.Stats(); len(s.Dropped) != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// Close returns when the node has everything, which then reaches others.
func TestCloseOfALocal(t *testing.T) {
	const total = 3_000
	n := beside(t, router.Options{SlowConsumer: router.Block})
	e := newEar(8, total)
	b := attach(t, n, e)
	if _, err := b.Subscribe(t.Context(), header(bob)); err != nil {
		t.Fatal(err)
	}
	a := attach(t, n, newEar(8, 0))
	say(t.Context(), t, a, bob, total, 8)
	if err := a.Close(t.Context()); err != nil {
		t.Error(err)
	}
	e.wants(t, total)
	if err := a.TrySend(publication(0, 8)); !errors.Is(err, ErrClosed) {
		t.Errorf("sent after Close: %v", err)
	}
	if _, err := a.Subscribe(t.Context(), header(alice)); !errors.Is(err, ErrClosed) {
		t.Errorf("subscribed after Close: %v", err)
	}
	if err := a.Close(t.Context()); err != nil || !errors.Is(a.Err(), ErrClosed) {
		t.Errorf("again: %v; %v", err, a.Err())
	}
	until(t, "its connection is gone", func() bool { return n.Stats().Connections == 1 }) // what its loop shows follows
}

// What a node in the process was let have when it stops reaches everybody, whoever goes on sending; then all are told of the end, and
// nobody can come.
func TestNodeStopsUnderLocals(t *testing.T) {
	for round := range 20 {
		n := beside(t, router.Options{Loops: 1 + round%2, SlowConsumer: router.Block})
		e := newEar(100, 1<<20)
		b := attach(t, n, e)
		if _, err := b.Subscribe(t.Context(), header(bob)); err != nil {
			t.Fatal(err)
		}
		a := attach(t, n, newEar(8, 0))
		sent, failed := make(chan int, 1), make(chan error, 1)
		begun := make(chan struct{})
		go func() {
			for i := 0; ; i++ {
				if err := a.Send(context.Background(), wire.AppendPublish(nil, header(bob), testSession, content(i, 100))); err != nil {
					sent <- i
					failed <- err
					return
				}
				if i == 100*round {
					close(begun)
				}
			}
		}()
		<-begun
		stop(t, n)
		total := <-sent
		if err := <-failed; !errors.Is(err, ErrDown) && !errors.Is(err, ErrEnded) {
			t.Errorf("sent to a node that stops: %v", err)
		}
		e.wants(t, total)
		for _, c := range []*Local{a, b} {
			<-c.Done()
			if err := c.Err(); !errors.Is(err, ErrEnded) {
				t.Errorf("ended: %v", err)
			}
		}
		if s := n.Stats(); len(s.Dropped) != 0 {
			t.Errorf("%d were accepted, dropped: %v", total, s.Dropped)
		}
		if c, err := Attach(t.Context(), n, &LocalOptions{}); err == nil {
			t.Errorf("%v is attached to a node that has stopped", c)
		}
	}
}

// A node that is not given the time to stop in order, and an app that takes nothing: both come to their end all the same.
func TestNodeIsStoppedAtOnce(t *testing.T) {
	n, err := router.Start(t.Context(), router.Options{SlowConsumer: router.Block})
	if err != nil {
		t.Fatal(err)
	}
	e := newEar(10_000, 0)
	e.hold = make(chan struct{})
	b := attach(t, n, e)
	if _, err := b.Subscribe(t.Context(), header(bob)); err != nil {
		t.Fatal(err)
	}
	a := attach(t, n, newEar(8, 0))
	ctx, cancel := context.WithCancel(t.Context())
	msg := wire.AppendPublish(nil, header(bob), testSession, content(0, 10_000))
	held := make(chan error, 1)
	go func() {
		for {
			if err := a.Send(ctx, msg); err != nil {
				held <- err
				return
			}
		}
	}()
	until(t, "nothing moves any more", func() bool { // the node may have room left for which it had no processor
		for a.TrySend(msg) == nil { // the sender is not woken before half of the pipe is free
		}
		if !b.end.In.Waits() || n.Stats().Waiting == 0 {
			return false
		}
		awaits, give := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer give()
		return errors.Is(a.Await(awaits, 1<<30), context.DeadlineExceeded) && a.TrySend(msg) == ErrFull
	})
	cancel() // who waits for room does not outlive its context
	if err := <-held; !errors.Is(err, context.Canceled) {
		t.Errorf("a sender that is held: %v", err)
	}
	if err := a.TrySend(msg); err != ErrFull {
		t.Errorf("a full pipe: %v", err)
	}
	short, cancelShort := context.WithCancel(context.Background())
	cancelShort()
	if err := n.Shutdown(short); err == nil {
		t.Error("everything went out though nobody takes it")
	}
	<-a.Done()
	var status *StatusError
	if err := a.Err(); !errors.As(err, &status) {
		t.Errorf("ended: %v", err)
	}
	b.Abort()
	close(e.hold)
	go func() {
		for range e.came {
		}
	}()
	<-b.Done()
	close(e.came)
}

// One that the node has disconnected comes back by a Keeper, with its names.
func TestKeeperOfALocal(t *testing.T) {
	n := beside(t, router.Options{SlowConsumer: router.Disconnect, StallTimeout: time.Millisecond, ConnBuffer: 16 << 10, StallRate: 1 << 30})
	hold := make(chan struct{})
	got := make(chan int, 1<<16)
	changes := make(chan error, 16)
	k, err := Keep(t.Context(), Keeping{
		Attach: func(ctx context.Context) (*Local, error) {
			return Attach(ctx, n, &LocalOptions{App: "test", Handle: func(msgs [][]byte) {
				<-hold
				for _, m := range msgs {
					select {
					case got <- len(m):
					default:
					}
				}
			}})
		},
		Changed: func(err error) { changes <- err },
		Backoff: func(int) time.Duration { return time.Millisecond },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = k.Close(t.Context()) }()
	if _, err := k.Subscribe(t.Context(), header(bob)); err != nil {
		t.Fatal(err)
	}
	a := attach(t, n, newEar(8, 0))
	ctx, cancel := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	flood.Go(func() {
		for a.Send(ctx, wire.AppendPublish(nil, header(bob), testSession, content(0, 20_000))) == nil {
		}
	})
	until(t, "it is disconnected", func() bool { return n.Stats().Kinds[table.Local] == 1 })
	cancel()
	flood.Wait()
	close(hold)
	var told []bool
	for len(told) < 3 {
		told = append(told, <-changes == nil)
	}
	if !told[0] || told[1] || !told[2] {
		t.Errorf("told: %v", told)
	}
	for { // its name is back
		if err := a.Send(t.Context(), wire.AppendPublish(nil, header(bob), testSession, content(0, 77))); err != nil {
			t.Fatal(err)
		}
		if size := <-got; size < 1000 {
			break
		}
	}
}

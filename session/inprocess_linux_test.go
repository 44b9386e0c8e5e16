package session_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// hang is a guard.
const hang = 5 * time.Minute

// patient are sessions on a machine that does much else: nothing is given up for want of a processor.
var patient = session.SessionOptions{Interval: 10 * time.Second, Retries: 100}

func startTestNode(t *testing.T, o router.Options) *router.Node {
	t.Helper()
	o.Listen, o.SlowConsumer, o.NegotiationTimeout = []string{"127.0.0.1:0"}, router.Block, time.Minute
	n, err := router.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return n
}

// join connects an app to n, in its process or by TCP.
func join(t *testing.T, n *router.Node, name string, inProcess bool) *session.App {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	o := session.Options{Name: session.MustName("org/ns/" + name), Secret: []byte("a secret of all, 32 bytes or more")}
	if inProcess {
		o.InProcess = n
	} else {
		o.Nodes = []string{n.Addrs()[0].String()}
	}
	a, err := session.Connect(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		if err := a.Close(ctx); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	})
	return a
}

// say publishes count messages and waits until all are delivered.
func say(ctx context.Context, t *testing.T, s *session.Session, count int) {
	var all []*session.Delivery
	for i := range count {
		d, err := s.Publish(ctx, session.Text(fmt.Sprint(i)))
		if err != nil {
			t.Errorf("%v: message %d: %v", s.Self(), i, err)
			return
		}
		all = append(all, d)
	}
	for i, d := range all {
		if err := d.Wait(ctx); err != nil {
			t.Errorf("%v: message %d: %v", s.Self(), i, err)
			return
		}
	}
}

// hear wants count messages of each of so many others, in order for each.
func hear(ctx context.Context, t *testing.T, s *session.Session, count, others int) {
	next := map[string]int{}
	for range count * others {
		m, err := s.Receive(ctx)
		if err != nil {
			t.Errorf("%v: after %v: %v", s.Self(), next, err)
			return
		}
		from := m.From.String()
		if want := fmt.Sprint(next[from]); string(m.Data) != want {
			t.Errorf("%v: %v says %s, want %s", s.Self(), m.From, m.Data, want)
			return
		}
		next[from]++
	}
}

// Apps in the process of their node and apps elsewhere are in the same encrypted sessions, and thousands of messages go each
// way.
func TestSessionsInProcess(t *testing.T) {
	t.Parallel()
	count := 200
	if os.Getenv("SLIMGO_TEST_LONG") != "" {
		count = 1000
	}
	for _, where := range [][2]bool{{true, false}, {false, true}, {true, true}} {
		t.Run(fmt.Sprintf("moderator in process %v, participant %v", where[0], where[1]), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			n := startTestNode(t, router.Options{Loops: 2})
			a, b := join(t, n, "alice", where[0]), join(t, n, "bob", where[1])
			l, err := b.Listen(session.ListenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			sa, err := a.Open(ctx, b.Name(), patient)
			if err != nil {
				t.Fatal(err)
			}
			sb, err := l.Accept(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for _, s := range []*session.Session{sa, sb} {
				wg.Go(func() { say(ctx, t, s, count) })
				wg.Go(func() { hear(ctx, t, s, count, 1) })
			}
			wg.Wait()
			if s := n.Stats(); len(s.Dropped) != 0 {
				t.Errorf("dropped: %v", s.Dropped)
			}
		})
	}
}

// A group whose members are in the process and elsewhere: everybody hears all the others.
func TestGroupInProcess(t *testing.T) {
	t.Parallel()
	const count = 100
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	n := startTestNode(t, router.Options{Loops: 2})
	moderator := join(t, n, "moderator", true)
	g, err := moderator.OpenGroup(ctx, session.MustName("org/ns/channel"), patient)
	if err != nil {
		t.Fatal(err)
	}
	members := []*session.Session{g}
	for i := range 4 {
		a := join(t, n, fmt.Sprint("member", i), i%2 == 0)
		l, err := a.Listen(session.ListenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Invite(ctx, a.Name()); err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept(ctx)
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, s)
	}
	var wg sync.WaitGroup
	for _, s := range members {
		wg.Go(func() { say(ctx, t, s, count) })
		wg.Go(func() { hear(ctx, t, s, count, len(members)-1) })
	}
	wg.Wait()
	if s := n.Stats(); len(s.Dropped) != 0 { // later a heartbeat may find that nobody is there any more
		t.Errorf("dropped: %v", s.Dropped)
	}
	if err := g.Close(ctx); err != nil {
		t.Error(err)
	}
}

// When a node in the process is shut down before its apps, all of theirs ends at once and says why: nobody waits for those who
// cannot answer any more, however long they might take.
func TestNodeStopsBeforeItsApps(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	n := startTestNode(t, router.Options{})
	a, b := join(t, n, "alice", true), join(t, n, "bob", true)
	l, err := b.Listen(session.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.Open(ctx, b.Name(), session.SessionOptions{Interval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	other, err := l.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	say(ctx, t, s, 10)
	if err := n.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	d, err := s.Publish(ctx, session.Text("late"))
	if err == nil {
		err = d.Wait(ctx)
	}
	if !errors.Is(err, session.ErrStopped) && err != session.ErrClosed {
		t.Errorf("published by a node that is over: %v", err)
	}
	for _, s := range []*session.Session{s, other} {
		select {
		case <-s.Done():
		case <-ctx.Done():
			t.Fatal("a session goes on without its node")
		}
		if s.Err() != session.ErrStopped {
			t.Errorf("session: %v", s.Err())
		}
	}
	if _, err := l.Accept(ctx); !errors.Is(err, session.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if _, err := b.Listen(session.ListenOptions{}); !errors.Is(err, session.ErrStopped) && !errors.Is(err, session.ErrListening) {
		t.Errorf("Listen: %v", err)
	}
	if _, err := a.Open(ctx, b.Name(), session.SessionOptions{}); !errors.Is(err, session.ErrStopped) {
		t.Errorf("Open: %v", err)
	}
	if err := a.Subscribe(ctx, session.MustName("org/ns/more")); !errors.Is(err, uplink.ErrOver) {
		t.Errorf("Subscribe: %v", err)
	}
	if _, err := session.Connect(ctx, session.Options{Name: session.MustName("org/ns/late"), InProcess: n,
		Secret: []byte("a secret of all, 32 bytes or more")}); !errors.Is(err, uplink.ErrOver) {
		t.Errorf("Connect: %v", err)
	}
	for _, a := range []*session.App{a, b} {
		if err := a.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

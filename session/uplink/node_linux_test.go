package uplink

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// patient is a node that gives nobody up for want of a processor.
func patient(o router.Options) router.Options {
	for _, d := range []*time.Duration{&o.StallTimeout, &o.HoldTimeout, &o.NegotiationTimeout} {
		*d = cmp.Or(*d, time.Minute)
	}
	return o
}

// The real node, over TCP.
func startNode(t *testing.T, o router.Options) string {
	t.Helper()
	o.Listen, o.NodeID = []string{"127.0.0.1:0"}, "node"
	n, err := router.Start(t.Context(), patient(o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return n.Addrs()[0].String()
}

func dialNode(t *testing.T, addr string, o Options) *Conn {
	t.Helper()
	o.Setup = cmp.Or(o.Setup, time.Minute)
	c, err := Dial(t.Context(), addr, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { abandon(c) })
	return c
}

func subscribe(t *testing.T, c *Conn, names ...wire.NameText) {
	t.Helper()
	for _, n := range names {
		if _, err := c.Subscribe(t.Context(), header(n)); err != nil {
			t.Fatal(err)
		}
	}
}

// exchange has two apps publish to each other at the same time, and wants every message once and in order.
func exchange(t *testing.T, addr string, o Options, total, size int) {
	a, b := dialNode(t, addr, o), dialNode(t, addr, o)
	subscribe(t, a, alice)
	subscribe(t, b, bob)
	var done sync.WaitGroup
	for c, to := range map[*Conn]wire.NameText{a: bob, b: alice} {
		done.Go(func() {
			for i := range total {
				if err := c.Publish(t.Context(), header(to), testSession, content(i, size)); err != nil {
					t.Error(err)
					return
				}
			}
		})
		done.Go(func() {
			for i := range total {
				msg, err := c.Receive(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if got := number(msg, size); got != i {
					t.Errorf("message %d is %d", i, got)
					return
				}
			}
		})
	}
	done.Wait()
	for _, c := range []*Conn{a, b} {
		if s := c.Stats(); s.Received != uint64(total) || s.Unauthentic+s.Invalid+s.Ignored > 0 {
			t.Errorf("%+v", s)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestAppsTalkThroughTheNode(t *testing.T) {
	addr := startNode(t, router.Options{Loops: 2})
	exchange(t, addr, Options{}, 1500, 200)
	exchange(t, addr, Options{ReadBuffer: 2048, Queue: 10_000}, 100, 40_000)
	exchange(t, addr, Options{}, 3, 3<<20)
	exchange(t, addr, Options{EnforcePQC: true}, 100, 100)
	exchange(t, addr, Options{Kind: Remote}, 100, 100)
}

func TestNodeAgreesOnPQC(t *testing.T) {
	addr := startNode(t, router.Options{EnforcePQC: true})
	if c := dialNode(t, addr, Options{EnforcePQC: true}); !c.Link().Hybrid || !c.Link().Signed {
		t.Errorf("%+v", c.Link())
	}
	var e *Error
	if _, err := Dial(t.Context(), addr, &Options{}); !errors.As(err, &e) || e.Fault != Node {
		t.Errorf("a link without PQC: %v", err)
	}
}

// A peer hears of the names that apps hold, and the node waits for its answer.
func TestPeersHearOfNames(t *testing.T) {
	addr := startNode(t, router.Options{})
	p, app := dialNode(t, addr, Options{Kind: Peer, NodeID: "other"}), dialNode(t, addr, Options{})
	r, err := app.Request(t.Context(), wire.KindSubscribe, header(bob), 0)
	if err != nil {
		t.Fatal(err)
	}
	var m wire.Message
	var h wire.Header
	msg := receive(t, p)
	err = errors.Join(wire.Scan(msg, &m), wire.ParseHeader(m.Header.Of(msg), &h))
	if err != nil || m.Kind != wire.KindSubscribe || h.Dest.Name != bob.Name {
		t.Errorf("heard %v of %v, %v", m.Kind, h.Dest.Name, err)
	}
	if err := p.Write(t.Context(), AppendFrame(nil, wire.AppendAck(nil, m.SubID, true, ""))); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestManyNamesAtOnce(t *testing.T) {
	addr := startNode(t, router.Options{})
	c := dialNode(t, addr, Options{})
	const total = 5000
	names := make([]*wire.PublishHeader, total)
	for i := range names {
		names[i] = header(wire.Text("org", "ns", strconv.Itoa(i)).WithID(0, uint64(i)))
	}
	for _, k := range []wire.Kind{wire.KindSubscribe, wire.KindUnsubscribe} {
		var all []*Request
		for i, h := range names {
			r, err := c.Request(t.Context(), k, h, uint64(i+1))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, r)
		}
		for _, r := range all {
			if err := r.Wait(t.Context()); err != nil {
				t.Fatalf("%v of %d: %v", k, r.ID, err)
			}
		}
	}
	var refused *NameError
	err := c.Unsubscribe(t.Context(), names[0], 1)
	if !errors.As(err, &refused) || refused.ID != 1 || refused.Reason == "" {
		t.Errorf("withdrawn twice: %v", err)
	}
}

// After the answer to Unsubscribe nothing comes, and what came before it is not lost.
func TestUnsubscribeIsTheLastWord(t *testing.T) {
	addr := startNode(t, router.Options{})
	a, b, mark := dialNode(t, addr, Options{}), dialNode(t, addr, Options{}), dialNode(t, addr, Options{})
	id, err := b.Subscribe(t.Context(), header(bob))
	if err != nil {
		t.Fatal(err)
	}
	subscribe(t, mark, alice)
	publish := func(i int) { // and it is through the node when this returns
		t.Helper()
		if err := errors.Join(a.Publish(t.Context(), header(bob), testSession, content(i, 50)),
			a.Publish(t.Context(), header(alice), testSession, content(i, 50))); err != nil {
			t.Fatal(err)
		}
		receive(t, mark)
	}
	publish(1)
	if err := b.Unsubscribe(t.Context(), header(bob), id); err != nil {
		t.Fatal(err)
	}
	publish(2)
	if got := number(receive(t, b), 50); got != 1 {
		t.Errorf("message %d", got)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if s := b.Stats(); s.Received != 1 || s.Discarded != 0 {
		t.Errorf("%+v", s)
	}
}

// An app that publishes and closes: all of it is with the node when Close returns, and the receiver gets it.
func TestPublishAndClose(t *testing.T) {
	addr := startNode(t, router.Options{})
	b := dialNode(t, addr, Options{})
	subscribe(t, b, bob)
	const rounds, each, size = 20, 100, 1000
	for r := range rounds {
		a := dialNode(t, addr, Options{Queue: 1 << 20})
		for i := range each {
			if err := a.Publish(t.Context(), header(bob), testSession, content(r*each+i, size)); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Close(t.Context()); err != nil {
			t.Fatalf("round %d: %v", r, err)
		}
	}
	receiveOf(t, b, rounds, each, size)
}

// receiveOf takes as many messages as given of each of several senders, numbered on from one to the next. A sender's come in
// order. Those of another may overtake them, even if it came later: it may be on another loop.
func receiveOf(t *testing.T, c *Conn, senders, each, size int) {
	t.Helper()
	next := make([]int, senders)
	for range senders * each {
		n := number(receive(t, c), size)
		if from := n / each; n%each != next[from] {
			t.Fatalf("message %d of sender %d is %d", next[from], from, n%each)
		} else {
			next[from]++
		}
	}
}

// A node that shuts down ends the channel behind what it has for the app.
func TestNodeShutsDown(t *testing.T) {
	n, err := router.Start(t.Context(), patient(router.Options{Listen: []string{"127.0.0.1:0"}}))
	if err != nil {
		t.Fatal(err)
	}
	addr := n.Addrs()[0].String()
	a, b := dialNode(t, addr, Options{}), dialNode(t, addr, Options{})
	subscribe(t, b, bob)
	const total, size = 100, 1000
	for i := range total {
		if err := a.Publish(t.Context(), header(bob), testSession, content(i, size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Close(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	for i := range total {
		if got := number(receive(t, b), size); got != i {
			t.Fatalf("message %d is %d", i, got)
		}
	}
	_, err = b.Receive(t.Context())
	var e *Error
	if !errors.As(err, &e) || e.Fault != Node || !errors.Is(err, ErrEnded) {
		t.Errorf("got %v", err)
	}
}

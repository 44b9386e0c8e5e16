package router

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/router/transport"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
	"github.com/seed31b3bfd0/slimgo/wire/link"
)

// A link that comes in the place of another waits for its end, however long that takes.
func TestLinkWaitsForTheOneBefore(t *testing.T) {
	one, two := start(t, generic("one")), start(t, generic("two"))
	before := &Dialer{done: make(chan struct{})}
	var asked atomic.Bool
	second := dialLink(t, one, two.Addrs()[0].String(), func(l *Link) {
		l.After = before
		dial := l.Connect
		l.Connect = func(ctx context.Context) (net.Conn, error) {
			asked.Store(true)
			return dial(ctx)
		}
	})
	dialLink(t, one, two.Addrs()[0].String(), nil).await(LinkUp)
	if asked.Load() || second.Status().Attempts != 0 {
		t.Error("it has not waited")
	}
	close(before.done)
	second.await(LinkUp)
	third := dialLink(t, one, two.Addrs()[0].String(), func(l *Link) { l.After = &Dialer{} })
	third.Close() // it waits for ever
	third.await(LinkOver)
}

// Attempts are counted anew after a link that has been up, and what goes wrong then is told again.
func TestAttemptsAfterALinkWasUp(t *testing.T) {
	j := newJournal(slog.LevelInfo)
	o := generic("one")
	o.Log = j.log()
	one, two := start(t, o), start(t, generic("two"))
	one.dialers.settled = 1 // it has been up long enough
	var asked []int
	turns := 0
	d := dialLink(t, one, two.Addrs()[0].String(), func(l *Link) {
		dial, changed := l.Connect, l.Changed
		l.Connect = func(ctx context.Context) (net.Conn, error) {
			if turns++; turns == 3 {
				return dial(ctx)
			}
			return nil, errors.New("no way")
		}
		l.Backoff = func(n int) (time.Duration, bool) {
			asked = append(asked, n)
			return 0, len(asked) < 4
		}
		l.Changed = func(s LinkState) {
			if s == LinkUp {
				for _, l := range two.loops {
					l.post(func() { l.group.Finish() })
				}
			}
			changed(s)
		}
	})
	d.await(LinkOver)
	if want := []int{1, 2, 1, 2}; !slices.Equal(asked, want) {
		t.Errorf("pauses after %v failures, want %v", asked, want)
	}
	if n := len(j.all("no way")); n != 2 {
		t.Errorf("the fault is told %d times, want once before and once after", n)
	}
}

// A link that is closed ends within its time, although the other end does not.
func TestLinkIsClosedToOneThatDoesNotAnswer(t *testing.T) {
	inEachWay(t, linkIsClosedToOneThatDoesNotAnswer)
}

func linkIsClosedToOneThatDoesNotAnswer(t *testing.T, w *dialWay) {
	o := generic("one")
	o.SlowConsumer = Block // what it does not take is waited for
	one, two := w.start(t, o), w.start(t, generic("two"))
	app := call(t, two)
	app.subscribe(bob)
	d := w.dial(t, one, w.addr(two), func(l *Link) { l.CloseTimeout = time.Millisecond })
	d.await(LinkUp)
	until(t, "bob is known", func() bool { return one.Stats().Names == 1 })
	release, held := make(chan struct{}), make(chan struct{}, len(two.loops))
	defer close(release)
	for _, l := range two.loops {
		l.post(func() { held <- struct{}{}; <-release })
	}
	for range two.loops {
		<-held
	}
	a := gRPC(one, 0).join(t, 64<<10)
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for i := 0; ctx.Err() == nil; i++ {
			_ = a.Publish(ctx, header(alice, bob, 1, "x"), testSession, content(i, 100_000))
		}
	}()
	defer func() { cancel(); <-over }()
	until(t, "the sender waits for it", func() bool { return one.Stats().Held > 0 })
	d.Close()
	d.await(LinkOver)
	if n := one.Stats().Refused[ReasonStalled]; n != 0 {
		t.Error("it was waited for until it was found to take nothing")
	}
}

// A node that answers with another kind of link than was asked for is not believed.
func TestDialledNodeAnswersWithAnotherKind(t *testing.T) {
	j := newJournal(slog.LevelInfo)
	o := generic("one")
	o.Log = j.log()
	answer := func(a *acceptor, s *h2.Stream, msg []byte) {
		var m wire.Message
		if err := wire.Scan(msg, &m); err != nil {
			t.Error(err)
			return
		}
		asked, err := wire.ParseLink(msg, &m)
		if err != nil {
			t.Error(err)
			return
		}
		if asked.Kind != wire.LinkPeer {
			t.Errorf("asked for %v", asked.Kind)
		}
		asked.Kind = wire.LinkEdge
		out, err := link.New(&link.Config{Role: link.Acceptor, Version: "3.4.6", NodeID: "two"}).Step(make([]byte, 5), wire.AppendLink(nil, &asked))
		if err != nil {
			t.Error(err)
			return
		}
		out[3], out[4] = byte((len(out)-5)>>8), byte(len(out)-5)
		b, _ := a.h.Data(append([]byte(nil), a.h.Control()...), s, len(out))
		a.h.ControlDone()
		_, _ = a.c.Write(append(b, out...))
	}
	addr := acceptors(t, func(a *acceptor, s *h2.Stream, _ *h2.Request) { a.h.Respond(s); a.answer = answer })
	d := dialLink(t, start(t, o), addr, func(l *Link) {
		l.Kind = table.Peer
		l.Backoff = func(n int) (time.Duration, bool) { return 0, n < 3 }
	})
	d.await(LinkOver)
	if len(j.all("asked for a link of kind peer, it answers with edge")) == 0 {
		t.Error("the log does not tell")
	}
	if len(j.all("client connected")) != 0 {
		t.Error("it was taken for connected")
	}
}

// A time to negotiate that changes is that of whoever comes from then on.
func TestNegotiationTimeoutThatChanges(t *testing.T) {
	r := newRig(t, 1, Options{})
	r.n.loops[0].obey(Rules{NegotiationTimeout: 15 * time.Second}) // and five for what comes before
	p := r.connect(0)
	r.seconds(15)
	if p.shut() {
		t.Error("it is not waited for")
	}
	r.seconds(10)
	p.exchange()
	if !p.shut() {
		t.Error("it is waited for in vain")
	}
}

// What a link does about compression depends on how the connection before has ended: refused, it does without once; accepted, it
// asks again. Rules: P-comp-8.
func TestOfferAfterARefusal(t *testing.T) {
	requests := 0
	var seen said[bool]
	addr := acceptors(t, func(a *acceptor, s *h2.Stream, r *h2.Request) {
		enc, _ := r.Field("grpc-encoding")
		seen.say(len(enc) > 0)
		if requests++; requests == 2 {
			a.h.Refuse(s, 200, 12, "no")
			return
		}
		a.h.Respond(s, h2.Field{Name: "grpc-accept-encoding", Value: "gzip"})
		a.answer = func(a *acceptor, _ *h2.Stream, _ []byte) { _ = a.c.Close() } // once it negotiates
	})
	dialLink(t, start(t, generic("one")), addr, func(l *Link) { l.Call.Offer = &transport.Offer{Encoding: compress.Gzip} })
	for i, want := range []bool{false, true, false, false, true, false, true} {
		if got := seen.next(t, "a request has come"); got != want {
			t.Errorf("request %d asks with an encoding: %v, want %v", i+1, got, want)
		}
	}
}

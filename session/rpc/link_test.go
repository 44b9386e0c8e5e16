package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// The session that calls wait for is given up when none waits any more, when the client is closed, and not before.
func TestSessionsThatNobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Int32
		ch := channel{open: func(ctx context.Context) (*session.Session, error) {
			<-ctx.Done()
			time.Sleep(time.Second) // it takes its time
			ended.Add(1)
			return nil, ctx.Err()
		}}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		long, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		results := make(chan error, 3)
		get := func(ctx context.Context) {
			_, err := ch.get(ctx)
			results <- err
		}
		go get(short)
		go get(long)
		if err := <-results; !errors.Is(err, DeadlineExceeded) {
			t.Error(err)
		}
		time.Sleep(1500 * time.Millisecond)
		if ended.Load() > 0 {
			t.Error("the session was given up for which a call waits")
		}
		if err := <-results; !errors.Is(err, DeadlineExceeded) {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		if ended.Load() != 1 {
			t.Error("the session was not given up for which no call waits")
		}
		go get(context.Background())
		synctest.Wait()
		if err := ch.close(t.Context()); err != nil {
			t.Error(err)
		}
		if ended.Load() != 2 {
			t.Error("the client is closed before what it has begun is over")
		}
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// A session that comes after the last call has ceased to wait for it is closed.
func TestSessionThatComesTooLate(t *testing.T) {
	inNet(t, func(t *testing.T, app *session.App, server session.Name) {
		var late *session.Session
		ch := channel{open: func(context.Context) (s *session.Session, err error) {
			time.Sleep(2 * time.Second)
			late, err = app.Open(context.Background(), server, session.SessionOptions{Plain: true})
			return late, err
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := ch.get(ctx); !errors.Is(err, DeadlineExceeded) {
			t.Error(err)
		}
		time.Sleep(10 * time.Second)
		if n := len(app.Sessions()); late == nil || n != 0 {
			t.Errorf("%d sessions are open", n)
		}
		if err := ch.close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// inNet runs a test with an app that calls, and one that takes sessions and ends no call, in simulated time.
func inNet(t *testing.T, test func(t *testing.T, app *session.App, server session.Name)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		net := sessiontest.New(t, sessiontest.Options{Quiet: true})
		l, err := net.App("org/ns/silent").Listen(session.ListenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for s := range l.Sessions(context.Background()) {
				go func() {
					for m := range s.Messages(context.Background()) {
						if m.Metadata[keyMethod] == "Once" { // without an end
							_, _ = s.Publish(context.Background(), session.Content{Metadata: map[string]string{keyID: m.Metadata[keyID]}})
						}
					}
				}()
			}
		}()
		test(t, net.App("org/ns/client"), session.MustName("org/ns/silent"))
	})
}

// Nothing is left of calls that are over, however they have ended.
func TestNothingIsLeftOfCalls(t *testing.T) {
	inNet(t, func(t *testing.T, app *session.App, server session.Name) {
		c := NewClient(app, server, CallOptions{Session: session.SessionOptions{Plain: true}})
		begin := func(ctx context.Context) ClientStream {
			s, err := c.NewStream(ctx, Method{Service: "acme.Silent", Name: "Any", ClientStreams: true, ServerStreams: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Send(new(Raw)); err != nil {
				t.Fatal(err)
			}
			return s
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		closed, expired, refused := begin(t.Context()), begin(short), begin(t.Context())
		closed.Close()
		time.Sleep(2 * time.Second)
		if err := refused.Send(3); err == nil {
			t.Error("a number was sent as a message")
		}
		for i, s := range []ClientStream{closed, expired, refused} {
			if err := s.Receive(new(Raw)); err == nil || s.Context().Err() == nil {
				t.Errorf("call %d: %v, and its context says %v", i, err, s.Context().Err())
			}
		}
		once := Method{Service: "acme.Silent", Name: "Once"}
		if _, err := CallUnary[Raw, Raw](t.Context(), c, once, new(Raw)); err != nil {
			t.Error(err)
		}
		for range Ask[Raw, Raw](t.Context(), c, Method{Service: "acme.Silent", Name: "Once", ServerStreams: true}, new(Raw)) {
			break
		}
		r, err := CallServerStream[Raw, Raw](t.Context(), c, once, new(Raw))
		if err != nil {
			t.Fatal(err)
		}
		for range r.All() {
			break
		}
		if n := len(c.ch.link.calls); n > 0 {
			t.Errorf("%d calls are remembered", n)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// The end of a session is that of the calls that have sent something by it, and of no others, which begin anew.
func TestTheEndOfALink(t *testing.T) {
	newCall := func(id string) *call { return &call{id: id, in: newInbox(bound{most: 1000}, nil)} }
	l := &link{calls: map[string]*call{}, end: func() {}, room: context.Background()}
	before, after := newCall("before"), newCall("after")
	if !l.add(before) || !l.add(after) {
		t.Fatal("the link is over")
	}
	l.begun(before)
	l.fail(errAbsent)
	l.fail(errClosed)
	if err := before.in.ended(); err != error(errAbsent) {
		t.Errorf("a call that has begun: %v", err)
	}
	if err := after.in.ended(); err != nil {
		t.Errorf("a call that has not: %v", err)
	}
	l.begun(after) // in the same moment
	if err := after.in.ended(); err != error(errAbsent) {
		t.Errorf("a call that has begun too late: %v", err)
	}
	if l.good() || l.add(newCall("another")) {
		t.Error("a link that is over takes calls")
	}
}

// What a member will not say fails that member of each call, and no other.
func TestOnlyTheLostMemberFails(t *testing.T) {
	a, b := session.MustName("org/ns/a"), session.MustName("org/ns/b")
	l := &link{group: true, calls: map[string]*call{}}
	c := &call{id: "1", in: newInbox(bound{most: 1 << 20}, nil), members: &members{list: map[session.Name]*member{a: {self: a}, b: {self: b}}, left: 2}}
	l.add(c)
	l.absent(a, "why")
	if it, _ := c.in.take(t.Context()); it.err == nil || it.err.From != a || it.err.Message != "why" || it.err.Code != Unavailable {
		t.Errorf("the member whose messages are lost: %+v", it.err)
	}
	if left := c.members.undone(); len(left) != 1 || left[0] != b || c.in.ended() != nil {
		t.Errorf("%v are to answer, want %v", left, b)
	}
}

// Calls that are over are remembered, the latest ones.
func TestCallsAreForgotten(t *testing.T) {
	l := &serverLink{past: map[callKey]past{}}
	key := func(i int) callKey { return callKey{id: fmt.Sprint(i)} }
	for i := range 3 * mostPast {
		l.remember(key(i), past{})
		l.remember(key(i), past{})
	}
	if n := len(l.past); n != mostPast || l.oldest.Len() != n {
		t.Errorf("%d calls are remembered, in a queue of %d", n, l.oldest.Len())
	}
	for i, want := range map[int]bool{0: false, 2*mostPast - 1: false, 2 * mostPast: true, 3*mostPast - 1: true} {
		if _, ok := l.past[key(i)]; ok != want {
			t.Errorf("call %d: remembered %v", i, ok)
		}
	}
}

// Messages of one caller that are lost end its requests, and no one else's.
func TestOnlyTheLosersCallsEnd(t *testing.T) {
	a, b := session.MustName("org/ns/a"), session.MustName("org/ns/b")
	l := &serverLink{calls: map[callKey]*serverCall{}}
	for _, n := range []session.Name{a, b} {
		key := callKey{n, "1"}
		l.calls[key] = &serverCall{key: key, in: newInbox(bound{most: 1000}, nil)}
	}
	l.lost(a, "why")
	if err := l.calls[callKey{a, "1"}].in.ended(); !errors.Is(err, Unavailable) {
		t.Errorf("whose messages are lost: %v", err)
	}
	if err := l.calls[callKey{b, "1"}].in.ended(); err != nil {
		t.Errorf("another caller: %v", err)
	}
}

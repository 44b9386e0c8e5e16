package rpc

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// Where so many events were missed that one may have said that replies do not come, those who owe them are asked for a sign of life. Who gives
// none has failed (P-rpc-8).
func TestMissedEventsRaiseDoubt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		net := sessiontest.New(t, sessiontest.Options{Quiet: true})
		silent, guest := session.MustName("org/ns/silent"), session.MustName("org/ns/guest")
		for _, n := range []session.Name{silent, guest} {
			l, err := net.App(n.String()).Listen(session.ListenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for s := range l.Sessions(context.Background()) {
					go func() {
						for range s.Messages(context.Background()) {
							continue // it hears all, and says nothing
						}
					}()
				}
			}()
		}
		s, err := net.App("org/ns/client").OpenGroup(ctx, session.MustName("org/ns/channel"), session.SessionOptions{Plain: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Invite(ctx, silent); err != nil {
			t.Fatal(err)
		}
		for range 200 { // two events each, more than wait for who listens
			if err := errors.Join(s.Invite(ctx, guest), s.Remove(ctx, guest)); err != nil {
				t.Fatal(err)
			}
		}
		// A link whose watcher is late: the call is under way when it looks.
		l := &link{s: s, group: true, calls: map[string]*call{}, over: make(chan struct{}), doubts: make(chan struct{}, 1)}
		l.life, l.end = context.WithCancel(context.Background())
		l.room, l.hurry = context.WithCancel(context.Background())
		go func() {
			l.read()
			close(l.over)
		}()
		o := callOptions{codec: Proto{}, message: session.MaxContent, buffer: DefaultBuffer, timeout: time.Hour}
		asked := &members{names: []session.Name{silent}, refusal: func(session.Name) error { return nil }}
		c, err := begin(ctx, &o, Method{Service: "acme.Service", Name: "Method"}, func(context.Context) (*link, error) { return l, nil }, asked)
		if err != nil {
			t.Fatal(err)
		}
		if err := ask(c, new(Raw)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		go l.watch()
		err = c.Receive(new(Raw))
		var e *Error
		if !errors.As(err, &e) || e.Code != Unavailable || !e.From.Same(silent) {
			t.Errorf("a call of a member that says nothing: %v", err)
		}
		if took := time.Since(began); took > 2*probeTime {
			t.Errorf("that took %v", took)
		}
		c.Close()
		if err := l.close(ctx); err != nil {
			t.Error(err)
		}
	})
}

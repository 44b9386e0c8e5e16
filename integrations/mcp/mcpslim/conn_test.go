package mcpslim

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// The caller of a request is the sender of its message, and not that of the message before.
func TestCallerOfEachMessage(t *testing.T) {
	alice, bob := session.MustName(aliceName), session.MustName("org/ns/bob")
	var c conn
	var given []*mcp.RequestExtra
	messages := []*session.Message{
		{Subject: "alice", From: alice}, {Subject: "alice", From: alice}, {Subject: "bob", From: bob}, {From: alice}, {Subject: "bob", From: bob},
		{Subject: "alice", From: bob}, {Subject: "alice", From: alice}, {From: bob}, {Subject: "bob", From: alice},
	}
	for _, m := range messages {
		given = append(given, c.from(m))
	}
	for i, m := range messages { // after all of them: a request keeps what it was given
		caller, ok := CallerOf(given[i])
		if want := m.Subject != ""; ok != want || want && caller != (Caller{m.Subject, m.From}) {
			t.Errorf("message %d of %q, %v: caller %+v, %v", i, m.Subject, m.From, caller, ok)
		}
		if x := given[i]; x != nil && x.TokenInfo.UserID != m.Subject {
			t.Errorf("message %d: user %q, want %q", i, x.TokenInfo.UserID, m.Subject)
		}
	}
}

// Messages of a group for one app alone have ids of no order: they are served, and are no gap, nor is what is published between them.
func TestDirectMessages(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		app := net.App(serverName)
		server := NewServer(app, mcp.NewServer(&mcp.Implementation{Name: "tools", Version: "v1"}, nil), ServerOptions{})
		l, err := app.Listen(session.ListenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		s, err := net.App(aliceName).OpenGroup(t.Context(), session.MustName("org/ns/group"), session.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Invite(t.Context(), session.MustName(serverName)); err != nil {
			t.Fatal(err)
		}
		x, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- server.ServeSession(t.Context(), x) }()
		p := &speaker{t, s}
		p.initialize()
		const ping = `{"jsonrpc":"2.0","id":7,"method":"ping"}`
		for i := range 10 {
			if i%3 == 2 {
				p.say(ping)
			} else if _, err := s.PublishTo(t.Context(), session.MustName(serverName), session.Text(ping)); err != nil {
				t.Fatal(err)
			}
			if a := p.hear(); string(a.ID) != "7" || a.Error != nil {
				t.Errorf("message %d is answered by %+v", i, a)
			}
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Errorf("ServeSession: %v", err)
		}
	})
}

// Of sessions that come together no more are served than may be: the others are declined, or over at once.
func TestClientsTogether(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		const bound, together = 2, 8
		b := serve(t, net.App(serverName), ServerOptions{Sessions: bound})
		app := net.App(aliceName)
		var opening sync.WaitGroup
		opened := make(chan *session.Session, together)
		for range together {
			opening.Go(func() {
				if s, err := app.Open(t.Context(), session.MustName(serverName), session.SessionOptions{}); err == nil {
					opened <- s
				} else if !errors.Is(err, session.ErrDeclined) {
					t.Error(err)
				}
			})
		}
		opening.Wait()
		close(opened)
		time.Sleep(time.Minute)
		if n := b.Stats().Sessions; n != bound {
			t.Errorf("%d sessions are served, want %d", n, bound)
		}
		stay := 0
		for s := range opened {
			if s.Err() == nil {
				stay++
			}
		}
		if stay != bound {
			t.Errorf("%d sessions go on, want %d", stay, bound)
		}
		b.close(t)
	})
}

package sessiontest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// An app that was cut off for so long that it has given up what it has said gets to know that, by one event of several messages, though it takes
// nobody for offline.
func TestUndelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := sessiontest.New(t, sessiontest.Options{Quiet: true})
		alice, bob := net.App("org/ns/alice"), net.App("org/ns/bob")
		l, err := bob.Listen(session.ListenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := alice.Open(t.Context(), bob.Name(), session.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Accept(t.Context()); err != nil {
			t.Fatal(err)
		}
		net.Disconnect("org/ns/alice")
		var sent []*session.Delivery
		for range 5 {
			d, err := s.Publish(t.Context(), session.Content{Data: []byte("hi")})
			if err != nil {
				t.Fatal(err)
			}
			sent = append(sent, d)
		}
		for _, d := range sent {
			if err := d.Wait(t.Context()); !errors.Is(err, session.ErrNotDelivered) {
				t.Errorf("delivery: %v", err)
			}
		}
		net.Reconnect("org/ns/alice")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		told := 0
		for e := range s.Events(ctx) {
			switch e := e.(type) {
			case session.Undelivered:
				told++
				var lacking *session.NotDelivered
				if !errors.As(e.Err, &lacking) || !slices.Equal(lacking.Missing, []session.Name{bob.Name()}) || e.ID != 0 {
					t.Errorf("%+v", e)
				}
			case session.Presence:
				t.Errorf("%+v", e)
			}
		}
		if told != 1 {
			t.Errorf("%d events, want one", told)
		}
	})
}

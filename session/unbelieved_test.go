package session

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// quick is a session whose requests are given up after 400 ms.
var quick = SessionOptions{Interval: 100 * time.Millisecond, Retries: 3}

// A token that has expired lets nobody in. The moderator gets to know that this was it, by the invitation and by an event; who is invited
// with such a token is not told of, and counts it.
func TestExpiredTokensLetNobodyIn(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		made := new(atomic.Int64)
		with := func(n *notary) func(*Options) {
			return func(o *Options) { o.Secret, o.Tokens, o.Verifier = nil, n, n }
		}
		var notaries []*notary
		var apps []*App
		for _, name := range []string{"alice", "bob", "carol"} {
			n := &notary{subject: name + "@tests", life: time.Minute, made: made}
			notaries = append(notaries, n)
			apps = append(apps, h.app(name, with(n)))
		}
		alice, bob, carol := apps[0], apps[1], apps[2]
		lb := listen(t, bob)
		listen(t, carol)
		g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), quick)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Invite(t.Context(), bob.Name()); err != nil {
			t.Fatal(err)
		}
		b := accept(t, lb)
		notaries[2].fails.Store(true)
		time.Sleep(5 * time.Minute)
		err = g.Invite(t.Context(), carol.Name())
		if !errors.Is(err, ErrTimeout) || !errors.Is(err, ErrUnauthorized) || !errors.Is(err, ErrExpired) {
			t.Errorf("invited: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		told := false
		for e := range g.Events(ctx) {
			if r, ok := e.(Refused); ok && r.From == carol.Name() {
				told = told || errors.Is(r.Err, ErrExpired)
			}
		}
		if !told || alice.Stats().Refused == 0 {
			t.Errorf("told %v, %+v", told, alice.Stats())
		}
		if _, err := carol.Open(t.Context(), bob.Name(), quick); !errors.Is(err, ErrTimeout) {
			t.Errorf("opened: %v", err)
		}
		if s := bob.Stats(); s.Unbelieved == 0 || s.Sessions != 1 {
			t.Errorf("%+v", s)
		}
		everybodyTalks(t, apps[:2], []*Session{g, b})
	})
}

// Who has another secret gets no answer, and disturbs nobody.
func TestWrongSecret(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		apps, members := h.group(quick, "alice", "bob")
		l := listen(t, apps[0])
		mallory := h.app("mallory", func(o *Options) { o.Secret = []byte(strings.Repeat("another ", 5)) })
		listen(t, mallory)
		if err := members[0].Invite(t.Context(), mallory.Name()); !errors.Is(err, ErrTimeout) {
			t.Errorf("invited: %v", err)
		}
		if _, err := mallory.Open(t.Context(), apps[0].Name(), quick); !errors.Is(err, ErrTimeout) {
			t.Errorf("opened: %v", err)
		}
		for _, a := range []*App{apps[0], mallory} {
			if s := a.Stats(); s.Unbelieved != uint64(1+quick.Retries) {
				t.Errorf("%v: %+v", a.Name(), s)
			}
		}
		if l.waits() != 0 || l.places() != 0 {
			t.Errorf("%d sessions wait", l.waits())
		}
		everybodyTalks(t, apps, members)
	})
}

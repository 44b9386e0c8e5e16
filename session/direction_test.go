package session

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// An app that is deaf gets no data, and nobody waits for it; what it says comes, and it is invited, told of members, and let go as others are.
// What apps do is told to all, also of those that are mute.
func TestDeafAndMute(t *testing.T) {
	t.Parallel()
	for _, o := range shapes {
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				apps := []*App{
					h.app("alice"), h.app("bob", func(o *Options) { o.Deaf = true }), h.app("carol", func(o *Options) { o.Mute = true }),
				}
				g, err := apps[0].OpenGroup(t.Context(), MustName("org/ns/channel"), o)
				if err != nil {
					t.Fatal(err)
				}
				members := []*Session{g}
				for _, a := range apps[1:] {
					l := listen(t, a)
					if err := g.Invite(t.Context(), a.Name()); err != nil {
						t.Fatal(err)
					}
					members = append(members, accept(t, l))
				}
				time.Sleep(time.Second)
				for _, s := range members {
					if s.Dest() != MustName("org/ns/channel") {
						t.Errorf("%v says what it says to %v", s.Self(), s.Dest())
					}
					for i, p := range s.Participants() {
						if p.Name != apps[i].Name() || p.Receives != (i != 1) || p.Sends != (i != 2) || !p.Online || p.Self != (s == members[i]) {
							t.Errorf("%v sees %+v", s.Self(), p)
						}
					}
					s.Participants()[0].Online = false // a copy
					if !s.Participants()[0].Online {
						t.Error("what Participants returns is the session's own")
					}
				}
				x := h.tapes(nil)
				begin := time.Now()
				publish(t, g, "to those who hear")
				if d := time.Since(begin); d > time.Second {
					t.Errorf("it took %v", d)
				}
				receives(t, members[2], apps[0], "to those who hear")
				publish(t, members[1], "from the deaf")
				receives(t, g, apps[1], "from the deaf")
				receives(t, members[2], apps[1], "from the deaf")
				if d, err := g.PublishTo(t.Context(), apps[1].Name(), Text("x")); err != nil || !errors.Is(d.Wait(t.Context()), ErrNotMember) {
					t.Errorf("to the deaf alone: %v, %v", err, d.Err())
				}
				short, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if m, err := members[1].Receive(short); err == nil {
					t.Errorf("the deaf one hears %v", m)
				}
				if n := len(x.of(message.MsgAck, "bob", "")); n != 0 {
					t.Errorf("it acknowledges %d", n)
				}
				if err := g.Remove(t.Context(), apps[2].Name()); err != nil {
					t.Error(err)
				}
				for e := range members[1].Events(t.Context()) {
					if e, ok := e.(Left); ok && e.Name == apps[2].Name() {
						break
					}
				}
			})
		})
	}
}

// Messages of upstream's apps may have no type: it is the default, and not nothing.
func TestTypeThatIsMissing(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		_, _, a, b := h.pair(SessionOptions{Plain: true})
		h.tapes(func(_, _ string, m *message.Message) *message.Message {
			if m.Type == message.Msg {
				m.PayloadType = ""
			}
			return m
		})
		publish(t, a, "hello")
		if m, err := b.Receive(t.Context()); err != nil || m.Type != DefaultType {
			t.Errorf("%+v, %v", m, err)
		}
	})
}

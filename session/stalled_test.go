package session

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// cuts lets no message through for which cut holds; nil: all come through.
func (h *hub) cuts(cut func(from, to *hubLink, m *message.Message) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cut = cut
}

// names are those of a session's members, without the one whose session it is.
func others(s *Session) (names []string) {
	for _, p := range s.Participants() {
		if !p.Self {
			names = append(names, p.Name.Parts()[2])
		}
	}
	slices.Sort(names)
	return names
}

// Who stalls while it joins, wherever that is, is not a member in the end, and the others lose nothing, neither meanwhile nor
// afterwards. It gets to know that it is out, and can be invited again.
func TestJoinerThatStalls(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		for _, stalls := range []message.Type{message.DiscoveryReply, message.JoinReply, message.GroupWelcome, message.GroupAck} {
			t.Run(stalls.String(), func(t *testing.T) {
				bubble(t, func(t *testing.T, h *hub) {
					o := quick
					o.Plain = plain
					apps, members := h.group(o, "alice", "bob")
					carol := h.app("carol")
					l := listen(t, carol)
					link := h.linkOf(carol)
					h.cuts(func(from, to *hubLink, m *message.Message) bool {
						return (from == link || to == link) && m.Type == stalls
					})
					invited := make(chan error, 1)
					go func() { invited <- members[0].Invite(t.Context(), carol.Name().Any()) }()
					everybodyTalks(t, apps, members)
					if err := <-invited; !errors.Is(err, ErrTimeout) {
						t.Errorf("invited: %v", err)
					}
					time.Sleep(time.Second)
					for i, want := range []string{"bob", "alice"} {
						if got := others(members[i]); len(got) != 1 || got[0] != want {
							t.Errorf("%v is with %q", members[i].Self(), got)
						}
					}
					everybodyTalks(t, apps, members)
					time.Sleep(time.Minute)
					for l.waits() > 0 { // it was in, as far as it knows
						if s := accept(t, l); !errors.Is(s.Err(), ErrClosed) {
							t.Errorf("the session of the joiner goes on: %v", others(s))
						}
					}
					if n := carol.Stats().Sessions; n != 0 || l.places() != 0 {
						t.Errorf("%d sessions of the joiner are left, %d places taken", n, l.places())
					}
					h.cuts(nil)
					if err := members[0].Invite(t.Context(), carol.Name().Any()); err != nil {
						t.Fatalf("invited again: %v", err)
					}
					everybodyTalks(t, append(apps, carol), append(members, accept(t, l)))
				})
			})
		}
	}
}

// A session between two that the other one has entered, and that is given up since nobody knows, does not stay open there.
func TestOpenThatStalls(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob := h.app("alice"), h.app("bob")
		l := listen(t, bob)
		h.cuts(func(_, _ *hubLink, m *message.Message) bool { return m.Type == message.GroupAck })
		if _, err := alice.Open(t.Context(), bob.Name(), quick); !errors.Is(err, ErrTimeout) {
			t.Errorf("opened: %v", err)
		}
		s := accept(t, l)
		select {
		case <-s.Done():
		case <-time.After(time.Minute):
			t.Error("the session goes on")
		}
		time.Sleep(time.Minute)
		if n := alice.Stats().Sessions + bob.Stats().Sessions; n != 0 {
			t.Errorf("%d sessions are left", n)
		}
		h.cuts(nil)
	})
}

// Who was removed while it was cut off gets to know that when it is invited again, and is a member then.
func TestCutOffMemberIsInvitedAgain(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		bubble(t, func(t *testing.T, h *hub) {
			o := quick
			o.Plain = plain
			apps, members := h.group(o, "alice", "bob", "carol")
			link := h.linkOf(apps[1])
			h.cuts(func(from, to *hubLink, _ *message.Message) bool { return from == link || to == link })
			if err := members[0].Remove(t.Context(), apps[1].Name()); err != nil {
				t.Error(err)
			}
			h.cuts(nil)
			everybodyTalks(t, []*App{apps[0], apps[2]}, []*Session{members[0], members[2]})
			if err := members[0].Invite(t.Context(), apps[1].Name()); err != nil {
				t.Fatalf("invited again: %v", err)
			}
			if err := members[1].Err(); !errors.Is(err, ErrRemoved) {
				t.Errorf("the first session: %v", err)
			}
			again := accept(t, apps[1].listener)
			everybodyTalks(t, apps, []*Session{members[0], again, members[2]})
		})
	}
}

// Who hears of its removal, and is not told to leave as its moderator has gone, leaves by itself.
func TestRemovedMemberLeavesByItself(t *testing.T) {
	for _, plain := range []bool{false, true} {
		bubble(t, func(t *testing.T, h *hub) {
			o := quick
			o.Plain = plain
			apps, members := h.group(o, "alice", "bob", "carol")
			h.cuts(func(_, _ *hubLink, m *message.Message) bool { return m.Type == message.LeaveRequest })
			if err := members[0].Remove(t.Context(), apps[1].Name()); err != nil {
				t.Error(err)
			}
			select {
			case <-members[1].Done():
			case <-time.After(time.Minute):
				t.Fatal("the session goes on")
			}
			if err := members[1].Err(); !errors.Is(err, ErrRemoved) {
				t.Errorf("it is over: %v", err)
			}
			h.cuts(nil)
			everybodyTalks(t, []*App{apps[0], apps[2]}, []*Session{members[0], members[2]})
		})
	}
}

// A moderator that vanishes before it lets a member in leaves nothing behind.
func TestModeratorThatVanishesWhileItInvites(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob := h.app("alice"), h.app("bob")
		l := listen(t, bob)
		h.cuts(func(_, _ *hubLink, m *message.Message) bool { return m.Type == message.GroupWelcome })
		if _, err := alice.Open(t.Context(), bob.Name().Any(), quick); !errors.Is(err, ErrTimeout) {
			t.Errorf("opened: %v", err)
		}
		time.Sleep(time.Minute)
		if n := bob.Stats().Sessions; n != 0 || l.waits() != 0 || l.places() != 0 {
			t.Errorf("%d sessions are left, %d wait, %d places taken", n, l.waits(), l.places())
		}
	})
}

// Where the moderator has vanished the others go on: what they say comes to all but it, as its Delivery says, an event tells that it
// is offline, and they can leave.
func TestModeratorThatVanishes(t *testing.T) {
	for _, plain := range []bool{false, true} {
		bubble(t, func(t *testing.T, h *hub) {
			o := quick
			o.Plain = plain
			apps, members := h.group(o, "alice", "bob", "carol")
			time.Sleep(time.Second)
			link := h.linkOf(apps[0])
			h.cuts(func(from, to *hubLink, _ *message.Message) bool { return from == link || to == link })
			for i, s := range members[1:] {
				d, err := s.Publish(t.Context(), Text("are you there?"))
				if err != nil {
					t.Fatal(err)
				}
				receives(t, members[2-i], apps[1+i], "are you there?")
				var missing *NotDelivered
				if err := d.Wait(t.Context()); !errors.As(err, &missing) || len(missing.Missing) != 1 || missing.Missing[0] != apps[0].Name() {
					t.Errorf("delivered: %v", err)
				}
			}
			for _, s := range members[1:] {
				for e := range s.Events(t.Context()) {
					if p, ok := e.(Presence); ok && p.Name == apps[0].Name() && !p.Online {
						break
					}
				}
			}
			publish(t, members[1], "without her")
			receives(t, members[2], apps[1], "without her")
			for _, s := range members[1:] {
				if err := s.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
			h.cuts(nil)
		})
	}
}

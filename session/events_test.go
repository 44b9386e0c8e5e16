package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
)

// group opens a group of these apps, of which the first is the moderator, and returns their sessions.
func (h *hub) group(o SessionOptions, names ...string) (apps []*App, members []*Session) {
	h.t.Helper()
	for i, name := range names {
		a := h.app(name)
		apps = append(apps, a)
		if i == 0 {
			g, err := a.OpenGroup(h.t.Context(), MustName("org/ns/channel"), o)
			if err != nil {
				h.t.Fatal(err)
			}
			members = append(members, g)
			continue
		}
		l := listen(h.t, a)
		if err := members[0].Invite(h.t.Context(), a.Name().Any()); err != nil {
			h.t.Fatal(err)
		}
		members = append(members, accept(h.t, l))
	}
	return apps, members
}

func TestEventsOfAGroup(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		apps, members := h.group(SessionOptions{}, "alice", "bob", "carol")
		if err := members[2].Suspend(t.Context()); err != nil {
			t.Error(err)
		}
		if err := members[2].Suspend(t.Context()); err != ErrBusy {
			t.Errorf("again: %v", err)
		}
		if err := members[2].Resume(t.Context()); err != nil {
			t.Error(err)
		}
		if err := members[0].Remove(t.Context(), apps[2].Name()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if err := members[0].Close(t.Context()); err != nil {
			t.Error(err)
		}
		<-members[1].Done()
		for i, want := range [][]string{
			{"epoch 0", "joined bob", "epoch 1", "joined carol", "epoch 2", "carol is offline", "carol is online", "left carol", "epoch 3"},
			{"epoch 1", "joined carol", "epoch 2", "carol is offline", "carol is online", "left carol", "epoch 3"},
		} {
			var got []string
			for e, err := range members[i].Events(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, describe(e))
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%v: %q, want %q", members[i].Self(), got, want)
			}
		}
	})
}

// Who is told that a member has come or gone sees it: nothing else wakes who waits for that.
func TestEventsTellOfWhatIsSeen(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		apps, members := h.group(SessionOptions{}, "alice", "bob", "carol")
		go func() {
			for range 30 {
				if members[0].Remove(t.Context(), apps[2].Name()) == nil {
					_ = members[0].Invite(t.Context(), apps[2].Name())
				}
			}
			_ = members[0].Close(t.Context())
		}()
		there := true
		for e, err := range members[1].Events(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			switch e := e.(type) {
			case Joined:
				there = e.Name.Same(apps[2].Name()) || there
			case Left:
				there = there && !e.Name.Same(apps[2].Name())
			default:
				continue
			}
			seen := slices.ContainsFunc(members[1].Participants(), func(p Participant) bool { return p.Name.Same(apps[2].Name()) })
			if seen != there && members[1].Err() == nil {
				t.Fatalf("told of %s, and carol is there: %v", describe(e), seen)
			}
		}
	})
}

func describe(e Event) string {
	last := func(n Name) string { return n.Parts()[2] }
	switch e := e.(type) {
	case EpochChanged:
		return fmt.Sprint("epoch ", e.Epoch)
	case Joined:
		return "joined " + last(e.Name)
	case Left:
		return "left " + last(e.Name)
	case Presence:
		if e.Online {
			return last(e.Name) + " is online"
		}
		return last(e.Name) + " is offline"
	}
	return fmt.Sprintf("%T", e)
}

// Who does not look at events misses the oldest, and gets to know how many.
func TestMissedEvents(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		_, _, a, _ := h.pair(SessionOptions{Plain: true})
		if e, err := a.NextEvent(t.Context()); err != nil || describe(e) != "joined bob" {
			t.Errorf("%v, %v", e, err)
		}
		for range mostEvents + 7 {
			a.tell(Outdated{})
		}
		if e, err := a.NextEvent(t.Context()); err != nil || e != (Missed{7}) {
			t.Errorf("%v, %v", e, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n := 0
		for _, err := range a.Events(ctx) {
			if err == nil {
				n++
			} else if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
		if n != mostEvents {
			t.Errorf("%d events", n)
		}
	})
}

// A message to one member comes to nobody else, and its answer neither; one to oneself comes, too.
func TestPublishTo(t *testing.T) {
	t.Parallel()
	for _, o := range shapes {
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				apps, members := h.group(o, "alice", "bob", "carol")
				d, err := members[1].PublishTo(t.Context(), apps[2].Name().Any(), Content{Data: []byte("psst"), Type: "text/plain", Metadata: map[string]string{"k": "v"}})
				if err != nil {
					t.Fatal(err)
				}
				if err := d.Wait(t.Context()); err != nil {
					t.Error(err)
				}
				m, err := members[2].Receive(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if !m.Direct || m.Type != "text/plain" || len(m.Metadata) != 1 || m.Metadata["k"] != "v" || m.From != apps[1].Name() || m.To != apps[2].Name() {
					t.Errorf("%+v", m)
				}
				if d, err = m.Reply(t.Context(), Text("what?")); err != nil || d.Wait(t.Context()) != nil {
					t.Errorf("%v, %v", err, d.Err())
				}
				receives(t, members[1], apps[2], "what?")
				if d, err = members[0].PublishTo(t.Context(), MustName("org/ns/dave"), Text("x")); err != nil || d.Wait(t.Context()) != ErrNotMember {
					t.Errorf("to a stranger: %v, %v", err, d.Err())
				}
				if d, err = members[0].PublishTo(t.Context(), apps[0].Name(), Text("note to self")); err != nil || d.Wait(t.Context()) != nil {
					t.Errorf("to itself: %v, %v", err, d.Err())
				}
				receives(t, members[0], apps[0], "note to self")
				for _, s := range members {
					if s.inbox.messages.Len() != 0 {
						t.Errorf("%v has got more", s.Self())
					}
				}
			})
		})
	}
}

// Who talks to itself waits for room as long as its context says.
func TestPublishToSelfWaitsForRoom(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice := h.app("alice")
		g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if _, err := g.PublishTo(ended, g.Self(), Text("x")); !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that is over: %v", err)
		}
		for range reliable.Window { // nobody is there who receives
			if _, err := g.Publish(t.Context(), Text("x")); err != nil {
				t.Fatal(err)
			}
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = within(t, time.Minute, func() error { _, err := g.PublishTo(short, g.Self(), Text("x")); return err })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without room: %v", err)
		}
	})
}

// Text that no other member could read is refused where it is said.
func TestTextThatIsNone(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice, _, a, _ := h.pair(SessionOptions{})
		bad := "\xff\xfe"
		for what, err := range map[string]error{
			"type":     second(a.Publish(t.Context(), Content{Type: bad})),
			"key":      second(a.Publish(t.Context(), Content{Metadata: map[string]string{bad: "v"}})),
			"value":    second(a.PublishTo(t.Context(), a.Self(), Content{Metadata: map[string]string{"k": bad}})),
			"metadata": second(alice.OpenGroup(t.Context(), MustName("org/ns/channel"), SessionOptions{Metadata: map[string]string{"k": bad}})),
		} {
			if !errors.Is(err, ErrConfig) {
				t.Errorf("%s: %v", what, err)
			}
		}
		publish(t, a, bad) // of data
	})
}

// Closing again returns nil, whatever the context is, and whether there is a store, and so does closing what another one closes meanwhile.
func TestCloseAgain(t *testing.T) {
	t.Parallel()
	for range 20 { // what is stored and a context that is over may be seen in any order
		bubble(t, func(t *testing.T, h *hub) {
			_, _, a, b := h.pair(SessionOptions{}) // bob has a store
			h.cuts(func(_, _ *hubLink, m *message.Message) bool { return m.Type == message.MsgAck })
			if _, err := b.Publish(t.Context(), Text("never acknowledged")); err != nil {
				t.Fatal(err)
			}
			meanwhile := make(chan error, 1)
			go func() { meanwhile <- b.Close(t.Context()) }()
			time.Sleep(100 * time.Millisecond)
			if err := a.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-meanwhile; err != nil {
				t.Errorf("meanwhile: %v", err)
			}
			ended, end := context.WithCancel(t.Context())
			end()
			for _, s := range []*Session{a, b} {
				if err := s.Close(ended); err != nil {
					t.Errorf("again: %v", err)
				}
			}
		})
	}
}

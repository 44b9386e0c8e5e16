package session

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"
)

// shapes are sessions of all manners.
var shapes = []SessionOptions{{}, {Plain: true}, {Unreliable: true}, {Plain: true, Unreliable: true}}

func (o SessionOptions) name() string {
	return fmt.Sprintf("plain %v unreliable %v", o.Plain, o.Unreliable)
}

func TestPointToPoint(t *testing.T) {
	t.Parallel()
	for _, o := range shapes {
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				alice, bob := h.app("alice"), h.app("bob")
				l := listen(t, bob)
				o.Metadata = map[string]string{"subject": "tests"}
				a, err := alice.Open(t.Context(), MustName("org/ns/bob"), o)
				if err != nil {
					t.Fatal(err, h.trace)
				}
				b := accept(t, l)
				for _, s := range []*Session{a, b} {
					if s.Kind() != PointToPoint || s.Encrypted() == o.Plain || s.Reliable() == o.Unreliable || s.ID() != a.ID() ||
						s.Moderator() != alice.Name() || s.IsModerator() != (s == a) || len(s.Participants()) != 2 || s.Metadata()["subject"] != "tests" {
						t.Errorf("%+v", s)
					}
					if _, ok := s.Epoch(); ok == o.Plain {
						t.Errorf("%v: an epoch: %v", s.Self(), ok)
					}
				}
				for range 3 {
					publish(t, a, numbered("there", 200)...)
					receives(t, b, alice, numbered("there", 200)...)
					publish(t, b, numbered("back", 200)...)
					receives(t, a, bob, numbered("back", 200)...)
				}
				if err := b.Close(t.Context()); err != nil {
					t.Error(err)
				}
				<-a.Done()
				if err := a.Err(); err != ErrClosed || !errors.Is(err, net.ErrClosed) {
					t.Errorf("alice's session is over: %v", err)
				}
				if _, err := a.Publish(t.Context(), Text("late")); err != ErrClosed {
					t.Errorf("published afterwards: %v", err)
				}
				for range a.Messages(t.Context()) {
					t.Error("a message")
				}
				time.Sleep(time.Minute)
				for _, app := range []*App{alice, bob} {
					if s := app.Stats(); s != (Stats{}) {
						t.Errorf("%v: %+v", app.Name(), s)
					}
				}
			})
		})
	}
}

func TestGroup(t *testing.T) {
	t.Parallel()
	for _, o := range shapes {
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				var apps []*App
				var listeners []*Listener
				for _, name := range []string{"alice", "bob", "carol", "dave"} {
					a := h.app(name)
					apps = append(apps, a)
					listeners = append(listeners, listen(t, a))
				}
				g, err := apps[0].OpenGroup(t.Context(), MustName("org/ns/channel"), o)
				if err != nil {
					t.Fatal(err)
				}
				members := []*Session{g}
				for i, a := range apps[1:] {
					if err := g.Invite(t.Context(), a.Name().Any()); err != nil {
						t.Fatal(err, h.trace)
					}
					members = append(members, accept(t, listeners[i+1]))
				}
				everybodyTalks(t, apps, members)
				if err := g.Remove(t.Context(), apps[1].Name()); err != nil {
					t.Error(err)
				}
				<-members[1].Done()
				if err := members[1].Err(); err != ErrRemoved || !errors.Is(err, ErrClosed) {
					t.Errorf("bob's session: %v", err)
				}
				without := func(list []*App) []*App { return append([]*App{list[0]}, list[2:]...) }
				rest := append([]*Session{g}, members[2:]...)
				everybodyTalks(t, without(apps), rest)
				// Again, into the same session.
				if err := g.Invite(t.Context(), apps[1].Name().Any()); err != nil {
					t.Fatal(err, h.trace)
				}
				members[1] = accept(t, listeners[1])
				everybodyTalks(t, apps, members)
				if err := members[3].Close(t.Context()); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second)
				if n := len(g.Participants()); n != 3 {
					t.Errorf("%d members", n)
				}
				if err := g.Close(t.Context()); err != nil {
					t.Error(err)
				}
				for _, s := range members {
					<-s.Done()
				}
				time.Sleep(time.Minute)
				h.mu.Lock()
				defer h.mu.Unlock()
				for _, l := range h.links {
					if len(l.names) != 1 {
						t.Errorf("%d names", len(l.names))
					}
				}
			})
		})
	}
}

// everybodyTalks has all members publish, and sees that all others get it.
func everybodyTalks(t *testing.T, apps []*App, members []*Session) {
	t.Helper()
	time.Sleep(time.Second)
	for i, s := range members {
		if n := len(s.Participants()); n != len(members) {
			t.Errorf("%v knows %d members", s.Self(), n)
		}
		texts := numbered(apps[i].Name().String(), 20)
		publish(t, s, texts...)
		for j, other := range members {
			if j != i {
				receives(t, other, apps[i], texts...)
			}
		}
	}
}

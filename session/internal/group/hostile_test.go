package group

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// asks is a request for a message, as anybody can make it who knows the name of a member: nothing of it is signed.
func (a *app) asks(of *app, id uint32) {
	m := message.Message{
		Source: a.self.Name, Dest: of.self.Name, Fanout: 1, TTL: 8, Kind: message.Group, Type: message.RtxRequest, Session: 7, ID: id,
		Command: nil, Identity: a.self.Token(a.w.Now),
	}
	of.hear(m.Append(nil))
}

// published sees that what a member says now comes to these.
func published(t *testing.T, from *app, text string, to ...*app) {
	t.Helper()
	from.publish(text)
	from.w.Run(10 * time.Second)
	for _, a := range to {
		found := false
		for _, got := range a.got[from.self.Name.Str[2]] {
			found = found || got == text
		}
		if !found {
			t.Errorf("%s has not got %q of %s; its last notices: %v", a.self.Name.Str[2], text, from.self.Name.Str[2], a.notices[max(0, len(a.notices)-3):])
		}
	}
}

// Requests for what was never sent, which anybody can forge, do not take a member's messages from the others.
func TestRequestsForNothing(t *testing.T) {
	w := newGroup(t, 11, true, 0, "alice", "bob", "carol")
	w.faults.Duplicate = 0
	alice, bob, carol := w.app("alice"), w.app("bob"), w.app("carol")
	published(t, alice, "before", bob, carol)
	before := w.carried
	for i := range 5000 {
		carol.asks(alice, uint32(100+i))
	}
	t.Logf("%d replies", w.carried-before)
	w.Run(time.Second)
	published(t, alice, "after", bob, carol)
}

// Repeats to a member that acknowledges nothing do not take later messages from the others.
func TestRepeatsToAStuckMember(t *testing.T) {
	w := newGroup(t, 12, true, 0, "alice", "bob", "carol")
	w.faults.Duplicate = 0
	alice, bob, carol := w.app("alice"), w.app("bob"), w.app("carol")
	published(t, alice, "before", bob, carol)
	w.reach = func(_, to *app) bool { return to != carol }
	for i := range 200 {
		alice.publish(fmt.Sprint("while ", i))
	}
	w.Run(30 * time.Second)
	published(t, alice, "after", bob)
}

// A member that was cut off while others said much hears them again when it is back.
func TestCutOffWhileMuchIsSaid(t *testing.T) {
	for _, who := range []string{"bob", "alice"} {
		w := newGroup(t, 13, true, 0, "alice", "bob", "carol")
		w.faults.Duplicate = 0
		off, carol := w.app(who), w.app("carol")
		w.reach = func(from, to *app) bool { return from != off && to != off }
		w.Run(40 * time.Second)
		for i := range 1500 {
			carol.publish(fmt.Sprint("while ", i))
			w.Run(60 * time.Millisecond)
		}
		w.reach = func(_, _ *app) bool { return true }
		w.Run(60 * time.Second)
		published(t, carol, "after", w.app("alice"), w.app("bob"))
	}
}

// A member that asks for the same message again and again, and acknowledges nothing, gets it no more often than an honest one needs, whether
// it is under way or has been given up.
func TestAsksForTheSameForEver(t *testing.T) {
	for _, encrypted := range kinds {
		w := newGroup(t, 14, encrypted, 0, "alice", "bob", "carol")
		w.faults.Duplicate = 0
		alice, bob, carol := w.app("alice"), w.app("bob"), w.app("carol")
		w.reach = func(_, to *app) bool { return to != carol }
		alice.publish(string(make([]byte, 1<<20)))
		w.Run(10 * time.Millisecond)
		before := w.carried
		for range 1000 {
			carol.asks(alice, 1)
		}
		if n := w.carried - before; n > 2 {
			t.Errorf("encrypted %v: under way: %d copies", encrypted, n)
		}
		w.Run(10 * time.Second) // carol has not acknowledged it
		before = w.carried
		for range 1000 {
			carol.asks(alice, 1)
		}
		if n := w.carried - before; n > 2 {
			t.Errorf("encrypted %v: given up: %d copies", encrypted, n)
		}
		published(t, alice, "after", bob)
	}
}

// Those who say much to one member of a group alone are heard by the others when they say something to all again.
func TestMuchForOne(t *testing.T) {
	w := newGroup(t, 15, true, 0, "alice", "bob", "carol")
	w.faults.Duplicate = 0
	bob, carol := w.app("bob"), w.app("carol")
	for _, from := range []*app{w.app("alice"), bob} {
		for i := range 1200 {
			from.step(PublishTo{carol.self.Name, textOf("x"), fmt.Sprint("to carol ", i)})
			w.Run(60 * time.Millisecond)
		}
		w.Run(time.Second)
		from.result("to carol 1199")
		published(t, from, "after", carol)
		for _, a := range w.apps {
			if a != from {
				published(t, from, "after all to "+a.self.Name.Str[2], a)
			}
		}
	}
}

// One that was cut off while messages for it were repeated hears what is said when it is back.
func TestCutOffPair(t *testing.T) {
	alice, bob := pair(t, true)
	w := alice.w
	for i, off := range []*app{bob, alice} {
		from := []*app{alice, bob}[i]
		w.reach = func(_, to *app) bool { return to != off }
		for i := range 300 {
			from.publish(fmt.Sprint("while ", i))
		}
		w.Run(3500 * time.Millisecond)
		w.reach = func(_, _ *app) bool { return true }
		w.Run(20 * time.Second)
		for i := range 300 {
			from.result(fmt.Sprint("while ", i))
		}
		published(t, from, "after", off)
		from.got, off.got = map[string][]string{}, map[string][]string{}
		alice.results, bob.results = map[string]error{}, map[string]error{}
	}
}

// A moderator that names more members than there can be is not believed: to look at each among all others took twenty seconds.
func TestInventedMembers(t *testing.T) {
	w := newGroup(t, 16, false, 0, "alice", "bob")
	alice, bob := w.app("alice"), w.app("bob")
	m := alice.member.(*Moderator)
	many := []message.Participant{alice.self.participant(), bob.self.participant()}
	for i := range mostMembers - 1 {
		n := identity.Name(wire.Text("org", "ns", "x"), fmt.Sprint(i))
		many = append(many, message.Participant{Name: n, Sends: true, Receives: true})
	}
	for _, update := range []*message.Update{
		{Op: message.OpRejoin, Participant: bob.self.participant(), Roster: many},
		{Op: message.OpAdd, Participant: many[2], Roster: many},
	} {
		msg := m.all(message.GroupUpdate, update)
		msg.ID = m.newID()
		m.put(msg)
		alice.apply()
		w.Run(100 * time.Millisecond)
		if n := len(bob.member.Roster()); update.Op == message.OpRejoin && n != 2 {
			t.Errorf("bob knows %d members", n)
		}
		if last := bob.notices[len(bob.notices)-1]; update.Op == message.OpAdd && !strings.Contains(last, errCrowd.Error()) {
			t.Errorf("bob's last notice: %s", last)
		}
	}
}

package group

import (
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// again kills an app and starts it with its records, as they are.
func (a *app) again() {
	a.w.t.Helper()
	records, err := a.member.Changes()
	if err != nil {
		a.w.t.Fatal(err)
	}
	s, err := ReadSnapshot(records)
	if err != nil {
		a.w.t.Fatal(err)
	}
	o := s.Options()
	o.Self, o.Random, o.Strict = a.self, a.w.r.Uint32, true
	if a.member, err = s.Restore(o, func(u *reliable.UnderWay) Handle { return string(u.Payload.Blob) }, a.w.Now); err != nil {
		a.w.t.Fatal(err)
	}
	a.due, a.ended, a.results = time.Time{}, false, map[string]error{}
	a.apply()
}

// keptGroup is a plain group of alice, who leads it, and the others, who all keep what they need to be started again.
func keptGroup(t *testing.T, names ...string) *world {
	w := newWorld(t, 1, append([]string{"alice", "bob"}, names...)...)
	w.keep = true
	alice := w.app("alice")
	o := alice.options(message.Group, false, fast)
	o.Control = fast
	alice.moderate(o, wire.Text("org", "ns", "channel"))
	for _, a := range w.apps[1:] {
		alice.step(Invite{Name: a.self.Name, Handle: a.self.Name.Str[2]})
		w.Run(5 * time.Second)
		alice.result(a.self.Name.Str[2])
	}
	return w
}

// until does this and runs the world until who has sent a message of this type; that, and what follows it, is lost.
func (w *world) until(who *app, typ message.Type, events ...Event) {
	w.t.Helper()
	seen := false
	w.tap = func(from *app, m *message.Message) {
		if from == who && m.Type == typ && !seen {
			seen = true
			w.reach = func(_, _ *app) bool { return false }
		}
	}
	for _, ev := range events {
		who.step(ev)
	}
	for i := 0; i < 1000 && !seen; i++ {
		w.Run(10 * time.Millisecond)
	}
	if !seen {
		w.t.Fatalf("no %v was sent", typ)
	}
	w.tap = nil
}

// heal has everybody reach everybody again.
func (w *world) heal() { w.reach = func(_, _ *app) bool { return true } }

// A moderator is killed while who is welcomed has not answered, and never does: it is no member in the end, and the others know.
func TestKilledWhileSomeoneComes(t *testing.T) {
	w := keptGroup(t)
	alice, bob := w.app("alice"), w.app("bob")
	carol := newWorld(t, 2, "carol").apps[0]
	carol.w = w
	w.apps = append(w.apps, carol)
	w.until(alice, message.GroupWelcome, Invite{Name: carol.self.Name, Handle: "carol"})
	alice.again()
	w.reach = func(from, to *app) bool { return from != carol && to != carol }
	w.Run(time.Minute)
	if alice.roster() != "alice bob" || bob.roster() != "alice bob" {
		t.Errorf("alice has %s, and bob %s", alice.roster(), bob.roster())
	}
}

// A moderator is killed while others are told that somebody is removed, who is told so by its next life; and so with one that waits to be removed.
func TestKilledWhileSomeoneIsRemoved(t *testing.T) {
	w := keptGroup(t, "carol", "dave")
	alice, bob, carol, dave := w.app("alice"), w.app("bob"), w.app("carol"), w.app("dave")
	w.until(alice, message.GroupUpdate, Remove{carol.self.Name, "first"}, Remove{dave.self.Name, "second"})
	alice.again()
	w.heal()
	w.Run(10 * time.Second)
	if !carol.ended || !dave.ended || alice.roster() != "alice bob" || bob.roster() != "alice bob" {
		t.Errorf("carol and dave are out: %v, %v; alice has %s, and bob %s", carol.ended, dave.ended, alice.roster(), bob.roster())
	}
}

// A moderator is killed while it closes its group: it closes it.
func TestKilledWhileItCloses(t *testing.T) {
	w := keptGroup(t)
	alice, bob := w.app("alice"), w.app("bob")
	w.until(alice, message.GroupClose, Leave{"close"})
	alice.again()
	w.heal()
	w.Run(10 * time.Second)
	if !alice.ended || !bob.ended {
		t.Errorf("it is over for alice: %v, for bob: %v", alice.ended, bob.ended)
	}
}

// A member is killed while it leaves: it leaves.
func TestKilledWhileItLeaves(t *testing.T) {
	w := keptGroup(t, "carol")
	alice, bob := w.app("alice"), w.app("bob")
	w.until(bob, message.LeaveRequest, Leave{"leave"})
	bob.again()
	w.heal()
	w.Run(10 * time.Second)
	if !bob.ended || alice.roster() != "alice carol" {
		t.Errorf("it is over for bob: %v; alice has %s", bob.ended, alice.roster())
	}
}

// Who is started again says so at once, and says from then on that it is there.
func TestStartedAgainIsThere(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"alice", "bob"} {
		w := keptGroup(t, "carol")
		a, carol := w.app(name), w.app("carol")
		w.reach = func(from, to *app) bool { return from != a && to != a }
		w.Run(time.Minute)
		if p := carol.member.Roster(); len(p) != 3 || carol.roster() == "alice bob carol" {
			t.Fatalf("carol has %s while %s is not there", carol.roster(), name)
		}
		a.again()
		w.heal()
		w.Run(5 * time.Second) // less than an interval of heartbeats
		for range 3 {
			if carol.roster() != "alice bob carol" || a.roster() != "alice bob carol" {
				t.Errorf("carol has %s, and %s %s", carol.roster(), name, a.roster())
			}
			w.Run(time.Minute)
		}
		a.publish("here")
		w.Run(time.Second)
		if got := carol.got[name]; len(got) != 1 || got[0] != "here" {
			t.Errorf("carol hears %q of %s", got, name)
		}
	}
}

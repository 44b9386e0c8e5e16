package group

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls"
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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

// A member that acknowledges whatever there is, and what there is not, takes nothing from the others.
func TestAcknowledgesEverything(t *testing.T) {
	t.Parallel()
	for _, encrypted := range kinds {
		w := newGroup(t, 17, encrypted, 0, "alice", "bob", "carol")
		w.faults.Duplicate = 0
		alice, bob, carol := w.app("alice"), w.app("bob"), w.app("carol")
		var want []string
		w.reach = func(_, to *app) bool { return to != carol }
		for i := range 50 {
			text := fmt.Sprint("text ", i)
			want = append(want, text)
			alice.publish(text)
			for id := uint32(1); id < 10_000; id += 500 {
				bob.forge(t, alice, message.Message{Type: message.MsgAck, ID: id + 499, Metadata: map[string]string{message.KeySince: fmt.Sprint(id)}})
			}
		}
		w.Run(time.Second)
		if len(alice.results) > 2 { // of the invitations
			t.Errorf("encrypted %v: resolved before carol has anything: %v", encrypted, alice.results)
		}
		w.reach = func(_, _ *app) bool { return true }
		w.Run(20 * time.Second)
		for _, text := range want {
			alice.result(text)
		}
		if got := carol.got["alice"]; !slices.Equal(got, want) {
			t.Errorf("encrypted %v: carol got %q", encrypted, got)
		}
	}
}

// What a member has said is said again by another one, before it comes: under its own name, and under that of its sender with another
// header. Whoever gets that gets what was meant all the same.
func TestFramesOfOthers(t *testing.T) {
	for _, encrypted := range kinds {
		w := newGroup(t, 18, encrypted, 0, "alice", "bob", "carol")
		w.faults.Duplicate, w.faults.Jitter = 0, 0
		alice, bob, carol := w.app("alice"), w.app("bob"), w.app("carol")
		said := 0
		w.tap = func(from *app, m *message.Message) {
			if from != alice || m.Type != message.Msg {
				return
			}
			said++
			own := *m
			own.Source, own.Identity = bob.self.Name, bob.self.Token(w.Now)
			w.After(time.Millisecond, func() { carol.hear(own.Append(nil)) })
			if changed := *m; encrypted { // else nothing tells it from the right one
				changed.PayloadType = "another"
				w.After(2*time.Millisecond, func() { carol.hear(changed.Append(nil)) })
			}
		}
		var want []string
		for i := range 20 {
			want = append(want, fmt.Sprint("text ", i))
			alice.publish(want[i])
			w.Run(500 * time.Millisecond)
		}
		w.tap = nil
		w.Run(20 * time.Second)
		for _, text := range want {
			if err := alice.results[text]; err != nil && encrypted {
				t.Errorf("encrypted %v: %s: %v; carol: %v", encrypted, text, err, carol.notices[max(0, len(carol.notices)-6):])
			}
		}
		if got := carol.got["alice"]; !slices.Equal(got, want) {
			t.Errorf("encrypted %v: carol got of alice %q; it was said %d times; %v", encrypted, got, said, carol.notices[max(0, len(carol.notices)-6):])
		}
		if got := carol.got["bob"]; encrypted && len(got) > 0 {
			t.Errorf("carol got of bob %q", got)
		}
	}
}

// Commits and proposals that a member makes by itself, as data and as changes, are not followed.
func TestCommitsOfAMember(t *testing.T) {
	t.Parallel()
	w := newGroup(t, 19, true, 0, "alice", "bob", "carol")
	w.faults.Duplicate = 0
	alice, bob, carol := w.app("alice"), w.app("bob"), w.app("carol")
	c := bob.core().mls
	change, err := c.group.Commit(mls.CommitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	epoch := carol.core().mls.epoch()
	for _, to := range []*app{alice, carol} {
		m := message.Message{
			Source: bob.self.Name, Dest: to.self.Name, Fanout: 1, TTL: 8, Session: 7, Kind: message.Group, Type: message.Msg, ID: 1,
			Identity: bob.self.Token(w.Now), Version: bob.self.Version, Blob: change.Commit,
		}
		to.step(&Inbound{Message: &m, At: w.Now})
		to.refused(t, "as data", errors.New("commit, want application data (RFC 9420 section 6)"))
		for _, number := range []uint32{c.commit + 1, c.commit, 1<<32 - 1} {
			update := &message.Update{Op: message.OpRejoin, Participant: bob.self.participant(), MLS: &message.Handshake{Commit: number, Content: change.Commit}}
			to.notices = nil
			bob.forge(t, to, message.Message{Type: message.GroupUpdate, Command: update})
			if last := strings.Join(to.notices, ", "); !strings.Contains(last, errNotModer.Error()) && !strings.Contains(last, errUnexpected.Error()) {
				t.Errorf("%s: as change %d: %s", to.self.Name.Str[2], number, last)
			}
		}
	}
	change.Discard()
	w.Run(time.Second)
	for _, a := range w.apps {
		if got := a.core().mls.epoch(); got != epoch {
			t.Errorf("%s is in epoch %d, want %d", a.self.Name.Str[2], got, epoch)
		}
	}
	everybodyTalks(w, w.apps, "after it")
}

// A member that asks over and over to be let in anew, and follows nothing, does not keep others from being invited and from being heard.
func TestAsksToBeLetInForEver(t *testing.T) {
	t.Parallel()
	w := newGroup(t, 20, true, 0, "alice", "bob", "carol")
	w.faults.Duplicate = 0
	alice, bob, carol := w.app("alice"), w.app("bob"), w.app("carol")
	dave := newWorld(t, 20, "dave").app("dave")
	dave.w = w
	w.apps = append(w.apps, dave)
	p := bob.member.(*Participant)
	for i := range 600 {
		if p.anew != nil {
			p.drop(p.anew)
			p.anew = nil
		}
		p.rejoin()
		for _, o := range bob.member.Take() {
			if s, ok := o.(Send); ok {
				w.carry(bob, s.Message)
			}
		}
		if i == 100 {
			alice.step(Invite{Name: dave.self.Name, Handle: "dave"})
		}
		if i%10 == 0 {
			carol.publish(fmt.Sprint("text ", i))
			alice.publish(fmt.Sprint("text ", i))
		}
		w.Run(20 * time.Millisecond)
	}
	w.Run(15 * time.Second)
	alice.result("dave")
	for i := 0; i < 600; i += 10 {
		text := fmt.Sprint("text ", i)
		if !slices.Contains(alice.got["carol"], text) || !slices.Contains(carol.got["alice"], text) {
			t.Errorf("%s: alice has it %v, carol %v", text, slices.Contains(alice.got["carol"], text), slices.Contains(carol.got["alice"], text))
		}
	}
	t.Logf("epoch %d; %v", alice.core().mls.epoch(), alice.roster())
}

// Proposals that a member sends as data wait for no commit, and stop nobody.
func TestProposalsOfAMember(t *testing.T) {
	t.Parallel()
	w := newGroup(t, 21, true, 0, "alice", "bob", "carol")
	w.faults.Duplicate = 0
	alice, bob, carol := w.app("alice"), w.app("bob"), w.app("carol")
	bob.core().mls.cfg.Proposals = nil
	g := bob.core().mls.group
	leaf, ok := g.FindClient(carol.self.Subject)
	if !ok {
		t.Fatal("carol has no leaf")
	}
	removal, err := g.Propose(&mls.Remove{Leaf: leaf}, nil)
	if err != nil {
		t.Fatal(err)
	}
	update, err := g.ProposeUpdate(mls.Identity{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, proposal := range [][]byte{removal, update} {
		for _, to := range []*app{alice, carol} {
			m := message.Message{
				Source: bob.self.Name, Dest: to.self.Name, Fanout: 1, TTL: 8, Session: 7, Kind: message.Group, Type: message.Msg, ID: 1,
				Identity: bob.self.Token(w.Now), Version: bob.self.Version, Blob: proposal,
			}
			to.step(&Inbound{Message: &m, At: w.Now})
			to.refused(t, "as data", errors.New("proposal, want application data (RFC 9420 section 6)"))
			update := &message.Update{Op: message.OpRejoin, Participant: bob.self.participant(), MLS: &message.Handshake{Commit: 9, Content: proposal}}
			bob.forge(t, to, message.Message{Type: message.GroupUpdate, Command: update})
		}
	}
	rest := []*app{alice, carol}
	everybodyTalks(w, rest, "after it")
	alice.step(Remove{Name: bob.self.Name, Handle: "remove"})
	w.Run(5 * time.Second)
	alice.result("remove")
	everybodyTalks(w, rest, "without bob")
}

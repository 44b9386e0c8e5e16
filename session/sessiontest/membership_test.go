package sessiontest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
)

// both runs a test with MLS and without.
func both(t *testing.T, run func(t *testing.T, n *Net, o session.SessionOptions)) {
	t.Helper()
	for _, plain := range []bool{false, true} {
		name := "MLS"
		if plain {
			name = "plain"
		}
		t.Run(name, func(t *testing.T) {
			bubble(t, Options{}, func(t *testing.T, n *Net) { run(t, n, session.SessionOptions{Plain: plain}) })
		})
	}
}

// over wants a session to be over within a time, for this reason.
func over(t *testing.T, s *session.Session, within time.Duration, want error) {
	t.Helper()
	select {
	case <-s.Done():
		if s.Err() != want {
			t.Errorf("%v: the session is over: %v, want %v", s.Self(), s.Err(), want)
		}
	case <-time.After(within):
		t.Errorf("%v: the session goes on: %s", s.Self(), roster(s))
	}
}

// rosters wants all members to know these.
func rosters(t *testing.T, want string, members ...*session.Session) {
	t.Helper()
	for _, s := range members {
		if got := roster(s); got != want {
			t.Errorf("%v knows %s, want %s", s.Self(), got, want)
		}
	}
}

// requests is how many messages of a type there were, repeats not counted.
func requests(n *Net, kind string) int {
	var ids []uint32
	for _, e := range n.Log().Entries {
		if e.Type == kind && !slices.Contains(ids, e.ID) {
			ids = append(ids, e.ID)
		}
	}
	return len(ids)
}

// again invites an app that listens already.
func again(t *testing.T, g *session.Session, l *session.Listener, name string) *session.Session {
	t.Helper()
	if err := g.Invite(t.Context(), session.MustName(app(name))); err != nil {
		t.Fatalf("inviting %s again: %v", name, err)
	}
	return accept(t, l)
}

// A member that is let in anew, and whose answer gets lost, needs no other one, whatever happens meanwhile.
func TestLostAnswerToARejoin(t *testing.T) {
	t.Parallel()
	bubble(t, Options{}, func(t *testing.T, n *Net) {
		members := groupOf(t, n, session.SessionOptions{}, "alice", "bob", "carol", "dave")
		n.Partition(app("bob"))
		if err := members[0].Remove(t.Context(), members[3].Self()); err != nil {
			t.Error(err)
		}
		n.Drop("", app("bob"), "rejoin_reply", 2)
		n.Heal()
		for requests(n, "rejoin_request") == 0 {
			time.Sleep(time.Millisecond)
		}
		eve := join(t, n, members[0], "eve")
		time.Sleep(time.Minute)
		if k := requests(n, "rejoin_request"); k != 1 {
			t.Errorf("%d requests to be let in anew", k)
		}
		rosters(t, "alice bob carol eve", members[0], members[1], members[2], eve)
		say(t, members[1], "here I am")
		hear(t, eve, "here I am")
	})
}

// A member that is suspended hears that it is removed.
func TestRemovedWhileSuspended(t *testing.T) {
	both(t, func(t *testing.T, n *Net, o session.SessionOptions) {
		members := groupOf(t, n, o, "alice", "bob", "carol")
		if err := members[1].Suspend(t.Context()); err != nil {
			t.Error(err)
		}
		if err := members[0].Remove(t.Context(), members[1].Self()); err != nil {
			t.Error(err)
		}
		over(t, members[1], time.Second, session.ErrRemoved)
		rosters(t, "alice carol", members[0], members[2])
	})
}

// A moderator that is suspended lets members leave.
func TestLeavingASuspendedModerator(t *testing.T) {
	both(t, func(t *testing.T, n *Net, o session.SessionOptions) {
		members := groupOf(t, n, o, "alice", "bob", "carol")
		if err := members[0].Suspend(t.Context()); err != nil {
			t.Error(err)
		}
		begin := time.Now()
		if err := members[1].Close(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("it took %v", took)
		}
		time.Sleep(time.Second)
		rosters(t, "alice (offline) carol", members[2])
		rosters(t, "alice carol", members[0])
	})
}

// A member that was removed while it was cut off gets to know that when it is back.
func TestRemovedWhileCutOff(t *testing.T) {
	both(t, func(t *testing.T, n *Net, o session.SessionOptions) {
		members := groupOf(t, n, o, "alice", "bob", "carol")
		n.Partition(app("bob"))
		if err := members[0].Remove(t.Context(), members[1].Self()); err != nil {
			t.Error(err)
		}
		n.Heal()
		over(t, members[1], time.Minute, session.ErrRemoved)
	})
}

// A member that was cut off while another one was removed, and yet another came, knows that when it is back.
func TestRosterAfterAnAbsence(t *testing.T) {
	both(t, func(t *testing.T, n *Net, o session.SessionOptions) {
		members := groupOf(t, n, o, "alice", "bob", "carol")
		n.Partition(app("bob"))
		if err := members[0].Remove(t.Context(), members[2].Self()); err != nil {
			t.Error(err)
		}
		dave := join(t, n, members[0], "dave")
		n.Heal()
		time.Sleep(time.Minute)
		rosters(t, "alice bob dave", members[0], members[1])
		rosters(t, "alice bob dave", dave)
		say(t, members[1], "hello")
		hear(t, dave, "hello")
	})
}

// A member that has missed that another one has left and come back hears what that one says then, whose ids begin anew.
func TestStreamOfAMemberThatHasComeBack(t *testing.T) {
	both(t, func(t *testing.T, n *Net, o session.SessionOptions) {
		members := groupOf(t, n, o, "alice", "bob")
		carol := n.App(app("carol"))
		l := listen(t, carol)
		c := again(t, members[0], l, "carol")
		say(t, c, numbered("before", 5)...)
		hear(t, members[1], numbered("before", 5)...)
		n.Partition(app("bob"))
		if err := members[0].Remove(t.Context(), c.Self()); err != nil {
			t.Error(err)
		}
		c = again(t, members[0], l, "carol")
		n.Heal()
		time.Sleep(time.Minute)
		say(t, c, numbered("after", 3)...)
		hear(t, members[1], numbered("after", 3)...)
		say(t, members[1], numbered("answer", 3)...)
		hear(t, c, numbered("answer", 3)...)
	})
}

// A member that has left and come back gets nothing again of what it had before, although its acknowledgement was lost.
func TestNothingTwiceForAMemberThatHasComeBack(t *testing.T) {
	both(t, func(t *testing.T, n *Net, o session.SessionOptions) {
		o.Interval = 10 * time.Second // so that nothing is repeated meanwhile
		members := groupOf(t, n, o, "alice", "bob")
		l := listen(t, n.App(app("carol")))
		c := again(t, members[0], l, "carol")
		n.Drop("", app("bob"), "msg_ack", 2)
		before, err := members[1].Publish(t.Context(), session.Text("before"))
		if err != nil {
			t.Fatal(err)
		}
		hear(t, c, "before")
		if err := members[0].Remove(t.Context(), c.Self()); err != nil {
			t.Error(err)
		}
		c = again(t, members[0], l, "carol")
		if _, err := members[1].Publish(t.Context(), session.Text("after")); err != nil {
			t.Fatal(err)
		}
		hear(t, c, "after")
		var missing *session.NotDelivered
		if err := before.Wait(t.Context()); !errors.As(err, &missing) || len(missing.Missing) != 1 || missing.Missing[0] != c.Self() {
			t.Errorf("delivered: %v", err)
		}
	})
}

// Who has left, and could not say so, can be invited again.
func TestInvitedAgainAfterAnEndThatNobodyHasHeardOf(t *testing.T) {
	both(t, func(t *testing.T, n *Net, o session.SessionOptions) {
		members := groupOf(t, n, o, "alice")
		l := listen(t, n.App(app("bob")))
		b := again(t, members[0], l, "bob")
		n.Partition(app("bob"))
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		n.Heal()
		b = again(t, members[0], l, "bob")
		say(t, members[0], "welcome")
		hear(t, b, "welcome")
		if err := members[0].Invite(t.Context(), b.Self()); err != session.ErrMember {
			t.Errorf("invited while it is there: %v", err)
		}
	})
}

// Who has left, and could not say so, or has been started anew, with another id, is let in at once: its old self need not be missed for
// that. Of who is there its moderator learns so in a round trip.
func TestInvitedAgainInThePlaceOfItsOldSelf(t *testing.T) {
	both(t, func(t *testing.T, n *Net, o session.SessionOptions) {
		members := groupOf(t, n, o, "alice", "carol")
		l := listen(t, n.App(app("bob")))
		b := again(t, members[0], l, "bob")
		n.Partition(app("bob"))
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		n.Heal()
		b = again(t, members[0], l, "bob")
		n.Crash(app("bob"))
		l = listen(t, n.App(app("bob")))
		begin := time.Now()
		fresh := again(t, members[0], l, "bob")
		if took := time.Since(begin); took > 6*time.Second {
			t.Errorf("it took %v", took)
		}
		if fresh.Self() == b.Self() {
			t.Error("it has the old id")
		}
		begin = time.Now()
		if err := members[0].Invite(t.Context(), session.MustName(app("bob"))); err != session.ErrMember {
			t.Errorf("invited while it is there: %v", err)
		}
		if took := time.Since(begin); took > 3*DefaultDelay {
			t.Errorf("that took %v", took)
		}
		rosters(t, "alice carol bob", append(members, fresh)...)
		for _, s := range append(members, fresh) {
			if offline := slices.IndexFunc(s.Participants(), func(p session.Participant) bool { return !p.Online }); offline >= 0 {
				t.Errorf("%v takes %v for offline", s.Self(), s.Participants()[offline].Name)
			}
		}
		say(t, members[0], "welcome")
		hear(t, fresh, "welcome")
	})
}

// A member that cannot be reached for a moment, and is invited then, stays one: nobody has come in its place.
func TestMemberStaysWhenNobodyComesInItsPlace(t *testing.T) {
	both(t, func(t *testing.T, n *Net, o session.SessionOptions) {
		members := groupOf(t, n, o, "alice", "bob", "carol")
		n.Partition(app("bob"))
		if err := members[0].Invite(t.Context(), session.MustName(app("bob"))); !errors.Is(err, session.ErrTimeout) {
			t.Errorf("invited: %v", err)
		}
		n.Heal()
		say(t, members[0], "back")
		hear(t, members[1], "back")
		rosters(t, "alice bob carol", members...)
	})
}

// Its moderator takes nobody for a member who has not said that it is in: nobody waits until it has what is published before.
func TestJoinerIsNoMemberUntilItIsIn(t *testing.T) {
	both(t, func(t *testing.T, n *Net, o session.SessionOptions) {
		members := groupOf(t, n, o, "alice", "bob")
		n.Drop(app("carol"), app("alice"), "group_ack", 3)
		l := listen(t, n.App(app("carol")))
		invited := make(chan error, 1)
		go func() { invited <- members[0].Invite(context.Background(), session.MustName(app("carol"))) }()
		time.Sleep(2 * time.Second)
		rosters(t, "alice bob", members[0])
		begin := time.Now()
		say(t, members[0], "before")
		if took := time.Since(begin); took > 2*DefaultDelay {
			t.Errorf("it took %v", took)
		}
		if err := <-invited; err != nil {
			t.Error(err)
		}
		rosters(t, "alice bob carol", members[0])
		c := accept(t, l)
		say(t, members[0], "after")
		for m, err := range c.Messages(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if string(m.Data) == "after" {
				break
			}
		}
	})
}

// A member that knows by the commit that it is out, and has not been told to leave, says nothing any more, and leaves nothing.
func TestOutByTheCommit(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, n *Net) {
		members := groupOf(t, n, session.SessionOptions{}, "alice", "bob", "carol")
		n.Drop(app("alice"), app("bob"), "leave_request", 0)
		go func() { _ = members[0].Remove(context.Background(), members[1].Self()) }()
		time.Sleep(time.Second)
		d, err := members[1].Publish(t.Context(), session.Text("still here"))
		if err != nil {
			t.Fatal(err)
		}
		over(t, members[1], time.Minute, session.ErrRemoved)
		if err := d.Wait(t.Context()); err == nil {
			t.Error("delivered")
		}
		time.Sleep(time.Second)
		if k := n.Subscriptions(app("bob")); k != 1 {
			t.Errorf("bob has %d names", k)
		}
		time.Sleep(time.Minute)
	})
}

// A member that is away while another one comes, and nobody else is there to be told, knows of it when it is back.
func TestRosterAfterASuspension(t *testing.T) {
	both(t, func(t *testing.T, n *Net, o session.SessionOptions) {
		members := groupOf(t, n, o, "alice", "bob")
		if err := members[1].Suspend(t.Context()); err != nil {
			t.Error(err)
		}
		members = append(members, join(t, n, members[0], "carol"))
		if err := members[1].Resume(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		rosters(t, "alice bob carol", members...)
		say(t, members[1], "back again")
		hear(t, members[2], "back again")
	})
}

// Who waits until the others know that it goes, or comes, is told when the session ends before that.
func TestRemovedWhileItIsSuspended(t *testing.T) {
	both(t, func(t *testing.T, n *Net, o session.SessionOptions) {
		members := groupOf(t, n, o, "alice", "bob", "carol")
		n.Drop(app("carol"), app("bob"), "group_ack", 0)
		suspended := make(chan error, 1)
		go func() { suspended <- members[1].Suspend(context.Background()) }()
		time.Sleep(100 * time.Millisecond)
		if err := members[0].Remove(t.Context(), members[1].Self()); err != nil {
			t.Error(err)
		}
		select {
		case err := <-suspended:
			if err != session.ErrClosed {
				t.Errorf("suspended: %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("nobody knows what has become of it")
		}
	})
}

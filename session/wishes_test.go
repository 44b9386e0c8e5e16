package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
)

// What people who use upstream's libraries have asked for, in our words: each is so here.
func TestWishes(t *testing.T) {
	t.Parallel()
	runs(t, []item{
		{"messages of a session of two come in order", eachWay(inOrderOfTwo)},
		{"who is invited decides, and says why not", TestDeclined},
		{"an invitation that comes twice is found out", eachWay(invitedTwice)},
		{"a call waits as long as its context says", TestInvitationThatIsGivenUp},
		{"who only receives is not taken for dead", eachWay(onlyReceives)},
		{"an invitation is done when the new member can decrypt", told(doneMeansDecrypts)},
		{"who asks to be let in anew is let in, or told that it is not", told(neverLeftOut)},
		{"who is offline does not fail the others", eachWay(silence)},
		{"messages to oneself come", TestPublishTo},
		{"an app has a session with itself", TestSessionWithItself},
		{"a message that is lost is an event, and not the end", eachWay(gapThatStays)},
		{"groups without acknowledgements are joined", told(unreliableSessions)},
		{"repeats reach each member, and nobody sets routes for that", eachWay(partOfAcks)},
		{"times that are set are those of everything", eachWay(timesAreKept)},
		{"a group of many closes", told(manyClose)},
		{"each member knows who is in it, after each change", eachWay(rostersAfterEachChange)},
		{"an app that comes anew joins again", eachWay(comesAnew)},
		{"where there is no room a call waits, and loses nothing", eachWay(waitsForRoom)},
		{"where nobody repeats what has no room, it is told of", TestOverflowOfAnUnreliableSession},
		{"a session whose other one was killed ends", TestPeerThatIsGone},
	})
}

// What upstream's 3.4.6 does wrong, and is not so here.
func TestDefectsOfUpstream(t *testing.T) {
	t.Parallel()
	runs(t, []item{
		{"members read on when a token is an hour old, and are told before others do not", TestTokenThatExpires},
		{"a moderator has a fresh token with the changes that are due", TestModeratorsTokenIsRenewed},
		{"nothing comes again after an outage of a session of two", eachWay(nothingAgainAfterAnOutage)},
		{"what was acknowledged is not sent once more for who asks", eachWay(requestsAreAnswered)},
		{"stray replies do not end what a moderator does", eachWay(strayRepliesWhileInviting)},
		{"who waits for a welcome does not wait for ever", TestModeratorThatVanishesWhileItInvites},
		{"an answer that is lost is given again", eachWay(lostAnswers)},
		{"an invitation that is not to be believed leaves no session", eachWay(unsignedInvitation)},
		{"metadata of a session is its moderator's alone", told(signedMetadata)},
		{"a moderator whose last member has left goes on", eachWay(leftAlone)},
		{"a moderator invites and removes after it has let a member in anew", told(changesAfterLettingInAnew)},
		{"nobody is let in anew, or out, in the name of another", eachWay(letInAnew)},
		{"a delivery is settled when the last who lacks it goes", eachWay(waitedForNoMore)},
		{"what is published before somebody is there comes, acknowledged or not", told(nobodyThereYet)},
		{"two replies to one search do not fail the invitation", eachWay(answersTwice)},
	})
}

// inOrderOfTwo: every third message takes longer.
func inOrderOfTwo(t *testing.T, h *hub, o SessionOptions) {
	alice, bob, a, b := h.pair(o)
	n := 0
	h.cuts(func(_, to *hubLink, m *message.Message) bool {
		if n++; m.Type != message.Msg || n%3 != 0 {
			return false
		}
		late := m.Append(nil)
		time.AfterFunc(30*time.Millisecond, func() { to.queue <- arrival{time.Now(), late} })
		return true
	})
	there, back := numbered("there", 60), numbered("back", 60)
	for i := range there {
		say(t, a, there[i])
		say(t, b, back[i])
		time.Sleep(2 * time.Millisecond)
	}
	receives(t, b, alice, there...)
	receives(t, a, bob, back...)
	h.cuts(nil)
	time.Sleep(time.Second)
}

func invitedTwice(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob")
	carol := h.app("carol")
	l := listen(t, carol)
	done := make(chan error, 2)
	for range 2 {
		go func() { done <- members[0].Invite(t.Context(), carol.Name().Any()) }()
	}
	got := []error{<-done, <-done}
	if !slices.Contains(got, nil) || !slices.Contains(got, ErrMember) {
		t.Errorf("got %v", got)
	}
	if err := members[0].Invite(t.Context(), apps[0].Name()); err != ErrMember {
		t.Errorf("itself: %v", err)
	}
	everybodyTalks(t, append(apps, carol), append(members, accept(t, l)))
	if l.waits() != 0 {
		t.Error("carol has two sessions")
	}
}

func onlyReceives(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob")
	carol := h.app("carol", func(o *Options) { o.Mute = true })
	l := listen(t, carol)
	if err := members[0].Invite(t.Context(), carol.Name()); err != nil {
		t.Fatal(err)
	}
	c := accept(t, l)
	time.Sleep(2 * time.Minute)
	for _, s := range append(members, c) {
		if got := offline(s); len(got) != 0 || len(others(s)) != 2 {
			t.Errorf("%v takes %q for offline", s.Self(), got)
		}
	}
	publish(t, members[1], "still here?")
	receives(t, c, apps[1], "still here?")
}

func doneMeansDecrypts(t *testing.T, h *hub) {
	alice, bob := h.app("alice"), h.app("bob")
	l := listen(t, bob)
	g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	h.tapes(func(_, _ string, m *message.Message) *message.Message {
		if m.Type == message.GroupWelcome && lost < 3 {
			lost++
			return nil
		}
		return m
	})
	begin := time.Now()
	if err := g.Invite(t.Context(), bob.Name()); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d < 3*time.Second {
		t.Errorf("done after %v, when bob had no welcome", d)
	}
	begin = time.Now()
	publish(t, g, "can you read this?")
	receives(t, accept(t, l), alice, "can you read this?")
	if d := time.Since(begin); d > 100*time.Millisecond || bob.Stats().Refused != 0 {
		t.Errorf("after %v, %+v", d, bob.Stats())
	}
	h.cuts(nil)
}

// neverLeftOut: the answer is lost twice, the moderator is busy; then there is no moderator any more.
func neverLeftOut(t *testing.T, h *hub) {
	apps, members := h.group(quick, "alice", "bob", "carol", "dave")
	lost := 0
	h.tapes(func(_, _ string, m *message.Message) *message.Message {
		if m.Type == message.RejoinReply && lost < 2 {
			lost++
			return nil
		}
		return m
	})
	if err := members[1].Suspend(t.Context()); err != nil {
		t.Error(err)
	}
	if err := members[0].Remove(t.Context(), apps[3].Name()); err != nil {
		t.Error(err)
	}
	eve := h.app("eve")
	l := listen(t, eve)
	invited := make(chan error, 1)
	go func() { invited <- members[0].Invite(t.Context(), eve.Name()) }()
	if err := members[1].Resume(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-invited; err != nil {
		t.Error(err)
	}
	apps, members = append(apps[:3:3], eve), append(members[:3:3], accept(t, l))
	everybodyTalks(t, apps, members)

	if err := members[1].Suspend(t.Context()); err != nil {
		t.Error(err)
	}
	if err := members[0].Remove(t.Context(), eve.Name()); err != nil {
		t.Error(err)
	}
	link := h.linkOf(apps[0])
	h.cuts(func(from, to *hubLink, _ *message.Message) bool { return from == link || to == link })
	if err := members[1].Resume(t.Context()); !errors.Is(err, ErrTimeout) {
		t.Errorf("back, and nobody lets it in: %v", err)
	}
	event[Outdated](t, members[1])
	h.cuts(nil)
	if err := members[1].Resume(t.Context()); err != nil {
		t.Errorf("with a moderator again: %v", err)
	}
	everybodyTalks(t, apps[:3], members[:3])
}

func timesAreKept(t *testing.T, h *hub, o SessionOptions) {
	o.Interval, o.Retries = 200*time.Millisecond, 4
	limit := time.Second // of a message and its repeats
	apps, members := h.group(o, "alice", "bob", "carol")
	takes := func(what string, limit time.Duration, want error, f func() error) {
		t.Helper()
		begin := time.Now()
		err := f()
		if d := time.Since(begin); d > limit || !errors.Is(err, want) {
			t.Errorf("%s: %v after %v", what, err, d)
		}
	}
	nobody := MustName("org/ns/nobody")
	takes("opening", limit, ErrTimeout, func() error { return second(apps[0].Open(t.Context(), nobody, o)) })
	takes("inviting", limit, ErrTimeout, func() error { return members[0].Invite(t.Context(), nobody) })
	h.cuts(func(_, _ *hubLink, _ *message.Message) bool { return true })
	takes("delivering", limit, ErrNotDelivered, func() error { return say(t, members[1], "lost").Wait(t.Context()) })
	takes("leaving", limit, nil, func() error { return members[1].Close(t.Context()) })
	takes("removing", 2*limit, nil, func() error { return members[0].Remove(t.Context(), apps[2].Name()) })
	takes("closing", limit, nil, func() error { return members[0].Close(t.Context()) })
	takes("leaving nobody", limit, nil, func() error { return members[2].Close(t.Context()) })
	h.cuts(nil)
}

func manyClose(t *testing.T, h *hub) {
	names := []string{"alice"}
	for i := range 15 {
		names = append(names, fmt.Sprint("member", i))
	}
	apps, members := h.group(SessionOptions{}, names...)
	for _, s := range members {
		say(t, s, "goodbye")
	}
	gone := apps[3]
	h.linkOf(gone).breaks(true) // one is not there, and says nothing
	begin := time.Now()
	closes(t, members[0])
	if d := time.Since(begin); d > 30*time.Second {
		t.Errorf("closed after %v", d)
	}
	for i, s := range members {
		if i != 3 {
			<-s.Done()
		}
	}
	h.linkOf(gone).breaks(false)
}

func rostersAfterEachChange(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob")
	listeners, names := map[string]*Listener{"bob": apps[1].listener}, []string{"alice", "bob"}
	check := func() {
		t.Helper()
		time.Sleep(100 * time.Millisecond)
		with(t, members, slices.Clone(names)...)
	}
	in := func(name string) {
		t.Helper()
		if listeners[name] == nil {
			listeners[name] = listen(t, h.app(name))
		}
		if err := members[0].Invite(t.Context(), MustName("org/ns/"+name)); err != nil {
			t.Fatal(err)
		}
		members, names = append(members, accept(t, listeners[name])), append(names, name)
		check()
	}
	out := func(i int, how func(s *Session)) {
		t.Helper()
		how(members[i])
		members, names = slices.Delete(members, i, i+1), slices.Delete(names, i, i+1)
		check()
	}
	remove := func(s *Session) {
		if err := members[0].Remove(t.Context(), s.Self()); err != nil {
			t.Error(err)
		}
	}
	leave := func(s *Session) { closes(t, s) }
	in("carol")
	in("dave")
	out(2, remove)
	in("eve")
	out(1, leave)
	in("carol")
	in("bob")
	out(2, leave)
	out(1, remove)
	out(1, remove)
	out(1, leave)
	in("dave")
}

// comesAnew: after its end, and after it was killed.
func comesAnew(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol")
	closes(t, members[2])
	if err := members[0].Invite(t.Context(), apps[2].Name()); err != nil {
		t.Fatal(err)
	}
	members[2] = accept(t, apps[2].listener)
	everybodyTalks(t, apps, members)
	dead := h.linkOf(apps[2])
	h.mu.Lock()
	h.links = slices.DeleteFunc(h.links, func(l *hubLink) bool { return l == dead })
	h.mu.Unlock()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_ = apps[2].Stop(over)
	carol := h.app("carol")
	l := listen(t, carol)
	if carol.Name() == apps[2].Name() {
		t.Fatal("it has the same id")
	}
	time.Sleep(time.Minute) // until the others know
	if err := members[0].Invite(t.Context(), carol.Name().Any()); err != nil {
		t.Fatal(err)
	}
	everybodyTalks(t, []*App{apps[0], apps[1], carol}, []*Session{members[0], members[1], accept(t, l)})
}

func waitsForRoom(t *testing.T, h *hub, o SessionOptions) {
	alice, _, a, b := h.pair(o)
	h.linkOf(alice).lets(0)
	texts := numbered("text", reliable.Window)
	for _, text := range texts {
		say(t, a, text)
	}
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := a.Publish(short, Text("no room")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("published: %v", err)
	}
	later := make(chan *Delivery)
	go func() { later <- say(t, a, "later") }()
	synctest.Wait()
	h.linkOf(alice).lets(-1)
	if err := (<-later).Wait(t.Context()); err != nil {
		t.Error(err)
	}
	receives(t, b, alice, append(texts, "later")...)
}

func nothingAgainAfterAnOutage(t *testing.T, h *hub, o SessionOptions) {
	alice, bob, a, b := h.pair(o)
	texts := numbered("before", 100)
	publish(t, a, texts...)
	receives(t, b, alice, texts...)
	h.linkOf(bob).breaks(true)
	lost := say(t, a, "meanwhile")
	time.Sleep(time.Minute)
	if err := lost.Wait(t.Context()); !errors.Is(err, ErrNotDelivered) {
		t.Errorf("delivered: %v", err)
	}
	x := h.tapes(nil)
	h.linkOf(bob).breaks(false)
	time.Sleep(time.Minute)
	publish(t, a, "after")
	for {
		m, err := b.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Data) == "after" {
			break
		}
		if string(m.Data) != "meanwhile" {
			t.Fatalf("%q comes again", m.Data)
		}
	}
	for _, e := range x.of(message.RtxRequest, "bob", "alice") {
		if e.m.ID <= 100 {
			t.Errorf("asked for %d, which it has", e.m.ID)
		}
	}
}

func strayRepliesWhileInviting(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob")
	carol := h.app("carol")
	l := listen(t, carol)
	lost := 0
	h.tapes(func(from, _ string, m *message.Message) *message.Message {
		if from == "carol" && (m.Type == message.DiscoveryReply || m.Type == message.JoinReply || m.Type == message.GroupAck) && lost < 9 {
			lost++
			return nil
		}
		return m
	})
	done := make(chan error, 1)
	go func() { done <- members[0].Invite(t.Context(), carol.Name()) }()
	for i := range 9 {
		for j, kind := range []message.Type{message.DiscoveryReply, message.JoinReply, message.LeaveReply, message.RejoinReply} {
			for k, by := range []*App{apps[1], carol} {
				h.tells(apps[0], by.says(t, message.Message{
					Dest: apps[0].Name().t, Kind: message.Group, Type: kind, Session: members[0].ID(), ID: uint32(10000 + 100*i + 10*j + k),
					Command: commandOf(kind, by.Name().t),
				}))
			}
		}
		time.Sleep(900 * time.Millisecond)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	everybodyTalks(t, append(apps, carol), append(members, accept(t, l)))
	h.cuts(nil)
}

func lostAnswers(t *testing.T, h *hub, o SessionOptions) {
	lost := map[string]bool{}
	h.tapes(func(from, _ string, m *message.Message) *message.Message {
		switch m.Type {
		case message.DiscoveryReply, message.JoinReply, message.GroupAck, message.LeaveReply, message.RejoinReply, message.MsgAck:
			if key := fmt.Sprint(from, m.Type, m.ID); !lost[key] {
				lost[key] = true
				return nil
			}
		}
		return m
	})
	apps, members := h.group(o, "alice", "bob", "carol")
	publish(t, members[0], "hello")
	receives(t, members[1], apps[0], "hello")
	if err := members[0].Remove(t.Context(), apps[2].Name()); err != nil {
		t.Error(err)
	}
	closes(t, members[1])
	<-members[2].Done()
	time.Sleep(time.Second)
	with(t, members[:1])
	h.cuts(nil)
}

func changesAfterLettingInAnew(t *testing.T, h *hub) {
	apps, members := h.group(SessionOptions{}, "alice", "bob", "carol", "dave")
	if err := members[1].Suspend(t.Context()); err != nil {
		t.Error(err)
	}
	if err := members[0].Remove(t.Context(), apps[3].Name()); err != nil {
		t.Error(err)
	}
	if err := members[1].Resume(t.Context()); err != nil {
		t.Error(err)
	}
	if err := members[0].Invite(t.Context(), apps[3].Name()); err != nil {
		t.Error(err)
	}
	members[3] = accept(t, apps[3].listener)
	everybodyTalks(t, apps, members)
	if err := members[0].Remove(t.Context(), apps[1].Name()); err != nil {
		t.Error(err)
	}
	everybodyTalks(t, []*App{apps[0], apps[2], apps[3]}, []*Session{members[0], members[2], members[3]})
}

func nobodyThereYet(t *testing.T, h *hub) {
	for _, o := range shapes {
		alice := h.app("alice")
		g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), o)
		if err != nil {
			t.Fatal(err)
		}
		d := say(t, g, "early")
		select {
		case <-d.Done():
			t.Errorf("%s: delivered to nobody: %v", o.name(), d.Err())
		case <-time.After(time.Second):
		}
		bob := h.app("bob")
		l := listen(t, bob)
		if err := g.Invite(t.Context(), bob.Name()); err != nil {
			t.Fatal(err)
		}
		receives(t, accept(t, l), alice, "early")
		if err := d.Wait(t.Context()); err != nil {
			t.Errorf("%s: %v", o.name(), err)
		}
	}
}

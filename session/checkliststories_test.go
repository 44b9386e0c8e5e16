package session

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

var checklistOfModerators = []item{
	{"what is wanted while something is under way waits its turn", eachWay(oneAfterTheOther)},
	{"a channel is subscribed to once, and given back at the end", told(subscribedOnce)},
	{"a group that is closed is over for all, who say so", eachWay(closedForAll)},
	{"a session of two ends with the one that was invited", eachWay(leftByTheOther)},
	{"a group whose last member has left goes on, and takes others in", eachWay(leftAlone)},
	{"several leave at once", eachWay(leaveAtOnce)},
	{"an acknowledgement that nobody waits for changes nothing", eachWay(strayAcks)},
	{"a member is away and back, in the same epoch", TestEventsOfAGroup},
	{"a member is away, and back in another epoch", eachWay(backInAnotherEpoch)},
	{"the moderator is away and back", eachWay(moderatorIsAway)},
	{"a member is let in anew only if it is one, for itself, and has MLS", eachWay(letInAnew)},
	{"who asks to be let in anew while another comes is let in after it", told(letInAnewWhileBusy)},
	{"a group of two tells of who is let in anew, too", told(letInAnewOfTwo)},
	{"who cannot be added fails the invitation, and the next one goes on", told(cannotBeAdded)},
	{"an invitation is done when the new member and the others have said that they know", eachWay(doneWhenAllKnow)},
	{"who stalls while it joins is no member in the end", TestJoinerThatStalls},
}

func oneAfterTheOther(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob")
	g, done := members[0], make(chan error, 3)
	var listeners []*Listener
	for _, name := range []string{"carol", "dave", "eve"} {
		a := h.app(name)
		apps, listeners = append(apps, a), append(listeners, listen(t, a))
		go func() { done <- g.Invite(t.Context(), a.Name()) }()
	}
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for _, l := range listeners {
		members = append(members, accept(t, l))
	}
	go func() { done <- g.Remove(t.Context(), apps[1].Name()) }()
	go func() { done <- members[2].Close(t.Context()) }()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	everybodyTalks(t, []*App{apps[0], apps[3], apps[4]}, []*Session{g, members[3], members[4]})
}

func subscribedOnce(t *testing.T, h *hub) {
	apps, members := h.group(SessionOptions{Plain: true}, "alice", "bob", "carol")
	for _, a := range apps {
		h.mu.Lock()
		l := h.linkOf(a)
		if len(l.names) != 3 || l.nextID != 3 { // its own, and two of the channel
			t.Errorf("%v has %d names, and has asked for %d", a.Name(), len(l.names), l.nextID)
		}
		h.mu.Unlock()
	}
	closes(t, members[0])
	time.Sleep(time.Second)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range apps {
		if l := h.linkOf(a); len(l.names) != 1 {
			t.Errorf("%v has %d names at the end", a.Name(), len(l.names))
		}
	}
}

func closedForAll(t *testing.T, h *hub, o SessionOptions) {
	_, members := h.group(o, "alice", "bob", "carol")
	x := h.tapes(nil)
	closes(t, members[0])
	for _, s := range members {
		<-s.Done()
		if err := s.Err(); err != ErrClosed {
			t.Errorf("%v: %v", s.Self(), err)
		}
	}
	for _, name := range []string{"bob", "carol"} {
		m, r := x.only(t, message.GroupClose, "alice", name), x.only(t, message.GroupAck, name, "alice")
		if m.ID != r.ID || m.Fanout != 256 || len(m.Command.(*message.Close).Participants) != 3 {
			t.Errorf("%+v, %+v", m, r)
		}
	}
}

func leftByTheOther(t *testing.T, h *hub, o SessionOptions) {
	_, _, a, b := h.pair(o)
	closes(t, b)
	<-a.Done()
	if err := a.Err(); err != ErrClosed {
		t.Errorf("it is over: %v", err)
	}
}

func leftAlone(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob")
	closes(t, members[1])
	event[Left](t, members[0])
	time.Sleep(time.Minute)
	if err := members[0].Err(); err != nil {
		t.Fatalf("it is over: %v", err)
	}
	with(t, members[:1])
	carol := h.app("carol")
	l := listen(t, carol)
	if err := members[0].Invite(t.Context(), carol.Name()); err != nil {
		t.Fatal(err)
	}
	if err := members[0].Invite(t.Context(), apps[1].Name()); err != nil {
		t.Fatal(err)
	}
	everybodyTalks(t, append(apps, carol), []*Session{members[0], accept(t, apps[1].listener), accept(t, l)})
}

func leaveAtOnce(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol", "dave", "eve")
	done := make(chan error, 3)
	for _, s := range members[1:4] {
		go func() { done <- s.Close(t.Context()) }()
	}
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	everybodyTalks(t, []*App{apps[0], apps[4]}, []*Session{members[0], members[4]})
}

func strayAcks(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol")
	for i, kind := range []message.Type{
		message.GroupAck, message.GroupNack, message.DiscoveryReply, message.JoinReply, message.LeaveReply, message.RejoinReply, message.GroupWelcome,
	} {
		m := apps[1].says(t, message.Message{
			Dest: apps[0].Name().t, Kind: message.Group, Type: kind, Session: members[0].ID(), ID: uint32(1000 + i), Command: commandOf(kind, apps[1].Name().t),
		})
		h.tells(apps[0], m)
	}
	everybodyTalks(t, apps, members)
	dave := h.app("dave")
	l := listen(t, dave)
	if err := members[0].Invite(t.Context(), dave.Name()); err != nil {
		t.Fatal(err)
	}
	everybodyTalks(t, append(apps, dave), append(members, accept(t, l)))
}

func backInAnotherEpoch(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol", "dave")
	x := h.tapes(nil)
	if err := members[1].Suspend(t.Context()); err != nil {
		t.Error(err)
	}
	if err := members[0].Remove(t.Context(), apps[3].Name()); err != nil {
		t.Error(err)
	}
	if err := members[1].Resume(t.Context()); err != nil {
		t.Error(err)
	}
	everybodyTalks(t, apps[:3], members[:3])
	nacks, requests, acks := len(x.of(message.GroupNack, "", "bob")), len(x.of(message.RejoinRequest, "bob", "alice")), len(x.of(message.GroupAck, "bob", "alice"))
	if o.Plain && nacks+requests != 0 || !o.Plain && (nacks == 0 || requests != 1 || acks == 0) {
		t.Errorf("%d nacks, %d requests, %d acks", nacks, requests, acks)
	}
}

func moderatorIsAway(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol")
	if err := members[0].Suspend(t.Context()); err != nil {
		t.Error(err)
	}
	if got := offline(members[1]); !slices.Equal(got, []string{"alice"}) {
		t.Errorf("offline: %q", got)
	}
	publish(t, members[1], "without her")
	receives(t, members[2], apps[1], "without her")
	if err := members[0].Resume(t.Context()); err != nil {
		t.Error(err)
	}
	everybodyTalks(t, apps, members)
}

// letInAnew: with MLS a member that was never away is served, too.
func letInAnew(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol")
	mallory := h.app("mallory")
	x := h.tapes(nil)
	asks := func(by *App, of *App, id uint32) Stats {
		t.Helper()
		kp := []byte("none")
		if !o.Plain {
			k, err := by.mls(time.Now(), nil).NewKeyPackage()
			if err != nil {
				t.Fatal(err)
			}
			kp = k.Marshal()
		}
		return h.tells(apps[0], by.says(t, message.Message{
			Dest: apps[0].Name().t, Kind: message.Group, Type: message.RejoinRequest, Session: members[0].ID(), ID: id,
			Command: &message.Rejoin{Participant: of.Name().t, KeyPackage: kp},
		}))
	}
	epoch, _ := members[0].Epoch()
	asks(mallory, mallory, 501)
	asks(mallory, apps[1], 502)
	asks(apps[2], apps[1], 503)
	if now, _ := members[0].Epoch(); now != epoch || len(x.of(message.RejoinReply, "", "")) != 0 {
		t.Errorf("somebody was let in: epoch %d, was %d", now, epoch)
	}
	everybodyTalks(t, apps, members)
	s := asks(apps[2], apps[2], 504)
	synctest.Wait()
	replies := len(x.of(message.RejoinReply, "alice", "carol"))
	if o.Plain && (s.Refused != 1 || replies != 0) || !o.Plain && replies == 0 {
		t.Errorf("asked by itself: %+v, %d answers", s, replies)
	}
	time.Sleep(time.Minute) // carol, whose keys that were not, asks for others
	everybodyTalks(t, apps, members)
}

func letInAnewWhileBusy(t *testing.T, h *hub) {
	apps, members := h.group(SessionOptions{}, "alice", "bob", "carol", "dave")
	if err := members[1].Suspend(t.Context()); err != nil {
		t.Error(err)
	}
	if err := members[0].Remove(t.Context(), apps[3].Name()); err != nil {
		t.Error(err)
	}
	eve := h.app("eve")
	l := listen(t, eve)
	lost := 0
	x := h.tapes(func(from, _ string, m *message.Message) *message.Message {
		if from == "eve" && m.Type == message.JoinReply && lost < 3 {
			lost++
			return nil
		}
		return m
	})
	invited := make(chan error, 1)
	go func() { invited <- members[0].Invite(t.Context(), eve.Name()) }()
	time.Sleep(time.Second)
	if err := members[1].Resume(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-invited; err != nil {
		t.Error(err)
	}
	welcome, reply := x.of(message.GroupWelcome, "alice", "eve"), x.of(message.RejoinReply, "alice", "bob")
	if len(reply) != 1 || reply[0].at.Before(welcome[0].at) {
		t.Errorf("%d answers, after %d welcomes", len(reply), len(welcome))
	}
	everybodyTalks(t, []*App{apps[0], apps[1], apps[2], eve}, []*Session{members[0], members[1], members[2], accept(t, l)})
}

func letInAnewOfTwo(t *testing.T, h *hub) {
	apps, members := h.group(SessionOptions{}, "alice", "bob", "carol")
	if err := members[1].Suspend(t.Context()); err != nil {
		t.Error(err)
	}
	if err := members[0].Remove(t.Context(), apps[2].Name()); err != nil {
		t.Error(err)
	}
	x := h.tapes(nil)
	if err := members[1].Resume(t.Context()); err != nil {
		t.Error(err)
	}
	time.Sleep(time.Second)
	u := x.only(t, message.GroupUpdate, "alice", "bob").Command.(*message.Update)
	if u.Op != message.OpRejoin || u.Participant.Name != apps[1].Name().t || len(u.Roster) != 2 {
		t.Errorf("%+v", u)
	}
	everybodyTalks(t, apps[:2], members[:2])
}

// cannotBeAdded: its key package is none, is another one's, or has a token that is.
func cannotBeAdded(t *testing.T, h *hub) {
	apps, members := h.group(SessionOptions{}, "alice", "bob")
	carol, dave := h.app("carol"), h.app("dave")
	lc, ld := listen(t, carol), listen(t, dave)
	for what, change := range map[string]func(j *message.Joined){
		"none":    func(j *message.Joined) { j.KeyPackage = nil },
		"garbage": func(j *message.Joined) { j.KeyPackage = []byte("a key package") },
		"another one's": func(j *message.Joined) {
			k, err := dave.mls(time.Now(), nil).NewKeyPackage()
			if err != nil {
				t.Fatal(err)
			}
			j.KeyPackage = k.Marshal()
		},
	} {
		h.tapes(func(from, _ string, m *message.Message) *message.Message {
			if from == "carol" && m.Type == message.JoinReply {
				change(m.Command.(*message.Joined))
				return carol.signs(t, m)
			}
			return m
		})
		begin := time.Now()
		next := make(chan error, 1)
		first := make(chan error, 1)
		go func() { first <- members[0].Invite(t.Context(), carol.Name()) }()
		synctest.Wait()
		go func() { next <- members[0].Invite(t.Context(), dave.Name()) }()
		if err := <-first; !errors.Is(err, ErrUnauthorized) {
			t.Errorf("%s: %v", what, err)
		}
		if err := <-next; err != nil {
			t.Errorf("%s: the next one: %v", what, err)
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("%s: after %v", what, d)
		}
		s := accept(t, ld)
		time.Sleep(time.Second)
		with(t, []*Session{members[0], members[1], s}, "alice", "bob", "dave")
		if err := members[0].Remove(t.Context(), dave.Name()); err != nil {
			t.Error(err)
		}
		h.cuts(nil)
		time.Sleep(time.Minute) // carol has given up
	}
	if err := members[0].Invite(t.Context(), carol.Name()); err != nil {
		t.Fatal(err)
	}
	everybodyTalks(t, append(apps, carol), append(members, accept(t, lc)))
}

func doneWhenAllKnow(t *testing.T, h *hub, o SessionOptions) {
	_, members := h.group(o, "alice", "bob")
	for i, late := range []string{"bob", "dave"} {
		a := h.app([]string{"carol", "dave"}[i])
		l := listen(t, a)
		n := 0
		h.tapes(func(from, _ string, m *message.Message) *message.Message {
			if from == late && m.Type == message.GroupAck {
				if n++; n <= 2 {
					return nil
				}
			}
			return m
		})
		begin := time.Now()
		if err := members[0].Invite(t.Context(), a.Name()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d < 2*time.Second || d > 3*time.Second {
			t.Errorf("%s is late: done after %v", late, d)
		}
		accept(t, l)
		h.cuts(nil)
	}
}

var checklistOfParticipants = []item{
	{"a welcome that comes again is acknowledged again, and changes nothing", eachWay(welcomedTwice)},
	{"members come and go, and all know", eachWay(comingAndGoing)},
	{"who has left is out, and has given its names back", eachWay(leftWithNames)},
	{"only the moderator changes the membership, and ends the session", eachWay(onlyTheModerator)},
	{"what a participant is not to be told is refused", eachWay(notForParticipants)},
	{"a member that is restored is heard", TestMembershipChangesMeanwhile},
	{"whoever was away knows who is there when it is back", eachWay(rosterAfterAnAbsence)},
}

func welcomedTwice(t *testing.T, h *hub, o SessionOptions) {
	alice, bob := h.app("alice"), h.app("bob")
	l := listen(t, bob)
	lost := 0
	x := h.tapes(func(from, _ string, m *message.Message) *message.Message {
		if from == "bob" && m.Type == message.GroupAck && lost < 2 {
			lost++
			return nil
		}
		return m
	})
	g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Invite(t.Context(), bob.Name()); err != nil {
		t.Fatal(err)
	}
	b := accept(t, l)
	if w, a := len(x.of(message.GroupWelcome, "", "")), len(x.of(message.GroupAck, "", "")); w != 3 || a != 3 || l.waits() != 0 {
		t.Errorf("%d welcomes, %d acknowledgements, %d sessions more", w, a, l.waits())
	}
	everybodyTalks(t, []*App{alice, bob}, []*Session{g, b})
}

func comingAndGoing(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol", "dave")
	if err := members[0].Remove(t.Context(), apps[2].Name()); err != nil {
		t.Error(err)
	}
	closes(t, members[3])
	time.Sleep(time.Second)
	with(t, members[:2], "alice", "bob")
	if err := members[0].Invite(t.Context(), apps[2].Name()); err != nil {
		t.Fatal(err)
	}
	everybodyTalks(t, apps[:3], []*Session{members[0], members[1], accept(t, apps[2].listener)})
}

func leftWithNames(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol")
	x := h.tapes(nil)
	closes(t, members[1])
	time.Sleep(time.Second)
	if m := x.only(t, message.LeaveRequest, "bob", "alice"); m.Metadata[message.KeyLeaving] == "" || x.only(t, message.LeaveReply, "alice", "bob").ID != m.ID {
		t.Errorf("%+v", m)
	}
	h.mu.Lock()
	n := len(h.linkOf(apps[1]).names)
	h.mu.Unlock()
	if n != 1 {
		t.Errorf("it has %d names", n)
	}
	everybodyTalks(t, []*App{apps[0], apps[2]}, []*Session{members[0], members[2]})
}

func onlyTheModerator(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol")
	for i, kind := range []message.Type{message.GroupUpdate, message.GroupClose, message.LeaveRequest, message.LeaveReply, message.GroupWelcome, message.RejoinReply, message.JoinRequest} {
		m := apps[2].says(t, message.Message{
			Dest: apps[1].Name().t, Kind: message.Group, Type: kind, Session: members[0].ID(), ID: uint32(1000 + i), Command: commandOf(kind, apps[0].Name().t),
		})
		if s := h.tells(apps[1], m); s != (Stats{Refused: 1}) {
			t.Errorf("%v: %+v", kind, s)
		}
		if r := event[Refused](t, members[1]); r.From != apps[2].Name() || r.Type != kind.String() {
			t.Errorf("%v: %+v", kind, r)
		}
	}
	state := apps[2].says(t, message.Message{
		Dest: apps[1].Name().t, Kind: message.Group, Type: message.UpdateState, Session: members[0].ID(), ID: 2000,
		Command: &message.State{Participant: apps[0].Name().t, Offline: true},
	})
	if s := h.tells(apps[1], state); s != (Stats{Refused: 1}) || len(offline(members[1])) != 0 {
		t.Errorf("another one's state: %+v, %q", s, offline(members[1]))
	}
	everybodyTalks(t, apps, members)
}

func notForParticipants(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol")
	for i, kind := range []message.Type{message.DiscoveryReply, message.JoinReply, message.GroupProposal, message.RejoinRequest, message.GroupWelcome, message.RejoinReply} {
		if o.Plain && kind == message.GroupWelcome { // as if its acknowledgement had been lost
			continue
		}
		m := apps[0].says(t, message.Message{
			Dest: apps[1].Name().t, Kind: message.Group, Type: kind, Session: members[0].ID(), ID: uint32(1000 + i), Command: commandOf(kind, apps[0].Name().t),
		})
		if s := h.tells(apps[1], m); s.Refused != 1 {
			t.Errorf("%v: %+v", kind, s)
		}
	}
	everybodyTalks(t, apps, members)
}

func rosterAfterAnAbsence(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol")
	if err := members[1].Suspend(t.Context()); err != nil {
		t.Error(err)
	}
	if got := [][]string{offline(members[0]), offline(members[2])}; !slices.Equal(got[0], []string{"bob"}) || !slices.Equal(got[1], []string{"bob"}) {
		t.Errorf("offline: %q", got)
	}
	dave := h.app("dave")
	l := listen(t, dave)
	if err := members[0].Invite(t.Context(), dave.Name()); err != nil {
		t.Fatal(err)
	}
	d := accept(t, l)
	if got := offline(d); !slices.Equal(got, []string{"bob"}) {
		t.Errorf("dave knows as offline: %q", got)
	}
	if err := members[1].Resume(t.Context()); err != nil {
		t.Error(err)
	}
	everybodyTalks(t, append(apps, dave), append(members, d))
	for _, s := range append(members, d) {
		if got := offline(s); len(got) != 0 {
			t.Errorf("%v knows as offline: %q", s.Self(), got)
		}
	}
}

var checklistOfControl = []item{
	{"each request is repeated until it is answered, and then no more", eachWay(repeatedRequests)},
	{"a request is repeated at equal times, as often as is wanted, and given up then", told(givenUp)},
	{"answers that come twice count once", eachWay(answersTwice)},
	{"who says nothing else says that it is there", eachWay(heartbeats)},
	{"who is silent for three intervals is offline, and back when it is heard", eachWay(silence)},
	{"times that an invitation sets are those of who is invited", TestLongIntervals},
}

func repeatedRequests(t *testing.T, h *hub, o SessionOptions) {
	lost := map[message.Type]bool{}
	x := h.tapes(func(_, _ string, m *message.Message) *message.Message {
		switch m.Type {
		case message.DiscoveryRequest, message.JoinRequest, message.GroupWelcome, message.GroupUpdate, message.LeaveRequest, message.UpdateState, message.GroupClose:
			if !lost[m.Type] {
				lost[m.Type] = true
				return nil
			}
		}
		return m
	})
	apps, members := h.group(o, "alice", "bob", "carol")
	if err := members[1].Suspend(t.Context()); err != nil {
		t.Error(err)
	}
	if err := members[1].Resume(t.Context()); err != nil {
		t.Error(err)
	}
	if err := members[0].Remove(t.Context(), apps[2].Name()); err != nil {
		t.Error(err)
	}
	closes(t, members[0])
	<-members[1].Done()
	time.Sleep(time.Minute)
	for kind := range lost {
		ids := map[uint32]int{}
		for _, e := range x.of(kind, "", "") {
			ids[e.m.ID]++
		}
		for id, n := range ids {
			if n > 2*2 { // twice, to two
				t.Errorf("%v %d came %d times", kind, id, n)
			}
		}
	}
	if len(lost) != 7 {
		t.Errorf("lost: %v", lost)
	}
	h.cuts(nil)
}

func givenUp(t *testing.T, h *hub) {
	alice := h.app("alice")
	bob := h.app("bob")
	listen(t, bob)
	x := h.tapes(func(_, _ string, m *message.Message) *message.Message { return nil })
	o := SessionOptions{Interval: 300 * time.Millisecond, Retries: 5}
	begin := time.Now()
	if _, err := alice.Open(t.Context(), bob.Name(), o); !errors.Is(err, ErrTimeout) {
		t.Errorf("opened: %v", err)
	}
	if d := time.Since(begin); d != 6*o.Interval {
		t.Errorf("given up after %v", d)
	}
	list := x.of(message.DiscoveryRequest, "alice", "bob")
	if len(list) != 6 {
		t.Fatalf("asked %d times", len(list))
	}
	tokens := map[string]bool{}
	for i, e := range list {
		if e.at.Sub(begin) != time.Duration(i)*o.Interval || e.m.ID != list[0].m.ID {
			t.Errorf("%d: after %v, id %d", i, e.at.Sub(begin), e.m.ID)
		}
		tokens[string(e.m.Signature)] = true
	}
	if len(tokens) != 6 {
		t.Errorf("%d signatures", len(tokens))
	}
	h.cuts(nil)
}

func answersTwice(t *testing.T, h *hub, o SessionOptions) {
	h.tapes(func(_, to string, m *message.Message) *message.Message {
		switch m.Type {
		case message.DiscoveryReply, message.JoinReply, message.GroupAck, message.LeaveReply, message.MsgAck:
			for _, l := range h.links {
				if l.label == to {
					l.queue <- arrival{time.Now().Add(h.delay), m.Append(nil)}
				}
			}
		}
		return m
	})
	apps, members := h.group(o, "alice", "bob", "carol")
	everybodyTalks(t, apps, members)
	if err := members[0].Remove(t.Context(), apps[2].Name()); err != nil {
		t.Error(err)
	}
	everybodyTalks(t, apps[:2], members[:2])
	closes(t, members[1])
	h.cuts(nil)
}

func heartbeats(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol")
	a, err := apps[0].Open(t.Context(), apps[1].Name(), o)
	if err != nil {
		t.Fatal(err)
	}
	accept(t, apps[1].listener)
	time.Sleep(15 * time.Second)
	x := h.tapes(nil)
	count := func(id uint32, from, to string) (n int) {
		for _, e := range x.of(message.Heartbeat, from, to) {
			if e.m.Session == id {
				n++
			}
		}
		return n
	}
	for range 30 {
		publish(t, a, "busy")
		time.Sleep(time.Second)
	}
	for _, c := range []struct {
		s        *Session
		from, to string
		want     int
	}{{a, "alice", "bob", 0}, {a, "bob", "alice", 0}, {members[0], "carol", "bob", 3}, {members[0], "alice", "bob", 3}} {
		if n := count(c.s.ID(), c.from, c.to); n != c.want {
			t.Errorf("%d of %s to %s in half a minute, want %d", n, c.from, c.to, c.want)
		}
	}
	time.Sleep(30 * time.Second)
	if n := count(a.ID(), "alice", "bob"); n < 2 {
		t.Errorf("%d of who says nothing else", n)
	}
	for _, e := range x.of(message.Heartbeat, "alice", "bob") {
		if (e.m.Command.(*message.Beat).Epoch == message.NoEpoch) != o.Plain || e.m.Session == a.ID() && (e.m.Dest != apps[1].Name().t || e.m.Fanout != 1) {
			t.Errorf("%+v", e.m)
		}
	}
	if err := members[2].Suspend(t.Context()); err != nil {
		t.Error(err)
	}
	x = h.tapes(nil)
	time.Sleep(30 * time.Second)
	if n := count(members[0].ID(), "carol", ""); n != 0 {
		t.Errorf("%d of one that is away", n)
	}
	if err := members[2].Resume(t.Context()); err != nil {
		t.Error(err)
	}
	time.Sleep(30 * time.Second)
	if n := count(members[0].ID(), "carol", "bob"); n < 2 {
		t.Errorf("%d of one that is back", n)
	}
}

func silence(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol")
	begin := time.Now()
	h.linkOf(apps[2]).breaks(true)
	for {
		if p := event[Presence](t, members[0]); p.Name == apps[2].Name() && !p.Online {
			break
		}
	}
	if d := time.Since(begin); d < 20*time.Second || d > 40*time.Second {
		t.Errorf("offline after %v", d)
	}
	publish(t, members[0], "without her")
	receives(t, members[1], apps[0], "without her")
	h.linkOf(apps[2]).breaks(false)
	for {
		if p := event[Presence](t, members[0]); p.Name == apps[2].Name() && p.Online {
			break
		}
	}
	time.Sleep(20 * time.Second)
	publish(t, members[0], "with her")
	for {
		m, err := members[2].Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Data) == "with her" {
			break
		}
	}
}

var checklistOfSenders = []item{
	{"ids are 1, 2 and so on", eachWay(idsInOrder)},
	{"who does not acknowledge is named", TestNotDelivered},
	{"a message is delivered when the last of several has it, and repeated to those who have not", eachWay(partOfAcks)},
	{"who is removed or goes offline is waited for no more", eachWay(waitedForNoMore)},
	{"a request for a message is answered: with it, or that it is gone", eachWay(requestsAreAnswered)},
	{"what is published before somebody is there comes to the first", eachWay(nobodyThere)},
	{"messages to one have ids apart, are acknowledged and repeated, and to nobody is an error", eachWay(messagesToOne)},
	{"a message to the other one of two is one like others", eachWay(messageToTheOther)},
}

func idsInOrder(t *testing.T, h *hub, o SessionOptions) {
	_, members := h.group(o, "alice", "bob", "carol")
	x := h.tapes(nil)
	for i, s := range members[:2] {
		publish(t, s, numbered("text", 5)...)
		list := x.of(message.Msg, []string{"alice", "bob"}[i], "carol")
		if len(list) != 5 {
			t.Fatalf("%d messages", len(list))
		}
		for k, e := range list {
			if e.m.ID != uint32(k+1) || e.m.Fanout != 256 {
				t.Errorf("%+v", e.m)
			}
		}
	}
}

func partOfAcks(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol", "dave")
	time.Sleep(time.Second)
	publish(t, members[0], "first")
	lost := 0
	x := h.tapes(func(from, _ string, m *message.Message) *message.Message {
		if m.Type == message.MsgAck && from == "dave" && lost < 2 {
			lost++
			return nil
		}
		return m
	})
	begin := time.Now()
	publish(t, members[0], "second")
	if d := time.Since(begin); d < 2*time.Second || d > 2100*time.Millisecond {
		t.Errorf("delivered after %v", d)
	}
	for _, name := range []string{"bob", "carol"} {
		x.only(t, message.Msg, "alice", name)
	}
	list := x.of(message.Msg, "alice", "dave")
	if len(list) != 3 || list[1].m.Dest != apps[3].Name().t || list[1].m.ID != list[0].m.ID || list[1].m.Fanout != 256 || list[2].m.Identity == list[0].m.Identity {
		t.Errorf("%d times to dave", len(list))
	}
	if !o.Plain && len(list) > 1 && string(list[0].m.Blob) == string(list[1].m.Blob) {
		t.Error("the same ciphertext")
	}
	receives(t, members[3], apps[0], "first", "second")
	h.cuts(nil)
}

func waitedForNoMore(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol", "dave")
	for i, goes := range []func(){
		func() { _ = members[0].Remove(t.Context(), apps[3].Name()) },
		func() { _ = members[2].Suspend(t.Context()) },
	} {
		who := 3 - i
		h.tapes(func(from, _ string, m *message.Message) *message.Message {
			if m.Type == message.MsgAck && from == apps[who].Name().Parts()[2] {
				return nil
			}
			return m
		})
		d := say(t, members[0], "hello")
		time.Sleep(500 * time.Millisecond)
		begin := time.Now()
		goes()
		var missing *NotDelivered
		if err := d.Wait(t.Context()); !errors.As(err, &missing) || len(missing.Missing) != 1 || missing.Missing[0] != apps[who].Name() {
			t.Errorf("%d: %v", who, err)
		}
		if took := time.Since(begin); took > 200*time.Millisecond {
			t.Errorf("%d: after %v", who, took)
		}
		h.cuts(nil)
	}
	publish(t, members[0], "to bob")
}

func requestsAreAnswered(t *testing.T, h *hub, o SessionOptions) {
	alice, bob, a, b := h.pair(o)
	publish(t, a, "one")
	x := h.tapes(func(_, to string, m *message.Message) *message.Message {
		if m.Type == message.Msg && m.ID == 2 {
			return nil
		}
		return m
	})
	d := say(t, a, "two")
	publish(t, a, "three") // so that bob finds the gap
	if err := d.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	receives(t, b, alice, "one", "two", "three")
	if r := x.only(t, message.RtxReply, "alice", "bob"); r.ID != 2 || r.Failed {
		t.Errorf("%+v", r)
	}
	for _, id := range []uint32{1, 2, 99} { // acknowledged, or never said
		m := &message.Message{Source: bob.Name().t, Dest: alice.Name().t, Fanout: 1, TTL: 8, Kind: message.PointToPoint, Type: message.RtxRequest, Session: a.ID(), ID: id}
		h.tells(alice, m)
		list := x.of(message.RtxReply, "alice", "bob")
		if r := list[len(list)-1].m; r.ID != id || !r.Failed || r.Fanout != 1 {
			t.Errorf("%d: %+v", id, r)
		}
	}
	h.cuts(nil)
	publish(t, a, "four")
	receives(t, b, alice, "four")
}

func nobodyThere(t *testing.T, h *hub, o SessionOptions) {
	alice, bob := h.app("alice"), h.app("bob")
	g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), o)
	if err != nil {
		t.Fatal(err)
	}
	var all []*Delivery
	for _, text := range numbered("early", 5) {
		all = append(all, say(t, g, text))
	}
	time.Sleep(time.Minute)
	l := listen(t, bob)
	if err := g.Invite(t.Context(), bob.Name()); err != nil {
		t.Fatal(err)
	}
	receives(t, accept(t, l), alice, numbered("early", 5)...)
	for _, d := range all {
		if err := d.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func messagesToOne(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol")
	lost := 0
	x := h.tapes(func(_, _ string, m *message.Message) *message.Message {
		if m.Type == message.Msg && m.ID >= 1<<31 && lost == 0 {
			lost++
			return nil
		}
		return m
	})
	for i := range 4 {
		d, err := members[0].PublishTo(t.Context(), apps[1].Name(), Text(fmt.Sprint("to one ", i)))
		if err != nil {
			t.Fatal(err)
		}
		all := say(t, members[0], fmt.Sprint("to all ", i))
		for _, d := range []*Delivery{d, all} {
			if err := d.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	for _, e := range x.of(message.Msg, "", "") {
		if direct := e.m.ID >= 1<<31; direct != (e.m.Metadata[message.KeyPublishTo] != "") || direct && (e.to != "bob" || e.m.Dest != apps[1].Name().t) {
			t.Errorf("%s: %+v", e.to, e.m)
		}
	}
	receives(t, members[2], apps[0], numbered("to all", 4)...)
	direct := 0
	for range 8 {
		m, err := members[1].Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m.Direct {
			direct++
		}
	}
	if direct != 4 || members[2].unread() != 0 {
		t.Errorf("%d to one", direct)
	}
	if d, err := members[0].PublishTo(t.Context(), MustName("org/ns/dave"), Text("x")); err != nil || d.Wait(t.Context()) != ErrNotMember {
		t.Errorf("to nobody: %v, %v", err, d.Err())
	}
	h.cuts(nil)
}

func messageToTheOther(t *testing.T, h *hub, o SessionOptions) {
	alice, bob, a, b := h.pair(o)
	foreign := h.app("bob").Name() // another instance
	x := h.tapes(nil)
	publish(t, a, "one")
	d, err := a.PublishTo(t.Context(), bob.Name(), Text("two"))
	if err != nil || d.Wait(t.Context()) != nil {
		t.Fatal(err, d.Err())
	}
	receives(t, b, alice, "one", "two")
	for _, s := range []*Session{a, b} {
		for _, to := range []Name{MustName("org/ns/carol"), foreign} {
			if d, err := s.PublishTo(t.Context(), to, Text("not for you")); err != nil || d.Wait(t.Context()) != ErrNotMember {
				t.Errorf("to %v, who is not in it: %v, %v", to, err, d.Err())
			}
		}
	}
	list := x.of(message.Msg, "alice", "bob")
	if len(list) != 2 || list[1].m.ID != 2 || list[1].m.Metadata[message.KeyPublishTo] != "" {
		t.Errorf("%+v", list)
	}
}

var checklistOfReceivers = []item{
	{"a gap that nobody fills is told of, and what waited for it comes", eachWay(gapThatStays)},
	{"a gap whose message is gone is told of", eachWay(gapThatIsGone)},
	{"who is removed is asked for nothing more", eachWay(askedForNothing)},
	{"messages to one do not wait for a gap", eachWay(besideAGap)},
}

// gapThatStays: a message and the answers to requests for it get lost.
func gapThatStays(t *testing.T, h *hub, o SessionOptions) {
	alice, _, a, b := h.pair(o)
	publish(t, a, "one")
	x := h.tapes(func(_, _ string, m *message.Message) *message.Message {
		if m.Type != message.MsgAck && m.Type != message.RtxRequest && !m.Type.Control() && m.ID == 2 {
			return nil
		}
		return m
	})
	for _, text := range []string{"two", "three", "four"} {
		say(t, a, text)
	}
	receives(t, b, alice, "one")
	l := event[Lost](t, b)
	if l.First != 2 || l.Last != 2 || l.From != alice.Name() {
		t.Errorf("%+v", l)
	}
	receives(t, b, alice, "three", "four")
	if n := len(x.of(message.RtxRequest, "bob", "alice")); n != 11 {
		t.Errorf("asked %d times", n)
	}
	h.cuts(nil)
	time.Sleep(time.Minute)
	publish(t, a, "five")
	receives(t, b, alice, "five")
}

func gapThatIsGone(t *testing.T, h *hub, o SessionOptions) {
	alice, _, a, b := h.pair(o)
	publish(t, a, "one")
	h.tapes(func(_, _ string, m *message.Message) *message.Message {
		if m.Type == message.Msg && m.ID == 2 {
			return nil
		}
		if m.Type == message.RtxReply {
			m.Failed = true
			if o.Plain {
				m.Blob = nil
			}
		}
		return m
	})
	say(t, a, "two")
	publish(t, a, "three")
	receives(t, b, alice, "one")
	if l := event[Lost](t, b); l.First != 2 || l.Last != 2 {
		t.Errorf("%+v", l)
	}
	receives(t, b, alice, "three")
	if n := len(offline(b)); n != 0 {
		t.Error("it is offline")
	}
	h.cuts(nil)
}

func askedForNothing(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol")
	publish(t, members[1], "one")
	x := h.tapes(func(_, to string, m *message.Message) *message.Message {
		if (m.Type == message.Msg || m.Type == message.RtxReply) && m.ID == 2 && to == "carol" {
			return nil
		}
		return m
	})
	say(t, members[1], "two")
	say(t, members[1], "three")
	time.Sleep(1500 * time.Millisecond)
	if len(x.of(message.RtxRequest, "carol", "bob")) == 0 {
		t.Error("nothing was asked for")
	}
	if err := members[0].Remove(t.Context(), apps[1].Name()); err != nil {
		t.Error(err)
	}
	time.Sleep(100 * time.Millisecond)
	x = h.tapes(nil)
	time.Sleep(time.Minute)
	if n := len(x.of(message.RtxRequest, "carol", "")); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

func besideAGap(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol")
	publish(t, members[0], "one")
	receives(t, members[1], apps[0], "one")
	h.tapes(func(_, to string, m *message.Message) *message.Message {
		if (m.Type == message.Msg || m.Type == message.RtxReply) && m.ID == 2 && to == "bob" {
			return nil
		}
		return m
	})
	say(t, members[0], "two")
	say(t, members[0], "three")
	time.Sleep(100 * time.Millisecond)
	d, err := members[0].PublishTo(t.Context(), apps[1].Name(), Text("now"))
	if err != nil || d.Wait(t.Context()) != nil {
		t.Fatal(err, d.Err())
	}
	receives(t, members[1], apps[0], "now")
	h.cuts(nil)
	receives(t, members[1], apps[0], "two", "three")
}

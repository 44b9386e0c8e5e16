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
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// listener collects what is said, each kind of message once: its type, from whom and to whom, fanout, metadata, and what is particular of its id.
type listener struct{ lines []string }

func listenTo(w *world, data, control wire.NameText) *listener {
	l := new(listener)
	w.tap = func(_ *app, m *message.Message) {
		dest := m.Dest.Str[2]
		switch {
		case m.Dest.Name.IsNull():
			dest += "#any"
		case same(&m.Dest, &data):
			dest = "data"
		case same(&m.Dest, &control):
			dest = "control"
		}
		line := fmt.Sprintf("%v %s -> %s, fanout %d", m.Type, m.Source.Str[2], dest, m.Fanout)
		for _, key := range []string{message.KeyPublishTo, message.KeyLeaving} {
			if v, ok := m.Metadata[key]; ok {
				line += fmt.Sprintf(", %s=%s", key, v)
			}
		}
		if !m.Type.Control() && m.ID >= 1<<31 {
			line += ", high id"
		}
		if m.Failed {
			line += ", error"
		}
		if m.TTL != 8 || m.Session != 7 || m.Type.Control() && (m.ID == 0 || m.Signature == nil) {
			line += fmt.Sprintf(", ttl %d, session %d, id %d, signed %v", m.TTL, m.Session, m.ID, m.Signature != nil)
		}
		if !slices.Contains(l.lines, line) {
			l.lines = append(l.lines, line)
		}
	}
	return l
}

// wants compares what was said with what is to be.
func (l *listener) wants(t *testing.T, what string, want []string) {
	t.Helper()
	got, want := slices.Sorted(slices.Values(l.lines)), slices.Sorted(slices.Values(want))
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("%s: not expected: %s", what, line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("%s: not said: %s", what, line)
		}
	}
}

// Who says what to whom in a group, under which name and with what fanout: peers on other libraries look at each of that.
func TestWhatIsSaidInAGroup(t *testing.T) {
	t.Parallel()
	for _, encrypted := range kinds {
		w := newWorld(t, 20, "alice", "bob", "carol", "dave")
		w.faults.Duplicate = 0
		alice, bob, carol, dave := w.app("alice"), w.app("bob"), w.app("carol"), w.app("dave")
		dave.self.Receives = false
		alice.moderate(alice.options(message.Group, encrypted, fast), wire.Text("org", "ns", "channel"))
		m := alice.member.(*Moderator)
		l := listenTo(w, m.data, m.control)
		for _, a := range []*app{bob, carol, dave} {
			alice.step(Invite{Name: a.self.Name.WithID(wire.Null, wire.Null), Handle: a.self.Name.Str[2]})
			w.Run(time.Second)
			alice.result(a.self.Name.Str[2])
		}
		alice.publish("to all")
		dave.publish("of one that gets nothing")
		bob.step(PublishTo{carol.self.Name, textOf("to carol"), "to carol"})
		bob.step(PublishTo{dave.self.Name, textOf("to dave"), "to dave"})
		w.Run(15 * time.Second) // heartbeats are among it
		for a, texts := range map[*app][]string{alice: {"to all"}, bob: {"to carol"}, dave: {"of one that gets nothing"}} {
			for _, text := range texts {
				a.result(text)
			}
		}
		if err := bob.results["to dave"]; err == nil {
			t.Error("what was for dave, who gets nothing, is delivered")
		}
		w.reach = func(_, to *app) bool { return to != carol }
		alice.publish("without carol")
		w.Run(300 * time.Millisecond)
		w.reach = func(_, _ *app) bool { return true }
		w.Run(time.Second)
		alice.result("without carol")
		carol.asks(alice, 1)
		w.Run(time.Second)
		bob.step(Suspend{"away"})
		w.Run(time.Second)
		bob.step(Resume{"back"})
		w.Run(time.Second)
		alice.step(Remove{Name: carol.self.Name.WithID(wire.Null, wire.Null), Handle: "remove"})
		w.Run(5 * time.Second)
		bob.step(Leave{"leave"})
		w.Run(5 * time.Second)
		alice.step(Leave{"close"})
		w.Run(5 * time.Second)
		for _, h := range []string{"remove", "close"} {
			alice.result(h)
		}
		bob.result("leave")
		want := []string{
			"msg alice -> data, fanout 256", "msg dave -> data, fanout 256", "msg alice -> carol, fanout 256",
			"msg bob -> carol, fanout 1, PUBLISH_TO=TRUE, high id", "msg_ack carol -> bob, fanout 1, PUBLISH_TO=TRUE, high id",
			"msg_ack bob -> alice, fanout 1", "msg_ack carol -> alice, fanout 1",
			"msg_ack alice -> dave, fanout 1", "msg_ack bob -> dave, fanout 1", "msg_ack carol -> dave, fanout 1",
			"rtx_reply alice -> carol, fanout 1, error",
			"update_participant_state bob -> control, fanout 256", "group_close alice -> control, fanout 256",
			"group_update alice -> control, fanout 256",
			"group_ack alice -> bob, fanout 1", "group_ack carol -> bob, fanout 1", "group_ack dave -> bob, fanout 1",
			"group_ack dave -> alice, fanout 1", "group_ack carol -> alice, fanout 1", "group_ack bob -> alice, fanout 1",
			"leave_request alice -> carol, fanout 1", "leave_reply carol -> alice, fanout 1",
			"leave_request bob -> alice, fanout 1, LEAVING_SESSION=TRUE", "leave_reply alice -> bob, fanout 1",
		}
		for _, a := range []string{"bob", "carol", "dave"} {
			want = append(want, "discovery_request alice -> "+a+"#any, fanout 1", "discovery_reply "+a+" -> alice, fanout 1",
				"join_request alice -> "+a+", fanout 1", "join_reply "+a+" -> alice, fanout 1", "group_welcome alice -> "+a+", fanout 1")
		}
		for _, a := range []string{"alice", "bob", "carol", "dave"} {
			want = append(want, "heartbeat "+a+" -> control, fanout 256")
		}
		l.wants(t, fmt.Sprint("encrypted ", encrypted), want)
		if t.Failed() {
			t.Fatalf("%v\n%v", strings.Join(l.lines, "\n"), alice.notices)
		}
	}
}

// And in a session of two: there is no channel, and the end is told under the name without an id.
func TestWhatIsSaidByTwo(t *testing.T) {
	for _, encrypted := range kinds {
		alice, bob := pair(t, encrypted)
		alice.w.faults.Jitter = 0
		l := listenTo(alice.w, wire.NameText{}, wire.NameText{})
		alice.publish("there")
		bob.publish("back")
		alice.step(PublishTo{bob.self.Name, textOf("apart"), "apart"})
		alice.w.Run(25 * time.Second)
		alice.step(Leave{"close"})
		alice.w.Run(5 * time.Second)
		for _, h := range []string{"there", "apart", "close"} {
			alice.result(h)
		}
		l.wants(t, fmt.Sprint("encrypted ", encrypted), []string{
			"msg alice -> bob, fanout 1", "msg bob -> alice, fanout 1", "msg_ack alice -> bob, fanout 1", "msg_ack bob -> alice, fanout 1",
			"heartbeat alice -> bob, fanout 1", "heartbeat bob -> alice, fanout 1",
			"group_close alice -> bob#any, fanout 256", "group_ack bob -> alice, fanout 1",
		})
	}
}

// A member that says something to all in the second half of an interval needs no heartbeat. It sends one anyway where somebody is back who was taken
// for offline, so that epochs can be compared, and where nobody is there.
func TestHeartbeatsInTheSteadOfNothing(t *testing.T) {
	t.Parallel()
	w := newGroup(t, 21, true, 0, "alice", "bob", "carol")
	w.faults.Duplicate = 0
	alice, bob := w.app("alice"), w.app("bob")
	beats := 0
	w.tap = func(from *app, m *message.Message) {
		if from == alice && m.Type == message.Heartbeat {
			beats++
		}
	}
	const ticks = 6
	w.Run(ticks * beatInterval)
	if beats != ticks {
		t.Errorf("%d heartbeats in %d intervals in which nothing was said", beats, ticks)
	}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{beatInterval/2 + time.Second, 0}, {beatInterval/2 - time.Second, ticks}} {
		w.Run(alice.member.(*Moderator).beat.next.Sub(w.Now) + time.Millisecond) // an interval begins
		beats = 0
		for range ticks {
			w.Run(c.after)
			m := alice.member.(*Moderator)
			m.now = w.Now
			msg := m.all(message.UpdateState, &message.State{Participant: alice.self.Name, Epoch: m.mls.epoch()})
			msg.ID = m.newID()
			m.put(msg)
			alice.apply()
			w.Run(beatInterval - c.after)
		}
		if beats != c.want {
			t.Errorf("%d heartbeats in %d intervals %v after whose beginning something was said to all, want %d", beats, ticks, c.after, c.want)
		}
	}
	m := alice.member.(*Moderator)
	beats = 0
	w.reach = func(from, to *app) bool { return from != bob || to != alice }
	m.present(&bob.self.Name, false)
	for range ticks {
		msg := m.all(message.UpdateState, &message.State{Participant: alice.self.Name, Epoch: m.mls.epoch()})
		msg.ID = m.newID()
		m.put(msg)
		alice.apply()
		bob.forge(t, alice, message.Message{Type: message.Heartbeat, Command: &message.Beat{Epoch: 999}})
		w.Run(beatInterval)
	}
	if beats != ticks {
		t.Errorf("%d heartbeats in %d intervals, and one that is taken for offline, in another epoch, was there", beats, ticks)
	}
	beats = 0
	m.present(&w.app("carol").self.Name, false)
	w.reach = func(_, to *app) bool { return to != alice }
	for range ticks {
		msg := m.all(message.UpdateState, &message.State{Participant: alice.self.Name, Epoch: m.mls.epoch()})
		msg.ID = m.newID()
		m.put(msg)
		alice.apply()
		w.Run(beatInterval)
	}
	if beats != ticks {
		t.Errorf("%d heartbeats in %d intervals, and nobody was online", beats, ticks)
	}
}

// What nobody answers is said as often as the session says, and fails an interval after that.
func TestRepeatsOfControlMessages(t *testing.T) {
	w := newWorld(t, 22, "alice", "bob")
	alice := w.app("alice")
	o := alice.options(message.Group, false, fast)
	o.Control = reliable.Options{Interval: time.Second, Retries: 5}
	alice.moderate(o, wire.Text("org", "ns", "channel"))
	n := 0
	w.reach = func(_, _ *app) bool { return false }
	w.tap = func(_ *app, m *message.Message) {
		if m.Type == message.DiscoveryRequest {
			n++
		}
	}
	alice.step(Invite{Name: w.app("bob").self.Name, Handle: "bob"})
	w.Run(5900 * time.Millisecond)
	if _, over := alice.results["bob"]; over || n != 6 {
		t.Errorf("said %d times in 5.9 s, over %v", n, over)
	}
	w.Run(200 * time.Millisecond)
	if err := alice.results["bob"]; n != 6 || !errors.Is(err, ErrNoAnswer) {
		t.Errorf("said %d times, in the end %v", n, err)
	}
}

// Ids of control messages are drawn: zero, which peers refuse, is none of them, nor is one that waits for an answer.
func TestDrawnIDs(t *testing.T) {
	w := newWorld(t, 23, "alice", "bob")
	alice := w.app("alice")
	o := alice.options(message.Group, true, fast)
	drawn := []uint32{1, 0, 0, 7, 7, 8} // the first is the tag of the stream
	o.Random = func() uint32 {
		if len(drawn) == 0 {
			return w.r.Uint32()
		}
		id := drawn[0]
		drawn = drawn[1:]
		return id
	}
	alice.moderate(o, wire.Text("org", "ns", "channel"))
	m := alice.member.(*Moderator)
	m.ask(m.message(message.LeaveRequest, w.app("bob").self.Name, nil), []wire.NameText{w.app("bob").self.Name}, func([]wire.NameText) {})
	if first, second := m.asks[0].message.ID, m.newID(); first != 7 || second != 8 {
		t.Errorf("ids %d and %d, want 7 and 8", first, second)
	}
}

// forge has a member say m as no honest one would: signed, or encrypted, by itself, whatever it says of its source.
func (a *app) forge(t *testing.T, to *app, m message.Message) {
	t.Helper()
	if m.Source == (wire.NameText{}) {
		m.Source = a.self.Name
	}
	if m.ID == 0 {
		m.ID = a.w.r.Uint32()
	}
	m.Dest, m.Fanout, m.TTL, m.Session, m.Identity, m.Version = to.self.Name, 1, 8, 7, a.self.Token(a.w.Now), a.self.Version
	if m.Kind == 0 {
		m.Kind = message.Group
	}
	if m.Type.Control() {
		if m.Command == nil {
			e := message.Empty(m.Type)
			m.Command = &e
		}
		if err := a.self.Key.Sign(&m); err != nil {
			t.Fatal(err)
		}
	} else if c := a.core(); c != nil && c.mls != nil && (m.Type == message.Msg || m.Type == message.RtxReply) {
		var err error
		if m.Blob, err = c.mls.protect(&m); err != nil {
			t.Fatal(err)
		}
	}
	to.hear(m.Append(nil))
}

func (a *app) core() *core {
	switch m := a.member.(type) {
	case *Moderator:
		return &m.core
	case *Participant:
		return &m.core
	}
	return nil
}

// refused wants the last notice to be that a message was refused, or not looked at, for this reason.
func (a *app) refused(t *testing.T, what string, why error) {
	t.Helper()
	for _, n := range a.notices {
		if strings.HasSuffix(n, why.Error()) {
			a.notices = nil
			return
		}
	}
	t.Errorf("%s: it was not refused because %q: %v", what, why, a.notices)
}

// Members that say what others are to say are not believed, and change nothing.
func TestForgedByMembers(t *testing.T) {
	t.Parallel()
	for _, encrypted := range kinds {
		w := newGroup(t, 24, encrypted, 0, "alice", "bob", "carol", "dave")
		w.faults.Duplicate = 0
		alice, bob, carol, dave := w.app("alice"), w.app("bob"), w.app("carol"), w.app("dave")
		for _, a := range w.apps {
			a.notices = nil
		}
		settled := func(what string) {
			t.Helper()
			w.Run(time.Second)
			for _, a := range w.apps {
				if got := a.roster(); got != "alice bob carol dave" || a.ended {
					t.Fatalf("%s: %s knows %s, its session is over %v (%v)", what, a.self.Name.Str[2], got, a.ended, a.why)
				}
			}
		}
		roster := []message.Participant{bob.self.participant(), dave.self.participant()}
		moderators := map[string]message.Message{
			"a removal":       {Type: message.GroupUpdate, Command: &message.Update{Op: message.OpRemove, Participant: carol.self.participant(), Roster: roster}},
			"an end":          {Type: message.GroupClose, Command: &message.Close{}},
			"an eviction":     {Type: message.LeaveRequest},
			"a welcome":       {Type: message.GroupWelcome, Command: &message.Welcome{Roster: roster}},
			"an invitation":   {Type: message.JoinRequest, Command: &message.Join{}},
			"a return":        {Type: message.RejoinReply, Command: &message.Rejoined{}},
			"an answer to it": {Type: message.LeaveReply},
		}
		for what, m := range moderators {
			bob.forge(t, carol, m)
			want := errNotModer
			if m.Type == message.RejoinReply || m.Type == message.LeaveReply {
				want = errUnexpected
			}
			carol.refused(t, what, want)
			settled(what)
			m.Source = alice.self.Name
			bob.forge(t, carol, m)
			if m.Type != message.RejoinReply && m.Type != message.LeaveReply {
				want = errForeignID
			}
			carol.refused(t, what+" under alice's name", want)
			settled(what)
		}
		bob.forge(t, alice, message.Message{Type: message.LeaveRequest})
		alice.refused(t, "leaves, and does not say so", errUnexpected)
		settled("leaves, and does not say so")
		bob.forge(t, alice, message.Message{Type: message.UpdateState, Command: &message.State{Participant: carol.self.Name, Offline: true}})
		alice.refused(t, "carol's state, by bob", errNotModer)
		settled("carol's state")
		kp := make([]byte, 8)
		bob.forge(t, alice, message.Message{Type: message.RejoinRequest, Command: &message.Rejoin{Participant: carol.self.Name, KeyPackage: kp}})
		if encrypted {
			alice.refused(t, "carol's return, by bob", errNotModer)
		} else {
			alice.refused(t, "carol's return, by bob", errNoMLS)
		}
		settled("carol's return")

		// Data of others: the key tells whose it is, where there is one.
		bob.forge(t, alice, message.Message{Type: message.Msg, ID: 1, Source: carol.self.Name, Blob: []byte("forged")})
		if encrypted {
			alice.refused(t, "carol's data, by bob", errWrongLeaf)
			if got := alice.got["carol"]; len(got) > 0 {
				t.Errorf("alice has got %q of carol", got)
			}
		}
		m := message.Message{Type: message.Msg, ID: 1, Blob: []byte("text"), Metadata: map[string]string{
			message.KeyPeerSubject: "somebody", "k": "v", keyFirst: "1 5",
		}}
		var md map[string]string
		carol.member.Step(&Inbound{Message: sealed(t, bob, carol, m), At: w.Now}, w.Now)
		for _, o := range carol.member.Take() {
			if d, ok := o.(Deliver); ok {
				md = d.Received.Payload.Metadata
			}
		}
		if len(md) != 1 || md["k"] != "v" {
			t.Errorf("metadata of data: %v", md)
		}
		changed := sealed(t, bob, carol, message.Message{Type: message.Msg, ID: 2, Blob: []byte("text")})
		changed.PayloadType = "another"
		carol.step(&Inbound{Message: changed, At: w.Now})
		if encrypted {
			carol.refused(t, "a header that was changed", errors.New("authenticated data is other than what came with it (RFC 9420 section 6.3.1)"))
		}
	}
}

// sealed is m as from sends it to one member.
func sealed(t *testing.T, from, to *app, m message.Message) *message.Message {
	t.Helper()
	m.Source, m.Dest, m.Fanout, m.TTL, m.Session, m.Kind = from.self.Name, to.self.Name, 1, 8, 7, message.Group
	m.Identity, m.Version = from.self.Token(from.w.Now), from.self.Version
	if c := from.core(); c.mls != nil {
		var err error
		if m.Blob, err = c.mls.protect(&m); err != nil {
			t.Fatal(err)
		}
	}
	return asSent(t, &m)
}

// Who answers an invitation is who was invited: under its name and id, of the subject that is wanted, and names itself.
func TestForgedAnswers(t *testing.T) {
	t.Parallel()
	type forged struct {
		name  string
		pin   string
		id    bool // the invitation names the instance
		say   func(w *world, asked *message.Message)
		want  error
		fails bool // the invitation does, as the one that was invited has answered
	}
	other := func(w *world) *app { return w.apps[len(w.apps)-1] } // another instance of bob's service
	reply := func(w *world, from *app, asked *message.Message, source wire.NameText) {
		from.forge(w.t, w.app("alice"), message.Message{Type: message.DiscoveryReply, ID: asked.ID, Source: source})
	}
	join := func(w *world, from *app, asked *message.Message, named message.Participant) {
		from.forge(w.t, w.app("alice"), message.Message{Type: message.JoinReply, ID: asked.ID, Command: &message.Joined{Participant: named}})
	}
	for _, c := range []forged{
		{name: "another instance is there", id: true, want: errUnexpected, say: func(w *world, asked *message.Message) {
			if asked.Type == message.DiscoveryRequest {
				reply(w, other(w), asked, other(w).self.Name)
			}
		}},
		{name: "another service is there", want: errUnexpected, say: func(w *world, asked *message.Message) {
			if asked.Type == message.DiscoveryRequest {
				reply(w, w.app("carol"), asked, w.app("carol").self.Name)
			}
		}},
		{name: "bob is there, says carol", want: errForeignID, say: func(w *world, asked *message.Message) {
			if asked.Type == message.DiscoveryRequest {
				reply(w, w.app("carol"), asked, w.app("bob").self.Name)
			}
		}},
		{name: "another instance comes", want: errUnexpected, say: func(w *world, asked *message.Message) {
			if asked.Type == message.JoinRequest {
				join(w, other(w), asked, other(w).self.participant())
			}
		}},
		{name: "bob comes, and names carol", fails: true, want: errUnexpected, say: func(w *world, asked *message.Message) {
			if asked.Type == message.JoinRequest {
				join(w, w.app("bob"), asked, w.app("carol").self.participant())
			}
		}},
		{name: "another subject than the pin", pin: "another", fails: true, want: errors.New(`the pin is "another"`), say: func(*world, *message.Message) {}},
	} {
		for _, encrypted := range kinds {
			w := newWorld(t, 25, "alice", "bob", "carol", "bob")
			w.faults.Duplicate = 0
			alice, bob := w.app("alice"), w.app("bob")
			alice.moderate(alice.options(message.Group, encrypted, fast), wire.Text("org", "ns", "channel"))
			to := bob.self.Name
			if !c.id {
				to = to.WithID(wire.Null, wire.Null)
			}
			w.reach = func(from, _ *app) bool { return from != other(w) } // else it might answer first
			welcome := ""
			w.tap = func(from *app, m *message.Message) {
				if from == alice {
					if m.Type == message.GroupWelcome {
						welcome = m.Dest.Str[2]
					}
					asked := *m
					w.After(time.Millisecond, func() { c.say(w, &asked) })
				}
			}
			alice.step(Invite{Name: to, Pin: c.pin, Handle: "bob"})
			w.Run(30 * time.Second)
			what := fmt.Sprintf("%s, encrypted %v", c.name, encrypted)
			if c.fails {
				if got := alice.roster(); got != "alice" || alice.results["bob"] == nil || welcome != "" {
					t.Errorf("%s: %s, %q was welcome; %v", what, got, welcome, alice.results["bob"])
				}
				if !strings.Contains(strings.Join(alice.notices, ", "), c.want.Error()) {
					t.Errorf("%s: %v", what, alice.notices)
				}
				continue
			}
			if p := alice.member.(*Moderator).roster.find(&bob.self.Name); p == nil || len(alice.member.Roster()) != 2 {
				t.Errorf("%s: alice knows %s; %v", what, alice.roster(), alice.notices)
			}
			alice.result("bob")
			alice.refused(t, what, c.want)
		}
	}
}

// A control message that comes again is answered as before, and does nothing again.
func TestSaidAgain(t *testing.T) {
	for _, encrypted := range kinds {
		w := newGroup(t, 26, encrypted, 0, "alice", "bob", "carol")
		w.faults.Duplicate = 0
		bob, carol := w.app("bob"), w.app("carol")
		state := message.Message{Type: message.UpdateState, ID: 5, Command: &message.State{Participant: bob.self.Name, Offline: true}}
		acks := 0
		w.tap = func(from *app, m *message.Message) {
			if from == carol && m.Type == message.GroupAck && m.ID == 5 {
				acks++
			}
		}
		bob.forge(t, carol, state)
		if got := carol.roster(); got != "alice bob (offline) carol" || acks != 1 {
			t.Errorf("encrypted %v: %s, %d acknowledgements", encrypted, got, acks)
		}
		epoch := carol.core().mls.epoch()
		bob.forge(t, carol, message.Message{Type: message.UpdateState, ID: 6, Command: &message.State{Participant: bob.self.Name, Epoch: epoch}})
		bob.forge(t, carol, state)
		if got := carol.roster(); got != "alice bob carol" || acks != 2 {
			t.Errorf("encrypted %v, again: %s, %d acknowledgements", encrypted, got, acks)
		}
	}
}

// Who does not acknowledge a change is offline from then on, and the change is made.
func TestWhoDoesNotAcknowledge(t *testing.T) {
	t.Parallel()
	for _, encrypted := range kinds {
		w := newGroup(t, 27, encrypted, 0, "alice", "bob", "carol", "dave")
		alice, bob := w.app("alice"), w.app("bob")
		alice.notices = nil
		w.reach = func(_, to *app) bool { return to != bob }
		alice.step(Remove{Name: w.app("dave").self.Name, Handle: "remove"})
		w.Run(8 * time.Second) // heartbeats do not say it yet
		alice.result("remove")
		if got := alice.roster(); got != "alice bob (offline) carol" {
			t.Errorf("encrypted %v: %s; %v", encrypted, got, alice.notices)
		}
	}
}

// Who was invited waits for its welcome as long as the moderator may say it, and no longer; it subscribes before it says that it is in.
func TestWelcomes(t *testing.T) {
	for _, encrypted := range kinds {
		w := newWorld(t, 28, "alice", "bob")
		w.faults.Duplicate = 0
		alice, bob := w.app("alice"), w.app("bob")
		o := alice.options(message.Group, encrypted, fast)
		o.Control = reliable.Options{Interval: time.Second, Retries: 3}
		alice.moderate(o, wire.Text("org", "ns", "channel"))
		names := 0
		w.tap = func(from *app, m *message.Message) {
			if from == bob && m.Type == message.GroupAck {
				names = len(bob.names)
			}
		}
		welcomes := true
		w.reach = func(_, to *app) bool { return to != bob || welcomes }
		alice.step(Invite{Name: bob.self.Name, Handle: "bob"})
		w.Run(5 * time.Second)
		alice.result("bob")
		if names != 3 {
			t.Errorf("encrypted %v: bob says that it is in with %d names of 3", encrypted, names)
		}

		w = newWorld(t, 29, "alice", "bob")
		alice, bob = w.app("alice"), w.app("bob")
		alice.moderate(o.withoutMLS(alice), wire.Text("org", "ns", "channel"))
		w.tap = func(from *app, m *message.Message) {
			if from == bob && m.Type == message.JoinReply {
				w.reach = func(_, to *app) bool { return to != bob }
			}
		}
		alice.step(Invite{Name: bob.self.Name, Handle: "bob"})
		w.Run(5 * time.Minute)
		if !bob.ended || bob.why != ErrNoWelcome || bob.open {
			t.Errorf("bob, who gets no welcome: over %v, %v, open %v", bob.ended, bob.why, bob.open)
		}
	}
}

// withoutMLS is o for another app.
func (o Options) withoutMLS(a *app) Options {
	o.Self, o.MLS, o.Random = a.self, nil, a.w.r.Uint32
	return o
}

// A foreign id is not that of a subject, whoever shows the token: also of those who only look for this app.
func TestDiscoveredByOthers(t *testing.T) {
	w := newWorld(t, 30, "alice", "bob", "carol")
	alice, bob, carol := w.app("alice"), w.app("bob"), w.app("carol")
	for _, c := range []struct {
		name   string
		source wire.NameText
		signed func(m *message.Message)
		strict bool
		want   error
	}{
		{name: "honest", source: alice.self.Name},
		{name: "another's name", source: carol.self.Name, want: errForeignID},
		{name: "an id of nobody", source: identity.Name(wire.Text("org", "ns", "alice"), "nobody"), want: errForeignID},
		{name: "changed", source: alice.self.Name, signed: func(m *message.Message) { m.ID++ }, want: identity.ErrHeaderSignature},
		{name: "no payload signature", source: alice.self.Name, signed: func(m *message.Message) { delete(m.Metadata, message.KeyPayloadSignature) }},
		{name: "no payload signature, and it must", source: alice.self.Name, strict: true, want: errUnsigned,
			signed: func(m *message.Message) { delete(m.Metadata, message.KeyPayloadSignature) }},
	} {
		e := message.Empty(message.DiscoveryRequest)
		m := message.Message{
			Source: c.source, Dest: bob.self.Name.WithID(wire.Null, wire.Null), Fanout: 1, TTL: 8, Kind: message.Group, Type: message.DiscoveryRequest,
			Session: 7, ID: 9, Identity: alice.self.Token(w.Now), Command: &e,
		}
		if err := alice.self.Key.Sign(&m); err != nil {
			t.Fatal(err)
		}
		if c.signed != nil {
			c.signed(&m)
		}
		in := Inbound{Message: asSent(t, &m), At: w.Now}
		in.Claims, _ = alice.secret.Verify(m.Identity, w.Now)
		r, _, err := Answer(bob.self, &in, m.Dest, c.strict)
		if !errors.Is(err, c.want) || (r == nil) != (c.want != nil) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if r != nil && (r.ID != 9 || r.Session != 7 || !same(&r.Source, &bob.self.Name) || !same(&r.Dest, &c.source) || r.Fanout != 1) {
			t.Errorf("%s: answer %+v", c.name, r)
		}
	}
}

// A change that was made before is acknowledged once more, also under another id, and one that is ahead may come again when what is missing
// has come.
func TestChangesOutOfOrder(t *testing.T) {
	t.Parallel()
	w := newGroup(t, 31, true, 0, "alice", "bob", "carol", "dave", "erin")
	w.faults.Duplicate, w.faults.Jitter = 0, 0
	alice, bob := w.app("alice"), w.app("bob")
	var changes []message.Message
	answers := map[message.Type]int{}
	w.tap = func(from *app, m *message.Message) {
		if u, ok := m.Command.(*message.Update); ok {
			own := *m
			command := *u
			own.Command = &command
			changes = append(changes, own)
		}
		if from == bob {
			answers[m.Type]++
		}
	}
	w.reach = func(_, to *app) bool { return to != bob }
	for _, name := range []string{"dave", "carol"} {
		alice.step(Remove{Name: wire.Text("org", "ns", name), Handle: name})
		w.Run(100 * time.Millisecond)
	}
	w.Run(10 * time.Second)
	w.reach = func(_, _ *app) bool { return false }
	numbers := map[uint32]message.Message{}
	for _, m := range changes {
		numbers[m.Command.(*message.Update).MLS.Commit] = m
	}
	at := bob.core().mls.commit
	first, ahead := numbers[at+1], numbers[at+2]
	if first.Command == nil || ahead.Command == nil {
		t.Fatalf("changes %v of bob, who has followed %d", numbers, at)
	}
	bob.notices = nil
	say := func(m message.Message) {
		t.Helper()
		m.Metadata = map[string]string{}
		m.Identity = alice.self.Token(w.Now)
		if err := alice.self.Key.Sign(&m); err != nil {
			t.Fatal(err)
		}
		bob.hear(m.Append(nil))
	}
	say(ahead)
	bob.refused(t, "ahead", errGap)
	say(first)
	say(ahead)
	if got, want := answers[message.GroupAck], 2; got != want || bob.core().mls.commit != at+2 {
		t.Errorf("%d acknowledgements, and bob has followed %d, want %d and %d; %v", got, bob.core().mls.commit, want, at+2, bob.notices)
	}
	first.ID++
	say(first)
	if got, want := answers[message.GroupAck], 3; got != want {
		t.Errorf("again under another id: %d acknowledgements, want %d; %v", got, want, bob.notices)
	}
}

// Who declines says so to those who understand it. Others would take that for a yes.
func TestDeclinedToOthers(t *testing.T) {
	w := newWorld(t, 32, "alice", "bob")
	alice, bob := w.app("alice"), w.app("bob")
	for version, told := range map[string]bool{Product + " 1": true, "3.4.6": false, "": false} {
		in := Inbound{At: w.Now, Claims: &identity.Claims{Subject: alice.self.Subject}, Message: &message.Message{
			Source: alice.self.Name, Dest: bob.self.Name, Kind: message.Group, Type: message.JoinRequest, Session: 7, ID: 9, Version: version,
		}}
		if r := Decline(bob.self, &in, "not today"); (r != nil) != told {
			t.Errorf("version %q: %v", version, r)
		}
	}
}

// The other one of a session of two may be offline for as long as Options.Patience. What this member is without a connection does not count, and
// after that it begins anew.
func TestPatience(t *testing.T) {
	alice, _ := pair(t, false)
	w := alice.w
	alice.core().o.Patience = time.Minute
	w.reach = func(_, _ *app) bool { return false }
	over := func(want bool, when string) {
		t.Helper()
		if alice.ended != want || want && alice.why != ErrPeerGone {
			t.Errorf("%s: over %v, %v, want %v", when, alice.ended, alice.why, want)
		}
	}
	w.Run(40 * time.Second) // by now bob is offline
	alice.step(Disconnected{})
	w.Run(10 * time.Minute)
	over(false, "without a connection")
	alice.step(Reconnected{})
	w.Run(59 * time.Second)
	over(false, "after 59 s")
	w.Run(2 * time.Second)
	over(true, "after 61 s")
}

// A member asks for a new epoch once in ten seconds at most, whoever makes it believe that it needs one (P-ses-3).
func TestRenewals(t *testing.T) {
	w := newGroup(t, 33, true, 0, "alice", "bob", "carol")
	c := w.app("bob").core()
	n := 0
	c.renew = func() { n++ }
	lost := &mls.Error{Kind: mls.Limit, Section: "9.1"}
	for _, s := range []struct {
		after time.Duration
		err   error
		want  int
	}{
		{0, &mls.Error{Kind: mls.Limit, Section: "6"}, 0}, {0, &mls.Error{Kind: mls.Replayed, Section: "9.2"}, 0}, {0, errors.New("another reason"), 0},
		{0, fmt.Errorf("around it: %w", lost), 1}, {9 * time.Second, lost, 1}, {time.Second, lost, 2},
	} {
		c.now = c.now.Add(s.after)
		if c.lostTrack(s.err); n != s.want {
			t.Errorf("after %v, %v: asked %d times, want %d", s.after, s.err, n, s.want)
		}
	}
}

// A member of a plain group that says that it is back, and hears nothing yet, is told of what it has missed with its next heartbeat: upstream's
// applications drop what comes until all have answered, or are given up, and one may be there no more. Who is told in vain three times
// is offline.
func TestMembersThatAreBackAndDoNotHearYet(t *testing.T) {
	w := newGroup(t, 9, false, 0, "alice", "bob", "carol")
	alice, bob := w.app("alice"), w.app("bob")
	says := func(typ message.Type, c message.Command) {
		t.Helper()
		m := message.Message{Type: typ, Command: c}
		bob.forge(t, alice, m)
		w.Run(15 * time.Second) // until it is told no more
	}
	bob.step(Suspend{"away"})
	w.Run(time.Second)
	alice.step(Remove{Name: w.app("carol").self.Name, Handle: "remove"})
	w.Run(20 * time.Second)
	alice.result("remove")
	for i, want := range []string{"alice bob", "alice bob", "alice bob (offline)", "alice bob"} {
		if i == 0 {
			says(message.UpdateState, &message.State{Participant: bob.self.Name, Epoch: message.NoEpoch})
		} else {
			says(message.Heartbeat, &message.Beat{Epoch: message.NoEpoch})
		}
		if got := alice.roster(); got != want {
			t.Errorf("after it has been told in vain %d times alice knows %s, want %s: %v", i+1, got, want, alice.notices)
		}
	}
	if got := bob.roster(); got != "alice bob carol" {
		t.Errorf("who hears nothing knows %s", got)
	}
	bob.step(Resume{"back"})
	w.Run(30 * time.Second)
	if got := bob.roster(); got != "alice bob" {
		t.Errorf("who is back knows %s: %v", got, bob.notices)
	}
}

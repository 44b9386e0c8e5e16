package session

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// What others say that is wrong is refused and counted, is an event where the app can do something about it, and costs the other members
// nothing.
func TestBadInput(t *testing.T) {
	t.Parallel()
	runs(t, []item{
		{"another secret", TestWrongSecret},
		{"tokens that have expired", TestExpiredTokensLetNobodyIn},
		{"tokens of others", told(foreignIDs)},
		{"broken signatures", eachWay(brokenSignatures)},
		{"what was said before, of members who have come back", TestLeaveIsNotSaidAgain},
		{"what was said before, of members who stay", eachWay(replays)},
		{"what was said before, beside very many others", TestForeignersDoNotMakeMembersForgotten},
		{"messages for sessions that are not there", told(strays)},
		{"commits out of order", told(commitsOutOfOrder)},
		{"commits of the wrong member", eachWay(onlyTheModerator)},
		{"commits that are none", told(commitsThatAreNone)},
		{"joins that stall", TestJoinerThatStalls},
		{"moderators that vanish", TestModeratorThatVanishes},
		{"moderators that vanish while they invite", TestModeratorThatVanishesWhileItInvites},
		{"bytes that are no message", TestHostileMessages},
		{"payloads that are not what the type says", eachWay(payloadsOfOtherTypes)},
		{"ciphertexts that are none", told(noCiphertexts)},
		{"messages of strangers", eachWay(strangers)},
		{"floods of gaps", eachWay(floodsOfGaps)},
		{"floods of what has not its turn yet", TestMessagesOfEpochsToCome},
	})
}

// refused wants the last to be refused, and an event that says so.
func refused(t *testing.T, s *Session, added Stats, what string, from *App) {
	t.Helper()
	if added != (Stats{Refused: 1}) {
		t.Errorf("%s: %+v", what, added)
		return
	}
	for {
		if r := event[Refused](t, s); r.From == from.Name() && r.Err != nil {
			return
		}
	}
}

func brokenSignatures(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol")
	for kind := message.JoinRequest; kind <= message.RejoinReply; kind++ {
		if kind == message.GroupAck { // counted, and no event: honest members repeat them
			continue
		}
		for what, change := range map[string]func(m *message.Message){
			"header":  func(m *message.Message) { m.Signature[len(m.Signature)-1] ^= 1 },
			"none":    func(m *message.Message) { m.Signature = nil },
			"payload": func(m *message.Message) { m.Metadata["x"] = "added" },
		} {
			m := apps[0].says(t, message.Message{
				Dest: apps[1].Name().t, Kind: message.Group, Type: kind, Session: members[0].ID(), ID: 1000 + uint32(kind), Command: commandOf(kind, apps[0].Name().t),
			})
			m.Signature = bytes.Clone(m.Signature)
			change(m)
			refused(t, members[1], h.tells(apps[1], m), fmt.Sprint(kind, " ", what), apps[0])
		}
	}
	everybodyTalks(t, apps, members)
}

// replays: whatever alice and carol have said is said to bob once more.
func replays(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol")
	x := h.tapes(nil)
	if err := members[2].Suspend(t.Context()); err != nil {
		t.Error(err)
	}
	if err := members[2].Resume(t.Context()); err != nil {
		t.Error(err)
	}
	dave := h.app("dave")
	l := listen(t, dave)
	if err := members[0].Invite(t.Context(), dave.Name()); err != nil {
		t.Fatal(err)
	}
	apps, members = append(apps, dave), append(members, accept(t, l))
	everybodyTalks(t, apps, members)
	time.Sleep(25 * time.Second) // heartbeats
	x.mu.Lock()
	list := x.list
	x.mu.Unlock()
	n := 0
	for _, e := range list {
		if e.to == "bob" && e.m.Type != message.DiscoveryRequest {
			h.tells(apps[1], e.m)
			n++
		}
	}
	if n < 60 {
		t.Errorf("%d messages", n)
	}
	time.Sleep(time.Second)
	for _, s := range members {
		if m := s.unread(); m != 0 || len(offline(s)) != 0 || len(others(s)) != 3 {
			t.Errorf("%v has %d messages, is with %q, takes %q for offline", s.Self(), m, others(s), offline(s))
		}
	}
	everybodyTalks(t, apps, members)
}

// commitsOutOfOrder: the second of two changes comes before the first, and both come again.
func commitsOutOfOrder(t *testing.T, h *hub) {
	apps, members := h.group(SessionOptions{}, "alice", "bob", "carol")
	dave, eve := h.app("dave"), h.app("eve")
	ld, le := listen(t, dave), listen(t, eve)
	x := h.tapes(func(_, to string, m *message.Message) *message.Message {
		if m.Type == message.GroupUpdate && to == "bob" {
			return nil
		}
		return m
	})
	done := make(chan error, 2)
	for _, a := range []*App{dave, eve} {
		go func() { done <- members[0].Invite(t.Context(), a.Name()) }()
	}
	for range 2 {
		if err := <-done; err != nil { // bob is taken for offline
			t.Error(err)
		}
	}
	updates := x.of(message.GroupUpdate, "alice", "bob")
	first, last := updates[0].m, updates[len(updates)-1].m
	if first.ID == last.ID {
		t.Fatal("one update only")
	}
	refused(t, members[1], h.tells(apps[1], last), "the second first", apps[0])
	h.cuts(nil)
	h.tells(apps[1], first)
	h.tells(apps[1], last)
	h.tells(apps[1], first)
	apps, members = append(apps, dave, eve), append(members, accept(t, ld), accept(t, le))
	time.Sleep(time.Minute)
	everybodyTalks(t, apps, members)
}

func commitsThatAreNone(t *testing.T, h *hub) {
	apps, members := h.group(SessionOptions{}, "alice", "bob", "carol")
	epoch, _ := members[1].Epoch()
	for i, content := range [][]byte{nil, []byte("a commit"), bytes.Repeat([]byte{0xff}, 1000), {0, 1, 0, 1}} {
		for j, handshake := range []*message.Handshake{nil, {Commit: 3, Content: content}, {Commit: 0, Content: content}, {Commit: 1 << 31, Content: content}} {
			p := message.Participant{Name: apps[2].Name().t, Sends: true, Receives: true}
			m := apps[0].says(t, message.Message{
				Dest: apps[1].Name().t, Kind: message.Group, Type: message.GroupUpdate, Session: members[0].ID(), ID: uint32(1000 + 10*i + j),
				Command: &message.Update{Op: message.OpRemove, Participant: p, MLS: handshake},
			})
			h.tells(apps[1], m)
		}
	}
	time.Sleep(time.Minute) // bob asks whether it has missed something
	if now, _ := members[1].Epoch(); now < epoch || apps[1].Stats().Refused == 0 {
		t.Errorf("epoch %d, %+v", now, apps[1].Stats())
	}
	event[Refused](t, members[1])
	everybodyTalks(t, apps, members)
}

// payloadsOfOtherTypes: content that belongs to another type, by one who is a member, of which only the type was changed on its way.
func payloadsOfOtherTypes(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol")
	for kind := message.Msg; kind <= message.RejoinReply; kind++ {
		for other := message.Msg; other <= message.RejoinReply; other++ {
			if kind == other || kind == message.DiscoveryRequest || other == message.DiscoveryRequest || !kind.Control() && !other.Control() {
				continue
			}
			m := message.Message{
				Source: apps[2].self.Name, Dest: apps[1].Name().t, Fanout: 1, TTL: 8, Kind: message.Group, Type: other, Session: members[0].ID(),
				ID: 1000 + 100*uint32(kind) + uint32(other), PayloadType: "msg", Blob: []byte("x"), Identity: apps[2].who.token(time.Now()),
			}
			if other.Control() {
				m.Command = commandOf(other, apps[2].Name().t)
				apps[2].signs(t, &m)
			}
			b := m.Append(nil)
			header := []byte{0x08, byte(message.Group), 0x10, byte(other)} // SessionHeader: kind and type
			at := bytes.Index(b, header)
			if at < 0 {
				t.Fatalf("%v: no header", other)
			}
			b[at+3] = byte(kind)
			before := apps[1].Stats()
			h.inject(apps[1], b)
			now := apps[1].Stats()
			if now.Unreadable+now.Refused+now.Unbelieved == before.Unreadable+before.Refused+before.Unbelieved {
				t.Errorf("%v with what belongs to %v is taken", kind, other)
			}
		}
	}
	if n := len(offline(members[1])); n != 0 || len(others(members[1])) != 2 {
		t.Errorf("%d are offline, with %q", n, others(members[1]))
	}
	everybodyTalks(t, apps, members)
}

// noCiphertexts: a member says data that is none, in the right frame and in none.
func noCiphertexts(t *testing.T, h *hub) {
	apps, members := h.group(SessionOptions{}, "alice", "bob", "carol")
	x := h.tapes(nil)
	publish(t, members[2], "first")
	receives(t, members[1], apps[2], "first")
	receives(t, members[0], apps[2], "first")
	real := x.only(t, message.Msg, "carol", "bob")
	for what, blob := range map[string][]byte{
		"nothing": nil, "text": []byte("hello"), "half": real.Blob[:len(real.Blob)/2], "changed": func() []byte {
			b := bytes.Clone(real.Blob)
			b[len(b)-1] ^= 1
			return b
		}(), "the same": real.Blob, "many": bytes.Repeat([]byte{0xff}, 1<<20),
	} {
		m := *real
		m.Blob, m.ID = blob, 2
		refused(t, members[1], h.tells(apps[1], &m), what, apps[2])
	}
	m := *real
	m.PayloadType = "another"
	refused(t, members[1], h.tells(apps[1], &m), "another type", apps[2])
	everybodyTalks(t, apps, members)
}

// strangers know the secret, and are no members.
func strangers(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol")
	mallory := h.app("mallory")
	for kind := message.Msg; kind <= message.RejoinReply; kind++ {
		if kind == message.DiscoveryRequest {
			continue
		}
		for i, to := range apps[:2] {
			m := message.Message{
				Dest: to.Name().t, Kind: message.Group, Type: kind, Session: members[0].ID(), ID: 1000 + uint32(kind), Command: commandOf(kind, mallory.Name().t),
			}
			if kind.Control() {
				m = *mallory.says(t, m)
			} else {
				m.Command, m.Source, m.Fanout, m.TTL, m.Identity, m.Blob = nil, mallory.Name().t, 1, 8, mallory.who.token(time.Now()), []byte("x")
			}
			s := h.tells(to, &m)
			told := i == 0 && s == (Stats{}) // a moderator tells who was a member that it is not
			if !told && s.Refused != 1 {
				t.Errorf("%v to %v: %+v", kind, to.Name(), s)
			}
		}
	}
	for _, s := range members {
		if len(others(s)) != 2 || len(offline(s)) != 0 {
			t.Errorf("%v is with %q, takes %q for offline", s.Self(), others(s), offline(s))
		}
	}
	everybodyTalks(t, apps, members)
}

// floodsOfGaps: ids that run ahead by more than can be asked for. Without MLS anybody says so in the name of a member, and its stream is then
// where that has led; who else is there is heard.
func floodsOfGaps(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol")
	time.Sleep(time.Second)
	publish(t, members[2], "first")
	receives(t, members[1], apps[2], "first")
	receives(t, members[0], apps[2], "first")
	x := h.tapes(nil)
	for i := range 200 {
		h.inject(apps[1], (&message.Message{
			Source: apps[2].Name().t, Dest: members[0].dest.t, Fanout: 256, TTL: 8, Kind: message.Group, Type: message.Msg, Session: members[0].ID(),
			ID: uint32(513 + 512*i), PayloadType: "msg", Blob: []byte("x"), Identity: apps[2].who.token(time.Now()),
		}).Append(nil))
	}
	synctest.Wait()
	if n := len(x.of(message.RtxRequest, "bob", "")); !o.Plain && n != 0 || n > 8*1024 {
		t.Errorf("asked %d times for 200 messages", n)
	}
	if !o.Plain {
		if n := apps[1].Stats().Refused; n != 200 {
			t.Errorf("%d were refused", n)
		}
		event[Refused](t, members[1])
		everybodyTalks(t, apps, members)
		return
	}
	publish(t, members[0], "from another one")
	receives(t, members[2], apps[0], "from another one")
	for {
		m, err := members[1].Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m.From == apps[0].Name() && string(m.Data) == "from another one" {
			break
		}
	}
	if l := event[Lost](t, members[1]); l.From != apps[2].Name() {
		t.Errorf("%+v", l)
	}
	if err := members[2].Close(t.Context()); err != nil && !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

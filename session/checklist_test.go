package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// What upstream's library tests of sessions (its crates session and service), by our words: each is shown here, or, where it is of one
// machine alone, by TestChecklist of that machine's package.
func TestChecklist(t *testing.T) {
	t.Parallel()
	for _, part := range []struct {
		name string
		list []item
	}{
		{"apps", checklistOfApps},
		{"sessions", checklistOfSessions},
		{"moderators", checklistOfModerators},
		{"participants", checklistOfParticipants},
		{"control messages", checklistOfControl},
		{"senders", checklistOfSenders},
		{"receivers", checklistOfReceivers},
	} {
		t.Run(part.name, func(t *testing.T) { runs(t, part.list) })
	}
}

var checklistOfApps = []item{
	{"ids of sessions are drawn, or given, and not out of range or taken", told(idsOfSessions)},
	{"an app is found under its names, with its id and without", TestFurtherNames},
	{"what an app is found by is answered without a session, once", TestDiscoveryIsAnsweredOnce},
	{"the answer to a search has the name that was asked, the app's id, and signatures", told(answerToASearch)},
	{"a search without signatures is not answered", told(unsignedSearch)},
	{"what begins no session and belongs to none is dropped", told(strays)},
	{"sessions are restored from a store", TestStoppedAndStarted},
	{"groups and sessions of two without acknowledgements are entered", told(unreliableSessions)},
	{"a name that the node does not give is an error, and so is a node that is gone", namesNotGiven},
	{"many take part in a group", told(manyMembers)},
	{"who has the channel's names and not its keys reads nothing", told(eavesdropper)},
	{"a pin admits the one subject", TestPinOfAnother},
	{"the id of an app follows from whom its tokens name", idOfASubject},
	{"a member that is restarted goes on, and a moderator that is restarted publishes on", TestMembershipChangesMeanwhile},
	{"closing deletes what is stored, of both roles", TestUnreceivedOfASessionThatIsOver},
}

// idsOfSessions: 0 is one that is drawn.
func idsOfSessions(t *testing.T, h *hub) {
	alice := h.app("alice")
	open := func(id uint32) (*Session, error) {
		return alice.OpenGroup(t.Context(), MustName("org/ns/channel"), SessionOptions{ID: id, Plain: true})
	}
	seen := map[uint32]bool{}
	for range 50 {
		s, err := open(0)
		if err != nil || s.ID() == 0 || s.ID() >= MaxID || seen[s.ID()] {
			t.Fatal(s, err)
		}
		seen[s.ID()] = true
	}
	if s, err := open(MaxID - 1); err != nil || s.ID() != MaxID-1 {
		t.Errorf("%v, %v", s, err)
	}
	for _, id := range []uint32{MaxID - 1, MaxID, 1<<32 - 1} {
		if _, err := open(id); !errors.Is(err, ErrConfig) {
			t.Errorf("%d: %v", id, err)
		}
	}
	if s, err := alice.OpenGroup(t.Context(), alice.Name(), quick); err != nil || s.Dest() != alice.Name().Any() { // an id in a channel's name is none
		t.Errorf("%v, %v", s, err)
	}
}

func answerToASearch(t *testing.T, h *hub) {
	alice, bob := h.app("alice"), h.app("bob")
	robert := MustName("org/other/robert")
	if err := bob.Subscribe(t.Context(), robert); err != nil {
		t.Fatal(err)
	}
	listen(t, bob)
	x := h.tapes(nil)
	if _, err := alice.Open(t.Context(), robert, quick); err != nil {
		t.Fatal(err)
	}
	q, r := x.only(t, message.DiscoveryRequest, "alice", "bob"), x.only(t, message.DiscoveryReply, "bob", "alice")
	if !q.Dest.Name.IsNull() || q.Fanout != 1 || q.TTL != 8 || q.ID == 0 {
		t.Errorf("asked: %+v", q)
	}
	if !(Name{r.Source}).Same(robert) || (Name{r.Source}).ID() != bob.Name().ID() || r.Dest != alice.Name().t || r.ID != q.ID || r.Session != q.Session ||
		r.Fanout != 1 || r.TTL != 8 || r.Metadata[message.KeyPayloadSignature] == "" || len(r.Signature) == 0 {
		t.Errorf("answered: %+v", r)
	}
}

func unsignedSearch(t *testing.T, h *hub) {
	alice, bob := h.app("alice"), h.app("bob")
	listen(t, bob)
	x := h.tapes(nil)
	e := message.Empty(message.DiscoveryRequest)
	m := alice.says(t, message.Message{Dest: bob.Name().Any().t, Kind: message.PointToPoint, Type: message.DiscoveryRequest, Session: 7, ID: 8, Command: &e})
	for what, change := range map[string]func(m *message.Message){
		"no header signature":    func(m *message.Message) { m.Signature = nil },
		"a wrong one":            func(m *message.Message) { m.ID++ },
		"a wrong one of payload": func(m *message.Message) { m.Metadata = map[string]string{message.KeyPayloadSignature: "AAAA"} },
		"another one's token":    func(m *message.Message) { m.Identity = bob.who.token(time.Now()) },
		"no token":               func(m *message.Message) { m.Identity = "" },
	} {
		changed := *m
		change(&changed)
		if s := h.tells(bob, &changed); s != (Stats{Unbelieved: 1}) {
			t.Errorf("%s: %+v", what, s)
		}
	}
	if n := len(x.of(message.DiscoveryReply, "", "")); n != 0 {
		t.Errorf("%d answers", n)
	}
	if h.tells(bob, m); len(x.of(message.DiscoveryReply, "bob", "alice")) != 1 {
		t.Error("what is right is not answered")
	}
}

func strays(t *testing.T, h *hub) {
	apps, members := h.group(quick, "alice", "bob")
	for kind := message.Msg; kind <= message.RejoinReply; kind++ {
		if kind == message.DiscoveryRequest || kind == message.JoinRequest {
			continue
		}
		m := &message.Message{
			Source: apps[0].Name().t, Dest: apps[1].Name().t, Fanout: 1, TTL: 8, Kind: message.Group, Type: kind, Session: members[0].ID() + 1, ID: 9,
			Blob: []byte("x"), PayloadType: "msg", Command: commandOf(kind, apps[0].Name().t),
		}
		if !kind.Control() {
			m.Command = nil
		}
		if s := h.tells(apps[1], m); s != (Stats{Stray: 1}) {
			t.Errorf("%v: %+v", kind, s)
		}
	}
	other := &message.Message{ // of a session of another kind
		Source: apps[0].Name().t, Dest: apps[1].Name().t, Fanout: 1, TTL: 8, Kind: message.PointToPoint, Type: message.Msg, Session: members[0].ID(), ID: 9,
		Blob: []byte("x"), PayloadType: "msg",
	}
	if s := h.tells(apps[1], other); s != (Stats{Stray: 1}) {
		t.Errorf("of another kind: %+v", s)
	}
	if n := apps[1].Stats().Sessions; n != 1 {
		t.Errorf("%d sessions", n)
	}
	everybodyTalks(t, apps, members)
}

// commandOf is a command of a type; of data there is none.
func commandOf(kind message.Type, who wire.NameText) message.Command {
	p := message.Participant{Name: who, Sends: true, Receives: true}
	switch kind {
	case message.JoinRequest:
		return new(message.Join)
	case message.JoinReply:
		return &message.Joined{Participant: p}
	case message.GroupUpdate:
		return &message.Update{Op: message.OpAdd, Participant: p, Roster: []message.Participant{p}}
	case message.GroupWelcome:
		return &message.Welcome{Roster: []message.Participant{p}}
	case message.GroupClose:
		return &message.Close{Participants: []wire.NameText{who}}
	case message.GroupProposal:
		return &message.Proposal{Source: who}
	case message.Heartbeat:
		return &message.Beat{Epoch: 1}
	case message.UpdateState:
		return &message.State{Participant: who, Offline: true}
	case message.RejoinRequest:
		return &message.Rejoin{Participant: who}
	case message.RejoinReply:
		return new(message.Rejoined)
	}
	e := message.Empty(kind)
	return &e
}

func unreliableSessions(t *testing.T, h *hub) {
	o := SessionOptions{Unreliable: true}
	apps, members := h.group(o, "alice", "bob", "carol")
	x := h.tapes(nil)
	everybodyTalks(t, apps, members)
	a, err := apps[0].Open(t.Context(), apps[1].Name(), o)
	if err != nil {
		t.Fatal(err)
	}
	b := accept(t, apps[1].listener)
	publish(t, a, "hello")
	receives(t, b, apps[0], "hello")
	if n := len(x.of(message.MsgAck, "", "")) + len(x.of(message.RtxRequest, "", "")); n != 0 || b.Reliable() {
		t.Errorf("%d acknowledgements and requests", n)
	}
	if j := x.only(t, message.JoinRequest, "alice", "bob").Command.(*message.Join); j.Timers != nil {
		t.Errorf("%+v", j.Timers)
	}
}

// namesNotGiven: of the app itself, of another name, and of a channel.
func namesNotGiven(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		refuses, gone := errors.New("the node does not give it"), make(chan struct{})
		var links []*refusing
		with := func(o *Options) {
			o.Link = func(ctx context.Context, from Incoming) (Link, error) {
				l, err := h.link(ctx, from)
				if err != nil {
					return nil, err
				}
				r := &refusing{Link: l, hub: l.(*hubLink), gone: gone}
				links = append(links, r)
				return r, nil
			}
		}
		o := Options{Name: MustName("org/ns/alice"), Secret: secret, Workers: 1}
		with(&o)
		alice, err := Connect(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = alice.Close(context.Background()) }()
		listen(t, h.app("bob"))
		links[0].set(refuses)
		if err := alice.Subscribe(t.Context(), MustName("org/ns/other")); !errors.Is(err, refuses) {
			t.Errorf("another name: %v", err)
		}
		g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), quick)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Invite(t.Context(), MustName("org/ns/bob")); !errors.Is(err, refuses) {
			t.Errorf("a channel: %v", err)
		}
		links[0].set(nil)
		if err := alice.Subscribe(t.Context(), MustName("org/ns/other")); err != nil {
			t.Errorf("once more: %v", err)
		}
		if err := g.Invite(t.Context(), MustName("org/ns/bob")); err != nil {
			t.Errorf("invited once more: %v", err)
		}
		links[0].set(uplink.ErrClosed)
		if err := alice.Subscribe(t.Context(), MustName("org/ns/third")); !errors.Is(err, uplink.ErrClosed) {
			t.Errorf("a node that is gone: %v", err)
		}
		links[0].set(nil)
	})
}

// refusing is a link whose node gives no names, as long as it has a reason.
type refusing struct {
	Link
	hub  *hubLink
	gone chan struct{}
	mu   sync.Mutex
	why  error // guarded by mu
}

func (r *refusing) set(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.why = err
}

func (r *refusing) Subscribe(ctx context.Context, h *wire.PublishHeader) (uint64, error) {
	r.mu.Lock()
	err := r.why
	r.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return r.Link.Subscribe(ctx, h)
}

func manyMembers(t *testing.T, h *hub) {
	names := []string{"alice"}
	for i := range 11 {
		names = append(names, fmt.Sprint("member", i))
	}
	apps, members := h.group(SessionOptions{}, names...)
	time.Sleep(time.Second)
	with(t, members, names...)
	for i, s := range members {
		publish(t, s, "one", "two")
		for j, other := range members {
			if j != i {
				receives(t, other, apps[i], "one", "two")
			}
		}
	}
}

func eavesdropper(t *testing.T, h *hub) {
	apps, members := h.group(SessionOptions{}, "alice", "bob")
	const text = "nobody else is to read this text"
	heard := make(chan []byte, 100)
	l, err := h.link(t.Context(), Incoming{Changed: func(error) {}, Messages: func(msgs [][]byte) { heard <- bytes.Clone(msgs[0]) }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close(context.Background()) }()
	h.mu.Lock()
	for _, n := range h.linkOf(apps[0]).names {
		l.(*hubLink).names[uint64(len(l.(*hubLink).names)+1)] = n
	}
	h.mu.Unlock()
	publish(t, members[0], text)
	receives(t, members[1], apps[0], text)
	synctest.Wait()
	if len(heard) == 0 {
		t.Error("it has heard nothing")
	}
	for range len(heard) {
		b := <-heard
		if m, err := message.Decode(b); err != nil || m.Type == message.Msg && bytes.Contains(b, []byte(text)) {
			t.Errorf("it reads %+v, %v", m, err)
		}
	}
}

// idOfASubject is a vector of upstream's.
func idOfASubject(t *testing.T) {
	n := identity.Name(wire.Text("a", "b", "c"), "did:key:z6Mkfvtar6ATQYC5jXqVLBjCH8R6AUAuKjta6LsFcG4gUND1")
	if got := wire.FormatID(n.Name.Hi, n.Name.Lo); got != "48b1da60-0caa-b75f-a73e-4fe334bf1482" {
		t.Errorf("it is %s", got)
	}
}

var checklistOfSessions = []item{
	{"two come together by these messages, in this order", told(handshakeOfTwo)},
	{"what is published comes, to all, to one, with its type and metadata", TestPublishTo},
	{"only who has opened a group changes it", TestWhoMayDoWhat},
	{"closing twice is closing", TestCloseAgain},
	{"what was published before the end is delivered", TestCloseDelivers},
	{"the end does not wait for longer than is wanted", TestCloseThatIsCutShort},
	{"nothing is published after the end", TestAppThatIsClosed},
	{"an invitation without right signatures is not taken, with MLS and without", eachWay(unsignedInvitation)},
	{"who has sent a message is known by MLS alone", eachWay(knownByMLS)},
	{"ids of sources and of channels are those of their subjects", told(foreignIDs)},
	{"what is signed of a message is its payload and metadata, and not what nodes add to trace it", told(signedMetadata)},
	{"who signs no payload is refused by who enforces that, and by nobody else", told(headerOnlyPeers)},
	{"whom a message claims to be verified as is not believed", eachWay(claimedSubject)},
	{"a gap that is filled is not asked for again, and what waited comes in order, of each sender by itself", eachWay(filledGap)},
	{"a channel belongs to its moderator", told(channelOfItsModerator)},
	{"sessions of two deliver from the first message on, also where it is lost or late", eachWay(firstIsLost)},
}

func handshakeOfTwo(t *testing.T, h *hub) {
	x := h.tapes(nil)
	alice, bob, a, b := h.pair(SessionOptions{Metadata: map[string]string{"k": "v"}})
	publish(t, a, "one")
	receives(t, b, alice, "one")
	var got []string
	for _, e := range x.list {
		got = append(got, fmt.Sprint(e.from, " ", e.m.Type))
	}
	if want := []string{
		"alice discovery_request", "bob discovery_reply", "alice join_request", "bob join_reply", "alice group_welcome", "bob group_ack", "alice msg", "bob msg_ack",
	}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	join := x.only(t, message.JoinRequest, "alice", "bob")
	j := join.Command.(*message.Join)
	if join.Dest != bob.Name().t || join.Metadata["k"] != "v" || j.MLS == nil || *j.Timers != (message.Timers{Timeout: 1000, Retries: 10}) || j.Channel != nil || j.Control != nil {
		t.Errorf("%+v %+v", join, j)
	}
	if r := x.only(t, message.JoinReply, "bob", "alice"); r.ID != join.ID || r.Command.(*message.Joined).Participant.Name != bob.Name().t || len(r.Command.(*message.Joined).KeyPackage) == 0 {
		t.Errorf("%+v", r)
	}
	w := x.only(t, message.GroupWelcome, "alice", "bob").Command.(*message.Welcome)
	if len(w.Roster) != 2 || w.MLS == nil || w.MLS.Commit != 1 {
		t.Errorf("%+v", w)
	}
	m := x.only(t, message.Msg, "alice", "bob")
	if m.Dest != bob.Name().t || m.ID != 1 || m.Fanout != 1 { // whatever name it was opened with
		t.Errorf("%+v", m)
	}
	if len(b.Metadata()) != 1 || b.Metadata()["k"] != "v" {
		t.Errorf("metadata %v", b.Metadata())
	}
}

func unsignedInvitation(t *testing.T, h *hub, o SessionOptions) {
	alice, bob := h.app("alice"), h.app("bob")
	l := listen(t, bob)
	for what, change := range map[string]func(m *message.Message){
		"no signature":      func(m *message.Message) { m.Signature = nil },
		"a wrong one":       func(m *message.Message) { m.Signature[len(m.Signature)-1] ^= 1 },
		"another payload":   func(m *message.Message) { m.Metadata["k"] = "changed" },
		"no token":          func(m *message.Message) { m.Identity = "" },
		"no id of its own":  func(m *message.Message) { m.ID = 0; alice.signs(t, m) },
		"another one's id":  func(m *message.Message) { m.Source.Name.Lo++; alice.signs(t, m) },
		"another one's key": func(m *message.Message) { bob.signs(t, m) },
	} {
		before := bob.Stats().Unbelieved
		h.tapes(func(_, _ string, m *message.Message) *message.Message {
			if m.Type == message.JoinRequest {
				change(m)
			}
			return m
		})
		o.Interval, o.Retries, o.Metadata = 100*time.Millisecond, 2, map[string]string{"k": "v"}
		if _, err := alice.Open(t.Context(), bob.Name(), o); !errors.Is(err, ErrTimeout) {
			t.Errorf("%s: opened: %v", what, err)
		}
		if n := bob.Stats().Unbelieved - before; n != 3 || bob.Stats().Sessions != 0 || l.places() != 0 {
			t.Errorf("%s: %d were not believed, %+v, %d places", what, n, bob.Stats(), l.places())
		}
	}
	h.cuts(nil)
	if _, err := alice.Open(t.Context(), bob.Name(), o); err != nil {
		t.Error(err)
	}
}

func knownByMLS(t *testing.T, h *hub, o SessionOptions) {
	alice, _, a, b := h.pair(o)
	publish(t, a, "hello")
	m, err := b.Receive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if (m.Subject == alice.Subject()) == o.Plain || o.Plain != (m.Subject == "") || m.Token == "" {
		t.Errorf("subject %q", m.Subject)
	}
}

// foreignIDs: of a control message, and of data that a member sends under another one's name.
func foreignIDs(t *testing.T, h *hub) {
	apps, members := h.group(SessionOptions{}, "alice", "bob", "carol")
	m := apps[1].says(t, message.Message{Dest: apps[0].Name().t, Kind: message.Group, Type: message.Heartbeat, Session: members[0].ID(), ID: 77, Command: &message.Beat{Epoch: 1}})
	m.Source = apps[2].Name().t
	if s := h.tells(apps[0], apps[1].signs(t, m)); s != (Stats{Refused: 1}) {
		t.Errorf("a heartbeat of carol by bob: %+v", s)
	}
	h.tapes(func(from, _ string, m *message.Message) *message.Message {
		if m.Type == message.Msg && from == "bob" {
			m.Source = apps[2].Name().t
		}
		return m
	})
	say(t, members[1], "I am carol")
	time.Sleep(100 * time.Millisecond)
	if n := members[0].unread() + members[2].unread(); n != 0 {
		t.Errorf("%d have it", n)
	}
	for range 2 {
		if r := event[Refused](t, members[0]); r.From != apps[2].Name() {
			t.Errorf("%+v", r)
		}
	}
	h.cuts(nil)
	time.Sleep(2 * time.Second)
	receives(t, members[0], apps[1], "I am carol") // under the right name
	receives(t, members[2], apps[1], "I am carol")
}

func signedMetadata(t *testing.T, h *hub) {
	alice, bob := h.app("alice"), h.app("bob")
	l := listen(t, bob)
	h.tapes(func(_, _ string, m *message.Message) *message.Message {
		if m.Metadata == nil {
			m.Metadata = map[string]string{}
		}
		m.Metadata["traceparent"], m.Metadata["tracestate"], m.Metadata["baggage"] = "00-1-2-01", "a=b", "c=d"
		return m
	})
	o := quick
	o.Metadata = map[string]string{"k": "v"}
	a, err := alice.Open(t.Context(), bob.Name(), o)
	if err != nil {
		t.Fatal(err)
	}
	b := accept(t, l)
	if b.Metadata()["k"] != "v" || b.Metadata()[message.KeyPayloadSignature] != "" {
		t.Errorf("%v", b.Metadata())
	}
	h.tapes(func(_, _ string, m *message.Message) *message.Message {
		if m.Type == message.GroupClose {
			m.Metadata["x"] = "added"
		}
		return m
	})
	closes(t, a)
	if err := b.Err(); err != nil || bob.Stats().Refused == 0 {
		t.Errorf("closed by what was changed on its way: %v, %+v", err, bob.Stats())
	}
	h.cuts(nil)
	closes(t, b)
}

func headerOnlyPeers(t *testing.T, h *hub) {
	for _, binding := range []Binding{Warn, Off, Enforce} {
		alice, bob := h.app("alice"), h.app("bob", func(o *Options) { o.Binding = binding })
		l := listen(t, bob)
		h.tapes(func(from, _ string, m *message.Message) *message.Message {
			if from == "alice" {
				delete(m.Metadata, message.KeyPayloadSignature)
			}
			return m
		})
		a, err := alice.Open(t.Context(), bob.Name(), quick)
		if binding == Enforce {
			if !errors.Is(err, ErrTimeout) || bob.Stats().Unbelieved == 0 {
				t.Errorf("%v: %v, %+v", binding, err, bob.Stats())
			}
		} else if err != nil {
			t.Errorf("%v: %v", binding, err)
		} else {
			publish(t, a, "hello")
			b := accept(t, l)
			receives(t, b, alice, "hello")
			closes(t, a)
		}
		h.cuts(nil)
		for _, app := range []*App{alice, bob} {
			_ = app.Close(t.Context())
			h.mu.Lock()
			h.links = slices.DeleteFunc(h.links, func(l *hubLink) bool { return l == h.linkOf(app) })
			h.mu.Unlock()
		}
	}
}

func claimedSubject(t *testing.T, h *hub, o SessionOptions) {
	alice, _, a, b := h.pair(o)
	h.tapes(func(_, _ string, m *message.Message) *message.Message {
		if m.Type == message.Msg {
			m.Metadata = map[string]string{message.KeyPeerSubject: "the queen", "k": "v"}
		}
		return m
	})
	publish(t, a, "hello")
	m, err := b.Receive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject == "the queen" || !o.Plain && m.Subject != alice.Subject() || len(m.Metadata) != 1 || m.Metadata["k"] != "v" {
		t.Errorf("subject %q, metadata %v", m.Subject, m.Metadata)
	}
}

func filledGap(t *testing.T, h *hub, o SessionOptions) {
	apps, members := h.group(o, "alice", "bob", "carol")
	time.Sleep(time.Second)
	for _, i := range []int{0, 1} {
		publish(t, members[i], "first")
	}
	lost := map[string]bool{}
	x := h.tapes(func(from, to string, m *message.Message) *message.Message {
		if m.Type == message.Msg && m.ID == 2 && to == "carol" && !lost[from] {
			lost[from] = true
			return nil
		}
		return m
	})
	for _, text := range []string{"second", "third", "fourth"} {
		say(t, members[0], text)
		say(t, members[1], text)
	}
	time.Sleep(5 * time.Second)
	got := map[Name][]string{}
	for range 8 {
		m, err := members[2].Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got[m.From] = append(got[m.From], string(m.Data))
	}
	for i, from := range []string{"alice", "bob"} {
		if n := len(x.of(message.RtxRequest, "carol", from)); n != 1 {
			t.Errorf("asked %s %d times", from, n)
		}
		if n := len(x.of(message.RtxReply, from, "carol")); n != 1 {
			t.Errorf("%s has answered %d times", from, n)
		}
		if texts := got[apps[i].Name()]; !slices.Equal(texts, []string{"first", "second", "third", "fourth"}) {
			t.Errorf("of %s: %q", from, texts)
		}
	}
}

func channelOfItsModerator(t *testing.T, h *hub) {
	alice, bob := h.app("alice"), h.app("bob")
	l := listen(t, bob)
	data, control, err := identity.Channel(MustName("org/ns/channel").t, alice.Subject())
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := identity.Channel(MustName("org/ns/channel").t, bob.Subject())
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := data
	elsewhere.Str[2] = "elsewhere"
	for i, c := range []struct {
		what          string
		data, control *wire.NameText
	}{
		{"another one's channel", &other, &control}, {"no control channel", &data, nil}, {"no channel", nil, &control}, {"twice the same", &data, &data},
		{"another name beside the same hashes", &elsewhere, &control},
	} {
		m := alice.says(t, message.Message{
			Dest: bob.Name().t, Kind: message.Group, Type: message.JoinRequest, Session: uint32(100 + i), ID: uint32(i + 1),
			Command: &message.Join{Channel: c.data, Control: c.control},
		})
		if s := h.tells(bob, m); s != (Stats{Unbelieved: 1}) || l.places() != 0 {
			t.Errorf("%s: %+v", c.what, s)
		}
	}
}

func firstIsLost(t *testing.T, h *hub, o SessionOptions) {
	alice, bob, a, b := h.pair(o)
	two, err := alice.Open(t.Context(), bob.Name(), o)
	if err != nil {
		t.Fatal(err)
	}
	b2 := accept(t, bob.listener)
	met := map[string]int{}
	h.tapes(func(_, _ string, m *message.Message) *message.Message {
		key := fmt.Sprint(m.Session, m.ID)
		met[key]++
		if m.Type == message.Msg && m.ID == 1 && met[key] <= 2 {
			return nil
		}
		return m
	})
	for _, s := range []*Session{a, two} {
		say(t, s, "one")
		say(t, s, "two")
	}
	receives(t, b, alice, "one", "two")
	receives(t, b2, alice, "one", "two")
	h.cuts(nil)
}

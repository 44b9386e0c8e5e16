//go:build interop

package interop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/seed31b3bfd0/slimgo/mls"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

const (
	all = 256 // fanout
	one = 1

	pointToPoint = pb.SessionType_SESSION_TYPE_POINT_TO_POINT
	multicast    = pb.SessionType_SESSION_TYPE_MULTICAST
)

// recorded is a conversation as a member of package mls saw it. Private keys in it are of this one run.
type recorded struct {
	About      string         `json:"about"`
	Suite      uint16         `json:"cipher_suite"`
	KeyPackage string         `json:"private_key_package"`
	Messages   []recordedStep `json:"messages"`
}

type recordedStep struct {
	Kind          string `json:"kind"` // welcome, commit, application
	Message       string `json:"message"`
	Text          string `json:"text,omitempty"`
	AAD           string `json:"aad,omitempty"`
	Epoch         uint64 `json:"epoch"` // behind it
	Authenticator string `json:"epoch_authenticator"`
	Members       int    `json:"members"`
}

// mlsApp is an application whose sessions are encrypted by package mls. One goroutine answers what comes; what tests wait for goes
// into events.
type mlsApp struct {
	*speaker
	cfg   *mls.Config
	store *recordingStore

	mu      sync.Mutex // of what follows
	group   *mls.Group
	session uint32
	kind    pb.SessionType
	data    *pb.Name // channel, or peer
	control *pb.Name
	sent    uint32
	record  recorded

	seen map[received]bool // messages: what is acknowledged late comes once more

	events  chan event
	replies chan *pb.Publish // to requests of ours, as moderator
	roster  []*pb.Participant
	commits uint32
}

// received is what tells a message from all others.
type received struct {
	session, id uint32
	from        [2]uint64
}

// recordingStore keeps private key packages also when they are used up.
type recordingStore struct {
	mls.MemoryStore
	last []byte
}

func (r *recordingStore) Put(ref []byte, p *mls.PrivateKeyPackage) error {
	r.last = p.Marshal()
	return r.MemoryStore.Put(ref, p)
}

// mlsApp starts one under a name.
func (n *node) mlsApp(t *testing.T, name string) *mlsApp {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := mls.ParseSigningKey(mls.P256AES128SHA256P256, scalar)
	if err != nil {
		t.Fatal(err)
	}
	a := &mlsApp{speaker: n.speak(t, name, key), store: &recordingStore{}, seen: map[received]bool{}, events: make(chan event, 1024), replies: make(chan *pb.Publish, 64)}
	a.cfg = &mls.Config{CipherSuite: mls.P256AES128SHA256P256, Credential: mls.BasicCredential([]byte(a.token())), Key: signer, Now: time.Now,
		KeyPackages: a.store, Padding: mls.PadStep, Credentials: func(p *mls.Presented) error {
			_, pub, err := checkToken(string(p.Credential.Identity), p.Time)
			if err == nil && !bytes.Equal(pub, p.SignatureKey) {
				err = errors.New("token is for another key")
			}
			return err
		}}
	go a.run()
	return a
}

func (a *mlsApp) tell(kind string, more event) {
	if more == nil {
		more = event{}
	}
	more["event"] = kind
	a.events <- more
}

// expect returns the next event, which must be of that kind.
func (a *mlsApp) expect(kind string) event {
	a.t.Helper()
	select {
	case e := <-a.events:
		if e.kind() != kind {
			a.t.Fatalf("%s: %v, want %s", a.text, e, kind)
		}
		return e
	case <-time.After(limit):
		a.t.Fatalf("%s: no event, want %s", a.text, kind)
	}
	return nil
}

// receives waits for these messages, in order.
func (a *mlsApp) receives(texts ...string) {
	a.t.Helper()
	for _, want := range texts {
		if e := a.expect("message"); e.text("text") != want {
			a.t.Fatalf("%s: received %v, want %q", a.text, e, want)
		}
	}
}

func (a *mlsApp) run() {
	for m := range a.inbox {
		p := m.GetPublish()
		a.mu.Lock()
		err := a.handle(p)
		a.mu.Unlock()
		if err != nil {
			a.tell("error", event{"error": fmt.Sprintf("%v: %v", p.GetSession().GetSessionMessageType(), err)})
		}
	}
}

// answer sends a control message in answer to p.
func (a *mlsApp) answer(p *pb.Publish, typ pb.SessionMessageType, body *pb.CommandPayload) {
	s := p.Session
	a.speaker.control(p.Header.Source, one, s.SessionType, typ, s.SessionId, s.MessageId, body)
}

func (a *mlsApp) ack(p *pb.Publish) {
	a.answer(p, pb.SessionMessageType_SESSION_MESSAGE_TYPE_GROUP_ACK,
		&pb.CommandPayload{CommandPayloadType: &pb.CommandPayload_GroupAck{GroupAck: &pb.GroupAckPayload{}}})
}

func participant(name *pb.Name) *pb.Participant {
	return &pb.Participant{Name: name, Settings: &pb.ParticipantSettings{SendsData: true, ReceivesData: true}}
}

func (a *mlsApp) handle(p *pb.Publish) error {
	c := p.GetMsg().GetCommandPayload()
	switch p.GetSession().GetSessionMessageType() {
	case pb.SessionMessageType_SESSION_MESSAGE_TYPE_DISCOVERY_REQUEST:
		a.answer(p, pb.SessionMessageType_SESSION_MESSAGE_TYPE_DISCOVERY_REPLY,
			&pb.CommandPayload{CommandPayloadType: &pb.CommandPayload_DiscoveryReply{DiscoveryReply: &pb.DiscoveryReplyPayload{}}})
	case pb.SessionMessageType_SESSION_MESSAGE_TYPE_JOIN_REQUEST:
		return a.invited(p, c.GetJoinRequest())
	case pb.SessionMessageType_SESSION_MESSAGE_TYPE_GROUP_WELCOME:
		return a.welcomed(p, c.GetGroupWelcome())
	case pb.SessionMessageType_SESSION_MESSAGE_TYPE_GROUP_UPDATE:
		return a.updated(p, c.GetGroupUpdate())
	case pb.SessionMessageType_SESSION_MESSAGE_TYPE_MSG, pb.SessionMessageType_SESSION_MESSAGE_TYPE_RTX_REPLY:
		return a.received(p)
	case pb.SessionMessageType_SESSION_MESSAGE_TYPE_LEAVE_REQUEST:
		a.answer(p, pb.SessionMessageType_SESSION_MESSAGE_TYPE_LEAVE_REPLY,
			&pb.CommandPayload{CommandPayloadType: &pb.CommandPayload_LeaveReply{LeaveReply: &pb.LeaveReplyPayload{}}})
		a.tell("left", nil)
	case pb.SessionMessageType_SESSION_MESSAGE_TYPE_GROUP_CLOSE:
		a.ack(p)
		a.tell("closed", nil)
	case pb.SessionMessageType_SESSION_MESSAGE_TYPE_DISCOVERY_REPLY, pb.SessionMessageType_SESSION_MESSAGE_TYPE_JOIN_REPLY,
		pb.SessionMessageType_SESSION_MESSAGE_TYPE_GROUP_ACK, pb.SessionMessageType_SESSION_MESSAGE_TYPE_LEAVE_REPLY:
		a.replies <- p
	}
	return nil
}

// invited answers with a key package.
func (a *mlsApp) invited(p *pb.Publish, j *pb.JoinRequestPayload) error {
	if j.MlsSettings == nil {
		return errors.New("session without MLS")
	}
	k, err := a.cfg.NewKeyPackage()
	if err != nil {
		return err
	}
	a.session, a.kind, a.sent = p.Session.SessionId, p.Session.SessionType, 0
	a.record = recorded{Suite: uint16(a.cfg.CipherSuite), KeyPackage: hex.EncodeToString(a.store.last)}
	a.data, a.control = j.Channel, j.Control
	if a.kind == pointToPoint {
		a.data, a.control = p.Header.Source, p.Header.Source
	}
	a.answer(p, pb.SessionMessageType_SESSION_MESSAGE_TYPE_JOIN_REPLY, &pb.CommandPayload{CommandPayloadType: &pb.CommandPayload_JoinReply{
		JoinReply: &pb.JoinReplyPayload{KeyPackage: k.Marshal(), Participant: participant(a.name)}}})
	return nil
}

func (a *mlsApp) welcomed(p *pb.Publish, w *pb.GroupWelcomePayload) (err error) {
	if a.group, err = mls.Join(a.cfg, w.GetMls().GetMlsContent(), mls.JoinOptions{}); err != nil {
		return err
	}
	if a.kind == multicast {
		a.subscribe(a.data, "")
		a.subscribe(a.control, "")
	}
	a.ack(p)
	a.note("welcome", w.GetMls().GetMlsContent(), nil)
	a.tell("joined", event{"epoch": a.group.Epoch(), "members": len(a.group.Members())})
	return nil
}

func (a *mlsApp) updated(p *pb.Publish, u *pb.GroupUpdatePayload) error {
	if !a.group.Active() { // the commit that brings us back; its welcome comes behind it
		return nil
	}
	r, err := a.group.Process(u.GetMls().GetMlsContent())
	if err != nil {
		return err
	}
	if err := r.Change.Apply(); err != nil {
		return err
	}
	a.ack(p)
	a.note("commit", u.GetMls().GetMlsContent(), nil)
	if !r.Change.SelfRemoved {
		a.tell("commit", event{"epoch": a.group.Epoch(), "members": len(a.group.Members())})
	}
	return nil
}

func (a *mlsApp) received(p *pb.Publish) error {
	blob := p.GetMsg().GetAppPayload().GetBlob()
	r, err := a.group.Process(blob)
	if err != nil {
		return err
	}
	if !bytes.Equal(r.AAD, aad(p)) {
		return errors.New("header is not what was authenticated")
	}
	leaf := a.group.Member(r.Sender.Leaf)
	subject, _, err := checkToken(string(leaf.Credential.Identity), time.Now())
	if err != nil {
		return err
	}
	if hi, lo := wire.HashID(subject); hi != p.Header.Source.Name.NameId.Id_0 || lo != p.Header.Source.Name.NameId.Id_1 {
		return fmt.Errorf("message of %s in the name of another", subject)
	}
	a.speaker.data(p.Header.Source, one, a.kind, pb.SessionMessageType_SESSION_MESSAGE_TYPE_MSG_ACK, a.session, p.Session.MessageId, "", nil)
	id := p.Header.Source.Name.NameId
	m := received{p.Session.SessionId, p.Session.MessageId, [2]uint64{id.Id_0, id.Id_1}}
	if a.seen[m] {
		return nil
	}
	a.seen[m] = true
	a.note("application", blob, r)
	a.tell("message", event{"text": string(r.Application), "from": textOf(p.Header.Source)})
	return nil
}

// note records a message of another.
func (a *mlsApp) note(kind string, msg []byte, r *mls.Received) {
	authenticator, err := a.group.EpochAuthenticator()
	if err != nil && a.group.Active() { // whoever was removed has none
		a.t.Fatal(err)
	}
	s := recordedStep{Kind: kind, Message: hex.EncodeToString(msg), Epoch: a.group.Epoch(), Authenticator: hex.EncodeToString(authenticator),
		Members: len(a.group.Members())}
	if r != nil {
		s.Text, s.AAD = string(r.Application), hex.EncodeToString(r.AAD)
	}
	a.record.Messages = append(a.record.Messages, s)
}

// save writes the conversation into the folder of $MLS_RECORD, if there is one.
func (a *mlsApp) save(name, about string) {
	a.t.Helper()
	dir := os.Getenv("MLS_RECORD")
	if dir == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.record.About = about
	b, err := json.MarshalIndent(a.record, "", " ")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name), append(b, '\n'), 0o600)
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// publish sends a message to the session.
func (a *mlsApp) publish(text string) {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent++
	fanout := uint32(all)
	if a.kind == pointToPoint {
		fanout = one
	}
	a.speaker.data(a.data, fanout, a.kind, pb.SessionMessageType_SESSION_MESSAGE_TYPE_MSG, a.session, a.sent, "msg", func(aad []byte) []byte {
		b, err := a.group.Protect(nil, []byte(text), aad)
		if err != nil {
			a.t.Error(err)
		}
		return b
	})
}

// As moderator.

// open begins a session: a group on a channel, or with one peer.
func (a *mlsApp) open(kind pb.SessionType, channel string) {
	a.t.Helper()
	var b [4]byte
	rand.Read(b[:])
	group, err := mls.Create(a.cfg, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.group, a.kind, a.session = group, kind, binary.BigEndian.Uint32(b[:])&0x7fffffff
	a.roster = []*pb.Participant{participant(a.name)}
	if kind == multicast {
		id := func(part string) *pb.Name {
			h := xxh3.HashString128Seed(a.subject+"/"+channel+"/"+part, 0)
			return nameOf(a.t, channel, h.Hi, h.Lo)
		}
		a.data, a.control = id("data"), id("control")
		a.subscribe(a.data, "")
		a.subscribe(a.control, "")
	}
}

// ask sends a request of ours and waits for the answer.
func (a *mlsApp) ask(to *pb.Name, fanout uint32, typ, want pb.SessionMessageType, answers int, body *pb.CommandPayload) *pb.Publish {
	a.t.Helper()
	var b [4]byte
	rand.Read(b[:])
	id := binary.BigEndian.Uint32(b[:]) | 1
	a.speaker.control(to, fanout, a.kind, typ, a.session, id, body)
	var last *pb.Publish
	for range answers {
		select {
		case last = <-a.replies:
			if last.Session.SessionMessageType != want || last.Session.MessageId != id {
				a.t.Fatalf("%s: answer %v to %v", a.text, last.Session, typ)
			}
		case <-time.After(limit):
			a.t.Fatalf("%s: no answer to %v", a.text, typ)
		}
	}
	return last
}

// invite brings an application into the session.
func (a *mlsApp) invite(name string) {
	a.t.Helper()
	r := a.ask(nameOf(a.t, name, wire.Null, wire.Null), one, pb.SessionMessageType_SESSION_MESSAGE_TYPE_DISCOVERY_REQUEST,
		pb.SessionMessageType_SESSION_MESSAGE_TYPE_DISCOVERY_REPLY, 1,
		&pb.CommandPayload{CommandPayloadType: &pb.CommandPayload_DiscoveryRequest{DiscoveryRequest: &pb.DiscoveryRequestPayload{}}})
	peer := r.Header.Source
	join := &pb.JoinRequestPayload{TimerSettings: &pb.TimerSettings{Timeout: 1000, MaxRetries: 10},
		MlsSettings: &pb.MlsSettings{HeaderIntegrityValidationPercent: 100}}
	if a.kind == multicast {
		join.Channel, join.Control = a.data, a.control
	} else {
		a.data = peer
	}
	r = a.ask(peer, one, pb.SessionMessageType_SESSION_MESSAGE_TYPE_JOIN_REQUEST, pb.SessionMessageType_SESSION_MESSAGE_TYPE_JOIN_REPLY, 1,
		&pb.CommandPayload{CommandPayloadType: &pb.CommandPayload_JoinRequest{JoinRequest: join}})
	reply := r.GetMsg().GetCommandPayload().GetJoinReply()
	k, err := mls.ParseKeyPackage(reply.KeyPackage)
	if err != nil {
		a.t.Fatal(err)
	}
	ch := a.commit(mls.CommitOptions{Proposals: []mls.Proposal{&mls.Add{KeyPackage: k}}})
	a.roster = append(a.roster, reply.Participant)
	if len(a.roster) > 2 {
		a.update(pb.GroupUpdateOp_GROUP_UPDATE_OP_ADD, reply.Participant, ch, len(a.roster)-2)
	}
	a.ask(peer, one, pb.SessionMessageType_SESSION_MESSAGE_TYPE_GROUP_WELCOME, pb.SessionMessageType_SESSION_MESSAGE_TYPE_GROUP_ACK, 1,
		&pb.CommandPayload{CommandPayloadType: &pb.CommandPayload_GroupWelcome{GroupWelcome: &pb.GroupWelcomePayload{Participants: a.roster,
			Mls: &pb.MlsPayload{CommitId: a.commits, MlsContent: ch.Welcomes[0]}}}})
}

// commit makes a commit and applies it.
func (a *mlsApp) commit(o mls.CommitOptions) *mls.Change {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	ch, err := a.group.Commit(o)
	if err == nil {
		err = ch.Apply()
	}
	if err != nil {
		a.t.Fatal(err)
	}
	a.commits++
	return ch
}

// update tells the members of a commit and waits for so many acknowledgements.
func (a *mlsApp) update(op pb.GroupUpdateOp, about *pb.Participant, ch *mls.Change, acks int) {
	a.t.Helper()
	a.ask(a.control, all, pb.SessionMessageType_SESSION_MESSAGE_TYPE_GROUP_UPDATE, pb.SessionMessageType_SESSION_MESSAGE_TYPE_GROUP_ACK, acks,
		&pb.CommandPayload{CommandPayloadType: &pb.CommandPayload_GroupUpdate{GroupUpdate: &pb.GroupUpdatePayload{Op: op, Participant: about,
			Participants: a.roster, Mls: &pb.MlsPayload{CommitId: a.commits, MlsContent: ch.Commit}}}})
}

// remove takes an application out of the group.
func (a *mlsApp) remove(name string) {
	a.t.Helper()
	var who *pb.Participant
	var rest []*pb.Participant
	for _, p := range a.roster {
		if textOf(p.Name) == name {
			who = p
		} else {
			rest = append(rest, p)
		}
	}
	leaf, ok := a.group.Find(func(_ mls.LeafIndex, l *mls.LeafNode) bool {
		subject, _, err := checkToken(string(l.Credential.Identity), time.Now())
		hi, lo := wire.HashID(subject)
		return err == nil && hi == who.Name.Name.NameId.Id_0 && lo == who.Name.Name.NameId.Id_1
	})
	if !ok {
		a.t.Fatalf("%s is no member", name)
	}
	ch := a.commit(mls.CommitOptions{Proposals: []mls.Proposal{&mls.Remove{Leaf: leaf}}})
	a.update(pb.GroupUpdateOp_GROUP_UPDATE_OP_REMOVE, who, ch, len(a.roster)-1) // the one removed acknowledges as well
	a.ask(who.Name, one, pb.SessionMessageType_SESSION_MESSAGE_TYPE_LEAVE_REQUEST, pb.SessionMessageType_SESSION_MESSAGE_TYPE_LEAVE_REPLY, 1,
		&pb.CommandPayload{CommandPayloadType: &pb.CommandPayload_LeaveRequest{LeaveRequest: &pb.LeaveRequestPayload{}}})
	a.roster = rest
}

// Package mls in a group that a Rust application moderates, with a Rust and a Python member: it joins, follows adds, a removal and a
// second invitation, reads all and is read by all.
func TestMLSMemberAmongRustMembers(t *testing.T) {
	n := startNode(t, ours)
	m := n.app(t, "moderate", "org/ns/moderator", "--channel", channel, "--mls")
	rust, late := n.member(t, "org/ns/rust"), n.member(t, "org/ns/late")
	py := n.script(t, &python, "org/ns/python")
	us := n.mlsApp(t, "org/ns/us")

	m.invite(t, rust)
	m.do(t, event{"invite": us.text})
	if e := us.expect("joined"); e["members"] != 3 {
		t.Errorf("%v", e)
	}
	m.invite(t, py)
	us.expect("commit")

	m.do(t, event{"publish": "first", "count": 5})
	us.receives(series("first", 5)...)
	rust.do(t, event{"publish": "rust", "count": 3})
	us.receives(series("rust", 3)...)
	py.do(t, event{"publish": "python", "count": 3})
	us.receives(series("python", 3)...)
	for i := range 3 {
		us.publish(fmt.Sprintf("us#%d", i))
	}
	m.receives(t, append(series("rust", 3), append(series("python", 3), series("us", 3)...)...)...)
	rust.receives(t, append(series("first", 5), append(series("python", 3), series("us", 3)...)...)...)
	py.receives(t, append(series("first", 5), append(series("rust", 3), series("us", 3)...)...)...)

	m.do(t, event{"remove": rust.name})
	if e := us.expect("commit"); e["members"] != 3 {
		t.Errorf("%v", e)
	}
	m.do(t, event{"publish": "second", "count": 3})
	us.receives(series("second", 3)...)
	m.invite(t, late)
	us.expect("commit")
	late.do(t, event{"publish": "late", "count": 3})
	us.receives(series("late", 3)...)
	us.publish("hello late")
	late.receives(t, "hello late")
	py.receives(t, append(series("second", 3), append(series("late", 3), "hello late")...)...)
	us.save("group.json", "A group moderated by slim-peer 3.4.6, with members on slim-peer 3.4.6 and on slim-bindings 3.3.8 (Python): seen by the second member.")

	// Removed and invited again: a new session with a new key package.
	m.do(t, event{"remove": us.text})
	us.expect("left")
	m.do(t, event{"invite": us.text})
	us.expect("joined")
	m.do(t, event{"publish": "again"})
	us.receives("again")
	us.save("again.json", "The same group: taken out and invited again, into a tree with blanks.")
}

// Package mls moderates: members in Rust, Python and Node.js join by its welcomes, follow its commits and read its messages.
func TestMLSModeratorOfRealMembers(t *testing.T) {
	n := startNode(t, ours)
	members := []*app{n.member(t, "org/ns/a"), n.member(t, "org/ns/b"), n.script(t, &python, "org/ns/c"), n.script(t, &javascript, "org/ns/d")}
	us := n.mlsApp(t, "org/ns/us")
	us.open(multicast, channel)
	for _, m := range members {
		us.invite(m.name)
		m.expect(t, "session")
	}
	for i := range 3 {
		us.publish(fmt.Sprintf("us#%d", i))
	}
	for _, m := range members {
		m.receives(t, series("us", 3)...)
	}
	for i, speaker := range members {
		text := fmt.Sprintf("of%d", i)
		speaker.do(t, event{"publish": text, "count": 2})
		us.receives(series(text, 2)...)
		for _, m := range members {
			if m != speaker {
				m.receives(t, series(text, 2)...)
			}
		}
	}
	us.remove(members[0].name)
	members[0].expect(t, "left")
	us.publish("after")
	for _, m := range members[1:] {
		m.receives(t, "after")
	}
	members[0].receivedNothing(t)
}

// Point-to-point, either side first.
func TestMLSPointToPointWithRust(t *testing.T) {
	n := startNode(t, ours)
	us := n.mlsApp(t, "org/ns/us")
	send, _ := n.peer(t, "send", "org/ns/sender", "--to", "org/ns/us", "--count", "5", "--mls").connected(t)
	us.expect("joined")
	for i := range 5 {
		if e := us.expect("message"); e.text("from") != "org/ns/sender" {
			t.Errorf("message %d: %v", i, e)
		}
	}
	us.save("p2p.json", "A point-to-point session opened by slim-peer 3.4.6: seen by the one who was called.")
	send.succeed(t)

	echo := n.app(t, "echo", "org/ns/echo")
	us2 := n.mlsApp(t, "org/ns/us2")
	us2.open(pointToPoint, "")
	us2.invite(echo.name)
	for i := range 3 {
		us2.publish(fmt.Sprintf("m%d", i))
		us2.receives(fmt.Sprintf("echo:m%d", i))
	}
}

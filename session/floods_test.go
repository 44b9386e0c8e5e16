package session

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls"
	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// stranger knows the secret, signs what it says, and is in no session.
type stranger struct {
	t     *testing.T
	name  wire.NameText
	token func(now time.Time) string
	key   *identity.Key
	said  uint32

	public []byte // of key
}

func newStranger(t *testing.T, name string) *stranger {
	t.Helper()
	signing, err := mls.GenerateSigningKey(group.Suite, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := identity.NewSecret("org/ns/"+name, secret, signing.Public())
	if err != nil {
		t.Fatal(err)
	}
	key, err := identity.NewKey(signing.Bytes(), signing.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &stranger{t: t, name: identity.Name(wire.Text("org", "ns", name), s.Subject()), token: s.Token, key: key, public: signing.Public()}
}

// says is a message of its, encoded.
func (s *stranger) says(m message.Message) []byte {
	s.said++
	m.Source, m.Fanout, m.TTL, m.ID, m.Identity = s.name, 1, 8, s.said, s.token(time.Now())
	if m.Command == nil {
		e := message.Empty(m.Type)
		m.Command = &e
	}
	if err := s.key.Sign(&m); err != nil {
		s.t.Fatal(err)
	}
	return m.Append(nil)
}

// looksFor is a discovery of an app.
func (s *stranger) looksFor(a *App) []byte {
	return s.says(message.Message{Dest: a.Name().t, Kind: message.PointToPoint, Type: message.DiscoveryRequest, Session: s.said + 1})
}

// counts counts messages of a type that an app sends.
func (h *hub) counts(from *App, t message.Type) *int {
	n, link := new(int), h.linkOf(from)
	h.cuts(func(from, _ *hubLink, m *message.Message) bool {
		if from == link && m.Type == t {
			*n++ // h.mu is held
		}
		return false
	})
	return n
}

// Of one who looks for an app over and over so many are answered in a second, and the rest is counted; another one is answered meanwhile.
func TestFloodOfDiscoveries(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob := h.app("alice"), h.app("bob")
		l := listen(t, bob)
		mallory := newStranger(t, "mallory")
		h.linkOf(alice).names[1000] = mallory.name.Name // so that answers go somewhere
		answers := h.counts(bob, message.DiscoveryReply)
		const n = 2 * frontBurst
		for i := range n {
			h.linkOf(bob).queue <- arrival{time.Now(), mallory.looksFor(bob)}
			if i%64 == 63 {
				time.Sleep(time.Millisecond)
			}
		}
		if _, err := alice.Open(t.Context(), bob.Name(), quick); err != nil {
			t.Errorf("opened: %v", err)
		}
		accept(t, l)
		h.mu.Lock()
		defer h.mu.Unlock()
		if *answers < frontBurst || *answers > frontBurst+frontRate {
			t.Errorf("%d of %d were answered", *answers, n)
		}
		if s := bob.Stats(); int(s.Hasty)+*answers < n || s.Sessions != 1 {
			t.Errorf("%d of %d were answered, and %+v", *answers, n, s)
		}
	})
}

// What waits of discoveries and invitations is bounded, and keeps nothing back that is for sessions.
func TestBacklogOfDiscoveries(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob, a, b := h.pair(SessionOptions{})
		release := bob.holdWorkers(2)
		mallory := newStranger(t, "mallory")
		for range mostBacklogFront / letterSize {
			h.linkOf(bob).queue <- arrival{time.Now(), mallory.looksFor(bob)}
		}
		d, err := a.Publish(t.Context(), Text("text"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		if n := len(h.linkOf(bob).queue); n != 0 {
			t.Errorf("the reader waits with %d messages", n)
		}
		if n := bob.front.backlog.bytes.Load(); n > mostBacklogFront {
			t.Errorf("%d bytes of discoveries wait", n)
		}
		release()
		receives(t, b, alice, "text")
		if err := d.Wait(t.Context()); err != nil || bob.Stats().Behind == 0 {
			t.Errorf("%v, %+v", err, bob.Stats())
		}
		synctest.Wait()
		if n := bob.in.bytes.Load(); n != 0 {
			t.Errorf("%d bytes are unread", n)
		}
	})
}

// What those who are no members say in a session comes to nothing, and so nobody is asked who they are.
func TestFloodOfStrangers(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		o := newOffice()
		alice, bob := h.app("alice", o.of("alice")), h.app("bob", o.of("bob"))
		l := listen(t, bob)
		g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Invite(t.Context(), bob.Name()); err != nil {
			t.Fatal(err)
		}
		b := accept(t, l)
		mallory := newStranger(t, "mallory")
		public := mallory.public
		n := &notary{subject: "mallory@tests", life: time.Hour, made: o.made}
		mallory.name = identity.Name(mallory.name, n.subject)
		mallory.token = func(time.Time) string { // another one each time
			text, err := n.Token(t.Context(), public)
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		for _, typ := range []message.Type{message.Heartbeat, message.GroupAck, message.UpdateState, message.LeaveRequest, message.JoinRequest} {
			for range 200 {
				m := message.Message{Dest: bob.Name().t, Kind: message.Group, Type: typ, Session: b.ID()}
				switch typ {
				case message.Heartbeat:
					m.Command = &message.Beat{Epoch: 1}
				case message.UpdateState:
					m.Command = &message.State{Participant: alice.Name().t, Offline: true}
				case message.JoinRequest:
					m.Command = &message.Join{}
				}
				h.linkOf(bob).queue <- arrival{time.Now(), mallory.says(m)}
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := o.asked("bob", "mallory@tests"); n != 0 {
			t.Errorf("somebody was asked about %d of its tokens", n)
		}
		if n := bob.Stats().Refused; n != 1000 {
			t.Errorf("%d were refused", n)
		}
		everybodyTalks(t, []*App{alice, bob}, []*Session{g, b})
	})
}

// Of one member's control messages so many are verified in a second, and it is a member still.
func TestFloodOfAMember(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		apps, members := h.group(SessionOptions{}, "alice", "bob")
		const n = 2000
		for i := range n {
			m := message.Message{
				Source: apps[0].self.Name, Dest: apps[1].self.Name, Fanout: 1, TTL: 8, Kind: message.Group, Type: message.Heartbeat,
				Session: members[0].ID(), ID: uint32(1e6 + i), Command: &message.Beat{Epoch: 1}, Identity: apps[0].who.token(time.Now()),
			}
			if err := apps[0].who.key.Sign(&m); err != nil {
				t.Fatal(err)
			}
			h.linkOf(apps[1]).queue <- arrival{time.Now(), m.Append(nil)}
		}
		time.Sleep(200 * time.Millisecond)
		if got := apps[1].Stats().Refused; got < n-1024-512 || got > n-1024 {
			t.Errorf("%d of %d were refused", got, n)
		}
		time.Sleep(time.Second)
		everybodyTalks(t, apps, members)
	})
}

// One who invites takes no more than its share of a listener's places, and is told why it gets no more.
func TestPlacesOfOneInviter(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		mallory, bob := h.app("mallory"), h.app("bob")
		l := listen(t, bob)
		h.cuts(func(_, _ *hubLink, m *message.Message) bool { return m.Type == message.GroupWelcome })
		declined := 0
		for range DefaultBacklog {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			_, err := mallory.Open(ctx, bob.Name(), slow)
			cancel()
			var d *Declined
			if errors.As(err, &d) && d.Reason == errNoPlaceOf.Error() {
				declined++
			} else if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("opened: %v", err)
			}
		}
		h.cuts(nil)
		if n := l.places(); n != DefaultBacklog/2 || declined != DefaultBacklog/2 || bob.Stats().Unheard != DefaultBacklog/2 {
			t.Errorf("%d places are taken, %d were declined, %+v", n, declined, bob.Stats())
		}
		if _, err := h.app("alice").Open(t.Context(), bob.Name(), quick); err != nil {
			t.Errorf("opened by another one: %v", err)
		}
		accept(t, l)
		time.Sleep(2 * time.Minute)
		if n := l.places(); n != 0 || len(l.by) != 0 {
			t.Errorf("%d places are taken, %v", n, l.by)
		}
	})
}

// Messages of epochs to come are bounded for all sessions of an app together, and those of one session by less.
func TestEarlyMessagesOfAnApp(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob := h.app("alice"), h.app("bob")
		l := listen(t, bob)
		r := h.records(alice)
		var forged []message.Message
		var all []*Session
		for range 7 {
			a, err := alice.Open(t.Context(), bob.Name(), SessionOptions{})
			if err != nil {
				t.Fatal(err)
			}
			b := accept(t, l)
			all = append(all, b)
			publish(t, a, "text")
			receives(t, b, alice, "text")
			m, err := message.Decode(r.of(message.Msg))
			if err != nil {
				t.Fatal(err)
			}
			forged = append(forged, ofNextEpoch(m, 3<<20))
		}
		sends := func() (held int64) {
			before := bob.Stats().Refused
			for _, m := range forged {
				for range 2 {
					m.ID++
					h.inject(bob, m.Append(nil))
				}
			}
			return int64(2*len(forged)) - int64(bob.Stats().Refused-before)
		}
		for range 2 {
			if n := sends(); n != mostEarly/(3<<20) {
				t.Errorf("%d messages of 3 MiB are held", n)
			}
			time.Sleep(time.Minute)
		}
		if n := sends(); n != mostEarly/(3<<20) {
			t.Errorf("%d messages of 3 MiB are held", n)
		}
		for _, s := range all {
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if !bob.early.Empty() {
			t.Error("what sessions held that are over is not given back")
		}
	})
}

// ofNextEpoch makes encrypted data into that of an epoch later, of this size.
func ofNextEpoch(m *message.Message, size int) message.Message {
	// MLSMessage of RFC 9420, section 6: version, wire format, group_id<V>, epoch, content_type, authenticated_data<V>,
	// encrypted_sender_data<V>, ciphertext<V>.
	at := 5 + int(m.Blob[4])
	forged := binary.BigEndian.AppendUint64(bytes.Clone(m.Blob[:at]), binary.BigEndian.Uint64(m.Blob[at:])+1)
	forged = append(append(forged, 1, 0, 16), make([]byte, 16)...)
	m.Blob = append(binary.BigEndian.AppendUint32(forged, 0x80000000|uint32(size)), make([]byte, size)...)
	return *m
}

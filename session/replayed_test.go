package session

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls"
	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// recorder has what goes by as a node sees it.
type recorder struct {
	mu   sync.Mutex
	last map[message.Type][]byte // guarded by mu: what one app has sent
}

func (h *hub) records(from *App) *recorder {
	r, link := &recorder{last: map[message.Type][]byte{}}, h.linkOf(from)
	h.cuts(func(from, _ *hubLink, m *message.Message) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		if from == link {
			r.last[m.Type] = m.Append(nil)
		}
		return false
	})
	return r
}

func (r *recorder) of(t message.Type) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[t]
}

// inject has a message come to an app, by nobody.
func (h *hub) inject(to *App, b []byte) {
	h.linkOf(to).queue <- arrival{time.Now(), b}
	time.Sleep(20 * time.Millisecond) // within a time in which nobody says anything
}

// What a member has said to leave does not count again when it has come back: it was heard once.
func TestLeaveIsNotSaidAgain(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprint("plain ", plain), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				apps, members := h.group(SessionOptions{Plain: plain}, "alice", "bob", "carol")
				r := h.records(apps[1])
				if err := members[1].Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(15 * time.Second)
				if err := members[0].Invite(t.Context(), apps[1].Name()); err != nil {
					t.Fatal(err)
				}
				members[1] = accept(t, apps[1].listener)
				h.inject(apps[0], r.of(message.LeaveRequest))
				if n := len(members[0].Participants()); n != 3 {
					t.Fatalf("%d members", n)
				}
				everybodyTalks(t, apps, members)
			})
		})
	}
}

// Those who are no members say what they like, and as many of them as like to, and nothing of members is forgotten for them.
func TestForeignersDoNotMakeMembersForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		apps, members := h.group(SessionOptions{}, "alice", "bob")
		r := h.records(apps[1])
		if err := members[1].Suspend(t.Context()); err != nil {
			t.Fatal(err)
		}
		suspended := r.of(message.UpdateState)
		if err := members[1].Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 101 {
			h.inject(apps[0], foreign(t, i, apps[0], members[0].ID()))
		}
		h.inject(apps[0], suspended)
		for _, p := range members[0].Participants() {
			if !p.Online {
				t.Fatalf("%v is taken for offline", p.Name)
			}
		}
		everybodyTalks(t, apps, members)
	})
}

// foreign is the heartbeat of somebody who knows the secret, and is no member.
func foreign(t *testing.T, i int, to *App, id uint32) []byte {
	t.Helper()
	signing, err := mls.GenerateSigningKey(group.Suite, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := identity.NewSecret(fmt.Sprint("org/ns/foreign", i), secret, signing.Public())
	if err != nil {
		t.Fatal(err)
	}
	key, err := identity.NewKey(signing.Bytes(), signing.Public())
	if err != nil {
		t.Fatal(err)
	}
	m := message.Message{
		Source: identity.Name(wire.Text("org", "ns", fmt.Sprint("foreign", i)), s.Subject()), Dest: to.Name().t, Fanout: 1, TTL: 8,
		Kind: message.Group, Type: message.Heartbeat, Session: id, ID: 7, Command: &message.Beat{Epoch: 1}, Identity: s.Token(time.Now()),
	}
	if err := key.Sign(&m); err != nil {
		t.Fatal(err)
	}
	return m.Append(nil)
}

// Messages of an epoch to come, which nobody can verify, are held by a bound of bytes, and not for ever.
func TestMessagesOfEpochsToCome(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		apps, members := h.group(SessionOptions{}, "alice", "bob")
		r := h.records(apps[0])
		publish(t, members[0], "text")
		m, err := message.Decode(r.of(message.Msg))
		if err != nil {
			t.Fatal(err)
		}
		// MLSMessage of RFC 9420, section 6: version, wire format, group_id<V>, epoch, content_type, authenticated_data<V>,
		// encrypted_sender_data<V>, ciphertext<V>.
		const size = 3 << 20
		at := 5 + int(m.Blob[4])
		forged := binary.BigEndian.AppendUint64(bytes.Clone(m.Blob[:at]), binary.BigEndian.Uint64(m.Blob[at:])+1)
		forged = append(append(forged, 1, 0, 16), make([]byte, 16)...)
		m.Blob = append(binary.BigEndian.AppendUint32(forged, 0x80000000|size), make([]byte, size)...)
		sends := func(n int) (refused uint64) {
			before := apps[1].Stats().Refused
			for range n {
				m.ID++
				h.inject(apps[1], m.Append(nil))
			}
			return apps[1].Stats().Refused - before
		}
		if n := sends(20); n != 18 {
			t.Errorf("of 20 messages of three megabytes %d were refused", n)
		}
		time.Sleep(time.Minute)
		if n := sends(3); n != 1 {
			t.Errorf("a minute later %d of 3 were refused", n)
		}
		receives(t, members[1], apps[0], "text")
		everybodyTalks(t, apps, members)
	})
}

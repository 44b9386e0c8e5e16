package group

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// What upstream's library tests of its machines, by our words; what shows in sessions is in TestChecklist of package session.
func TestChecklist(t *testing.T) {
	t.Parallel()
	for name, tell := range map[string]func(t *testing.T){
		"an MLS group that cannot be made fails the invitation, and the next one is tried": noGroup,
		"an answer of one phase does not end another":                                      answersOfOtherPhases,
		"records of another version are refused":                                           recordsOfAnotherVersion,
		"a session is what its records tell":                                               recordsAndBack,
		"tasks that end where they begin follow each other":                                TestTasksThatEndAtOnce,
		"an invitation is withdrawn":                                                       TestWithdrawn,
	} {
		t.Run(name, tell)
	}
}

// noGroup: its MLS has no such suite.
func noGroup(t *testing.T) {
	w := newWorld(t, 1, "alice", "bob", "carol")
	alice := w.app("alice")
	o := alice.options(message.Group, true, fast)
	suite := o.MLS.CipherSuite
	o.MLS.CipherSuite = mls.CipherSuite(0xffff)
	alice.moderate(o, wire.Text("org", "ns", "channel"))
	for _, name := range []string{"bob", "carol"} {
		alice.step(Invite{Name: w.app(name).self.Name, Handle: name})
	}
	w.Run(10 * time.Second)
	for _, name := range []string{"bob", "carol"} {
		if err, ok := alice.results[name]; !ok || err == nil || errors.Is(err, ErrNoAnswer) {
			t.Errorf("%s: resolved %v, %v", name, ok, err)
		}
	}
	o.MLS.CipherSuite = suite
	alice.step(Invite{Name: w.app("bob").self.Name, Handle: "again"})
	w.Run(10 * time.Second)
	alice.result("again")
}

// answersOfOtherPhases: every kind of answer comes with the id of every request, by one who was not asked.
func answersOfOtherPhases(t *testing.T) {
	for _, encrypted := range kinds {
		w := newWorld(t, 1, "alice", "bob", "carol")
		alice, bob, carol := w.app("alice"), w.app("bob"), w.app("carol")
		alice.moderate(alice.options(message.Group, encrypted, fast), wire.Text("org", "ns", "channel"))
		alice.step(Invite{Name: bob.self.Name, Handle: "bob"})
		said := 0
		for range 40 { // in which all phases are gone through
			w.Run(10 * time.Millisecond)
			for _, a := range alice.member.(*Moderator).asks {
				for _, kind := range []message.Type{message.DiscoveryReply, message.JoinReply, message.LeaveReply, message.GroupAck, message.GroupNack} {
					e := message.Empty(kind)
					r := message.Message{
						Source: carol.self.Name, Dest: alice.self.Name, Fanout: 1, Type: kind, Kind: message.Group, Session: 7, ID: a.message.ID, TTL: 8,
						Command: &e, Identity: carol.self.Token(w.Now),
					}
					if kind == message.JoinReply {
						r.Command = &message.Joined{Participant: carol.self.participant()}
					}
					if err := carol.self.Key.Sign(&r); err != nil {
						t.Fatal(err)
					}
					alice.hear(r.Append(nil))
					said++
				}
			}
		}
		w.Run(20 * time.Second)
		alice.result("bob")
		if got := bob.roster(); got != "alice bob" || said < 15 {
			t.Errorf("encrypted %v: bob knows %s, after %d answers", encrypted, got, said)
		}
	}
}

func kept(t *testing.T) (*app, []Record) {
	t.Helper()
	w := newWorld(t, 1, "alice", "bob")
	alice, bob := w.app("alice"), w.app("bob")
	o := alice.options(message.Group, false, fast)
	o.Keep, o.Metadata = true, map[string]string{"k": "v"}
	alice.moderate(o, wire.Text("org", "ns", "channel"))
	alice.step(Invite{Name: bob.self.Name, Handle: "bob"})
	w.Run(10 * time.Second)
	alice.result("bob")
	alice.publish("text")
	records, err := alice.member.Changes()
	if err != nil || len(records) == 0 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	return alice, records
}

func recordsOfAnotherVersion(t *testing.T) {
	_, records := kept(t)
	for i := range records {
		if records[i].Kind == RecordHead {
			records[i].Value = []byte(strings.Replace(string(records[i].Value), `"Version":1`, `"Version":2`, 1))
		}
	}
	if _, err := ReadSnapshot(records); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("read: %v", err)
	}
	if _, err := ReadSnapshot(nil); err == nil {
		t.Error("nothing is read")
	}
}

func recordsAndBack(t *testing.T) {
	alice, records := kept(t)
	s, err := ReadSnapshot(records)
	if err != nil {
		t.Fatal(err)
	}
	o := s.Options()
	o.Self, o.Random = alice.self, alice.w.r.Uint32
	if o.Kind != message.Group || o.ID != 7 || o.Data != fast || o.Metadata["k"] != "v" || s.Encrypted() || s.Moderator() != alice.self.Name {
		t.Errorf("%+v", o)
	}
	var under []string
	m, err := s.Restore(o, func(u *reliable.UnderWay) Handle { under = append(under, string(u.Payload.Blob)); return nil }, alice.w.Now)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Roster()) != 2 || len(under) != 1 || under[0] != "text" {
		t.Errorf("%v, under way %q", m.Roster(), under)
	}
}

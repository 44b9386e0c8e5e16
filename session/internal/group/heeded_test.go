package group

import (
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// What is stored of control messages are the last thousand, for as long as their tokens live, with their answers; and what was not taken is
// not among them.
func TestHeeded(t *testing.T) {
	now := time.Unix(1e9, 0)
	bob := wire.Text("org", "ns", "bob").WithID(1, 1)
	machine := func() *core {
		c := newCore(Options{Random: func() uint32 { return 1 }, Replay: 2000}, true)
		c.kept, c.now, c.moderator = new(keeping), now, bob
		return &c
	}
	c := machine()
	in := func(id uint32, t message.Type) *Inbound {
		return &Inbound{Message: &message.Message{Source: bob, ID: id, Type: t}, Claims: &identity.Claims{Expires: now.Add(time.Duration(id) * time.Second)}}
	}
	stored := map[uint64][]byte{}
	const n = mostHeeded + 100
	for id := uint32(1); id <= n; id++ {
		c.heed(in(id, message.GroupUpdate))
		c.heed(in(n+id, message.Heartbeat))
		if id%2 == 0 {
			c.acks[ackKey{bob.Name, id}] = message.GroupAck
		}
		if id == n-7 {
			c.unheed(in(id, message.GroupUpdate).Message)
		}
		if id%10 == 0 || id == n {
			rs, err := c.heededChanges(nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rs {
				if r.Kind != RecordHeeded || r.Number >= mostHeeded {
					t.Fatalf("record %d/%d", r.Kind, r.Number)
				}
				stored[r.Number] = r.Value
			}
		}
	}
	s := new(Snapshot)
	for number, text := range stored {
		if err := s.read(Record{RecordHeeded, number, text}); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(200 * time.Second)
	c = machine()
	c.remember(s.heeded)
	for id := uint32(1); id <= n; id++ {
		if want := id >= 200 && id != n-7; c.replays.Has(bob, id) != want {
			t.Errorf("%d is known: %v", id, !want)
		}
		if _, ok := c.acks[ackKey{bob.Name, id}]; ok != (id >= 200 && id%2 == 0 && id != n-7) {
			t.Errorf("%d is answered: %v", id, ok)
		}
	}
	if c.kept.count != n {
		t.Errorf("%d were counted, want %d", c.kept.count, n)
	}
}

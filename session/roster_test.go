package session

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// counted counts how often the roster is asked for.
type counted struct {
	group.Machine
	n int
}

func (c *counted) Roster() []message.Participant {
	c.n++
	return c.Machine.Roster()
}

// The roster, which may be long, is looked at when it changes, and not with each heartbeat.
func TestRosterIsLookedAtWhenItChanges(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		apps, members := h.group(SessionOptions{}, "alice", "bob", "carol")
		machines := make([]*counted, len(members))
		for i, s := range members {
			s.slot.Post(letter{first: func() {
				machines[i] = &counted{Machine: s.task.machine}
				s.task.machine = machines[i]
			}})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for i, m := range machines {
			if m.n > 0 {
				t.Errorf("%s: %d times while nothing changed", apps[i].Name(), m.n)
			}
		}
		if err := members[0].Remove(t.Context(), apps[2].Name()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if machines[1].n == 0 || len(members[1].Participants()) != 2 {
			t.Errorf("bob has looked %d times, and knows %v", machines[1].n, members[1].Participants())
		}
	})
}

package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Clocks are set while a group is there. Its members hear their moderator, which lets others in and out, whatever tokens in their leaves
// and of its last invitation tell.
func TestClocksAreSet(t *testing.T) {
	t.Parallel()
	for _, encrypted := range kinds {
		for _, by := range []time.Duration{-26 * time.Hour, -2 * time.Hour, -time.Minute, 2 * time.Hour, 26 * time.Hour} {
			t.Run(fmt.Sprint(by, " encrypted ", encrypted), func(t *testing.T) {
				w := newWorld(t, 1, "alice", "bob", "carol")
				alice := w.app("alice")
				alice.moderate(alice.options(message.Group, encrypted, fast), wire.Text("org", "ns", "channel"))
				do := func(what string, ev Event) {
					t.Helper()
					alice.step(ev)
					w.Run(10 * time.Second)
					alice.result(what)
				}
				do("invite bob", Invite{Name: w.app("bob").self.Name, Handle: "invite bob"})
				w.Now = w.Now.Add(by)
				if by == -time.Minute { // less than clocks may differ by: what was said before the invitation does not count
					w.Run(5 * time.Minute)
				}
				do("invite carol", Invite{Name: w.app("carol").self.Name, Handle: "invite carol"})
				alice.publish("after that")
				w.Run(10 * time.Second)
				alice.result("after that")
				do("remove bob", Remove{Name: w.app("bob").self.Name, Handle: "remove bob"})
				do("leave", Leave{Handle: "leave"})
				if carol := w.app("carol").member.(*Participant); !carol.over {
					t.Error("carol does not know that the group is over")
				}
			})
		}
	}
}

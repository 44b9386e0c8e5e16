package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// The state of a large group is long: a moderator writes it for a change as often as for one of a small group, however many acknowledge
// that, and not for heartbeats.
func TestLargeGroupsAreWrittenAsSeldom(t *testing.T) {
	t.Parallel()
	var written [2]int
	for i, n := range []int{3, 20} {
		var names []string
		for k := range n {
			names = append(names, fmt.Sprint("member", k))
		}
		w := keptGroup(t, names...)
		w.faults.Jitter, w.faults.Duplicate = 0, 0
		w.Run(5 * time.Second)
		alice := w.app("alice")
		alice.stores = func() {
			if alice.core().kept.changed {
				written[i]++
			}
			if _, err := alice.member.Changes(); err != nil {
				t.Fatal(err)
			}
		}
		alice.step(Remove{Name: wire.Text("org", "ns", "bob"), Handle: "remove"})
		w.Run(time.Minute)
		alice.result("remove")
		for _, a := range w.apps {
			if a != alice && !a.ended && len(a.member.Roster()) != n+1 {
				t.Errorf("%s knows %s", a.self.Name.Str[2], a.roster())
			}
		}
	}
	if written[0] == 0 || written[1] > written[0] {
		t.Errorf("written %d times among few, and %d times among many", written[0], written[1])
	}
}

// A moderator that is killed before it has stored who has acknowledged a change hears it once more.
func TestKilledAmongAcknowledgements(t *testing.T) {
	w := keptGroup(t, "carol", "dave", "erin")
	alice := w.app("alice")
	acks := 0
	w.reach = func(from, to *app) bool { return from != w.app("erin") }
	w.tap = func(from *app, m *message.Message) {
		if m.Type == message.GroupAck {
			acks++
		}
	}
	alice.step(Remove{Name: wire.Text("org", "ns", "bob"), Handle: "remove"})
	for acks < 3 {
		w.Run(10 * time.Millisecond)
	}
	w.Run(100 * time.Millisecond)
	alice.again()
	w.heal()
	w.Run(20 * time.Second)
	for _, name := range []string{"alice", "carol", "dave", "erin"} {
		if got := w.app(name).roster(); got != "alice carol dave erin" {
			t.Errorf("%s knows %s", name, got)
		}
	}
	if bob := w.app("bob"); !bob.ended || bob.why != ErrRemoved {
		t.Errorf("bob's session is over %v, %v", bob.ended, bob.why)
	}
}

// An answer to what thousands are asked takes no memory.
func TestAllocsOfAnswers(t *testing.T) {
	c := newCore(Options{Random: func() uint32 { return 1 }}, false)
	var names []wire.NameText
	for i := range 1000 {
		names = append(names, wire.Text("org", "ns", fmt.Sprint("member", i)))
	}
	a := &ask{message: message.Message{ID: 7}, done: func([]wire.NameText) {}}
	a.lacking = append(a.lacking, names...)
	c.asks = append(c.asks, a)
	i := 900
	if n := testing.AllocsPerRun(500, func() {
		if i--; !c.answered(7, &names[i]) {
			t.Fatalf("no answer of %v was awaited", names[i])
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if len(a.lacking) != 1000-501 || a.lacks(&names[500]) || !a.lacks(&names[950]) || !a.lacks(&names[0]) {
		t.Errorf("%d lack it", len(a.lacking))
	}
}

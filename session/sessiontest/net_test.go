package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/leak"
	"github.com/seed31b3bfd0/slimgo/session"
)

func TestMain(m *testing.M) {
	// Most that tests make is garbage soon.
	debug.SetGCPercent(400)
	leak.Main(m)
}

// bubble runs a test in simulated time.
func bubble(t *testing.T, o Options, run func(t *testing.T, n *Net)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { run(t, New(t, o)) })
}

func app(name string) string { return "org/ns/" + name }

// listen has an app take all invitations.
func listen(t *testing.T, a *session.App) *session.Listener {
	t.Helper()
	l, err := a.Listen(session.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func accept(t *testing.T, l *session.Listener) *session.Session {
	t.Helper()
	s, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pair opens a session of alice with bob.
func pair(t *testing.T, n *Net, o session.SessionOptions) (a, b *session.Session) {
	t.Helper()
	alice, l := n.App(app("alice")), listen(t, n.App(app("bob")))
	a, err := alice.Open(t.Context(), session.MustName(app("bob")), o)
	if err != nil {
		t.Fatal(err)
	}
	return a, accept(t, l)
}

// groupOf opens a group of these apps, of which the first is the moderator.
func groupOf(t *testing.T, n *Net, o session.SessionOptions, names ...string) (members []*session.Session) {
	t.Helper()
	g, err := n.App(app(names[0])).OpenGroup(t.Context(), session.MustName(app("channel")), o)
	if err != nil {
		t.Fatal(err)
	}
	members = append(members, g)
	for _, name := range names[1:] {
		members = append(members, join(t, n, g, name))
	}
	return members
}

// join has g's moderator invite a new app.
func join(t *testing.T, n *Net, g *session.Session, name string) *session.Session {
	t.Helper()
	l := listen(t, n.App(app(name)))
	if err := g.Invite(t.Context(), session.MustName(app(name))); err != nil {
		t.Fatalf("inviting %s: %v", name, err)
	}
	return accept(t, l)
}

// say publishes texts, one after the other, and waits until all are delivered.
func say(t *testing.T, s *session.Session, texts ...string) {
	t.Helper()
	for _, text := range texts {
		d, err := s.Publish(t.Context(), session.Text(text))
		if err != nil {
			t.Fatalf("%v publishes %q: %v", s.Self(), text, err)
		}
		if err := d.Wait(t.Context()); err != nil {
			t.Errorf("%v: %q: %v", s.Self(), text, err)
		}
	}
}

// hear wants these texts as the next ones.
func hear(t *testing.T, s *session.Session, texts ...string) {
	t.Helper()
	for _, want := range texts {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		m, err := s.Receive(ctx)
		cancel()
		if err != nil {
			t.Fatalf("%v: instead of %q: %v", s.Self(), want, err)
		}
		if string(m.Data) != want {
			t.Errorf("%v: got %q, want %q", s.Self(), m.Data, want)
		}
	}
}

// quiet wants no message that waits.
func quiet(t *testing.T, members ...*session.Session) {
	t.Helper()
	for _, s := range members {
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		m, err := s.Receive(ctx)
		cancel()
		if err == nil {
			t.Errorf("%v: got %q, which is too much", s.Self(), m.Data)
		}
	}
}

// roster is how a member sees its session.
func roster(s *session.Session) string {
	var names []string
	for _, p := range s.Participants() {
		name := short(p.Name.String())
		if !p.Online {
			name += " (offline)"
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

// numbered are n texts.
func numbered(text string, n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprint(text, " ", i))
	}
	return list
}

func TestNodeRoutes(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, n *Net) {
		alice := n.App(app("alice"))
		var listeners []*session.Listener
		for range 2 {
			listeners = append(listeners, listen(t, n.App(app("bob"))))
		}
		// Instances take turns: each gets one of two.
		for range 2 {
			if _, err := alice.Open(t.Context(), session.MustName(app("bob")), session.SessionOptions{Plain: true}); err != nil {
				t.Fatal(err)
			}
		}
		for _, l := range listeners {
			accept(t, l)
		}
		_, err := alice.Open(t.Context(), session.MustName(app("nobody")), session.SessionOptions{Plain: true, Retries: 2})
		if !errors.Is(err, session.ErrTimeout) {
			t.Errorf("opened with nobody: %v", err)
		}
		log := n.Log().String()
		if !strings.Contains(log, "alice → nobody (nobody)") || !strings.Contains(log, "alice → bob·2") {
			t.Errorf("%v", log)
		}
		if k := n.Subscriptions(app("bob")); k != 2 {
			t.Errorf("bob has %d names", k)
		}
	})
}

// What a network does depends on its seed alone.
func TestSeeds(t *testing.T) {
	run := func(seed uint64) (log string) {
		bubble(t, Options{Seed: seed, Loss: 0.1, Duplicate: 0.1, Reorder: 0.2, Jitter: 3 * time.Millisecond}, func(t *testing.T, n *Net) {
			members := groupOf(t, n, session.SessionOptions{Retries: 30}, "alice", "bob", "carol")
			for range 5 {
				for _, s := range members {
					say(t, s, "text")
				}
			}
			if err := members[0].Close(t.Context()); err != nil {
				t.Error(err)
			}
			log = n.Log().String()
		})
		return log
	}
	one := run(1)
	if again := run(1); again != one {
		a, b := strings.Split(one, "\n"), strings.Split(again, "\n")
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				t.Fatalf("line %d is\n%s\nand was\n%s\nafter\n%s", i, b[i], a[i], strings.Join(a[max(0, i-10):i], "\n"))
			}
		}
		t.Fatalf("%d lines, and were %d", len(b), len(a))
	}
	if run(2) == one {
		t.Error("another seed is the same")
	}
	for _, mark := range []string{"✗lost", "×2", "late"} {
		if !strings.Contains(one, mark) {
			t.Errorf("nothing is %s", mark)
		}
	}
}

func TestPartition(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, n *Net) {
		members := groupOf(t, n, session.SessionOptions{Interval: time.Second, Retries: 3}, "alice", "bob", "carol")
		n.Partition(app("carol"))
		d, err := members[0].Publish(t.Context(), session.Text("to two"))
		if err != nil {
			t.Fatal(err)
		}
		var missing *session.NotDelivered
		if err := d.Wait(t.Context()); !errors.As(err, &missing) || len(missing.Missing) != 1 || missing.Missing[0] != members[2].Self() {
			t.Errorf("delivered: %v", err)
		}
		hear(t, members[1], "to two")
		n.Heal()
		time.Sleep(30 * time.Second)
		say(t, members[0], "to all")
		hear(t, members[2], "to all") // what was reported as not delivered is not repeated
	})
}

func TestCrash(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, n *Net) {
		members := groupOf(t, n, session.SessionOptions{}, "alice", "bob", "carol")
		before := len(n.Log().Where(func(e *Entry) bool { return e.From == members[1].Self() }).Entries)
		n.Crash(app("bob"))
		<-members[1].Done()
		time.Sleep(time.Minute)
		if after := len(n.Log().Where(func(e *Entry) bool { return e.From == members[1].Self() }).Entries); after != before {
			t.Errorf("bob has said %d messages after its death", after-before)
		}
		if got := roster(members[0]); got != "alice bob (offline) carol" {
			t.Errorf("alice knows %s", got)
		}
		n.App(app("bob"))
		if k := n.Subscriptions(app("bob")); k != 1 {
			t.Errorf("bob has %d names", k)
		}
	})
}

// An app whose connection is lost and comes back loses nothing.
func TestDisconnect(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, n *Net) {
		a, b := pair(t, n, session.SessionOptions{})
		n.Disconnect(app("alice"))
		d, err := a.Publish(t.Context(), session.Text("later"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2500 * time.Millisecond)
		begin := time.Now()
		n.Reconnect(app("alice"))
		if err := d.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took != 2*DefaultDelay {
			t.Errorf("it took %v", took)
		}
		hear(t, b, "later")
	})
}

// A node that takes nothing holds an app up, and loses nothing.
func TestHold(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, n *Net) {
		a, b := pair(t, n, session.SessionOptions{Unreliable: true, Plain: true})
		n.Hold(app("alice"))
		var all []*session.Delivery
		for _, text := range numbered("text", 50) {
			d, err := a.Publish(t.Context(), session.Text(text))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, d)
		}
		time.Sleep(5 * time.Second)
		quiet(t, b)
		n.Release(app("alice"))
		hear(t, b, numbered("text", 50)...)
		for _, d := range all {
			if err := d.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestRules(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, n *Net) {
		a, b := pair(t, n, session.SessionOptions{})
		lost := n.Drop(app("alice"), app("bob"), "msg", 2)
		begin := time.Now()
		say(t, a, "third time")
		if took := time.Since(begin); took != 2*time.Second+2*DefaultDelay || n.Met(lost) != 2 {
			t.Errorf("it took %v, and %d were lost", took, n.Met(lost))
		}
		hear(t, b, "third time")
		late := &Rule{Delay: 500 * time.Millisecond, Match: func(e *Entry, _ string) bool { return e.Type == "msg" }}
		n.Add(late)
		begin = time.Now()
		say(t, a, "late")
		if took := time.Since(begin); took != 500*time.Millisecond+2*DefaultDelay {
			t.Errorf("it took %v", took)
		}
		n.Remove(late)
		say(t, a, "at once")
		fates := map[Fate]int{}
		for _, e := range n.Log().Where(func(e *Entry) bool { return e.Type == "msg" }).Entries {
			fates[e.To[0].Fate]++
		}
		if fates[Dropped] != 2 || fates[Delayed] != 1 || fates[Arrived] != 2 {
			t.Errorf("%v", fates)
		}
	})
}

// A log keeps the last messages, and says how many there were before.
func TestLogIsBounded(t *testing.T) {
	bubble(t, Options{Log: 10}, func(t *testing.T, n *Net) {
		a, b := pair(t, n, session.SessionOptions{Plain: true})
		for _, text := range numbered("text", 100) {
			say(t, a, text)
			hear(t, b, text)
		}
		log := n.Log()
		if len(log.Entries) != 10 || log.Left != 196 || log.Entries[9].Type != "msg_ack" || log.Entries[9].ID != 100 {
			t.Errorf("%d entries, %d left out:\n%v", len(log.Entries), log.Left, log)
		}
		if !slices.IsSortedFunc(log.Entries, func(a, b *Entry) int { return int(a.At - b.At) }) {
			t.Errorf("%v", log)
		}
	})
}

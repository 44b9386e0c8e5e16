package sessiontest

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt")

// Each story of how sessions begin, change and end, as our apps tell it to each other: who says what to whom, message by message.
// -update writes testdata anew; the difference is to be looked at.
func TestStories(t *testing.T) {
	t.Parallel()
	for name, tell := range map[string]func(t *testing.T, n *Net){
		"point-to-point": func(t *testing.T, n *Net) {
			a, b := pair(t, n, session.SessionOptions{})
			say(t, a, "hello")
			hear(t, b, "hello")
			say(t, b, "hello yourself")
			closes(t, b)
			over(t, a, time.Second, session.ErrClosed)
		},
		"point-to-point-closed-by-its-moderator": func(t *testing.T, n *Net) {
			a, b := pair(t, n, session.SessionOptions{Plain: true, Unreliable: true})
			say(t, a, "hello")
			hear(t, b, "hello")
			closes(t, a)
			over(t, b, time.Second, session.ErrClosed)
		},
		"first-member": func(t *testing.T, n *Net) {
			members := groupOf(t, n, session.SessionOptions{}, "alice", "bob")
			rosters(t, "alice bob", members...)
		},
		"later-member": func(t *testing.T, n *Net) {
			members := groupOf(t, n, session.SessionOptions{}, "alice", "bob", "carol")
			rosters(t, "alice bob carol", members...)
			say(t, members[1], "hello, all")
		},
		"removal": func(t *testing.T, n *Net) {
			members := groupOf(t, n, session.SessionOptions{}, "alice", "bob", "carol")
			removes(t, members[0], members[1])
			over(t, members[1], time.Second, session.ErrRemoved)
			removes(t, members[0], members[2])
		},
		"leave": func(t *testing.T, n *Net) {
			members := groupOf(t, n, session.SessionOptions{}, "alice", "bob", "carol")
			closes(t, members[1])
			time.Sleep(time.Second)
			rosters(t, "alice carol", members[0], members[2])
		},
		"close": func(t *testing.T, n *Net) {
			members := groupOf(t, n, session.SessionOptions{}, "alice", "bob", "carol")
			closes(t, members[0])
			over(t, members[1], time.Second, session.ErrClosed)
			over(t, members[2], time.Second, session.ErrClosed)
		},
		"suspend-and-resume": func(t *testing.T, n *Net) {
			members := groupOf(t, n, session.SessionOptions{}, "alice", "bob", "carol")
			suspends(t, members[1])
			say(t, members[0], "bob is away")
			resumes(t, members[1])
			say(t, members[0], "bob is back")
		},
		"rejoin": func(t *testing.T, n *Net) {
			members := groupOf(t, n, session.SessionOptions{}, "alice", "bob", "carol", "dave")
			suspends(t, members[1])
			removes(t, members[0], members[3])
			time.Sleep(time.Second) // dave is gone
			resumes(t, members[1])
			time.Sleep(time.Second)
			rosters(t, "alice bob carol", members[:3]...)
		},
		"rejoin-after-a-partition": func(t *testing.T, n *Net) {
			members := groupOf(t, n, session.SessionOptions{Retries: 2}, "alice", "bob", "carol", "dave")
			n.Partition(app("bob"))
			removes(t, members[0], members[3])
			n.Heal()
			time.Sleep(40 * time.Second)
			rosters(t, "alice bob carol", members[:3]...)
		},
		"heartbeat": func(t *testing.T, n *Net) {
			members := groupOf(t, n, session.SessionOptions{}, "alice", "bob", "carol")
			n.Partition(app("carol"))
			time.Sleep(45 * time.Second)
			rosters(t, "alice bob carol (offline)", members[:2]...)
			n.Heal()
			time.Sleep(30 * time.Second)
			rosters(t, "alice bob carol", members...)
		},
		"lost-messages": func(t *testing.T, n *Net) {
			a, b := pair(t, n, session.SessionOptions{})
			n.Drop(app("alice"), app("bob"), "msg", 1)
			first, err := a.Publish(t.Context(), session.Text("first"))
			if err != nil {
				t.Fatal(err)
			}
			say(t, a, "second")
			if err := first.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			hear(t, b, "first", "second")
		},
		"lost-welcome": func(t *testing.T, n *Net) {
			n.Drop("", "", "group_welcome", 1)
			members := groupOf(t, n, session.SessionOptions{}, "alice", "bob")
			rosters(t, "alice bob", members...)
		},
		"declined": func(t *testing.T, n *Net) {
			alice, bob := n.App(app("alice")), n.App(app("bob"))
			if _, err := bob.Listen(session.ListenOptions{Accept: func(*session.Invitation) error { return session.ErrUnauthorized }}); err != nil {
				t.Fatal(err)
			}
			if _, err := alice.Open(t.Context(), session.MustName(app("bob")), session.SessionOptions{}); err == nil {
				t.Error("opened")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got string
			synctest.Test(t, func(t *testing.T) {
				n := New(t, Options{})
				tell(t, n)
				got = n.Log().String()
			})
			path := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func closes(t *testing.T, s *session.Session) {
	t.Helper()
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("%v closes: %v", s.Self(), err)
	}
}

func removes(t *testing.T, g, s *session.Session) {
	t.Helper()
	if err := g.Remove(t.Context(), s.Self()); err != nil {
		t.Errorf("%v is removed: %v", s.Self(), err)
	}
}

func suspends(t *testing.T, s *session.Session) {
	t.Helper()
	if err := s.Suspend(t.Context()); err != nil {
		t.Errorf("%v suspends: %v", s.Self(), err)
	}
}

func resumes(t *testing.T, s *session.Session) {
	t.Helper()
	if err := s.Resume(t.Context()); err != nil {
		t.Errorf("%v resumes: %v", s.Self(), err)
	}
}

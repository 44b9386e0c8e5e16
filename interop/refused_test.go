//go:build interop

package interop

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
)

// brisk is a session in which what is not answered is given up after ten seconds.
var brisk = session.SessionOptions{Interval: 500 * time.Millisecond, Retries: 20}

// awaitEvent waits for an event that match holds for.
func awaitEvent(t *testing.T, s *session.Session, what string, match func(session.Event) bool) {
	t.Helper()
	ctx := within(t)
	for {
		e, err := s.NextEvent(ctx)
		if err != nil {
			t.Fatalf("%v: no event of %s: %v", s.Self(), what, err)
		}
		if match(e) {
			return
		}
	}
}

// Applications of upstream's that have another secret neither come in nor are found. They are counted, and a group beside that loses
// nothing.
func TestPeersWithAnotherSecret(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		b := n.member(t, "org/ns/b")
		a := n.connect(t, "org/ns/a")
		listen(t, a)
		g, err := a.OpenGroup(within(t), session.MustName(channel), brisk)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Invite(within(t), session.MustName(b.name)); err != nil {
			t.Fatal(err)
		}
		foreign := []string{"--secret", "another-secret-0123456789-0123456789-abcdefghij"}
		p := n.peer(t, "send", "org/ns/mallory", append(foreign, "--to", "org/ns/a", "--mls", "--retries", "2", "--interval-ms", "200")...)
		if e := p.expect(t, "error"); e.text("what") != "fatal" {
			t.Errorf("a session with another secret: %v", e)
		}
		await(t, "it is counted", func() bool { return a.Stats().Unbelieved > 0 })
		if s := a.Stats(); s.Sessions != 1 {
			t.Errorf("%+v", s)
		}
		m := n.member(t, "org/ns/mallory", foreign...)
		invited := make(chan error, 1)
		go func() { invited <- g.Invite(t.Context(), session.MustName(m.name)) }()
		says(t, g, series("of a", 20)...)
		b.receives(t, series("of a", 20)...)
		if err := <-invited; !errors.Is(err, session.ErrTimeout) {
			t.Errorf("invited: %v", err)
		}
		b.do(t, event{"publish": "of b", "count": 20})
		hears(t, g, series("of b", 20)...)
	})
}

// A moderator of upstream's that is killed leaves a group that goes on without it: what is said comes to all others, its Delivery names who
// has not got it, an event tells who is offline, and who leaves need not wait for ever.
func TestModeratorIsKilled(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		for _, shape := range shapes[:2] {
			t.Run(shape.String(), func(t *testing.T) {
				n := startNode(t, k)
				x := n.member(t, "org/ns/x")
				b, c := n.connect(t, "org/ns/b"), n.connect(t, "org/ns/c")
				lb, lc := listen(t, b), listen(t, c)
				flags := append(shape.flags(), "--channel", channel, "--interval-ms", "5000", "--retries", "1") // timers of all
				m := n.app(t, "moderate", "org/ns/moderator", flags...)
				m.invite(t, x)
				m.do(t, event{"invite": "org/ns/b"})
				sb := accept(t, lb)
				m.do(t, event{"invite": "org/ns/c"})
				sc := accept(t, lc)
				members(t, sb, 4)
				m.kill()
				var all []*session.Delivery
				for _, text := range series("of b", 20) {
					d, err := sb.Publish(within(t), session.Text(text))
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, d)
				}
				hears(t, sc, series("of b", 20)...)
				x.receives(t, series("of b", 20)...)
				for _, d := range all {
					var missing *session.NotDelivered
					if err := d.Wait(within(t)); !errors.As(err, &missing) || len(missing.Missing) != 1 || missing.Missing[0].String() != m.name {
						t.Fatalf("delivered: %v", err)
					}
				}
				awaitEvent(t, sb, "its absence", func(e session.Event) bool {
					p, ok := e.(session.Presence)
					return ok && p.Name.String() == m.name && !p.Online
				})
				says(t, sb, "without it")
				hears(t, sc, "without it")
				x.receives(t, "without it")
				for _, s := range []*session.Session{sb, sc} {
					if err := s.Close(within(t)); err != nil {
						t.Error(err)
					}
				}
			})
		}
	})
}

// An application of upstream's that stands still while it is invited is given up, and the others lose nothing meanwhile. What it answers when
// it goes on is refused, counted and told of, and then it can be invited.
func TestMemberStandsStillWhileItIsInvited(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		for _, shape := range shapes[:2] {
			t.Run(shape.String(), func(t *testing.T) {
				n := startNode(t, k)
				b, c := n.member(t, "org/ns/b"), n.member(t, "org/ns/c")
				a := n.connect(t, "org/ns/a")
				o := brisk
				o.Plain = shape.plain
				g, err := a.OpenGroup(within(t), session.MustName(channel), o)
				if err != nil {
					t.Fatal(err)
				}
				if err := g.Invite(within(t), session.MustName(b.name)); err != nil {
					t.Fatal(err)
				}
				c.freeze(t)
				invited := make(chan error, 1)
				go func() { invited <- g.Invite(context.WithoutCancel(t.Context()), session.MustName(c.name)) }()
				says(t, g, series("of a", 100)...)
				b.receives(t, series("of a", 100)...)
				b.do(t, event{"publish": "of b", "count": 100})
				hears(t, g, series("of b", 100)...)
				if err := <-invited; !errors.Is(err, session.ErrTimeout) {
					t.Errorf("invited: %v", err)
				}
				if n := len(g.Participants()); n != 2 {
					t.Errorf("%d members, want 2", n)
				}
				c.signal(t, syscall.SIGCONT)
				awaitEvent(t, g, "its late answer", func(e session.Event) bool {
					r, ok := e.(session.Refused)
					return ok && r.From.String() == c.name
				})
				if a.Stats().Refused == 0 {
					t.Errorf("%+v", a.Stats())
				}
				if err := g.Invite(within(t), session.MustName(c.name)); err != nil {
					t.Fatal(err)
				}
				says(t, g, series("to both", 20)...)
				b.receives(t, series("to both", 20)...)
				c.receives(t, series("to both", 20)...)
				if err := g.Close(within(t)); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

//go:build interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
)

// slimPeerSecret is the shared secret of slim-peer and of the Python peers.
const slimPeerSecret = "judge-shared-secret-0123456789-abcdefghij"

// shape is what a session is like, for both libraries.
type shape struct{ plain, unreliable bool }

var shapes = []shape{{}, {plain: true}, {unreliable: true}, {plain: true, unreliable: true}}

func (s shape) String() string {
	text := "MLS"
	if s.plain {
		text = "plain"
	}
	if s.unreliable {
		return text + " unreliable"
	}
	return text + " reliable"
}

func (s shape) options() session.SessionOptions {
	return session.SessionOptions{Plain: s.plain, Unreliable: s.unreliable}
}

// flags are those of slim-peer.
func (s shape) flags() (args []string) {
	if !s.plain {
		args = append(args, "--mls")
	}
	if s.unreliable {
		args = append(args, "--unreliable")
	}
	return args
}

// inAllShapes runs a scenario on both nodes with sessions of all shapes.
func inAllShapes(t *testing.T, scenario func(t *testing.T, n *node, s shape)) {
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		for _, s := range shapes {
			t.Run(s.String(), func(t *testing.T) { scenario(t, n, s) })
		}
	})
}

// logs writes a test's log.
type logs struct{ t *testing.T }

func (l logs) Write(b []byte) (int, error) {
	l.t.Logf("%s", b)
	return len(b), nil
}

// connect starts an application of ours.
func (n *node) connect(t *testing.T, name string, change ...func(*session.Options)) *session.App {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	binding := session.Enforce
	if n.binding == "warn" {
		binding = session.Warn
	}
	o := session.Options{
		Name: session.MustName(name), Secret: []byte(slimPeerSecret), Nodes: []string{n.url()}, Binding: binding,
		Logger: slog.New(slog.NewTextHandler(logs{t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&o)
	}
	a, err := session.Connect(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*limit)
		defer cancel()
		if err := a.Close(ctx); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	})
	return a
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	t.Cleanup(cancel)
	return ctx
}

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
	s, err := l.Accept(within(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// says publishes texts and waits until they are delivered.
func says(t *testing.T, s *session.Session, texts ...string) {
	t.Helper()
	ctx := within(t)
	var all []*session.Delivery
	for _, text := range texts {
		d, err := s.Publish(ctx, session.Text(text))
		if err != nil {
			t.Fatalf("%v: %q: %v", s.Self(), text, err)
		}
		all = append(all, d)
	}
	for i, d := range all {
		if err := d.Wait(ctx); err != nil {
			t.Fatalf("%v: %q: %v", s.Self(), texts[i], err)
		}
	}
}

// hears wants exactly these texts as the next messages. In unreliable sessions their order is not looked at.
func hears(t *testing.T, s *session.Session, texts ...string) {
	t.Helper()
	ctx := within(t)
	var got []string
	for i, want := range texts {
		m, err := s.Receive(ctx)
		if err != nil {
			t.Fatalf("%v: message %d of %d, %q, did not come: %v", s.Self(), i+1, len(texts), want, err)
		}
		got = append(got, unfilled(string(m.Data)))
		if s.Encrypted() && m.Subject == "" {
			t.Errorf("%v: %q is of nobody", s.Self(), m.Data)
		}
	}
	if !s.Reliable() {
		slices.Sort(got)
		texts = slices.Sorted(slices.Values(texts))
	}
	if !slices.Equal(got, texts) {
		t.Fatalf("%v: got %q, want %q", s.Self(), got, texts)
	}
}

// members wants that many participants.
func members(t *testing.T, s *session.Session, want int) {
	t.Helper()
	ctx := within(t)
	for len(s.Participants()) != want {
		if _, err := s.NextEvent(ctx); err != nil {
			t.Fatalf("%v: %d members, want %d: %v", s.Self(), len(s.Participants()), want, err)
		}
	}
}

const eachWay = 500 // messages each way

// An application of ours opens a session with one of upstream's.
func TestGoOpensASession(t *testing.T) {
	t.Parallel()
	inAllShapes(t, func(t *testing.T, n *node, shape shape) {
		b := n.app(t, "echo", bob, "--quiet")
		a := n.connect(t, alice)
		s, err := a.Open(within(t), session.MustName(bob), shape.options())
		if err != nil {
			t.Fatal(err)
		}
		var answers []string
		for i := range eachWay {
			text := fmt.Sprintf("%08d", i)
			answers = append(answers, "echo:"+text)
			says(t, s, text)
		}
		hears(t, s, answers...)
		if err := s.Close(within(t)); err != nil {
			t.Error(err)
		}
		if left := b.expect(t, "left"); left.number("received") != eachWay {
			t.Errorf("%v", left)
		}
		b.quit(t)
	})
}

// An application of upstream's opens a session with one of ours.
func TestGoIsAskedForASession(t *testing.T) {
	inAllShapes(t, func(t *testing.T, n *node, shape shape) {
		a := n.connect(t, bob)
		l := listen(t, a)
		done := make(chan error, 1)
		go func() {
			s, err := l.Accept(t.Context())
			if err != nil {
				done <- err
				return
			}
			for m, err := range s.Messages(t.Context()) {
				if err != nil {
					done <- err
					return
				}
				if _, err := m.Reply(t.Context(), session.Content{Data: append([]byte("echo:"), m.Data...)}); err != nil {
					done <- err
					return
				}
			}
			done <- s.Err()
		}()
		args := append([]string{"--to", bob, "--count", fmt.Sprint(eachWay), "--size", "100", "--inflight", "16", "--echo"}, shape.flags()...)
		wantAnswers(t, n.run(t, "send", alice, args...), eachWay)
		if err := <-done; !errors.Is(err, session.ErrClosed) {
			t.Error(err)
		}
	})
}

// An application of ours leads a group of upstream's.
func TestGoLeadsAGroup(t *testing.T) {
	t.Parallel()
	inAllShapes(t, func(t *testing.T, n *node, shape shape) {
		b, c, d := n.member(t, "org/ns/b"), n.member(t, "org/ns/c"), n.member(t, "org/ns/d")
		a := n.connect(t, "org/ns/moderator")
		g, err := a.OpenGroup(within(t), session.MustName(channel), shape.options())
		if err != nil {
			t.Fatal(err)
		}
		invite := func(m *app) {
			t.Helper()
			if err := g.Invite(within(t), session.MustName(m.name)); err != nil {
				t.Fatal(err)
			}
			m.expect(t, "session")
		}
		invite(b)
		invite(c)
		says(t, g, series("first", eachWay)...)
		for _, m := range []*app{b, c} {
			m.receives(t, series("first", eachWay)...)
		}
		b.do(t, event{"publish": "of b", "count": eachWay, "inflight": 16})
		hears(t, g, series("of b", eachWay)...)
		c.receives(t, series("of b", eachWay)...)
		if err := g.Remove(within(t), session.MustName(b.name)); err != nil {
			t.Fatal(err)
		}
		b.expect(t, "left")
		says(t, g, series("second", 20)...)
		c.receives(t, series("second", 20)...)
		invite(d)
		invite(b)
		says(t, g, series("third", 20)...)
		for _, m := range []*app{b, c, d} {
			m.receives(t, series("third", 20)...)
		}
		d.do(t, event{"publish": "of d", "count": 20})
		hears(t, g, series("of d", 20)...)
		for _, m := range []*app{b, c} {
			m.receives(t, series("of d", 20)...)
		}
		c.do(t, event{"leave": true})
		members(t, g, 3)
		says(t, g, series("fourth", 20)...)
		for _, m := range []*app{b, d} {
			m.receives(t, series("fourth", 20)...)
		}
		for _, m := range []*app{b, c, d} {
			m.receivedNothing(t)
		}
		if err := g.Close(within(t)); err != nil {
			t.Error(err)
		}
		for _, m := range []*app{b, d} {
			m.expect(t, "left")
			m.quit(t)
		}
		c.quit(t)
	})
}

// Applications of ours are members of a group that one of upstream's leads, beside others of upstream's.
func TestGoIsInvitedToAGroup(t *testing.T) {
	t.Parallel()
	inAllShapes(t, func(t *testing.T, n *node, shape shape) {
		x := n.member(t, "org/ns/x")
		b, c := n.connect(t, "org/ns/b"), n.connect(t, "org/ns/c")
		lb, lc := listen(t, b), listen(t, c)
		m := n.app(t, "moderate", "org/ns/moderator", append([]string{"--channel", channel}, shape.flags()...)...)
		m.invite(t, x)
		m.do(t, event{"invite": "org/ns/b"})
		sb := accept(t, lb)
		m.do(t, event{"invite": "org/ns/c"})
		sc := accept(t, lc)
		members(t, sb, 4)
		m.do(t, event{"publish": "first", "count": eachWay, "inflight": 16})
		for _, s := range []*session.Session{sb, sc} {
			hears(t, s, series("first", eachWay)...)
		}
		x.receives(t, series("first", eachWay)...)
		says(t, sb, series("of b", eachWay)...)
		hears(t, sc, series("of b", eachWay)...)
		x.receives(t, series("of b", eachWay)...)
		m.receives(t, series("of b", eachWay)...)
		m.do(t, event{"remove": "org/ns/b"})
		<-sb.Done()
		if err := sb.Err(); !errors.Is(err, session.ErrRemoved) {
			t.Errorf("b is out: %v", err)
		}
		m.do(t, event{"publish": "second", "count": 20})
		hears(t, sc, series("second", 20)...)
		x.receives(t, series("second", 20)...)
		m.do(t, event{"invite": "org/ns/b"})
		sb = accept(t, lb)
		says(t, sc, series("of c", 20)...)
		hears(t, sb, series("of c", 20)...)
		x.receives(t, series("of c", 20)...)
		m.receives(t, series("of c", 20)...)
		if err := sc.Close(within(t)); err != nil {
			t.Error(err)
		}
		members(t, sb, 3)
		m.do(t, event{"publish": "third", "count": 20})
		hears(t, sb, series("third", 20)...)
		m.do(t, event{"close": true})
		select {
		case <-sb.Done():
		case <-time.After(limit):
			t.Error("b's session goes on")
		}
		x.quit(t)
	})
}

// One group has members on Rust, Python, Node.js and of ours, and each of the first two and ours leads one.
func TestGoInAGroupOfAllLanguages(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		n.binding = "warn" // the Node.js binding signs no payloads
		for _, plain := range []bool{false, true} {
			suffix := fmt.Sprint("-", plain)
			rust, py := n.member(t, "org/ns/rust"+suffix), n.script(t, &python, "org/ns/python"+suffix)
			js := n.script(t, &javascript, "org/ns/js"+suffix)
			a := n.connect(t, "org/ns/go"+suffix)
			others := []*app{rust, py, js}

			g, err := a.OpenGroup(within(t), session.MustName(channel), session.SessionOptions{Plain: plain})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range others {
				if err := g.Invite(within(t), session.MustName(m.name)); err != nil {
					t.Fatalf("%s: %v", m.name, err)
				}
				m.expect(t, "session")
			}
			says(t, g, series("of go", 100)...)
			for _, m := range others {
				m.receives(t, series("of go", 100)...)
			}
			for _, m := range others {
				m.do(t, event{"publish": "of " + m.name, "count": 20})
				hears(t, g, series("of "+m.name, 20)...)
				for _, other := range others {
					if other != m {
						other.receives(t, series("of "+m.name, 20)...)
					}
				}
			}
			if err := g.Close(within(t)); err != nil {
				t.Error(err)
			}
			for _, m := range others {
				m.expect(t, "left")
			}

			l := listen(t, a)
			py.do(t, event{"group": channel + suffix, "mls": !plain})
			for _, name := range []string{a.Name().String(), rust.name, js.name} {
				py.do(t, event{"invite": name})
			}
			s := accept(t, l)
			members(t, s, 4)
			py.do(t, event{"publish": "of python", "count": 20})
			hears(t, s, series("of python", 20)...)
			says(t, s, series("of go", 20)...)
			for _, m := range others {
				if m != py {
					m.receives(t, series("of python", 20)...)
				}
				m.receives(t, series("of go", 20)...)
			}
			py.do(t, event{"close": true})
			<-s.Done()
		}
	})
}

// A member that is killed is named by what it has not got, and the others get everything; when the app is there again, it can be
// invited again.
func TestGoLeadsAGroupWhoseMemberDies(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		for _, plain := range []bool{false, true} {
			suffix := fmt.Sprint("-", plain)
			b, c := n.member(t, "org/ns/b"+suffix), n.member(t, "org/ns/c"+suffix)
			a := n.connect(t, "org/ns/moderator"+suffix)
			o := session.SessionOptions{Plain: plain, Interval: 500 * time.Millisecond, Retries: 20}
			g, err := a.OpenGroup(within(t), session.MustName(channel), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range []*app{b, c} {
				if err := g.Invite(within(t), session.MustName(m.name)); err != nil {
					t.Fatal(err)
				}
			}
			b.kill()
			var all []*session.Delivery
			for _, text := range series("text", 20) {
				d, err := g.Publish(within(t), session.Text(text))
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, d)
			}
			c.receives(t, series("text", 20)...)
			for _, d := range all {
				var missing *session.NotDelivered
				if err := d.Wait(within(t)); !errors.As(err, &missing) || len(missing.Missing) != 1 || missing.Missing[0].String() != b.name {
					t.Errorf("delivered: %v", err)
				}
			}
			if err := g.Remove(within(t), session.MustName(b.name)); err != nil {
				t.Error(err)
			}
			b = n.member(t, b.name)
			if err := g.Invite(within(t), session.MustName(b.name)); err != nil {
				t.Error(err)
			}
			says(t, g, "again")
			b.receives(t, "again")
			c.receives(t, "again")
			if err := g.Close(within(t)); err != nil {
				t.Error(err)
			}
		}
	})
}

// A member that is there says so when it is invited once more, and stays what it was. One that was killed and started anew, with another
// id, takes the place of its old self, which nobody has missed yet.
func TestGoInvitesWhoIsThereAndWhoHasComeBack(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		for _, plain := range []bool{false, true} {
			suffix := fmt.Sprint("-", plain)
			b, c := n.member(t, "org/ns/b"+suffix), n.member(t, "org/ns/c"+suffix)
			a := n.connect(t, "org/ns/moderator"+suffix)
			g, err := a.OpenGroup(within(t), session.MustName(channel), session.SessionOptions{Plain: plain})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range []*app{b, c} {
				if err := g.Invite(within(t), session.MustName(m.name)); err != nil {
					t.Fatal(err)
				}
			}
			for _, m := range []*app{b, c} {
				if err := g.Invite(within(t), session.MustName(m.name)); !errors.Is(err, session.ErrMember) {
					t.Errorf("%s is invited once more: %v", m.name, err)
				}
			}
			says(t, g, "before")
			b.receives(t, "before")
			c.receives(t, "before")
			b.kill()
			b = n.member(t, b.name)
			if err := g.Invite(within(t), session.MustName(b.name)); err != nil {
				t.Fatalf("invited again: %v", err)
			}
			members(t, g, 3)
			says(t, g, "again")
			b.receives(t, "again")
			c.receives(t, "again")
			b.do(t, event{"publish": "of b", "count": 3})
			hears(t, g, series("of b", 3)...)
			c.receives(t, series("of b", 3)...)
			if err := g.Close(within(t)); err != nil {
				t.Error(err)
			}
		}
	})
}

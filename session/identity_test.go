package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// notary is an identity provider: its tokens say what they are, and it knows which it has made.
type notary struct {
	subject string
	life    time.Duration
	made    *atomic.Int64
	fails   atomic.Bool
}

func (n *notary) Token(_ context.Context, key []byte) (string, error) {
	if n.fails.Load() {
		return "", errors.New("closed today")
	}
	return fmt.Sprintf("notary %d %s %d %x", n.made.Add(1), n.subject, time.Now().Add(n.life).Unix(), key), nil
}

func (n *notary) Verify(_ context.Context, token string) (Claims, error) {
	var serial, until int64
	var c Claims
	if _, err := fmt.Sscanf(token, "notary %d %s %d %x", &serial, &c.Subject, &until, &c.PublicKey); err != nil || serial > n.made.Load() {
		return Claims{}, errors.New("not of this notary")
	}
	c.Expires = time.Unix(until, 0)
	if time.Now().After(c.Expires) {
		return c, ErrExpired
	}
	return c, nil
}

// Tokens of others than secrets are renewed, and believed; sessions go on when those that they began with have expired.
func TestTokensOfOthers(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		made := new(atomic.Int64)
		with := func(n *notary) func(*Options) {
			return func(o *Options) { o.Secret, o.Tokens, o.Verifier = nil, n, n }
		}
		na, nb := &notary{subject: "alice@tests", life: 10 * time.Minute, made: made}, &notary{subject: "bob@tests", life: 10 * time.Minute, made: made}
		alice, bob := h.app("alice", with(na)), h.app("bob", with(nb))
		if alice.Subject() != "alice@tests" {
			t.Errorf("it is %s", alice.Subject())
		}
		l := listen(t, bob)
		a, err := alice.Open(t.Context(), MustName("org/ns/bob"), SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b := accept(t, l)
		nb.fails.Store(true)
		time.Sleep(5 * time.Minute) // a renewal fails
		nb.fails.Store(false)
		for range 5 {
			publish(t, a, "there")
			receives(t, b, alice, "there")
			publish(t, b, "back")
			receives(t, a, bob, "back")
			time.Sleep(7 * time.Minute)
		}
		if n := made.Load(); n < 14 || n > 20 {
			t.Errorf("%d tokens in 40 minutes", n)
		}
		if _, err := alice.Open(t.Context(), bob.Name(), SessionOptions{}); err != nil {
			t.Error(err)
		}
		// Someone with a secret, or another notary, is nobody here.
		stranger := h.app("stranger")
		o := SessionOptions{Interval: 100 * time.Millisecond, Retries: 3}
		if _, err := stranger.Open(t.Context(), bob.Name(), o); !errors.Is(err, ErrTimeout) {
			t.Errorf("a stranger's session: %v", err)
		}
		if s := bob.Stats(); s.Unbelieved == 0 {
			t.Errorf("%+v", s)
		}
	})
}

// An encrypted session has one member of each identity, whatever names it has: another one of it is refused, and takes nobody's place.
func TestOneMemberOfEachIdentity(t *testing.T) {
	t.Parallel()
	for _, o := range shapes {
		o.Interval, o.Retries = 100*time.Millisecond, 3
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				made := new(atomic.Int64)
				with := func(subject string) func(*Options) {
					return func(o *Options) {
						n := &notary{subject: subject, life: time.Hour, made: made}
						o.Secret, o.Tokens, o.Verifier = nil, n, n
					}
				}
				want := error(nil)
				if !o.Plain {
					want = ErrUnauthorized
				}
				alice, bob, carol := h.app("alice", with("alice@tests")), h.app("bob", with("team@tests")), h.app("carol", with("team@tests"))
				lb, lc := listen(t, bob), listen(t, carol)
				if _, err := bob.Open(t.Context(), carol.Name(), o); !errors.Is(err, want) {
					t.Errorf("of two: %v, want %v", err, want)
				} else if err == nil {
					accept(t, lc)
				}
				g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), o)
				if err != nil {
					t.Fatal(err)
				}
				if err := g.Invite(t.Context(), bob.Name()); err != nil {
					t.Fatal(err)
				}
				b := accept(t, lb)
				if err := g.Invite(t.Context(), carol.Name()); !errors.Is(err, want) {
					t.Errorf("another one: %v, want %v", err, want)
				}
				robert := MustName("org/other/robert")
				if err := bob.Subscribe(t.Context(), robert); err != nil {
					t.Fatal(err)
				}
				if want == nil {
					want = ErrTimeout // who is asked is there already, and says nothing
				}
				if err := g.Invite(t.Context(), robert); !errors.Is(err, want) {
					t.Errorf("the same one by another name: %v, want %v", err, want)
				}
				publish(t, g, "hello")
				receives(t, b, alice, "hello")
				time.Sleep(time.Minute)
				for _, p := range g.Participants() {
					if !p.Online {
						t.Errorf("%v is offline", p.Name)
					}
				}
			})
		})
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		name := MustName("org/ns/alice")
		silent := &notary{subject: "x", made: new(atomic.Int64)}
		silent.fails.Store(true)
		for what, c := range map[string]struct {
			o    Options
			want error
		}{
			"no name":        {Options{Secret: secret}, ErrConfig},
			"short secret":   {Options{Name: name, Secret: secret[:31]}, ErrConfig},
			"no verifier":    {Options{Name: name, Tokens: silent}, ErrConfig},
			"no token":       {Options{Name: name, Tokens: silent, Verifier: silent}, ErrUnauthorized},
			"no such scheme": {Options{Name: name, Secret: secret, Nodes: []string{"htp://node:1"}}, ErrConfig},
		} {
			if a, err := Connect(t.Context(), c.o); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, %v", what, a, err)
			}
		}
	})
}

// An app is told before others stop to read what it sends.
func TestTokenThatExpires(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		begin := time.Now()
		alice, _, a, b := h.pair(SessionOptions{})
		for _, s := range []*Session{a, b} {
			for e, err := range s.Events(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				if e, ok := e.(TokenExpiring); ok {
					if d := e.At.Sub(begin); d < time.Hour || d > time.Hour+time.Second {
						t.Errorf("in %v", d)
					}
					break
				}
			}
			if d := time.Since(begin); d < 55*time.Minute || d > 55*time.Minute+time.Second {
				t.Errorf("told after %v", d)
			}
		}
		time.Sleep(time.Hour)
		publish(t, a, "after two hours")
		receives(t, b, alice, "after two hours")
	})
}

// A network that loses every tenth message costs time only.
func TestLossyNetwork(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		bubble(t, func(t *testing.T, h *hub) {
			h.loss = 0.1
			apps, members := h.group(SessionOptions{Plain: plain, Interval: 100 * time.Millisecond, Retries: 30}, "alice", "bob", "carol")
			time.Sleep(5 * time.Second)
			everybodyTalks(t, apps, members)
			for _, s := range members[1:] {
				if err := s.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// What nobody should say is counted, and does no harm.
func TestHostileMessages(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob, a, b := h.pair(SessionOptions{})
		l := h.linkOf(bob)
		inject := func(m message.Message) {
			m.Fanout, m.TTL, m.Kind = 1, 8, message.PointToPoint
			b := m.Append(nil)
			h.mu.Lock()
			defer h.mu.Unlock()
			l.queue <- arrival{time.Now(), b}
		}
		close := &message.Close{}
		join := &message.Join{MLS: new(message.MLSSettings)}
		for _, m := range []message.Message{
			{Source: alice.self.Name, Dest: bob.self.Name, Type: message.GroupClose, Session: a.ID(), ID: 1, Command: close},                                      // no token
			{Source: alice.self.Name, Dest: bob.self.Name, Type: message.GroupClose, Session: a.ID(), ID: 2, Identity: "x:y:z", Command: close},                   // no token either
			{Source: alice.self.Name, Dest: bob.self.Name, Type: message.Msg, Session: a.ID(), ID: 1, Blob: []byte("not encrypted")},                              // no MLS
			{Source: alice.self.Name, Dest: bob.self.Name, Type: message.Msg, Session: a.ID() + 1, ID: 1, Blob: []byte("nowhere")},                                // no session
			{Source: alice.self.Name, Dest: bob.self.Name, Type: message.JoinRequest, Session: a.ID() + 1, ID: 3, Command: join},                                  // no token
			{Source: alice.self.Name, Dest: MustName("org/ns/else").t, Type: message.JoinRequest, Session: a.ID() + 2, ID: 3, Command: join},                      // nobody here
			{Source: alice.self.Name, Dest: bob.self.Name, Type: message.JoinRequest, Session: a.ID(), ID: 4, Identity: bob.who.token(time.Now()), Command: join}, // not hers
		} {
			inject(m)
		}
		h.mu.Lock()
		l.queue <- arrival{time.Now(), []byte(strings.Repeat("\xff", 100))}
		h.mu.Unlock()
		time.Sleep(time.Second)
		publish(t, a, "still here")
		receives(t, b, alice, "still here")
		s := bob.Stats()
		if s.Refused != 4 || s.Stray != 2 || s.Unbelieved != 1 || s.Unreadable != 1 || s.Sessions != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A moderator that invites or removes before its token becomes void has another one from then on; also when it was started again
// meanwhile, and whoever has made the tokens.
func TestModeratorsTokenIsRenewed(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"inviting", "removing"} {
		t.Run(by, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				made := new(atomic.Int64)
				with := func(o *Options) { // of tokens that are good for twelve minutes, and made anew after six
					n := &notary{subject: o.Name.String(), life: 12 * time.Minute, made: made}
					o.Secret, o.Tokens, o.Verifier = nil, n, n
				}
				store := new(MemoryStore)
				alice := h.life("alice", store, with)
				g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), SessionOptions{})
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				var apps []*App
				var members []*Session
				invite := func(name string) {
					t.Helper()
					a := h.app(name, with)
					l := listen(t, a)
					if err := g.Invite(t.Context(), a.Name()); err != nil {
						t.Fatal(err)
					}
					apps, members = append(apps, a), append(members, accept(t, l))
				}
				invite("bob")
				time.Sleep(4 * time.Minute)
				invite("carol") // the token is in the first half of its life still
				time.Sleep(4 * time.Minute)
				if by == "inviting" {
					invite("dave")
				} else {
					if err := g.Remove(t.Context(), members[1].Self()); err != nil {
						t.Fatal(err)
					}
					apps, members = apps[:1], members[:1]
				}
				time.Sleep(time.Second)
				h.stop(alice)
				alice = h.life("alice", store, with)
				g = only(t, alice)
				for e, err := range g.Events(t.Context()) {
					if err != nil {
						t.Fatal(err)
					}
					if _, ok := e.(TokenExpiring); ok {
						break
					}
				}
				if d := time.Since(begin); d < 13*time.Minute-time.Second || d > 13*time.Minute+time.Second { // of the second token
					t.Errorf("told after %v", d)
				}
				everybodyTalks(t, append([]*App{alice}, apps...), append([]*Session{g}, members...))
			})
		})
	}
}

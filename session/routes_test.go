package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// An app between two networks talks in both: with whom it has a route to, and with those of the further network who have found it, in
// sessions of two and in groups, whoever has opened them. One network that is gone keeps nobody of the other one from talking.
func TestRoutes(t *testing.T) {
	t.Parallel()
	for _, o := range shapes {
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				far := newHub(t)
				carol, dave := far.app("carol"), far.app("dave")
				bob := h.app("bob")
				var there *hubLink
				alice := h.app("alice", func(o *Options) {
					o.Routes = []Route{{Names: []Name{MustName("org/ns/carol")}, Link: func(ctx context.Context, from Incoming) (Link, error) {
						l, err := far.link(ctx, from)
						there = l.(*hubLink)
						return l, err
					}}}
				})
				la, lb, lc, ld := listen(t, alice), listen(t, bob), listen(t, carol), listen(t, dave)
				talk := func(a *Session, other *App, l *Listener) {
					t.Helper()
					s := accept(t, l)
					mine, theirs := alice, other
					if s.app == alice {
						mine, theirs = other, alice
					}
					publish(t, a, "there", "again")
					receives(t, s, mine, "there", "again")
					publish(t, s, "back")
					receives(t, a, theirs, "back")
				}
				opened := func(by, other *App) *Session {
					t.Helper()
					s, err := by.Open(t.Context(), other.Name().Any(), o)
					if err != nil {
						t.Fatalf("%v with %v: %v", by.Name(), other.Name(), err)
					}
					return s
				}
				talk(opened(alice, bob), bob, lb)
				talk(opened(alice, carol), carol, lc)
				talk(opened(dave, alice), dave, la)
				s, err := alice.Open(t.Context(), dave.Name(), o) // who has been heard from there
				if err != nil {
					t.Fatal(err)
				}
				talk(s, dave, ld)

				g, err := alice.OpenGroup(t.Context(), MustName("org/ns/near"), o)
				if err != nil {
					t.Fatal(err)
				}
				if err := g.Invite(t.Context(), bob.Name()); err != nil {
					t.Fatal(err)
				}
				everybodyTalks(t, []*App{alice, bob}, []*Session{g, accept(t, lb)})
				if g, err = alice.OpenGroup(t.Context(), MustName("org/ns/channel"), o); err != nil {
					t.Fatal(err)
				}
				members := []*Session{g}
				for _, l := range []*Listener{lc, ld} {
					if err := g.Invite(t.Context(), l.app.Name()); err != nil {
						t.Fatal(err)
					}
					members = append(members, accept(t, l))
				}
				everybodyTalks(t, []*App{alice, carol, dave}, members)
				theirs, err := dave.OpenGroup(t.Context(), MustName("org/ns/theirs"), o)
				if err != nil {
					t.Fatal(err)
				}
				members = []*Session{theirs}
				for _, l := range []*Listener{la, lc} {
					if err := theirs.Invite(t.Context(), l.app.Name()); err != nil {
						t.Fatal(err)
					}
					members = append(members, accept(t, l))
				}
				everybodyTalks(t, []*App{dave, alice, carol}, members)

				there.breaks(true)
				talk(opened(alice, bob), bob, lb)
				there.breaks(false)
				talk(opened(alice, carol), carol, lc)
				for _, s := range []*Session{g, theirs} {
					closes(t, s)
				}
				if err := alice.Close(t.Context()); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

// A route that is made while an app runs is as one that was there from the beginning, and leaves nothing when it goes: names that the app
// has, and gets, are known there until then, and who was reached there is looked for by the app's own node again, in sessions under way, too.
func TestRoutesComeAndGo(t *testing.T) {
	t.Parallel()
	for _, o := range shapes {
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				far := newHub(t)
				alice, bob, carol, dave := h.app("alice"), h.app("bob"), far.app("carol"), far.app("dave")
				la, lb, lc := listen(t, alice), listen(t, bob), listen(t, carol)
				second := MustName("org/ns/second")
				if err := alice.Subscribe(t.Context(), second); err != nil {
					t.Fatal(err)
				}
				route := Route{Names: []Name{MustName("org/ns/carol")}, Link: far.link}
				for range 3 {
					near, err := alice.Open(t.Context(), bob.Name().Any(), o)
					if err != nil {
						t.Fatal(err)
					}
					remove, err := alice.AddRoute(t.Context(), route)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := alice.AddRoute(t.Context(), route); !errors.Is(err, ErrConfig) {
						t.Errorf("another route with that name: %v", err)
					}
					there, err := alice.Open(t.Context(), carol.Name().Any(), o)
					if err != nil {
						t.Fatal(err)
					}
					other := accept(t, lc)
					publish(t, there, "there")
					receives(t, other, alice, "there")
					found := func(name Name) error {
						ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
						defer cancel()
						s, err := dave.Open(ctx, name, o)
						if err == nil {
							mine := accept(t, la)
							publish(t, s, "here")
							receives(t, mine, dave, "here")
							closes(t, s)
						}
						return err
					}
					third := MustName("org/ns/third")
					if err := alice.Subscribe(t.Context(), third); err != nil {
						t.Fatal(err)
					}
					for _, name := range []Name{alice.Name().Any(), second, third} {
						if err := found(name); err != nil {
							t.Errorf("%v: %v", name, err)
						}
					}
					if err := alice.Unsubscribe(t.Context(), third); err != nil {
						t.Fatal(err)
					}
					if err := found(third); err == nil {
						t.Error("a name that was given up is still known there")
					}
					g, err := dave.OpenGroup(t.Context(), MustName("org/ns/channel"), o)
					if err != nil {
						t.Fatal(err)
					}
					if err := g.Invite(t.Context(), alice.Name()); err != nil {
						t.Fatal(err)
					}
					everybodyTalks(t, []*App{dave, alice}, []*Session{g, accept(t, la)})
					closes(t, g)
					closes(t, there)

					if err := remove(t.Context()); err != nil {
						t.Error(err)
					}
					if err := remove(t.Context()); err != nil {
						t.Errorf("a second time: %v", err)
					}
					if err := found(alice.Name().Any()); err == nil {
						t.Error("it is still found where it has no route to")
					}
					publish(t, near, "still")
					receives(t, accept(t, lb), alice, "still")
					closes(t, near)
				}
				local := h.app("carol")
				listen(t, local)
				s, err := alice.Open(t.Context(), local.Name().Any(), o)
				if err != nil {
					t.Fatalf("by its own node: %v", err)
				}
				closes(t, s)
			})
		})
	}
}

// What was under way when a route goes is said by the app's own node: it may lead there, too.
func TestRouteGoesWithMessagesUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		bob, l := h.app("bob"), (*hubLink)(nil)
		lb := listen(t, bob)
		alice := h.app("alice")
		remove, err := alice.AddRoute(t.Context(), Route{Names: []Name{MustName("org/ns/bob")}, Link: func(ctx context.Context, from Incoming) (Link, error) {
			x, err := h.link(ctx, from)
			l = x.(*hubLink)
			return x, err
		}})
		if err != nil {
			t.Fatal(err)
		}
		s, err := alice.Open(t.Context(), bob.Name().Any(), SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		theirs := accept(t, lb)
		l.lets(0)
		texts := numbered(strings.Repeat("large ", mostOnLink/6), 20)
		done := make(chan struct{})
		go func() {
			defer close(done)
			publish(t, s, texts...)
		}()
		time.Sleep(3 * time.Second)
		if err := remove(t.Context()); err != nil {
			t.Error(err)
		}
		receives(t, theirs, alice, texts...)
		<-done
		if n := len(s.lanes.far); n > 1 {
			t.Errorf("%d lanes are left", n)
		}
	})
}

// A route that cannot be made while an app runs leaves nothing, and none is made when the app is closed, or closes meanwhile.
func TestRoutesThatDoNotCome(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		far, gone := newHub(t), errors.New("there is no such node")
		alice := h.app("alice")
		carol := []Name{MustName("org/ns/carol")}
		for range mostRoutes + 1 {
			if _, err := alice.AddRoute(t.Context(), Route{Names: carol, Link: func(context.Context, Incoming) (Link, error) { return nil, gone }}); !errors.Is(err, gone) {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := alice.AddRoute(ctx, Route{Names: carol, Link: far.link}); !errors.Is(err, context.Canceled) {
			t.Errorf("not asked for the app's name: %v", err)
		}
		if n := len(far.links); n != 1 || far.links[0].names != nil {
			t.Errorf("%d links, the first with names %v", n, far.links[0].names)
		}
		for range mostRoutes {
			if _, err := alice.AddRoute(t.Context(), Route{Link: far.link}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := alice.AddRoute(t.Context(), Route{Link: far.link}); !errors.Is(err, ErrConfig) {
			t.Errorf("one too many: %v", err)
		}

		bob := h.app("bob")
		waits, made := make(chan struct{}), make(chan error)
		go func() {
			_, err := bob.AddRoute(t.Context(), Route{Link: func(ctx context.Context, _ Incoming) (Link, error) {
				close(waits)
				<-ctx.Done()
				return nil, ctx.Err()
			}})
			made <- err
		}()
		<-waits
		go func() {
			if err := bob.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		if err := <-made; !errors.Is(err, ErrClosed) {
			t.Errorf("while it closes: %v", err)
		}
		if _, err := bob.AddRoute(t.Context(), Route{Link: far.link}); !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v", err)
		}

		for ms := range 30 { // at any moment
			after := time.Duration(ms) * time.Millisecond
			eve := h.app("eve")
			old, err := eve.AddRoute(t.Context(), Route{Link: far.link})
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				if _, err := eve.AddRoute(t.Context(), Route{Link: far.link}); err != nil && !errors.Is(err, ErrClosed) {
					t.Errorf("after %v: %v", after, err)
				}
			}()
			go func() {
				if err := old(t.Context()); err != nil {
					t.Errorf("after %v: %v", after, err)
				}
			}()
			time.Sleep(after)
			if err := eve.Close(t.Context()); err != nil {
				t.Error(err)
			}
			for i, l := range far.links {
				if i > mostRoutes && l.names != nil {
					t.Errorf("after %v link %d is open", after, i)
				}
			}
		}
	})
}

// Routes that cannot be are refused, and a node that is not there fails Connect, which leaves nothing of the others.
func TestRoutesThatCannotBe(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		carol, gone := MustName("org/ns/carol"), errors.New("there is no such node")
		link := func(context.Context, Incoming) (Link, error) { return nil, gone }
		for _, c := range []struct {
			what   string
			routes []Route
			want   error
		}{
			{"one name twice", []Route{{Names: []Name{carol}, Link: h.link}, {Names: []Name{carol}, Link: h.link}}, ErrConfig},
			{"too many", make([]Route, mostRoutes+1), ErrConfig},
			{"a node that is none", []Route{{Nodes: []string{"htp://x"}}}, ErrConfig},
			{"a node that is not there", []Route{{Link: link}}, gone},
		} {
			o := Options{Name: MustName("org/ns/alice"), Secret: secret, Workers: 1, Link: h.link, Routes: c.routes}
			if _, err := Connect(t.Context(), o); !errors.Is(err, c.want) {
				t.Errorf("%s: %v", c.what, err)
			}
		}
	})
	if _, err := several().way([]byte("no message"), 0); err == nil || errors.Is(err, uplink.ErrDown) {
		t.Errorf("no message: %v", err)
	}
}

// What is for a network that is gone, or that takes nothing, keeps nothing of another one back, whichever of them it is: neither what is
// large, nor what is said after something that nobody repeats. That waits for its network.
func TestRoutesOfWhichOneIsGone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		gone      int
		end, back func(l *hubLink)
	}{
		{0, func(l *hubLink) { l.breaks(true) }, func(l *hubLink) { l.breaks(false) }},
		{1, func(l *hubLink) { l.breaks(true) }, func(l *hubLink) { l.breaks(false) }},
		{0, func(l *hubLink) { l.lets(0) }, func(l *hubLink) { l.lets(-1) }},
		{1, func(l *hubLink) { l.lets(0) }, func(l *hubLink) { l.lets(-1) }},
	} {
		gone := c.gone
		bubble(t, func(t *testing.T, h *hub) {
			nets, links := []*hub{h, newHub(t)}, []*hubLink{}
			via := func(h *hub) func(context.Context, Incoming) (Link, error) {
				return func(ctx context.Context, from Incoming) (Link, error) {
					l, err := h.link(ctx, from)
					links = append(links, l.(*hubLink))
					return l, err
				}
			}
			alice := h.app("alice", func(o *Options) {
				o.Link, o.Routes = via(nets[0]), []Route{{Names: []Name{MustName("org/ns/net1")}, Link: via(nets[1])}}
			})
			var apps [2]*App
			var said, heard [2][2]*Session // by network; those that are not reliable, and those that are
			for i, net := range nets {
				apps[i] = net.app(fmt.Sprint("net", i))
				l := listen(t, apps[i])
				for j, unreliable := range []bool{true, false} {
					s, err := alice.Open(t.Context(), apps[i].Name().Any(), SessionOptions{Unreliable: unreliable})
					if err != nil {
						t.Fatal(err)
					}
					said[i][j], heard[i][j] = s, accept(t, l)
				}
			}
			c.end(links[gone])
			there := 1 - gone
			d, err := said[gone][0].Publish(t.Context(), Text("late"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := said[gone][1].Publish(t.Context(), Text("late")); err != nil {
				t.Fatal(err)
			}
			large := strings.Repeat("large ", 2*mostOnLink/6)
			begin := time.Now()
			for j, s := range said[there] {
				publish(t, s, "small", large, "small")
				receives(t, heard[there][j], alice, "small", large, "small")
			}
			if took := time.Since(begin); took > time.Second {
				t.Errorf("it took %v", took)
			}
			time.Sleep(5 * time.Second)
			c.back(links[gone])
			for j, s := range said[gone] {
				publish(t, s, large, "again")
				receives(t, heard[gone][j], alice, "late", large, "again")
			}
			if err := d.Wait(t.Context()); err != nil {
				t.Errorf("what was for the network that is gone: %v", err)
			}
		})
	}
}

// several are the connections of an app that has had a route.
func several() *routed {
	r := new(routed)
	r.several.Store(true)
	return r
}

// Where somebody is reached is for nobody to say but themselves, who sign: what comes in their names from another network changes nothing,
// and neither does what comes in the names of very many. Rules: P-ses-8.
func TestRoutesAreNotForOthersToMake(t *testing.T) {
	t.Parallel()
	for _, o := range shapes {
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				far := newHub(t)
				bob, dave := h.app("bob"), far.app("dave")
				var there *hubLink
				alice := h.app("alice", func(o *Options) {
					o.Routes = []Route{{Link: func(ctx context.Context, from Incoming) (Link, error) {
						l, err := far.link(ctx, from)
						there = l.(*hubLink)
						return l, err
					}}}
				})
				la := listen(t, alice)
				for other, elsewhere := range map[*App]*hubLink{bob: there, dave: h.linkOf(alice)} {
					lo := listen(t, other)
					s, err := other.Open(t.Context(), alice.Name().Any(), o)
					if err != nil {
						t.Fatal(err)
					}
					a := accept(t, la)
					g, err := other.OpenGroup(t.Context(), MustName("org/ns/of"+other.Name().t.Str[2]), o)
					if err != nil {
						t.Fatal(err)
					}
					if err := g.Invite(t.Context(), alice.Name()); err != nil {
						t.Fatal(err)
					}
					ga := accept(t, la)
					forge := func(from wire.NameText, kinds ...message.Type) {
						for _, kind := range kinds {
							m := message.Message{
								Source: from, Dest: alice.Name().t, Fanout: 1, TTL: 8, Kind: message.PointToPoint, Type: kind, Session: a.ID(), ID: 77, Identity: "x",
							}
							switch {
							case kind == message.JoinRequest:
								m.Kind, m.Session, m.Command = message.Group, 88, &message.Join{Channel: &g.dest.t, Control: &from}
							case kind.Control():
								m.Command = commandOf(kind, from)
							}
							elsewhere.queue <- arrival{time.Now(), m.Append(nil)}
						}
						time.Sleep(time.Millisecond)
					}
					for i := range mostLearnt + 1 {
						forge(MustName(fmt.Sprint("org/ns/x", i)).t.WithID(1, uint64(i)), message.MsgAck)
					}
					forge(other.Name().t, message.Msg, message.MsgAck, message.Heartbeat, message.JoinRequest, message.DiscoveryRequest)
					for what, ends := range map[string][2]*Session{"of two": {a, s}, "a group": {ga, g}} {
						if _, err := ends[0].Publish(t.Context(), Text("hello")); err != nil {
							t.Fatal(err)
						}
						ctx, cancel := context.WithTimeout(t.Context(), time.Second)
						if m, err := ends[1].Receive(ctx); err != nil || string(m.Data) != "hello" {
							t.Errorf("%s with %v: %v, %v", what, other.Name(), m, err)
						}
						cancel()
					}
					if _, err := alice.Open(t.Context(), other.Name(), o); err != nil {
						t.Errorf("%v is not reached: %v", other.Name(), err)
					} else {
						accept(t, lo)
					}
				}
			})
		})
	}
}

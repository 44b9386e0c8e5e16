package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
)

// census counts messages of an app by their types, whoever they are for.
type census struct {
	mu    sync.Mutex
	seen  map[*Entry]bool
	kinds map[string]int
}

func count(n *Net, from string) *census {
	c := &census{seen: map[*Entry]bool{}, kinds: map[string]int{}}
	n.Add(&Rule{Match: func(m *Entry, _ string) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if m.From.String() == from && !c.seen[m] {
			c.seen[m] = true
			c.kinds[m.Type]++
		}
		return false
	}})
	return c
}

func (c *census) of(kind string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kinds[kind]
}

func (c *census) all() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.kinds)
}

// between is a session of two apps: a group, or one between the two.
func between(t *testing.T, a, b *session.App, group bool, o session.SessionOptions) (s, p *session.Session) {
	t.Helper()
	l := listen(t, b)
	defer l.Close()
	var err error
	if group {
		if s, err = a.OpenGroup(t.Context(), session.MustName(app("channel")), o); err == nil {
			err = s.Invite(t.Context(), b.Name())
		}
	} else {
		s, err = a.Open(t.Context(), b.Name(), o)
	}
	if err != nil {
		t.Fatal(err)
	}
	if p, err = l.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, p
}

// sink receives what comes, and counts it.
func sink(s *session.Session) (got *atomic.Int64) {
	got = new(atomic.Int64)
	go func() {
		for _, err := range s.Messages(context.Background()) {
			if err != nil {
				return
			}
			got.Add(1)
		}
	}()
	return got
}

// bulk publishes parts of 64 KB, one after the other, and wants them delivered.
func bulk(t *testing.T, s *session.Session, parts int) {
	t.Helper()
	data := make([]byte, 64<<10)
	var all []*session.Delivery
	for range parts {
		d, err := s.Publish(t.Context(), session.Content{Data: data})
		if err != nil {
			t.Error(err)
			return
		}
		all = append(all, d)
	}
	for i, d := range all {
		if err := d.Wait(t.Context()); err != nil {
			t.Errorf("part %d: %v", i, err)
		}
	}
}

func everybodyOnline(t *testing.T, sessions ...*session.Session) {
	t.Helper()
	for _, s := range sessions {
		for _, p := range s.Participants() {
			if !p.Online {
				t.Errorf("%v takes %v for offline", s.Self(), p.Name)
			}
		}
	}
}

// neverOffline notes if a member is taken for offline.
func neverOffline(t *testing.T, sessions ...*session.Session) {
	for _, s := range sessions {
		go func() {
			for e := range s.Events(context.Background()) {
				if p, ok := e.(session.Presence); ok && !p.Online {
					t.Errorf("%v takes %v for offline", s.Self(), p.Name)
				}
			}
		}()
	}
}

// On a slow way out everything arrives, nothing is sent twice, and nobody is taken for offline.
func TestSlowWayOut(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{1 << 20, 256 << 10, 64 << 10} {
		for _, unreliable := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d KB/s, unreliable %v", rate>>10, unreliable), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := New(t, Options{Quiet: true})
					a, b := n.App(app("alice")), n.App(app("bob"))
					s, p := between(t, a, b, false, session.SessionOptions{Plain: true, Unreliable: unreliable})
					sent, got := count(n, app("alice")), sink(p)
					neverOffline(t, s, p)
					n.Slow(app("alice"), rate)
					bulk(t, s, 288)
					time.Sleep(time.Second)
					if sent.of("msg") != 288 || got.Load() != 288 {
						t.Errorf("%d of 288 came, %v were sent", got.Load(), sent.all())
					}
					everybodyOnline(t, s, p)
					if st := a.Stats(); st.NoRoom+st.Down > 0 {
						t.Errorf("%+v", st)
					}
				})
			})
		}
	}
}

// Both say much at the same time: what they acknowledge does not wait behind that.
func TestSlowBothWays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := New(t, Options{Quiet: true})
		a, b := n.App(app("alice")), n.App(app("bob"))
		s, p := between(t, a, b, false, session.SessionOptions{Plain: true})
		neverOffline(t, s, p)
		sink(s)
		sink(p)
		for _, name := range []string{"alice", "bob"} {
			n.Slow(app(name), 256<<10)
		}
		fromA, fromB := count(n, app("alice")), count(n, app("bob"))
		var wg sync.WaitGroup
		wg.Go(func() { bulk(t, s, 200) })
		wg.Go(func() { bulk(t, p, 200) })
		wg.Wait()
		if fromA.of("msg") != 200 || fromB.of("msg") != 200 {
			t.Errorf("sent %v and %v", fromA.all(), fromB.all())
		}
	})
}

// What a moderator has to say to a group waits little behind what it has published, and is said once.
func TestControlMessagesBehindBulk(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := New(t, Options{Quiet: true})
			alice, bob, carol := n.App(app("alice")), n.App(app("bob")), n.App(app("carol"))
			g, p := between(t, alice, bob, true, session.SessionOptions{Plain: plain})
			lc := listen(t, carol)
			got := sink(p)
			neverOffline(t, g, p)
			n.Slow(app("alice"), 256<<10)
			sent := count(n, app("alice"))
			var wg sync.WaitGroup
			wg.Go(func() { bulk(t, g, 200) })
			time.Sleep(time.Second)
			begin := time.Now()
			if err := g.Invite(t.Context(), carol.Name()); err != nil {
				t.Error(err)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("the invitation took %v", took)
			}
			q, err := lc.Accept(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			late := sink(q)
			time.Sleep(5 * time.Second)
			d, err := g.Publish(t.Context(), session.Text("for carol, too"))
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			if err := g.Remove(t.Context(), carol.Name()); err != nil {
				t.Error(err)
			}
			wg.Wait()
			if err := g.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if got.Load() != 201 || late.Load() != 1 { // what was published before she came is not for her
				t.Errorf("bob has got %d, carol %d", got.Load(), late.Load())
			}
			if n := sent.of("msg"); n != 201 {
				t.Errorf("%d messages, want 201", n)
			}
			for kind, n := range sent.all() {
				most := map[string]int{"discovery_request": 1, "join_request": 1, "group_welcome": 1, "group_update": 2, "leave_request": 1, "group_close": 1}[kind]
				if most > 0 && n != most {
					t.Errorf("%d %s, want %d", n, kind, most)
				}
			}
		})
	}
}

// A session that says little waits for little of what others say, however much and however many they are: its round trips take what
// they take alone, and the time of some tens of kilobytes and of one message.
func TestQuickBesideBulk(t *testing.T) {
	t.Parallel()
	const rate = 1 << 20
	for _, c := range []struct{ sessions, part int }{{1, 64 << 10}, {1, 1 << 10}, {1, 1 << 20}, {12, 16 << 10}} {
		t.Run(fmt.Sprintf("%d sessions, parts of %d", c.sessions, c.part), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(t, Options{Quiet: true})
				a, b := n.App(app("alice")), n.App(app("bob"))
				quick, echo := between(t, a, b, false, session.SessionOptions{Plain: true})
				go func() {
					for m, err := range echo.Messages(context.Background()) {
						if err != nil {
							return
						}
						_, _ = m.Reply(context.Background(), session.Text("pong"))
					}
				}()
				trip := func() time.Duration {
					begin := time.Now()
					if _, err := quick.Publish(t.Context(), session.Text("ping")); err != nil {
						t.Fatal(err)
					}
					if _, err := quick.Receive(t.Context()); err != nil {
						t.Fatal(err)
					}
					return time.Since(begin)
				}
				n.Slow(app("alice"), rate)
				alone := trip()
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for range c.sessions {
					s, p := between(t, a, b, false, session.SessionOptions{Plain: true})
					sink(p)
					wg.Go(func() {
						for ctx.Err() == nil {
							_, _ = s.Publish(ctx, session.Content{Data: make([]byte, c.part)})
						}
					})
				}
				time.Sleep(5 * time.Second)
				var longest time.Duration
				for range 50 {
					longest = max(longest, trip())
					time.Sleep(10 * time.Millisecond)
				}
				cancel()
				wg.Wait()
				ahead := int((longest - alone).Seconds() * rate)
				if most := 96<<10 + c.part; ahead > most {
					t.Errorf("a round trip takes %v alone and %v beside others: %d bytes were before it, and may be %d", alone, longest, ahead, most)
				}
				over, end := context.WithCancel(t.Context())
				end()
				_ = a.Close(over)
			})
		})
	}
}

// Sessions that say much get equal shares, whatever the sizes of their messages.
func TestEqualShares(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := New(t, Options{Quiet: true})
		a, b := n.App(app("alice")), n.App(app("bob"))
		n.Slow(app("alice"), 1<<20)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		sizes := []int{4 << 10, 40 << 10, 400 << 10}
		var got []*atomic.Int64
		for _, size := range sizes {
			s, p := between(t, a, b, false, session.SessionOptions{Plain: true})
			got = append(got, sink(p))
			wg.Go(func() {
				for ctx.Err() == nil {
					_, _ = s.Publish(ctx, session.Content{Data: make([]byte, size)})
				}
			})
		}
		time.Sleep(20 * time.Second)
		cancel()
		wg.Wait()
		for i, size := range sizes {
			if bytes := int(got[i].Load()) * size; bytes < 16<<20/3 || bytes > 24<<20/3 {
				t.Errorf("%d bytes in parts of %d", bytes, size)
			}
		}
		over, end := context.WithCancel(t.Context())
		end()
		_ = a.Close(over)
	})
}

// Nobody is taken for offline to whom nothing could be said, and what is said when that is over comes at once: without a connection, and
// with one that takes nothing.
func TestNobodyIsOfflineWhileNothingLeaves(t *testing.T) {
	for _, name := range []string{"disconnected", "held"} {
		for _, group := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", group ", group), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := New(t, Options{Quiet: true})
					a, b := n.App(app("alice")), n.App(app("bob"))
					s, p := between(t, a, b, group, session.SessionOptions{})
					got := sink(p)
					neverOffline(t, s)
					n.Slow(app("alice"), 1<<20)
					if name == "held" {
						n.Hold(app("alice"))
					} else {
						n.Disconnect(app("alice"))
					}
					d, err := s.Publish(t.Context(), session.Text("meanwhile"))
					if err != nil {
						t.Fatal(err)
					}
					if err := d.Wait(t.Context()); !errors.Is(err, session.ErrNotDelivered) {
						t.Errorf("meanwhile: %v", err)
					}
					time.Sleep(50 * time.Second)
					d, err = s.Publish(t.Context(), session.Text("soon"))
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(5 * time.Second)
					begin := time.Now()
					if name == "held" {
						n.Release(app("alice"))
					} else {
						n.Reconnect(app("alice"))
					}
					if err := d.Wait(t.Context()); err != nil {
						t.Errorf("soon: %v", err)
					}
					if took := time.Since(begin); took > 100*time.Millisecond {
						t.Errorf("it took %v", took)
					}
					everybodyOnline(t, s)
					if got.Load() == 0 {
						t.Error("bob has got nothing")
					}
				})
			})
		}
	}
}

// A connection that is lost while much waits loses nothing, and nothing that waited is said twice.
func TestSlowWayOutThatBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(t, Options{Quiet: true})
		a, b := n.App(app("alice")), n.App(app("bob"))
		s, p := between(t, a, b, false, session.SessionOptions{Plain: true})
		got, sent := sink(p), count(n, app("alice"))
		n.Slow(app("alice"), 256<<10)
		var wg sync.WaitGroup
		wg.Go(func() { bulk(t, s, 100) })
		time.Sleep(10 * time.Second)
		n.Disconnect(app("alice"))
		time.Sleep(3 * time.Second)
		n.Reconnect(app("alice"))
		wg.Wait()
		time.Sleep(time.Second)
		if got.Load() != 100 || sent.of("msg") > 110 {
			t.Errorf("%d of 100 came, %v were sent", got.Load(), sent.all())
		}
	})
}

// What a receiver has given up before it came is not delivered, as its Delivery says, and is not repeated any more; what was said
// before and after it is.
func TestGivenUpAndNotDelivered(t *testing.T) {
	for _, group := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := New(t, Options{Quiet: true})
			a, b := n.App(app("alice")), n.App(app("bob"))
			o := session.SessionOptions{Plain: true, Interval: 300 * time.Millisecond, Retries: 5}
			s, p := between(t, a, b, group, o)
			neverOffline(t, s, p)
			var all []*session.Delivery
			say := func(text string) {
				d, err := s.Publish(t.Context(), session.Text(text))
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, d)
			}
			say("one")
			if err := all[0].Wait(t.Context()); err != nil {
				t.Error(err)
			}
			lost := n.Drop(app("alice"), app("bob"), "msg", 1)
			deaf := n.Drop(app("bob"), app("alice"), "rtx_request", 0)
			say("two")
			say("three")
			time.Sleep(50 * time.Millisecond)
			n.Hold(app("alice")) // longer than bob asks for what is missing
			time.Sleep(5 * time.Second)
			n.Remove(deaf)
			sent := count(n, app("alice"))
			n.Release(app("alice"))
			var texts []string
			for range 2 {
				m, err := p.Receive(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				texts = append(texts, string(m.Data))
			}
			if got := strings.Join(texts, " "); got != "one three" || n.Met(lost) != 1 {
				t.Fatalf("bob has got %q", got)
			}
			if err := all[1].Wait(t.Context()); !errors.Is(err, session.ErrNotDelivered) {
				t.Errorf("two is delivered: %v", err)
			}
			if err := all[2].Wait(t.Context()); err != nil {
				t.Errorf("three: %v", err)
			}
			say("four")
			if err := all[3].Wait(t.Context()); err != nil {
				t.Errorf("four: %v", err)
			}
			time.Sleep(10 * time.Second)
			if got := sent.of("msg"); got > 4 {
				t.Errorf("%d messages were sent", got)
			}
			everybodyOnline(t, s, p)
		})
	}
}

// Who says so much that the turns of a session are further apart than what makes its end offline is heard of all the same.
func TestNobodyIsOfflineWhileOthersHaveTheirTurns(t *testing.T) {
	t.Parallel()
	for _, group := range []bool{false, true} {
		t.Run(fmt.Sprint("group ", group), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(t, Options{Quiet: true})
				a, b := n.App(app("alice")), n.App(app("bob"))
				const part = 1 << 17
				n.Slow(app("alice"), part)
				const sessions = 45 // a turn of each takes 45 s
				var wg sync.WaitGroup
				ctx, cancel := context.WithCancel(t.Context())
				var ends []*session.Session
				for range sessions {
					s, p := between(t, a, b, group, session.SessionOptions{Plain: true})
					sink(p)
					neverOffline(t, p)
					ends = append(ends, p)
					wg.Go(func() {
						for ctx.Err() == nil {
							if d, err := s.Publish(ctx, session.Content{Data: make([]byte, part)}); err == nil {
								_ = d.Wait(ctx)
							}
						}
					})
				}
				time.Sleep(100 * time.Second)
				cancel()
				wg.Wait()
				for _, p := range ends {
					everybodyOnline(t, p)
				}
				over, end := context.WithCancel(t.Context())
				end()
				_ = b.Close(over)
				_ = a.Close(over)
			})
		})
	}
}

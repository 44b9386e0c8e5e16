//go:build interop

package interop

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
)

// listener takes everything that comes into a session of ours, until its end.
type listener struct {
	*session.Session
	mu   sync.Mutex
	got  []string
	more chan struct{} // has room for one: something has come
}

// hearing begins to take what comes into s.
func hearing(t *testing.T, s *session.Session) *listener {
	l := &listener{Session: s, more: make(chan struct{}, 1)}
	ctx, stop := context.WithCancel(context.Background())
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			m, err := s.Receive(ctx)
			if err != nil {
				return
			}
			l.mu.Lock()
			l.got = append(l.got, unfilled(string(m.Data)))
			l.mu.Unlock()
			select {
			case l.more <- struct{}{}:
			default:
			}
		}
	})
	t.Cleanup(func() {
		stop()
		reading.Wait()
	})
	return l
}

// wants waits until all of these texts have come, once and in order, whatever else has.
func (l *listener) wants(t *testing.T, texts []string) {
	t.Helper()
	late := time.After(2 * limit)
	wanted := map[string]bool{}
	for _, s := range texts {
		wanted[s] = true
	}
	for {
		l.mu.Lock()
		var of []string
		for _, s := range l.got {
			if wanted[s] {
				of = append(of, s)
			}
		}
		l.mu.Unlock()
		if slices.Equal(of, texts) {
			return
		}
		if len(of) > len(texts) {
			t.Fatalf("%v: %d messages have come for %d", l.Self(), len(of), len(texts))
		}
		select {
		case <-l.more:
		case <-late:
			t.Fatalf("%v: of %d messages %d have come, the last of them %q", l.Self(), len(texts), len(of), of[max(0, len(of)-1):])
		}
	}
}

// spoken is how many messages everybody who speaks there says in a second.
const spoken = 20

// Sessions go on while a control plane is killed and starts anew, and orders the links of their nodes under other ids: groups with MLS that an
// app of ours leads, and one of upstream's, with members at the other node, lose nothing, hear nothing twice, and let in whom they
// invite afterwards. Rules: P-ctl-9, P-def-6.
func TestSessionsWhileAControlPlaneStartsAnew(t *testing.T) {
	t.Parallel()
	for _, x := range mixtures {
		if x.a != ours { // its nodes cut their links
			continue
		}
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			p, a, b := x.linked(t)

			leader, member, guest := a.connect(t, "org/ns/leader"), b.connect(t, "org/ns/member"), b.connect(t, "org/ns/guest")
			atMember, atGuest := listen(t, member), listen(t, guest)
			rust, late := b.member(t, "org/ns/rust"), b.member(t, "org/ns/late")
			moderator := a.app(t, "moderate", "org/ns/moderator", "--channel", "org/ns/theirs", "--mls")
			for _, name := range []string{"org/ns/member", "org/ns/guest", rust.name, late.name} {
				p.untilRoute(t, a, name)
			}
			for _, name := range []string{"org/ns/leader", moderator.name} {
				p.untilRoute(t, b, name)
			}

			ours, err := leader.OpenGroup(within(t), session.MustName("org/ns/ours"), session.SessionOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range []string{"org/ns/member", rust.name} {
				if err := ours.Invite(within(t), session.MustName(m)); err != nil {
					t.Fatal(err)
				}
			}
			rust.expect(t, "session")
			inOurs := hearing(t, accept(t, atMember))
			moderator.do(t, event{"invite": "org/ns/guest"})
			inTheirs := hearing(t, accept(t, atGuest))
			p.untilRoute(t, a, "org/ns/ours")
			p.untilRoute(t, b, "org/ns/ours")
			p.untilRoute(t, a, "org/ns/theirs")
			p.untilRoute(t, b, "org/ns/theirs")

			total := spoken * int((*away+20*time.Second)/time.Second)
			ofLeader, ofMember, ofModerator := series("of leader", total), series("of member", total), series("of moderator", total)
			moderator.write(t, event{"publish": "of moderator", "count": total, "rate": spoken, "inflight": 100, "tag": "theirs"})
			heard := hearing(t, ours)
			ctx, hush := context.WithTimeout(t.Context(), 8*limit)
			defer hush()
			var all [2][]*session.Delivery
			var speaking sync.WaitGroup
			for i, s := range []*session.Session{ours, inOurs.Session} {
				speaking.Go(func() {
					pace := time.NewTicker(time.Second / spoken)
					defer pace.Stop()
					for _, text := range [][]string{ofLeader, ofMember}[i] {
						<-pace.C
						d, err := s.Publish(ctx, session.Text(text))
						if ctx.Err() != nil {
							return
						}
						if err != nil {
							t.Errorf("%v: %q: %v", s.Self(), text, err)
							return
						}
						all[i] = append(all[i], d)
					}
				})
			}
			time.Sleep(2 * time.Second) // of traffic before it
			p.kill()
			time.Sleep(*away)
			p.start(t)
			back := p.linkedAgain(t, x.comesBack())
			if two := p.twoLinks(t); two || !back {
				hush()
				speaking.Wait()
				if two {
					return
				}
				if x.b != upstream {
					t.Fatal("there is no link again")
				}
				t.Logf("%s: upstream's node does not come back to its control plane", x.name) // it gives up when a call fails
				return
			}
			p.untilRoute(t, a, rust.name)
			speaking.Wait()
			for i := range all {
				for j, d := range all[i] {
					if err := d.Wait(ctx); err != nil {
						t.Errorf("speaker %d, message %d of %d: %v", i, j+1, total, err)
						break
					}
				}
			}
			inOurs.wants(t, ofLeader)
			heard.wants(t, ofMember)
			inTheirs.wants(t, ofModerator)
			rust.await(2*limit, func() bool { // it acknowledges what it has not printed yet
				n := 0
				for _, e := range rust.events {
					n += bit(e.kind() == "message")
				}
				return n >= 2*total
			})
			times := map[string]int{}
			for _, e := range rust.drain() {
				if e.kind() == "message" {
					times[unfilled(e.text("text"))]++
				}
			}
			for _, text := range append(slices.Clone(ofLeader), ofMember...) {
				if times[text] != 1 {
					t.Fatalf("%q has come %d times to the member of upstream's; %d different messages of %d have", text, times[text], len(times), 2*total)
				}
			}

			p.untilRoute(t, a, late.name)
			if err := ours.Invite(within(t), session.MustName(late.name)); err != nil {
				t.Fatal(err)
			}
			late.expect(t, "session")
			says(t, ours, series("afterwards", 20)...)
			inOurs.wants(t, series("afterwards", 20))
			for _, m := range []*app{rust, late} {
				m.receives(t, series("afterwards", 20)...)
			}
			p.untilRoute(t, b, "org/ns/leader")
			late.do(t, event{"publish": "of late", "count": 20})
			heard.wants(t, series("of late", 20))
			inOurs.wants(t, series("of late", 20))
			moderator.do(t, event{"close": true}) // the guest would wait for one that is killed
		})
	}
}

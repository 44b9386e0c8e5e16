package session

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls"
	"github.com/seed31b3bfd0/slimgo/session/internal/store"
)

var storeKey = bytes.Repeat([]byte{7}, StoreKeySize)

// wantNoSessions wants nothing in a store but what an app itself has: who it is, which process it is, and the check of the key.
func wantNoSessions(t testing.TB, s Store) {
	t.Helper()
	for r, err := range s.Read(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Key.Kind != recordIdentity && r.Key.Kind != recordRun && r.Key.Kind != recordCheck {
			t.Errorf("record %v is left", r.Key)
		}
	}
}

// mortal is a store whose process is killed at a write: that one is the last which is made, or the first which is not, and
// nothing is confirmed any more.
type mortal struct {
	MemoryStore
	mu     sync.Mutex
	writes int
	died   int
	at     int  // 0: never
	made   bool // the last one is
	killed chan struct{}
}

func (s *mortal) Write(changes []store.Change, done func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	switch {
	case s.at == 0 || s.writes < s.at:
		s.MemoryStore.Write(changes, done)
	case s.writes == s.at:
		if s.made {
			s.MemoryStore.Write(changes, func(error) {})
		}
		s.died = s.at
		close(s.killed)
	}
}

// revive lets a new process use the store.
func (s *mortal) revive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = 0
}

// player is an app of a story, with what it has said and heard in all of its lives.
type player struct {
	story *story
	name  string
	store *mortal
	app   *App
	l     *Listener

	mu     sync.Mutex
	s      *Session
	heard  []*Message
	said   map[string]*Delivery
	stop   context.CancelFunc
	faults []string
	hears  sync.WaitGroup
}

// story is a group of three, and one of them that dies.
type story struct {
	t       *testing.T
	h       *hub
	o       SessionOptions
	atLeast bool
	players map[string]*player
	dying   *player
}

func newStory(t *testing.T, h *hub, o SessionOptions, atLeast bool, dying string, at int, made bool) *story {
	st := &story{t: t, h: h, o: o, atLeast: atLeast, players: map[string]*player{}}
	for _, name := range []string{"alice", "bob", "carol"} {
		p := &player{story: st, name: name, said: map[string]*Delivery{}, store: &mortal{killed: make(chan struct{})}}
		st.players[name] = p
		if name == dying {
			p.store.at, p.store.made = at, made
			st.dying = p
		}
	}
	return st
}

// start connects p, and has it take the sessions that come. An error says that it was killed.
func (p *player) start() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	a, err := Connect(ctx, Options{
		Name: MustName("org/ns/" + p.name), Secret: secret, Link: p.story.h.link, Workers: 1, Store: p.store, StoreKey: storeKey,
		AtLeastOnce: p.story.atLeast, Binding: Enforce,
	})
	if err != nil {
		return err
	}
	life, stop := context.WithCancel(context.Background())
	p.app, p.stop = a, stop
	if p.l, err = a.Listen(ListenOptions{}); err != nil {
		return err
	}
	for _, s := range a.Sessions() {
		if s.IsModerator() {
			p.has(life, s)
		}
	}
	p.hears.Go(func() {
		for s, err := range p.l.Sessions(life) {
			if err != nil {
				return
			}
			p.has(life, s)
		}
	})
	return nil
}

// has takes a session, and listens to it.
func (p *player) has(life context.Context, s *Session) {
	p.mu.Lock()
	p.s = s
	p.mu.Unlock()
	p.hears.Go(func() {
		for {
			m, err := s.Receive(life)
			if err != nil {
				return
			}
			p.mu.Lock()
			p.heard = append(p.heard, m)
			p.mu.Unlock()
			m.Handled()
		}
	})
	p.hears.Go(func() {
		for e, err := range s.Events(life) {
			if err != nil {
				return
			}
			if r, ok := e.(Refused); ok && mls.KindOf(r.Err) == mls.Replayed {
				p.mu.Lock()
				p.faults = append(p.faults, fmt.Sprintf("a key was used twice: %v", r))
				p.mu.Unlock()
			}
		}
	})
}

func (p *player) session() *Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.s
}

// kill ends the app as a kill does: it says nothing more, hears nothing more, and stores nothing more.
func (p *player) kill() {
	p.stop()
	p.story.h.mute(p.app)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.app.Stop(over)
	p.hears.Wait()
	p.mu.Lock()
	p.s = nil
	p.mu.Unlock()
}

// mute takes an app's link out of the hub.
func (h *hub) mute(a *App) {
	l := h.linkOf(a)
	h.mu.Lock()
	defer h.mu.Unlock()
	l.down = true
	h.links = slices.DeleteFunc(h.links, func(other *hubLink) bool { return other == l })
}

// says publishes a text in whatever session p has.
func (p *player) says(ctx context.Context, text string) error {
	s := p.session()
	if s == nil {
		return ErrClosed
	}
	d, err := s.Publish(ctx, Text(text))
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.said[text] = d
	p.mu.Unlock()
	return d.Wait(ctx)
}

// waits returns when p has a session with that many members, who are all there.
func (p *player) waits(ctx context.Context, n int) error {
	for ctx.Err() == nil {
		if s := p.session(); s != nil && s.Err() == nil && len(s.Participants()) == n && online(s) == n {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return ctx.Err()
}

func online(s *Session) (n int) {
	for _, p := range s.Participants() {
		if p.Online {
			n++
		}
	}
	return n
}

// play is what happens, until it ends or somebody dies. Errors end it: whoever died was needed.
func (st *story) play(ctx context.Context) error {
	alice, bob, carol := st.players["alice"], st.players["bob"], st.players["carol"]
	for _, p := range []*player{alice, bob, carol} {
		if err := p.start(); err != nil {
			return err
		}
	}
	g, err := alice.app.OpenGroup(ctx, MustName("org/ns/channel"), st.o)
	if err != nil {
		return err
	}
	life, stop := context.WithCancel(context.Background())
	was := alice.stop
	alice.stop = func() { stop(); was() }
	alice.has(life, g)
	talk := func(n int, text string, all ...*player) error {
		for i := range n {
			for _, p := range all {
				if err := p.says(ctx, fmt.Sprintf("%s %d of %s", text, i, p.name)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	steps := []func() error{
		func() error { return alice.says(ctx, "to nobody") },
		func() error { return talk(2, "first", alice, bob) },
		func() error { return g.Invite(ctx, carol.app.Name()) },
		func() error { return carol.waits(ctx, 3) },
		func() error { return bob.waits(ctx, 3) },
		func() error { return talk(2, "second", alice, bob, carol) },
		func() error { return g.Remove(ctx, carol.app.Name()) },
		func() error { return talk(1, "third", alice, bob) },
		func() error { return g.Invite(ctx, carol.app.Name()) },
		func() error { return carol.waits(ctx, 3) },
		func() error { return talk(2, "fourth", carol, bob, alice) },
	}
	early := make(chan error, 1)
	go func() { early <- steps[0]() }() // it waits for the first member
	if err := g.Invite(ctx, bob.app.Name()); err != nil {
		<-early
		return err
	}
	if err := cmpOr(<-early, bob.waits(ctx, 2)); err != nil {
		return err
	}
	for _, step := range steps[1:] {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func cmpOr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// run plays, kills who is to die, starts it again, and sees that everything goes on. It reports whether anybody died.
func (st *story) run() (died bool) {
	t := st.t
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	over := make(chan error, 1)
	go func() { over <- st.play(ctx) }()
	select {
	case err := <-over:
		if err != nil && !isClosed(st.dying.store.killed) {
			t.Fatalf("nobody died, and the story ends: %v", err)
		}
	case <-st.dying.store.killed:
	}
	died = isClosed(st.dying.store.killed)
	if died {
		st.again(ctx, over, cancel)
	}
	st.judge()
	defer func() {
		if t.Failed() {
			t.Logf("at write %d; %s", st.dying.store.died, strings.Join(st.h.trace, "\n"))
		}
	}()
	for _, p := range st.players {
		if p.app == nil {
			continue
		}
		err := p.closes()
		if !died && isClosed(p.store.killed) { // only now
			died = true
			p.store.revive()
			if err := p.start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Second) // what was begun is gone on with
			if s := p.session(); s != nil && p.app.Sessions() == nil && s.Err() == nil {
				t.Errorf("%s: its session is not listed", p.name)
			}
			err = p.closes()
		}
		if err != nil {
			t.Errorf("%s: close: %v", p.name, err)
		}
		wantNoSessions(t, p.store)
	}
	return died
}

func (p *player) closes() error {
	p.stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := p.app.Close(ctx)
	p.hears.Wait()
	return err
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// again is what happens after the death.
func (st *story) again(_ context.Context, over chan error, cancel context.CancelFunc) {
	t, p := st.t, st.dying
	cancel()
	had := p.session()
	if p.app != nil {
		p.kill()
	}
	<-over
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	p.store.revive()
	for _, other := range st.players {
		if other.app == nil || other == p {
			if err := other.start(); err != nil {
				t.Fatalf("%s is not started: %v", other.name, err)
			}
		}
	}
	if had != nil && p.waitsForAny() == nil && p.name != "alice" {
		t.Errorf("%s had a session, and has none", p.name)
	}
	alice := st.players["alice"]
	g := alice.waitsForAny()
	if g == nil {
		if had != nil && st.dying == alice && len(had.Participants()) > 1 {
			t.Errorf("alice had a group, and has none")
		}
		return
	}
	time.Sleep(20 * time.Second) // what was begun is over: so much is repeated
	for _, other := range []*player{st.players["bob"], st.players["carol"]} {
		in := slices.ContainsFunc(g.Participants(), func(m Participant) bool { return m.Name == other.app.Name() })
		if s := other.session(); s != nil && s.Err() == nil && len(s.Participants()) > 1 != in {
			t.Errorf("%s and alice do not agree whether it is in: %v, %v", other.name, g.Participants(), s.Participants())
		}
		if !in {
			if err := g.Invite(ctx, other.app.Name()); err != nil {
				t.Fatalf("%s is not invited again: %v", other.name, err)
			}
		}
	}
	for _, p := range st.players {
		if err := p.waits(ctx, 3); err != nil {
			t.Fatalf("%s: %v", p.name, p.session().Participants())
		}
	}
	for i := range 3 {
		for _, p := range st.players {
			if err := p.says(ctx, fmt.Sprintf("last %d of %s", i, p.name)); err != nil {
				t.Fatalf("%s: last %d: %v", p.name, i, err)
			}
		}
	}
	time.Sleep(time.Second)
	for _, p := range st.players {
		for _, other := range st.players {
			for i := range 3 {
				if text := fmt.Sprintf("last %d of %s", i, other.name); p != other && p.count(text) == 0 {
					t.Errorf("%s has not got %q", p.name, text)
				}
			}
		}
	}
}

func (p *player) waitsForAny() *Session {
	for range 20 {
		if s := p.session(); s != nil {
			return s
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil
}

func (p *player) count(text string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.heard {
		if string(m.Data) == text {
			n++
		}
	}
	return n
}

// judge compares what was said with what was heard.
func (st *story) judge() {
	t := st.t
	lost := 0
	for _, p := range st.players {
		for _, f := range p.faults {
			t.Errorf("%s: %s", p.name, f)
		}
		for text, d := range p.said {
			if !isClosed2(d.Done()) || d.Err() != nil {
				continue
			}
			for _, other := range st.players {
				carol := other.name == "carol" && (strings.HasPrefix(text, "third") || strings.HasPrefix(text, "first") || text == "to nobody")
				if other == p || carol {
					continue
				}
				n := other.count(text)
				switch {
				case n == 0 && other == st.dying && !st.atLeast && lost == 0:
					lost++ // Receive had noted it, and did not return any more
				case n == 0:
					t.Errorf("%s has not got %q of %s, whose handle says that it is delivered", other.name, text, p.name)
				}
			}
		}
		last := map[Name]uint32{}
		p.mu.Lock()
		heard := slices.Clone(p.heard)
		p.mu.Unlock()
		for _, m := range heard {
			n := p.count(string(m.Data))
			if n > 1 && (!st.atLeast || p != st.dying) {
				t.Errorf("%s has got %q %d times", p.name, m.Data, n)
			}
			if n == 1 && m.From.String() != "org/ns/carol" && m.ID <= last[m.From] && m.Session == p.session() {
				t.Errorf("%s has got %d of %v after %d", p.name, m.ID, m.From, last[m.From])
			}
			last[m.From] = max(m.ID, last[m.From])
		}
	}
}

func isClosed2(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Whoever is killed, at whatever write, and started again, goes on in the group, and no message is lost whose handle says that it is
// delivered.
//
// There are four manners. Each write is tried in one of them, or with -manners in all; one in twelve where no long runs are asked for.
func TestKilledAtEveryWrite(t *testing.T) {
	t.Parallel()
	for _, dying := range []string{"alice", "bob"} {
		for _, plain := range []bool{false, true} {
			for manner := range 4 {
				atLeast, made := manner&1 > 0, manner&2 > 0
				t.Run(fmt.Sprint(dying, " plain ", plain, " at least once ", atLeast, " made ", made), func(t *testing.T) {
					step, first := 48, 1+12*manner
					switch {
					case *manners:
						step, first = 1, 1
					case long:
						step, first = 4, 1+manner
					}
					died := true
					for at := first; died; at += step {
						bubble(t, func(t *testing.T, h *hub) {
							died = newStory(t, h, SessionOptions{Plain: plain}, atLeast, dying, at, made).run()
						})
						if t.Failed() {
							t.Fatalf("at write %d", at)
						}
					}
				})
			}
		}
	}
}

var manners = flag.Bool("manners", false, "kill apps at each write in each manner")

package session

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/workers"
)

// office is who makes the tokens of several apps, and judges them, which takes a while.
type office struct {
	made *atomic.Int64

	mu    sync.Mutex
	times map[string]map[string]int               // guarded by mu: how often each app has asked about a subject
	token map[string]map[string]int               // guarded by mu: the same of a token
	takes func(app, subject string) time.Duration // guarded by mu; nil: no time
	asks  chan string                             // is sent subjects, as soon as they are asked about, if somebody waits for that
}

func newOffice() *office {
	return &office{made: new(atomic.Int64), times: map[string]map[string]int{}, token: map[string]map[string]int{}, asks: make(chan string)}
}

// clerk is the office for one app.
type clerk struct {
	*notary
	o   *office
	app string
}

func (c *clerk) Verify(ctx context.Context, token string) (Claims, error) {
	claims, err := c.notary.Verify(ctx, token)
	o := c.o
	o.mu.Lock()
	o.times[c.app][claims.Subject]++
	o.token[c.app][token]++
	var d time.Duration
	if o.takes != nil {
		d = o.takes(c.app, claims.Subject)
	}
	o.mu.Unlock()
	if d > 0 {
		select {
		case o.asks <- claims.Subject:
		default:
		}
		time.Sleep(d)
	}
	return claims, err
}

// of has an app of this name ask the office.
func (o *office) of(name string) func(*Options) {
	o.mu.Lock()
	o.times[name], o.token[name] = map[string]int{}, map[string]int{}
	o.mu.Unlock()
	c := &clerk{&notary{subject: name + "@tests", life: 10 * time.Minute, made: o.made}, o, name}
	return func(p *Options) { p.Secret, p.Tokens, p.Verifier = nil, c, c }
}

func (o *office) asked(app, subject string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.times[app][subject]
}

// slows sets how long the office takes.
func (o *office) slows(takes func(app, subject string) time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.takes = takes
}

// arrives wants the next message of a session to be this one, and returns how long it took.
func arrives(t *testing.T, s *Session, from *App, text string) time.Duration {
	t.Helper()
	begin := time.Now()
	receives(t, s, from, text)
	return time.Since(begin)
}

// While a token of one member is judged, what it says waits, in order; what others say in the same session, and in others, does not.
func TestVerifierThatTakesLong(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		o := newOffice()
		one := func(p *Options) { p.Workers = 1 }
		alice, bob, carol := h.app("alice", o.of("alice"), one), h.app("bob", o.of("bob"), one), h.app("carol", o.of("carol"), one)
		g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		members := []*Session{g}
		lb := listen(t, bob)
		for i, l := range []*Listener{lb, listen(t, carol)} {
			if err := g.Invite(t.Context(), []Name{bob.Name(), carol.Name()}[i]); err != nil {
				t.Fatal(err)
			}
			members = append(members, accept(t, l))
		}
		a2, err := alice.Open(t.Context(), bob.Name(), SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b2 := accept(t, lb)
		time.Sleep(4 * time.Minute)
		o.slows(func(app, subject string) time.Duration {
			if app == "bob" && subject == "carol@tests" {
				return 3 * time.Second
			}
			return 0
		})
		for <-o.asks != "carol@tests" { // a heartbeat with a new token
			continue
		}
		begin := time.Now()
		for _, text := range []string{"carol 1", "carol 2"} {
			if _, err := members[2].Publish(t.Context(), Text(text)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(50 * time.Millisecond)
		if _, err := g.Publish(t.Context(), Text("alice")); err != nil {
			t.Fatal(err)
		}
		if d := arrives(t, members[1], alice, "alice"); d > 100*time.Millisecond {
			t.Errorf("another member's message took %v", d)
		}
		if _, err := a2.Publish(t.Context(), Text("aside")); err != nil {
			t.Fatal(err)
		}
		if d := arrives(t, b2, alice, "aside"); d > 100*time.Millisecond {
			t.Errorf("another session's message took %v", d)
		}
		receives(t, members[1], carol, "carol 1", "carol 2")
		if d := time.Since(begin); d < 2500*time.Millisecond || d > 3500*time.Millisecond {
			t.Errorf("what came after the heartbeat was looked at after %v", d)
		}
	})
}

// Who joins has many tokens judged, those that only its welcome shows, too: together, and each once.
func TestJoiningWithVerifierThatTakesLong(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"dave", "erin"} { // one with a store, one without
		bubble(t, func(t *testing.T, h *hub) {
			o := newOffice()
			alice := h.app("alice", o.of("alice"))
			g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), SessionOptions{})
			if err != nil {
				t.Fatal(err)
			}
			apps, members := []*App{alice}, []*Session{g}
			join := func(name string) time.Duration {
				a := h.app(name, o.of(name), func(p *Options) { p.Workers = 1 })
				l := listen(t, a)
				begin := time.Now()
				if err := g.Invite(t.Context(), a.Name()); err != nil {
					t.Fatal(err)
				}
				apps, members = append(apps, a), append(members, accept(t, l))
				return time.Since(begin)
			}
			for _, name := range []string{"bob", "carol", "frank", "grace"} {
				join(name)
			}
			o.slows(func(string, string) time.Duration { return 100 * time.Millisecond })
			if d := join(name); d > time.Second {
				t.Errorf("it took %v", d)
			}
			o.slows(nil)
			everybodyTalks(t, apps, members)
			o.mu.Lock()
			defer o.mu.Unlock()
			for app, tokens := range o.token {
				for token, n := range tokens {
					if n != 1 {
						t.Errorf("%s has asked %d times about %.40s", app, n, token)
					}
				}
			}
		})
	}
}

// Tokens of members are judged again when an app is started again; its sessions go on.
func TestStartedAgainWithVerifierThatTakesLong(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		o := newOffice()
		store := new(MemoryStore)
		alice, bob := h.app("alice", o.of("alice")), h.life("bob", store, o.of("bob"))
		l := listen(t, bob)
		a, err := alice.Open(t.Context(), bob.Name(), SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		accept(t, l)
		o.slows(func(string, string) time.Duration { return 100 * time.Millisecond })
		h.stop(bob)
		bob = h.life("bob", store, o.of("bob"))
		b := accept(t, listen(t, bob))
		everybodyTalks(t, []*App{alice, bob}, []*Session{a, b})
	})
}

// A token that is refused is not asked about again by each message that has it.
func TestTokensThatAreRefused(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		o := newOffice()
		bob := h.app("bob", o.of("bob"))
		listen(t, bob)
		mallory := newStranger(t, "mallory") // with a secret, of which this office knows nothing
		text := mallory.token(time.Now())
		mallory.token = func(time.Time) string { return text }
		for range 100 {
			h.linkOf(bob).queue <- arrival{time.Now(), mallory.looksFor(bob)}
		}
		time.Sleep(time.Second)
		o.mu.Lock()
		defer o.mu.Unlock()
		if n := o.token["bob"][text]; n != 1 {
			t.Errorf("asked %d times", n)
		}
		if n := bob.Stats().Unbelieved; n != 100 {
			t.Errorf("%d are not believed", n)
		}
	})
}

// Signatures of one session are verified by all workers that have time, and what they are of comes in order.
func TestSignaturesByAllWorkers(t *testing.T) {
	p := workers.New[letter](2)
	defer p.Close()
	var q ahead
	both, in := make(chan struct{}), make(chan struct{})
	first := func() { in <- struct{}{}; <-both }
	second := func() { <-in; close(both) } // while the first is under way
	woken := make(chan struct{}, 1)
	wake := func() { woken <- struct{}{} }
	for _, verify := range []func(){first, second} {
		q.Push(&entry{check: &check{verify: verify, wake: wake}})
	}
	h := &helpers{pool: p}
	h.offer(q.At(1).check)
	if ok, _ := q.verified(); !ok {
		t.Error("the first is not verified by its owner")
	}
	q.Pop()
	for ok := false; !ok; {
		var progress bool
		if ok, progress = q.verified(); !ok && !progress {
			<-woken
		}
	}
	// The owner does others' while the first one is another's.
	hold, begun := make(chan struct{}), make(chan struct{})
	var order []int
	q = ahead{}
	q.Push(&entry{check: &check{verify: func() { close(begun); <-hold }, wake: wake}})
	q.Push(&entry{check: &check{verify: func() { order = append(order, 1) }, wake: wake}})
	h.offer(q.At(0).check)
	<-begun
	if ok, progress := q.verified(); ok || !progress {
		t.Errorf("the first is verified: %v, progress %v", ok, progress)
	}
	if ok, progress := q.verified(); ok || progress {
		t.Errorf("the first is verified: %v, progress %v", ok, progress)
	}
	close(hold)
	<-woken
	for q.Len() > 0 {
		if ok, _ := q.verified(); !ok {
			t.Fatal("woken too early")
		}
		q.Pop()
	}
	if !slices.Equal(order, []int{1}) {
		t.Errorf("verified %v", order)
	}
}

// Data whose signatures are verified ahead comes in order, and nothing of it is in the way of the end.
func TestDataAhead(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		apps, members := h.group(SessionOptions{}, "alice", "bob", "carol")
		release := apps[1].holdWorkers(2)
		texts := numbered("text", 100)
		var all []*Delivery
		for _, text := range texts {
			d, err := members[0].Publish(t.Context(), Text(text))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, d)
		}
		time.Sleep(100 * time.Millisecond)
		release()
		receives(t, members[1], apps[0], texts...)
		for _, d := range all {
			if err := d.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
		release = apps[1].holdWorkers(2)
		for _, text := range texts {
			if _, err := members[0].Publish(t.Context(), Text(text)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(100 * time.Millisecond)
		ended, end := context.WithCancel(t.Context())
		end()
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			_ = members[1].Close(ended)
		}()
		time.Sleep(time.Millisecond)
		release()
		<-closed
	})
}

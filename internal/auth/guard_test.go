package auth

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// judge is a Verifier that does as it is told.
type judge struct {
	verify  func(context.Context, *Shown) (*Identity, error)
	again   error
	changed chan struct{}
}

func (j *judge) Verify(ctx context.Context, s *Shown) (*Identity, error) { return j.verify(ctx, s) }
func (j *judge) Again(context.Context, *Identity) error                  { return j.again }
func (j *judge) Changed() <-chan struct{}                                { return j.changed }
func (j *judge) QueryToken() bool                                        { return true }
func (j *judge) Close() error                                            { return nil }

// log keeps events.
type log struct {
	mu  sync.Mutex
	all []Event
}

func (l *log) Note(e *Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, *e)
}

// ask asks a guard, and returns the answer and how long it took.
func ask(g *Guard, shown, remote string) (Verdict, time.Duration) {
	began := time.Now()
	c := make(chan Verdict, 1)
	g.Ask(&Shown{Authorization: shown, Remote: remote}, func(v Verdict) { c <- v })
	return <-c, time.Since(began)
}

// What a Verifier says, and whatever else it does, comes to an answer, a count and an event. Rules: P-auth-5.
func TestOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := errors.New("the issuer does not answer")
		somebody := &Identity{Mechanism: "other"} // an error denies, whoever comes with it
		audit, panics := &log{}, atomic.Int64{}
		v := &judge{verify: func(ctx context.Context, s *Shown) (*Identity, error) {
			switch s.Authorization {
			case "", "wrong":
				return somebody, Unauthorized("not right")
			case "forbidden":
				return somebody, Forbidden("the policy")
			case "broken":
				return somebody, said
			case "wrapped":
				return nil, fmt.Errorf("about this: %w", Forbidden("the policy"))
			case "odd":
				return nil, &Denied{Status: 418, Reason: "a teapot"}
			case "nobody":
				return nil, nil
			case "panic":
				panic("at the disco")
			case "slow":
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return &Identity{Mechanism: JWT, Subject: s.Authorization}, nil
		}}
		g := NewGuard(v, GuardOptions{Listener: "here", Mechanism: JWT, Audit: audit, Panicked: func(string, string) { panics.Add(1) }})
		defer g.Close()
		for i, tc := range []struct {
			shown   string
			status  int // 0: allowed
			outcome Outcome
		}{
			{"good", 0, Allowed}, {"", 401, Missing}, {"wrong", 401, Wrong}, {"forbidden", 403, Refused}, {"wrapped", 403, Refused},
			{"broken", 503, Unknown}, {"odd", 503, Unknown}, {"nobody", 503, Unknown}, {"panic", 503, Unknown}, {"slow", 503, Unknown},
			{string(make([]byte, MaxAuthorization+1)), 401, Wrong},
		} {
			before := g.Tally().Outcomes[tc.outcome]
			v, took := ask(g, tc.shown, fmt.Sprintf("10.0.%d.1:1", i))
			if tc.status == 0 && (v.Who == nil || v.Denied != nil) || tc.status != 0 && (v.Denied == nil || v.Denied.Status != tc.status || v.Who != nil) {
				t.Errorf("%.10q: %+v, want status %d", tc.shown, v, tc.status)
			}
			if want := map[bool]time.Duration{true: 4 * time.Second}[tc.shown == "slow"]; took != want {
				t.Errorf("%.10q took %v, want %v", tc.shown, took, want)
			}
			if g.Tally().Outcomes[tc.outcome] != before+1 {
				t.Errorf("%.10q is not counted as %v", tc.shown, tc.outcome)
			}
			if e := audit.all[i]; e.Act != ActConnect || e.Allowed != (tc.status == 0) || e.Status != tc.status || e.Listener != "here" ||
				(e.Reason == "") != e.Allowed || e.Mechanism != JWT {
				t.Errorf("%.10q: %+v", tc.shown, e)
			}
		}
		if panics.Load() != 1 {
			t.Errorf("%d panics are told of", panics.Load())
		}
		synctest.Wait() // an answer comes a moment before its place is free
		if n := g.Tally().Waiting; n != 0 {
			t.Errorf("%d wait", n)
		}
	})
}

// So many are judged at the same time, so many wait, and the rest is told so; who leaves makes room. Rules: P-auth-5.
func TestWaitingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		open := make(chan struct{})
		v := &judge{verify: func(ctx context.Context, s *Shown) (*Identity, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			select {
			case <-open:
				return &Identity{Subject: s.Authorization}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}
		g := NewGuard(v, GuardOptions{AtOnce: 4, Waiting: 6}) // of which one network has half
		defer g.Close()
		var allowed, crowded atomic.Int64
		var cancels []func()
		put := func() {
			cancels = append(cancels, g.Ask(&Shown{Authorization: "x"}, func(v Verdict) {
				if v.Who != nil {
					allowed.Add(1)
				} else if v.Denied.Status == http.StatusServiceUnavailable {
					crowded.Add(1)
				}
			}))
		}
		for range 6 {
			put()
		}
		synctest.Wait()
		if crowded.Load() != 1 || g.Tally().Waiting != 5 || g.Tally().Outcomes[Overcrowded] != 1 {
			t.Fatalf("%d are too many, %+v", crowded.Load(), g.Tally())
		}
		cancels[0]() // is being judged: one that waits has its place
		cancels[4]() // waits
		synctest.Wait()
		if n := g.Tally().Waiting; n != 3 {
			t.Errorf("%d are left, want 3", n)
		}
		put()
		put()
		synctest.Wait()
		if crowded.Load() != 1 {
			t.Error("who has left has left no room")
		}
		close(open)
		synctest.Wait()
		if allowed.Load() != 5 || most.Load() != 2 || g.Tally().Waiting != 0 {
			t.Errorf("%d are allowed, %d were judged at once, %+v", allowed.Load(), most.Load(), g.Tally())
		}
	})
}

// A network that fills all that it may have leaves room for others, whose requests are judged before its own that wait. Rules: P-auth-5.
func TestNetworksHaveShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var judged sync.Map // by what was shown
		v := &judge{verify: func(ctx context.Context, s *Shown) (*Identity, error) {
			judged.Store(s.Authorization, true)
			if s.Authorization == "slow" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return &Identity{Subject: s.Authorization}, nil
		}}
		g := NewGuard(v, GuardOptions{})
		defer g.Close()
		flood := func(remote string) (crowded int) {
			for range 3000 {
				g.Ask(&Shown{Authorization: "slow", Remote: remote}, func(v Verdict) {
					if v.Denied.Reason == "too many requests wait to be judged" {
						crowded++
					}
				})
			}
			return crowded
		}
		// Each has half of what is left: 32 and 1,024, 16 and 512, ...
		for i, want := range []int{3000 - 32 - 1024, 3000 - 16 - 512, 3000 - 8 - 256, 3000 - 4 - 128, 3000 - 2 - 64} {
			if n := flood(fmt.Sprintf("10.0.%d.1:1", i)); n != want {
				t.Errorf("network %d: %d are too many, want %d", i+1, n, want)
			}
		}
		for i := range 20 {
			if v, took := ask(g, "good", fmt.Sprintf("192.0.2.1:%d", i)); v.Who == nil || took != 0 {
				t.Errorf("who comes from elsewhere: %+v after %v", v.Denied, took)
			}
		}
		// All places are taken; one that becomes free is the next network's in turn.
		for i := range 3 {
			flood(fmt.Sprintf("10.1.%d.1:1", i))
		}
		time.Sleep(time.Second)
		if v, took := ask(g, "good", "198.51.100.1:1"); v.Who == nil || took > 4*time.Second {
			t.Errorf("who comes when all is taken: %+v after %v", v.Denied, took)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := g.Tally().Waiting; n != 0 || len(g.queue.shares) != 0 || g.queue.turns.Len() != 0 {
			t.Errorf("%d wait, of %d networks", n, len(g.queue.shares))
		}
	})
}

// Whatever comes, is judged and leaves, the queue counts right, and nothing waits for which there is room.
func TestQueueAtRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	u := newQueue(8, 20)
	var running, waiting []*question
	begin := func(q *question) { running = append(running, q) }
	take := func(from *[]*question) *question {
		i := r.IntN(len(*from))
		q := (*from)[i]
		*from = slices.Delete(*from, i, i+1)
		return q
	}
	for step := range 20_000 {
		switch n := r.IntN(6); {
		case n < 3:
			q := &question{}
			network := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(1 + step/2000))}), 24)
			if run, taken := u.enter(q, network); run {
				begin(q)
			} else if taken {
				waiting = append(waiting, q)
			}
		case n < 5 && len(running) > 0:
			u.end(take(&running))
			for q := u.next(); q != nil; q = u.next() {
				begin(q)
				waiting = slices.DeleteFunc(waiting, func(w *question) bool { return w == q })
			}
		case n == 5 && len(waiting) > 0:
			u.leave(take(&waiting))
		}
		shares := 0
		for _, s := range u.shares {
			shares += s.running + s.waiting.Len()
			if (s.turn == nil) != (s.waiting.Len() == 0) || s.waiting.Len() > 0 && u.mayRun(s) || s.running+s.waiting.Len() == 0 {
				t.Fatalf("step %d: %+v of %+v", step, s, u)
			}
		}
		if u.running != len(running) || u.waiting != len(waiting) || shares != len(running)+len(waiting) || u.running > 8 || u.waiting > 20 {
			t.Fatalf("step %d: %d run and %d wait: %+v", step, len(running), len(waiting), u)
		}
	}
}

// Wrong credentials are answered later and later, and right ones at once, whatever was shown before from there. Rules: P-auth-6.
func TestWrongCredentialsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := NewBasicVerifier("alice", "secret")
		g := NewGuard(v, GuardOptions{})
		defer g.Close()
		right := basicHeader("alice", "secret")
		wrong := func(i int) string { return basicHeader("alice", fmt.Sprint(i)) }
		const here = "192.0.2.7:1000"
		for i, ms := range []int{0, 250, 500, 1000, 2000, 4000, 4000} {
			if _, took := ask(g, wrong(0), here); took != time.Duration(ms)*time.Millisecond {
				t.Errorf("wrong answer %d comes after %v, want %d ms", i+1, took, ms)
			}
			if v, took := ask(g, right, here); took != 0 || v.Who == nil {
				t.Errorf("right credentials wait for %v", took)
			}
		}
		if _, took := ask(g, wrong(0), "192.0.2.99:5"); took != 4*time.Second {
			t.Errorf("from the same network: %v", took)
		}
		if _, took := ask(g, wrong(0), "198.51.100.1:5"); took != 0 {
			t.Errorf("from another network: %v", took)
		}
		if _, took := ask(g, wrong(0), "[2001:db8::1]:5"); took != 0 {
			t.Errorf("from yet another network: %v", took)
		}
		if _, took := ask(g, wrong(0), "[2001:db8::ffff]:5"); took == 0 {
			t.Error("the same network of IPv6 is another one")
		}
		// A network that tries many is slow with each.
		var slow int
		for i := range 40 {
			if _, took := ask(g, wrong(100+i), "203.0.113.1:5"); took > 0 {
				slow++
			}
		}
		if slow != 40-throttleFree {
			t.Errorf("%d of 40 guesses are answered later, want %d", slow, 40-throttleFree)
		}
		time.Sleep(throttleMemory + time.Second)
		if _, took := ask(g, wrong(0), here); took != 0 {
			t.Errorf("after a while: %v", took)
		}
		if n := len(g.throttle.sets); n != throttleSets {
			t.Errorf("the table has %d sets", n)
		}
	})
}

// No more refusals are held back than that; the rest is answered at once.
func TestHeldRefusalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(NewBasicVerifier("alice", "secret"), GuardOptions{Held: 3})
		defer g.Close()
		var answered atomic.Int64
		for range 50 {
			g.Ask(&Shown{Authorization: "x"}, func(Verdict) { answered.Add(1) })
		}
		synctest.Wait()
		if n := answered.Load(); n != 47 {
			t.Errorf("%d are answered at once", n)
		}
		time.Sleep(5 * time.Second)
		if answered.Load() != 50 || g.Tally().Waiting != 0 || g.Tally().Slowed != 3 {
			t.Errorf("%d are answered, %+v", answered.Load(), g.Tally())
		}
	})
}

// Strangers fill no disk with refusals, and do not hide those of others; who is known is always written down. Rules: P-auth-9.
func TestNotesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		audit := &log{}
		v := &judge{verify: func(_ context.Context, s *Shown) (*Identity, error) {
			switch s.Authorization {
			case "good":
				return &Identity{}, nil
			case "forbidden":
				return nil, Forbidden("the policy")
			}
			return nil, Unauthorized("wrong")
		}}
		g := NewGuard(v, GuardOptions{Audit: audit})
		defer g.Close()
		send := func(n int, shown, remote string) (written int) {
			before := len(audit.all)
			for range n {
				g.Ask(&Shown{Authorization: shown, Remote: remote}, func(Verdict) {})
				synctest.Wait()
			}
			return len(audit.all) - before
		}
		if n := send(100, "wrong", "10.0.0.1:1"); n != notesOfNetwork {
			t.Errorf("%d refusals of one network are written down", n)
		}
		if n := send(1, "wrong", "192.0.2.1:1"); n != 1 || audit.all[len(audit.all)-1].Reason != "wrong; 68 more refusals, of anybody, were not written down" {
			t.Errorf("what another one tries is hidden: %+v", audit.all[len(audit.all)-1])
		}
		if n, m := send(50, "good", "10.0.0.1:1"), send(50, "forbidden", "10.0.0.1:1"); n != 50 || m != 50 {
			t.Errorf("of who is known %d and %d are written down", n, m)
		}
		all := 0
		for i := range 100 {
			all += send(10, "wrong", fmt.Sprintf("10.1.%d.1:1", i))
		}
		if all != notesASecond-notesOfNetwork-1 {
			t.Errorf("%d of many networks are written down", all)
		}
		time.Sleep(time.Second)
		if n := send(1, "wrong", "10.0.0.1:1"); n != 1 {
			t.Error("after a second none is")
		}
	})
}

// Who leaves while a refusal is held back leaves nothing behind, and room for others.
func TestHeldRefusalsOfWhoHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(NewBasicVerifier("alice", "secret"), GuardOptions{})
		defer g.Close()
		var collected atomic.Int64
		for range 20 {
			socket := &struct{ buffer [1 << 10]byte }{} // what the answer is for
			runtime.AddCleanup(socket, func(int) { collected.Add(1) }, 0)
			cancel := g.Ask(&Shown{Authorization: "x"}, func(Verdict) { socket.buffer[0]++ })
			synctest.Wait()
			cancel()
			cancel() // once more does nothing
		}
		if n := g.Tally().Waiting; n != 0 {
			t.Errorf("%d are held back", n)
		}
		for i := 0; i < 1000 && collected.Load() < 19; i++ {
			runtime.GC()
		}
		if n := collected.Load(); n < 19 { // the last may be on the stack
			t.Errorf("%d of 20 are kept", 20-n)
		}
		if _, took := ask(g, "x", ""); took != 4*time.Second {
			t.Errorf("who has left is forgotten, too: answered after %v", took)
		}
	})
}

// Who shows nothing again and again waits as with wrong credentials. Rules: P-auth-6.
func TestShowingNothingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(NewBasicVerifier("alice", "secret"), GuardOptions{})
		defer g.Close()
		for i, ms := range []int{0, 250, 500} {
			v, took := ask(g, "", "192.0.2.7:1000")
			if took != time.Duration(ms)*time.Millisecond || v.Denied == nil || v.Denied.Status != http.StatusUnauthorized {
				t.Errorf("answer %d: %+v after %v, want 401 after %d ms", i+1, v.Denied, took, ms)
			}
		}
		if n := g.Tally().Outcomes; n[Missing] != 3 || n[Wrong] != 0 {
			t.Errorf("%v", n)
		}
	})
}

// leaving is an audit log whose reader has the asker leave.
type leaving struct{ leave func() }

func (l *leaving) Note(*Event) { l.leave() }

// Who leaves between the decision and its being held back is not held back. Rules: P-auth-6.
func TestWhoLeavesAtTheDecisionIsNotHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		audit := &leaving{func() {}}
		g := NewGuard(NewBasicVerifier("alice", "secret"), GuardOptions{Audit: audit})
		defer g.Close()
		ask(g, "x", "")
		var cancel func()
		left := make(chan struct{})
		audit.leave = func() { <-left; cancel() } // the decision is made, its answer is not
		cancel = g.Ask(&Shown{Authorization: "x"}, func(Verdict) { t.Error("who has left is answered") })
		close(left)
		synctest.Wait()
		if n := g.Tally(); n.Waiting != 0 || n.Slowed != 0 {
			t.Errorf("%d are held back or wait, %d were held back", n.Waiting, n.Slowed)
		}
		time.Sleep(time.Minute)
	})
}

// What is being judged when the guard is closed is answered: it cannot be judged. Rules: P-auth-5.
func TestCloseAnswersWhatIsBeingJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(&judge{verify: func(ctx context.Context, _ *Shown) (*Identity, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}, GuardOptions{AtOnce: 2}) // of which one network has half
		answers := make(chan Verdict, 3)
		for range 3 { // one is judged, two wait
			g.Ask(&Shown{Authorization: "x"}, func(v Verdict) { answers <- v })
		}
		synctest.Wait()
		g.Close()
		synctest.Wait()
		if len(answers) != 3 {
			t.Fatalf("%d of 3 are answered", len(answers))
		}
		for range 3 {
			if v := <-answers; v.Who != nil || v.Denied == nil || v.Denied.Status != http.StatusServiceUnavailable ||
				v.Denied.Reason != "the listener's authentication has been replaced" {
				t.Errorf("%+v", v.Denied)
			}
		}
	})
}

// parent is a context that knows how many others wait for its end. The package context asks it as any that is not its own.
type parent struct {
	context.Context
	done     chan struct{}
	children atomic.Int64
}

func (p *parent) Done() <-chan struct{} { return p.done }

func (p *parent) AfterFunc(func()) (stop func() bool) {
	p.children.Add(1)
	var once sync.Once
	return func() bool {
		once.Do(func() { p.children.Add(-1) })
		return true
	}
}

// A question that is answered, refused unjudged or given up leaves nothing at its guard, not even until its time is over.
func TestQuestionsLeaveNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		g := NewGuard(&judge{verify: func(ctx context.Context, s *Shown) (*Identity, error) {
			if s.Authorization == "slow" {
				select {
				case <-open:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			return &Identity{}, nil
		}}, GuardOptions{AtOnce: 2, Waiting: 2}) // of which one network has half
		p := &parent{Context: context.Background(), done: make(chan struct{})}
		g.ctx = p
		want := func(what string, n int64) {
			t.Helper()
			synctest.Wait()
			if got := p.children.Load(); got != n {
				t.Errorf("%s: %d questions are kept, want %d", what, got, n)
			}
		}
		ask(g, "good", "192.0.2.1:1")
		want("answered", 0)
		cancel := g.Ask(&Shown{Authorization: "slow"}, func(Verdict) {})
		g.Ask(&Shown{Authorization: "slow"}, func(Verdict) {})
		want("one is judged, one waits", 2)
		crowded := 0
		for range 5 {
			g.Ask(&Shown{Authorization: "slow"}, func(Verdict) { crowded++ })
		}
		if crowded != 5 {
			t.Errorf("%d of 5 are too many", crowded)
		}
		want("too many", 2)
		cancel()
		want("one has left", 1)
		close(open)
		want("all are answered", 0)
		g.cancel()
	})
}

// Changes come one after the other, none is missed, and what was judged before one is not current. Rules: P-auth-7.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &judge{changed: make(chan struct{}), verify: func(context.Context, *Shown) (*Identity, error) { return &Identity{}, nil }}
		g := NewGuard(v, GuardOptions{})
		var calls []time.Duration
		began := time.Now()
		undecided := true
		done := make(chan struct{})
		go func() {
			defer close(done)
			g.Watch(true, func() bool {
				calls = append(calls, time.Since(began))
				return undecided
			})
		}()
		synctest.Wait()
		before, _ := ask(g, "x", "")
		if !g.Current(before) {
			t.Error("nothing has changed")
		}
		time.Sleep(6 * time.Second) // the undecided
		synctest.Wait()
		undecided = false
		next := make(chan struct{})
		old := v.changed
		v.changed = next
		close(old)
		synctest.Wait()
		if g.Current(before) {
			t.Error("what was judged before a change counts")
		}
		v.changed = nil
		synctest.Wait()
		close(next) // during the pause
		time.Sleep(time.Minute)
		g.Close()
		<-done
		if fmt.Sprint(calls) != "[0s 5s 6s 7s]" {
			t.Errorf("it is told at %v", calls)
		}
	})
}

// What changes while a request is judged makes its verdict one of before. Rules: P-auth-7.
func TestVerdictsDuringAChange(t *testing.T) {
	var g *Guard
	g = NewGuard(&judge{verify: func(context.Context, *Shown) (*Identity, error) {
		g.Turn()
		return &Identity{}, nil
	}}, GuardOptions{Timeout: time.Minute})
	defer g.Close()
	if v, _ := ask(g, "x", ""); v.Who == nil || g.Current(v) {
		t.Errorf("%+v is current", v)
	}
}

// Who shows a certificate that is not enough has shown something.
func TestCertificatesAreShown(t *testing.T) {
	for _, tc := range []struct {
		shown Shown
		want  Outcome
	}{{Shown{}, Missing}, {Shown{Certificates: []*x509.Certificate{{}}}, Wrong}, {Shown{Authorization: "x"}, Wrong}} {
		if _, o := classify(&tc.shown, Unauthorized("not enough")); o != tc.want {
			t.Errorf("%+v: %v, want %v", tc.shown, o, tc.want)
		}
	}
}

// A panic, and somebody who has shown nothing, are no reason to go on.
func TestAgain(t *testing.T) {
	g := NewGuard(NewBasicVerifier("alice", "secret"), GuardOptions{Timeout: time.Minute})
	defer g.Close()
	v, _ := ask(g, basicHeader("alice", "secret"), "")
	for _, tc := range []struct {
		name string
		by   Verifier
		who  *Identity
		want int // 0: allowed
	}{
		{"the same", NewBasicVerifier("alice", "secret"), v.Who, 0},
		{"another password", NewBasicVerifier("alice", "other"), v.Who, 401},
		{"nobody", NewBasicVerifier("alice", "secret"), nil, 401},
		{"proven otherwise", NewBasicVerifier("alice", "secret"), &Identity{Mechanism: JWT, Subject: "alice"}, 401},
	} {
		err := NewGuard(tc.by, GuardOptions{}).Again(t.Context(), tc.who)
		var d *Denied
		if errors.As(err, &d); tc.want == 0 && err != nil || tc.want != 0 && (d == nil || d.Status != tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if err := NewGuard(nil, GuardOptions{}).Again(t.Context(), v.Who); err == nil {
		t.Error("a panic allows")
	}
}

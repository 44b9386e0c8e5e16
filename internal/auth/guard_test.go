package auth

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
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
		audit, panics := &log{}, atomic.Int64{}
		v := &judge{verify: func(ctx context.Context, s *Shown) (*Identity, error) {
			switch s.Authorization {
			case "", "wrong":
				return nil, Unauthorized("not right")
			case "forbidden":
				return nil, Forbidden("the policy")
			case "broken":
				return nil, said
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
		g := NewGuard(v, GuardOptions{AtOnce: 2, Waiting: 3})
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
	}}, GuardOptions{})
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
	g := NewGuard(NewBasicVerifier("alice", "secret"), GuardOptions{})
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

package auth

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// GuardOptions configure a Guard. Zeros mean the default named.
type GuardOptions struct {
	// Listener is its endpoint, Mechanism what it demands, for the audit log and the counters.
	Listener, Mechanism string
	// Timeout is how long it may take to judge a request, waiting included, and, once more, how long a refusal may be held
	// back; 0: 4 s.
	Timeout time.Duration
	// AtOnce is how many requests are judged at the same time, Waiting how many more may wait for that, Held how many
	// refusals may be held back; 0: 64, 2,048 and 4,096. A single network may have half of the first two.
	AtOnce, Waiting, Held int
	// Audit is told of each decision; nil: nobody is.
	Audit Audit
	// Panicked is told of a panic of the Verifier, which denies; nil: nobody is.
	Panicked func(cause, stack string)
}

// Guard judges the requests of one listener with a Verifier, beside the loops: so many at the same time, so many more that
// wait, each network its share of both, the refusals of wrong credentials later and later. It is in memory and time bounded by its
// options, whoever asks.
// Safe for all. Rules: P-auth-5, P-auth-6.
//
//	Ask ──▶ judged, of AtOnce ──▶ allowed ──▶ answer
//	  │        ▲      └──▶ denied ──▶ held back, of Held ──▶ answer
//	  ├──▶ waits, of Waiting
//	  └──▶ denied: too many wait ──▶ answer
type Guard struct {
	// Immutable.
	verifier Verifier
	opt      GuardOptions
	ctx      context.Context // of all judgements
	cancel   context.CancelFunc

	throttle throttle
	notes    notes
	round    atomic.Uint64 // of keys and policies: Watch counts it
	counts   [numOutcomes]atomic.Uint64
	held     atomic.Int64  // refusals that are held back
	slowed   atomic.Uint64 // how many have been

	mu    sync.Mutex
	queue queue // guarded by mu
}

// question is a request that is to be judged.
type question struct {
	shown  *Shown
	answer func(Verdict)
	ctx    context.Context
	cancel context.CancelFunc
	share  *share        // of its network; guarded by Guard.mu
	place  *list.Element // in share.waiting; nil: it does not wait. Guarded by Guard.mu
	timer  *time.Timer   // of its refusal, which is held back; nil: it is not. Guarded by Guard.mu
	gone   bool          // who has asked it; guarded by Guard.mu
}

// Verdict is the answer to a request: one of Who and Denied is set.
type Verdict struct {
	Who    *Identity
	Denied *Denied
	round  uint64
}

// Outcome is what came of a request, for counters.
type Outcome uint8

// The outcomes.
const (
	Allowed     Outcome = iota
	Missing             // nothing was shown
	Wrong               // what was shown is not right
	Refused             // it is right, and a policy says no
	Unknown             // it could not be judged
	Overcrowded         // too many were waiting
	numOutcomes
)

var outcomeNames = [numOutcomes]string{"allowed", "missing", "wrong", "refused", "unknown", "overcrowded"}

// String is for labels.
func (o Outcome) String() string { return outcomeNames[o] }

// NewGuard returns a guard. Close ends it, but not v.
func NewGuard(v Verifier, o GuardOptions) *Guard {
	o.Timeout = cmp.Or(o.Timeout, 4*time.Second)
	o.AtOnce, o.Waiting, o.Held = cmp.Or(o.AtOnce, 64), cmp.Or(o.Waiting, 2048), cmp.Or(o.Held, 4096)
	g := &Guard{verifier: v, opt: o, queue: newQueue(o.AtOnce, o.Waiting)}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

// Verifier returns what it judges with.
func (g *Guard) Verifier() Verifier { return g.verifier }

// QueryToken is that of the Verifier.
func (g *Guard) QueryToken() bool { return g.verifier.QueryToken() }

// Close ends all that is being judged: it is answered with 503.
func (g *Guard) Close() { g.cancel() }

// Ask has a request judged. answer is called once, from any goroutine and perhaps before Ask returns, within two times
// Timeout; after cancel it may not be called at all.
func (g *Guard) Ask(s *Shown, answer func(Verdict)) (cancel func()) {
	q := &question{shown: s, answer: answer}
	q.ctx, q.cancel = context.WithTimeout(g.ctx, g.opt.Timeout)
	if !g.admit(q) {
		d := Unavailable("too many requests wait to be judged")
		g.note(s, nil, d, Overcrowded)
		answer(Verdict{Denied: d})
		q.cancel()
		return func() {}
	}
	return func() { g.giveUp(q) }
}

// admit begins with a question, or has it wait. false: too many do.
func (g *Guard) admit(q *question) bool {
	network := networkOf(q.shown.Remote)
	g.mu.Lock()
	defer g.mu.Unlock()
	run, taken := g.queue.enter(q, network)
	if run {
		go g.work(q)
	}
	return taken
}

// giveUp ends a question whose asker has gone: nothing of it is kept.
func (g *Guard) giveUp(q *question) {
	q.cancel()
	g.mu.Lock()
	defer g.mu.Unlock()
	q.gone = true
	g.queue.leave(q)
	if q.timer != nil && q.timer.Stop() {
		g.held.Add(-1)
	}
	q.timer = nil
}

// work judges a question, and then those that wait.
func (g *Guard) work(q *question) {
	for ; q != nil; q = g.next(q) {
		g.judge(q)
	}
}

// next returns what who has judged a question judges in its place; nil: nothing. What there is room for besides is begun, too.
func (g *Guard) next(done *question) *question {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.queue.end(done)
	q := g.queue.next()
	for more := q; more != nil; {
		if more = g.queue.next(); more != nil {
			go g.work(more)
		}
	}
	return q
}

// judge answers a question, unless its asker has gone.
func (g *Guard) judge(q *question) {
	defer q.cancel()
	round := g.round.Load() // first: what changes meanwhile is seen by Current
	who, err := g.verify(q.ctx, q.shown)
	if errors.Is(context.Cause(q.ctx), context.Canceled) && g.ctx.Err() == nil {
		return
	}
	denied, outcome := classify(q.shown, err)
	g.note(q.shown, who, denied, outcome)
	v := Verdict{Who: who, Denied: denied, round: round}
	if outcome == Wrong || outcome == Missing {
		g.hold(q, v)
		return
	}
	q.answer(v)
}

// hold answers wrong credentials, at once or later.
func (g *Guard) hold(q *question, v Verdict) {
	d := min(g.throttle.wrong(networkOf(q.shown.Remote), q.shown.Authorization, time.Now()), g.opt.Timeout)
	if d == 0 || !g.holdBack(q, v, d) {
		q.answer(v)
	}
}

// holdBack answers a question after d. false: so many are held back already.
func (g *Guard) holdBack(q *question, v Verdict, d time.Duration) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case q.gone:
		return true
	case g.held.Load() >= int64(g.opt.Held):
		return false
	}
	g.held.Add(1)
	g.slowed.Add(1)
	answer := q.answer
	q.shown, q.answer = nil, nil // secret, and what they belong to: it is the timer that keeps what is left
	q.timer = time.AfterFunc(d, func() {
		g.held.Add(-1)
		answer(v)
	})
	return true
}

// verify is Verifier.Verify; a panic denies.
func (g *Guard) verify(ctx context.Context, s *Shown) (who *Identity, err error) {
	defer func() {
		if r := recover(); r != nil {
			who, err = nil, g.panicked(r)
		}
	}()
	switch {
	case len(s.Authorization) > MaxAuthorization:
		return nil, Unauthorized(fmt.Sprintf("credentials of more than %d bytes", MaxAuthorization))
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	switch who, err = g.verifier.Verify(ctx, s); {
	case err != nil:
		return nil, err // an error denies, whoever comes with it
	case who == nil:
		return nil, errors.New("the verifier has no answer")
	}
	return who, nil
}

// Again judges anew who was let in. Errors are those of Verifier.Again.
func (g *Guard) Again(ctx context.Context, who *Identity) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = g.panicked(r)
		}
	}()
	if who == nil {
		return Unauthorized("its listener asks for credentials now")
	}
	ctx, cancel := context.WithTimeout(ctx, g.opt.Timeout)
	defer cancel()
	return g.verifier.Again(ctx, who)
}

func (g *Guard) panicked(r any) error {
	if g.opt.Panicked != nil {
		g.opt.Panicked(fmt.Sprint(r), string(debug.Stack()))
	}
	return errors.New("an internal error")
}

// classify says what an error of a Verifier comes to.
func classify(s *Shown, err error) (*Denied, Outcome) {
	if err == nil {
		return nil, Allowed
	}
	var d *Denied
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return Unavailable("it was not judged in time"), Unknown
	case errors.Is(err, context.Canceled):
		return Unavailable("the listener's authentication has been replaced"), Unknown
	case !errors.As(err, &d):
		return Unavailable("it cannot be judged: " + err.Error()), Unknown
	}
	switch {
	case d.Status == http.StatusForbidden:
		return d, Refused
	case d.Status != http.StatusUnauthorized:
		d = &Denied{http.StatusServiceUnavailable, "", d.Reason, d.Subject, d.Issuer}
		return d, Unknown
	case s.Authorization == "" && s.Certificates == nil:
		return d, Missing
	}
	return d, Wrong
}

// note counts a decision, and tells the audit log.
func (g *Guard) note(s *Shown, who *Identity, d *Denied, o Outcome) {
	g.counts[o].Add(1)
	if g.opt.Audit == nil {
		return
	}
	now, reason := time.Now(), ""
	if d != nil {
		reason = d.Reason
	}
	if d != nil && d.Status != http.StatusForbidden { // else it is known who it was
		ok, left := g.notes.room(networkOf(s.Remote), now)
		if !ok {
			return
		}
		if left > 0 {
			reason = fmt.Sprintf("%s; %d more refusals, of anybody, were not written down", reason, left)
		}
	}
	e := Event{Time: now, Act: ActConnect, Allowed: d == nil, Listener: g.opt.Listener, Peer: s.Remote, Mechanism: g.opt.Mechanism}
	if who != nil {
		e.Mechanism, e.Subject, e.Issuer = who.Mechanism, who.Subject, who.Issuer
	}
	if d != nil {
		e.Reason, e.Status, e.Subject, e.Issuer = reason, d.Status, d.Subject, d.Issuer
	}
	g.opt.Audit.Note(&e)
}

// Current reports whether nothing has changed since a verdict began to be made.
func (g *Guard) Current(v Verdict) bool { return v.round == g.round.Load() }

const (
	// watchPause is the least time between two calls of what Watch tells.
	watchPause = time.Second
	// undecidedPause is when those are judged once more about whom nothing could be said.
	undecidedPause = 5 * time.Second
)

// Watch calls changed, one time after the other, when those who were let in are to be judged again, until the guard is
// closed: at once, if now is set, after a change, and a while after a call that has returned undecided. Verdicts that are not
// Current when it is called must be judged again, too.
func (g *Guard) Watch(now bool, changed func() (undecided bool)) {
	next := g.verifier.Changed()
	var again <-chan time.Time
	for {
		if !now {
			select {
			case <-next:
				next = g.verifier.Changed() // first: what changes from now on is another change
			case <-again:
			case <-g.ctx.Done():
				return
			}
		}
		now, again = false, nil
		g.Turn()
		if changed() {
			again = time.After(undecidedPause)
		}
		select {
		case <-time.After(watchPause):
		case <-g.ctx.Done():
			return
		}
	}
}

// Turn has no verdict be Current that was begun before.
func (g *Guard) Turn() { g.round.Add(1) }

// Tally is what a guard has done.
type Tally struct {
	Listener, Mechanism string
	Outcomes            [numOutcomes]uint64 // requests, by Outcome
	Slowed              uint64              // refusals that were held back
	Waiting             int                 // requests that are being judged or wait, or whose refusal is held back, now
}

// Tally returns what the guard has done.
func (g *Guard) Tally() Tally {
	t := Tally{Listener: g.opt.Listener, Mechanism: g.opt.Mechanism, Slowed: g.slowed.Load()}
	for o := range g.counts {
		t.Outcomes[o] = g.counts[o].Load()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	t.Waiting = g.queue.running + g.queue.waiting + int(g.held.Load())
	return t
}

package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/fetch"
)

const (
	patience  = 2 * time.Second  // for a provider that hangs, when the keys of before will do
	minReload = 30 * time.Second // between fetches that nobody wants

	maxWaiting = 16 // tokens of unknown keys that wait for an answer of the provider
)

// published is what a provider says of itself. Immutable.
type published struct {
	keys     []*key
	userinfo string    // URL; "": it has none
	since    time.Time // when it was fetched
}

// has reports whether a key of that hash is among them.
func (p *published) has(k *key) bool {
	for _, have := range p.keys {
		if have.hash == k.hash {
			return true
		}
	}
	return false
}

// same reports whether the keys are.
func (p *published) same(q *published) bool {
	if p == nil || q == nil || len(p.keys) != len(q.keys) {
		return false
	}
	for _, k := range p.keys {
		if !q.has(k) {
			return false
		}
	}
	return true
}

// choose returns the keys that may have signed a token: those of its kid, or without one the only key of the provider.
func (p *published) choose(kid string) []*key {
	if kid == "" {
		if len(p.keys) == 1 {
			return p.keys
		}
		return nil
	}
	var of []*key
	for _, k := range p.keys {
		if k.kid == kid {
			of = append(of, k)
		}
	}
	return of
}

// provider keeps what an issuer publishes. It is asked when somebody wants to know for the first time, then again after life, and
// at most once in a while when a token names a key that is not known (P-oidc-7). Safe for all.
type provider struct {
	ask      asker
	issuer   string
	life     time.Duration // of what was fetched
	grace    time.Duration // so long after life it counts on while the provider is away
	log      *slog.Logger
	changed  func() // hears when the keys are others
	attempts attempts
	backoff  backoff
	unknown  fetch.Pace // of tokens that name a key that is not known

	fetches, failures, stale, limited atomic.Uint64
	waiting                           atomic.Int64 // tokens of unknown keys that wait

	mu     sync.Mutex
	now    *published // nil: none so far
	err    error      // of the last attempt
	resume time.Time  // no attempt before
	loads  auth.Loads // as an operator sees them
	first  bool       // somebody is to be told when there are keys for the first time
}

func (p *provider) start() {
	p.attempts.do = p.load
	p.attempts.start(-1)
}

// current returns what is published. It waits for an attempt if what is known is too old.
func (p *provider) current(ctx context.Context) (*published, error) {
	now, err, rest := p.known()
	if now != nil && time.Since(now.since) < p.life {
		return now, nil
	}
	round := p.attempts.going()
	if round == nil && !rest {
		round = p.attempts.want()
	}
	if round != nil {
		if now != nil && time.Since(now.since) < p.life+p.grace { // who is known does not wait long for a provider that hangs
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, patience)
			defer cancel()
		}
		select {
		case <-round:
			now, err, _ = p.known()
		case <-ctx.Done():
			err = fmt.Errorf("the keys of the identity provider are not here yet: %w", ctx.Err())
		}
	}
	switch {
	case now == nil || time.Since(now.since) >= p.life+p.grace:
		if err == nil {
			err = errClosed
		}
		return nil, err
	case time.Since(now.since) >= p.life:
		p.stale.Add(1)
	}
	return now, nil
}

// newer returns what is published now if that is not old, else nil: it was asked a moment ago, or is away, or many wait for that already:
// whoever makes up kids does not fill, while a provider is slow, the places of those who have right ones.
func (p *provider) newer(ctx context.Context, old *published) *published {
	now, _, rest := p.known()
	if now != old {
		return now
	}
	round := p.attempts.going()
	if round == nil {
		if rest || !p.unknown.Try(time.Now()) {
			p.limited.Add(1)
			return nil
		}
		round = p.attempts.want()
	}
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > maxWaiting {
		p.limited.Add(1)
		return nil
	}
	select {
	case <-round:
	case <-ctx.Done():
		return nil
	}
	if now, _, _ = p.known(); now == old {
		return nil
	}
	return now
}

func (p *provider) known() (now *published, err error, rest bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now, p.err, time.Now().Before(p.resume)
}

// expected returns what is published, nil: nothing yet; then it is asked for, and changed hears when it is there.
func (p *provider) expected() *published {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil {
		p.first = true
		if !time.Now().Before(p.resume) {
			p.attempts.want()
		}
	}
	return p.now
}

// load makes one attempt.
func (p *provider) load(ctx context.Context) time.Duration {
	p.fetches.Add(1)
	got, err := p.fetch(ctx)
	if err != nil {
		wait := p.backoff.failed()
		p.failures.Add(1)
		p.mu.Lock()
		defer p.mu.Unlock()
		if again := p.err != nil && p.err.Error() == err.Error(); !again && ctx.Err() == nil { // each reason is said once
			until := "no token can be verified"
			if p.now != nil {
				until = "the keys of before count until " + p.now.since.Add(p.life+p.grace).Format(time.RFC3339)
			}
			p.log.Warn("the identity provider does not give its keys; it is asked again, and meanwhile "+until, "error", err.Error())
		}
		p.err, p.resume = err, time.Now().Add(wait)
		if ctx.Err() == nil {
			p.loads.Fail(time.Now(), err)
		}
		return wait
	}
	if p.backoff.well() {
		p.log.Info("the identity provider gives its keys again")
	}
	p.mu.Lock()
	before, awaited := p.now, p.first
	p.now, p.err, p.resume, p.first = got, nil, time.Time{}, false
	p.loads.Succeed(got.since, true)
	p.mu.Unlock()
	switch {
	case before == nil && awaited:
		p.changed()
	case before != nil && !got.same(before):
		p.log.Info("the identity provider has changed its keys", "keys", len(got.keys))
		p.changed()
	}
	return max(p.life-p.life/10, minReload) // before anybody would wait for it
}

// fetch asks for the discovery document and the keys (P-oidc-6).
func (p *provider) fetch(ctx context.Context) (*published, error) {
	from, err := fetch.ParseURL(p.issuer, false)
	if err != nil {
		return nil, err
	}
	var d map[string]any
	if err := p.json(ctx, discovery(p.issuer), &d); err != nil {
		return nil, err
	}
	switch said := text(d, "issuer"); {
	case said == "":
		return nil, fmt.Errorf("the discovery document of %s names no issuer: is issuer_url right?", fetch.Shown(from))
	case strings.TrimRight(said, "/") != strings.TrimRight(p.issuer, "/"):
		return nil, fmt.Errorf("the discovery document of %s is of the issuer %q: set issuer_url to that, or ask who is in between",
			fetch.Shown(from), short(said))
	}
	at := text(d, "jwks_uri")
	to, err := fetch.ParseURL(at, false)
	switch {
	case at == "":
		return nil, fmt.Errorf("the discovery document of %s names no jwks_uri: this provider publishes no keys", fetch.Shown(from))
	case err != nil:
		return nil, fmt.Errorf("the jwks_uri of %s %w", fetch.Shown(from), err)
	case !fetch.SameOrigin(from, to):
		return nil, fmt.Errorf("the jwks_uri of %s is of another origin, %s, whose keys do not count: have it serve both from one scheme, "+
			"host and port", fetch.Shown(from), fetch.Shown(to))
	}
	var set struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := p.json(ctx, at, &set); err != nil {
		return nil, err
	}
	if set.Keys == nil {
		return nil, fmt.Errorf("%s is no set of keys: it has no member keys", fetch.Shown(to))
	}
	got := &published{since: time.Now()}
	var passed []error
	if got.keys, passed, err = readKeys(*set.Keys); err != nil {
		return nil, fmt.Errorf("%s %w", fetch.Shown(to), err)
	}
	if len(passed) > 0 {
		p.log.Warn("keys of the identity provider are passed over", "url", fetch.Shown(to), "error", errors.Join(passed...).Error())
	}
	if len(got.keys) == 0 {
		p.log.Error("the identity provider publishes no key that can verify a token: all tokens are refused", "url", fetch.Shown(to))
	}
	if got.userinfo = text(d, "userinfo_endpoint"); got.userinfo != "" {
		if _, err := fetch.ParseURL(got.userinfo, false); err != nil {
			p.log.Warn("the userinfo_endpoint of the identity provider is not asked", "error", err.Error())
			got.userinfo = ""
		}
	}
	return got, nil
}

func (p *provider) json(ctx context.Context, url string, into any) error {
	r, err := p.ask.Get(ctx, url)
	if err == nil {
		err = r.OK()
	}
	if err == nil {
		err = r.Decode(into)
	}
	return err
}

// stop ends what goes on.
func (p *provider) stop() {
	p.attempts.stop()
	p.ask.Close()
	<-p.attempts.ended
}

package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/fetch"
	"github.com/seed31b3bfd0/slimgo/internal/auth/strict"
)

const (
	usualKeysLife = time.Hour
	usualGrace    = time.Hour
	maxCached     = 4096     // tokens
	maxCacheBytes = 32 << 20 // that their claims take, about
	maxUserinfo   = 64 << 10 // bytes of an answer
)

// Policy decides over who is known. internal/auth/policy has such. One with a method Changed() <-chan struct{} tells when it may
// decide otherwise than before.
type Policy interface {
	// Allow returns nil if the claims of a verified token may pass; an error, whatever it is, denies with 403. Claims are read only.
	Allow(ctx context.Context, claims map[string]any) error
}

// VerifierOptions say whose tokens count.
type VerifierOptions struct {
	// Issuer is the URL of the provider, and the iss of its tokens, to the last slash.
	Issuer string
	// Audience has to be among a token's aud.
	Audience string
	// Strict demands what upstream does not: claims aud and iss, nbf and iat that are not in the future, and no header crit.
	Strict bool
	// KeysLife is how long the keys of the provider count before it is asked again; 0: an hour.
	KeysLife time.Duration
	// Grace is how long after that they still count while the provider is away; 0: an hour, negative: not at all.
	Grace time.Duration
	// ClaimsLife is how long what a token and userinfo have said is remembered; 0: not at all. Never longer than the token lives,
	// or than its key is published.
	ClaimsLife time.Duration
	// Policy decides last; nil: whoever is known may pass. It is not closed by Verifier.Close.
	Policy Policy
	// Timeout is for each request to the provider; 0: ten seconds.
	Timeout time.Duration
	// TLS verifies the provider; nil: by the system's roots.
	TLS *tls.Config
	// Log hears of a provider that is away, and of keys that change; nil: nobody does.
	Log *slog.Logger
}

// VerifierStats count from the start.
type VerifierStats struct {
	Verified, Denied uint64
	CacheHits        uint64 // tokens that were remembered
	Fetches          uint64 // of keys
	FetchFailures    uint64
	Stale            uint64 // judgements by keys that are older than KeysLife
	Limited          uint64 // tokens of unknown keys for which the provider was not asked again
	UserinfoFailures uint64
}

// Verifier judges access tokens of a provider. It implements auth.Verifier.
type Verifier struct {
	o        VerifierOptions
	provider provider
	userinfo asker // apart, so that slow answers there keep no keys away
	life     context.Context
	end      context.CancelFunc
	tasks    sync.WaitGroup
	cache    cache

	verified, denied, hits, noInfo atomic.Uint64

	changed auth.Change
}

var _ auth.Verifier = (*Verifier)(nil)

// NewVerifier returns a Verifier. The provider is asked when the first token comes. The error is one of the options.
func NewVerifier(o VerifierOptions) (*Verifier, error) {
	f := fetch.Options{Timeout: o.Timeout, TLS: o.TLS}
	info := f
	info.MaxBytes = maxUserinfo
	return newVerifier(o, fetch.New(f), fetch.New(info))
}

func newVerifier(o VerifierOptions, keys, info asker) (*Verifier, error) {
	v := &Verifier{o: o, userinfo: info}
	err := checkIssuer(o.Issuer)
	if err == nil && o.Audience == "" {
		err = fmt.Errorf("%w: set audience to what the provider puts into aud of tokens for this node", errNoAudience)
	}
	if err != nil {
		keys.Close()
		info.Close()
		return nil, err
	}
	if o.KeysLife == 0 {
		o.KeysLife = usualKeysLife
	}
	if o.Grace == 0 {
		o.Grace = usualGrace
	}
	p := &v.provider
	p.ask, p.issuer, p.life, p.grace, p.log, p.changed = keys, o.Issuer, o.KeysLife, max(o.Grace, 0), logOr(o.Log), v.changed.Tell
	p.start()
	v.life, v.end = context.WithCancel(context.Background())
	if c, ok := o.Policy.(interface{ Changed() <-chan struct{} }); ok {
		now := c.Changed()
		v.tasks.Go(func() { v.changed.Follow(v.life.Done(), now, c.Changed) })
	}
	return v, nil
}

// Changed returns a channel that is closed when the provider has other keys, or the policy has changed if it tells that.
func (v *Verifier) Changed() <-chan struct{} { return v.changed.Next() }

// QueryToken returns true (P-auth-2).
func (v *Verifier) QueryToken() bool { return true }

// Stats returns what has happened so far.
func (v *Verifier) Stats() VerifierStats {
	p := &v.provider
	return VerifierStats{Verified: v.verified.Load(), Denied: v.denied.Load(), CacheHits: v.hits.Load(), Fetches: p.fetches.Load(),
		FetchFailures: p.failures.Load(), Stale: p.stale.Load(), Limited: p.limited.Load(), UserinfoFailures: v.noInfo.Load()}
}

// Loads returns how fetches of the provider's keys went. It is an auth.Loader.
func (v *Verifier) Loads() auth.Loads {
	v.provider.mu.Lock()
	defer v.provider.mu.Unlock()
	return v.provider.loads
}

// Reload has the provider asked for its keys soon, though nothing tells of a change.
func (v *Verifier) Reload() {
	if now, _, _ := v.provider.known(); now != nil {
		v.provider.attempts.want()
	}
}

// Close ends what is asked of the provider. Verify denies after it.
func (v *Verifier) Close() error {
	v.end()
	v.provider.stop()
	v.userinfo.Close()
	v.tasks.Wait()
	return nil
}

// proof is what Again needs of a token: the key that has signed it, and for whom and from whom it is, nil: it does not say. Userinfo has
// no part in it.
type proof struct {
	key      *key
	aud, iss any
}

// Verify judges the token of a header `authorization` (P-oidc-8).
func (v *Verifier) Verify(ctx context.Context, s *auth.Shown) (*auth.Identity, error) {
	who, err := v.verify(ctx, s)
	if err != nil {
		v.denied.Add(1)
		return nil, err
	}
	v.verified.Add(1)
	return who, nil
}

func (v *Verifier) verify(ctx context.Context, s *auth.Shown) (*auth.Identity, error) {
	if v.life.Err() != nil {
		return nil, auth.Unavailable(errClosed.Error())
	}
	raw, ok := strict.Bearer(s.Authorization)
	switch {
	case !ok:
		return nil, auth.Unauthorized("the request has no token (authorization: Bearer …)")
	case len(raw) > auth.MaxAuthorization:
		return nil, auth.Unauthorized(fmt.Sprintf("the token has more than %d bytes", auth.MaxAuthorization))
	}
	id := sha256.Sum256([]byte(raw))
	who := v.remembered(ctx, id)
	if who == nil {
		var err error
		if who, err = v.prove(ctx, raw, id); err != nil {
			return nil, err
		}
	}
	return who, v.allow(ctx, who)
}

// remembered returns what is known of a token, nil: nothing that still counts.
func (v *Verifier) remembered(ctx context.Context, id [sha256.Size]byte) *auth.Identity {
	if v.o.ClaimsLife <= 0 {
		return nil
	}
	who := v.cache.get(id, time.Now())
	if who == nil {
		return nil
	}
	if now, err := v.provider.current(ctx); err != nil || !now.has(who.Proof.(*proof).key) {
		return nil // judged anew, with the reason
	}
	v.hits.Add(1)
	return who
}

// prove verifies a token and asks who that is.
func (v *Verifier) prove(ctx context.Context, raw string, id [sha256.Size]byte) (*auth.Identity, error) {
	t, err := parseJWS(raw)
	if err != nil {
		return nil, auth.Unauthorized(err.Error())
	}
	deny := func(err error) error {
		return &auth.Denied{Status: http.StatusUnauthorized, Reason: err.Error(), Subject: short(text(t.claims, "sub")), Issuer: short(text(t.claims, "iss"))}
	}
	// What needs no key first: who shows what can never count makes nobody ask the provider.
	begun := time.Now()
	exp, err := t.check(v.o.Audience, v.o.Issuer, begun)
	if err == nil && v.o.Strict {
		err = t.strict(begun)
	}
	if err != nil {
		return nil, deny(err)
	}
	if algorithm(t.alg) == nil {
		return nil, deny(fmt.Errorf("the token's algorithm %q is none that counts here", short(t.alg)))
	}
	now, k, err := v.find(ctx, t)
	if d := (*auth.Denied)(nil); errors.As(err, &d) { // nothing can be said of the token
		return nil, d
	} else if err != nil {
		return nil, deny(err)
	}
	who := &auth.Identity{Mechanism: auth.OIDC, Subject: text(t.claims, "sub"), Issuer: text(t.claims, "iss"), Claims: t.claims, Expires: exp,
		Proof: &proof{k, t.claims["aud"], t.claims["iss"]}}
	size := len(raw)
	if now.userinfo != "" {
		more, err := v.ask(ctx, now.userinfo, raw, t)
		if err != nil {
			v.noInfo.Add(1)
			v.provider.log.Debug("the identity provider does not tell more of a user; the token alone counts", "error", err.Error())
		} else {
			size += more
		}
	}
	if v.o.ClaimsLife > 0 {
		v.cache.put(id, who, 16*size, time.Now().Add(v.o.ClaimsLife))
	}
	return who, nil
}

// find returns the key that has signed a token.
func (v *Verifier) find(ctx context.Context, t *jws) (*published, *key, error) {
	now, err := v.provider.current(ctx)
	if err != nil {
		return nil, nil, auth.Unavailable(err.Error())
	}
	keys := now.choose(t.kid)
	if len(keys) == 0 && t.kid != "" {
		if next := v.provider.newer(ctx, now); next != nil {
			now, keys = next, next.choose(t.kid)
		}
	}
	switch {
	case len(now.keys) == 0:
		return nil, nil, errors.New("the identity provider publishes no key that could verify a token")
	case len(keys) == 0 && t.kid == "":
		return nil, nil, fmt.Errorf("the token names no key, and the provider has %d: have it put kid into the header", len(now.keys))
	case len(keys) == 0:
		return nil, nil, fmt.Errorf("the provider has no key %q, by which the token says that it is signed", short(t.kid))
	}
	for _, k := range keys {
		if k.verifies(t) {
			return now, k, nil
		}
	}
	return nil, nil, fmt.Errorf("the token is not signed by the key %q of the provider with algorithm %s", short(t.kid), keys[0].alg.Name)
}

// ask has the provider tell more (P-oidc-10) of a token's user, and adds what the token does not say; it returns how many bytes that were.
func (v *Verifier) ask(ctx context.Context, url, raw string, t *jws) (int, error) {
	r, err := v.userinfo.GetWith(ctx, url, "Bearer "+raw)
	if err != nil {
		return 0, err
	}
	if err := r.OK(); err != nil {
		return 0, err
	}
	m, err := readObject(r.Body)
	if err != nil {
		return 0, fmt.Errorf("userinfo: %w", err)
	}
	if sub, ok := m["sub"]; ok && t.claims["sub"] != nil && sub != t.claims["sub"] { // OpenID Connect Core 1.0 section 5.3.2
		return 0, errors.New("userinfo is of another sub than the token")
	}
	for name, value := range m {
		if _, ok := t.claims[name]; !ok {
			t.claims[name] = value
		}
	}
	return len(r.Body), nil
}

// allow asks the policy.
func (v *Verifier) allow(ctx context.Context, who *auth.Identity) error {
	if v.o.Policy == nil {
		return nil
	}
	if err := v.o.Policy.Allow(ctx, who.Claims); err != nil {
		return &auth.Denied{Status: http.StatusForbidden, Reason: "the policy does not let this token pass: " + err.Error(), Subject: who.Subject,
			Issuer: who.Issuer}
	}
	return nil
}

// Again judges by the options of v, by the keys that are known now, and by the policy of now. A provider that is away has taken nothing
// back. One that was not asked yet, since v has come in the place of another Verifier, is asked, and changes v when it has answered.
func (v *Verifier) Again(ctx context.Context, who *auth.Identity) error {
	p, ok := who.Proof.(*proof)
	if !ok {
		return auth.Unauthorized("this connection was let in by something else than a token of the provider")
	}
	deny := func(reason string) error {
		return &auth.Denied{Status: http.StatusUnauthorized, Subject: who.Subject, Issuer: who.Issuer, Reason: reason}
	}
	if err := meant(p.aud, p.iss, v.o.Audience, v.o.Issuer); err != nil {
		return deny(err.Error())
	}
	switch now := v.provider.expected(); {
	case now == nil:
		return auth.Unavailable("the keys of the identity provider are not here yet")
	case !now.has(p.key):
		return deny(fmt.Sprintf("the provider has taken back the key %q that has signed the token", short(p.key.kid)))
	}
	return v.allow(ctx, who)
}

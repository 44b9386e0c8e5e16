package jwt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/fetch"
	"github.com/seed31b3bfd0/slimgo/internal/auth/jose"
	"github.com/seed31b3bfd0/slimgo/internal/auth/strict"
)

// Policy decides over who is known. internal/auth/policy has such.
type Policy interface {
	// Allow returns nil if the claims of a verified token may pass; an error, whatever it is, denies with 403. Claims are read only.
	Allow(ctx context.Context, claims map[string]any) error
}

// changer is a Policy that may decide otherwise later: the channel is closed when it does.
type changer interface{ Changed() <-chan struct{} }

// Values of VerifierOptions.Binding: what is done about a token whose sub is not the owner of the key (P-jwt-9).
const (
	BindOff     = "off"
	BindWarn    = "warn"
	BindEnforce = "enforce"
)

// VerifierOptions say what tokens count. Its zero has no key, which is an error.
type VerifierOptions struct {
	// Key verifies all tokens. Its zero, and Resolve: the keys of the issuer that a token names do.
	Key     Key
	Resolve bool
	// Issuers are whose keys may be fetched, besides Issuer. None of either: anybody's (P-jwt-8). Of Resolve only.
	Issuers []string
	// TLS verifies those whom keys are fetched from; nil: by the system's roots.
	TLS *tls.Config

	// Audience, Issuer and Subject are upstream's claims: of the first two a token that has them must have one. Subject says nothing
	// without Strict (P-jwt-11).
	Audience []string
	Issuer   string
	Subject  string
	// Binding is BindOff, BindWarn, BindEnforce, or "" for the first. It says something of a JWKS that is no issuer's.
	Binding string
	// Policy decides last; nil: whoever is known may pass. It is not closed by Verifier.Close.
	Policy Policy

	// Strict demands what upstream does not (P-jwt-14): claims aud and iss; nbf and iat that are not in the future; Subject, if that is
	// set; no header `crit`; secrets of full length; issuers that are listed, and https.
	Strict bool

	Watch
}

// Verifier verifies tokens. It is an auth.Verifier. Safe for all.
type Verifier struct {
	o     VerifierOptions
	claim expected
	key   *file[*keySet] // nil: issuers
	from  *issuers
	cache cache
	said  fetch.Pace // of tokens that BindWarn lets pass

	life  context.Context
	end   context.CancelFunc
	tasks sync.WaitGroup

	changed auth.Change

	verified, hits, mismatches atomic.Uint64
	denied                     [numReasons]atomic.Uint64
}

var _ auth.Verifier = (*Verifier)(nil)

// NewVerifier loads the key, if it has one, and begins to watch its file. What is wrong is said with the key of the configuration,
// below `auth`.
func NewVerifier(o VerifierOptions) (*Verifier, error) {
	o.Issuers, o.Audience = slices.Clone(o.Issuers), slices.Clone(o.Audience)
	v := &Verifier{o: o, claim: expected{audiences: o.Audience, subject: o.Subject, strict: o.Strict}}
	if o.Issuer != "" {
		v.claim.issuers = append(v.claim.issuers, o.Issuer)
	}
	if o.Resolve {
		v.claim.issuers = append(v.claim.issuers, o.Issuers...)
	}
	v.life, v.end = context.WithCancel(context.Background())
	if err := v.open(); err != nil {
		v.end()
		return nil, err
	}
	if c, ok := o.Policy.(changer); ok {
		now := c.Changed()
		v.tasks.Go(func() { v.changed.Follow(v.life.Done(), now, c.Changed) })
	}
	return v, nil
}

func (v *Verifier) open() error {
	o := &v.o
	switch {
	case o.Strict && len(o.Audience) == 0:
		return errors.New("claims.audience: strict authentication wants one: without it a token for anybody else would do")
	case o.Strict && len(v.claim.issuers) == 0:
		return errors.New("claims.issuer: strict authentication wants one: without it keys of any issuer's would do")
	case o.Binding != "" && o.Binding != BindOff && o.Binding != BindWarn && o.Binding != BindEnforce:
		return fmt.Errorf("subject_binding: there is no %q: it is off, warn or enforce", o.Binding)
	case o.Resolve:
		return v.resolve()
	}
	a, err := o.Key.check()
	if err != nil {
		return err
	}
	if o.Binding != "" && o.Binding != BindOff && o.Key.Format != JWKS {
		o.tell(Notice{From: "subject_binding", Warning: "it says nothing but with a key.format of jwks, as upstream"})
	}
	v.key = &file[*keySet]{Watch: o.Watch, path: o.Key.File, what: "key.key", then: v.change,
		parse: func(b []byte) (*keySet, []string, error) { return o.Key.parseSet(a, b, o.Strict) }}
	return v.key.open(o.Key.Data)
}

// parseSet reads what verifies.
func (k *Key) parseSet(a *jose.Algorithm, b []byte, strict bool) (*keySet, []string, error) {
	var key any
	var warnings []string
	var err error
	switch k.Format {
	case JWKS:
		return parseSet(b, false, strict)
	case JWK:
		key, warnings, err = publicJWK(a, b)
	default:
		key, warnings, err = publicKeys.read(a, b)
	}
	if err != nil {
		return nil, nil, err
	}
	if err := a.Long(key, strict); err != nil {
		return nil, nil, err
	}
	return &keySet{one: &verifyKey{alg: a, public: key}}, warnings, nil
}

// resolve prepares for keys of issuers.
func (v *Verifier) resolve() error {
	listed := v.claim.issuers
	if len(listed) == 0 {
		v.o.tell(Notice{From: "key.type", Warning: "autoresolve without claims.issuer: whoever shows a token has this node ask an address " +
			"that the token names, and is let in by keys of its own; set claims.issuer"})
	}
	for _, name := range listed {
		u, err := issuerURL(name)
		if err != nil {
			return fmt.Errorf("claims.issuer: %q: %w", name, err)
		}
		if _, err := fetch.ParseURL(name, false); err == nil {
			continue
		}
		if v.o.Strict {
			return fmt.Errorf("claims.issuer: %s is not https, which strict authentication wants: who is on the way could give us keys of theirs",
				fetch.Shown(u))
		}
		v.o.tell(Notice{From: "claims.issuer", Warning: fetch.Shown(u) + " is not https: who is on the way can give us keys of theirs"})
	}
	v.from = newIssuers(listed, v.o.Strict, v.o.TLS, v.o.tell, v.change)
	return nil
}

// change forgets what was verified: keys are others than before.
func (v *Verifier) change() {
	v.cache.clear()
	v.changed.Tell()
}

// Changed returns a channel that is closed when keys or, if it tells of that, the policy have changed.
func (v *Verifier) Changed() <-chan struct{} { return v.changed.Next() }

// QueryToken returns true (P-auth-2).
func (v *Verifier) QueryToken() bool { return true }

// Reload has the file of the key read soon, or the keys of issuers fetched, though nothing tells of a change.
func (v *Verifier) Reload() {
	if v.key != nil {
		v.key.reload()
	} else {
		v.from.reload()
	}
}

// Close ends watching and fetching. Verify denies after it.
func (v *Verifier) Close() error {
	v.end()
	if v.key != nil {
		v.key.close()
	} else {
		v.from.close()
	}
	v.tasks.Wait()
	return nil
}

// Verify judges the token of a header `authorization` (P-jwt-4).
func (v *Verifier) Verify(ctx context.Context, s *auth.Shown) (*auth.Identity, error) {
	t, ok := strict.Bearer(s.Authorization)
	if !ok {
		return nil, v.deny(nil, &fault{NoToken, "the request has no token (authorization: Bearer …)"})
	}
	return v.VerifyToken(ctx, t)
}

// VerifyToken judges a token as Verify does.
func (v *Verifier) VerifyToken(ctx context.Context, s string) (*auth.Identity, error) {
	if v.life.Err() != nil {
		return nil, v.deny(nil, &fault{Closed, closedText})
	}
	now := time.Now()
	who := v.cache.get(s, now)
	if who != nil {
		v.hits.Add(1)
	} else {
		t, err := parse(s)
		if err != nil {
			return nil, v.deny(t, err)
		}
		if who, err = v.prove(ctx, s, t, now); err != nil {
			return nil, v.deny(t, err)
		}
	}
	if err := v.allow(ctx, who); err != nil {
		return nil, err
	}
	v.verified.Add(1)
	return who, nil
}

const closedText = "this listener is stopping"

// prove returns who a token is, if its signature and claims are right, and remembers it.
func (v *Verifier) prove(ctx context.Context, s string, t *token, now time.Time) (*auth.Identity, error) {
	round := v.cache.begin() // before keys are chosen: those that have changed since remember nothing
	until, err := v.judge(ctx, t, v.candidates)
	if err != nil {
		return nil, err
	}
	end, f := t.expiry(now)
	if f == nil && v.o.Strict {
		f = t.begun(now)
	}
	if f != nil {
		return nil, f
	}
	who := &auth.Identity{Mechanism: auth.JWT, Subject: t.text("sub"), Issuer: t.text("iss"), Claims: t.claims, Expires: end,
		Proof: &proof{s}}
	if until.IsZero() || end.Before(until) {
		until = end
	}
	v.cache.put(s, who, round, until, t.bytes)
	return who, nil
}

// judge returns why the token is not one of ours, whenever it was made; else until when that is known, zero: until keys change.
func (v *Verifier) judge(ctx context.Context, t *token, candidates choosing) (until time.Time, err error) {
	if t.crit && v.o.Strict {
		return until, &fault{Malformed, "the token's header has `crit`, of which nothing is understood here"}
	}
	keys, listed, until, err := candidates(ctx, t)
	if err != nil {
		return until, err
	}
	k := t.signer(ctx, keys)
	if k == nil {
		if ctx.Err() != nil {
			return until, &fault{Unavailable, "the token could not be verified in time"}
		}
		text := "the signature is none of our key"
		if v.key == nil {
			text = "the signature is of no key of the issuer"
		}
		if !listed {
			text += "; the kid is unknown, too"
		}
		return until, &fault{BadSignature, text}
	}
	if v.key == nil || v.o.Key.Format == JWKS {
		if f := t.typed(); f != nil {
			return until, f
		}
	}
	if f := v.claim.accepts(t); f != nil {
		return until, f
	}
	if v.key == nil {
		v.from.proven(t.text("iss"))
		return until, nil
	}
	return until, v.bound(t, k)
}

// signer returns the key that has signed; nil: none of these.
func (t *token) signer(ctx context.Context, keys []*verifyKey) *verifyKey {
	for _, k := range keys {
		if k.alg == t.alg && k.alg.Verify(k.public, t.signed, t.signature) {
			return k
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	return nil
}

// choosing returns the keys that a token may be signed with, whether its kid is that of one, and until when they are current, zero: until
// they change.
type choosing func(ctx context.Context, t *token) (keys []*verifyKey, listed bool, until time.Time, err error)

// candidates is choosing by keys that are current, which it may wait for.
func (v *Verifier) candidates(ctx context.Context, t *token) (keys []*verifyKey, listed bool, until time.Time, err error) {
	if v.key != nil {
		return v.known(ctx, t)
	}
	name, err := t.issuer()
	if err != nil {
		return nil, false, until, err
	}
	set, at, err := v.from.keys(ctx, name)
	if err != nil {
		return nil, false, until, err
	}
	keys, listed, err = set.choose(&t.header)
	if !listed || err != nil {
		if set, at, err = v.from.after(ctx, name, set, at); err != nil {
			return nil, false, until, err
		}
		keys, listed, err = set.choose(&t.header)
	}
	return keys, listed, at.Add(keysLife), noKey(err)
}

// known is choosing by the keys that came last. It waits for nobody.
func (v *Verifier) known(_ context.Context, t *token) (keys []*verifyKey, listed bool, until time.Time, err error) {
	if v.key != nil {
		keys, listed, err = v.key.get().choose(&t.header)
		return keys, listed, until, noKey(err)
	}
	name, err := t.issuer()
	if err != nil {
		return nil, false, until, err
	}
	set, at, err := v.from.latest(name)
	if err != nil {
		return nil, false, until, err
	}
	keys, listed, err = set.choose(&t.header)
	return keys, listed, at.Add(keysLife), noKey(err)
}

// issuer returns who says that the token is theirs.
func (t *token) issuer() (string, error) {
	name, ok := t.claims["iss"].(string)
	if !ok {
		return "", &fault{BadIssuer, "the token has no claim iss that is text, whose keys could be fetched"}
	}
	return name, nil
}

// noKey makes a fault of a choice.
func noKey(err error) error {
	var c choice
	if !errors.As(err, &c) {
		return err
	}
	if strings.HasPrefix(string(c), "it is signed with") {
		return &fault{BadAlgorithm, string(c)}
	}
	return &fault{NoKey, string(c)}
}

// bound returns why a token is not of the owner of the key that has signed it (P-jwt-9).
func (v *Verifier) bound(t *token, k *verifyKey) error {
	if v.o.Key.Format != JWKS || v.o.Binding == "" || v.o.Binding == BindOff {
		return nil
	}
	if sub := t.text("sub"); sub != "" && (sub == k.id || sub == k.did) {
		return nil
	}
	v.mismatches.Add(1)
	const text = "token subject does not belong to the trusted key that signed it"
	if v.o.Binding == BindEnforce {
		return &fault{BadSubject, text}
	}
	if v.said.Try(time.Now()) {
		v.o.tell(Notice{From: "subject_binding", Warning: fmt.Sprintf("%s: sub %q, kid %q; %d so far have passed", text, cut(t.text("sub")), cut(k.id),
			v.mismatches.Load())})
	}
	return nil
}

// cut is a peer's text for a log.
func cut(s string) string {
	if len(s) > 256 {
		return strings.ToValidUTF8(s[:256], "") + "…"
	}
	return s
}

// proof is a token, for Again.
type proof struct{ token string }

// String hides it.
func (*proof) String() string { return "(token)" }

// GoString hides it.
func (*proof) GoString() string { return "(token)" }

// Again judges by the keys that came last and by the policy of now who was let in. It waits for no issuer, whoever is slow: all the others
// are to be judged in time. An issuer of whom there are no keys, since v has come in the place of another Verifier, is asked, and changes
// v when it has answered. Who is of one that nobody has listed, and that is forgotten, stays: nothing is known of a change.
func (v *Verifier) Again(ctx context.Context, who *auth.Identity) error {
	p, ok := who.Proof.(*proof)
	if !ok {
		return &auth.Denied{Status: http.StatusUnauthorized, Reason: "this connection was let in by something else than a token"}
	}
	t, err := parse(p.token)
	if err != nil {
		return v.deny(nil, err)
	}
	_, err = v.judge(ctx, t, v.known)
	var f *fault
	unknown := errors.As(err, &f) && (f.reason == Unavailable || f.reason == Closed)
	if err != nil && !unknown {
		return v.deny(t, err)
	}
	if err := v.allow(ctx, who); err != nil || !unknown || len(v.claim.issuers) == 0 {
		return err
	}
	return auth.Unavailable(f.text)
}

// allow asks the policy.
func (v *Verifier) allow(ctx context.Context, who *auth.Identity) error {
	if v.o.Policy == nil {
		return nil
	}
	err := v.o.Policy.Allow(ctx, who.Claims)
	if err == nil {
		return nil
	}
	v.denied[BadPolicy].Add(1)
	return &auth.Denied{Status: http.StatusForbidden, Reason: "the policy does not let this token pass: " + err.Error(), Subject: who.Subject,
		Issuer: who.Issuer}
}

// deny counts a fault, and makes of it what the request is refused with.
func (v *Verifier) deny(t *token, err error) error {
	var f *fault
	if !errors.As(err, &f) {
		f = &fault{Malformed, err.Error()}
	}
	v.denied[f.reason].Add(1)
	return f.denied(t, len(v.claim.issuers) > 0)
}

package spire

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/strict"
)

// VerifierOptions are those of a Verifier.
type VerifierOptions struct {
	// Audiences: a token has to be for one of them.
	Audiences []string
	// Peers are whom the listener lets in; none: every workload of every trust domain of which the agent has a bundle.
	Peers Peers
}

// Verifier judges JWT-SVIDs by the bundles of an Agent. It is an auth.Verifier.
type Verifier struct {
	agent  *Agent
	opt    VerifierOptions
	closed atomic.Bool
}

var _ auth.Verifier = (*Verifier)(nil)

// NewVerifier returns a Verifier that judges by the bundles of a. It waits a moment for an Agent that has not answered yet. An error
// means an option that is wrong: an Agent that is away is none, and then all are refused.
func NewVerifier(a *Agent, o VerifierOptions) (*Verifier, error) {
	if err := checkAudiences(o.Audiences); err != nil {
		return nil, err
	}
	a.wantJWT()
	return &Verifier{agent: a, opt: o}, nil
}

// QueryToken reports that the parameter token of a WebSocket's query counts.
func (v *Verifier) QueryToken() bool { return true }

// Close has Verify deny from now on. The Agent goes on.
func (v *Verifier) Close() error {
	v.closed.Store(true)
	return nil
}

// Changed returns a channel that is closed when bundles change, or one vanishes.
func (v *Verifier) Changed() <-chan struct{} { return v.agent.jwt.change() }

// Verify returns whose JWT-SVID was shown. Rules: P-spiffe-4.
func (v *Verifier) Verify(_ context.Context, s *auth.Shown) (*auth.Identity, error) {
	text, err := bearer(s.Authorization)
	if err != nil {
		return nil, err
	}
	return v.VerifyToken(text)
}

// VerifyToken is Verify of a JWT-SVID alone.
func (v *Verifier) VerifyToken(text string) (*auth.Identity, error) {
	bundles, err := v.bundles()
	if err != nil {
		return nil, err
	}
	t, err := parseToken(text)
	if err != nil {
		return nil, auth.Unauthorized(err.Error())
	}
	if now := v.agent.opt.Now(); now.After(t.expires) {
		return nil, t.denied(auth.Unauthorized(fmt.Sprintf("the token has expired at %s", t.expires.UTC().Format(time.RFC3339))))
	}
	if err := v.forUs(t); err != nil {
		return nil, err
	}
	if err := t.check(bundles); err != nil {
		return nil, t.denied(auth.Unauthorized(err.Error()))
	}
	if err := v.accepts(t); err != nil {
		return nil, err
	}
	return &auth.Identity{Mechanism: auth.SPIRE, Subject: t.subject.String(), Issuer: t.issuer, Claims: t.claims(), Expires: t.expires, Proof: t}, nil
}

// Again judges by the bundles of now, and by the options of v, who was let in, perhaps by a Verifier of others. A trust domain without a
// bundle denies, and so does a key that was withdrawn while the token was good. That a key has gone whose token has expired is no reason:
// agents drop such keys as a matter of course. Rules: P-spiffe-4, P-spiffe-6.
func (v *Verifier) Again(_ context.Context, who *auth.Identity) error {
	t, is := who.Proof.(*token)
	if !is {
		return auth.Unauthorized("its listener asks for a JWT-SVID now")
	}
	bundles, err := v.bundles()
	if err != nil {
		return err
	}
	if err := t.check(bundles); err != nil {
		var gone *keyGone
		if !errors.As(err, &gone) || !v.agent.opt.Now().After(t.expires) {
			return t.denied(auth.Unauthorized(err.Error()))
		}
	}
	if err := v.forUs(t); err != nil {
		return err
	}
	return v.accepts(t)
}

// forUs returns why a token is not for this listener; nil: it is.
func (v *Verifier) forUs(t *token) error {
	if t.meant(v.opt.Audiences) {
		return nil
	}
	return t.denied(auth.Unauthorized("the token is for none of the audiences of this listener, " + strings.Join(v.opt.Audiences, ", ")))
}

// accepts returns why the owner of a token, who is proven, is not let in; nil: it is.
func (v *Verifier) accepts(t *token) error {
	if v.opt.Peers.match(t.subject) {
		return nil
	}
	return t.denied(auth.Forbidden("its SPIFFE ID is none of accepted_spiffe_ids"))
}

// denied adds to a refusal whom the token claims to be.
func (t *token) denied(d *auth.Denied) *auth.Denied {
	d.Subject, d.Issuer = t.subject.String(), shortened(t.issuer)
	return d
}

// bundles returns those of now, or a refusal where there are none.
func (v *Verifier) bundles() (*jwtbundle.Set, error) {
	if v.closed.Load() {
		return nil, auth.Unavailable("this verifier was closed")
	}
	set, fault := v.agent.jwt.get()
	if set == nil {
		return nil, auth.Unavailable(v.agent.missing("JWT bundle", fault).Error())
	}
	return set, nil
}

// keyGone is that a trust domain has no key of that id, which it may have had before.
type keyGone struct{ text string }

func (e *keyGone) Error() string { return e.text }

// check proves the token by the bundle of its trust domain.
func (t *token) check(bundles *jwtbundle.Set) error {
	td := t.subject.TrustDomain()
	bundle, has := bundles.Get(td)
	if !has {
		return fmt.Errorf("there is no bundle of the trust domain %s", td)
	}
	key, has := bundle.FindJWTAuthority(t.key)
	if !has {
		return &keyGone{fmt.Sprintf("the bundle of the trust domain %s has no key with the token's kid", td)}
	}
	if _, err := t.jws.Verify(key); err != nil {
		return fmt.Errorf("the token was not signed by the key of its kid in the bundle of the trust domain %s", td)
	}
	return nil
}

// bearer returns the token of a header authorization.
func bearer(header string) (string, error) {
	if len(header) > auth.MaxAuthorization {
		return "", auth.Unauthorized("the header authorization is too long")
	}
	text, ok := strict.Bearer(header)
	switch {
	case header == "":
		return "", auth.Unauthorized("nothing was shown: a JWT-SVID is wanted")
	case !ok:
		return "", auth.Unauthorized("something else than a bearer token was shown: a JWT-SVID is wanted")
	case slices.ContainsFunc([]byte(text), func(b byte) bool { return b <= ' ' || b > '~' }):
		return "", auth.Unauthorized("the token has characters that no token has")
	}
	return text, nil
}

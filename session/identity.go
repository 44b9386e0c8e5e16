package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls"
	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
)

// Claims are what a token says of its holder.
type Claims struct {
	// Subject names the holder, in all of its tokens; the id of its name follows from it.
	Subject string
	// Issuer has made the token; may be empty.
	Issuer string
	// PublicKey is that of the holder's signatures: a point of P-256 as 65 or 33 bytes, or 32 bytes of Ed25519.
	PublicKey []byte
	// Issued is when the token was made, by its maker's clock; zero: not known. Where it is known, nothing counts that a moderator has said before
	// its last invitation.
	Issued time.Time
	// Expires is when the token becomes void; zero: never.
	Expires time.Time
}

// ErrExpired says of a token that everything is right but its time.
var ErrExpired = identity.ErrExpired

// TokenSource makes the tokens by which others know an app. It is called by one goroutine at a time, before a token is
// needed, and may take its time.
type TokenSource interface {
	// Token makes a token that names its holder and its public key, the same in all tokens.
	Token(ctx context.Context, publicKey []byte) (string, error)
}

// Verifier judges tokens. It is safe for all, and may take its time, five seconds at most: while it does, messages of that sender wait, and
// no others. It is asked once of each token, by up to 64 goroutines at a time, and what it has said of the last few thousand is kept.
type Verifier interface {
	// Verify returns the claims of a token that is right, and also, with an error that is ErrExpired, of one that has expired.
	Verify(ctx context.Context, token string) (Claims, error)
}

// ChangingVerifier is a Verifier that may come to think otherwise of tokens before they expire: keys are taken from a list, say. What it has
// said of tokens is forgotten then, and it is asked about them again.
type ChangingVerifier interface {
	Verifier
	// Changed returns a channel that is closed when Verify may say otherwise than before; there is a next one then.
	Changed() <-chan struct{}
}

const (
	tokenPace  = time.Second     // how long one token serves that costs nothing
	setBack    = 5 * time.Second // that a clock goes back before tokens are made anew: others bear as much
	verifyTime = 5 * time.Second
	renewTime  = 30 * time.Second
	renewAgain = 5 * time.Second // after a failure
	mostClaims = 4096            // of tokens that were verified, kept
	mostDenied = 1024            // of those that were refused
	deniedTime = 5 * time.Second // for which that is kept
	mostAskers = 64              // goroutines that ask a Verifier
	mostToken  = 64 << 10        // bytes of a token that it is asked about
)

// credentials are who an app is, and what it thinks of others. Safe for all.
type credentials struct {
	subject string
	signing *mls.SigningKey // signs in MLS
	key     *identity.Key   // the same, signs control messages
	secret  *identity.Secret
	now     atomic.Pointer[token]

	// Without a secret.
	source   TokenSource
	verifier Verifier
	log      *slog.Logger
	mu       sync.Mutex
	claims   map[string]*identity.Claims // guarded by mu; by token
	denied   map[string]denial           // guarded by mu; by token
	asking   map[string][]func()         // guarded by mu; by token: what is to be done when it is judged
	toAsk    []string                    // guarded by mu: those that nobody asks about yet
	askers   int                         // guarded by mu
	changes  int                         // guarded by mu: how often what was said of tokens was forgotten
	renewal  *time.Timer                 // guarded by mu
	life     context.Context             // of renewals
	stop     context.CancelFunc
	renewing sync.WaitGroup
}

// token is the app's own.
type token struct {
	text    string
	minted  time.Time
	expires time.Time        // zero: never
	claims  *identity.Claims // as others see them; nil: of a secret
	void    atomic.Bool      // it has expired, and another one is asked for
}

// denial is why a token was refused, and how long that is believed.
type denial struct {
	err   error
	until time.Time
}

var errLongToken = fmt.Errorf("token has more than %d bytes", mostToken)

// newCredentials makes an identity; known, if it is not nil, is the one that the app has had.
func newCredentials(ctx context.Context, o *Options, known *savedIdentity) (*credentials, error) {
	var signing *mls.SigningKey
	var err error
	if known == nil {
		signing, err = mls.GenerateSigningKey(group.Suite, nil)
	} else {
		signing, err = mls.ParseSigningKey(group.Suite, known.Key)
	}
	if err != nil {
		return nil, err
	}
	key, err := identity.NewKey(signing.Bytes(), signing.Public())
	if err != nil {
		return nil, err
	}
	c := &credentials{signing: signing, key: key, source: o.Tokens, verifier: o.Verifier, log: o.Logger}
	if c.source == nil {
		if known == nil {
			c.secret, err = identity.NewSecret(o.Name.String(), o.Secret, signing.Public())
		} else {
			c.secret, err = identity.RestoreSecret(known.Subject, o.Secret, signing.Public())
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
		c.subject = c.secret.Subject()
		return c, nil
	}
	if c.verifier == nil {
		return nil, fmt.Errorf("%w: there are Tokens and no Verifier", ErrConfig)
	}
	c.claims, c.denied, c.asking = map[string]*identity.Claims{}, map[string]denial{}, map[string][]func(){}
	if known != nil {
		c.subject = known.Subject
	}
	c.life, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	v, changing := c.verifier.(ChangingVerifier)
	var changed <-chan struct{}
	if changing {
		changed = v.Changed() // before it is asked for the first time: what it says then may be forgotten already
	}
	if err := c.renew(ctx); err != nil {
		c.stop()
		return nil, err
	}
	if changing {
		c.renewing.Go(func() { c.follow(v, changed) })
	}
	return c, nil
}

// follow forgets what was said of tokens, whenever that may have changed.
func (c *credentials) follow(v ChangingVerifier, changed <-chan struct{}) {
	for {
		select {
		case <-c.life.Done():
			return
		case <-changed:
		}
		changed = v.Changed()
		c.mu.Lock()
		c.changes++
		maps.DeleteFunc(c.claims, func(_ string, other *identity.Claims) bool { return !c.own(other) })
		clear(c.denied)
		c.mu.Unlock()
		c.log.Info("the verifier has changed: all tokens are judged again")
	}
}

// own reports whether claims are of this app's own token: they stay, as its sessions have begun with them.
func (c *credentials) own(claims *identity.Claims) bool {
	return claims.Subject == c.subject && string(claims.PublicKey) == string(c.signing.Public())
}

// close ends renewals.
func (c *credentials) close() {
	if c.stop == nil {
		return
	}
	c.stop()
	c.mu.Lock()
	if c.renewal != nil && c.renewal.Stop() {
		c.renewing.Done()
	}
	c.renewal = nil
	c.mu.Unlock()
	c.renewing.Wait()
}

// token returns one of the app's.
func (c *credentials) token(now time.Time) string {
	t := c.now.Load()
	if c.secret == nil {
		c.hurry(t, now)
		return t.text
	}
	if t != nil && now.Sub(t.minted) < tokenPace && !now.Before(t.minted) {
		return t.text
	}
	t = &token{text: c.secret.Token(now), minted: now}
	c.now.Store(t)
	return t.text
}

// hurry has a token renewed at once that has expired before that was due: the machine has slept, whose timers stand still then, or its clock
// was set. One that was made before that was set back is from the future, for which others whose clocks are right refuse it.
func (c *credentials) hurry(t *token, now time.Time) {
	early := now.Round(0).Before(t.minted.Round(0).Add(-setBack))
	if t.expires.IsZero() || !early && !now.After(t.expires) || t.void.Swap(true) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.renewal != nil && c.renewal.Stop() {
		c.renewal.Reset(0)
	}
}

// expires is when a token that is given out now becomes void; zero: never.
func (c *credentials) expires(now time.Time) time.Time {
	if c.secret != nil {
		return now.Add(identity.TokenLife)
	}
	return c.now.Load().expires
}

// renew gets a token, believes it, and sees to it that another one comes in half of its life.
func (c *credentials) renew(ctx context.Context) error {
	text, err := c.source.Token(ctx, c.signing.Public())
	if err != nil {
		return fmt.Errorf("%w: no token for this app: %w", ErrUnauthorized, err)
	}
	now := time.Now()
	claims, err := c.ask(ctx, text)
	switch {
	case err != nil:
		return fmt.Errorf("%w: the token of this app: %w", ErrUnauthorized, err)
	case c.subject != "" && claims.Subject != c.subject:
		return fmt.Errorf("%w: the token of this app names %q, and has named %q", ErrUnauthorized, claims.Subject, c.subject)
	case claims.Subject == "" || string(claims.PublicKey) != string(c.signing.Public()):
		return fmt.Errorf("%w: the token of this app does not name its key as `pubkey`, so that no one could verify what it signs", ErrUnauthorized) // P-id-8
	}
	if c.subject == "" {
		c.subject = claims.Subject
	}
	c.now.Store(&token{text: text, minted: now, expires: claims.Expires, claims: claims})
	c.mu.Lock()
	c.believe(text, claims)
	c.mu.Unlock()
	if !claims.Expires.IsZero() {
		c.renewIn(max(claims.Expires.Sub(now)/2, time.Second))
	}
	return nil
}

func (c *credentials) renewIn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life.Err() != nil {
		return
	}
	c.renewing.Add(1)
	c.renewal = time.AfterFunc(d, func() {
		defer c.renewing.Done()
		ctx, cancel := context.WithTimeout(c.life, renewTime)
		defer cancel()
		if err := c.renew(ctx); err != nil && c.life.Err() == nil {
			c.log.Warn("token not renewed", "error", err)
			c.renewIn(renewAgain)
		}
	})
}

// judged says what a token of another one is worth, without waiting; false: the Verifier has to be asked. Claims come with ErrExpired, too,
// with that of a secret's token that is from the future, and with no other error.
func (c *credentials) judged(text string, now time.Time) (claims *identity.Claims, err error, ok bool) {
	if c.secret != nil {
		claims, err = c.secret.Verify(text, now)
		return claims, err, true
	}
	if t := c.now.Load(); t != nil && t.text == text {
		claims = t.claims
	} else {
		c.mu.Lock()
		claims = c.claims[text]
		no, denied := c.denied[text]
		c.mu.Unlock()
		switch {
		case claims == nil && len(text) > mostToken:
			return nil, errLongToken, true
		case claims == nil && denied && now.Before(no.until):
			return nil, no.err, true
		case claims == nil:
			return nil, nil, false
		}
	}
	if !claims.Expires.IsZero() && now.After(claims.Expires) {
		return claims, ErrExpired, true
	}
	return claims, nil, true
}

// verify is judged for who may wait.
func (c *credentials) verify(text string, now time.Time) (*identity.Claims, error) {
	claims, err, ok := c.judged(text, now)
	if ok {
		return claims, err
	}
	return c.inquire(text)
}

// inquire asks the Verifier, and keeps what it says.
func (c *credentials) inquire(text string) (*identity.Claims, error) {
	ctx, cancel := context.WithTimeout(c.life, verifyTime)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	var claims *identity.Claims
	var err error
	for {
		before := c.changes
		c.mu.Unlock()
		claims, err = c.ask(ctx, text)
		c.mu.Lock()
		if before == c.changes {
			break
		}
		if ctx.Err() != nil { // what was said before a change is not kept
			return nil, ctx.Err()
		}
	}
	if claims != nil {
		if now := time.Now(); err != nil && !now.After(claims.Expires) { // it is ErrExpired
			claims.Expires = now.Add(-time.Second)
		}
		c.believe(text, claims)
		return claims, err
	}
	if len(c.denied) >= mostDenied {
		clear(c.denied)
	}
	c.denied[text] = denial{err, time.Now().Add(deniedTime)}
	return nil, err
}

// believe keeps claims; those of this app are not dropped, as a group may begin with an old token of its. mu is held.
func (c *credentials) believe(text string, claims *identity.Claims) {
	if len(c.claims) >= mostClaims {
		maps.DeleteFunc(c.claims, func(_ string, other *identity.Claims) bool {
			return other.Subject != c.subject || !other.Expires.IsZero() && time.Since(other.Expires) > identity.TokenLife
		})
	}
	c.claims[text] = claims
}

// judge has a token judged, and then done, by any goroutine, what is to be done then. It does not wait.
func (c *credentials) judge(text string, then func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life.Err() != nil {
		return
	}
	waiting, known := c.asking[text]
	c.asking[text] = append(waiting, then)
	if known {
		return
	}
	c.toAsk = append(c.toAsk, text)
	if c.askers < mostAskers {
		c.askers++
		c.renewing.Go(c.inquireAll)
	}
}

// inquireAll asks about one token after the other, as long as there are some.
func (c *credentials) inquireAll() {
	for {
		c.mu.Lock()
		if len(c.toAsk) == 0 || c.life.Err() != nil {
			c.askers--
			c.mu.Unlock()
			return
		}
		text := c.toAsk[0]
		c.toAsk = c.toAsk[1:]
		c.mu.Unlock()
		_, _ = c.inquire(text)
		c.mu.Lock()
		waiting := c.asking[text]
		delete(c.asking, text)
		c.mu.Unlock()
		for _, then := range waiting {
			then()
		}
	}
}

func (c *credentials) ask(ctx context.Context, text string) (*identity.Claims, error) {
	got, err := c.verifier.Verify(ctx, text)
	if err != nil && !errors.Is(err, ErrExpired) {
		return nil, err
	}
	return &identity.Claims{Subject: got.Subject, Issuer: got.Issuer, PublicKey: got.PublicKey, Issued: got.Issued, Expires: got.Expires}, err
}

// mls is what a session of this app brings to its MLS group. wait says whether its tokens may be waited for; nil: they may not.
func (c *credentials) mls(now time.Time, wait func() bool) *mls.Config {
	return group.NewMLS(c.token(now), c.signing, func(text string) (*identity.Claims, error) {
		if wait != nil && wait() {
			return c.verify(text, time.Now())
		}
		claims, err, ok := c.judged(text, time.Now())
		if !ok {
			return nil, &group.NotJudged{Token: text}
		}
		return claims, err
	})
}

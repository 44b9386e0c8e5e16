package oidc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/fetch"
)

const (
	margin       = 60 * time.Second // before its end a token is too old for a new connection
	minRenewal   = 61 * time.Second // between two renewals that nobody waits for
	firstRetry   = time.Second      // after a failure, doubling
	lastRetry    = 30 * time.Second
	usualLife    = time.Hour       // of tokens whose provider does not say
	lastExchange = 3 * time.Second // at the end
	maxLife      = 10 * 365 * 24 * time.Hour
)

// SourceOptions are how a client gets its tokens. The first grant that is configured counts: RefreshTokenFile, RefreshToken,
// ClientSecret, Credentials (P-oidc-2).
type SourceOptions struct {
	// Issuer is the URL of the provider. With Credentials it may be empty.
	Issuer   string
	ClientID string
	// RefreshTokenFile holds a refresh token, and is written when the provider gives another. It may be shared with other
	// processes that lock it as upstream does.
	RefreshTokenFile string
	// AccessTokenFile, beside RefreshTokenFile, keeps the access token for the next start and for those other processes; "": none.
	AccessTokenFile string
	// RefreshToken is kept in memory only: a provider that gives another with each use makes it worthless for the next start.
	RefreshToken string
	ClientSecret string
	// Credentials is the file that `slimctl login` has left; "": none. It is not written.
	Credentials string
	// Scope is sent as it is, unless it is empty.
	Scope string
	// Timeout is for each request; 0: 30 s.
	Timeout time.Duration
	// TLS verifies the provider; nil: by the system's roots.
	TLS *tls.Config
	// Log hears of tokens that could not be got or kept, and when they can again; nil: nobody does.
	Log *slog.Logger
}

// SourceStats count from the start.
type SourceStats struct {
	Tokens   uint64 // got
	Failures uint64 // attempts without one
	Unkept   uint64 // refresh tokens that could not be written at once
}

// asker is a fetch.Client, or a test's.
type asker interface {
	Get(ctx context.Context, url string) (*fetch.Reply, error)
	GetWith(ctx context.Context, url, authorization string) (*fetch.Reply, error)
	PostForm(ctx context.Context, url, authorization string, form url.Values) (*fetch.Reply, error)
	Close()
}

// grant is a way to get tokens. Used by one goroutine.
type grant interface {
	token(ctx context.Context) (*token, error)
}

// token is what a provider gives.
type token struct {
	access, refresh string    // refresh may be empty
	expires         time.Time // by the clock that runs evenly, and
	until           time.Time // by that of the wall, which has gone on when a machine wakes up
	life            time.Duration
}

// newToken is one that has come, or was found, at now.
func newToken(access, refresh string, now time.Time, left, life time.Duration) *token {
	expires := now.Add(left)
	return &token{access, refresh, expires, expires.Round(0), life}
}

// left is how long t is good, whichever clock says so.
func (t *token) left() time.Duration { return min(time.Until(t.expires), time.Until(t.until)) }

// errRevoked is final until somebody logs in again.
var errRevoked = errors.New("refresh token revoked or expired")

// errClosed is the answer of a Source or Verifier after Close.
var errClosed = errors.New("closed: this node is stopping")

// Source shows the access token of a provider. It implements auth.Source.
type Source struct {
	grant    grant
	ask      asker
	log      *slog.Logger
	attempts attempts
	backoff  backoff // of the goroutine of attempts
	used     sync.Once

	tokens, failures, unkept atomic.Uint64

	mu     sync.Mutex
	now    *token    // nil: none so far
	err    error     // of the last attempt
	resume time.Time // no attempt before
	closed bool
}

var _ auth.Source = (*Source)(nil)

// NewSource returns a Source that gets tokens from its first use on, in the background: looking at a configuration uses up no
// refresh token. The error is one of the options: a provider that is away is asked again, and again.
func NewSource(o SourceOptions) (*Source, error) {
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	return newSource(o, fetch.New(fetch.Options{Timeout: o.Timeout, TLS: o.TLS}))
}

func newSource(o SourceOptions, ask asker) (*Source, error) {
	s := &Source{ask: ask, log: logOr(o.Log)}
	var err error
	if s.grant, err = newGrant(&o, s); err != nil {
		ask.Close()
		return nil, err
	}
	s.attempts.do = s.renew
	s.attempts.start(-1)
	return s, nil
}

func logOr(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

// Authorization returns "Bearer " and a token that does not end soon. Where there is none, it waits for the attempt that goes
// on, and fails at once between attempts: upstream goes on without a token, and is refused (P-oidc-5).
func (s *Source) Authorization(ctx context.Context) (string, error) {
	var round <-chan struct{} // the first one asks once, however soon that is over
	s.used.Do(func() { round = s.attempts.want() })
	if h, err := s.header(false); h != "" || err == errClosed {
		return h, err
	}
	if round == nil {
		round = s.attempts.going()
	}
	if round == nil && s.mayAsk() {
		round = s.attempts.want()
	}
	if round != nil {
		select {
		case <-round:
		case <-ctx.Done():
			if h, _ := s.header(true); h != "" {
				return h, nil
			}
			return "", fmt.Errorf("no token from the identity provider yet: %w", ctx.Err())
		}
	}
	return s.header(true)
}

func (s *Source) mayAsk() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !time.Now().Before(s.resume)
}

// header returns the header if the token is good for a new connection, that is, for a minute, or two thirds of a short life; with
// old, if it is good at all.
func (s *Source) header(old bool) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := time.Duration(0)
	if s.now != nil {
		left = s.now.left()
	}
	switch {
	case s.closed:
		return "", errClosed
	case left > 0 && (old || left > min(margin, s.now.life/3)):
		return "Bearer " + s.now.access, nil
	case s.err != nil:
		return "", s.err
	}
	return "", errors.New("the identity provider gives tokens that have ended when they arrive: have it give them a longer life")
}

// Stats returns what has happened so far.
func (s *Source) Stats() SourceStats {
	return SourceStats{Tokens: s.tokens.Load(), Failures: s.failures.Load(), Unkept: s.unkept.Load()}
}

// Close ends renewal. A refresh token that is being exchanged is waited for, for a moment: the provider may have rotated it, and
// nobody else would know the new one.
func (s *Source) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.attempts.stop()
	last := time.NewTimer(lastExchange)
	defer last.Stop()
	select {
	case <-s.attempts.ended:
	case <-last.C:
	}
	s.ask.Close()
	<-s.attempts.ended
	return nil
}

// renew makes one attempt (P-oidc-5).
func (s *Source) renew(ctx context.Context) time.Duration {
	t, err := s.grant.token(ctx)
	if err == nil {
		if s.backoff.well() {
			s.log.Info("the identity provider gives tokens again")
		}
		s.tokens.Add(1)
		s.mu.Lock()
		s.now, s.err, s.resume = t, nil, time.Time{}
		s.mu.Unlock()
		return max(t.left()-t.life/3, minRenewal) // of a token that was found in a file, less than two thirds are left
	}
	wait := s.backoff.failed()
	if errors.Is(err, errRevoked) {
		wait = lastRetry // it costs the provider nothing to look whether somebody has logged in again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if again := s.err != nil && s.err.Error() == err.Error(); !again && ctx.Err() == nil { // each reason is said once
		s.log.Warn("no new token from the identity provider; it is asked again", "error", err.Error())
	}
	s.failures.Add(1)
	s.err, s.resume = err, time.Now().Add(wait)
	return wait
}

// seed shows a token that was found, until there is a newer one.
func (s *Source) seed(t *token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = t
}

package spire

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

const (
	fetchLimit    = 10 * time.Second // of one request for a JWT-SVID
	firstPause    = time.Second      // after a request that failed, doubled up to
	lastPause     = 30 * time.Second
	shortestRenew = 500 * time.Millisecond // whatever an API says of the life of its tokens
)

// SourceOptions are those of a Source.
type SourceOptions struct {
	// Audiences are those that the JWT-SVID is for; at least one.
	Audiences []string
	// Subject is the SPIFFE ID that is asked for; "": the default one of the workload.
	Subject string
	// PublicKey is that with which an app signs its messages, 65 bytes of a point on P-256; it goes into a further audience.
	// nil: a node, which has none. Rules: P-spiffe-3.
	PublicKey []byte
}

// Source shows JWT-SVIDs. It renews them when two thirds of their life have passed. It is an auth.Source.
type Source struct {
	agent  *Agent
	params jwtsvid.Params
	what   string // of params, in words
	cancel context.CancelFunc
	done   chan struct{} // closed when the renewal has ended
	now    chan struct{} // asks for a token at once

	mu      sync.Mutex
	svid    *jwtsvid.SVID // guarded by mu; nil: none yet
	fault   error         // guarded by mu; why the last request failed
	renewed chan struct{} // guarded by mu; closed and replaced after each request
	closed  bool          // guarded by mu
}

var _ auth.Source = (*Source)(nil)

// NewSource returns a Source that asks a. An error means an option that is wrong: an API that is away is none.
func NewSource(a *Agent, o SourceOptions) (*Source, error) {
	if err := checkAudiences(o.Audiences); err != nil {
		return nil, err
	}
	s := &Source{agent: a, params: jwtsvid.Params{Audience: o.Audiences[0], ExtraAudiences: o.Audiences[1:len(o.Audiences):len(o.Audiences)]},
		done: make(chan struct{}), now: make(chan struct{}, 1), renewed: make(chan struct{})}
	if o.Subject != "" {
		id, err := spiffeid.FromString(o.Subject)
		if err != nil {
			return nil, fmt.Errorf("target_spiffe_id %q is no SPIFFE ID: %w", o.Subject, err)
		}
		s.params.Subject = id
	}
	if o.PublicKey != nil {
		s.params.ExtraAudiences = append(s.params.ExtraAudiences, pubkeyAudience(o.PublicKey))
	}
	s.what = fmt.Sprintf("JWT-SVID of %s for %q", s.params.Subject, o.Audiences)
	ctx, cancel := context.WithCancel(a.ctx)
	s.cancel = cancel
	go func() {
		defer close(s.done)
		s.renew(ctx)
	}()
	return s, nil
}

// Close ends the renewal.
func (s *Source) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	<-s.done
	s.agent.forget(s.what)
	return nil
}

// Authorization returns "Bearer " and Token.
func (s *Source) Authorization(ctx context.Context) (string, error) {
	t, err := s.Token(ctx)
	if err != nil {
		return "", err
	}
	return "Bearer " + t, nil
}

// Token returns a JWT-SVID that has not expired. Where there is none it has the API asked, and waits for the answer, at most until
// ctx ends. It is secret.
func (s *Source) Token(ctx context.Context) (string, error) {
	svid, err := s.current(ctx)
	if err != nil {
		return "", err
	}
	return svid.Marshal(), nil
}

// ID returns the SPIFFE ID that Token shows.
func (s *Source) ID(ctx context.Context) (string, error) {
	svid, err := s.current(ctx)
	if err != nil {
		return "", err
	}
	return svid.ID.String(), nil
}

func (s *Source) current(ctx context.Context) (*jwtsvid.SVID, error) {
	var answer <-chan struct{}
	for {
		s.mu.Lock()
		svid, fault, renewed, closed := s.svid, s.fault, s.renewed, s.closed
		s.mu.Unlock()
		switch {
		case closed:
			return nil, errClosed
		case svid != nil && s.agent.opt.Now().Before(svid.Expiry):
			return svid, nil
		case answer != nil && fault != nil:
			return nil, s.agent.missing("JWT-SVID", fault)
		}
		answer = renewed
		select {
		case s.now <- struct{}{}:
		default: // it is asked for already
		}
		select {
		case <-answer:
		case <-s.done:
			return nil, errClosed
		case <-ctx.Done():
			return nil, s.agent.missing("JWT-SVID", fault)
		}
	}
}

// renew asks for tokens until ctx ends.
func (s *Source) renew(ctx context.Context) {
	failed := 0
	for {
		pause := s.ask(ctx, &failed)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-s.now:
			timer.Stop()
		}
	}
}

// ask asks for one token, and returns when to ask for the next. failed counts those that did not come.
func (s *Source) ask(ctx context.Context, failed *int) time.Duration {
	in, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	svid, err := s.agent.fetch(in, s.what, s.params)
	if err == nil && len(svid.Marshal())+len("Bearer ") > auth.MaxAuthorization {
		err = fmt.Errorf("its JWT-SVID has %d bytes, more than a listener takes", len(svid.Marshal()))
	}
	now := s.agent.opt.Now()
	if err == nil && !now.Before(svid.Expiry) {
		err = errors.New("its JWT-SVID has expired already: do the clocks differ?")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = err
	if err == nil {
		s.svid = svid
	}
	select {
	case <-s.now: // who has asked meanwhile has this answer
	default:
	}
	close(s.renewed)
	s.renewed = make(chan struct{})
	if err == nil {
		*failed = 0
		return renewal(svid.Expiry.Sub(now))
	}
	var left time.Duration
	if s.svid != nil {
		left = s.svid.Expiry.Sub(now)
	}
	pause := retryPause(*failed, left)
	*failed++
	return pause
}

// renewal is when a token is renewed that has so much of its life before it. Rules: P-spiffe-2.
func renewal(left time.Duration) time.Duration { return max(left/3*2, shortestRenew) }

// retryPause is the pause after a request that failed, where that has so often before, and what is left of the life of the token in
// hand; 0 or less: there is none. It is shortened at random.
func retryPause(failed int, left time.Duration) time.Duration {
	pause := min(firstPause<<min(failed, 8), lastPause)
	if left > 0 {
		pause = max(min(pause, left/10*9), shortestRenew)
	}
	return pause - rand.N(pause/5)
}

package jwt

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	tokens "github.com/seed31b3bfd0/slimgo/internal/auth/jwt"
	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/identity/internal/claims"
)

// leeway is how long tokens count after they have expired (P-jwt-10).
const leeway = time.Minute

// Source makes tokens by which other apps know this one (P-id-2). It is a session.TokenSource.
type Source struct{ signer *tokens.Signer }

var _ session.TokenSource = (*Source)(nil)

// NewSource loads the key. Close it after the app. An error is a session.ErrConfig.
func NewSource(o SourceOptions) (*Source, error) {
	if o.Subject == "" {
		return nil, fmt.Errorf("%w: missing subject claim: Subject says who the app is for others, and its id follows from it", session.ErrConfig)
	}
	s, err := o.signer()
	if err != nil {
		return nil, err
	}
	return &Source{s}, nil
}

// Token makes a token that is good for an hour.
func (s *Source) Token(_ context.Context, publicKey []byte) (string, error) {
	return s.signer.Token(map[string]any{"pubkey": base64.StdEncoding.EncodeToString(publicKey)})
}

// Close ends the watching of the key's file.
func (s *Source) Close() error { return s.signer.Close() }

// Verifier judges tokens of other apps. It is a session.ChangingVerifier.
type Verifier struct{ v *tokens.Verifier }

var _ session.ChangingVerifier = (*Verifier)(nil)

// NewVerifier loads the key, if it has one. Close it after the app. An error is a session.ErrConfig.
func NewVerifier(o VerifierOptions) (*Verifier, error) {
	v, err := tokens.NewVerifier(tokens.VerifierOptions{
		Key: tokens.Key(o.Key), Resolve: o.Resolve, Issuers: o.Issuers, TLS: o.TLS, Issuer: o.Issuer, Audience: o.Audience,
		Binding: o.Binding, Strict: o.Strict, Watch: watching(o.Logger),
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", session.ErrConfig, err)
	}
	return &Verifier{v}, nil
}

// Verify implements session.Verifier (P-id-3).
func (v *Verifier) Verify(ctx context.Context, token string) (session.Claims, error) {
	who, expired, err := v.v.Examine(ctx, token)
	if err != nil {
		return session.Claims{}, err
	}
	c, err := claims.Of(who, leeway)
	if err != nil {
		return session.Claims{}, err
	}
	if expired {
		return c, session.ErrExpired
	}
	return c, nil
}

// Changed implements session.ChangingVerifier.
func (v *Verifier) Changed() <-chan struct{} { return v.v.Changed() }

// Stats are counts since a Verifier was made.
type Stats struct {
	Verified   uint64            // tokens
	Refused    map[string]uint64 // others, by a word for the reason, such as "signature" or "expired"; without those that are 0
	Mismatches uint64            // of subject and key, that BindWarn or BindEnforce has seen
	Failures   uint64            // loads of keys that have left in use what was there before
	Fault      error             // of the last load; nil: it went well
}

// Stats returns counts of now.
func (v *Verifier) Stats() Stats {
	s := v.v.Stats()
	out := Stats{Verified: s.Verified, Refused: map[string]uint64{}, Mismatches: s.Mismatches, Failures: s.Keys.Failures, Fault: s.Keys.Fault}
	for _, r := range tokens.Reasons() {
		if n := s.Denied[r]; n > 0 {
			out.Refused[r.String()] = n
		}
	}
	return out
}

// Close ends the watching and fetching of keys. No token is believed after it.
func (v *Verifier) Close() error { return v.v.Close() }

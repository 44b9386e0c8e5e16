package jwt

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/jose"
)

// Life is how long a token counts that a Signer has signed, whatever `duration` says, as upstream (P-jwt-2).
const Life = time.Hour

// SignerOptions say what a Signer signs, and with what.
type SignerOptions struct {
	// Key is private, in format PEM.
	Key Key
	// Audience, Issuer and Subject are the claims aud, iss and sub; empty: there is none. Subject is also the kid.
	Audience        []string
	Issuer, Subject string
	// Custom are further claims, of what encoding/json takes.
	Custom map[string]any

	Watch
}

// Signer signs tokens. It is an auth.Source. Safe for all.
type Signer struct {
	alg    *jose.Algorithm
	key    *file[any]
	header []byte         // as it is sent
	own    []claim        // in their order, before those of the time
	custom map[string]any // behind all
	closed atomic.Bool
}

// claim is a member of a payload.
type claim struct {
	name  string
	value any
}

var _ auth.Source = (*Signer)(nil)

var errClosed = errors.New("this source of tokens is closed")

// NewSigner loads the key, and begins to watch its file. What is wrong is said with the key of the configuration, below `auth`.
func NewSigner(o SignerOptions) (*Signer, error) {
	a, err := o.Key.check()
	if err != nil {
		return nil, err
	}
	if o.Key.Format != PEM {
		return nil, fmt.Errorf("key.format: to sign with there is only pem, not %s, as upstream", o.Key.Format)
	}
	s := &Signer{alg: a, custom: maps.Clone(o.Custom)}
	h := []claim{{"typ", "JWT"}, {"alg", a.Name}}
	if o.Subject != "" {
		h = append(h, claim{"kid", o.Subject})
		s.own = append(s.own, claim{"sub", o.Subject})
	}
	if o.Issuer != "" {
		s.own = slices.Insert(s.own, 0, claim{"iss", o.Issuer})
	}
	if len(o.Audience) > 0 {
		s.own = append(s.own, claim{"aud", slices.Clone(o.Audience)})
	}
	if s.header, err = encode(h, nil); err != nil {
		return nil, err
	}
	for name := range s.custom {
		if s.generated(name) {
			return nil, fmt.Errorf("claims.custom_claims: %s is made already: with two of them the token would be refused; take this one out", name)
		}
	}
	if _, err := encode(nil, s.custom); err != nil {
		return nil, fmt.Errorf("claims.custom_claims: %w", err)
	}
	s.key = &file[any]{Watch: o.Watch, path: o.Key.File, what: "key.key",
		parse: func(b []byte) (any, []string, error) { return privateKeys.read(a, b) }}
	if err := s.key.open(o.Key.Data); err != nil {
		return nil, err
	}
	return s, nil
}

// generated reports whether the signer makes a claim itself.
func (s *Signer) generated(name string) bool {
	return slices.Contains([]string{"exp", "iat", "nbf"}, name) || slices.ContainsFunc(s.own, func(c claim) bool { return c.name == name })
}

// encode returns a JSON object.
func encode(first []claim, rest map[string]any) ([]byte, error) {
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		first = append(first, claim{name, rest[name]})
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for i, c := range first {
		b.WriteByte("{,"[min(i, 1)])
		if err := e.Encode(c.name); err != nil {
			return nil, err
		}
		b.Truncate(b.Len() - 1) // a line end
		b.WriteByte(':')
		if err := e.Encode(c.value); err != nil {
			return nil, fmt.Errorf("%s cannot be sent: %w", c.name, err)
		}
		b.Truncate(b.Len() - 1)
	}
	if len(first) == 0 {
		b.WriteByte('{')
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Token returns a token that counts from now for Life, with further claims, which take the place of custom ones of their names:
// `pubkey`, where an app shows its key (P-jwt-3).
func (s *Signer) Token(further map[string]any) (string, error) {
	if s.closed.Load() {
		return "", errClosed
	}
	now := time.Now().Unix()
	rest := s.custom
	if len(further) > 0 {
		rest = maps.Clone(s.custom)
		if rest == nil {
			rest = map[string]any{}
		}
		for name, v := range further {
			if s.generated(name) {
				return "", fmt.Errorf("claim %s: it is made already", name)
			}
			rest[name] = v
		}
	}
	payload, err := encode(append(slices.Clone(s.own), claim{"exp", now + int64(Life/time.Second)}, claim{"iat", now}, claim{"nbf", now}), rest)
	if err != nil {
		return "", err
	}
	e := base64.RawURLEncoding
	b := e.AppendEncode(make([]byte, 0, e.EncodedLen(len(s.header))+e.EncodedLen(len(payload))+1024), s.header)
	b = e.AppendEncode(append(b, '.'), payload)
	signature, err := s.alg.Sign(s.key.get(), b)
	if err != nil {
		return "", fmt.Errorf("sign a token with %s: %w", s.alg.Name, err)
	}
	b = e.AppendEncode(append(b, '.'), signature)
	if len(b)+len("Bearer ") > auth.MaxAuthorization {
		return "", fmt.Errorf("claims.custom_claims: the token has %d bytes, and no listener takes more than %d", len(b), auth.MaxAuthorization)
	}
	return string(b), nil
}

// Authorization returns "Bearer " and a new token (P-jwt-1). It asks nobody.
func (s *Signer) Authorization(context.Context) (string, error) {
	t, err := s.Token(nil)
	if err != nil {
		return "", err
	}
	return "Bearer " + t, nil
}

// Reload has the file of the key read soon, though nothing tells of a change.
func (s *Signer) Reload() { s.key.reload() }

// Loads returns how loads of the key went.
func (s *Signer) Loads() auth.Loads { return s.key.status() }

// Close ends the watching.
func (s *Signer) Close() error {
	s.closed.Store(true)
	s.key.close()
	return nil
}

package oidc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/fetch"
)

// Errors of options, as upstream words them.
var (
	errHTTPS      = errors.New("OIDC issuer URL must use https")
	errNoProvider = errors.New("no identity provider configured")
	errNoClient   = errors.New("client id cannot be empty")
	errNoAudience = errors.New("audience required")
)

const maxErrorText = 300 // bytes of a provider's answer in an error

// newGrant picks the first grant that is configured (P-oidc-2).
func newGrant(o *SourceOptions, s *Source) (grant, error) {
	if o.Issuer != "" || o.RefreshTokenFile != "" || o.RefreshToken != "" || o.ClientSecret != "" {
		if err := checkIssuer(o.Issuer); err != nil {
			return nil, err
		}
	}
	e := &endpoint{ask: s.ask, issuer: o.Issuer}
	switch {
	case o.RefreshTokenFile != "":
		if o.ClientID == "" {
			return nil, fmt.Errorf("%w: refresh_token_file wants the client_id that the token was given to", errNoClient)
		}
		return newFileGrant(e, o, s)
	case o.RefreshToken != "":
		if o.ClientID == "" {
			return nil, fmt.Errorf("%w: refresh_token wants the client_id that the token was given to", errNoClient)
		}
		return &refreshGrant{endpoint: e, client: o.ClientID, refresh: o.RefreshToken}, nil
	case o.ClientSecret != "":
		return &clientGrant{endpoint: e, client: o.ClientID, secret: o.ClientSecret, scope: o.Scope}, nil
	case o.Credentials != "":
		return newLoginGrant(e, o)
	}
	return nil, fmt.Errorf("%w: set client_id and client_secret, or client_id and one of refresh_token_file and refresh_token, "+
		"or log in with slimctl", errNoProvider)
}

// checkIssuer refuses what is no URL, and what is asked in the clear (P-oidc-1).
func checkIssuer(issuer string) error {
	switch _, err := fetch.ParseURL(issuer, false); {
	case errors.Is(err, fetch.ErrPlain):
		return fmt.Errorf("%w: issuer_url %w", errHTTPS, err)
	case err != nil:
		return fmt.Errorf("issuer_url %w", err)
	}
	return nil
}

// endpoint is where tokens are given.
type endpoint struct {
	ask    asker
	issuer string
}

// discovery is the URL of an issuer's discovery document (OpenID Connect Discovery 1.0 section 4).
func discovery(issuer string) string {
	return strings.TrimRight(issuer, "/") + "/.well-known/openid-configuration"
}

// find asks the issuer where that is. Of the answer the status does not matter, as upstream (P-oidc-3).
func (e *endpoint) find(ctx context.Context) (string, error) {
	from, err := fetch.ParseURL(e.issuer, false)
	if err != nil {
		return "", err
	}
	r, err := e.ask.Get(ctx, discovery(e.issuer))
	if err != nil {
		return "", err
	}
	var d map[string]any
	if err := r.Decode(&d); err != nil {
		if bad := r.OK(); bad != nil {
			return "", bad
		}
		return "", err
	}
	at, _ := d["token_endpoint"].(string)
	if at == "" {
		return "", fmt.Errorf("the provider %s names no token_endpoint: is issuer_url the one that its tokens have as iss?", fetch.Shown(from))
	}
	to, err := fetch.ParseURL(at, false)
	if err != nil {
		return "", fmt.Errorf("the provider %s names a token_endpoint that is not asked: %w", fetch.Shown(from), err)
	}
	if !fetch.SameOrigin(from, to) {
		return "", fmt.Errorf("the provider %s names a token_endpoint of another origin, %s, which is told no secret: "+
			"have it serve both from one scheme, host and port", fetch.Shown(from), fetch.Shown(to))
	}
	return at, nil
}

// exchange gets a token for a form.
func (e *endpoint) exchange(ctx context.Context, authorization string, form url.Values) (*token, error) {
	at, err := e.find(ctx)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if form.Has("refresh_token") {
		ctx = context.WithoutCancel(ctx) // else an answer with the next one could be lost; it has a timeout of its own
	}
	r, err := e.ask.PostForm(ctx, at, authorization, form)
	if err != nil {
		return nil, err
	}
	return readToken(r, time.Now())
}

// readToken reads what a token endpoint answers. The errors are upstream's.
func readToken(r *fetch.Reply, now time.Time) (*token, error) {
	var m map[string]any
	err := r.Decode(&m)
	if code, ok := m["error"].(string); ok && err == nil {
		about, _ := m["error_description"].(string)
		if about == "" {
			about = "no description"
		}
		text := fmt.Errorf("Token endpoint error: status %d, body: %s: %s", r.Status, short(code), short(about)) //nolint:revive // upstream's text
		if code == "invalid_grant" {
			return nil, fmt.Errorf("%w: %w", errRevoked, text)
		}
		return nil, text
	}
	switch {
	case r.Status/100 != 2:
		return nil, fmt.Errorf("Token endpoint error: status %d, body: %s", r.Status, short(string(r.Body)))
	case err != nil:
		return nil, err
	}
	access, _ := m["access_token"].(string)
	if access == "" {
		return nil, errors.New("no token available: the answer of the token endpoint has no access_token")
	}
	if err := checkToken(access); err != nil {
		return nil, fmt.Errorf("the access_token of the provider %w", err)
	}
	refresh, _ := m["refresh_token"].(string)
	life := usualLife
	if n, ok := m["expires_in"].(json.Number); ok { // nothing else counts, as upstream: no text, no fraction
		if seconds, err := strconv.ParseUint(n.String(), 10, 64); err == nil {
			life = time.Duration(min(seconds, uint64(maxLife/time.Second))) * time.Second
		}
	}
	return newToken(access, refresh, now, life, life), nil
}

// checkToken refuses what no header can carry.
func checkToken(s string) error {
	if len(s) > auth.MaxAuthorization-len("Bearer ") {
		return fmt.Errorf("has %d bytes, and no listener takes more than %d: have the provider put less into it", len(s), auth.MaxAuthorization)
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return fmt.Errorf("has the byte 0x%02x, which no header may have", s[i])
		}
	}
	return nil
}

// short is a provider's text in an error: on one line and not long.
func short(s string) string {
	if len(s) > maxErrorText {
		s = s[:maxErrorText] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, s)
}

// clientGrant is the grant client_credentials (RFC 6749 section 4.4).
type clientGrant struct {
	*endpoint
	client, secret, scope string
}

func (g *clientGrant) token(ctx context.Context) (*token, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if g.scope != "" {
		form.Set("scope", g.scope)
	}
	return g.exchange(ctx, basic(g.client, g.secret), form)
}

// basic is a client's id and secret as RFC 6749 section 2.3.1 wants them: each encoded as in a form, then as in RFC 7617.
func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(formEncode(id)+":"+formEncode(secret)))
}

// formEncode is the encoding of application/x-www-form-urlencoded. url.QueryEscape differs in `*` and `~`.
func formEncode(s string) string {
	return strings.NewReplacer("%2A", "*", "~", "%7E").Replace(url.QueryEscape(s))
}

// refreshGrant is the grant refresh_token (RFC 6749 section 6) of a client without a secret. The token is in memory only.
type refreshGrant struct {
	*endpoint
	client, refresh string
	revoked         bool // nothing will help
}

func (g *refreshGrant) token(ctx context.Context) (*token, error) {
	if g.revoked {
		return nil, fmt.Errorf("%w: log in again, and configure the refresh token that this gives", errRevoked)
	}
	t, err := g.renew(ctx, g.client, g.refresh)
	if errors.Is(err, errRevoked) {
		g.revoked = true
	}
	if err == nil && t.refresh != "" {
		g.refresh = t.refresh
	}
	return t, err
}

// renew exchanges a refresh token.
func (e *endpoint) renew(ctx context.Context, client, refresh string) (*token, error) {
	return e.exchange(ctx, "", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {client}})
}

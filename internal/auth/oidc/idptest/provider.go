// Package idptest runs a real OpenID Connect provider, that of zitadel/oidc, on this machine, for tests. It gives access tokens
// that are JWTs for an id and a secret or a refresh token, rotates refresh tokens and its own keys, and can be taken away.
package idptest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Provider is a provider at URL, which is its issuer, until the test ends. Safe for all.
type Provider struct {
	URL string

	mu      sync.Mutex
	clients map[string]*client
	logins  map[string]*login // by refresh token
	keys    []*key            // the last one signs
	n       int               // of ids that were given
	life    time.Duration
	away    bool
	asked   map[string]int
}

// New starts a provider with one key, whose tokens live for five minutes.
func New(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{clients: map[string]*client{}, logins: map[string]*login{}, life: 5 * time.Minute, asked: map[string]int{}}
	var handler http.Handler
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !p.ask(r.URL.Path) {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	p.URL = s.URL
	p.Rotate(t)
	var err error
	handler, err = op.NewProvider(&op.Config{CryptoKey: [32]byte{1}, GrantTypeRefreshToken: true}, &storage{p: p}, op.StaticIssuer(p.URL),
		op.WithAllowInsecure(), op.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *Provider) ask(path string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[path]++
	return !p.away
}

// Asked returns how often a path was asked for.
func (p *Provider) Asked(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

// Away has the provider answer everything with 503, or not any more.
func (p *Provider) Away(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
}

// Life has tokens from now on live so long.
func (p *Provider) Life(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.life = d
}

// Client registers a client. Its tokens are for the audience, and have the claims.
func (p *Provider) Client(id, secret, audience string, claims map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clients[id] = &client{id: id, secret: secret, audience: audience, claims: claims}
}

// Login returns a refresh token of a registered client, as if a user had logged in.
func (p *Provider) Login(clientID, user string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refresh(&login{client: p.clients[clientID], user: user})
}

// refresh gives a new refresh token. Under mu.
func (p *Provider) refresh(l *login) string {
	token := p.id("refresh")
	p.logins[token] = l
	return token
}

func (p *Provider) id(what string) string {
	p.n++
	return fmt.Sprintf("%s-%d", what, p.n)
}

// Revoke has no refresh token count any more.
func (p *Provider) Revoke() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.logins)
}

// Rotate has a new key sign. Those of before are still published.
func (p *Provider) Rotate(t testing.TB) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(p.keys, &key{id: p.id("key"), private: private})
}

// Retire has only the key that signs be published.
func (p *Provider) Retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = p.keys[len(p.keys)-1:]
}

// key is one that signs, and what is published of it.
type key struct {
	id      string
	private *rsa.PrivateKey
}

func (k *key) ID() string                                  { return k.id }
func (k *key) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k *key) Key() any                                    { return k.private }

type publicKey struct{ *key }

func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                           { return &k.private.PublicKey }

// login is what a refresh token stands for.
type login struct {
	client *client
	user   string
}

func (l *login) GetAMR() []string          { return nil }
func (l *login) GetAudience() []string     { return []string{l.client.audience} }
func (l *login) GetAuthTime() time.Time    { return time.Now() }
func (l *login) GetClientID() string       { return l.client.id }
func (l *login) GetScopes() []string       { return []string{oidc.ScopeOpenID, oidc.ScopeOfflineAccess} }
func (l *login) GetSubject() string        { return l.user }
func (l *login) SetCurrentScopes([]string) {}

// client is an op.Client. It never sends anybody to a page.
type client struct {
	id, secret, audience string
	claims               map[string]any
}

func same(scopes []string) []string { return scopes }

func (c *client) GetID() string                       { return c.id }
func (c *client) RedirectURIs() []string              { return nil }
func (c *client) PostLogoutRedirectURIs() []string    { return nil }
func (c *client) ApplicationType() op.ApplicationType { return op.ApplicationTypeNative }
func (c *client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c *client) LoginURL(string) string              { return "" }
func (c *client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }
func (c *client) IDTokenLifetime() time.Duration      { return time.Minute }
func (c *client) DevMode() bool                       { return true }
func (c *client) RestrictAdditionalIdTokenScopes() func([]string) []string { //nolint:staticcheck // zitadel's name
	return same
}
func (c *client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return same
}
func (c *client) IsScopeAllowed(string) bool           { return true }
func (c *client) IDTokenUserinfoClaimsAssertion() bool { return false }
func (c *client) ClockSkew() time.Duration             { return 0 }

// AuthMethod is that of clients that refresh, which have no secret to show then.
func (c *client) AuthMethod() oidc.AuthMethod { return oidc.AuthMethodNone }

func (c *client) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeClientCredentials, oidc.GrantTypeRefreshToken}
}

// storage is the provider's memory. What the embedded interface has and this has not, nobody asks for in these flows.
type storage struct {
	op.Storage
	p *Provider
}

var errUnknown = errors.New("unknown")

func (s *storage) Health(context.Context) error { return nil }

func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if c := s.p.clients[id]; c != nil {
		return c, nil
	}
	return nil, errUnknown
}

func (s *storage) ClientCredentials(_ context.Context, id, secret string) (op.Client, error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if c := s.p.clients[id]; c != nil && c.secret == secret && secret != "" {
		return c, nil
	}
	return nil, errUnknown
}

func (s *storage) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	c := s.p.clients[id]
	return &oidc.JWTTokenRequest{Subject: id, Audience: []string{c.audience}, Scopes: scopes}, nil
}

func (s *storage) CreateAccessToken(context.Context, op.TokenRequest) (string, time.Time, error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	return s.p.id("token"), time.Now().Add(s.p.life), nil
}

func (s *storage) CreateAccessAndRefreshTokens(_ context.Context, r op.TokenRequest, old string) (id, refresh string, end time.Time, err error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	l := s.p.logins[old]
	if l == nil {
		return "", "", time.Time{}, errUnknown
	}
	delete(s.p.logins, old)
	return s.p.id("token"), s.p.refresh(l), time.Now().Add(s.p.life), nil
}

func (s *storage) TokenRequestByRefreshToken(_ context.Context, token string) (op.RefreshTokenRequest, error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if l := s.p.logins[token]; l != nil {
		return l, nil
	}
	return nil, errUnknown
}

func (s *storage) SigningKey(context.Context) (op.SigningKey, error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	return s.p.keys[len(s.p.keys)-1], nil
}

func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

func (s *storage) KeySet(context.Context) ([]op.Key, error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	var all []op.Key
	for _, k := range slices.Backward(s.p.keys) {
		all = append(all, publicKey{k})
	}
	return all, nil
}

func (s *storage) GetPrivateClaimsFromScopes(_ context.Context, _, id string, _ []string) (map[string]any, error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	return maps.Clone(s.p.clients[id].claims), nil
}

func (s *storage) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

// SetUserinfoFromToken tells what the token does not.
func (s *storage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, _, subject, _ string) error {
	info.Subject = subject
	info.AppendClaims("told_by", "userinfo")
	return nil
}

package oidc_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/oidc"
	"github.com/seed31b3bfd0/slimgo/internal/auth/oidc/idptest"
)

func source(t *testing.T, o oidc.SourceOptions) *oidc.Source {
	t.Helper()
	o.Timeout = time.Minute // the machine may be busy
	s, err := oidc.NewSource(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func verifier(t *testing.T, o oidc.VerifierOptions) *oidc.Verifier {
	t.Helper()
	o.Timeout = time.Minute // the machine may be busy
	v, err := oidc.NewVerifier(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// shown is what a Source shows now.
func shown(t *testing.T, s *oidc.Source) *auth.Shown {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	h, err := s.Authorization(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &auth.Shown{Authorization: h}
}

// want verifies, and compares the verdict: 0 for a welcome, else the status.
func want(t *testing.T, v *oidc.Verifier, s *auth.Shown, status int) *auth.Identity {
	t.Helper()
	who, err := v.Verify(t.Context(), s)
	got := 0
	if d := (*auth.Denied)(nil); errors.As(err, &d) {
		got = d.Status
	}
	if got != status || (err != nil) != (status != 0) {
		t.Errorf("verdict %v, want status %d", err, status)
	}
	return who
}

// groups is a policy: `"nodes" in claims.groups`.
type groups struct{}

func (groups) Allow(_ context.Context, claims map[string]any) error {
	if l, _ := claims["groups"].([]any); slices.Contains(l, any("nodes")) {
		return nil
	}
	return fmt.Errorf("not of the group nodes: %v", claims["groups"])
}

// With a provider that nobody here wrote: tokens for an id and a secret with characters that need encoding, userinfo, a policy
// that allows one and denies another.
func TestRealProviderClientCredentials(t *testing.T) {
	p := idptest.New(t)
	p.Client("cl:ent/id", "se:cret/val ü~*", "slim", map[string]any{"groups": []string{"nodes", "x"}})
	p.Client("guest", "secret", "slim", map[string]any{"groups": []string{"guests"}})
	p.Client("other", "secret", "elsewhere", map[string]any{"groups": []string{"nodes"}})
	v := verifier(t, oidc.VerifierOptions{Issuer: p.URL, Audience: "slim", Policy: groups{}, ClaimsLife: time.Minute})
	node := source(t, oidc.SourceOptions{Issuer: p.URL, ClientID: "cl:ent/id", ClientSecret: "se:cret/val ü~*", Scope: "openid"})
	who := want(t, v, shown(t, node), 0)
	if who == nil || who.Subject != "cl:ent/id" || who.Issuer != p.URL || who.Claims["told_by"] != "userinfo" || time.Until(who.Expires) > 5*time.Minute {
		t.Errorf("identity %+v", who)
	}
	want(t, v, shown(t, node), 0)
	if n := p.Asked("/userinfo"); n != 1 {
		t.Errorf("userinfo was asked %d times", n)
	}
	want(t, v, shown(t, source(t, oidc.SourceOptions{Issuer: p.URL, ClientID: "guest", ClientSecret: "secret"})), 403)
	want(t, v, shown(t, source(t, oidc.SourceOptions{Issuer: p.URL, ClientID: "other", ClientSecret: "secret"})), 401)
	want(t, v, &auth.Shown{}, 401)
	s := source(t, oidc.SourceOptions{Issuer: p.URL, ClientID: "guest", ClientSecret: "wrong"})
	if _, err := s.Authorization(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "Token endpoint error: status 40") ||
		!strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("a wrong secret: %v", err)
	}
}

// Refresh tokens that the provider rotates: each start of a client uses the one that the start before has left on the disk.
func TestRealProviderRefresh(t *testing.T) {
	p := idptest.New(t)
	p.Client("cli", "", "slim", nil)
	v := verifier(t, oidc.VerifierOptions{Issuer: p.URL, Audience: "slim"})
	file := filepath.Join(t.TempDir(), "refresh_token")
	first := p.Login("cli", "alice")
	if err := os.WriteFile(file, []byte(first+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := oidc.SourceOptions{Issuer: p.URL, ClientID: "cli", RefreshTokenFile: file}
	before := first
	for range 3 {
		s := source(t, o)
		if who := want(t, v, shown(t, s), 0); who.Subject != "alice" {
			t.Errorf("identity %+v", who)
		}
		_ = s.Close()
		b, err := os.ReadFile(file)
		if err != nil || string(b) == before {
			t.Errorf("the file holds %q, %v", b, err)
		}
		before = string(b)
	}
	s := source(t, oidc.SourceOptions{Issuer: p.URL, ClientID: "cli", RefreshToken: first})
	if _, err := s.Authorization(t.Context()); err == nil || !strings.Contains(err.Error(), "refresh token revoked or expired") {
		t.Errorf("a token that was rotated: %v", err)
	}
	// With the token of the other file beside it, a second client exchanges nothing.
	o.AccessTokenFile = filepath.Join(filepath.Dir(file), "access_token")
	asked := p.Asked("/oauth/token")
	a, b := source(t, o), source(t, o)
	if x, y := shown(t, a), shown(t, b); x.Authorization != y.Authorization || p.Asked("/oauth/token") != asked+1 {
		t.Errorf("two clients with one file asked %d times", p.Asked("/oauth/token")-asked)
	}
	p.Revoke()
	s = source(t, oidc.SourceOptions{Issuer: p.URL, ClientID: "cli", RefreshTokenFile: file})
	if _, err := s.Authorization(t.Context()); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
		t.Errorf("a token that was revoked: %v", err)
	}
}

// The provider rotates its key, and takes the old one back; it is away for a while.
func TestRealProviderKeys(t *testing.T) {
	p := idptest.New(t)
	p.Client("node", "secret", "slim", nil)
	v := verifier(t, oidc.VerifierOptions{Issuer: p.URL, Audience: "slim"})
	o := oidc.SourceOptions{Issuer: p.URL, ClientID: "node", ClientSecret: "secret"}
	old := shown(t, source(t, o))
	who := want(t, v, old, 0)
	p.Rotate(t)
	next := shown(t, source(t, o))
	want(t, v, next, 0) // at once
	want(t, v, old, 0)
	changed := v.Changed()
	p.Retire()
	v.Reload()
	<-changed
	want(t, v, old, 401)
	if err := v.Again(t.Context(), who); err == nil {
		t.Error("the connection of a key that is gone stays")
	}
	p.Away(true)
	v.Reload()
	want(t, v, next, 0)
	s := source(t, o)
	if _, err := s.Authorization(t.Context()); err == nil || !strings.Contains(err.Error(), "status 503") {
		t.Errorf("while the provider is away: %v", err)
	}
	p.Away(false)
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // until the next attempt, a second later
		if h, err := s.Authorization(t.Context()); err == nil {
			want(t, v, &auth.Shown{Authorization: h}, 0)
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

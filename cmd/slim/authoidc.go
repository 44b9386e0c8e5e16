package main

import (
	"io"
	"path/filepath"
	"time"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/oidc"
	policies "github.com/seed31b3bfd0/slimgo/internal/auth/policy"
)

// newOIDCVerifier makes what judges tokens of an identity provider.
func (p *program) newOIDCVerifier(c *config.OIDC) (auth.Verifier, []io.Closer, error) {
	o := oidc.VerifierOptions{
		Issuer: c.IssuerURL, Audience: c.Audience, Strict: p.strictAuth, KeysLife: max(c.JWKSLife, time.Second),
		ClaimsLife: c.ClaimsCacheLife, Log: p.authLog(),
	}
	return p.withPolicy(&c.Policy, func(d *policies.Policy) (auth.Verifier, error) {
		if d != nil {
			o.Policy = d
		}
		return oidc.NewVerifier(o)
	})
}

// newOIDCSource makes what gets tokens from an identity provider. What `slimctl login` has left is for those who configure
// nothing else.
func (p *program) newOIDCSource(c *config.OIDC) (auth.Source, error) {
	o := oidc.SourceOptions{
		Issuer: c.IssuerURL, ClientID: c.ClientID, ClientSecret: c.ClientSecret.Reveal(), RefreshToken: c.RefreshToken.Reveal(),
		RefreshTokenFile: c.RefreshTokenFile, AccessTokenFile: c.AccessTokenFile, Scope: c.Scope, Timeout: c.Timeout, Log: p.authLog(),
	}
	if home, ok := p.env("HOME"); ok && home != "" {
		o.Credentials = filepath.Join(home, ".slimctl", "credentials.yaml")
	}
	s, err := oidc.NewSource(o)
	if err != nil {
		return nil, err
	}
	return s, nil
}

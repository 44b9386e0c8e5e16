package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/jwt"
	"github.com/seed31b3bfd0/slimgo/internal/auth/oidc"
)

// newStaticSource makes what shows the token of a file.
func (p *program) newStaticSource(path string) (auth.Source, error) {
	f, err := jwt.NewStaticFile(path, jwt.Watch{Told: p.tellKeys})
	if err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	return f, nil
}

// newOIDCVerifier makes what judges tokens of a provider.
func (p *program) newOIDCVerifier(c *config.OIDC) (auth.Verifier, []io.Closer, error) {
	o := oidc.VerifierOptions{Issuer: c.IssuerURL, Audience: c.Audience, KeysLife: c.JWKSLife, ClaimsLife: c.ClaimsCacheLife, Log: p.authLog()}
	decides, err := p.newPolicy(&c.Policy)
	if err != nil {
		return nil, nil, err
	}
	var further []io.Closer
	if decides != nil {
		o.Policy, further = decides, append(further, decides)
	}
	v, err := oidc.NewVerifier(o)
	if err != nil {
		closeAll(further)
		return nil, nil, err
	}
	return v, further, nil
}

// newOIDCSource makes what gets tokens of a provider; nil where a configuration is only looked at: it begins to ask at once, and may use
// up a refresh token.
func (p *program) newOIDCSource(c *config.OIDC) (auth.Source, error) {
	if p.log == nil {
		return nil, nil
	}
	o := oidc.SourceOptions{Issuer: c.IssuerURL, ClientID: c.ClientID, RefreshTokenFile: c.RefreshTokenFile, AccessTokenFile: c.AccessTokenFile,
		RefreshToken: c.RefreshToken.Reveal(), ClientSecret: c.ClientSecret.Reveal(), Scope: c.Scope, Timeout: c.Timeout, Log: p.authLog()}
	if home, _ := p.env("HOME"); home != "" {
		o.Credentials = filepath.Join(home, ".slimctl", "credentials.yaml")
	}
	s, err := oidc.NewSource(o)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// reloadAuth has all that services judge by, and show, be looked at anew, though nothing tells of a change.
func (p *program) reloadAuth(services []*service) {
	reload := func(x any) {
		switch x := x.(type) {
		case interface{ Reload() }:
			x.Reload()
		case interface{ Reload() error }:
			if err := x.Reload(); err != nil {
				p.tellReload("policy", false, err)
			}
		}
	}
	for _, s := range services {
		for _, v := range s.verified {
			reload(v.verifier)
			for _, c := range v.further {
				reload(c)
			}
		}
		for _, l := range s.links {
			if a := l.shows.now.Load(); a != nil {
				reload(a.source)
			}
		}
	}
}

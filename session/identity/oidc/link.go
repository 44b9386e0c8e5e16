//go:build unix

// Package oidc shows the access tokens of an OpenID provider to nodes, as upstream's `auth: oidc` of a client does (P-oidc). It is no identity for
// other apps: a provider signs for an app, but not for the key that the app signs its messages with.
//
//	link, err := oidc.NewLink(oidc.Options{Issuer: "https://issuer.example", ClientID: id, ClientSecret: secret})
//	if err != nil {
//		return err
//	}
//	defer link.Close() // after the app
//	app, err := session.Connect(ctx, session.Options{Name: name, Secret: shared, Nodes: nodes, Authorization: link})
//
// Tokens are got and renewed in the background. All types are safe for all. There is none on Windows: files of tokens are locked by flock(2).
package oidc

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth/oidc"
	"github.com/seed31b3bfd0/slimgo/session"
)

// Options say how tokens are got. The first that is set counts: RefreshTokenFile, RefreshToken, ClientSecret.
type Options struct {
	// Issuer is the URL of the provider, by https unless it is of this machine.
	Issuer   string
	ClientID string
	// RefreshTokenFile holds a refresh token, and is written when the provider gives another one. Several processes may share it.
	RefreshTokenFile string
	// AccessTokenFile, beside RefreshTokenFile, keeps the access token for the next start; "": nothing does.
	AccessTokenFile string
	// RefreshToken is kept in memory only: where the provider gives another one with each use, it is worth nothing at the next start.
	RefreshToken string
	// ClientSecret is for the grant of client credentials.
	ClientSecret string
	// Scope is sent as it is; "": none is.
	Scope string
	// Timeout is for each request; 0: 30 s.
	Timeout time.Duration
	// TLS verifies the provider; nil: by the system's roots.
	TLS *tls.Config
	// Logger is told of tokens that could not be got or kept, and when they can again; nil: nobody is.
	Logger *slog.Logger
}

// String leaves out what is secret.
func (o Options) String() string { return fmt.Sprintf("(%s at %s)", o.ClientID, o.Issuer) }

// GoString is String.
func (o Options) GoString() string { return o.String() }

// Link shows access tokens to nodes. It is a session.Authorizer.
type Link struct{ source *oidc.Source }

var _ session.Authorizer = (*Link)(nil)

// NewLink returns one, which gets its first token now, in the background. An error, a session.ErrConfig, is an option that is wrong: a provider
// that is away is asked again. Close it after the app.
func NewLink(o Options) (*Link, error) {
	s, err := oidc.NewSource(oidc.SourceOptions{
		Issuer: o.Issuer, ClientID: o.ClientID, RefreshTokenFile: o.RefreshTokenFile, AccessTokenFile: o.AccessTokenFile, RefreshToken: o.RefreshToken,
		ClientSecret: o.ClientSecret, Scope: o.Scope, Timeout: o.Timeout, TLS: o.TLS, Log: o.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", session.ErrConfig, err)
	}
	return &Link{s}, nil
}

// Authorization returns "Bearer " and a token. It waits for the provider where there is none that lasts.
func (l *Link) Authorization(ctx context.Context) (string, error) { return l.source.Authorization(ctx) }

// Close ends renewals.
func (l *Link) Close() error { return l.source.Close() }

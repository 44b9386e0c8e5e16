package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/spire"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/router"
)

// What `auth` of listeners and clients becomes. A new type is a case of newVerifier, and one of newSource.

// verified is `auth` of a listener.
type verified struct {
	auth     *config.Auth
	endpoint string
	path     string
	verifier auth.Verifier // nil: its type is none, and no certificate is judged again
	further  []io.Closer   // closed after it
	tls      *config.TLS   // if certificates are judged again: by what; else nil
}

// judge is the part of the verifier that a says; nil: there is none.
func (v *verified) judge() auth.Verifier {
	if c, ok := v.verifier.(*spire.Certified); ok {
		return c.Unwrap()
	}
	return v.verifier
}

// newVerifier makes what judges as a says; nil: nobody is judged.
func (p *program) newVerifier(a *config.Auth) (v auth.Verifier, further []io.Closer, err error) {
	switch a.Type {
	case "none":
		return nil, nil, nil
	case "basic":
		return auth.NewBasicVerifier(a.Username, a.Password.Reveal()), nil, nil
	case "jwt":
		return p.newJWTVerifier(a.JWT)
	case "oidc":
		return p.newOIDCVerifier(a.OIDC)
	case "spire":
		v, err := p.newSpireVerifier(a.Spire)
		return v, nil, err
	}
	return nil, nil, fmt.Errorf("type: %s is not known", a.Type)
}

// newSource makes what a client shows as a says; nil: it shows nothing.
func (p *program) newSource(a *config.Auth) (auth.Source, error) {
	switch a.Type {
	case "none":
		return nil, nil
	case "basic":
		return auth.NewBasicSource(a.Username, a.Password.Reveal())
	case "jwt":
		return p.newJWTSource(a.JWT)
	case "static_jwt":
		return p.newStaticSource(a.File)
	case "oidc":
		return p.newOIDCSource(a.OIDC)
	case "spire":
		return p.newSpireSource(a.Spire)
	}
	return nil, fmt.Errorf("type: %s is not known", a.Type)
}

// verifiers are those of a service's listeners, in order. What old, which runs, has of the same settings stays in use, with all
// that it has learned.
func (p *program) verifiers(c *config.Config, s *config.Service, old *service) (all []*verified, faults []error) {
	for i := range s.Dataplane.Servers {
		server := &s.Dataplane.Servers[i]
		x := &verified{auth: &server.Auth, endpoint: server.Endpoint,
			path: fmt.Sprintf("services.%s.dataplane.servers[%d].auth", s.ID, i)}
		if o := old.verifiedOf(server, all); o != nil {
			x.verifier, x.further, x.tls = o.verifier, o.further, o.tls
			all = append(all, x)
			continue
		}
		var err error
		if x.verifier, x.further, err = p.newVerifier(x.auth); err != nil {
			faults = append(faults, authFailure(c, x.auth, x.path, err))
		} else if peers := p.certified(server); peers != nil {
			x.verifier, x.tls = spire.NewCertified(peers, x.verifier), &server.TLS
		}
		all = append(all, x)
	}
	return all, faults
}

// verifiedOf returns what a listener has of the settings of a server, at the same endpoint, unless it is used again already; nil:
// none has.
func (s *service) verifiedOf(server *config.Server, used []*verified) *verified {
	if s == nil {
		return nil
	}
	for _, o := range s.verified {
		if o.verifier == nil || o.endpoint != server.Endpoint || !o.auth.Same(&server.Auth) || uses(used, o) {
			continue
		}
		if by := certifies(server); (o.tls == nil) == (by == nil) && (by == nil || o.tls.Same(by)) {
			return o
		}
	}
	return nil
}

// uses reports whether one of all is, or stands for, x.
func uses(all []*verified, x *verified) bool {
	return slices.ContainsFunc(all, func(o *verified) bool { return o.verifier == x.verifier })
}

// closeVerified closes those that others do not use.
func closeVerified(all, others []*verified) {
	for _, x := range all {
		if x.verifier == nil || uses(others, x) {
			continue
		}
		_ = x.verifier.Close()
		for _, c := range x.further {
			_ = c.Close()
		}
	}
}

// credentials are what the connections of a link show. They can be replaced while it is up: then its next one shows others.
// It is an auth.Source, and safe for all.
type credentials struct{ now atomic.Pointer[armed] }

// armed is `auth` of a client.
type armed struct {
	auth   *config.Auth
	source auth.Source // nil: its type is none
}

// Authorization implements auth.Source.
func (c *credentials) Authorization(ctx context.Context) (string, error) {
	if a := c.now.Load(); a != nil && a.source != nil {
		return a.source.Authorization(ctx)
	}
	return "", nil
}

// become replaces them.
func (c *credentials) become(a *armed) { c.now.Swap(a).close() }

// Close implements auth.Source.
func (c *credentials) Close() error {
	c.now.Load().close()
	return nil
}

// close may be called on nil.
func (a *armed) close() {
	if a != nil && a.source != nil {
		_ = a.source.Close()
	}
}

// arm makes what a client shows; old is what it has shown until now, and serves on if it is the same; nil: it has not.
func (p *program) arm(c *config.Config, a *config.Auth, path string, old *credentials) (*armed, error) {
	if old != nil && old.now.Load().auth.Same(a) {
		return nil, nil
	}
	s, err := p.newSource(a)
	if err != nil {
		return nil, authFailure(c, a, path, err)
	}
	return &armed{a, s}, nil
}

// authFailure words what keeps `auth` from being as it says as upstream does, with the place of the key.
func authFailure(c *config.Config, a *config.Auth, path string, err error) error {
	r := config.Reason{Position: a.Position, Path: path, Text: err.Error()}
	if r.Position.Line > 0 {
		r.File = c.File
	}
	return &failure{
		context: []string{"failed to start service", "datapath error", "configuration error", "auth config error",
			"internal auth error"},
		cause: &placed{r, err},
	}
}

// tellAuth says by whose listeners it is asked who comes.
func (s *service) tellAuth(log *slog.Logger) {
	told := log.With(cli.KeyTarget, targetAuth, cli.KeySpan, s.span)
	for i, v := range s.verified {
		if v.auth.Type != "none" {
			told.Info("connections have to say who they are", "endpoint", s.endpoints[i], "auth", v.auth.Type)
		}
	}
}

// tellOpen warns of a link whose credentials are not secret on the way, as upstream does.
func (s *service) tellOpen(log *slog.Logger, l *activeLink) {
	if c := l.client; c.Auth.Type != "none" && !c.Secure() && !l.local() {
		log.With(cli.KeyTarget, targetAuth, cli.KeySpan, s.span).Warn(
			"auth is used without TLS: who sees what is sent can use the credentials", "endpoint", l.endpoint, "auth", c.Auth.Type)
	}
}

const targetAuth = "slim_config::auth"

// routerAuth is who may come by a listener, as a node is told.
func (v *verified) routerAuth() router.Auth {
	a := router.Auth{Verifier: v.verifier, Mechanism: v.auth.Type}
	if v.tls != nil && a.Mechanism == "none" {
		a.Mechanism = auth.MTLS
	}
	return a
}

package main

import (
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/jwt"
	policies "github.com/seed31b3bfd0/slimgo/internal/auth/policy"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
)

// newJWTVerifier makes what judges tokens that are signed.
func (p *program) newJWTVerifier(j *config.JWT) (auth.Verifier, []io.Closer, error) {
	o := jwt.VerifierOptions{
		Audience: j.Audience, Issuer: j.Issuer, Subject: j.Subject, Binding: j.SubjectBinding, Strict: p.strictAuth,
		Watch: jwt.Watch{Told: p.tellKeys},
	}
	switch j.Key.Type {
	case "autoresolve":
		o.Resolve, o.Issuers = true, p.authIssuers
	case "decoding":
		o.Key = keyOf(&j.Key)
	default:
		return nil, nil, errors.New("key.type: missing decoding key or autoresolve is disabled")
	}
	return p.withPolicy(&j.Policy, func(d *policies.Policy) (auth.Verifier, error) {
		if d != nil {
			o.Policy = d
		}
		return jwt.NewVerifier(o)
	})
}

// withPolicy makes a verifier and the policy that it asks last, nil: none, which is to be closed after it.
func (p *program) withPolicy(c *config.Policy, verifier func(*policies.Policy) (auth.Verifier, error)) (
	auth.Verifier, []io.Closer, error) {
	decides, err := p.newPolicy(c)
	if err != nil {
		return nil, nil, err
	}
	v, err := verifier(decides)
	switch {
	case decides == nil && err == nil:
		return v, nil, nil
	case err == nil:
		return v, []io.Closer{decides}, nil
	case decides != nil:
		_ = decides.Close()
	}
	return nil, nil, err // v is a pointer that is nil, which is no nil auth.Verifier
}

func closeAll(all []io.Closer) {
	for _, c := range all {
		_ = c.Close()
	}
}

// newJWTSource makes what signs tokens.
func (p *program) newJWTSource(j *config.JWT) (auth.Source, error) {
	if j.Key.Type != "encoding" {
		return nil, errors.New("key.type: no private key available for signing")
	}
	return jwt.NewSigner(jwt.SignerOptions{
		Key: keyOf(&j.Key), Audience: j.Audience, Issuer: j.Issuer, Subject: j.Subject, Custom: j.Custom,
		Watch: jwt.Watch{Told: p.tellKeys},
	})
}

func keyOf(k *config.JWTKey) jwt.Key {
	return jwt.Key{Algorithm: k.Algorithm, Format: k.Format, Data: k.Key.Data.Reveal(), File: k.Key.File}
}

// newPolicy makes what decides by claims; nil: nothing does, and whoever is known may pass.
func (p *program) newPolicy(c *config.Policy) (*policies.Policy, error) {
	if *c == (config.Policy{}) {
		return nil, nil
	}
	decides, err := policies.New(policies.Options{CEL: c.CEL, Rego: c.Rego, File: c.RegoFile, Reloaded: func(err error) {
		p.tellReload("policy "+c.RegoFile, err == nil, err)
	}})
	if err != nil {
		return nil, err
	}
	for _, w := range decides.Status().Warnings {
		p.authLog().Warn("the policy may not mean what it says", "policy", w)
	}
	return decides, nil
}

// tellKeys says what came of keys and tokens in files.
func (p *program) tellKeys(n jwt.Notice) {
	if n.Warning != "" {
		p.authLog().Warn(n.Warning, "from", n.From)
	}
	if n.Changed || n.Err != nil {
		p.tellReload("keys of "+n.From, n.Changed, n.Err)
	}
}

// tellReload says that something was loaded anew, or why what was in use stays in use.
func (p *program) tellReload(what string, changed bool, err error) {
	reason := what
	switch {
	case err != nil:
		p.authLog().Error("what was loaded before stays in use", "what", what, "error", err)
		reason += ": " + err.Error()
	case changed:
		p.authLog().Info("loaded anew", "what", what)
	}
	if p.audit != nil {
		p.audit.Note(&auth.Event{Time: time.Now(), Act: auth.ActReload, Allowed: err == nil, Reason: reason})
	}
}

// authLog is where it is said what happens to credentials. Nowhere while a configuration is only looked at.
func (p *program) authLog() *slog.Logger {
	if p.log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return p.log.With(cli.KeyTarget, targetAuth)
}

package jwt

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"

	tokens "github.com/seed31b3bfd0/slimgo/internal/auth/jwt"
	"github.com/seed31b3bfd0/slimgo/session"
)

// Formats of a Key.
const (
	PEM  = tokens.PEM  // PKCS #8, PKCS #1, SEC 1 or SubjectPublicKeyInfo; of HMAC, the bytes themselves
	JWK  = tokens.JWK  // one JSON Web Key, to verify with
	JWKS = tokens.JWKS // a list of them, to verify with
)

// Key is a key as upstream's configuration has it, either Data or File.
type Key struct {
	// Algorithm is HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA. It says nothing to a JWKS,
	// whose keys have their own, but must be there.
	Algorithm string
	// Format is PEM, JWK or JWKS.
	Format string
	// Data is the key itself. Of HMAC every byte counts.
	Data string
	// File is a path. It has at most 1 MiB. Of HMAC every byte counts, a line end, too.
	File string
}

// String leaves the key out.
func (k Key) String() string {
	if k.File != "" {
		return fmt.Sprintf("(%s key in %s)", k.Algorithm, k.File)
	}
	return fmt.Sprintf("(%s key)", k.Algorithm)
}

// GoString is String.
func (k Key) GoString() string { return k.String() }

// Text is the content of something, or where it stands: File or Data make one.
type Text struct {
	file string
	data string
}

// String leaves the text out.
func (t Text) String() string {
	if t.file != "" {
		return "(in " + t.file + ")"
	}
	return "(text)"
}

// GoString is String.
func (t Text) GoString() string { return t.String() }

// File is what a file holds. It may be replaced at any time.
func File(path string) Text { return Text{file: path} }

// Data is the text itself.
func Data(text string) Text { return Text{data: text} }

// check returns what is wrong with a text that has to be there.
func (t Text) check(what string) error {
	if t.file == "" && t.data == "" {
		return fmt.Errorf("%w: %s: there is none: give jwt.File(path) or jwt.Data(text)", session.ErrConfig, what)
	}
	return nil
}

// watching has notices of files and issuers written to a log; nil: nowhere.
func watching(log *slog.Logger) tokens.Watch {
	if log == nil {
		return tokens.Watch{}
	}
	return tokens.Watch{Told: func(n tokens.Notice) {
		switch {
		case n.Err != nil:
			log.Error("not loaded: what was in use stays in use", "from", n.From, "error", n.Err)
		case n.Warning != "":
			log.Warn(n.Warning, "from", n.From)
		case n.Changed:
			log.Info("loaded anew", "from", n.From)
		default:
			log.Info("as it was", "from", n.From)
		}
	}}
}

// SourceOptions say what a Source, or a Link, signs, and with what.
type SourceOptions struct {
	// Key is private, in the format PEM. When its file changes the new key signs what is signed from then on.
	Key Key
	// Subject is the claim sub, and the header kid: who the app is, in all of its tokens. A Source has one.
	Subject string
	// Issuer and Audience are the claims iss and aud; empty: there is none. Those who verify without an audience refuse tokens that have one.
	Issuer   string
	Audience []string
	// Custom are further claims, as encoding/json takes them.
	Custom map[string]any
	// Logger is told when the key's file changes, and of what is wrong with it; nil: nobody is.
	Logger *slog.Logger
}

func (o *SourceOptions) signer() (*tokens.Signer, error) {
	s, err := tokens.NewSigner(tokens.SignerOptions{
		Key: tokens.Key(o.Key), Subject: o.Subject, Issuer: o.Issuer, Audience: o.Audience, Custom: o.Custom, Watch: watching(o.Logger),
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", session.ErrConfig, err)
	}
	return s, nil
}

// VerifierOptions say which tokens of other apps are believed.
type VerifierOptions struct {
	// Key verifies all tokens. It is zero if Resolve is set.
	Key Key
	// Resolve has the keys of a token's issuer fetched from its discovery document, and renewed. Issuers are those who may be asked, besides
	// Issuer; without any of them everybody may, and is believed, so that there had better be some.
	Resolve bool
	Issuers []string
	// TLS verifies issuers; nil: by the system's roots.
	TLS *tls.Config
	// Issuer and Audience: of these a token that has the claims iss, aud must have one. Without Audience tokens with aud are refused.
	Issuer   string
	Audience []string
	// Binding says what is done about a token whose subject is neither the kid nor the did:key of the key that has signed it, where Key is a
	// JWKS: BindOff, BindWarn or BindEnforce; "": BindOff. It belongs to lists each key of which is of one app.
	Binding string
	// Strict demands what upstream does not: aud and iss; nbf and iat that are not in the future; long secrets; listed issuers by https.
	Strict bool
	// Logger is told when keys change or cannot be had, and of subjects that BindWarn lets pass; nil: nobody is.
	Logger *slog.Logger
}

// Values of VerifierOptions.Binding and SelfSignedOptions.Binding.
const (
	BindOff     = tokens.BindOff     // whoever has a trusted key may take any name
	BindWarn    = tokens.BindWarn    // the same, and the log tells of it
	BindEnforce = tokens.BindEnforce // such a token is refused
)

// Link shows tokens to nodes. It is a session.Authorizer.
type Link struct{ signer *tokens.Signer }

var _ session.Authorizer = (*Link)(nil)

// NewLink returns one whose tokens are signed with a key, a new one for each connection. Close it after the app. An error is a session.ErrConfig.
func NewLink(o SourceOptions) (*Link, error) {
	s, err := o.signer()
	if err != nil {
		return nil, err
	}
	return &Link{s}, nil
}

// Authorization returns "Bearer " and a token that is good for an hour.
func (l *Link) Authorization(ctx context.Context) (string, error) { return l.signer.Authorization(ctx) }

// Close ends the watching of the key's file.
func (l *Link) Close() error { return l.signer.Close() }

// Static shows the token that a file holds, whoever has made it, to nodes. It is a session.Authorizer. It is no identity for other
// apps: as a session.TokenSource, which it is to say so, it always fails.
type Static struct{ file *tokens.StaticFile }

var (
	_ session.Authorizer  = (*Static)(nil)
	_ session.TokenSource = (*Static)(nil)
)

// ErrStatic is why a static token is no identity of an app (P-id-8).
var ErrStatic = fmt.Errorf("%w: a static token is no identity of an app: it does not name the key that this app signs with, so that no other one "+
	"could verify its invitations and answers, nor take it into an encrypted session (MLS); sign tokens with a key of your own (jwt.NewSource), "+
	"and show this one to nodes (Options.Authorization)", session.ErrConfig)

// NewStatic reads a token from a file. White space around it does not count. Close it after the app. The log is told when the file
// changes, and of what is wrong with it; nil: nobody is. An error is a session.ErrConfig.
func NewStatic(path string, log *slog.Logger) (*Static, error) {
	f, err := tokens.NewStaticFile(path, watching(log))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", session.ErrConfig, err)
	}
	return &Static{f}, nil
}

// Authorization returns "Bearer " and the token.
func (s *Static) Authorization(ctx context.Context) (string, error) { return s.file.Authorization(ctx) }

// Token fails with ErrStatic.
func (*Static) Token(context.Context, []byte) (string, error) { return "", ErrStatic }

// Close ends the watching of the file.
func (s *Static) Close() error { return s.file.Close() }

package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
	"sync/atomic"
)

// Errors of NewBasicSource, with upstream's texts.
var (
	ErrNoUsername = errors.New("username cannot be empty")
	ErrNoPassword = errors.New("password cannot be empty")
)

var errClosed = errors.New("its source of credentials is closed")

// basicChallenge is what a listener says that wants a name and a password.
const basicChallenge = "Basic"

// basicHeader is the value of the header Authorization for a name and a password. Rules: P-auth-3.
func basicHeader(username, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(username+":"+password))
}

// basicSource shows a name and a password.
type basicSource struct {
	header string
	closed atomic.Bool
}

// NewBasicSource returns a Source of a name and a password, none of which may be empty.
func NewBasicSource(username, password string) (Source, error) {
	switch {
	case username == "":
		return nil, ErrNoUsername
	case password == "":
		return nil, ErrNoPassword
	}
	return &basicSource{header: basicHeader(username, password)}, nil
}

// Authorization implements Source.
func (s *basicSource) Authorization(context.Context) (string, error) {
	if s.closed.Load() {
		return "", errClosed
	}
	return s.header, nil
}

// Close implements Source.
func (s *basicSource) Close() error {
	s.closed.Store(true)
	return nil
}

// basicVerifier wants a name and a password. It keeps a hash of the header that it wants: so a comparison takes the same
// time whatever it is compared with, its length included.
type basicVerifier struct {
	username string
	want     [sha256.Size]byte
	closed   atomic.Bool
}

// basicProof is the hash of the header that was shown.
type basicProof [sha256.Size]byte

// NewBasicVerifier returns a Verifier of a name and a password, which may be empty, as upstream's. The whole header has to
// be as a client writes it, byte for byte. Rules: P-auth-3.
func NewBasicVerifier(username, password string) Verifier {
	return &basicVerifier{username: username, want: sha256.Sum256([]byte(basicHeader(username, password)))}
}

// Verify implements Verifier.
func (v *basicVerifier) Verify(_ context.Context, s *Shown) (*Identity, error) {
	shown := sha256.Sum256([]byte(s.Authorization))
	if subtle.ConstantTimeCompare(shown[:], v.want[:]) != 1 || v.closed.Load() {
		return nil, v.denied(s)
	}
	return &Identity{Mechanism: Basic, Subject: v.username, Proof: basicProof(shown)}, nil
}

// denied says what is wrong with what was shown, and nothing that it says.
func (v *basicVerifier) denied(s *Shown) *Denied {
	d := Unauthorized("wrong name or password")
	d.Challenge = basicChallenge
	scheme, rest, _ := strings.Cut(s.Authorization, " ")
	switch {
	case v.closed.Load():
		return Unavailable("the listener's authentication has been replaced")
	case s.Authorization == "":
		d.Reason = "no credentials"
		return d
	case !strings.EqualFold(scheme, "Basic"):
		d.Reason = "the scheme is not Basic"
		return d
	case scheme != "Basic":
		d.Reason = "the scheme is to be written Basic"
	}
	if b, err := base64.StdEncoding.DecodeString(rest); err != nil {
		d.Reason = "what follows Basic is not base64"
	} else if name, _, ok := strings.Cut(string(b), ":"); ok { // what has no colon may be all secret
		d.Subject = name[:min(len(name), maxClaimed)]
	}
	return d
}

// maxClaimed bounds what is kept of a name that is not proven, in bytes.
const maxClaimed = 128

// Again implements Verifier.
func (v *basicVerifier) Again(_ context.Context, who *Identity) error {
	proof, ok := who.Proof.(basicProof)
	switch {
	case !ok || who.Mechanism != Basic:
		return Unauthorized("its listener asks for a name and a password now")
	case subtle.ConstantTimeCompare(proof[:], v.want[:]) != 1:
		return Unauthorized("the name or the password has changed")
	}
	return nil
}

// Changed implements Verifier: it never does.
func (*basicVerifier) Changed() <-chan struct{} { return nil }

// QueryToken implements Verifier.
func (*basicVerifier) QueryToken() bool { return false }

// Close implements Verifier.
func (v *basicVerifier) Close() error {
	v.closed.Store(true)
	return nil
}

package jwt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// StaticFile shows the token that a file holds. It is an auth.Source. Safe for all.
type StaticFile struct {
	token  *file[string]
	closed atomic.Bool
}

var _ auth.Source = (*StaticFile)(nil)

// NewStaticFile reads a token from a file, and begins to watch it. White space around it is cut off, which upstream sends, and then
// shows nothing (P-jwt-15).
func NewStaticFile(path string, w Watch) (*StaticFile, error) {
	if path == "" {
		return nil, errors.New("file: there is none")
	}
	f := &StaticFile{token: &file[string]{Watch: w, path: path, what: "file", parse: readToken}}
	if err := f.token.open(""); err != nil {
		return nil, err
	}
	return f, nil
}

// readToken looks at a token as far as it has to be sent.
func readToken(b []byte) (string, []string, error) {
	b = bytes.TrimSpace(b)
	switch {
	case len(b) == 0:
		return "", nil, errors.New("holds no token")
	case len(b)+len("Bearer ") > auth.MaxAuthorization:
		return "", nil, fmt.Errorf("holds %d bytes, and no listener takes a token of more than %d", len(b), auth.MaxAuthorization-len("Bearer "))
	case bytes.ContainsFunc(b, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return "", nil, errors.New("holds more than a token: a line end, a space, or what is no ASCII")
	}
	return string(b), nil, nil
}

// Authorization returns "Bearer " and the token. It asks nobody.
func (f *StaticFile) Authorization(context.Context) (string, error) {
	if f.closed.Load() {
		return "", errClosed
	}
	return "Bearer " + f.token.get(), nil
}

// Token returns the token as the file has it.
func (f *StaticFile) Token() string { return f.token.get() }

// Reload has the file read soon, though nothing tells of a change.
func (f *StaticFile) Reload() { f.token.reload() }

// Loads returns how reads of the file went.
func (f *StaticFile) Loads() auth.Loads { return f.token.status() }

// Close ends the watching.
func (f *StaticFile) Close() error {
	f.closed.Store(true)
	f.token.close()
	return nil
}

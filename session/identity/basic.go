package identity

import (
	"context"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/session"
)

// Basic returns a name and a password, for nodes whose listener has `auth` of the type basic (P-auth-3). Neither may be empty. The error
// is a session.ErrConfig.
func Basic(username, password string) (session.Authorizer, error) {
	s, err := auth.NewBasicSource(username, password)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", session.ErrConfig, err)
	}
	return basic{s}, nil
}

// basic prints as nothing that is secret.
type basic struct{ s auth.Source }

func (b basic) Authorization(ctx context.Context) (string, error) { return b.s.Authorization(ctx) }

// Format tells nothing, whatever the verb.
func (basic) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("(name and password)")) }

package slimrpc

import (
	"context"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

type (
	saidKey    struct{}
	sessionKey struct{}
)

// WithMetadata returns a context whose calls say this to handlers.
func WithMetadata(ctx context.Context, metadata map[string]string) context.Context {
	return context.WithValue(rpc.WithMetadata(ctx, metadata), saidKey{}, metadata)
}

// MetadataFromContext returns what WithMetadata has set; in a handler otherwise what its caller has said.
func MetadataFromContext(ctx context.Context) (map[string]string, bool) {
	if md, ok := ctx.Value(saidKey{}).(map[string]string); ok {
		return md, true
	}
	if i := rpc.InfoOf(ctx); i != nil && i.Metadata != nil {
		return i.Metadata, true
	}
	return nil, false
}

// WithSessionId returns a context of which SessionIdFromContext returns that.
func WithSessionId(ctx context.Context, sessionId string) context.Context {
	return context.WithValue(ctx, sessionKey{}, sessionId)
}

// SessionIdFromContext returns what WithSessionId has set; in a handler otherwise the id of the session by which its call has come.
func SessionIdFromContext(ctx context.Context) (string, bool) {
	if id, ok := ctx.Value(sessionKey{}).(string); ok {
		return id, true
	}
	if i := rpc.InfoOf(ctx); i != nil && i.Session != nil {
		return fmt.Sprint(i.Session.ID()), true
	}
	return "", false
}

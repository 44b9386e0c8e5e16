package rpc

import (
	"context"
	"maps"

	"github.com/seed31b3bfd0/slimgo/session"
)

type (
	outgoingKey struct{}
	infoKey     struct{}
)

// WithMetadata returns a context whose calls say this to handlers, beside what ctx has said already. What a handler was told is not
// passed on: its context says nothing by itself. Keys that calls or sessions need for themselves make calls fail: InvalidArgument. md
// is not to be changed any more.
func WithMetadata(ctx context.Context, md map[string]string) context.Context {
	if before := outgoing(ctx); len(before) > 0 {
		all := maps.Clone(before)
		maps.Copy(all, md)
		md = all
	}
	return context.WithValue(ctx, outgoingKey{}, md)
}

// outgoing is what calls by ctx say.
func outgoing(ctx context.Context) map[string]string {
	md, _ := ctx.Value(outgoingKey{}).(map[string]string)
	return md
}

func checkMetadata(md map[string]string) error {
	for k := range md {
		if reserved[k] {
			return Errorf(InvalidArgument, "metadata %q is reserved: give it another name", k)
		}
	}
	return nil
}

// Peer is who has sent something.
type Peer struct {
	// Name is the app's, with its id. Where Subject is empty nothing has verified it.
	Name session.Name
	// Subject is that of the app's token, verified by the encryption of the session; empty: the session is plain.
	Subject string
}

// Info is what a handler knows of the call that it serves. It is not to be changed.
type Info struct {
	Method Method // as it was registered
	Caller Peer
	// Metadata is what the caller has said, by WithMetadata or in another language, in the clear and unprotected; nil: nothing.
	Metadata map[string]string
	// Session is by which the call has come: of two, or a group.
	Session *session.Session
}

// InfoOf returns what is known of the call whose handler has got ctx; nil: it is no such context.
func InfoOf(ctx context.Context) *Info {
	i, _ := ctx.Value(infoKey{}).(*Info)
	return i
}

// metadataOf is what the caller of an opening frame has said, without what is not for handlers (P-rpc-2).
func metadataOf(m *session.Message) map[string]string {
	var md map[string]string
	for _, from := range [2]map[string]string{m.Session.Metadata(), m.Metadata} {
		for k, v := range from {
			if reserved[k] {
				continue
			}
			if md == nil {
				md = map[string]string{}
			}
			md[k] = v
		}
	}
	return md
}

package a2aslim

import (
	"context"
	"strings"

	"github.com/a2aproject/a2a-go/a2aclient"
	"github.com/a2aproject/a2a-go/a2asrv"

	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// Extensions that a caller asks for: the keys of A2A 1.0, as its text spells it and in lower case, and of 0.3, which is that of a2a-go.
const (
	extensionsKey   = "A2A-Extensions"
	extensionsLower = "a2a-extensions"
	extensions03    = "x-a2a-extensions"
)

// tenantKey is where a handler finds the tenant of a request of A2A 1.0, for which a2a-go v0.3.3 has no field.
const tenantKey = "tenant"

// serverContext is what request handlers of a2a-go expect in a context: what the caller has said beside its request, and who it is.
func serverContext(ctx context.Context, request any) context.Context {
	info := rpc.InfoOf(ctx)
	if info == nil { // a test's registrar
		return ctx
	}
	meta := make(map[string][]string, len(info.Metadata)+1)
	for key, value := range info.Metadata {
		switch key = strings.ToLower(key); key {
		case extensionsLower, extensions03:
			meta[extensions03] = fields(value)
			meta[extensionsLower] = meta[extensions03]
		default:
			meta[key] = []string{value}
		}
	}
	delete(meta, tenantKey)
	if r, ok := request.(interface{ GetTenant() string }); ok && r.GetTenant() != "" {
		meta[tenantKey] = []string{r.GetTenant()}
	}
	ctx, call := a2asrv.WithCallContext(ctx, a2asrv.NewRequestMeta(meta))
	if info.Caller.Subject != "" {
		call.User = &a2asrv.AuthenticatedUser{UserName: info.Caller.Subject}
	}
	return ctx
}

// fields are the values of a list with commas between them.
func fields(list string) []string {
	var values []string
	for v := range strings.SplitSeq(list, ",") {
		if v = strings.TrimSpace(v); v != "" {
			values = append(values, v)
		}
	}
	return values
}

// versionKey is by which a call says what version of A2A it speaks, as each is to, though its service says that, too.
const versionKey = "a2a-version"

// clientContext is a context in which a call of m says what interceptors of a2a-go have added: keys in lower case, several values with commas
// between them; and its version of A2A, unless they have. Extensions go by the keys of both versions, and once more in the one spelling that slima2a 0.9.3 looks for.
func clientContext(ctx context.Context, m rpc.Method) context.Context {
	meta, _ := a2aclient.CallMetaFrom(ctx)
	said := make(map[string]string, len(meta)+3)
	said[versionKey] = version1
	if m.Service == service03 {
		said[versionKey] = version03
	}
	for key, values := range meta {
		if len(values) > 0 {
			said[strings.ToLower(key)] = strings.Join(values, ",")
		}
	}
	for _, key := range [2]string{extensions03, extensionsLower} {
		if list, ok := said[key]; ok {
			said[extensions03], said[extensionsLower], said[extensionsKey] = list, list, list
		}
	}
	return rpc.WithMetadata(ctx, said)
}

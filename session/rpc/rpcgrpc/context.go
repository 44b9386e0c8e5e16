package rpcgrpc

import (
	"context"
	"encoding/base64"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// binary ends the keys of gRPC whose values are bytes. As metadata of sessions is text they are in base64 there, without padding, as they are
// in gRPC's own headers.
const binary = "-bin"

// outgoing is a context whose calls of package rpc say what those of gRPC would.
func outgoing(ctx context.Context) context.Context {
	md, _ := metadata.FromOutgoingContext(ctx)
	return with(ctx, md)
}

// with is a context whose calls of package rpc say that.
func with(ctx context.Context, md metadata.MD) context.Context {
	if len(md) == 0 {
		return ctx
	}
	flat := make(map[string]string, len(md))
	for k, values := range md {
		if strings.HasSuffix(k, binary) {
			texts := make([]string, len(values))
			for i, v := range values {
				texts[i] = base64.RawStdEncoding.EncodeToString([]byte(v))
			}
			values = texts
		}
		flat[k] = strings.Join(values, ",")
	}
	return rpc.WithMetadata(ctx, flat)
}

// incoming is a context for handlers of gRPC: with what the caller has said, who it is, and what grpc.SetHeader and the like look for.
func incoming(ctx context.Context) context.Context {
	i := rpc.InfoOf(ctx)
	if i == nil {
		return ctx
	}
	md := metadata.New(i.Metadata)
	for k, values := range md {
		if strings.HasSuffix(k, binary) {
			md[k] = decoded(values)
		}
	}
	ctx = metadata.NewIncomingContext(ctx, md)
	ctx = peer.NewContext(ctx, &peer.Peer{Addr: address(i.Caller.Name)})
	return grpc.NewContextWithServerTransportStream(ctx, transport(i.Method.String()))
}

// decoded are the values of a key of bytes; as they are, if they are not in base64.
func decoded(values []string) []string {
	var all []string
	for _, v := range values {
		for one := range strings.SplitSeq(v, ",") {
			b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(one, "="))
			if err != nil {
				return values
			}
			all = append(all, string(b))
		}
	}
	return all
}

// address is the name of a caller as peer.Peer has it.
type address session.Name

func (address) Network() string  { return "slim" }
func (a address) String() string { return session.Name(a).String() }

// transport is what gRPC's functions want to know of a call that is served: its method. Headers and trailers go nowhere.
type transport string

func (t transport) Method() string             { return string(t) }
func (transport) SetHeader(metadata.MD) error  { return nil }
func (transport) SendHeader(metadata.MD) error { return nil }
func (transport) SetTrailer(metadata.MD) error { return nil }

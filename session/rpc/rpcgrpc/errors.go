package rpcgrpc

import (
	"context"
	"errors"
	"io"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// Status returns an error of package rpc as one of gRPC; nil and io.EOF as they are.
func Status(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	text := err.Error()
	var e *rpc.Error
	if errors.As(err, &e) {
		text = e.Message
	}
	return status.Error(codes.Code(rpc.CodeOf(err)), text)
}

// Error returns an error of gRPC as one of package rpc; nil, io.EOF and others as they are.
func Error(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	var e *rpc.Error
	if s, ok := status.FromError(err); ok && !errors.As(err, &e) {
		return rpc.NewError(rpc.Code(s.Code()), s.Message())
	}
	return err
}

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
		flat[k] = strings.Join(values, ",")
	}
	return rpc.WithMetadata(ctx, flat)
}

// incoming is a context for handlers of gRPC.
func incoming(ctx context.Context) context.Context {
	i := rpc.InfoOf(ctx)
	if i == nil {
		return ctx
	}
	return metadata.NewIncomingContext(ctx, metadata.New(i.Metadata))
}

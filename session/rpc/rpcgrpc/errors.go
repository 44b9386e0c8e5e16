package rpcgrpc

import (
	"errors"
	"io"

	"google.golang.org/grpc/codes"
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
		code := rpc.Unknown
		if s.Code() <= codes.Unauthenticated { // there are no others
			code = rpc.Code(s.Code())
		}
		return rpc.NewError(code, s.Message())
	}
	return err
}

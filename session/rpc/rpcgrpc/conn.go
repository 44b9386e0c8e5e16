package rpcgrpc

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// Conn makes stubs of gRPC call by c. Options of calls count for nothing.
func Conn(c rpc.Caller) grpc.ClientConnInterface { return conn{c} }

type conn struct{ caller rpc.Caller }

// Invoke implements grpc.ClientConnInterface.
func (c conn) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	s, err := c.open(ctx, method, false, false)
	if err != nil {
		return Status(err)
	}
	defer s.Close()
	if err := s.Send(args); err != nil && err != io.EOF {
		return Status(err)
	}
	if err := s.CloseSend(); err != nil {
		return Status(err)
	}
	if err = s.Receive(reply); err == io.EOF {
		err = rpc.NewError(rpc.Internal, method+": no reply, and no error")
	}
	return Status(err)
}

func (c conn) open(ctx context.Context, method string, client, server bool) (rpc.ClientStream, error) {
	m, err := rpc.ParseMethod(method)
	if err != nil {
		return nil, err
	}
	m.ClientStreams, m.ServerStreams = client, server
	return c.caller.NewStream(outgoing(ctx), m)
}

// NewStream implements grpc.ClientConnInterface.
func (c conn) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := c.open(ctx, method, d.ClientStreams, d.ServerStreams)
	if err != nil {
		return nil, Status(err)
	}
	return &clientStream{s, d.ServerStreams}, nil
}

// clientStream is a call as stubs of gRPC have it.
type clientStream struct {
	rpc.ClientStream
	many bool // replies
}

func (s *clientStream) Header() (metadata.MD, error) { return nil, nil }
func (s *clientStream) Trailer() metadata.MD         { return nil }
func (s *clientStream) CloseSend() error             { return Status(s.ClientStream.CloseSend()) }
func (s *clientStream) SendMsg(m any) error          { return Status(s.Send(m)) }

func (s *clientStream) RecvMsg(m any) error {
	err := s.Receive(m)
	if !s.many { // nobody asks for the end
		s.Close()
	}
	return Status(err)
}

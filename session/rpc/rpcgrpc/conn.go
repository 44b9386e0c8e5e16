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
	return Status(one(s, reply, method))
}

// one reads the only reply of a call; nobody asks for more.
func one(s rpc.ClientStream, reply any, method string) error {
	err := rpc.ReceiveOne(s, reply)
	if err == io.EOF {
		err = rpc.NewError(rpc.Internal, method+": no reply, and no error")
	}
	s.Close()
	return err
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
	return &clientStream{s, d, method}, nil
}

// clientStream is a call as stubs of gRPC have it.
type clientStream struct {
	rpc.ClientStream
	desc   *grpc.StreamDesc
	method string
}

func (s *clientStream) Header() (metadata.MD, error) { return nil, nil }
func (s *clientStream) Trailer() metadata.MD         { return nil }
func (s *clientStream) CloseSend() error             { return Status(s.ClientStream.CloseSend()) }

// SendMsg implements grpc.ClientStream. Stubs of methods with one request take io.EOF for an error: RecvMsg says why the call is over.
func (s *clientStream) SendMsg(m any) error {
	err := s.Send(m)
	if err == io.EOF && !s.desc.ClientStreams {
		return nil
	}
	return Status(err)
}

func (s *clientStream) RecvMsg(m any) error {
	if !s.desc.ServerStreams {
		return Status(one(s.ClientStream, m, s.method))
	}
	return Status(s.Receive(m))
}

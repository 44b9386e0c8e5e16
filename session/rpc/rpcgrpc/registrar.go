package rpcgrpc

import (
	"context"
	"io"
	"maps"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// Registrar makes services of gRPC served by r, an *rpc.Server. Interceptors are those of package rpc.
func Registrar(r rpc.Registrar) grpc.ServiceRegistrar { return registrar{r} }

type registrar struct{ rpc rpc.Registrar }

// RegisterService implements grpc.ServiceRegistrar.
func (r registrar) RegisterService(d *grpc.ServiceDesc, service any) {
	for i := range d.Methods {
		m := &d.Methods[i]
		r.rpc.Handle(rpc.Method{Service: d.ServiceName, Name: m.MethodName}, func(ctx context.Context, s rpc.ServerStream) error {
			reply, err := m.Handler(service, incoming(ctx), func(req any) error {
				err := s.Receive(req)
				if err == io.EOF { // an empty request
					return nil
				}
				return Status(err)
			}, nil)
			if err != nil {
				return Error(err)
			}
			return s.Send(reply)
		})
	}
	for i := range d.Streams {
		m := &d.Streams[i]
		method := rpc.Method{Service: d.ServiceName, Name: m.StreamName, ClientStreams: m.ClientStreams, ServerStreams: m.ServerStreams}
		r.rpc.Handle(method, func(ctx context.Context, s rpc.ServerStream) error {
			return Error(m.Handler(service, &serverStream{s, incoming(ctx)}))
		})
	}
}

// serverStream is a call as handlers of gRPC have it.
type serverStream struct {
	rpc.ServerStream
	ctx context.Context //nolint:containedctx // as grpc.ServerStream has it
}

func (s *serverStream) Context() context.Context     { return s.ctx }
func (s *serverStream) SetHeader(metadata.MD) error  { return nil }
func (s *serverStream) SendHeader(metadata.MD) error { return nil }
func (s *serverStream) SetTrailer(metadata.MD)       {}
func (s *serverStream) SendMsg(m any) error          { return Status(s.Send(m)) }
func (s *serverStream) RecvMsg(m any) error          { return Status(s.Receive(m)) }

// Gateway are options of a gRPC server that passes calls on by c, whose Codec is to be rpc.Proto, as they are: all but those of services that
// are registered with it.
func Gateway(c rpc.Caller) []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ForceServerCodec(rawCodec{}), grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		return Status(pass(s, c))
	})}
}

// rawCodec leaves messages as they are.
type rawCodec struct{ rpc.Proto }

func (rawCodec) Name() string { return "proto" }

// pass passes a call on.
func pass(from grpc.ServerStream, c rpc.Caller) error {
	path, _ := grpc.MethodFromServerStream(from)
	m, err := rpc.ParseMethod(path)
	if err != nil {
		return err
	}
	m.ClientStreams, m.ServerStreams = true, true // as far as is known
	ctx, cancel := context.WithCancel(from.Context())
	defer cancel()
	to, err := c.NewStream(with(ctx, said(ctx)), m)
	if err != nil {
		return err
	}
	defer to.Close()
	go func() {
		for {
			var req rpc.Raw
			switch err := from.RecvMsg(&req); {
			case err == io.EOF:
				_ = to.CloseSend()
				return
			case err != nil || to.Send(&req) != nil: // Receive says why
				return
			}
		}
	}()
	for {
		var res rpc.Raw
		switch err := to.Receive(&res); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if err := from.SendMsg(&res); err != nil {
			return err
		}
	}
}

// said is what a caller of gRPC has said, and not its library.
func said(ctx context.Context) metadata.MD {
	md, _ := metadata.FromIncomingContext(ctx)
	md = maps.Clone(md)
	maps.DeleteFunc(md, func(k string, _ []string) bool {
		return k == "" || k[0] == ':' || slices.Contains([]string{"content-type", "user-agent", "te", "grpc-accept-encoding"}, k)
	})
	return md
}

package slimrpc

import (
	"context"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// RegisterUnaryUnary is for generated code, as all functions of this name: it has r serve a method of that shape by f.
func RegisterUnaryUnary[Req, Res any, PReq message[Req], PRes message[Res]](
	r ServerInterface, m rpc.Method, f func(context.Context, PReq) (PRes, error),
) {
	rpc.HandleUnary(r, m, func(ctx context.Context, req *Req) (*Res, error) {
		res, err := f(ctx, PReq(req))
		return (*Res)(res), toCall(err)
	})
}

// RegisterUnaryStream is for a method with any number of replies.
func RegisterUnaryStream[Req any, PReq message[Req], Res proto.Message](
	r ServerInterface, m rpc.Method, f func(context.Context, PReq, ServerStream[Res]) error,
) {
	m.ServerStreams = true
	r.Handle(m, func(ctx context.Context, s rpc.ServerStream) error {
		req := PReq(new(Req))
		if err := s.Receive(req); err != nil && err != io.EOF { // an empty request
			return err
		}
		return toCall(f(ctx, req, served[Req, PReq, Res]{s}))
	})
}

// RegisterStreamUnary is for a method with any number of requests.
func RegisterStreamUnary[Req, Res any, PReq message[Req], PRes message[Res]](
	r ServerInterface, m rpc.Method, f func(context.Context, ResponseStream[PReq]) (PRes, error),
) {
	m.ClientStreams = true
	r.Handle(m, func(ctx context.Context, s rpc.ServerStream) error {
		res, err := f(ctx, served[Req, PReq, PRes]{s})
		switch {
		case err != nil:
			return toCall(err)
		case res == nil:
			return rpc.NewError(rpc.Internal, "the handler returned neither a reply nor an error")
		}
		return s.Send(res)
	})
}

// RegisterStreamStream is for a method with any number of both.
func RegisterStreamStream[Req any, PReq message[Req], Res proto.Message](
	r ServerInterface, m rpc.Method, f func(context.Context, ServerBidiStream[PReq, Res]) error,
) {
	m.ClientStreams, m.ServerStreams = true, true
	r.Handle(m, func(ctx context.Context, s rpc.ServerStream) error { return toCall(f(ctx, served[Req, PReq, Res]{s})) })
}

// served is a call at its server.
type served[Req any, PReq message[Req], Res proto.Message] struct{ s rpc.ServerStream }

func (s served[Req, PReq, Res]) Send(res Res) error { return fromCall(s.s.Send(res)) }
func (s served[Req, PReq, Res]) Recv() (PReq, error) {
	return received[Req, PReq](s.s.Receive)
}

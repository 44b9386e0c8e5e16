package slimrpc

import (
	"context"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

type (
	// ResponseStream is where messages come from: replies at a client, requests at a server.
	ResponseStream[T proto.Message] interface {
		// Recv returns the next one. nil and no error: there are no more.
		Recv() (T, error)
	}
	// ServerStream is where a server's replies go.
	ServerStream[T proto.Message] interface {
		Send(T) error
	}
	// RequestStream is what ServerStream was called before 2.0.
	RequestStream[T proto.Message] = ServerStream[T]
	// ClientRequestStream is a call with any number of requests and one reply. CloseAndRecv is called once.
	ClientRequestStream[Req, Res proto.Message] interface {
		Send(Req) error
		CloseAndRecv() (Res, error)
	}
	// ClientBidiStream is a call with any number of requests and of replies. One goroutine may send while another one receives.
	ClientBidiStream[Req, Res proto.Message] interface {
		Send(Req) error
		// Recv is that of ResponseStream.
		Recv() (Res, error)
		CloseSend() error
	}
	// ServerBidiStream is such a call at its server.
	ServerBidiStream[Req, Res proto.Message] interface {
		Send(Res) error
		// Recv is that of ResponseStream.
		Recv() (Req, error)
	}
)

type (
	// RpcMessageContext says who has sent a reply: Source has no id.
	RpcMessageContext struct{ Source session.Name }
	// MulticastItem is what a member of a group has replied.
	MulticastItem[T any] struct {
		Context RpcMessageContext
		Value   T
	}
	// MulticastResponseStream is where replies of a group come from.
	MulticastResponseStream[T proto.Message] interface {
		// Recv returns the next one; nil and no error: all members have answered. An error is that of one member, and others may follow: of which
		// one, says the RpcErrorMulticastRpc in it. Without one of those it is that of the call.
		Recv() (*MulticastItem[T], error)
	}
	// MulticastClientBidiStream is a call of a group with any number of requests.
	MulticastClientBidiStream[Req, Res proto.Message] interface {
		Send(Req) error
		CloseSend() error
		// Recv is that of MulticastResponseStream.
		Recv() (*MulticastItem[Res], error)
	}
)

// message is a type of messages, and the pointer to it that is one.
type message[T any] interface {
	*T
	proto.Message
}

// ask begins a call with one request.
func ask(ctx context.Context, c ChannelInterface, m rpc.Method, req proto.Message) (rpc.ClientStream, error) {
	s, err := c.NewStream(ctx, m)
	if err != nil {
		return nil, fromCall(err)
	}
	if err := s.Send(req); err != nil && err != io.EOF { // which Recv explains
		s.Close()
		return nil, fromCall(err)
	}
	if err := s.CloseSend(); err != nil {
		s.Close()
		return nil, fromCall(err)
	}
	return s, nil
}

// CallUnary is for generated code, as all functions of this name: it makes a call of that shape.
func CallUnary[Req, Res any, PReq message[Req], PRes message[Res]](
	ctx context.Context, c ChannelInterface, m rpc.Method, req PReq,
) (PRes, error) {
	res, err := rpc.CallUnary[Req, Res](ctx, c, m, (*Req)(req))
	return PRes(res), fromCall(err)
}

// CallUnaryStream makes a call with any number of replies.
func CallUnaryStream[Req, Res any, PReq message[Req], PRes message[Res]](
	ctx context.Context, c ChannelInterface, m rpc.Method, req PReq,
) (ResponseStream[PRes], error) {
	s, err := ask(ctx, c, m, req)
	if err != nil {
		return nil, err
	}
	return &conversation[Req, Res, PReq, PRes]{s: s}, nil
}

// CallStreamUnary makes a call with any number of requests.
func CallStreamUnary[Req, Res any, PReq message[Req], PRes message[Res]](
	ctx context.Context, c ChannelInterface, m rpc.Method,
) (ClientRequestStream[PReq, PRes], error) {
	s, err := c.NewStream(ctx, m)
	if err != nil {
		return nil, fromCall(err)
	}
	return &conversation[Req, Res, PReq, PRes]{s: s}, nil
}

// CallStreamStream makes a call with any number of both.
func CallStreamStream[Req, Res any, PReq message[Req], PRes message[Res]](
	ctx context.Context, c ChannelInterface, m rpc.Method,
) (ClientBidiStream[PReq, PRes], error) {
	s, err := c.NewStream(ctx, m)
	if err != nil {
		return nil, fromCall(err)
	}
	return &conversation[Req, Res, PReq, PRes]{s: s}, nil
}

// CallMulticastUnary makes a call of a group with one request, and any number of replies of each member.
func CallMulticastUnary[Req, Res any, PReq message[Req], PRes message[Res]](
	ctx context.Context, c ChannelInterface, m rpc.Method, req PReq,
) (MulticastResponseStream[PRes], error) {
	s, err := ask(ctx, c, m, req)
	if err != nil {
		return nil, err
	}
	return &discussion[Req, Res, PReq, PRes]{s}, nil
}

// CallMulticastStream makes a call of a group with any number of requests.
func CallMulticastStream[Req, Res any, PReq message[Req], PRes message[Res]](
	ctx context.Context, c ChannelInterface, m rpc.Method,
) (MulticastClientBidiStream[PReq, PRes], error) {
	s, err := c.NewStream(ctx, m)
	if err != nil {
		return nil, fromCall(err)
	}
	return &discussion[Req, Res, PReq, PRes]{s}, nil
}

// conversation is a call of one server.
type conversation[Req, Res any, PReq message[Req], PRes message[Res]] struct{ s rpc.ClientStream }

func (c *conversation[Req, Res, PReq, PRes]) Send(req PReq) error { return sent(c.s.Send(req)) }
func (c *conversation[Req, Res, PReq, PRes]) CloseSend() error    { return fromCall(c.s.CloseSend()) }
func (c *conversation[Req, Res, PReq, PRes]) Recv() (PRes, error) {
	return received[Res, PRes](c.s.Receive)
}

func (c *conversation[Req, Res, PReq, PRes]) CloseAndRecv() (PRes, error) {
	defer c.s.Close()
	if err := c.CloseSend(); err != nil {
		return nil, err
	}
	res, err := c.Recv()
	if res == nil && err == nil {
		return nil, NewRpcErrorRpc(RpcCodeInternal, "no reply, and no error", nil)
	}
	return res, err
}

// discussion is a call of a group.
type discussion[Req, Res any, PReq message[Req], PRes message[Res]] struct{ s rpc.ClientStream }

func (d *discussion[Req, Res, PReq, PRes]) Send(req PReq) error { return sent(d.s.Send(req)) }
func (d *discussion[Req, Res, PReq, PRes]) CloseSend() error    { return fromCall(d.s.CloseSend()) }

func (d *discussion[Req, Res, PReq, PRes]) Recv() (*MulticastItem[PRes], error) {
	res := PRes(new(Res))
	switch err := d.s.Receive(res); err {
	case nil:
		return &MulticastItem[PRes]{RpcMessageContext{d.s.Peer().Name.Any()}, res}, nil
	case io.EOF:
		return nil, nil
	default:
		return nil, fromMember(err)
	}
}

// sent is what Send says of a call that is over: nothing, since Recv says why, as upstream's does, which only queues.
func sent(err error) error {
	if err == io.EOF {
		return nil
	}
	return fromCall(err)
}

// received is the next message; neither that nor an error: there are no more.
func received[T any, P message[T]](receive func(msg any) error) (P, error) {
	res := P(new(T))
	switch err := receive(res); err {
	case nil:
		return res, nil
	case io.EOF:
		return nil, nil
	default:
		return nil, fromCall(err)
	}
}

package rpc

import (
	"context"
	"errors"
	"io"
	"iter"
)

// CallUnary calls a method with one request and one reply. Req and Res are the types of messages, such as pb.AddRequest. Of a group the
// first reply counts, as ReceiveOne has it.
func CallUnary[Req, Res any](ctx context.Context, c Caller, m Method, req *Req) (*Res, error) {
	s, err := c.NewStream(ctx, m)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := ask(s, req); err != nil {
		return nil, err
	}
	return only[Res](s, m)
}

// ask sends the one request of a call. What the server says of it is found by Receive.
func ask(s ClientStream, req any) error {
	if err := s.Send(req); err != nil && err != io.EOF {
		return err
	}
	return s.CloseSend()
}

// only reads the one reply of a call.
func only[Res any](s ClientStream, m Method) (*Res, error) {
	res := new(Res)
	switch err := ReceiveOne(s, res); err {
	case nil:
		return res, nil
	case io.EOF:
		return nil, Errorf(Internal, "%v: no reply, and no error", m)
	default:
		return nil, err
	}
}

// ReceiveOne reads the one reply of a call into msg: of a group the first one of any member, and where no one replies the first error. io.EOF:
// there was neither.
func ReceiveOne(s ClientStream, msg any) error {
	var first error
	for {
		err := s.Receive(msg)
		if err == nil {
			return nil
		}
		var e *Error
		member := errors.As(err, &e) && !e.From.IsZero() && err != first // of a Client the error stays
		if first == nil {
			first = err
		}
		if !member {
			return first
		}
	}
}

// CallServerStream calls a method with one request and any number of replies.
func CallServerStream[Req, Res any](ctx context.Context, c Caller, m Method, req *Req) (*Replies[Res], error) {
	s, err := c.NewStream(ctx, m)
	if err != nil {
		return nil, err
	}
	if err := ask(s, req); err != nil {
		s.Close()
		return nil, err
	}
	return &Replies[Res]{s}, nil
}

// CallClientStream calls a method with any number of requests and one reply.
func CallClientStream[Req, Res any](ctx context.Context, c Caller, m Method) (*ClientStreamCall[Req, Res], error) {
	s, err := c.NewStream(ctx, m)
	if err != nil {
		return nil, err
	}
	return &ClientStreamCall[Req, Res]{s, m}, nil
}

// CallBidi calls a method with any number of requests and of replies.
func CallBidi[Req, Res any](ctx context.Context, c Caller, m Method) (*BidiCall[Req, Res], error) {
	s, err := c.NewStream(ctx, m)
	if err != nil {
		return nil, err
	}
	return &BidiCall[Req, Res]{Replies[Res]{s}}, nil
}

// Replies are those of a call. One goroutine receives at a time.
type Replies[Res any] struct{ stream ClientStream }

// Receive returns the next one. io.EOF: there are no more, and so on for ever. Else errors are an *Error.
func (r *Replies[Res]) Receive() (*Res, error) {
	res := new(Res)
	if err := r.stream.Receive(res); err != nil {
		return nil, err
	}
	return res, nil
}

// All are those that Receive returns. An error comes last; a loop that is left gives the call up.
func (r *Replies[Res]) All() iter.Seq2[*Res, error] {
	return func(yield func(*Res, error) bool) {
		for {
			res, err := r.Receive()
			if err == io.EOF {
				return
			}
			if !yield(res, err) || err != nil {
				r.Close()
				return
			}
		}
	}
}

// Close gives the call up, if it is not over.
func (r *Replies[Res]) Close() { r.stream.Close() }

// ClientStreamCall is a call with any number of requests. It is not safe for several goroutines.
type ClientStreamCall[Req, Res any] struct {
	stream ClientStream
	method Method
}

// Send sends a request. io.EOF: the call is over, and CloseAndReceive says why.
func (c *ClientStreamCall[Req, Res]) Send(req *Req) error { return c.stream.Send(req) }

// CloseAndReceive says that there are no more requests, and returns the reply.
func (c *ClientStreamCall[Req, Res]) CloseAndReceive() (*Res, error) {
	defer c.stream.Close()
	if err := c.stream.CloseSend(); err != nil {
		return nil, err
	}
	return only[Res](c.stream, c.method)
}

// Close gives the call up, if it is not over.
func (c *ClientStreamCall[Req, Res]) Close() { c.stream.Close() }

// BidiCall is a call with any number of requests and of replies. One goroutine may send while another one receives.
type BidiCall[Req, Res any] struct{ Replies[Res] }

// Send sends a request. io.EOF: the call is over, and Receive says why.
func (c *BidiCall[Req, Res]) Send(req *Req) error { return c.stream.Send(req) }

// CloseSend says that there are no more requests.
func (c *BidiCall[Req, Res]) CloseSend() error { return c.stream.CloseSend() }

package rpc

import (
	"context"
	"io"
	"iter"
)

// ServerStream is a call as its handler has it. One goroutine may send while another one receives, and both only until the handler
// returns.
type ServerStream interface {
	// Context is that of the call: it ends with its deadline, when the caller gives the call up or has gone, and when the server stops. InfoOf
	// tells of the call.
	Context() context.Context
	// Receive reads the next request into msg. io.EOF: there are no more. Else errors are an *Error, and the call is over.
	Receive(msg any) error
	// Send sends a reply. It waits while much of the session is under way. Errors are an *Error.
	Send(msg any) error
}

// Handler serves calls of a method. What it returns is what the caller gets: an error's Code, as CodeOf finds it, and its text; of an *Error
// in its chain, or a status of gRPC, the Message. A panic is Internal. ctx is that of the stream.
type Handler func(ctx context.Context, s ServerStream) error

// ServerInterceptor comes between the server and handlers, of all shapes.
type ServerInterceptor func(next Handler) Handler

// Registrar takes handlers: a *Server, or a test.
type Registrar interface {
	// Handle makes h serve a method, from the next call on, in the place of whom it had.
	Handle(m Method, h Handler)
}

// HandleUnary makes f serve a method with one request and one reply. A caller that has sent none is served as if it had sent an empty
// one.
func HandleUnary[Req, Res any](r Registrar, m Method, f func(context.Context, *Req) (*Res, error)) {
	r.Handle(m, func(ctx context.Context, s ServerStream) error {
		req, err := request[Req](s)
		if err != nil {
			return err
		}
		res, err := f(ctx, req)
		return answer(s, res, err)
	})
}

// request reads the one request of a call.
func request[Req any](s ServerStream) (*Req, error) {
	req := new(Req)
	if err := s.Receive(req); err != nil && err != io.EOF {
		return nil, err
	}
	return req, nil
}

func answer[Res any](s ServerStream, res *Res, err error) error {
	switch {
	case err != nil:
		return err
	case res == nil:
		return Errorf(Internal, "the handler returned neither a reply nor an error")
	}
	return s.Send(res)
}

// HandleServerStream makes f serve a method with one request and any number of replies.
func HandleServerStream[Req, Res any](r Registrar, m Method, f func(context.Context, *Req, *Sender[Res]) error) {
	m.ServerStreams = true
	r.Handle(m, func(ctx context.Context, s ServerStream) error {
		req, err := request[Req](s)
		if err != nil {
			return err
		}
		return f(ctx, req, &Sender[Res]{s})
	})
}

// HandleClientStream makes f serve a method with any number of requests and one reply.
func HandleClientStream[Req, Res any](r Registrar, m Method, f func(context.Context, *Receiver[Req]) (*Res, error)) {
	m.ClientStreams = true
	r.Handle(m, func(ctx context.Context, s ServerStream) error {
		res, err := f(ctx, &Receiver[Req]{s})
		return answer(s, res, err)
	})
}

// HandleBidi makes f serve a method with any number of requests and of replies.
func HandleBidi[Req, Res any](r Registrar, m Method, f func(context.Context, *BidiStream[Req, Res]) error) {
	m.ClientStreams, m.ServerStreams = true, true
	r.Handle(m, func(ctx context.Context, s ServerStream) error {
		return f(ctx, &BidiStream[Req, Res]{Receiver[Req]{s}, Sender[Res]{s}})
	})
}

// Sender is where replies of a call go.
type Sender[Res any] struct{ stream ServerStream }

// Send sends a reply, as ServerStream says.
func (s *Sender[Res]) Send(res *Res) error { return s.stream.Send(res) }

// Receiver is where requests of a call come from.
type Receiver[Req any] struct{ stream ServerStream }

// Receive returns the next request, as ServerStream says.
func (r *Receiver[Req]) Receive() (*Req, error) {
	req := new(Req)
	if err := r.stream.Receive(req); err != nil {
		return nil, err
	}
	return req, nil
}

// All are those that Receive returns. An error comes last, and is to be returned by the handler.
func (r *Receiver[Req]) All() iter.Seq2[*Req, error] {
	return func(yield func(*Req, error) bool) {
		for {
			req, err := r.Receive()
			if err == io.EOF || !yield(req, err) || err != nil {
				return
			}
		}
	}
}

// BidiStream is where requests of a call come from and replies go.
type BidiStream[Req, Res any] struct {
	Receiver[Req]
	Sender[Res]
}

package a2aslim

import (
	"context"
	"fmt"
	"iter"

	"github.com/a2aproject/a2a-go/a2a"

	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// operation is a method of A2A with one reply as a version of the protocol has it: with parameters *In and a result of a2a-go, to be
// served and called.
type operation[In, Out any] struct {
	serve func(r rpc.Registrar, h func(context.Context, *In) (Out, error))
	call  func(ctx context.Context, c rpc.Caller, in *In) (Out, error)
}

// stream is a method of A2A with any number of replies.
type stream[In any] struct {
	serve func(r rpc.Registrar, h func(context.Context, *In) iter.Seq2[a2a.Event, error])
	call  func(ctx context.Context, c rpc.Caller, in *In) iter.Seq2[a2a.Event, error]
}

// codec turns values of a2a-go into messages on the wire, Msg, and back.
type codec[Value, Msg any] struct {
	to   func(Value) (*Msg, error)
	from func(*Msg) (Value, error)
}

// unary is the operation of a method with such requests and replies.
func unary[In, Req, Out, Res any](m rpc.Method, req codec[*In, Req], res codec[Out, Res]) operation[In, Out] {
	return operation[In, Out]{
		serve: func(r rpc.Registrar, h func(context.Context, *In) (Out, error)) {
			rpc.HandleUnary(r, m, func(ctx context.Context, request *Req) (*Res, error) {
				in, err := read(request, req)
				if err != nil {
					return nil, err
				}
				out, err := h(serverContext(ctx, request), in)
				if err != nil {
					return nil, toCall(err)
				}
				return write(out, res)
			})
		},
		call: func(ctx context.Context, c rpc.Caller, in *In) (out Out, err error) {
			request, err := ask(in, req)
			if err != nil {
				return out, fmt.Errorf("a request of %v: %w", m, err)
			}
			reply, err := rpc.CallUnary[Req, Res](clientContext(ctx, m), c, m, request)
			if err != nil {
				return out, fromCall(err)
			}
			if out, err = res.from(reply); err != nil {
				return out, fmt.Errorf("the reply to %v: %w: %w", m, a2a.ErrInvalidAgentResponse, err)
			}
			return out, nil
		},
	}
}

// streaming is the stream of a method with such requests and replies.
func streaming[In, Req, Res any](m rpc.Method, req codec[*In, Req], res codec[a2a.Event, Res]) stream[In] {
	return stream[In]{
		serve: func(r rpc.Registrar, h func(context.Context, *In) iter.Seq2[a2a.Event, error]) {
			rpc.HandleServerStream(r, m, func(ctx context.Context, request *Req, to *rpc.Sender[Res]) error {
				in, err := read(request, req)
				if err != nil {
					return err
				}
				for event, err := range h(serverContext(ctx, request), in) {
					if err != nil {
						return toCall(err)
					}
					reply, err := write(event, res)
					if err != nil {
						return err
					}
					if err := to.Send(reply); err != nil {
						return err // the task goes on: others may subscribe to it
					}
				}
				return nil
			})
		},
		call: func(ctx context.Context, c rpc.Caller, in *In) iter.Seq2[a2a.Event, error] {
			return func(yield func(a2a.Event, error) bool) {
				request, err := ask(in, req)
				if err != nil {
					yield(nil, fmt.Errorf("a request of %v: %w", m, err))
					return
				}
				replies, err := rpc.CallServerStream[Req, Res](clientContext(ctx, m), c, m, request)
				if err != nil {
					yield(nil, fromCall(err))
					return
				}
				defer replies.Close()
				for reply, err := range replies.All() {
					if err != nil {
						yield(nil, fromCall(err))
						return
					}
					event, err := res.from(reply)
					if err != nil {
						yield(nil, fmt.Errorf("a reply to %v: %w: %w", m, a2a.ErrInvalidAgentResponse, err))
						return
					}
					if !yield(event, nil) {
						return
					}
				}
			}
		},
	}
}

// ask makes a request.
func ask[In, Req any](in *In, c codec[*In, Req]) (*Req, error) {
	if in == nil {
		return nil, fmt.Errorf("%w: there are none", a2a.ErrInvalidParams)
	}
	request, err := c.to(in)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", a2a.ErrInvalidParams, err)
	}
	return request, nil
}

// read returns what a request says.
func read[In, Req any](request *Req, c codec[*In, Req]) (*In, error) {
	in, err := c.from(request)
	if err != nil {
		return nil, toCall(fmt.Errorf("%w: %w", a2a.ErrInvalidParams, err))
	}
	return in, nil
}

// write makes a reply of what a handler has said.
func write[Out, Res any](out Out, c codec[Out, Res]) (*Res, error) {
	reply, err := c.to(out)
	if err == nil && reply == nil {
		err = fmt.Errorf("the handler has returned neither a %T nor an error", out)
	}
	if err != nil {
		return nil, toCall(fmt.Errorf("%w: %w", a2a.ErrInvalidAgentResponse, err))
	}
	return reply, nil
}

package a2aslim

import (
	"context"
	"errors"
	"strings"

	"github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/a2asrv/push"

	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// meaning is an error of A2A as it goes over the wire: the code of a call, and a text that begins with the error's name, by which those are
// told apart that share a code.
type meaning struct {
	err  error
	name string
	code rpc.Code
}

// The codes are those of A2A's text for SLIMRPC, the names those that slima2a writes. Of a code without a name its first row is taken.
var meanings = []meaning{
	{a2a.ErrTaskNotFound, "TaskNotFoundError", rpc.NotFound},
	{a2a.ErrTaskNotCancelable, "TaskNotCancelableError", rpc.FailedPrecondition},
	{a2a.ErrInvalidParams, "InvalidParamsError", rpc.InvalidArgument},
	{a2a.ErrInvalidRequest, "InvalidRequestError", rpc.InvalidArgument},
	{a2a.ErrUnsupportedOperation, "UnsupportedOperationError", rpc.Unimplemented},
	{a2a.ErrPushNotificationNotSupported, "PushNotificationNotSupportedError", rpc.Unimplemented},
	{a2a.ErrUnsupportedContentType, "ContentTypeNotSupportedError", rpc.Unimplemented},
	{a2a.ErrMethodNotFound, "MethodNotFoundError", rpc.Unimplemented},
	{a2a.ErrInternalError, "InternalError", rpc.Internal},
	{a2a.ErrInvalidAgentResponse, "InvalidAgentResponseError", rpc.Internal},
	{a2a.ErrParseError, "JSONParseError", rpc.Internal},
	{a2a.ErrAuthenticatedExtendedCardNotConfigured, "ExtendedAgentCardNotConfiguredError", rpc.FailedPrecondition},
	{push.ErrPushConfigNotFound, "TaskNotFoundError", rpc.NotFound}, // there is no name for it
}

// noSuchMethod begins what servers say of a method that nobody has registered.
const noSuchMethod = "Method not found:"

// toCall is an error of a request handler as its caller gets it. One that has no meaning in A2A is Unknown, unless it says another code by
// itself.
func toCall(err error) error {
	var e *rpc.Error
	if err == nil || errors.As(err, &e) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	for _, m := range meanings {
		if errors.Is(err, m.err) {
			return rpc.NewError(m.code, m.name+": "+err.Error())
		}
	}
	return err
}

// fromCall is an error of a call as callers of a2a-go know it.
func fromCall(err error) error {
	var e *rpc.Error
	if !errors.As(err, &e) || !e.Remote {
		return err
	}
	switch {
	case e.Code == rpc.Unimplemented && strings.HasPrefix(e.Message, noSuchMethod):
		return &agentError{e, a2a.ErrMethodNotFound}
	case e.Code == rpc.DeadlineExceeded: // it may be the first to see that the caller's is over
		return &agentError{e, context.DeadlineExceeded}
	}
	name, _, _ := strings.Cut(e.Message, ":")
	for _, m := range meanings {
		if m.name == name {
			return &agentError{e, m.err}
		}
	}
	for _, m := range meanings {
		if m.code == e.Code {
			return &agentError{e, m.err}
		}
	}
	return err
}

// agentError is an error that the agent has answered with: for errors.Is it is its kind, and for errors.As an *rpc.Error.
type agentError struct {
	call *rpc.Error
	kind error
}

func (e *agentError) Error() string   { return e.call.Error() }
func (e *agentError) Unwrap() []error { return []error{e.kind, e.call} }

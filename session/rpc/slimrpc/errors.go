package slimrpc

import (
	"errors"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// RpcCode says how a call has ended.
type RpcCode uint16

// The codes, by the numbers of gRPC.
const (
	RpcCodeOk RpcCode = iota
	RpcCodeCancelled
	RpcCodeUnknown
	RpcCodeInvalidArgument
	RpcCodeDeadlineExceeded
	RpcCodeNotFound
	RpcCodeAlreadyExists
	RpcCodePermissionDenied
	RpcCodeResourceExhausted
	RpcCodeFailedPrecondition
	RpcCodeAborted
	RpcCodeOutOfRange
	RpcCodeUnimplemented
	RpcCodeInternal
	RpcCodeUnavailable
	RpcCodeDataLoss
	RpcCodeUnauthenticated
)

// What errors.Is tells kinds of an RpcError apart by.
var (
	ErrRpcErrorRpc          = errors.New("RpcErrorRpc")
	ErrRpcErrorMulticastRpc = errors.New("RpcErrorMulticastRpc")
)

// RpcError is how a call has failed. errors.As finds an *RpcErrorRpc or an *RpcErrorMulticastRpc in it, and errors.Is the codes of
// package rpc.
type RpcError struct {
	err   error // one of those
	cause error // of package rpc; nil: made here
}

// AsError returns it, or nil if it is nil.
func (e *RpcError) AsError() error {
	if e == nil {
		return nil
	}
	return e
}

// Error is the text of what is in it.
func (e *RpcError) Error() string { return "RpcError: " + e.err.Error() }

// Unwrap returns what is in it.
func (e *RpcError) Unwrap() []error {
	if e.cause == nil {
		return []error{e.err}
	}
	return []error{e.err, e.cause}
}

// RpcErrorRpc is the failure of a call.
type RpcErrorRpc struct {
	Code    RpcCode
	Message string
	Details *[]byte // which are not sent
}

// Is makes it ErrRpcErrorRpc.
func (e *RpcErrorRpc) Is(target error) bool { return target == ErrRpcErrorRpc }

// Error says the code and the message.
func (e *RpcErrorRpc) Error() string {
	return fmt.Sprintf("Rpc: Code=%d, Message=%s", e.Code, e.Message)
}

// NewRpcErrorRpc makes an error for a handler to return.
func NewRpcErrorRpc(code RpcCode, message string, details *[]byte) *RpcError {
	return &RpcError{err: &RpcErrorRpc{code, message, details}}
}

// RpcErrorMulticastRpc is the failure of a member of a group. Origin is its name, without an id.
type RpcErrorMulticastRpc struct {
	Origin  string
	Code    RpcCode
	Message string
	Details *[]byte // which are not sent
}

// Is makes it ErrRpcErrorMulticastRpc.
func (e *RpcErrorMulticastRpc) Is(target error) bool { return target == ErrRpcErrorMulticastRpc }

// Error says who, the code and the message.
func (e *RpcErrorMulticastRpc) Error() string {
	return fmt.Sprintf("MulticastRpc: Origin=%s, Code=%d, Message=%s", e.Origin, e.Code, e.Message)
}

// fromCall is an error of package rpc as upstream's users know it.
func fromCall(err error) error {
	var e *rpc.Error
	if !errors.As(err, &e) {
		return err
	}
	return &RpcError{&RpcErrorRpc{RpcCode(e.Code), e.Message, nil}, err}
}

// fromMember is fromCall of a call of a group.
func fromMember(err error) error {
	var e *rpc.Error
	if !errors.As(err, &e) || e.From.IsZero() {
		return fromCall(err)
	}
	return &RpcError{&RpcErrorMulticastRpc{e.From.Any().String(), RpcCode(e.Code), e.Message, nil}, err}
}

// toCall is an error of a handler for package rpc. One without a code is INTERNAL, as upstream's generated code has it.
func toCall(err error) error {
	var one *RpcErrorRpc
	var e *rpc.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.As(err, &one):
		return rpc.NewError(rpc.Code(min(one.Code, 0xff)), one.Message)
	case rpc.CodeOf(err) == rpc.Unknown:
		return rpc.NewError(rpc.Internal, err.Error())
	}
	return err
}

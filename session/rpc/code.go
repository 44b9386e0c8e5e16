package rpc

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/seed31b3bfd0/slimgo/session"
)

// Code says how a call has ended: the status codes of gRPC, by the same numbers. It is an error, too, to be tested for:
//
//	if errors.Is(err, rpc.NotFound) {
type Code uint8

// The codes, 0 to 16. There are no others (P-rpc-6).
const (
	OK Code = iota
	Canceled
	Unknown
	InvalidArgument
	DeadlineExceeded
	NotFound
	AlreadyExists
	PermissionDenied
	ResourceExhausted
	FailedPrecondition
	Aborted
	OutOfRange
	Unimplemented
	Internal
	Unavailable
	DataLoss
	Unauthenticated

	codes // how many there are
)

var codeNames = [codes]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
	"UNAUTHENTICATED",
}

// codeTexts are the codes as frames have them.
var codeTexts = func() (texts [codes]string) {
	for c := range texts {
		texts[c] = strconv.Itoa(c)
	}
	return texts
}()

// String names the code as gRPC's documents do, such as NOT_FOUND.
func (c Code) String() string {
	if c < codes {
		return codeNames[c]
	}
	return fmt.Sprintf("CODE_%d", uint8(c))
}

// Error is String.
func (c Code) Error() string { return c.String() }

// Error is how a call has failed. All errors of calls are an *Error, but io.EOF at the end of a stream.
type Error struct {
	// Code is never OK.
	Code Code
	// Message is for people.
	Message string
	// From is who has sent the error; of a group, also the member of which this end says that it will not answer. Zero: this end.
	From session.Name
	// Remote says that the other end has sent it, and nothing but Code and Message can be known of its cause.
	Remote bool

	cause error // of what this end has found; nil: nothing else
}

// NewError makes an error for a handler to return. A Code that is none is Unknown.
func NewError(code Code, message string) *Error {
	if code == OK || code >= codes {
		code = Unknown
	}
	return &Error{Code: code, Message: message}
}

// Errorf is NewError of a text as fmt.Errorf makes it; what %w stands for is for this end alone.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	e := NewError(code, err.Error())
	e.cause = errors.Unwrap(err)
	return e
}

// Error says the code, the message, and who has sent it.
func (e *Error) Error() string {
	var b strings.Builder
	if !e.From.IsZero() {
		b.WriteString(e.From.String())
		b.WriteString(": ")
	}
	b.WriteString(e.Code.String())
	if e.Message != "" {
		b.WriteString(": ")
		b.WriteString(e.Message)
	}
	return b.String()
}

// Is makes it its Code.
func (e *Error) Is(target error) bool { return target == error(e.Code) }

// Unwrap returns what this end knows of the cause: an error of package session, say, or that of a context.
func (e *Error) Unwrap() error { return e.cause }

// CodeOf returns the code of an error: OK of nil, that of an *Error or a Code in its chain, or of a status of gRPC, Canceled and
// DeadlineExceeded of those of contexts, else Unknown.
func CodeOf(err error) Code {
	var e *Error
	var c Code
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Code
	case errors.As(err, &c) && c < codes:
		return c
	}
	if c, _, ok := statusOf(err); ok {
		return c
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded
	}
	return Unknown
}

// statusOf finds the status of gRPC in the chain of an error, without the packages of gRPC, which apps without it do not carry.
func statusOf(err error) (Code, string, bool) {
	for err != nil {
		if f := reflect.ValueOf(err).MethodByName("GRPCStatus"); f.IsValid() && f.Type().NumIn() == 0 && f.Type().NumOut() == 1 {
			s, ok := f.Call(nil)[0].Interface().(interface{ Message() string })
			if !ok {
				return 0, "", false
			}
			code := Unknown
			if f := reflect.ValueOf(s).MethodByName("Code"); f.IsValid() && f.Type().NumIn() == 0 && f.Type().NumOut() == 1 {
				if v := f.Call(nil)[0]; v.CanUint() && v.Uint() < uint64(codes) {
					code = Code(v.Uint())
				}
			}
			return code, s.Message(), true
		}
		switch x := err.(type) {
		case interface{ Unwrap() error }:
			err = x.Unwrap()
		case interface{ Unwrap() []error }:
			for _, err := range x.Unwrap() {
				if c, text, ok := statusOf(err); ok {
					return c, text, true
				}
			}
			return 0, "", false
		default:
			return 0, "", false
		}
	}
	return 0, "", false
}

// asError is the error as an *Error, with a text of this package before the cause; where it is one already, that.
func asError(err error, format string, args ...any) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: codeOfSession(err), Message: fmt.Sprintf(format, args...) + ": " + err.Error(), cause: err}
}

// codeOfSession is the code of what package session says.
func codeOfSession(err error) Code {
	switch {
	case errors.Is(err, session.ErrTooLarge):
		return ResourceExhausted
	case errors.Is(err, session.ErrConfig):
		return InvalidArgument
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return CodeOf(err)
	}
	return Unavailable
}

// errorOf is what becomes of a call whose context is over.
func errorOf(ctx context.Context, doing string) *Error {
	err := ctx.Err()
	if err == nil {
		err = context.Canceled
	}
	return &Error{Code: CodeOf(err), Message: doing + ": " + err.Error(), cause: err}
}

package rpc

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
)

// serverCall is a call that is served. It is said to be over once: when its handler returns, or at its deadline, whichever is first.
type serverCall struct {
	l      *serverLink
	key    callKey
	info   *Info
	size   int             // of its metadata, in bytes
	ctx    context.Context //nolint:containedctx // it is that of the call
	cancel context.CancelCauseFunc
	free   context.CancelFunc // of the deadline
	in     inbox
	reply  map[string]string // metadata of replies

	mu   sync.Mutex // held while a frame is sent, so that nothing is sent after the last word
	over bool       // guarded by mu: the last word was said

	last   atomic.Pointer[session.Delivery] // of the last word
	unsaid atomic.Bool                      // there was none: the caller had gone, and is to be told when it is back
}

var _ ServerStream = (*serverCall)(nil)

func newServerCall(l *serverLink, key callKey, method Method, m *session.Message, deadline time.Time) *serverCall {
	c := &serverCall{
		l: l, key: key, in: newInbox(bound{l.server.o.Buffer, "Buffer"}, &l.kept), reply: map[string]string{keyID: key.id},
		size: sizeOf(m.Metadata),
		info: &Info{Method: method, Caller: Peer{m.From, m.Subject}, Metadata: metadataOf(m), Session: l.s},
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(l.ctx, infoKey{}, c.info))
	c.cancel = cancel
	c.ctx, c.free = context.WithDeadline(ctx, deadline)
	return c
}

func (c *serverCall) Context() context.Context { return c.ctx }

// take is a further frame of the caller (P-rpc-7).
func (c *serverCall) take(m *session.Message, k kind, failed *Error) {
	switch k {
	case failure:
		if failed.Code == Canceled || failed.Code == DeadlineExceeded {
			c.cancel(failed)
		}
		c.in.drop(failed) // after the cause is known: a handler may return what it receives
	case end:
		c.in.end(io.EOF)
	default:
		if full := c.in.put(item{m: m}); full != nil {
			err := Errorf(ResourceExhausted, "more than %d bytes of requests wait for handlers: send less at a time, or raise ServerOptions.%s",
				full.most, full.option)
			c.in.drop(err)
			c.cancel(err)
		}
	}
}

func (c *serverCall) Receive(msg any) error {
	it, err := c.in.take(c.ctx)
	switch {
	case err != nil:
		return err
	case it.m == nil:
		return c.ended()
	case len(it.m.Data) > c.l.server.message:
		return Errorf(ResourceExhausted, "a request of %d bytes, and it may have %d", len(it.m.Data), c.l.server.message)
	}
	if err := c.l.server.o.Codec.Unmarshal(it.m.Data, msg); err != nil {
		return &Error{Code: InvalidArgument, Message: "decoding a request: " + err.Error(), cause: err}
	}
	return nil
}

func (c *serverCall) Send(msg any) error {
	b, err := c.l.server.o.Codec.Marshal(msg)
	switch {
	case err != nil:
		return &Error{Code: Internal, Message: "encoding a reply: " + err.Error(), cause: err}
	case len(b) > c.l.server.message:
		return Errorf(ResourceExhausted, "a reply of %d bytes, and it may have %d", len(b), c.l.server.message)
	case c.ctx.Err() != nil:
		return c.ended()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return c.ended()
	}
	if _, err := c.l.publish(c.ctx, session.Content{Data: b, Metadata: c.reply}); err != nil {
		if c.ctx.Err() != nil {
			return c.ended()
		}
		return asError(err, "sending a reply")
	}
	return nil
}

// ended is why the call's context is over.
func (c *serverCall) ended() *Error {
	var e *Error
	switch cause := context.Cause(c.ctx); {
	case errors.As(cause, &e):
		return &Error{Code: e.Code, Message: e.Message, cause: c.ctx.Err()}
	case errors.Is(cause, context.DeadlineExceeded):
		return &Error{Code: DeadlineExceeded, Message: "the deadline is over", cause: cause}
	}
	return &Error{Code: Canceled, Message: "the call is over", cause: context.Canceled}
}

// run serves the call. Whoever ends its context ends it for the caller at once, even if the handler does not look at it (P-rpc-3).
func (c *serverCall) run(h Handler) {
	defer c.l.running.Done()
	stop := context.AfterFunc(c.ctx, func() { c.finish(c.ended()) })
	err := error(Errorf(Internal, "the handler has ended its goroutine")) // unless it returns
	defer func() {
		stop()
		c.finish(err)
		c.cancel(errReturned) // before free, which knows no cause
		c.free()
		c.in.drop(errReturned)
		c.l.done(c)
	}()
	err = c.protect(h)
}

// protect turns a panic of the handler into its error, and its error into what the caller gets: methods of that are the handler's, too.
func (c *serverCall) protect(h Handler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.l.server.o.Logger.Error("a handler has panicked",
				"method", c.info.Method.String(), "caller", c.key.from.String(), "panic", p, "stack", string(debug.Stack()))
			err = Errorf(Internal, "the handler has panicked")
		}
	}()
	switch err = h(c.ctx, c); {
	case err == nil:
		return nil
	case c.ctx.Err() != nil && errors.Is(err, c.ctx.Err()): // the context's own words say less
		return c.ended()
	}
	return status(err)
}

// finish says the last word: an error, or the end of replies.
func (c *serverCall) finish(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.over = true
	switch cause := c.unheard(); {
	case cause == errGone:
		c.unsaid.Store(true)
		if c.l.here()[c.key.from] && c.unsaid.CompareAndSwap(true, false) { // it is back
			err = errUnheard
			break
		}
		return
	case cause != nil:
		return
	}
	frame := session.Content{Metadata: map[string]string{keyID: c.key.id, keyCode: codeTexts[OK]}}
	if err != nil {
		e := status(err)
		frame.Metadata[keyCode], frame.Data = codeTexts[e.Code], []byte(clip(e.Message, mostText))
	}
	// The session's end is the only one that it waits for: what waits for room before it is acknowledged in time, or its receiver is offline.
	if d, err := c.l.publish(context.Background(), frame); err == nil {
		c.last.Store(d)
	}
}

// unheard says why the caller does not listen: it has gone, or has given the call up. nil: it does.
func (c *serverCall) unheard() *Error {
	var e *Error
	if errors.As(context.Cause(c.ctx), &e) && (e == errGone || e.Remote) {
		return e
	}
	return nil
}

// status is what the caller gets to know of an error.
func status(err error) *Error {
	code, text := CodeOf(err), err.Error()
	var e *Error
	if errors.As(err, &e) {
		text = e.Message
	} else if _, message, ok := statusOf(err); ok {
		text = message
	}
	if code == OK || code >= codes {
		return &Error{Code: Internal, Message: "the handler returned an error with code OK: " + text}
	}
	return &Error{Code: code, Message: text}
}

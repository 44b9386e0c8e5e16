package rpc

import (
	"context"
	"errors"
	"io"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
)

// ClientStream is a call as its caller has it. One goroutine may send while another one receives.
//
// A call holds memory at both ends until Receive has returned an error, Close was called, or its context is over. In a group an
// error with From set, of a member, is not the end.
type ClientStream interface {
	// Context is that of the call, with its deadline.
	Context() context.Context
	// Send sends a request. It waits while much of the session is under way. io.EOF: the call is over, and Receive says why.
	Send(msg any) error
	// CloseSend says that there are no more requests. Every call needs that, those with one request, too.
	CloseSend() error
	// Receive reads the next reply into msg. io.EOF: there are no more. Else errors are an *Error.
	Receive(msg any) error
	// Peer is who has sent what Receive has read last.
	Peer() Peer
	// Close gives the call up, if it is not over: whoever serves it is told so where it can be.
	Close()
}

// Starter begins a call. The shape of the method is known, and that ctx bounds the call.
type Starter func(ctx context.Context, m Method) (ClientStream, error)

// ClientInterceptor comes between stubs and calls, of all shapes, of a Client or a Group: it may look at a call, change its context, return a
// stream of its own around the one that next makes, or make several calls out of one.
type ClientInterceptor func(next Starter) Starter

// Caller begins calls: a *Client, or a *Group. Stubs take one.
type Caller interface {
	NewStream(ctx context.Context, m Method) (ClientStream, error)
}

// call is a ClientStream, of a session of two or of a group.
type call struct {
	o      *callOptions
	link   atomic.Pointer[link] // stored with sending held, until the first frame was sent
	get    func(ctx context.Context) (*link, error)
	begun  bool // guarded by the link's mu: the first frame was sent
	id     string
	method Method
	ctx    context.Context //nolint:containedctx // it is that of the call
	cancel context.CancelFunc
	stop   atomic.Pointer[func() bool] // keeps the end of ctx from giving the call up
	in     inbox
	last   Peer

	sending sync.Mutex
	opened  bool              // guarded by sending: the first frame was sent
	closed  bool              // guarded by sending: so was the end of the requests
	more    map[string]string // guarded by sending: metadata of further requests

	gave atomic.Uint32 // the code by which this end gives the call up, stored before anybody can see its last word; 0: it does not

	answered atomic.Bool // there was a reply
	parting  atomic.Bool // what ends the call at the server is being sent, or was

	members *members // of a group; else nil
}

// callOptions are those of a Client or a Group.
type callOptions struct {
	codec   Codec
	timeout time.Duration // of a call whose context has no deadline; 0: none
	message int           // bytes
	buffer  int           // bytes
	kept    *purse        // by all calls
}

var _ ClientStream = (*call)(nil)

func (c *call) Context() context.Context { return c.ctx }
func (c *call) Peer() Peer               { return c.last }

func (c *call) Send(msg any) error {
	b, err := c.o.codec.Marshal(msg)
	if err != nil {
		c.giveUpFor(Internal)
		return &Error{Code: Internal, Message: "encoding a request: " + err.Error(), cause: err}
	}
	if len(b) > c.o.message {
		c.giveUpFor(ResourceExhausted)
		return Errorf(ResourceExhausted, "a request of %d bytes, and it may have %d", len(b), c.o.message)
	}
	return c.publish(b, false)
}

func (c *call) CloseSend() error {
	err := c.publish(nil, true)
	if err == io.EOF { // nobody asks any more
		return nil
	}
	return err
}

// publish sends a frame of the call, the first of which names what is called (P-rpc-1).
func (c *call) publish(b []byte, last bool) error {
	if c.in.ended() != nil { // what ends the call at the server may be waiting for room, with sending held
		return io.EOF
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.closed {
		if last {
			return nil
		}
		return Errorf(Internal, "a request after CloseSend")
	}
	if c.in.ended() != nil {
		return io.EOF
	}
	md := c.more
	if md == nil || last {
		md = c.metadata(!c.opened)
		if last {
			md[keyCode] = "0"
		}
	}
	if err := c.put(session.Content{Data: b, Metadata: md}); err == io.EOF {
		return err
	} else if err != nil {
		failed := asError(err, "sending a request of %v", c.method)
		if c.ctx.Err() != nil {
			failed = errorOf(c.ctx, "sending a request of "+c.method.String())
		}
		c.link.Load().remove(c)
		c.giveUp(failed.Code)
		if !c.in.end(failed) {
			return io.EOF
		}
		c.part()
		return failed
	}
	c.opened, c.closed = true, last
	return nil
}

// attempts is how many links are tried for the first frame of a call.
const attempts = 3

// put sends a frame. A session that is over before it has taken the first one is replaced: the call has not begun. io.EOF: the call is over,
// as no member of the group is there.
func (c *call) put(frame session.Content) error {
	l := c.link.Load()
	if c.opened {
		_, err := l.s.Publish(c.ctx, frame)
		return err
	}
	for n := 1; ; n++ {
		err := session.ErrClosed
		if l.add(c) {
			if c.members != nil && !c.members.begin(c, l) {
				return io.EOF
			}
			_, err = l.s.Publish(c.ctx, frame)
		}
		switch {
		case err == nil:
			l.begun(c)
			return nil
		case !errors.Is(err, session.ErrClosed) || n == attempts:
			return err
		}
		l.fail(&Error{Code: Unavailable, Message: "the session of the call is over", cause: err})
		if l, err = c.get(c.ctx); err != nil {
			return err
		}
		c.link.Store(l)
	}
}

// metadata is that of a frame; the first of the call has all of it, also if it is the end of no requests.
func (c *call) metadata(first bool) map[string]string {
	if !first {
		return map[string]string{keyID: c.id, keyDir: dirRequest}
	}
	user := outgoing(c.ctx)
	md := make(map[string]string, len(user)+6)
	maps.Copy(md, user)
	if t, ok := c.ctx.Deadline(); ok {
		md[keyDeadline] = formatDeadline(byClock(t, time.Now()))
	}
	md[keyService], md[keyMethod], md[keyID], md[keyDir] = c.method.Service, c.method.Name, c.id, dirRequest
	if c.method.ClientStreams {
		c.more = map[string]string{keyID: c.id, keyDir: dirRequest}
	}
	return md
}

func (c *call) Receive(msg any) error {
	it, err := c.in.take(c.ctx)
	switch {
	case err != nil:
		c.settle()
		return err
	case it.err != nil: // of a member
		c.last = Peer{Name: it.err.From}
		return it.err
	case it.m == nil:
		c.expire()
		return c.Receive(msg)
	}
	c.last = Peer{it.m.From, it.m.Subject}
	c.answered.Store(true)
	if len(it.m.Data) > c.o.message {
		return c.refuse(Errorf(ResourceExhausted, "a reply of %d bytes, and it may have %d", len(it.m.Data), c.o.message))
	}
	if err := c.o.codec.Unmarshal(it.m.Data, msg); err != nil {
		return c.refuse(&Error{Code: Internal, Message: "decoding a reply: " + err.Error(), cause: err})
	}
	return nil
}

// refuse is what becomes of a reply that is of no use: of a group's member it is the end, of another server that of the call.
func (c *call) refuse(err *Error) error {
	if c.members == nil {
		c.abandon(err)
		return err
	}
	err.From = c.last.Name
	c.giveUp(err.Code) // so that it is told when the call is over
	c.finish(c.last.Name, nil)
	return err
}

var errClosed = &Error{Code: Canceled, Message: "the call was closed"}

// Close of a call with one reply that was received gives nothing up.
func (c *call) Close() {
	if c.answered.Load() && !c.method.ServerStreams && c.members == nil {
		c.link.Load().remove(c)
		c.in.drop(io.EOF)
	}
	c.abandon(errClosed)
}

// expire is the end of the call's context. What has come before can still be received.
func (c *call) expire() {
	defer c.in.release()
	if c.in.ended() != nil {
		return
	}
	err := errorOf(c.ctx, "waiting for a reply of "+c.method.String())
	c.giveUp(err.Code)
	if c.members == nil || !c.gone(func(session.Name) bool { return true }, err) {
		c.abandon(err)
		return
	}
	c.settleTimers() // each member has an error of its own
	c.part()
}

// giveUp notes why, for the farewell, which whoever receives the last word may send first.
func (c *call) giveUp(code Code) {
	if c.in.ended() == nil {
		c.gave.CompareAndSwap(0, uint32(code))
	}
}

// abandon gives the call up, unless it is over, and lets the server know (P-rpc-7).
func (c *call) abandon(err *Error) {
	c.settleTimers()
	c.giveUp(err.Code)
	if !c.in.drop(err) {
		c.settle()
		return
	}
	c.link.Load().remove(c)
	c.part()
}

// giveUpFor is abandon for what has happened in Send.
func (c *call) giveUpFor(code Code) { c.abandon(Errorf(code, "the call was given up")) }

// keep has a reply wait for Receive; false: there is no room, and the call is over.
func (c *call) keep(m *session.Message) bool {
	full := c.in.put(item{m: m})
	if full != nil {
		c.overflow(full)
	}
	return full == nil
}

// overflow ends a call whose replies nobody receives.
func (c *call) overflow(full *bound) {
	c.link.Load().remove(c)
	c.giveUp(ResourceExhausted)
	if c.in.end(Errorf(ResourceExhausted, "more than %d bytes of replies wait for Receive: take them sooner, or raise CallOptions.%s", full.most, full.option)) {
		c.part()
	}
}

// settle is called when the last word was received. A server of upstream's remembers the call until its requests end, and a member of a group
// whose reply was of no use has more of them. It does not wait for what is being sent, which may take longer than the call.
func (c *call) settle() {
	c.settleTimers()
	open := true // also if something is being sent
	if c.sending.TryLock() {
		open = c.opened && (!c.closed || c.gave.Load() != 0)
		c.sending.Unlock()
	}
	if open {
		c.part()
	}
}

// part has farewell sent, once.
func (c *call) part() {
	if c.parting.CompareAndSwap(false, true) {
		c.link.Load().later(c.farewell)
	}
}

func (c *call) settleTimers() {
	if stop := c.stop.Load(); stop != nil {
		(*stop)()
	}
	c.cancel()
}

// farewell sends what ends a call at the server: a failure, if this end gives it up, and then the end of requests that has not been sent. In
// the other order a server would take requests that are cut off for all there are (P-rpc-7).
func (c *call) farewell(ctx context.Context) {
	c.sending.Lock()
	defer c.sending.Unlock()
	if !c.opened {
		return
	}
	if code := Code(c.gave.Load()); code != OK {
		md := c.metadata(false)
		if code != DeadlineExceeded {
			code = Canceled // whatever this end has found: it is what ends the handler's context
		}
		md[keyCode] = codeTexts[code]
		if _, err := c.link.Load().s.Publish(ctx, session.Content{Data: []byte("the caller has given the call up"), Metadata: md}); err != nil {
			return
		}
	}
	if c.closed {
		return
	}
	c.closed = true
	md := c.metadata(false)
	md[keyCode] = codeTexts[OK]
	_, _ = c.link.Load().s.Publish(ctx, session.Content{Metadata: md})
}

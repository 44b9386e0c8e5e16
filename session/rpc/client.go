package rpc

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
)

// DefaultTimeout is how long a call takes at most whose context has no deadline.
const DefaultTimeout = time.Minute

// DefaultBuffer is how many bytes of a call may wait to be received.
const DefaultBuffer = 16 << 20

// DefaultTotalBuffer is how many bytes of all calls of a Client or a Group may wait to be received, and of all sessions of a Server.
const DefaultTotalBuffer = 256 << 20

// spare is how many bytes a call of a client may keep beyond that, or a session of a server.
const spare = 64 << 10

func newTotal(most int) *purse {
	return &purse{bound: bound{cmp.Or(most, DefaultTotalBuffer), "TotalBuffer"}, spare: spare}
}

// CallOptions are what a Client and a Group have in common. The zero value is what upstream's have, but for the time of a call.
type CallOptions struct {
	// Timeout is how long a call takes at most whose context has no deadline; 0: DefaultTimeout. Negative: there is no bound, and servers
	// of upstream's set one of ten hours.
	Timeout time.Duration
	// Interceptors come between stubs and calls, the first outermost.
	Interceptors []ClientInterceptor
	// Codec; nil: Proto.
	Codec Codec
	// Session is how the session of the calls is opened: encrypted, and repeated ten times in ten seconds, if nothing else is said. It is to be
	// reliable.
	Session session.SessionOptions
	// MaxMessage is how long a request or a reply may be, in bytes; 0: as long as a session lets it (session.MaxContent).
	MaxMessage int
	// Buffer is how many bytes of replies of a call, with what each costs beside its own, 1 KiB and more, may wait for Receive, and TotalBuffer
	// how many of all calls of the Client or Group, each of which may have 64 KiB beyond that; 0: DefaultBuffer and DefaultTotalBuffer. A call for
	// which more comes fails, with ResourceExhausted: nothing tells a server to wait.
	Buffer, TotalBuffer int
}

func (o *CallOptions) check() error {
	if o.Session.Unreliable {
		return Errorf(InvalidArgument, "calls by an unreliable session: SessionOptions.Unreliable is for messages that may be lost")
	}
	return nil
}

// own returns what calls need of it.
func (o *CallOptions) own() callOptions {
	own := callOptions{
		codec: o.Codec, message: cmp.Or(o.MaxMessage, session.MaxContent), buffer: cmp.Or(o.Buffer, DefaultBuffer), kept: newTotal(o.TotalBuffer),
	}
	if own.codec == nil {
		own.codec = Proto{}
	}
	switch {
	case o.Timeout == 0:
		own.timeout = DefaultTimeout
	case o.Timeout > 0:
		own.timeout = o.Timeout
	}
	return own
}

// intercept puts the interceptors around start.
func (o *CallOptions) intercept(start Starter) Starter {
	for _, i := range slices.Backward(o.Interceptors) {
		start = i(start)
	}
	return start
}

// Client calls one app, by one session for any number of calls at a time. That is made by the first call, and made anew by the next one
// after the other app was closed, killed or offline: its calls have failed then, with Unavailable. All methods are safe for all.
type Client struct {
	o     callOptions
	ch    channel
	start Starter
	err   error
}

// NewClient returns a client of an app: of any instance of that name, unless the name has an id. It is to be closed. Options that cannot be
// are an error of each call.
func NewClient(app *session.App, server session.Name, o CallOptions) *Client {
	c := &Client{o: o.own(), err: o.check()}
	c.ch.open = func(ctx context.Context) (*session.Session, error) {
		s, err := app.Open(ctx, server, o.Session)
		if err != nil {
			return nil, asError(err, "no session with %v", server)
		}
		return s, nil
	}
	c.start = o.intercept(c.begin)
	return c
}

// NewStream begins a call; generated stubs, CallUnary and the like do. It waits until there is a session. ctx bounds the whole call. Errors
// are an *Error.
func (c *Client) NewStream(ctx context.Context, m Method) (ClientStream, error) {
	if c.err != nil {
		return nil, c.err
	}
	return c.start(ctx, m)
}

func (c *Client) begin(ctx context.Context, m Method) (ClientStream, error) {
	return begin(ctx, &c.o, m, c.ch.get, nil)
}

// begin makes a call by a link that get returns. members is who has to answer; nil: it is a session of two.
func begin(ctx context.Context, o *callOptions, m Method, get func(context.Context) (*link, error), members *members) (ClientStream, error) {
	if err := cmp.Or(m.check(), checkMetadata(outgoing(ctx))); err != nil {
		return nil, err
	}
	var cancel context.CancelFunc
	if _, ok := ctx.Deadline(); ok || o.timeout == 0 {
		ctx, cancel = context.WithCancel(ctx)
	} else {
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
	}
	if ctx.Err() != nil {
		cancel()
		return nil, errorOf(ctx, "calling "+m.String())
	}
	l, err := get(ctx)
	if err != nil {
		cancel()
		return nil, asError(err, "calling %v", m)
	}
	c := &call{o: o, get: get, id: newID(), method: m, ctx: ctx, cancel: cancel, in: newInbox(bound{o.buffer, "Buffer"}, o.kept), members: members}
	c.link.Store(l)
	stop := context.AfterFunc(ctx, c.expire)
	c.stop.Store(&stop)
	return c, nil
}

// Close ends the session: calls that go on fail, with Canceled. It returns when nothing of the client is left, or ctx is over. A call that
// comes later makes another session.
func (c *Client) Close(ctx context.Context) error { return c.ch.close(ctx) }

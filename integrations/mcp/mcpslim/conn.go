package mcpslim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/seed31b3bfd0/slimgo/session"
)

// Errors of connections that callers may test for.
var (
	// ErrPeerOffline: the other end of the session was silent for too long. It may be there again: connect anew.
	ErrPeerOffline = errors.New("the other end is offline")
	// ErrMessagesLost: messages of the other end will not come, so that calls could wait for ever.
	ErrMessagesLost = errors.New("messages of the other end were lost")
	// ErrNotDelivered: messages did not reach the other end, as this one was cut off for too long: what it has been asked may have been done.
	ErrNotDelivered = errors.New("messages to the other end were not delivered")
	// ErrMalformed: the other end has sent too much that is no message of MCP.
	ErrMalformed = errors.New("the other end does not speak MCP")
)

// DefaultCalls is how many calls of the other end a session serves at a time.
const DefaultCalls = 1000

const (
	// mostMalformed is how many messages of a session may be none of MCP.
	mostMalformed = 100
	// closeTime is how long the other end may take to acknowledge what was sent, and the end.
	closeTime = 5 * time.Second
)

// counters are those of all connections of a Server.
type counters struct{ malformed, busy, panics atomic.Uint64 }

// conn is a session as a connection of the SDK: a message of JSON-RPC is one of the session.
//
//	Read ◀── decode, or refuse ◀── Session.Receive
//	watcher: Session.NextEvent ──▶ why no further message will come
type conn struct {
	s     *session.Session
	calls int // at a time, of the other end
	log   *slog.Logger
	n     *counters

	life context.Context //nolint:containedctx // ends with the connection; its cause is what Read returns
	end  context.CancelCauseFunc
	once sync.Once
	over chan struct{} // closed when the session is closed, after Close

	last      uint32            // the reader's: id of the message before
	malformed int               // the reader's
	extra     *mcp.RequestExtra // the reader's: of the sender of the message before; nil: it is not verified
	subject   string            // the reader's: of extra
	sender    session.Name      // the reader's: of extra

	mu     sync.Mutex
	served map[jsonrpc.ID]struct{} // guarded by mu: calls of the other end that have no answer yet
}

var _ mcp.Connection = (*conn)(nil)

// newConn takes over a session, whose messages and events nobody else may take.
func newConn(s *session.Session, calls int, log *slog.Logger, n *counters) *conn {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if n == nil {
		n = new(counters)
	}
	c := &conn{s: s, calls: cmp.Or(calls, DefaultCalls), log: log, n: n, over: make(chan struct{}), served: map[jsonrpc.ID]struct{}{}}
	c.life, c.end = context.WithCancelCause(context.Background())
	go c.watch()
	return c
}

// SessionID implements mcp.Connection: the name of who has opened the session, with its id, and that of the session.
func (c *conn) SessionID() string {
	text, _ := c.s.Moderator().MarshalText()
	return fmt.Sprintf("%s/%d", text, c.s.ID())
}

// Read implements mcp.Connection. It returns io.EOF when the session was closed, by either end.
func (c *conn) Read(ctx context.Context) (jsonrpc.Message, error) {
	ctx, stop := c.within(ctx)
	defer stop()
	for {
		m, err := c.s.Receive(ctx)
		if err != nil {
			return nil, c.ended(ctx, err)
		}
		m.Handled()
		if c.gap(m) {
			c.end(ErrMessagesLost)
			return nil, ErrMessagesLost
		}
		msg, refused := decode(m.Data)
		if refused == nil {
			refused = c.admit(msg)
		}
		if refused == nil {
			if r, ok := msg.(*jsonrpc.Request); ok {
				r.Extra = c.from(m)
			}
			return msg, nil
		}
		if err := c.refuse(ctx, refused); err != nil {
			return nil, err
		}
	}
}

// ended is why nothing can be received any more.
func (c *conn) ended(ctx context.Context, err error) error {
	switch cause := context.Cause(c.life); {
	case cause != nil:
		return cause
	case ctx.Err() != nil:
		return err
	case err == session.ErrClosed: // in an orderly way: others are of this error, too, and say more
		return io.EOF
	}
	return err
}

// gap reports whether messages are missing before m: the event that says so may be seen later.
func (c *conn) gap(m *session.Message) bool {
	if m.Direct {
		return false
	}
	missing := c.last > 0 && m.ID > c.last+1
	c.last = m.ID
	return missing && c.s.Reliable()
}

// from is what tools get to know of the sender.
func (c *conn) from(m *session.Message) *mcp.RequestExtra {
	if m.Subject == "" {
		return nil
	}
	if c.extra == nil || c.subject != m.Subject || c.sender != m.From { // apps may share a subject, each with a name of its own
		c.subject, c.sender = m.Subject, m.From
		c.extra = &mcp.RequestExtra{TokenInfo: &auth.TokenInfo{UserID: m.Subject, Extra: map[string]any{callerKey: m.From}}}
	}
	return c.extra
}

// admit counts a call of the other end in; a refusal: there are as many as may be, or there is one of the same id.
func (c *conn) admit(msg jsonrpc.Message) *refusal {
	r, ok := msg.(*jsonrpc.Request)
	if !ok || !r.IsCall() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.served[r.ID]; ok {
		return &refusal{code: jsonrpc.CodeInvalidRequest, text: "a call of this id is being served", malformed: true} // without the id: it is the other one's
	}
	if len(c.served) >= c.calls {
		return &refusal{id: r.ID, code: CodeBusy, text: fmt.Sprintf("%d calls of this session are served, and no more at a time", c.calls)}
	}
	c.served[r.ID] = struct{}{}
	return nil
}

// refuse answers a message that the SDK does not get; an error ends the connection.
func (c *conn) refuse(ctx context.Context, r *refusal) error {
	if r.malformed {
		c.n.malformed.Add(1)
		if c.malformed++; c.malformed == 1 {
			c.log.Warn("a message of a session is none of MCP", "session", c.s.ID(), "from", c.s.Dest(), "error", r.text)
		}
		if c.malformed >= mostMalformed {
			c.end(ErrMalformed)
			return ErrMalformed
		}
	} else {
		c.n.busy.Add(1)
	}
	if r.silent {
		return nil
	}
	if _, err := c.s.Publish(ctx, session.Content{Data: r.answer()}); err != nil {
		return c.ended(ctx, err)
	}
	return nil
}

// Write implements mcp.Connection. It returns when the session has taken the message, and waits for no acknowledgement: messages of
// one goroutine go out in order. What is too large for a session is an error of that call, not of the connection.
func (c *conn) Write(ctx context.Context, msg jsonrpc.Message) error {
	ctx, stop := c.within(ctx)
	defer stop()
	answer, _ := msg.(*jsonrpc.Response)
	if answer != nil {
		c.mu.Lock()
		delete(c.served, answer.ID)
		c.mu.Unlock()
	}
	data, err := jsonrpc.EncodeMessage(msg)
	if err == nil {
		_, err = c.s.Publish(ctx, session.Content{Data: data})
	} else {
		err = errors.Join(errEncoding, err)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, session.ErrTooLarge) || errors.Is(err, errEncoding):
		if answer == nil {
			return &jsonrpc.Error{Code: CodeTooLarge, Message: err.Error()} // by this code the SDK knows that the connection is all right
		}
		r := refusal{id: answer.ID, code: jsonrpc.CodeInternalError, text: "the result cannot be sent: " + err.Error()}
		if _, err = c.s.Publish(ctx, session.Content{Data: r.answer()}); err == nil {
			return nil
		}
	}
	if cause := context.Cause(c.life); cause != nil {
		err = cause
	}
	return fmt.Errorf("%w: %w", mcp.ErrConnectionClosed, err)
}

var errEncoding = errors.New("it is no JSON")

// Close implements mcp.Connection: it ends the session, for which the other end has a few seconds to acknowledge what was sent before. It
// does not wait for that, as the SDK calls it with a lock held that its readers need; App.Close waits.
func (c *conn) Close() error {
	c.once.Do(func() {
		gone := errors.Is(context.Cause(c.life), ErrPeerOffline)
		c.end(io.EOF)
		go c.leave(gone)
	})
	return nil
}

// leave ends the session, at once where nobody is there to acknowledge anything.
func (c *conn) leave(gone bool) {
	defer close(c.over)
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if gone {
		cancel()
	}
	if err := c.s.Close(ctx); err != nil && !errors.Is(err, context.Canceled) {
		c.log.Debug("a session of MCP was not closed in an orderly way", "session", c.s.ID(), "error", err)
	}
}

// within is ctx that ends with the connection, too.
func (c *conn) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Done() == nil {
		return c.life, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// watch finds out that the other end has gone.
func (c *conn) watch() {
	for {
		for _, p := range c.s.Participants() {
			if !p.Self && !p.Online {
				c.end(ErrPeerOffline)
			}
		}
		e, err := c.s.NextEvent(c.life)
		if err != nil {
			return // Read knows
		}
		switch e := e.(type) {
		case session.Lost:
			c.end(fmt.Errorf("%w: %s", ErrMessagesLost, e.Reason))
		case session.Undelivered:
			c.end(fmt.Errorf("%w: %w", ErrNotDelivered, e.Err))
		case session.Outdated:
			c.end(fmt.Errorf("%w: the keys of the session are out of date", ErrMessagesLost))
		}
	}
}

package mcpslim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/seed31b3bfd0/slimgo/session"
)

// DefaultSessions is how many clients a Server has at a time.
const DefaultSessions = 1000

// ServerOptions of a Server. The zero value is fit for use.
type ServerOptions struct {
	// Accept says who may call at all, by the session that it wants to open; an error declines it. nil: everybody may. It must not wait.
	Accept func(i *session.Invitation) error
	// Sessions is how many there may be at a time; 0: DefaultSessions. Others are declined, or closed at once if they come together.
	Sessions int
	// Calls is how many calls of a session are served at a time; 0: DefaultCalls. Others are answered with CodeBusy.
	Calls int
	// Logger is told of tools that panic, and of clients that do not speak MCP; nil: nobody is.
	Logger *slog.Logger
}

// Server serves an mcp.Server to all who open sessions to an app. All methods are safe for all.
type Server struct {
	app *session.App
	mcp *mcp.Server
	o   ServerOptions
	n   counters

	mu       sync.Mutex
	sessions int // guarded by mu
}

// NewServer returns a server of the app's name, and of those that App.Subscribe adds. It adds a middleware to tools, by which a handler that
// panics fails its request, with an internal error, and not the program.
func NewServer(app *session.App, tools *mcp.Server, o ServerOptions) *Server {
	o.Sessions = cmp.Or(o.Sessions, DefaultSessions)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{app: app, mcp: tools, o: o}
	tools.AddReceivingMiddleware(s.recover)
	return s
}

// Serve serves until ctx is over, whose error it returns when all sessions are closed, or until the app is closed, which is no error. Calls
// that are served then fail at their callers, and contexts of their handlers are over; it returns when all have returned.
//
// It is the listener of the app. An app that wants other sessions, too, listens itself, and gives the server its own by ServeSession.
//
// Errors: session.ErrListening; that of ctx.
func (s *Server) Serve(ctx context.Context) error {
	l, err := s.app.Listen(session.ListenOptions{Accept: s.accept})
	if err != nil {
		return fmt.Errorf("serving MCP: %w", err)
	}
	defer l.Close()
	var running sync.WaitGroup
	defer running.Wait()
	for {
		x, err := l.Accept(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return nil
		}
		running.Go(func() {
			if !s.admit() { // it was invited when there was room for one of several
				closing, done := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
				defer done()
				_ = x.Close(closing) // the client finds out in any case
				return
			}
			defer s.count(-1)
			_ = s.serve(ctx, x)
		})
	}
}

// admit counts a session in; false: there are as many as may be.
func (s *Server) admit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions >= s.o.Sessions {
		return false
	}
	s.sessions++
	return true
}

// accept declines what MCP cannot be spoken over.
func (s *Server) accept(i *session.Invitation) error {
	switch {
	case i.Kind != session.PointToPoint:
		return errors.New("MCP needs a session between two")
	case !i.Reliable:
		return errors.New("MCP needs a session that is reliable")
	}
	s.mu.Lock()
	full := s.sessions >= s.o.Sessions
	s.mu.Unlock()
	if full {
		return fmt.Errorf("%d clients are served, and no more at a time", s.o.Sessions)
	}
	if s.o.Accept != nil {
		return s.o.Accept(i)
	}
	return nil
}

// ServeSession serves a session until that is over, and closes it when ctx is. The error says why it ended, if that was in no orderly way.
func (s *Server) ServeSession(ctx context.Context, x *session.Session) error {
	s.count(1)
	defer s.count(-1)
	return s.serve(ctx, x)
}

func (s *Server) serve(ctx context.Context, x *session.Session) error {
	c := newConn(x, s.o.Calls, s.o.Logger, &s.n)
	defer func() {
		_ = c.Close()
		<-c.over
	}()
	peer, err := s.mcp.Connect(context.WithoutCancel(ctx), given{c}, nil)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // the SDK's own end would wait for what is served
	defer stop()
	return peer.Wait()
}

func (s *Server) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions += n
}

// given is a transport of a connection that is there.
type given struct{ c *conn }

// Connect implements mcp.Transport.
func (g given) Connect(context.Context) (mcp.Connection, error) { return g.c, nil }

// recover is the middleware by which a panic is an error.
func (s *Server) recover(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, r mcp.Request) (res mcp.Result, err error) {
		defer func() {
			if p := recover(); p != nil {
				s.n.panics.Add(1)
				s.o.Logger.Error("a handler of MCP has panicked", "method", method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				res, err = nil, &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: "the handler has panicked"}
			}
		}()
		return next(ctx, method, r)
	}
}

// Stats are counts since NewServer.
type Stats struct {
	Sessions  int    // that are served now
	Malformed uint64 // messages that are none of MCP
	Busy      uint64 // calls that were refused, as too many of the same session were served
	Panics    uint64 // of handlers
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{s.sessions, s.n.malformed.Load(), s.n.busy.Load(), s.n.panics.Load()}
}

package rpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
)

// Defaults of ServerOptions.
const (
	DefaultCalls         = 10_000
	DefaultSessionCalls  = 1_000
	DefaultSessions      = 10_000
	DefaultSessionBuffer = 64 << 20
	DefaultMaxTime       = 10 * time.Hour
)

// ErrServing: the server serves already.
var ErrServing = errors.New("the server is serving already")

// ServerOptions of a Server. The zero value is fit for use.
type ServerOptions struct {
	// Interceptors come between the server and handlers, the first outermost.
	Interceptors []ServerInterceptor
	// Codec; nil: Proto.
	Codec Codec
	// Accept says who may call at all, by the session that it wants to open; an error declines it. nil: everybody may. It must not wait.
	Accept func(i *session.Invitation) error
	// Calls is how many calls are served at a time, and SessionCalls how many of one session; 0: DefaultCalls and DefaultSessionCalls. What
	// is beyond fails with ResourceExhausted.
	Calls, SessionCalls int
	// MaxTime is how long a call may take, whatever its caller says; 0: DefaultMaxTime. Negative: as long as its caller lets it, which may be
	// for ever.
	MaxTime time.Duration
	// Skew is how far behind the callers' clocks may be: deadlines are points in time, by the clock of the caller, and a call is given so much
	// more (P-rpc-3).
	Skew time.Duration
	// MaxMessage is how long a request or a reply may be, in bytes; 0: as long as a session lets it (session.MaxContent).
	MaxMessage int
	// Sessions is how many there may be at a time, of callers each of whom has one; 0: DefaultSessions. Others are declined, or closed at once
	// if they come together.
	Sessions int
	// Buffer is how many bytes of requests of a call, with what each costs beside its own, 1 KiB and more, may wait for its handler,
	// SessionBuffer how many of all calls of a session, with the metadata of those that are served, and TotalBuffer how many of all sessions,
	// each of which may have 64 KiB beyond that; 0: DefaultBuffer, DefaultSessionBuffer and DefaultTotalBuffer. What is beyond fails the call
	// with ResourceExhausted: nothing tells a caller to wait.
	Buffer, SessionBuffer, TotalBuffer int
	// Logger is told of handlers that panic, and of sessions; nil: nobody is.
	Logger *slog.Logger
}

// Server serves calls that come by sessions of an app, of two or of groups. Handlers run on goroutines of their own. All methods are safe
// for all.
type Server struct {
	app     *session.App
	o       ServerOptions
	message int
	kept    *purse // by all sessions

	mu       sync.Mutex
	handlers map[methodKey]*registration // guarded by mu
	listener *session.Listener           // guarded by mu; nil: nobody serves
	sessions map[*serverLink]struct{}    // guarded by mu
	calls    int                         // guarded by mu: that are served
	stopping bool                        // guarded by mu: no further calls
	idle     chan struct{}               // guarded by mu: closed when no call is served; nil: nobody waits for that
	tasks    tasks                       // sessions that are served
}

// registration is a method and who serves it.
type registration struct {
	method  Method
	handler Handler
}

var _ Registrar = (*Server)(nil)

// NewServer returns a server of the app's name, and of those that App.Subscribe adds. It serves when Serve is called.
func NewServer(app *session.App, o ServerOptions) *Server {
	o.Calls, o.SessionCalls = cmp.Or(o.Calls, DefaultCalls), cmp.Or(o.SessionCalls, DefaultSessionCalls)
	o.MaxTime, o.Sessions = cmp.Or(o.MaxTime, DefaultMaxTime), cmp.Or(o.Sessions, DefaultSessions)
	o.Buffer, o.SessionBuffer = cmp.Or(o.Buffer, DefaultBuffer), cmp.Or(o.SessionBuffer, DefaultSessionBuffer)
	if o.MaxTime < 0 {
		o.MaxTime = math.MaxInt64
	}
	if o.Codec == nil {
		o.Codec = Proto{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{
		app: app, o: o, message: cmp.Or(o.MaxMessage, session.MaxContent), kept: newTotal(o.TotalBuffer),
		handlers: map[methodKey]*registration{}, sessions: map[*serverLink]struct{}{},
	}
}

// Handle implements Registrar. It may be called at any time, while calls are served, too.
func (s *Server) Handle(m Method, h Handler) {
	for _, i := range slices.Backward(s.o.Interceptors) {
		h = i(h)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers[m.key()] = &registration{m, h}
}

// Methods are those that are served, in no order.
func (s *Server) Methods() []Method {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Method, 0, len(s.handlers))
	for _, r := range s.handlers {
		list = append(list, r.method)
	}
	return list
}

// Serve serves calls until Shutdown or Stop, or the app is closed, which is no error, or until ctx is over, whose error it returns after
// Stop. It is the listener of the app: all sessions that others open are taken for calls (P-rpc-4). An app that wants others, too, listens
// itself, and gives the server its sessions by ServeSession. Serve may be called again after it has returned.
//
// Errors: session.ErrListening; ErrServing; that of ctx.
func (s *Server) Serve(ctx context.Context) error {
	l, err := s.listen()
	if err != nil {
		return err
	}
	defer l.Close()
	for {
		x, err := l.Accept(ctx)
		switch {
		case ctx.Err() != nil:
			s.Stop()
			return ctx.Err()
		case err != nil:
			s.mu.Lock()
			own := s.listener == l
			s.mu.Unlock()
			if own { // the app is closed
				s.Stop()
			}
			_ = s.tasks.wait(context.Background())
			return nil
		}
		go s.ServeSession(ctx, x)
	}
}

func (s *Server) listen() (*session.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return nil, ErrServing
	}
	l, err := s.app.Listen(session.ListenOptions{Accept: s.accept})
	if err != nil {
		return nil, fmt.Errorf("serving calls: %w", err)
	}
	s.listener, s.stopping = l, false
	return l, nil
}

// accept declines sessions beyond the bound, and those that the option does.
func (s *Server) accept(i *session.Invitation) error {
	s.mu.Lock()
	full := len(s.sessions) >= s.o.Sessions
	s.mu.Unlock()
	switch {
	case full:
		return fmt.Errorf("%d sessions of callers are served, and no more at a time: call again later, or raise ServerOptions.Sessions", s.o.Sessions)
	case s.o.Accept != nil:
		return s.o.Accept(i)
	}
	return nil
}

// ServeSession serves the calls of a session until that is over, and closes it when ctx is over or the server stops; at once, where there are
// as many as may be.
func (s *Server) ServeSession(ctx context.Context, x *session.Session) {
	l := newServerLink(s, x)
	s.mu.Lock()
	if full := len(s.sessions) >= s.o.Sessions; s.stopping || full {
		s.mu.Unlock()
		if full {
			s.o.Logger.Warn("a session of a caller was closed: there are as many as may be", "session", x.ID(), "sessions", s.o.Sessions)
		}
		l.close()
		return
	}
	s.sessions[l] = struct{}{}
	end := s.tasks.begin()
	s.mu.Unlock()
	defer end()
	stop := context.AfterFunc(ctx, l.stop)
	l.serve()
	stop()
	s.mu.Lock()
	delete(s.sessions, l)
	s.mu.Unlock()
}

// find returns who serves a method; nil: nobody does.
func (s *Server) find(k methodKey) *registration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handlers[k]
}

// admit counts a call in; an error: it is not to be served.
func (s *Server) admit() *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopping:
		return Errorf(Unavailable, "the server is shutting down")
	case s.calls >= s.o.Calls:
		return Errorf(ResourceExhausted, "the server serves %d calls, and no more at a time", s.calls)
	}
	s.calls++
	return nil
}

func (s *Server) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls--; s.calls == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// quit takes no further sessions and calls, and returns what is closed when those that are served have ended.
func (s *Server) quit() (idle <-chan struct{}, links []*serverLink) {
	s.mu.Lock()
	l := s.listener
	s.listener, s.stopping = nil, true
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	idle = s.idle
	if s.calls == 0 {
		close(s.idle)
		s.idle = nil
	}
	for x := range s.sessions {
		links = append(links, x)
	}
	s.mu.Unlock()
	if l != nil {
		l.Close()
	}
	return idle, links
}

// Shutdown takes no further calls, waits for those that are served, and closes their sessions. When ctx ends first it goes on as Stop, and
// returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	idle, links := s.quit()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.end(links)
	return err
}

// Stop is Shutdown that does not wait: calls that are served fail at their callers, with Canceled, and contexts of handlers are over. It
// returns when all of them have returned.
func (s *Server) Stop() {
	_, links := s.quit()
	s.end(links)
}

func (s *Server) end(links []*serverLink) {
	for _, l := range links {
		go l.stop()
	}
	_ = s.tasks.wait(context.Background())
}

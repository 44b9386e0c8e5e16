package slimrpc

import (
	"context"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

type (
	// ChannelInterface is what generated clients call by: a *Channel, a *rpc.Client or a *rpc.Group.
	ChannelInterface = rpc.Caller
	// ServerInterface is what generated servers are registered with: a *Server, or a *rpc.Server.
	ServerInterface = rpc.Registrar
)

// Channel calls one app, or a group. It is to be closed.
type Channel struct {
	rpc.Caller
	close func(ctx context.Context) error
}

// NewChannel returns a channel to an app. A call without a deadline may take ten hours, as upstream's.
func NewChannel(app *session.App, remote session.Name) *Channel {
	c := rpc.NewClient(app, remote, options)
	return &Channel{c, c.Close}
}

// ChannelNewGroup returns a channel to a group.
func ChannelNewGroup(app *session.App, members []session.Name) (*Channel, error) {
	if len(members) == 0 {
		return nil, NewRpcErrorRpc(RpcCodeInvalidArgument, "a group without members", nil)
	}
	g := rpc.NewGroup(app, members, rpc.GroupOptions{CallOptions: options})
	return &Channel{g, g.Close}, nil
}

// options are upstream's.
var options = rpc.CallOptions{Timeout: rpc.DefaultMaxTime}

// Close ends the session of the calls; nil: within ten seconds. A call that comes later makes another one.
func (c *Channel) Close(timeout *time.Duration) error {
	within := closeTime
	if timeout != nil {
		within = *timeout
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return c.close(ctx)
}

const closeTime = 10 * time.Second

// CloseAsync is Close.
func (c *Channel) CloseAsync(timeout *time.Duration) error { return c.Close(timeout) }

// Server serves calls.
type Server struct {
	*rpc.Server
	app  *session.App
	base session.Name
}

// NewServer returns a server of an app, that is reached by base: the app's name, or another one, to which Serve subscribes.
func NewServer(app *session.App, base session.Name) *Server {
	return &Server{rpc.NewServer(app, rpc.ServerOptions{}), app, base.Any()}
}

// Serve serves until Shutdown.
func (s *Server) Serve() error {
	ctx := context.Background()
	if s.base != s.app.Name().Any() {
		if err := s.app.Subscribe(ctx, s.base); err != nil {
			return err
		}
	}
	return s.Server.Serve(ctx)
}

// ServeAsync is Serve.
func (s *Server) ServeAsync() error { return s.Serve() }

// Shutdown ends Serve, and the calls that are served: they fail at their callers.
func (s *Server) Shutdown() { s.Stop() }

// ShutdownAsync is Shutdown.
func (s *Server) ShutdownAsync() { s.Stop() }

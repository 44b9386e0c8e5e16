package agent

import (
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// Bounds of the node's own API, which people use and no traffic.
const (
	maxCallers  = 64 // connections at the same time
	maxStreams  = 16 // of each
	setupLimit  = 10 * time.Second
	serverPing  = 120 * time.Second // as upstream
	serverPong  = 20 * time.Second
	maxIdleTime = 15 * time.Minute
)

// servers are those of the node's own API.
type servers struct {
	all     []*grpc.Server
	running sync.WaitGroup
}

// serve begins to serve.
func (a *Agent) serve() {
	a.served = &servers{}
	for i := range a.opt.Servers {
		o := &a.opt.Servers[i]
		log := a.log.With("endpoint", o.Endpoint)
		opts := []grpc.ServerOption{grpc.MaxConcurrentStreams(maxStreams), grpc.MaxRecvMsgSize(maxMessage), grpc.ConnectionTimeout(setupLimit),
			grpc.KeepaliveParams(keepalive.ServerParameters{Time: serverPing, Timeout: serverPong, MaxConnectionIdle: maxIdleTime}),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true})}
		if o.TLS != nil {
			opts = append(opts, grpc.Creds(credentials.NewTLS(o.TLS)))
		}
		s := grpc.NewServer(opts...)
		h := &handler{a, o.Guard}
		s.RegisterService(&grpc.ServiceDesc{ServiceName: serviceName, HandlerType: (*any)(nil),
			Streams: []grpc.StreamDesc{{StreamName: methodName, ServerStreams: true, ClientStreams: true,
				Handler: func(_ any, c grpc.ServerStream) error { return h.call(c) }}}}, h)
		a.served.all = append(a.served.all, s)
		a.served.running.Go(func() {
			if err := s.Serve(&bounded{Listener: o.Listener, room: make(chan struct{}, maxCallers)}); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				log.Error("the node's own control API is over", "error", err)
			}
		})
		log.Info("started controlplane server") // upstream's text: scripts wait for it
	}
}

// stop ends all of them at once: nobody waits for an answer for long.
func (s *servers) stop() {
	for _, g := range s.all {
		g.Stop()
	}
	s.running.Wait()
}

// handler serves the streams of one endpoint.
type handler struct {
	agent *Agent
	guard *auth.Guard
}

// tools is the origin of desired states that come by the node's own API.
var tools = new(int)

// call is the life of one stream.
func (h *handler) call(c grpc.ServerStream) error {
	a := h.agent
	if err := judge(c.Context(), h.guard); err != nil {
		a.count.denied.Add(1)
		return err
	}
	a.count.calls.Add(1)
	s := newStream(a, tools, c, a.log)
	ended := make(chan error, 1)
	go func() { ended <- s.receive() }()
	for {
		select {
		case m := <-s.out:
			if err := c.SendMsg(m); err != nil {
				return err
			}
		case err := <-ended:
			if err != nil {
				return err
			}
			return s.finish()
		case <-a.ctx.Done():
			return status.Error(codes.Unavailable, errStopping.Error())
		}
	}
}

// finish sends what is due to a peer that has nothing more to say: commands are acknowledged soon.
func (s *stream) finish() error {
	limit := time.NewTimer(2 * answerLimit)
	defer limit.Stop()
	for {
		select {
		case m := <-s.out:
			if err := s.channel.SendMsg(m); err != nil {
				return err
			}
			continue
		default:
		}
		if len(s.slots) == 0 && len(s.out) == 0 {
			return nil
		}
		select {
		case m := <-s.out:
			if err := s.channel.SendMsg(m); err != nil {
				return err
			}
		case <-limit.C:
			return status.Error(codes.DeadlineExceeded, "a command could not be carried out in time")
		case <-s.channel.Context().Done():
			return s.channel.Context().Err()
		case <-s.agent.ctx.Done():
			return status.Error(codes.Unavailable, errStopping.Error())
		}
	}
}

// bounded accepts so many connections at the same time: others wait in the kernel.
type bounded struct {
	net.Listener
	room chan struct{}
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	b.room <- struct{}{} // at the end of the agent all connections are closed, which makes room
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.room
		return nil, err
	}
	return &counted{Conn: c, leave: sync.OnceFunc(func() { <-b.room })}, nil
}

// counted gives its place back when it is closed.
type counted struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

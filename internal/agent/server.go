package agent

import (
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// Bounds of the node's own API, which people use and no traffic.
const (
	maxCallers  = 64 // connections at the same time: then one without a call gives way
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
			if err := s.Serve(newBounded(o.Listener)); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
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
	if p, ok := peer.FromContext(c.Context()); ok {
		if x, ok := p.Addr.(*callerAddr); ok {
			x.caller.calls.Add(1)
			defer x.caller.calls.Add(-1)
		}
	}
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
		case <-s.freed: // of what may have been sent already
		case <-limit.C:
			return status.Error(codes.DeadlineExceeded, "a command could not be carried out in time")
		case <-s.channel.Context().Done():
			return s.channel.Context().Err()
		case <-s.agent.ctx.Done():
			return status.Error(codes.Unavailable, errStopping.Error())
		}
	}
}

// bounded has so many connections at the same time. One more takes the place of the oldest that has no call which was let in: who does not
// show who he is keeps nobody out. While all have one, it waits, and others wait in the kernel.
type bounded struct {
	net.Listener
	room sync.Cond // signalled when a connection has ended

	mu  sync.Mutex
	all []*caller // guarded by mu; the oldest first
}

func newBounded(l net.Listener) *bounded {
	b := &bounded{Listener: l}
	b.room.L = &b.mu
	return b
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	c, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	x := &caller{Conn: c, of: b}
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.all) >= maxCallers { // at the end of the agent all connections are closed, which makes room
		if i := slices.IndexFunc(b.all, func(o *caller) bool { return o.calls.Load() == 0 }); i >= 0 {
			_ = b.all[i].Conn.Close()
			b.all = slices.Delete(b.all, i, i+1)
			continue
		}
		b.room.Wait()
	}
	b.all = append(b.all, x)
	return x, nil
}

// caller is a connection of somebody who calls. It gives its place back when it is closed.
type caller struct {
	net.Conn
	of    *bounded
	calls atomic.Int32 // that were let in and are not over
}

// callerAddr is where a caller comes from, by which its calls find it.
type callerAddr struct {
	net.Addr
	caller *caller
}

// RemoteAddr implements net.Conn.
func (c *caller) RemoteAddr() net.Addr { return &callerAddr{c.Conn.RemoteAddr(), c} }

// Close implements net.Conn.
func (c *caller) Close() error {
	b := c.of
	b.mu.Lock()
	if i := slices.Index(b.all, c); i >= 0 {
		b.all = slices.Delete(b.all, i, i+1)
		b.room.Signal()
	}
	b.mu.Unlock()
	return c.Conn.Close()
}

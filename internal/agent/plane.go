package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire/pb/controllerpb"
)

// plane keeps the node registered with one control plane (P-ctl-2):
//
//	       Connect, stream, RegisterNodeRequest          answer: success
//	waiting ──────────────────────────────────▶ asking ─────────────────▶ registered
//	   ▲                                          │                           │
//	   └────────── Backoff, whatever it was ──────┴───────────────────────────┘ at once, if it was long
type plane struct {
	// Immutable.
	agent *Agent
	opt   *Plane
	log   *slog.Logger
	news  news
	tries attempts // of the goroutine of run

	// Of the goroutine of run:
	unanswered int           // registrations that were not answered in time
	ordered    bool          // something was, by the last that was ordered
	anew       bool          // the last stream on which the node was registered was ended for want of a first order
	longest    time.Duration // between two orders, while there was something that they ordered

	mu      sync.Mutex
	now     PlaneStatus   // guarded by mu
	leaving chan struct{} // guarded by mu; closed when the control plane has said goodbye; nil: nobody asks for that
	stream  *stream       // guarded by mu; nil: the node is not registered
}

func newPlane(a *Agent, o *Plane) *plane {
	p := &plane{agent: a, opt: o, log: a.log.With("endpoint", o.Endpoint)}
	p.news = news{node: a.node, wake: make(chan struct{}, 1)}
	p.now = PlaneStatus{Endpoint: o.Endpoint, State: "waiting", Since: time.Now()}
	return p
}

func (p *plane) becomes(state string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now.State != state {
		p.now.State, p.now.Since = state, time.Now()
	}
}

// errLeft is how the stream of a node ends that has said goodbye.
var errLeft = errors.New("the node has said goodbye")

func (p *plane) run() {
	for {
		began := time.Now()
		err := p.attempt()
		p.becomes("waiting")
		if p.agent.ctx.Err() != nil || errors.Is(err, errLeft) {
			return
		}
		p.mu.Lock()
		p.now.Failure, p.now.Failed = err.Error(), time.Now()
		p.mu.Unlock()
		t := time.NewTimer(p.pause(err, time.Since(began)))
		select {
		case <-t.C:
		case <-p.agent.ctx.Done():
			t.Stop()
			return
		}
	}
}

// pause is how long after an attempt that has taken so long the next one follows: not quite as long for all nodes,
// which may have lost the control plane at the same moment (P-ctl-12).
func (p *plane) pause(err error, took time.Duration) time.Duration {
	var f *forgotten
	first := errors.As(err, &f) && f.first
	if first {
		p.log.Warn("control plane is registered with once more, and messages go on as before", "error", err)
		p.tries = attempts{}
	} else if p.tries.ended(err, took) {
		p.log.Warn("control plane is not reached: it is tried again, and messages go on as before", "error", err)
	}
	pause := defaultBackoff
	if p.opt.Backoff != nil {
		pause = p.opt.Backoff(max(p.tries.failed, 1))
	}
	if first {
		pause = min(pause, anewPause)
	}
	more := rand.N(min(max(pause, 0), time.Hour)/8 + 1)
	return min(pause, math.MaxInt64-more) + more
}

// attempts are those to reach a control plane, as far as what follows from them.
type attempts struct {
	failed    int    // in a row
	last      string // why, as it was said
	connected bool   // that was said, and the node was not registered since
}

// settled is how long an attempt has to have lasted for what follows to begin anew. Tests lengthen it.
var settled = 10 * time.Second

// ended notes one that has taken so long, and reports whether why is to be said: the same is said once.
func (a *attempts) ended(why error, took time.Duration) bool {
	if a.failed++; took > settled {
		a.failed, a.last = 1, ""
	}
	said := a.last
	a.last = why.Error()
	return a.last != said
}

// attempt is one connection, with the life of its stream, and returns why it has ended.
func (p *plane) attempt() error {
	p.becomes("connecting")
	p.mu.Lock()
	p.now.Attempts++
	p.mu.Unlock()
	ctx, cancel := context.WithCancel(p.agent.ctx)
	defer cancel()
	var refused atomic.Pointer[error] // what gRPC says of a dialler that has failed is hard to read
	conn, err := p.client(func(err error) { refused.Store(&err) })
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	limit := cmp.Or(p.opt.Timeout, connectTimeout)
	opening := time.AfterFunc(limit, cancel)
	c, err := p.open(ctx, conn)
	if !opening.Stop() && err == nil {
		err = context.DeadlineExceeded
	}
	switch {
	case err != nil && refused.Load() != nil:
		return fmt.Errorf("no connection: %w", *refused.Load())
	case err != nil && ctx.Err() != nil && p.agent.ctx.Err() == nil:
		return fmt.Errorf("no stream within %v", limit)
	case err != nil:
		return err
	}
	s := newStream(p.agent, p, c, p.log)
	level := slog.LevelInfo
	if p.tries.connected { // and not registered since
		level = slog.LevelDebug
	}
	p.tries.connected = true
	p.log.Log(ctx, level, "connected to control plane") // upstream's text: scripts wait for it
	p.becomes("registering")
	w := &attention{plane: p, cancel: cancel}
	defer w.end()
	early, err := p.register(ctx, cancel, s, w)
	if err != nil {
		return err
	}
	return p.registered(ctx, s, w, early)
}

// client makes the connection that the one stream of an attempt goes over. failed hears of why it cannot connect.
func (p *plane) client(failed func(error)) (*grpc.ClientConn, error) {
	o := p.opt
	return grpc.NewClient("passthrough:///"+o.Authority,
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			c, err := o.Connect(ctx)
			if err != nil {
				failed(err)
			}
			return c, err
		}),
		grpc.WithTransportCredentials(plain{secure: o.Secure}), grpc.WithAuthority(o.Authority), grpc.WithUserAgent(o.UserAgent),
		grpc.WithDisableServiceConfig(), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: cmp.Or(o.Ping, pingTime), Timeout: cmp.Or(o.PingTimeout, pingTimeout)}))
}

// open opens the stream.
func (p *plane) open(ctx context.Context, conn *grpc.ClientConn) (grpc.ClientStream, error) {
	md := metadata.MD{}
	for k, v := range p.opt.Headers {
		md.Set(strings.ToLower(k), v)
	}
	if p.opt.Auth != nil {
		shown, err := p.opt.Auth.Authorization(ctx)
		if err != nil {
			return nil, fmt.Errorf("no credentials for the control plane: %w", err)
		}
		if shown != "" {
			md.Set("authorization", shown)
		}
	}
	return conn.NewStream(metadata.NewOutgoingContext(ctx, md), &channelDesc, "/"+serviceName+"/"+methodName)
}

// patience is how long the answer to a registration may take after so many that were not answered in time: a control plane may be slow.
func patience(unanswered int) time.Duration { return registerTimeout << min(unanswered, 3) }

// register sends the registration and waits for its answer. early are the commands that came before it.
func (p *plane) register(ctx context.Context, cancel func(), s *stream, w *attention) (early []*controllerpb.ControlMessage, err error) {
	r, err := p.request(ctx)
	if err != nil {
		return nil, err
	}
	limit := patience(p.unanswered)
	p.agent.desk.registers(ctx, p, limit)
	late := time.AfterFunc(limit, cancel)
	defer late.Stop()
	if err := s.channel.SendMsg(message(&controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_RegisterNodeRequest{RegisterNodeRequest: r}})); err != nil {
		return nil, p.why(s, err, "registration handshake failed")
	}
	for {
		m := &controllerpb.ControlMessage{}
		if err := s.channel.RecvMsg(m); err != nil {
			if ctx.Err() != nil {
				p.unanswered++
				return nil, fmt.Errorf("registration handshake timed out: no answer within %v, next time within %v", limit, patience(p.unanswered))
			}
			return nil, fmt.Errorf("registration handshake failed: %w", explained(err))
		}
		a := m.GetRegisterNodeResponse()
		switch {
		case a == nil && len(early) == maxCommands:
			return nil, errors.New("registration handshake failed: commands come, and no answer")
		case a == nil:
			early = append(early, m)
			continue
		case !a.GetSuccess():
			return nil, errors.New("registration rejected by control plane: look at its log, and at node_id, domain_name and auth here")
		}
		p.log.Info("registration acknowledged by control plane", "connections", len(a.GetConnections()), "routes", len(a.GetRoutes()))
		first, bad := desired(a.GetConnections(), a.GetRoutes())
		if n := len(bad.links) + bad.silent; n > 0 {
			p.agent.count.invalid.Add(uint64(n))
			p.log.Warn("the answer to the registration has links or routes that make no sense: they are ignored", "number", n)
		}
		p.agent.desk.post(func(d *desk) { d.orderOf(p).registered(first, time.Now()) })
		w.answered(len(first.links)+len(first.routes) > 0)
		return early, nil
	}
}

// why is what has ended a stream on which a send has failed: gRPC says it to who receives.
func (p *plane) why(s *stream, err error, text string) error {
	if e := s.channel.RecvMsg(&controllerpb.ControlMessage{}); e != nil {
		err = e
	}
	return fmt.Errorf("%s: %w", text, err)
}

// request is the node's registration.
func (p *plane) request(ctx context.Context) (*controllerpb.RegisterNodeRequest, error) {
	o := &p.agent.opt
	r := &controllerpb.RegisterNodeRequest{NodeId: o.NodeID, ConnectionDetails: o.Details, DomainName: optional(o.Domain)}
	if o.Credentials != nil {
		limit, cancel := context.WithTimeout(ctx, cmp.Or(p.opt.Timeout, connectTimeout))
		defer cancel()
		shown, err := o.Credentials(limit)
		if err != nil {
			return nil, fmt.Errorf("no credentials for the registration: %w", err)
		}
		r.Credentials = shown
	}
	all, err := p.agent.entries(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		if e.GetConnectionType() == connectionTypes[table.Remote] {
			r.Connections = append(r.Connections, e)
		}
	}
	return r, nil
}

// registered is the life of a stream after the registration.
func (p *plane) registered(ctx context.Context, s *stream, w *attention, early []*controllerpb.ControlMessage) error {
	p.mu.Lock()
	p.now.State, p.now.Since = "registered", time.Now()
	p.now.Registrations++
	p.now.Failure = ""
	p.stream = s
	p.mu.Unlock()
	p.tries.connected = false
	defer func() {
		p.mu.Lock()
		p.stream = nil
		p.mu.Unlock()
		p.news.end()
		p.log.Info("control plane stream closed")
	}()
	p.news.begin()
	p.agent.desk.post(func(d *desk) {
		for _, x := range d.up {
			p.news.markLink(x.ActiveLink)
		}
	})
	ctx, stop := context.WithCancel(ctx)
	sent := make(chan error, 1)
	go func() { sent <- p.write(ctx, s) }()
	var err error
	for _, m := range early {
		w.ordered(m)
		if err = s.take(m); err != nil {
			break
		}
	}
	if err == nil {
		err = p.receive(s, w)
	}
	f := w.forgotten()
	p.anew = f != nil && f.first
	if f != nil {
		err = f
	}
	stop()
	if e := <-sent; errors.Is(e, errLeft) {
		return e
	}
	return err
}

// receive is stream.receive, with the answer to a goodbye.
func (p *plane) receive(s *stream, w *attention) error {
	for {
		m := &controllerpb.ControlMessage{}
		if err := s.channel.RecvMsg(m); err != nil {
			return fmt.Errorf("the stream has ended: %w", explained(err))
		}
		w.ordered(m)
		if m.GetDeregisterNodeResponse() != nil {
			p.mu.Lock()
			leaving := p.leaving
			p.leaving = nil
			p.mu.Unlock()
			if leaving != nil {
				close(leaving)
				return errLeft
			}
		}
		if err := s.take(m); err != nil {
			return err
		}
	}
}

// explained says what it means that gRPC does not read a message for its length (maxMessage).
func explained(err error) error {
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "received message larger than max") {
		return err
	}
	return fmt.Errorf("the control plane orders more in one message than the %d MiB that are read, which hold some 150,000 routes: what was "+
		"ordered before stays; link fewer domains, or have fewer names subscribed to in them: %w", maxMessage>>20, err)
}

// write sends what is to be sent until ctx ends.
func (p *plane) write(ctx context.Context, s *stream) error {
	tell := func(c *controllerpb.ConfigurationCommand) error {
		p.agent.count.news.Add(1)
		return s.channel.SendMsg(message(&controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_ConfigCommand{ConfigCommand: c}}))
	}
	for {
		select {
		case m := <-s.out: // first: somebody waits for it
			if err := s.channel.SendMsg(m); err != nil {
				return err
			}
			continue
		default:
		}
		select {
		case m := <-s.out:
			if err := s.channel.SendMsg(m); err != nil {
				return err
			}
		case <-p.news.wake:
			if err := p.news.tell(tell); err != nil {
				return err
			}
			if n := p.news.nameless; n > 0 && !s.said.nameless.Swap(true) {
				p.log.Warn("names cannot be told to the control plane, since who has subscribed to them has left out their texts", "names", n)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// deregister says goodbye and waits for the answer, within ctx.
func (p *plane) deregister(ctx context.Context) {
	done := make(chan struct{})
	p.mu.Lock()
	s := p.stream
	if s != nil {
		p.leaving = done
	}
	p.mu.Unlock()
	if s == nil {
		return
	}
	m := message(&controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_DeregisterNodeRequest{
		DeregisterNodeRequest: &controllerpb.DeregisterNodeRequest{Node: &controllerpb.Node{Id: p.agent.opt.NodeID}}}})
	select {
	case s.out <- m:
	case <-ctx.Done():
		return
	}
	const noted = "control plane has taken note that the node goes"
	select {
	case <-done:
		p.log.Info(noted)
	case <-s.channel.Context().Done(): // by an answer, too
		select {
		case <-done:
			p.log.Info(noted)
		default:
		}
	case <-ctx.Done():
		p.log.Warn("control plane does not answer that the node goes: it will find out")
	}
}

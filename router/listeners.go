package router

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/router/transport"
)

// listener is an endpoint that is listened on. It is its node's until it is removed, and then that of the goroutine which
// drains it.
type listener struct {
	// Immutable.
	ln    *netloop.Listener
	place string            // see endpoint.place
	gates []*transport.Gate // of the loops, in order
	over  chan struct{}     // closed when nobody is accepted any more and all handshakes have ended

	guard atomic.Pointer[auth.Guard] // judges who comes by it; nil: nothing does. Set under listeners.mu; safe for all
}

func (n *Node) newListener(ln *netloop.Listener, place string) *listener {
	l := &listener{ln: ln, place: place, over: make(chan struct{})}
	for _, lp := range n.loops {
		l.gates = append(l.gates, lp.group.NewGate(ln.Addr().String()))
	}
	return l
}

// listeners are those of a node. Safe for all.
type listeners struct {
	node *Node

	mu   sync.Mutex
	all  []*listener // guarded by mu, in the order of Setup.Endpoints; replaced whole
	urls []string    // guarded by mu, of the same; replaced whole
	over bool        // guarded by mu: none is opened or removed any more

	accepting, leaving, guarding sync.WaitGroup // goroutines; begun only while over is not set
}

func (x *listeners) list() []*listener {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.all
}

// become makes a change. false: it comes too late.
func (x *listeners) become(c *Change) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return false
	}
	n := x.node
	for i, l := range c.places {
		n.protect(l, &c.setup.Endpoints[i].Auth, !slices.Contains(c.opened, l), &c.setup.Rules)
		a := n.acceptance(l, &c.parsed[i], &c.setup.Endpoints[i], &c.setup.Rules)
		if !slices.Contains(c.opened, l) {
			l.ln.Change(a)
			if err := l.ln.Chmod(c.parsed[i].mode); err != nil {
				n.log.Error("cannot change the mode of a unix socket", "target", targetService, "endpoint", c.setup.Endpoints[i].Addr, "error", err)
			}
			continue
		}
		x.accepting.Go(func() {
			defer close(l.over)
			n.engine.Accept(l.ln, a)
		})
	}
	x.all, x.urls = c.places, make([]string, len(c.places))
	for i, l := range c.places {
		x.urls[i] = c.parsed[i].url(l.ln.Addr().String(), c.setup.Endpoints[i].TLS != nil)
	}
	for _, l := range c.removed {
		l.ln.Close()
	}
	if len(c.removed) > 0 {
		x.leaving.Go(func() { n.retire(c.removed, c.setup.Drain) })
	}
	return true
}

// close closes all listeners for good, and waits until nobody is accepted any more.
func (x *listeners) close() {
	x.mu.Lock()
	x.over = true
	all := x.all
	x.mu.Unlock()
	for _, l := range all {
		l.ln.Close()
	}
	x.accepting.Wait()
}

// About is what a node says of itself to operators.
type About struct {
	NodeID, Deployment string
	Listeners          []string // as clients dial them, in the order of the endpoints: http://127.0.0.1:46357
}

// About returns who the node is, and where it listens now.
func (n *Node) About() About {
	n.listening.mu.Lock()
	defer n.listening.mu.Unlock()
	return About{n.opt.NodeID, n.opt.Deployment, n.listening.urls}
}

// Addrs returns the bound addresses in the order of the endpoints.
func (n *Node) Addrs() []net.Addr {
	var as []net.Addr
	for _, l := range n.listening.list() {
		as = append(as, l.ln.Addr())
	}
	return as
}

// doors returns what the sockets of endpoint e become, for each loop.
func (n *Node) doors(l *listener, e *endpoint, limits *Limits) (doors []*transport.Door) {
	for i, lp := range n.loops {
		if e.webSocket {
			doors = append(doors, lp.group.WebSocket(e.path, limits, l.gates[i]))
		} else {
			doors = append(doors, lp.group.GRPC(limits, l.gates[i]))
		}
	}
	return doors
}

// acceptance is what becomes of those who come by l from now on.
func (n *Node) acceptance(l *listener, e *endpoint, x *Endpoint, r *Rules) netloop.Acceptance {
	doors := n.doors(l, e, &x.Limits)
	return netloop.Acceptance{
		TLS:     x.TLS,
		Timeout: r.setupTimeout(),
		Refused: n.handshakeFailed,
		Handler: func(l *netloop.Loop) netloop.Handler { return doors[l.Index()].Accept() },
		Full:    n.isFull,
		Lost: func(ln *netloop.Listener, err error) {
			if err != nil {
				n.log.Error("nobody can connect to a unix socket", "target", targetService, "endpoint", ln.Addr().String(), "error", err)
				return
			}
			n.log.Warn("somebody has removed the file of a unix socket: it was made again", "target", targetService,
				"endpoint", ln.Addr().String())
		},
		Failed: func(ln *netloop.Listener, err error) {
			if errors.Is(err, netloop.ErrFull) {
				n.log.Error("the node has as many sockets as it may have: clients wait to be accepted", "target", targetService,
					"endpoint", ln.Addr().String(), "reason", ReasonSockets.String(), "error", n.tooMany("sockets", n.opt.MaxSockets))
				return
			}
			n.log.Error("cannot accept a connection: raise the limit of open files if that is the cause",
				"target", targetService, "endpoint", ln.Addr().String(), "error", err)
		},
	}
}

// retire ends those who have come by listeners that are closed, as the end of the node would: what they have sent until
// now goes its way, and what is queued for them goes out. Rules: P-end-7.
func (n *Node) retire(ls []*listener, within time.Duration) {
	defer unprotect(ls)
	for _, l := range ls {
		<-l.over
	}
	each := func(f func(*transport.Gate)) error {
		return n.onLoops(n.ending, func(lp *loop) {
			for _, l := range ls {
				f(l.gates[lp.index])
			}
		})
	}
	if each((*transport.Gate).Drain) != nil {
		return // the end of the node includes theirs
	}
	ctx, cancel := context.WithTimeout(n.ending, within)
	defer cancel()
	_ = n.settle(ctx) // what comes of it late is counted
	idle := make(chan struct{}, len(ls)*len(n.loops))
	if each(func(g *transport.Gate) { g.Finish(func() { idle <- struct{}{} }) }) != nil {
		return
	}
	text := "all who came by a removed endpoint have ended"
	for range cap(idle) {
		select {
		case <-idle:
			continue
		case <-ctx.Done():
		}
		if each((*transport.Gate).Cut) != nil {
			return
		}
		text = "those who came by a removed endpoint had not ended in time: they were cut off"
		break
	}
	for _, l := range ls {
		n.log.Info(text, "target", targetService, "endpoint", l.ln.Addr().String())
	}
}

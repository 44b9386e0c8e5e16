package router

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/router/table"
)

var errStopped = errors.New("router: the node has been shut down")

// maxLoops bounds Options.Loops: the matrix of rings grows with its square.
const maxLoops = 128

// Node is a running data plane. Its methods are safe for all goroutines.
type Node struct {
	// Immutable after Start.
	opt    Options
	log    *slog.Logger
	loops  []*loop
	engine *netloop.Engine
	lns    []*listener
	names  *table.Table[Conn]
	budget *table.Budget // of names
	peers  peering       // safe for all

	draining atomic.Bool
	nextConn atomic.Uint64  // last connection id given out; ids are never used again
	accepts  sync.WaitGroup // accept goroutines
	chores   chores         // removals of connections with many subscriptions, news for new peers

	stop sync.Once
	done chan struct{} // closed when Shutdown has finished
	err  error
}

// Start opens the listeners and loops of a node. When it returns, the node accepts and negotiates.
// The context covers the start only; Shutdown stops the node.
func Start(ctx context.Context, o Options) (*Node, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	n := newNode(o)
	n.peers.ackDelay = peerAckDelay
	if err := n.startLoops(); err != nil {
		return nil, err
	}
	// Last: a dialer that finds a listener must find a node that can negotiate (dataplane.md section 8).
	for _, addr := range o.Listen {
		lc := net.ListenConfig{KeepAlive: -1} // HTTP/2 pings do that
		ln, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			n.closeListeners()
			n.engine.Stop()
			return nil, fmt.Errorf("listen on %s: %w%s", addr, err, bindHint(err))
		}
		high, err := raise(ln.(*net.TCPListener))
		if err != nil {
			n.closeListeners()
			n.engine.Stop()
			return nil, fmt.Errorf("listen on %s: %w", addr, err)
		}
		n.lns = append(n.lns, high)
	}
	for _, ln := range n.lns {
		n.accepts.Go(func() { n.accept(ln) })
	}
	return n, nil
}

// newNode makes a node of complete options, without loops and listeners.
func newNode(o Options) *Node {
	n := &Node{opt: o, log: o.Log, names: table.New[Conn](), done: make(chan struct{})}
	n.budget = &table.Budget{PerConn: o.MaxSubscriptions}
	n.names.Limit(n.budget)
	n.chores.failed = n.choreFailed
	return n
}

// choreFailed says that an invariant of the node's tables is broken; the node lives on without that piece of work.
func (n *Node) choreFailed(cause, stack string) {
	n.log.Error("internal error while bringing tables up to date: please report this", "target", targetProcessing,
		"error", cause, "stack", stack)
}

func bindHint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return " (another process listens there: stop it or choose another endpoint)"
	case errors.Is(err, syscall.EACCES):
		return " (the port needs privileges: choose one above 1023)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return " (no interface of this machine has that address)"
	}
	return ""
}

// Addrs returns the bound addresses in the order of Options.Listen.
func (n *Node) Addrs() []net.Addr {
	as := make([]net.Addr, len(n.lns))
	for i, ln := range n.lns {
		as[i] = ln.Addr()
	}
	return as
}

// accept hands the sockets of one listener to the loops in turn of fewest sockets.
func (n *Node) accept(ln *listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// EMFILE and the like: the listener lives; without a pause this would spin.
			n.log.Error("cannot accept a connection: raise the limit of open files if that is the cause",
				"target", targetService, "endpoint", ln.Addr().String(), "error", err)
			select {
			case <-n.done:
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		l := n.leastLoaded()
		if err := l.net.Enrol(c, l.group.AcceptGRPC()); err != nil {
			n.log.Error("cannot register an accepted connection", "target", targetService,
				"remote", c.RemoteAddr().String(), "error", err)
		}
	}
}

func (n *Node) leastLoaded() *loop {
	best := n.loops[0]
	for _, l := range n.loops[1:] {
		if l.net.Sockets() < best.net.Sockets() {
			best = l
		}
	}
	return best
}

func (n *Node) closeListeners() {
	for _, ln := range n.lns {
		_ = ln.Close() // the only error is "already closed"
	}
}

// Shutdown stops the node: the listeners first, so that dialers are refused and retry elsewhere or later;
// then GOAWAY and the end of every stream behind what is queued for it; then the sockets. It returns nil when
// everything queued went out, ctx.Err() when ctx ended before that. Later calls return the first one's result.
func (n *Node) Shutdown(ctx context.Context) error {
	n.stop.Do(func() {
		defer close(n.done)
		n.closeListeners()
		n.accepts.Wait()
		n.draining.Store(true)
		// Every loop announces the end before any ends its connections, so that what was read before that
		// still crosses from loop to loop.
		n.err = n.onLoops(ctx, (*loop).drain)
		if n.err == nil {
			n.crossLoops(ctx)
			n.err = n.onLoops(ctx, (*loop).finishAll)
		}
		if n.err == nil {
			n.err = n.awaitDrained(ctx)
		}
		if s, err := n.Stats(ctx); err == nil {
			s.log(n.log)
		}
		n.engine.Stop()
		n.chores.stop()
	})
	<-n.done
	return n.err
}

func (n *Node) awaitDrained(ctx context.Context) error {
	for _, l := range n.loops {
		select {
		case <-l.drained:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// crossRounds is how often Shutdown looks whether messages are still under way between loops.
const crossRounds = 16

// crossLoops lets messages that were read before the end cross from loop to loop. Senders that go on sending do not
// hold the end up for long.
func (n *Node) crossLoops(ctx context.Context) {
	for range crossRounds {
		var under atomic.Bool
		if n.onLoops(ctx, func(l *loop) {
			if l.underWay() {
				under.Store(true)
			}
		}) != nil || !under.Load() {
			return
		}
	}
}

// onLoops runs f on every loop and waits for all.
func (n *Node) onLoops(ctx context.Context, f func(*loop)) error {
	ran := make(chan struct{}, len(n.loops))
	for _, l := range n.loops {
		l.post(func() { f(l); ran <- struct{}{} })
	}
	for range n.loops {
		select {
		case <-ran:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

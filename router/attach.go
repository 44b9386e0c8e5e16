package router

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/router/transport"
	"github.com/seed31b3bfd0/slimgo/wire/link"
)

// Loops returns how many event loops the node has.
func (n *Node) Loops() int { return len(n.loops) }

// Attach connects an app of this process, as a connection of kind local: messages go through rings, without a socket, and
// nothing is negotiated or signed. For the rest it is a connection like any other, with the limits of the node, its policy for slow
// consumers and its place in the status. Programs give the node to session.Options.InProcess instead of calling this.
//
// end is the node's end of two pipes; the app is the other one's. It uses them as uplink.Attach does: encoded messages, one in a
// Buf, and answers to its requests among those that come. app is what operators see. The node ends its pipe at its own end,
// after what was queued for the app, and the app ends its own to leave. After an error the caller ends and shuts its pipes: the
// node may have taken end. An error that is a net.ErrClosed stays: the node has been shut down.
func (n *Node) Attach(ctx context.Context, app string, end *pool.Duplex) error {
	if n.stopping.Load() {
		return overError{}
	}
	l := n.leastConnected()
	done := make(chan error, 1)
	l.post(func() {
		done <- l.group.Attach(end, app, l.admitLocal)
	})
	select {
	case err := <-done:
		switch {
		case errors.Is(err, transport.ErrStopping):
			return overError{}
		case err != nil:
			return fmt.Errorf("router: %w", err)
		}
		return nil
	case <-n.done:
		return overError{}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// overError says to an app in the process that its node takes nobody any more, and never will.
type overError struct{}

func (overError) Error() string { return "router: the node has been shut down" }

func (overError) Is(target error) bool { return target == net.ErrClosed }

// leastConnected returns the loop with the fewest connections.
func (n *Node) leastConnected() *loop {
	best := n.loops[0]
	for _, l := range n.loops[1:] {
		if l.n.shown.conns.Load() < best.n.shown.conns.Load() {
			best = l
		}
	}
	return best
}

// admitLocal makes the connection of an app in the process. What it claims to be need not be proven: the program that the
// node is a part of has made it.
func (l *loop) admitLocal(s transport.Stream) (transport.Receiver, error) {
	n := l.node
	if !n.takes(0) {
		err := errors.New(n.tooMany("connections", n.opt.MaxConnections))
		l.Refused(s.Peer(), transport.FaultConnections, err)
		return nil, err
	}
	c := l.newConn(s)
	g, _ := n.claims.own(table.Local)
	c.activate(&link.Result{RemoteVersion: n.opt.Version}, g, false)
	return c, nil
}

// Failed implements transport.Acceptor.
func (l *loop) Failed(p *transport.Peer, value any, stack []byte) {
	l.panicked(p.Remote+": "+p.Agent, value, stack)
}

package load

import (
	"context"
	"errors"

	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/internal/usage"
)

// Mesh replaces the node by n ones that are a full mesh. Connections go to all but the last, of which only OpenLast is for: the first
// has the publishers.
func (g *Rig) Mesh(ctx context.Context, n int) error {
	if g.Target.Command.Text == "" {
		return errors.New("the nodes of a mesh are started: give a command, not addresses")
	}
	if err := g.Close(); err != nil {
		return err
	}
	nodes, err := process.StartMesh(ctx, g.Target.Command, n)
	if err != nil {
		return err
	}
	g.nodes, g.addrs = nodes, nil
	for _, node := range nodes[:n-1] {
		g.addrs = append(g.addrs, node.Addr)
	}
	return nil
}

// OpenLast opens a connection to the last node of a mesh for the caller to close.
func (g *Rig) OpenLast(ctx context.Context, o DialOptions) (Conn, error) {
	return g.Target.Dialer.Dial(ctx, g.nodes[len(g.nodes)-1].Addr, o)
}

// ReplaceLast kills the last node of a mesh and starts it again, beside whoever measures.
func (g *Rig) ReplaceLast(ctx context.Context) error {
	i := len(g.nodes) - 1
	last := g.nodes[i]
	u, err := usage.Of(last.PID())
	if err != nil {
		return err
	}
	g.mu.Lock() // until it is there again the others are all there is
	g.nodes, g.spent = g.nodes[:i], g.spent+u.CPU
	g.mu.Unlock()
	next, err := last.Replace(ctx)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.nodes = append(g.nodes, next)
	return nil
}

package process

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// meshID is the node id of the i-th node of a mesh. The last sorts first: it dials the others when it is started again.
func meshID(i int) string { return fmt.Sprintf("bench-node-%03d", 999-i) }

// MaxMesh bounds the nodes of a mesh on one machine.
const MaxMesh = 64

// StartMesh runs n processes of c that are the replicas of a full mesh, each with the list of all, and returns when all accept
// connections; whether they have found each other is not known then.
func StartMesh(ctx context.Context, c Command, n int) (all []*Node, err error) {
	switch {
	case !strings.Contains(c.Text, "{config}") || c.Transport != "":
		return nil, fmt.Errorf("command %q: nodes find each other by a configuration with plain listeners: give {config}, and no transport", c.Text)
	case n < 1 || n > MaxMesh:
		return nil, fmt.Errorf("a mesh of %d nodes: want 1 to %d", n, MaxMesh)
	}
	for range n {
		addr, err := FreeAddress()
		if err != nil {
			return nil, err
		}
		c.mesh = append(c.mesh, addr)
	}
	for _, addr := range c.mesh {
		node, err := startAt(ctx, c, addr)
		if err != nil {
			for _, other := range all {
				err = errors.Join(err, other.Stop())
			}
			return nil, err
		}
		all = append(all, node)
	}
	return all, nil
}

// Replace kills the process, as a loss of power does, and starts it again where it was. It returns when that accepts connections.
func (n *Node) Replace(ctx context.Context) error {
	_ = syscall.Kill(-n.cmd.Process.Pid, syscall.SIGKILL)
	<-n.gone
	_ = n.log.Close()
	if err := n.start(); err != nil {
		return err
	}
	if err := n.listening(ctx); err != nil {
		return fmt.Errorf("%s, started again: %w\n%s", n.command.Text, err, n.LogTail(2000))
	}
	return nil
}

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

// Replace kills the process, as a loss of power does, and starts it again where it was. It returns the new one when that accepts
// connections; n is not to be used any more then.
func (n *Node) Replace(ctx context.Context) (*Node, error) {
	_ = syscall.Kill(-n.cmd.Process.Pid, syscall.SIGKILL)
	<-n.gone
	_ = n.log.Close()
	next := &Node{command: n.command, address: n.address, dir: n.dir}
	if err := next.start(); err != nil {
		return nil, err
	}
	if err := next.listening(ctx); err != nil {
		tail := next.LogTail(2000)
		_ = next.Stop() // the reason is in err
		return nil, fmt.Errorf("%s, started again: %w\n%s", n.command.Text, err, tail)
	}
	return next, nil
}

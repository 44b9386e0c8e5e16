package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
)

// meshID is the node id of the i-th node of a mesh. The last sorts first: it dials the others when it is started again.
func meshID(i int) string { return fmt.Sprintf("bench-node-%03d", 999-i) }

// MaxMesh bounds the nodes of a mesh on one machine.
const MaxMesh = 64

// StartMesh runs n processes of c that are the replicas of a full mesh, each with the list of all, and returns when all accept
// connections; whether they have found each other is not known then.
func StartMesh(ctx context.Context, c Command, n int) ([]*Node, error) {
	switch {
	case !strings.Contains(c.Text, "{config}") || c.Transport != "":
		return nil, fmt.Errorf("command %q: nodes find each other by a configuration with plain listeners: give {config}, and no transport", c.Text)
	case n < 1 || n > MaxMesh:
		return nil, fmt.Errorf("a mesh of %d nodes: want 1 to %d", n, MaxMesh)
	}
	return startAll(ctx, c, n)
}

// startAll runs n processes, those of a mesh if there are several. As long as others take one of the ports between choice and use, it is
// done anew with other ones.
func startAll(ctx context.Context, c Command, n int) (all []*Node, _ error) {
	for tries := 1; ; tries++ {
		addrs, err := freeAddresses(n)
		if c.mesh = addrs; n == 1 {
			c.mesh = nil
		}
		for i := 0; i < len(addrs) && err == nil; i++ {
			var node *Node
			if node, err = startAt(ctx, c, addrs[i]); err == nil {
				all = append(all, node)
			}
		}
		if err == nil {
			return all, nil
		}
		for _, other := range all {
			err = errors.Join(err, other.Stop())
		}
		if all = nil; tries == 4 || !strings.Contains(err.Error(), "ddress already in use") {
			return nil, err
		}
	}
}

// freeAddresses returns n different loopback addresses with ports nobody listens on at the moment.
func freeAddresses(n int) (all []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // when all are chosen: the kernel may give a port that is free to two
		all = append(all, l.Addr().String())
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
		_ = os.RemoveAll(n.dir)
		return nil, err
	}
	if err := next.listening(ctx); err != nil {
		tail := next.LogTail(2000)
		_ = next.Stop() // the reason is in err
		return nil, fmt.Errorf("%s, started again: %w\n%s", n.command.Text, err, tail)
	}
	return next, nil
}

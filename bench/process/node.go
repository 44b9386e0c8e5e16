package process

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/internal/usage"
)

// Node is a process under test.
type Node struct {
	Addr string      // where it listens: host:port for plain gRPC, else with a scheme
	TLS  *tls.Config // of its clients, with a certificate of theirs; nil: without TLS

	command Command
	address string // which it was given
	cmd     *exec.Cmd
	dir     string // holds its configuration and log; removed by Stop
	log     *os.File
	gone    chan struct{} // closed when the process has ended
}

const (
	startLimit  = 60 * time.Second
	stopLimit   = 30 * time.Second // thousands of connections end before it, on a busy machine
	probeEvery  = 20 * time.Millisecond
	acceptLimit = 20 * time.Second // for a process to take a connection, likewise
)

// Start runs c on a free port and returns when it accepts connections there. The process dies with this one. Should another process take
// the port first, it is tried again, by another.
func Start(ctx context.Context, c Command) (*Node, error) {
	all, err := startAll(ctx, c, 1)
	return append(all, nil)[0], err
}

// startAt runs c on that port, once.
func startAt(ctx context.Context, c Command, addr string) (*Node, error) {
	dir, err := os.MkdirTemp("", "slim-bench-")
	if err != nil {
		return nil, err
	}
	n := &Node{command: c, address: addr, dir: dir}
	if err := n.start(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	if err := n.listening(ctx); err != nil {
		tail := n.LogTail(2000)
		_ = n.Stop() // the reason is in err
		return nil, fmt.Errorf("%s: %w\n%s", c.Text, err, tail)
	}
	return n, nil
}

func (n *Node) start() error {
	c, addr := n.command, n.address
	n.Addr, n.gone = c.address(addr, n.dir), make(chan struct{})
	words, err := c.expand(addr, n.dir)
	if err == nil && c.secure() {
		n.TLS, err = certificates(n.dir)
	}
	if err != nil {
		return err
	}
	if n.log, err = os.Create(filepath.Join(n.dir, "log")); err != nil {
		return err
	}
	n.cmd = exec.Command(words[0], words[1:]...)
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	// In a group of its own, so that its children are ended with it; and should this process die, the kernel ends it.
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := n.cmd.Start(); err != nil {
		_ = n.log.Close()
		return err
	}
	go func(cmd *exec.Cmd, gone chan struct{}) {
		_ = cmd.Wait() // its state tells how it ended
		close(gone)
	}(n.cmd, n.gone)
	return nil
}

// listening probes the address until it answers.
func (n *Node) listening(ctx context.Context) error {
	var c net.Conn
	err := Until(ctx, probeEvery, startLimit, func() bool {
		c, _ = Reach(ctx, n.Addr)
		return c != nil || n.Ended()
	})
	switch {
	case err != nil && ctx.Err() == nil:
		return fmt.Errorf("does not listen on %s after %v", n.Addr, startLimit)
	case err != nil:
		return err
	case c == nil:
		return fmt.Errorf("ended before it listened: %v", n.cmd.ProcessState)
	}
	defer c.Close()
	if err := Serves(ctx, n.PID(), c); err != nil && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("something else listens than the process that was started (a wrapper has to end in exec): %w", err)
	}
	return nil
}

// PID returns the id of the process that was started.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Ended reports whether the process has ended.
func (n *Node) Ended() bool {
	select {
	case <-n.gone:
		return true
	default:
		return false
	}
}

// LogTail returns the last bytes of what the node printed.
func (n *Node) LogTail(limit int) string {
	b, _ := os.ReadFile(n.log.Name())
	return strings.TrimSpace(string(b[max(0, len(b)-limit):]))
}

// Stop ends the process and its children: SIGTERM, and SIGKILL if it is still there after 30 s. It reports an exit that
// came before the call, or was forced.
func (n *Node) Stop() error {
	defer os.RemoveAll(n.dir)
	defer n.log.Close()
	if n.Ended() {
		return fmt.Errorf("node had ended: %v", n.cmd.ProcessState)
	}
	_ = syscall.Kill(-n.cmd.Process.Pid, syscall.SIGTERM)
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-n.gone:
		_ = syscall.Kill(-n.cmd.Process.Pid, syscall.SIGKILL) // children that have outlived it
		return nil
	case <-limit.C:
		_ = syscall.Kill(-n.cmd.Process.Pid, syscall.SIGKILL)
		<-n.gone
		return errors.New("node ignored SIGTERM")
	}
}

// Until asks every so often whether it is done, at once for the first time, and returns nil when it is; else, after the limit
// or the end of ctx, the context's error.
func Until(ctx context.Context, every, limit time.Duration, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	again := time.NewTicker(every)
	defer again.Stop()
	for !done() {
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Serves returns nil when pid or one of its descendants holds the other end of c, a connection that was opened here, and else says
// why its figures would not be those of the node there. An error that is fs.ErrPermission tells that this user may not look.
func Serves(ctx context.Context, pid int, c net.Conn) error {
	var served, taken, hidden bool
	elsewhere := 0 // looks at which another process had it, of which one may fall between the steps of accepting it
	_ = Until(ctx, 2*probeEvery, acceptLimit, func() bool {
		if served, taken, hidden = serves(pid, c); taken && !served {
			elsewhere++
		}
		return served || hidden || elsewhere > 1
	})
	switch {
	case served:
		return nil
	case hidden:
		return fmt.Errorf("whether it serves %s only its user and root can see: measure as one of them (%w)", c.RemoteAddr(), fs.ErrPermission)
	}
	return fmt.Errorf("it does not serve %s, nor does a child of it: its figures are not the node's", c.RemoteAddr())
}

// serves is how that is now; taken: some process has accepted it; hidden: some descriptors may not be looked at. Of a unix socket
// the kernel tells who listens, of TCP the table of where pid lives.
func serves(pid int, c net.Conn) (served, taken, hidden bool) {
	all := usage.Tree(pid)
	if u, ok := c.(*net.UnixConn); ok {
		if raw, err := u.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) {
				peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
				served = err == nil && slices.Contains(all, int(peer.Pid))
			})
		}
		return served, true, false
	}
	end := otherEnd(pid, c)
	taken = end != "" && end != "socket:[0]"
	for _, id := range all {
		p, err := procfs.NewProc(id)
		if err != nil {
			continue // it has ended
		}
		files, err := p.FileDescriptorTargets()
		served, hidden = served || slices.Contains(files, end), hidden || errors.Is(err, fs.ErrPermission)
	}
	return served, taken, hidden
}

// otherEnd is the socket there is for the other end of c where pid lives, as the link of a descriptor names it; empty: none.
func otherEnd(pid int, c net.Conn) string {
	here, ok := c.LocalAddr().(*net.TCPAddr)
	there, ok2 := c.RemoteAddr().(*net.TCPAddr)
	tables, err := procfs.NewFS(fmt.Sprintf("/proc/%d", pid))
	if !ok || !ok2 || err != nil {
		return ""
	}
	four, _ := tables.NetTCP() //nolint:staticcheck // netlink, which is to replace it, tells of no other process's network
	six, _ := tables.NetTCP6() //nolint:staticcheck // likewise; a system may have none
	for _, l := range append(four, six...) {
		if l.LocalAddr.Equal(there.IP) && l.LocalPort == uint64(there.Port) && l.RemAddr.Equal(here.IP) && l.RemPort == uint64(here.Port) {
			return fmt.Sprintf("socket:[%d]", l.Inode)
		}
	}
	return ""
}

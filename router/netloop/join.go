package netloop

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Join makes a connection, which it takes over, a socket of the loop that has the fewest: Enrol on it. handler makes its
// handler. A connection without a descriptor, such as TLS to a proxy, is reached through a pair of sockets.
func (e *Engine) Join(c net.Conn, handler func(*Loop) Handler) error {
	if _, ok := c.(syscall.Conn); !ok {
		near, err := e.bridge(c)
		if err != nil {
			_ = c.Close()
			return err
		}
		c = near
	}
	l := e.leastLoaded()
	return l.Enrol(c, handler(l))
}

// bridge returns one end of a pair of sockets; two goroutines carry bytes between the other end and c, until both
// directions have ended or Stop begins.
func (e *Engine) bridge(c net.Conn) (near net.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	near, err = fileConn(fds[0], "bridge")
	far, err2 := fileConn(fds[1], "bridge")
	if err != nil || err2 != nil || !e.begin() {
		for _, x := range []net.Conn{near, far} {
			if x != nil {
				_ = x.Close()
			}
		}
		if err == nil {
			err = err2
		}
		if err == nil {
			err = net.ErrClosed
		}
		return nil, err
	}
	over := make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() { carry(far, c) })
	both.Go(func() { carry(c, far) })
	go func() {
		both.Wait()
		close(over)
	}()
	go func() {
		defer e.workers.Done()
		select {
		case <-over:
		case <-e.done:
		}
		_, _ = far.Close(), c.Close()
		<-over
	}()
	return near, nil
}

// carry copies from one connection to another until the end, and passes the end on.
func carry(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if w, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
		_ = w.CloseWrite()
		return
	}
	_ = to.Close() // an error, or no way to end one direction
}

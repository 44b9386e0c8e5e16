package netloop

import (
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Joining is what becomes of a connection that this side has opened.
type Joining struct {
	// Handler makes the handler of the connection for its loop, the one with the fewest sockets.
	Handler func(*Loop) Handler
	// TLS is spoken as a client, nil: none. Its ServerName is what the peer must be.
	TLS *tls.Config
	// Timeout is for the handshake of TLS; 0: 10 s.
	Timeout time.Duration
}

// Join makes a connection, which it takes over, a socket of a loop. It waits for the handshake of TLS, whose failure is a
// *HandshakeError, until ctx is over. A connection without a descriptor, such as TLS to a proxy, is reached through a pair
// of sockets.
func (e *Engine) Join(ctx context.Context, c net.Conn, j Joining) (err error) {
	gone := func() {}
	if _, ok := c.(syscall.Conn); !ok {
		near, ends, err := e.bridge(c)
		if err != nil {
			_ = c.Close()
			return err
		}
		c, gone = near, ends
		handler := j.Handler
		j.Handler = func(l *Loop) Handler { return bridged{handler(l), gone} }
	}
	defer func() {
		if err != nil {
			_ = c.Close()
			gone()
		}
	}()
	l := e.leastLoaded()
	k := &Socket{loop: l}
	if j.TLS != nil {
		s, err := e.secure(ctx, c, j)
		if err != nil {
			return err
		}
		k.tls, k.written = s, uint64(s.written)
	}
	k.handler = j.Handler(l)
	return l.enrol(c, k)
}

// secure runs the handshake of TLS with c.
func (e *Engine) secure(ctx context.Context, c net.Conn, j Joining) (*sealed, error) {
	began := time.Now()
	deadline := began.Add(cmp.Or(j.Timeout, handshakeTimeout))
	_ = c.SetDeadline(deadline) // before the one that ctx may set
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	s, err := shake(c, true, j.TLS, e.turns, began, deadline)
	if !stop() && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		if err.Fault == HandshakePlain {
			err.Text = "the peer does not speak TLS: let it, or dial it without (http:// or ws://)"
		}
		return nil, err
	}
	_ = c.SetDeadline(time.Time{})
	return s, nil
}

// bridged is the handler of a socket that ends in a bridge, which is told of its end.
type bridged struct {
	Handler
	gone func()
}

func (b bridged) Closed(err error) {
	b.Handler.Closed(err)
	b.gone()
}

// bridgeLinger is how long a connection may take to get rid of what its socket, which is closed, has left, and to end.
const bridgeLinger = 5 * time.Second

// bridge returns one end of a pair of sockets; two goroutines carry bytes between the other end and c, until both
// directions have ended, the near end is gone and its time to linger over, or Stop begins.
func (e *Engine) bridge(c net.Conn) (near net.Conn, gone func(), err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
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
		return nil, nil, err
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
	return near, func() { _ = c.SetDeadline(time.Now().Add(e.linger)) }, nil
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

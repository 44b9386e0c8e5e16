package simnet

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	defaultBuffer = 64 << 10
	backlog       = 1024 // connections that wait for Accept
)

// Net is one network. The zero value delivers at once. The fields are fixed before the first use; the methods are
// safe for all.
type Net struct {
	Delay  time.Duration // from a write to when its bytes can be read
	Buffer int           // bytes that were written and not read, in each direction of a connection; 0: 64 KiB

	mu        sync.Mutex
	listeners map[Addr]*listener
	made      int // addresses given out
}

// Addr is the address of one end, unique in its network.
type Addr string

// Network implements net.Addr.
func (Addr) Network() string { return "sim" }

// String implements net.Addr.
func (a Addr) String() string { return string(a) }

// address returns one that nobody has. n.mu is held.
func (n *Net) address() Addr {
	n.made++
	return Addr(fmt.Sprintf("sim:%d", n.made))
}

// Listen opens a listener on an address of its own.
func (n *Net) Listen() net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = map[Addr]*listener{}
	}
	l := &listener{net: n, addr: n.address()}
	l.changed.L = &l.mu
	n.listeners[l.addr] = l
	return l
}

// Dial connects to a listener's address: a *Conn, at once, whether it is accepted or not. Where nobody listens, the
// error wraps syscall.ECONNREFUSED.
func (n *Net) Dial(ctx context.Context, addr string) (net.Conn, error) {
	fail := func(err error) error { return &net.OpError{Op: "dial", Net: "sim", Addr: Addr(addr), Err: err} }
	if err := ctx.Err(); err != nil {
		return nil, fail(err)
	}
	n.mu.Lock()
	l := n.listeners[Addr(addr)]
	local := n.address()
	n.mu.Unlock()
	if l == nil {
		return nil, fail(syscall.ECONNREFUSED)
	}
	c, s := n.pair(local, l.addr)
	if !l.offer(s) {
		return nil, fail(syscall.ECONNREFUSED)
	}
	return c, nil
}

// Pair returns the two ends of a connection that nobody listened for.
func (n *Net) Pair() (*Conn, *Conn) {
	n.mu.Lock()
	a, b := n.address(), n.address()
	n.mu.Unlock()
	return n.pair(a, b)
}

func (n *Net) pair(a, b Addr) (*Conn, *Conn) {
	size := n.Buffer
	if size <= 0 {
		size = defaultBuffer
	}
	there, back := newPipe(n.Delay, size), newPipe(n.Delay, size)
	return &Conn{in: back, out: there, local: a, remote: b}, &Conn{in: there, out: back, local: b, remote: a}
}

type listener struct {
	net  *Net
	addr Addr

	mu      sync.Mutex
	changed sync.Cond
	waiting []*Conn
	closed  bool
}

// offer queues a connection; false: the listener is closed, or its backlog is full.
func (l *listener) offer(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.waiting) >= backlog {
		return false
	}
	l.waiting = append(l.waiting, c)
	l.changed.Signal()
	return true
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) == 0 && !l.closed {
		l.changed.Wait()
	}
	if l.closed {
		return nil, &net.OpError{Op: "accept", Net: "sim", Addr: l.addr, Err: net.ErrClosed}
	}
	c := l.waiting[0]
	l.waiting = l.waiting[1:]
	return c, nil
}

// Close implements net.Listener. Connections that were not accepted are reset.
func (l *listener) Close() error {
	l.net.mu.Lock()
	delete(l.net.listeners, l.addr)
	l.net.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.waiting {
		c.Reset()
	}
	l.waiting, l.closed = nil, true
	l.changed.Broadcast()
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.addr }

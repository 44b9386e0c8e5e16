package admin

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// grace is how long a connection may be about its request before it has to make room for another: a probe takes less.
const grace = 25 * time.Millisecond

// conns is a listener that has maxConns open at most. Whoever comes after that takes the place of another, so that those
// who ask nothing, or do not read the answer, keep nobody waiting: of one that is idle, else of the one that has been about
// the same request for the longest, once that is more than grace.
type conns struct {
	net.Listener
	freed  chan struct{} // has a token when one has closed or become idle
	closed chan struct{}
	once   sync.Once

	mu  sync.Mutex
	all map[*conn]struct{} // guarded by mu
}

// conn is a connection of conns.
type conn struct {
	net.Conn
	of *conns

	since time.Time // when it became idle, or began to be not; guarded by of.mu
	idle  bool      // it waits for another request; guarded by of.mu
}

func newConns(ln net.Listener) *conns {
	return &conns{Listener: ln, freed: make(chan struct{}, 1), closed: make(chan struct{}), all: map[*conn]struct{}{}}
}

// Accept implements net.Listener.
func (l *conns) Accept() (net.Conn, error) {
	in, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: in, of: l}
	for {
		wait := l.add(c, time.Now())
		if wait <= 0 {
			return c, nil
		}
		select {
		case <-time.After(wait):
		case <-l.freed:
		case <-l.closed:
			_ = in.Close()
			return nil, net.ErrClosed
		}
	}
}

// add notes a connection, which may cost another one its place. Otherwise it returns when to try again.
func (l *conns) add(c *conn, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) >= maxConns {
		var last *conn // the first to go
		for x := range l.all {
			if last == nil || x.idle && !last.idle || x.idle == last.idle && x.since.Before(last.since) {
				last = x
			}
		}
		if wait := last.since.Add(grace).Sub(now); !last.idle && wait > 0 {
			return wait
		}
		if tcp, ok := last.Conn.(*net.TCPConn); ok && !last.idle {
			_ = tcp.SetLinger(0) // the kernel does not keep what nobody reads
		}
		delete(l.all, last)
		_ = last.Conn.Close()
	}
	c.since = now
	l.all[c] = struct{}{}
	return 0
}

// changed is told of the states of connections by net/http.
func (l *conns) changed(x net.Conn, s http.ConnState) {
	c, ok := x.(*conn)
	if !ok || s != http.StateIdle && s != http.StateActive {
		return
	}
	l.mu.Lock()
	c.since, c.idle = time.Now(), s == http.StateIdle
	l.mu.Unlock()
	if s == http.StateIdle {
		l.tell()
	}
}

// tell has whoever waits for room look again.
func (l *conns) tell() {
	select {
	case l.freed <- struct{}{}:
	default:
	}
}

// Close implements net.Listener.
func (l *conns) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.of.mu.Lock()
	delete(c.of.all, c)
	c.of.mu.Unlock()
	c.of.tell()
	return c.Conn.Close()
}

package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"

	"github.com/seed31b3bfd0/slimgo/bench/load"
)

// greetingSize is how much of what a peer says first is kept to tell what it is.
const greetingSize = 64

// socket is a connection's socket as a generator wants it: it counts how long writes wait, reads as fast as the throttle
// says, knows when a read returned, and keeps what the peer has said first.
type socket struct {
	*load.Socket
	throttle *load.Throttle
	once     sync.Once
	closed   chan struct{}

	// The reader's.
	readAt   int64 // when the latest read returned, on the clock of load.Now
	greeting []byte
}

func newSocket(nc net.Conn) *socket {
	return &socket{Socket: load.NewSocket(nc), throttle: load.NewThrottle(), closed: make(chan struct{}),
		greeting: make([]byte, 0, greetingSize)}
}

// Read implements net.Conn.
func (s *socket) Read(b []byte) (int, error) {
	n := s.throttle.Allow(len(b), s.closed)
	if n == 0 {
		return 0, net.ErrClosed
	}
	n, err := s.Socket.Read(b[:n])
	s.readAt = load.Now()
	if room := cap(s.greeting) - len(s.greeting); room > 0 {
		s.greeting = append(s.greeting, b[:min(room, n)]...)
	}
	return n, err
}

// Close implements net.Conn.
func (s *socket) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Socket.Close()
}

// dialTCP says what to do where nobody listens.
func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer // TCP_NODELAY is on in Go
	nc, err := d.DialContext(ctx, "tcp", addr)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%s: nobody listens there: start the node, or check the address (%w)", addr, err)
	}
	return nc, err
}

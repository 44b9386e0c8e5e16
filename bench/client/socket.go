package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/seed31b3bfd0/slimgo/bench/load"
)

// greetingSize is how much of what a peer says first is kept to tell what it is.
const greetingSize = 64

// socket is one that keeps what the peer has said first.
type socket struct {
	*load.Socket
	greeting []byte // the reader's
}

// Read implements net.Conn.
func (s *socket) Read(b []byte) (int, error) {
	n, err := s.Socket.Read(b)
	if room := greetingSize - len(s.greeting); room > 0 {
		s.greeting = append(s.greeting, b[:min(room, n)]...)
	}
	return n, err
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

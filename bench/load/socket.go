package load

import (
	"net"
	"sync/atomic"
	"syscall"
)

// Socket is a connection that knows how long its writes have waited for the peer to take something: a blocked sender is
// the node's doing, a slow one the generator's. One goroutine writes at a time.
type Socket struct {
	net.Conn
	raw    syscall.RawConn // nil: waiting is not told from writing
	waited atomic.Int64

	// Of the write that goes on.
	left  []byte
	since int64 // when the socket was found full; 0: it is not
	err   error
	try   func(fd uintptr) bool
}

// NewSocket wraps a connection of the kernel. Of others it knows no waiting.
func NewSocket(nc net.Conn) *Socket {
	s := &Socket{Conn: nc}
	if c, ok := nc.(syscall.Conn); ok {
		s.raw, _ = c.SyscallConn() // fails when nc is closed, and then Write says so
	}
	s.try = s.attempt
	return s
}

// Waited returns how long writes have waited so far, in nanoseconds. Safe for all.
func (s *Socket) Waited() int64 { return s.waited.Load() }

// Write implements net.Conn.
func (s *Socket) Write(b []byte) (int, error) {
	if s.raw == nil || !writesDirectly {
		return s.Conn.Write(b)
	}
	s.left, s.err = b, nil
	err := s.raw.Write(s.try)
	s.resumed()
	n := len(b) - len(s.left)
	s.left = nil
	if err == nil {
		err = s.err
	}
	return n, err
}

// resumed counts the time since the socket was found full.
func (s *Socket) resumed() {
	if s.since > 0 {
		s.waited.Add(Now() - s.since)
		s.since = 0
	}
}

// attempt writes what the socket takes; false: it is full.
func (s *Socket) attempt(fd uintptr) bool {
	s.resumed()
	for len(s.left) > 0 {
		n, again, err := writeNow(fd, s.left)
		switch {
		case again:
			s.since = Now()
			return false
		case err != nil:
			s.err = err
			return true
		}
		s.left = s.left[n:]
	}
	return true
}

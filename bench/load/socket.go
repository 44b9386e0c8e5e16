package load

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Socket is a connection as a generator wants it. It knows how long its writes have waited for the peer to take
// something: a blocked sender is the node's doing, a slow one the generator's. It reads as fast as it shall. One
// goroutine reads and one writes at a time.
type Socket struct {
	net.Conn
	ReadAt int64 // when the latest read returned, on the clock of Now; the reader's

	throttle *throttle
	closed   chan struct{}
	closing  sync.Once
	raw      syscall.RawConn // nil: waiting is not told from writing
	waited   atomic.Int64

	// Of the write that goes on.
	left  []byte
	since int64 // when the socket was found full; 0: it is not
	err   error
	try   func(fd uintptr) bool
}

// NewSocket wraps a connection of the kernel. Of others it knows no waiting.
func NewSocket(nc net.Conn) *Socket {
	s := &Socket{Conn: nc, throttle: newThrottle(), closed: make(chan struct{})}
	if c, ok := nc.(syscall.Conn); ok {
		s.raw, _ = c.SyscallConn() // fails when nc is closed, and then Write says so
	}
	s.try = s.attempt
	return s
}

// Pace sets how fast it reads, as Conn.Pace does. Safe for all.
func (s *Socket) Pace(bytesPerSecond int) { s.throttle.set(bytesPerSecond) }

// Read implements net.Conn.
func (s *Socket) Read(b []byte) (int, error) {
	n := s.throttle.allow(len(b), s.closed)
	if n == 0 {
		return 0, net.ErrClosed
	}
	n, err := s.Conn.Read(b[:n])
	s.ReadAt = Now()
	return n, err
}

// Close implements net.Conn. Safe for all.
func (s *Socket) Close() error {
	s.closing.Do(func() { close(s.closed) })
	return s.Conn.Close()
}

// Waited returns how long writes have waited so far, in nanoseconds. Safe for all.
func (s *Socket) Waited() int64 { return s.waited.Load() }

// Write implements net.Conn.
func (s *Socket) Write(b []byte) (int, error) {
	if s.raw == nil {
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

// writeNow writes without waiting; again: the socket takes nothing at the moment.
func writeNow(fd uintptr, b []byte) (n int, again bool, err error) {
	for {
		n, err = unix.Write(int(fd), b)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return 0, true, nil
		case err != nil:
			return 0, false, os.NewSyscallError("write", err)
		default:
			return n, false, nil
		}
	}
}

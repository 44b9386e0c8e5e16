package load

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Socket is a connection as a generator wants it. It knows how long its writes have waited for the peer to take
// something: a blocked sender is the node's doing, a slow one the generator's. It reads as fast as it shall. One
// goroutine reads and one writes at a time.
type Socket struct {
	net.Conn
	ReadAt int64 // when the latest read returned, on the clock of Now; the reader's

	pace    atomic.Int64  // bytes a second, 0: none, negative: without limit
	change  chan struct{} // of pace; holds one
	closed  chan struct{}
	closing sync.Once
	waited  atomic.Int64

	// The writer's.
	raw     syscall.RawConn // nil: waiting is not told from writing
	b       []byte          // of the write that goes on
	n       int             // bytes of b that the socket took at once
	attempt func(fd uintptr) bool
}

// NewSocket wraps a connection of the kernel. Of others it knows no waiting.
func NewSocket(nc net.Conn) *Socket {
	s := &Socket{Conn: nc, change: make(chan struct{}, 1), closed: make(chan struct{})}
	s.pace.Store(-1)
	if c, ok := nc.(syscall.Conn); ok {
		s.raw, _ = c.SyscallConn() // fails when nc is closed, and then Write says so
	}
	s.attempt = func(fd uintptr) bool {
		s.n, _ = unix.Write(int(fd), s.b) // an error comes again with the rest
		return true
	}
	return s
}

// Pace sets how fast it reads, as Conn.Pace does. Safe for all.
func (s *Socket) Pace(bytesPerSecond int) {
	s.pace.Store(int64(bytesPerSecond))
	select {
	case s.change <- struct{}{}:
	default:
	}
}

// paceStep is how often a slowed reader reads.
const paceStep = 100 * time.Millisecond

// allowed returns how many of n bytes may be read now; it blocks while that is none. 0: closed.
func (s *Socket) allowed(n int) int {
	for {
		rate := s.pace.Load()
		if rate < 0 {
			return n
		}
		var after <-chan time.Time
		if rate > 0 {
			after = time.After(paceStep)
		}
		select {
		case <-after:
			return min(n, max(1, int(rate*int64(paceStep)/int64(time.Second))))
		case <-s.change:
		case <-s.closed:
			return 0
		}
	}
}

// Read implements net.Conn.
func (s *Socket) Read(b []byte) (int, error) {
	n := s.allowed(len(b))
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

// Write implements net.Conn. What the socket does not take at once waits for it.
func (s *Socket) Write(b []byte) (int, error) {
	if s.raw == nil {
		return s.Conn.Write(b)
	}
	s.b, s.n = b, 0
	err := s.raw.Write(s.attempt)
	taken := max(s.n, 0)
	s.b = nil
	if err != nil || taken == len(b) {
		return taken, err
	}
	begun := Now()
	n, err := s.Conn.Write(b[taken:])
	s.waited.Add(Now() - begun)
	return taken + n, err
}

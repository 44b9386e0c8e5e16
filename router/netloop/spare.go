package netloop

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"
)

// spare is a descriptor that is kept for a moment when there is no other: a socket that goes on with a duplicate of its
// descriptor needs two for as long as it takes to close the first. Safe for all.
type spare struct {
	mu     sync.Mutex
	fd     int // guarded by mu; 0: there is none
	closed bool
}

// dup duplicates fd, at the cost of the spare descriptor if need be.
func (s *spare) dup(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil || !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENFILE) {
		return n, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd == 0 {
		return -1, err
	}
	_ = unix.Close(s.fd)
	s.fd = 0
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
}

// refill makes the spare descriptor, if it is missing and can be made.
func (s *spare) refill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd != 0 || s.closed {
		return
	}
	if fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
		s.fd = fd
	}
}

func (s *spare) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.fd != 0 {
		_ = unix.Close(s.fd)
		s.fd = 0
	}
}

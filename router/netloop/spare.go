package netloop

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"
)

// spare is two descriptors that are kept for a moment when there are no others. A socket that goes on with a duplicate
// of its descriptor needs one for as long as it takes to close the first, a connection on its way to gnet two. Without
// them whoever holds the last descriptors could wait for each other for ever. Safe for all.
type spare struct {
	mu     sync.Mutex
	fds    [2]int // guarded by mu; 0: it is missing
	lent   bool   // guarded by mu: they are free for whoever hand runs
	closed bool   // guarded by mu

	taking sync.Mutex // held by hand, and by those who accept, who would take what hand has set free
}

// dup duplicates fd, onto a spare descriptor if need be.
func (s *spare) dup(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil || !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENFILE) {
		return n, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, n := range s.fds {
		if n != 0 && unix.Dup3(fd, n, unix.O_CLOEXEC) == nil { // in one step: nobody else can take the number
			s.fds[i] = 0
			return n, nil
		}
	}
	return -1, err
}

// hand runs f while the spare descriptors are free, one f at a time. What f has not kept becomes spare again. It waits
// for others who do that, so not on a loop.
func (s *spare) hand(f func() error) error {
	s.taking.Lock()
	defer s.taking.Unlock()
	s.refill() // what others have set free
	s.free(true)
	defer s.free(false)
	return f()
}

// free sets the spare descriptors free for hand, or ends that.
func (s *spare) free(lent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lent = lent
	if lent {
		s.drop()
	} else {
		s.make()
	}
}

// refill makes the spare descriptors that are missing, if that is possible now.
func (s *spare) refill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.make()
}

func (s *spare) make() {
	for i, fd := range s.fds {
		if fd != 0 || s.closed || s.lent {
			continue
		}
		if fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
			s.fds[i] = fd
		}
	}
}

func (s *spare) drop() {
	for i, fd := range s.fds {
		if fd != 0 {
			_ = unix.Close(fd)
			s.fds[i] = 0
		}
	}
}

func (s *spare) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.drop()
}

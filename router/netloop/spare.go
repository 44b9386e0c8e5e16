package netloop

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// spare is descriptors that are kept for those who need one when there is no other. Two are for sockets that change
// hands: one that goes on with a duplicate of its descriptor needs one for as long as it takes to close the first, a
// connection on its way to gnet two. Without them whoever holds the last descriptors could wait for each other for ever.
// The others are headroom: they are set free when nothing else is, for files that are read anew, links and probes, and
// until they can be had again nothing is accepted. Safe for all.
type spare struct {
	mu      sync.Mutex
	fds     []int // guarded by mu; no more than most
	most    int   // immutable
	crowded bool  // guarded by mu: the headroom is free
	lent    bool  // guarded by mu: all are free for whoever hand runs
	closed  bool  // guarded by mu

	taking sync.Mutex // held by hand, and by those who accept, who would take what hand has set free
}

// forHands is how many spare descriptors are for sockets that change hands.
const forHands = 2

// headroom is how many descriptors of so many are for others than those who are accepted.
func headroom(limit uint64) int { return int(min(32, limit/16)) }

// begin makes the spare descriptors.
func (s *spare) begin() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return os.NewSyscallError("getrlimit", err)
	}
	s.most = forHands + headroom(limit.Cur)
	s.look()
	return nil
}

// room reports whether there is a descriptor for another socket beside the headroom. If not, that is set free.
func (s *spare) room() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.crowded = false
	s.make()
	if s.crowded = len(s.fds) < s.most || !isFree(); s.crowded {
		s.drop(forHands)
	}
	return !s.crowded
}

// look is room for those who accept nothing: it does not take back what is free.
func (s *spare) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.make()
	if !s.crowded && !s.lent && !isFree() {
		s.crowded = true
		s.drop(forHands)
	}
}

// isFree reports whether there is a descriptor.
func isFree() bool {
	fd, err := newSpare()
	if err == nil {
		_ = unix.Close(fd)
	}
	return err == nil
}

func newSpare() (int, error) { return unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK) }

// dup duplicates fd, onto a spare descriptor if need be.
func (s *spare) dup(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil || !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENFILE) {
		return n, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.fds) - 1
	if last < 0 || unix.Dup3(fd, s.fds[last], unix.O_CLOEXEC) != nil { // in one step: nobody else can take the number
		return -1, err
	}
	n = s.fds[last]
	s.fds = s.fds[:last]
	return n, nil
}

// hand runs f while the spare descriptors are free, one f at a time. It waits for others who do that, so not on a loop.
func (s *spare) hand(f func() error) error {
	s.taking.Lock()
	defer s.taking.Unlock()
	s.lend(true)
	defer s.lend(false)
	return f()
}

func (s *spare) lend(lent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lent = lent; lent {
		s.drop(0)
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
	want := s.most
	if s.crowded {
		want = forHands
	}
	for len(s.fds) < want && !s.lent && !s.closed {
		fd, err := newSpare()
		if err != nil {
			return
		}
		s.fds = append(s.fds, fd)
	}
}

// drop sets all but so many free.
func (s *spare) drop(kept int) {
	for len(s.fds) > kept {
		last := len(s.fds) - 1
		_ = unix.Close(s.fds[last])
		s.fds = s.fds[:last]
	}
}

func (s *spare) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.drop(0)
}

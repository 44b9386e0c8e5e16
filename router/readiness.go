package router

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// readiness learns from the kernel which blocked sockets take output again and tells their loops, which sleep until
// then. gnet would do it for output in buffers of its own, but closes a socket, unread input and all, when a write of
// those fails. One goroutine serves all loops of a node.
type readiness struct {
	epoll, quit int // descriptors; quit becomes readable when the goroutine shall end
	mu          sync.Mutex
	of          map[int32]*socket // that are waited for, by descriptor
	events      [64]unix.EpollEvent
}

func openReadiness() (*readiness, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	quit, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, quit, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(quit)})
	}
	if err != nil {
		_ = unix.Close(fd)
		if quit >= 0 {
			_ = unix.Close(quit)
		}
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &readiness{epoll: fd, quit: quit, of: map[int32]*socket{}}, nil
}

// run serves until stop.
func (r *readiness) run() {
	for r.poll(-1) {
	}
}

// stop ends run.
func (r *readiness) stop() {
	_, _ = unix.Write(r.quit, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// close gives the descriptors back. Nobody may watch any more.
func (r *readiness) close() {
	_ = unix.Close(r.epoll)
	_ = unix.Close(r.quit)
}

// poll waits msec milliseconds, -1 without end, and tells the loops of what became writable. It reports false when
// run shall end.
func (r *readiness) poll(msec int) bool {
	n, err := unix.EpollWait(r.epoll, r.events[:], msec)
	if err != nil {
		return errors.Is(err, unix.EINTR)
	}
	for i := range n {
		fd := r.events[i].Fd
		if fd == int32(r.quit) {
			return false
		}
		r.mu.Lock()
		k := r.of[fd]
		delete(r.of, fd)
		r.mu.Unlock()
		if k != nil { // else it was closed meanwhile
			k.loop.takesOutput(k)
		}
	}
	return true
}

// watch has k's loop told once when the kernel takes output for k, or never will again. It may be told without cause.
func (r *readiness) watch(k *socket) error {
	r.mu.Lock()
	r.of[int32(k.fd)] = k
	r.mu.Unlock()
	ev := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLONESHOT, Fd: int32(k.fd)}
	err := unix.EpollCtl(r.epoll, unix.EPOLL_CTL_MOD, k.fd, &ev)
	if errors.Is(err, unix.ENOENT) {
		err = unix.EpollCtl(r.epoll, unix.EPOLL_CTL_ADD, k.fd, &ev)
	}
	return os.NewSyscallError("epoll_ctl", err)
}

// forget must be called before the descriptor of a socket that was watched is closed.
func (r *readiness) forget(k *socket) {
	r.mu.Lock()
	delete(r.of, int32(k.fd))
	r.mu.Unlock()
	_ = unix.EpollCtl(r.epoll, unix.EPOLL_CTL_DEL, k.fd, nil)
}

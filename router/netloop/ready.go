package netloop

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// watcher reports sockets that are ready: once for each await.
type watcher interface {
	// await arms k for one event of unix.EPOLLOUT, EPOLLIN or both.
	await(k *Socket, events uint32) error
	// forget must come before k's descriptor is closed: the number may name another socket at once.
	forget(*Socket)
}

// readiness tells loops which of their blocked sockets can be written again. gnet does not say: so there is an epoll
// instance of our own, in which a socket is armed for one event when it blocks. Nobody polls: ten thousand blocked sockets
// cost nothing until one of them can be written. Sockets that gnet does not know any more are read by its word, too.
type readiness struct {
	epoll  int
	stopFD int // an eventfd; writing it ends run

	mu     sync.Mutex
	armed  map[int32]*Socket // by descriptor; guarded by mu
	closed bool              // guarded by mu
}

func newReadiness() (*readiness, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(ep)
		return nil, os.NewSyscallError("eventfd", err)
	}
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, stop, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(stop)}); err != nil {
		_ = unix.Close(ep)
		_ = unix.Close(stop)
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return &readiness{epoll: ep, stopFD: stop, armed: map[int32]*Socket{}}, nil
}

// await implements watcher.
func (r *readiness) await(k *Socket, events uint32) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return unix.EBADF
	}
	ev := unix.EpollEvent{Events: events | unix.EPOLLONESHOT, Fd: int32(k.fd)}
	op := unix.EPOLL_CTL_MOD
	if !k.watched {
		op = unix.EPOLL_CTL_ADD
	}
	if err := unix.EpollCtl(r.epoll, op, k.fd, &ev); err != nil {
		return err
	}
	k.watched = true
	r.armed[ev.Fd] = k
	return nil
}

// forget implements watcher.
func (r *readiness) forget(k *Socket) {
	if !k.watched {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	k.watched = false
	if r.armed[int32(k.fd)] == k {
		delete(r.armed, int32(k.fd))
	}
	if !r.closed {
		_ = unix.EpollCtl(r.epoll, unix.EPOLL_CTL_DEL, k.fd, nil)
	}
}

// run passes events on until stop.
func (r *readiness) run() {
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := unix.EpollWait(r.epoll, events, -1)
		if err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return
		}
		if r.report(events[:n]) {
			return
		}
	}
}

// report tells loops of events, and whether stop is one of them. An event may be meant for a descriptor that has been
// closed since: then whoever has the number now is reported in vain.
func (r *readiness) report(events []unix.EpollEvent) (stopped bool) {
	for _, ev := range events {
		if int(ev.Fd) == r.stopFD {
			return true
		}
		r.mu.Lock()
		k := r.armed[ev.Fd]
		delete(r.armed, ev.Fd)
		r.mu.Unlock()
		if k == nil {
			continue
		}
		l := k.loop
		l.readyMu.Lock()
		l.ready = append(l.ready, k)
		l.readyMu.Unlock()
		l.station.Wake()
	}
	return false
}

func (r *readiness) stop() {
	_, _ = unix.Write(r.stopFD, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// close follows the end of run and of all loops.
func (r *readiness) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	_ = unix.Close(r.epoll)
	_ = unix.Close(r.stopFD)
}

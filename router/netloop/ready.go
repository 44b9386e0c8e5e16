package netloop

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"
)

// watcher reports sockets that can be written again.
type watcher interface {
	await(*Socket) error
	forget(*Socket)
}

// readiness tells loops which of their blocked sockets can be written again. gnet does not say: so there is an epoll
// instance of our own, in which a socket is armed for one event when it blocks. Nobody polls: ten thousand blocked sockets
// cost nothing until one of them can be written.
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
		return nil, err
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, stop, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(stop)})
	}
	if err != nil {
		_ = unix.Close(ep)
		return nil, err
	}
	return &readiness{epoll: ep, stopFD: stop, armed: map[int32]*Socket{}}, nil
}

// await arms k for one event.
func (r *readiness) await(k *Socket) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return unix.EBADF
	}
	ev := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLONESHOT, Fd: int32(k.fd)}
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

// forget must come before k's descriptor is closed: the number may name another socket at once.
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
		for _, ev := range events[:n] {
			if int(ev.Fd) == r.stopFD {
				return
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
	}
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

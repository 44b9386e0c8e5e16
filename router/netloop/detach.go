package netloop

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// A socket that gnet does not know any more has a descriptor of our own, a duplicate; gnet has closed its. It comes to
// that in two cases: the peer has ended its direction and may still be written to, which gnet knows no way to do, or
// the handler does not want to read, and gnet cannot be told so. Such a socket is written as before, and it is read
// when our own epoll instance reports it.

// Pause stops reading the socket, until Resume: its peer fills the kernel's buffers and has to wait. What was read
// already still comes to Handler.Read, which is one read at most. An end of the connection is noticed at the next
// write, or after Resume. It reports false if there is no descriptor for that, not even a spare one of the engine; then
// reading goes on.
func (k *Socket) Pause() bool {
	if k.paused || k.closing || k.inputEnded {
		return true
	}
	if !k.own && k.gc != nil {
		if !k.detach() {
			return false
		}
		if !k.closedByGnet {
			k.closedByGnet = true            // OnClose is not for the handler
			_ = k.gc.EventLoop().Close(k.gc) // its descriptor; the connection lives on
		}
		k.loop.engine.spare.refill() // one has become free
	}
	k.paused = true
	k.watch()
	return true
}

// Resume goes on reading.
func (k *Socket) Resume() {
	if k.paused {
		k.paused, k.allowed = false, 0
		k.watch()
	}
}

// Allow has up to n bytes read though the socket is paused. What was allowed before and has not come is part of them.
func (k *Socket) Allow(n int) {
	if k.paused && n > k.allowed {
		k.allowed = n
		k.watch()
	}
}

// Paused reports whether the socket is not read for the time being.
func (k *Socket) Paused() bool { return k.paused }

// outlive carries on, for output only, after gnet has seen the end of the input: it closes its descriptor.
func (k *Socket) outlive() bool {
	if !k.own && k.gc != nil {
		if !k.detach() {
			return false
		}
		k.loop.station.Post(k.loop.engine.spare.refill) // when gnet has closed its descriptor
	}
	k.inputEnded = true
	k.watch()
	k.markDirty()
	return !k.dead
}

// detach gives the socket a descriptor of our own. The one that gnet closes must not be watched any more.
func (k *Socket) detach() bool {
	fd, err := k.loop.engine.spare.dup(k.fd)
	if err != nil {
		return false
	}
	k.loop.engine.ready.forget(k)
	k.fd, k.own = fd, true
	return true
}

// reads reports whether it is for us to read the socket now.
func (k *Socket) reads() bool {
	return k.own && (!k.paused || k.allowed > 0) && !k.inputEnded && !k.dead
}

// watch has the loop told when the socket can do what it waits for. A socket that cannot be watched is closed.
func (k *Socket) watch() {
	var events uint32
	if k.rest != nil {
		events |= unix.EPOLLOUT
	}
	if k.reads() {
		events |= unix.EPOLLIN
	}
	if events == 0 || k.dead {
		k.loop.engine.ready.forget(k)
		return
	}
	switch err := k.loop.engine.ready.await(k, events); {
	case err == nil:
	case k.own: // it would not be read any more
		k.err = err
		k.abort()
	default:
		k.err = err
		k.Silence()
	}
}

// readReady reads the sockets that were reported ready, once each.
func (l *Loop) readReady() {
	for i := 0; i < len(l.readable); i++ {
		k := l.readable[i]
		l.readable[i] = nil
		if k.reads() && !k.closing {
			l.readOnce(k)
		}
	}
	l.readable = l.readable[:0]
}

// readOnce is what gnet does for others: one read, and a batch.
func (l *Loop) readOnce(k *Socket) {
	if l.buffer == nil {
		l.buffer = make([]byte, l.engine.opt.ReadBuffer)
	}
	b := l.buffer
	if k.paused {
		b = b[:min(len(b), k.allowed)]
	}
	n, err := unix.Read(k.fd, b)
	switch {
	case n > 0:
		k.allowed = max(0, k.allowed-n)
		l.read(k, l.buffer[:n])
	case err == nil:
		l.inputEnds(k, io.EOF)
	case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR):
		l.inputEnds(k, err)
	}
	if !k.dead {
		k.watch()
	}
}

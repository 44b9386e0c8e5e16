package netloop

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/pool"
)

// Flush writes what is staged with one call. What the kernel does not take is kept, and the socket is blocked until all
// of it has been written; meanwhile Flush does nothing.
func (k *Socket) Flush() { k.flush(false) }

// flush is Flush; last: at the end of the batch, when the socket has just left Loop.dirty.
func (k *Socket) flush(last bool) {
	if k.dead {
		k.dropOutbox()
		return
	}
	k.handler.Flushing(last)
	if last {
		k.dirty = false // only now: what was added by the handler goes out with the rest
	}
	x := k.box
	switch {
	case k.muted, k.ended:
		k.dropOutbox()
		return
	case k.rest != nil:
		return
	case k.tls != nil:
		k.flushSealed()
		return
	case x == nil || x.Len() == 0:
		k.dropOutbox()
		k.handler.Flushed()
		return
	}
	l := k.loop
	iov := l.iov[:0]
	at := 0
	for i := range x.pieces {
		p := &x.pieces[i]
		iov = appendIovec(appendIovec(iov, x.B[at:p.at]), p.p)
		at = p.at
	}
	iov = appendIovec(iov, x.B[at:])
	l.iov = iov
	n, err := writev(k.fd, iov[:min(len(iov), maxIov)])
	clear(iov)
	k.written += uint64(n)
	if err != nil {
		k.failed(err)
		return
	}
	if n < x.Len() {
		k.keep(x, n)
		k.dropOutbox()
		return
	}
	k.dropOutbox()
	k.handler.Flushed()
}

// maxIov is how many pieces the kernel takes at once (UIO_MAXIOV).
const maxIov = 1024

// failed is a write that will never work again. The read side is untouched: what the peer sent before is still there,
// and its end comes as a read of nothing.
func (k *Socket) failed(err error) {
	k.err = err
	k.Silence()
	k.dropOutput()
}

// keep copies what follows the first n bytes of x, which are written, and blocks the socket.
func (k *Socket) keep(x *Outbox, n int) {
	rest := pool.Get(x.Len() - n)
	k.rest, k.restAt = rest, 0
	k.loop.blocked++
	at := 0
	for i := range x.pieces {
		p := &x.pieces[i]
		rest.B = appendAfter(rest.B, x.B[at:p.at], &n)
		rest.B = appendAfter(rest.B, p.p, &n)
		at = p.at
	}
	rest.B = appendAfter(rest.B, x.B[at:], &n)
	k.watch()
}

// appendAfter appends p less its first *n bytes.
func appendAfter(dst, p []byte, n *int) []byte {
	if *n >= len(p) {
		*n -= len(p)
		return dst
	}
	dst = append(dst, p[*n:]...)
	*n = 0
	return dst
}

// writeReady writes to the sockets that were reported ready, and notes those that we read ourselves.
func (l *Loop) writeReady() {
	l.readyMu.Lock()
	l.running, l.ready = l.ready, l.running[:0]
	l.readyMu.Unlock()
	for _, k := range l.running {
		l.goOn(k)
		if k.reads() {
			l.readable = append(l.readable, k)
		}
	}
	clear(l.running)
}

// goOn lets one socket write again. It is told once only, so the fault of another must not cost it that.
func (l *Loop) goOn(k *Socket) {
	defer l.Guard(k)
	k.writeRest()
}

// writeRest goes on with what the kernel had not taken.
func (k *Socket) writeRest() {
	if k.dead || k.rest == nil {
		return
	}
	n, err := write(k.fd, k.rest.B[k.restAt:])
	k.written += uint64(n)
	if err != nil {
		k.failed(err)
		return
	}
	if k.restAt += n; k.restAt < len(k.rest.B) {
		k.watch()
		return
	}
	k.dropRest()
	if k.ended { // the close_notify had no room
		_ = unix.Shutdown(k.fd, unix.SHUT_WR)
		return
	}
	if !k.closing && !k.muted {
		k.handler.Writable()
		k.markDirty()
	}
}

func appendIovec(iov []unix.Iovec, p []byte) []unix.Iovec {
	if len(p) == 0 {
		return iov
	}
	v := unix.Iovec{Base: &p[0]}
	v.SetLen(len(p))
	return append(iov, v)
}

// writev writes what the kernel takes now; 0, nil when it takes nothing. x/sys's Writev allocates its vector and gnet's
// goes through it: BenchmarkFlush.
func writev(fd int, iov []unix.Iovec) (int, error) {
	for {
		n, _, e := unix.Syscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)))
		switch {
		case e == 0:
			return int(n), nil
		case errors.Is(e, unix.EINTR):
		case errors.Is(e, unix.EAGAIN):
			return 0, nil
		default:
			return 0, e
		}
	}
}

// write is writev for one piece.
func write(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Write(fd, p)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return 0, nil
		default:
			return 0, err
		}
	}
}

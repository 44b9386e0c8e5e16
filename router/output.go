package router

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/pool"
)

// The directions of a socket end one by one. Output that fails, or that the node gives up, leaves what the peer has
// sent to be read: silence. Input that ends leaves what waits for the peer to be written: outlive.

// rest is output that the kernel did not take: the end of one batch.
type rest struct {
	buf *pool.Buf // nil: nothing
	at  int       // bytes of it that are out
}

func (r *rest) len() int {
	if r.buf == nil {
		return 0
	}
	return len(r.buf.B) - r.at
}

func (r *rest) drop() {
	if r.buf != nil {
		r.buf.Release()
		*r = rest{}
	}
}

// keepRest copies everything behind the first n bytes of a batch and marks the socket blocked: nothing more is written
// to it until that is out, so it holds one batch at most.
func (k *socket) keepRest(ctl []byte, x *outbox, n, total int) {
	b := pool.Get(total - n)
	b.B = appendBehind(b.B, ctl, &n)
	if x != nil {
		at := 0
		for i := range x.pieces {
			p := &x.pieces[i]
			b.B = appendBehind(b.B, x.b[at:p.at], &n)
			b.B = appendBehind(b.B, p.p, &n)
			at = p.at
		}
		b.B = appendBehind(b.B, x.b[at:], &n)
	}
	k.rest = rest{buf: b}
	k.block()
}

// appendBehind appends p less its first *n bytes.
func appendBehind(dst, p []byte, n *int) []byte {
	if *n >= len(p) {
		*n -= len(p)
		return dst
	}
	dst = append(dst, p[*n:]...)
	*n = 0
	return dst
}

// block waits until the kernel takes output for k.
func (k *socket) block() {
	k.blocked = true
	k.watched = true
	if err := k.loop.node.ready.watch(k); err != nil {
		k.silence()
	}
}

// writeRest writes what the kernel did not take before and reports whether nothing of it is left.
func (k *socket) writeRest() bool {
	for k.rest.len() > 0 {
		k.loop.n.writes++
		n, err := unix.Write(k.fd, k.rest.buf.B[k.rest.at:])
		switch {
		case err == nil:
			k.rest.at += n
			k.sent += uint64(n)
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return false
		default:
			k.silence()
			return true
		}
	}
	k.rest.drop()
	return true
}

// unacked is how many bytes, our FIN included, the kernel has taken and the peer's has not acknowledged.
func (k *socket) unacked() int {
	n, err := unix.IoctlGetInt(k.fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}

// taken is how many bytes of ours the peer's kernel has acknowledged since the start.
func (k *socket) taken() uint64 { return k.sent - min(k.sent, uint64(k.unacked())) }

// takesOutput tells the loop that a blocked socket may go on. Safe for all goroutines.
func (l *loop) takesOutput(k *socket) {
	l.postedMu.Lock()
	l.writable = append(l.writable, k)
	l.postedMu.Unlock()
	l.wake()
}

// resume goes on with a blocked socket.
func (l *loop) resume(k *socket) {
	defer l.boundary(k)
	if k.gone || !k.blocked {
		return
	}
	if !k.writeRest() {
		k.block()
		return
	}
	k.blocked = false
	if k.mute {
		return
	}
	k.pump()
	if k.box != nil || len(k.h2.Control()) > 0 || l.finishing || k.deaf {
		k.markDirty()
	}
}

// silence ends the output of k, for ever, because it failed or because the peer does not take it. The node reads what
// the peer has sent until now, then its end; what comes later the kernel answers with a reset.
func (k *socket) silence() {
	if k.mute || k.gone {
		return
	}
	k.mute = true
	k.loop.silenced = append(k.loop.silenced, k)
}

// hush ends all that was to be sent on a silenced socket.
func (k *socket) hush() {
	k.rest.drop()
	k.dropOutbox()
	for _, c := range k.conns {
		c.hush()
	}
	if k.deaf {
		k.doom()
		return
	}
	_ = unix.Shutdown(k.fd, unix.SHUT_RDWR) // fails if the connection is over: then its end is to be read anyway
}

// hush takes a connection that nothing can be sent to any more out of the table and lets what waits for it die. What
// it publishes is forwarded until its socket is read to the end.
func (c *Conn) hush() {
	defer c.loop.boundary(nil)
	defer c.discard(ReasonGone)
	c.leaveTable()
}

// outlive goes on with the output of a socket whose peer will send nothing more, under a descriptor of its own since
// gnet closes the one it has; false: there is nothing left to be sent, or no way to.
func (k *socket) outlive(err error) bool {
	if !errors.Is(err, io.EOF) || k.closing || k.mute || k.drained || k.deaf {
		return false
	}
	k.deaf = true
	for _, c := range k.conns {
		c.finish()
	}
	k.flush()
	if k.mute || !k.blocked {
		return false
	}
	fd, err := unix.FcntlInt(uintptr(k.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return false
	}
	k.loop.node.ready.forget(k)
	k.fd = fd
	k.began = k.loop.tick
	k.block()
	return true
}

// afterwards ends a socket that outlived its input when everything that its windows allow is out: more cannot be
// allowed.
func (k *socket) afterwards() {
	if k.deaf && !k.gone && !k.blocked && !k.dirty && k.box == nil {
		k.doom()
	}
}

// shut closes the socket.
func (k *socket) shut() {
	if !k.deaf {
		_ = k.gc.EventLoop().Close(k.gc)
		return
	}
	k.closed()
	_ = unix.Close(k.fd)
}

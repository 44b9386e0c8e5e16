package router

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

const (
	outboxSize = 128 << 10 // staging bytes of a socket and batch
	ownedBoxes = 16        // outboxes of a loop with memory of their own; further ones take it from the pool
	batchLimit = 256 << 10 // staged and external bytes at which a batch goes out early
	longTail   = 2 << 10   // a tail from this length is written from where it lies
	maxPieces  = 256       // external pieces of a batch
	minPartial = 1 << 10   // a window smaller than this and than the message is waited for
)

// outbox stages what one socket sends between two flushes: bytes of its own, and between them pieces that lie
// elsewhere. Borrowed pieces are good because a flush comes before the read that lent them returns.
type outbox struct {
	own    []byte    // memory of b, empty; nil: buf's
	buf    *pool.Buf // nil between batches
	b      []byte
	pieces []piece
	ext    int // bytes of all pieces
}

// piece goes out behind b[:at].
type piece struct {
	at   int
	p    []byte
	hold *pool.Buf // referenced until the flush; nil: p is borrowed from the current read
}

// outbox returns the socket's outbox, made on the first use of a batch.
func (k *socket) outbox() *outbox {
	if k.box != nil {
		return k.box
	}
	l := k.loop
	var x *outbox
	if n := len(l.boxes); n > 0 {
		x, l.boxes = l.boxes[n-1], l.boxes[:n-1]
	} else {
		x = &outbox{pieces: make([]piece, 0, 8)}
		if l.owned < ownedBoxes {
			l.owned++
			x.own = make([]byte, 0, outboxSize)
		}
	}
	if x.b = x.own; x.own == nil {
		x.buf = pool.Get(outboxSize)
		x.b = x.buf.B
	}
	k.box = x
	k.markDirty()
	return x
}

func (k *socket) dropOutbox() {
	x := k.box
	if x == nil {
		return
	}
	k.box = nil
	for i := range x.pieces {
		if h := x.pieces[i].hold; h != nil {
			h.Release()
		}
	}
	clear(x.pieces)
	x.pieces = x.pieces[:0]
	x.ext = 0
	x.b = nil
	if x.buf != nil {
		x.buf.Release()
		x.buf = nil
	}
	if l := k.loop; x.own != nil || len(l.boxes) < 256 {
		l.boxes = append(l.boxes, x)
	}
}

func (k *socket) markDirty() {
	if !k.dirty && !k.gone {
		k.dirty = true
		k.loop.dirty = append(k.loop.dirty, k)
	}
}

// put is step 7: message m in b, with header hdr instead of its own, into the socket's output. buf owns b's
// memory or is nil if b is borrowed from the current read. It reports false, having done nothing, when the
// windows or the kernel do not take the whole message now.
func (c *Conn) put(b []byte, buf *pool.Buf, m *wire.Message, hdr []byte) bool {
	k := c.sock
	if k.blocked || k.closing || k.mute || c.state != active {
		return false
	}
	tail := b[m.Header.End:]
	n := wire.OpeningSize(b, m, len(hdr)) + len(hdr) + len(tail)
	total := n + h2Prefix
	if c.stream.Window() < total {
		return false
	}
	x := k.outbox()
	if len(x.b)+x.ext > 0 && (len(x.b)+total-len(tail)+min(len(tail), longTail) > outboxSize-64 ||
		x.ext+total > batchLimit || len(x.pieces) >= maxPieces) {
		k.flush()
		if k.blocked || k.closing || k.mute {
			return false
		}
		x = k.outbox()
	}
	dst, room := k.h2.Data(x.b, c.stream, total)
	c.left += uint64(total)
	if room < total {
		c.putSplit(x, dst, room, b, buf, m, hdr, n)
		return true
	}
	dst = append(dst, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	dst = wire.AppendOpening(dst, b, m, len(hdr))
	dst = append(dst, hdr...)
	if len(tail) < longTail {
		x.b = append(dst, tail...)
	} else {
		x.b = dst
		x.add(tail, buf)
	}
	c.loop.n.delivered++
	c.loop.n.bytes += uint64(len(tail))
	return true
}

// add puts p, which is not copied, behind the staged bytes.
func (x *outbox) add(p []byte, hold *pool.Buf) {
	if hold != nil {
		hold.Retain()
	}
	x.pieces = append(x.pieces, piece{at: len(x.b), p: p, hold: hold})
	x.ext += len(p)
}

// putSplit is put for a message that does not fit into the DATA frame at hand.
func (c *Conn) putSplit(x *outbox, dst []byte, room int, b []byte, buf *pool.Buf, m *wire.Message, hdr []byte, n int) {
	l := c.loop
	l.small = appendPrefix(l.small[:0], b, m, hdr, n)
	w := writer{c: c, x: x, room: room, rest: n + h2Prefix - room}
	x.b = dst
	w.write(l.small, nil, true)
	w.write(b[m.Header.End:], buf, false)
	l.n.delivered++
	l.n.bytes += uint64(len(b) - int(m.Header.End))
}

// appendPrefix appends the gRPC envelope of a message of n bytes, its opening and header.
func appendPrefix(dst, b []byte, m *wire.Message, hdr []byte, n int) []byte {
	dst = append(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	dst = wire.AppendOpening(dst, b, m, len(hdr))
	return append(dst, hdr...)
}

// writer cuts pieces into DATA frames: room bytes are left in the frame at hand, rest follow behind it.
type writer struct {
	c          *Conn
	x          *outbox
	room, rest int
}

// write emits p; short ones and those marked copied go through the staging bytes.
func (w *writer) write(p []byte, hold *pool.Buf, copied bool) {
	for len(p) > 0 {
		if w.room == 0 {
			w.x.b, w.room = w.c.sock.h2.Data(w.x.b, w.c.stream, w.rest)
			w.rest -= w.room
		}
		n := min(w.room, len(p))
		if copied || n < longTail {
			w.x.b = append(w.x.b, p[:n]...)
		} else {
			w.x.add(p[:n], hold)
		}
		w.room -= n
		p = p[n:]
	}
}

// flush writes the control frames and the outbox with one call and keeps the rest, if any, until the kernel takes
// more.
func (k *socket) flush() {
	if k.gone || k.mute || k.drained {
		k.h2.ControlDone()
		k.h2.Cut()
		k.dropOutbox()
		return
	}
	if k.blocked && !(k.closing && k.writeRest()) {
		k.wait()
		return
	}
	ctl := k.h2.Control()
	x := k.box
	if len(ctl) == 0 && (x == nil || len(x.b)+x.ext == 0) {
		k.dropOutbox()
		return
	}
	l := k.loop
	iov := appendIovec(l.iov[:0], ctl)
	total := len(ctl)
	if x != nil {
		at := 0
		for i := range x.pieces {
			p := &x.pieces[i]
			iov = appendIovec(appendIovec(iov, x.b[at:p.at]), p.p)
			at = p.at
		}
		iov = appendIovec(iov, x.b[at:])
		total += len(x.b) + x.ext
	}
	l.iov = iov
	l.n.writes++
	n, err := writev(k.fd, iov)
	k.sent += uint64(n)
	if err != nil {
		k.silence()
	} else if n < total && !k.closing {
		k.keepRest(ctl, x, n, total)
	}
	clear(iov)
	if ctl != nil {
		k.h2.ControlDone()
	}
	k.h2.Cut()
	k.dropOutbox()
}

// wait keeps what a blocked socket has to say until it is written again: control frames in the engine, which bounds
// them, and the ends of streams in the outbox.
func (k *socket) wait() {
	if k.box != nil && len(k.box.b) > outboxSize/2 {
		k.note(ReasonBacklog, nil)
		k.silence()
	}
}

// doom has the socket closed at the end of the batch: its state stays usable until then.
func (k *socket) doom() {
	if !k.closing && !k.gone {
		k.closing = true
		k.loop.doomed = append(k.loop.doomed, k)
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

// writev writes what the kernel takes now; 0, nil when it takes nothing. x/sys's Writev allocates its vector and
// gnet's goes through it: BenchmarkFlush.
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

var _ h2.Events = (*socket)(nil)

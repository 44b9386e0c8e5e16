package relay

import (
	"encoding/binary"
	"errors"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

const (
	prefixLen  = 5         // gRPC: flag, big-endian length
	stageSize  = 128 << 10 // staged bytes at which a batch goes out early
	longBody   = 2 << 10   // a message from this length is written from where it lies
	maxPieces  = 256
	statusFail = 3 // INVALID_ARGUMENT
)

// socket is one client's connection. It belongs to the loop.
type socket struct {
	relay   *relay
	gc      gnet.Conn
	fd      int
	h2      h2.Conn
	streams []*stream

	staged []byte  // of this batch
	prefix []byte  // scratch of put
	room   int     // bytes that the DATA frame being staged still takes; 0 between messages
	pieces []piece // between the staged bytes
	iov    [][]byte
	dirty  bool

	blocked, broken, gone bool
}

// piece lies behind staged[:at].
type piece struct {
	at   int
	p    []byte
	hold *pool.Buf // owner of p; nil: borrowed from the read that is being fed
}

// stream is one request: a feed, or the receiving end of feeds.
type stream struct {
	socket *socket
	h2     *h2.Stream
	topic  *topic
	feeds  bool
	all    bool
	gather *pool.Buf // of the message that spans reads
	queue  []item    // what the windows or the kernel do not take yet
}

// item is a message that waits, from the byte sent on.
type item struct {
	parcel *parcel
	sent   int
}

// parcel is a message shared by the queues it waits in. Its feeder's window gets the bytes back when the last one has
// sent it.
type parcel struct {
	buf     *pool.Buf // envelope and message
	from    *stream
	waiting int
}

func (k *socket) mark() {
	if !k.dirty && !k.gone {
		k.dirty = true
		k.relay.dirty = append(k.relay.dirty, k)
	}
}

// Request implements h2.Events.
func (k *socket) Request(hs *h2.Stream, req *h2.Request) {
	s := &stream{socket: k, h2: hs}
	if err := k.relay.enter(s, req); err != nil {
		k.h2.Refuse(hs, 200, statusFail, err.Error())
		return
	}
	hs.User = s
	k.streams = append(k.streams, s)
	k.h2.Respond(hs)
}

// Grow implements h2.Events.
func (k *socket) Grow(hs *h2.Stream, have []byte, n int) []byte {
	s, ok := hs.User.(*stream)
	if !ok {
		return append(make([]byte, 0, n), have...)
	}
	b := pool.Get(n)
	b.B = append(b.B, have...)
	if s.gather != nil {
		s.gather.Release()
	}
	s.gather = b
	return b.B
}

// Message implements h2.Events.
func (k *socket) Message(hs *h2.Stream, p []byte, lent bool) {
	s, ok := hs.User.(*stream)
	if !ok || !s.feeds {
		return
	}
	var buf *pool.Buf
	if lent {
		buf, s.gather = s.gather, nil
		buf.B = p
		defer buf.Release()
	}
	t := s.topic
	if len(t.joined) == 0 {
		return
	}
	if !s.all {
		t.turn = (t.turn + 1) % len(t.joined)
		s.pass(t.joined[t.turn:t.turn+1], p, buf)
		return
	}
	s.pass(t.joined, p, buf)
}

// pass gives p to each target, at once if it takes it.
func (s *stream) pass(to []*stream, p []byte, buf *pool.Buf) {
	var waits *parcel
	for _, t := range to {
		if len(t.queue) == 0 && t.put(p, buf) {
			continue
		}
		if waits == nil {
			waits = s.wrap(p)
			defer waits.sent(s.socket.relay) // our own hold on it ends
		}
		waits.waiting++
		t.queue = append(t.queue, item{parcel: waits})
		t.pump() // a part may go now: a message larger than a window never goes whole
	}
}

// wrap copies p for those that do not take it now, and charges the feeder.
func (s *stream) wrap(p []byte) *parcel {
	r := s.socket.relay
	var w *parcel
	if n := len(r.free); n > 0 {
		w, r.free = r.free[n-1], r.free[:n-1]
	} else {
		w = new(parcel)
	}
	w.buf, w.from, w.waiting = pool.Get(len(p)+prefixLen), s, 1
	w.buf.B = appendPrefix(w.buf.B, len(p))
	w.buf.B = append(w.buf.B, p...)
	s.socket.h2.Hold(s.h2, len(p)+prefixLen)
	return w
}

// sent ends the wait of one target.
func (w *parcel) sent(r *relay) {
	if w.waiting--; w.waiting > 0 {
		return
	}
	if w.from.h2 != nil {
		k := w.from.socket
		k.h2.Hold(w.from.h2, -len(w.buf.B))
		if len(k.h2.Control()) > 0 {
			k.mark()
		}
	}
	w.buf.Release()
	*w = parcel{}
	r.free = append(r.free, w)
}

func appendPrefix(dst []byte, n int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, 0), uint32(n))
}

// put stages p whole for s; false when windows or the kernel do not take it now.
func (s *stream) put(p []byte, buf *pool.Buf) bool {
	k := s.socket
	total := len(p) + prefixLen
	if k.blocked || k.gone || s.h2.Window() < total {
		return false
	}
	if len(k.staged)+min(total, longBody) > stageSize || len(k.pieces) >= maxPieces {
		k.flush()
		if k.blocked || k.broken {
			return false
		}
	}
	k.mark()
	k.prefix = appendPrefix(k.prefix[:0], len(p))
	k.emit(s, k.prefix, nil, total)
	k.emit(s, p, buf, len(p))
	return true
}

// emit cuts p into DATA frames. more is what follows in the message, p included; the windows have room for it.
func (k *socket) emit(s *stream, p []byte, buf *pool.Buf, more int) {
	for len(p) > 0 {
		if k.room == 0 {
			k.staged, k.room = k.h2.Data(k.staged, s.h2, more)
		}
		n := min(k.room, len(p))
		k.stage(p[:n], buf)
		p = p[n:]
		k.room -= n
		more -= n
	}
}

// stage adds p, a copy of it when it is short.
func (k *socket) stage(p []byte, buf *pool.Buf) {
	if len(p) < longBody {
		k.staged = append(k.staged, p...)
		return
	}
	if buf != nil {
		buf.Retain()
	}
	k.pieces = append(k.pieces, piece{at: len(k.staged), p: p, hold: buf})
}

// pump sends what waits, as far as windows and kernel allow.
func (k *socket) pump() {
	for _, s := range k.streams {
		s.pump()
	}
}

func (s *stream) pump() {
	k := s.socket
	for len(s.queue) > 0 && !k.blocked && !k.broken && !k.gone {
		it := &s.queue[0]
		b := it.parcel.buf.B[it.sent:]
		var n int
		if k.staged, n = k.h2.Data(k.staged, s.h2, len(b)); n == 0 {
			return
		}
		k.mark()
		k.stage(b[:n], it.parcel.buf)
		if it.sent += n; n == len(b) {
			it.parcel.sent(k.relay)
			*it = item{}
			if s.queue = s.queue[1:]; len(s.queue) == 0 {
				s.queue = nil
			}
		}
		if len(k.staged) > stageSize || len(k.pieces) >= maxPieces {
			k.flush()
		}
	}
}

// flush writes control frames and what is staged with one call; gnet sends the rest.
func (k *socket) flush() {
	if k.gone || k.blocked {
		return
	}
	ctl := k.h2.Control()
	iov := append(k.iov[:0], ctl)
	at, total := 0, len(ctl)
	for _, p := range k.pieces {
		iov = append(iov, k.staged[at:p.at], p.p)
		at = p.at
		total += len(p.p)
	}
	iov = append(iov, k.staged[at:])
	if total += len(k.staged); total == 0 {
		return
	}
	n, err := k.write(iov)
	if err != nil {
		k.broken = true
	} else if n < total {
		k.leave(iov, n)
	}
	clear(iov)
	k.iov = iov[:0]
	k.h2.ControlDone()
	k.h2.Cut()
	k.drop()
}

// write is writev(2) without waiting.
func (k *socket) write(iov [][]byte) (int, error) {
	if k.gc.OutboundBuffered() > 0 {
		return 0, nil
	}
	n, err := unix.Writev(k.fd, iov)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	return n, err
}

// leave gives gnet everything behind the first n bytes.
func (k *socket) leave(iov [][]byte, n int) {
	for _, p := range iov {
		if n >= len(p) {
			n -= len(p)
			continue
		}
		if _, err := k.gc.Write(p[n:]); err != nil {
			k.broken = true
			return
		}
		n = 0
	}
	if k.gc.OutboundBuffered() > 0 {
		k.blocked = true
		k.relay.blocked = append(k.relay.blocked, k)
	}
}

// drop forgets what was staged.
func (k *socket) drop() {
	for i := range k.pieces {
		if h := k.pieces[i].hold; h != nil {
			h.Release()
		}
	}
	clear(k.pieces)
	k.pieces, k.staged = k.pieces[:0], k.staged[:0]
}

// Writable implements h2.Events.
func (k *socket) Writable(hs *h2.Stream) {
	if hs == nil {
		k.pump()
	} else if s, ok := hs.User.(*stream); ok {
		s.pump()
	}
}

// Ended implements h2.Events: a feed has nothing more to say, or the stream is broken.
func (k *socket) Ended(hs *h2.Stream, _ *h2.End) {
	if s, ok := hs.User.(*stream); ok && s.feeds {
		k.staged = k.h2.Trailers(k.staged, hs, 0, "")
		k.mark()
	}
}

// Closed implements h2.Events: the last event of a stream.
func (k *socket) Closed(hs *h2.Stream) {
	s, ok := hs.User.(*stream)
	if !ok {
		return
	}
	k.relay.leave(s)
	for _, it := range s.queue {
		it.parcel.sent(k.relay)
	}
	s.queue, s.h2 = nil, nil
	if s.gather != nil {
		s.gather.Release()
		s.gather = nil
	}
	for i, o := range k.streams {
		if o == s {
			k.streams = append(k.streams[:i], k.streams[i+1:]...)
			break
		}
	}
}

// Response, Pong and GoAway implement h2.Events; a relay needs none of them.
func (k *socket) Response(*h2.Stream, *h2.Response) {}
func (k *socket) Pong()                             {}
func (k *socket) GoAway(uint32, h2.ErrCode, []byte) {}

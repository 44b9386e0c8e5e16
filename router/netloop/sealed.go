package netloop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"github.com/seed31b3bfd0/slimgo/pool"
)

// sealed is TLS on a socket: the net.Conn under a tls.Conn. While the handshake runs it is the connection itself, and
// belongs to the goroutine of the handshake. After that it belongs to the socket's loop and does no I/O: what the loop
// has read goes in, records to be written come out.
type sealed struct {
	conn     *tls.Conn
	hs       *handshake // nil once the loop has it
	accepted time.Time
	overhead int // bytes that a record adds to what it carries, at most
	written  int // bytes of the handshake that were written

	// Input.
	in      []byte // of the current read, what conn has not taken; borrowed
	records int    // no fewer than the records in conn and in that are complete, unless early
	early   bool   // conn may have read more than the handshake: nobody has counted that
	come    walk   // to the end of what has come
	taken   walk   // to the end of what conn has taken
	over    bool   // nothing more can be read: close_notify, or a fault
	broken  bool   // a fault: an alert was the last word

	// Output.
	out []byte // records that are to be written: answers of conn's own between flushes, everything in a flush
}

const (
	recordHead = 5        // RFC 8446 section 5.1
	maxRecord  = 16 << 10 // bytes that a record carries at most
	// maxAnswers is how many bytes of answers, to key updates and the like, may wait for a peer that reads nothing.
	maxAnswers = 16 << 10
	// plainRoom is how many bytes of plaintext a handler gets at once, at most.
	plainRoom = 128 << 10
)

var (
	// ErrTruncated is why a socket ends whose peer has ended its direction without the close_notify of TLS: what came
	// last may be missing (RFC 8446 section 6.1).
	ErrTruncated = errors.New("the peer ended its side of the socket without a close_notify of TLS")

	errAnswers = errors.New("the peer reads none of the answers that TLS owes it")
	// errDry has Temporary: crypto/tls keeps what it has of a record, and can be asked again.
	errDry net.Error = dry{}
)

// dry is the error of a read for which nothing is there yet.
type dry struct{}

func (dry) Error() string   { return "netloop: nothing to read yet" }
func (dry) Timeout() bool   { return false }
func (dry) Temporary() bool { return true }

// recordOverhead returns the bytes that a record adds to what it carries: header, explicit nonce, tag and type.
func recordOverhead(c tls.ConnectionState) int {
	const tag = 16
	switch {
	case c.Version >= tls.VersionTLS13:
		return recordHead + tag + 1
	case c.CipherSuite == tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		c.CipherSuite == tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:
		return recordHead + tag
	}
	return recordHead + 8 + tag + 48 // AES-GCM needs 8 and tag; CBC an IV, padding and a longer tag
}

// size returns how many bytes of records n bytes take, at most, if they are written by one call of seal.
func (s *sealed) size(n int) int { return n + (n+maxRecord-1)/maxRecord*s.overhead }

// Read implements net.Conn.
func (s *sealed) Read(p []byte) (int, error) {
	switch {
	case s.hs != nil:
		n, err := s.hs.read(p)
		for left := p[:n]; len(left) > 0; { // the last record may be the first that the loop completes
			m, _ := s.taken.step(left)
			left = left[m:]
		}
		return n, err
	case len(s.in) == 0:
		return 0, errDry
	}
	n := s.whole(len(p))
	copy(p, s.in[:n])
	s.in = s.in[n:]
	return n, nil
}

// whole returns how many bytes of in make whole records, no more than room; of the first at least what there is room
// for. crypto/tls keeps its buffer small if it is empty between records.
func (s *sealed) whole(room int) (n int) {
	for n < len(s.in) {
		w := s.taken
		m, _ := w.step(s.in[n:])
		if n+m > room {
			if n == 0 {
				n, _ = s.taken.step(s.in[:room])
			}
			break
		}
		s.taken = w
		n += m
	}
	return n
}

// walk goes through records by their headers.
type walk struct {
	head    [recordHead]byte
	headLen int // bytes of head that are known
	left    int // bytes of the body that are to come, once head is
}

// step goes to the end of the record at hand, or of p if that comes before, and reports whether the record ends there.
func (w *walk) step(p []byte) (n int, ends bool) {
	if w.headLen < recordHead {
		n = copy(w.head[w.headLen:], p)
		if w.headLen += n; w.headLen < recordHead {
			return n, false
		}
		w.left = int(w.head[3])<<8 | int(w.head[4])
	}
	m := min(w.left, len(p)-n)
	w.left -= m
	if w.left > 0 {
		return n + m, false
	}
	w.headLen = 0
	return n + m, true
}

// Write implements net.Conn.
func (s *sealed) Write(p []byte) (int, error) {
	if s.hs != nil {
		return s.hs.write(p)
	}
	s.out = append(s.out, p...)
	return len(p), nil
}

// Close implements net.Conn: the socket is closed by its owner.
func (s *sealed) Close() error { return nil }

// LocalAddr implements net.Conn.
func (s *sealed) LocalAddr() net.Addr {
	if s.hs != nil {
		return s.hs.raw.LocalAddr()
	}
	return nil
}

// RemoteAddr implements net.Conn.
func (s *sealed) RemoteAddr() net.Addr {
	if s.hs != nil {
		return s.hs.raw.RemoteAddr()
	}
	return nil
}

// SetDeadline implements net.Conn: the handshake has one that its owner sets, and the loop waits for nothing.
func (s *sealed) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (s *sealed) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn: tls.Conn sets one around its close_notify.
func (s *sealed) SetWriteDeadline(time.Time) error { return nil }

// take lends what the loop has read, and counts the records that end in it: so nobody has to ask for one that is not
// there, which costs crypto/tls an allocation.
func (s *sealed) take(p []byte) {
	s.in = p
	for len(p) > 0 {
		n, ends := s.come.step(p)
		if ends {
			s.records++
		}
		p = p[n:]
	}
}

// more reports whether there may be something to read.
func (s *sealed) more() bool { return !s.over && (s.early || s.records > 0 || len(s.in) > 0) }

// open reads plaintext into p, as long as there is some and p has room for a whole record. An err ends the input.
func (s *sealed) open(p []byte) (n int, err error) {
	for s.more() && len(p)-n >= maxRecord {
		m, err := s.conn.Read(p[n:])
		n += m
		s.records = max(0, s.records-1)
		if errors.Is(err, errDry) {
			s.records, s.early = 0, false
			return n, nil
		}
		if err != nil {
			s.over = true
			return n, err
		}
	}
	return n, nil
}

// seal makes records of what x holds. scratch is memory for one.
func (s *sealed) seal(x *Outbox, scratch []byte) error {
	if len(x.pieces) == 0 {
		return s.record(x.B)
	}
	var err error
	r, at := scratch[:0], 0
	for i := range x.pieces {
		p := &x.pieces[i]
		if r, err = s.fill(r, x.B[at:p.at]); err == nil {
			r, err = s.fill(r, p.p)
		}
		if err != nil {
			return err
		}
		at = p.at
	}
	if r, err = s.fill(r, x.B[at:]); err != nil {
		return err
	}
	return s.record(r)
}

// fill appends p to the record that is begun in r, and writes those that become full.
func (s *sealed) fill(r, p []byte) ([]byte, error) {
	for len(p) > 0 {
		if n := len(p) / maxRecord * maxRecord; len(r) == 0 && n > 0 {
			if err := s.record(p[:n]); err != nil {
				return r, err
			}
			p = p[n:]
			continue
		}
		n := min(len(p), maxRecord-len(r))
		r = append(r, p[:n]...)
		p = p[n:]
		if len(r) == maxRecord {
			if err := s.record(r); err != nil {
				return r, err
			}
			r = r[:0]
		}
	}
	return r, nil
}

// record writes p, which becomes a record, or several if it is longer than one.
func (s *sealed) record(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	_, err := s.conn.Write(p)
	return err
}

// TLS returns what was negotiated and who the peer has proved to be; false: the socket has no TLS.
func (k *Socket) TLS() (tls.ConnectionState, bool) {
	if k.tls == nil {
		return tls.ConnectionState{}, false
	}
	return k.tls.conn.ConnectionState(), true
}

// Accepted returns when the socket was accepted, if there was a handshake since; else the zero time.
func (k *Socket) Accepted() time.Time {
	if k.tls == nil {
		return time.Time{}
	}
	return k.tls.accepted
}

// unseal gives the handler the next bytes of what was taken, and reports whether there may be more. It is a batch of
// its own: what it lends lies where the next call puts its own.
func (l *Loop) unseal(k *Socket) (more bool) {
	nested := l.enter(k)
	defer l.leave(k, nested)
	s := k.tls
	if k.closing || !s.more() {
		return false
	}
	if l.plain == nil {
		l.plain = make([]byte, plainRoom)
	}
	n, err := s.open(l.plain)
	if n > 0 {
		k.handler.Read(l.plain[:n])
	}
	switch {
	case err != nil:
		k.inputFailed(err)
	case k.ended || k.muted:
		s.out = nil
	case len(s.out) > 0:
		if k.markDirty(); k.rest != nil && len(s.out) > maxAnswers {
			k.failed(errAnswers)
		}
	}
	return s.more()
}

// readEarly serves the sockets whose handshake may have read more than the handshake.
func (l *Loop) readEarly() {
	for i := 0; i < len(l.early); i++ {
		k := l.early[i]
		l.early[i] = nil
		if k.tls.early {
			l.read(k, nil)
		}
	}
	l.early = l.early[:0]
}

// inputFailed ends a socket of which nothing more can be read: after a close_notify as after a FIN, else with the alert
// that crypto/tls has for the peer.
func (k *Socket) inputFailed(err error) {
	if k.closing {
		return
	}
	if errors.Is(err, io.EOF) { // crypto/tls says so for a close_notify, and sealed for nothing
		k.endInput()
		return
	}
	if k.err == nil {
		k.err = err
	}
	k.tls.broken = true
	k.dropOutbox()
	k.sendAnswers()
	k.Close()
}

// endInput is an end of the input that gnet has not seen. The peer may wait for ours before it ends its socket.
func (k *Socket) endInput() {
	gc := k.gc
	byUs := gc != nil && !k.own && !k.closedByGnet
	k.loop.hangup(k, io.EOF)
	if byUs {
		_ = gc.EventLoop().Close(gc) // its descriptor: the socket has another one or is dead
	}
}

// inputEnds is an end of the input that the kernel has reported: err is io.EOF for a FIN.
func (l *Loop) inputEnds(k *Socket, err error) {
	if s := k.tls; s != nil {
		if s.early {
			if l.read(k, nil); k.paused {
				return
			}
		}
		if !s.over && errors.Is(err, io.EOF) {
			err = ErrTruncated
		}
	}
	if !k.dead && !(k.inputEnded && errors.Is(err, io.EOF)) { // an error ends the other direction, too
		l.hangup(k, err)
	}
}

// flushSealed is the writing part of flush.
func (k *Socket) flushSealed() {
	l, s, x := k.loop, k.tls, k.box
	n := 0
	if x != nil {
		n = x.Len()
	}
	if n == 0 && len(s.out) == 0 {
		k.dropOutbox()
		k.handler.Flushed()
		return
	}
	answers := s.out
	dst, buf := l.sealedRoom(len(answers) + s.size(n))
	s.out = append(dst, answers...)
	var err error
	if n > 0 {
		err = s.seal(x, l.record)
	}
	out := s.out
	s.out = nil
	if err == nil {
		n, err = write(k.fd, out)
		k.written += uint64(n)
	}
	switch {
	case err != nil:
		k.failed(err)
	case n < len(out):
		k.keepSealed(out[n:])
		k.dropOutbox()
	}
	if buf != nil {
		buf.Release()
	}
	if err == nil && n == len(out) {
		k.dropOutbox()
		k.handler.Flushed()
	}
}

// sealedRoom returns memory for n bytes of records: the loop's own, or what buf holds, to be released.
func (l *Loop) sealedRoom(n int) (dst []byte, buf *pool.Buf) {
	if l.sealed == nil {
		l.sealed = make([]byte, 0, OutboxSize+4<<10)
		l.record = make([]byte, 0, maxRecord)
	}
	if n <= cap(l.sealed) {
		return l.sealed, nil
	}
	buf = pool.Get(n)
	return buf.B[:0], buf
}

// keepSealed copies records that the kernel has not taken, and blocks the socket.
func (k *Socket) keepSealed(p []byte) {
	rest := pool.Get(len(p))
	rest.B = append(rest.B[:0], p...)
	k.rest, k.restAt = rest, 0
	k.loop.blocked++
	k.watch()
}

// sendAnswers writes what crypto/tls has to say by itself, such as a close_notify, as far as that is possible now.
func (k *Socket) sendAnswers() {
	out := k.tls.out
	k.tls.out = nil
	if k.muted || k.dead || k.rest != nil || len(out) == 0 {
		return
	}
	n, err := write(k.fd, out)
	k.written += uint64(n)
	switch {
	case err != nil:
		k.failed(err)
	case n < len(out) && !k.closing:
		k.keepSealed(out[n:])
	}
}

// sayEnd sends the close_notify, after which nothing may be sent. Not while output waits.
func (k *Socket) sayEnd() {
	if k.tls != nil && !k.tls.broken && !k.muted && k.rest == nil {
		_ = k.tls.conn.CloseWrite()
		k.sendAnswers()
	}
}

// sayLast is sayEnd for a socket that goes after err, the end of its input: the peer may have ended its direction alone, and takes what has
// come for cut short otherwise (RFC 8446 section 6.1). Whether it still hears that does not matter.
func (k *Socket) sayLast(err error) {
	if k.tls == nil || k.tls.broken || k.muted || k.rest != nil || !errors.Is(err, io.EOF) && !errors.Is(err, ErrTruncated) {
		return
	}
	if _ = k.tls.conn.CloseWrite(); len(k.tls.out) > 0 {
		n, _ := write(k.fd, k.tls.out)
		k.written += uint64(n)
		k.tls.out = nil
	}
}

package transport

import (
	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// envelope is what gRPC puts before each message: a flag and the length, big-endian.
const envelope = 5

// stream is one OpenChannel stream.
type stream struct {
	sock     *socket
	h2       *h2.Stream // &ended once the stream is over: the engine gives the memory to others
	who      *auth.Identity
	receiver Receiver
	gather   *pool.Buf // of the message that spans reads
	charged  int       // bytes withheld from the peer's window
	given    uint64    // bytes given to the socket since the start
	uptake   streamUptake
	over     bool // our side has ended
	closed   bool // Receiver.Closed was called
}

var _ Stream = (*stream)(nil)

// ended is a stream on which nothing can be sent.
var ended h2.Stream

// Peer implements Stream.
func (s *stream) Peer() *Peer { return &s.sock.peer }

// Identity implements Stream.
func (s *stream) Identity() *auth.Identity { return s.who }

// Size implements Stream.
func (s *stream) Size(m *Message) int { return envelope + m.Len() }

// Room implements Stream.
func (s *stream) Room() int {
	if !s.sock.net.Takes() {
		return 0
	}
	return s.h2.Window()
}

// Put implements Stream.
func (s *stream) Put(m *Message) bool {
	k := s.sock
	if !k.net.Takes() {
		return false
	}
	tail := m.Tail()
	n := m.head() + len(tail)
	total := envelope + n
	if s.h2.Window() < total {
		return false
	}
	x := k.net.Box()
	if x == nil || len(tail) >= netloop.LongPiece || len(k.h2.Control()) > 0 || !x.FitsCopied(total+frameRoom) {
		return s.putSlow(m, n, tail)
	}
	dst, room := k.h2.Data(x.B, s.h2, total)
	s.given += uint64(total)
	if room < total {
		x.B = dst
		s.split(x, m, n-len(tail), 0, total, room)
		return true
	}
	x.B = append(m.appendHead(appendEnvelope(dst, n)), tail...)
	return true
}

// putSlow is Put of n bytes where there is no outbox yet, or something has to go before, or the tail is not copied.
func (s *stream) putSlow(m *Message, n int, tail []byte) bool {
	total := envelope + n
	copied, external := total, 0
	if len(tail) >= netloop.LongPiece {
		copied, external = total-len(tail), len(tail)
	}
	x := s.outbox(copied+frameRoom, external)
	if x == nil {
		return false
	}
	dst, room := s.sock.h2.Data(x.B, s.h2, total)
	s.given += uint64(total)
	if room < total {
		x.B = dst
		s.split(x, m, n-len(tail), 0, total, room)
		return true
	}
	if dst = m.appendHead(appendEnvelope(dst, n)); external > 0 {
		x.B = dst
		x.Add(tail, m.Buf)
	} else {
		x.B = append(dst, tail...)
	}
	return true
}

// frameRoom is what the headers of a message's first DATA frames take at most, with room to spare.
const frameRoom = 64

// outbox returns the outbox with room for so many bytes, after an early flush if need be; nil: the socket takes
// nothing.
func (s *stream) outbox(copied, external int) *netloop.Outbox {
	k := s.sock
	x := k.outbox()
	if x.Fits(copied, external) {
		return x
	}
	if k.net.Flush(); !k.net.Takes() {
		return nil
	}
	return k.outbox()
}

// minPartial: a window smaller than this and than the rest of a message is waited for, while the peer's windows can be
// larger: else a message would leave in crumbs.
const minPartial = 1 << 10

// maxPart is how much of a message is staged at once.
const maxPart = 256 << 10

// PutPart implements Stream.
func (s *stream) PutPart(m *Message, sent int, little bool) int {
	head := m.head()
	total := envelope + head + len(m.Tail())
	rest := total - sent
	n := min(rest, s.Room(), maxPart)
	if n <= 0 || !little && n < rest && n < minPartial && s.sock.h2.PeerWindow() > minPartial {
		return 0
	}
	copied := min(n, max(0, envelope+head-sent)+netloop.LongPiece)
	x := s.outbox(copied+frameRoom, n)
	if x == nil {
		return 0
	}
	s.split(x, m, head, sent, sent+n, 0)
	s.given += uint64(n)
	return n
}

// split stages the bytes from to end of m's encoding in DATA frames; room bytes are left in the frame at hand.
func (s *stream) split(x *netloop.Outbox, m *Message, head, from, end, room int) {
	w := writer{s: s, x: x, room: room, rest: end - from - room}
	switch {
	case from == 0 && room >= envelope+head: // the usual case: the frame at hand has room for the head
		x.B = m.appendHead(appendEnvelope(x.B, m.Len()))
		w.room -= envelope + head
		from = envelope + head
	case from < envelope+head:
		b := s.sock.net.Loop().Stock().Get(envelope + head)
		b.B = m.appendHead(appendEnvelope(b.B, m.Len()))
		w.write(b.B[from:min(end, len(b.B))], nil, true)
		from = min(end, len(b.B))
		b.Release()
	}
	if from < end {
		w.write(m.Tail()[from-envelope-head:end-envelope-head], m.Buf, false)
	}
}

// appendEnvelope appends what gRPC puts before a message of n bytes.
func appendEnvelope(dst []byte, n int) []byte {
	return append(dst, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// writer cuts bytes into DATA frames: room are left in the frame at hand, rest follow it.
type writer struct {
	s          *stream
	x          *netloop.Outbox
	room, rest int
}

// write emits p; short pieces and those marked copied go through the staged bytes.
func (w *writer) write(p []byte, hold *pool.Buf, copied bool) {
	for len(p) > 0 {
		if w.room == 0 {
			w.x.B, w.room = w.s.sock.h2.Data(w.x.B, w.s.h2, w.rest)
			w.rest -= w.room
		}
		n := min(w.room, len(p))
		if copied || n < netloop.LongPiece {
			w.x.B = append(w.x.B, p[:n]...)
		} else {
			w.x.Add(p[:n], hold)
		}
		w.room -= n
		p = p[n:]
	}
}

// Charge implements Stream.
func (s *stream) Charge(n int) {
	if s.closed || s.h2 == &ended {
		return
	}
	s.charged += n
	s.sock.h2.Hold(s.h2, n)
	if n < 0 {
		s.sock.net.MarkDirty()
	}
}

// Advance implements Stream.
func (s *stream) Advance(n int) {
	if !s.closed && s.h2 != &ended {
		s.sock.h2.Advance(s.h2, n)
		s.sock.net.MarkDirty()
	}
}

// Established implements Stream.
func (s *stream) Established() {
	if s.closed || s.h2 == &ended {
		return
	}
	s.sock.live.established, s.sock.peer.Established = true, true
	s.sock.h2.SetMaxMessage(s.h2, s.sock.group.opt.MaxMessage)
}

// Finish implements Stream.
func (s *stream) Finish(status int, text string) {
	if s.over || s.closed {
		return
	}
	s.over = true
	if status == statusOK {
		text = ""
	}
	k := s.sock
	x := k.outbox()
	if k.call != nil {
		x.B = k.h2.HalfClose(x.B, s.h2) // what has come in part is still completed
	} else {
		x.B = k.h2.Trailers(x.B, s.h2, status, text)
		s.dropGather() // now, not when the engine tells of the end
		k.count()
	}
	k.net.MarkDirty()
}

// Linger implements Lingerer.
func (s *stream) Linger() { s.sock.lingers = s.sock.call != nil }

// Silence implements Stream.
func (s *stream) Silence() {
	if !s.closed {
		s.sock.net.Silence()
	}
}

// Abort implements Stream.
func (s *stream) Abort() {
	if !s.closed {
		s.sock.net.Close()
	}
}

// Progress implements Stream.
func (s *stream) Progress() Progress { return s.progress(s.sock.measure(s.sock)) }

// progress is Progress after a measurement of the socket, which was given so many bytes.
func (s *stream) progress(given uint64) Progress {
	k := s.sock
	return s.uptake.progress(&streamState{given: s.given, socket: given, window: s.h2.OwnWindow(),
		connWindow: k.h2.SendWindow(), blocked: k.net.Blocked(), shared: len(k.streams) > 1}, &k.uptake)
}

func (s *stream) dropGather() {
	if s.gather != nil {
		s.gather.Release()
		s.gather = nil
	}
}

func (s *stream) closeGuarded() {
	defer s.sock.net.Loop().Guard(s.sock.net)
	s.close()
}

// close ends the stream for its receiver.
func (s *stream) close() {
	if s.closed {
		return
	}
	s.closed, s.over, s.h2 = true, true, &ended
	s.dropGather()
	s.receiver.Closed()
}

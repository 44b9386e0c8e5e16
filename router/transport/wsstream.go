package transport

import (
	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/wire/ws"
)

// webSocketStream is the Stream of a WebSocket. It has no windows: what the kernel takes may be sent, and the peer is
// held by not reading its socket. What a dialler sends is masked, and so copied into the outbox, in parts of a fragment.
type webSocketStream webSocket

var (
	_ Stream = (*webSocketStream)(nil)
	_ Prober = (*webSocketStream)(nil)
)

const (
	// fragment is the most that leaves as one frame: a longer message is cut into several, so that little of it waits
	// in the socket, and pings are answered between them.
	fragment = 64 << 10
	// largeRoom is what Room says while the kernel takes more: any message, in parts.
	largeRoom = 1 << 30
)

// Peer implements Stream.
func (s *webSocketStream) Peer() *Peer { return &s.peer }

// Identity implements Stream.
func (s *webSocketStream) Identity() *auth.Identity { return s.who }

// Size implements Stream.
func (s *webSocketStream) Size(m *Message) int {
	n := m.Len()
	if n <= fragment {
		return s.ws.Size(n)
	}
	full := (n - 1) / fragment
	return full*s.ws.Size(fragment) + s.ws.Size(n-full*fragment)
}

// Room implements Stream.
func (s *webSocketStream) Room() int {
	if s.over || !s.net.Takes() {
		return 0
	}
	return largeRoom
}

// Put implements Stream.
func (s *webSocketStream) Put(m *Message) bool {
	if s.over || !s.net.Takes() {
		return false
	}
	tail := m.Tail()
	n := m.head() + len(tail)
	if n > fragment {
		return false
	}
	copied, external := n, 0
	if len(tail) >= netloop.LongPiece && !s.ws.Masks() {
		copied, external = n-len(tail), len(tail)
	}
	x := s.net.Box()
	if x == nil || external > 0 || len(s.ws.Control()) > 0 || !x.FitsCopied(n+frameRoom) {
		if x = s.outbox(copied+frameRoom, external); x == nil {
			return false
		}
	}
	dst, ok := s.ws.Message(x.B, n)
	if !ok {
		return false
	}
	at := len(dst)
	dst = m.appendHead(dst)
	if external > 0 {
		x.B = dst
		x.Add(tail, m.Buf)
		return true
	}
	x.B = append(dst, tail...)
	s.ws.Mask(x.B[at:])
	return true
}

// outbox returns the outbox with room for so many bytes, after an early flush if need be; nil: the socket takes
// nothing.
func (s *webSocketStream) outbox(copied, external int) *netloop.Outbox {
	k := (*webSocket)(s)
	x := k.outbox()
	if x.Fits(copied, external) {
		return x
	}
	if k.net.Flush(); !k.net.Takes() {
		return nil
	}
	return k.outbox()
}

// PutPart implements Stream: it stages the next fragment.
func (s *webSocketStream) PutPart(m *Message, sent int, _ bool) int {
	n := m.Len()
	if n <= fragment {
		if !s.Put(m) {
			return 0
		}
		return s.ws.Size(n)
	}
	if s.over || !s.net.Takes() {
		return 0
	}
	from := sent / s.ws.Size(fragment) * fragment
	end := min(n, from+fragment)
	head := m.head()
	copied, external := min(max(0, head-from), fragment)+netloop.LongPiece, end-from
	if s.ws.Masks() {
		copied, external = end-from, 0
	}
	x := s.outbox(copied+frameRoom, external)
	if x == nil {
		return 0
	}
	dst, ok := s.ws.Fragment(x.B, ws.Binary, end-from, end == n)
	if !ok {
		return 0
	}
	x.B = dst
	s.stage(x, m, head, from, end)
	s.ws.Mask(x.B[len(dst):])
	return s.ws.Size(end - from)
}

// stage stages the bytes from to end of m, which has so many before its tail.
func (s *webSocketStream) stage(x *netloop.Outbox, m *Message, head, from, end int) {
	switch {
	case from == 0 && head <= end: // the usual case
		x.B = m.appendHead(x.B)
	case from < head:
		b := s.net.Loop().Stock().Get(head)
		b.B = m.appendHead(b.B)
		x.B = append(x.B, b.B[from:min(end, head)]...)
		b.Release()
	}
	if from = max(from, head); from >= end {
		return
	}
	if tail := m.Tail()[from-head : end-head]; len(tail) >= netloop.LongPiece && !s.ws.Masks() {
		x.Add(tail, m.Buf)
	} else {
		x.B = append(x.B, tail...)
	}
}

// Charge implements Stream. As much as a window of gRPC is taken before the peer is held; one read may come on top.
func (s *webSocketStream) Charge(n int) {
	if s.closed {
		return
	}
	k, window := (*webSocket)(s), int(s.group.opt.Window)
	switch k.charged += n; {
	case n > 0 && k.charged > window:
		k.hold()
	case n < 0 && k.charged <= window/2:
		k.resume()
	}
}

// Advance implements Stream.
func (s *webSocketStream) Advance(n int) {
	if !s.closed {
		s.net.Allow(n)
	}
}

// Established implements Stream.
func (s *webSocketStream) Established() {
	if s.closed {
		return
	}
	s.live.established, s.peer.Established = true, true
	s.ws.SetMaxMessage(s.group.opt.MaxWebSocket)
}

// Finish implements Stream. Rules: P-ws-7.
func (s *webSocketStream) Finish(status int, text string) {
	if s.over || s.closed {
		return
	}
	k := (*webSocket)(s)
	if k.call != nil && !k.upgraded { // there is nothing to end in order
		k.over = true
		k.net.Close()
		return
	}
	k.over = true
	code := ws.NormalClosure
	switch {
	case status == statusDenied, status == statusUnauthenticated:
		code = ws.PolicyViolation
	case status != statusOK:
		code = ws.TryAgainLater
	case text != "":
		code = ws.ProtocolError
	case k.peerDone && !k.finishing() && k.why == "":
		code = ws.NoCode
	case k.finishing():
		code = ws.GoingAway
	}
	x := k.outbox()
	x.B = k.ws.Close(x.B, code, text)
	if !k.lingers { // else its messages count, and it is held as before
		k.resume() // the peer's end is to be seen
	}
	k.net.MarkDirty()
}

// Linger implements Lingerer.
func (s *webSocketStream) Linger() { s.lingers = s.call != nil }

// Silence implements Stream.
func (s *webSocketStream) Silence() {
	if !s.closed {
		s.net.Silence()
	}
}

// Abort implements Stream.
func (s *webSocketStream) Abort() {
	if !s.closed {
		s.net.Close()
	}
}

// Probe implements Prober. A peer that is held cannot answer.
func (s *webSocketStream) Probe() {
	if k := (*webSocket)(s); !k.net.Paused() {
		k.probe(k)
	}
}

// Progress implements Stream. All that the socket carries is the stream's.
func (s *webSocketStream) Progress() Progress {
	k := (*webSocket)(s)
	given := k.measure(k)
	u := &k.uptake
	p := Progress{Given: given, Taken: u.taken, SocketTaken: u.taken, Pending: u.pending, RTT: u.buffer.rtt}
	if u.pending > 0 {
		p.Limit, p.Lump = LimitSocket, u.buffer.lump()
	}
	return p
}

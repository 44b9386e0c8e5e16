package transport

import (
	"time"

	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// What a receiver has taken is what its kernel has acknowledged: bytes given to the socket less those that are unsent
// or unacknowledged. What the node's own kernel takes says little, its send buffer opens by hundreds of KiB at a
// time. The peer acknowledges in lumps, too, of two kinds:
//
//   - Its kernel keeps a window that closed shut until a good part of the receive buffer is free (receiveBuffer).
//   - Its HTTP/2 engine opens a window again when a good part of it has been read (windowUpdates).
//
// So a receiver is stalled when what it has taken since it last kept up stays below what the floor demands in the
// longer of the timeout and the time that such a lump takes at the floor. Nothing in this file does I/O or reads a
// clock.

// lumps remembers the largest of the latest amounts that came at once, and the smallest.
type lumps struct {
	n          int // amounts that newer stands for
	newer      int // largest of the latest
	older      int // largest of the lumpsKept before those
	least      int // smallest of the latest
	olderLeast int
}

const (
	lumpsKept    = 8
	lumpsTrusted = 4 // how many have to be seen before they count for more than what peers usually do
)

func (l *lumps) add(n int) {
	l.newer = max(l.newer, n)
	if l.n == 0 || n < l.least {
		l.least = n
	}
	if l.n++; l.n == lumpsKept {
		l.n, l.older, l.newer, l.olderLeast = 0, l.newer, 0, l.least
	}
}

func (l *lumps) largest() int { return max(l.newer, l.older) }

func (l *lumps) trusted() bool { return l.n >= lumpsTrusted || l.older > 0 }

// alike reports whether they are of one size, but for a read more or less.
func (l *lumps) alike() bool {
	floor := l.largest() / 4 * 3
	return (l.n == 0 || l.least >= floor) && (l.older == 0 || l.olderLeast >= floor)
}

// growing is lumps of which the last may turn out to be larger.
type growing struct {
	lumps
	before lumps // without the last
	last   int
}

func (g *growing) add(n int) {
	g.before, g.last = g.lumps, n
	g.lumps.add(n)
}

// grow adds n to the last.
func (g *growing) grow(n int) {
	n += g.last
	g.lumps = g.before
	g.add(n)
}

// receiveBuffer is what is known of the memory in which the peer's kernel keeps what its program has not read.
type receiveBuffer struct {
	full  int           // most that it can have held while its window was closed, or was allowed to hold, bytes
	rtt   time.Duration // round trip
	run   int           // bytes acknowledged since the window was last seen closed, however long ago
	steps *lumps        // what was acknowledged from one closing to the next; nil before the first
}

const (
	// mergedSegments is what Linux frees at once: it merges received segments into buffers of up to 17 pieces of 32
	// KiB, on loopback five segments of 64 KiB, and frees a buffer when all of it is read.
	mergedSegments = 5 << 16
	// largestBuffer is the most that Linux keeps for one socket unless it was told otherwise (tcp_rmem), and then some:
	// an HTTP/2 window says less where it is larger than any buffer.
	largestBuffer = 32 << 20
)

// look is given the window that the peer advertises, in bytes, the round trip, how many bytes were acknowledged since
// the last look, and the most that the buffer may hold.
func (r *receiveBuffer) look(window int, rtt time.Duration, fresh, unread int) {
	r.rtt = rtt
	r.run += fresh
	held := window
	if window == 0 {
		held = max(held, unread)
		if r.run > 0 {
			if r.steps == nil {
				r.steps = new(lumps)
			}
			r.steps.add(r.run)
		}
		r.run = 0
	}
	r.full = max(r.full, held)
}

// lump returns by how many bytes at most a closed window opens again. Linux advertises nothing below a sixteenth of the
// receive buffer, others go by segments (RFC 9293 section 3.8.6.2.2); the buffer of a closed window is full.
func (r *receiveBuffer) lump() int {
	n := min(r.full, largestBuffer)
	n = min(n, n/16+mergedSegments)
	if r.steps != nil && r.steps.trusted() {
		n = min(n, r.steps.largest()*5/4)
	}
	return n
}

// largestUpdate is half of the largest window that a client widens its own to (grpc-go: 16 MiB). A peer with a larger
// one is not waited for longer.
const largestUpdate = 8 << 20

// windowUpdates learns by how much at once a peer opens an HTTP/2 window, and how much of it the peer has not returned.
// What is added to a window that is open tells how much is read before a closed one is opened only if it is always the
// same: gRPC's C core tops an open window up in advance while it measures the way, and opens a closed one when it has
// got that back and half of the window has been read. What comes together is one step: grpc-go returns a message that
// its program begins to read, and what was read before, by updates of their own.
type windowUpdates struct {
	granted uint64 // bytes of DATA the peer has allowed since the start
	widest  int    // the most that the peer allows, bytes: at least its window, if everything were returned
	at      uint64 // when the latest step came
	inEarly bool   // where it was counted
	*steps         // nil before the first: a peer to which little is sent takes none
}

// steps are the amounts by which a peer has opened a window.
type steps struct {
	closed growing // of windows that were closed
	early  growing // of windows that were open
}

// saw takes in a stream's window, which the peer may have changed. sent is how many bytes of DATA went out since the
// start, at the number of the batch in which the change came, never 0. It reports whether the peer has returned some.
func (w *windowUpdates) saw(window int, sent, at uint64) (returned bool) {
	return w.add(window, sent, at, w.granted >= sent+minPartial)
}

// sawShared is saw for a connection's window, of which each stream waits for a part: all steps are alike.
func (w *windowUpdates) sawShared(window int, sent, at uint64) { w.add(window, sent, at, false) }

func (w *windowUpdates) add(window int, sent, at uint64, early bool) (returned bool) {
	granted := uint64(max(0, int64(sent)+int64(window)))
	n := int(granted - min(granted, w.granted))
	w.granted = granted
	if window > w.widest { // the peer allows more than before: no step of a reader
		if n > w.widest/4 {
			w.steps, w.at = nil, 0 // it will open by more at once
		}
		w.widest += n // it may have returned some of that, too
		return false
	}
	if n <= 0 {
		return false
	}
	again := w.at == at
	if w.at = at; !again {
		w.inEarly = early
	}
	if w.steps == nil {
		w.steps = new(steps)
	}
	g := &w.closed
	if w.inEarly {
		g = &w.early
	}
	if again {
		g.grow(n)
	} else {
		g.add(n)
	}
	return true
}

// lump returns by how many bytes at once the window opens: the largest of the latest updates, and until enough were
// seen at least half of the window, as most engines do it, or all of it if some may have been given in advance.
func (w *windowUpdates) lump() int {
	if w.steps == nil {
		return min(w.widest/2, largestUpdate)
	}
	n := w.closed.largest()
	switch {
	case w.closed.trusted():
	case !w.early.alike():
		n = w.widest
	case w.early.trusted():
		n = max(n, w.early.largest())
	default:
		n = max(n, w.widest/2)
	}
	return min(n, w.widest, largestUpdate)
}

// unreturned is how many bytes of DATA the peer has got, or is about to get, and has not returned to the window.
func (w *windowUpdates) unreturned(window int) int { return max(0, w.widest-window) }

// socketUptake is what the peer of one socket has taken.
type socketUptake struct {
	taken   uint64        // bytes acknowledged since the start
	pending int           // bytes given to the socket and not acknowledged, at the last look
	fresh   uint64        // bytes acknowledged between the last two looks
	buffer  receiveBuffer // of the peer's kernel
	updates windowUpdates // of the connection's window
}

// look is given how many bytes the socket got since its start and how many of those the peer has not acknowledged.
// taken never falls, though pending may count more than bytes (netloop.Socket.Unacknowledged).
func (u *socketUptake) look(given uint64, pending int) {
	was := u.taken
	u.pending = pending
	u.taken = max(u.taken, given-min(given, uint64(pending)))
	u.fresh = u.taken - was
}

// unread is the most that the peer's kernel may hold, bytes. window is the connection's.
func (u *socketUptake) unread(window int) int {
	return max(0, u.updates.unreturned(window)-u.pending)
}

// streamState is what is known of a stream when its progress is asked for.
type streamState struct {
	given      uint64 // bytes of its DATA given to the socket since the start, frame headers not counted
	socket     uint64 // bytes given to the socket since its start
	window     int    // its own send window, bytes
	connWindow int    // the connection's
	blocked    bool   // the node's kernel takes nothing
	shared     bool   // other streams live on the socket
}

// streamUptake is what the peer has taken of one stream. A socket may carry several.
type streamUptake struct {
	updates windowUpdates
	given   uint64 // when the progress was asked for last
	end     uint64 // bytes given to the socket by the look that saw given change: the stream's last byte lies before
	taken   uint64 // bytes acknowledged, at least
	share   share
}

// share is how much of the connection's window a stream may hold: what its peer has got of it and not read. A peer
// returns that window for all streams together. When so much of it is missing, no stream has more unread than that, nor
// than is missing in its own window; what it gets later comes on top.
type share struct {
	unread   int    // no more than that, bytes
	seen     uint64 // bytes of the stream that were given to the socket at the last look
	returned moment // when the peer returned some of the stream's own window last, or it was opened
}

// look takes in how many bytes of the stream were given to the socket since the start, and how many the peer has not
// returned of the connection's window and of the stream's own.
func (h *share) look(given uint64, missing, own int) {
	h.unread = min(h.unread+int(given-h.seen), missing, own)
	h.seen = given
}

// suspect reports whether h holds the window of all rather than o: clearly more of it, or else for longer.
func (h *share) suspect(o *share) bool {
	if h.unread/2 >= o.unread || o.unread/2 >= h.unread {
		return h.unread > o.unread
	}
	return h.returned < o.returned
}

// progress tells where the stream stands, after a look at its socket.
func (u *streamUptake) progress(s *streamState, k *socketUptake) Progress {
	if s.given != u.given {
		u.given, u.end = s.given, s.socket
	}
	if s.shared {
		u.share.look(s.given, k.updates.unreturned(s.connWindow), u.updates.unreturned(s.window))
	}
	n := s.given
	arrived := k.taken >= u.end
	if !arrived { // all that is pending may be the stream's
		n -= min(n, uint64(k.pending))
	}
	u.taken = max(u.taken, n)
	p := Progress{Given: s.given, Taken: u.taken, SocketTaken: k.taken, Pending: k.pending, RTT: k.buffer.rtt}
	switch {
	case !arrived:
		p.Limit, p.Lump = LimitSocket, k.buffer.lump()
	case u.keepsClosed(s, k, &p.Lump):
		p.Limit = LimitWindow
	case s.connWindow < minPartial:
		p.Limit, p.Lump = LimitShared, k.updates.lump()
	case s.blocked:
		p.Limit, p.Lump = LimitSocket, k.buffer.lump()
	}
	return p
}

// keepsClosed reports whether the peer, which has got everything, keeps the window closed, and sets by how many bytes
// at once it will open it.
func (u *streamUptake) keepsClosed(s *streamState, k *socketUptake, lump *int) bool {
	if s.window < minPartial {
		*lump = u.updates.lump()
		return true
	}
	// All streams together keep the connection's window closed. One whose share has been returned is not to blame.
	if s.connWindow >= minPartial || s.shared && u.share.unread <= u.updates.lump() {
		return false
	}
	*lump = k.updates.lump()
	return true
}

// sawWindow notes the connection's window, if the peer has changed it.
func (k *socket) sawWindow() {
	if n := k.h2.Granted(); n != k.granted {
		k.granted = n
		w := k.h2.SendWindow()
		k.uptake.updates.sawShared(w, uint64(max(0, n-w)), k.group.batch)
		if len(k.streams) > 1 {
			k.lookAtShares()
		}
	}
}

func (k *socket) lookAtShares() {
	missing := k.uptake.updates.unreturned(k.h2.SendWindow())
	for _, s := range k.streams {
		s.uptake.share.look(s.given, missing, s.uptake.updates.unreturned(s.h2.OwnWindow()))
	}
}

// Unblock implements Sharer.
func (s *stream) Unblock() bool {
	k := s.sock
	k.lookAtShares()
	held := s
	for _, o := range k.streams {
		if o.uptake.share.suspect(&held.uptake.share) {
			held = o
		}
	}
	if held == s || held.closed {
		return false
	}
	hs := held.h2
	held.receiver.Broken(FaultUnread)
	if !held.closed { // its end must not wait for what its peer does not read
		k.h2.Reset(hs, h2.EnhanceYourCalm)
	}
	k.net.MarkDirty()
	return true
}

package transport

import (
	"errors"
	"runtime/debug"
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/pool"
)

// An app in the node's process is reached through a pair of pipes, which are rings, without a socket:
//
//	app, any goroutine ──Put──▶ pipe ──▶ ringHub.turn, a turn of the loop ──▶ Receiver
//	app's reader ◀──── Take ─── pipe ◀── ringStream.Put
//
// Whoever has something for the node, messages or room, lists the stream once at its hub and wakes the loop; while the
// loop has yet to look, that costs a load.

// ringHub is the streams in process of one loop. Owned by it, but for arrived.
type ringHub struct {
	group   *Group
	arrived atomic.Pointer[ringStream] // streams that are to be looked at, linked by next, the latest first; safe for all
	ready   []*ringStream              // in the order in which they came
	dirty   []*ringStream              // to which something was put since the last flush
	all     map[*ringStream]struct{}
	taken   [ringBatch]*pool.Buf // scratch of serve
}

const (
	ringBatch  = 64      // messages of a stream before another has its turn
	turnBatch  = 256     // messages of all streams in a turn of the loop
	turnBytes  = 1 << 20 // and bytes
	ringLump   = 4       // an app takes such a part of its window at once
	inProcess  = "in process"
	leftText   = "the app has closed its connection"
	cutText    = "the node has cut the connection"
	brokenText = "an internal error of the node"
)

// ringStream is the Stream of an app in the node's process. Owned by the loop, but for what is safe for all.
//
//	open ──▶ over: Finish, or the end of one that is not trusted ──▶ the app's messages are read to the end ──▶ closed
type ringStream struct {
	hub      *ringHub
	receiver Receiver
	peer     Peer
	in, out  *pool.Pipe

	listed atomic.Bool // at hub.arrived, or in hub.ready; safe for all. Its setter owns next until the hub has it
	next   *ringStream

	owed    int // bytes received and not returned
	charged int // of that, withheld
	largest int // message put
	dirty   bool
	refused bool // the receiver waits for Writable

	over     bool // our side has ended
	silenced bool // by us, or the app has gone: the receiver is to be told
	muted    bool // it was
	aborted  bool // what the app has sent is not read any more
	peerDone bool // Receiver.PeerFinished was called
	closed   bool // Receiver.Closed was called

	watched moment // last look at how the end comes on; zero: none
	taken   uint64 // at that
	short   Shortfall
}

var _ Stream = (*ringStream)(nil)

// ErrStopping says that a node takes nobody any more.
var ErrStopping = errors.New("the node is shutting down")

// Attach makes a stream of end, the other end of which is an app's in this process; app is what the app is called. accept
// returns the receiver, or why there is none. Nothing is taken from end before. On the loop.
func (g *Group) Attach(end *pool.Duplex, app string, accept func(Stream) (Receiver, error)) error {
	if g.draining || g.finishing {
		return ErrStopping
	}
	h := &g.rings
	s := &ringStream{hub: h, in: end.In, out: end.Out}
	s.peer = Peer{Remote: inProcess, Agent: app, MaxMessage: g.opt.MaxMessage, Transport: Rings, Established: true, Streams: 1}
	r, err := accept(s)
	if err != nil {
		return err
	}
	s.receiver = r
	end.OnWake(s.list, s.list)
	if h.all == nil {
		h.all = map[*ringStream]struct{}{}
	}
	h.all[s] = struct{}{}
	s.list() // the app may have ended already
	return nil
}

// list has the stream looked at. Safe for all.
func (s *ringStream) list() {
	if s.listed.Load() || s.listed.Swap(true) {
		return
	}
	h := s.hub
	for {
		s.next = h.arrived.Load()
		if h.arrived.CompareAndSwap(s.next, s) {
			break
		}
	}
	h.group.loop.Station().Wake()
}

// collect moves the streams that were listed to ready.
func (h *ringHub) collect() {
	if h.arrived.Load() == nil {
		return
	}
	var first *ringStream
	for s := h.arrived.Swap(nil); s != nil; { // turned round
		s.next, first, s = first, s, s.next
	}
	for s := first; s != nil; {
		next := s.next
		s.next = nil
		h.ready = append(h.ready, s)
		s = next
	}
}

// turn serves the streams that are ready, for a short time. more: it is to be called again.
func (h *ringHub) turn() (more bool) {
	h.collect()
	messages, bytes, at := turnBatch, turnBytes, 0
	for n := len(h.ready); at < n && messages > 0 && bytes > 0; at++ {
		s := h.ready[at]
		h.ready[at] = nil
		s.listed.Store(false) // first: what comes from now on lists it again
		count, size, again := h.serve(s)
		messages -= count
		bytes -= size
		if again && !s.listed.Swap(true) {
			h.ready = append(h.ready, s)
		}
	}
	h.ready = h.ready[:copy(h.ready, h.ready[at:])]
	return len(h.ready) > 0
}

// flush wakes the apps to which something was put.
func (h *ringHub) flush() {
	for i, s := range h.dirty {
		h.dirty[i] = nil
		s.dirty = false
		s.out.Signal()
	}
	h.dirty = h.dirty[:0]
}

// serve takes what there is of s. again: there may be more.
func (h *ringHub) serve(s *ringStream) (messages, bytes int, again bool) {
	defer s.guard()
	if s.closed {
		return 0, 0, false
	}
	messages, bytes, again = h.take(s)
	s.step()
	return messages, bytes, again
}

// guard, deferred, is the boundary of the stream's faults: a panic costs it, and nobody else.
func (s *ringStream) guard() {
	r := recover()
	if r == nil {
		return
	}
	stack := debug.Stack()
	for i, b := range s.hub.taken { // the rest of a batch
		if b != nil {
			s.hub.taken[i] = nil
			b.Release()
		}
	}
	s.Abort()
	s.hub.group.acceptor.Failed(&s.peer, r, stack)
}

// take gives a batch of the app's messages to the receiver.
func (h *ringHub) take(s *ringStream) (messages, bytes int, again bool) {
	n := s.in.Take(h.taken[:], turnBytes/4)
	for i := range n {
		b := h.taken[i]
		size := len(b.B)
		bytes += size
		s.owed += size
		switch {
		case s.aborted:
		case size > s.peer.MaxMessage:
			s.receiver.Broken(FaultTooLarge)
		default:
			s.receiver.Receive(b.B, b)
		}
		h.taken[i] = nil
		b.Release()
	}
	s.repay()
	return n, bytes, n == len(h.taken) || bytes >= turnBytes/4 || !s.in.Rest()
}

// repay returns what was received and is not withheld.
func (s *ringStream) repay() {
	n := max(0, s.owed-s.charged)
	s.owed -= n
	s.in.Return(n)
}

// step does what is due beside messages.
func (s *ringStream) step() {
	if s.out.IsShut() { // the app is gone
		s.cut(leftText)
	}
	if s.silenced && !s.muted {
		s.muted = true
		s.receiver.Muted()
	}
	if _, _, ended := s.in.Ended(); ended && s.in.Drained() {
		s.finishPeer(leftText)
	}
	if s.refused && !s.over && !s.out.Waits() {
		s.refused = false
		s.receiver.Writable()
	}
	if s.over && s.in.Drained() {
		s.close()
	}
}

// finishPeer tells the receiver, once, that no message follows.
func (s *ringStream) finishPeer(why string) {
	if s.peerDone || s.aborted {
		return
	}
	s.peerDone = true
	s.explain(why)
	s.receiver.PeerFinished()
}

// explain says, for logs, why the stream ends; the first reason is the one.
func (s *ringStream) explain(why string) {
	if s.peer.End == "" {
		s.peer.End = why
	}
}

// endOutput is the end of our side.
func (s *ringStream) endOutput(status int, text string) {
	if !s.over {
		s.over = true
		s.out.End(status, text)
		s.in.Shut()
	}
	s.list() // what the app has sent until now is still read
}

// cut ends the output for ever.
func (s *ringStream) cut(why string) {
	if s.silenced || s.closed {
		return
	}
	s.silenced = true
	s.explain(why)
	s.endOutput(statusExhausted, cutText)
}

// close is the end of the stream.
func (s *ringStream) close() {
	if s.closed {
		return
	}
	s.closed, s.over, s.peer.Streams = true, true, 0
	g := s.hub.group
	defer func() {
		delete(s.hub.all, s)
		g.checkIdle()
	}()
	defer g.acceptor.Ended(&s.peer, nil)
	s.receiver.Closed()
}

// Identity implements Stream: nobody has to prove to the process who it is.
func (s *ringStream) Identity() *auth.Identity { return nil }

// Peer implements Stream.
func (s *ringStream) Peer() *Peer { return &s.peer }

// Room implements Stream.
func (s *ringStream) Room() int {
	if s.over {
		return 0
	}
	n := s.out.Room()
	s.refused = s.refused || n == 0
	return n
}

// Size implements Stream.
func (s *ringStream) Size(m *Message) int { return m.Len() }

// Put implements Stream. The app gets memory of its own: it may hold it for long, and writes nothing into what others read.
func (s *ringStream) Put(m *Message) bool {
	if s.Room() == 0 {
		return false
	}
	n := m.Len()
	b := s.hub.group.loop.Stock().Get(n)
	b.B = m.Append(b.B)
	s.out.Put(b)
	s.largest = max(s.largest, n)
	if !s.dirty {
		s.dirty = true
		s.hub.dirty = append(s.hub.dirty, s)
	}
	return true
}

// PutPart implements Stream: a message that Put refuses fits later.
func (s *ringStream) PutPart(*Message, int, bool) int { return 0 }

// Charge implements Stream.
func (s *ringStream) Charge(n int) {
	if !s.closed {
		s.charged = max(0, s.charged+n)
		s.repay()
	}
}

// Advance implements Stream.
func (s *ringStream) Advance(n int) {
	if n -= s.in.Window() - s.owed; n > 0 && !s.closed {
		s.owed -= n
		s.in.Advance(n)
	}
}

// Established implements Stream: an app in the process is no stranger.
func (s *ringStream) Established() {}

// Finish implements Stream.
func (s *ringStream) Finish(status int, text string) {
	if !s.over && !s.closed {
		s.endOutput(status, text)
	}
}

// Silence implements Stream.
func (s *ringStream) Silence() { s.cut(cutText) }

// Abort implements Stream.
func (s *ringStream) Abort() {
	if !s.closed && !s.aborted {
		s.aborted = true
		s.explain(brokenText)
		s.endOutput(statusInternal, brokenText)
	}
}

// Progress implements Stream. Who waits for room waits for the app.
func (s *ringStream) Progress() Progress {
	given, taken := s.out.Sent(), s.out.Returned()
	p := Progress{Given: given, Taken: taken, SocketTaken: taken, Pending: int(given - taken), Lump: s.lump()}
	if s.out.Waits() {
		p.Limit = LimitWindow
	}
	return p
}

func (s *ringStream) lump() int { return max(s.out.Window()/ringLump, s.largest) }

// drain lets the apps send no more: what they have sent is still read.
func (h *ringHub) drain() {
	for s := range h.all {
		s.in.Shut()
		s.list()
	}
}

// finish ends every stream after what is queued for it.
func (h *ringHub) finish() {
	for s := range h.all {
		s.in.Shut()
		s.list()
		s.guarded(func() { s.finishPeer("the node is shutting down") })
	}
}

func (s *ringStream) guarded(f func()) {
	defer s.guard()
	f()
}

// read reports whether everything was taken that apps have sent. They were told to send no more.
func (h *ringHub) read() bool {
	for s := range h.all {
		if !s.in.Drained() && !s.aborted {
			return false
		}
	}
	return true
}

// tick gives up those who take too little of what is queued for them at their end, as watchEnd does.
func (h *ringHub) tick(now moment) {
	for s := range h.all {
		if s.peerDone && !s.over {
			s.guarded(func() { s.watchEnd(now) })
		}
	}
}

func (s *ringStream) watchEnd(now moment) {
	dt, taken := now.Sub(s.watched), s.out.Returned()
	fresh := taken - s.taken
	first := s.watched == 0
	s.watched, s.taken = now, taken
	if first {
		return
	}
	f := s.hub.group.opt.Floor
	f.Timeout = max(f.Timeout, lingerTimeout)
	s.short.Demand(min(dt, lingerTimeout), f.Rate)
	s.short.Pay(fresh)
	if float64(s.short) >= f.bound(s.lump(), 0) {
		err := errPeerEnded
		if s.hub.group.finishing {
			err = errShutdown
		}
		s.hub.group.acceptor.Refused(&s.peer, FaultUnread, err, "unacknowledged_bytes", int(s.out.Sent()-taken))
		s.Silence()
	}
}

// Cut ends all streams in process at once, after the end of the loop, by whoever has ended that.
func (g *Group) Cut() {
	h := &g.rings
	for s := range h.all {
		s.guarded(func() {
			s.explain(cutText)
			s.aborted = true
			s.endOutput(statusExhausted, cutText)
			for more := true; more; {
				_, _, more = h.take(s)
			}
			s.close()
		})
	}
}

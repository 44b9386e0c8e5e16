package relay

import (
	"fmt"
	"strings"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/transport"
)

const statusInvalid = 3 // INVALID_ARGUMENT of gRPC

// stream is one client's stream: it asks, then it is a feed, or the receiving end of feeds.
type stream struct {
	transport.Stream
	relay  *relay
	joined []*topic
	feeds  *topic // nil: it is no feed
	all    bool
	ended  bool   // nothing more is sent to it, or taken from it
	queue  []item // what its windows or the kernel do not take yet
}

// item is a message that waits, from the byte sent on.
type item struct {
	parcel *parcel
	sent   int
}

// parcel is a message shared by the queues it waits in. Its feed's window gets the bytes back when the last one has
// sent it.
type parcel struct {
	buf     *pool.Buf
	from    *stream
	size    int // charged to from
	waiting int
}

// Receive implements transport.Receiver.
func (s *stream) Receive(b []byte, buf *pool.Buf) {
	t := s.feeds
	switch {
	case t == nil:
		s.ask(b, buf)
	case len(t.joined) == 0:
	case s.all:
		s.pass(t.joined, b, buf)
	default:
		t.turn = (t.turn + 1) % len(t.joined)
		s.pass(t.joined[t.turn:t.turn+1], b, buf)
	}
}

// ask does what a stream is for, and says so.
func (s *stream) ask(b []byte, buf *pool.Buf) {
	if s.ended {
		return
	}
	r := s.relay
	verb, name, _ := strings.Cut(string(b), " ")
	switch verb {
	case client.Join:
		t := r.topic(name)
		t.joined = append(t.joined, s)
		s.joined = append(s.joined, t)
	case client.Feed, client.FeedAll:
		s.feeds, s.all = r.topic(name), verb == client.FeedAll
		s.feeds.feeds++
	default:
		s.end(statusInvalid, fmt.Sprintf("this is a blind relay: a stream begins with %s, %s or %s and a name", client.Join, client.Feed, client.FeedAll))
		return
	}
	s.pass([]*stream{s}, b, buf)
}

// pass gives p to each target, at once if it takes it.
func (s *stream) pass(to []*stream, p []byte, buf *pool.Buf) {
	m := &s.relay.whole
	m.SetOwn(p, buf)
	var waits *parcel
	for _, t := range to {
		if len(t.queue) == 0 && t.Put(m) {
			continue
		}
		if waits == nil {
			waits = s.wrap(m)
		}
		waits.waiting++
		t.queue = append(t.queue, item{parcel: waits})
		t.Writable() // a part may go now: a message larger than a window never goes whole
	}
	if waits != nil {
		waits.left() // our own hold on it ends
	}
}

// wrap keeps m for those that do not take it now, and charges the feed.
func (s *stream) wrap(m *transport.Message) *parcel {
	r := s.relay
	var w *parcel
	if n := len(r.free); n > 0 {
		w, r.free = r.free[n-1], r.free[:n-1]
	} else {
		w = new(parcel)
	}
	w.buf, w.from, w.size, w.waiting = m.Buf, s, s.Size(m), 1
	if w.buf != nil {
		w.buf.Retain()
	} else {
		w.buf = r.net.Stock().Get(len(m.B))
		w.buf.B = append(w.buf.B, m.B...)
	}
	s.Charge(w.size)
	return w
}

// left ends the wait of one target.
func (w *parcel) left() {
	if w.waiting--; w.waiting > 0 {
		return
	}
	r := w.from.relay
	w.from.Charge(-w.size)
	w.buf.Release()
	*w = parcel{}
	r.free = append(r.free, w)
}

// Writable implements transport.Receiver: it sends what waits, as far as windows and kernel allow.
func (s *stream) Writable() {
	m := &s.relay.part
	for len(s.queue) > 0 {
		it := &s.queue[0]
		m.SetOwn(it.parcel.buf.B, it.parcel.buf)
		n := s.PutPart(m, it.sent, true)
		if n == 0 {
			return
		}
		if it.sent += n; it.sent < it.parcel.size {
			continue
		}
		it.parcel.left()
		*it = item{}
		if s.queue = s.queue[1:]; len(s.queue) == 0 {
			s.queue = nil
		}
	}
}

// end ends our side.
func (s *stream) end(status int, text string) {
	s.leave()
	s.Finish(status, text)
}

// leave takes the stream out of everything it took part in.
func (s *stream) leave() {
	s.ended = true
	if t := s.feeds; t != nil {
		s.feeds = nil
		t.feeds--
		s.relay.leave(s, t)
	}
	s.Muted()
}

// PeerFinished implements transport.Receiver: the client has nothing more to say, and expects nothing.
func (s *stream) PeerFinished() { s.end(0, "") }

// Broken implements transport.Receiver.
func (s *stream) Broken(f transport.Fault) { s.end(statusInvalid, f.String()) }

// Muted implements transport.Receiver: nothing reaches it any more. What a feed has sent until now is still passed on.
func (s *stream) Muted() {
	for _, t := range s.joined {
		s.relay.leave(s, t)
	}
	for _, it := range s.queue {
		it.parcel.left()
	}
	s.joined, s.queue = nil, nil
}

// Closed implements transport.Receiver.
func (s *stream) Closed() { s.leave() }

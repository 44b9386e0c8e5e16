package relay

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/router/transport"
)

const readBuffer = 128 << 10 // bytes, as the node's

// Serve relays on l until ctx ends. It closes l and all sockets.
func Serve(ctx context.Context, l *net.TCPListener) error {
	ln, err := netloop.ListenOn(l)
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	defer ln.Close()
	r := &relay{topics: map[string]*topic{}}
	e, err := netloop.Start(netloop.Options{Loops: 1, ReadBuffer: readBuffer}, func(n *netloop.Loop) netloop.Owner {
		r.net, r.group = n, transport.NewGroup(n, transport.Options{}, r)
		return r
	})
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		e.Accept(ln, netloop.Acceptance{Handler: func(*netloop.Loop) netloop.Handler { return r.group.AcceptGRPC() }})
	})
	<-ctx.Done()
	ln.Close()
	accepting.Wait()
	e.Stop()
	return nil
}

// relay owns the one loop, to which everything in it belongs.
type relay struct {
	net    *netloop.Loop
	group  *transport.Group
	topics map[string]*topic
	free   []*parcel // not in use

	whole, part transport.Message // scratch of pass and pump
}

// topic connects the feeds of one name with those who joined. It stays when all have gone: a relay lives for one measurement.
type topic struct{ joined []*stream }

// Turn implements netloop.Owner: nobody leaves anything for the loop.
func (r *relay) Turn() {}

// Batch implements netloop.Owner.
func (r *relay) Batch() { r.group.Flush() }

// Tick implements netloop.Owner.
func (r *relay) Tick(now time.Time) {
	r.net.Stock().Tick()
	r.group.Tick(now)
}

// Panicked implements netloop.Owner: the figures of a relay with a fault are worth nothing.
func (r *relay) Panicked(_ *netloop.Socket, value any, stack []byte) {
	panic(fmt.Sprintf("%v\n%s", value, stack))
}

// Accept implements transport.Acceptor.
func (r *relay) Accept(c transport.Stream) transport.Receiver {
	c.Established() // nobody is a stranger: there is nothing to negotiate
	return &stream{relay: r, Stream: c}
}

// Failed implements transport.Acceptor.
func (r *relay) Failed(_ *transport.Peer, value any, stack []byte) { r.Panicked(nil, value, stack) }

// Refused, Late, Ended and Idle implement transport.Acceptor: the clients, which measure, see it themselves.
func (r *relay) Refused(*transport.Peer, transport.Fault, error, ...any) {}
func (r *relay) Late(int)                                                {}
func (r *relay) Ended(*transport.Peer, error)                            {}
func (r *relay) Idle()                                                   {}

const statusInvalid = 3 // INVALID_ARGUMENT of gRPC

// stream is one client's stream: a feed, or the receiving end of feeds.
type stream struct {
	transport.Stream
	relay *relay
	topic *topic // nil: it has none, or takes no part in it any more
	feeds bool   // it is a feed
	queue []item // what its windows or the kernel do not take yet
}

// item is a message that waits, from the byte sent on.
type item struct {
	parcel *parcel
	sent   int
}

// parcel is a message shared by the queues it waits in. Its feed's window gets the bytes back when the last one has sent it.
type parcel struct {
	buf     *pool.Buf
	from    *stream
	size    int // charged to from
	waiting int
}

// begin makes it what its first message says it is for, and sends that back.
func (s *stream) begin(b []byte, buf *pool.Buf) {
	verb, name, _ := strings.Cut(string(b), " ")
	if s.topic != nil || verb != client.Join && verb != client.Feed {
		s.end(statusInvalid, "this is a blind relay: it takes messages of what has said that it feeds a name")
		return
	}
	t := s.relay.topics[name]
	if t == nil {
		t = new(topic)
		s.relay.topics[name] = t
	}
	if s.topic, s.feeds = t, verb == client.Feed; !s.feeds {
		t.joined = append(t.joined, s)
	}
	s.pass([]*stream{s}, b, buf)
}

// Receive implements transport.Receiver.
func (s *stream) Receive(b []byte, buf *pool.Buf) {
	if !s.feeds {
		s.begin(b, buf)
	} else if s.topic != nil {
		s.pass(s.topic.joined, b, buf)
	}
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

// leave takes the stream out of what it took part in.
func (s *stream) leave() {
	if t := s.topic; t != nil {
		t.joined = slices.DeleteFunc(t.joined, func(o *stream) bool { return o == s })
	}
	s.topic = nil
	for _, it := range s.queue {
		it.parcel.left()
	}
	s.queue = nil
}

// PeerFinished implements transport.Receiver: the client has nothing more to say, and expects nothing.
func (s *stream) PeerFinished() { s.end(0, "") }

// Broken implements transport.Receiver.
func (s *stream) Broken(f transport.Fault) { s.end(statusInvalid, f.String()) }

// Muted implements transport.Receiver: nothing reaches it any more. What a feed has sent until now is still passed on.
func (s *stream) Muted() {
	if !s.feeds {
		s.leave()
	}
}

// Closed implements transport.Receiver.
func (s *stream) Closed() { s.leave() }

package h2

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// channelPath is the one method a SLIM node serves.
const channelPath = "/dataplane.proto.v1.DataPlaneService/OpenChannel"

// bodyPath answers any request with DATA, as h2spec's tests of flow control want it.
const bodyPath = "/body"

// echo is an owner as small as one can be: a node that sends every message back on its stream. Streams that may not
// send withhold credit for what waits, so that their peers stop sending.
type echo struct {
	c    *Conn
	out  []byte
	more []*Stream
}

type echoStream struct {
	queue  [][]byte // with prefix
	lent   []byte
	ending bool
	gone   bool
}

func (e *echo) Request(s *Stream, r *Request) {
	if string(r.Path) == bodyPath {
		s.User = &echoStream{queue: [][]byte{make([]byte, 1000)}}
		e.c.Respond(s)
		e.more = append(e.more, s)
		return
	}
	if string(r.Path) != channelPath || string(r.Method) != "POST" {
		e.c.Refuse(s, 200, 12, "unknown method")
		return
	}
	s.User = &echoStream{}
	e.c.Respond(s)
	e.more = append(e.more, s)
}

func (e *echo) Message(s *Stream, msg []byte, lent bool) {
	q := s.User.(*echoStream)
	q.lent = nil
	q.queue = append(q.queue, append(appendPrefix(nil, len(msg)), msg...))
	e.c.Hold(s, len(msg))
}

func (e *echo) Grow(s *Stream, have []byte, n int) []byte {
	b := append(make([]byte, 0, n), have...)
	s.User.(*echoStream).lent = b
	return b
}

func (e *echo) Ended(s *Stream, end *End) {
	if q, ok := s.User.(*echoStream); ok {
		q.ending = true
	}
}

func (e *echo) Closed(s *Stream) {
	if q, ok := s.User.(*echoStream); ok {
		q.gone = true
	}
}

func (e *echo) Response(*Stream, *Response)    {}
func (e *echo) Writable(*Stream)               {}
func (e *echo) Pong()                          {}
func (e *echo) GoAway(uint32, ErrCode, []byte) {}
func appendPrefix(dst []byte, n int) []byte    { return appendBE32(append(dst, 0), uint32(n)) }
func sendBytes(c *Conn, dst []byte, s *Stream, b []byte) ([]byte, int) {
	sent := 0
	for len(b) > 0 {
		var k int
		if dst, k = c.Data(dst, s, len(b)); k == 0 {
			break
		}
		dst = append(dst, b[:k]...)
		b = b[k:]
		sent += k
	}
	return dst, sent
}

// control moves the control frames to where they stand in the order of the output.
func (e *echo) control() {
	e.out = append(e.out, e.c.Control()...)
	e.c.ControlDone()
}

// flush returns what is to be written now: control frames, and DATA within the windows.
func (e *echo) flush() []byte {
	live := e.more[:0]
	e.out = e.out[:0]
	e.control()
	for _, s := range e.more {
		q, ok := s.User.(*echoStream)
		if !ok || q.gone {
			continue
		}
		for len(q.queue) > 0 {
			e.control()
			var k int
			e.out, k = sendBytes(e.c, e.out, s, q.queue[0])
			if k < len(q.queue[0]) {
				q.queue[0] = q.queue[0][k:]
				break
			}
			e.c.Hold(s, -min(k, s.withheld))
			q.queue = q.queue[1:]
		}
		if len(q.queue) == 0 {
			e.c.Hold(s, -s.withheld)
			if q.ending {
				e.control()
				e.out = e.c.Trailers(e.out, s, 0, "")
				continue
			}
		}
		live = append(live, s)
	}
	e.control()
	e.c.Cut()
	e.more = live
	return e.out
}

// serveEcho runs the engine over a socket until either side gives up.
func serveEcho(conn net.Conn, set *Settings) error {
	defer conn.Close()
	var c Conn
	c.Init(Server, set)
	e := &echo{c: &c}
	w := newWriter(conn)
	defer w.stop()
	w.put(e.flush())
	b := make([]byte, 64<<10)
	for {
		n, err := conn.Read(b)
		if err == nil {
			err = c.Feed(b[:n], e)
		}
		if err != nil {
			w.put(c.Control())
			c.Close(e)
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		for out := e.flush(); len(out) > 0; out = e.flush() {
			w.put(out)
			c.Reap(e)
		}
	}
}

// writer lets reads go on while a write blocks, as a node's out buffer does; two ends over net.Pipe would lock up
// otherwise.
type writer struct {
	mu   sync.Mutex
	cond *sync.Cond
	buf  []byte
	over bool
	done chan struct{}
}

func newWriter(conn net.Conn) *writer {
	w := &writer{done: make(chan struct{})}
	w.cond = sync.NewCond(&w.mu)
	go func() {
		defer close(w.done)
		for {
			w.mu.Lock()
			for len(w.buf) == 0 && !w.over {
				w.cond.Wait()
			}
			b := w.buf
			w.buf = nil
			w.mu.Unlock()
			if len(b) == 0 {
				return
			}
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
	}()
	return w
}

func (w *writer) put(b []byte) {
	w.mu.Lock()
	w.buf = append(w.buf, b...)
	w.mu.Unlock()
	w.cond.Signal()
}

func (w *writer) stop() {
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	w.cond.Signal()
	<-w.done
}

// listenEcho serves set on a loopback port until the test ends.
func listenEcho(t testing.TB, set *Settings) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { _ = serveEcho(conn, set) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr()
}

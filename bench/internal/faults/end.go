package faults

import (
	"encoding/binary"
	"net"
	"sync"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

const (
	window = 4 << 20
	most   = 4 << 20 // bytes that may wait for one end; then the other is not read
)

// end is one side of a connection: the client's, or the node's. read belongs to one goroutine, write to another; mu guards
// the engine and the queue.
type end struct {
	proxy *Proxy
	nc    net.Conn
	other *end
	node  bool     // this side talks to the node
	msgs  [][]byte // complete messages of one read; of the reader
	kept  []byte   // towards a client: a publish that waits for the next one; of the other end's reader

	mu     sync.Mutex
	some   sync.Cond
	h2     h2.Conn
	stream *h2.Stream
	queue  []byte // gRPC-framed
	gone   bool
	ask    []h2.Field // towards the node: what the client's request said
}

func newEnd(p *Proxy, nc net.Conn, node bool) *end {
	e := &end{proxy: p, nc: nc, node: node}
	e.some.L = &e.mu
	role := h2.Server
	if node {
		role = h2.Client
	}
	n := p.plan.Window
	if n == 0 {
		n = window
	}
	e.h2.Init(role, &h2.Settings{InitialWindow: n, ConnWindow: n})
	return e
}

func (e *end) read() {
	b := make([]byte, 64<<10)
	for {
		n, err := e.nc.Read(b)
		e.mu.Lock()
		if err == nil {
			err = e.h2.Feed(b[:n], (*events)(e))
		}
		msgs, ask := e.msgs, e.ask
		e.msgs, e.ask = nil, nil
		if err != nil {
			e.gone = true
		}
		e.some.Broadcast()
		e.mu.Unlock()
		if ask != nil {
			e.other.open(ask)
		}
		for _, m := range msgs {
			e.pass(m)
		}
		if err != nil {
			e.leave()
			return
		}
	}
}

// leave closes both sides.
func (e *end) leave() {
	p := e.proxy
	p.mu.Lock()
	delete(p.ends, e)
	p.mu.Unlock()
	_ = e.nc.Close()
	e.other.mu.Lock()
	e.other.gone = true
	e.other.some.Broadcast()
	e.other.mu.Unlock()
	_ = e.other.nc.Close()
}

// pass hands a message of this end to the other, with what the plan has in store for it.
func (e *end) pass(msg []byte) {
	var m wire.Message
	publish := wire.Scan(msg, &m) == nil && m.Kind == wire.KindPublish
	if publish && e.proxy.plan.Pause != nil {
		e.proxy.plan.Pause()
	}
	if e.node && e.proxy.quiet() { // fell silent meanwhile
		return
	}
	if !e.node || !publish {
		e.other.send(msg)
		return
	}
	for _, out := range e.proxy.fate(e.other, msg) {
		e.other.send(out)
	}
}

// open asks the node for what the client asked for.
func (e *end) open(fields []h2.Field) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, err := e.h2.Open(fields)
	if err != nil {
		_ = e.nc.Close()
		return
	}
	e.stream = s
	e.some.Broadcast()
}

func (e *end) send(msg []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.queue) > most && !e.gone {
		e.some.Wait()
	}
	e.queue = binary.BigEndian.AppendUint32(append(e.queue, 0), uint32(len(msg)))
	e.queue = append(e.queue, msg...)
	e.some.Broadcast()
}

func (e *end) write() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		out := append([]byte(nil), e.h2.Control()...)
		e.h2.ControlDone()
		for len(e.queue) > 0 && e.stream != nil {
			var k int
			if out, k = e.h2.Data(out, e.stream, len(e.queue)); k == 0 {
				break
			}
			out = append(out, e.queue[:k]...)
			e.queue = e.queue[k:]
		}
		e.h2.Cut()
		if len(out) == 0 {
			if e.gone {
				return
			}
			e.some.Wait()
			continue
		}
		e.mu.Unlock()
		_, err := e.nc.Write(out)
		e.mu.Lock()
		e.some.Broadcast()
		if err != nil {
			e.gone = true
			_ = e.nc.Close()
			return
		}
	}
}

// events is the engine's view of an end; mu is held.
type events end

func (v *events) Request(s *h2.Stream, r *h2.Request) {
	v.stream = s
	v.ask = []h2.Field{
		{Name: ":method", Value: string(r.Method)}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: v.proxy.node},
		{Name: ":path", Value: string(r.Path)}, {Name: "te", Value: "trailers"}, {Name: "content-type", Value: string(r.ContentType)},
	}
	v.h2.Respond(s)
}

func (v *events) Message(_ *h2.Stream, msg []byte, _ bool) {
	v.msgs = append(v.msgs, append([]byte(nil), msg...))
}

func (v *events) Grow(_ *h2.Stream, have []byte, n int) []byte {
	return append(make([]byte, 0, n), have...)
}

func (v *events) Ended(*h2.Stream, *h2.End)         { v.gone = true; _ = v.nc.Close() }
func (v *events) Writable(*h2.Stream)               { v.some.Broadcast() }
func (v *events) Response(*h2.Stream, *h2.Response) {}
func (v *events) Closed(*h2.Stream)                 {}
func (v *events) Pong()                             {}
func (v *events) GoAway(uint32, h2.ErrCode, []byte) {}

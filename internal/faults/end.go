package faults

import (
	"context"
	"net"
	"slices"
	"sync"

	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
	"github.com/seed31b3bfd0/slimgo/wire/link"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

const (
	window    = 1 << 20 // bytes
	prefixLen = 5       // gRPC: flag, big-endian length
)

// end is the proxy's end of a client's connection.
type end struct {
	proxy *Proxy
	nc    net.Conn
	ctx   context.Context // ends with the connection
	leave context.CancelFunc
	up    *uplink.Conn // to the node; nil: there is none

	// The reader's.
	machine *link.Machine // nil once the link is negotiated
	verify  *mac.MAC
	msgs    [][]byte // complete messages of one read
	held    int      // bytes that a deaf proxy has not given back
	ended   bool     // the client has ended the channel in order

	mu     sync.Mutex
	some   sync.Cond
	h2     h2.Conn
	stream *h2.Stream
	sign   *mac.MAC
	linkID string
	queue  []byte   // framed; waits for the client's window
	late   [][]byte // for behind the next delivery
	gone   bool

	leaving bool // all that the client had to say was taken: what it is owed, then the end is written
}

func newEnd(p *Proxy, nc net.Conn) *end {
	e := &end{proxy: p, nc: nc}
	e.ctx, e.leave = context.WithCancel(context.Background())
	e.some.L = &e.mu
	n := p.Window
	if n == 0 {
		n = window
	}
	e.h2.Init(h2.Server, &h2.Settings{InitialWindow: n, ConnWindow: n})
	e.machine = link.New(&link.Config{Role: link.Acceptor, Version: "2.3.0", NodeID: "fault-proxy", Strict: true})
	return e
}

// read runs until the client, or the node behind, is gone.
func (e *end) read() {
	defer e.left()
	b := make([]byte, 64<<10)
	for {
		n, err := e.nc.Read(b)
		e.mu.Lock()
		if err == nil && !e.proxy.Mute {
			err = e.h2.Feed(b[:n], (*events)(e))
		}
		msgs := e.msgs
		e.msgs = nil
		e.gone = e.gone || err != nil
		e.some.Broadcast()
		e.mu.Unlock()
		for _, msg := range msgs {
			if !e.receive(msg) {
				err = net.ErrClosed
			}
		}
		if err != nil {
			return
		}
		if e.ended { // not before its last messages were taken: the client goes by the answer
			e.mu.Lock()
			e.leaving = true
			e.some.Broadcast()
			e.mu.Unlock()
		}
	}
}

// receive takes one message; false: the client is not to be dealt with any more.
func (e *end) receive(msg []byte) bool {
	if e.machine != nil {
		return e.negotiate(msg)
	}
	var m wire.Message
	var h wire.Header
	if wire.Scan(msg, &m) != nil || !m.Kind.Routed() || wire.ParseHeader(m.Header.Of(msg), &h) != nil || m.Invalid(&h) != 0 {
		return true // as a node drops it
	}
	head := m.Header.Of(msg)
	var names mac.Names
	e.verify.Names(&names, mac.AppendNames(nil, e.linkID, head, &h))
	if !h.HasMAC || !e.verify.Verify(h.MAC.Of(head), &names, mac.AppendRest(nil, head, &h, h.TTL, false)) {
		return false // the clients of tests sign well
	}
	e.proxy.take(e, msg, &m, &h)
	return true
}

// negotiate answers the client's link, when there is one to the node.
func (e *end) negotiate(msg []byte) bool {
	reply, err := e.machine.Step(nil, msg)
	if err == nil && e.proxy.Node != "" {
		err = e.connect()
	}
	if err != nil {
		return false
	}
	r := e.machine.Result()
	e.machine, e.verify = nil, mac.New(r.Key, r.LinkID)
	e.mu.Lock()
	e.linkID, e.sign = r.LinkID, mac.New(r.Key, r.LinkID)
	e.mu.Unlock()
	e.send(reply, false)
	return true
}

// left takes the client out of the proxy.
func (e *end) left() {
	_ = e.nc.Close()
	e.leave()
	if e.up != nil {
		e.up.Abort()
		<-e.up.Done()
	}
	e.mu.Lock()
	e.gone = true
	e.some.Broadcast()
	e.mu.Unlock()
	p := e.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.ends, e)
	for name, all := range p.names {
		if p.names[name] = slices.DeleteFunc(all, func(o *end) bool { return o == e }); len(p.names[name]) == 0 {
			delete(p.names, name)
		}
	}
}

// write sends what engine and proxy have for the client.
func (e *end) write() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for !e.proxy.Mute {
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
		if e.leaving && len(e.queue) == 0 {
			out = e.h2.Trailers(out, e.stream, 0, "")
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
		if err != nil {
			_ = e.nc.Close()
			e.gone = true
			return
		}
	}
}

// send queues a message, signed for this link if it has a header; wrongly if it shall be.
func (e *end) send(msg []byte, wrongly bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var m wire.Message
	var h wire.Header
	if wire.Scan(msg, &m) == nil && m.Kind.Routed() && wire.ParseHeader(m.Header.Of(msg), &h) == nil {
		msg = e.signed(msg, &m, &h, wrongly)
	}
	e.queue = uplink.AppendFrame(e.queue, msg)
	e.some.Broadcast()
}

// signed returns msg as it goes on over this link. mu is held.
func (e *end) signed(msg []byte, m *wire.Message, h *wire.Header, wrongly bool) []byte {
	head, ttl := m.Header.Of(msg), h.TTL-1
	var names mac.Names
	var tag [wire.MACSize]byte
	e.sign.Names(&names, mac.AppendNames(nil, e.linkID, head, h))
	e.sign.Tag(&tag, &names, mac.AppendRest(nil, head, h, ttl, true))
	if wrongly {
		tag[0] ^= 1
	}
	out := wire.AppendOpening(nil, msg, m, wire.HeaderSize(h, ttl, true))
	out = wire.AppendHeader(out, head, h, ttl, tag[:])
	return append(out, msg[m.Header.End:]...)
}

// events is the engine's view of an end; mu is held.
type events end

func (v *events) Request(s *h2.Stream, _ *h2.Request) {
	v.stream = s
	v.h2.Respond(s)
}

func (v *events) Message(s *h2.Stream, msg []byte, _ bool) {
	if v.machine == nil && v.proxy.Deaf {
		v.h2.Hold(s, len(msg)+prefixLen)
		if v.held += len(msg) + prefixLen; v.held > window-len(msg) {
			v.proxy.fill.Do(func() { close(v.proxy.full) })
		}
		return
	}
	v.msgs = append(v.msgs, slices.Clone(msg))
}

func (v *events) Grow(_ *h2.Stream, have []byte, n int) []byte {
	return append(make([]byte, 0, n), have...)
}

func (v *events) Ended(s *h2.Stream, why *h2.End) {
	if v.ended = why.Kind == h2.KindHalfClosed; !v.ended {
		v.gone = true
		_ = v.nc.Close()
	}
}
func (v *events) Response(*h2.Stream, *h2.Response) {}
func (v *events) Writable(*h2.Stream)               { v.some.Broadcast() }
func (v *events) Closed(*h2.Stream)                 {}
func (v *events) Pong()                             {}
func (v *events) GoAway(uint32, h2.ErrCode, []byte) {}

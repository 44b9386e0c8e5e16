package router

import (
	"bytes"
	"slices"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
	"github.com/seed31b3bfd0/slimgo/wire/link"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// openChannel is the only method of the service (dataplane.md section 1.1).
const openChannel = "/dataplane.proto.v1.DataPlaneService/OpenChannel"

// gRPC status codes that a node sends.
const (
	statusOK               = 0
	statusPermissionDenied = 7
	statusUnimplemented    = 12
)

// socket is one transport connection with its HTTP/2 engine. Owned by its loop.
type socket struct {
	loop  *loop
	gc    gnet.Conn
	fd    int
	h2    h2.Conn
	conns []*Conn // usually one
	pages []*page // usually none

	box   *outbox // output of this batch; nil between batches
	heard int64   // slow tick of the last read
	began int64   // slow tick of the start
	pings int64   // slow tick at which our unanswered PING went out; 0: none

	dirty   bool // in loop.dirty
	blocked bool // in loop.blocked
	closing bool // to be closed at the end of this callback
	drained bool // GOAWAY is sent, no stream is left
	gone    bool // gnet has closed it
	writing bool // inside flush
	cleaned bool
	idle    int64  // while finishing: slow ticks without progress
	mark    uint64 // progress at the last slow tick
	mute    bool   // nothing more is written
	prompt  bool   // the peer does not wait for acknowledgements before it sends
	logged  uint32 // bit per Reason: said once
}

// state of a connection (dataplane.md section 9).
type state uint8

const (
	accepted state = iota // stream open, negotiation awaited; in no table
	active                // negotiated: in the table's sight
	ending                // out of the table; our side of the stream ends behind what is queued
	gone                  // the stream is over
)

// Conn is one connection: an OpenChannel stream as the name table sees it.
type Conn struct {
	// Immutable after the stream's opening.
	id     uint64
	loop   *loop
	sock   *socket
	stream *h2.Stream

	// Safe for all.
	dead     atomic.Bool  // the connection is over: no message may be sent to it
	returned atomic.Int64 // credit from other loops, in bytes, not yet given to the engine
	notified atomic.Bool  // the owner has been told of returned

	// Owned by the loop.
	state   state
	kind    table.Kind
	filter  table.Filter // what a publish of this connection may reach
	machine *link.Machine
	mac     *mac.MAC // nil: unsigned link
	linkID  string
	expires time.Time // of the negotiation
	gather  *pool.Buf // of the message that spans reads
	in      inMemory
	outm    outMemory
	q       queue
	left    uint64 // bytes given to the socket since the start
	status  int    // of the end
	message string
	trailed bool      // trailers are staged or out
	untold  bool      // the mesh has more for this peer than its queue has room for
	late    []lateAck // to a peer, by due
	logged  uint32    // bit per Reason: said once
}

// open begins the life of a socket on its loop.
func (k *socket) open(gc gnet.Conn) {
	l := k.loop
	k.gc, k.fd = gc, gc.Fd()
	k.heard, k.began = l.tick, l.tick
	o := &l.node.opt
	k.h2.Init(h2.Server, &h2.Settings{InitialWindow: receiveWindow, MaxFrameSize: o.MaxFrameSize,
		MaxHeaderList: o.MaxHeaderList, MaxStreams: o.MaxStreams, ConnWindow: 16 << 20, MaxMessage: maxMessage})
	l.live[k] = struct{}{}
	l.n.sockets++
	if l.ending {
		k.drain()
	}
	k.markDirty()
}

// remote is for logs.
func (k *socket) remote() string {
	if k.gc == nil || k.gc.RemoteAddr() == nil {
		return "unknown"
	}
	return k.gc.RemoteAddr().String()
}

// note counts a refusal and says it once per socket and reason.
func (k *socket) note(r Reason, err error, more ...any) {
	k.loop.n.refused[r]++
	if k.logged&(1<<r) == 0 {
		k.logged |= 1 << r
		k.loop.node.log.Warn("request or connection refused", append([]any{"target", targetProcessing,
			"remote", k.remote(), "reason", r.String(), "error", err}, more...)...)
	}
}

// fail ends a socket whose engine has given up; GOAWAY is in the control bytes.
func (k *socket) fail(err error) {
	r := ReasonProtocol
	if e, ok := err.(*h2.ConnError); ok && e.Code == h2.EnhanceYourCalm {
		r = ReasonFlood
	}
	k.loop.n.refused[r]++
	k.loop.node.log.Warn("connection closed: the peer broke HTTP/2", "target", targetProcessing,
		"remote", k.remote(), "reason", r.String(), "error", err)
	k.closing = true
	k.markDirty()
}

// closed is called when gnet has closed the socket or is about to, perhaps in the midst of a write of ours: what
// lived on the socket ends with the batch.
func (k *socket) closed() {
	if k.gone {
		return
	}
	k.gone, k.closing = true, true
	k.loop.fallen = append(k.loop.fallen, k)
}

// cleanUp ends everything that lived on a closed socket.
func (k *socket) cleanUp() {
	if k.cleaned {
		return
	}
	k.cleaned = true
	l := k.loop
	delete(l.live, k)
	l.sockets.Add(-1)
	l.n.sockets--
	for len(k.conns) > 0 {
		c := k.conns[len(k.conns)-1]
		k.conns = k.conns[:len(k.conns)-1]
		c.leave()
	}
	k.dropOutbox()
	if l.ending && len(l.live) == 0 {
		l.finishDrain()
	}
}

// Request implements h2.Events: the peer opened a stream.
func (k *socket) Request(s *h2.Stream, r *h2.Request) {
	l := k.loop
	if l.finishing {
		k.h2.Reset(s, h2.RefusedStream)
		return
	}
	if string(r.Path) != openChannel || string(r.Method) != "POST" {
		k.note(ReasonPath, nil, "path", string(r.Path), "method", string(r.Method))
		if !bytes.HasPrefix(r.ContentType, []byte("application/grpc")) {
			k.answer(s)
			return
		}
		k.h2.Refuse(s, 200, statusUnimplemented, "")
		return
	}
	if enc, _ := r.Field("grpc-encoding"); len(enc) > 0 && string(enc) != "identity" {
		k.note(ReasonCompressed, nil, "encoding", string(enc))
		k.h2.Refuse(s, 200, statusUnimplemented, "content is compressed with "+string(enc)+": send it plain (identity)",
			h2.Field{Name: "grpc-accept-encoding", Value: "identity"}) // dataplane.md section 1.1
		return
	}
	agent, _ := r.Field("user-agent")
	k.prompt = prompt(string(agent))
	c := &Conn{id: l.node.nextConn.Add(1), loop: l, sock: k, stream: s, kind: table.Remote,
		expires: time.Now().Add(l.node.opt.NegotiationTimeout)}
	c.machine = link.New(&link.Config{Role: link.Acceptor, Version: l.node.opt.Version, NodeID: l.node.opt.NodeID,
		Deployment: l.node.opt.Deployment, Strict: !l.node.opt.AllowUnsigned, EnforcePQC: l.node.opt.EnforcePQC})
	s.User = c
	k.conns = append(k.conns, c)
	l.setup = append(l.setup, c)
	l.n.conns++
	k.h2.Respond(s) // at once: a Rust dialer sends nothing before it has the HEADERS
}

// Response implements h2.Events; the node has no dialer role yet.
func (k *socket) Response(*h2.Stream, *h2.Response) {}

// Grow implements h2.Events.
func (k *socket) Grow(s *h2.Stream, have []byte, n int) []byte {
	c, ok := s.User.(*Conn)
	if !ok {
		return append(make([]byte, 0, n), have...)
	}
	b := k.loop.stock.Get(n)
	b.B = append(b.B, have...)
	if c.gather != nil {
		c.gather.Release()
	}
	c.gather = b
	return b.B
}

// Message implements h2.Events: step 2 to 3 of the journey.
func (k *socket) Message(s *h2.Stream, p []byte, lent bool) {
	c, ok := s.User.(*Conn)
	if !ok {
		return
	}
	if !lent {
		c.receive(p, nil)
		return
	}
	b := c.gather
	c.gather = nil
	b.B = p
	c.receive(p, b)
	b.Release()
}

// Ended implements h2.Events: the peer sends nothing more on s, or what it sends is no gRPC.
func (k *socket) Ended(s *h2.Stream, e *h2.End) {
	c, ok := s.User.(*Conn)
	if !ok {
		return
	}
	switch e.Kind {
	case h2.KindBroken:
		r := ReasonTooLarge
		if e.GRPCStatus == statusUnimplemented {
			r = ReasonCompressed
		}
		c.note(r, nil)
		c.end(statusOK, "")
	case h2.KindReset, h2.KindFault, h2.KindConn:
		c.leave()
	default: // half-closed: what is queued for it still goes out
		c.finish()
	}
}

// Writable implements h2.Events.
func (k *socket) Writable(s *h2.Stream) {
	if s == nil {
		k.pump()
		return
	}
	switch u := s.User.(type) {
	case *Conn:
		u.pump()
	case *page:
		k.writePage(u)
	}
}

// Closed implements h2.Events: the last event of a stream.
func (k *socket) Closed(s *h2.Stream) {
	c, ok := s.User.(*Conn)
	if !ok {
		k.pages = slices.DeleteFunc(k.pages, func(p *page) bool { return p.stream == s })
		k.h2.Recycle(s)
		return
	}
	c.leave()
	k.conns = slices.DeleteFunc(k.conns, func(x *Conn) bool { return x == c })
}

// Pong implements h2.Events.
func (k *socket) Pong() { k.pings = 0 }

// GoAway implements h2.Events: the peer opens no more streams; those that live go on.
func (k *socket) GoAway(uint32, h2.ErrCode, []byte) {}

// pump moves the queues of all connections of the socket as far as its windows and the kernel allow.
func (k *socket) pump() {
	for _, c := range k.conns {
		c.pump()
	}
	for _, p := range k.pages {
		k.writePage(p)
	}
}

package router

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/router/transport"
	"github.com/seed31b3bfd0/slimgo/wire/link"
)

// outgoing is a connection that this node has opened, as long as its Dialer follows it.
type outgoing struct {
	// Immutable.
	dialer *Dialer
	up     chan *Conn   // gets one when it is negotiated; has room for it
	over   chan outcome // gets one at its end; has room for it

	conn atomic.Pointer[Conn] // once there is one; safe for all

	// Owned by the loop.
	machine *link.Machine // while it negotiates
	vain    bool          // the answer will be the same every time
}

// outcome is how an outgoing connection has ended.
type outcome struct {
	why    string
	status int8 // of gRPC; -1: none
	vain   bool // it would be the same every time
}

// final reports whether a connection that has ended so is not to be opened again (P-dial-4). up is nil if it has never
// been negotiated: then it is tried again, since the other end may only be starting or full.
func (e *outcome) final(up *Conn) bool {
	if up == nil {
		return e.vain
	}
	return e.status == statusPermissionDenied || up.kind == table.Remote
}

// callOn returns the handler of a socket of l that was just connected.
func (l *loop) callOn(o *outgoing, call *transport.Call) netloop.Handler {
	return &watched{l.group.Dial(call, func(s transport.Stream) transport.Caller {
		return l.open(s, o)
	}), o}
}

// watched tells the dialer of the end of a socket, whatever became of it before.
type watched struct {
	netloop.Handler
	outgoing *outgoing
}

// Closed implements netloop.Handler.
func (w *watched) Closed(err error) {
	defer w.outgoing.end(outcome{why: "its socket was closed", status: -1}) // if nobody has said more
	w.Handler.Closed(err)
}

// end tells the dialer that the connection is over; the first reason is the one.
func (o *outgoing) end(e outcome) {
	select {
	case o.over <- e:
	default:
	}
}

// hangUp ends the connection behind what is queued for it.
func (o *outgoing) hangUp() {
	if c := o.conn.Load(); c != nil {
		c.postFor(func() {
			c.because("the link is not wanted any more")
			c.finish()
		})
	}
}

// abort ends the connection at once.
func (o *outgoing) abort() {
	if c := o.conn.Load(); c != nil {
		c.postFor(func() { c.stream.Abort() })
	}
}

// open makes the connection of a stream that this node opens.
func (l *loop) open(s transport.Stream, o *outgoing) *Conn {
	n := l.node
	n.open.Add(1) // whatever the limit: what the operator wants is not refused for what others have
	c := l.newConn(s)
	c.dialed = o
	o.conn.Store(c) // before Join returns, and so before hangUp
	return c
}

// Answered implements transport.Caller: it sends the request of the negotiation.
func (c *Conn) Answered() {
	l, o := c.loop, &c.loop.node.opt
	d := &c.dialed.dialer.link
	m := link.New(&link.Config{Role: link.Dialer, LinkID: d.ID, Kind: wireKind(d.Kind), Version: o.Version, NodeID: o.NodeID,
		Deployment: o.Deployment, Strict: !d.AllowUnsigned, EnforcePQC: l.rules.EnforcePQC})
	out, err := m.Start(l.small[:0])
	if err != nil {
		c.because(err.Error())
		c.end(statusOK, "")
		return
	}
	c.dialed.machine = m
	c.opened = time.Since(l.node.made) // the time for the answer begins
	l.awaitSetup(c)
	l.small = out
	c.sendOwn(out, false)
}

// answered takes the reply of the negotiation, the first message of a stream that this node has opened.
func (c *Conn) answered(b []byte) {
	m := c.dialed.machine
	if m == nil { // a message before ours
		c.refuseReply(errEarly)
		return
	}
	c.dialed.machine = nil
	defer m.Close()
	if _, err := m.Step(nil, b); err != nil {
		c.refuseReply(err)
		return
	}
	res := m.Result()
	c.dialed.dialer.status.answers(res.RemoteNode)
	switch want := wireKind(c.dialed.dialer.link.Kind); {
	case res.Refusal != "":
		c.dialed.vain = true
		c.refuseReply(errors.New(res.Refusal))
		return
	case res.Kind != want:
		c.refuseReply(fmt.Errorf("asked for a link of kind %v, it answers with %v", want, res.Kind))
		return
	}
	g, _ := c.loop.node.claims.own(kindOf(res.Kind))
	if set := c.loop.rules.Authorization; c.judged(set) {
		c.arm(set.For(c.identity()))
	}
	c.activate(&res, g, !c.dialed.dialer.link.AllowUnsigned)
	if c.state == active {
		c.dialed.up <- c
	}
}

// refuseReply ends a connection whose other end does not negotiate as it must. Nobody is turned away by that: it is told
// with the link.
func (c *Conn) refuseReply(err error) {
	text := "negotiation: " + err.Error()
	c.because(text)
	c.end(statusOK, text)
}

// toldOver tells the dialer of the end of a connection.
func (c *Conn) toldOver() {
	if c.dialed == nil {
		return
	}
	if m := c.dialed.machine; m != nil {
		m.Close()
		c.dialed.machine = nil
	}
	p := c.stream.Peer()
	c.because(p.End)
	c.dialed.end(outcome{c.why, p.Status, c.dialed.vain})
}

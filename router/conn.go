package router

import (
	"cmp"
	"errors"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/hop"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/router/transport"
)

// gRPC status codes that a node sends.
const (
	statusOK               = 0
	statusPermissionDenied = 7
	statusUnauthenticated  = 16
	statusExhausted        = 8
	statusInternal         = 13
)

// state of a connection (P-end-5).
type state uint8

const (
	accepted state = iota // stream open, negotiation awaited; in no table
	claimed               // negotiated; a verifier has yet to say whether its claim is true; in no table
	active                // negotiated: in the table's sight
	ending                // out of the table; our side of the stream ends after what is queued
	gone                  // the stream is over
)

// Conn is one connection: a stream of messages as the name table sees it.
type Conn struct {
	// Immutable after the stream's opening.
	id     uint64
	loop   *loop
	stream transport.Stream
	most   uint32 // the largest message that it takes, bytes
	names  uint32 // owned by the loop: subscriptions that it had at its end, for logs

	// Safe for all.
	dead     atomic.Bool  // the connection is over: no message may be sent to it
	busy     atomic.Bool  // stalled, or its queue is half full: an anycast message goes to another if there is one
	returned atomic.Int64 // credit from other loops, in bytes, not yet given to the stream; negative: a charge
	advanced atomic.Int64 // bytes that receivers of other loops let it have to send, not yet given to the stream
	notified atomic.Bool  // the owner has been told of returned or advanced

	twin atomic.Pointer[twin] // nil: this link replaces none, and is not replaced

	// Owned by the loop.
	state      state
	kind       table.Kind
	filter     table.Filter  // what a publish of this connection may reach; once active it changes only with what peer links stand by
	asked      *pool.Buf     // messages that wait for the answer to its negotiation, which is the first; nil: none
	permit     *permit       // nil: nothing that it does is judged
	pending    *pending      // while claimed
	dialed     *outgoing     // this node has opened it; nil: it was accepted
	link       hop.Link      // open once active
	opened     time.Duration // after the node began
	q          queue
	held       int // bytes that it is charged with
	message    string
	place      uint32     // in loop.live
	sending    uint32     // fan-outs of its messages that are not done: later messages wait behind them
	status     uint8      // of the end
	negotiated bool       // it has been active
	granted    bool       // it has a grant of claims
	muted      bool       // nothing can be sent to it
	finished   bool       // its peer sends nothing more, and asked has yet to be answered
	hears      bool       // ending: what its peer still publishes goes its way
	untold     bool       // the mesh has more for this peer than its queue has room for
	late       *lateAcks  // to a peer; nil before the first
	logged     reasonsSet // said once

	// For logs.
	why                 string // it ends; "": it does not
	received, delivered uint64 // messages; those received of all kinds, the negotiation's among them
	receivedBytes       uint64 // of all of them

	// For operators, see Connection.
	about          *about // nil: it has not negotiated
	deliveredBytes uint64 // without headers

	service service // safe for all
}

// reasonsSet has a bit for each Reason.
type reasonsSet uint64

// first reports whether r is asked for the first time.
func (s *reasonsSet) first(r Reason) bool {
	if *s&(1<<r) != 0 {
		return false
	}
	*s |= 1 << r
	return true
}

// who has opened it; nil: its listener does not ask, or it is of this node or process. It never changes.
func (c *Conn) who() *auth.Identity { return c.stream.Identity() }

// age is how long ago the stream was opened.
func (c *Conn) age() time.Duration { return time.Since(c.loop.node.made) - c.opened }

// Accept implements transport.Acceptor.
func (l *loop) Accept(s transport.Stream) transport.Receiver {
	n := l.node
	if !n.takes(s.Peer().Streams) {
		return nil
	}
	c := l.newConn(s)
	l.awaitSetup(c)
	return c
}

// newConn makes the connection of a stream, whoever has opened that.
func (l *loop) newConn(s transport.Stream) *Conn {
	n := l.node
	c := &Conn{id: n.nextConn.Add(1), loop: l, stream: s, most: uint32(cmp.Or(s.Peer().MaxMessage, maxMessage)), kind: table.Remote,
		opened: time.Since(n.made)}
	c.q.holder.Owner = c
	l.enlist(c)
	l.n.conns++
	return c
}

// Receive implements transport.Receiver.
func (c *Conn) Receive(b []byte, buf *pool.Buf) {
	c.received++
	c.receivedBytes += uint64(len(b))
	c.loop.n.bytesIn += uint64(len(b))
	c.receive(b, buf)
}

// Writable implements transport.Receiver.
func (c *Conn) Writable() { c.pump() }

// PeerFinished implements transport.Receiver.
func (c *Conn) PeerFinished() {
	c.because(c.stream.Peer().End)
	c.finish()
}

// Broken implements transport.Receiver.
func (c *Conn) Broken(f transport.Fault) {
	r := reasonOf(f)
	c.because(r.String())
	var text string
	switch f {
	case transport.FaultMemory:
		text = c.loop.node.noMemory()
	case transport.FaultUnread:
		text = c.loop.node.unreadText()
	case transport.FaultExpanded:
		text = "a compressed message has more content than is taken: send smaller messages"
	case transport.FaultExpand: // no peer of upstream's compresses, so there is nothing to be like
		text = "a compressed message does not expand: it is damaged, or not what grpc-encoding says"
		c.note(r, nil)
		c.end(statusInternal, text)
		return
	default:
		c.note(r, nil)
		c.end(statusOK, "")
		return
	}
	c.note(r, errors.New(text))
	c.end(statusExhausted, text)
}

// Muted implements transport.Receiver: nobody can reach c any more, and what waits for it dies. What it has published
// is still forwarded.
func (c *Conn) Muted() {
	c.muted = true
	c.leaveTable()
	c.discard(ReasonGone)
}

// Closed implements transport.Receiver.
func (c *Conn) Closed() { c.leave() }

// drop counts a message that dies here.
func (c *Conn) drop(r Reason) {
	c.loop.n.drop(r)
	c.lost(r)
	if r != ReasonNoMatch && r != ReasonTTL && c.logged.first(r) {
		c.logDrop(r)
	}
}

// hold charges c, of this loop, with n bytes: its window is not refilled by them for now.
func (c *Conn) hold(n int) {
	if c.state != gone {
		c.owes(n)
		c.stream.Charge(n)
	}
}

// release gives c, of this loop, n bytes back.
func (c *Conn) release(n int) {
	if c.state != gone {
		defer c.guard() // whoever has made room is not to blame
		c.owes(-n)
		c.stream.Charge(-n)
	}
}

func (c *Conn) owes(n int) {
	c.held += n
	c.loop.n.held += int64(n)
}

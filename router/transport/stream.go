package transport

import (
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Stream carries messages in order to one peer and from it. Owned by its loop. After Receiver.Closed every method does
// nothing.
type Stream interface {
	// Room returns how many bytes can be staged now. 0: Receiver.Writable will be called when there is room again.
	Room() int
	// Size returns how many bytes m takes, with everything that the transport adds.
	Size(m *Message) int
	// Put stages m whole and returns true, or does nothing and returns false.
	Put(m *Message) bool
	// PutPart stages the next bytes of m, of which sent are out already, and returns how many it took: for a message
	// that Put refuses because no window is as large. Until all Size(m) bytes are out, nothing else may be put. Little
	// room is left unused, in the hope of more, unless little says that none has come for a while.
	PutPart(m *Message, sent int, little bool) int
	// Charge withholds n bytes from what the peer may send; negative n gives them back. The sum is never below zero.
	Charge(n int)
	// Advance lets the peer send n bytes, whatever is withheld. A peer that may send as much anyway gets nothing, so
	// calls in a row give no more than one. It is a favour: a transport that has no such small steps does nothing.
	Advance(n int)
	// Established says that the peer is no stranger any more: the deadline of strangers does not apply, and messages
	// may have their full size.
	Established()
	// Finish ends our side after everything put. status is a gRPC status code, text its message; who has opened a stream
	// of gRPC says neither. A text with status 0 says what is wrong with the peer though it may come again: a WebSocket
	// says it, gRPC has no way to. Messages from the peer may still come.
	Finish(status int, text string)
	// Silence ends the output of the socket, with all its streams, for ever: Receiver.Muted follows at the end of the
	// batch, then what the peer has sent until now, then Receiver.Closed.
	Silence()
	// Abort closes the socket at the end of the batch, with all its streams: its state cannot be trusted.
	Abort()

	// Peer is the other end of the socket.
	Peer() *Peer
	// Identity is who has opened the stream, as its listener has found; nil: it does not ask, or this side has opened it.
	Identity() *auth.Identity
	// Progress tells how much the peer has taken, for judging whether it reads. It takes system calls: it is for looks
	// at a stream that somebody waits for, every Look, not for messages.
	Progress() Progress
}

// Prober is a Stream whose socket can ask its peer for a sign of life, and closes when none comes for some seconds.
type Prober interface{ Probe() }

// Sharer is a Stream that shares its socket's window with others.
type Sharer interface {
	// Unblock ends the stream that seems to keep the window of all closed, with Receiver.Broken(FaultUnread), so that
	// the others can go on. It reports false if that is the stream itself, or none is known.
	Unblock() bool
}

// Lingerer is a Stream whose socket can stay open on our side though the stream has ended there: a peer may take the end of
// one direction of the socket for that of both.
type Lingerer interface {
	// Linger is called before Finish, and may be again. It has the socket of a stream that was called stay open until the peer
	// has ended the stream, too, or has had everything for lingerTime; the peer is held meanwhile as before. Of a stream that
	// was accepted it changes nothing.
	Linger()
}

// Receiver is the owner of a Stream. Its methods run on the stream's loop.
type Receiver interface {
	// Receive takes message b. buf owns b's memory, or is nil when b is borrowed until return; the caller releases it.
	Receive(b []byte, buf *pool.Buf)
	// Writable says that there may be room again.
	Writable()
	// Muted says that nothing can be sent any more. What the peer has sent until now still comes.
	Muted()
	// PeerFinished says that no message follows; ours are still read.
	PeerFinished()
	// Broken says that what the peer sends cannot be read as messages any more.
	Broken(Fault)
	// Closed comes last.
	Closed()
}

// Waiter is a Receiver that may take some time over what has come. One that waits at PeerFinished finishes the stream
// by
// itself.
type Waiter interface{ Waits() bool }

// Acceptor decides about new streams, and hears of peers that were turned away. It belongs to a loop.
type Acceptor interface {
	// Accept returns the receiver of a new stream, or nil: then the stream is refused as one too many, with
	// Options.TooMany.
	Accept(s Stream) Receiver
	// Refused notes that a socket or a request was turned away; err and attrs (as for slog) say more.
	Refused(p *Peer, f Fault, err error, attrs ...any)
	// Late notes n messages that came after the end of their stream.
	Late(n int)
	// Ended notes the end of a socket; err is nil if it was orderly.
	Ended(p *Peer, err error)
	// Failed notes a panic in what was done for a peer without a socket, which is cut off.
	Failed(p *Peer, value any, stack []byte)
	// Idle says that the group, which is finishing, has no socket left, and no app in the process.
	Idle()
}

// Fault says why a socket, a request or a stream was turned away.
type Fault uint8

// The faults.
const (
	FaultNone         Fault = iota
	FaultPath               // unknown path or method
	FaultCompressed         // a grpc-encoding that is unknown, or a compressed message without one
	FaultTooLarge           // a message above the limit
	FaultProtocol           // HTTP/2 was broken
	FaultFlood              // too many frames that carry nothing
	FaultTimeout            // not negotiated in time
	FaultUnfinished         // a message, frame or header block that does not become complete, or too much of them
	FaultKeepalive          // a PING was not answered
	FaultBacklog            // answers that nobody reads
	FaultUnread             // at the end: what was queued was not read
	FaultConnections        // more streams than the node takes
	FaultMemory             // unfinished messages of all sockets take too much memory
	FaultHandshake          // no request that could open a WebSocket
	FaultWebSocket          // WebSocket was broken
	FaultExpand             // a compressed message does not expand
	FaultExpanded           // a compressed message has more content than is taken
	FaultUnauthorized       // wrong credentials, or none
	FaultForbidden          // the policy of the listener says no
	FaultUnjudged           // credentials could not be judged
	NumFaults
)

var faultNames = [NumFaults]string{"none", "unknown_path", "compressed", "too_large", "http2_error", "flood",
	"negotiation_timeout", "unfinished", "keepalive_timeout", "control_backlog", "unread", "too_many_connections", "unfinished_limit",
	"bad_handshake", "websocket_error", "bad_compression", "expands_too_large", "unauthorized", "forbidden", "not_judged"}

// String is for logs.
func (f Fault) String() string {
	if f < NumFaults {
		return faultNames[f]
	}
	return fmt.Sprintf("fault(%d)", uint8(f))
}

// ends reports whether f costs the whole socket.
func (f Fault) ends() bool {
	switch f {
	case FaultNone, FaultPath, FaultCompressed, FaultTooLarge, FaultConnections, FaultMemory, FaultExpand, FaultExpanded,
		FaultUnauthorized, FaultForbidden, FaultUnjudged:
		return false
	}
	return true
}

// Transport is how messages are carried.
type Transport uint8

// The transports.
const (
	GRPC Transport = iota
	WebSocket
	Rings // to an app in the process
)

// String is for operators.
func (t Transport) String() string { return [...]string{"grpc", "websocket", "rings"}[t] }

// Peer is the other end of a socket, or an app in the process. Owned by the loop.
type Peer struct {
	// Remote is the address as text, "unknown" if the socket was gone before it was looked at, "in process" if there is none.
	Remote string
	// Agent is the user agent of its latest request, or the name of an app in the process.
	Agent string
	// MaxMessage is the largest message that it takes, in bytes.
	MaxMessage int
	// TLS is the version of TLS that it speaks, "1.3" or "1.2"; empty: none. Subject is whose certificate it has shown.
	TLS, Subject string
	// Established says that a stream of it was, Dialed that this node has dialled it.
	Established, Dialed bool
	// Streams is how many of its streams live, without the one that Acceptor.Accept is asked about.
	Streams int
	// Status is the gRPC status with which a stream that we have opened was ended by the peer, or what its Close comes to
	// (P-ws-7); -1: it has told none.
	Status int8
	// Transport is how its messages are carried.
	Transport Transport
	// End says, for logs, how the stream ended whose Receiver.PeerFinished or Closed is being called.
	End string
	// Gate is that of the listener by which it has come; nil: it was dialled.
	Gate *Gate
	// Advice is what its user should do otherwise, if it leaves before a stream of it was Established; empty: nothing.
	Advice string

	logged uint64 // bit for each Fault and reason that was said once: First
}

// Endpoint is the listener by which it has come; empty: it was dialled.
func (p *Peer) Endpoint() string {
	if p.Gate == nil {
		return ""
	}
	return p.Gate.endpoint
}

// First reports whether bit n, below 64, is asked for the first time: a peer is complained about once for each reason.
func (p *Peer) First(n uint) bool {
	if p.logged&(1<<n) != 0 {
		return false
	}
	p.logged |= 1 << n
	return true
}

// secure notes what TLS says of the peer.
func (p *Peer) secure(n *netloop.Socket) {
	c, ok := n.TLS()
	if !ok {
		return
	}
	p.TLS = strings.TrimPrefix(tls.VersionName(c.Version), "TLS ")
	if len(c.PeerCertificates) > 0 {
		p.Subject = cut([]byte(c.PeerCertificates[0].Subject.String()))
	}
}

// Progress is what the peer has taken of a stream: what its kernel has acknowledged. For a Watch.
type Progress struct {
	Given       uint64        // bytes given to the socket since the stream's start
	Taken       uint64        // of those, what the peer has taken, at least; never falls
	SocketTaken uint64        // what it has taken of all that the socket got
	Pending     int           // bytes of the socket that are not acknowledged
	Limit       Limit         // why nothing more is taken
	Lump        int           // how many bytes at once the peer takes at that limit
	RTT         time.Duration // round trip; 0: not known
}

// Limit says what keeps a peer from taking more of a stream.
type Limit uint8

// The limits.
const (
	LimitNone   Limit = iota // not the peer: the stream will have its turn
	LimitSocket              // its kernel has yet to take what was given to the socket
	LimitWindow              // it has got everything, and allows no more
	LimitShared              // as before, but what other streams of its socket have got and not read is to blame
)

// Message is one SLIM message on its way out, in pieces that are put together in the outbox. The Message itself is
// borrowed by the methods of Stream.
type Message struct {
	B      []byte        // the message as it came
	Buf    *pool.Buf     // owns B; nil: B is borrowed until the current callback returns
	Parts  *wire.Message // where B's header lies; nil: the node's own message, which leaves as it is
	Header []byte        // leaves in place of B's header

	// What precedes a header of headerSize bytes, if it is that short: receivers of one message have headers of one
	// size.
	opening     [wire.ShortOpening]byte
	openingSize int
	headerSize  int  // -1: it is not worked out
	long        bool // it is not kept
}

// Set makes m message b, which buf owns, with its header at parts; Header is to be set, too.
func (m *Message) Set(b []byte, buf *pool.Buf, parts *wire.Message) {
	m.B, m.Buf, m.Parts, m.headerSize, m.long = b, buf, parts, -1, false
}

// SetOwn makes m message b of the node's own.
func (m *Message) SetOwn(b []byte, buf *pool.Buf) {
	m.B, m.Buf, m.Parts, m.Header = b, buf, nil, nil
	m.openingSize, m.headerSize, m.long = 0, 0, false
}

// head returns how many bytes go before the tail: everything of a message in which the header is not the first field.
func (m *Message) head() int {
	if m.headerSize != len(m.Header) {
		m.open()
	}
	return m.openingSize + len(m.Header)
}

// open works out what precedes the header.
func (m *Message) open() {
	m.headerSize = len(m.Header)
	if m.openingSize = m.Parts.PutOpening(&m.opening, m.headerSize); m.openingSize == 0 {
		m.openingSize = wire.OpeningSize(m.B, m.Parts, m.headerSize)
		m.long = true
	}
}

// appendHead appends what goes before the tail, after a call of head.
func (m *Message) appendHead(dst []byte) []byte {
	if m.long {
		dst = wire.AppendOpening(dst, m.B, m.Parts, m.headerSize)
	} else {
		dst = append(dst, m.opening[:m.openingSize]...)
	}
	return append(dst, m.Header...)
}

// Tail returns what follows the header, in B.
func (m *Message) Tail() []byte {
	if m.Parts == nil {
		return m.B
	}
	return m.B[m.Parts.Header.End:]
}

// Len returns the message's length as it leaves, without what a transport adds.
func (m *Message) Len() int { return m.head() + len(m.Tail()) }

// Append appends the message as it leaves.
func (m *Message) Append(dst []byte) []byte {
	m.head()
	return append(m.appendHead(dst), m.Tail()...)
}

package uplink

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
)

const (
	// MaxMessage is the largest message that nodes take, in bytes (P-tr-5).
	MaxMessage = 4 << 20

	// Version is the slim_version a connection claims without another: the release whose behaviour this package
	// follows.
	Version = "3.4.6"

	// Windows of a Rust dialer.
	streamWindow = 2 << 20
	connWindow   = 5 << 20

	maxAuthorization = 16 << 10 // bytes of credentials: more is refused unread (P-auth-1)

	defaultQueue      = 256 << 10
	defaultReadBuffer = 64 << 10
	minReadBuffer     = 512
	defaultSetup      = 20 * time.Second
	defaultPong       = 10 * time.Second
)

// Kind is what the two ends of a link are to each other.
type Kind uint8

const (
	Edge   Kind = iota // an app and its node
	Remote             // nodes of two domains
	Peer               // replicas of one deployment: nothing is signed
)

func (k Kind) link() wire.LinkKind {
	switch k {
	case Remote:
		return wire.LinkRemote
	case Peer:
		return wire.LinkPeer
	}
	return wire.LinkEdge
}

func kindOf(k wire.LinkKind) Kind {
	switch k {
	case wire.LinkEdge:
		return Edge
	case wire.LinkPeer:
		return Peer
	}
	return Remote
}

// Verify says which of the messages that arrive are checked for their header MAC.
type Verify uint8

const (
	// VerifyAll: each. One that fails is dropped and counted.
	VerifyAll Verify = iota
	// VerifyFirst: the first, and if that fails the connection ends. For generators of load, which measure nodes and
	// not themselves; other messages than the node's acknowledgements are passed on unread.
	VerifyFirst
)

// Field is a field of the request, its name in lower case.
type Field struct{ Name, Value string }

// Options of a connection. The zero value is an app's. Dial copies them.
type Options struct {
	// DialContext opens the socket at host:port, or at the path of a unix socket; nil: DialSocket. Simulated networks and
	// proxies come in here.
	DialContext func(ctx context.Context, addr string) (net.Conn, error)
	// TLS is for listeners of https:// and wss://; nil: authorities of the system, no certificate. Its protocols are set by
	// Dial, and its ServerName if it is empty.
	TLS *tls.Config
	// Origin is a WebSocket's; empty: none.
	Origin string
	// Scheme is the :scheme of a gRPC request; empty: that of the address.
	Scheme string
	// Authority is the request's :authority, or Host; empty: the host and port of the address, localhost for a unix socket.
	Authority string
	// UserAgent is the request's; empty: slimgo.
	UserAgent string
	// Fields are further fields of the request. Of a WebSocket's none may be ws.Reserved.
	Fields []Field
	// Authorization makes the value of the request's field authorization, whenever a connection is dialled, within the time for
	// that; "": there is none. Where it fails, no connection is made: nothing goes out without what was to be shown. nil: as "".
	Authorization func(ctx context.Context) (string, error)

	// Compression is how messages may be compressed, in both directions, if the node does that, too; None: nothing is,
	// and the node is not asked. Publish, Send and TrySend compress what is worth it, Write nothing. By WebSocket any
	// other than None stands for permessage-deflate. It costs a round trip when the connection opens. Rules: P-comp-2.
	Compression compress.Encoding

	// Kind of the link.
	Kind Kind
	// LinkID names the link, the same over reconnects; empty: a random UUID.
	LinkID string
	// NodeID is this end's node_id; empty: node- and a random UUID.
	NodeID string
	// Deployment is this end's deployment_name; empty: none.
	Deployment string
	// Version is this end's slim_version; empty: Version.
	Version string
	// AllowUnsigned takes a link whose node gives no key for the header MAC; without it such a link fails (P-neg-6).
	AllowUnsigned bool
	// EnforcePQC fails a link without a hybrid key of X25519 and ML-KEM-768.
	EnforcePQC bool
	// NoLink leaves the negotiation out: messages go and come as they are, acknowledgements too. Not for SLIM nodes.
	NoLink bool

	// Handle takes the messages that one read has brought, in order. It is called by the reader, so while it runs
	// nothing is read; it must not wait for the connection: TrySend, not Send. The messages are borrowed until
	// return. nil: messages wait for Receive.
	Handle func(msgs [][]byte)
	// Answer takes the node's answers to requests that went out by Write or WriteThrough, and so have no Request:
	// reason is why a name was refused, cut at 1 KiB. As Handle, it is called by the reader. nil: they are counted as
	// ignored.
	Answer func(id uint64, ok bool, reason string)
	// Verify says which messages are checked.
	Verify Verify

	// Queue bounds the bytes that wait to be sent: a message is accepted when fewer wait; 0: 256 KiB.
	Queue int
	// Unsent bounds the bytes that the kernel takes before it has sent earlier ones, so that what is accepted later waits for no more
	// than these; 0: it takes as much as it wants, which may be megabytes. TCP on Linux and macOS only; elsewhere it is not looked
	// at.
	Unsent int
	// Window is how many bytes of messages a node may send ahead of the app; 0: 2 MiB, at least 64 KiB. By WebSocket,
	// which has no windows, nothing is read while more wait.
	Window int
	// ReadBuffer is the most that one read takes, in bytes; 0: 64 KiB, at least 512. Idle connections need less.
	ReadBuffer int

	// Setup bounds the time from the first byte to the negotiated link; 0: 20 s, negative: only the context does.
	Setup time.Duration
	// Keepalive is the silence of the node after which it is asked for a sign of life; 0: never, as upstream.
	Keepalive time.Duration
	// Pong is how long the node may take to answer; 0: 10 s.
	Pong time.Duration
}

// filled returns o with its defaults, for a listener at u.
func (o *Options) filled(u *url.URL) Options {
	var f Options
	if o != nil {
		f = *o
	}
	if f.DialContext == nil {
		f.DialContext = DialSocket
	}
	f.Scheme = cmp.Or(f.Scheme, u.Scheme)
	f.Authority = cmp.Or(f.Authority, u.Host, "localhost")
	f.UserAgent = cmp.Or(f.UserAgent, "slimgo")
	f.Version = cmp.Or(f.Version, Version)
	if f.LinkID == "" {
		f.LinkID = uuid()
	}
	if f.NodeID == "" {
		f.NodeID = "node-" + uuid()
	}
	f.Queue = orDefault(f.Queue, defaultQueue)
	f.Window = min(max(orDefault(f.Window, streamWindow), 64<<10), 1<<30)
	f.ReadBuffer = max(orDefault(f.ReadBuffer, defaultReadBuffer), minReadBuffer)
	f.Setup = cmp.Or(f.Setup, defaultSetup)
	if f.Pong <= 0 {
		f.Pong = defaultPong
	}
	return f
}

func orDefault(n, zero int) int {
	if n <= 0 {
		return zero
	}
	return n
}

// uuid returns a random UUID (RFC 9562 section 5.4).
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

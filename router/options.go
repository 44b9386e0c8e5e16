package router

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"math"
	"runtime"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/rules"
	"github.com/seed31b3bfd0/slimgo/router/hop"
	"github.com/seed31b3bfd0/slimgo/router/mesh"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/router/transport"
)

// Policy says what becomes of messages for a receiver whose output buffer is full. Rules: P-press-1.
type Policy uint8

// The policies of --slow-consumer.
const (
	// Adaptive lets senders wait for a full receiver as long as it drains; one that drains less than
	// Options.StallRate for Options.StallTimeout is stalled: its messages die, counted, until it has caught up.
	Adaptive Policy = iota
	// Block lets senders wait without limit, as upstream does.
	Block
	// Drop lets messages for a full receiver die at once, counted.
	Drop
	// Disconnect is Adaptive, but a stalled receiver is closed.
	Disconnect
)

var policyNames = [...]string{"adaptive", "block", "drop", "disconnect"}

// String returns the word that ParsePolicy reads.
func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return fmt.Sprintf("policy(%d)", uint8(p))
}

// ParsePolicy reads adaptive, block, drop or disconnect.
func ParsePolicy(s string) (Policy, error) {
	for i, n := range policyNames {
		if n == s {
			return Policy(i), nil
		}
	}
	return 0, fmt.Errorf("unknown slow-consumer policy %q: want adaptive, block, drop or disconnect", s)
}

// Bounds of Options.
const (
	MaxLoops      = 128 // the matrix of rings grows with its square
	MinReadBuffer = 4 << 10
	MaxReadBuffer = 64 << 20
	MinConnBuffer = 16 << 10
	MinMaxHeader  = 1 << 10 // names, a short token, both tags

	MinMaxUnfinished = 2 * maxMessage // one message grows by being copied
	MinMaxQueued     = 1 << 20
)

// Defaults of Options.
const (
	DefaultReadBuffer       = 128 << 10
	DefaultConnBuffer       = 1 << 20
	DefaultStallTimeout     = 250 * time.Millisecond
	DefaultStallRate        = 256 << 10
	DefaultHoldTimeout      = 5 * time.Second
	DefaultMaxSubscriptions = 1 << 20
	DefaultMaxHeader        = hop.DefaultMaxHeader
	DefaultHeaderMemory     = 32 << 20
	DefaultMaxPeers         = mesh.MaxPeers
	DefaultMaxRemotes       = 1 << 10
	DefaultMaxFrameSize     = 16 << 10
	DefaultMaxHeaderList    = 16 << 10
	// DefaultMaxStreams streams of a socket may be opened and reset all at once without a flood (P-lim-13).
	DefaultMaxStreams       = 256
	DefaultNegotiation      = 5 * time.Second
	DefaultKeepaliveTime    = 2 * time.Minute
	DefaultKeepaliveTimeout = 20 * time.Second

	// receiveWindow is what a sender may have unread or waiting in the node, in bytes of DATA
	// (SETTINGS_INITIAL_WINDOW_SIZE, as upstream). Rules: P-tr-9.
	receiveWindow = 1 << 20
	// maxMessage is the decode limit of both sides of gRPC (P-tr-5), maxWebSocket that of WebSocket (P-ws-8).
	maxMessage   = 4 << 20
	maxWebSocket = 64 << 20
)

// Options configure a Node. The zero value of every field means its default. After Start nothing of them counts any more
// that is in a Setup, and nothing else may change.
type Options struct {
	// Listen holds the endpoints, any number of each; none: the node only dials. gRPC over TCP, "127.0.0.1:46357" or
	// "[::1]:0", where port 0 takes a free one; gRPC over a unix socket, "unix:///run/slim.sock" or
	// "unix:///run/slim.sock?mode=0660"; WebSocket, "ws://127.0.0.1:46357/path", or "wss://127.0.0.1:46357/path" where it
	// has TLS.
	Listen []string
	// Limits are what is special to an endpoint, in the order of Listen. What they leave out is as for all.
	Limits []Limits

	// TLS are the configurations of Listen, in the same order; nil, or none: an endpoint without TLS. Each is asked
	// anew for every connection by way of its GetConfigForClient.
	TLS []*tls.Config
	// Auth is who may open connections by Listen, in the same order; none: anybody. Rules: P-auth.
	Auth []Auth
	// Audit is told who was let in and who was not, and why; nil: nobody is.
	Audit auth.Audit

	// Loops is the number of event loops; 0: half of the processors the runtime may use, at least 1, which
	// leaves the other half to the kernel's share of the work. A loop moves millions of messages a second.
	Loops int
	// ReadBuffer is the size in bytes of each loop's read buffer, rounded up to a power of two; 0: 128 KiB.
	ReadBuffer int
	// ConnBuffer bounds the bytes that wait for one receiver; 0: 1 MiB. Senders with messages behind that
	// bound get no more HTTP/2 window until those have left or died.
	ConnBuffer int
	// SlowConsumer says what happens at that bound.
	SlowConsumer Policy
	// StallTimeout is how long a full receiver may take less than StallRate; 0: 250 ms. Where its kernel or its HTTP/2
	// windows take more at once than StallRate is in that time, it is as long as StallRate needs for that much.
	StallTimeout time.Duration
	// StallRate is the floor in bytes a second; 0: 256 KiB/s.
	StallRate int
	// HoldTimeout is how long a receiver that takes less than four times StallRate may keep other receivers waiting
	// that could take more; 0: 5 s. Then it is stalled, too. What it takes meanwhile makes the time longer.
	HoldTimeout time.Duration
	// MaxSubscriptions bounds the subscriptions of one connection; 0: 1,048,576, but half of MaxNames at most.
	MaxSubscriptions int
	// MaxHeader bounds the header of a publish and what comes before it, in bytes: that much is copied and hashed
	// for each receiver. 0: 64 KiB.
	MaxHeader int
	// NoCompression refuses what comes compressed, and compresses for nobody who accepts that.
	NoCompression bool
	// MaxNames bounds the subscriptions of the node, with those that peers offer; 0: one for each 4 KiB of the memory
	// that the process may use.
	MaxNames int
	// MaxNameBytes bounds the bytes of strings that are kept for names; 0: 128 for each of MaxNames.
	MaxNameBytes int
	// MaxSockets bounds the sockets of the node; clients beyond it wait to be accepted. 0: one for each 64 KiB of that
	// memory.
	MaxSockets int
	// MaxConnections bounds its connections, of which a socket may have several; further ones are refused. 0: likewise.
	MaxConnections int
	// MaxUnfinished bounds the memory of messages that have not arrived whole, in bytes. Beyond it the socket that
	// holds most of it loses the connection that began one first. 0: a thirty-second of that memory.
	MaxUnfinished int
	// MaxQueued bounds the memory of messages that wait for receivers, in bytes. Beyond it, with the policy Block from
	// half of it on, senders are charged for every message that has to wait, however little its receiver has waiting; a
	// quarter beyond it the messages of the receiver with most waiting die. 0: an eighth of that memory.
	MaxQueued int

	// AcceptKinds are the kinds that a connection may claim: edge, remote and peer; 0: all of them. See ParseKinds.
	AcceptKinds table.Filter
	// MaxPeers bounds the peer links of the node, 256 at most; 0: 256.
	MaxPeers int
	// MaxRemotes bounds the remote links of the node; 0: 1,024.
	MaxRemotes int

	// HeaderMemory bounds what the node remembers of headers to save work, in bytes, shared out to its loops; 0: 32
	// MiB; negative: nothing is remembered.
	HeaderMemory int

	// NodeID is told to peers and used to refuse a link to oneself; "": node-<random>.
	NodeID string
	// Deployment is upstream's domain_name: a peer of another deployment is refused. "": no check.
	Deployment string
	// Version is the SLIM version told in negotiations, strict semver; "": 3.4.6.
	Version string
	// AllowUnsigned accepts links without header MAC (require_header_mac: false).
	AllowUnsigned bool
	// EnforcePQC refuses links without the ML-KEM-768 hybrid.
	EnforcePQC bool
	// RelayPeerPublishes forwards what peers publish to other peers (a node without a peers section).
	RelayPeerPublishes bool

	// Authorization says which names connections may use, and of what kind they may be; nil: any. Rules: P-rule.
	Authorization *rules.Set

	// NegotiationTimeout is the time from the stream's opening to a finished negotiation; 0: 5 s.
	NegotiationTimeout time.Duration
	judging            time.Duration // how long a verdict may take, as long as a negotiation at most; 0: 4 s. Tests make it longer
	// KeepaliveTime is the silence after which the node pings; 0: 2 min; negative: never.
	KeepaliveTime time.Duration
	// KeepaliveTimeout is how long an answer may take before the socket is closed; 0: 20 s.
	KeepaliveTimeout time.Duration
	// MaxFrameSize is announced as SETTINGS_MAX_FRAME_SIZE, 16384..16777215; 0: 16384, as upstream.
	MaxFrameSize uint32
	// MaxHeaderList is announced as SETTINGS_MAX_HEADER_LIST_SIZE in bytes; 0: 16384.
	MaxHeaderList uint32
	// MaxStreams bounds the streams of one TCP connection, announced as SETTINGS_MAX_CONCURRENT_STREAMS; 0:
	// DefaultMaxStreams.
	MaxStreams uint32

	// Log receives what an operator must know; nil: nothing. Never called for a message that is forwarded.
	Log *slog.Logger
}

// Limits are what may differ from one endpoint to another; zeros mean the fields of Options with the same names.
type Limits = transport.Limits

func orDefault[T int | uint32 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// hops are the options of a loop's part of package hop.
func (o *Options) hops(index int) hop.Options {
	memory := -1
	if o.HeaderMemory > 0 {
		memory = max(1, o.HeaderMemory/o.Loops)
	}
	return hop.Options{Index: index, MaxHeader: o.MaxHeader, Memory: memory}
}

// fill replaces zeros by defaults and refuses what cannot work.
func (o *Options) fill() error {
	if o.Loops == 0 {
		o.Loops = max(1, runtime.GOMAXPROCS(0)/2)
	}
	orDefault(&o.ReadBuffer, DefaultReadBuffer)
	orDefault(&o.ConnBuffer, DefaultConnBuffer)
	orDefault(&o.StallTimeout, DefaultStallTimeout)
	orDefault(&o.StallRate, DefaultStallRate)
	orDefault(&o.HoldTimeout, DefaultHoldTimeout)
	orDefault(&o.MaxHeader, DefaultMaxHeader)
	orDefault(&o.HeaderMemory, DefaultHeaderMemory)
	orDefault(&o.MaxPeers, DefaultMaxPeers)
	orDefault(&o.MaxRemotes, DefaultMaxRemotes)
	if o.AcceptKinds == 0 {
		o.AcceptKinds = claimable
	}
	memory := usableMemory()
	if o.MaxNames == 0 {
		o.MaxNames = namesFor(memory)
	}
	o.fillLimits(memory)
	if o.MaxNameBytes == 0 && o.MaxNames < math.MaxInt/nameBytes {
		o.MaxNameBytes = o.MaxNames * nameBytes
	}
	if o.MaxSubscriptions == 0 {
		o.MaxSubscriptions = min(DefaultMaxSubscriptions, o.MaxNames-o.MaxNames/2)
	}
	orDefault(&o.NegotiationTimeout, DefaultNegotiation)
	orDefault(&o.KeepaliveTime, DefaultKeepaliveTime)
	orDefault(&o.KeepaliveTimeout, DefaultKeepaliveTimeout)
	orDefault(&o.MaxFrameSize, DefaultMaxFrameSize)
	orDefault(&o.MaxHeaderList, DefaultMaxHeaderList)
	orDefault(&o.MaxStreams, DefaultMaxStreams)
	if o.Version == "" {
		o.Version = "3.4.6"
	}
	if o.NodeID == "" {
		o.NodeID = "node-" + newUUID()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError + 4}))
	}
	switch {
	case len(o.Auth) > len(o.Listen):
		return fmt.Errorf("router: %d verifiers for %d endpoints", len(o.Auth), len(o.Listen))
	case len(o.TLS) > len(o.Listen):
		return fmt.Errorf("router: %d TLS configurations for %d endpoints", len(o.TLS), len(o.Listen))
	case o.Loops < 0 || o.Loops > MaxLoops:
		return fmt.Errorf("router: loops is %d: want 1 to %d", o.Loops, MaxLoops)
	case o.ReadBuffer < MinReadBuffer || o.ReadBuffer > MaxReadBuffer:
		return fmt.Errorf("router: read buffer is %d bytes: want 4 KiB to 64 MiB", o.ReadBuffer)
	case o.ConnBuffer < MinConnBuffer:
		return fmt.Errorf("router: connection buffer is %d bytes: want at least 16 KiB", o.ConnBuffer)
	case o.MaxHeader < MinMaxHeader:
		return fmt.Errorf("router: header limit is %d bytes: want at least 1 KiB", o.MaxHeader)
	case o.SlowConsumer > Disconnect:
		return fmt.Errorf("router: unknown slow-consumer policy %d", o.SlowConsumer)
	case o.MaxNames < 0 || o.MaxNameBytes < 0:
		return fmt.Errorf("router: max names is %d and max name bytes %d: want 1 or more", o.MaxNames, o.MaxNameBytes)
	case o.MaxSockets < 0 || o.MaxConnections < 0:
		return fmt.Errorf("router: max sockets is %d and max connections %d: want 1 or more", o.MaxSockets, o.MaxConnections)
	case o.MaxUnfinished < MinMaxUnfinished || o.MaxQueued < MinMaxQueued:
		return fmt.Errorf("router: max unfinished is %d and max queued %d: want at least 8 MiB, and at least 1 MiB",
			o.MaxUnfinished, o.MaxQueued)
	case o.MaxPeers < 0 || o.MaxPeers > mesh.MaxPeers || o.MaxRemotes < 0:
		return fmt.Errorf("router: max peers is %d and max remotes %d: want 1 to %d, and 1 or more",
			o.MaxPeers, o.MaxRemotes, mesh.MaxPeers)
	case o.AcceptKinds&^claimable != 0:
		return fmt.Errorf("router: kind local cannot be claimed by a connection")
	case o.StallTimeout < 0, o.StallRate < 0, o.HoldTimeout < 0, o.MaxSubscriptions < 0, o.NegotiationTimeout < 0,
		o.KeepaliveTimeout < 0:
		return fmt.Errorf("router: negative stall timeout, stall rate, hold timeout, subscription limit, negotiation " +
			"or keepalive timeout")
	case o.MaxFrameSize < 16384 || o.MaxFrameSize > 1<<24-1:
		return fmt.Errorf("router: max frame size is %d: want 16384 to 16777215", o.MaxFrameSize)
	}
	for i, s := range o.Listen {
		if _, err := (&Endpoint{Addr: s, TLS: o.tls(i)}).parse(); err != nil {
			return &ListenError{Index: i, Addr: s, Err: err}
		}
	}
	return nil
}

// transport returns the options of the node's transports.
func (o *Options) transport() transport.Options {
	r := o.rules()
	return transport.Options{MaxMessage: maxMessage, MaxWebSocket: maxWebSocket, Window: receiveWindow, MaxFrameSize: o.MaxFrameSize,
		MaxHeaderList: o.MaxHeaderList, MaxStreams: o.MaxStreams, SetupTimeout: r.setupTimeout(),
		KeepaliveTime: o.KeepaliveTime, KeepaliveTimeout: o.KeepaliveTimeout, Plain: o.NoCompression,
		Floor: transport.Floor{Rate: o.StallRate, Timeout: o.StallTimeout}}
}

// tls is the configuration of Listen[i], nil for none.
func (o *Options) tls(i int) *tls.Config {
	if i < len(o.TLS) {
		return o.TLS[i]
	}
	return nil
}

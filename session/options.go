package session

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// DefaultNode is where apps look for a node.
const DefaultNode = "http://localhost:46357"

// Options of an App. Connect copies them.
type Options struct {
	// Name of the app. An id in it is not looked at: the app's follows from its identity.
	Name Name

	// Secret is an identity: all who know it believe each other. 32 bytes or more. It is not looked at if there are Tokens.
	Secret []byte
	// Tokens makes the app's tokens, and Verifier judges those of others, which needs both; nil: Secret does.
	Tokens   TokenSource
	Verifier Verifier
	// Binding says what happens to members whose messages do not show everything that identities can show.
	Binding Binding

	// InProcess is a node in the same process, a *router.Node, in the stead of the four options below: messages go there and come
	// from there through memory, without a socket. The app is closed before the node is shut down: else nobody is told of the end of
	// its sessions, which have ErrStopped.
	InProcess uplink.LocalNode
	// Nodes are where the app connects to, by one of them at a time: host:port, or URLs of http, https, ws, wss and
	// unix:///PATH. When an attempt fails the next one is tried, over and over. None: DefaultNode.
	Nodes []string
	// Routes are further nodes that it is connected to at the same time, each of another network, and who is reached there. All of them
	// are connected when Connect returns, and all are asked for the app's names. App.AddRoute makes more of them.
	Routes []Route
	// TLS is for nodes by https and wss; nil: authorities of the system, no certificate.
	TLS *tls.Config
	// Authorization is what the app shows to Nodes, by gRPC and WebSocket, beside a certificate in TLS; nil: nothing. It has nothing to
	// do with Tokens, which are for other apps, and is shown to no node of a Route (P-id-9). Package session/identity and those below it make some.
	Authorization Authorizer
	// Uplink is what else connections are made with. Handle, Scheme, Path and WebSocket are the app's own business.
	Uplink uplink.Options
	// Backoff is how long to wait after the given number of attempts that have failed one after the other, 1 and up; nil: half
	// a second, doubled up to ten seconds. Connections that end within a second are such attempts, but for the first of them.
	Backoff func(failed int) time.Duration
	// Link makes the way to a node in another manner than by the options above: to one that is a test's.
	Link func(ctx context.Context, from Incoming) (Link, error)

	// Replays is how many control messages of each sender a session remembers, so that none of them counts twice; 0: 1000, at most 65536.
	// Rust members remember 1000 (P-id-7).
	Replays int

	// Store is where sessions are kept, so that they go on when the app is started again under the same Name, with its
	// messages under way under the same ids: App.Sessions, and Listen. nil: nothing outlives the app. Whoever opens it closes it, after
	// the app. StoreKey is what it is sealed with: StoreKeySize random bytes that are kept elsewhere, the same each time.
	Store    Store
	StoreKey []byte
	// AtLeastOnce says what of a reliable session with a Store becomes of a message that an app had received when it was killed. It
	// comes again, with the same From and ID, unless Message.Handled was called. Without AtLeastOnce no message comes twice, and one
	// that Receive has returned does not come again. What Receive had not returned comes in both cases.
	AtLeastOnce bool

	// Deaf says that the app takes no messages, and Mute that it makes none; both are for programs that keep sessions for others. What it
	// is told of members, and invitations, come all the same.
	Deaf, Mute bool

	// PeerTimeout is how long the other one of a session of two may be offline until the session is over here, too, with ErrPeerGone: by
	// then it was killed, or has ended without a word. What this app itself is without a connection does not count. 0: DefaultPeerTimeout;
	// negative: such a session waits for ever. Apps that have a Store and may be down for longer want more, as do those that they talk to.
	// Groups wait: their moderator removes whom it does not expect back.
	PeerTimeout time.Duration

	// Workers is how many goroutines the sessions share; 0: as many as there are processors, less the loops of a node in the
	// process, at least one.
	Workers int
	// Logger is told of connections, of sessions that begin and end, and of what is refused; nil: nobody is.
	Logger *slog.Logger
}

// DefaultPeerTimeout is for how long a session of two waits for the other one to be online again.
const DefaultPeerTimeout = 10 * time.Minute

// patience is PeerTimeout as sessions know it; 0: for ever.
func (o *Options) patience() time.Duration {
	if o.PeerTimeout == 0 {
		return DefaultPeerTimeout
	}
	return max(o.PeerTimeout, 0)
}

const mostReplays = 1 << 16

// replays is Replays as sessions know it; 0: the default.
func (o *Options) replays() int { return min(max(o.Replays, 0), mostReplays) }

// workers is how many the pool is made with; 0: as many as there are processors.
func (o *Options) workers() int {
	if o.Workers == 0 && o.InProcess != nil {
		return max(1, runtime.GOMAXPROCS(0)-o.InProcess.Loops())
	}
	return o.Workers
}

// Binding says what happens to members that do not sign the payloads of their control messages, as those older than 3.4 do not.
// Whatever it is, ids of names must be those of identities, and signatures that are there must be right.
type Binding uint8

const (
	// Warn: they are taken for members, and the log, the event Unsigned and Stats.Unsigned tell of them.
	Warn Binding = iota
	// Enforce: nothing that they say is believed.
	Enforce
	// Off: they are taken for members.
	Off
)

// String is how the environment variable SLIM_IDENTITY_BINDING of upstream's apps spells it.
func (b Binding) String() string {
	switch b {
	case Warn:
		return "warn"
	case Enforce:
		return "enforce"
	case Off:
		return "off"
	}
	return fmt.Sprintf("binding %d", uint8(b))
}

// Incoming is what a Link tells its app. Both are called by one goroutine at a time.
type Incoming struct {
	// Messages takes encoded messages, in order, borrowed until it returns. It may wait until sessions have looked at earlier
	// ones; meanwhile what the app sends must not wait for it.
	Messages func(msgs [][]byte)
	// Changed is told why there is no connection, and by nil that there is one again.
	Changed func(err error)
}

// Link carries encoded messages between an app and its node. An *uplink.Keeper is one, and says what the methods do.
type Link interface {
	// TrySend does not wait: errors are uplink.ErrFull, for what may be tried again after Await, uplink.ErrDown, and others.
	TrySend(msg []byte) error
	// Await waits until TrySend takes a message, and no more than most bytes of what it has taken before are still to be written to
	// where they leave. An error is that of ctx, or says that there is no connection.
	Await(ctx context.Context, most int) error
	Subscribe(ctx context.Context, h *wire.PublishHeader) (id uint64, err error)
	Unsubscribe(ctx context.Context, id uint64) error
	Close(ctx context.Context) error
}

var _ Link = (*uplink.Keeper)(nil)

// SessionOptions say what a session is like that is opened. The zero value is one that is encrypted from end to end, and
// in which messages are repeated until they are acknowledged.
type SessionOptions struct {
	// Plain leaves the encryption out: nodes can read and forge what members say.
	Plain bool
	// Unreliable sends messages once; nobody acknowledges them, and they may come in another order.
	Unreliable bool
	// Interval is the time between repeats, and Retries how many there are; 0: a second, and ten. They are also those of
	// control messages, of unreliable sessions too. Those who are invited repeat messages of data by them, and wait for control
	// messages a minute at most, whatever they are.
	Interval time.Duration
	Retries  int
	// Metadata is told to everyone who is invited, in the clear: Session.Metadata.
	Metadata map[string]string
	// Pin is the subject that the other one's token must have, of a session between two; empty: any.
	Pin string
	// ID of the session, below MaxID; 0: one that is drawn.
	ID uint32
}

// MaxID is above the largest id of a session.
const MaxID = 1<<32 - 1 - 1000

// Bounds of the times that others set for us.
const (
	defaultInterval = time.Second
	defaultRetries  = 10
	minInterval     = 10 * time.Millisecond
	maxInterval     = time.Hour
	maxRetries      = 1 << 16
)

func (o *SessionOptions) timers() reliable.Options {
	t := reliable.Options{Interval: o.Interval, Retries: o.Retries}
	if t.Interval <= 0 {
		t.Interval = defaultInterval
	}
	if t.Retries <= 0 {
		t.Retries = defaultRetries
	}
	return bounded(t)
}

func bounded(t reliable.Options) reliable.Options {
	return reliable.Options{Interval: min(max(t.Interval, minInterval), maxInterval), Retries: min(max(t.Retries, 0), maxRetries)}
}

// Where another app has set a session's times this one bounds those by itself that say how long it waits for others, and holds what
// it has of a session for them: for a welcome after an invitation, for an answer when it leaves, and after the end.
const (
	mostControlInterval = 10 * time.Second
	mostControlTime     = time.Minute // for a message and its repeats
)

// patient is t within those bounds: less may be waited for between repeats, and fewer there may be.
func patient(t reliable.Options) reliable.Options {
	t.Interval = min(t.Interval, mostControlInterval)
	t.Retries = min(t.Retries, int(mostControlTime/t.Interval)-1)
	return t
}

// Kind says how many take part in a session.
type Kind uint8

const (
	// PointToPoint: two.
	PointToPoint = Kind(message.PointToPoint)
	// Group: as many as its moderator invites.
	Group = Kind(message.Group)
)

// String names the kind.
func (k Kind) String() string { return message.Kind(k).String() }

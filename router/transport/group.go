package transport

import (
	"math"
	"time"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/netloop"
)

// Options configure the transports of a node. Zeros mean the default named.
type Options struct {
	// MaxMessage is the largest message taken, in bytes; 0: 4 MiB.
	MaxMessage int
	// MaxWebSocket is the largest message taken by WebSocket, in bytes; 0: 64 MiB. Rules: P-ws-8.
	MaxWebSocket int
	// FirstMessage is the largest message taken from a stranger, in bytes: until Stream.Established; 0: 16 KiB. Rules:
	// P-lim-11.
	FirstMessage int
	// MaxUnfinished bounds the memory for messages of one socket that are not complete, in bytes; 0: 8 MiB. Beyond it
	// the stream whose message was begun first is ended. At least twice MaxMessage. Rules: P-lim-12.
	MaxUnfinished int
	// Unfinished bounds the same for all sockets of the node; nil: it is not bounded. Beyond it the socket that holds
	// most loses the stream whose message was begun first.
	Unfinished *pool.Quota
	// TooMany is the text with which a stream is refused that Acceptor does not accept.
	TooMany string
	// UnfinishedTimeout is how long a message may take to become complete while its sender may send; 0: 2 min.
	UnfinishedTimeout time.Duration
	// Window is what a stream's peer may send before its messages have left, in bytes; 0: 1 MiB.
	Window uint32
	// MaxFrameSize, MaxHeaderList and MaxStreams are announced in SETTINGS; 0: 16384, 16384, no limit.
	MaxFrameSize, MaxHeaderList, MaxStreams uint32
	// SetupTimeout is the time from the acceptance of a socket until a stream of it is Established; 0: 10 s.
	SetupTimeout time.Duration
	// IdleTimeout is how long a socket may be without streams; 0: 30 s.
	IdleTimeout time.Duration
	// KeepaliveTime is the silence after which the peer is pinged; 0: 2 min; negative: never.
	KeepaliveTime time.Duration
	// KeepaliveTimeout is how long the answer may take; 0: 20 s.
	KeepaliveTimeout time.Duration
	// Plain has nothing compressed for peers that accept it, and nothing taken that is. Rules: P-comp-1.
	Plain bool
	// Floor is what a peer has to take of what is still to be sent to it at the end; 0: 256 KiB a second, and 2 s
	// without anything at least.
	Floor Floor
}

// Limits are what may differ from listener to listener. Zeros mean those of Options.
type Limits struct {
	// MaxFrameSize, MaxHeaderList and MaxStreams are for HTTP/2 only.
	MaxFrameSize, MaxHeaderList, MaxStreams uint32
	KeepaliveTime, KeepaliveTimeout         time.Duration
	// MaxAge is when the peer of an accepted socket is told to open its next stream on another (GOAWAY); streams that live
	// go on. For HTTP/2 only; 0: never.
	MaxAge time.Duration
	// Origins are those that pages may have which connect, SCHEME://HOST[:PORT] or null, without regard to case; who is no
	// page says none, and is not asked. For WebSocket only; nil: any. Rules: P-ws-10.
	Origins []string
}

// limits returns l with what it leaves to o, which is filled. l may be nil.
func (o *Options) limits(l *Limits) *Limits {
	var f Limits
	if l != nil {
		f = *l
	}
	orDefault(&f.MaxFrameSize, o.MaxFrameSize)
	orDefault(&f.MaxHeaderList, o.MaxHeaderList)
	orDefault(&f.MaxStreams, o.MaxStreams)
	orDefault(&f.KeepaliveTime, o.KeepaliveTime)
	orDefault(&f.KeepaliveTimeout, o.KeepaliveTimeout)
	return &f
}

// Door is what a listener's sockets become, on one loop: the transport, and its limits.
type Door struct {
	group     *Group
	limits    *Limits // filled
	gate      *Gate
	webSocket bool
	path      string
}

// GRPC returns a door of a listener for gRPC. l may be nil: all as in Options. A listener that changes has one door
// after the other, and one gate. Safe for all.
func (g *Group) GRPC(l *Limits, gate *Gate) *Door {
	return &Door{group: g, limits: g.opt.limits(l), gate: gate}
}

// WebSocket returns a door of a listener for WebSocket. path is what that of a request has to equal, byte for byte. l
// may be nil: all as in Options. Safe for all.
func (g *Group) WebSocket(path string, l *Limits, gate *Gate) *Door {
	return &Door{group: g, limits: g.opt.limits(l), gate: gate, webSocket: true, path: path}
}

// Accept returns the handler of a socket that was just accepted. Safe for all.
func (d *Door) Accept() netloop.Handler {
	if d.webSocket {
		return d.group.acceptWS(d.path, d.limits, d.gate)
	}
	return d.group.acceptGRPC(d.limits, d.gate)
}

func orDefault[T int | uint32 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

func (o *Options) fill() {
	orDefault(&o.MaxMessage, 4<<20)
	orDefault(&o.MaxWebSocket, 64<<20)
	orDefault(&o.FirstMessage, 16<<10)
	orDefault(&o.MaxUnfinished, 8<<20)
	if o.Unfinished == nil {
		o.Unfinished = pool.NewQuota(math.MaxInt64)
	}
	orDefault(&o.UnfinishedTimeout, 2*time.Minute)
	orDefault(&o.Window, 1<<20)
	orDefault(&o.SetupTimeout, 10*time.Second)
	orDefault(&o.IdleTimeout, 30*time.Second)
	orDefault(&o.KeepaliveTime, 2*time.Minute)
	orDefault(&o.KeepaliveTimeout, 20*time.Second)
	orDefault(&o.Floor.Rate, 256<<10)
}

// Group is what lives on one loop. Owned by it.
type Group struct {
	loop     *netloop.Loop
	opt      Options
	limits   *Limits // of opt
	acceptor Acceptor

	members    map[member]struct{}
	rings      ringHub
	now        moment       // of the last tick
	unfinished *pool.Share  // bytes that sockets keep for what their peers have not completed
	ticks      int64        // since the start, the engine's clock
	batch      uint64       // number of the loop's batch: what one read of a socket brings lies in one
	draining   bool         // the end is announced to every socket
	finishing  bool         // every stream ends after what is queued for it
	idle       bool         // Acceptor.Idle was called
	codec      *codec       // nil: nothing was compressed yet
	beside     func(func()) // runs work beside the loop, which posts the result
}

// NewGroup returns the empty group of loop l.
func NewGroup(l *netloop.Loop, o Options, a Acceptor) *Group {
	o.fill()
	g := &Group{loop: l, opt: o, acceptor: a, members: map[member]struct{}{}, now: momentOf(time.Now()), batch: 1}
	g.limits, g.rings.group = o.limits(nil), g
	g.beside = func(f func()) { go f() }
	g.unfinished = o.Unfinished.Join(func() { l.Station().Post(g.relieve) })
	return g
}

// SetSetupTimeout changes Options.SetupTimeout, on the loop.
func (g *Group) SetSetupTimeout(d time.Duration) { g.opt.SetupTimeout = d }

// Unfinished returns the memory of messages that have not arrived whole, in bytes.
func (g *Group) Unfinished() int { return int(g.unfinished.Held()) }

// Len returns the number of sockets, and of apps in the process.
func (g *Group) Len() int { return len(g.members) + len(g.rings.all) }

// Tick lets deadlines pass. Call it every second or so.
func (g *Group) Tick(now time.Time) {
	g.now = momentOf(now)
	g.ticks++
	g.each(func(m member) { m.tick(g.now) })
	g.rings.tick(g.now)
	if g.codec != nil {
		g.codec.tick(g.ticks)
	}
}

// Drain announces the end to every socket; messages that come from now on still go their way. Apps in the process can
// send no more.
func (g *Group) Drain() {
	g.draining = true
	g.each(member.drain)
	g.rings.drain()
}

// RingsRead reports, after Drain, whether everything has been received that apps in the process have sent.
func (g *Group) RingsRead() bool { return !g.draining || g.rings.read() }

// Finish ends the group: no new streams, and each socket closes when its streams have finished and its peer has
// everything. The receivers must Finish their streams. Acceptor.Idle is called when no socket is left.
func (g *Group) Finish() {
	g.finishing = true
	g.each(member.finish)
	g.rings.finish()
	g.checkIdle()
}

// Finishing reports whether Finish was called.
func (g *Group) Finishing() bool { return g.finishing }

// each serves every member, whatever happens to another.
func (g *Group) each(f func(member)) {
	for m := range g.members {
		g.serve(m, f)
	}
}

func (g *Group) serve(m member, f func(member)) {
	defer g.loop.Guard(m.shared().net)
	f(m)
}

func (g *Group) add(m member) { g.members[m] = struct{}{} }

func (g *Group) remove(m member) {
	delete(g.members, m)
	if gate := m.shared().peer.Gate; gate != nil {
		gate.sockets--
		gate.checkIdle()
	}
	g.checkIdle()
	if len(g.members) == 0 && g.codec != nil {
		g.codec.dropPacked() // nobody is left whom it could go to
	}
}

func (g *Group) checkIdle() {
	if g.finishing && !g.idle && len(g.members)+len(g.rings.all) == 0 {
		g.idle = true
		g.acceptor.Idle()
	}
}

// Turn is for each turn of the loop. more: it is to be called again.
func (g *Group) Turn() (more bool) { return g.rings.turn() }

// Flush is for the end of each batch.
func (g *Group) Flush() {
	g.batch++
	g.rings.flush()
}

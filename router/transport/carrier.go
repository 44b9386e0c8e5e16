package transport

import (
	"cmp"
	"errors"
	"io"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/netloop"
)

// carrier is a socket, as far as it is the same for all transports: its deadlines, its keepalive and its end.
type carrier struct {
	group  *Group
	limits *Limits // of its listener; filled
	net    *netloop.Socket
	peer   Peer
	who    *auth.Identity // who has proven that in a TLS handshake; of a WebSocket with a Guard: who it is
	live   liveness
	uptake socketUptake

	unfinished int         // bytes that group.unfinished has of it
	waiting    int         // memory of messages that wait to be expanded
	holder     pool.Holder // of these
	starved    bool        // no memory was found for a message: that is why streams end
	why        string      // we close it; "": we do not
	lingers    bool        // Lingerer.Linger was called
	last       bool        // the peer has ended the stream of a call, and what has come before is being expanded

	setup time.Duration // time until a stream of it must be Established; 0: Options.SetupTimeout
}

// member is a socket with its transport.
type member interface {
	shared() *carrier
	// tick is for each second or so. It leads to carrier.pass.
	tick(now moment)
	// drain announces the end.
	drain()
	// finish ends every stream after what is queued for it.
	finish()

	// serves reports whether there is a stream, speaking whether our side of one has not ended.
	serves() bool
	speaking() bool
	// said reports whether our side of every stream has ended, and all that the transport has to say is staged.
	said() bool
	// done reports whether nothing more will be said though neither the group nor the peer is at its end.
	done() bool
	// trickles reports whether the peer has begun something that should be complete by now. Rules: P-lim-12.
	trickles() bool
	// expire closes a socket that has been a stranger, or without streams, for too long.
	expire(Fault)
	// ping stages a request for a sign of life.
	ping()
	// shed gives up memory of what is not complete.
	shed()
	// lump is how many bytes at once the peer takes of what it is sent, after a measurement; given of them went out.
	lump(given uint64) int
	// unread is the most that the peer's kernel may hold, in bytes.
	unread() int
}

// shared implements member.
func (k *carrier) shared() *carrier { return k }

// open begins the life of the socket n, which m carries.
func (k *carrier) open(m member, n *netloop.Socket) {
	k.net = n
	k.holder.Owner = m
	k.peer.Remote = n.Remote()
	k.peer.secure(n)
	k.live.begin(k.group.now)
	if at := n.Accepted(); !at.IsZero() { // one deadline for the handshake that TLS had and for what follows
		k.live.accepted = momentOf(at)
	}
	k.group.add(m)
	if gate := k.peer.Gate; gate != nil {
		gate.sockets++
		if c, ok := n.TLS(); ok {
			k.who = auth.OfCertificate(c.PeerCertificates)
		}
	}
}

// unreadErr says why a peer that takes nothing is not waited for.
func (k *carrier) unreadErr() error {
	if k.group.finishing {
		return errShutdown
	}
	return errRemoved
}

// draining reports whether the end was announced to all who came the same way.
func (k *carrier) draining() bool {
	return k.group.draining || k.peer.Gate != nil && k.peer.Gate.draining
}

// finishing reports whether every stream of theirs ends after what is queued for it.
func (k *carrier) finishing() bool {
	return k.group.finishing || k.peer.Gate != nil && k.peer.Gate.finishing
}

// endOf says, for peers and logs, what ends them.
func (k *carrier) endOf() string {
	if k.group.draining || k.peer.Gate == nil {
		return "the node is shutting down"
	}
	return "the endpoint is removed"
}

// refuse notes what is turned away.
func (k *carrier) refuse(f Fault, err error, attrs ...any) {
	if f.ends() && k.why == "" {
		k.why = f.String()
	}
	k.group.acceptor.Refused(&k.peer, f, err, attrs...)
}

// end says, for logs, why the socket was closed.
func (k *carrier) end(err error) string {
	switch {
	case k.why != "":
		return k.why
	case k.live.peerEnded != 0 || errors.Is(err, io.EOF):
		return "the peer closed its socket"
	case err != nil:
		return netloop.ErrorText(err)
	}
	return "its socket was closed"
}

// given returns how many bytes the socket got since its start, and how many of them the node's kernel has not taken.
func (k *carrier) given() (n uint64, waiting int) {
	waiting = k.net.Waiting() + k.net.Staged()
	return k.net.Written() + uint64(waiting), waiting
}

// measure takes in what the kernel says of the peer, and returns how many bytes the socket got.
func (k *carrier) measure(m member) uint64 {
	n, waiting := k.given()
	k.uptake.look(n, k.net.Unacknowledged()+waiting)
	if w, rtt, ok := k.net.PeerWindow(); ok {
		k.uptake.buffer.look(w, rtt, int(k.uptake.fresh), m.unread())
	}
	return n
}

// pass lets time go by. Rules: P-tr-10.
func (k *carrier) pass(m member, now moment) {
	v, o := &k.live, &k.group.opt
	setup := cmp.Or(k.setup, o.SetupTimeout)
	if k.net.Closing() || k.net.Muted() { // its end is about to be read
		return
	}
	if v.ended != 0 {
		k.awaitClose(m, now)
		return
	}
	if k.lingers && v.quiet == 0 && k.finished(m) && k.net.Unacknowledged() == 0 {
		v.quiet = now
	}
	switch {
	case k.last && !k.net.Blocked() && k.net.Unacknowledged() == 0: // it owes nothing: what it has sent is being expanded
	case k.finishing(), v.peerEnded != 0, m.done(), k.lingers && v.quiet == 0:
		k.watchEnd(m, now)
	}
	if m.serves() {
		v.busy = now
	}
	switch {
	case v.peerEnded != 0: // it can answer nothing
	case m.trickles():
		m.expire(FaultUnfinished)
	case !v.established && now.Sub(v.accepted) > setup && v.accepting && !m.speaking():
		m.expire(FaultNone)
	case !v.established && now.Sub(v.accepted) > setup:
		m.expire(FaultTimeout)
	case !m.serves() && now.Sub(v.busy) > o.IdleTimeout:
		m.expire(FaultNone)
	default:
		k.keepalive(m, now)
	}
}

// keepalive asks a silent peer for a sign of life, and ends one that gives none.
func (k *carrier) keepalive(m member, now moment) {
	v, o := &k.live, k.limits
	switch {
	case v.probed != 0 && v.heard > v.probed:
		v.answered()
	case v.probed != 0 && now.Sub(v.probed) > probeTimeout:
		k.refuse(FaultKeepalive, nil, "timeout", probeTimeout)
		k.net.Silence()
	case o.KeepaliveTime < 0:
	case v.pinged != 0 && v.heard >= v.pinged:
		v.answered() // any byte shows life
	case v.pinged != 0 && now.Sub(v.pinged) > o.KeepaliveTimeout && k.goesOn(m):
		v.pinged = now
	case v.pinged != 0 && now.Sub(v.pinged) > o.KeepaliveTimeout:
		k.refuse(FaultKeepalive, nil, "timeout", o.KeepaliveTimeout)
		k.net.Silence()
	case v.pinged == 0 && now.Sub(v.heard) >= o.KeepaliveTime:
		v.pinged = now
		k.measure(m)
		v.taken, v.ahead = k.uptake.taken, k.uptake.pending > 0
		m.ping()
		k.net.MarkDirty()
	}
}

// goesOn reports whether a peer that has not answered has taken something of what lay before its PING since it was looked
// at last: on a slow way, that may take longer than an answer may. Rules: P-tr-10.
func (k *carrier) goesOn(m member) bool {
	v := &k.live
	if !v.ahead {
		return false
	}
	before := v.taken
	k.measure(m)
	v.taken, v.ahead = k.uptake.taken, k.uptake.pending > 0
	return v.taken > before
}

// probe asks the peer for a sign of life now.
func (k *carrier) probe(m member) {
	if v := &k.live; v.probed == 0 && !k.net.Closing() {
		v.probed = momentOf(time.Now())
		m.ping()
		k.net.MarkDirty()
	}
}

// finished reports whether all streams have ended on our side and everything is written.
func (k *carrier) finished(m member) bool {
	return !k.net.Blocked() && k.net.Staged() == 0 && m.said()
}

// lingering reports whether our side of the socket stays open though that of its stream has ended.
func (k *carrier) lingering() bool {
	return k.lingers && (k.live.quiet == 0 || k.group.now.Sub(k.live.quiet) < lingerTime)
}

// checkFinished ends our direction where nothing more will be said: the group is finishing, the peer has ended its own,
// or the transport is done.
func (k *carrier) checkFinished(m member) {
	if k.live.ended != 0 || k.net.Closing() || !k.finished(m) ||
		!k.finishing() && k.live.peerEnded == 0 && !m.done() {
		return
	}
	silent := !k.live.established && k.net.Received() == 0 // what it was sent will not be overtaken by a reset
	if k.live.peerEnded != 0 || k.finishing() && silent {
		k.net.Close()
		return
	}
	k.live.ended = k.group.now
	k.net.EndOutput()
}

// watchEnd closes a socket whose peer takes less than the floor of what is still to be sent to it: it must not hold the
// end up. One that takes it at the floor's rate is waited for, as anybody who waits for its streams would.
func (k *carrier) watchEnd(m member, now moment) {
	k.checkFinished(m)
	v := &k.live
	dt := now.Sub(v.watched)
	was := k.uptake.taken
	given := k.measure(m)
	if v.watched == 0 {
		v.watched = now
		return
	}
	v.watched = now
	f := k.group.opt.Floor
	f.Timeout = max(f.Timeout, lingerTimeout)
	v.short.Demand(min(dt, lingerTimeout), f.Rate) // no more than that while the node itself did not run
	v.short.Pay(k.uptake.taken - was)
	if float64(v.short) >= f.bound(m.lump(given), k.uptake.buffer.rtt) {
		switch { // else its connection has ended for a reason that was noted
		case k.finishing():
			k.refuse(FaultUnread, k.unreadErr(), "unacknowledged_bytes", k.uptake.pending)
		case v.peerEnded != 0:
			k.refuse(FaultUnread, errPeerEnded, "unacknowledged_bytes", k.uptake.pending)
		}
		k.net.Silence()
	}
}

// awaitClose waits until the peer has everything, and a moment longer for it to close.
func (k *carrier) awaitClose(m member, now moment) {
	if n := k.net.Unacknowledged(); n > 1 { // 1: the FIN
		k.watchEnd(m, now)
		return
	}
	if now.Sub(k.live.ended) > lingerTime {
		k.net.Close()
	}
}

package transport

import (
	"errors"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// moment is a time in a third of the memory of a time.Time, which a socket has ten of: nanoseconds since the process
// began. 0 is none.
type moment int64

var begun = time.Now()

func momentOf(t time.Time) moment { return moment(t.Sub(begun)) }

// Sub returns the time from u to m.
func (m moment) Sub(u moment) time.Duration { return time.Duration(m - u) }

// liveness is what a socket's deadlines are judged by. Rules: P-tr-10.
type liveness struct {
	accepted    moment    // when the socket was
	heard       moment    // of the last read, as of the tick before it
	pinged      moment    // when our unanswered PING went out; zero: none
	probed      moment    // when Probe asked for a sign of life; zero: it did not, or has it
	busy        moment    // when the socket had a stream last
	established bool      // a stream has been
	accepting   bool      // a stream was accepted: if that has ended, its receiver has said why
	ended       moment    // when our direction ended; zero: it has not
	peerEnded   moment    // when the peer ended its direction of the socket; zero: it has not
	watched     moment    // last watchEnd; zero: the end has not begun
	short       Shortfall // of what is still to be sent at the end
}

func (v *liveness) begin(now moment) { v.accepted, v.heard, v.busy = now, now, now }

func (v *liveness) answered() { v.pinged, v.probed = 0, 0 }

const (
	// lingerTimeout is the least time in which a socket may take less than the floor of what is still to be sent at the
	// end: more than a tick, less than two.
	lingerTimeout = 1500 * time.Millisecond
	// lingerTime is how long a socket whose direction has ended waits for its peer to close, so that the peer reads the
	// end of its streams before a reset can overtake it.
	lingerTime = 2 * time.Second
	// probeTimeout is how long a peer that is probed has to answer: it is thought to be dead.
	probeTimeout = 5 * time.Second
)

// When a peer was found to read too little: at the end of the node, or at its own.
var (
	errShutdown  = errors.New("while shutting down")
	errPeerEnded = errors.New("after its side of the socket had ended")
)

// tick implements member. Rules: P-tr-10.
func (k *socket) tick(now moment) {
	k.h2.Tick(k.group.ticks)
	k.count()
	k.h2.Relax(floodRelax)
	v, o := &k.live, &k.group.opt
	pingAfter, pingTimeout := k.keepalive()
	if k.net.Closing() || k.net.Muted() { // its end is about to be read
		return
	}
	if v.ended != 0 {
		k.awaitClose(now)
		return
	}
	if k.group.finishing || v.peerEnded != 0 {
		k.watchEnd(now)
	}
	if len(k.streams) > 0 {
		v.busy = now
	}
	switch {
	case v.peerEnded != 0: // it can answer nothing
	case k.trickles():
		k.expire(FaultUnfinished)
	case !v.established && now.Sub(v.accepted) > k.setupTimeout() && v.accepting && !slices.ContainsFunc(k.streams, speaks):
		k.expire(FaultNone)
	case !v.established && now.Sub(v.accepted) > k.setupTimeout():
		k.expire(FaultTimeout)
	case len(k.streams) == 0 && now.Sub(v.busy) > o.IdleTimeout:
		k.expire(FaultNone)
	case v.probed != 0 && v.heard > v.probed:
		v.answered()
	case v.probed != 0 && now.Sub(v.probed) > probeTimeout:
		k.refuse(FaultKeepalive, nil, "timeout", probeTimeout)
		k.net.Silence()
	case pingAfter < 0:
	case v.pinged != 0 && v.heard >= v.pinged:
		v.answered() // any byte shows life
	case v.pinged != 0 && now.Sub(v.pinged) > pingTimeout:
		k.refuse(FaultKeepalive, nil, "timeout", pingTimeout)
		k.net.Silence()
	case v.pinged == 0 && now.Sub(v.heard) >= pingAfter:
		v.pinged = now
		k.h2.Ping()
		k.net.MarkDirty()
	}
}

// trickles reports whether the peer has begun something that should be complete by now. It ends streams whose message is
// not. Rules: P-lim-12.
func (k *socket) trickles() bool {
	o, now := &k.group.opt, k.group.ticks
	for {
		hs, since := k.h2.OldestMessage()
		if hs == nil || now-since <= seconds(o.UnfinishedTimeout) {
			break
		}
		s, ok := hs.User.(*stream)
		if ok && s.charged > 0 { // it waits for us
			break
		}
		k.endMessage(hs, FaultUnfinished)
	}
	what, since := k.h2.Unfinished()
	switch what {
	case h2.UnfinishedNone:
		return false
	case h2.UnfinishedData:
		return now-since > seconds(o.UnfinishedTimeout)
	}
	return now-since > seconds(o.SetupTimeout)
}

// seconds is d in ticks.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// Probe implements Prober.
func (s *stream) Probe() {
	k := s.sock
	if v := &k.live; v.probed == 0 && !k.net.Closing() {
		v.probed = momentOf(time.Now())
		k.h2.Ping()
		k.net.MarkDirty()
	}
}

// floodRelax is how many flood tokens are given back to each socket a tick.
const floodRelax = 1000

// expire closes a socket that has been a stranger, or without streams, for too long.
func (k *socket) expire(f Fault) {
	if f != FaultNone {
		k.refuse(f, nil)
	}
	k.h2.GoAwayNow(h2.NoError, "idle", false)
	k.net.Flush()
	k.net.Close()
}

// drain implements member.
func (k *socket) drain() {
	k.h2.GoAwayNow(h2.NoError, "node is shutting down", true)
	k.net.MarkDirty()
}

// finish implements member.
func (k *socket) finish() {
	k.h2.GoAwayNow(h2.NoError, "node is shutting down", false)
	k.net.MarkDirty()
	k.peer.End = "the node is shutting down"
	for _, s := range k.streams {
		s.receiver.PeerFinished()
	}
	k.checkFinished()
}

// speaks reports whether our side of s has not ended.
func speaks(s *stream) bool { return !s.over }

// finished reports whether all streams have ended on our side and everything is written.
func (k *socket) finished() bool {
	return !k.net.Blocked() && k.net.Staged() == 0 && len(k.h2.Control()) == 0 &&
		!slices.ContainsFunc(k.streams, speaks)
}

// checkFinished ends our direction where nothing more will be said: the group is finishing, the peer has ended its own, or
// our call is over.
func (k *socket) checkFinished() {
	if k.live.ended != 0 || k.net.Closing() || !k.finished() ||
		!k.group.finishing && k.live.peerEnded == 0 && !k.hungUp() {
		return
	}
	if k.live.peerEnded != 0 {
		k.net.Close()
		return
	}
	k.live.ended = k.group.now
	k.net.EndOutput()
}

// watchEnd closes a socket whose peer takes less than the floor of what is still to be sent to it: it must not hold the
// end up. One that takes it at the floor's rate is waited for, as anybody who waits for its streams would.
func (k *socket) watchEnd(now moment) {
	k.checkFinished()
	v := &k.live
	dt := now.Sub(v.watched)
	was := k.uptake.taken
	given := k.measure()
	if v.watched == 0 {
		v.watched = now
		return
	}
	v.watched = now
	f := k.group.opt.Floor
	f.Timeout = max(f.Timeout, lingerTimeout)
	v.short.Demand(min(dt, lingerTimeout), f.Rate) // no more than that while the node itself did not run
	v.short.Pay(k.uptake.taken - was)
	lump := k.uptake.buffer.lump()
	for _, s := range k.streams {
		if p := s.progress(given); !s.over && (p.Limit == LimitWindow || p.Limit == LimitShared) {
			lump = max(lump, p.Lump)
		}
	}
	if float64(v.short) >= f.bound(lump, k.uptake.buffer.rtt) {
		when := errShutdown
		if !k.group.finishing {
			when = errPeerEnded
		}
		k.refuse(FaultUnread, when, "unacknowledged_bytes", k.uptake.pending)
		k.net.Silence()
	}
}

// awaitClose waits until the peer has everything, and a moment longer for it to close.
func (k *socket) awaitClose(now moment) {
	if n := k.net.Unacknowledged(); n > 1 { // 1: the FIN
		k.watchEnd(now)
		return
	}
	if now.Sub(k.live.ended) > lingerTime {
		k.net.Close()
	}
}

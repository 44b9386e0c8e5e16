package transport

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	taken       uint64    // bytes that the peer had taken when it was pinged, or was looked at for that last
	ahead       bool      // others lay before the PING then
	established bool      // a stream has been
	accepting   bool      // a stream was accepted: if that has ended, its receiver has said why
	ended       moment    // when our direction ended; zero: it has not
	peerEnded   moment    // when the peer ended its direction of the socket; zero: it has not
	watched     moment    // last watchEnd; zero: the end has not begun
	quiet       moment    // when the peer had everything of a stream for whose other direction we wait; zero: it has not
	short       Shortfall // of what is still to be sent at the end
}

func (v *liveness) begin(now moment) { v.accepted, v.heard, v.busy = now, now, now }

func (v *liveness) answered() { v.pinged, v.probed = 0, 0 }

const (
	// lingerTimeout is the least time in which a socket may take less than the floor of what is still to be sent at the
	// end: more than a tick, less than two.
	lingerTimeout = 1500 * time.Millisecond
	// lingerTime is how long a socket whose direction has ended waits for its peer to close, so that the peer reads the
	// end of its streams before a reset can overtake it; and one that was dialled, before that, for the end of its stream,
	// from when its peer has everything. It is looked at in each tick.
	lingerTime = 2 * time.Second
	// probeTimeout is how long a peer that is probed has to answer: it is thought to be dead.
	probeTimeout = 5 * time.Second
)

// When a peer was found to read too little: at the end of the node, or at its own.
var (
	errShutdown  = errors.New("while shutting down")
	errRemoved   = errors.New("its endpoint is removed")
	errPeerEnded = errors.New("after its side of the socket had ended")
)

// tick implements member.
func (k *socket) tick(now moment) {
	k.h2.Tick(k.group.ticks)
	k.count()
	k.h2.Relax(floodRelax)
	k.age(now)
	k.pass(k, now)
}

// age tells the peer, once, that the socket has reached its age.
func (k *socket) age(now moment) {
	most := k.limits.MaxAge
	if most <= 0 || k.aged || k.call != nil || now.Sub(k.live.accepted) < most {
		return
	}
	k.aged = true
	k.h2.GoAwayNow(h2.NoError, "max_connection_age", true)
	k.net.MarkDirty()
}

// trickles reports whether the peer has begun something that should be complete by now. It ends streams whose message
// is not. Rules: P-lim-12.
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

// ping implements member.
func (k *socket) ping() { k.h2.Ping() }

// Probe implements Prober.
func (s *stream) Probe() { s.sock.probe(s.sock) }

// floodRelax is how many flood tokens are given back to each socket a tick.
const floodRelax = 1000

// expire implements member.
func (k *socket) expire(f Fault) {
	if k.call != nil && !k.call.answered {
		f, k.why = FaultTimeout, k.unanswered()
	}
	if f != FaultNone {
		k.refuse(f, nil)
	}
	k.h2.GoAwayNow(h2.NoError, "idle", false)
	k.net.Flush()
	k.net.Close()
}

// unanswered says how far a call came whose time is over.
func (k *socket) unanswered() string {
	within := cmp.Or(k.setup, k.group.opt.SetupTimeout)
	switch {
	case k.net.Received() == 0 && k.peer.TLS == "":
		return fmt.Sprintf("the peer has sent nothing within %v: if it wants TLS, dial https://", within)
	case !k.h2.Greeted():
		return fmt.Sprintf("the peer has not answered in HTTP/2 within %v", within)
	}
	return fmt.Sprintf("the peer speaks HTTP/2, but has not answered the call within %v", within)
}

// drain implements member.
func (k *socket) drain() {
	k.h2.GoAwayNow(h2.NoError, strings.TrimPrefix(k.endOf(), "the "), true)
	k.net.MarkDirty()
}

// finish implements member.
func (k *socket) finish() {
	k.h2.GoAwayNow(h2.NoError, strings.TrimPrefix(k.endOf(), "the "), false)
	k.net.MarkDirty()
	k.peer.End = k.endOf()
	k.refuseWaits()
	for _, s := range k.streams {
		s.receiver.PeerFinished()
	}
	k.checkFinished(k)
}

// serves implements member.
func (k *socket) serves() bool { return len(k.streams) > 0 }

// speaking implements member.
func (k *socket) speaking() bool { return slices.ContainsFunc(k.streams, speaks) }

// speaks reports whether our side of s has not ended.
func speaks(s *stream) bool { return !s.over }

// done implements member: a socket that was dialled is, when its stream has ended on our side, and does not linger; another,
// without streams, may have another.
func (k *socket) done() bool {
	if k.call == nil || !k.live.accepting {
		return false
	}
	return len(k.streams) == 0 || k.streams[0].over && !k.lingering()
}

// said implements member.
func (k *socket) said() bool { return len(k.h2.Control()) == 0 && !k.speaking() && !k.last }

// lump implements member.
func (k *socket) lump(given uint64) int {
	lump := k.uptake.buffer.lump()
	for _, s := range k.streams {
		if p := s.progress(given); !s.over && (p.Limit == LimitWindow || p.Limit == LimitShared) {
			lump = max(lump, p.Lump)
		}
	}
	return lump
}

// unread implements member.
func (k *socket) unread() int { return k.uptake.unread(k.h2.SendWindow()) }

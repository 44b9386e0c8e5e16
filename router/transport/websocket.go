package transport

import (
	"errors"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/wire/ws"
)

// webSocket is a WebSocket on one byte stream, in the accepting role or, with a call, in the dialling one. It is one
// Stream, webSocketStream, which lives from the answer to the handshake, or our request, until the socket is closed.
//
//	handshake ──▶ open ──▶ over: our Close is staged ──▶ our direction ends when it is out ──▶ closed
//	    └── refused, or at fault: the answer, or a Close, is the last word ──▲
type webSocket struct {
	carrier
	ws       ws.Conn
	receiver Receiver   // nil: the handshake is not done
	gather   *pool.Buf  // of the message that spans reads or frames
	path     string     // that is served
	call     *call      // nil: it was accepted
	judged   *judgement // of its request; nil: none is under way
	upgraded bool       // call: the peer has accepted it
	charged  int        // bytes of its messages that wait for us
	resumed  int64      // tick in which it was last read after a pause
	broken   bool       // the engine has given up
	counted  bool       // the fault for which it has given up was noted
	peerDone bool       // no message follows
	over     bool       // our side has ended
	closed   bool       // Receiver.Closed was called
}

// AcceptWS returns the handler of a socket that was just accepted and shall become a WebSocket. path is what that of
// its request has to equal, byte for byte.
func (g *Group) AcceptWS(path string) netloop.Handler { return g.acceptWS(path, g.limits, nil) }

func (g *Group) acceptWS(path string, l *Limits, gate *Gate) netloop.Handler {
	return &webSocket{carrier: carrier{group: g, limits: l, peer: Peer{Gate: gate, MaxMessage: g.opt.MaxWebSocket, Transport: WebSocket}}, path: path}
}

// Opened implements netloop.Handler.
func (k *webSocket) Opened(n *netloop.Socket) {
	o := &k.group.opt
	set := ws.Settings{Path: k.path, MaxMessage: o.MaxWebSocket, FirstMessage: o.FirstMessage, Now: k.group.ticks}
	if k.call != nil {
		k.open(k, n)
		k.request(&set)
		return
	}
	set.Deflate = !o.Plain
	k.ws.Init(ws.Server, &set)
	k.open(k, n)
}

// Read implements netloop.Handler: step 2 of the journey.
func (k *webSocket) Read(p []byte) {
	k.live.heard = k.group.now
	if err := k.ws.Feed(p, (*wsEvents)(k)); err != nil {
		k.fail(err)
	}
	k.starved = false
	k.count()
	if len(k.ws.Control()) > 0 {
		k.net.MarkDirty()
	}
}

// fail ends a socket whose engine has given up; its last word is in Control. What the peer still sends is discarded,
// for a moment, so that it can read that.
func (k *webSocket) fail(err error) {
	if k.broken {
		return
	}
	k.broken = true
	k.dropJudged()
	e := refusalOf(err)
	if e != nil && k.call != nil {
		k.turnedAway(e)
		return
	}
	if e != nil && (e.Foreign || e.Status != 0) && k.peer.Advice == "" {
		k.peer.Advice = adviceWebSocket
	}
	k.dropGather()
	f := faultOf(err)
	if k.why == "" {
		k.why = f.String()
	}
	k.peer.End = k.why
	switch {
	case k.counted:
	case f == FaultTooLarge && k.serves():
		k.receiver.Broken(f)
	default:
		k.refuse(f, err)
	}
	k.over, k.peerDone = true, true
	k.closeStream()
	k.net.MarkDirty()
}

// faultOf says under which fault an error of the engine is counted.
func faultOf(err error) Fault {
	var e *ws.ConnError
	if !errors.As(err, &e) {
		return FaultHandshake
	}
	switch {
	case e.Flood != ws.FloodNone:
		return FaultFlood
	case e.Code == ws.TooBig:
		return FaultTooLarge
	case e.Code == ws.TryAgainLater:
		return FaultMemory
	}
	return FaultWebSocket
}

// Flushing implements netloop.Handler: what the engine has to say goes between frames, each of which is staged whole.
// While the socket is blocked it stays in the engine, which bounds it.
func (k *webSocket) Flushing(bool) {
	switch {
	case k.net.Muted(), k.net.OutputEnded():
		k.ws.ControlDone()
	case !k.net.Blocked() && len(k.ws.Control()) > 0:
		k.outbox()
	}
}

// outbox returns the socket's outbox with everything in it that the engine has said so far.
func (k *webSocket) outbox() *netloop.Outbox {
	x := k.net.Outbox()
	if ctl := k.ws.Control(); len(ctl) > 0 {
		x.B = append(x.B, ctl...)
		k.ws.ControlDone()
	}
	return x
}

// Flushed implements netloop.Handler.
func (k *webSocket) Flushed() {
	if k.over || k.live.peerEnded != 0 || k.finishing() {
		k.checkFinished(k)
	}
}

// Writable implements netloop.Handler.
func (k *webSocket) Writable() {
	if k.serves() {
		k.receiver.Writable()
	}
}

// Muted implements netloop.Handler. What a peer has sent that was held is still read.
func (k *webSocket) Muted() {
	k.resume()
	if k.serves() {
		k.receiver.Muted()
	}
}

// Ended implements netloop.Handler: the peer has half-closed its socket. It still gets what waits for it: P-end-6.
func (k *webSocket) Ended() bool {
	k.live.peerEnded = k.group.now
	if !k.last { // else how the stream has ended says more
		k.peer.End = k.end(nil)
	}
	if err := k.ws.InputEnded(); err != nil && !k.broken { // in the middle of its handshake
		if e := refusalOf(err); e != nil && k.call != nil {
			k.turnedAway(e)
		}
		return false
	}
	k.dropGather()
	k.count()
	k.finishPeer()
	return !k.finished(k)
}

// finishPeer tells the receiver, once, that no message follows.
func (k *webSocket) finishPeer() {
	if !k.peerDone && k.serves() {
		k.peerDone = true
		k.receiver.PeerFinished()
	}
}

// Closed implements netloop.Handler.
func (k *webSocket) Closed(err error) {
	defer k.group.remove(k) // even if a panic has broken the stream: others wait for the end of both
	defer k.group.acceptor.Ended(&k.peer, err)
	defer k.closeStream()
	defer k.forget()
	k.dropJudged()
	e := refusalOf(k.ws.InputEnded())
	switch {
	case k.call != nil && !k.upgraded && e != nil && (k.broken || e.Status != 0): // the text of a refusal may not have ended
		k.hear(-1, k.refusalText(e))
	case k.peer.End == "" || k.why != "" || err != nil:
		k.peer.End = k.end(err)
	}
	k.dropGather()
}

// closeStream ends the stream for its receiver.
func (k *webSocket) closeStream() {
	k.over, k.lingers, k.last = true, false, false
	if !k.serves() {
		return
	}
	k.closed, k.peer.Streams = true, 0
	k.receiver.Closed()
}

func (k *webSocket) dropGather() {
	if k.gather != nil {
		k.gather.Release()
		k.gather = nil
	}
}

// count brings up to date what the group knows of the socket's memory.
func (k *webSocket) count() {
	if n := k.ws.UnfinishedBytes() + k.waiting; n != k.unfinished {
		k.setUnfinished(n)
	}
}

// tick implements member.
func (k *webSocket) tick(now moment) {
	k.ws.Tick(k.group.ticks)
	k.count()
	k.ws.Relax(floodRelax)
	if k.net.Paused() { // its silence is our doing
		k.live.heard, k.resumed = now, k.group.ticks
		k.live.answered()
	}
	if !k.ws.Open() { // nor can it be pinged: other deadlines hold
		k.live.heard = now
		k.live.answered()
	}
	k.pass(k, now)
}

// trickles implements member. What the peer could not complete while it was held has as long again.
func (k *webSocket) trickles() bool {
	o := &k.group.opt
	what, since := k.ws.Unfinished()
	age := k.group.ticks - max(since, k.resumed)
	switch what {
	case ws.UnfinishedNone:
		return false
	case ws.UnfinishedHandshake:
		if k.call != nil { // carrier.setup says how long it may take
			return false
		}
	case ws.UnfinishedMessage:
		if age > seconds(o.UnfinishedTimeout) {
			k.dropMessage(FaultUnfinished)
		}
		return false
	}
	return age > seconds(o.SetupTimeout)
}

// dropMessage ends the stream because of a message that is not complete.
func (k *webSocket) dropMessage(f Fault) {
	k.why = f.String()
	_ = k.ws.InputEnded()
	k.dropGather()
	k.count()
	k.peerDone = true
	k.receiver.Broken(f)
	k.net.MarkDirty()
}

// shed implements member.
func (k *webSocket) shed() {
	if k.serves() {
		k.dropMessage(FaultMemory)
		return
	}
	k.refuse(FaultUnfinished, nil)
	k.net.Close()
}

// serves implements member.
func (k *webSocket) serves() bool { return k.receiver != nil && !k.closed }

// speaking implements member.
func (k *webSocket) speaking() bool { return k.serves() && !k.over }

// said implements member.
func (k *webSocket) said() bool { return len(k.ws.Control()) == 0 && !k.speaking() && !k.last }

// done implements member.
func (k *webSocket) done() bool { return k.over && !k.lingering() }

// ping implements member.
func (k *webSocket) ping() { k.ws.Ping(nil) }

// expire implements member.
func (k *webSocket) expire(f Fault) {
	if k.call != nil && !k.upgraded {
		k.why = "no answer to the WebSocket handshake in time"
	}
	code, text := ws.NormalClosure, ""
	if f != FaultNone {
		code, text = ws.ProtocolError, f.String()
		k.refuse(f, nil)
	}
	if k.ws.Open() {
		x := k.outbox()
		x.B = k.ws.Close(x.B, code, text)
	}
	k.net.Flush()
	k.net.Close()
}

// drain implements member. There is no announcement; but what has come of a peer that is held goes its way, too:
// P-end-3.
func (k *webSocket) drain() { k.resume() }

// finish implements member.
func (k *webSocket) finish() {
	k.peer.End = k.endOf()
	k.dropJudged()
	if k.serves() {
		k.peerDone = true
		k.receiver.PeerFinished()
	} else {
		k.over = true
	}
	k.checkFinished(k)
}

// lump implements member.
func (k *webSocket) lump(uint64) int { return k.uptake.buffer.lump() }

// mostUnread is what Linux keeps at most for one socket that nobody reads, unless it was told otherwise (tcp_rmem).
const mostUnread = 6 << 20

// unread implements member. There is no window that would say more.
func (k *webSocket) unread() int { return int(min(k.uptake.taken, mostUnread)) }

// hold stops reading.
func (k *webSocket) hold() {
	switch {
	case k.net.Paused(), k.net.Closing(), k.net.Muted(), k.live.peerEnded != 0, k.over && !k.lingers, k.draining():
		return
	case !k.net.Pause() && k.charged > 2*int(k.group.opt.Window): // no descriptor for that: nothing else holds it
		k.refuse(FaultMemory, errNotHeld)
		k.net.Silence()
	}
}

var errNotHeld = errors.New("there is no descriptor with which the peer could be held: raise the limit of open files")

// resume goes on reading.
func (k *webSocket) resume() {
	if k.net.Paused() {
		k.live.heard, k.resumed = k.group.now, k.group.ticks
		k.net.Resume()
	}
}

// closeText says, for logs, how the peer has closed.
func closeText(e *ws.End) string {
	text := "the peer closed: "
	if e.Code == ws.NoStatus {
		return text + "no code"
	}
	text += fmt.Sprintf("%d %v", e.Code, e.Code)
	if e.Reason != "" {
		text += fmt.Sprintf(" %q", e.Reason)
	}
	return text
}

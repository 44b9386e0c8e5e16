package transport

import (
	"bytes"
	"errors"
	"io"

	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// socket is gRPC over HTTP/2 on one byte stream, in the accepting role or, with a call, in the dialling one.
type socket struct {
	carrier
	h2      h2.Conn
	streams []*stream // usually one
	waits   *waiting  // the latest of those that are being judged
	call    *call     // nil: it was accepted
	granted int       // by the peer to the connection, at the last look
	broken  bool      // the engine has given up: GOAWAY is its last word
	aged    bool      // the peer was told that the socket has reached its age
}

// AcceptGRPC returns the handler of a socket that was just accepted.
func (g *Group) AcceptGRPC() netloop.Handler { return g.acceptGRPC(g.limits, nil) }

func (g *Group) acceptGRPC(l *Limits, gate *Gate) netloop.Handler {
	return &socket{carrier: carrier{group: g, limits: l, peer: Peer{Gate: gate, MaxMessage: g.opt.MaxMessage}}}
}

// Opened implements netloop.Handler.
func (k *socket) Opened(n *netloop.Socket) {
	k.open(k, n)
	n.QuickAck = true
	g, o, l := k.group, &k.group.opt, k.limits
	role := h2.Server
	if k.call != nil {
		role = h2.Client
	}
	k.h2.Init(role, &h2.Settings{InitialWindow: o.Window, MaxFrameSize: l.MaxFrameSize,
		MaxHeaderList: l.MaxHeaderList, MaxStreams: l.MaxStreams, ConnWindow: 16 << 20, MaxMessage: o.MaxMessage,
		FirstMessage: o.FirstMessage, MaxUnfinished: o.MaxUnfinished, Now: g.ticks})
	n.MarkDirty()
	switch {
	case k.call != nil && g.draining:
		k.why = "the node is shutting down"
		n.Close()
	case k.draining():
		k.drain()
	case k.call != nil:
		if err := k.request(); err != nil {
			k.why = err.Error()
			n.Close()
		}
	}
}

// Read implements netloop.Handler: step 2 of the journey.
func (k *socket) Read(p []byte) {
	k.live.heard = k.group.now
	if err := k.h2.Feed(p, (*events)(k)); err != nil {
		if k.call == nil && !k.broken && wantsUpgrade(p) {
			k.advise()
		}
		k.fail(err)
	}
	k.sawWindow()
	k.starved = false
	if n := k.h2.TakeLate(); n > 0 {
		k.group.acceptor.Late(n)
	}
	k.count()
	if len(k.h2.Control()) > 0 {
		k.net.MarkDirty()
	}
}

// fail ends a socket whose engine has given up; GOAWAY is in its control bytes.
func (k *socket) fail(err error) {
	if k.broken {
		return
	}
	k.broken = true
	f := FaultProtocol
	if e, ok := err.(*h2.ConnError); ok && e.Code == h2.EnhanceYourCalm {
		f = FaultFlood
	} else if ok && e.Foreign {
		k.advise()
	}
	if k.call != nil && k.why == "" { // who has dialled wants to know
		k.why = err.Error()
	}
	k.refuse(f, err)
	k.net.Flush() // GOAWAY
	k.net.Close()
}

// advise says what a client should do that speaks something else than gRPC.
func (k *socket) advise() {
	if k.peer.Advice = adviceGRPC; k.peer.TLS != "" {
		k.peer.Advice = adviceGRPCTLS
	}
}

// wantsUpgrade reports whether p, which is not HTTP/2, seems to ask for a WebSocket.
func wantsUpgrade(p []byte) bool {
	const most = 4 << 10
	return bytes.Contains(bytes.ToLower(p[:min(len(p), most)]), []byte("\r\nupgrade: websocket"))
}

// What clients are told in the log that have come to the wrong endpoint, or speak to it as it does not.
const (
	adviceGRPC      = "this endpoint is for gRPC without TLS, http://HOST:PORT; TLS needs tls.source, a WebSocket an endpoint ws://"
	adviceGRPCTLS   = "this endpoint is for gRPC, https://HOST:PORT; a WebSocket needs an endpoint wss://"
	adviceWebSocket = "this endpoint is for WebSocket; gRPC needs an endpoint without ws:// or wss://, TLS one of wss://"
)

// Flushing implements netloop.Handler: what the engine has to say goes out after everything staged. While the socket is
// blocked it stays in the engine, which bounds it. At the end of a batch it is also time to be told of streams that we
// have ended: nothing may come from the peer for long.
func (k *socket) Flushing(last bool) {
	k.h2.Cut()
	if last {
		k.h2.Reap((*events)(k))
	}
	if k.net.Muted() || k.net.OutputEnded() {
		k.h2.ControlDone()
		return
	}
	if k.net.Blocked() {
		if k.net.Staged() > netloop.OutboxSize/2 {
			k.refuse(FaultBacklog, nil)
			k.net.Silence()
		}
		return
	}
	if ctl := k.h2.Control(); len(ctl) > 0 {
		x := k.net.Outbox()
		x.B = append(x.B, ctl...)
		k.h2.ControlDone()
	}
}

// outbox returns the socket's outbox with everything in it that the engine has said so far: what is staged next must
// not overtake it.
func (k *socket) outbox() *netloop.Outbox {
	x := k.net.Outbox()
	if ctl := k.h2.Control(); len(ctl) > 0 {
		k.h2.Cut()
		x.B = append(x.B, ctl...)
		k.h2.ControlDone()
	}
	return x
}

// Flushed implements netloop.Handler.
func (k *socket) Flushed() {
	if k.live.peerEnded != 0 || k.finishing() || k.done() {
		k.checkFinished(k)
	}
}

// Writable implements netloop.Handler.
func (k *socket) Writable() {
	k.pump()
	if k.live.peerEnded != 0 {
		k.endStarved()
	}
}

// Muted implements netloop.Handler.
func (k *socket) Muted() {
	for i := len(k.streams) - 1; i >= 0; i-- {
		k.streams[i].receiver.Muted()
	}
}

// Ended implements netloop.Handler: the peer has half-closed its socket, so no stream of it says anything more.
func (k *socket) Ended() bool {
	k.live.peerEnded = k.group.now
	if !k.last { // else how the stream has ended says more
		k.peer.End = k.ending(nil)
	}
	k.h2.InputEnded()
	for _, s := range k.streams {
		s.dropGather()
	}
	k.count()
	for _, s := range k.streams {
		s.receiver.PeerFinished()
	}
	k.endStarved()
	return !k.finished(k)
}

// endStarved ends the streams that have something left for a peer that has half-closed its socket, while the kernel
// takes more: no window is there for it, and the peer cannot return any. To wait would hold up the senders of that for
// nothing. Rules: P-end-6.
func (k *socket) endStarved() {
	for _, s := range k.streams {
		if !k.net.Takes() {
			return // what the windows allow may not all be out
		}
		if w, ok := s.receiver.(Waiter); !s.over && !(ok && w.Waits()) {
			s.receiver.Muted()
			s.Finish(statusExhausted, "no window is left for what waits, and your side of the socket has ended")
		}
	}
}

// Closed implements netloop.Handler.
func (k *socket) Closed(err error) {
	defer k.group.remove(k) // even if a panic has broken the engine or a stream: others wait for the end of both
	defer k.group.acceptor.Ended(&k.peer, err)
	defer k.closeStreams()
	defer k.forget()
	defer k.dropWaits()
	k.peer.End = k.ending(err)
	k.h2.Close((*events)(k))
}

// ending is end, with a guess why a peer that was dialled has hung up.
func (k *socket) ending(err error) string {
	text := k.end(err)
	if k.call != nil && k.why == "" && !k.h2.Greeted() {
		if k.net.Received() == 0 && (err == nil || errors.Is(err, io.EOF)) {
			text += " without a word"
		}
		if k.peer.TLS == "" {
			text += ": if it wants TLS, dial https://"
		}
	}
	return text
}

// closeStreams ends the streams that the engine has not, because it has panicked.
func (k *socket) closeStreams() {
	for len(k.streams) > 0 {
		s := k.streams[len(k.streams)-1]
		k.streams = k.streams[:len(k.streams)-1]
		s.closeGuarded()
	}
}

// offerRoom is how many bytes the streams of a socket may stage together before each has had its turn again.
const offerRoom = 256 << 10

// pump lets all streams of the socket go on, in turns, until the kernel takes no more or none has anything to send.
func (k *socket) pump() {
	for k.net.Takes() {
		before, _ := k.given()
		k.h2.Offer((*events)(k), offerRoom)
		if n, _ := k.given(); n == before {
			return
		}
	}
}

package transport

import (
	"crypto/rand"
	"errors"
	"strconv"
	"strings"

	"github.com/seed31b3bfd0/slimgo/wire/compress"
	"github.com/seed31b3bfd0/slimgo/wire/ws"
)

// The dialling role of a WebSocket. The stream exists from our request on, as by gRPC; it can be used once the peer has
// accepted that (upgraded). Whatever ends it before is told in Peer.End.

// request opens the WebSocket.
func (k *webSocket) request(set *ws.Settings) {
	_, _ = rand.Read(set.Seed[:]) // never fails, by its documentation
	set.Deflate = k.call.Offer != nil
	k.ws.Init(ws.Client, set)
	k.net.QuickAck = true // servers mostly leave Nagle's algorithm on, and do not say who they are
	if k.group.draining {
		k.why = "the node is shutting down"
		k.net.Close()
		return
	}
	k.begin()
	k.live.accepting = true
	k.peer.Streams = 1
	c := k.call
	u := ws.Upgrade{Host: c.Authority, Path: c.Path, Origin: c.Origin, Agent: c.Agent}
	for _, f := range c.Fields {
		u.Fields = append(u.Fields, ws.Field{Name: f.Name, Value: f.Value})
	}
	if err := k.ws.Upgrade(&u); err != nil {
		k.why = err.Error()
		k.net.Close()
	}
	k.net.MarkDirty()
}

// begin makes the stream. If compression is wanted, the answer says whether there is any (upgrade).
func (k *webSocket) begin() {
	s := (*webSocketStream)(k)
	if k.call.Offer == nil {
		k.receiver = k.call.caller(s)
		return
	}
	face := &packedWebSocket{webSocketStream: s}
	k.receiver = &expander{Receiver: k.call.caller(face), stream: s, carrier: &k.carrier, encoding: compress.Deflate,
		failed: k.unexpanded, out: &face.worth}
}

// upgrade notes that the peer has accepted. It may have done so without compression: RFC 7692 section 5.
func (k *webSocket) upgrade() {
	k.upgraded = true
	if !k.serves() {
		return
	}
	if k.ws.Deflates() {
		k.receiver.(*expander).out.encoding = compress.Deflate
	}
	k.answered(k.receiver)
}

// turnedAway ends a call whose handshake has failed. There is nothing to say to the peer, and nothing to wait for.
func (k *webSocket) turnedAway(e *ws.HandshakeError) {
	k.broken = true
	k.hear(-1, k.refusalText(e))
	k.net.Close()
}

// hungUp ends a call whose peer has closed the WebSocket: what waits for the peer dies, as by gRPC. Its Close is
// answered, and it closes the socket first (RFC 6455 section 7.1.1).
func (k *webSocket) hungUp(end *ws.End) {
	if k.why == "" && !k.over {
		status := -1
		if end.Code == ws.PolicyViolation {
			status = statusDenied
			if strings.HasPrefix(end.Reason, Unauthenticated) {
				status = statusUnauthenticated
			}
		}
		k.hear(status, closeText(end))
	}
	x := k.outbox()
	x.B = k.ws.Close(x.B, ws.NoCode, "")
	if x, ok := k.receiver.(*expander); ok && x.lastly(k.closeLate) {
		k.over, k.last = true, true
	} else {
		k.closeStream()
	}
	k.resume() // it may have been held: its end is to be read
	k.net.MarkDirty()
}

// closeLate closes the stream of a call that its peer had ended before what came last was expanded.
func (k *webSocket) closeLate() {
	k.closeStream()
	k.checkFinished(k)
}

// Unauthenticated begins the text with which a stream ends whose credentials are not accepted any more: a WebSocket has one
// code for that and for policies, and who has other credentials next time may come again. Rules: P-auth-7.
const Unauthenticated = "unauthenticated: "

// refusalOf returns the error of a handshake; nil: it is none.
func refusalOf(err error) *ws.HandshakeError {
	var e *ws.HandshakeError
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// refusalText says, for logs, why a WebSocket that we have asked for did not open.
func (k *webSocket) refusalText(e *ws.HandshakeError) string {
	s := "WebSocket handshake: " + e.Reason
	if k.net.Received() == 0 && k.peer.TLS == "" {
		s += ": if it wants TLS, dial wss://"
	}
	if e.Text != "" {
		s += ": " + strconv.Quote(cut([]byte(e.Text)))
	}
	return s
}

package transport

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// Call says how a socket that was dialled opens its stream. Immutable once it is used.
type Call struct {
	// WebSocket says which transport it is; else it is gRPC.
	WebSocket bool
	// Scheme is http, https or unix, of gRPC only. Authority is whom the request is for, Agent who asks.
	Scheme, Authority, Agent string
	// Path, with the query, and Origin are of the request for a WebSocket; "": / and none.
	Path, Origin string
	// Fields are further fields of the request; for a WebSocket none that is ws.Reserved.
	Fields []Field
	// AnswerTimeout is how long the peer may take to accept the stream; 0: Options.SetupTimeout. To the second.
	AnswerTimeout time.Duration
	// Offer is the compression that is wanted; nil: none.
	Offer *Offer
	// KeepaliveTime and KeepaliveTimeout take the place of those of Limits; 0: theirs.
	KeepaliveTime, KeepaliveTimeout time.Duration
}

// Offer is the compression of a link: what it may be, and what is known of the other end. Safe for all; not to be copied.
//
// The first stream of a socket accepts the encoding and uses none. If the answer accepts it, too, the stream is given up
// before anything was said, and another is opened that uses it. So no node is told of an encoding that has not offered
// it: one that does not know it would refuse the stream (P-tr-4). Rules: P-comp-2.
//
// By WebSocket, any encoding stands for permessage-deflate, which the request offers: who does not know it ignores that.
// Rules: P-comp-8.
type Offer struct {
	Encoding compress.Encoding

	refused atomic.Bool // a stream that used it was not accepted, though it was offered: the next socket does without
}

// Field is a header field of a request.
type Field struct {
	Name, Value string
	Sensitive   bool // it is kept out of tables on the way
}

// Caller is the Receiver of a stream that this side has opened. Nothing can be put before Answered.
type Caller interface {
	Receiver
	// Answered says that the peer has accepted the stream.
	Answered()
}

// call is the dialling role of a socket: one stream, with which the socket ends.
type call struct {
	*Call
	caller   func(Stream) Caller
	uses     bool // its stream uses Offer.Encoding
	answered bool
}

// Dial returns the handler of a socket that was just connected. It opens one stream, whose receiver is made by
// caller on the loop, and closes the socket at the end of that stream. caller is not called if the group is draining:
// then Acceptor.Ended is all that is heard of the socket. Its methods may be called on the loop only, but Dial by all.
func (g *Group) Dial(c *Call, caller func(Stream) Caller) netloop.Handler {
	l := *g.limits
	l.KeepaliveTime, l.KeepaliveTimeout = cmp.Or(c.KeepaliveTime, l.KeepaliveTime), cmp.Or(c.KeepaliveTimeout, l.KeepaliveTimeout)
	k := carrier{group: g, limits: &l, peer: Peer{MaxMessage: g.opt.MaxMessage, Status: -1, Dialed: true}, setup: c.AnswerTimeout}
	if g.opt.Plain && c.Offer != nil {
		plain := *c
		plain.Offer = nil
		c = &plain
	}
	if c.WebSocket {
		k.peer.MaxMessage, k.peer.Transport = g.opt.MaxWebSocket, WebSocket
		return &webSocket{carrier: k, call: &call{Call: c, caller: caller}}
	}
	return &socket{carrier: k, call: &call{Call: c, caller: caller}}
}

// answered says that the peer has accepted the stream that we have opened: the time for what follows begins.
func (k *carrier) answered(r Receiver) {
	k.setup, k.live.accepted = 0, k.group.now
	r.(Caller).Answered()
}

// hear notes how the peer has ended the call: with a gRPC status, or -1, and in words.
func (k *carrier) hear(status int, text string) {
	if k.peer.Status = -1; status >= 0 && status <= maxStatus {
		k.peer.Status = int8(status)
	}
	k.peer.End = text
}

const maxStatus = 16 // of gRPC

// request opens the stream. Errors are those of h2.Conn.Open, and final.
func (k *socket) request() error {
	hs, err := k.openStream()
	if err != nil {
		return err
	}
	s := &stream{sock: k, h2: hs}
	s.uptake.share.returned = k.group.now
	if k.call.Offer == nil {
		s.receiver = k.call.caller(s)
	} else {
		face := &packedStream{stream: s}
		s.receiver = &expander{Receiver: k.call.caller(face), stream: s, carrier: &k.carrier, failed: s.unexpanded, out: &face.worth}
	}
	hs.User = s
	k.live.accepting = true
	k.streams = append(k.streams, s)
	k.peer.Streams++
	return nil
}

// openStream opens the stream on the wire.
func (k *socket) openStream() (*h2.Stream, error) {
	fields := []h2.Field{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: k.call.Scheme},
		{Name: ":authority", Value: k.call.Authority}, {Name: ":path", Value: openChannel},
		{Name: "te", Value: "trailers"}, {Name: "content-type", Value: "application/grpc"},
		{Name: "user-agent", Value: k.call.Agent}}
	for _, f := range k.call.Fields {
		fields = append(fields, h2.Field(f))
	}
	if o := k.call.Offer; o != nil {
		fields = append(fields, h2.Field{Name: "grpc-accept-encoding", Value: o.Encoding.String() + ",identity"})
		if k.call.uses {
			fields = append(fields, h2.Field{Name: "grpc-encoding", Value: o.Encoding.String()})
		}
	}
	return k.h2.Open(fields)
}

// compress looks at what the answer says of compression. again: the answer to another stream is to be waited for.
func (k *socket) compress(s *stream, r *h2.Response) (again bool, err error) {
	o := k.call.Offer
	enc, _ := r.Field("grpc-encoding")
	in, ok := compress.Named(enc)
	if !ok || in != compress.None && (o == nil || in != o.Encoding) {
		return false, fmt.Errorf("the answer is compressed with %q, which was not asked for", cut(enc))
	}
	if o == nil {
		return false, nil
	}
	x := s.receiver.(*expander)
	accept, _ := r.Field("grpc-accept-encoding")
	if !k.call.uses && compress.Offered(accept, o.Encoding) && !o.refused.Swap(false) {
		k.call.uses = true
		s.h2.User = nil
		k.h2.Reset(s.h2, h2.Cancel)
		hs, err := k.openStream()
		if err != nil {
			return false, err
		}
		s.h2, hs.User = hs, s
		return true, nil
	}
	if k.call.uses {
		x.out.encoding = o.Encoding
	}
	if x.encoding = in; in != compress.None {
		k.h2.TakeCompressed(s.h2)
	}
	return false, nil
}

// unexpanded ends a stream that we have opened because of a message that does not expand.
func (s *stream) unexpanded(f Fault, _ error) { s.receiver.(*expander).Receiver.Broken(f) }

// Response implements h2.Events: the peer accepts the stream that we have opened, or refuses it.
func (e *events) Response(hs *h2.Stream, r *h2.Response) {
	k := (*socket)(e)
	s, ok := hs.User.(*stream)
	switch {
	case !ok || r.EndStream: // Ended says the rest
	case r.Status != 200:
		k.hear(-1, httpText(r.Status))
		k.hangUp(s)
	case !bytes.HasPrefix(r.ContentType, []byte("application/grpc")):
		k.hear(-1, fmt.Sprintf("the answer is no gRPC: content-type %q", cut(r.ContentType)))
		k.hangUp(s)
	default:
		again, err := k.compress(s, r)
		if err != nil {
			k.hear(-1, err.Error())
			k.hangUp(s)
			return
		}
		if again {
			return
		}
		k.call.answered = true
		k.sawWindow()
		s.uptake.updates.saw(hs.OwnWindow(), 0, k.group.batch)
		k.answered(s.receiver)
	}
}

// forgetOffer notes the end of a call: a stream that uses an encoding was refused, whatever for, before it was answered.
func (k *socket) forgetOffer() {
	if c := k.call; c != nil && c.uses && !c.answered {
		c.Offer.refused.Store(true)
	}
}

// endText is the end of a call in words.
func endText(end *h2.End) string {
	switch {
	case end.HTTPStatus != 200 && end.HTTPStatus != 0:
		return httpText(end.HTTPStatus)
	case end.Message != "":
		return fmt.Sprintf("the peer ended the stream with gRPC status %d: %s", end.GRPCStatus, cut([]byte(end.Message)))
	}
	return fmt.Sprintf("the peer ended the stream with gRPC status %d", end.GRPCStatus)
}

// httpText is the HTTP status of a refusal in words.
func httpText(status int) string {
	text := fmt.Sprintf("HTTP status %d", status)
	switch status {
	case http.StatusUnauthorized:
		text += ": the other end does not accept what auth of this client shows, or wants auth where there is none"
	case http.StatusForbidden:
		text += ": the other end's policy refuses this client"
	}
	return text
}

// hangUp ends the stream of a call at once, and the socket.
func (k *socket) hangUp(s *stream) {
	k.h2.Reset(s.h2, h2.Cancel)
	s.close()
	k.leave()
}

// leave closes a socket whose call is over, once what the engine has to say is out.
func (k *socket) leave() {
	if k.call != nil && !k.net.Closing() {
		k.h2.GoAwayNow(h2.NoError, "", false)
		k.net.Flush()
		k.net.Close()
	}
}

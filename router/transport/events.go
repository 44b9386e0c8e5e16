package transport

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// openChannel is the only method of the service (P-tr-1).
const openChannel = "/dataplane.proto.v1.DataPlaneService/OpenChannel"

// gRPC status codes that a transport sends, or its engine says.
const (
	statusOK              = 0
	statusDenied          = 7
	statusUnauthenticated = 16
	statusExhausted       = 8
	statusOutOfRange      = 11
	statusUnimplemented   = 12
	statusInternal        = 13
)

// events is a socket as its HTTP/2 engine sees it.
type events socket

var _ h2.Events = (*events)(nil)

// Request implements h2.Events: the peer opened a stream.
func (e *events) Request(hs *h2.Stream, r *h2.Request) {
	k := (*socket)(e)
	if k.finishing() {
		k.h2.Reset(hs, h2.RefusedStream)
		return
	}
	if agent, ok := r.Field("user-agent"); ok {
		k.peer.Agent = cut(agent)
	}
	q := k.read(r)
	if k.guard() != nil {
		k.await(hs, r, &q)
		return
	}
	k.route(hs, &q, k.who)
}

// request is what a request is for. Nothing of it is borrowed.
type request struct {
	encodings
	unknown      string // encoding that is not taken; "": none
	found        bool   // it is for openChannel
	health       bool   // it asks for gRPC's health service
	call         bool   // it is one of gRPC
	path, method string // unless found
}

// read takes a request apart.
func (k *socket) read(r *h2.Request) (q request) {
	q.found = string(r.Path) == openChannel && string(r.Method) == "POST"
	if !q.found {
		path, _, _ := bytes.Cut(r.Path, []byte{'?'}) // of the query nothing is told: it may hold a token
		q.path, q.method = cut(path), cut(r.Method)
		q.health = bytes.HasPrefix(r.Path, []byte("/grpc.health."))
		q.call = bytes.HasPrefix(r.ContentType, []byte("application/grpc"))
		return q
	}
	q.encodings, q.unknown = k.encodings(r)
	return q
}

// route opens the stream that a request asks for, or refuses it. who has asked; nil: nobody knows.
func (k *socket) route(hs *h2.Stream, q *request, who *auth.Identity) {
	switch {
	case !q.found:
		k.notFound(hs, q)
		return
	case q.unknown != "":
		k.refuseEncoding(hs, q.unknown)
		return
	}
	k.net.QuickAck = !prompt(k.peer.Agent)
	s := &stream{sock: k, h2: hs, who: who}
	k.sawWindow()
	s.uptake.updates.saw(hs.OwnWindow(), 0, k.group.batch)
	s.uptake.share.returned = k.group.now
	if s.receiver = k.group.acceptor.Accept(s.facing(q.out)); s.receiver == nil {
		k.refuse(FaultConnections, nil)
		k.h2.Refuse(hs, 200, statusExhausted, k.group.opt.TooMany)
		return
	}
	s.expand(q.in)
	hs.User = s
	k.live.accepting = true
	k.streams = append(k.streams, s)
	k.peer.Streams++
	if k.net.Muted() {
		s.receiver.Muted()
	}
	k.h2.Respond(hs, q.fields()...) // at once: a Rust dialer sends nothing before it has the HEADERS
}

// notFound refuses a request for something else than a channel.
func (k *socket) notFound(hs *h2.Stream, q *request) {
	if !q.health {
		k.peer.Advice = "want POST " + openChannel
	}
	k.refuse(FaultPath, fmt.Errorf("%s %s is asked for, but nothing is here except %s", q.method, q.path, openChannel),
		"path", q.path, "method", q.method)
	if !q.call {
		k.answer(hs)
		return
	}
	k.h2.Refuse(hs, 200, statusUnimplemented, "")
}

// encodings are those of the two directions of a stream, as its request or response has them.
type encodings struct {
	in, out compress.Encoding
	asked   bool // the peer has said which it accepts
}

// encodings returns those of a request, or one that is not taken. Rules: P-tr-4, P-comp-1.
func (k *socket) encodings(r *h2.Request) (z encodings, unknown string) {
	plain := k.group.opt.Plain
	enc, _ := r.Field("grpc-encoding")
	var ok bool
	if z.in, ok = compress.Named(enc); !ok || plain && z.in != compress.None {
		return encodings{}, cut(enc)
	}
	if accept, _ := r.Field("grpc-accept-encoding"); len(accept) > 0 && !plain {
		z.asked, z.out = true, compress.Choose(accept)
	}
	return z, ""
}

// refuseEncoding refuses a request whose content is compressed with something that is not taken.
func (k *socket) refuseEncoding(hs *h2.Stream, unknown string) {
	accepted := compress.AcceptEncoding
	if k.group.opt.Plain {
		accepted = compress.None.String()
	}
	k.refuse(FaultCompressed, nil, "encoding", unknown)
	k.h2.Refuse(hs, 200, statusUnimplemented, "content is compressed with "+unknown+"; accepted are "+accepted,
		h2.Field{Name: "grpc-accept-encoding", Value: accepted})
}

// fields are what the answer says: nothing to a peer that has not asked. Rules: P-comp-2.
func (z *encodings) fields() (f []h2.Field) {
	if z.asked {
		f = append(f, h2.Field{Name: "grpc-accept-encoding", Value: compress.AcceptEncoding})
	}
	if z.out != compress.None {
		f = append(f, h2.Field{Name: "grpc-encoding", Value: z.out.String()})
	}
	return f
}

// facing returns s as its receiver sees it, whose messages leave compressed.
func (s *stream) facing(out compress.Encoding) Stream {
	if out == compress.None {
		return s
	}
	return &packedStream{stream: s, worth: worth{encoding: out}}
}

// expand has messages taken that are compressed, unless in is None.
func (s *stream) expand(in compress.Encoding) {
	if in == compress.None {
		return
	}
	r := s.receiver
	s.receiver = &expander{Receiver: r, stream: s, carrier: &s.sock.carrier, encoding: in, failed: func(f Fault, _ error) { r.Broken(f) }}
	s.sock.h2.TakeCompressed(s.h2)
}

// Compressed implements h2.CompressedEvents.
func (e *events) Compressed(hs *h2.Stream, p []byte, lent bool) {
	s, ok := hs.User.(*stream)
	if !ok {
		e.early(hs, p, true)
		return
	}
	var b *pool.Buf
	if lent {
		b, s.gather = s.gather, nil
		b.B = p
		defer b.Release()
	}
	s.receiver.(*expander).compressed(p, b, hs.MaxMessage())
}

// cut keeps text of a peer, for logs and answers, within a bound.
func cut(b []byte) string { return string(b[:min(len(b), maxPeerText)]) }

// maxPeerText is how much of a peer's text is kept, in bytes.
const maxPeerText = 256

// promptAgents begin the user agents of clients that turn Nagle's algorithm off.
var promptAgents = []string{"grpc-go/", "slimgo/", "slim-bench/"}

// prompt reports whether a client with this user agent sends what it has without waiting for an acknowledgement. Others
// may, too: a client that is not known to is acknowledged at once. To one that is, it would cost a seventh of the CPU
// of a small exchange, for an acknowledgement that would have ridden on the answer.
func prompt(userAgent string) bool {
	return slices.ContainsFunc(promptAgents, func(p string) bool { return strings.HasPrefix(userAgent, p) })
}

// Grow implements h2.Events.
func (e *events) Grow(hs *h2.Stream, have []byte, n int) []byte {
	s, ok := hs.User.(*stream)
	if !ok {
		return append(make([]byte, 0, n), have...)
	}
	k := (*socket)(e)
	k.count()
	b := k.lend(n, have, s.gather)
	if b == nil {
		return nil
	}
	s.dropGather()
	s.gather = b
	return b.B
}

// Message implements h2.Events.
func (e *events) Message(hs *h2.Stream, p []byte, lent bool) {
	s, ok := hs.User.(*stream)
	if !ok {
		e.early(hs, p, false)
		return
	}
	if lent {
		s.receiveGathered(p)
		return
	}
	s.receiver.Receive(p, nil)
}

// early takes a message of a stream that is none yet, or no more.
func (e *events) early(hs *h2.Stream, p []byte, packed bool) {
	if w, ok := hs.User.(*waiting); ok {
		w.keep(p, packed)
	}
}

// receiveGathered passes on p, which is in the memory that Grow has lent.
func (s *stream) receiveGathered(p []byte) {
	b := s.gather
	s.gather = nil
	b.B = p
	defer b.Release()
	s.receiver.Receive(p, b)
}

// Ended implements h2.Events: the peer sends nothing more on the stream, or what it sends is no gRPC.
func (e *events) Ended(hs *h2.Stream, end *h2.End) {
	s, ok := hs.User.(*stream)
	if !ok {
		e.endedEarly(hs, end)
		return
	}
	s.dropGather() // the stream may live on for a while
	(*socket)(e).forgetOffer()
	switch end.Kind {
	case h2.KindBroken:
		s.receiver.Broken(brokenBy(end))
	case h2.KindUnfinished:
		f := FaultUnfinished
		if e.starved {
			f = FaultMemory
		}
		s.receiver.Broken(f)
	case h2.KindReset:
		e.peer.End = "the stream was reset"
		s.close()
	case h2.KindFault:
		e.peer.End = FaultProtocol.String()
		s.close()
	case h2.KindConn: // Closed has said why
		s.close()
	case h2.KindTrailers, h2.KindHalfClosed, h2.KindGoAway:
		k := (*socket)(e)
		if k.call == nil { // half-closed: what is queued for it still goes out
			k.peer.End = "the peer ended the stream"
			s.receiver.PeerFinished()
			return
		}
		k.hear(end.GRPCStatus, endText(end)) // nothing is read any more
		if x, ok := s.receiver.(*expander); ok && x.lastly(s.closeLate) {
			s.over, k.last = true, true
			return
		}
		s.close()
	}
}

// endedEarly is Ended of a stream that is none yet, or no more.
func (e *events) endedEarly(hs *h2.Stream, end *h2.End) {
	w, ok := hs.User.(*waiting)
	if !ok {
		return
	}
	switch end.Kind {
	case h2.KindReset, h2.KindFault, h2.KindConn:
		w.abandon()
	default: // it may still be answered
		x := *end
		w.end = &x
	}
}

// brokenBy says why what the peer sends cannot be read as messages any more.
func brokenBy(end *h2.End) Fault {
	switch {
	case end.Cut:
		return FaultUnfinished
	case end.GRPCStatus == statusOutOfRange:
		return FaultTooLarge
	}
	return FaultCompressed // a flag without an encoding, or one that there is not
}

// Writable implements h2.Events.
func (e *events) Writable(hs *h2.Stream) {
	switch u := hs.User.(type) {
	case *stream:
		if u.uptake.updates.saw(hs.OwnWindow(), u.given, e.group.batch) {
			u.uptake.share.returned = e.group.now
		}
		u.receiver.Writable()
	case *page:
		(*socket)(e).writePage(u)
	}
}

// Closed implements h2.Events: the last event of a stream.
func (e *events) Closed(hs *h2.Stream) {
	k := (*socket)(e)
	s, ok := hs.User.(*stream)
	if !ok {
		if w, waits := hs.User.(*waiting); waits {
			w.abandon()
		}
		k.h2.Recycle(hs)
		return
	}
	if k.last && !s.closed { // until closeLate
		s.h2 = &ended
		k.h2.Recycle(hs)
		return
	}
	k.remove(s)
	k.h2.Recycle(hs)
	k.leave()
	k.checkFinished(k)
}

// remove closes a stream that the engine has forgotten.
func (k *socket) remove(s *stream) {
	k.streams = slices.DeleteFunc(k.streams, func(x *stream) bool { return x == s })
	k.peer.Streams = len(k.streams)
	s.close()
}

// closeLate closes the stream of a call that its peer had ended before what came last was expanded.
func (s *stream) closeLate() {
	k := s.sock
	k.last = false
	if s.h2 == &ended {
		k.remove(s)
		k.leave()
	} else { // the engine tells of its end
		s.close()
	}
	k.checkFinished(k)
}

// Pong implements h2.Events.
func (e *events) Pong() { e.live.answered() }

// GoAway implements h2.Events: the peer opens no more streams; those that live go on.
func (e *events) GoAway(uint32, h2.ErrCode, []byte) {}

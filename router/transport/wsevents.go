package transport

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
	"github.com/seed31b3bfd0/slimgo/wire/ws"
)

// wsEvents is a WebSocket as its engine sees it.
type wsEvents webSocket

var _ ws.Events = (*wsEvents)(nil)

// Request implements ws.Events. Of the query nothing is kept or logged: it may hold a token.
func (e *wsEvents) Request(r *ws.Request) {
	k := (*webSocket)(e)
	k.peer.Agent = cut(r.Agent)
	q := upgrade{opens: r.Opens(), here: string(r.Path) == k.path, deflates: r.Deflates() && !k.group.opt.Plain}
	if !q.here {
		q.path, q.method = cut(r.Path), cut(r.Method)
	}
	q.origin = cut(r.Origin)
	q.stranger = len(r.Origin) > 0 && !k.limits.allow(r.Origin)
	if p, ok := r.Field("sec-websocket-protocol"); ok {
		q.protocol = strconv.Quote(cut(p))
	}
	if k.guard() != nil && !k.finishing() {
		k.judgeUpgrade(r, &q)
		return
	}
	k.route(&q)
}

// upgrade is what a request for a WebSocket asks for. Nothing of it is borrowed.
type upgrade struct {
	opens, here  bool   // it can open one; it is for the path of the endpoint
	stranger     bool   // it comes from a page of an origin that is not allowed
	deflates     bool   // messages are compressed
	path, method string // unless here
	origin       string // "": it is no page
	protocol     string // that was asked for, quoted; "": none was
}

// route opens what a request asks for, or refuses it.
func (k *webSocket) route(q *upgrade) {
	switch {
	case k.finishing():
		_ = k.ws.Refuse(503, k.endOf())
		k.counted = true
		return
	case !q.opens:
		if !q.here {
			k.peer.Advice = "this endpoint has the path " + k.path
			k.refuse(FaultPath, fmt.Errorf("%s %s is asked for, but the path of this endpoint is %s", q.method, q.path, k.path),
				"path", q.path, "method", q.method)
			k.counted = true
		}
		_, _ = k.ws.Accept()
		return
	case q.stranger:
		k.peer.Advice = "if pages of that origin may connect, add it to allowed_origins"
		k.refuse(FaultHandshake, errOrigin, "origin", q.origin)
		k.counted = true
		_ = k.ws.Refuse(403, "pages of this origin may not connect")
		return
	}
	if q.protocol != "" {
		k.peer.Advice = "the subprotocol " + q.protocol + " was asked for, and none is spoken here: clients such as " +
			"browsers leave then, so ask for none"
	}
	s := (*webSocketStream)(k)
	face := Stream(s)
	if q.deflates {
		face = &packedWebSocket{webSocketStream: s, worth: worth{encoding: compress.Deflate}}
	}
	receiver := k.group.acceptor.Accept(face)
	if receiver == nil {
		k.refuse(FaultConnections, nil)
		k.counted = true
		_ = k.ws.Refuse(503, k.group.opt.TooMany)
		return
	}
	k.net.QuickAck = !prompt(k.peer.Agent)
	if k.receiver = receiver; q.deflates {
		k.receiver = &expander{Receiver: receiver, stream: s, carrier: &k.carrier, encoding: compress.Deflate, failed: k.unexpanded}
	}
	k.live.accepting = true
	k.peer.Streams = 1
	_, _ = k.ws.Accept()
	if k.net.Muted() {
		k.receiver.Muted()
	}
}

var errOrigin = errors.New("its origin is not among allowed_origins")

// allow reports whether a page of an origin may connect.
func (l *Limits) allow(origin []byte) bool {
	return l.Origins == nil || slices.ContainsFunc(l.Origins, func(o string) bool { return strings.EqualFold(o, string(origin)) })
}

// Response implements ws.Events: the peer accepts the WebSocket that we have asked for.
func (e *wsEvents) Response(*ws.Response) {
	(*webSocket)(e).upgrade()
}

// Message implements ws.Events.
func (e *wsEvents) Message(kind ws.Kind, msg []byte, lent bool) {
	if kind&ws.Deflated != 0 {
		e.deflated(msg, lent)
		return
	}
	if !lent {
		if !e.closed {
			e.receiver.Receive(msg, nil)
		}
		return
	}
	b := e.gather
	e.gather = nil
	b.B = msg
	defer b.Release()
	if !e.closed {
		e.receiver.Receive(msg, b)
	}
}

// deflated is Message for one that is compressed.
func (e *wsEvents) deflated(msg []byte, lent bool) {
	var b *pool.Buf
	if lent {
		b, e.gather = e.gather, nil
		b.B = msg
		defer b.Release()
	}
	if !e.closed {
		e.receiver.(*expander).compressed(msg, b, e.ws.MaxMessage())
	}
}

// unexpanded ends the connection because of a message that does not expand.
func (k *webSocket) unexpanded(f Fault, err error) {
	code := ws.InvalidPayload
	if f == FaultExpanded {
		code = ws.TooBig
	}
	k.ws.Fail(code, err.Error())
	k.why = f.String()
	k.receiver.(*expander).Receiver.Broken(f)
	k.counted = true
	k.fail(err)
}

// Grow implements ws.Events.
func (e *wsEvents) Grow(have []byte, n int) []byte {
	k := (*webSocket)(e)
	k.count()
	b := k.lend(n, have, k.gather)
	if b == nil {
		return nil
	}
	k.dropGather()
	k.gather = b
	return b.B
}

// Pong implements ws.Events: as good as any other byte.
func (e *wsEvents) Pong([]byte) {}

// Ended implements ws.Events: the peer's Close. Ours follows what is queued for it.
func (e *wsEvents) Ended(end *ws.End) {
	k := (*webSocket)(e)
	k.dropGather()
	if k.call != nil {
		k.hungUp(end)
		return
	}
	if k.why == "" {
		k.peer.End = closeText(end)
	}
	k.finishPeer()
}

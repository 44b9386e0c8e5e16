package uplink

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
	"github.com/seed31b3bfd0/slimgo/wire/ws"
)

// webSocket is the framing of WebSocket: each message is a binary one (P-ws-1).
type webSocket struct {
	ws     ws.Conn
	up     ws.Upgrade
	window int // bytes of messages that may wait for the app; then nothing is read
	ahead  int // bytes that do, prefixes included
	ticks  int64
	in     *arrivals // while feed runs
	gather *pool.Buf // a message that spans reads; nil: none
	last   []byte    // our Close, when everything ends
	expanding

	// put
	prefix [prefixLen]byte // of the message that is next
	have   int             // bytes of it
	left   int             // bytes to come of the message whose frame has begun
}

// newWebSocket prepares a channel with filled options; path is that of the request, with its query.
func newWebSocket(o *Options, path string) *webSocket {
	w := &webSocket{window: o.Window, up: ws.Upgrade{Host: o.Authority, Path: path, Origin: o.Origin, Agent: o.UserAgent}}
	for _, f := range o.Fields {
		w.up.Fields = append(w.up.Fields, ws.Field{Name: f.Name, Value: f.Value})
	}
	set := &ws.Settings{Deflate: o.Compression != compress.None}
	_, _ = rand.Read(set.Seed[:]) // never fails, by its documentation
	w.ws.Init(ws.Client, set)
	return w
}

func (w *webSocket) open() error {
	err := w.ws.Upgrade(&w.up)
	w.up = ws.Upgrade{} // credentials may be in it
	return err
}

func (w *webSocket) feed(p []byte, in *arrivals) error {
	w.in = in
	err := w.ws.Feed(p, (*webSocketEvents)(w))
	in.room = w.ws.Open()
	w.in = nil
	if err != nil {
		w.drop()
	}
	return err
}

func (w *webSocket) control(dst []byte) []byte {
	if w.left > 0 { // not into a frame
		return dst
	}
	dst = append(append(dst, w.ws.Control()...), w.last...)
	w.ws.ControlDone()
	w.last = nil
	return dst
}

// put implements framing. There is no window: all is taken as soon as the channel is open.
func (w *webSocket) put(dst, b []byte) (out, rest []byte) {
	if !w.ws.Open() {
		return dst, b
	}
	for len(b) > 0 {
		if w.left == 0 {
			n := copy(w.prefix[w.have:], b)
			b = b[n:]
			if w.have += n; w.have < prefixLen {
				break
			}
			w.have = 0
			dst = w.control(dst)
			w.left = int(w.prefix[1])<<24 | int(w.prefix[2])<<16 | int(w.prefix[3])<<8 | int(w.prefix[4])
			if w.prefix[0] == 0 {
				dst, _ = w.ws.Message(dst, w.left)
			} else {
				dst, _ = w.ws.Compressed(dst, ws.Binary, w.left)
			}
		}
		n := min(len(b), w.left)
		at := len(dst)
		dst = append(dst, b[:n]...)
		w.ws.Mask(dst[at:])
		w.left -= n
		b = b[n:]
	}
	return dst, nil
}

func (w *webSocket) cut() {}

func (w *webSocket) finish(dst []byte) []byte { return w.ws.Close(dst, ws.NormalClosure, "") }

func (w *webSocket) taken(n int) { w.ahead -= n }

func (w *webSocket) full() bool { return w.ahead > w.window }

func (w *webSocket) ping() { w.ws.Ping(nil) }

func (w *webSocket) minute() {
	w.ticks++
	w.ws.Tick(w.ticks)
	w.ws.Relax(relaxed)
}

func (w *webSocket) inputEnded() error {
	var e *ws.HandshakeError
	if err := w.ws.InputEnded(); errors.As(err, &e) && e.Status != 0 {
		return e
	}
	return nil
}

func (w *webSocket) close() {
	w.left = 0 // of a frame that nobody writes
	w.last = w.ws.Close(w.last, ws.NoCode, "")
	_ = w.ws.InputEnded()
	w.drop()
}

// drop lets go of a message that does not become complete.
func (w *webSocket) drop() {
	if w.gather != nil {
		w.gather.Release()
		w.gather = nil
	}
}

// webSocketEvents is the engine's view of webSocket.
type webSocketEvents webSocket

func (e *webSocketEvents) Request(*ws.Request) {}

func (e *webSocketEvents) Response(*ws.Response) {
	if e.in.opened = true; e.ws.Deflates() {
		e.in.packs = compress.Deflate
	}
}

func (e *webSocketEvents) Message(kind ws.Kind, msg []byte, lent bool) {
	if kind&ws.Deflated != 0 {
		e.deflated(msg, lent)
		return
	}
	e.ahead += len(msg) + prefixLen // until the app has taken it
	a := arrival{b: msg}
	if lent {
		a.buf, e.gather = e.gather, nil
	}
	e.in.msgs = append(e.in.msgs, a)
}

// deflated is Message for one that is compressed.
func (e *webSocketEvents) deflated(msg []byte, lent bool) {
	if lent {
		defer (*webSocket)(e).drop()
	}
	if e.in.ended {
		return
	}
	a, err := e.expand(compress.Deflate, msg)
	if err != nil {
		e.in.ended, e.in.end = true, err
		return
	}
	e.ahead += len(a.b) + prefixLen
	e.in.msgs = append(e.in.msgs, a)
}

func (e *webSocketEvents) Grow(have []byte, n int) []byte {
	b := pool.Get(n)
	b.B = append(b.B, have...)
	(*webSocket)(e).drop()
	e.gather = b
	return b.B
}

func (e *webSocketEvents) Pong([]byte) {} // as good as any other byte

func (e *webSocketEvents) Ended(end *ws.End) {
	(*webSocket)(e).drop()
	e.in.ended = true
	switch end.Code {
	case ws.NormalClosure, ws.GoingAway, ws.NoStatus:
	default:
		e.in.end = &CloseError{Code: end.Code, Reason: end.Reason}
	}
}

// CloseError is the Close with which a node ended a WebSocket for a reason.
type CloseError struct {
	Code   ws.Code
	Reason string // the node's; may be empty
}

// Error implements error.
func (e *CloseError) Error() string {
	s := fmt.Sprintf("the node closed the channel with code %d (%v)", uint16(e.Code), e.Code)
	if e.Reason != "" {
		s += fmt.Sprintf(": %q", e.Reason)
	}
	return s
}

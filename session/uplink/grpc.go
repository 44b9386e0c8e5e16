package uplink

import (
	"fmt"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// openChannel is the only method of the service (P-tr-1).
const openChannel = "/dataplane.proto.v1.DataPlaneService/OpenChannel"

// relaxed is how much of its flood budget a node gets back in a minute, in HTTP/2 frames that carry nothing: a
// keepalive PING a minute would add up otherwise.
const relaxed = 600

// grpc is the framing of gRPC over HTTP/2: one OpenChannel stream on a connection of its own.
type grpc struct {
	h2     h2.Conn
	stream *h2.Stream
	fields []h2.Field
	ticks  int64
	in     *arrivals // while feed runs
	gather *pool.Buf // a message that spans reads; nil: none
	opened bool
	want   compress.Encoding // None: the node is not asked
	uses   bool              // the stream uses it; else it only accepts it
	packed compress.Encoding // how the node compresses
	expanding
	leave string // what the node said with its GOAWAY
}

// newGRPC prepares a channel with filled options.
func newGRPC(o *Options) *grpc {
	g := &grpc{want: o.Compression, fields: []h2.Field{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: o.Scheme}, {Name: ":authority", Value: o.Authority},
		{Name: ":path", Value: openChannel}, {Name: "te", Value: "trailers"},
		{Name: "content-type", Value: "application/grpc"}, {Name: "user-agent", Value: o.UserAgent}}}
	for _, f := range o.Fields {
		g.fields = append(g.fields, h2.Field{Name: f.Name, Value: f.Value})
	}
	g.h2.Init(h2.Client, &h2.Settings{InitialWindow: uint32(o.Window), ConnWindow: uint32(max(o.Window, connWindow)),
		MaxMessage: MaxMessage})
	return g
}

func (g *grpc) open() (err error) {
	fields := g.fields
	if g.want != compress.None {
		fields = append(fields[:len(fields):len(fields)], h2.Field{Name: "grpc-accept-encoding", Value: g.want.String() + ",identity"})
		if g.uses {
			fields = append(fields, h2.Field{Name: "grpc-encoding", Value: g.want.String()})
		}
	}
	g.stream, err = g.h2.Open(fields)
	if g.want == compress.None {
		g.fields = nil // credentials may be among them
	}
	return err
}

func (g *grpc) feed(p []byte, in *arrivals) error {
	g.in = in
	err := g.h2.Feed(p, (*grpcEvents)(g))
	in.room = g.stream.Window() > 0
	g.in = nil
	return err
}

func (g *grpc) control(dst []byte) []byte {
	if ctl := g.h2.Control(); len(ctl) > 0 {
		g.h2.Cut()
		dst = append(dst, ctl...)
		g.h2.ControlDone()
	}
	return dst
}

func (g *grpc) put(dst, b []byte) (out, rest []byte) {
	dst = g.control(dst) // goes before DATA: that is the order of the wire
	if g.want != compress.None && !g.opened {
		return dst, b // on which stream is not known yet
	}
	for len(b) > 0 {
		var k int
		if dst, k = g.h2.Data(dst, g.stream, len(b)); k == 0 {
			break
		}
		dst = append(dst, b[:k]...)
		b = b[k:]
	}
	return dst, b
}

func (g *grpc) cut() { g.h2.Cut() }

func (g *grpc) finish(dst []byte) []byte { return g.h2.HalfClose(g.control(dst), g.stream) }

func (g *grpc) taken(n int) { g.h2.Hold(g.stream, -n) }

func (g *grpc) full() bool { return false }

func (g *grpc) inputEnded() error { return nil }

func (g *grpc) ping() { g.h2.Ping() }

func (g *grpc) minute() {
	g.ticks++
	g.h2.Tick(g.ticks) // memory that a burst has left behind
	g.h2.Relax(relaxed)
}

func (g *grpc) close() {
	var in arrivals // nobody asks any more
	g.in = &in
	g.h2.Close((*grpcEvents)(g))
	g.in = nil
}

// grpcEvents is the engine's view of grpc.
type grpcEvents grpc

func (e *grpcEvents) Request(*h2.Stream, *h2.Request) {}

func (e *grpcEvents) Response(_ *h2.Stream, r *h2.Response) {
	switch {
	case r.Status != 200: // whatever its body says
		e.in.ended, e.in.end = true, &StatusError{HTTP: r.Status, GRPC: r.GRPCStatus, Message: cut(r.Message)}
	case !r.EndStream:
		e.answered(r)
	}
}

// answered takes the answer that opens the channel. If the node accepts what we want, another stream takes the place of
// this one, before anything was said: P-comp-2.
func (e *grpcEvents) answered(r *h2.Response) {
	enc, _ := r.Field("grpc-encoding")
	packed, ok := compress.Named(enc)
	if !ok || packed != compress.None && packed != e.want {
		e.in.ended, e.in.end = true, fmt.Errorf("the node compresses with %q, which was not asked for", cut(string(enc)))
		return
	}
	accept, _ := r.Field("grpc-accept-encoding")
	if e.want != compress.None && !e.uses && compress.Offered(accept, e.want) {
		e.uses = true
		e.h2.Reset(e.stream, h2.Cancel)
		if err := (*grpc)(e).open(); err != nil {
			e.in.ended, e.in.end = true, err
		}
		return
	}
	e.fields = nil // credentials may be among them
	if e.packed = packed; packed != compress.None {
		e.h2.TakeCompressed(e.stream)
	}
	if e.opened, e.in.opened = true, true; e.uses {
		e.in.packs = e.want
	}
}

// Compressed implements h2.CompressedEvents.
func (e *grpcEvents) Compressed(s *h2.Stream, msg []byte, lent bool) {
	if lent {
		defer e.drop()
	}
	if e.in.ended {
		return
	}
	a, err := e.expand(e.packed, msg)
	if err != nil {
		e.in.ended, e.in.end = true, err
		return
	}
	e.h2.Hold(s, len(a.b)+prefixLen) // until the app has taken it
	e.in.msgs = append(e.in.msgs, a)
}

func (e *grpcEvents) Message(s *h2.Stream, msg []byte, lent bool) {
	if !e.opened { // the body of a refusal
		if lent {
			e.drop()
		}
		return
	}
	e.h2.Hold(s, len(msg)+prefixLen) // until the app has taken it
	a := arrival{b: msg}
	if lent {
		a.buf, e.gather = e.gather, nil
	}
	e.in.msgs = append(e.in.msgs, a)
}

func (e *grpcEvents) Grow(_ *h2.Stream, have []byte, n int) []byte {
	b := pool.Get(n)
	b.B = append(b.B, have...)
	e.drop()
	e.gather = b
	return b.B
}

// drop lets go of a message that does not become complete.
func (e *grpcEvents) drop() {
	if e.gather != nil {
		e.gather.Release()
		e.gather = nil
	}
}

func (e *grpcEvents) Ended(_ *h2.Stream, end *h2.End) {
	if e.in.ended {
		return
	}
	e.in.ended = true
	switch {
	case end.Kind == h2.KindHalfClosed && e.opened, end.Kind == h2.KindTrailers && end.GRPCStatus == 0 && e.opened:
	case end.Kind == h2.KindTrailers, end.Kind == h2.KindHalfClosed:
		e.in.end = &StatusError{HTTP: end.HTTPStatus, GRPC: end.GRPCStatus, Message: cut(end.Message)}
	case end.Kind == h2.KindReset:
		e.in.end = fmt.Errorf("the node reset the channel: %v", end.Code)
	case end.Kind == h2.KindGoAway:
		e.in.end = fmt.Errorf("the node is going away: %s", e.leave)
	default:
		e.in.end = fmt.Errorf("the node's channel is broken: %q", cut(end.Message))
	}
}

func (e *grpcEvents) Writable(*h2.Stream) {} // feed looks itself
func (e *grpcEvents) Closed(*h2.Stream)   { e.drop() }
func (e *grpcEvents) Pong()               {} // as good as any other byte

func (e *grpcEvents) GoAway(_ uint32, code h2.ErrCode, debug []byte) {
	e.leave = fmt.Sprintf("%v %q", code, debug)
}

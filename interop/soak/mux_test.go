//go:build interop

package soak

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
	"github.com/seed31b3bfd0/slimgo/wire/link"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// mux is one socket with many streams, each a connection of its own: what uplink does not make, because no app needs
// it. One goroutine uses it. It reads only when told to, and never answers messages.
type mux struct {
	nc      *net.TCPConn
	h2      h2.Conn
	streams []*muxStream
	out     []byte
	buf     []byte
	err     error
}

// muxStream is one connection of a mux.
type muxStream struct {
	s       *h2.Stream
	machine *link.Machine
	linkID  string
	mac     *mac.MAC // nil: not negotiated, or a peer, whose messages are not signed
	linked  bool
	ended   bool
	got     int // messages since the negotiation
}

const roundTrip = 20 * time.Second // for the node to answer under attack

// mux opens a socket. window is what each stream announces, in bytes; 0: 1 MiB.
func (c *child) mux(ctx context.Context, window uint32) (*mux, error) {
	nc, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	m := &mux{nc: nc, buf: make([]byte, 64<<10)}
	m.h2.Init(h2.Client, &h2.Settings{InitialWindow: window, ConnWindow: 1 << 20, MaxMessage: uplink.MaxMessage})
	return m, nil
}

func (m *mux) close() {
	m.nc.Close()
	for _, s := range m.streams {
		if s.mac != nil {
			s.mac.Close()
		}
		if s.machine != nil {
			s.machine.Close()
		}
	}
}

// requestFields are those of OpenChannel.
var requestFields = []h2.Field{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "soak"},
	{Name: ":path", Value: "/dataplane.proto.v1.DataPlaneService/OpenChannel"}, {Name: "te", Value: "trailers"},
	{Name: "content-type", Value: "application/grpc"}}

// open opens a stream without a word about its link.
func (m *mux) open() (*muxStream, error) {
	s, err := m.h2.Open(requestFields)
	if err != nil {
		return nil, err
	}
	x := &muxStream{s: s}
	s.User = x
	m.streams = append(m.streams, x)
	return x, nil
}

// ask sends the request for a link of a kind on x.
func (m *mux) ask(x *muxStream, kind wire.LinkKind, nodeID string) error {
	x.linkID = fmt.Sprintf("%s-%p", nodeID, x)
	x.machine = link.New(&link.Config{Role: link.Dialer, LinkID: x.linkID, Kind: kind, Version: uplink.Version, NodeID: nodeID})
	req, err := x.machine.Start(nil)
	if err != nil {
		return err
	}
	return m.put(x, req)
}

// put writes a message on x as far as windows allow, which is all of a small one.
func (m *mux) put(x *muxStream, msg []byte) error {
	m.stage(x, binary.BigEndian.AppendUint32([]byte{0}, uint32(len(msg))))
	m.stage(x, msg)
	return m.flush()
}

// stage adds bytes of messages to what flush writes, as far as windows allow, and returns how many.
func (m *mux) stage(x *muxStream, b []byte) int {
	n := 0
	m.control()
	for len(b) > 0 {
		var k int
		if m.out, k = m.h2.Data(m.out, x.s, len(b)); k == 0 {
			break
		}
		m.out = append(m.out, b[:k]...)
		b, n = b[k:], n+k
	}
	return n
}

func (m *mux) control() {
	if ctl := m.h2.Control(); len(ctl) > 0 {
		m.h2.Cut()
		m.out = append(m.out, ctl...)
		m.h2.ControlDone()
	}
}

// raw adds frames that the engine does not know of.
func (m *mux) raw(frames []byte) {
	m.control()
	m.h2.Cut()
	m.out = append(m.out, frames...)
}

func (m *mux) flush() error {
	m.control()
	m.h2.Cut()
	if len(m.out) == 0 {
		return nil
	}
	_ = m.nc.SetWriteDeadline(time.Now().Add(roundTrip))
	_, err := m.nc.Write(m.out)
	m.out = m.out[:0]
	return err
}

// read feeds what comes within d, and answers nothing but what HTTP/2 wants answered. A timeout is no error.
func (m *mux) read(d time.Duration) error {
	_ = m.nc.SetReadDeadline(time.Now().Add(d))
	n, err := m.nc.Read(m.buf)
	if n > 0 {
		if broken := m.h2.Feed(m.buf[:n], (*muxEvents)(m)); broken != nil {
			return broken
		}
		if m.err != nil {
			return m.err
		}
		return m.flush()
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return nil
	}
	return err
}

// negotiate opens streams with links of a kind, and waits until the node has answered all.
func (m *mux) negotiate(ctx context.Context, c *child, n int, kind wire.LinkKind, nodeID string) error {
	begin := len(m.streams)
	for range n {
		x, err := m.open()
		if err == nil {
			err = m.ask(x, kind, nodeID)
		}
		if err != nil {
			return err
		}
	}
	c.requested(n)
	for guard := time.Now().Add(roundTrip); c.pay(ctx); {
		waiting := false
		for _, x := range m.streams[begin:] {
			waiting = waiting || !x.linked && !x.ended
		}
		if !waiting {
			return nil
		}
		if time.Now().After(guard) {
			return context.DeadlineExceeded
		}
		if err := m.read(time.Second); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// signed returns a message with the header MAC of x, made by encode.
func (x *muxStream) signed(h wire.PublishHeader, encode func(h *wire.PublishHeader) []byte) []byte {
	h.MAC = nil
	if x.mac != nil {
		h.MAC = tagOf(x.mac, x.linkID, &h)
	}
	return encode(&h)
}

// tagOf returns the MAC of a header.
func tagOf(m *mac.MAC, linkID string, h *wire.PublishHeader) []byte {
	var s wire.Message
	var hd wire.Header
	bare := wire.AppendSubscribe(nil, h, 0)
	if err := wire.Scan(bare, &s); err != nil {
		return nil // what we encode decodes
	}
	head := s.Header.Of(bare)
	if err := wire.ParseHeader(head, &hd); err != nil {
		return nil // likewise
	}
	var names mac.Names
	var tag [wire.MACSize]byte
	m.Names(&names, mac.AppendNames(nil, linkID, head, &hd))
	m.Tag(&tag, &names, mac.AppendRest(nil, head, &hd, hd.TTL, true))
	return tag[:]
}

// muxEvents is the engine's view of a mux.
type muxEvents mux

func (e *muxEvents) Request(*h2.Stream, *h2.Request)   {}
func (e *muxEvents) Response(*h2.Stream, *h2.Response) {}
func (e *muxEvents) Writable(*h2.Stream)               {}
func (e *muxEvents) Closed(*h2.Stream)                 {}
func (e *muxEvents) Pong()                             {}

func (e *muxEvents) Message(s *h2.Stream, msg []byte, _ bool) {
	x, _ := s.User.(*muxStream)
	if x == nil || x.linked || x.machine == nil {
		if x != nil {
			x.got++
		}
		return
	}
	if _, err := x.machine.Step(nil, msg); err != nil {
		x.ended = true
		return
	}
	r := x.machine.Result()
	x.linked = true
	if r.Key != nil && r.Kind != wire.LinkPeer {
		x.mac = mac.New(r.Key, r.LinkID)
	}
}

func (e *muxEvents) Grow(_ *h2.Stream, have []byte, n int) []byte {
	return append(make([]byte, 0, n), have...)
}

func (e *muxEvents) Ended(s *h2.Stream, end *h2.End) {
	if x, _ := s.User.(*muxStream); x != nil {
		x.ended = true
	}
	if end.Kind == h2.KindTrailers && end.GRPCStatus != 0 && e.err == nil {
		e.err = &uplink.StatusError{HTTP: 200, GRPC: end.GRPCStatus, Message: end.Message}
	}
}

func (e *muxEvents) GoAway(_ uint32, code h2.ErrCode, debug []byte) {
	if e.err == nil {
		e.err = fmt.Errorf("GOAWAY %v", code)
	}
}

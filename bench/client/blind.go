package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// Blind is the protocol of the relay in bench/relay: SLIM's messages byte for byte, but no negotiation and no names. A
// stream says in its request what it is for.
const Blind = "blind"

// Request fields of a blind stream. Exactly one of the first two stands in a request.
const (
	JoinField = "bench-join" // everything that is fed under this name comes out here
	FeedField = "bench-feed" // what goes in here comes out of the streams that joined
	AllField  = "bench-all"  // with FeedField, "1": each message comes out of all of them, not of one in turn
)

// BlindDialer opens connections to a relay.
type BlindDialer struct{}

// Protocol implements load.Dialer.
func (BlindDialer) Protocol() string { return Blind }

// Dial connects. Streams are opened by Subscribe and Publisher.
func (BlindDialer) Dial(ctx context.Context, addr string, o load.DialOptions) (load.Conn, error) {
	nc, err := Dialer{}.socket(ctx, addr)
	if err != nil {
		return nil, err
	}
	b, err := newBlind(nc, addr, o)
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("blind %s: %w", addr, err)
	}
	return b, nil
}

// blindConn is a Conn whose streams say themselves what they are for. It uses the socket, the writing and the reading of
// Conn, so that the generator costs the same with relay and node.
type blindConn struct {
	*Conn
	addr string
	one  sync.Once // the first stream starts the reader
}

func newBlind(nc net.Conn, addr string, o load.DialOptions) (*blindConn, error) {
	c, err := newConn(nc, o)
	if err != nil {
		return nil, err
	}
	c.machine.Close()
	c.machine, c.verified = nil, true
	c.key = make([]byte, 32) // nobody checks the MAC; computing it costs what it costs with a node
	c.linkID = "blind"
	return &blindConn{Conn: c, addr: addr}, nil
}

// open opens a stream and waits for the relay's answer, which comes when it takes part.
func (b *blindConn) open(ctx context.Context, fields ...h2.Field) (*h2.Stream, error) {
	c := b.Conn
	c.mu.Lock()
	answered := c.responses
	s, err := c.h2.Open(append([]h2.Field{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: b.addr},
		{Name: ":path", Value: path},
		{Name: "te", Value: "trailers"},
		{Name: "content-type", Value: "application/grpc"},
	}, fields...))
	if err != nil {
		c.mu.Unlock()
		return nil, err
	}
	c.takeControl()
	c.flush()
	c.mu.Unlock()
	b.one.Do(func() { go c.read() })
	c.mu.Lock()
	defer c.mu.Unlock()
	return s, c.wait(ctx, func() bool { return c.responses > answered })
}

// Subscribe implements load.Conn: a stream for each name.
func (b *blindConn) Subscribe(ctx context.Context, n, _ int, at func(int) load.Address) (int, error) {
	for i := range n {
		if _, err := b.open(ctx, h2.Field{Name: JoinField, Value: at(i).String()}); err != nil {
			return i, err
		}
	}
	return n, nil
}

var errBlindNames = errors.New("a relay has no names to withdraw")

// Unsubscribe implements load.Conn: it is an error.
func (b *blindConn) Unsubscribe(context.Context, int, int, func(int) load.Address) (int, error) {
	return 0, errBlindNames
}

// Publisher implements load.Conn: a stream for the one destination.
func (b *blindConn) Publisher(m load.Message) (load.Publisher, error) {
	if len(m.To) != 1 {
		return nil, fmt.Errorf("blind: %d destinations: want one", len(m.To))
	}
	fields := []h2.Field{{Name: FeedField, Value: m.To[0].String()}}
	if m.All {
		fields = append(fields, h2.Field{Name: AllField, Value: "1"})
	}
	ctx, cancel := context.WithTimeout(context.Background(), setupLimit)
	defer cancel()
	s, err := b.open(ctx, fields...)
	if err != nil {
		return nil, err
	}
	b.stream = s
	return b.publisher(m, mac.New(b.key, b.linkID), rand.NewPCG(uint64(m.Sender), uint64(load.Now())))
}

// Close implements load.Conn.
func (b *blindConn) Close() error {
	b.one.Do(func() { close(b.gone) }) // nothing ever read
	return b.Conn.Close()
}

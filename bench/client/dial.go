package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
	"github.com/seed31b3bfd0/slimgo/wire/link"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

const (
	path    = "/dataplane.proto.v1.DataPlaneService/OpenChannel"
	version = "3.4.6" // the release whose behaviour this client follows

	defaultReadBuffer = 64 << 10
	setupLimit        = 20 * time.Second

	// Windows of a Rust dialer, so that a node may run as far ahead as it may with a real app.
	streamWindow = 2 << 20
	connWindow   = 5 << 20
)

// Dialer opens edge connections to SLIM nodes.
type Dialer struct {
	// Net opens the socket; nil: TCP. Other transports come in here.
	Net func(ctx context.Context, addr string) (net.Conn, error)

	// Limit is how long a link may take to come about; 0: 20 s.
	Limit time.Duration
}

// Protocol implements load.Dialer.
func (Dialer) Protocol() string { return "slim" }

// Dial connects, opens the channel, negotiates the link and returns when headers can be signed.
func (d Dialer) Dial(ctx context.Context, addr string, o load.DialOptions) (load.Conn, error) {
	limit := d.Limit
	if limit == 0 {
		limit = setupLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	begun := time.Now()
	nc, err := d.socket(ctx, addr)
	if err != nil {
		return nil, err
	}
	c, err := newConn(nc, o)
	if err == nil {
		if err = c.open(ctx, addr); err != nil {
			_ = c.Close()
			<-c.gone
			err = c.explain(err, time.Since(begun))
		}
	}
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("slim %s: %w", addr, err)
	}
	return c, nil
}

func (d Dialer) socket(ctx context.Context, addr string) (net.Conn, error) {
	if d.Net != nil {
		return d.Net(ctx, addr)
	}
	var nd net.Dialer // TCP_NODELAY is on in Go
	nc, err := nd.DialContext(ctx, "tcp", addr)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%s: nobody listens there: start the node, or check the address (%w)", addr, err)
	}
	return nc, err
}

func newConn(nc net.Conn, o load.DialOptions) (*Conn, error) {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	c := &Conn{
		nc: load.NewSocket(nc), sink: o.Sink, throttle: load.NewThrottle(),
		ready: make(chan struct{}), closed: make(chan struct{}), gone: make(chan struct{}),
	}
	c.linkID = fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	c.changed.L = &c.mu
	c.machine = link.New(&link.Config{
		Role: link.Dialer, LinkID: c.linkID, Kind: wire.LinkEdge, Version: version, NodeID: "slim-bench",
		Strict: true, Rand: rand.Reader,
	})
	c.h2.Init(h2.Client, &h2.Settings{InitialWindow: streamWindow, ConnWindow: connWindow})
	if o.ReadBuffer == 0 {
		o.ReadBuffer = defaultReadBuffer
	}
	c.in = make([]byte, o.ReadBuffer)
	c.greeting = make([]byte, 0, greetingSize)
	return c, nil
}

// open sends the request and waits until the link is negotiated.
func (c *Conn) open(ctx context.Context, addr string) error {
	s, err := c.h2.Open([]h2.Field{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: addr},
		{Name: ":path", Value: path},
		{Name: "te", Value: "trailers"},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "user-agent", Value: "slim-bench/1"},
	})
	if err != nil {
		close(c.gone)
		return err
	}
	c.stream = s
	c.mu.Lock()
	c.takeControl()
	c.flush()
	c.mu.Unlock()
	go c.read()
	select {
	case <-c.ready:
		return nil
	case <-c.closed:
		return c.Err()
	case <-ctx.Done():
		return fmt.Errorf("no link within the time: %w", ctx.Err())
	}
}

// negotiated takes the peer's first message. mu is held.
func (c *Conn) negotiated(msg []byte) {
	_, err := c.machine.Step(nil, msg)
	if err != nil {
		c.fail(fmt.Errorf("negotiation: %w", err))
		return
	}
	r := c.machine.Result()
	if len(r.Key) == 0 {
		c.fail(errors.New("negotiation: the node gave no key"))
		return
	}
	c.key = append([]byte(nil), r.Key...)
	c.verifier = mac.New(c.key, c.linkID)
	c.machine.Close()
	c.machine = nil
	close(c.ready)
}

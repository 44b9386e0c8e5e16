package client

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

const (
	version   = uplink.Version // the release whose behaviour is measured for
	prefixLen = 5              // gRPC: flag, big-endian length

	setupLimit = 20 * time.Second
)

// Dialer opens edge connections to SLIM nodes.
type Dialer struct {
	// Net opens the socket; nil: TCP. Other transports come in here.
	Net func(ctx context.Context, addr string) (net.Conn, error)

	// Limit is how long a link may take to come about; 0: 20 s.
	Limit time.Duration
}

// Protocol implements load.Dialer.
func (Dialer) Protocol() string { return load.SLIM }

// Dial connects, opens the channel, negotiates the link and returns when headers can be signed.
func (d Dialer) Dial(ctx context.Context, addr string, o load.DialOptions) (load.Conn, error) {
	c := &Conn{sink: o.Sink}
	if err := d.dial(ctx, addr, c, uplink.Options{Handle: c.handle, Answer: c.answer, ReadBuffer: o.ReadBuffer}); err != nil {
		return nil, fmt.Errorf("slim %s: %w", addr, err)
	}
	return c, nil
}

// dial connects c.
func (d Dialer) dial(ctx context.Context, addr string, c *Conn, o uplink.Options) error {
	c.news = make(chan struct{}, 1)
	open := d.Net
	if open == nil {
		open = dialTCP
	}
	o.UserAgent, o.NodeID, o.Setup, o.Verify = "slim-bench/1", "slim-bench", setupLimit, uplink.VerifyFirst
	if d.Limit > 0 {
		o.Setup = d.Limit
	}
	o.DialContext = func(ctx context.Context, addr string) (net.Conn, error) {
		nc, err := open(ctx, addr)
		if err == nil {
			c.nc = &socket{Socket: load.NewSocket(nc)}
			nc = c.nc
		}
		return nc, err
	}
	begun := time.Now()
	var err error
	if c.Conn, err = uplink.Dial(ctx, addr, &o); err != nil {
		return explain(err, c.nc, time.Since(begun))
	}
	c.linkID = c.Link().ID
	return nil
}

// Conn is one connection, of the kind that apps have.
type Conn struct {
	*uplink.Conn
	nc     *socket
	sink   load.Sink // nil: what arrives is dropped
	linkID string

	news chan struct{} // holds one when answers may have come
	mu   sync.Mutex
	acks acks // guarded by mu
}

// handle hands on what one read has brought. Reader.
func (c *Conn) handle(msgs [][]byte) {
	if c.sink == nil {
		return
	}
	c.sink.Begin(c.nc.ReadAt)
	for _, msg := range msgs {
		c.sink.Deliver(msg)
	}
	c.sink.Flush()
}

// Close implements load.Conn: abrupt, as of an app that dies.
func (c *Conn) Close() error {
	c.Abort()
	return nil
}

// Pace implements load.Conn.
func (c *Conn) Pace(bytesPerSecond int) { c.nc.Pace(bytesPerSecond) }

// Waited returns how long sending has waited for windows and sockets, in nanoseconds.
func (c *Conn) Waited() int64 { return int64(c.Conn.Waited()) + c.nc.Waited() }

// Publisher implements load.Conn.
func (c *Conn) Publisher(m load.Message) (load.Publisher, error) {
	mac, err := c.newMAC()
	if err != nil {
		return nil, err
	}
	return c.publisher(m, mac)
}

// newMAC returns a MAC of the link.
func (c *Conn) newMAC() (*mac.MAC, error) {
	if m := c.NewMAC(); m != nil {
		return m, nil
	}
	return nil, c.Err()
}

package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

const (
	version   = uplink.Version // the release whose behaviour is measured for
	userAgent = "slim-bench/1"
	prefixLen = 5 // gRPC: flag, big-endian length

	setupLimit = 20 * time.Second
)

// Dialer opens edge connections to SLIM nodes, at addresses as uplink.Dial takes them.
type Dialer struct {
	// Net opens the socket; nil: the system's. Simulated networks come in here.
	Net func(ctx context.Context, addr string) (net.Conn, error)

	// TLS is for listeners that have it; nil: authorities of the system, no certificate.
	TLS *tls.Config

	// Limit is how long a link may take to come about; 0: 20 s.
	Limit time.Duration
}

// Protocol implements load.Dialer.
func (Dialer) Protocol() string { return load.SLIM }

// Dial connects, opens the channel, negotiates the link and returns when headers can be signed.
func (d Dialer) Dial(ctx context.Context, addr string, o load.DialOptions) (load.Conn, error) {
	c := &Conn{sink: o.Sink}
	if o.TLS != nil {
		d.TLS = o.TLS
	}
	if err := d.dial(ctx, addr, c, uplink.Options{Handle: c.handle, ReadBuffer: o.ReadBuffer}); err != nil {
		return nil, fmt.Errorf("slim %s: %w", addr, err)
	}
	return c, nil
}

// dial connects c.
func (d Dialer) dial(ctx context.Context, addr string, c *Conn, o uplink.Options) error {
	o.UserAgent, o.NodeID, o.Setup, o.Verify = cmp.Or(o.UserAgent, userAgent), "slim-bench", cmp.Or(d.Limit, setupLimit), uplink.VerifyFirst
	o.TLS = d.TLS
	if d.Net == nil {
		d.Net = uplink.DialSocket
	}
	o.DialContext = func(ctx context.Context, addr string) (net.Conn, error) {
		nc, err := d.Net(ctx, addr)
		if err != nil {
			return nil, err
		}
		c.socket = load.NewSocket(nc)
		return c.socket, nil
	}
	var err error
	if c.Conn, err = uplink.Dial(ctx, addr, &o); err != nil {
		return advised(err)
	}
	c.linkID = c.Link().ID
	return nil
}

// advised puts what to do before an error of a connection that did not come about.
func advised(err error) error {
	var e *uplink.Error
	if !errors.As(err, &e) || e.Advice() == "" {
		return err
	}
	flags := ""
	if unknown := new(tls.CertificateVerificationError); errors.As(err, &unknown) {
		flags = " (--ca FILE, --insecure)"
	}
	return fmt.Errorf("%s%s (%w)", e.Advice(), flags, e.Err)
}

// Conn is one connection, of the kind that apps have.
type Conn struct {
	*uplink.Conn
	socket *load.Socket
	sink   load.Sink // nil: what arrives is dropped
	linkID string
}

// handle hands on what one read has brought. Reader.
func (c *Conn) handle(msgs [][]byte) {
	if c.sink == nil {
		return
	}
	c.sink.Begin(c.socket.ReadAt)
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
func (c *Conn) Pace(bytesPerSecond int) { c.socket.Pace(bytesPerSecond) }

// Waited returns how long sending has waited for windows and sockets, in nanoseconds.
func (c *Conn) Waited() int64 { return int64(c.Conn.Waited()) + c.socket.Waited() }

// Publisher implements load.Conn.
func (c *Conn) Publisher(m load.Message) (load.Publisher, error) {
	if key := c.NewMAC(); key != nil {
		return newPublisher(c, m, key)
	}
	return nil, c.Err()
}

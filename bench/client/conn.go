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
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

const (
	version   = uplink.Version // the release whose behaviour is measured for
	userAgent = "slim-bench/1"
	prefixLen = 5 // gRPC: flag, big-endian length
)

// Dialer opens edge connections to SLIM nodes, at addresses as uplink.Dial takes them.
type Dialer struct {
	// Net opens the socket; nil: the system's. Simulated networks come in here.
	Net func(ctx context.Context, addr string) (net.Conn, error)

	// TLS is for listeners that have it; nil: authorities of the system, no certificate.
	TLS *tls.Config

	// Blind is for the relay in bench/relay.
	Blind bool

	// Limit is how long a link may take to come about; 0: 20 s.
	Limit time.Duration
}

const blindLink = "blind" // stands for the id of the link that there is not

// Protocol implements load.Dialer.
func (d Dialer) Protocol() string {
	if d.Blind {
		return load.Blind
	}
	return load.SLIM
}

// Dial connects, opens the channel, negotiates the link and returns when headers can be signed.
func (d Dialer) Dial(ctx context.Context, addr string, o load.DialOptions) (load.Conn, error) {
	c := &Conn{sink: o.Sink, blind: d.Blind, answered: make(chan struct{}, 1)}
	if d.Net == nil {
		d.Net = uplink.DialSocket
	}
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		nc, err := d.Net(ctx, addr)
		if err != nil {
			return nil, err
		}
		c.socket = load.NewSocket(nc)
		return c.socket, nil
	}
	var err error
	c.Conn, err = uplink.Dial(ctx, addr, &uplink.Options{UserAgent: userAgent, NodeID: "slim-bench", Setup: d.Limit,
		Verify: uplink.VerifyFirst, TLS: cmp.Or(o.TLS, d.TLS), DialContext: dial, NoLink: d.Blind, Handle: c.handle, ReadBuffer: o.ReadBuffer})
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", d.Protocol(), addr, advised(err))
	}
	if c.linkID = blindLink; !d.Blind {
		c.linkID = c.Link().ID
	}
	return c, nil
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

	// To the relay.
	blind    bool
	known    bool          // what the stream is for
	heard    bool          // the relay's answer; the reader's
	answered chan struct{} // holds one: when it has come
}

// handle hands on what one read has brought. Reader.
func (c *Conn) handle(msgs [][]byte) {
	if c.blind && !c.heard {
		c.heard, msgs = true, msgs[1:]
		c.answered <- struct{}{}
	}
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
	if c.blind {
		if err := c.purpose(context.Background(), Feed, m.To...); err != nil { // the relay is ours: it answers, or dies
			return nil, err
		}
		return newPublisher(c, m, mac.New(make([]byte, 32), blindLink)) // costs what it does with a node; nobody checks it
	}
	if key := c.NewMAC(); key != nil {
		return newPublisher(c, m, key)
	}
	return nil, c.Err()
}

// What a stream to the relay in bench/relay is for, which takes SLIM's messages byte for byte, but negotiates nothing and
// knows no names: the first message of its client is one of these words and a name, with a blank between them. The relay
// sends it back when it is so.
const (
	Join = "join" // everything that is fed under this name comes out here
	Feed = "feed" // what goes in here comes out of all streams that joined
)

var errBlindUse = errors.New("blind: a relay's stream is for one name, and for good: use another connection")

// purpose tells the relay what the stream is for, and returns when that knows.
func (c *Conn) purpose(ctx context.Context, verb string, names ...load.Address) error {
	if c.known || len(names) != 1 {
		return errBlindUse
	}
	c.known = true
	if err := c.WriteThrough(ctx, uplink.AppendFrame(nil, []byte(verb+" "+names[0].String()))); err != nil {
		return err
	}
	select {
	case <-c.answered:
		return nil
	case <-c.Done():
		return c.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
